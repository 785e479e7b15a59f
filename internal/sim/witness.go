package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// witness sees all signalling and knows from it what may be: which updates
// mobiles have sent, what they were promised, and which tests have reached them.
type witness struct {
	w       *World
	counter int // of updates
	updates map[relation][]sentUpdate
	paces   map[relation]*updatePace
	grants  map[*runner]map[netip.Addr]grant // of home agents and anchors
	// promised before a crash: whoever remembers it is held to it.
	before  map[*host]map[netip.Addr]grant
	bound   map[*correspondent]map[relation]grant
	tests   map[relation]time.Time // when a test's answer from peer reached an address
	last    map[netip.Addr]*host   // the home agent that accepted last
	careOfs map[netip.Addr]*host   // addresses that were care-of addresses, and whose
	// regional is until when anchors have promised regional care-of addresses.
	regional map[netip.Addr]time.Time
	// promised is until when prefixes were delegated, whoever forgot it since; given is
	// what a delegating router said last.
	promised map[promise]time.Time
	given    map[promisedBy]role.PrefixesDelegated
}

// relation is between a mobile's address and another node.
type relation struct{ home, peer netip.Addr }

// sentUpdate is a binding update that a mobile has sent.
type sentUpdate struct {
	index    int // increases with each update of anybody
	sequence mip6.Sequence
	careOf   netip.Addr
	lifetime time.Duration
	// space changes when the sequence numbers of a mobile begin anew, because it has
	// restarted or adopted a number (RFC 6275 §11.7.3). An update of before that has
	// never arrived may then be newer by its number: what protects against that is a
	// timestamp, or the end of the nonces.
	space       int
	timestamped bool
}

// grant is a binding as it may be.
type grant struct {
	index    int // of the update
	space    int
	sequence mip6.Sequence
	careOf   netip.Addr
	expires  time.Time
}

// outdated reports whether the update must not be taken after the one of a grant.
func (u sentUpdate) outdated(g grant) bool {
	return u.index < g.index && (u.timestamped || u.space == g.space)
}

// updatePace is for requirement M3.
type updatePace struct {
	by       *runner
	sequence mip6.Sequence
	space    int
	adopts   bool // a refusal of the sequence number has reached the mobile
	recent   []time.Time
}

func newWitness(w *World) *witness {
	return &witness{
		w: w, updates: make(map[relation][]sentUpdate), paces: make(map[relation]*updatePace),
		grants: make(map[*runner]map[netip.Addr]grant), before: make(map[*host]map[netip.Addr]grant), bound: make(map[*correspondent]map[relation]grant),
		tests: make(map[relation]time.Time), careOfs: make(map[netip.Addr]*host), last: make(map[netip.Addr]*host), regional: make(map[netip.Addr]time.Time),
		promised: make(map[promise]time.Time), given: make(map[promisedBy]role.PrefixesDelegated),
	}
}

// forget notes that a host has crashed.
func (x *witness) forget(h *host) {
	if r := h.registrar(); r != nil {
		x.before[h] = x.grants[r]
		delete(x.grants, r)
	}
	delete(x.bound, h.correspondent)
	maps.DeleteFunc(x.given, func(p promisedBy, _ role.PrefixesDelegated) bool { return p.agent == h })
}

// resume notes that a host remembers what it had promised before a crash: no binding may
// outlive that, nor an update be taken twice.
func (x *witness) resume(h *host) { x.grants[h.registrar()] = x.before[h] }

// sent sees a message leave.
func (x *witness) sent(h *host, r *runner, s role.Send) {
	p := s.Packet
	_, update := p.Message.(mip6.BindingUpdate)
	_, acknowledgement := p.Message.(mip6.BindingAcknowledgement)
	if h.anchor != nil && acknowledgement && !p.RouteHome.IsValid() {
		x.w.fail("%s sends %s without a routing header (RFC 5380 §6.2)", h.name, describe(p))
	}
	if p.HomeAddress.IsValid() && !update || p.RouteHome.IsValid() && !acknowledgement {
		x.w.fail("%s sends %s with home address %v and routing header %v (RFC 6275 §6.1)", h.name, describe(p), p.HomeAddress, p.RouteHome)
	}
	switch m := p.Message.(type) {
	case mip6.BindingUpdate:
		x.updated(h, r, p, m)
	case mip6.BindingAcknowledgement:
		if h.registrar() != nil {
			x.acknowledged(h, p, m)
		}
	case mip6.BindingError:
		x.w.counts.Errors++
	}
}

