package planetest

import (
	"net/netip"
	"testing"
	"time"

	"roam6/overlay"
)

// The peers of the home address are reported where that is asked for, each once,
// those of the mobile network never.
func watching(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	correspondent, second := w.udp(w.correspondent, correspondentAddress), w.udp(w.correspondent, peerSecond)
	home, node := w.udp(w.mobile, homeAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, home)
	w.passes(home, correspondent)
	if n := w.mobileSees.sightings(pair(overlay.MobileSide)); n != 0 {
		t.Fatalf("reported %d times without being asked", n)
	}
	watched := w.tunnel(overlay.MobileSide, 0)
	watched.Watch = true
	w.apply(w.mobileEngine, overlay.Change{Set: watched})
	if !w.mobileEngine.Tunnels()[0].Watch {
		t.Error("the snapshot does not say so")
	}
	for range 5 {
		w.passes(correspondent, home)
		w.passes(home, correspondent)
		w.passes(correspondent, node)
		w.passes(node, second)
	}
	w.passes(home, second) // from here first
	w.passes(second, home)
	for peer, want := range map[netip.Addr]int{correspondentAddress: 1, peerSecond: 1} {
		if n := w.mobileSees.sightings(overlay.Pair{Home: homeAddress, Peer: peer, Side: overlay.MobileSide}); n != want {
			t.Errorf("%v reported %d times, want %d", peer, n, want)
		}
	}
	if n := len(w.mobileSees.traffic); n != 2 {
		t.Errorf("reports %v", w.mobileSees.traffic)
	}
}

// A tunnel that takes packets and brings none back is reported, one that answers
// is not.
func silent(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	count := func() int {
		w.mobileSees.mu.Lock()
		defer w.mobileSees.mu.Unlock()
		return len(w.mobileSees.silent)
	}
	w.passes(correspondent, home)
	w.passes(home, correspondent)
	w.apply(w.agentEngine, overlay.Change{Remove: overlay.Key{Home: homeAddress, Side: overlay.AgentSide}})
	start := time.Now()
	w.eventually("report of a silent tunnel", func() bool {
		if _, err := home.WriteToUDPAddrPort([]byte("x"), addrPort(correspondent)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		return count() > 0
	})
	if d := time.Since(start); d < overlay.SilenceInterval-50*time.Millisecond {
		t.Errorf("reported after %v", d)
	}
	w.attach(0)
	before := count()
	for end := time.Now().Add(overlay.SilenceInterval + 200*time.Millisecond); time.Now().Before(end); {
		w.passes(home, correspondent)
		w.passes(correspondent, home)
	}
	if n := count() - before; n != 0 {
		t.Errorf("%d reports of a tunnel that answers", n)
	}
}
