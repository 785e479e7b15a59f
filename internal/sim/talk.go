package sim

import (
	"net/netip"
	"time"
)

// Applications: pairs of hosts that talk to each other now and then. One asks,
// the other answers.

// datum is an application packet.
type datum struct {
	source, destination netip.Addr
	from, to            *host
	answer              bool
	forged              bool // by the attacker
}

// talks are the conversations.
type talks struct {
	hosts []*host
	trips map[conversation]*trip // that came to a good end
}

// conversation is between two addresses, the first of which asks.
type conversation struct{ asks, answers netip.Addr }

// trip is the last round trip of a conversation.
type trip struct {
	at      time.Time
	there   bool // the question went without a tunnel
	direct  bool // and the answer
	planned bool // the question took the direct way
}

func (t *talks) add(h *host) { t.hosts = append(t.hosts, h) }

// addresses are those by which applications reach a host.
func (w *World) addresses(h *host) []netip.Addr {
	if len(h.fixed) > 0 {
		return h.fixed
	}
	var list []netip.Addr
	for _, m := range h.mobiles {
		if !m.gone {
			list = append(list, m.home)
		}
	}
	if h.network.IsValid() {
		list = append(list, h.network.Addr().Next())
	}
	for _, n := range h.given() {
		list = append(list, n.prefix.Addr().Next())
	}
	return list
}

// Talk has one random pair exchange packets for a while.
func (w *World) Talk(duration time.Duration) {
	hosts := w.talks.hosts
	a, b := hosts[w.random.IntN(len(hosts))], hosts[w.random.IntN(len(hosts))]
	from, to := w.addresses(a), w.addresses(b)
	if a == b || len(from) == 0 || len(to) == 0 {
		return
	}
	c := conversation{from[w.random.IntN(len(from))], to[w.random.IntN(len(to))]}
	end := w.now.Add(duration)
	interval := 500*time.Millisecond + time.Duration(w.random.IntN(3000))*time.Millisecond
	var again func()
	again = func() {
		w.ask(a, b, c)
		if w.now.Add(interval).Before(end) {
			w.after(interval, again)
		}
	}
	again()
}

// ask sends one question.
func (w *World) ask(a, b *host, c conversation) {
	if !a.down && w.owns(a, c.asks) {
		w.plane(a).send(&datum{source: c.asks, destination: c.answers, from: a, to: b})
	}
}

// owns reports whether an address is one of a host's applications.
func (w *World) owns(h *host, a netip.Addr) bool {
	for _, b := range w.addresses(h) {
		if a == b {
			return true
		}
	}
	return false
}

// delivered takes an application packet at its end.
func (w *World) delivered(h *host, d *datum, direct bool) {
	if h != d.to {
		w.fail("%s gets a packet of %s for %s", h.name, d.from.name, d.to.name)
		return
	}
	if !d.answer {
		c := conversation{d.source, d.destination}
		t := w.talks.trip(c)
		t.planned = direct
		w.plane(h).send(&datum{source: d.destination, destination: d.source, from: h, to: d.from, answer: true})
		return
	}
	t := w.talks.trip(conversation{d.destination, d.source})
	t.at, t.there, t.direct = w.now, t.planned, direct
	w.counts.Trips++
	if t.there && direct {
		w.counts.Direct++
	}
}

func (t *talks) trip(c conversation) *trip {
	if t.trips == nil {
		t.trips = make(map[conversation]*trip)
	}
	if t.trips[c] == nil {
		t.trips[c] = &trip{}
	}
	return t.trips[c]
}

// askAll has every pair exchange one packet, and returns the pairs.
func (w *World) askAll() (pairs []exchange) {
	for _, a := range w.talks.hosts {
		for _, b := range w.talks.hosts {
			if a == b {
				continue
			}
			for _, from := range w.addresses(a) {
				for _, to := range w.addresses(b) {
					c := conversation{from, to}
					pairs = append(pairs, exchange{a, b, c})
					w.ask(a, b, c)
				}
			}
		}
	}
	return pairs
}

// exchange is a conversation with its hosts.
type exchange struct {
	a, b *host
	conversation
}
