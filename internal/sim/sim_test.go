package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"roam6/overlay"
)

// The heap of a world is small and soon forgotten: with Go's default the collector
// would do a third of all work.
func TestMain(m *testing.M) {
	const percent = 800
	debug.SetGCPercent(percent)
	m.Run()
}

// randomFaults are those of a seed.
func randomFaults(r *rand.Rand) Faults {
	return Faults{
		Loss: r.Float64() * 0.2, Duplicate: r.Float64() * 0.1, Reorder: r.Float64() * 0.2,
		Delay: time.Duration(1+r.IntN(100)) * time.Millisecond, Jitter: time.Duration(r.IntN(30)) * time.Millisecond,
	}
}

// Times after the last fault in which all has to be well again: registrations,
// round trips, and optimised routes. After many failures in a row a mobile asks a
// correspondent ever more rarely. A mobile that has restarted knows nothing of the
// bindings that its earlier life made at correspondents: these end with their
// lifetime. What an attacker can feign while a correspondent cannot be reached is
// that it does not know Mobile IPv6, which is believed for two hours. A home agent
// that is gone is noticed at the next renewal at the latest.
const (
	registrationLimit = 200 * time.Second
	answerLimit       = 60 * time.Second
	restartLimit      = 20 * time.Second
	otherAgentLimit   = 90 * time.Second
	delegationLimit   = 200 * time.Second
	forgottenLimit    = 430 * time.Second
	optimisedLimit    = 65 * time.Minute
	refusedLimit      = 125 * time.Minute
)

// recovery is how long it took after the last fault.
type recovery struct{ registered, delegated, optimised time.Duration }

// played is a random world from its first move to its last.
type played struct {
	*World
	seed              uint64
	random            *rand.Rand
	took              recovery
	answer, optimised time.Duration // limits
}

// begin plays a world until the faults have ended, and mobiles are registered and can be
// talked to.
func begin(seed uint64, plan Plan, ride Ride, trace func(string, ...any)) *played {
	r := rand.New(rand.NewPCG(seed, 0))
	ride.Random = r
	w := NewWorld(seed, plan, randomFaults(r), trace)
	ride.Go(w)
	w.Calm(r, false)
	p := &played{World: w, seed: seed, random: r, answer: answerLimit, optimised: optimisedLimit}
	if w.now.Sub(w.forgotten) < forgottenLimit {
		p.answer = forgottenLimit
	}
	if plan.Attacker {
		p.optimised = refusedLimit
	}
	p.took.registered, p.took.delegated = p.reachable()
	return p
}

// reachable waits until mobiles are registered, have their prefixes, and can be talked to.
func (p *played) reachable() (registered, delegated time.Duration) {
	registered = p.Settle(registrationLimit, p.unregistered)
	delegated = p.Settle(delegationLimit, p.undelegated)
	p.Settle(p.answer, p.silentPairs)
	return registered, delegated
}

// end stops a world, where all is well some of them after everybody has come home.
func (p *played) end() {
	if p.seed%2 == 0 && len(p.failures) == 0 {
		p.Calm(p.random, true)
		p.reachable()
	}
	p.Stop()
}

// play plays one random world; then the faults end and all must converge.
func play(seed uint64, plan Plan, ride Ride, trace func(string, ...any)) (*World, recovery) {
	p := begin(seed, plan, ride, trace)
	p.took.optimised = p.Settle(p.optimised, p.indirectPairs)
	if len(p.failures) == 0 {
		aftermath(p.World, seed)
	}
	p.end()
	return p.World, p.took
}

// aftermath is what is asked of a world in which all is well.
func aftermath(w *World, seed uint64) {
	switch seed % 8 {
	case 1:
		w.Steady(5 * time.Minute)
	case 3: // another home agent has to do
		if w.plan.Agents > 1 {
			w.crash(w.hosts[seed/8%uint64(w.plan.Agents)])
			w.Chat(30 * time.Second)
			w.Settle(otherAgentLimit, w.silentPairs)
			w.Settle(answerLimit, w.unregistered)
		}
	case 5: // the mobiles learn by Binding Errors that they are forgotten
		w.Restart(func(h *host) bool { return !h.isAgent })
		w.Settle(restartLimit, w.silentPairs)
		w.Settle(answerLimit, w.indirectPairs)
	case 7: // and by the refusal of their packets
		for _, h := range w.hosts {
			clear(h.memories)
		}
		w.Restart(func(h *host) bool { return h.isAgent })
		limit := restartLimit
		if w.plan.Nested { // one behind the other learns it
			limit *= maxDepth
		}
		w.Settle(limit, w.silentPairs)
		w.Settle(answerLimit, w.indirectPairs)
	}
}

