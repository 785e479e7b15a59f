package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/nd"
)

// by is who has taken an address.
var by = netip.MustParseAddr("fe80::99")

// recall is the answer of the router of eui to the question of Simple DNA.
func (b *bench) recall() []role.Action {
	return b.handle(role.NeighborHeard{Link: 1, From: eui.router, Target: eui.router, Solicited: true})
}

// elsewhere takes the node to ar2 by the same interface, for a time in which the
// address of before has gone.
func (b *bench) elsewhere() {
	b.Helper()
	b.carrier(false)
	b.pass(time.Second)
	b.carrier(true)
	b.hear(ar2)
	b.pass(retransTimer)
	b.acknowledge()
	b.pass(time.Minute)
	b.carrier(false)
	b.pass(time.Second)
	b.carrier(true)
}

// probedBehind asserts that actions probe an address once, behind what the node uses
// it for.
func (b *bench) probedBehind(did []role.Action, a netip.Addr) {
	b.Helper()
	probes := only[role.ProbeAddress](did)
	if !slices.Equal(probes, []role.ProbeAddress{{Link: 1, Addr: a}}) {
		b.Fatalf("probes %v, want one for %v", probes, a)
	}
	at := slices.Index(did, role.Action(probes[0]))
	for i, x := range did {
		switch x.(type) {
		case role.Send, role.Forward, role.AssignAddress, role.AddRoute:
			if i > at {
				b.Errorf("the probe comes before %#v", x)
			}
		}
	}
}

