package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"roam6/internal/role"
)

// Ride is what happens to a world before its last fault.
type Ride struct {
	Random   *rand.Rand
	Steps    int
	Renumber bool
}

// Go plays the ride: mobiles move while the network has faults, nodes crash and
// come back, links are cut, the attacker strikes, applications talk.
func (r Ride) Go(w *World) {
	for step := range r.Steps {
		w.Talk(time.Duration(r.Random.IntN(60)) * time.Second)
		if w.plan.Attacker {
			for range r.Random.IntN(8) {
				w.after(time.Duration(r.Random.IntN(10_000))*time.Millisecond, w.enemy.Strike)
			}
		}
		if r.Renumber && step > r.Steps/5 && r.Random.IntN(3) == 0 {
			w.Renumber()
		}
		if w.plan.Clocks {
			for range r.Random.IntN(3) {
				w.setClock(w.hosts[r.Random.IntN(len(w.hosts))], r.Random)
			}
		}
		r.step(w)
		w.Run(time.Duration(r.Random.IntN(20_000)) * time.Millisecond)
	}
}

// step does one thing at random.
func (r Ride) step(w *World) {
	mobiles := w.mobiles()
	h := mobiles[r.Random.IntN(len(mobiles))]
	m := h.mobiles[r.Random.IntN(len(h.mobiles))]
	switch p := r.Random.Float64(); {
	case p < 0.76:
		w.Move(h.ports[r.Random.IntN(len(h.ports))], w.place(h, r.Random.IntN), time.Duration(r.Random.IntN(500))*time.Millisecond, r.Random.IntN(4) > 0)
	case p < 0.78:
		w.handle(h, &m.runner, role.TunnelSilent{Home: m.home})
	case p < 0.80:
		w.handle(h, &m.runner, role.TunnelRefused{Home: m.home})
	case p < 0.84:
		c := w.cells[r.Random.IntN(len(w.cells))]
		c.cut = !c.cut
		w.tell("%s is cut off: %v", c.name, c.cut)
	case p < 0.96:
		other := w.hosts[r.Random.IntN(len(w.hosts))]
		if r.Random.IntN(4) == 0 && other.isMobile {
			w.tell("%s has lost what it had saved", other.name)
			clear(other.kept)
		}
		if r.Random.IntN(2) == 0 || other.isMobile {
			w.tell("%s restarts", other.name)
			w.boot(other)
			break
		}
		w.tell("%s is gone for a while", other.name)
		w.crash(other)
		w.counts.Lost++
		w.after(time.Duration(r.Random.IntN(60))*time.Second, func() {
			if other.down {
				w.tell("%s is back", other.name)
				w.boot(other)
			}
		})
	default:
		c := w.cells[r.Random.IntN(w.plan.Cells+1)]
		c.silent = !c.silent
	}
	if len(w.domains) > 0 && r.Random.IntN(2) == 0 {
		r.disturb(w)
	}
	if w.plan.Managed && r.Random.IntN(4) == 0 {
		s := w.cells[1+r.Random.IntN(w.plan.Cells)].server
		if s.silent = !s.silent; r.Random.IntN(2) == 0 {
			s.restart()
		}
		w.tell("the server of %s has %d leases, silent: %v", s.cell.name, len(s.leases), s.silent)
	}
}

// place is a cell in which a mobile may be: the home link or an access network, or a
// mobile network.
func (w *World) place(h *host, below func(int) int) *cell {
	n := w.plan.Cells + 1
	if !w.plan.Nested {
		return w.cells[below(n)]
	}
	list := slices.Clone(w.cells[:n])
	for _, c := range w.cells[n:] {
		if c.owner != nil && w.mayEnter(h, c) {
			list = append(list, c)
		}
	}
	return list[below(len(list))]
}

// Calm ends all faults and gives every mobile a place, or takes all home.
func (w *World) Calm(random *rand.Rand, home bool) {
	w.tell("the faults end")
	w.faults = Faults{Delay: 10 * time.Millisecond}
	for _, c := range w.cells {
		c.cut, c.silent = false, false
		if c.server != nil {
			c.server.silent = false
		}
	}
	w.calmDomains()
	for _, h := range w.hosts {
		if h.down {
			w.boot(h)
		}
	}
	if w.home.other && w.home.prefix == 0 {
		for w.Renumber() {
			w.Run(10 * time.Second)
		}
	}
	for _, h := range w.mobiles() {
		for i, p := range h.ports {
			switch {
			case !home:
				w.Move(p, w.place(h, random.IntN), 10*time.Millisecond, true)
			case i == 0:
				w.Move(p, w.cells[0], 10*time.Millisecond, true)
			default: // out of reach
				p.moves++
				p.at, p.up = nil, false
				w.link(p)
				w.manageForeign(p)
			}
		}
	}
}
