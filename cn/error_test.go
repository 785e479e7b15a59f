package cn

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §9.3.1, §9.3.3: data with a Home Address option that no binding permits
// is answered with a Binding Error that names the home address, to the source on
// the wire, if that is a unicast address; also where route optimisation is
// switched off (§8.2). Nothing is remembered of it (§9.1).
//
// Covers: C1, C12, C13, Attack: reflection.
func TestBindingError(t *testing.T) {
	multicast := netip.MustParseAddr("ff0e::1")
	for _, tt := range []struct {
		name                      string
		source, destination, home netip.Addr
		answered                  bool
	}{
		{"no binding", careOf1, own, homeB, true},
		{"another care-of address", careOf2, own, homeA, true},
		{"another address of ours", careOf1, own2, homeA, true},
		{"a binding by now", careOf1, own, homeA, false},
		{"home address not routable", careOf1, own, multicast, true},
		{"from multicast", multicast, own, homeB, false},
		{"from unspecified", netip.IPv6Unspecified(), own, homeB, false},
		{"from link-local", netip.MustParseAddr("fe80::1"), own, homeB, false},
		{"to multicast", careOf1, multicast, homeB, false},
		{"from our own address", own, own, homeB, false},
		{"no home address", careOf1, own, netip.Addr{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			w := newWorld(t, c)
			w.mobile(homeA, careOf1).test().registers(time.Minute).accepted()
			before := w.node.Bindings()
			e := role.UnknownHomeAddress{Source: tt.source, Destination: tt.destination, Home: tt.home}
			check := func() {
				t.Helper()
				actions := w.handle(e)
				if !tt.answered {
					wantKinds(t, actions)
					return
				}
				p := onlySent(t, actions)
				be, ok := p.Message.(mip6.BindingError)
				if !ok || be.Status != mip6.BindingErrorUnknownBinding || be.Home != tt.home || p.Source != tt.destination || p.Destination != tt.source {
					t.Errorf("answered by %+v", p)
				}
			}
			check()
			if after := w.node.Bindings(); len(after) != 1 || after[0] != before[0] {
				t.Errorf("bindings %+v", after)
			}
			c.Optimise = false
			w.apply(w.node.Reconfigure(w.now, c))
			tt.answered = tt.answered || tt.name == "a binding by now"
			check()
		})
	}
}

// RFC 6275 §9.3.3: limited like ICMPv6 errors, by sender and over all; another
// sender still gets its answer.
//
// Covers: C1, Attack: reflection.
func TestBindingErrorLimit(t *testing.T) {
	w := newWorld(t, testConfig())
	errors := 0
	one := func(source netip.Addr) {
		errors += len(sent(w.handle(role.UnknownHomeAddress{Source: source, Destination: own, Home: homeA})))
	}
	for range 1000 {
		one(careOf1)
	}
	if errors != faults.Burst {
		t.Errorf("%d Binding Errors to one, want %d", errors, faults.Burst)
	}
	errors = 0
	one(careOf2)
	if errors != 1 {
		t.Error("none to another")
	}
	for i := range 100_000 {
		one(scattered(i))
	}
	if errors > allFaults.Burst {
		t.Errorf("%d Binding Errors at the same time", errors)
	}
}

// RFC 6275 §8.2: route optimisation can be switched off; then tests and updates
// are not answered, routes go, and what was handed out is void.
//
// Covers: C13.
func TestSwitchedOff(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	a, b := w.mobile(homeA, careOf1).test(), w.mobile(homeB, careOf2).test()
	a.registers(time.Minute).accepted()
	b.registers(time.Minute).accepted()
	b.deletes().accepted()
	off := c
	off.Optimise = false
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, off)), "deoptimise 2001:db8:1::a at 2001:db8:c::1")
	w.wantEmpty()
	for _, m := range []mip6.Message{mip6.HomeTestInit{}, mip6.CareOfTestInit{}} {
		wantKinds(t, w.receive(mip6.Packet{Source: homeA, Destination: own, Message: m}), "drop prohibited")
	}
	a.registers(time.Minute).ignored(role.DropProhibited)
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, off)))
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, c)))
	a.registers(time.Minute).refused(mip6.StatusExpiredNonces)
	a.test().registers(time.Minute).accepted()
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, c)))
	a.wantRoute(careOf1)
}

// A new limit on lifetimes counts from the next update on.
func TestReconfigureLifetime(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	m := w.mobile(homeA, careOf1).test()
	m.registers(time.Minute).accepted()
	c.MaxLifetime = 8 * time.Second
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, c)))
	if ba := m.registers(time.Minute).accepted(); ba.Lifetime.Duration() != 8*time.Second {
		t.Errorf("granted %v", ba.Lifetime)
	}
}

// Stop takes the routes back, in the order of their names, and then there is
// nothing more.
//
// Covers: B6.
func TestStop(t *testing.T) {
	w := newWorld(t, testConfig())
	w.mobile(homeB, careOf2).test().registers(time.Minute).accepted()
	m := w.mobile(homeA, careOf1).test()
	m.registers(time.Minute).accepted()
	wantKinds(t, w.handle(role.Stop{}), "deoptimise 2001:db8:1::a at 2001:db8:c::1", "deoptimise 2001:db8:1::b at 2001:db8:c::1")
	w.wantEmpty()
	wantKinds(t, m.registers(time.Minute).send())
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, testConfig())))
	wantKinds(t, w.handle(role.Stop{}))
	w.wantEmpty()
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		ok   bool
	}{
		{"defaults", testConfig(), true},
		{"longer than permitted", Config{MaxLifetime: time.Hour, Random: entropy(1)}, true}, // has no effect
		{"no random octets", Config{}, false},
		{"negative quota", Config{MaxBindings: -1, Random: entropy(1)}, false},
		{"lifetime below the unit", Config{MaxLifetime: 3 * time.Second, Random: entropy(1)}, false},
		{"negative lifetime", Config{MaxLifetime: -time.Minute, Random: entropy(1)}, false},
	} {
		if err := tt.c.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
