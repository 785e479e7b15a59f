package planetest

import (
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// What an engine that was killed left goes on in its successor as if nothing had
// been: an engine that survives a crash forwards in between, and neither loses a
// packet when the tunnels are set again.
func adopt(t *testing.T, open Open, traits Traits) {
	w := newWorld(t)
	before := map[*nstest.Space]string{w.agent: Snapshot(w.agent), w.mobile: Snapshot(w.mobile)}
	killed(t, w.agent, "agent", open)
	if traits.SurvivesCrash { // what optimised routes take does not
		killed(t, w.mobile, "mobile only", open)
	} else {
		killed(t, w.mobile, "mobile", open)
	}
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	const packets = 3000
	sent := make(chan struct{}, 2*packets)
	var lost []<-chan int
	if traits.SurvivesCrash {
		w.passes(correspondent, node)
		w.passes(node, correspondent)
		lost = append(lost, stream(t, correspondent, node, packets, sent), stream(t, node, correspondent, packets, sent))
		<-sent
	}
	w.openBoth(open)
	w.attach(0)
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress))
	w.passes(w.udp(w.node, nodeAddress), w.udp(w.correspondent, correspondentAddress))
	for i, l := range lost {
		if n := <-l; n != 0 {
			t.Errorf("direction %d: %d of %d packets lost when the tunnels were set again", i, n, packets)
		}
	}
	for s, e := range map[*nstest.Space]Engine{w.agent: w.agentEngine, w.mobile: w.mobileEngine} {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if after := Snapshot(s); after != before[s] {
			t.Errorf("left behind:\n%s", difference(before[s], after))
		}
	}
}

// What nobody wants again goes when its time is over.
func sweep(t *testing.T, open Open) {
	w := newWorld(t)
	fresh := map[*nstest.Space]string{}
	for _, s := range []*nstest.Space{w.agent, w.mobile} {
		e := w.open(s, open)
		fresh[s] = Snapshot(s)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	killed(t, w.agent, "agent", open)
	killed(t, w.mobile, "mobile", open)
	for s, side := range map[*nstest.Space]overlay.Side{w.agent: overlay.AgentSide, w.mobile: overlay.MobileSide} {
		e := w.openWith(s, open, Options{Adopt: 300 * time.Millisecond})
		defer e.Close()
		w.eventually("only what an engine without tunnels has", func() bool { return withoutIndex(Snapshot(s)) == withoutIndex(fresh[s]) })
		// What comes after that is not taken for it.
		if err := e.Apply([]overlay.Change{{Set: w.tunnel(side, 0)}}); err != nil {
			t.Fatal(err)
		}
		if withoutIndex(Snapshot(s)) == withoutIndex(fresh[s]) {
			t.Error("a tunnel leaves no trace in the kernel")
		}
	}
}
