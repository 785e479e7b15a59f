package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// The home addresses of testConfig's mobiles under newPrefix.
var (
	newA = netip.MustParseAddr("2001:db8:2::a")
	newN = netip.MustParseAddr("2001:db8:2::c")
)

// renumbering is testConfig with a second home prefix.
func renumbering() Config {
	c := testConfig()
	c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}}
	return c
}

// asA is an update of mobile a for one of its home addresses: the same security
// association for all.
func asA(home, careOf netip.Addr, sequence mip6.Sequence) request {
	r := at(home, careOf, sequence)
	r.sa = association(homeA)
	return r
}

// A renumbering as mobile a lives through it: both home addresses at once with one
// security association, each with detection, defence and sequence numbers of its
// own; its network moves to the new one in one step, and there is no moment in
// which two tunnels have it or a refresh of the old one takes it back.
// Covers: H3, H7, N3, N7.
func TestRenumbering(t *testing.T) {
	w := newWorld(t, renumbering())
	w.registered(asA(homeA, careOf1, 5))
	w.run(10 * time.Second)
	wantKinds(t, w.send(asA(newA, careOf1, 2)), "probe 2001:db8:2::a")
	wantKinds(t, w.run(time.Second),
		"set [2001:db8:1::a/128] via 2001:db8:f1::1",
		"set [2001:db8:2::a/128 2001:db8:a::/48] via 2001:db8:f1::1",
		"defend 2001:db8:2::a router=true", "announce 2001:db8:2::a router=true",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:2::a")
	w.run(10 * time.Second)
	if !w.agent.Serves(homeA) || !w.agent.Serves(newA) || w.agent.Serves(homeB) {
		t.Errorf("%+v", w.agent.Bindings())
	}
	if owner := w.agent.networks.lookup(networkA.Addr()); owner != newA {
		t.Errorf("the network belongs to %v", owner)
	}
	// Both move; each sequence number is fresh for its own home address.
	wantKinds(t, w.send(asA(homeA, careOf2, 6)), "set [2001:db8:1::a/128] via 2001:db8:f2::1", "ack 0 to 2001:db8:f2::1 route 2001:db8:1::a")
	wantKinds(t, w.send(asA(newA, careOf2, 3)),
		"set [2001:db8:2::a/128 2001:db8:a::/48] via 2001:db8:f2::1", "ack 0 to 2001:db8:f2::1 route 2001:db8:2::a")
	wantKinds(t, w.send(asA(newA, careOf1, 3)), "drop replay", "ack 135 to 2001:db8:f1::1 route 2001:db8:2::a")
	// The new one is given up: the network is the old one's again at once.
	wantKinds(t, w.send(request{home: newA, source: careOf2, sequence: 4, flags: flagsMR, sa: association(homeA)}),
		"undefend 2001:db8:2::a", "remove 2001:db8:2::a",
		"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:f2::1",
		"ack 0 to 2001:db8:f2::1 route 2001:db8:2::a")
	w.registered(asA(newA, careOf2, 5))
	// And the other way round: the old one ends, the network stays.
	wantKinds(t, w.send(request{home: homeA, source: careOf2, sequence: 7, flags: flagsMR}),
		"undefend 2001:db8:1::a", "remove 2001:db8:1::a", "ack 0 to 2001:db8:f2::1 route 2001:db8:1::a")
	if got := w.tunnels[newA].Inner; !slices.Contains(got, networkA) {
		t.Errorf("forwarded are %v", got)
	}
	if s := w.agent.Stats(); s.Bindings != 1 || s.Mobiles != 3 || s.Registrations != 3 {
		t.Errorf("%+v", s)
	}
}

// Explicit mode: each network goes to the newest binding that registered it, and
// what a binding does not name any more the older one gets.
// Covers: N1, N3.
func TestSharedNetworks(t *testing.T) {
	const p1, p2, p3 = "2001:db8:a:1::/64", "2001:db8:a:2::/64", "2001:db8:a:3::/64"
	w := newWorld(t, renumbering())
	send := func(home netip.Addr, sequence mip6.Sequence, list ...string) {
		t.Helper()
		r := asA(home, careOf1, sequence)
		r.options = prefixOptions(list...)
		if ba := onlyAck(t, append(w.send(r), w.run(time.Second)...)); ba.Status != 0 || ba.Flags != mip6.AckMobileRouter {
			t.Errorf("%+v", ba)
		}
	}
	want := func(home netip.Addr, list ...string) {
		t.Helper()
		if got := w.tunnels[home].Inner[1:]; !slices.Equal(got, prefixes(list...)) {
			t.Errorf("%v has %v, want %v", home, got, list)
		}
	}
	send(homeA, 1, p1, p2)
	send(newA, 1, p2, p3)
	want(homeA, p1)
	want(newA, p2, p3)
	send(newA, 2, p1, p3) // takes p1, gives up p2
	want(homeA, p2)
	want(newA, p1, p3)
	send(homeA, 2, p1, p2, p3)
	want(homeA, p2)
	want(newA, p1, p3)
	w.now = w.now.Add(40 * time.Second)
	send(homeA, 3, p1, p2, p3)
	w.run(30 * time.Second) // the new one expires
	want(homeA, p1, p2, p3)
	if len(w.tunnels) != 1 {
		t.Errorf("%v", w.tunnels)
	}
}

// RFC 6275 §10.3.1, by the prefix of the home address: status 1 under a deprecated
// one, no lifetime beyond it, none under one that has expired.
// Covers: H2, H4.
func TestLifetimesOfOtherPrefixes(t *testing.T) {
	c := renumbering()
	w := newWorld(t, c)
	c.Prefix, c.OtherPrefixes = newPrefix, []HomePrefix{{Prefix: homePrefix, PreferredUntil: w.now, ValidUntil: w.now.Add(41 * time.Second)}}
	w.apply(w.agent.Reconfigure(w.now, c))
	w.send(asA(homeA, careOf1, 1))
	if ba := onlyAck(t, w.run(time.Second)); ba.Status != mip6.StatusPrefixDiscoveryNecessary || ba.Lifetime.Duration() != 40*time.Second {
		t.Errorf("deprecated prefix: %+v", ba)
	}
	w.send(asA(newA, careOf1, 1))
	if ba := onlyAck(t, w.run(time.Second)); ba.Status != mip6.StatusAccepted || ba.Lifetime.Duration() != time.Minute {
		t.Errorf("new prefix: %+v", ba)
	}
	w.run(39 * time.Second)
	if w.agent.Serves(homeA) || !w.agent.Serves(newA) {
		t.Errorf("after the prefix: %+v", w.agent.Bindings())
	}
	if ba := onlyAck(t, w.send(asA(homeA, careOf1, 2))); ba.Status != mip6.StatusNotHomeSubnet {
		t.Errorf("expired prefix: %+v", ba)
	}
}

// The configuration follows the renumbering: the mobile's home address is the new
// one now, the old prefix goes. What is bound under the new one stays, with its
// network, and what is remembered of it.
// Covers: H4.
func TestRenumberingEnds(t *testing.T) {
	c := renumbering()
	w := newWorld(t, c)
	w.registered(asA(newA, careOf1, 9))
	w.registered(asA(homeA, careOf1, 9))
	w.run(10 * time.Second)
	if !slices.Contains(w.tunnels[homeA].Inner, networkA) {
		t.Fatal("the newest binding does not have the network")
	}
	c.Prefix, c.Address, c.OtherPrefixes = newPrefix, agentAddr, []HomePrefix{{Prefix: homePrefix}}
	c.Mobiles = slices.Clone(c.Mobiles)
	c.Mobiles[0].HomeAddress = newA
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c))) // the same addresses in other words
	c.OtherPrefixes, c.Mobiles = nil, c.Mobiles[:1]
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)),
		"undefend 2001:db8:1::a", "remove 2001:db8:1::a", "set [2001:db8:2::a/128 2001:db8:a::/48] via 2001:db8:f1::1",
		"leave 2001:db8:1:0:fdff:ffff:ffff:fffe")
	if last := w.logs[len(w.logs)-1]; last.Message != "binding ended" {
		t.Errorf("log says %q", last.Message)
	}
	wantKinds(t, w.send(asA(newA, careOf2, 9)), "drop replay", "ack 135 to 2001:db8:f2::1 route 2001:db8:2::a")
	wantKinds(t, w.send(asA(homeA, careOf2, 10)), "drop unknown_mobile")
}