// An address that was proven on a link is used at once when the node or the carrier
// returns there, and probed behind that: somebody else may have found it free
// meanwhile (RFC 4862 §5.4, RFC 6059 §5.8). If so, it is given up, counted and
// logged, another one is registered in the same moment or a lease declined (RFC 8415
// §18.2.8), and the next return does not begin with it.
//
// Covers: M8.
func TestReusedCareOf(t *testing.T) {
	leasedHere := netip.MustParseAddr("2001:db8:a5::77")
	for _, c := range []struct {
		name   string
		change func(*Config)
		ra     func(*nd.RouterAdvertisement)
		leased bool
		back   func(*bench) []role.Action
		again  bool // the home agent is told, since it was told of another place
	}{
		{"from another link, by DNA", nil, nil, false, func(b *bench) []role.Action { b.elsewhere(); return b.recall() }, true},
		{"from another link, by advertisement", nil, nil, false, func(b *bench) []role.Action { b.elsewhere(); return b.hear(eui) }, true},
		{"from another link, by DNA, new ones wait", func(x *Config) { x.WaitForDAD = true }, nil, false,
			func(b *bench) []role.Action { b.elsewhere(); return b.recall() }, true},
		{"from another link, leased", nil, managed, true, func(b *bench) []role.Action { b.elsewhere(); return b.recall() }, true},
		{"carrier, by DNA", nil, nil, false, func(b *bench) []role.Action {
			b.carrier(false)
			b.pass(5 * time.Second)
			b.carrier(true)
			return b.recall()
		}, false},
		{"carrier, by DNA, new ones wait", func(x *Config) { x.WaitForDAD = true }, nil, false, func(b *bench) []role.Action {
			b.carrier(false)
			b.pass(5 * time.Second)
			b.carrier(true)
			return b.recall()
		}, false},
		{"carrier, by advertisement", nil, nil, false, func(b *bench) []role.Action {
			b.carrier(false)
			b.pass(5 * time.Second)
			b.carrier(true)
			return b.hear(eui)
		}, false},
		{"there and back below the link, at once", nil, nil, false, func(b *bench) []role.Action {
			b.hear(ar2) // the old router does not answer
			b.pass(queryMax)
			b.acknowledge()
			b.pass(retireAfter / 2)
			b.hear(eui)
			did := b.pass(queryMax)
			b.acknowledge()
			return did
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.change)
			b.carrier(true)
			b.handle(advertisement(1, eui, c.ra))
			if c.leased {
				b.handle(lease(1, leasedHere))
			}
			b.pass(retransTimer)
			b.acknowledge()
			b.pass(retireAfter)
			proven := b.node.current.careOf
			if c.leased != (proven == leasedHere) {
				t.Fatalf("at %v", proven)
			}

			did := c.back(b)
			b.probedBehind(did, proven)
			if told := len(updates(did)) == 1; told != c.again || b.node.current.careOf != proven || !b.node.current.works() {
				t.Fatalf("told %v, at %v", told, b.node.current.careOf)
			}
			if c.again {
				b.source(proven)
			}
			b.pass(5 * time.Millisecond)
			did = b.handle(role.NeighborHeard{Link: 1, From: by, Target: proven})
			if b.kernel.has(1, proven) || b.node.Snapshot(b.now).Stats.Duplicates != 1 {
				t.Errorf("%v stays, or is not counted", proven)
			}
			if !slices.ContainsFunc(only[role.Log](did), func(l role.Log) bool { return l.Level == slog.LevelWarn }) {
				t.Error("nobody is told")
			}
			if c.leased {
				if d := only[role.DeclineAddress](did); len(d) != 1 || d[0].Addr != proven {
					t.Errorf("declined %v", d)
				}
				return
			}
			other := b.node.careOfs.on(1, eui.prefix).addr
			if other == proven {
				t.Fatal("goes on with it")
			}
			b.probedBehind(did, other)
			if c.change != nil { // that waits
				did = b.pass(retransTimer)
			}
			if len(updates(did)) != 1 {
				t.Fatalf("%d updates", len(updates(did)))
			}
			b.source(other)
			b.acknowledge()
			b.pass(5 * time.Second)
			b.elsewhere()
			b.probedBehind(b.recall(), other)
			b.source(other)
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// A link that flaps does not make a multicast each time: there is a probe for an
// address in a second, at most, and one after the last return at any rate, whose
// answer counts (RFC 4862 §5.4, RFC 6059 §5.11).
//
// Covers: M8.
func TestReuseProbesAreFew(t *testing.T) {
	for name, back := range map[string]func(*bench) []role.Action{
		"by DNA":           (*bench).recall,
		"by advertisement": func(b *bench) []role.Action { return b.hear(eui) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.carrier(true)
			b.hear(eui)
			b.pass(retransTimer)
			b.acknowledge()
			proven := b.node.current.careOf
			begin, before := b.now, len(b.all)
			for range 100 {
				b.carrier(false)
				b.pass(5 * time.Millisecond)
				b.carrier(true)
				back(b)
				b.pass(45 * time.Millisecond)
			}
			last, during := len(b.all), len(only[role.ProbeAddress](b.all[before:]))
			if most := 1 + int(b.now.Sub(begin)/probeInterval); during == 0 || during > most {
				t.Errorf("%d probes in %v", during, b.now.Sub(begin))
			}
			b.hear(eui) // where the question was not asked again
			b.pass(probeInterval)
			if n := len(only[role.ProbeAddress](b.all[last:])); n != 1 {
				t.Fatalf("%d probes after the last return", n)
			}
			b.handle(role.NeighborHeard{Link: 1, From: by, Target: proven})
			if b.kernel.has(1, proven) {
				t.Error("the answer is not heard")
			}
		})
	}
}

// A probe whose link goes down proves nothing, since no answer could have been heard
// (RFC 4862 §5.4): where a new address waits, that one has to wait on the return.
//
// Covers: M8.
func TestInterruptedProbe(t *testing.T) {
	b := newBench(t, func(c *Config) { c.WaitForDAD = true })
	b.carrier(true)
	b.hear(eui)
	b.pass(retransTimer / 2)
	b.carrier(false)
	b.pass(10 * retransTimer)
	b.carrier(true)
	did := b.recall()
	if len(only[role.ProbeAddress](did)) != 1 || len(updates(did)) != 0 {
		t.Fatalf("not probed, or used: %v", did)
	}
	if n := len(updates(b.pass(retransTimer))); n != 1 {
		t.Errorf("%d updates", n)
	}
}

// An address that was left while it was probed is probed again when it is taken up
// again: what was said to it meanwhile was not for an address in use.
//
// Covers: M8.
func TestLeftWhileProbed(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(100 * time.Millisecond)
	b.hear(ar2)
	b.pass(queryMax)
	b.acknowledge()
	b.pass(100 * time.Millisecond)
	b.hear(ar1)
	b.pass(queryMax)
	b.source(careOf1)
	b.acknowledge()
	before := len(b.all)
	b.pass(probeInterval)
	if p := only[role.ProbeAddress](b.all[before:]); !slices.Equal(p, []role.ProbeAddress{{Link: 1, Addr: careOf1}}) {
		t.Fatalf("probed %v", p)
	}
	b.handle(role.NeighborHeard{Link: 1, From: by, Target: careOf1})
	if b.kernel.has(1, careOf1) || b.node.current.careOf == careOf1 {
		t.Error("goes on with it")
	}
}

// Others may take one address of the node after the other: only those that are taken
// in a row, before one has been proven, end the use of the prefix (RFC 7217 §6).
//
// Covers: M8.
func TestTakenOneAfterTheOther(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(eui)
	seen := map[netip.Addr]bool{}
	for range 3 * maxIdentifiers {
		b.pass(retransTimer)
		b.acknowledge()
		b.carrier(false)
		b.pass(time.Second)
		b.carrier(true)
		b.recall()
		seen[b.node.current.careOf] = true
		b.handle(role.NeighborHeard{Link: 1, From: by, Target: b.node.current.careOf})
		if !b.node.current.works() || !b.kernel.has(1, b.node.current.careOf) {
			t.Fatalf("given up after %d", len(seen))
		}
		b.source(b.node.current.careOf)
	}
	if len(seen) != 3*maxIdentifiers {
		t.Errorf("%d addresses: one was used again although it is taken", len(seen))
	}
}

// What somebody else has assigned is not probed on the return either: that is for who
// assigned it.
//
// Covers: M8.
func TestForeignReused(t *testing.T) {
	b := newBench(t, ofOthers)
	b.carrier(true)
	b.handle(lent(1, foreign1))
	b.hear(ar1)
	b.acknowledge()
	b.pass(5 * time.Second)
	for range 3 {
		b.carrier(false)
		b.pass(5 * time.Second)
		b.carrier(true)
		b.hear(ar1)
	}
	if p := only[role.ProbeAddress](b.all); len(p) != 0 {
		t.Errorf("probed %v", p)
	}
	if !b.node.current.works() {
		t.Error("not in use")
	}
}

// Of two uplinks on one link the second hears the probe of the first, and that is
// nobody else's: their addresses differ.
//
// Covers: M8.
func TestProbeHeardByOtherUplink(t *testing.T) {
	b := newBench(t, nil)
	other := upLink(2, "up1", true)
	other.Link.Ethernet[5]++
	b.handle(other)
	b.handle(advertisement(2, eui, nil))
	b.acknowledge()
	b.carrier(true)
	b.hear(eui)
	b.pass(DefaultHysteresis + retransTimer)
	b.acknowledge()
	b.pass(retireAfter)
	b.carrier(false)
	b.acknowledge()
	b.carrier(true)
	b.recall()
	b.pass(DefaultHysteresis)
	p := only[role.ProbeAddress](b.all)
	last := p[len(p)-1]
	if last.Link != 1 || len(p) < 3 || b.node.target().careOf != last.Addr {
		t.Fatalf("probed %v, at %v", p, b.node.target().careOf)
	}
	b.handle(role.NeighborHeard{Link: 2, From: netip.IPv6Unspecified(), Target: last.Addr, Solicitation: true})
	b.acknowledge()
	b.pass(retransTimer)
	if s := b.node.Snapshot(b.now); s.Stats.Duplicates != 0 || s.Attachment.CareOf != last.Addr {
		t.Errorf("%d duplicates, at %v", s.Stats.Duplicates, s.Attachment.CareOf)
	}
}
