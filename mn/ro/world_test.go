package ro

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// world is a network between an Optimiser and its correspondents that loses,
// repeats and reorders, with a home agent that learns of moves late.
type world struct {
	*bench
	rng   *rand.Rand
	loss  float64
	queue []delivery
	order int // of deliveries at the same time

	bound netip.Addr // where the home agent sends what comes to the home address
	last  map[netip.Addr]mip6.Sequence
	free  map[netip.Addr]bool // a 135 was delivered: the sequence number may jump
	seen  map[mip6.Cookie]bool
	rates rates
	moves int
}

type delivery struct {
	at    time.Time
	order int
	do    func()
}

func newWorld(t *testing.T, seed uint64, peers int) *world {
	w := &world{
		bench: newBench(t, func(c *Config) { c.Random = seeded(seed) }), rng: rand.New(rand.NewPCG(seed, 7)),
		last: map[netip.Addr]mip6.Sequence{}, free: map[netip.Addr]bool{}, seen: map[mip6.Cookie]bool{}, rates: rates{},
	}
	for n := range peers {
		w.node(n + 1)
	}
	return w
}

// later calls do after a delay of up to most, now and then twice, now and then
// never.
func (w *world) later(most time.Duration, do func()) {
	for copies := 1; copies > 0; copies-- {
		if w.rng.Float64() < w.loss {
			continue
		}
		if w.rng.Float64() < w.loss/2 {
			copies++
		}
		w.after(time.Duration(w.rng.Int64N(int64(most))), do)
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	w.queue = append(w.queue, delivery{w.now.Add(d), w.order, do})
}

// run lets the world go on for d.
func (w *world) run(d time.Duration) {
	w.Helper()
	end := w.now.Add(d)
	for range 1000000 {
		slices.SortFunc(w.queue, func(a, b delivery) int {
			if c := a.at.Compare(b.at); c != 0 {
				return c
			}
			return a.order - b.order
		})
		next := w.o.Next()
		if len(w.queue) > 0 && (next.IsZero() || !w.queue[0].at.After(next)) {
			q := w.queue[0]
			if q.at.After(end) {
				break
			}
			w.queue = w.queue[1:]
			w.now = later(w.now, q.at)
			q.do()
			continue
		}
		if next.IsZero() || next.After(end) {
			break
		}
		w.now = later(w.now, next)
		w.check(w.handle(role.Timeout{}))
		if n := w.o.Next(); !n.IsZero() && !n.After(w.now) {
			w.Fatalf("wants to be woken again at once")
		}
	}
	w.now = end
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// check holds what must always hold, and puts what was sent on the way.
func (w *world) check(actions []role.Action) {
	w.Helper()
	w.rates.check(w.T, w.now, actions)
	for peer, r := range w.routes {
		if !w.at.away() || r.CareOf != w.at.CareOf {
			w.Fatalf("route to %v by %v, the mobile node is at %v", peer, r.CareOf, w.at)
		}
	}
	for _, s := range only[role.Send](actions) {
		w.checkSend(s)
		p := w.wire(s.Packet)
		c := w.nodes[p.Destination]
		if p.Source == home && !w.at.AtHome && w.bound != w.at.CareOf {
			w.Fatalf("%v through a home agent that has %v", p.Message.Type(), w.bound)
		}
		w.later(300*time.Millisecond, func() {
			for _, q := range c.receive(w.T, w.now, p) {
				w.later(300*time.Millisecond, func() { w.arrive(q) })
			}
		})
	}
}

func (w *world) checkSend(s role.Send) {
	w.Helper()
	p := s.Packet
	switch m := p.Message.(type) {
	case mip6.HomeTestInit:
		if p.Source != home || !w.at.Registered || w.seen[m.Cookie] {
			w.Fatalf("home test init %+v at %+v", p, w.at)
		}
		w.seen[m.Cookie] = true
	case mip6.CareOfTestInit:
		if p.Source != w.at.CareOf || w.at.AtHome || w.seen[m.Cookie] {
			w.Fatalf("care-of test init %+v at %+v", p, w.at)
		}
		w.seen[m.Cookie] = true
	case mip6.BindingUpdate:
		if p.Source != w.at.source(home) || p.HomeAddress.IsValid() == w.at.AtHome {
			w.Fatalf("update %+v at %+v", p, w.at)
		}
		if m.Lifetime > 0 && (w.at.AtHome || m.Lifetime.Duration() > min(MaxBindingLifetime, w.at.Expires.Sub(w.now))) {
			w.Fatalf("lifetime %v, home registration until %v", m.Lifetime.Duration(), w.at.Expires)
		}
		if last, ok := w.last[p.Destination]; ok && !w.free[p.Destination] && !m.Sequence.After(last) {
			w.Fatalf("sequence number %d after %d", m.Sequence, last)
		}
		w.last[p.Destination] = m.Sequence
		w.free[p.Destination] = false
	default:
		w.Fatalf("sent %+v", s)
	}
}

// arrive delivers an answer, if the mobile node is where it goes.
func (w *world) arrive(p mip6.Packet) {
	w.Helper()
	if p.Destination == home && !w.at.AtHome && (w.bound != w.at.CareOf || !w.bound.IsValid()) {
		return
	}
	if p.Destination == home && w.at.AtHome && w.bound.IsValid() {
		return
	}
	if a, ok := p.Message.(mip6.BindingAcknowledgement); ok && a.Status == mip6.StatusSequenceOutOfWindow {
		w.free[p.Source] = true
	}
	// What goes to an old care-of address arrives, too: it is kept for a while.
	w.check(w.deliver(p))
}

// move attaches somewhere else; the home agent learns of it after a while.
func (w *world) move(a Attachment, most time.Duration) {
	w.Helper()
	w.moves++
	number := w.moves
	a.Registered, a.Expires = false, w.at.Expires
	was := len(w.all)
	w.check(w.attach(a))
	if len(w.routes) != 0 && !a.samePlace(w.at) {
		w.Fatalf("routes after a move: %v, %v", w.routes, w.all[was:])
	}
	if a.nowhere() {
		return
	}
	w.after(time.Duration(w.rng.Int64N(int64(most))), func() {
		if w.moves == number {
			w.bound = a.CareOf
			w.register(number, most)
		}
	})
}

// register delivers the home agent's acknowledgement, again and again.
func (w *world) register(number int, most time.Duration) {
	w.after(time.Duration(w.rng.Int64N(int64(most))), func() {
		if w.moves != number {
			return
		}
		a := w.at
		a.Registered = true
		if !a.AtHome {
			a.Expires = w.now.Add(300 * time.Second)
		}
		w.check(w.attach(a))
		w.after(100*time.Second, func() {
			if w.moves == number {
				w.register(number, most)
			}
		})
	})
}

// talk reports traffic with everybody every ten seconds.
func (w *world) talk() {
	for n := range len(w.nodes) {
		if w.at.away() {
			w.check(w.handle(traffic(peerAddr(n + 1))))
		}
	}
	w.after(overlay.TrafficInterval, w.talk)
}

// Whatever is lost, repeated, reordered and restarted while the mobile node
// moves: the invariants of world hold, everybody is optimised soon after the last
// fault, and after the return home and the end nothing is left (RFC 6275 §11.6,
// §11.7, §11.8).
// Covers: M2, M3, M5, B3, B6.
func TestConvergence(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		w := newWorld(t, seed, 5)
		w.talk()
		w.loss = 0.25
		places := []netip.Addr{careOf1, careOf2, careOf3}
		for range 60 {
			w.chaos(places)
			w.run(time.Duration(w.rng.Int64N(int64(20 * time.Second))))
		}

		w.loss = 0
		w.move(Attachment{CareOf: netip.MustParseAddr("2001:db8:a4::42"), Link: uplink}, 500*time.Millisecond)
		// Whoever fails once more, as one does that refuses the nonce of a deletion
		// until it has a new one, waits as long as its failures made the pause.
		patience := time.Minute
		for _, p := range w.o.Peers(w.now) {
			patience = max(patience, min(backOffProven<<(p.Failures+1), longestBackOff)+30*time.Second)
		}
		w.run(patience)
		for a, c := range w.nodes {
			if w.routes[a].CareOf != w.at.CareOf || c.binding(w.now) != w.at.CareOf {
				t.Fatalf("seed %d: %v after the last fault %v is not optimised: %+v", seed, patience, a, w.o.Peers(w.now))
			}
		}

		w.move(Attachment{AtHome: true, Link: homeLink}, 500*time.Millisecond)
		w.run(30 * time.Second)
		for a, c := range w.nodes {
			if c.binding(w.now).IsValid() {
				t.Errorf("seed %d: %v has a binding left, %+v", seed, a, w.o.Peers(w.now))
			}
		}
		w.quiet()
		w.handle(role.Stop{})
		w.quiet()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// chaos does something unpleasant.
func (w *world) chaos(places []netip.Addr) {
	switch w.rng.IntN(12) {
	case 0:
		w.move(Attachment{}, time.Second)
	case 1:
		w.move(Attachment{AtHome: true, Link: homeLink}, 3*time.Second)
	case 2:
		c := w.nodes[peerAddr(1+w.rng.IntN(len(w.nodes)))]
		c.restart(byte(w.rng.Uint32()))
	case 3:
		w.check(w.deliver(bindingError(peerAddr(1+w.rng.IntN(len(w.nodes))), mip6.BindingErrorUnknownBinding, home)))
	case 4: // believed by nobody who has had an answer
		if e := w.o.peers[peerAddr(1+w.rng.IntN(len(w.nodes)))]; e != nil && e.capable {
			w.check(w.handle(role.PeerRefused{Local: home, Peer: e.peer}))
		}
	case 5:
		w.loss = w.rng.Float64() / 2
	default:
		w.move(Attachment{CareOf: places[w.rng.IntN(len(places))], Link: uplink}, 3*time.Second)
	}
}

// Two mobile nodes that talk to each other optimise both directions at once, and
// again when both move at the same moment (RFC 6275 §5.2.9: the tests go to the
// home address of the other).
// Covers: B6.
func TestBothMobile(t *testing.T) {
	other := netip.MustParseAddr("2001:db8:20::100")
	a := newBench(t, nil)
	b := newBench(t, func(c *Config) { c.Home, c.Random = other, seeded(2) })
	// Each is a correspondent, too.
	a.nodes[other], b.nodes[home] = newCorrespondent(other), newCorrespondent(home)
	for i, places := range [][2]netip.Addr{{careOf1, careOf2}, {careOf2, careOf1}, {careOf3, careOf2}, {careOf1, careOf3}} {
		sent := [2][]role.Action{a.attach(a.away(places[0], true)), b.attach(b.away(places[1], true))}
		if i == 0 {
			sent[0] = a.handle(traffic(other))
			sent[1] = b.handle(role.TrafficSeen{Home: other, Peer: home, Side: overlay.MobileSide})
		}
		for _, s := range slices.Concat(only[role.Send](sent[0]), only[role.Send](sent[1])) {
			if d := s.Packet.Destination; d != home && d != other {
				t.Errorf("%v to %v", s.Packet.Message.Type(), d)
			}
		}
		a.exchange(sent[0])
		for answers := sent[1]; len(answers) > 0; {
			var next []role.Action
			for _, s := range only[role.Send](answers) {
				for _, p := range b.nodes[home].receive(t, b.now, b.wire(s.Packet)) {
					link := uplink
					if p.Destination == other {
						link = tunnel
					}
					next = append(next, b.handle(role.MessageReceived{Link: link, Packet: b.wire(p)})...)
				}
			}
			answers = next
		}
		if a.routes[other].CareOf != places[0] || b.routes[home].CareOf != places[1] {
			t.Errorf("move %d: routes %v and %v", i, a.routes, b.routes)
		}
		a.now, b.now = a.now.Add(time.Second), b.now.Add(time.Second)
	}
}
