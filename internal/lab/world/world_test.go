package world

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/lab/netns"
	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/mhsock"

	"github.com/vishvananda/netlink"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN)")
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func on(s ...string) []netip.Prefix {
	var l []netip.Prefix
	for _, p := range s {
		l = append(l, prefix(p))
	}
	return l
}

// small is a correspondent, a core, two access routers and a station with a
// node behind it.
func small(wire, air relay.Impairment) Topology {
	return Topology{
		Nodes: []Node{{Name: "cn"}, {Name: "core", Router: true}, {Name: "ar1", Router: true}, {Name: "ar2", Router: true}, {Name: "mr", Router: true}, {Name: "mnn"}},
		Wires: []Wire{
			{A: End{"cn", "eth0", on("2001:db8:c::2/64")}, B: End{"core", "cn0", on("2001:db8:c::1/64")}, Path: wire},
			{A: End{"ar1", "core0", on("2001:db8:c1::2/64")}, B: End{"core", "ar1", on("2001:db8:c1::1/64")}},
			{A: End{"ar2", "core0", on("2001:db8:c2::2/64")}, B: End{"core", "ar2", on("2001:db8:c2::1/64")}},
			{A: End{"mr", "lan0", on("2001:db8:100::1/64")}, B: End{"mnn", "eth0", on("2001:db8:100::2/64")}},
		},
		Airs: []Air{{
			Routers:  []End{{"ar1", "acc0", on("2001:db8:a1::1/64")}, {"ar2", "acc0", on("2001:db8:a2::1/64")}},
			Stations: []End{{Node: "mr", Interface: "up0"}},
			Path:     air,
		}},
		Anchors: []Anchor{{prefix("2001:db8:100::/64"), "ar1"}},
	}
}

func TestRoutes(t *testing.T) {
	routes := small(relay.Impairment{}, relay.Impairment{}).Routes()
	got := func(node string) (l []string) {
		for _, r := range routes[node] {
			l = append(l, r.Prefix.String()+" "+r.Via.String()+" "+r.Interface)
		}
		slices.Sort(l)
		return l
	}
	for node, want := range map[string][]string{
		"cn":  {"::/0 2001:db8:c::1 eth0"},
		"ar1": {"::/0 2001:db8:c1::1 core0"},
		"mnn": {"::/0 2001:db8:100::1 eth0"},
		"mr":  nil, // cares for itself
		"core": {"2001:db8:100::/64 2001:db8:c1::2 ar1", "2001:db8:a1::/64 2001:db8:c1::2 ar1",
			"2001:db8:a2::/64 2001:db8:c2::2 ar2"},
	} {
		if !slices.Equal(got(node), want) {
			t.Errorf("routes of %s: %q, want %q", node, got(node), want)
		}
	}
}

func TestValidate(t *testing.T) {
	bad := Topology{
		Nodes: []Node{{Name: "a"}, {Name: "a"}},
		Wires: []Wire{{A: End{"a", "eth0", nil}, B: End{"b", "eth0", on("2001:db8::1/64")}, Path: relay.Impairment{Loss: 2}}},
	}
	err := bad.Validate()
	for _, want := range []string{"two nodes", "unknown node", "need an address", "not a probability"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %q", err, want)
		}
	}
}

func build(t *testing.T, topology Topology) *World {
	t.Helper()
	needRoot(t)
	w, err := Build(topology, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// attach moves the station and gives it what a mobile router would have set up.
func attach(t *testing.T, w *World, router, address, via string, events bool) Switch {
	t.Helper()
	moved, err := w.Move("mr", "up0", router, 5*time.Millisecond, events)
	if err != nil {
		t.Fatal(err)
	}
	if err := AddAddress(w.Space("mr"), "up0", prefix(address)); err != nil {
		t.Fatal(err)
	}
	if err := w.AddRoute("mr", Route{Prefix: prefix("::/0"), Via: addr(via), Interface: "up0"}); err != nil {
		t.Fatal(err)
	}
	return moved
}

// TestWorldCarriesAndDelays sends in both directions across the whole world and
// compares the delay with the one that was asked for.
func TestWorldCarriesAndDelays(t *testing.T) {
	w := build(t, small(relay.Impairment{Delay: 5 * time.Millisecond}, relay.Impairment{Delay: 3 * time.Millisecond}))
	attach(t, w, "ar1", "2001:db8:a1::100/64", "2001:db8:a1::1", true)
	if err := w.AddRoute("ar1", Route{Prefix: prefix("2001:db8:100::/64"), Via: addr("2001:db8:a1::100"), Interface: "acc0"}); err != nil {
		t.Fatal(err)
	}
	down, err := probe.Start(w.Space("cn"), w.Space("mnn"), netip.MustParseAddrPort("[2001:db8:100::2]:9001"), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer down.Stop()
	up, err := probe.Start(w.Space("mnn"), w.Space("cn"), netip.MustParseAddrPort("[2001:db8:c::2]:9001"), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer up.Stop()
	transfer, err := probe.StartTransfer(t.Context(), w.Space("cn"), w.Space("mnn"), netip.MustParseAddrPort("[2001:db8:100::2]:9002"), probe.Rate(2_000_000), 7)
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); transfer.Received() < 100_000 || len(down.Record().Arrivals) < 500 || len(up.Record().Arrivals) < 500; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("after 10 s: %d datagrams down, %d up, %d octets", len(down.Record().Arrivals), len(up.Record().Arrivals), transfer.Received())
		}
	}
	if v := transfer.Finish(t.Context()); v.Err != nil {
		t.Error(v.Err)
	}
	if err := w.Partition("core", "cn", true); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	flows := func() bool { return down.NewestSent().After(cut) && up.NewestSent().After(cut) }
	// Enough are sent for one to come through, were it possible.
	for n := len(down.Record().Sent) + 50; len(down.Record().Sent) < n; time.Sleep(time.Millisecond) {
	}
	if down.NewestSent().After(cut) || up.NewestSent().After(cut) {
		t.Error("a datagram passed a partition")
	}
	if err := w.Partition("core", "cn", false); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); !flows(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("nothing passes a healed partition")
		}
	}
	if err := w.Partition("core", "ar1", true); err == nil {
		t.Error("a wire without a relay was cut")
	}
	for name, s := range map[string]*probe.Stream{"downlink": down, "uplink": up} {
		// Never early; how late depends on the machine, so that only a wrong
		// unit or a missing link is an error here.
		if d := s.Record().Delay(time.Unix(0, 0), time.Now()); d < 8*time.Millisecond || d > 30*time.Millisecond {
			t.Errorf("%s: one-way delay %v, want 8 ms", name, d)
		} else {
			t.Logf("%s: one-way delay %v for 8 ms", name, d)
		}
	}
	stats := w.Relay.Stats()
	t.Logf("relay: %d frames, %d discarded, late by %v (median), %v (99 %%), %v (max), real-time %t",
		stats.Frames, stats.Discarded, stats.Late.Quantile(.5), stats.Late.Quantile(.99), stats.Late.Max(), stats.HasRTClass)
	if stats.Discarded != 0 {
		t.Errorf("the relay discarded %d frames", stats.Discarded)
	}
}

