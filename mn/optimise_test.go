package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/overlay"
)

var peer = netip.MustParseAddr("2001:db8:c::1")

// correspondent answers what the node asks a correspondent.
func (b *bench) correspondent(did []role.Action) []role.Action {
	b.Helper()
	var more []role.Action
	for _, s := range only[role.Send](did) {
		if s.Packet.Destination != peer {
			continue
		}
		var answer mip6.Message
		switch m := s.Packet.Message.(type) {
		case mip6.HomeTestInit:
			answer = mip6.HomeTest{NonceIndex: 1, Cookie: m.Cookie, Token: mip6.KeygenToken{1}}
		case mip6.CareOfTestInit:
			answer = mip6.CareOfTest{NonceIndex: 1, Cookie: m.Cookie, Token: mip6.KeygenToken{2}}
		case mip6.BindingUpdate:
			key := mip6.NewBindingKey(mip6.KeygenToken{1}, mip6.KeygenToken{2})
			careOf := s.Packet.Source
			if m.Lifetime == 0 {
				key, careOf = mip6.NewDeregistrationKey(mip6.KeygenToken{1}), homeAddress
			}
			sealed, err := key.SealAuthorization(mip6.BindingAcknowledgement{Sequence: m.Sequence, Lifetime: m.Lifetime}, careOf, peer)
			if err != nil {
				b.Fatal(err)
			}
			answer = sealed
		default:
			continue
		}
		p := mip6.Packet{Source: peer, Destination: s.Packet.Source, Message: answer}
		if _, ok := answer.(mip6.BindingAcknowledgement); ok && s.Packet.HomeAddress.IsValid() {
			p.RouteHome = homeAddress
		}
		if !b.node.Takes(p) {
			continue // the shell does not give it to the node
		}
		more = append(more, b.handle(role.MessageReceived{Link: s.Link, Packet: b.wire(p)})...)
	}
	if len(more) > 0 {
		more = append(more, b.correspondent(more)...)
	}
	return more
}

// optimised are the routes that actions install.
func optimised(actions []role.Action) []overlay.Route {
	var out []overlay.Route
	for _, f := range only[role.Forward](actions) {
		for _, c := range f.Changes {
			if c.Optimise != nil {
				out = append(out, *c.Optimise)
			}
		}
	}
	return out
}

// Route optimisation as a part of the node: traffic through the tunnel leads to
// the tests and to an optimised route; a move takes it out behind the binding
// update to the home agent, with the care-of test in the same call, and after
// the acknowledgement it is there again from the new care-of address
// (RFC 6275 §11.6.1, §11.7.2).
//
// Covers: M5, M14.
func TestOptimisedRoute(t *testing.T) {
	b := newBench(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.away()
	if !b.kernel.tunnel.Watch {
		t.Fatal("the tunnel is not watched")
	}
	seen := role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide}
	did := b.handle(seen)
	did = append(did, b.correspondent(did)...)
	if r := optimised(did); len(r) != 1 || r[0].Peer != peer || r[0].CareOf != careOf1 {
		t.Fatalf("routes %+v of %v", r, did)
	}
	if p := b.node.Snapshot(b.now).Peers; len(p) != 1 || p[0].Addr != peer {
		t.Errorf("peers %+v", p)
	}

	b.pass(5 * time.Second)
	b.handle(seen)
	b.carrier(false)
	b.carrier(true)
	did = b.hear(ar2)
	order := []string{}
	for _, a := range did {
		switch a := a.(type) {
		case role.Send:
			order = append(order, a.Packet.Message.Type().String()+" "+a.Packet.Destination.String())
		case role.Forward:
			if a.Changes[0].Set != nil {
				order = append(order, "swap")
			}
		}
	}
	if want := []string{"binding update " + homeAgent.String(), "swap", "care-of test init " + peer.String()}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	did = b.correspondent(did)
	did = append(did, b.acknowledge()...)
	did = append(did, b.correspondent(did)...)
	if r := optimised(did); len(r) != 1 || r[0].CareOf != careOf2 {
		t.Errorf("routes %+v of %v", r, did)
	}

	did = b.handle(role.Stop{})
	out := slices.ContainsFunc(only[role.Forward](did), func(f role.Forward) bool { return f.Changes[0].Deoptimise != nil })
	if !out {
		t.Errorf("the route stays after the end: %v", did)
	}
}

// Home again every correspondent is told to delete its binding, from the home
// address, behind the de-registration (RFC 6275 §11.5.5, §11.7.2).
//
// Covers: M5, M9.
func TestOptimisedRouteAtHome(t *testing.T) {
	b := newBench(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.away()
	did := b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	b.correspondent(did)
	b.pass(5 * time.Second)
	did = b.goHome()
	sends := only[role.Send](did)
	if len(sends) != 2 || sends[0].Packet.Destination != homeAgent || sends[1].Packet.Destination != peer || sends[1].Packet.Source != homeAddress {
		t.Fatalf("sends %+v", sends)
	}
	if u, ok := sends[1].Packet.Message.(mip6.BindingUpdate); !ok || u.Lifetime != 0 {
		t.Errorf("%+v", sends[1].Packet.Message)
	}
}

// Switched off nothing of it happens, switched on later it begins.
//
// Covers: M14.
func TestOptimisationSwitched(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	seen := role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide}
	if did := b.handle(seen); len(did) != 0 || b.kernel.tunnel.Watch {
		t.Errorf("%v", did)
	}
	c := b.node.config
	c.RouteOptimisation = ro.Policy{Mode: ro.List, Peers: []netip.Prefix{netip.PrefixFrom(peer, 128)}}
	b.did(b.node.Reconfigure(b.now, c))
	if !b.kernel.tunnel.Watch {
		t.Error("the tunnel is not watched")
	}
	if did := b.handle(seen); len(only[role.Send](did)) == 0 {
		t.Errorf("%v", did)
	}
}

// A correspondent that says it has no binding loses its route at once, and one
// that does not know Mobile IPv6 is left alone (RFC 6275 §11.3.5, §11.3.6).
//
// Covers: M12.
func TestPeerWithoutBinding(t *testing.T) {
	b := newBench(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.away()
	seen := role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide}
	b.correspondent(b.handle(seen))
	b.pass(time.Second)
	e := mip6.Packet{Source: peer, Destination: careOf1, Message: mip6.BindingError{Status: mip6.BindingErrorUnknownBinding, Home: homeAddress}}
	if !b.node.Takes(e) {
		t.Error("a binding error to the care-of address is not taken")
	}
	did := b.handle(role.MessageReceived{Link: 1, Packet: e})
	if !slices.ContainsFunc(only[role.Forward](did), func(f role.Forward) bool { return f.Changes[0].Deoptimise != nil }) {
		t.Errorf("the route stays: %v", did)
	}

	b = newBench(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.away()
	if did := b.handle(seen); len(only[role.Send](did)) == 0 {
		t.Fatalf("nothing begins: %v", did)
	}
	b.handle(role.PeerRefused{Local: careOf1, Peer: peer})
	b.pass(10 * time.Second)
	if did := b.handle(seen); len(only[role.Send](did)) != 0 {
		t.Errorf("asked again: %v", did)
	}
}
