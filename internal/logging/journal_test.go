package logging

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Where standard error is the journal's stream each line has its priority and no time;
// where somebody has redirected it, the variable is there all the same.
func TestJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var info unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &info); err != nil {
		t.Fatal(err)
	}
	t.Setenv(journalVariable, fmt.Sprintf("%d:%d", info.Dev, info.Ino))
	l := New(Options{Level: slog.LevelDebug, Writer: f})
	l.Debug("looked")
	l.Info("attached", "message", "two\nlines")
	l.With("mobile", "train").Warn("refused")
	l.WithGroup("g").Error("failed", "x", 1)
	t.Setenv(journalVariable, fmt.Sprintf("%d:%d", info.Dev, info.Ino+1))
	New(Options{Writer: f}).Info("redirected")
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	last := len(got) - 1
	equal(t, got[:last], []string{
		"<7>level=DEBUG msg=looked",
		`<6>level=INFO msg=attached message="two\nlines"`,
		"<4>level=WARN msg=refused mobile=train",
		"<3>level=ERROR msg=failed g.x=1",
	})
	if !strings.HasPrefix(got[last], "time=") {
		t.Errorf("not the journal: %s", got[last])
	}
}
