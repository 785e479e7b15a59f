package logging

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roam6/internal/logging/logtest"
	"roam6/internal/role"
)

// lines is what was written to a log, without times.
func lines(b *logtest.Buffer) []string {
	text := regexp.MustCompile(`time=\S+ `).ReplaceAllString(b.String(), "")
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func TestStderr(t *testing.T) {
	var b logtest.Buffer
	level := new(slog.LevelVar)
	l := New(Options{Level: level, Writer: &b})
	l.Debug("hidden")
	l.Info("attached", "link", "wan", "message", "two\nlines")
	level.Set(slog.LevelDebug)
	l.With("mobile", "train").WithGroup("g").Debug("shown", "x", 1)
	Write(context.Background(), l, role.Log{Level: slog.LevelWarn, Message: "binding refused", Attrs: []slog.Attr{slog.Int("status", 132)}})
	equal(t, lines(&b), []string{
		`level=INFO msg=attached link=wan message="two\nlines"`,
		`level=DEBUG msg=shown mobile=train g.x=1`,
		`level=WARN msg="binding refused" status=132`,
	})
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		l := New(Options{Writer: &b, Limit: Limit{Burst: 2, Window: 10 * time.Second}})
		for i := range 5 {
			l.With("from", "x").Info("flood", "i", i)
		}
		l.Warn("flood") // another level is another message
		l.Info("other")
		equal(t, lines(&b), []string{
			"level=INFO msg=flood from=x i=0", "level=INFO msg=flood from=x i=1", "level=WARN msg=flood", "level=INFO msg=other",
		})
		time.Sleep(9 * time.Second)
		l.Info("flood")
		time.Sleep(time.Second)
		synctest.Wait()
		// The end of the window is told without anything being logged, and
		// without the attributes of whoever logged first.
		equal(t, lines(&b)[4:], []string{`level=INFO msg="suppressed repeated messages" suppressed=4 message=flood within=10s`})
		l.Info("flood")
		equal(t, lines(&b)[5:], []string{"level=INFO msg=flood"})
	})
}

// A window in which nothing was suppressed ends by itself, without a word.
func TestLimitWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		l := New(Options{Writer: &b, Limit: Limit{Burst: 2, Window: time.Second}})
		for range 4 {
			l.Info("twice")
			l.Info("twice")
			time.Sleep(time.Second)
		}
		if n := len(lines(&b)); n != 8 {
			t.Errorf("%d lines, want 8: %q", n, lines(&b))
		}
	})
}

func TestLimitDebug(t *testing.T) {
	var b logtest.Buffer
	l := New(Options{Level: slog.LevelDebug, Writer: &b, Limit: Limit{Burst: 2}})
	for range 100 {
		l.Debug("all of them")
	}
	if n := len(lines(&b)); n != 100 {
		t.Errorf("%d lines, want 100", n)
	}
}

// However many different messages there are, memory and volume are bounded.
func TestLimitMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		h := newLimiter(slog.NewTextHandler(&b, nil), Limit{Burst: 1, Window: time.Second})
		l := slog.New(h)
		for i := range 3 * maxMessages {
			l.Info(fmt.Sprint("message ", i))
		}
		if n := len(lines(&b)); n != maxMessages+1 {
			t.Errorf("%d lines, want %d and one of the others", n, maxMessages)
		}
		windows := func() int {
			h.state.mu.Lock()
			defer h.state.mu.Unlock()
			return len(h.state.windows)
		}
		if n := windows(); n > maxMessages+1 {
			t.Errorf("%d windows", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		l.Info("new")
		if got := lines(&b); got[len(got)-1] != "level=INFO msg=new" || windows() != 1 {
			t.Errorf("after the window: %d windows, last line %q", windows(), got[len(got)-1])
		}
	})
}
