package ro

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// The whole way from the first packet to the optimised route, and the shape of
// each message (RFC 6275 §5.2.5, §5.2.6, §11.6, §11.7.2).
// Covers: M5, A4, C5, C6.
func TestOptimise(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	c := b.node(1)

	sends := only[role.Send](b.handle(traffic(c.addr)))
	if len(sends) != 2 {
		t.Fatalf("sent %v, want two tests in parallel", sends)
	}
	hoti, cotis := messages[mip6.HomeTestInit](b.actions), messages[mip6.CareOfTestInit](b.actions)
	if len(hoti) != 1 || hoti[0].Source != home || hoti[0].Destination != c.addr || hoti[0].HomeAddress.IsValid() || hoti[0].RouteHome.IsValid() {
		t.Errorf("home test init %+v", hoti)
	}
	if len(cotis) != 1 || cotis[0].Source != careOf1 || cotis[0].Destination != c.addr || cotis[0].HomeAddress.IsValid() {
		t.Errorf("care-of test init %+v", cotis)
	}
	for _, s := range sends {
		if want := map[netip.Addr]int{home: 0, careOf1: uplink}[s.Packet.Source]; s.Link != want {
			t.Errorf("%v leaves by link %d, want %d", s.Packet.Message.Type(), s.Link, want)
		}
	}
	if hoti[0].Message.(mip6.HomeTestInit).Cookie == cotis[0].Message.(mip6.CareOfTestInit).Cookie {
		t.Error("both tests have the same cookie")
	}

	// One answer is not enough, both are.
	hot, cot := c.receive(t, b.now, b.wire(hoti[0]))[0], c.receive(t, b.now, b.wire(cotis[0]))[0]
	b.wantInits(b.deliver(cot), 0, 0, 0)
	if s := b.state(c.addr); s != StateTesting {
		t.Errorf("state %v", s)
	}
	u, p := b.update(b.deliver(hot))
	if p.Source != careOf1 || p.HomeAddress != home || p.Destination != c.addr || p.RouteHome.IsValid() {
		t.Errorf("binding update in %+v", p)
	}
	if u.Flags != mip6.UpdateAcknowledge || u.Lifetime.Duration() != MaxBindingLifetime {
		t.Errorf("binding update %+v", u)
	}
	if _, ok := u.Options[len(u.Options)-1].(mip6.AuthorizationData); !ok || len(u.Options) != 2 {
		t.Errorf("options %v, want the authorization data last", u.Options)
	}
	if s := b.state(c.addr); s != StateRegistering || len(b.routes) != 0 {
		t.Errorf("state %v, routes %v", s, b.routes)
	}
	ba := c.receive(t, b.now, b.wire(p))
	if len(ba) != 1 {
		t.Fatal("the correspondent does not take the update")
	}
	b.deliver(ba[0])
	want := overlay.Route{Pair: overlay.Pair{Home: home, Peer: c.addr, Side: overlay.MobileSide}, CareOf: careOf1, Link: uplink}
	if b.routes[c.addr] != want {
		t.Errorf("route %+v, want %+v", b.routes[c.addr], want)
	}
	if s := b.state(c.addr); s != StateOptimised {
		t.Errorf("state %v", s)
	}
	if c.binding(b.now) != careOf1 {
		t.Errorf("the correspondent bound %v", c.binding(b.now))
	}
}

// Who is a correspondent at all (RFC 6275 §4.6, §11.3.1, §8.5).
// Covers: A5, M7, M14.
func TestCandidates(t *testing.T) {
	for _, test := range []struct {
		name   string
		event  role.TrafficSeen
		policy Policy
		want   bool
	}{
		{"anybody", traffic(peerAddr(1)), Policy{Mode: On}, true},
		{"ourselves", traffic(home), Policy{Mode: On}, false},
		{"our care-of address", traffic(careOf1), Policy{Mode: On}, false},
		{"the home agent", traffic(homeAgent), Policy{Mode: On}, false},
		{"link-local", traffic(netip.MustParseAddr("fe80::1")), Policy{Mode: On}, false},
		{"multicast", traffic(netip.MustParseAddr("ff0e::1")), Policy{Mode: On}, false},
		{"unspecified", traffic(netip.IPv6Unspecified()), Policy{Mode: On}, false},
		{"loopback", traffic(netip.IPv6Loopback()), Policy{Mode: On}, false},
		{"IPv4", traffic(netip.MustParseAddr("::ffff:192.0.2.1")), Policy{Mode: On}, false},
		{"another home address", role.TrafficSeen{Home: careOf2, Peer: peerAddr(1), Side: overlay.MobileSide}, Policy{Mode: On}, false},
		{"the other side", role.TrafficSeen{Home: home, Peer: peerAddr(1), Side: overlay.CorrespondentSide}, Policy{Mode: On}, false},
		{"switched off", traffic(peerAddr(1)), Policy{}, false},
		{"excepted", traffic(peerAddr(1)), Policy{Mode: On, Peers: []netip.Prefix{netip.PrefixFrom(peerAddr(1), 128)}}, false},
		{"listed", traffic(peerAddr(1)), Policy{Mode: List, Peers: []netip.Prefix{netip.PrefixFrom(peerAddr(1), 64)}}, true},
		{"not listed", traffic(peerAddr(1)), Policy{Mode: List, Peers: []netip.Prefix{netip.PrefixFrom(careOf3, 64)}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Policy = test.policy })
			b.attach(b.away(careOf1, true))
			if got := len(only[role.Send](b.handle(test.event))) > 0; got != test.want {
				t.Errorf("tests sent: %v, want %v", got, test.want)
			}
			if !test.want {
				b.quiet()
			}
		})
	}
}

