package mobility_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm/mobility"
)

var (
	home   = netip.MustParseAddr("2001:db8:10::100")
	peer   = netip.MustParseAddr("2001:db8:a::1")
	first  = netip.MustParseAddr("2001:db8:a::7")
	second = netip.MustParseAddr("2001:db8:a::8")
)

const patience = 10 * time.Second

// open skips the test where the kernel has no Mobile IPv6.
func open(t *testing.T, s *nstest.Space) *mobility.Conn {
	t.Helper()
	var c *mobility.Conn
	err := s.Try(func() (err error) {
		c, err = mobility.Open()
		return err
	})
	if err == nil {
		t.Cleanup(c.Close)
		probe := mobility.State{Header: mobility.HomeAddressOption, Source: home, Destination: peer, CareOf: first}
		if err = c.Add(probe); err == nil {
			err = c.Remove(probe)
		}
	}
	if errors.Is(err, mobility.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// States are what they were made, one for two addresses, and change in place.
func TestStates(t *testing.T) {
	c := open(t, nstest.New(t))
	for _, header := range []mobility.Header{mobility.HomeAddressOption, mobility.Type2RoutingHeader} {
		s := mobility.State{Header: header, Source: home, Destination: peer, CareOf: first}
		lists := func(want ...mobility.State) {
			t.Helper()
			all, err := c.States(header)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != len(want) {
				t.Fatalf("states %v, want %v", all, want)
			}
			for i, w := range want {
				if all[i].State != w || all[i].Packets != 0 || !all[i].Used.IsZero() {
					t.Errorf("state %+v, want %v, not used", all[i], w)
				}
			}
		}
		fails := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		lists()
		fails("update of none", c.Update(s), unix.ESRCH)
		fails("remove of none", c.Remove(s), unix.ESRCH)
		fails("add", c.Add(s), nil)
		fails("add again", c.Add(s), unix.EEXIST)
		lists(s)
		s.CareOf = second
		fails("update", c.Update(s), nil)
		lists(s)
		fails("remove", c.Remove(s), nil)
		lists()
		fails("add any", c.Add(mobility.Any(header)), nil)
		lists(mobility.Any(header))
		fails("remove any", c.Remove(mobility.Any(header)), nil)
	}
}

func to(a netip.Addr) *net.IPNet { return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(128, 128)} }

func policy(t *testing.T, s *nstest.Space, dir netlink.Dir, from, dest netip.Addr, tmpl netlink.XfrmPolicyTmpl) {
	t.Helper()
	s.Do(func() error {
		return netlink.XfrmPolicyAdd(&netlink.XfrmPolicy{Src: to(from), Dst: to(dest), Dir: dir, Tmpls: []netlink.XfrmPolicyTmpl{tmpl}})
	})
}

func listen(t *testing.T, s *nstest.Space, at netip.Addr) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 7000)))
		return err
	})
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// RFC 6275 §9.3, §11.3: with states and policies the kernel sends and takes data with a
// Home Address option, from the care-of address of the state and no other; what nobody
// permits is told.
func TestHomeAddressOption(t *testing.T) {
	mobile, correspondent := nstest.New(t), nstest.New(t)
	ofMobile, ofPeer := open(t, mobile), open(t, correspondent)
	nstest.Veth(mobile, "up", correspondent, "down")
	correspondent.Address("down", peer.String()+"/64")
	for _, a := range []netip.Addr{first, second} {
		mobile.Address("up", netip.PrefixFrom(a, 64).String())
	}
	mobile.Address("lo", home.String()+"/128")
	var reports *mobility.Reports
	correspondent.Do(func() (err error) {
		reports, err = mobility.OpenReports()
		return err
	})
	told := make(chan mobility.Report, 16)
	ended := make(chan error, 1)
	go func() {
		for {
			all, err := reports.Next()
			if err != nil {
				ended <- err
				return
			}
			for _, r := range all {
				told <- r
			}
		}
	}()

	s := mobility.State{Header: mobility.HomeAddressOption, Source: home, Destination: peer, CareOf: first}
	change := func(what string, f func(mobility.State) error, s mobility.State) {
		t.Helper()
		if err := f(s); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	change("mobile", ofMobile.Add, s)
	change("peer", ofPeer.Add, s)
	change("peer", ofPeer.Add, mobility.Any(mobility.HomeAddressOption))
	policy(t, mobile, netlink.XFRM_DIR_OUT, home, peer, mobility.HomeAddressOption.Template(home, peer, 0, false))
	policy(t, correspondent, netlink.XFRM_DIR_IN, home, peer, mobility.HomeAddressOption.Template(home, peer, 0, false))
	sender, receiver := listen(t, mobile, home), listen(t, correspondent, peer)
	arrives := func(what string) {
		t.Helper()
		if _, err := sender.WriteToUDPAddrPort([]byte(what), netip.AddrPortFrom(peer, 7000)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, from, err := receiver.ReadFromUDPAddrPort(b)
		if err != nil || string(b[:n]) != what || from.Addr() != home {
			t.Fatalf("%q from %v (%v), want %q from %v", b[:n], from, err, what, home)
		}
	}
	arrives("at the first care-of address")
	all, err := ofPeer.States(mobility.HomeAddressOption)
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, u := range all {
		if u.State == s && u.Packets == 1 && u.Octets > 40 && time.Since(u.Used) < time.Minute {
			used++
		}
	}
	if used != 1 {
		t.Errorf("states %+v: none of one packet", all)
	}

	s.CareOf = second
	change("mobile", ofMobile.Update, s)
	if _, err := sender.WriteToUDPAddrPort([]byte("unknown"), netip.AddrPortFrom(peer, 7000)); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-told:
		if want := (mobility.Report{Source: home, Destination: peer, Home: second, Protocol: unix.IPPROTO_UDP}); r != want {
			t.Errorf("told of %+v, want %+v", r, want)
		}
	case <-time.After(patience):
		t.Fatal("nobody is told of a packet from another care-of address")
	}
	change("peer", ofPeer.Update, s)
	arrives("at the second care-of address")
	reports.Close()
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
