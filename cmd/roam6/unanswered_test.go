package main

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/control"
)

// TestNextHomeAgent: a mobile router whose home agent does not delegate, because it
// says so to the registration (143) or has nothing to give, turns to the next one
// (RFC 6276 §3.3).
//
// Covers: D1, M10.
func TestNextHomeAgent(t *testing.T) {
	t.Parallel()
	full := "\tlist delegation_pool '2001:db8:8000::/56'\n"
	for name, options := range map[string]string{"refuses": "", "exhausted": full} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turnsToTheNext(t, options, isRouter, 20*time.Second)
		})
	}
}

// TestSilentHomeAgent: a mobile router whose home agent does not answer six
// solicitations turns to the next one (RFC 6276 §3.3). That takes a minute, since the
// times of RFC 8415 §18.2.1 are what they are; other worlds stand beside this one
// meanwhile. The last parallel test of the last file begins first, as a rule.
//
// Covers: D1, M10.
func TestSilentHomeAgent(t *testing.T) {
	t.Parallel()
	turnsToTheNext(t, "", "\tlist prefix '2001:db8:100::/64'\n", 90*time.Second)
}

// turnsToTheNext checks that a mobile router gets its prefix of the second home agent
// within a limit, where the first has options and a section of the router that keep it
// from delegating. With options, somebody else has all that it could delegate.
func turnsToTheNext(t *testing.T, options, mobile string, limit time.Duration) {
	t.Helper()
	e := newEstate(t)
	e.start("ar", e.accessRouter())
	other := e.mobile("Bus_2", estateHome2, isRouter)
	e.start("agent", e.homeAgent(estateAgent, options, e.mobile("Bus_1", estateHome, mobile), other))
	e.start("agent2", e.homeAgent(estateAgent2, "\tlist delegation_pool '2001:db8:9000::/40'\n", e.mobile("Bus_1", estateHome, isRouter), other))
	if options != "" { // somebody has all there is
		e.move("mr2", "ar")
		e.start("mr2", e.router("Bus_2", estateHome2, toAgent+getsPrefix))
		e.delegatedTo("agent", "Bus_2")
	}
	e.move("mr", "ar")
	e.start("mr", e.router("Bus_1", estateHome, "\tlist home_agent '2001:db8:10::1'\n\tlist home_agent '2001:db8:10::2'\n"+getsPrefix))
	e.within(limit, "the other home agent has delegated a prefix", func() bool { return len(e.delegations("agent2")) == 1 })
	p := e.delegatedTo("agent2", "Bus_1")
	if !estatePools[1].Overlaps(p) {
		t.Errorf("it is %v", p)
	}
	e.reached("mnn", e.addressOf("mnn", netip.PrefixFrom(p.Addr(), 64)))
	u, err := e.daemons["mr"].client.Updates(t.Context())
	if err != nil || len(u.Updates) != 1 || u.Updates[0].HomeAgent != estateAgent2 {
		t.Errorf("registered with %+v, %v", u, err)
	}
	if b, err := e.daemons["agent"].client.Bindings(t.Context()); err != nil || slices.ContainsFunc(b.Bindings, func(b control.Binding) bool { return b.HomeAddress == estateHome && b.State == "active" }) {
		t.Errorf("the first home agent has %+v, %v", b, err)
	}
}
