package homelink

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// RFC 6275 §11.4.1: the configured agents are tried in their order, a
// registration that holds is kept to, and the one that failed is left alone.
//
// Covers: M10.
func TestNextAgent(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	b.agent(agentA)
	b.failed(Unanswered)
	b.agent(agentB)
	b.registered(time.Hour)
	b.pass(30 * time.Minute)
	b.agent(agentB) // A may be tried again, but B serves
	b.attach(careOf2)
	b.agent(agentB)
	b.failed(Refused)
	b.agent(agentA)
}

// Two dead agents: each is tried ever more rarely, and there is always one to
// ask. RFC 6275 §11.4.1, §11.8.
//
// Covers: M10.
func TestTwoDeadAgentsDoNotFlap(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	var changes []time.Duration
	start, last := b.now, b.link.Agent()
	for range 12 * 3600 / 10 { // the mobile gives each ten seconds
		b.pass(10 * time.Second)
		b.failed(Unanswered)
		if a := b.link.Agent(); !a.IsValid() {
			t.Fatal("no agent to ask")
		} else if a != last {
			last = a
			changes = append(changes, b.now.Sub(start))
		}
	}
	if len(changes) < 20 || len(changes) > 70 {
		t.Errorf("%d changes in twelve hours: %v", len(changes), changes)
	}
	early := slices.IndexFunc(changes, func(d time.Duration) bool { return d > time.Hour })
	if early > 16 {
		t.Errorf("%d changes in the first hour", early)
	}
}

// A refusal keeps an agent away for longer than silence: somebody has to mend it.
func TestPauses(t *testing.T) {
	for _, test := range []struct {
		failure Failure
		pauses  []time.Duration
	}{
		{Unanswered, []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute}},
		{Refused, []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute, 30 * time.Minute}},
	} {
		t.Run(test.failure.String(), func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Agents = c.Agents[:1] })
			b.attach(careOf1)
			for i, want := range test.pauses {
				b.failed(test.failure)
				b.failed(test.failure) // told again meanwhile: no second strike
				if got := b.link.Snapshot(b.now).Agents[0].RetryAfter; got != want {
					t.Errorf("pause %d is %v, want %v", i, got, want)
				}
				b.pass(want)
			}
			b.registered(time.Hour)
			b.failed(test.failure)
			if got := b.link.Snapshot(b.now).Agents[0].RetryAfter; got != test.pauses[0] {
				t.Errorf("pause after a success is %v", got)
			}
		})
	}
}

// When the pause of another agent ends while the present one has failed, it is
// tried without anybody's asking.
func TestRetryByItself(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	b.failed(Unanswered)
	b.pass(10 * time.Second)
	b.failed(Refused)
	b.agent(agentB) // both have failed: the last one stays
	b.pass(20 * time.Second)
	b.agent(agentA)
}

// RFC 6275 §11.4.1: without any agent discovery runs at once; with agents, when
// all have failed.
//
// Covers: M10.
func TestWhenDiscoveryRuns(t *testing.T) {
	b := newBench(t, discovering)
	b.agent(netip.Addr{})
	b.attach(careOf1)
	b.one()

	b = newBench(t, func(c *Config) { c.Discover = true })
	b.attach(careOf1)
	b.failed(Unanswered)
	if len(b.icmp()) != 0 {
		t.Error("discovery although there is another agent")
	}
	b.failed(Refused)
	b.agent(agentB)
	b.receive(reply(b.one(), agentC, agentC, agentA))
	b.agent(agentC)

	b = newBench(t, nil) // not permitted
	b.attach(careOf1)
	b.failed(Unanswered)
	b.failed(Unanswered)
	b.pass(time.Hour)
	if len(b.icmp()) != 0 {
		t.Error("discovery although it is switched off")
	}
}

// An agent that did not answer and now answers discovery is tried at once.
func TestReplierIsThere(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Discover = true })
	b.attach(careOf1)
	b.failed(Unanswered)
	b.failed(Unanswered)
	b.agent(agentB)
	b.receive(reply(b.one(), agentA, agentB, agentA))
	b.agent(agentA)
}

