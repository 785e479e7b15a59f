package mn

import (
	"time"

	"roam6/internal/role"
)

// beginHandover opens the timeline, at the event that made the old attachment
// useless, or at the one that made the new one possible.
func (n *Node) beginHandover(now time.Time, c candidate, t role.Trigger) {
	from := n.current
	if !c.home && n.handover != nil && n.readdresses(from, c.link.Index, c.router.Addr) {
		n.handover.Updated = time.Time{} // the same handover, with another address
		return
	}
	h := &role.Handover{
		Home: n.config.HomeAddress, From: from.record(), Trigger: t, Start: now, Advertised: c.router.Since,
		To: role.Attachment{Link: c.link.Name, Router: c.router.Addr, AtHome: c.home},
	}
	n.handover = h
	if from == nil {
		h.Trigger = role.TriggerStart
	}
	if n.serves() && from.link != c.link.Index {
		// A better link that was there for a while: nothing was interrupted
		// before now.
		h.Trigger, h.Advertised = role.TriggerLink, now
		return
	}
	if !c.home && n.readdresses(from, c.link.Index, c.router.Addr) {
		h.Trigger, h.Advertised = role.TriggerLink, now // an address came
		return
	}
	linkEvent := from == nil || !c.link.upSince.Before(from.lostSince) && from.lost
	if linkEvent {
		h.LinkUp = c.link.upSince
		h.Start = c.link.upSince
		if from != nil {
			h.Trigger = role.TriggerLink
		}
		if !c.link.solicited.Before(c.link.upSince) {
			h.Solicited = c.link.solicited
		}
	}
	if from != nil && from.lost && from.lostSince.Before(h.Start) {
		h.Start = from.lostSince
	}
	switch {
	case c.router.Since.After(h.Start):
	case linkEvent || from != nil && from.lost: // an old acquaintance
		h.Advertised = now
	default:
		h.Start = c.router.Since // the advertisement was the first sign
	}
}

// completeHandover reports the timeline when the home agent has answered.
func (n *Node) completeHandover(now time.Time) {
	h := n.handover
	if h == nil || n.current == nil {
		return
	}
	h.To = n.current.record()
	h.Acknowledged = now
	n.handover = nil
	n.stats.Handovers++
	n.act(role.HandoverDone{Handover: *h})
	// Once more for the round trip: the first answer had to wait until the
	// router had resolved our address.
	n.probe(now, n.current)
}
