package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/internal/logging/logtest"
)

func anything([]byte) error { return nil }

// What another version has saved is set aside, not lost, and told; what is damaged is not
// worth that.
func TestKeptByAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	out := new(bytes.Buffer)
	log := slog.New(slog.NewTextHandler(out, nil))
	first := newKeeper(dir, log)
	for name, later := range map[string]string{
		keptDelegating + "ha":  `{"version":2}`,
		keptDelegation + "bus": `{"version":2}`,
		keptUplink + "eth0":    `{"version":2}`,
		keptDownstreams:        `{"version":2}`,
		keptDUID:               "x",
	} {
		first.save(name, []byte(later))
	}
	first.close()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "torn"), []byte("roam6 state 1 00000000 2\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "header"), []byte("roam6 state 2 and more\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	k := newKeeper(dir, log)
	defer k.close()
	for name, readable := range map[string]func([]byte) error{
		keptDelegating + "ha":  delegating.CheckSaved,
		keptDelegation + "bus": dhcpv6.CheckSaved,
		keptUplink + "eth0":    dhcpv6.CheckSaved,
		keptDownstreams:        checkNumbers,
		keptDUID:               checkDUID,
		"torn":                 anything,
		"header":               anything,
	} {
		out.Reset()
		if got := k.load(name, readable); got != nil {
			t.Errorf("%s is %q", name, got)
		}
		aside := filepath.Join(dir, name+".unread")
		_, err := os.Stat(aside)
		if kept := name != "torn"; kept != (err == nil) || kept != strings.Contains(out.String(), "set_aside="+aside) {
			t.Errorf("%s: %v; logged %s", name, err, out)
		}
		if !strings.Contains(out.String(), "cannot be read\" name="+name+" ") {
			t.Errorf("%s: logged %s", name, out)
		}
	}
}

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
		if got := string(k.load("lease", anything)); got != fmt.Sprint(i) {
			t.Fatalf("saved %d, loaded %q", i, got)
		}
	}
	duid := k.duid(nil)
	k.save("other-2", nil)
	k.close()
	k.close()
	k.save("lease", []byte("too late"))
	next := newKeeper(dir, log)
	defer next.close()
	if got := string(next.load("lease", anything)); got != "199" {
		t.Errorf("the next life has %q", got)
	}
	if got := next.load("other-2", anything); got != nil {
		t.Errorf("what is forgotten is %q", got)
	}
	if got := next.duid(nil); !bytes.Equal(got, duid) || len(duid) < 3 {
		t.Errorf("identifier %x, before %x", got, duid)
	}
	if out.Len() > 0 {
		t.Errorf("logged %s", out)
	}
	without := newKeeper("", log)
	without.save("lease", []byte("x"))
	if got := string(without.load("lease", anything)); got != "x" { // until the end of this life
		t.Errorf("without a directory %q", got)
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

// A directory on a medium that has become read-only is read all the same: the node
// keeps its identifier. What is saved then lasts until the end.
func TestKeeperReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	out := new(bytes.Buffer)
	log := slog.New(slog.NewTextHandler(out, nil))
	k := newKeeper(dir, log)
	duid := k.duid(nil)
	k.close()
	failure := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread has its own mounts
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""), unix.Mount(dir, dir, "", unix.MS_BIND, ""),
				unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}
		if err == nil {
			k := newKeeper(dir, log)
			if got := k.duid(func() [][6]byte { return [][6]byte{{2, 0, 0, 0, 0, 1}} }); !bytes.Equal(got, duid) {
				t.Errorf("identifier %x, before %x", got, duid)
			}
			k.save("lease", []byte("x"))
			if got := string(k.load("lease", anything)); got != "x" {
				t.Errorf("saved x, loaded %q", got)
			}
			k.close()
		}
		failure <- err
	}()
	if err := <-failure; err != nil {
		t.Skipf("needs mounts of its own: %v", err)
	}
	if n := strings.Count(out.String(), "will not survive a restart"); n != 1 {
		t.Errorf("said %d times: %s", n, out)
	}
}

