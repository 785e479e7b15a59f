package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/homelink"
)

var agentB = netip.MustParseAddr("2001:db8:10::2")

func twoAgents(c *Config) { c.HomeAgents = []netip.Addr{homeAgent, agentB} }

// updatesTo are the packets of updates to one home agent among actions.
func updatesTo(actions []role.Action, agent netip.Addr) []mip6.Packet {
	var out []mip6.Packet
	for _, s := range only[role.Send](actions) {
		if _, ok := s.Packet.Message.(mip6.BindingUpdate); ok && s.Packet.Destination == agent {
			out = append(out, s.Packet)
		}
	}
	return out
}

func lifetimeOf(p mip6.Packet) time.Duration {
	return p.Message.(mip6.BindingUpdate).Lifetime.Duration()
}

// remote is the home agent that the tunnel goes to.
func (b *bench) remote() netip.Addr {
	if b.kernel.tunnel == nil {
		return netip.Addr{}
	}
	return b.kernel.tunnel.Paths[0].Remote
}

// A home agent that does not answer the first registration: the next one after
// three updates (RFC 6275 §11.7.1).
//
// Covers: M10.
func TestNextHomeAgentAtStart(t *testing.T) {
	b := newBench(t, twoAgents)
	b.carrier(true)
	b.hear(ar1)
	did := b.answering(10 * time.Second)
	if n := len(updatesTo(did, homeAgent)); n != 3 {
		t.Errorf("%d updates to the first home agent", n)
	}
	did = append(did, b.answering(time.Second)...)
	if n := len(updatesTo(did, agentB)); n != 1 || b.node.Agent() != agentB || b.remote() != agentB {
		t.Fatalf("%d updates to the second, agent %v, tunnel to %v", n, b.node.Agent(), b.remote())
	}
	b.acknowledge()
	if s := b.node.Snapshot(b.now); !s.Update.Registered || s.HomeAgent != agentB {
		t.Errorf("%+v", s.Update)
	}
}

// A registered node whose home agent dies: the tunnel stays as it is until
// another one has accepted; then its remote end is swapped, and the old home
// agent is told, until its binding has run out.
//
// Covers: M10, M3.
func TestHomeAgentDies(t *testing.T) {
	b := newBench(t, twoAgents)
	b.away()
	first := b.node.reg.sequence
	b.pass(10 * time.Second)
	did := b.handle(role.TunnelSilent{Home: homeAddress})
	if len(updates(did)) != 0 || len(only[role.ProbeNeighbor](did)) != 1 {
		t.Fatalf("the router is not asked first: %v", did)
	}
	did = b.answering(6900 * time.Millisecond)
	if n := len(updatesTo(did, homeAgent)); n != 3 || b.node.Agent() != homeAgent {
		t.Errorf("%d updates to the old home agent, agent %v", n, b.node.Agent())
	}
	did = b.answering(200 * time.Millisecond)
	if n := len(updatesTo(did, agentB)); n != 1 {
		t.Fatalf("%d updates to the next home agent: %v", n, did)
	}
	if b.remote() != homeAgent || len(only[role.Forward](did)) != 0 {
		t.Errorf("the tunnel was touched before the answer, goes to %v", b.remote())
	}
	did = b.acknowledge()
	if b.remote() != agentB {
		t.Errorf("tunnel to %v", b.remote())
	}
	end := updatesTo(did, homeAgent)
	if len(end) != 1 || lifetimeOf(end[0]) != 0 || end[0].Message.(mip6.BindingUpdate).Sequence != first+4 {
		t.Fatalf("the old home agent is not told: %v", end)
	}
	did = b.pass(10 * time.Second)
	repeated := updatesTo(did, homeAgent)
	if len(repeated) < 2 || len(updatesTo(did, agentB)) != 0 {
		t.Errorf("%d repetitions", len(repeated))
	}
	b.handle(b.answerTo(repeated[len(repeated)-1], mip6.StatusNotHomeAgent, nil))
	if n := len(updatesTo(b.pass(400*time.Second), homeAgent)); n != 0 {
		t.Errorf("%d updates after the answer", n)
	}
	if b.node.Agent() != agentB || !b.node.reg.registered {
		t.Errorf("agent %v", b.node.Agent())
	}
}

