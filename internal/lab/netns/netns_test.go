package netns

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSpace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root (CAP_SYS_ADMIN)")
	}
	var outside, inside, again, other unix.Stat_t
	stat := func(s *unix.Stat_t) error { return unix.Stat("/proc/thread-self/ns/net", s) }
	if err := stat(&outside); err != nil {
		t.Fatal(err)
	}
	s, err := New("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Do(func() error { return stat(&inside) }); err != nil {
		t.Fatal(err)
	}
	thread := make(chan error)
	if err := s.Go(func() { thread <- stat(&other) }); err != nil {
		t.Fatal(err)
	}
	if err := <-thread; err != nil {
		t.Fatal(err)
	}
	if inside.Ino == outside.Ino || other.Ino != inside.Ino {
		t.Errorf("namespaces: %d outside, %d and %d inside", outside.Ino, inside.Ino, other.Ino)
	}
	if err := stat(&again); err != nil || again.Ino != outside.Ino {
		t.Errorf("the test's own thread is in another namespace now: %v", err)
	}
	links, err := s.Link.LinkList()
	if err != nil || len(links) != 1 || links[0].Attrs().Flags&net.FlagUp != 0 {
		t.Errorf("a new namespace has %v (%v)", links, err)
	}
	if err := s.SetSysctl("net/ipv6/conf/default/forwarding", "1"); err != nil {
		t.Error(err)
	}
	if v, err := s.Sysctl("net/ipv6/conf/default/forwarding"); err != nil || v != "1" {
		t.Errorf("the setting is %q (%v)", v, err)
	}
	s.Close()
	s.Close()
	if err := s.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestSleepUntil: never early. How late is the machine's affair.
func TestSleepUntil(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 20 {
		end := time.Now().Add(300 * time.Microsecond)
		SleepUntil(end)
		if now := time.Now(); now.UnixNano() < end.UnixNano() {
			t.Errorf("woke %v early", end.Sub(now))
		}
	}
	SleepUntil(time.Now().Add(-time.Hour)) // returns
}
