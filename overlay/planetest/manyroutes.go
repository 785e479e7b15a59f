package planetest

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// Ten thousand bindings of a correspondent are installed and removed; the last
// of them works.
func manyRoutes(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	before := Snapshot(w.correspondent)
	const n = 10_000
	var set, unset []overlay.Change
	for i := range n {
		r := w.route(overlay.CorrespondentSide, 0)
		if i < n-1 {
			r.Home = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xaa, 0xaa, byte(i >> 8), byte(i), 15: 1})
		}
		set = append(set, overlay.Change{Optimise: r})
		unset = append(unset, overlay.Change{Deoptimise: &r.Pair})
	}
	w.apply(w.correspondentEngine, set...)
	w.apply(w.correspondentEngine, set...)
	w.apply(w.mobileEngine, overlay.Change{Optimise: w.route(overlay.MobileSide, 0)})
	if got := len(w.correspondentEngine.Routes()); got != n {
		t.Errorf("%d routes, want %d", got, n)
	}
	w.direct("the last of many", func() {
		w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress))
		w.passes(w.udp(w.mobile, homeAddress), w.udp(w.correspondent, correspondentAddress))
	})
	// Also one by one, as mobiles come: none has to wait for all others.
	w.apply(w.correspondentEngine, unset...)
	start := time.Now()
	for i := range set {
		w.apply(w.correspondentEngine, set[i])
	}
	if d := time.Since(start); d > patience {
		t.Errorf("one by one it takes %v", d)
	}
	w.apply(w.correspondentEngine, unset...)
	if after := Snapshot(w.correspondent); after != before {
		t.Errorf("left behind:\n%s", difference(before, after))
	}
}

// A route that makes no sense is refused, and leaves the others standing.
func optimisedFailures(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	good := w.route(overlay.CorrespondentSide, 0)
	for name, bad := range map[string]overlay.Route{
		"no side":               {Pair: overlay.Pair{Home: otherHome, Peer: correspondentAddress}, CareOf: firstCareOf},
		"side of a home agent":  {Pair: overlay.Pair{Home: otherHome, Peer: correspondentAddress, Side: overlay.AgentSide}, CareOf: firstCareOf},
		"no home address":       {Pair: overlay.Pair{Peer: correspondentAddress, Side: overlay.CorrespondentSide}, CareOf: firstCareOf},
		"link-local care-of":    {Pair: pair(overlay.CorrespondentSide), CareOf: netip.MustParseAddr("fe80::1")},
		"multicast peer":        {Pair: overlay.Pair{Home: homeAddress, Peer: netip.MustParseAddr("ff0e::1"), Side: overlay.MobileSide}, CareOf: firstCareOf},
		"care-of is the home":   {Pair: pair(overlay.CorrespondentSide), CareOf: homeAddress},
		"care-of is ours":       {Pair: pair(overlay.CorrespondentSide), CareOf: correspondentAddress},
		"peer is no address":    {Pair: overlay.Pair{Home: homeAddress, Side: overlay.MobileSide}, CareOf: firstCareOf},
		"care-of is no address": {Pair: pair(overlay.MobileSide)},
	} {
		if err := w.correspondentEngine.Apply([]overlay.Change{{Optimise: good}, {Optimise: &bad}}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if all := w.correspondentEngine.Routes(); len(all) != 1 || all[0].Route != *good {
			t.Errorf("%s: %+v, want the good one alone", name, all)
		}
	}
	w.apply(w.mobileEngine, overlay.Change{Optimise: w.route(overlay.MobileSide, 0)})
	w.direct("the good one", func() {
		w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress))
	})
}

// Close removes all that optimised routes put in the kernel.
func optimisedClose(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	w.bind(0)
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress))
	w.bind(1)
	for s, e := range map[*nstest.Space]Engine{w.mobile: w.mobileEngine, w.correspondent: w.correspondentEngine} {
		if Snapshot(s) == w.before[s] {
			t.Error("the snapshot shows nothing of optimised routes")
		}
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if after := Snapshot(s); after != w.before[s] {
			t.Errorf("left behind:\n%s", difference(w.before[s], after))
		}
		if err := e.Apply([]overlay.Change{{Optimise: w.route(overlay.MobileSide, 0)}}); err == nil {
			t.Error("Apply after Close gives no error")
		}
	}
}
