package ro

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Behind a regional care-of address (RFC 5380 §6.1) a correspondent on the link is told the
// on-link one. A move inside the domain is nothing for the others: no message, and their
// routes stay; the one on the link is told the regional address then.
func TestRegionalCareOf(t *testing.T) {
	b := newBench(t, nil)
	far, near := b.node(1), newCorrespondent(netip.MustParseAddr("2001:db8:a1::99"))
	b.nodes[near.addr] = near
	regional := netip.MustParseAddr("2001:db8:71::42")
	at := func(local, prefix string) Attachment {
		a := b.away(regional, true)
		a.Link, a.ValidUntil = 0, b.now.Add(100*time.Second)
		a.Local = Local{CareOf: netip.MustParseAddr(local), Link: uplink}
		a.Local.OnLink[1] = netip.MustParsePrefix(prefix)
		return a
	}
	b.attach(at("2001:db8:a1::42", "2001:db8:a1::/64"))
	for _, c := range []*correspondent{far, near} {
		b.exchange(b.handle(traffic(c.addr)))
	}
	if r := b.routes[far.addr]; r.CareOf != regional || r.Link != 0 {
		t.Fatalf("route to one far away %+v", r)
	}
	if r := b.routes[near.addr]; r.CareOf != careOf1 || r.Link != uplink {
		t.Fatalf("route to one on the link %+v", r)
	}
	for _, p := range b.o.Peers(b.now) {
		if most := map[bool]time.Duration{true: MaxBindingLifetime, false: 100 * time.Second}[p.Addr == near.addr]; p.Remaining > most {
			t.Errorf("%v has a binding for %v, want %v at most", p.Addr, p.Remaining, most)
		}
	}
	b.pass(3 * time.Second)
	did := b.attach(at("2001:db8:a2::42", "2001:db8:a2::/64"))
	for _, s := range only[role.Send](did) {
		if s.Packet.Destination == far.addr {
			t.Errorf("one far away is told %+v", s.Packet)
		}
		if s.Packet.Source != regional {
			t.Errorf("from %v", s.Packet.Source)
		}
	}
	if _, ok := b.routes[near.addr]; ok || b.routes[far.addr].CareOf != regional {
		t.Errorf("routes %+v", b.routes)
	}
	b.exchange(did)
	if r := b.routes[near.addr]; r.CareOf != regional || r.Link != 0 {
		t.Errorf("route to one that was on the link %+v", r)
	}
	// What comes to the home address on the link did not come through the tunnel.
	did = b.handle(role.MessageReceived{Link: uplink, Packet: mip6.Packet{Source: far.addr, Destination: home, Message: mip6.HomeTest{}}})
	if d := only[role.Dropped](did); len(d) != 1 || d[0].Reason != role.DropUnexpected {
		t.Errorf("did %+v", did)
	}
}

// When the regional care-of address is to end sooner than it was, the bindings with it are
// renewed at once, for no longer.
func TestRegionalCareOfShortened(t *testing.T) {
	b := newBench(t, nil)
	c := b.node(1)
	a := b.away(careOf1, true)
	b.attach(a)
	b.exchange(b.handle(traffic(c.addr)))
	a.ValidUntil = b.now.Add(40 * time.Second)
	b.exchange(b.attach(a))
	if p := b.o.Peers(b.now); len(p) != 1 || p[0].Remaining > 40*time.Second || p[0].Remaining == 0 {
		t.Errorf("peers %+v", p)
	}
}
