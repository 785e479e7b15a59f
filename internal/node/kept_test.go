package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is saved is there for who asks at once, and for the next life; without a
// directory everything goes on.
func TestKeeper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	out := new(bytes.Buffer)
	log := slog.New(slog.NewTextHandler(out, nil))
	k := newKeeper(dir, log)
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is made before it is needed")
	}
	for i := range 200 {
		k.save("lease", fmt.Append(nil, i))
		k.save(fmt.Sprintf("other-%d", i%3), fmt.Append(nil, i))
		if got := string(k.load("lease")); got != fmt.Sprint(i) {
			t.Fatalf("saved %d, loaded %q", i, got)
		}
	}
	duid := k.duid()
	k.save("other-2", nil)
	k.close()
	k.close()
	k.save("lease", []byte("too late"))
	next := newKeeper(dir, log)
	defer next.close()
	if got := string(next.load("lease")); got != "199" {
		t.Errorf("the next life has %q", got)
	}
	if got := next.load("other-2"); got != nil {
		t.Errorf("what is forgotten is %q", got)
	}
	if got := next.duid(); !bytes.Equal(got, duid) || len(duid) < 3 {
		t.Errorf("identifier %x, before %x", got, duid)
	}
	if out.Len() > 0 {
		t.Errorf("logged %s", out)
	}
	without := newKeeper("", log)
	without.save("lease", []byte("x"))
	if without.load("lease") != nil || len(without.duid()) == 0 {
		t.Error("without a directory")
	}
	without.close()
	if strings.Count(out.String(), "will not survive a restart") != 1 {
		t.Errorf("logged %s", out)
	}
}

// Names of interfaces and sections become names of the store that differ where
// they do.
func TestKeptName(t *testing.T) {
	for name, want := range map[string]string{
		"uplink-eth0":                       "uplink-eth0",
		"uplink-eth0.2":                     "uplink-eth0-2-",
		"uplink-Eth0":                       "uplink-eth0-",
		"delegation-my_r":                   "delegation-my-r-",
		"uplink-" + strings.Repeat("x", 70): "uplink-" + strings.Repeat("x", 43) + "-",
	} {
		if got := keptName(name); !strings.HasPrefix(got, want) || len(got) > 64 {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	if keptName("uplink-eth0.2") == keptName("uplink-eth0_2") {
		t.Error("two names are one")
	}
}
