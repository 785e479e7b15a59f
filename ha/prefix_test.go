package ha

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/mip6"
)

func prefixes(list ...string) (ps []netip.Prefix) {
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func prefixOptions(list ...string) (options []mip6.Option) {
	for _, p := range prefixes(list...) {
		options = append(options, mip6.MobileNetworkPrefix{Prefix: p})
	}
	return options
}

// RFC 3963 §6.2: both modes, several prefixes, parts of an authorised
// one, and that those missing from a new update are withdrawn, at once and in the
// same action that changes the rest.
// Covers: N1, N3, N7.
func TestNetworkPrefixes(t *testing.T) {
	c := testConfig()
	c.Mobiles[0].Prefixes = prefixes("2001:db8:a:ffff::/64", "2001:db8:aa::/48")
	w := newWorld(t, c)
	send := func(sequence mip6.Sequence, options ...mip6.Option) mip6.Status {
		r := at(homeA, careOf1, sequence)
		r.options = options
		actions := w.send(r)
		return onlyAck(t, append(actions, w.run(time.Second)...)).Status
	}
	inner := func(want ...string) {
		t.Helper()
		if got := w.tunnels[homeA].Inner; !slices.Equal(got, append(prefixes("2001:db8:1::a/128"), prefixes(want...)...)) {
			t.Errorf("forwarded are %v, want %v", got, want)
		}
	}
	// Implicit: what is configured.
	send(1)
	inner("2001:db8:a:ffff::/64", "2001:db8:aa::/48")
	// Explicit, with a part of an authorised prefix and one that is named twice.
	send(2, prefixOptions("2001:db8:aa:7::/64", "2001:db8:a:ffff::/64", "2001:db8:aa:7::/64")...)
	inner("2001:db8:a:ffff::/64", "2001:db8:aa:7::/64")
	// One is missing now.
	send(3, prefixOptions("2001:db8:aa:7::/64")...)
	inner("2001:db8:aa:7::/64")
	if w.agent.networks.lookup(netip.MustParseAddr("2001:db8:a:ffff::1")).IsValid() {
		t.Errorf("a withdrawn prefix is still in the table")
	}
	// All or nothing: what is refused changes nothing.
	if s := send(4, prefixOptions("2001:db8:aa:8::/64", "2001:db8:b::/64")...); s != mip6.StatusNotAuthorizedForPrefix {
		t.Errorf("status %v", s)
	}
	inner("2001:db8:aa:7::/64")
	// Host bits of a prefix do not matter.
	bits := netip.PrefixFrom(netip.MustParseAddr("2001:db8:aa:9::1"), 64)
	send(5, mip6.MobileNetworkPrefix{Prefix: bits})
	inner("2001:db8:aa:9::/64")
	// Back to implicit.
	send(6)
	inner("2001:db8:a:ffff::/64", "2001:db8:aa::/48")
}

// RFC 3963 §4.1: without flag R nothing but the home address is forwarded.
// Covers: N7.
func TestNoPrefixesWithoutRouterFlag(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(request{home: homeA, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode, options: prefixOptions("2001:db8:a::/64")})
	if got := w.tunnels[homeA].Inner; len(got) != 1 {
		t.Errorf("forwarded are %v", got)
	}
}

// Two mobiles that the configuration wrongly gives the same prefix: the second
// is refused, not the first robbed (RFC 3963 §6.1.2): by 141 where it names the
// prefix, by 143 where it does not, since then 141 is not a status to expect (§5.4.1).
// Covers: N2, Attack: prefix hijack.
func TestPrefixOfAnother(t *testing.T) {
	w := newWorld(t, testConfig())
	c := testConfig()
	c.Mobiles[1].Prefixes = prefixes("2001:db8:a:1::/64")
	if c.Validate() == nil {
		t.Fatal("a prefix within another mobile's is valid")
	}
	w.apply(w.agent.Reconfigure(w.now, c))
	w.registered(at(homeA, careOf1, 1))
	if ba := onlyAck(t, w.send(at(homeB, careOf2, 1))); ba.Status != mip6.StatusForwardingSetupFailed {
		t.Errorf("implicit: status %v", ba.Status)
	}
	named := at(homeB, careOf2, 2)
	named.options = prefixOptions("2001:db8:a:1::/64")
	if ba := onlyAck(t, w.send(named)); ba.Status != mip6.StatusInvalidPrefix {
		t.Errorf("explicit: status %v", ba.Status)
	}
}

// RFC 6275 §15.1, status 174: mobile networks may be inside one another, but not
// in a circle.
// Covers: Attack: loops.
func TestNestedNetworks(t *testing.T) {
	inA, inB := netip.MustParseAddr("2001:db8:a:1::77"), netip.MustParseAddr("2001:db8:b:1::77")
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.registered(at(homeB, inA, 1)) // B is a passenger of A
	w.registered(request{home: homeN, source: inB, sequence: 1, lifetime: time.Minute, flags: flagsNode})
	if ba := onlyAck(t, w.send(at(homeA, inB, 2))); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("A inside B inside A: %v", ba.Status)
	}
	if got := w.tunnels[homeA].Paths[0].Remote; got != careOf1 {
		t.Errorf("A is bound to %v", got)
	}
	// B leaves A; then A may enter B, and B not A again.
	w.registered(at(homeB, careOf2, 2))
	w.registered(at(homeA, inB, 3))
	if ba := onlyAck(t, w.send(at(homeB, inA, 3))); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("B inside A inside B: %v", ba.Status)
	}
	// A home address that is not bound to anything is no care-of address either.
	if ba := onlyAck(t, w.send(at(homeB, homeN, 4))); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("home address as care-of address: %v", ba.Status)
	}
}

