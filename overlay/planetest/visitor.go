package planetest

import (
	"fmt"
	"net/netip"
	"testing"

	"roam6/overlay"
)

// A mobile node in the network of a mobile router whose agent is its own, too: between
// agent and router its packets are in both tunnels. Whichever is there first, and while
// the router comes and goes.
func visitor(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	home := netip.MustParseAddr("2001:db8:aa::7")
	e := w.open(w.node, open)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	l, err := w.node.Handle.LinkByIndex(e.Link())
	if err != nil {
		t.Fatal(err)
	}
	w.node.Address(l.Attrs().Name, home.String()+"/128")
	tunnel := func(side overlay.Side, p overlay.Path) overlay.Change {
		return overlay.Change{Set: &overlay.Tunnel{
			Key: overlay.Key{Home: home, Side: side}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128)}, Paths: []overlay.Path{p},
		}}
	}
	atAgent := tunnel(overlay.AgentSide, overlay.Path{Local: agentAddress, Remote: nodeAddress})
	w.apply(e, tunnel(overlay.MobileSide, overlay.Path{Local: nodeAddress, Remote: agentAddress, Link: w.node.Index("up")}))
	w.core.Route(networkPrefix.String(), "2001:db8:1::2", "mr1") // while the router has no tunnel

	correspondent, visiting := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, home)
	// A fast path may keep to the routes of a moment ago for a tick of the kernel's clock.
	pass := func(tunnels int) {
		t.Helper()
		w.eventually(fmt.Sprint(tunnels, " tunnels carry the packets"), func() bool {
			before := counts(w.agentEngine)
			w.passes(correspondent, visiting)
			w.passes(visiting, correspondent)
			carried := 0
			for k, now := range counts(w.agentEngine) {
				if now.EncapPackets > before[k].EncapPackets && now.DecapPackets > before[k].DecapPackets {
					carried++
				}
			}
			return carried == tunnels
		})
	}
	w.attach(0)
	w.apply(w.agentEngine, atAgent)
	pass(2)
	for range 2 {
		w.detach()
		pass(1)
		w.attach(0)
		pass(2)
		w.attach(1)
		pass(2)
		w.attach(0)
	}
	// Both at once, and in one go.
	remove := []overlay.Change{{Remove: atAgent.Set.Key}, {Remove: overlay.Key{Home: homeAddress, Side: overlay.AgentSide}}}
	w.apply(w.agentEngine, remove...)
	w.apply(w.agentEngine, atAgent, overlay.Change{Set: w.tunnel(overlay.AgentSide, 0)})
	pass(2)
}

// counts are the counters of an engine's tunnels.
func counts(e Engine) map[overlay.Key]overlay.Counters {
	all := make(map[overlay.Key]overlay.Counters)
	for _, s := range e.Tunnels() {
		all[s.Key] = s.Counters
	}
	return all
}
