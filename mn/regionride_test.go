package mn

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// regionWorld is a home agent and anchors that keep bindings and answer after a while, and
// links that lose what is sent.
type regionWorld struct {
	*bench
	random   *rand.Rand
	loss     float64
	deaf     map[netip.Addr]bool // anchors that do not answer
	bindings map[netip.Addr]netip.Addr
	sequence map[netip.Addr]mip6.Sequence
	queue    []delivery
	toHome   int // updates that the home agent got
	at       cell
}

type delivery struct {
	at time.Time
	do func()
}

func newRegionWorld(t *testing.T, seed uint64, change func(*Config)) *regionWorld {
	return &regionWorld{bench: newRegion(t, change), random: rand.New(rand.NewPCG(seed, 5)), deaf: map[netip.Addr]bool{},
		bindings: map[netip.Addr]netip.Addr{}, sequence: map[netip.Addr]mip6.Sequence{}}
}

// delay is the way from the node to another one.
func delay(to netip.Addr) time.Duration {
	if to == homeAgent {
		return 60 * time.Millisecond
	}
	return 5 * time.Millisecond
}

func (w *regionWorld) later(d time.Duration, do func()) {
	w.queue = append(w.queue, delivery{w.now.Add(d), do})
	slices.SortStableFunc(w.queue, func(a, b delivery) int { return a.at.Compare(b.at) })
}

// post takes what the node sends: through an anchor it arrives only if that has the
// binding of the packet's source.
func (w *regionWorld) post(actions []role.Action) {
	for _, s := range only[role.Send](actions) {
		p := s.Packet
		u, ok := p.Message.(mip6.BindingUpdate)
		if !ok || w.random.Float64() < w.loss {
			continue
		}
		if s.Link == 0 {
			r := w.kernel.regional[p.Source]
			if r == nil || w.deaf[r.Paths[0].Remote] {
				continue
			}
			outer := r.Paths[0].Local
			w.later(delay(anchor1), func() {
				if w.bindings[p.Source] == outer && w.here(outer) {
					w.later(delay(homeAgent)-delay(anchor1), func() { w.bind(p, u) })
				}
			})
			continue
		}
		w.later(delay(p.Destination), func() { w.bind(p, u) })
	}
}

// here reports whether an on-link care-of address is that of the present link.
func (w *regionWorld) here(a netip.Addr) bool {
	return w.node.current.works() && w.at.prefix.Masked().Contains(a) || a == homeAddress
}

// bind is the home agent, or an anchor.
func (w *regionWorld) bind(p mip6.Packet, u mip6.BindingUpdate) {
	home := p.From()
	if w.deaf[p.Destination] || w.bindings[home].IsValid() && !u.Sequence.After(w.sequence[home]) {
		return
	}
	w.sequence[home] = u.Sequence
	w.bindings[home] = p.Source
	if u.Lifetime == 0 {
		delete(w.bindings, home)
	}
	answer := w.answerTo
	if p.Destination == homeAgent {
		w.toHome++
	} else {
		answer = w.anchorAnswer
	}
	if w.random.Float64() < w.loss {
		return
	}
	w.later(delay(p.Destination), func() {
		// It goes where the update came from.
		if via := w.bindings[p.Source]; w.here(p.Source) || via.IsValid() && w.here(via) {
			w.post(w.handle(answer(p, mip6.StatusAccepted, nil)))
		}
	})
}

// reached reports whether a packet to the home address gets to where the node is, and
// through the tunnels that it has.
func (w *regionWorld) reached() bool {
	a := w.bindings[homeAddress]
	tunnel := w.kernel.tunnel
	if !a.IsValid() || tunnel == nil || tunnel.Paths[0].Local != a {
		return false
	}
	if via := w.bindings[a]; via.IsValid() {
		r := w.kernel.regional[a]
		return r != nil && r.Paths[0].Local == via && w.here(via)
	}
	return w.here(a)
}

// run lets time pass.
func (w *regionWorld) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		next := end
		if len(w.queue) > 0 && w.queue[0].at.Before(next) {
			next = w.queue[0].at
		}
		if t := w.node.Next(); !t.IsZero() && t.Before(next) {
			next = t
		}
		did := w.pass(max(next.Sub(w.now), 0))
		w.post(did)
		w.neighbors(did)
		for len(w.queue) > 0 && !w.queue[0].at.After(w.now) {
			first := w.queue[0]
			w.queue = w.queue[1:]
			first.do()
		}
	}
}

// neighbors answers for the router.
func (w *regionWorld) neighbors(did []role.Action) {
	for _, p := range only[role.ProbeNeighbor](did) {
		if p.Target == w.at.router {
			w.later(time.Millisecond, func() {
				if p.Target == w.at.router {
					did := w.handle(role.NeighborHeard{Link: 1, From: p.Target, Target: p.Target, Solicited: true})
					w.post(did)
				}
			})
		}
	}
}

