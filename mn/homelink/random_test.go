package homelink

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Whatever happens, in whatever order: memory stays bounded, times are in the
// future, and the agent is one of those known. The same events give the same
// actions.
func TestRandomEvents(t *testing.T) {
	for seed := range uint64(200) {
		one, another := randomLife(t, seed), randomLife(t, seed)
		if !reflect.DeepEqual(one, another) {
			t.Fatalf("seed %d: the same events gave other actions", seed)
		}
	}
}

func randomLife(t *testing.T, seed uint64) []role.Action {
	r := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t, func(c *Config) { c.Discover, c.MobileRouter = r.IntN(2) == 0, r.IntN(4) == 0 })
	addr := func() netip.Addr {
		return []netip.Addr{agentA, agentB, agentC, careOf1, careOf2, homeAddress, router, anycast, {}}[r.IntN(9)]
	}
	lifetime := func() time.Duration {
		return []time.Duration{0, time.Second, time.Minute, 3 * time.Hour, mip6.InfiniteLifetime}[r.IntN(5)]
	}
	var all []role.Action
	var last mip6.ICMPPacket
	for range 300 {
		switch r.IntN(12) {
		case 0:
			b.did = b.link.Attach(b.now, addr(), r.IntN(3), r.IntN(4) == 0)
		case 1:
			b.attach([]netip.Addr{careOf1, careOf2}[r.IntN(2)])
		case 2:
			b.failed(Failure(1 + r.IntN(2)))
		case 3, 4:
			b.registered(lifetime())
		case 5:
			agents := []netip.Addr{addr(), addr(), netip.MustParseAddr(fmt.Sprintf("2001:db8:10::%x", r.IntN(1000)))}
			b.receive(mip6.ICMPPacket{Source: addr(), Destination: addr(), Message: mip6.HomeAgentReply{
				Identifier: uint16(r.IntN(4)), MobileRouter: r.IntN(2) == 0, HomeAgents: agents}})
		case 6:
			if _, ok := last.Message.(mip6.HomeAgentRequest); ok {
				b.receive(reply(last, addr(), addr(), addr(), netip.MustParseAddr(fmt.Sprintf("2001:db8:10::%x", r.IntN(1000)))))
			}
		case 7:
			if _, ok := last.Message.(mip6.PrefixSolicitation); ok {
				p := info("2001:db8:10::/64", lifetime(), lifetime())
				q := info(fmt.Sprintf("2001:db8:%x::/64", r.IntN(20)), lifetime(), lifetime())
				b.receive(advertisement(last, p, q))
			}
		case 8:
			b.handle(homeRA(r.IntN(3), netip.MustParseAddr(fmt.Sprintf("fe80::%x", r.IntN(40))), addr(), nil))
		case 9:
			b.did = b.link.PrefixesDue(b.now)
		case 10:
			c := b.link.config
			c.Agents = []netip.Addr{agentA, agentB, agentC}[r.IntN(2) : 2+r.IntN(2)]
			b.did = b.link.Reconfigure(b.now, c)
		case 11:
			b.pass(time.Duration(r.Int64N(int64(20 * time.Minute))))
		}
		all = append(all, b.did...)
		if sent := b.icmp(); len(sent) > 0 {
			last = sent[len(sent)-1].Packet
		}
		if next := b.link.Next(); !next.IsZero() && !next.After(b.now) {
			t.Fatalf("seed %d: Next is over: %v at %v", seed, next, b.now)
		}
		s := b.link.Snapshot(b.now)
		if len(s.Agents) > 3+maxDiscovered+maxRouters+1 || len(s.Prefixes) > maxPrefixes+1 {
			t.Fatalf("seed %d: %d agents, %d prefixes", seed, len(s.Agents), len(s.Prefixes))
		}
		if a := b.link.Agent(); a.IsValid() && b.link.findAgent(a) == nil || !a.IsValid() && len(s.Agents) > 0 {
			t.Fatalf("seed %d: agent %v of %+v", seed, a, s.Agents)
		}
		for _, p := range b.icmp() {
			if _, err := p.Packet.Append(nil); err != nil {
				t.Fatalf("seed %d: %v cannot be sent: %v", seed, p, err)
			}
		}
	}
	return all
}