// What cannot be saved now is saved later, without anybody asking again, and the
// operator hears of the beginning and the end of that, once.
func TestKeeperTriesAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	out := new(logtest.Buffer)
	k := newKeeper(dir, slog.New(slog.NewTextHandler(out, nil)))
	until := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain until %s: %s", what, out)
			}
		}
	}
	k.save("first", []byte("1"))
	until("it is saved", func() bool { return !gone(filepath.Join(dir, "first")) })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	k.save("lease", []byte("2"))
	until("it fails", func() bool { return strings.Contains(out.String(), "cannot be saved") })
	k.save("other", []byte("3"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k.save("third", []byte("4"))
	until("all is saved", func() bool { return !gone(filepath.Join(dir, "lease")) && !gone(filepath.Join(dir, "third")) })
	k.close()
	if text := out.String(); strings.Count(text, "cannot be saved") != 1 || strings.Count(text, "is saved again") != 1 {
		t.Errorf("logged %s", text)
	}
	next := newKeeper(dir, slog.New(slog.DiscardHandler))
	defer next.close()
	if got := string(next.load("lease", anything)) + string(next.load("other", anything)); got != "23" {
		t.Errorf("the next life has %q", got)
	}
}

// A medium that stands still holds up neither the roles nor, for long, the end: what is
// saved is there for this life, and what is kept under other names is read.
func TestKeeperStandsStill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	out := new(logtest.Buffer)
	before := newKeeper(dir, slog.New(slog.DiscardHandler))
	before.save("other", []byte("1"))
	before.close()
	k := newKeeper(dir, slog.New(slog.NewTextHandler(out, nil)))
	if got := string(k.load("other", anything)); got != "1" {
		t.Fatalf("an earlier life saved 1, loaded %q", got)
	}
	half := filepath.Join(dir, "lease.new")
	if err := unix.Mkfifo(half, 0o600); err != nil {
		t.Fatal(err)
	}
	k.save("lease", []byte("2")) // waits for a reader of the pipe
	k.save("lease", []byte("3"))
	if got := string(k.load("lease", anything)) + string(k.load("other", anything)); got != "31" {
		t.Errorf("loaded %q", got)
	}
	k.close()
	if !strings.Contains(out.String(), "stopping although") {
		t.Errorf("said %q", out)
	}
	reader, err := os.Open(half)
	if err != nil {
		t.Fatal(err)
	}
	<-k.done
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "lease")); !strings.HasSuffix(string(b), "3") || err != nil {
		t.Errorf("at last there is %q, %v", b, err)
	}
}

// Flash memory is written rarely, whatever changes how often: a router that gets another
// prefix with each hand-over, every five seconds for a day, writes twelve times an hour
// after the first ten. What was last is there in the end.
func TestKeeperSparesFlash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(dir, slog.New(slog.DiscardHandler))
		writes, last := 0, ""
		const day = 24 * time.Hour
		for at := time.Duration(0); at < day; at += 5 * time.Second {
			k.save(keptDownstreams, fmt.Append(nil, at))
			k.save(keptDUID, []byte("the same"))
			synctest.Wait()
			b, err := os.ReadFile(filepath.Join(dir, keptDownstreams))
			if err != nil {
				t.Fatal(err)
			}
			if string(b) != last {
				writes, last = writes+1, string(b)
			}
			time.Sleep(5 * time.Second)
		}
		if most := saveRate.Burst + int(day/saveRate.Every); writes > most || writes < most/2 {
			t.Errorf("%d writes in a day, want %d at most", writes, most)
		}
		k.close()
	})
	next := newKeeper(dir, slog.New(slog.DiscardHandler))
	defer next.close()
	if got, want := string(next.load(keptDownstreams, anything)), fmt.Sprint(24*time.Hour-5*time.Second); got != want {
		t.Errorf("the next life has %q, want %q", got, want)
	}
}

// The address that makes an identifier is one that stays, if there is any.
func TestLastingAddress(t *testing.T) {
	local, other, made, group := [6]byte{2, 1}, [6]byte{6, 2}, [6]byte{0, 3}, [6]byte{1, 4}
	for _, c := range []struct {
		list [][6]byte
		want [6]byte
		ok   bool
	}{
		{nil, [6]byte{}, false},
		{[][6]byte{{}, group}, [6]byte{}, false},
		{[][6]byte{{}, local, other}, local, true},
		{[][6]byte{local, group, made, {0, 9}}, made, true},
	} {
		if got, ok := lastingAddress(c.list); got != c.want || ok != c.ok {
			t.Errorf("of %v: %v, %v", c.list, got, ok)
		}
	}
}
