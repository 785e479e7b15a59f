package ha

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

var linkLocalA = netip.MustParseAddr("fe80::a")

// RFC 6275 §10.3.1 with RFC 4862 §5.4.3, §5.4.4: somebody on the home link has
// the address, or wants it: another home agent that still defends it among them.
// Covers: H3.
func TestDuplicateAddress(t *testing.T) {
	for _, tt := range []struct {
		name   string
		flags  mip6.UpdateFlags
		heard  role.NeighborHeard
		failed bool
	}{
		{"advertisement", flagsMR, role.NeighborHeard{Link: homeIndex, From: linkLocalA, Target: homeA}, true},
		{"probe of another", flagsMR, role.NeighborHeard{Link: homeIndex, From: netip.IPv6Unspecified(), Target: homeA, Solicitation: true}, true},
		{"link-local address, flag L", flagsMR | mip6.UpdateLinkLocal, role.NeighborHeard{Link: homeIndex, Target: linkLocalA}, true},
		{"link-local address without flag L", flagsMR, role.NeighborHeard{Link: homeIndex, Target: linkLocalA}, false},
		{"another link", flagsMR, role.NeighborHeard{Link: 7, Target: homeA}, false},
		{"another address", flagsMR, role.NeighborHeard{Link: homeIndex, Target: homeB}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			r := at(homeA, careOf1, 1)
			r.flags = tt.flags
			w.send(r)
			w.now = w.now.Add(time.Second / 2)
			actions := w.handle(tt.heard)
			if !tt.failed {
				wantKinds(t, actions)
				if ba := onlyAck(t, w.run(time.Second)); ba.Status != 0 {
					t.Errorf("%v", ba.Status)
				}
				return
			}
			wantKinds(t, actions, "ack 134 to 2001:db8:f1::1 route 2001:db8:1::a")
			wantKinds(t, w.run(time.Minute))
			if len(w.agent.Bindings()) != 0 || len(w.agent.linkLocals) != 0 || w.agent.Stats().Duplicates != 1 {
				t.Errorf("left behind %+v, %+v", w.agent.Bindings(), w.agent.Stats())
			}
			// Another try is another detection.
			r.sequence = 2
			w.registered(r)
		})
	}
}