// At home and nowhere there is nothing to optimise (RFC 6275 §11.3.1).
func TestNoTestsAtHomeOrNowhere(t *testing.T) {
	for _, a := range []Attachment{{}, {AtHome: true, Link: homeLink, Registered: true}, {CareOf: netip.MustParseAddr("fe80::5"), Link: uplink, Registered: true}} {
		b := newBench(t, nil)
		b.attach(a)
		if did := b.handle(traffic(peerAddr(1))); len(did) != 0 {
			t.Errorf("at %+v: %v", a, did)
		}
		b.quiet()
	}
}

// Three tries, a second, two and four apart, each with a new cookie, and then the
// tunnel; the pause grows to an hour (RFC 6275 §11.8, §5.2.9).
// Covers: M3, M5.
func TestUnanswered(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	b.node(1).silent = true
	peer := peerAddr(1)
	cookies := map[mip6.Cookie]bool{}
	var last time.Duration
	for run := range 10 {
		start := b.now
		b.handle(traffic(peer))
		for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
			if after > 0 {
				if did := b.pass(start.Add(after - time.Millisecond).Sub(b.now)); len(did) != 0 {
					t.Fatalf("run %d: %v before %v", run, did, after)
				}
				b.actions = b.pass(time.Millisecond)
			}
			b.wantInits(b.actions, 1, 1, 0)
			for _, p := range messages[mip6.HomeTestInit](b.actions) {
				cookies[p.Message.(mip6.HomeTestInit).Cookie] = true
			}
			for _, p := range messages[mip6.CareOfTestInit](b.actions) {
				cookies[p.Message.(mip6.CareOfTestInit).Cookie] = true
			}
		}
		b.wantInits(b.pass(start.Add(10*time.Second).Sub(b.now)), 0, 0, 0)
		p := b.o.Peers(b.now)
		if len(p) != 1 || p[0].State != StateUnanswered || p[0].RetryAfter < last || p[0].RetryAfter > longestBackOff {
			t.Fatalf("run %d: %+v, pause before was %v", run, p, last)
		}
		last = p[0].RetryAfter
		b.wantInits(b.handle(traffic(peer)), 0, 0, 0)
		if !b.o.Next().IsZero() {
			t.Error("wakes up although it has to wait for traffic")
		}
		b.pass(p[0].RetryAfter)
	}
	if len(cookies) != 60 {
		t.Errorf("%d different cookies in 60 messages", len(cookies))
	}
	if last < 50*time.Minute {
		t.Errorf("the pause is %v after ten failures, want about an hour", last)
	}
}

// Only the test that is missing is sent again (RFC 6275 §11.6.1, §11.8).
func TestOneTestMissing(t *testing.T) {
	for _, test := range []struct {
		name         string
		set          func(*correspondent)
		home, careOf int
	}{
		{"home", func(c *correspondent) { c.noHome = true }, 2, 0},
		{"care-of", func(c *correspondent) { c.noCareOf = true }, 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.attach(b.away(careOf1, true))
			test.set(b.node(1))
			b.exchange(b.handle(traffic(peerAddr(1))))
			b.wantInits(b.pass(6*time.Second), test.home, test.careOf, 0)
			b.pass(2 * time.Second)
			if s := b.state(peerAddr(1)); s != StateUnanswered {
				t.Errorf("state %v", s)
			}
			if h, c, _ := inits(b.all); h+c != 4 {
				t.Errorf("%d tests in all", h+c)
			}
		})
	}
}

// A correspondent that has answered before is tried again sooner.
func TestBackOffOfCapable(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.silent = true
	b.live(400*time.Second, c.addr)
	p := b.o.Peers(b.now)
	if len(p) != 1 || p[0].State != StateUnanswered && p[0].State != StateTesting || p[0].Failures == 0 {
		t.Fatalf("peers %+v", p)
	}
	if len(b.routes) != 0 {
		t.Error("route kept although the correspondent does not answer (RFC 6275 §5.2.9)")
	}
	c.silent = false
	b.live(30*time.Second, c.addr)
	if b.state(c.addr) != StateOptimised {
		t.Errorf("not optimised again: %+v", b.o.Peers(b.now))
	}
}