// anchorsOf are the anchors of a cell: two domains that overlap in nothing.
func anchorsOf(c cell) []mip6.MobilityAnchorPoint {
	switch c {
	case ar1, ar2:
		return []mip6.MobilityAnchorPoint{offered(anchor1, 2, 10)}
	case ar3:
		return []mip6.MobilityAnchorPoint{offered(anchor2, 2, 10)}
	default:
		return nil
	}
}

func (w *regionWorld) enter(c cell) {
	w.at = c
	did := w.moveTo(c, anchorsOf(c)...)
	w.post(did)
	w.neighbors(did)
}

// Whatever moves and losses there are: when both have an end, packets to the home address
// arrive, by the anchor of the domain where there is one that answers; nothing is left of
// the others. Moves inside a domain are none to the home agent.
//
// Covers: P1, P5, P6.
func TestRideThroughRegions(t *testing.T) {
	for seed := range uint64(150) {
		w := newRegionWorld(t, seed, nil)
		w.loss = []float64{0, 0.1, 0.4}[seed%3]
		for range 25 {
			w.enter(pick(w.random, ar1, ar2, ar3, ar4, atHome))
			w.deaf[anchor1] = w.random.IntN(6) == 0
			w.run(pick(w.random, 0, 3*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond, time.Second, 5*time.Second, time.Minute))
			if len(w.all) > 200 {
				w.all = append(w.all[:0], w.all[len(w.all)-200:]...)
			}
		}
		w.loss, w.deaf = 0, map[netip.Addr]bool{anchor2: seed%5 == 0}
		for _, c := range []cell{ar1, ar3, ar4} {
			w.enter(c)
			for range 40 { // avoidance has an end
				w.run(20 * time.Second)
				w.post(w.hearOn(1, c, anchorsOf(c)...))
			}
			if !w.reached() {
				t.Fatalf("seed %d at %v: bindings %v, tunnel %+v, %+v", seed, c.prefix, w.bindings, w.kernel.tunnel, w.node.Snapshot(w.now).Regional)
			}
			want := len(anchorsOf(c))
			if want > 0 && w.deaf[anchorsOf(c)[0].Address] {
				want = 0
			}
			if got := w.kernel.regional; len(got) != want || (w.kernel.tunnel.Paths[0].Link == 0) != (want > 0) {
				t.Fatalf("seed %d at %v: tunnels %v, to the home agent %+v", seed, c.prefix, got, w.kernel.tunnel.Paths)
			}
		}
		w.enter(ar1)
		w.run(time.Minute)
		before := w.toHome
		for i := range 20 {
			w.enter([]cell{ar2, ar1}[i%2])
			w.run(2*delay(anchor1) + time.Millisecond)
			if !w.reached() {
				t.Fatalf("seed %d: not there after the anchor's round trip", seed)
			}
			w.run(time.Second)
		}
		if w.toHome != before {
			t.Errorf("seed %d: %d updates to the home agent for moves inside a domain", seed, w.toHome-before)
		}
		if t.Failed() {
			return
		}
	}
}

// How long nothing arrives after the advertisement of the new router, at most: inside a
// domain until the anchor has the update; into another one, until the anchor of before
// has it, or where that is dead the home agent has answered by way of the new one; with a dead anchor, its first time-out
// and the way to the home agent.
//
// Covers: P5.
func TestInterruptionInRegions(t *testing.T) {
	for name, c := range map[string]struct {
		to   cell
		deaf bool
		most time.Duration
	}{
		"inside":           {ar2, false, delay(anchor1)},
		"to another":       {ar3, false, delay(anchor1)},
		"outside":          {ar4, false, delay(homeAgent)},
		"with a dead one":  {ar2, true, InitialBindAckTimeout + delay(homeAgent)},
		"from a dead one":  {ar3, true, 2*delay(anchor1) + 2*delay(homeAgent)},
		"out of dead ones": {ar4, true, delay(homeAgent)},
	} {
		w := newRegionWorld(t, 1, nil)
		w.enter(ar1)
		w.run(time.Minute)
		if !w.reached() || w.kernel.tunnel.Paths[0].Link != 0 {
			t.Fatal("does not begin in the domain")
		}
		w.deaf[anchor1] = c.deaf
		begin := w.now
		w.enter(c.to)
		for w.run(time.Millisecond); !w.reached() && w.now.Sub(begin) < time.Minute; w.run(time.Millisecond) {
		}
		took := w.now.Sub(begin)
		t.Log(name, took)
		if took > c.most+2*time.Millisecond {
			t.Errorf("%s: %v, want %v", name, took, c.most)
		}
	}
}
