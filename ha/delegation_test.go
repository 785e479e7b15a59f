package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// delegatingConfig lets A have prefixes by delegation and nothing else, and B both.
func delegatingConfig() Config {
	c := testConfig()
	c.Mobiles[0].Prefixes, c.Mobiles[0].Delegate = nil, true
	c.Mobiles[1].Delegate = true
	return c
}

func (w *world) delegate(home netip.Addr, lifetime time.Duration, list ...string) []role.Action {
	w.t.Helper()
	return w.handle(role.PrefixesDelegated{Home: home, Prefixes: prefixes(list...), Until: w.now.Add(lifetime)})
}

func (w *world) wantInner(when string, home netip.Addr, want ...string) {
	w.t.Helper()
	if got := w.tunnels[home].Inner; len(got) == 0 || !slices.Equal(got[1:], prefixes(want...)) {
		w.t.Errorf("%s: %v forwards %v, want %v", when, home, got, want)
	}
}

// A router that is going to have prefixes by delegation registers without any;
// what is delegated is forwarded at once, and not any more when it is released, or
// has ended without anybody saying so (RFC 6276 §3.1, §4).
//
// Covers: D1, D2, N7.
func TestDelegation(t *testing.T) {
	w := newWorld(t, delegatingConfig())
	w.registered(at(homeA, careOf1, 1))
	w.wantInner("no lease", homeA)
	ba := onlyAck(t, w.send(at(homeA, careOf1, 2)))
	if ba.Status != mip6.StatusAccepted || ba.Flags&mip6.AckMobileRouter == 0 {
		t.Errorf("%+v", ba)
	}
	actions := w.delegate(homeA, 20*time.Second, "2001:db8:d:100::/56")
	wantKinds(t, actions, "set [2001:db8:1::a/128 2001:db8:d:100::/56] via 2001:db8:f1::1")
	if got := w.agent.networks.lookup(netip.MustParseAddr("2001:db8:d:100::1")); got != homeA {
		t.Errorf("in the prefix table of %v", got)
	}
	w.run(15 * time.Second)
	wantKinds(t, w.delegate(homeA, 30*time.Second, "2001:db8:d:100::/56")) // renewed
	w.send(at(homeA, careOf2, 3))
	w.wantInner("moved", homeA, "2001:db8:d:100::/56")
	w.run(29 * time.Second)
	w.wantInner("before the end", homeA, "2001:db8:d:100::/56")
	w.send(at(homeA, careOf2, 4))
	w.run(time.Second)
	w.wantInner("after the end", homeA)
	w.delegate(homeA, time.Hour, "2001:db8:d:200::/56", "2001:db8:d:100::/56")
	w.wantInner("two", homeA, "2001:db8:d:100::/56", "2001:db8:d:200::/56")
	w.delegate(homeA, 0)
	w.wantInner("released", homeA)
	if next := w.agent.Next(); next.After(w.entry(homeA).Expires) || len(w.agent.delegations)+len(w.agent.claims.given.owner) != 0 {
		t.Errorf("left behind: %v, %v", w.agent.delegations, next)
	}
}

// In explicit mode a delegated prefix, or a part of it, may be named, also beside
// configured ones; when it is lost it leaves the tunnel at once, and who names it
// again hears 142.
//
// Covers: D2, N1, N2.
func TestDelegationExplicit(t *testing.T) {
	w := newWorld(t, delegatingConfig())
	w.delegate(homeB, time.Hour, "2001:db8:d:100::/56")
	named := func(sequence mip6.Sequence) request {
		r := at(homeB, careOf1, sequence)
		r.options = prefixOptions("2001:db8:b:1::/64", "2001:db8:d:101::/64")
		return r
	}
	w.registered(named(1))
	w.wantInner("named", homeB, "2001:db8:b:1::/64", "2001:db8:d:101::/64")
	w.delegate(homeB, 0)
	w.wantInner("released", homeB, "2001:db8:b:1::/64")
	if ba := onlyAck(t, w.send(named(2))); ba.Status != mip6.StatusNotAuthorizedForPrefix {
		t.Errorf("named without a lease: %v", ba.Status)
	}
	w.delegate(homeB, time.Hour, "2001:db8:d:100::/56")
	w.wantInner("not named", homeB, "2001:db8:b:1::/64")
}

