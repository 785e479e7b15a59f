package world

import (
	"net/netip"
	"testing"
)

// TestListens: a node that listens has what advertisements give it, and nothing
// else: no addresses, no routes, and none of that counts as left over. A wire without
// addresses is no part of ordinary routing.
func TestListens(t *testing.T) {
	topology := Topology{
		Nodes: []Node{{Name: "core", Router: true}, {Name: "router", Router: true}, {Name: "host", Listens: true}},
		Wires: []Wire{
			{A: End{"core", "r0", on("2001:db8:c::1/64")}, B: End{"router", "c0", on("2001:db8:c::2/64")}},
			{A: End{Node: "router", Interface: "lan0"}, B: End{Node: "host", Interface: "eth0"}},
		},
	}
	if routes := topology.Routes(); len(routes["host"]) != 0 || len(routes["router"]) != 1 {
		t.Errorf("routes %+v", routes)
	}
	w := build(t, topology)
	for node, want := range map[string]string{"host": "1", "router": "0"} {
		if v, err := w.Space(node).Sysctl("net/ipv6/conf/all/accept_ra"); err != nil || v != want {
			t.Errorf("%s: accept_ra %q, %v", node, v, err)
		}
	}
	before, err := w.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"host", "router"} {
		ifname := map[string]string{"host": "eth0", "router": "lan0"}[node]
		if err := AddAddress(w.Space(node), ifname, netip.MustParsePrefix("2001:db8:100::7/64")); err != nil {
			t.Fatal(err)
		}
		after, err := w.Snapshots()
		if err != nil {
			t.Fatal(err)
		}
		if changes := Compare(before, after); len(changes) == 0 != (node == "host") {
			t.Errorf("%s: changes %q", node, changes)
		}
	}
	topology.Wires[1].A.Addresses = on("2001:db8:100::1/64")
	if topology.Validate() == nil {
		t.Error("a wire with an address at one end is accepted")
	}
}