// updated sees an update leave its mobile.
func (x *witness) updated(h *host, r *runner, p mip6.Packet, m mip6.BindingUpdate) {
	key := relation{p.From(), p.Destination}
	u := sentUpdate{sequence: m.Sequence, careOf: p.Source, lifetime: m.Lifetime.Duration()}
	if o, ok := mip6.Find[mip6.AlternateCareOf](m); ok {
		u.careOf = o.Addr
	}
	if u.careOf != key.home {
		x.careOfs[u.careOf] = h
	}
	x.checkRegional(h, p, m, u)
	pace := x.paces[key]
	if pace == nil || pace.by != r {
		pace = &updatePace{by: r, sequence: m.Sequence - 1, space: x.counter}
		x.paces[key] = pace
	}
	if m.Flags&mip6.UpdateMAP != 0 && m.Sequence == 1 && len(x.w.domains) > maxRegionals {
		pace.adopts = true // it had to forget one of so many
	}
	if !pace.adopts && !m.Sequence.After(pace.sequence) {
		x.w.fail("%s sends sequence number %d to %v after %d (RFC 6275 §11.7)", h.name, m.Sequence, p.Destination, pace.sequence)
	}
	x.counter++
	if pace.adopts {
		pace.space = x.counter
	}
	_, u.timestamped = mip6.Find[mip6.ReplayProtection](m)
	u.index, u.space = x.counter, pace.space
	x.updates[key] = append(x.updates[key], u)
	pace.sequence, pace.adopts = m.Sequence, false
	if n := len(pace.recent); n >= 3 && x.w.now.Sub(pace.recent[n-3]) < time.Second {
		x.w.fail("%s sends a fourth update to %v within a second (RFC 6275 §11.8)", h.name, p.Destination)
	}
	pace.recent = append(pace.recent[max(len(pace.recent)-2, 0):], x.w.now)
}

// find returns the newest update of a relation that fits, and whether there is
// one: sequence numbers begin anew when a mobile restarts.
func (x *witness) find(key relation, fits func(sentUpdate) bool) (sentUpdate, bool) {
	list := x.updates[key]
	for i := len(list) - 1; i >= 0; i-- {
		if fits(list[i]) {
			return list[i], true
		}
	}
	return sentUpdate{}, false
}

// acknowledged learns from an acknowledgement what a home agent has promised: the
// invariants hold it to that.
func (x *witness) acknowledged(h *host, p mip6.Packet, m mip6.BindingAcknowledgement) {
	if !m.Status.Accepted() {
		return
	}
	home := p.To()
	grants := x.grants[h.registrar()]
	if grants == nil {
		grants = make(map[netip.Addr]grant)
		x.grants[h.registrar()] = grants
	}
	u, ok := x.find(relation{home, p.Source}, func(u sentUpdate) bool {
		return u.sequence == m.Sequence && (u.lifetime == 0) == (m.Lifetime == 0) && u.careOf == p.Destination
	})
	switch old, had := grants[home]; {
	case !ok:
		x.w.fail("%s: acknowledgement %d for %v answers no update", h.name, m.Sequence, home)
	case had && u.outdated(old):
		x.w.fail("%s: update %d of %v is taken after a newer one", h.name, m.Sequence, home)
	}
	if h.anchor != nil {
		x.w.counts.Local++
		x.regional[home] = later(x.regional[home], x.w.now.Add(m.Lifetime.Duration()))
	} else if m.Lifetime > 0 && x.last[home] != h {
		if x.last[home] != nil {
			x.w.counts.Changes++
		}
		x.last[home] = h
	}
	grants[home] = grant{u.index, u.space, m.Sequence, u.careOf, x.w.now.Add(m.Lifetime.Duration())}
}

