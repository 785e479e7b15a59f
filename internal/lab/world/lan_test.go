package world

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/lab/probe"
)

// shared is a correspondent, a home router, and a link with two servers and an
// access point at which a station may be.
func shared() Topology {
	return Topology{
		Nodes: []Node{{Name: "cn"}, {Name: "hr", Router: true}, {Name: "a"}, {Name: "b"}, {Name: "mn"}},
		Wires: []Wire{{A: End{"cn", "eth0", on("2001:db8:c::2/64")}, B: End{"hr", "cn0", on("2001:db8:c::1/64")}}},
		LANs: []LAN{{Name: "lan", Ends: []End{
			{"hr", "lan0", on("2001:db8:1::f/64")}, {"a", "lan0", on("2001:db8:1::1/64")}, {"b", "lan0", on("2001:db8:1::2/64")},
		}}},
		Airs: []Air{{Routers: []End{{Node: "lan", Interface: "ap0"}}, Stations: []End{{Node: "mn", Interface: "up0"}}}},
	}
}

func TestLANRoutes(t *testing.T) {
	topology := shared()
	if err := topology.Validate(); err != nil {
		t.Fatal(err)
	}
	routes := topology.Routes()
	for node, want := range map[string]Route{
		"a":  {Prefix: prefix("::/0"), Via: addr("2001:db8:1::f"), Interface: "lan0"},
		"cn": {Prefix: prefix("::/0"), Via: addr("2001:db8:c::1"), Interface: "eth0"},
	} {
		if !slices.Equal(routes[node], []Route{want}) {
			t.Errorf("routes of %s: %+v, want %+v", node, routes[node], want)
		}
	}
	topology.LANs[0].Ends[1].Addresses = nil
	topology.LANs[0].Name = "cn"
	if topology.Validate() == nil {
		t.Error("a LAN with a node's name, and an end without an address, are accepted")
	}
}

// TestLANCarries: nodes of a LAN hear each other, a station at its access point
// hears them, and who is unplugged hears nobody.
func TestLANCarries(t *testing.T) {
	w := build(t, shared())
	if _, err := w.Move("mn", "up0", "lan", 0, true); err != nil {
		t.Fatal(err)
	}
	if err := AddAddress(w.Space("mn"), "up0", prefix("2001:db8:1::9/64")); err != nil {
		t.Fatal(err)
	}
	before, err := w.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := before["lan"]; ok {
		t.Error("a switch has a state of its own")
	}
	start := func(from, to, address string) *probe.Stream {
		t.Helper()
		s, err := probe.StartEcho(w.Space(from), w.Space(to), netip.AddrPortFrom(addr(address), 9001), 5*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		return s
	}
	far, near := start("cn", "b", "2001:db8:1::2"), start("mn", "a", "2001:db8:1::1")
	hear := func(s *probe.Stream) {
		t.Helper()
		for began := time.Now(); !s.NewestSent().After(began); time.Sleep(time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatal("no echo comes back")
			}
		}
	}
	hear(far)
	hear(near)
	if p := near.Peers(); !slices.Equal(p, []netip.Addr{addr("2001:db8:1::1"), addr("2001:db8:1::9")}) {
		t.Errorf("the ends saw %v", p)
	}
	if err := w.Unplug("b", true); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	// Enough are sent for one to come through, were it possible.
	for n := len(far.Record().Sent) + 20; len(far.Record().Sent) < n; time.Sleep(time.Millisecond) {
	}
	if far.NewestSent().After(cut) || carrier(t, w.Space("b"), "lan0") {
		t.Error("an unplugged node hears something")
	}
	hear(near)
	if err := w.Unplug("b", false); err != nil {
		t.Fatal(err)
	}
	hear(far)
	after, err := w.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	if changes := Compare(before, after); len(changes) != 0 {
		t.Errorf("what was unplugged and plugged in again is not the same: %q", changes)
	}
	if w.Unplug("cn", true) == nil {
		t.Error("a node without a relayed interface was unplugged")
	}
}

// TestNeighbours sets what a node believes of its neighbours.
func TestNeighbours(t *testing.T) {
	w := build(t, shared())
	if err := w.Neighbours("hr", "lan0", 1500*time.Millisecond, 2*time.Second, 240*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"base_reachable_time_ms": "1500", "delay_first_probe_time": "2", "retrans_time_ms": "240"} {
		if got, err := w.Space("hr").Sysctl("net/ipv6/neigh/lan0/" + name); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %s", name, got, err, want)
		}
	}
}
