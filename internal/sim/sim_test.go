package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"roam6/internal/role"
)

// run plays one random world: mobiles ride between cells while the network has
// faults, home agent and mobiles crash, the core is cut; then the faults end
// and all must converge.
func run(t *testing.T, seed uint64, trace bool) *World {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	faults := Faults{
		Loss: r.Float64() * 0.2, Duplicate: r.Float64() * 0.1, Reorder: r.Float64() * 0.2,
		Delay: time.Duration(1+r.IntN(100)) * time.Millisecond, Jitter: time.Duration(r.IntN(30)) * time.Millisecond,
	}
	w := NewWorld(seed, 3, 1+r.IntN(4), faults)
	if trace {
		w.Trace = t.Logf
	}
	for range 30 {
		m := w.mobiles[r.IntN(len(w.mobiles))]
		switch p := r.Float64(); {
		case p < 0.80:
			w.Move(m, m.ports[r.IntN(len(m.ports))], w.access[r.IntN(len(w.access))], time.Duration(r.IntN(500))*time.Millisecond, r.IntN(4) > 0)
		case p < 0.82:
			w.toMobile(m, role.TunnelSilent{Home: m.config.HomeAddress})
		case p < 0.84:
			w.toMobile(m, role.TunnelRefused{Home: m.config.HomeAddress})
		case p < 0.87:
			w.partitioned = !w.partitioned
		case p < 0.91:
			w.Trace("%v home agent restarts", w.since())
			w.startAgent()
		case p < 0.95:
			w.Trace("%v %s restarts", w.since(), m.config.Name)
			w.startMobile(m)
		default:
			a := w.access[r.IntN(len(w.access))]
			a.silent = !a.silent
		}
		w.Run(time.Duration(r.IntN(20_000)) * time.Millisecond)
	}
	// The last fault is over. Everybody is somewhere.
	w.faults = Faults{Delay: 10 * time.Millisecond}
	w.partitioned = false
	for _, a := range w.access {
		a.silent = false
	}
	for _, m := range w.mobiles {
		for _, p := range m.ports {
			w.Move(m, p, w.access[r.IntN(len(w.access))], 10*time.Millisecond, true)
		}
	}
	w.Run(settle)
	w.CheckConverged()
	for _, m := range w.mobiles {
		w.toMobile(m, role.Stop{})
	}
	w.Run(5 * time.Second)
	w.CheckStopped()
	return w
}

// Thousands of random rides hold the invariants (see invariant.go), and their end
// leaves nothing. A failing seed is run again with its trace.
//
// Covers: B2, B3, B9.
func TestRandomRides(t *testing.T) {
	seeds := uint64(2000)
	if testing.Short() {
		seeds = 200
	}
	handovers := 0
	for seed := range seeds {
		w := run(t, seed, false)
		if f := w.Failures(); len(f) > 0 {
			run(t, seed, true)
			t.Fatalf("seed %d: %d failures, first: %s", seed, len(f), f[0])
		}
		for _, m := range w.mobiles {
			handovers += m.done
		}
	}
	if handovers < int(seeds) {
		t.Errorf("only %d handovers completed in %d rides", handovers, seeds)
	}
	t.Logf("%d rides, %d completed handovers", seeds, handovers)
}

// The same seed gives the same run: without that a failure could not be replayed.
func TestDeterministic(t *testing.T) {
	var first, second []string
	for _, into := range []*[]string{&first, &second} {
		r := recorder{}
		w := NewWorld(42, 3, 3, Faults{Loss: 0.1, Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond})
		w.Trace = r.trace
		for i := range 10 {
			m := w.mobiles[i%3]
			w.Move(m, m.ports[i%len(m.ports)], w.access[i%4], 50*time.Millisecond, true)
			w.Run(3 * time.Second)
		}
		*into = r.lines
	}
	if len(first) == 0 || len(first) != len(second) {
		t.Fatalf("%d and %d lines", len(first), len(second))
	}
	for i := range first {
		if first[i] != second[i] {
			t.Fatalf("line %d differs:\n%s\n%s", i, first[i], second[i])
		}
	}
}

// The invariants notice when they are broken: a home agent that sends a
// mobile's traffic elsewhere is found out.
func TestInvariantsNotice(t *testing.T) {
	w := NewWorld(7, 2, 1, Faults{Delay: 10 * time.Millisecond})
	m := w.mobiles[0]
	w.Move(m, m.ports[0], w.access[1], 0, true)
	w.Run(10 * time.Second)
	w.CheckConverged()
	if f := w.Failures(); len(f) > 0 {
		t.Fatal(f)
	}
	for key, tunnel := range w.agent.kernel.tunnels {
		tunnel.Paths[0].Remote = w.access[2].prefix.Addr().Next()
		w.agent.kernel.tunnels[key] = tunnel
	}
	w.checkAlways()
	w.CheckConverged()
	if len(w.Failures()) < 2 {
		t.Errorf("not noticed: %v", w.Failures())
	}
}
