// Package mn is the mobile node (RFC 6275 §11): it notices that it moved,
// forms a care-of address, tells its home agent, and returns home. It is a
// pure state machine; see package role.
//
// The life of a move: the carrier returns (LinkChanged), a solicitation goes
// out at once, the access router's advertisement arrives (RouterHeard), and in
// the same Handle call the care-of address is assigned, its default route set,
// the binding update sent and the tunnel swapped. Duplicate address detection
// runs beside it (RFC 4429), of an address that was used there before too. The
// acknowledgement completes the handover and begins the end of the old care-of
// address.
//
// A move to a better link while the one in use works is made before that is
// left; see pending.go. Care-of addresses are formed here, leased by DHCPv6 or
// assigned by somebody else, see given.go; on links that are not in use one stands
// by, see standby.go.
//
// Which home agent serves is decided in package homelink, which mobility anchor point
// (RFC 5380; see hierarchy.go) in package region, route optimisation is in package ro; the node owns
// one of each and tells them where it is. A mobile router is a mobile node with an
// Extension; see package mr.
package mn

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/homelink"
	"roam6/mn/region"
	"roam6/mn/ro"
	"roam6/nd"
	"roam6/overlay"
)

// Node is a mobile node. It is not safe for concurrent use: one goroutine owns it.
type Node struct {
	config    Config
	extension Extension
	random    *rand.Rand

	links      map[int]*link
	others     map[int]role.Link // that are no uplinks
	routers    *nd.Routers
	careOfs    careOfs
	current    *attachment
	pending    *attachment // prepared while current works
	reconsider time.Time   // when a better link will have been good for long enough

	given      map[int][]*given // by interface
	quietSince time.Time        // since when the node is at rest; zero: it is not
	standbyDue time.Time        // when a standby address has something to do

	reg      *registration
	former   []*registration // with home agents that were left, the oldest first
	ending   withdrawal
	homeLink *homelink.HomeLink
	anchors  *region.Table
	entering bool // the anchors of a new attachment are being chosen
	// fickleness bounds how often an anchor that serves is left for a better one;
	// lingersTill is when one that was not yet may be; zero: none.
	fickleness  patience
	lingersTill time.Time
	regionals   []*regional // with anchors, former ones too
	optimiser   *ro.Optimiser
	reported    ro.Attachment // that optimiser was told last
	homeTold    homePlace     // that homeLink was told last
	// anchorsTold are the anchors of which the log has told why they are not used.
	anchorsTold []netip.Addr

	plain      role.Route      // the default route without a source; zero: none
	tunnel     *overlay.Tunnel // in the data plane; nil: none
	placed     bool            // the home address is on placedOn
	placedOn   int             // 0: the data plane's device
	deprecated bool            // the home address was assigned as deprecated

	handover   *role.Handover // under way
	query      *query         // is the current router still there?
	timestamps bool           // send the replay protection option

	keyed map[netip.Addr]bool // home agents for which IKE has made associations

	stopping   bool // Stop was received
	stopped    bool // and all is cleaned up
	stopBy     time.Time
	began      time.Time // the first event
	fallback   time.Time // when a host without a home agent speaks with its care-of address
	fallenBack bool      // and does
	halted     bool      // no more updates until reconfigured

	stats  Stats
	out    []role.Action // of the Handle under way
	probes []role.Action // that go behind the binding update
}

// homePlace is what homelink.HomeLink.Attach is told.
type homePlace struct {
	careOf netip.Addr
	link   int
	home   bool
}

// Stats counts what a node did since it started.
type Stats struct {
	UpdatesSent          uint64
	Retransmissions      uint64
	LateAcknowledgements uint64
	Handovers            uint64
	Duplicates           uint64 // care-of addresses found taken
	Acknowledgements     map[mip6.Status]uint64

	// Of registrations with mobility anchor points.
	LocalUpdates          uint64 // sent
	LocalRetransmissions  uint64
	AnchorFailures        uint64 // refused, not answered in time, or said to have failed
	LocalAcknowledgements map[mip6.Status]uint64
}

func (s *Stats) count(status mip6.Status) { s.Acknowledgements[status]++ }

// New returns a mobile node at no link. The configuration must be valid;
// extension is nil for a host.
func New(c Config, extension Extension) *Node {
	c = c.complete()
	var seed [16]byte
	c.Random(seed[:])
	n := &Node{
		config:     c,
		extension:  extension,
		random:     rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:]))),
		links:      make(map[int]*link),
		others:     make(map[int]role.Link),
		given:      make(map[int][]*given),
		routers:    nd.NewRouters(),
		timestamps: c.Timestamps,
		keyed:      make(map[netip.Addr]bool),
		stats:      Stats{Acknowledgements: make(map[mip6.Status]uint64), LocalAcknowledgements: make(map[mip6.Status]uint64)},
	}
	n.homeLink = homelink.New(n.homeLinkConfig())
	n.optimiser = ro.New(n.optimiserConfig())
	n.anchors = region.NewTable(c.Hierarchy)
	n.reg = &registration{agent: n.homeLink.Agent()}
	return n
}

