package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
)

var (
	foreign1 = netip.MustParseAddr("2001:db8:a1::f1")
	foreign2 = netip.MustParseAddr("2001:db8:a2::f2")
)

// lent is what somebody else has assigned.
func lent(link int, addresses ...netip.Addr) role.ForeignAddresses {
	return lentFor(link, time.Hour, time.Hour, addresses...)
}

func lentFor(link int, preferred, valid time.Duration, addresses ...netip.Addr) role.ForeignAddresses {
	e := role.ForeignAddresses{Link: link}
	for _, a := range addresses {
		e.Addresses = append(e.Addresses, role.LeasedPrefix{Prefix: netip.PrefixFrom(a, 64), Preferred: preferred, Valid: valid})
	}
	return e
}

// ofOthers leaves the first uplink to somebody else.
func ofOthers(c *Config) { c.Addressing = map[string]Addressing{"up0": AddressingForeign} }

// On an interface that somebody else manages the node uses an address that is
// there, and changes nothing but for the default route of that address and the
// home address in the data plane (see kernel.spares): in any order of events.
//
// Covers: M8, B2.
func TestForeignCareOf(t *testing.T) {
	for name, events := range map[string][]role.Event{
		"address first": {upLink(1, "up0", true), lent(1, foreign1), advertisement(1, ar1, nil)},
		"router first":  {upLink(1, "up0", true), advertisement(1, ar1, nil), lent(1, foreign1)},
		"link last":     {lent(1, foreign1), upLink(1, "up0", true), advertisement(1, ar1, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, ofOthers)
			for i, e := range events {
				b.pass(time.Millisecond)
				if did := b.handle(e); (len(updates(did)) == 1) != (i == 2) {
					t.Fatalf("event %d: %v", i, did)
				}
			}
			b.source(foreign1)
			b.acknowledge()
			as, rs := b.kernelState()
			if want := []string{"2001:db8:10::100/128 dev 0"}; !slices.Equal(as, want) {
				t.Errorf("addresses %v", as)
			}
			if want := []string{"::/0 from 2001:db8:a1::f1/128 dev 1 via fe80::a1"}; !slices.Equal(rs, want) {
				t.Errorf("routes %v", rs)
			}
			if len(only[role.ProbeAddress](b.all)) != 0 {
				t.Error("duplicate address detection is the other client's")
			}
			if c := b.node.Snapshot(b.now).CareOfs; len(c) != 1 || !c[0].Foreign || c[0].Optimistic {
				t.Errorf("snapshot %+v", c)
			}
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// The default route without a source is somebody else's, except for the one that
// gives this host the home address as its source.
func TestDefaultRouteOnForeignUplink(t *testing.T) {
	b := newBench(t, func(c *Config) { ofOthers(c); c.DefaultSource = true })
	b.carrier(true)
	b.handle(lent(1, foreign1))
	b.hear(ar1)
	b.acknowledge()
	if d := b.kernel.plainDefaults(); len(d) != 1 || d[0].Source != homeAddress || d[0].Link != 0 {
		t.Errorf("away: %v", d)
	}
	b.pass(4 * time.Hour) // nobody serves it
	b.hear(ar1)
	if d := b.kernel.plainDefaults(); len(d) != 0 {
		t.Errorf("without a home agent: %v", d)
	}
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	if d := b.kernel.plainDefaults(); len(d) != 1 || d[0].Source != homeAddress || d[0].Link != 1 {
		t.Errorf("at home: %v", d)
	}
	c := b.node.config
	c.DefaultSource = false
	b.did(b.node.Reconfigure(b.now, c))
	if d := b.kernel.plainDefaults(); len(d) != 0 {
		t.Errorf("at home, not for this host: %v", d)
	}
}

// At home by a foreign uplink the home address is assigned, since it is ours, with
// no route of its own; when it leaves it is gone.
//
// Covers: M9, B3.
func TestHomeOnForeignUplink(t *testing.T) {
	b := newBench(t, ofOthers)
	b.carrier(true)
	b.handle(lent(1, foreign1))
	b.hear(ar1)
	b.acknowledge()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	if u, p := b.lastUpdate(); u.Lifetime != 0 || p.Source != homeAddress {
		t.Errorf("no de-registration: %v from %v", u, p.Source)
	}
	b.acknowledge()
	b.pass(5 * time.Second)
	as, rs := b.kernelState()
	if want := []string{"2001:db8:10::100/64 dev 1"}; !slices.Equal(as, want) || len(rs) != 0 {
		t.Errorf("at home: %v %v", as, rs)
	}
	b.carrier(false)
	b.carrier(true)
	b.hear(ar1)
	b.acknowledge()
	as, _ = b.kernelState()
	if want := []string{"2001:db8:10::100/128 dev 0"}; !slices.Equal(as, want) {
		t.Errorf("away again: %v", as)
	}
	b.handle(role.Stop{})
	b.pass(3 * time.Second)
	b.empty()
}

// Addresses come and go as the other client has it.
//
// Covers: M8, B2.
func TestForeignAddressesChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []role.Event
		pass   time.Duration
		want   netip.Addr // of the attachment; invalid: none
	}{
		{"gone", []role.Event{lent(1)}, 0, netip.Addr{}},
		{"another one instead", []role.Event{lent(1, leased1)}, 0, leased1},
		{"another one beside", []role.Event{lent(1, leased1, foreign1)}, 0, foreign1},
		{"expired", []role.Event{lentFor(1, time.Second, time.Minute, foreign1)}, time.Minute, netip.Addr{}},
		{"deprecated, nothing else", []role.Event{lentFor(1, 0, time.Minute, foreign1)}, 0, foreign1},
		{"renewed", []role.Event{lentFor(1, 30*time.Second, time.Minute, foreign1), lent(1, foreign1)}, 2 * time.Minute, foreign1},
		{"lost to the home address", []role.Event{lent(1, homeAddress)}, 0, netip.Addr{}},
		{"of another interface", []role.Event{lent(2, foreign2)}, 0, foreign1},
		{"leased by a client that should not be", []role.Event{lease(1, leased1)}, 0, foreign1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, ofOthers)
			b.carrier(true)
			b.hear(ar1)
			b.handle(lent(1, foreign1))
			b.acknowledge()
			b.pass(5 * time.Second)
			for _, e := range c.events {
				b.handle(e)
			}
			b.pass(c.pass)
			if a := b.node.current; a.works() != c.want.IsValid() || a.works() && a.careOf != c.want {
				t.Errorf("at %+v", a)
			}
			b.pass(retireAfter)
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// On another link an address of the link before is used only if a router there
// advertises its prefix, until the other client has had the time to replace it.
//
// Covers: M8, B9.
func TestForeignMove(t *testing.T) {
	b := newBench(t, ofOthers)
	b.carrier(true)
	b.handle(lent(1, foreign1))
	b.hear(ar1)
	b.acknowledge()
	b.carrier(false)
	b.carrier(true)
	if b.hear(ar2); b.node.current.works() {
		t.Fatal("uses the address of the link before")
	}
	b.pass(300 * time.Millisecond)
	b.handle(lent(1, foreign1, foreign2))
	b.source(foreign2)
	b.acknowledge()
	b.pass(time.Minute)
	b.handle(lent(1, foreign2))
	if n := b.node.stats.UpdatesSent; n != 2 || b.node.reg.careOf != foreign2 {
		t.Errorf("%d updates, registered %v", n, b.node.reg.careOf)
	}

	// A client that gives addresses of no advertised prefix, and keeps its lease.
	b = newBench(t, ofOthers)
	b.carrier(true)
	b.handle(lent(1, leasedX))
	b.handle(advertisement(1, ar1, bare))
	b.source(leasedX)
	b.acknowledge()
	b.carrier(false)
	b.carrier(true)
	if b.handle(advertisement(1, ar1, bare)); b.node.current.works() {
		t.Fatal("believed at once to be of this link, which has no name")
	}
	if b.pass(foreignPatience); !b.node.current.works() || b.node.current.careOf != leasedX {
		t.Errorf("not used although the other client has left it: %+v", b.node.current)
	}
}

// A router as foreign as its uplink: the mobile network goes through the tunnel,
// and no default route of ours leads beside it.
//
// Covers: R8.
func TestRouterOnForeignUplink(t *testing.T) {
	b := newRouterBench(t, ofOthers)
	b.carrier(true)
	b.handle(lent(1, foreign1))
	b.hear(ar1)
	b.acknowledge()
	if b.kernel.tunnel == nil || len(b.kernel.plainDefaults()) != 0 {
		t.Errorf("tunnel %v, default routes %v", b.kernel.tunnel, b.kernel.plainDefaults())
	}
	b.handle(role.Stop{})
	b.pass(3 * time.Second)
	b.empty()
}