func carrier(t *testing.T, s *netns.Space, ifname string) bool {
	t.Helper()
	l, err := s.Link.LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().OperState == netlink.OperUp
}

// TestMoveDrivesCarrier looks at the events that the station sees.
func TestMoveDrivesCarrier(t *testing.T) {
	w := build(t, small(relay.Impairment{}, relay.Impairment{}))
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	if err := w.Space("mr").Do(func() error { return netlink.LinkSubscribe(updates, done) }); err != nil {
		t.Fatal(err)
	}
	await := func(up bool) time.Time {
		t.Helper()
		for {
			select {
			case u := <-updates:
				if u.Attrs().Name == "up0" && (u.Attrs().OperState == netlink.OperUp) == up {
					return time.Now()
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("no event for carrier %t", up)
			}
		}
	}
	for i := range 4 {
		moved, err := w.Move("mr", "up0", []string{"ar1", "ar2"}[i%2], 20*time.Millisecond, true)
		if err != nil {
			t.Fatal(err)
		}
		await(false)
		t.Logf("carrier seen %v after attaching", await(true).Sub(moved.Attached))
		if !carrier(t, w.Space("mr"), "up0") {
			t.Error("no carrier after the move")
		}
		if l2 := moved.Attached.Sub(moved.Left); l2 < 20*time.Millisecond {
			t.Errorf("switching took %v, less than asked for", l2)
		}
	}
	if _, err := w.Move("mr", "up0", "ar1", time.Millisecond, false); err != nil {
		t.Fatal(err)
	}
	select {
	case u := <-updates:
		if u.Attrs().Name == "up0" {
			t.Errorf("a silent move gave an event: %v", u.Attrs().OperState)
		}
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := w.Move("mr", "up0", "core", 0, true); err == nil {
		t.Error("moved to a router without an air interface")
	}
}

// TestSnapshotSeesWhatIsLeft changes one thing of each kind.
func TestSnapshotSeesWhatIsLeft(t *testing.T) {
	w := build(t, small(relay.Impairment{}, relay.Impairment{}))
	before, err := w.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	same, err := w.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	if changes := Compare(before, same); len(changes) != 0 {
		t.Errorf("nothing was changed, but: %q", changes)
	}
	mr := w.Space("mr")
	if err := AddAddress(mr, "lan0", prefix("2001:db8:dead::1/128")); err != nil {
		t.Fatal(err)
	}
	lan, err := mr.Link.LinkByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	if err := mr.Link.NeighAdd(&netlink.Neigh{LinkIndex: lan.Attrs().Index, Family: netlink.FAMILY_V6, Flags: netlink.NTF_PROXY, IP: addr("2001:db8:beef::1").AsSlice()}); err != nil {
		t.Fatal(err)
	}
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Priority = netlink.FAMILY_V6, 77, 1234
	if err := mr.Link.RuleAdd(rule); err != nil {
		t.Fatal(err)
	}
	if err := mr.Link.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Table: 77, Dst: ipNet(prefix("2001:db8:f00d::/48"))}); err != nil {
		t.Fatal(err)
	}
	if err := mr.SetSysctl("net/ipv6/conf/lan0/proxy_ndp", "1"); err != nil {
		t.Fatal(err)
	}
	var signalling *mhsock.Conn // has an nftables table
	if err := mr.Do(func() (err error) {
		signalling, err = mhsock.Open(mhsock.Options{Local: func(netip.Addr) bool { return false }, Deliver: func([]byte, int) {}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer signalling.Close()
	after, err := w.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	changes := strings.Join(Compare(before, after), "\n")
	for _, want := range []string{
		"mr: + address 2001:db8:dead::1/128 dev lan0", "mr: + proxied neighbour 2001:db8:beef::1 dev lan0", "mr: + rule 1234",
		"mr: + nftables table 10 roam6",
		"mr: + route 2001:db8:f00d::/48 from ::/0 via - dev lan0 table 77", "mr: + sysctl lan0/proxy_ndp 1", "mr: - sysctl lan0/proxy_ndp 0",
	} {
		if !strings.Contains(changes, want) {
			t.Errorf("missing %q in:\n%s", want, changes)
		}
	}
}