// A prefix in which others have addresses is refused and said so; what else is
// delegated serves.
//
// Covers: D2, N7, Attack: prefix hijack.
func TestRefusedDelegation(t *testing.T) {
	for name, prefix := range map[string]string{
		"configured for another":  "2001:db8:b::/48",
		"part of another's":       "2001:db8:b:100::/56",
		"around another's":        "2001:db8:8::/45",
		"delegated to another":    "2001:db8:e:100::/56",
		"part of another's lease": "2001:db8:e:110::/60",
		"around another's lease":  "2001:db8:e::/48",
		"around the home prefix":  "2001:db8::/40",
		"part of the home prefix": "2001:db8:1::/72",
		"not routable":            "fe80::/56",
		"around the home agent":   "2001:db8:0::/46",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, delegatingConfig())
			w.delegate(homeB, time.Hour, "2001:db8:e:100::/56")
			w.registered(at(homeA, careOf1, 1))
			w.registered(at(homeB, careOf2, 1))
			w.logs = nil
			w.delegate(homeA, time.Hour, prefix, "2001:db8:d:100::/56")
			w.wantInner("delegated", homeA, "2001:db8:d:100::/56")
			w.wantInner("the other one", homeB, "2001:db8:b::/48", "2001:db8:e:100::/56")
			if !slices.ContainsFunc(w.logs, func(l role.Log) bool { return l.Message == "delegated prefix refused" }) {
				t.Error("nothing in the log")
			}
			if d := w.agent.Delegations(); len(d) != 2 || len(d[0].Refused) != 1 || len(d[0].Prefixes) != 1 {
				t.Errorf("%+v", d)
			}
		})
	}
	w := newWorld(t, delegatingConfig())
	w.registered(request{home: homeN, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode})
	w.delegate(homeN, time.Hour, "2001:db8:d:100::/56")
	w.wantInner("a host", homeN)
	if got := drops(w.delegate(netip.MustParseAddr("2001:db8:1::dead"), time.Hour, "2001:db8:d:100::/56")); !slices.Equal(got, []role.DropReason{role.DropUnknownMobile}) {
		t.Errorf("an unknown mobile: %v", got)
	}
}

// A delegated prefix that would lead packets in a circle is not forwarded to a
// binding that there is (RFC 6275 §15.1).
//
// Covers: D2, Attack: loops.
func TestDelegationLoops(t *testing.T) {
	w := newWorld(t, delegatingConfig())
	w.delegate(homeB, time.Hour, "2001:db8:e:100::/56")
	w.registered(at(homeB, netip.MustParseAddr("2001:db8:d:100::7"), 1))
	w.registered(at(homeA, netip.MustParseAddr("2001:db8:e:100::7"), 1)) // A in B
	w.delegate(homeA, time.Hour, "2001:db8:d:100::/56")                  // and B in A then
	w.wantInner("in a circle", homeA)
	w.registered(at(homeA, careOf1, 2))
	w.wantInner("in the open", homeA, "2001:db8:d:100::/56")
}

// At home delegated prefixes are routed on the home link like others.
//
// Covers: D2, R7.
func TestDelegationAtHome(t *testing.T) {
	w := newWorld(t, delegatingConfig())
	d := viaHome(netip.MustParsePrefix("2001:db8:d:100::/56"), homeA)
	b := viaHome(networkB, homeB)
	w.delegate(homeA, time.Hour, "2001:db8:d:100::/56")
	w.wantRoutes("delegated at home", d, b)
	w.registered(at(homeA, careOf1, 1))
	w.wantRoutes("away", b)
	w.delegate(homeA, time.Minute, "2001:db8:d:100::/56", "2001:db8:d:200::/56")
	w.wantRoutes("more while it is away", b)
	back := at(homeA, homeA, 2)
	back.atHome, back.lifetime = true, 0
	w.send(back)
	w.wantRoutes("back", d, viaHome(netip.MustParsePrefix("2001:db8:d:200::/56"), homeA), b)
	w.run(time.Minute)
	w.wantRoutes("ended", b)
}

