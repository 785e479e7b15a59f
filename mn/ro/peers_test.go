package ro

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// The list is bounded, and a newcomer takes the place of the least recently used
// that is not in use.
// Covers: Attack: cache exhaustion.
func TestMaxPeers(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxPeers = 4 })
	for n := range 4 {
		b.optimised(n + 1)
		b.now = b.now.Add(time.Second)
	}
	// All are in use: the newcomer stays in the tunnel.
	newcomer := b.node(5)
	if did := b.handle(traffic(newcomer.addr)); len(did) != 0 {
		t.Errorf("did %v", did)
	}
	b.now = b.now.Add(IdleAfter)
	for _, n := range []int{3, 1, 4} {
		b.handle(traffic(peerAddr(n)))
	}
	did := b.handle(traffic(newcomer.addr))
	b.wantInits(did, 1, 1, 1) // the second is told to delete
	if _, p := b.update(did); p.Destination != peerAddr(2) {
		t.Errorf("%v had to go", p.Destination)
	}
	b.exchange(did)
	if _, ok := b.routes[peerAddr(2)]; ok || len(b.routes) != 4 || b.routes[newcomer.addr].CareOf != careOf1 || b.nodes[peerAddr(2)].binding(b.now).IsValid() {
		t.Errorf("routes %v", b.routes)
	}
	// A smaller list keeps those used last.
	b.did(b.o.Reconfigure(b.now, Config{Policy: Policy{Mode: On}, MaxPeers: 2, Random: seeded(4)}))
	if p := b.o.Peers(b.now); len(p) != 2 || p[0].Addr != peerAddr(4) || p[1].Addr != newcomer.addr || len(b.routes) != 2 {
		t.Errorf("peers %+v", p)
	}
}

// Strangers that feign traffic cost little and do not drive out who is in use
// (RFC 6275 §11.7.2 leaves to the mobile node whom it approaches).
// Covers: Attack: cache exhaustion, Attack: reflection.
func TestSprayOfStrangers(t *testing.T) {
	b := newBench(t, nil)
	for n := range 10 {
		b.optimised(n + 1)
	}
	before := len(b.all)
	for i := range 6000 { // for a minute
		b.now = b.now.Add(10 * time.Millisecond)
		b.exchange(b.handle(traffic(peerAddr(1000 + i))))
		if i%500 == 0 {
			for n := range 10 {
				b.handle(traffic(peerAddr(n + 1)))
			}
		}
	}
	if len(b.o.peers) > DefaultMaxPeers || len(b.o.order) != len(b.o.peers) {
		t.Errorf("%d entries", len(b.o.peers))
	}
	if len(b.routes) != 10 {
		t.Errorf("%d routes left of 10", len(b.routes))
	}
	if h, c, _ := inits(b.all[before:]); h+c > 6*(60*5+newcomerRate.Burst) {
		t.Errorf("%d tests to strangers in a minute", h+c)
	}
}

// At most MAX_UPDATE_RATE messages of a type to a correspondent within a second,
// whatever happens (RFC 6275 §11.8).
// Covers: M3.
func TestRateLimit(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(MaxTokenLifetime)
	b.handle(traffic(c.addr))
	r := rates{}
	for i := range 600 {
		b.now = b.now.Add(25 * time.Millisecond)
		c.silent, c.noHome = i/50%3 == 0, i < 300
		for _, did := range [][]role.Action{
			b.attach(b.away([]netip.Addr{careOf1, careOf2, careOf3}[i%(2+i/100%2)], i%2 == 0)), b.handle(role.Timeout{})} {
			r.check(t, b.now, did)
			for len(did) > 0 {
				var answers []mip6.Packet
				for _, s := range only[role.Send](did) {
					answers = append(answers, c.receive(t, b.now, b.wire(s.Packet))...)
				}
				did = nil
				for _, p := range answers {
					did = append(did, b.deliver(p)...)
				}
				r.check(t, b.now, did)
			}
		}
	}
	if len(r) != 3 {
		t.Errorf("%d types of messages were sent", len(r))
	}
}

// The rate limit outlives a place in the list (RFC 6275 §11.8).
// Covers: M3.
func TestRateLimitWhenEvicted(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxPeers = 1 })
	b.attach(b.away(careOf1, true))
	r := rates{}
	for i := range 20 {
		r.check(t, b.now, b.handle(traffic(peerAddr(1+i%2))))
		b.now = b.now.Add(50 * time.Millisecond)
	}
	if len(r) == 0 {
		t.Error("nothing was sent")
	}
}

// rates remembers when messages were sent, by type and correspondent.
type rates map[rateKey][]time.Time

type rateKey struct {
	kind mip6.MessageType
	peer netip.Addr
}

func (r rates) check(t *testing.T, now time.Time, actions []role.Action) {
	t.Helper()
	for _, s := range only[role.Send](actions) {
		k := rateKey{s.Packet.Message.Type(), s.Packet.Destination}
		r[k] = append(r[k], now)
		if at := r[k]; len(at) > MaxUpdateRate && now.Sub(at[len(at)-1-MaxUpdateRate]) < time.Second {
			t.Fatalf("%d messages %v to %v within %v", MaxUpdateRate+1, k.kind, k.peer, now.Sub(at[len(at)-1-MaxUpdateRate]))
		}
	}
}

