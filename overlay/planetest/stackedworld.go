package planetest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// The domain of an anchor, and where the mobile is in it.
var (
	anchorAddress  = netip.MustParseAddr("2001:db8:3::1")
	regionalCareOf = netip.MustParseAddr("2001:db8:3::5")
)

// stackedWorld is an optimisedWorld with the anchor's domain around the mobile:
//
//	correspondent ─ agent ─ transit ─ anchor ─ core ═ mobile ─ node
//
// The mobile has the anchor's tunnel from its on-link care-of address, and on that
// its home agent's from the regional one (RFC 5380 §6.1, §6.2).
type stackedWorld struct {
	*optimisedWorld
	transit, anchor *nstest.Space
	anchorEngine    Engine
}

func newStackedWorld(t testing.TB, open Open) *stackedWorld {
	t.Helper()
	w := makeStackedWorld(t, open)
	w.enter(0)
	w.stack()
	return w
}

// makeStackedWorld makes the world with one tunnel, from the first care-of address to
// the home agent.
func makeStackedWorld(t testing.TB, open Open) *stackedWorld {
	t.Helper()
	made := makeWorld(t, true)
	w := &stackedWorld{transit: nstest.New(t), anchor: nstest.New(t)}
	for _, s := range []*nstest.Space{w.transit, w.anchor} {
		s.Sysctl("net/ipv6/conf/all/forwarding", "1")
		s.Sysctl("net/ipv6/icmp/ratelimit", "0")
	}
	if err := made.agent.Handle.LinkDel(made.agent.Link("up")); err != nil {
		t.Fatal(err)
	}
	nstest.Veth(made.agent, "up", w.transit, "ha")
	nstest.Veth(w.transit, "map", w.anchor, "up")
	nstest.Veth(w.anchor, "ar", made.core, "map")
	made.agent.Address("up", agentAddress.String()+"/64")
	w.transit.Address("ha", "2001:db8:a::ff/64")
	w.transit.Address("map", "2001:db8:d::ff/64")
	w.anchor.Address("up", "2001:db8:d::1/64")
	w.anchor.Address("lo", anchorAddress.String()+"/128")
	w.anchor.Address("ar", "2001:db8:e::1/64")
	made.core.Address("map", "2001:db8:e::ff/64")
	made.agent.Route("::/0", "2001:db8:a::ff", "up")
	w.transit.Route("2001:db8:c::/64", agentAddress.String(), "ha")
	w.transit.Route("::/0", "2001:db8:d::1", "map")
	w.anchor.Route("::/0", "2001:db8:d::ff", "up")
	for _, p := range []string{"2001:db8:1::/64", "2001:db8:2::/64"} {
		w.anchor.Route(p, "2001:db8:e::ff", "ar")
	}
	made.core.Route("::/0", "2001:db8:e::1", "map")

	w.optimisedWorld = optimise(made, open)
	w.anchorEngine = w.open(w.anchor, open)
	t.Cleanup(func() {
		if err := w.anchorEngine.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	l, err := w.mobile.Handle.LinkByIndex(w.mobileEngine.Link())
	if err != nil {
		t.Fatal(err)
	}
	w.mobile.Address(l.Attrs().Name, regionalCareOf.String()+"/128")
	return w
}

// regional is the anchor's tunnel to the i-th care-of address, at one end.
func (w *stackedWorld) regional(side overlay.Side, i int) *overlay.Tunnel {
	p := w.path(side, i)
	if side == overlay.MobileSide {
		p.Remote = anchorAddress
	} else {
		p.Local = anchorAddress
	}
	return &overlay.Tunnel{
		Key:   overlay.Key{Home: regionalCareOf, Side: side},
		Inner: []netip.Prefix{netip.PrefixFrom(regionalCareOf, 128)},
		Paths: []overlay.Path{p},
	}
}

// upper is the home agent's tunnel to the regional care-of address, at one end.
func (w *stackedWorld) upper(side overlay.Side) *overlay.Tunnel {
	u := w.tunnel(side, 0)
	u.Paths = []overlay.Path{{Local: regionalCareOf, Remote: agentAddress}}
	if side == overlay.AgentSide {
		u.Paths = []overlay.Path{{Local: agentAddress, Remote: regionalCareOf}}
	}
	return u
}

// enter makes the i-th care-of address the one that the anchor tunnels to and from:
// the anchor first, whose acknowledgement the mobile waits for.
func (w *stackedWorld) enter(i int) {
	w.t.Helper()
	w.apply(w.anchorEngine, overlay.Change{Set: w.regional(overlay.AgentSide, i)})
	w.apply(w.mobileEngine, overlay.Change{Set: w.regional(overlay.MobileSide, i)})
}

// stack makes the regional care-of address the one that the home agent knows.
func (w *stackedWorld) stack() {
	w.t.Helper()
	w.apply(w.agentEngine, overlay.Change{Set: w.upper(overlay.AgentSide)})
	w.apply(w.mobileEngine, overlay.Change{Set: w.upper(overlay.MobileSide)})
}

// status is a tunnel of an engine.
func (w *stackedWorld) status(e Engine, home netip.Addr) overlay.Status {
	w.t.Helper()
	for _, s := range e.Tunnels() {
		if s.Home == home {
			return s
		}
	}
	w.t.Fatalf("no tunnel of %v", home)
	return overlay.Status{}
}

func (w *stackedWorld) withoutDefaultRoute(s *nstest.Space) {
	w.t.Helper()
	all := &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	if err := s.Handle.RouteDel(&netlink.Route{Dst: all}); err != nil {
		w.t.Fatalf("remove default route: %v", err)
	}
}

// linkMTU sets the MTU of a link at both ends.
func (w *stackedWorld) linkMTU(a *nstest.Space, nameA string, b *nstest.Space, nameB string, mtu int) {
	w.t.Helper()
	for s, name := range map[*nstest.Space]string{a: nameA, b: nameB} {
		if err := s.Handle.LinkSetMTU(s.Link(name), mtu); err != nil {
			w.t.Fatal(err)
		}
	}
}