// rides plays a number of seeds and fails with the trace of the first that is not
// well. ROAM6_RIDES=n plays n times as many; with -short, or under the race detector,
// it is a tenth of them, and ten at least.
func rides(t *testing.T, seeds uint64, plan func(*rand.Rand) (Plan, Ride)) (sum Counts) {
	t.Helper()
	if testing.Short() || underRaceDetector {
		seeds = max(seeds/10, min(seeds, 10))
	}
	if times, err := strconv.ParseUint(os.Getenv("ROAM6_RIDES"), 10, 64); err == nil {
		seeds *= times
	}
	var worst recovery
	for seed := range seeds {
		p, ride := plan(rand.New(rand.NewPCG(seed, 1)))
		w, took := play(seed, p, ride, nil)
		if f := w.Failures(); len(f) > 0 {
			play(seed, p, ride, t.Logf)
			t.Fatalf("seed %d, %+v: %d failures, first: %s", seed, p, len(f), f[0])
		}
		sum.Add(w.counts)
		worst.registered, worst.optimised = max(worst.registered, took.registered), max(worst.optimised, took.optimised)
		worst.delegated = max(worst.delegated, took.delegated)
	}
	if sum.Handovers < int(seeds) || sum.Trips < int(seeds) {
		t.Errorf("nothing happens in %d rides: %+v", seeds, sum)
	}
	t.Logf("%d rides: %+v; registered at most %v after the last fault, with delegated prefixes %v, optimised %v", seeds, sum, worst.registered, worst.delegated, worst.optimised)
	return sum
}

// Random rides of mobile routers with one home agent hold the invariants (see
// invariant.go), all converges after the last fault (see converge.go), and the end
// leaves nothing. A failing seed is run again with its trace.
//
// Covers: B2, B3, B9.
func TestRouters(t *testing.T) {
	t.Parallel()
	rides(t, 500, func(r *rand.Rand) (Plan, Ride) {
		return Plan{Cells: 3, Agents: 1, Routers: 1 + r.IntN(4)}, Ride{Steps: 30}
	})
}

// The same with two home agents, of which either may be gone for a while, and
// mobiles that are told both, or discover them (RFC 6275 §10.5, §11.4.1).
//
// Covers: B3, M10.
func TestTwoHomeAgents(t *testing.T) {
	t.Parallel()
	sum := rides(t, 300, func(r *rand.Rand) (Plan, Ride) {
		return Plan{Cells: 3, Agents: 2, Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Discover: r.IntN(2) == 0}, Ride{Steps: 30}
	})
	if sum.Changes == 0 || sum.Discoveries == 0 || sum.Lost == 0 || sum.Restored == 0 {
		t.Errorf("no home agent was left, or remembered: %+v", sum)
	}
}

// The same where the clocks of mobiles, home agents, anchors and correspondents are set by
// years now and then, in front of a crash and behind it: no lifetime and no time-out is
// longer or shorter for it, nobody is locked out, and nothing is believed twice.
//
// Covers: H4, M2, M3, C8.
func TestClocks(t *testing.T) {
	t.Parallel()
	sum := rides(t, 200, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Correspondents: r.IntN(2), Clocks: true,
			Managed: r.IntN(2) == 0, Delegation: r.IntN(2) == 0, Anchors: r.IntN(2), Attacker: r.IntN(2) == 0,
		}, Ride{Steps: 30}
	})
	if sum.Clocks == 0 || sum.Restored == 0 || sum.Strikes == 0 {
		t.Errorf("no clock was set, nothing restored or no attack: %+v", sum)
	}
}

// The same for mobile hosts that optimise routes with correspondents of all kinds
// and with each other (RFC 6275 §9, §11.6).
//
// Covers: B3, B6, C8, M3, M12, A4.
func TestRouteOptimisation(t *testing.T) {
	t.Parallel()
	sum := rides(t, 250, optimisation(false))
	if sum.Bindings == 0 || sum.Direct == 0 || sum.Errors == 0 {
		t.Errorf("no route was optimised, or no binding lost: %+v", sum)
	}
}

// The same where others take care-of addresses that mobiles have left, and use them when
// these return: whatever was found free once, nobody is cut off by it (RFC 4862 §5.4).
//
// Covers: M8.
func TestSettlers(t *testing.T) {
	t.Parallel()
	sum := rides(t, 150, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 2 + r.IntN(2), Agents: 1, Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Correspondents: r.IntN(2),
			Managed: r.IntN(2) == 0, Foreign: r.IntN(3) == 0, Settlers: true,
		}, Ride{Steps: 30}
	})
	if sum.Settled == 0 || sum.Evaded == 0 {
		t.Errorf("nobody settled, or no mobile found out: %+v", sum)
	}
}

// The same with somebody who forges updates, tests, answers, errors and data, and
// sends recorded packets again.
//
// Covers: Attack: BU spoofing, Attack: replay, Attack: reflection,
// Attack: forged answers, M12.
func TestAttacker(t *testing.T) {
	t.Parallel()
	sum := rides(t, 250, optimisation(true))
	if sum.Strikes == 0 || sum.Bindings == 0 || sum.Direct == 0 {
		t.Errorf("nobody was attacked: %+v", sum)
	}
}

