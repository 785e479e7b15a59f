package mn

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
	"roam6/mn/region"
)

// Anchor is a mobility anchor point that the router in use advertises.
type Anchor struct {
	Address              netip.Addr
	Distance, Preference uint8
	Remaining            time.Duration // of its validity; 0: it has failed
	InUse                bool
	// Obstacle is why it is not used; region.None where it could be.
	Obstacle region.Obstacle
}

// RegionalState is what a regional care-of address is to the node.
type RegionalState uint8

// States of a regional care-of address.
const (
	RegionalFormer   RegionalState = iota // left, and forwarding for a while
	RegionalProspect                      // being registered
	RegionalInUse                         // the home agent is told it
)

func (s RegionalState) String() string {
	switch s {
	case RegionalFormer:
		return "former"
	case RegionalProspect:
		return "prospect"
	case RegionalInUse:
		return "in use"
	default:
		return "unknown"
	}
}

// Regional is the binding update list's entry for an anchor.
type Regional struct {
	Anchor     netip.Addr
	CareOf     netip.Addr // the regional care-of address
	OnLink     netip.Addr // the care-of address that the anchor has, or is told; invalid: none
	State      RegionalState
	Registered bool
	Granted    time.Duration
	Remaining  time.Duration
	Pending    bool // an update waits for its acknowledgement
	Sequence   mip6.Sequence
}

// anchorSnapshot are the anchors of the router in use.
func (n *Node) anchorSnapshot(now time.Time) []Anchor {
	a := n.current
	if a == nil || a.home {
		return nil
	}
	q := n.anchorQuery(a)
	var all []Anchor
	for _, o := range n.anchors.Offers(now, q.From) {
		x := Anchor{
			Address: o.Address, Distance: o.Distance, Preference: o.Preference,
			InUse: a.anchor != nil && a.anchor.agent == o.Address, Obstacle: n.anchors.Obstacle(now, q, o),
		}
		if o.ValidLifetime > 0 {
			x.Remaining = deadline.Remaining(now, o.Until)
		}
		all = append(all, x)
	}
	return all
}

// regionalSnapshot are the bindings with anchors, and those that are under way.
func (n *Node) regionalSnapshot(now time.Time) []Regional {
	var all []Regional
	for _, r := range n.regionals {
		if !r.registered && r.retransmit.IsZero() {
			continue
		}
		x := Regional{
			Anchor: r.agent, CareOf: r.rcoa, OnLink: r.at.careOf, Registered: r.registered, Granted: r.granted,
			Pending: len(r.outstanding) > 0, Sequence: r.sequence,
		}
		if r.registered {
			x.Remaining = max(r.expires.Sub(now), 0)
		}
		switch {
		case slices.ContainsFunc(n.attachments(), func(a *attachment) bool { return a.anchor == r }):
			x.State = RegionalInUse
		case n.uses(r):
			x.State = RegionalProspect
		}
		all = append(all, x)
	}
	return all
}
