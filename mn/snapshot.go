package mn

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/homelink"
	"roam6/mn/ro"
)

// Snapshot is a node's state as show and metrics tell it.
type Snapshot struct {
	Name        string
	HomeAddress netip.Addr
	HomeAgent   netip.Addr
	Attachment  role.Attachment // zero when nowhere
	Lost        bool            // the attachment does not work at the moment
	Pending     role.Attachment // a better one whose registration is under way; zero: none
	Uplinks     []Uplink        // in order of preference
	Update      Update
	CareOfs     []CareOf
	HomeLink    homelink.Snapshot // home agents and prefixes
	Peers       []ro.Peer         // correspondents, for route optimisation
	Anchors     []Anchor          // mobility anchor points of the router in use
	Regional    []Regional        // bindings with such
	Stats       Stats
}

// Uplink is an interface the node may attach by, whether it is there or not.
type Uplink struct {
	Name    string
	Missing bool // there is no interface of that name
	Index   int  // 0: missing
	Up      bool
	Routers []Router
	// SteadyIn is how long it has to be good before a working uplink of less
	// preference is left for it; 0: long enough, or nobody is there.
	SteadyIn time.Duration
	// AvoidedFor is how long it is left alone after a handover to it failed.
	AvoidedFor time.Duration
}

// Router is a router heard on an uplink.
type Router struct {
	Addr     netip.Addr
	Prefixes []netip.Prefix
	Lifetime time.Duration
	Interval time.Duration // advertised; 0: not
	Age      time.Duration // since it was last heard
}

// Update is the binding update list's entry for the home agent.
type Update struct {
	Sequence   mip6.Sequence
	Registered bool
	CareOf     netip.Addr
	Granted    time.Duration
	Remaining  time.Duration
	Pending    bool // an update waits for its acknowledgement
	Halted     bool // refused: no updates are sent until reconfigured
}

// CareOf is a care-of address.
type CareOf struct {
	Addr       netip.Addr
	Link       int
	Optimistic bool // duplicate address detection is under way
	Retired    bool
	Leased     bool // by DHCPv6
	Foreign    bool // assigned by somebody else
	Standby    bool // kept ready on an uplink that is not in use
}

// Snapshot returns the state at a moment.
func (n *Node) Snapshot(now time.Time) Snapshot {
	s := Snapshot{
		Name: n.config.Name, HomeAddress: n.config.HomeAddress, HomeAgent: n.reg.agent,
		Attachment: n.current.record(), Lost: n.current != nil && n.current.lost,
		Update: Update{
			Sequence: n.reg.sequence, Registered: n.reg.registered, CareOf: n.reg.careOf, Granted: n.reg.granted,
			Pending: len(n.reg.outstanding) > 0, Halted: n.halted,
		},
		Stats: n.stats,
	}
	s.Stats.Acknowledgements = maps.Clone(n.stats.Acknowledgements)
	s.Stats.LocalAcknowledgements = maps.Clone(n.stats.LocalAcknowledgements)
	s.Anchors, s.Regional = n.anchorSnapshot(now), n.regionalSnapshot(now)
	if n.reg.registered {
		s.Update.Remaining = n.reg.expires.Sub(now)
	}
	if n.pending != nil {
		s.Pending = n.pending.record()
	}
	s.HomeLink, s.Peers = n.homeLink.Snapshot(now), n.optimiser.Peers(now)
	links := n.sortedLinks()
	for _, name := range n.config.Uplinks {
		if i := slices.IndexFunc(links, func(l *link) bool { return l.Name == name }); i >= 0 {
			s.Uplinks = append(s.Uplinks, n.uplink(now, links[i]))
		} else {
			s.Uplinks = append(s.Uplinks, Uplink{Name: name, Missing: true})
		}
	}
	for _, c := range n.careOfs {
		if c.assigned() {
			s.CareOfs = append(s.CareOfs, CareOf{
				Addr: c.addr, Link: c.link, Optimistic: c.state == careOfProbing, Retired: c.state == careOfRetired,
				Leased: c.origin == leased, Foreign: c.origin == foreign, Standby: c.standby,
			})
		}
	}
	return s
}

func (n *Node) uplink(now time.Time, l *link) Uplink {
	u := Uplink{Name: l.Name, Index: l.Index, Up: l.Up, AvoidedFor: max(l.avoid.Sub(now), 0)}
	for _, r := range n.routers.On(l.Index) {
		v := Router{Addr: r.Addr, Lifetime: r.RA.RouterLifetime, Interval: r.RA.Interval, Age: now.Sub(r.Heard)}
		for _, p := range r.Prefixes {
			v.Prefixes = append(v.Prefixes, p.Info.Prefix)
		}
		u.Routers = append(u.Routers, v)
		if c, ok := n.candidate(l, r); ok {
			if d := n.steadyAt(c).Sub(now); d > 0 && (u.SteadyIn == 0 || d < u.SteadyIn) {
				u.SteadyIn = d
			}
		}
	}
	return u
}