func (n *Node) homeLinkConfig() homelink.Config {
	c := n.config
	return homelink.Config{Name: c.Name, HomeAddress: c.HomeAddress, HomePrefix: c.HomePrefix, Agents: c.HomeAgents,
		Discover: c.DiscoverHomeAgent, MobileRouter: n.extension != nil, Random: c.Random}
}

func (n *Node) optimiserConfig() ro.Config {
	c := n.config
	return ro.Config{Name: c.Name, Home: c.HomeAddress, Policy: c.RouteOptimisation, Random: c.Random}
}

// Handle implements role.Machine.
func (n *Node) Handle(now time.Time, e role.Event) []role.Action {
	n.out = nil
	if n.stopped {
		return nil
	}
	if n.began.IsZero() {
		n.began = now
	}
	switch e := e.(type) {
	case role.LinkChanged:
		n.linkChanged(now, e.Link)
	case role.LinkGone:
		n.linkGone(now, e.Index)
		n.anchors.LinkGone(e.Index)
		delete(n.given, e.Index)
	case role.LeaseChanged:
		n.give(now, e.Link, leased, e.Lease.Addresses)
	case role.ForeignAddresses:
		n.give(now, e.Link, foreign, e.Addresses)
	case role.RouterHeard:
		n.routerHeard(now, e)
		n.tellHomeLink(now)
		n.out = append(n.out, n.homeLink.Handle(now, e)...)
	case role.NeighborHeard:
		n.neighborHeard(now, e)
	case role.MessageReceived:
		if n.permits(e) {
			n.received(now, e)
		}
	case role.ICMPReceived:
		if n.permitsICMP(e) {
			n.out = append(n.out, n.homeLink.Handle(now, e)...)
		}
	case role.PeerRefused, role.TrafficSeen:
		n.out = append(n.out, n.optimiser.Handle(now, e)...)
	case role.TunnelSilent:
		n.tunnelSilent(now, e)
	case role.TunnelRefused:
		n.tunnelRefused(now, e)
	case role.KeysChanged:
		n.keysChanged(now, e)
	case role.UnknownHomeAddress: // for correspondents
	case role.Timeout:
	case role.Stop:
		n.stop(now)
	}
	n.timers(now)
	return n.finishHandle(now)
}

// finishHandle tells the parts of the node what has changed and returns the
// actions. What is not urgent goes behind the binding update: the
// correspondents, then duplicate address detection and probes.
func (n *Node) finishHandle(now time.Time) []role.Action {
	if !n.stopped {
		n.settleAnchors(now)
		n.tellHomeLink(now)
		n.followAgent(now)
		n.watchService(now)
		n.tellOptimiser(now)
		n.identifyLinks(now)
		n.settleStandby(now)
		n.configureLinks(now)
	}
	n.out = append(n.out, n.probes...)
	n.probes = nil
	return n.out
}

// tellHomeLink tells where the node is for the discovery of home agents and of
// prefixes.
func (n *Node) tellHomeLink(now time.Time) {
	var to homePlace
	if a := n.current; a.works() && !n.stopping {
		l := n.inUse(a)
		to = homePlace{l.careOf, l.link, a.home}
	}
	if to == n.homeTold {
		return
	}
	n.homeTold = to
	n.out = append(n.out, n.homeLink.Attach(now, to.careOf, to.link, to.home)...)
}

// tellOptimiser tells where the node is for route optimisation. After a move the
// home registration of before counts until it expires: a correspondent need not
// wait for the home agent's answer. Behind a regional care-of address it is not told
// that the link is gone for a moment.
func (n *Node) tellOptimiser(now time.Time) {
	var to ro.Attachment
	if n.paused() {
		return
	}
	if a := n.current; a.speaks() && !n.stopping {
		r := n.carrier()
		l := n.toPeers(a)
		to = ro.Attachment{CareOf: l.careOf, Link: l.link, AtHome: a.home, HomeAgent: r.agent}
		switch {
		case a.home:
			to.Registered = a.homeState == homeUnanswered || a.homeState == homeProbing || a.homeState == homeSettled
		case r.registered:
			to.Registered, to.Expires = r.careOf == l.careOf, r.expires
		}
		if c := n.careOfs.find(a.link, a.careOf); c != nil {
			to.ValidUntil = c.validUntil
		}
		if x := n.regionalAt(l.careOf); x != nil && !a.home {
			to.Local = ro.Local{CareOf: a.careOf, Link: a.link, ValidUntil: to.ValidUntil, OnLink: n.onLink(a.link)}
			to.ValidUntil = x.expires // RFC 5380 §6.1
		}
	}
	if to == n.reported {
		return
	}
	n.reported = to
	n.out = append(n.out, n.optimiser.Attach(now, to)...)
}

