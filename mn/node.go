// Package mn is the mobile node (RFC 6275 §11): it notices that it moved,
// forms a care-of address, tells its home agent, and returns home. It is a
// pure state machine; see package role.
//
// The life of a move: the carrier returns (LinkChanged), a solicitation goes
// out at once, the access router's advertisement arrives (RouterHeard), and in
// the same Handle call the care-of address is assigned, the default route set,
// the binding update sent and the tunnel swapped. Duplicate address detection
// runs beside it (RFC 4429). The acknowledgement completes the handover and
// begins the end of the old care-of address.
//
// A mobile router is a mobile node with an Extension; see package mr.
package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
	"roam6/overlay"
)

// routeMetric is the metric of the routes a mobile node installs: better than
// the 1024 of the kernel's own, so that the node's choice of router holds.
const routeMetric = 512

var anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

// Node is a mobile node. It is not safe for concurrent use: one goroutine owns it.
type Node struct {
	config    Config
	extension Extension

	links   map[int]*link
	routers *nd.Routers
	careOfs careOfs
	current *attachment
	reg     registration

	handover   *role.Handover // under way
	query      *query         // is the current router still there?
	timestamps bool           // send the replay protection option

	stopping    bool // Stop was received
	stopped     bool // and all is cleaned up
	stopBy      time.Time
	withdrawing bool // the extension wants the registration ended
	halted      bool // no more updates until reconfigured

	stats  Stats
	out    []role.Action // of the Handle under way
	probes []role.Action // that go behind the binding update
}

// Stats counts what a node did since it started.
type Stats struct {
	UpdatesSent          uint64
	Retransmissions      uint64
	LateAcknowledgements uint64
	Handovers            uint64
	Duplicates           uint64 // care-of addresses found taken
	Acknowledgements     map[mip6.Status]uint64
}

func (s *Stats) count(status mip6.Status) { s.Acknowledgements[status]++ }

// New returns a mobile node at no link. The configuration must be valid;
// extension is nil for a host.
func New(c Config, extension Extension) *Node {
	n := &Node{
		extension: extension,
		links:     make(map[int]*link),
		routers:   nd.NewRouters(),
		stats:     Stats{Acknowledgements: make(map[mip6.Status]uint64)},
	}
	n.configure(c)
	return n
}

func (n *Node) configure(c Config) {
	if c.FirstTimeout == 0 {
		c.FirstTimeout = FirstBindAckTimeout
	}
	n.config = c
	n.timestamps = c.Timestamps
}

// Handle implements role.Machine.
func (n *Node) Handle(now time.Time, e role.Event) []role.Action {
	n.out = nil
	if n.stopped {
		return nil
	}
	switch e := e.(type) {
	case role.LinkChanged:
		n.linkChanged(now, e.Link)
	case role.LinkGone:
		n.linkGone(now, e.Index)
	case role.RouterHeard:
		n.routerHeard(now, e)
	case role.NeighborHeard:
		n.neighborHeard(now, e)
	case role.MessageReceived:
		n.received(now, e)
	case role.TunnelRefused:
		n.tunnelRefused(now, e)
	case role.Timeout:
	case role.Stop:
		n.stop(now)
	}
	n.timers(now)
	n.flushProbes()
	return n.out
}

// timers does what is due, whatever the event was.
func (n *Node) timers(now time.Time) {
	if n.stopping && !n.stopBy.IsZero() && !now.Before(n.stopBy) {
		n.finish()
		return
	}
	n.solicitDue(now)
	n.queryDue(now)
	n.routersExpired(now, n.routers.Expire(now))
	n.careOfTimers(now)
	n.announceDue(now)
	if n.stopped {
		return
	}
	if n.reg.registered && !now.Before(n.reg.expires) {
		n.expireRegistration(now)
	}
	if t := n.reg.retransmit; !t.IsZero() && !now.Before(t) {
		n.retransmitDue(now)
	}
	if t := n.reg.refresh; !t.IsZero() && !now.Before(t) && n.reg.retransmit.IsZero() {
		n.reg.refresh = time.Time{}
		n.freshTimeout()
		n.requestUpdate(now)
	}
}