// A mobile that is not configured any more loses everything, and nothing of it is
// passed on from one of its bindings to the next on the way.
// Covers: N7.
func TestRenumberedMobileRemoved(t *testing.T) {
	c := renumbering()
	w := newWorld(t, c)
	w.registered(asA(newA, careOf1, 1))
	w.registered(asA(homeA, careOf1, 1))
	c.Mobiles = c.Mobiles[1:]
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)),
		"undefend 2001:db8:1::a", "remove 2001:db8:1::a", "undefend 2001:db8:2::a", "remove 2001:db8:2::a")
	if len(w.agent.networks.owner) != 0 || w.agent.bindings.Len() != 0 {
		t.Errorf("left behind: %v", w.agent.networks.owner)
	}
}

// A home address that the configuration gives to another mobile is not the
// former's any more: its binding ends, and its key is worth nothing there.
// Covers: Attack: BU spoofing.
func TestHomeAddressChangesHands(t *testing.T) {
	c := renumbering()
	w := newWorld(t, c)
	w.registered(asA(newA, careOf1, 9))
	w.run(10 * time.Second)
	other := association(homeN)
	c.Mobiles = append(slices.Clone(c.Mobiles), Mobile{Name: "other", HomeAddress: newA, SA: other})
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)), "undefend 2001:db8:2::a", "remove 2001:db8:2::a")
	if v, _ := attribute(w.logs[len(w.logs)-1], "reason"); v.String() != "home address has another mobile now" {
		t.Errorf("log says %v", v)
	}
	wantKinds(t, w.send(asA(newA, careOf1, 10)), "drop unauthenticated")
	w.registered(request{home: newA, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode, sa: other})
	if list := w.agent.Bindings(); len(list) != 1 || list[0].Mobile != "other" {
		t.Errorf("%+v", list)
	}
}

