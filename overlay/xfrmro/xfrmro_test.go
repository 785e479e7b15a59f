package xfrmro_test

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm/mobility"
	"roam6/overlay"
	"roam6/overlay/tun"
	"roam6/overlay/xfrmro"
)

var (
	home   = netip.MustParseAddr("2001:db8:aa::5")
	other  = netip.MustParseAddr("2001:db8:aa::6")
	peer   = netip.MustParseAddr("2001:db8:c::1")
	first  = netip.MustParseAddr("2001:db8:1::2")
	second = netip.MustParseAddr("2001:db8:2::2")
	far    = netip.MustParseAddr("2001:db8:3::2") // care-of address of other
)

const own, received = tun.DefaultMark, 1 << 31

// start opens a path in a namespace; the test is skipped where the kernel has none.
func start(t *testing.T, s *nstest.Space) *xfrmro.Path {
	t.Helper()
	p := xfrmro.New()
	err := s.Try(func() error { return p.Start(slog.New(slog.DiscardHandler), own, received) })
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// newSpace has a home address.
func newSpace(t *testing.T) *nstest.Space {
	s := nstest.New(t)
	s.Do(func() error {
		n := &net.IPNet{IP: home.AsSlice(), Mask: net.CIDRMask(128, 128)}
		return s.Handle.AddrAdd(s.Link("lo"), &netlink.Addr{IPNet: n, Flags: unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS})
	})
	return s
}

// states are the care-of addresses of the states, by header and addresses.
func states(t *testing.T, s *nstest.Space) map[mobility.State]netip.Addr {
	t.Helper()
	all := make(map[mobility.State]netip.Addr)
	s.Do(func() error {
		c, err := mobility.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, h := range []mobility.Header{mobility.HomeAddressOption, mobility.Type2RoutingHeader} {
			list, err := c.States(h)
			if err != nil {
				return err
			}
			for _, x := range list {
				all[mobility.State{Header: x.Header, Source: x.Source, Destination: x.Destination, Mark: x.Mark}] = x.CareOf
			}
		}
		return nil
	})
	return all
}

func mobileRoute(to, careOf netip.Addr) *overlay.Route {
	return &overlay.Route{Pair: overlay.Pair{Home: home, Peer: to, Side: overlay.MobileSide}, CareOf: careOf}
}

func correspondentRoute(to netip.Addr) *overlay.Route {
	return &overlay.Route{Pair: overlay.Pair{Home: to, Peer: home, Side: overlay.CorrespondentSide}, CareOf: far}
}

func ignore(overlay.Pair, overlay.Counters) {}

// A path has for its routes the states that RFC 6275 §9.3, §11.3 need, and nothing of
// somebody else's; a crashed one's are gone with the next, as are those of a Clean.
func TestStates(t *testing.T) {
	s := newSpace(t)
	p := start(t, s)
	set := func(changes ...tun.RouteChange) {
		t.Helper()
		p.Apply(changes, ignore, func(pair overlay.Pair, err error) { t.Errorf("%v: %v", pair, err) })
	}
	has := func(what string, want map[mobility.State]netip.Addr) {
		t.Helper()
		got := states(t, s)
		for k, careOf := range want {
			if got[k] != careOf {
				t.Errorf("%s: %v: care-of address %v, want %v", what, k, got[k], careOf)
			}
		}
	}
	out := func(h mobility.Header, to netip.Addr) mobility.State {
		return mobility.State{Header: h, Source: home, Destination: to}
	}
	in := func(h mobility.Header, from netip.Addr) mobility.State {
		return mobility.State{Header: h, Source: from, Destination: home, Mark: received}
	}
	const option, route = mobility.HomeAddressOption, mobility.Type2RoutingHeader
	set(tun.RouteChange{Set: mobileRoute(peer, first)})
	has("mobile", map[mobility.State]netip.Addr{out(option, peer): first, in(route, peer): first})
	set(tun.RouteChange{Set: mobileRoute(peer, second)})
	has("moved", map[mobility.State]netip.Addr{out(option, peer): second, in(route, peer): second})
	// Another mobile: its packets come from its care-of address, and have both headers.
	set(tun.RouteChange{Set: mobileRoute(other, second)}, tun.RouteChange{Set: correspondentRoute(other)})
	has("two mobiles", map[mobility.State]netip.Addr{
		out(option, other): second, in(route, far): second, out(route, other): far, in(option, other): far,
	})
	var failed []error
	p.Apply([]tun.RouteChange{{Set: &overlay.Route{Pair: overlay.Pair{Home: far, Peer: peer, Side: overlay.MobileSide}, CareOf: first}}},
		ignore, func(_ overlay.Pair, err error) { failed = append(failed, err) })
	if len(failed) != 1 {
		t.Errorf("a home address that is not assigned: %v", failed)
	}
	set(tun.RouteChange{Remove: mobileRoute(peer, second).Pair}, tun.RouteChange{Remove: mobileRoute(peer, second).Pair})
	has("others", map[mobility.State]netip.Addr{out(option, other): second, in(option, other): far})

	// Somebody else's stay.
	foreign := mobility.State{Header: option, Source: first, Destination: second, CareOf: far}
	s.Do(func() error {
		c, err := mobility.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Add(foreign)
	})
	next := start(t, s) // as after a crash
	if got := states(t, s); len(got) != 1 || got[mobility.State{Header: option, Source: first, Destination: second}] != far {
		t.Errorf("after a crash: %v", got)
	}
	next.Apply([]tun.RouteChange{{Set: mobileRoute(peer, first)}}, ignore, func(pair overlay.Pair, err error) { t.Errorf("%v: %v", pair, err) })
	if got := states(t, s); len(got) != 3 {
		t.Errorf("of the next: %v", got)
	}
	s.Do(func() error { return xfrmro.Clean(slog.New(slog.DiscardHandler)) })
	if got := states(t, s); len(got) != 1 {
		t.Errorf("after Clean: %v", got)
	}
}