// timers does what is due, whatever the event was.
func (n *Node) timers(now time.Time) {
	if n.stopping && deadline.Due(now, n.stopBy) {
		n.finish(now)
	}
	if n.stopped {
		return
	}
	n.solicitDue(now)
	n.queryDue(now)
	n.routersExpired(now, n.routers.Expire(now))
	n.givenTimers(now)
	n.careOfTimers(now)
	if deadline.Due(now, n.reconsider) {
		n.decide(now, role.TriggerLink)
	}
	n.announceDue(now)
	n.regionTimers(now)
	if n.stopped {
		return
	}
	if n.reg.registered && !now.Before(n.reg.expires) {
		n.expireRegistration(now)
	}
	if deadline.Due(now, n.reg.retransmit) {
		n.retransmitDue(now)
	}
	if deadline.Due(now, n.reg.refresh) && n.reg.retransmit.IsZero() {
		n.reg.refresh = time.Time{}
		n.freshTimeout()
		n.requestUpdate(now)
	}
	n.farewells(now)
	// What has ended above may be the care-of address they would send from.
	if deadline.Due(now, n.homeLink.Next()) {
		n.tellHomeLink(now)
		n.out = append(n.out, n.homeLink.Handle(now, role.Timeout{})...)
	}
	if deadline.Due(now, n.optimiser.Next()) {
		n.tellOptimiser(now)
		n.out = append(n.out, n.optimiser.Handle(now, role.Timeout{})...)
	}
}

// Next implements role.Machine.
func (n *Node) Next() time.Time {
	if n.stopped {
		return time.Time{}
	}
	next := deadline.Earlier(n.routers.Next(), n.reg.retransmit)
	if n.reg.retransmit.IsZero() {
		next = deadline.Earlier(next, n.reg.refresh)
	}
	next = deadline.Earlier(next, n.reg.expires)
	next = deadline.Earlier(deadline.Earlier(next, n.fallbackDue()), n.regionNext())
	for _, r := range n.former {
		next = deadline.Earlier(next, r.expires)
		if r.farewell && n.current.works() {
			next = deadline.Earlier(next, r.retransmit)
		}
	}
	next = deadline.Earlier(next, n.stopBy)
	if n.query != nil {
		next = deadline.Earlier(next, n.query.ends)
	}
	for _, l := range n.links {
		next = deadline.Earlier(next, deadline.Earlier(l.solicit, l.wishEnds))
	}
	next = deadline.Earlier(next, deadline.Earlier(n.careOfs.next(), n.givenNext()))
	next = deadline.Earlier(next, n.standbyDue)
	next = deadline.Earlier(next, n.reconsider)
	if n.current != nil {
		next = deadline.Earlier(next, n.current.announce)
	}
	return deadline.Earlier(next, deadline.Earlier(n.homeLink.Next(), n.optimiser.Next()))
}

// Agent is the home agent to register with; invalid while none is known.
func (n *Node) Agent() netip.Addr { return n.reg.agent }

// HasCareOf reports whether an address is a care-of address of this node, an on-link or
// a regional one.
func (n *Node) HasCareOf(a netip.Addr) bool {
	r := n.regionalAt(a)
	return r != nil && r.tunnel != nil || slices.ContainsFunc(n.careOfs, func(c *careOf) bool { return c.addr == a && c.assigned() })
}

// Takes reports whether a Mobility Header message is for this node: for its home
// address, or, without a routing header, for one of its care-of addresses; with one, for
// a regional care-of address, also one that is yet to be registered.
func (n *Node) Takes(p mip6.Packet) bool {
	to := p.To()
	return to == n.config.HomeAddress || p.RouteHome.IsValid() && n.isRegional(to) || !p.RouteHome.IsValid() && n.HasCareOf(to)
}

// Done reports that a Stop has been carried out.
func (n *Node) Done() bool { return n.stopped }

// act adds an action to those of the Handle under way.
func (n *Node) act(a role.Action) { n.out = append(n.out, a) }

// log adds a line that names the node and its home address.
func (n *Node) log(level slog.Level, message string, attrs ...slog.Attr) {
	all := append([]slog.Attr{slog.String("node", n.config.Name), slog.String("home", n.config.HomeAddress.String())}, attrs...)
	n.act(role.Log{Level: level, Message: message, Attrs: all})
}