// Which address a mobile has under another home prefix: that with its interface
// identifier, whatever the lengths of the prefixes; never one that is configured
// for another, or not for a mobile at all.
func TestHomeAddresses(t *testing.T) {
	c := testConfig()
	c.Prefix = netip.MustParsePrefix("2001:db8:0::/47")
	c.OtherPrefixes = []HomePrefix{
		{Prefix: netip.MustParsePrefix("2001:db8:2::/64")}, {Prefix: netip.MustParsePrefix("2001:db8:3::/120")},
		{Prefix: netip.MustParsePrefix("2001:db8:4::7/61")}, // host bits do not matter
	}
	first := netip.MustParseAddr("2001:db8:1:6:7::1:a1") // another subnet of the /47
	c.Mobiles = []Mobile{
		{Name: "first", HomeAddress: first},
		{Name: "second", HomeAddress: netip.MustParseAddr("2001:db8:2:0:7::1:a1")},
		{Name: "third", HomeAddress: netip.MustParseAddr("2001:db8:1::a1")},
		{Name: "agent", HomeAddress: netip.MustParseAddr("2001:db8:2::b1")},
		{Name: "zero", HomeAddress: netip.MustParseAddr("2001:db8:1::100")},
		{Name: "anycast", HomeAddress: netip.MustParseAddr("2001:db8:1:1:fdff:ffff:ffff:fffe")},
	}
	c.Address = netip.MustParseAddr("2001:db8:3::b1")
	for i := range c.Mobiles {
		c.Mobiles[i].SA = association(first)
	}
	w := newWorld(t, c)
	for name, want := range map[string][]string{
		// What first has under the /64 is configured for second; under the /120 it is
		// the first of the three that might have it.
		"first": {"2001:db8:1:6:7:0:1:a1", "2001:db8:3::a1", "2001:db8:4:6:7:0:1:a1"},
		// Not the lowest address of the /47 under the interface identifier of 64 bits.
		"second": {"2001:db8:2:0:7:0:1:a1", "2001:db8::7:0:1:a1", "2001:db8:4:0:7:0:1:a1"},
		"third":  {"2001:db8:1::a1", "2001:db8:2::a1", "2001:db8:4::a1"},
		"agent":  {"2001:db8:2::b1", "2001:db8::b1", "2001:db8:4::b1"},
		"zero":   {"2001:db8:1::100", "2001:db8:2::100", "2001:db8:4::100"},
		// ::fe is the anycast address under the /120.
		"anycast": {"2001:db8:1:1:fdff:ffff:ffff:fffe", "2001:db8:4:1:fdff:ffff:ffff:fffe"},
	} {
		var got []string
		for _, h := range w.agent.homes {
			if h.Name == name {
				got = append(got, h.addr.String())
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
}

// Flag L for both home addresses: there is one link-local address, probed once
// and defended until the last of them ends (RFC 6275 §10.3.1).
// Covers: H3, H7.
func TestSharedLinkLocal(t *testing.T) {
	asN := func(home netip.Addr, sequence mip6.Sequence, lifetime time.Duration) request {
		return request{home: home, source: careOf1, sequence: sequence, lifetime: lifetime,
			flags: flagsNode | mip6.UpdateLinkLocal, sa: association(homeN)}
	}
	w := newWorld(t, renumbering())
	wantKinds(t, w.send(asN(homeN, 1, time.Minute)), "probe 2001:db8:1::c", "probe fe80::c")
	w.run(10 * time.Second)
	wantKinds(t, w.send(asN(newN, 1, time.Minute)), "probe 2001:db8:2::c")
	// Somebody uses the link-local address: a conflict of the one that has it.
	wantKinds(t, w.handle(role.NeighborHeard{Link: homeIndex, Target: netip.MustParseAddr("fe80::c")}))
	if s := w.agent.Stats(); s.Conflicts != 1 || s.Duplicates != 0 {
		t.Errorf("%+v", s)
	}
	wantKinds(t, w.run(time.Second), "set [2001:db8:2::c/128] via 2001:db8:f1::1",
		"defend 2001:db8:2::c router=false", "defend fe80::c router=false",
		"announce 2001:db8:2::c router=false", "announce fe80::c router=false", "ack 0 to 2001:db8:f1::1 route 2001:db8:2::c")
	w.run(10 * time.Second)
	wantKinds(t, w.send(asN(homeN, 2, 0)), "undefend 2001:db8:1::c", "remove 2001:db8:1::c", "ack 0 to 2001:db8:f1::1 route 2001:db8:1::c")
	// Another mobile cannot have it meanwhile.
	if owner := w.agent.linkLocals[netip.MustParseAddr("fe80::c")]; owner != newN {
		t.Errorf("fe80::c belongs to %v", owner)
	}
	w.registered(asN(homeN, 3, time.Minute))
	r := asN(homeN, 4, time.Minute)
	r.flags = flagsNode
	wantKinds(t, w.send(r), "ack 0 to 2001:db8:f1::1 route 2001:db8:1::c")
	wantKinds(t, w.send(asN(newN, 2, 0)), "undefend 2001:db8:2::c", "undefend fe80::c", "remove 2001:db8:2::c", "ack 0 to 2001:db8:f1::1 route 2001:db8:2::c")
	if len(w.agent.linkLocals) != 0 {
		t.Errorf("%v", w.agent.linkLocals)
	}
	// Detection for one while the other, bound already, begins to claim it.
	w.run(time.Minute)
	r.sequence = 10
	w.registered(r)
	w.run(10 * time.Second)
	w.send(asN(newN, 10, time.Minute))
	w.send(asN(homeN, 11, time.Minute))
	wantKinds(t, w.handle(role.NeighborHeard{Link: homeIndex, Target: netip.MustParseAddr("fe80::c")}))
	if s := w.agent.Stats(); s.Conflicts != 2 || s.Duplicates != 0 || s.Probing != 1 {
		t.Errorf("%+v", s)
	}
	// Detection for both at once fails for both.
	w.run(2 * time.Minute)
	w.send(asN(homeN, 15, time.Minute))
	w.send(asN(newN, 13, time.Minute))
	wantKinds(t, w.handle(role.NeighborHeard{Link: homeIndex, Target: netip.MustParseAddr("fe80::c")}),
		"ack 134 to 2001:db8:f1::1 route 2001:db8:1::c", "ack 134 to 2001:db8:f1::1 route 2001:db8:2::c")
	if s := w.agent.Stats(); s.Bindings+s.Probing != 0 || len(w.agent.linkLocals) != 0 {
		t.Errorf("left behind %+v", s)
	}
}

// RFC 6275 §15.1: neither of a mobile's home addresses is a care-of address of the
// other, nor is anything in its network; of another mobile's neither.
// Covers: Attack: loops.
func TestRenumberingLoops(t *testing.T) {
	w := newWorld(t, renumbering())
	w.registered(asA(newA, careOf1, 1))
	inA := netip.MustParseAddr("2001:db8:a:1::7")
	for sequence, careOf := range []netip.Addr{newA, newN, inA} {
		r := request{home: homeA, source: careOf, sequence: mip6.Sequence(sequence + 1), lifetime: time.Minute, flags: flagsNode}
		if ba := onlyAck(t, w.send(r)); ba.Status != mip6.StatusInvalidCareOfAddress {
			t.Errorf("care-of address %v: %v", careOf, ba.Status)
		}
	}
	// In the network of another mobile that is inside ours.
	w.registered(at(homeB, inA, 1))
	if ba := onlyAck(t, w.send(asA(homeA, netip.MustParseAddr("2001:db8:b:1::7"), 10))); ba.Status != mip6.StatusInvalidCareOfAddress {
		t.Errorf("a circle through both home addresses: %v", ba.Status)
	}
}

// RFC 6275 §6.8: at most one advertisement a second to a mobile, both its home
// addresses together, and both are served.
// Covers: H13.
func TestAdvertisementsForBothAddresses(t *testing.T) {
	w := newWorld(t, renumbering())
	w.registered(asA(homeA, careOf1, 1))
	w.registered(asA(newA, careOf1, 1))
	w.run(10 * time.Second)
	if got := advertisements(w.solicit(solicitation(homeA, careOf1, 1))); len(got) != 1 || got[0].RouteHome != homeA {
		t.Errorf("%+v", got)
	}
	if got := advertisements(w.solicit(solicitation(newA, careOf1, 2))); len(got) != 0 {
		t.Errorf("the second at once: %+v", got)
	}
	if got := advertisements(w.run(999 * time.Millisecond)); len(got) != 0 {
		t.Errorf("the second within a second: %+v", got)
	}
	if got := advertisements(w.run(time.Millisecond)); len(got) != 1 || got[0].RouteHome != newA ||
		got[0].Message.(mip6.PrefixAdvertisement).Identifier != 2 {
		t.Errorf("%+v", got)
	}
}
