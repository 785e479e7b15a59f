package rtnl

import (
	"errors"
	"io/fs"
	"testing"

	"roam6/internal/rtnl/nstest"
)

func TestSysctls(t *testing.T) {
	s := nstest.New(t)
	peer := nstest.New(t)
	for _, n := range []string{"0", "1", "2", "3"} {
		nstest.Veth(s, "s"+n, peer, "p"+n)
	}
	s.Sysctl("net/ipv6/conf/s1/forwarding", "1") // on one interface alone
	open := func() (c *Sysctls) {
		t.Helper()
		s.Do(func() (err error) {
			c, err = NewSysctls("")
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
	want := func(path, value string) {
		t.Helper()
		if got := s.ReadSysctl("net/ipv6/" + path); got != value {
			t.Errorf("%s is %s, want %s", path, got, value)
		}
	}
	c := open()
	must(c.Set("conf/all/forwarding", "1"))
	must(c.SetLink(s.Index("s0"), "accept_ra", "0"))
	must(c.SetLink(s.Index("s0"), "accept_ra", "2"))
	must(c.SetLink(s.Index("s1"), "accept_ra", "0"))
	must(c.SetLink(s.Index("s2"), "accept_ra", "0"))
	must(c.SetLink(s.Index("s3"), "accept_ra", "1")) // as it is
	want("conf/s2/forwarding", "1")
	want("conf/s0/accept_ra", "2")
	if v, err := c.GetLink(s.Index("s0"), "accept_ra"); v != "2" || err != nil {
		t.Errorf("GetLink: %q, %v", v, err)
	}
	if v, err := c.Get("conf/all/forwarding"); v != "1" || err != nil {
		t.Errorf("Get: %q, %v", v, err)
	}
	if _, err := c.Get("../ipv4/ip_forward"); err == nil {
		t.Error("reads outside its tree")
	}
	if err := c.Set("conf/all/no_such", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown setting: %v", err)
	}
	if err := c.SetLink(9999, "accept_ra", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent interface: %v", err)
	}
	// Meanwhile: one is renamed, one removed, one changed by the administrator.
	s.Rename("s0", "renamed")
	if err := s.Handle.LinkDel(s.Link("s1")); err != nil {
		t.Fatal(err)
	}
	s.Sysctl("net/ipv6/conf/s2/accept_ra", "2")
	must(c.Close())
	must(c.Close())
	want("conf/all/forwarding", "0")
	want("conf/default/forwarding", "0")
	want("conf/renamed/accept_ra", "1")
	want("conf/s2/accept_ra", "2")
	want("conf/s3/accept_ra", "1")
	want("conf/s2/forwarding", "0")
	if err := c.Set("conf/all/forwarding", "1"); err == nil {
		t.Error("Set after Close")
	}

	// An interface that forwarded by itself still does.
	s.Sysctl("net/ipv6/conf/s2/forwarding", "1")
	c = open()
	must(c.Set("conf/all/forwarding", "1"))
	must(c.Close())
	want("conf/all/forwarding", "0")
	want("conf/s2/forwarding", "1")
	want("conf/s3/forwarding", "0")
}
