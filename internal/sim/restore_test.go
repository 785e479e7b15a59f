package sim

import (
	"maps"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/overlay"
)

// restarts has home agents and anchors restart while all talk, and fails if a mobile sends
// an update because of it, or a packet gets no answer.
func restarts(t *testing.T, w *World, fits func(*host) bool) {
	t.Helper()
	before := make(map[*host]map[overlay.Key]overlay.Tunnel)
	for _, h := range w.hosts {
		before[h] = maps.Clone(h.kernel.tunnels)
	}
	updates := w.witness.counter
	for range 3 {
		asked := w.now
		pairs := w.askAll()
		w.Restart(fits)
		w.Run(3 * time.Second)
		for _, p := range pairs {
			if trip := w.talks.trips[p.conversation]; trip == nil || trip.at.Before(asked) {
				t.Errorf("%s gets no answer of %s", p.a, p.b)
			}
		}
	}
	restored := 0
	for _, h := range w.hosts {
		if !fits(h) {
			continue
		}
		restored += len(h.kernel.tunnels)
		if !maps.EqualFunc(h.kernel.tunnels, before[h], func(a, b overlay.Tunnel) bool { return a.Paths[0] == b.Paths[0] }) {
			t.Errorf("%s forwards %v, before %v", h, h.kernel.tunnels, before[h])
		}
	}
	if restored == 0 {
		t.Error("nobody had a binding")
	}
	if n := w.witness.counter - updates; n > 0 {
		t.Errorf("%d updates are sent", n)
	}
	for _, f := range w.Failures() {
		t.Error(f)
	}
}

// A restart of home agents that remember their bindings is noticed by nobody: no packet
// is lost, and no mobile sends an update.
func TestRestartIsNotNoticed(t *testing.T) {
	w := calmWorld(t)
	w.lasting = true
	w.Run(5 * time.Second)
	restarts(t, w, func(h *host) bool { return h.isAgent })
}

// The same of anchors and home agents at once.
func TestRestartOfAnchorsIsNotNoticed(t *testing.T) {
	w := anchoredWorld(t)
	w.lasting = true
	w.Run(10 * time.Second) // beyond the next refresh
	restarts(t, w, func(h *host) bool { return h.isAgent || h.domain != nil })
}

// A mobile that moves while its home agent is gone is served as soon as that is back and
// its update comes again, although what is remembered leads to where it was.
func TestMoveDuringRestart(t *testing.T) {
	w := calmWorld(t)
	w.lasting = true
	for _, h := range w.hosts {
		if h.isAgent {
			w.crash(h)
		}
	}
	for i, h := range w.mobiles() {
		w.Move(h.ports[0], w.cells[3-i], 10*time.Millisecond, true)
	}
	w.Run(300 * time.Millisecond)
	w.Restart(func(h *host) bool { return h.isAgent })
	w.Settle(3*time.Second, w.unregistered)
	w.Settle(3*time.Second, w.silentPairs)
	for _, f := range w.Failures() {
		t.Error(f)
	}
}

// The witness notices a memory that is out of date: what was acknowledged afterwards is
// lost with the crash.
func TestWitnessNoticesOldMemories(t *testing.T) {
	w := calmWorld(t)
	w.lasting = true
	kept := make(map[*host]map[binding.Key]binding.Memory)
	for _, h := range w.hosts {
		kept[h] = maps.Clone(h.memories)
	}
	for i, h := range w.mobiles() {
		w.Move(h.ports[0], w.cells[3-i], 10*time.Millisecond, true)
	}
	w.Settle(10*time.Second, w.unregistered)
	for h, m := range kept {
		h.memories = m
	}
	w.Restart(func(h *host) bool { return h.isAgent })
	w.Run(10 * time.Millisecond)
	if len(w.Failures()) == 0 {
		t.Error("nobody notices")
	}
}

// A home agent comes back with bindings of mobiles that have gone to the other one and
// moved since: it gives them up when the other one defends their addresses, and none of
// their packets is lost by it.
//
// Covers: H12.
func TestReturnOfAnAgent(t *testing.T) {
	w := NewWorld(11, Plan{Cells: 3, Agents: 2, Routers: 2}, Faults{Delay: 10 * time.Millisecond}, nil)
	w.lasting = true
	for i, h := range w.mobiles() {
		w.Move(h.ports[0], w.cells[1+i], 0, true)
	}
	w.Settle(20*time.Second, w.unregistered)
	w.Settle(20*time.Second, w.silentPairs)
	var gone *host
	for _, h := range w.hosts {
		if h.isAgent && len(h.kernel.tunnels) > 0 {
			gone = h
			break
		}
	}
	had := len(gone.kernel.tunnels)
	w.crash(gone)
	w.Chat(25 * time.Second) // their tunnels are silent: they find the other one
	w.Settle(20*time.Second, w.unregistered)
	for i, h := range w.mobiles() {
		w.Move(h.ports[0], w.cells[3-i], 10*time.Millisecond, true)
	}
	w.Settle(20*time.Second, w.unregistered)
	before := w.counts.Restored
	w.boot(gone)
	if restored := w.counts.Restored - before; restored != had {
		t.Errorf("%d bindings are restored of %d", restored, had)
	}
	for range 3 { // the addresses would be announced after a second
		if silent := w.silentPairs(); len(silent) > 0 {
			t.Errorf("%v after the start: %q", w.since(), silent)
		}
	}
	if wrong := w.unregistered(); len(wrong) > 0 || len(gone.kernel.tunnels) > 0 {
		t.Errorf("%q, and the one that came back forwards %v", wrong, gone.kernel.tunnels)
	}
	for _, f := range w.Failures() {
		t.Error(f)
	}
}