// Of several mobile nodes on a host the one that is concerned owns a message.
func TestOwns(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	d := b.node(2)
	tests := b.handle(traffic(d.addr))
	cot := d.receive(t, b.now, messages[mip6.CareOfTestInit](tests)[0])[0]
	wrong := cot
	m := cot.Message.(mip6.CareOfTest)
	m.Cookie[3]++
	wrong.Message = m
	stranger := peerAddr(9)
	for _, test := range []struct {
		name string
		p    mip6.Packet
		want bool
	}{
		{"home test", mip6.Packet{Source: stranger, Destination: home, Message: mip6.HomeTest{}}, true},
		{"home test of another", mip6.Packet{Source: d.addr, Destination: careOf3, Message: mip6.HomeTest{}}, false},
		{"care-of test", cot, true},
		{"care-of test of another", wrong, false},
		{"acknowledgement", mip6.Packet{Source: c.addr, Destination: careOf1, RouteHome: home, Message: mip6.BindingAcknowledgement{}}, true},
		{"acknowledgement of the home agent", mip6.Packet{Source: homeAgent, Destination: careOf1, RouteHome: home, Message: mip6.BindingAcknowledgement{}}, false},
		{"acknowledgement of another", mip6.Packet{Source: c.addr, Destination: careOf1, RouteHome: careOf3, Message: mip6.BindingAcknowledgement{}}, false},
		{"refresh request", mip6.Packet{Source: c.addr, Destination: home, Message: mip6.BindingRefreshRequest{}}, true},
		{"refresh request of the home agent", mip6.Packet{Source: homeAgent, Destination: home, Message: mip6.BindingRefreshRequest{}}, false},
		{"binding error", bindingError(c.addr, mip6.BindingErrorUnknownBinding, home), true},
		{"binding error of another", bindingError(c.addr, mip6.BindingErrorUnknownBinding, careOf3), false},
		{"binding error about a type", bindingError(d.addr, mip6.BindingErrorUnknownMHType, netip.IPv6Unspecified()), true},
		{"binding error about a type of another", bindingError(c.addr, mip6.BindingErrorUnknownMHType, netip.IPv6Unspecified()), false},
		{"binding error of the home agent", bindingError(homeAgent, mip6.BindingErrorUnknownBinding, home), false},
		{"home test init", mip6.Packet{Source: c.addr, Destination: home, Message: mip6.HomeTestInit{}}, false},
	} {
		if got := b.o.Owns(test.p); got != test.want {
			t.Errorf("%s: owned %v, want %v", test.name, got, test.want)
		}
	}
	// Messages that are for correspondents are counted when they come all the same.
	b.wantDrop(b.deliver(mip6.Packet{Source: c.addr, Destination: home, Message: mip6.HomeTestInit{}}), role.DropUnexpected)
}

// The snapshot is sorted and tells of what is under way, in place or in the way.
func TestPeersSnapshot(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	silent := b.node(7)
	silent.silent = true
	b.handle(traffic(silent.addr))
	b.pass(7 * time.Second)
	refused := b.node(5)
	refused.status = mip6.StatusAdministrativelyProhibited
	b.exchange(b.handle(traffic(refused.addr)))
	b.optimised(3)
	b.handle(traffic(peerAddr(1)))
	b.now = b.now.Add(500 * time.Millisecond)
	var got []string
	for _, p := range b.o.Peers(b.now) {
		got = append(got, p.Addr.String()+" "+p.State.String()+" "+p.CareOf.String()+" "+p.Remaining.String()+" "+p.RetryAfter.String()+" "+p.Idle.String())
	}
	want := []string{
		"2001:db8:c::1 testing invalid IP 0s 0s 500ms",
		"2001:db8:c::3 optimised 2001:db8:a1::42 6m59.5s 0s 500ms",
		"2001:db8:c::5 refused invalid IP 0s 1h59m59.5s 500ms",
		"2001:db8:c::7 unanswered invalid IP 0s 59.5s 7.5s",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("peers\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := b.o.Stats(); s != (Stats{HomeTestInits: 6, CareOfTestInits: 6, Updates: 2, Optimised: 1, Failures: 2}) {
		t.Errorf("stats %+v", s)
	}
}

func TestStateNames(t *testing.T) {
	seen := map[string]bool{}
	for s := StateTesting; s <= StateRefused; s++ {
		if seen[s.String()] || s.String() == "unknown" {
			t.Errorf("state %d is called %q", s, s)
		}
		seen[s.String()] = true
	}
	if State(0).String() != "unknown" {
		t.Error("state 0 has a name")
	}
}

func TestValidate(t *testing.T) {
	good := Config{Home: home, Policy: Policy{Mode: On}, Random: seeded(1)}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"home address":  func(c *Config) { c.Home = netip.MustParseAddr("fe80::1") },
		"lifetime":      func(c *Config) { c.Lifetime = time.Second },
		"correspondent": func(c *Config) { c.MaxPeers = -1 },
		"random":        func(c *Config) { c.Random = nil },
		"none is list":  func(c *Config) { c.Policy.Mode = List },
		"unknown mode":  func(c *Config) { c.Policy.Mode = 9 },
		"IPv6 prefix":   func(c *Config) { c.Policy.Peers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// The same events give the same actions.
func TestDeterministic(t *testing.T) {
	run := func() []role.Action {
		b := newBench(t, nil)
		for n := range 30 {
			b.optimised(n + 1)
		}
		b.exchange(b.attach(b.away(careOf2, false)))
		b.live(time.Minute)
		b.handle(role.Stop{})
		return b.all
	}
	if !reflect.DeepEqual(run(), run()) {
		t.Error("two runs differ")
	}
}
