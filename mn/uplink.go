package mn

import (
	"maps"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// Router solicitations (RFC 7559 §2): the first at once, then backing off
// without end, so that a router that comes late is found.
const (
	solicitInterval = 4 * time.Second // IRT
	solicitMax      = time.Hour       // MRT
)

// A link to which a handover failed is left alone for a time that doubles with
// each failure, as long as the one in use works.
const (
	leastAvoidance = 10 * time.Second
	mostAvoidance  = 5 * time.Minute
)

// link is an uplink.
type link struct {
	role.Link
	preference int // place in Config.Uplinks, 0 is the best
	addressing Addressing
	upSince    time.Time // zero while down
	solicited  time.Time // last solicitation
	solicit    time.Time // next one; zero: none is due
	interval   time.Duration

	asked recalls   // routers of before that were asked whether they are here
	dna   time.Time // when they were

	avoid     time.Time // not to be preferred before
	avoidance time.Duration

	identity role.LinkIdentity  // of the link behind it; zero: no router was heard since the carrier came
	believe  time.Time          // when given addresses are believed to be of this link; zero: they are
	told     role.ConfigureLink // what the DHCPv6 client was told last
	untold   bool               // the carrier came since
	// unmanaged and uninformed are since when no router wants addresses, or
	// information, by DHCPv6, where one did; wishEnds is when that is told.
	unmanaged, uninformed, wishEnds time.Time
}

// avoidFrom begins a time in which the link is not preferred.
func (l *link) avoidFrom(now time.Time) {
	l.avoidance = min(max(2*l.avoidance, leastAvoidance), mostAvoidance)
	l.avoid = now.Add(l.avoidance)
}

// isForeign reports whether somebody else manages an interface.
func (n *Node) isForeign(link int) bool {
	l := n.links[link]
	return l != nil && l.addressing == AddressingForeign
}

func preferenceOf(name string, uplinks []string) int { return slices.Index(uplinks, name) }

// sortedLinks are the uplinks in the same order each time.
func (n *Node) sortedLinks() []*link {
	links := make([]*link, 0, len(n.links))
	for _, index := range slices.Sorted(maps.Keys(n.links)) {
		links = append(links, n.links[index])
	}
	return links
}

// linkChanged follows an interface.
func (n *Node) linkChanged(now time.Time, l role.Link) {
	known := n.links[l.Index]
	preference := preferenceOf(l.Name, n.config.Uplinks)
	if preference < 0 {
		if known != nil { // renamed away
			n.linkGone(now, l.Index)
		}
		n.others[l.Index] = l
		return
	}
	delete(n.others, l.Index)
	if known == nil {
		known = &link{addressing: n.config.Addressing[l.Name]}
		n.links[l.Index] = known
	}
	wasUp := known.Up
	if wasUp && l.Up && l.Carriers != known.Carriers {
		n.linkDown(now, known) // it was away, and back before we heard of it
		wasUp = false
	}
	known.Link, known.preference = l, preference
	if a := n.config.Addressing[l.Name]; a != known.addressing {
		n.readdress(now, known, a)
		n.settleDefault()
		defer n.decide(now, role.TriggerLink)
	}
	switch {
	case l.Up && !wasUp:
		n.linkUp(now, known)
	case !l.Up && wasUp:
		n.linkDown(now, known)
	}
}

// linkUp asks who is there: everybody by a solicitation, and beside it those
// who were there before.
func (n *Node) linkUp(now time.Time, l *link) {
	l.upSince, l.interval, l.untold = now, 0, true
	l.avoid, l.avoidance = time.Time{}, 0
	n.solicitNow(now, l)
	for _, c := range n.careOfs { // the same name may hide another link
		if c.link == l.Index {
			c.stale, c.recognised = true, false
		}
	}
	n.askRemembered(now, l)
}

// linkGone follows the removal of an interface.
func (n *Node) linkGone(now time.Time, index int) {
	delete(n.others, index)
	l := n.links[index]
	if l == nil {
		return
	}
	if l.Up {
		l.Up = false
		n.linkDown(now, l)
	}
	n.unconfigure(l)
	delete(n.links, index)
	n.routers.LinkGone(index)
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if c.link == index {
			n.removeCareOf(c)
		}
		return c.link == index
	})
}

// linkDown forgets the routers of a link without carrier: whoever is there
// when it returns has to say so.
func (n *Node) linkDown(now time.Time, l *link) {
	l.upSince, l.solicit = time.Time{}, time.Time{}
	l.asked = nil
	l.identity, l.believe = role.LinkIdentity{}, time.Time{}
	n.givenElsewhere(l.Index)
	n.routers.LinkDown(now, l.Index)
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if c.link == l.Index && c.state == careOfProbing {
			c.probeDue, c.dadEnds = time.Time{}, time.Time{} // an answer is not heard: nothing is proven
		}
		return c.link == l.Index && c.state == careOfDuplicate // the owner may be elsewhere next time
	})
	if a := n.current; a != nil && a.link == l.Index {
		n.lose(now)
		n.decide(now, role.TriggerLink)
	} else if p := n.pending; p != nil && p.link == l.Index {
		n.decide(now, role.TriggerLink)
	}
}

// adoptLinks follows a change of Config.Uplinks and Config.Addressing. Those that go
// do so together, and last: the node turns to one of the others, as it is to be.
func (n *Node) adoptLinks(now time.Time) {
	var gone []role.Link
	var down []*link
	for _, l := range n.sortedLinks() {
		preference := preferenceOf(l.Name, n.config.Uplinks)
		if preference < 0 {
			gone = append(gone, l.Link)
			if l.Up {
				l.Up = false
				down = append(down, l)
			}
			continue
		}
		l.preference = preference
		if a := n.config.Addressing[l.Name]; a != l.addressing {
			n.readdress(now, l, a)
		}
	}
	for _, l := range down {
		n.linkDown(now, l)
	}
	for _, l := range gone {
		n.linkGone(now, l.Index)
		n.others[l.Index] = l
	}
	for _, index := range slices.Sorted(maps.Keys(n.others)) {
		if l := n.others[index]; preferenceOf(l.Name, n.config.Uplinks) >= 0 {
			n.linkChanged(now, l)
		}
	}
}

// solicitNow sends a router solicitation and arms the next (RFC 7559 §2,
// RFC 8415 §15).
func (n *Node) solicitNow(now time.Time, l *link) {
	n.act(role.SolicitRouter{Link: l.Index})
	l.solicited = now
	switch {
	case l.interval == 0:
		l.interval = n.jittered(solicitInterval)
	case 2*l.interval > solicitMax:
		l.interval = n.jittered(solicitMax)
	default:
		l.interval += n.jittered(l.interval)
	}
	l.solicit = now.Add(l.interval)
}

// solicitAnew begins to solicit on a link that has lost its router.
func (n *Node) solicitAnew(now time.Time, l *link) {
	l.interval = 0
	n.solicitNow(now, l)
}

func (n *Node) solicitDue(now time.Time) {
	for _, l := range n.sortedLinks() {
		if deadline.Due(now, l.solicit) {
			n.solicitNow(now, l)
		}
	}
}

// jittered makes a time longer or shorter by up to a tenth (RFC 8415 §15), so
// that the mobiles of a train do not solicit together.
func (n *Node) jittered(d time.Duration) time.Duration {
	return d + time.Duration((n.random.Float64()-0.5)*0.2*float64(d))
}