// maxNonceLifetime is MAX_NONCE_LIFETIME.
const maxNonceLifetime = 240 * time.Second

// arrives sees a message come to its destination.
func (x *witness) arrives(h *host, p mip6.Packet) {
	switch m := p.Message.(type) {
	case mip6.HomeTest, mip6.CareOfTest:
		x.tests[relation{p.Destination, p.Source}] = x.w.now
	case mip6.BindingAcknowledgement:
		if m.Status == mip6.StatusSequenceOutOfWindow {
			if pace := x.paces[relation{p.To(), p.Source}]; pace != nil {
				pace.adopts = true
			}
		}
	}
}

// handled looks at what a correspondent has made of a binding update.
func (x *witness) handled(h *host, p mip6.Packet) {
	m, ok := p.Message.(mip6.BindingUpdate)
	if !ok || h.correspondent == nil || m.Flags&mip6.UpdateHome != 0 {
		return
	}
	key := relation{p.From(), p.Destination}
	grants := x.bound[h.correspondent]
	if grants == nil {
		grants = make(map[relation]grant)
		x.bound[h.correspondent] = grants
	}
	old := grants[key]
	for _, b := range h.correspondent.role.Bindings() {
		if b.Home != key.home || b.Peer != key.peer {
			continue
		}
		if b.Sequence == old.sequence && b.CareOf == old.careOf && old.expires.After(x.w.now) {
			return // nothing has changed
		}
		x.registered(h, key, old, b.CareOf, b.Sequence)
		return
	}
	if !old.careOf.IsValid() {
		return
	}
	u, ok := x.find(key, func(u sentUpdate) bool { return u.sequence == m.Sequence && u.lifetime == 0 })
	if !old.expires.Before(x.w.now) && (!ok || u.outdated(old)) {
		x.w.fail("%s: the binding of %v was deleted by update %d, which its mobile did not send after the last", h.name, key.home, m.Sequence)
	}
	if u.index < old.index {
		u = sentUpdate{index: old.index, space: old.space}
	}
	grants[key] = grant{index: u.index, space: u.space}
}

// registered verifies that a binding at a correspondent is what the mobile wants,
// and that the mobile has been where it leads (RFC 6275 §5.2.5).
func (x *witness) registered(h *host, key relation, old grant, careOf netip.Addr, sequence mip6.Sequence) {
	now := x.w.now
	u, ok := x.find(key, func(u sentUpdate) bool { return u.sequence == sequence && u.careOf == careOf && u.lifetime > 0 })
	switch owner := x.careOfs[careOf]; {
	case !ok || owner == nil:
		x.w.fail("%s binds %v to %v, for which its mobile did not ask", h.name, key.home, careOf)
	case u.index == old.index || u.outdated(old):
		x.w.fail("%s binds %v to %v by update %d after a newer one", h.name, key.home, careOf, sequence)
	}
	for _, a := range []netip.Addr{key.home, careOf} {
		if t, ok := x.tests[relation{a, key.peer}]; !ok || now.Sub(t) > maxNonceLifetime {
			x.w.fail("%s binds %v to %v, and no test has reached %v", h.name, key.home, careOf, a)
		}
	}
	x.w.counts.Bindings++
	if regional(careOf) {
		x.w.counts.Regional++
	}
	x.bound[h.correspondent][key] = grant{u.index, u.space, sequence, careOf, now.Add(min(u.lifetime, 420*time.Second))}
}

// describe tells of a message in a few words.
func describe(p mip6.Packet) string {
	s := fmt.Sprintf("%v %v -> %v", p.Message.Type(), p.Source, p.Destination)
	switch m := p.Message.(type) {
	case mip6.BindingUpdate:
		s += fmt.Sprintf(" home %v sequence %d lifetime %v flags %x", p.From(), m.Sequence, m.Lifetime.Duration(), m.Flags)
	case mip6.BindingAcknowledgement:
		s += fmt.Sprintf(" home %v sequence %d lifetime %v status %v", p.To(), m.Sequence, m.Lifetime.Duration(), m.Status)
	case mip6.BindingError:
		s += fmt.Sprintf(" home %v status %v", m.Home, m.Status)
	}
	return s
}