// The old home agent is not told for longer than its binding may last.
func TestFarewellEnds(t *testing.T) {
	b := newBench(t, twoAgents)
	b.away()
	b.handle(role.TunnelSilent{Home: homeAddress})
	b.answering(8 * time.Second)
	b.handle(b.answer(mip6.StatusAccepted, nil))
	b.pass(592 * time.Second)
	for range 10 {
		b.acknowledge() // the renewals of the present one, whatever else is sent
		if did := b.pass(100 * time.Second); len(updatesTo(did, homeAgent)) != 0 {
			t.Errorf("still told: %v", updatesTo(did, homeAgent))
		}
	}
}

// Which refusals lead to another home agent, at once, and which do not.
//
// Covers: M10.
func TestRefusingHomeAgent(t *testing.T) {
	for status, next := range map[mip6.Status]bool{
		mip6.StatusReasonUnspecified:            true,
		mip6.StatusAdministrativelyProhibited:   true,
		mip6.StatusInsufficientResources:        true,
		mip6.StatusHomeRegistrationNotSupported: true,
		mip6.StatusNotHomeSubnet:                true,
		mip6.StatusNotHomeAgent:                 true,
		mip6.StatusAuthenticationFailed:         true,
		mip6.StatusDuplicateAddress:             true,  // the other one may defend the address for an earlier life of ours
		mip6.StatusSequenceOutOfWindow:          false, // corrected
		mip6.StatusIDMismatch:                   false,
		mip6.StatusInvalidCareOfAddress:         false, // not the home agent's fault
	} {
		t.Run(status.String(), func(t *testing.T) {
			b := newBench(t, twoAgents)
			b.carrier(true)
			b.hear(ar1)
			did := b.handle(b.answer(status, nil))
			if got := len(updatesTo(did, agentB)) == 1; got != next {
				t.Errorf("next home agent: %v, want %v", got, next)
			}
			if !next {
				return
			}
			// And when all have refused there is no storm.
			b.handle(b.answer(status, nil))
			for range 600 {
				b.pass(100 * time.Millisecond)
				if n := len(b.node.reg.outstanding); n > 0 {
					b.handle(b.answer(status, nil))
				}
			}
			if n := len(updates(b.all)); n > 25 {
				t.Errorf("%d updates in a minute of refusals", n)
			}
		})
	}
}

// A registration is ended in order before another home agent is asked, which
// would find the home address defended by the first (RFC 6275 §11.7.1).
//
// Covers: M10.
func TestDeregisterBeforeSwitch(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(10 * time.Second)
	c := b.node.config
	c.HomeAgents = []netip.Addr{agentB}
	did := b.did(b.node.Reconfigure(b.now, c))
	end := updatesTo(did, homeAgent)
	if len(end) != 1 || lifetimeOf(end[0]) != 0 || len(updatesTo(did, agentB)) != 0 {
		t.Fatalf("%v", updates(did))
	}
	did = b.handle(b.answerTo(end[0], mip6.StatusAccepted, nil))
	if n := updatesTo(did, agentB); len(n) != 1 || lifetimeOf(n[0]) == 0 || b.remote() != agentB {
		t.Fatalf("not registered anew: %v, tunnel to %v", updates(did), b.remote())
	}
	b.acknowledge()
	if b.node.Agent() != agentB || !b.node.reg.registered {
		t.Errorf("registered %v with %v", b.node.reg.registered, b.node.Agent())
	}

	// An old one that does not answer holds nothing up for long.
	c.HomeAgents = []netip.Addr{homeAgent}
	b.pass(10 * time.Second)
	b.did(b.node.Reconfigure(b.now, c))
	b.answering(8 * time.Second)
	if b.node.Agent() != homeAgent {
		t.Errorf("agent %v", b.node.Agent())
	}
}