// For each binding of a mobile with delegation the data plane has the route that
// carries its DHCPv6 messages, swapped with each move and gone with the binding
// (RFC 6276 §3.1).
//
// Covers: D1.
func TestRouteForDelegation(t *testing.T) {
	w := newWorld(t, delegatingConfig())
	pair := overlay.Pair{Home: homeA, Peer: agentAddr, Side: overlay.CorrespondentSide}
	want := func(when string, careOf netip.Addr) {
		t.Helper()
		if got := w.direct[pair].CareOf; got != careOf {
			t.Errorf("%s: %v, want %v", when, got, careOf)
		}
	}
	w.registered(at(homeA, careOf1, 1))
	want("registered", careOf1)
	actions := w.send(at(homeA, careOf2, 2))
	if got := kinds(actions); len(got) != 3 || got[0] != "set [2001:db8:1::a/128] via 2001:db8:f2::1" || got[1] != "direct 2001:db8:1::a via 2001:db8:f2::1" {
		t.Errorf("moved: %q", got)
	}
	want("moved", careOf2)
	if got := kinds(w.send(at(homeA, careOf2, 3))); len(got) != 1 {
		t.Errorf("refreshed: %q", got)
	}
	c := delegatingConfig()
	c.Mobiles[0].Delegate = false
	w.apply(w.agent.Reconfigure(w.now, c))
	want("not permitted", netip.Addr{})
	w.apply(w.agent.Reconfigure(w.now, delegatingConfig()))
	want("permitted again", careOf2)
	w.registered(request{home: homeN, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode})
	if len(w.direct) != 1 {
		t.Errorf("routes %v", w.direct)
	}
	w.run(time.Hour)
	want("expired", netip.Addr{})
}

// What was delegated outlives a reload that permits it, is out with one that does
// not or gives it to another, and comes back with the permission.
//
// Covers: D2.
func TestReconfigureDelegation(t *testing.T) {
	w := newWorld(t, delegatingConfig())
	w.registered(at(homeA, careOf1, 1))
	w.delegate(homeA, time.Hour, "2001:db8:d:100::/56")
	reload := func(change func(*Config)) {
		t.Helper()
		c := delegatingConfig()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		w.apply(w.agent.Reconfigure(w.now, c))
	}
	reload(func(*Config) {})
	w.wantInner("the same", homeA, "2001:db8:d:100::/56")
	reload(func(c *Config) { c.Mobiles[0].Delegate = false })
	w.wantInner("no delegation", homeA)
	reload(func(*Config) {})
	w.wantInner("again", homeA, "2001:db8:d:100::/56")
	w.registered(at(homeB, careOf2, 1))
	reload(func(c *Config) { c.Mobiles[1].Prefixes = prefixes("2001:db8:d::/48") })
	w.wantInner("configured for another", homeA)
	w.wantInner("which has it", homeB, "2001:db8:d::/48")
	reload(func(c *Config) { c.Mobiles = c.Mobiles[1:] })
	if len(w.agent.delegations) != 0 || len(w.tunnels) != 1 {
		t.Errorf("left behind: %v", w.agent.delegations)
	}
	w.run(2 * time.Hour)
	if !w.agent.Next().IsZero() {
		t.Errorf("waits until %v", w.agent.Next())
	}
}

// A prefix that the configuration moves from one bound router to another is
// forwarded to the new one at once, in implicit mode (RFC 3963 §6.2).
//
// Covers: N3.
func TestPrefixMovesToAnother(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.registered(at(homeB, careOf2, 1))
	for _, owner := range []int{0, 1, 0} {
		c := testConfig()
		for i := range c.Mobiles[:2] {
			c.Mobiles[i].Prefixes = []netip.Prefix{[]netip.Prefix{networkA, networkB}[i]}
		}
		c.Mobiles[owner].Prefixes = append(c.Mobiles[owner].Prefixes, netip.MustParsePrefix("2001:db8:c::/48"))
		w.apply(w.agent.Reconfigure(w.now, c))
		for i, home := range []netip.Addr{homeA, homeB} {
			if has := slices.Contains(w.tunnels[home].Inner, netip.MustParsePrefix("2001:db8:c::/48")); has != (i == owner) {
				t.Errorf("%v forwards %v, owner is %d", home, w.tunnels[home].Inner, owner)
			}
		}
	}
}
