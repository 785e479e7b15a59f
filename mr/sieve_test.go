package mr

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// network is one of many mobile network prefixes.
func network(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", 0x100+i))
}

// named are the prefixes of an update.
func named(u mip6.BindingUpdate) (list []netip.Prefix) {
	for _, o := range mip6.All[mip6.MobileNetworkPrefix](u) {
		list = append(list, o.Prefix)
	}
	return list
}

// inUse are the prefixes that may be used inside the network.
func (b *bench) inUse() (list []netip.Prefix) {
	for _, n := range b.router.Networks(b.now).Prefixes {
		if n.Usable {
			list = append(list, n.Prefix)
		}
	}
	return list
}

// One prefix that the home agent does not take costs the network no other one: a
// refusal does not say which it is about, so each is tried (RFC 3963 §5.4.2, §6.2).
//
// Covers: R5, R3.
func TestOneBadPrefix(t *testing.T) {
	all := []netip.Prefix{network(0), network(1), network(2), network(3)}
	for bad := range all {
		b := newBenchOf(t, Explicit, all, agent)
		good := slices.Delete(slices.Clone(all), bad, bad+1)
		n := b.serve(good...)
		if u, _ := b.last(); !slices.Equal(named(u), good) || !slices.Equal(b.inUse(), good) || b.router.Mode() != Explicit {
			t.Errorf("%v is refused: named %v, in use %v", all[bad], named(u), b.inUse())
		}
		if n > len(all)+2 {
			t.Errorf("%v is refused: %d updates", all[bad], n)
		}
		if got := (extension{b.router}).Inner(); !slices.Equal(got, all) {
			t.Errorf("%v is refused: inner %v", all[bad], got) // beside the tunnel it must not leave
		}
		// It is asked for again, and the others are not touched by that.
		before := len(b.all)
		b.now = b.router.again
		b.handle(role.Timeout{})
		b.serve(good...)
		if _, _, unusable := count(b.all[before:]); slices.ContainsFunc(unusable, func(p netip.Prefix) bool { return p != all[bad] }) {
			t.Errorf("%v is asked for again: %v leave the network", all[bad], unusable)
		}
		if u, _ := b.last(); !slices.Equal(named(u), good) || b.router.again.Sub(b.now) < leastAgain {
			t.Errorf("%v is refused again: named %v, again in %v", all[bad], named(u), b.router.again.Sub(b.now))
		}
		b.now = b.router.again
		b.handle(role.Timeout{})
		b.serve(all...)
		if u, _ := b.last(); !slices.Equal(named(u), all) || !slices.Equal(b.inUse(), all) || !b.router.again.IsZero() {
			t.Errorf("%v is accepted at last: named %v, in use %v", all[bad], named(u), b.inUse())
		}
	}
}

// A prefix that comes at run time and is refused disturbs none of those there are;
// one that the home agent does not permit any more leaves alone.
//
// Covers: R5.
func TestBadPrefixAtRunTime(t *testing.T) {
	b := newBenchOf(t, Explicit, []netip.Prefix{network(0), network(1)}, agent)
	b.serve(network(0), network(1))
	b.now = b.now.Add(10 * time.Second)
	before := len(b.all)
	c := b.router.config
	c.Prefixes = []netip.Prefix{network(0), network(1), network(2)}
	b.all = append(b.all, b.router.Reconfigure(b.now, c)...)
	if n := b.serve(network(0), network(1)); n != 2 {
		t.Errorf("%d updates", n)
	}
	if _, _, unusable := count(b.all[before:]); slices.ContainsFunc(unusable, func(p netip.Prefix) bool { return p != network(2) }) {
		t.Errorf("%v leave the network", unusable)
	}
	if got := b.inUse(); !slices.Equal(got, []netip.Prefix{network(0), network(1)}) {
		t.Errorf("in use %v", got)
	}

	b.now = b.now.Add(450 * time.Second) // the refresh
	b.handle(role.Timeout{})
	b.serve(network(1))
	if u, _ := b.last(); !slices.Equal(named(u), []netip.Prefix{network(1)}) || !slices.Equal(b.inUse(), []netip.Prefix{network(1)}) {
		t.Errorf("named %v, in use %v", named(u), b.inUse())
	}
}