// The order of candidates: configured, discovered, heard; the list of a new reply
// replaces that of an older one.
func TestOrder(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Agents, c.Discover = []netip.Addr{agentB}, true })
	heard := netip.MustParseAddr("2001:db8:10::d")
	b.did = b.link.Attach(b.now, homeAddress, 1, true)
	b.handle(homeRA(1, router, heard, nil))
	b.attach(careOf1)
	b.failed(Unanswered)
	b.agent(heard)
	b.failed(Unanswered)
	b.receive(reply(b.one(), agentC, agentC, agentA))
	want := []netip.Addr{agentB, agentC, agentA, heard}
	var got []netip.Addr
	for _, a := range b.link.Snapshot(b.now).Agents {
		got = append(got, a.Addr)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// RFC 6275 §10.5.1, §7.4: agents are learned from advertisements on the home
// link while at home, by preference, and forgotten with their lifetime.
//
// Covers: H12.
func TestHeardAtHome(t *testing.T) {
	with := func(preference int16, lifetime time.Duration, mobileRouter bool) func(*nd.RouterAdvertisement) {
		return func(ra *nd.RouterAdvertisement) {
			ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: preference, Lifetime: lifetime, MobileRouter: mobileRouter}
		}
	}
	routers := []netip.Addr{router, netip.MustParseAddr("fe80::2")}
	for _, test := range []struct {
		name         string
		mobileRouter bool
		events       []role.RouterHeard
		want         string
	}{
		{"default preference and lifetime", false, []role.RouterHeard{homeRA(1, router, agentA, nil)}, "a"},
		{"higher preference first, the one in use stays", false, []role.RouterHeard{
			homeRA(1, routers[0], agentA, with(1, time.Hour, false)), homeRA(1, routers[1], agentB, with(5, time.Hour, false))}, "b a"},
		{"not a home agent", false, []role.RouterHeard{homeRA(1, router, agentA, func(ra *nd.RouterAdvertisement) { ra.HomeAgent = false })}, ""},
		{"no router address", false, []role.RouterHeard{homeRA(1, router, agentA, func(ra *nd.RouterAdvertisement) { ra.Prefixes[0].RouterAddress = false })}, ""},
		{"lifetime zero", false, []role.RouterHeard{homeRA(1, router, agentA, with(0, 0, false))}, ""},
		{"another link", false, []role.RouterHeard{homeRA(2, router, agentA, nil)}, ""},
		{"withdrawn", false, []role.RouterHeard{
			homeRA(1, routers[0], agentA, nil), homeRA(1, routers[1], agentB, nil),
			homeRA(1, routers[1], agentB, with(0, 0, false))}, "a"},
		{"another address of the same router", false, []role.RouterHeard{
			homeRA(1, routers[0], agentA, nil), homeRA(1, routers[1], agentB, nil), homeRA(1, routers[1], agentC, nil)}, "a c"},
		{"for mobile routers (RFC 3963 §7.3)", true, []role.RouterHeard{
			homeRA(1, routers[0], agentA, with(9, time.Hour, false)), homeRA(1, routers[1], agentB, with(0, time.Hour, true))}, "b"},
		{"for mobile routers, silent about it", true, []role.RouterHeard{homeRA(1, router, agentA, nil)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Agents, c.Discover, c.MobileRouter = nil, true, test.mobileRouter })
			b.did = b.link.Attach(b.now, homeAddress, 1, true)
			for _, e := range test.events {
				b.handle(e)
			}
			if got := names(b.link.Snapshot(b.now)); got != test.want {
				t.Errorf("agents %q, want %q", got, test.want)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		b := newBench(t, discovering)
		b.did = b.link.Attach(b.now, homeAddress, 1, true)
		b.handle(homeRA(1, routers[0], agentA, nil))
		b.handle(homeRA(1, routers[1], agentB, with(-3, time.Minute, false)))
		b.pass(time.Minute - time.Second)
		if got := names(b.link.Snapshot(b.now)); got != "a b" {
			t.Errorf("agents %q before the lifetime ends", got)
		}
		b.pass(time.Second)
		if got := names(b.link.Snapshot(b.now)); got != "a" {
			t.Errorf("agents %q after it", got)
		}
	})
	t.Run("not permitted", func(t *testing.T) {
		b := newBench(t, nil)
		b.did = b.link.Attach(b.now, homeAddress, 1, true)
		b.handle(homeRA(1, router, agentC, nil))
		if got := names(b.link.Snapshot(b.now)); got != "a b" {
			t.Errorf("agents %q", got)
		}
	})
	t.Run("flood", func(t *testing.T) {
		b := newBench(t, discovering)
		b.did = b.link.Attach(b.now, homeAddress, 1, true)
		for i := range 1000 {
			b.handle(homeRA(1, netip.MustParseAddr(fmt.Sprintf("fe80::%x", i+1)), netip.MustParseAddr(fmt.Sprintf("2001:db8:10::%x", i+1)), nil))
		}
		if n := len(b.link.Snapshot(b.now).Agents); n != maxRouters {
			t.Errorf("%d agents remembered", n)
		}
	})
}