func optimisation(attacker bool) func(*rand.Rand) (Plan, Ride) {
	return func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(2), Hosts: 1 + r.IntN(3), Reserved: r.IntN(2),
			Correspondents: 1 + r.IntN(2), Unwilling: r.IntN(2), Ignorant: r.IntN(2),
			Discover: r.IntN(2) == 0, Attacker: attacker,
		}, Ride{Steps: 30}
	}
}

// The same while the home link is renumbered: a prefix comes, the old one is
// deprecated, and ends. Mobiles that are away learn it by prefix discovery and
// form a home address (RFC 6275 §10.6, §11.4).
//
// Covers: M11.
func TestRenumbering(t *testing.T) {
	t.Parallel()
	sum := rides(t, 100, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(2), Hosts: 1 + r.IntN(2), Correspondents: 1,
			Discover: r.IntN(2) == 0, Attacker: r.IntN(2) == 0,
		}, Ride{Steps: 30, Renumber: true}
	})
	if sum.Formed == 0 {
		t.Errorf("no home address was formed: %+v", sum)
	}
}

// The same seed gives the same run: without that a failure could not be replayed.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	plan, ride := optimisation(true)(rand.New(rand.NewPCG(42, 1)))
	ride.Renumber = true
	sameTwice(t, plan, ride)
	sameTwice(t, Plan{Cells: 3, Agents: 2, Routers: 3, Hosts: 1, Correspondents: 1,
		Managed: true, Foreign: true, Delegation: true, Nested: true}, Ride{Steps: 30})
}

func sameTwice(t *testing.T, plan Plan, ride Ride) {
	t.Helper()
	var runs [2][]string
	for i := range runs {
		play(42, plan, ride, func(format string, args ...any) { runs[i] = append(runs[i], fmt.Sprintf(format, args...)) })
	}
	if len(runs[0]) == 0 || len(runs[0]) != len(runs[1]) {
		t.Fatalf("%d and %d lines", len(runs[0]), len(runs[1]))
	}
	for i := range runs[0] {
		if runs[0][i] != runs[1][i] {
			t.Fatalf("line %d differs:\n%s\n%s", i, runs[0][i], runs[1][i])
		}
	}
}

// calmWorld is one in which all is well: two mobile hosts that are away, and a
// correspondent, with optimised routes.
func calmWorld(t *testing.T) *World {
	t.Helper()
	w := NewWorld(7, Plan{Cells: 3, Agents: 2, Hosts: 2, Correspondents: 1}, Faults{Delay: 10 * time.Millisecond}, nil)
	for i, h := range w.mobiles() {
		w.Move(h.ports[0], w.cells[1+i], 0, true)
	}
	w.Settle(20*time.Second, w.unregistered)
	w.Settle(20*time.Second, w.silentPairs)
	w.Settle(20*time.Second, w.indirectPairs)
	if f := w.Failures(); len(f) > 0 {
		t.Fatal(f)
	}
	return w
}

// The invariants notice when they are broken.
func TestInvariantsNotice(t *testing.T) {
	find := func(w *World, name string) *host {
		return w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })]
	}
	m0 := homeAddr(0, firstMobile)
	for name, test := range map[string]struct {
		tamper func(*World)
		notice string
	}{
		"traffic to a wrong care-of address": {func(w *World) {
			h := w.agentsOf(m0)[0]
			h.kernel.tunnels[overlay.Key{Home: m0, Side: overlay.AgentSide}].Paths[0].Remote = w.enemy.addr
		}, "newest registered care-of address"},
		"a home address not defended": {func(w *World) { delete(w.agentsOf(m0)[0].kernel.defended, m0) }, "without defending"},
		"a binding too old":           {func(w *World) { w.now = w.now.Add(time.Hour) }, "outlives its lifetime"},
		"a route of a stranger's": {func(w *World) {
			cn := find(w, "cn0")
			pair := overlay.Pair{Home: m0, Peer: cn.fixed[0], Side: overlay.CorrespondentSide}
			cn.kernel.optimised[pair] = overlay.Route{Pair: pair, CareOf: w.enemy.addr}
		}, "sends what is for"},
		"a route from elsewhere": {func(w *World) {
			m, cn := find(w, "m0"), find(w, "cn0")
			pair := overlay.Pair{Home: m0, Peer: cn.fixed[0], Side: overlay.MobileSide}
			m.kernel.optimised[pair] = overlay.Route{Pair: pair, CareOf: w.enemy.addr, Link: 1}
		}, "its care-of address is"},
		"a correspondent that forgets": {func(w *World) {
			cn := find(w, "cn0")
			clear(cn.kernel.optimised)
			for _, c := range w.indirectPairs() {
				w.fail("%s", c)
			}
		}, "not optimised"},
	} {
		t.Run(name, func(t *testing.T) {
			w := calmWorld(t)
			test.tamper(w)
			for _, h := range w.hosts {
				w.checkHost(h)
			}
			if f := w.Failures(); !slices.ContainsFunc(f, func(s string) bool { return strings.Contains(s, test.notice) }) {
				t.Errorf("not noticed: %v", f)
			}
		})
	}
}