// Of a configured and a delegated prefix the bad one is found, and only a delegated
// one is a reason to ask for another (RFC 3963 §5.4.2).
//
// Covers: R5, D2.
func TestBadPrefixBesideDelegation(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.Prefixes = []netip.Prefix{prefix} })
	d.away()
	d.kinds = nil
	d.serveAll(delegated)
	if u, _ := d.last(); !slices.Equal(named(u), []netip.Prefix{delegated}) || !slices.Equal(d.inUse(), []netip.Prefix{delegated}) {
		t.Errorf("named %v, in use %v", named(u), d.inUse())
	}
	d.wantNumbered("the configured one is refused", first, further)
	if len(d.kinds) != 0 {
		t.Errorf("the delegated prefix is asked for anew: %v", d.kinds)
	}
	d = newDelegating(t, func(c *Config) { c.Prefixes = []netip.Prefix{prefix} })
	d.away()
	before := len(d.all)
	d.serveAll(prefix)
	d.serveAll(prefix) // its delegating router says that it is right: named once more
	if u, _ := d.last(); !slices.Equal(named(u), []netip.Prefix{prefix}) || !slices.Equal(d.inUse(), []netip.Prefix{prefix}) {
		t.Errorf("named %v, in use %v", named(u), d.inUse())
	}
	d.wantNumbered("the delegated one is refused")
	if !slices.ContainsFunc(d.all[before:], func(a role.Action) bool { _, ok := a.(role.SendDHCP); return ok }) {
		t.Error("no other prefix is sought")
	}
}

// serveAll is serve for a router whose actions are carried out.
func (d *delegating) serveAll(authorized ...netip.Prefix) {
	d.Helper()
	before := len(d.all)
	d.bench.serve(authorized...)
	d.carryOut(d.all[before:])
}

// Whatever a home agent takes from time to time: from the next update on the router
// advertises nothing else, and keeps what it had of that; with the time it has all,
// and each time it asks no more often than about twice for each prefix.
//
// Covers: R3, R5.
func TestSieveAtRandom(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 17))
		all := make([]netip.Prefix, 1+r.IntN(6))
		for i := range all {
			all[i] = network(i)
		}
		b := newBenchOf(t, Explicit, all, agent)
		b.serve(all...)
		for range 8 {
			had := b.inUse()
			var good []netip.Prefix
			for _, p := range all {
				if r.IntN(3) > 0 {
					good = append(good, p)
				}
			}
			most := 2*len(all) + 3
			if r.IntN(2) == 0 {
				b.now = b.now.Add(b.router.Snapshot(b.now).Update.Remaining * 3 / 4)
				b.handle(role.Timeout{}) // the refresh
				if n := b.serve(good...); n > most {
					t.Errorf("seed %d: %d updates", seed, n)
				}
				kept, now := without(had, without(had, good)), b.inUse()
				if len(without(now, good)) > 0 || len(without(kept, now)) > 0 {
					t.Fatalf("seed %d: takes %v, had %v, in use %v", seed, good, had, now)
				}
			}
			b.now = b.now.Add(2 * mostAgain) // when everything is asked for again
			b.attach()
			b.handle(role.Timeout{})
			if n := b.serve(good...); n > most {
				t.Errorf("seed %d: %d updates", seed, n)
			}
			u, _ := b.last()
			if !slices.Equal(named(u), good) || !slices.Equal(b.inUse(), good) && len(good) > 0 {
				t.Fatalf("seed %d: takes %v, named %v, in use %v", seed, good, named(u), b.inUse())
			}
			if !b.router.Snapshot(b.now).Update.Registered {
				t.Fatalf("seed %d: not registered", seed)
			}
		}
	}
}

// An update with as many prefixes as there can be fits the least MTU (RFC 3963 §4.3,
// RFC 8200 §5).
//
// Covers: R3.
func TestManyPrefixes(t *testing.T) {
	var all []netip.Prefix
	for i := range maxNamed + 8 { // eight can be delegated
		all = append(all, network(i))
	}
	b := newBenchOf(t, Explicit, all[:maxNamed], agent)
	b.router.config.Prefixes = all
	b.now = b.now.Add(2 * time.Second)
	b.handle(role.Timeout{})
	u, p := b.last()
	o, err := p.Append(nil)
	if err != nil || len(o) > 1280 || len(named(u)) != len(all) {
		t.Errorf("%d octets for %d prefixes: %v", len(o), len(named(u)), err)
	}
	c := b.router.config
	if c.Validate() == nil {
		t.Error("more are permitted")
	}
	if c.Mode = Implicit; c.Validate() != nil {
		t.Errorf("in implicit mode: %v", c.Validate())
	}
}
