package ro

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/order"
	"roam6/mip6"
)

// State is how far route optimisation with a correspondent has come.
type State uint8

// States of a correspondent.
const (
	StateTesting       State = iota + 1 // the return routability procedure runs, or waits for the home registration
	StateRegistering                    // a binding update waits for its acknowledgement
	StateOptimised                      // packets take the direct way
	StateDeregistering                  // the binding is being deleted
	StateUnanswered                     // failed, to be tried again
	StateRefused                        // does not know Mobile IPv6, or does not want it
)

func (s State) String() string {
	switch s {
	case StateTesting:
		return "testing"
	case StateRegistering:
		return "registering"
	case StateOptimised:
		return "optimised"
	case StateDeregistering:
		return "deregistering"
	case StateUnanswered:
		return "unanswered"
	case StateRefused:
		return "refused"
	default:
		return "unknown"
	}
}

// Peer is a correspondent as show and metrics tell of it.
type Peer struct {
	Addr       netip.Addr
	State      State
	CareOf     netip.Addr    // of the optimised route; invalid without one
	Remaining  time.Duration // of the binding behind it
	RetryAfter time.Duration // until the next try, with StateUnanswered and StateRefused
	Idle       time.Duration // since traffic was seen last
	Sequence   mip6.Sequence // of the last binding update
	Failures   int           // in a row
}

// Peers returns the correspondents with which something is under way, in place or
// in the way, by address.
func (o *Optimiser) Peers(now time.Time) []Peer {
	var peers []Peer
	for _, e := range o.order {
		state := e.state(now)
		if state == 0 {
			continue
		}
		p := Peer{Addr: e.peer, State: state, Idle: now.Sub(e.used), Sequence: e.sequence, Failures: e.failures}
		if e.route != nil {
			p.CareOf, p.Remaining = e.route.CareOf, max(0, e.expires.Sub(now))
		}
		if state == StateUnanswered || state == StateRefused {
			p.RetryAfter = e.retryAfter.Sub(now)
		}
		peers = append(peers, p)
	}
	order.Sort(peers, func(a, b Peer) int { return a.Addr.Compare(b.Addr) })
	return peers
}

// state is the entry's state; zero for one that is only a memory.
func (e *entry) state(now time.Time) State {
	switch {
	case e.deleting && !e.held.After(now):
		return 0
	case e.deleting:
		return StateDeregistering
	case e.route != nil:
		return StateOptimised
	case e.phase == proving:
		return StateTesting
	case e.phase == registering:
		return StateRegistering
	case !now.Before(e.retryAfter):
		return 0
	case e.refused:
		return StateRefused
	default:
		return StateUnanswered
	}
}

// admit enters a correspondent in the list; nil if there is no room or it is
// not its turn. The sequence numbers begin at a random value (RFC 6275 §11.7.2).
func (o *Optimiser) admit(now time.Time, peer netip.Addr) *entry {
	if !o.newcomers.Allow(now, newcomerRate) {
		return nil
	}
	if len(o.order) >= o.config.MaxPeers {
		victim := o.victim(now)
		if victim == nil {
			return nil
		}
		o.evict(now, victim)
	}
	var sequence [2]byte
	o.config.Random(sequence[:])
	e := &entry{peer: peer, sequence: mip6.Sequence(binary.BigEndian.Uint16(sequence[:]))}
	o.peers[peer] = e
	o.order = append(o.order, e)
	return e
}

// victim chooses what has to go for a newcomer, the least recently used first:
// mere memories, then who never answered, then idle ones. Correspondents that
// are in use stay: otherwise a crowd of strangers, which anybody can feign, would
// drive them out, and one more correspondent than there is room for would have
// all of them take turns.
func (o *Optimiser) victim(now time.Time) *entry {
	var unproven, idle *entry
	for _, e := range slices.Backward(o.order) {
		switch {
		case !e.quiet(now):
		case e.phase == resting && e.route == nil && !e.held.After(now):
			return e
		case !e.capable && unproven == nil:
			unproven = e
		case e.idle(now) && idle == nil:
			idle = e
		}
	}
	if unproven != nil {
		return unproven
	}
	return idle
}

// evict removes an entry, and its binding as far as that is possible at once.
func (o *Optimiser) evict(now time.Time, e *entry) {
	o.tunnel(e)
	o.farewell(now, e)
	delete(o.peers, e.peer)
	o.order = slices.DeleteFunc(o.order, func(f *entry) bool { return f == e })
}

// forget removes memories that are too old to be of use. Nobody is woken for it.
func (o *Optimiser) forget(now time.Time) {
	o.order = slices.DeleteFunc(o.order, func(e *entry) bool {
		if !e.forgettable(now) {
			return false
		}
		delete(o.peers, e.peer)
		return true
	})
}

// touch moves an entry to the front.
func (o *Optimiser) touch(e *entry) {
	i := slices.Index(o.order, e)
	copy(o.order[1:i+1], o.order[:i])
	o.order[0] = e
}
