package world

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"

	"github.com/vishvananda/netlink"
)

// TestPathMTUProbe: the path MTU that is found is that of the narrowest link, and
// the packet that was too big for it is lost (RFC 8201). Where nothing arrives,
// nothing is found.
func TestPathMTUProbe(t *testing.T) {
	w := build(t, Topology{
		Nodes: []Node{{Name: "cn"}, {Name: "core", Router: true}, {Name: "far"}},
		Wires: []Wire{
			{A: End{"cn", "eth0", on("2001:db8:c::2/64")}, B: End{"core", "cn0", on("2001:db8:c::1/64")}},
			{A: End{"far", "eth0", on("2001:db8:f::2/64")}, B: End{"core", "far0", on("2001:db8:f::1/64")}},
		},
	})
	const narrow = 1357
	link, err := w.Space("core").Link.LinkByName("far0")
	if err == nil {
		err = w.Space("core").Link.LinkSetMTU(link, narrow)
	}
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("[2001:db8:f::2]:9001")
	for i, want := range []probe.Discovery{{MTU: narrow, First: 1500, Lost: 1}, {MTU: narrow, First: narrow}} {
		if got, err := probe.DiscoverPathMTU(t.Context(), w.Space("cn"), w.Space("far"), to); err != nil || got != want {
			t.Errorf("time %d: %+v, %v; want %+v", i+1, got, err, want)
		}
	}
	down, err := w.Space("core").Link.LinkByName("cn0")
	if err == nil {
		err = w.Space("core").Link.LinkSetDown(down)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got, err := probe.DiscoverPathMTU(ctx, w.Space("cn"), w.Space("far"), to); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a link: %+v, %v", got, err)
	}
}

// TestFan: each of many targets is asked and answers, and who is silent is told
// from who is not.
func TestFan(t *testing.T) {
	w := build(t, small(relay.Impairment{}, relay.Impairment{}))
	lo := w.Space("core")
	targets := []probe.Target{{Space: lo, Address: netip.MustParseAddrPort("[2001:db8:c::1]:9001")}}
	for _, a := range []string{"2001:db8:c::a", "2001:db8:c::b"} {
		if err := AddAddress(lo, "lo", netip.PrefixFrom(addr(a), 128)); err != nil {
			t.Fatal(err)
		}
		targets = append(targets, probe.Target{Space: lo, Address: netip.AddrPortFrom(addr(a), 9001)})
	}
	// One that answers from elsewhere would be noticed; one without a way is silent.
	silent := probe.Target{Space: w.Space("mnn"), Address: netip.MustParseAddrPort("[2001:db8:100::2]:9001")}
	f, err := probe.StartFan(w.Space("cn"), append(targets, silent), 5*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	route := netlink.Route{Dst: ipNet(prefix("2001:db8:c::a/127")), Gw: addr("2001:db8:c::1").AsSlice()}
	if err := w.Space("cn").Link.RouteAdd(&route); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	answered := func() bool {
		return !slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return !f.NewestSent(i).After(began) })
	}
	for !answered() {
		if time.Since(began) > 10*time.Second {
			t.Fatal("not all answer")
		}
		time.Sleep(time.Millisecond)
	}
	f.Stop()
	for i := range targets {
		if r := f.Record(i); len(r.Arrivals) == 0 || len(r.Arrivals) > len(r.Sent) || r.Interval != 5*time.Millisecond {
			t.Errorf("target %d: %d of %d", i, len(r.Arrivals), len(r.Sent))
		}
	}
	if r := f.Record(3); len(r.Sent) == 0 || len(r.Arrivals) != 0 || !f.NewestSent(3).IsZero() {
		t.Errorf("the silent one: %d of %d", len(r.Arrivals), len(r.Sent))
	}
	if s := f.Strange(); len(s) != 0 {
		t.Errorf("answers from %v", s)
	}
}