// A home agent that still defends the home address for another one of ours is no
// reason to give the home address up (RFC 6275 §11.7.1).
func TestOldHomeAgentDefends(t *testing.T) {
	b := newBench(t, twoAgents)
	b.away()
	b.handle(role.TunnelSilent{Home: homeAddress})
	b.answering(8 * time.Second)
	if b.node.Agent() != agentB {
		t.Fatal("not turned to the second")
	}
	b.handle(b.answer(mip6.StatusDuplicateAddress, nil))
	if b.node.halted {
		t.Fatal("gave the home address up")
	}
	did := b.answering(10 * time.Minute)
	if len(updatesTo(did, homeAgent))+len(updatesTo(did, agentB)) == 0 {
		t.Error("nobody is asked any more")
	}
}

// 139: a binding of another kind is there. It is ended, and made anew
// (RFC 3963 §6.2).
func TestTypeChange(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	did := b.handle(b.answer(mip6.StatusTypeChangeDisallowed, nil))
	if u := updates(did); len(u) != 1 || u[0].Lifetime != 0 {
		t.Fatalf("%v", u)
	}
	did = b.acknowledge()
	if u := updates(did); len(u) != 1 || u[0].Lifetime == 0 {
		t.Fatalf("%v", u)
	}
	b.handle(b.answer(mip6.StatusTypeChangeDisallowed, nil))
	if n := len(updates(b.pass(time.Minute))); n != 0 {
		t.Errorf("%d updates in a minute: a loop", n)
	}
}

// Discovery: no tunnel and no update before a home agent is known; with the reply
// both come at once (RFC 6275 §11.4.1).
//
// Covers: M10.
func TestDiscovery(t *testing.T) {
	b := newBench(t, func(c *Config) { c.HomeAgents, c.DiscoverHomeAgent = nil, true })
	b.carrier(true)
	did := b.hear(ar1)
	asked := only[role.SendICMP](did)
	if len(asked) != 1 || asked[0].Link != 1 || asked[0].Packet.Source != careOf1 || asked[0].Packet.Destination != mip6.HomeAgentsAnycast(homePrefix) {
		t.Fatalf("no request: %v", did)
	}
	if len(updates(did)) != 0 || b.kernel.tunnel != nil || b.node.Agent().IsValid() {
		t.Errorf("registers with nobody: %v", did)
	}
	m := asked[0].Packet.Message.(mip6.HomeAgentRequest)
	did = b.handle(role.ICMPReceived{Link: 1, Packet: mip6.ICMPPacket{Source: agentB, Destination: careOf1,
		Message: mip6.HomeAgentReply{Identifier: m.Identifier, HomeAgents: []netip.Addr{agentB, homeAgent}}}})
	if len(updatesTo(did, agentB)) != 1 || b.remote() != agentB {
		t.Fatalf("%v", did)
	}
	b.acknowledge()
	if !b.node.reg.registered {
		t.Error("not registered")
	}
	if s := b.node.Snapshot(b.now).HomeLink; len(s.Agents) != 2 || s.Agents[0].State != homelink.Registered {
		t.Errorf("snapshot %+v", s)
	}
}

