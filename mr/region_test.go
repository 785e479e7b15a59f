package mr

import (
	"net/netip"
	"testing"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/overlay"
)

var anchorAddr = netip.MustParseAddr("2001:db8:71::1")

// A router behind a mobility anchor point (RFC 5380): it registers its networks with the
// regional care-of address, which the route to the delegating router uses, too; a move
// inside the domain is none to the home agent, and nothing of the networks changes.
func TestRouterBehindAnchor(t *testing.T) {
	d := newDelegating(t, func(c *Config) {
		c.Prefixes = []netip.Prefix{prefix}
		c.Hierarchy = mn.Hierarchy{Enabled: true, Insecure: true}
	})
	carriers := uint32(0)
	enter := func(router, network string) (local mip6.Packet, toHome int) {
		carriers++
		d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Carriers: carriers, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
		e := advertisement(router, network)
		e.RA.Anchors = []mip6.MobilityAnchorPoint{{Address: anchorAddr, Distance: 2, Preference: 10, ValidLifetime: mip6.InfiniteLifetime}}
		for _, a := range d.do(e) {
			if s, ok := a.(role.Send); ok && s.Packet.Destination == anchorAddr {
				local = s.Packet
			} else if ok {
				toHome++
			}
		}
		if !local.Source.IsValid() {
			t.Fatal("the anchor is told nothing")
		}
		return local, toHome
	}
	accept := func(p mip6.Packet) {
		u := p.Message.(mip6.BindingUpdate)
		a := mip6.BindingAcknowledgement{Sequence: u.Sequence, Lifetime: u.Lifetime, Options: u.Options}
		d.do(role.MessageReceived{Link: 1, Packet: mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: p.HomeAddress, Message: a}})
	}
	local, _ := enter("fe80::a1", "2001:db8:a1::/64")
	accept(local)
	u, p := d.last()
	if p.Source != local.HomeAddress || u.Flags&mip6.UpdateMobileRouter == 0 {
		t.Fatalf("home agent is told %+v from %v", u, p.Source)
	}
	d.carryOut(d.answer(mip6.StatusAccepted, mip6.AckMobileRouter))
	want := overlay.Route{Pair: overlay.Pair{Home: home, Peer: agent, Side: overlay.MobileSide}, CareOf: local.HomeAddress}
	if len(d.routes) != 1 || d.routes[want.Pair] != want {
		t.Errorf("routes %+v, want %+v", d.routes, want)
	}
	if len(d.inner) < 2 || d.inner[1] != prefix {
		t.Errorf("inner %v", d.inner)
	}
	local, toHome := enter("fe80::a2", "2001:db8:a2::/64")
	accept(local)
	place := d.router.node.Place()
	if toHome != 0 || d.routes[want.Pair] != want || !place.Registered || !netip.MustParsePrefix("2001:db8:a2::/64").Contains(place.OnLink) {
		t.Errorf("%d updates to the home agent, routes %+v, at %+v", toHome, d.routes, place)
	}
	if d.router.objection(netip.PrefixFrom(place.OnLink, 64).Masked()) == "" {
		t.Error("the network that the router is in may be delegated to it")
	}
}