// 10,000 retransmissions while detection runs: one detection, one answer, to
// the newest; and the same for copies of one update. The agent holds no more
// memory after them than after the first.
// Covers: B4, Attack: cache exhaustion.
func TestRetransmissionsDuringDetection(t *testing.T) {
	for _, copies := range []bool{false, true} {
		w := newWorld(t, testConfig())
		var sent []mip6.Packet
		last := mip6.Sequence(1)
		var before, after runtime.MemStats
		for i := range 10000 {
			if i == 1 || i == 9999 {
				runtime.GC()
				before = after
				runtime.ReadMemStats(&after)
			}
			w.now = w.now.Add(time.Second / 20000)
			if !copies {
				last = mip6.Sequence(i + 1)
			}
			r := at(homeA, careOf1, last)
			if i == 9999 && !copies {
				r.source, r.lifetime = careOf2, 2*time.Minute
			}
			sent = append(sent, acks(w.send(r))...)
			if n := w.agent.bindings.Len(); n != 1 {
				t.Fatalf("%d entries", n)
			}
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<10 {
			t.Errorf("copies=%t: the heap grew by %d octets", copies, grown)
		}
		sent = append(sent, acks(w.run(30*time.Second))...)
		if len(sent) != 1 || w.probes != 1 {
			t.Fatalf("copies=%t: %d answers, %d probes; want one of each", copies, len(sent), w.probes)
		}
		ba := sent[0].Message.(mip6.BindingAcknowledgement)
		if ba.Sequence != last || ba.Status != 0 || copies != (sent[0].Destination == careOf1) {
			t.Errorf("copies=%t: answered %+v to %v", copies, ba, sent[0].Destination)
		}
		if got := w.tunnels[homeA].Paths[0].Remote; got != sent[0].Destination {
			t.Errorf("bound %v", got)
		}
	}
}

// RFC 4862 §5.1: DupAddrDetectTransmits probes, RetransTimer apart; flag L that
// comes with a later update has its own (RFC 6275 §10.3.1).
// Covers: H3, H7.
func TestDetectionOfBothAddresses(t *testing.T) {
	c := testConfig()
	c.DupAddrDetectTransmits, c.RetransTimer = 2, 100*time.Millisecond
	w := newWorld(t, c)
	wantKinds(t, w.send(at(homeN, careOf1, 1)), "ack 140 to 2001:db8:f1::1 route 2001:db8:1::c")
	r := request{home: homeN, source: careOf1, sequence: 2, lifetime: time.Minute, flags: flagsNode}
	wantKinds(t, w.send(r), "probe 2001:db8:1::c")
	r.sequence, r.flags = 3, flagsNode|mip6.UpdateLinkLocal
	wantKinds(t, w.send(r))
	wantKinds(t, w.run(100*time.Millisecond), "probe 2001:db8:1::c", "probe fe80::c")
	wantKinds(t, w.run(100*time.Millisecond), "probe fe80::c")
	// A host's addresses, both; RFC 6275 §10.4.1.
	wantKinds(t, w.run(100*time.Millisecond),
		"set [2001:db8:1::c/128] via 2001:db8:f1::1",
		"defend 2001:db8:1::c router=false", "defend fe80::c router=false",
		"announce 2001:db8:1::c router=false", "announce fe80::c router=false",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:1::c")
	w.run(10 * time.Second)
	// Flag L cleared and set again.
	r.sequence, r.flags = 4, flagsNode
	wantKinds(t, w.send(r), "undefend fe80::c", "ack 0 to 2001:db8:f1::1 route 2001:db8:1::c")
	r.sequence, r.flags = 5, flagsNode|mip6.UpdateLinkLocal
	actions := kinds(w.send(r))
	if !slices.Contains(actions, "defend fe80::c router=false") || !slices.Contains(actions, "announce fe80::c router=false") {
		t.Errorf("%q", actions)
	}
	w.run(time.Minute)
	if len(w.defended)+len(w.agent.linkLocals) != 0 {
		t.Errorf("still defended: %v", w.defended)
	}
}

// Two home addresses with one interface identifier under a shorter home prefix
// cannot both have the link-local address.
func TestLinkLocalTaken(t *testing.T) {
	c := testConfig()
	c.Prefix = netip.MustParsePrefix("2001:db8:0::/47")
	other := netip.MustParseAddr("2001:db8:1:1::a")
	c.Mobiles = append(c.Mobiles, Mobile{Name: "other", HomeAddress: other, SA: association(other)})
	w := newWorld(t, c)
	r := at(homeA, careOf1, 1)
	r.flags |= mip6.UpdateLinkLocal
	w.registered(r)
	r = request{home: other, source: careOf2, sequence: 1, lifetime: time.Minute, flags: flagsNode | mip6.UpdateLinkLocal}
	wantKinds(t, w.send(r), "ack 134 to 2001:db8:f2::1 route 2001:db8:1:1::a")
	r.flags, r.sequence = flagsNode, 2
	w.registered(r)
	// When the first gives it up the second can have it, and keeps it when the
	// first comes again.
	w.send(request{home: homeA, atHome: true, sequence: 2, flags: flagsMR | mip6.UpdateLinkLocal})
	r.flags, r.sequence = flagsNode|mip6.UpdateLinkLocal, 3
	w.send(r)
	w.registered(at(homeA, careOf1, 3))
	if owner := w.agent.linkLocals[linkLocalA]; owner != other || !w.defended[linkLocalA] {
		t.Errorf("%v belongs to %v", linkLocalA, owner)
	}
}

// Without detection, or without a home link to detect on, the answer is at once.
func TestWithoutDetection(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	wantKinds(t, w.send(at(homeA, careOf1, 1)),
		"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:f1::1",
		"defend 2001:db8:1::a router=true", "announce 2001:db8:1::a router=true",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")

	// A virtual home network (RFC 4887): nothing to probe or to defend on.
	c = testConfig()
	c.HomeLink = ""
	w = newWorld(t, c)
	wantKinds(t, w.send(at(homeA, careOf1, 1)),
		"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:f1::1",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")
	wantKinds(t, w.send(request{home: homeA, source: careOf1, sequence: 2, flags: flagsMR}),
		"remove 2001:db8:1::a", "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")
}

// A neighbour that uses a registered home address does not end the binding, and
// cannot fill the log.
func TestConflict(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.logs = nil
	for range 1000 {
		wantKinds(t, w.handle(role.NeighborHeard{Link: homeIndex, From: linkLocalA, Target: homeA}))
	}
	if len(w.tunnels) != 1 || w.agent.Stats().Conflicts != 1000 || len(w.logs) != complaints.Burst {
		t.Errorf("%d tunnels, %+v, %d log lines", len(w.tunnels), w.agent.Stats(), len(w.logs))
	}
}

// The home link goes and comes back, with another index; bindings survive and are
// defended on the new one. Their addresses are announced when nobody else has them there.
func TestHomeLinkReplaced(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.registered(request{home: homeN, source: careOf2, sequence: 1, lifetime: time.Minute, flags: flagsNode})
	w.run(10 * time.Second)
	w.send(at(homeB, careOf1, 1)) // being probed while the link goes
	w.link = role.Link{}
	wantKinds(t, w.handle(role.LinkGone{Index: homeIndex}), "leave 2001:db8:1:0:fdff:ffff:ffff:fffe")
	wantKinds(t, w.run(time.Second), "ack 130 to 2001:db8:f1::1 route 2001:db8:1::b")
	if len(w.tunnels) != 2 {
		t.Errorf("bindings did not survive the link")
	}
	wantKinds(t, w.handle(role.LinkChanged{Link: role.Link{Index: 4, Name: "eth0", Up: true}}))
	w.link = role.Link{Index: 9, Name: "eth1", Up: true}
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}),
		"join 2001:db8:1:0:fdff:ffff:ffff:fffe", "defend 2001:db8:1::a router=true", "defend 2001:db8:1::c router=false")
	wantKinds(t, w.run(10*time.Second), "probe 2001:db8:1::a", "probe 2001:db8:1::c", "announce 2001:db8:1::a router=true", "announce 2001:db8:1::c router=false")
	// Carrier lost and back: the neighbours are asked and told again, no more.
	w.link.Up = false
	before := w.agent.Next()
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}))
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}))
	if !w.agent.Next().Equal(before) {
		t.Errorf("something is to be announced on a link without carrier")
	}
	w.link.Up = true
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}), "join 2001:db8:1:0:fdff:ffff:ffff:fffe")
	wantKinds(t, w.run(10*time.Second), "probe 2001:db8:1::a", "probe 2001:db8:1::c", "announce 2001:db8:1::a router=true", "announce 2001:db8:1::c router=false")
	// Any other change of it tells nobody anything.
	w.link.MTU = 1400
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}))
	wantKinds(t, w.run(10*time.Second))
}

