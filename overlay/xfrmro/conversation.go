package xfrmro

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/xfrm/mobility"
	"roam6/overlay"
)

// ends are two addresses that routes are between.
type ends struct{ local, remote netip.Addr }

func endsOf(p overlay.Pair) ends {
	local, remote := p.Ends()
	return ends{local, remote}
}

// conversation are the routes between two addresses: of a mobile that is here, and of one
// that is there.
type conversation struct {
	routes [2]*overlay.Route // nil: none
	told   [2]overlay.Counters
	states []mobility.State // installed
}

func index(s overlay.Side) int {
	if s == overlay.MobileSide {
		return 0
	}
	return 1
}

func (c *conversation) set(s overlay.Side, r *overlay.Route) {
	c.routes[index(s)] = r
}

func (c *conversation) empty() bool { return c.routes[0] == nil && c.routes[1] == nil }

// sent is the state that puts in the header of a side's route.
func (p *Path) sent(c *conversation, k ends, s overlay.Side) mobility.State {
	h := mobility.HomeAddressOption
	if s == overlay.CorrespondentSide {
		h = mobility.Type2RoutingHeader
	}
	return mobility.State{Header: h, Source: k.local, Destination: k.remote, CareOf: c.routes[index(s)].CareOf, Request: request}
}

// taken is the state that takes it off. Of two mobiles the routing header comes before
// the option, so that the packet is still from the other's care-of address.
func (p *Path) taken(c *conversation, k ends, s overlay.Side) mobility.State {
	h, source := mobility.Type2RoutingHeader, k.remote
	if s == overlay.CorrespondentSide {
		h = mobility.HomeAddressOption
	} else if there := c.routes[1]; there != nil {
		source = there.CareOf
	}
	return mobility.State{Header: h, Source: source, Destination: k.local, CareOf: c.routes[index(s)].CareOf, Request: request, Mark: p.received}
}

// wanted are the states of a conversation.
func (p *Path) wanted(c *conversation, k ends) (all []mobility.State) {
	for _, r := range c.routes {
		if r != nil {
			all = append(all, p.sent(c, k, r.Side), p.taken(c, k, r.Side))
		}
	}
	return all
}

// stateKey is what there can be one state of.
type stateKey struct {
	header              mobility.Header
	source, destination netip.Addr
}

func keyOf(s mobility.State) stateKey { return stateKey{s.Header, s.Source, s.Destination} }

// shared is a state that several conversations may want.
type shared struct {
	mobility.State
	users int
	until time.Time // without users it goes then
}

// lingering is how long a state outlives its policies: senders that have found it before
// get EINVAL from one that is dead.
const lingering = 2 * time.Second

// expire removes states that nobody has used for long enough.
func (p *Path) expire(now time.Time) {
	n := 0
	for _, k := range p.idle {
		u := p.users[k]
		if u != nil && u.users == 0 && now.Before(u.until) {
			break
		}
		n++
		if u != nil && u.users == 0 {
			delete(p.users, k)
			_ = p.states.Remove(u.State) // it is there, unless somebody else has removed it
		}
	}
	p.idle = p.idle[n:]
}

var errShared = errors.New("another route wants this state with another care-of address")

// replace puts one conversation in place of another between the same addresses.
func (p *Path) replace(k ends, old, next *conversation) error {
	if old == nil {
		old = &conversation{}
	}
	// What is there and has another care-of address now is swapped in place.
	failure := func() error {
		for _, s := range p.wanted(next, k) {
			if err := p.use(old, s); err != nil {
				return err
			}
			next.states = append(next.states, s)
		}
		return p.demand(k, next)
	}()
	// Behind the policies, so that nothing is sent that a policy wants and no state has.
	for _, s := range old.states {
		p.leave(s)
	}
	if failure == nil && next.empty() {
		delete(p.between, k)
	} else {
		p.between[k] = next
	}
	return failure
}

// use adds a state, or joins its users. With the old conversation it may be there already,
// for that alone: then it is changed.
func (p *Path) use(old *conversation, s mobility.State) error {
	u := p.users[keyOf(s)]
	switch {
	case u == nil:
		if err := p.states.Add(s); err != nil {
			return err
		}
		p.users[keyOf(s)] = &shared{State: s, users: 1}
		return nil
	case u.State != s:
		others := u.users
		for _, o := range old.states {
			if keyOf(o) == keyOf(s) {
				others--
			}
		}
		if others > 0 {
			return fmt.Errorf("%v: %w", s, errShared)
		}
		if err := p.states.Update(s); err != nil {
			return err
		}
		u.State = s
	}
	u.users++
	return nil
}

// leave ends the use of a state, which goes a while behind the last one.
func (p *Path) leave(s mobility.State) {
	u := p.users[keyOf(s)]
	if u == nil {
		return
	}
	if u.users--; u.users == 0 {
		u.until = time.Now().Add(lingering)
		p.idle = append(p.idle, keyOf(s))
	}
}