// The care-of address is in a network of the mobile's own that is just being
// withdrawn, or leads to a home address that was configured later.
func TestOtherCircles(t *testing.T) {
	w := newWorld(t, testConfig())
	r := at(homeA, careOf1, 1)
	r.options = prefixOptions("2001:db8:a:1::/64", "2001:db8:a:2::/64")
	w.registered(r)
	r = at(homeA, netip.MustParseAddr("2001:db8:a:2::7"), 2)
	r.options = prefixOptions("2001:db8:a:1::/64")
	if ba := onlyAck(t, w.send(r)); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("care-of address in the own network: %v", ba.Status)
	}

	late := netip.MustParseAddr("2001:db8:1::1a7e")
	w.send(at(homeA, late, 3))
	c := testConfig()
	c.Mobiles = append(c.Mobiles, Mobile{Name: "late", HomeAddress: late, SA: association(late)})
	w.apply(w.agent.Reconfigure(w.now, c))
	r = request{home: late, source: netip.MustParseAddr("2001:db8:a:1::7"), sequence: 1, lifetime: time.Minute, flags: flagsNode}
	if ba := onlyAck(t, w.send(r)); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("care-of address behind a mobile that is bound to the home address: %v", ba.Status)
	}
	// Through that home address, once it is bound itself, and on.
	r.source, r.sequence = netip.MustParseAddr("2001:db8:b:1::7"), 2
	w.registered(r)
	if ba := onlyAck(t, w.send(at(homeB, netip.MustParseAddr("2001:db8:a:1::7"), 1))); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("B in A, A at a home address, that in B: %v", ba.Status)
	}
}

// The circle that is closed while detection runs.
func TestCircleDuringDetection(t *testing.T) {
	w := newWorld(t, testConfig())
	w.send(at(homeA, netip.MustParseAddr("2001:db8:b:1::77"), 1))
	w.send(at(homeB, netip.MustParseAddr("2001:db8:a:1::77"), 1))
	wantKinds(t, w.run(time.Second),
		"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:b:1::77",
		"defend 2001:db8:1::a router=true", "announce 2001:db8:1::a router=true",
		"ack 0 to 2001:db8:b:1::77 route 2001:db8:1::a",
		"ack 174 to 2001:db8:a:1::77 route 2001:db8:1::b")
	w.run(time.Hour)
	if s := w.agent.Stats(); s.Bindings+s.Probing+s.Deleted != 0 {
		t.Errorf("%+v", s)
	}
}

// Too many networks inside one another.
func TestNestingLimit(t *testing.T) {
	c := testConfig()
	c.Mobiles, c.DAD = nil, false
	host := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 15: byte(0x10 + i)})
	}
	network := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, byte(i)}), 48)
	}
	for i := range maxNesting + 1 {
		c.Mobiles = append(c.Mobiles, Mobile{Name: "m", HomeAddress: host(i), SA: association(host(i)), Router: true, Prefixes: []netip.Prefix{network(i)}})
	}
	w := newWorld(t, c)
	careOf := careOf1
	for i := range maxNesting + 1 {
		ba := onlyAck(t, w.send(at(host(i), careOf, 1)))
		if want := i < maxNesting; ba.Status.Accepted() != want {
			t.Errorf("level %d: %v", i, ba.Status)
		}
		careOf = network(i).Addr().Next()
	}
}

// The prefix table against the simplest model: a search through a list.
func TestNetworksAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	addr := func() netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(4)), 15: byte(r.IntN(4))})
	}
	n, model := newNetworks(), map[netip.Prefix]netip.Addr{}
	for step := range 20000 {
		p := netip.PrefixFrom(addr(), []int{16, 24, 29, 32, 40, 128}[r.IntN(6)]).Masked()
		switch r.IntN(3) {
		case 0:
			n.add(p, homeA)
			model[p] = homeA
		case 1:
			n.remove(p, homeB) // not the owner
			n.remove(p, homeA)
			delete(model, p)
		}
		a, want, bits := addr(), netip.Addr{}, -1
		for p, home := range model {
			if p.Contains(a) && p.Bits() > bits {
				want, bits = home, p.Bits()
			}
		}
		if got := n.lookup(a); got != want {
			t.Fatalf("step %d: lookup of %v is %v, want %v", step, a, got, want)
		}
	}
}