// Two home agents on one link have nothing in common but the list of each other:
// while one defends a home address, detection makes the other refuse it (RFC 6275
// §10.3.1), and takes it when the first has let it go.
// Covers: H3, H12.
func TestTwoHomeAgents(t *testing.T) {
	one, two := newWorld(t, testConfig()), newWorld(t, testConfig())
	two.hears(routerX, homeAgentRA(agentX))
	one.registered(at(homeA, careOf1, 1))
	move := func(sequence mip6.Sequence) mip6.Status {
		actions := two.send(at(homeA, careOf2, sequence))
		for _, action := range actions {
			if p, ok := action.(role.ProbeAddress); ok && one.defended[p.Addr] {
				actions = append(actions, two.handle(role.NeighborHeard{Link: homeIndex, From: routerX, Target: p.Addr})...)
			}
		}
		return onlyAck(t, append(actions, two.run(time.Second)...)).Status
	}
	if s := move(2); s != mip6.StatusDuplicateAddress || two.agent.Serves(homeA) {
		t.Errorf("while the other defends it: %v", s)
	}
	if !one.agent.Serves(homeA) || len(two.agent.HomeAgents(two.now)) != 2 {
		t.Errorf("the refusal changed more than it should")
	}
	one.send(request{home: homeA, source: careOf1, sequence: 3, flags: flagsMR})
	if s := move(4); s != mip6.StatusAccepted {
		t.Errorf("afterwards: %v", s)
	}
}
