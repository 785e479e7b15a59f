package rtnl

import (
	"os"
	"path/filepath"
	"testing"

	"roam6/internal/rtnl/nstest"
)

// What a process has changed that was killed, its successor restores; but not in
// another run of the system, nor on an interface that has only the number of the
// other, nor what somebody has changed since.
func TestSysctlsAfterKill(t *testing.T) {
	s, peer := nstest.New(t), nstest.New(t)
	for _, n := range []string{"0", "1", "2"} {
		nstest.Veth(s, "s"+n, peer, "p"+n)
		s.Sysctl("net/ipv6/conf/s"+n+"/accept_ra", "1")
	}
	file := filepath.Join(t.TempDir(), "settings")
	open := func() (c *Sysctls) {
		t.Helper()
		s.Do(func() (err error) {
			c, err = NewSysctls(file)
			return err
		})
		return c
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(name, value string) {
		t.Helper()
		if got := s.ReadSysctl("net/ipv6/conf/" + name + "/accept_ra"); got != value {
			t.Errorf("accept_ra of %s is %s, want %s", name, got, value)
		}
	}
	forget := func(c *Sysctls) { c.memory, c.saved = "", nil; must(c.Close()) } // as SIGKILL does

	c := open()
	for _, n := range []string{"s0", "s1", "s2"} {
		must(c.SetLink(s.Index(n), "accept_ra", "0"))
	}
	forget(c)
	c = open()
	must(c.SetLink(s.Index("s0"), "accept_ra", "0")) // again
	forget(c)
	s.Sysctl("net/ipv6/conf/s1/accept_ra", "2")
	must(s.Handle.LinkSetDown(s.Link("s2")))
	must(s.Handle.LinkSetName(s.Link("s2"), "other"))
	must(open().Close())
	want("s0", "1")
	want("s1", "2")
	want("other", "0")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}

	must(os.WriteFile(file, []byte(`{"Boot":"another","Settings":[{"Path":"conf/s0/accept_ra","Original":"2","Set":"1"}]}`), 0o600))
	must(open().Close())
	want("s0", "1")
	must(os.WriteFile(file, []byte(`{"Boot":`), 0o600)) // torn
	must(open().Close())
}
