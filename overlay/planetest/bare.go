package planetest

import (
	"net/netip"
	"testing"

	"roam6/internal/rtnl/nstest"
)

// Ends are the two ends of a tunnel, and what is behind the mobile one.
type Ends struct {
	Agent, Mobile        *nstest.Space
	AgentAddress, CareOf netip.Addr
	Network              netip.Prefix
}

// Bare makes a tunnel with nothing else.
type Bare func(Ends) (remove func())

// AgainstBare measures what passes an engine's tunnel, as Throughput and PacketRate do,
// against what passes a bare tunnel with devices of its own, one that shares the agent's
// device with all others, and plain routing: in turns on the same links. The engine is
// closed while the others are measured.
func AgainstBare(b *testing.B, open Open, alone, shared Bare) {
	b.Run("Aggregates", func(b *testing.B) {
		w := makeWorld(b, false)
		w.againstBare(b, open, alone, shared, w.rates, gigabits)
	})
	b.Run("Wires", func(b *testing.B) {
		w := makeWorld(b, false)
		w.wires()
		w.againstBare(b, open, alone, shared, w.rates, gigabits)
	})
	b.Run("Packets", func(b *testing.B) {
		w := makeWorld(b, false)
		w.wires()
		w.againstBare(b, open, alone, shared, w.packetRates(), packets)
	})
}

func (w *world) againstBare(b *testing.B, open Open, alone, shared Bare, measure func(*rates), u unit) {
	w.agent.Route(networkPrefix.String(), "2001:db8:1::2", "mr1") // behind the tunnels' routes
	var plain, lone, common, engine rates
	for b.Loop() {
		measure(&plain)
		for _, tunnel := range []struct {
			Bare
			*rates
		}{{alone, &lone}, {shared, &common}} {
			remove := tunnel.Bare(Ends{w.agent, w.mobile, agentAddress, firstCareOf, networkPrefix})
			measure(tunnel.rates)
			remove()
		}
		w.agentEngine, w.mobileEngine = w.open(w.agent, open), w.open(w.mobile, open)
		w.attach(0)
		measure(&engine)
		logDrops(b, w.agentEngine, w.mobileEngine)
		for _, e := range []Engine{w.mobileEngine, w.agentEngine} {
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
	plain.report(b, "plain", u)
	lone.report(b, "bare", u)
	lone.ratio(b, "bare-to-plain", &plain)
	engine.report(b, "engine", u)
	engine.ratio(b, "engine-to-bare", &lone)
	engine.ratio(b, "engine-to-shared", &common)
}