// Next implements role.Machine.
func (n *Node) Next() time.Time {
	if n.stopped {
		return time.Time{}
	}
	next := earlier(n.routers.Next(), n.reg.retransmit)
	if n.reg.retransmit.IsZero() {
		next = earlier(next, n.reg.refresh)
	}
	next = earlier(next, n.reg.expires)
	next = earlier(next, n.stopBy)
	if n.query != nil {
		next = earlier(next, n.query.ends)
	}
	for _, l := range n.links {
		next = earlier(next, l.solicit)
	}
	for _, c := range n.careOfs {
		switch c.state {
		case careOfProbing:
			next = earlier(next, c.dadEnds)
		case careOfRetired:
			next = earlier(next, c.removeAt)
		case careOfValid, careOfDuplicate:
		}
		next = earlier(next, c.validUntil)
	}
	if n.current != nil {
		next = earlier(next, n.current.announce)
	}
	return next
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Agent is the home agent to register with; invalid while none is known.
func (n *Node) Agent() netip.Addr { return n.agent() }

func (n *Node) agent() netip.Addr {
	if len(n.config.HomeAgents) == 0 {
		return netip.Addr{}
	}
	return n.config.HomeAgents[0]
}

// Done reports that a Stop has been carried out.
func (n *Node) Done() bool { return n.stopped }

// Reconfigure applies a new configuration. Another home address makes another
// node: the shell ends the old one and begins a new one instead.
func (n *Node) Reconfigure(now time.Time, c Config) []role.Action {
	n.out = nil
	old := n.config
	n.configure(c)
	n.halted, n.withdrawing = false, false
	for _, l := range n.links {
		l.preference = preferenceOf(l.Name, c.Uplinks)
	}
	if !slices.Equal(old.HomeAgents, c.HomeAgents) {
		n.reg.forget()
	}
	n.decide(now, role.TriggerStart)
	if n.current != nil {
		n.forward()
		if !n.current.home || n.reg.registered {
			n.freshTimeout()
			n.requestUpdate(now)
		}
	}
	n.flushProbes()
	return n.out
}

// stop de-registers and then cleans up (see finish); what is not acknowledged
// within two seconds is left to the lifetime of the binding.
func (n *Node) stop(now time.Time) {
	if n.stopping {
		return
	}
	n.stopping = true
	if n.current == nil || n.current.home || !n.reg.registered {
		n.finish()
		return
	}
	n.stopBy = now.Add(2 * time.Second)
	n.freshTimeout()
	n.requestUpdate(now)
}

// finish removes everything the node put in the kernel.
func (n *Node) finish() {
	n.leave()
	for _, c := range n.careOfs {
		n.removeCareOf(c)
	}
	n.careOfs = nil
	n.stopped = true
}

// forward installs the tunnel of the current attachment, or swaps its path, or
// removes it at home.
func (n *Node) forward() {
	a := n.current
	key := overlay.Key{Home: n.config.HomeAddress, Side: overlay.MobileSide}
	if a == nil || a.home {
		n.act(role.Forward{Changes: []overlay.Change{{Remove: key}}})
		return
	}
	inner := []netip.Prefix{netip.PrefixFrom(n.config.HomeAddress, 128)}
	if n.extension != nil {
		inner = append(inner, n.extension.Inner()...)
	}
	n.act(role.Forward{Changes: []overlay.Change{{Set: &overlay.Tunnel{
		Key: key, Inner: inner,
		Paths: []overlay.Path{{Local: a.careOf, Remote: n.agent(), Link: a.link}},
	}}}})
}

func (n *Node) act(a role.Action) { n.out = append(n.out, a) }

// flushProbes sends duplicate address detection behind everything else: it is
// not urgent, the binding update is.
func (n *Node) flushProbes() {
	n.out = append(n.out, n.probes...)
	n.probes = nil
}

// log adds a line that names the node and its home address.
func (n *Node) log(level slog.Level, message string, attrs ...slog.Attr) {
	all := append([]slog.Attr{slog.String("node", n.config.Name), slog.String("home", n.config.HomeAddress.String())}, attrs...)
	n.act(role.Log{Level: level, Message: message, Attrs: all})
}