// Status 1 asks for prefix discovery: a solicitation with the Home Address option
// leaves (RFC 6275 §11.7.3). What it brings bounds the lifetime that is asked for
// (§11.7.1).
//
// Covers: M2, M11.
func TestPrefixDiscoveryNecessary(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	first := only[role.SendICMP](b.handle(b.answer(mip6.StatusAccepted, nil)))
	if len(first) != 1 {
		t.Fatalf("solicitations %v", first)
	}
	b.handle(role.ICMPReceived{Link: 1, Packet: mip6.ICMPPacket{Source: homeAgent, Destination: careOf1, RouteHome: homeAddress,
		Message: mip6.PrefixAdvertisement{Identifier: first[0].Packet.Message.(mip6.PrefixSolicitation).Identifier,
			Prefixes: []mip6.PrefixInformation{{Prefix: netip.PrefixFrom(homeAgent, 64), OnLink: true, Autonomous: true, RouterAddress: true,
				ValidLifetime: time.Hour, PreferredLifetime: time.Hour}}}}})
	learned := b.now
	if did := b.pass(5 * time.Minute); len(only[role.SendICMP](did)) != 0 {
		t.Fatalf("solicits although answered: %v", did)
	}
	b.handle(role.MessageReceived{Packet: mip6.Packet{Source: homeAgent, Destination: careOf1, RouteHome: homeAddress, Message: mip6.BindingRefreshRequest{}}})
	did := b.handle(b.answer(mip6.StatusPrefixDiscoveryNecessary, nil))
	s := only[role.SendICMP](did)
	if len(s) != 1 || s[0].Packet.HomeAddress != homeAddress || s[0].Packet.Destination != homeAgent {
		t.Errorf("solicitations %v", s)
	}
	ends := learned.Add(time.Hour)
	sent := 0
	for b.now.Before(ends.Add(-time.Minute)) {
		b.acknowledge()
		b.hear(ar1) // the care-of address has more time
		for _, u := range updates(b.answering(10 * time.Second)) {
			sent++
			if u.Lifetime == 0 || u.Lifetime.Duration() > ends.Sub(b.now)+10*time.Second {
				t.Errorf("lifetime %v, the home prefix ends in %v", u.Lifetime, ends.Sub(b.now))
			}
		}
	}
	if sent < 5 {
		t.Errorf("%d updates in an hour", sent)
	}
}

// TunnelSilent: a node that only sends is silent in good order, and asks ever
// more rarely; a router that does not answer is left.
//
// Covers: B1, M8.
func TestTunnelSilent(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	asked := 0
	for range 200 { // ten minutes
		did := b.handle(role.TunnelSilent{Home: homeAddress})
		did = append(did, b.answering(100*time.Millisecond)...)
		if n := len(updates(did)); n > 0 {
			asked++
			b.acknowledge()
		}
		b.answering(2900 * time.Millisecond)
	}
	if asked < 3 || asked > 12 {
		t.Errorf("asked %d times in ten minutes", asked)
	}

	b = newBench(t, nil)
	b.away()
	b.pass(time.Minute)
	b.handle(role.TunnelSilent{Home: homeAddress})
	did := b.pass(time.Second)
	if !b.node.current.lost || len(only[role.SolicitRouter](did)) != 1 {
		t.Fatalf("a dead router is believed: %v", did)
	}
	if did = b.hear(ar2); len(updates(did)) != 1 {
		t.Errorf("no update at the next router: %v", did)
	}
	for _, e := range []role.TunnelSilent{{Home: homeAgent}, {Home: homeAddress}} { // another's; while one is under way
		if did := b.handle(e); len(did) != 0 {
			t.Errorf("%v", did)
		}
	}
}

// The end tells every home agent that may have a binding.
func TestStopTellsFormerAgents(t *testing.T) {
	b := newBench(t, twoAgents)
	b.away()
	b.handle(role.TunnelSilent{Home: homeAddress})
	b.answering(8 * time.Second)
	did := b.handle(role.Stop{})
	for _, a := range []netip.Addr{homeAgent, agentB} {
		if u := updatesTo(did, a); len(u) != 1 || lifetimeOf(u[0]) != 0 {
			t.Errorf("%v: %v", a, u)
		}
	}
	b.pass(3 * time.Second)
	b.empty()
	if !b.node.Done() {
		t.Error("not done")
	}
	if n := slices.IndexFunc(b.node.former, func(r *registration) bool { return r.agent == agentB }); n >= 0 {
		t.Error("the present one is among the former")
	}
}