func names(s Snapshot) string {
	var n string
	for i, a := range s.Agents {
		if i > 0 {
			n += " "
		}
		x := a.Addr.As16()
		n += fmt.Sprintf("%x", x[15])
	}
	return n
}

// A change of the configuration forgives, and keeps to a registration whose agent
// is still configured.
func TestReconfigure(t *testing.T) {
	configured := func(b *bench, agents ...netip.Addr) {
		c := b.link.config
		c.Agents = agents
		b.did = b.link.Reconfigure(b.now, c)
	}
	b := newBench(t, nil)
	b.attach(careOf1)
	b.failed(Refused)
	b.registered(time.Hour)
	b.agent(agentB)
	configured(b, agentC, agentB)
	b.agent(agentB)
	configured(b, agentC, agentA)
	b.agent(agentC)
	b.failed(Refused)
	b.agent(agentA)
	configured(b, agentC, agentA) // nothing new: C is forgiven, A stays
	b.agent(agentA)
	if s := b.link.Snapshot(b.now).Agents[0]; s.State != Candidate || s.RetryAfter != 0 {
		t.Errorf("not forgiven: %+v", s)
	}
	configured(b, agentB, agentC)
	b.agent(agentB)

	// Discovery switched on and off.
	b = newBench(t, discovering)
	b.attach(careOf1)
	b.receive(reply(b.one(), agentC, agentC))
	b.registered(time.Hour)
	b.agent(agentC)
	c := b.link.config
	c.Agents, c.Discover = []netip.Addr{agentA}, false
	b.did = b.link.Reconfigure(b.now, c)
	b.agent(agentA)
	if got := names(b.link.Snapshot(b.now)); got != "a" {
		t.Errorf("agents %q", got)
	}
}

// The states that show tells.
func TestSnapshotStates(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Agents = append(c.Agents, agentC) })
	states := func() (s [3]AgentState) {
		for i, a := range b.link.Snapshot(b.now).Agents {
			s[i] = a.State
		}
		return s
	}
	b.attach(careOf1)
	if got := states(); got != [3]AgentState{Current, Candidate, Candidate} {
		t.Error(got)
	}
	b.failed(Unanswered)
	b.failed(Refused)
	if got := states(); got != [3]AgentState{DidNotAnswer, DidNotAccept, Current} {
		t.Error(got)
	}
	b.registered(time.Minute)
	if got := states(); got != [3]AgentState{DidNotAnswer, DidNotAccept, Registered} {
		t.Error(got)
	}
	b.pass(time.Minute)
	if got := states(); got != [3]AgentState{Candidate, DidNotAccept, Current} {
		t.Error(got)
	}
}

// An agent that has rejected the mobile is not tried again, however long another one
// is silent; only when each has rejected it is there nobody better. A new
// configuration forgives.
//
// Covers: M10.
func TestRejected(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	b.failed(Rejected)
	b.agent(agentB)
	for range 60 {
		b.failed(Unanswered)
		b.agent(agentB)
		b.pass(time.Minute)
		b.agent(agentB)
	}
	b.failed(Rejected)
	b.agent(agentB)
	c := b.link.config
	b.did = b.link.Reconfigure(b.now, c)
	b.failed(Unanswered)
	b.agent(agentA)
}

// Agents that have refused are tried again at once when they are asked for something
// else; those that do not answer, or have rejected the mobile, are not.
func TestPardon(t *testing.T) {
	for failure, want := range map[Failure]netip.Addr{Refused: agentA, Lacking: agentA, Unanswered: agentB, Rejected: agentB} {
		b := newBench(t, nil)
		b.attach(careOf1)
		b.failed(failure)
		b.failed(Refused)
		b.agent(agentB)
		b.link.Pardon()
		b.pass(time.Second)
		b.agent(agentB)
		b.failed(Refused)
		b.agent(want)
	}
}

// An agent that serves, but lacks something, is left alone for as long as one that
// refused, unless the other one does not answer: then it is better than none.
//
// Covers: M10.
func TestLacking(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	b.failed(Lacking)
	b.agent(agentB)
	b.pass(time.Minute)
	b.agent(agentB)
	b.failed(Unanswered)
	b.agent(agentA)
	b.pass(10 * time.Second)
	b.agent(agentA)
	b.failed(Lacking)
	b.agent(agentA) // the other one is not to be tried yet
	b.pass(time.Minute)
	b.agent(agentB)
	b.failed(Refused)
	b.agent(agentB)
}