// Answers that do not belong to a test that is under way change nothing
// (RFC 6275 §11.6.2).
// Covers: M5, A4, B6, Attack: replay, Attack: forged answers.
func TestForeignTests(t *testing.T) {
	stranger := peerAddr(99)
	for _, test := range []struct {
		name   string
		hot    func(*mip6.Packet, *mip6.HomeTest)
		cot    func(*mip6.Packet, *mip6.CareOfTest)
		link   int
		reason role.DropReason
	}{
		{name: "HoT with another cookie", hot: func(_ *mip6.Packet, m *mip6.HomeTest) { m.Cookie[0]++ }, reason: role.DropUnsolicited},
		{name: "CoT with another cookie", cot: func(_ *mip6.Packet, m *mip6.CareOfTest) { m.Cookie[7]++ }, reason: role.DropUnsolicited},
		{name: "HoT from another node", hot: func(p *mip6.Packet, _ *mip6.HomeTest) { p.Source = stranger }, reason: role.DropUnsolicited},
		{name: "CoT from another node", cot: func(p *mip6.Packet, _ *mip6.CareOfTest) { p.Source = stranger }, reason: role.DropUnsolicited},
		{name: "HoT to the care-of address", hot: func(p *mip6.Packet, _ *mip6.HomeTest) { p.Destination = careOf1 }, reason: role.DropNotForUs},
		{name: "CoT to the home address", cot: func(p *mip6.Packet, _ *mip6.CareOfTest) { p.Destination = home }, reason: role.DropNotForUs},
		{name: "CoT to another care-of address", cot: func(p *mip6.Packet, _ *mip6.CareOfTest) { p.Destination = careOf2 }, reason: role.DropNotForUs},
		{name: "HoT with a routing header", hot: func(p *mip6.Packet, _ *mip6.HomeTest) { p.Destination, p.RouteHome = careOf1, home }, reason: role.DropNoHomeAddress},
		{name: "CoT with a routing header", cot: func(p *mip6.Packet, _ *mip6.CareOfTest) { p.RouteHome = home }, reason: role.DropNoHomeAddress},
		{name: "HoT with a Home Address option", hot: func(p *mip6.Packet, _ *mip6.HomeTest) { p.Source, p.HomeAddress = stranger, p.Source }, reason: role.DropNoHomeAddress},
		{name: "CoT with a Home Address option", cot: func(p *mip6.Packet, _ *mip6.CareOfTest) { p.Source, p.HomeAddress = stranger, p.Source }, reason: role.DropNoHomeAddress},
		{name: "HoT beside the tunnel", hot: func(*mip6.Packet, *mip6.HomeTest) {}, link: uplink, reason: role.DropUnexpected},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.attach(b.away(careOf1, true))
			c := b.node(1)
			tests := b.handle(traffic(c.addr))
			p := c.receive(t, b.now, b.wire(messages[mip6.HomeTestInit](tests)[0]))[0]
			if test.cot != nil {
				p = c.receive(t, b.now, b.wire(messages[mip6.CareOfTestInit](tests)[0]))[0]
				m := p.Message.(mip6.CareOfTest)
				test.cot(&p, &m)
				p.Message = m
			} else {
				m := p.Message.(mip6.HomeTest)
				test.hot(&p, &m)
				p.Message = m
			}
			link := tunnel
			if test.link != 0 {
				link = test.link
			}
			b.wantDrop(b.handle(role.MessageReceived{Link: link, Packet: b.wire(p)}), test.reason)
			// The true answers still count.
			b.exchange(tests)
			if b.state(c.addr) != StateOptimised {
				t.Error("the true answers do not count any more")
			}
		})
	}
}

// An answer counts once. When the test was sent again, with another cookie, the
// answer to the one before still counts, since it may have been on its way, but
// none to an older one (RFC 6275 §11.6.2, §11.8).
//
// Covers: B6, Attack: replay.
func TestReplayedTests(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	c := b.node(1)
	answers := func(sent []role.Action) (hot, cot mip6.Packet) {
		hot = c.receive(t, b.now, b.wire(messages[mip6.HomeTestInit](sent)[0]))[0]
		cot = c.receive(t, b.now, b.wire(messages[mip6.CareOfTestInit](sent)[0]))[0]
		return hot, cot
	}
	first := b.handle(traffic(c.addr))
	hot1, cot1 := answers(first)
	second := b.pass(time.Second)
	hot2, cot2 := answers(second)
	third := b.pass(2 * time.Second)
	b.wantDrop(b.deliver(hot1), role.DropUnsolicited)
	b.wantDrop(b.deliver(cot1), role.DropUnsolicited)
	if did := b.deliver(hot2); len(did) != 0 {
		t.Errorf("an answer that was on its way: did %v", did)
	}
	b.wantDrop(b.deliver(hot2), role.DropUnsolicited)
	_, cot3 := answers(third)
	b.exchange(b.deliver(cot2))
	if b.state(c.addr) != StateOptimised {
		t.Fatal("not optimised")
	}
	for _, late := range []mip6.Packet{hot1, hot2, cot1, cot2, cot3} {
		b.wantDrop(b.deliver(late), role.DropUnsolicited)
	}
}
