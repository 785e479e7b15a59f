// Package anchor is the mobility anchor point of hierarchical Mobile IPv6
// (RFC 5380): a local home agent for regional care-of addresses (RCoA), which
// binds each to the on-link care-of address (LCoA) of the moment.
//
// Visitors are the mobiles that may use it. An anchor knows no home addresses, and
// a visitor forms its regional care-of address itself. So a visitor is found by the
// SPI of its security association (RFC 4285, or IPsec, which RFC 5380 §12.1 asks
// for), and the association says who has bound an address: what one has bound no other
// gets.
//
// A local binding update (flag M) passes the same gates as at a home agent. read: is
// it well-formed, for this node, with usable addresses? authenticate: which visitor
// sent it, and just now? judge: may it have what it asks for? Then it is carried
// out: a new address is probed on the link of the regional care-of addresses,
// registered, defended, and its packets forwarded; a known one has its path swapped;
// a de-registration undoes all that. What fails the first gate or has no valid
// authentication leaves no trace but a counter; what fails a later one is answered
// with a status.
//
// What is remembered is bounded by the configuration. A visitor has a few addresses
// at once, and a few more of which only the newest sequence number is known, so that
// an ended registration cannot be brought back by a recorded update. When one of
// those has to be forgotten, updates of the visitor for addresses that are not known
// need a timestamp from then on. All of it survives the process (restore.go).
//
// Timestamps are checked against the wall clock reading of the time given to
// Handle, everything else against its monotonic reading.
package anchor

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/binding"
	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// announcementSpread keeps apart the announcements of many addresses when the link
// comes back.
const announcementSpread = time.Millisecond

// Limits on what can be caused without a valid binding update.
var (
	// answers with an error status, to one visitor
	refusals = limit.Rate{Every: time.Second / 3, Burst: 10}
	// answers to failed authentication, to one visitor and to all
	failures    = limit.Rate{Every: time.Second, Burst: 3}
	allFailures = limit.Rate{Every: time.Second / 100, Burst: 100}
	// lines in the log about strangers, and about what happens on the link
	complaints = limit.Rate{Every: time.Second, Burst: 5}
	// lines in the log about what one visitor does
	events = limit.Rate{Every: time.Second, Burst: 20}
)

// Anchor is a mobility anchor point: a role.Machine for one prefix of regional
// care-of addresses and its visitors.
type Anchor struct {
	config Config // with defaults; Visitors are in the two below
	// visitors are those with a key, protected those with IPsec, by their SPIs. Who has
	// both is in both.
	visitors  map[uint32]*visitor
	protected map[uint32]*visitor
	// anonymous stands for all who send updates without authentication; nil: they
	// are not served.
	anonymous *visitor
	bindings  *binding.Cache
	// held are the addresses of the cache's entries.
	held  map[netip.Addr]*regional
	links map[int]role.Link
	link  role.Link // of the regional care-of addresses; zero while it is not there

	stopped bool
	warn    bool // the log is still to warn of missing authentication

	failures  limit.Limiter
	strangers limit.Limiter
	conflicts limit.Limiter
	each      *limit.Sources // refusals to those without authentication
	counts    Stats

	now time.Time
	out []role.Action
}

// New returns an anchor with the given configuration, which is valid
// (Config.Validate). It knows no link until it is told.
func New(c Config) *Anchor {
	a := &Anchor{
		bindings: binding.NewCache(0),
		held:     make(map[netip.Addr]*regional),
		links:    make(map[int]role.Link),
	}
	var seed limit.Seed
	if c.Random != nil {
		c.Random(seed[:])
	}
	a.each = limit.NewSources(refusals, seed)
	a.configure(c)
	return a
}

// Handle processes one event. See role.Machine.
//
// Of the Mobility Header messages, binding updates with flag M are the anchor's
// (Owns). Anything else is counted as unexpected.
func (a *Anchor) Handle(now time.Time, e role.Event) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	switch e := e.(type) {
	case role.Timeout:
	case role.MessageReceived:
		a.receive(e.Packet, e.SPI)
	case role.NeighborHeard:
		a.neighborHeard(e)
	case role.LinkChanged:
		a.links[e.Link.Index] = e.Link
		a.findLink()
	case role.LinkGone:
		delete(a.links, e.Index)
		a.findLink()
	case role.ICMPReceived, role.RouterHeard, role.TunnelRefused, role.TunnelSilent, role.TrafficSeen,
		role.PeerRefused, role.UnknownHomeAddress, role.RouteUnreachable:
		// Do not concern an anchor: a binding lasts as long as it was promised,
		// whether or not the mobile can be reached.
	case role.Stop:
		a.end(a.bindings.Sorted()...)
		a.stopped = true
	}
	return a.out
}

// Next is the earliest deadline of any binding. See role.Machine.
func (a *Anchor) Next() time.Time {
	if a.stopped {
		return time.Time{}
	}
	return a.bindings.Next()
}

// Done tells that the anchor has stopped: everything is withdrawn.
func (a *Anchor) Done() bool { return a.stopped }

// Owns reports whether a message is for this anchor: a binding update with flag M to
// its address. A home agent may have the same address; it takes none with flag M.
func (a *Anchor) Owns(p mip6.Packet) bool {
	bu, ok := p.Message.(mip6.BindingUpdate)
	return ok && bu.Flags&mip6.UpdateMAP != 0 && p.Destination == a.config.Address
}

// Regional reports whether an address is a regional care-of address of this anchor:
// one that is bound or probed, and where the prefix is on no link, any of it.
func (a *Anchor) Regional(addr netip.Addr) bool {
	return a.held[addr] != nil || a.config.Link == "" && a.config.Prefix.Contains(addr)
}

// begin starts a call: what is due happens first, so that nothing can use a binding
// beyond its lifetime however late the timer is.
func (a *Anchor) begin(now time.Time) {
	a.now, a.out = now, nil
	if a.warn {
		a.warn = false
		a.log(slog.LevelWarn, "local binding updates are accepted without authentication: whoever can send a packet can take a visitor's traffic")
	}
	for e := a.bindings.Due(now); e != nil; e = a.bindings.Due(now) {
		a.step(e, a.held[e.Home])
	}
}

// step does what is due for an entry.
func (a *Anchor) step(e *binding.Entry, r *regional) {
	switch e.State {
	case binding.Probing:
		a.continueProbe(e, r)
	case binding.Active:
		if !e.Expires.After(a.now) {
			a.counts.Expirations++
			a.logBinding("regional binding expired", e, r)
			a.end(e)
			return
		}
		a.announce(e, r)
		a.askRefresh(e, r)
		a.schedule(e, r)
	case binding.Deleted: // an anchor has none
	}
}

// schedule sets the deadline of an active entry.
func (a *Anchor) schedule(e *binding.Entry, r *regional) {
	at := deadline.Earlier(e.Expires, r.announcements.Next())
	a.bindings.Wake(e, deadline.Earlier(at, r.requests.Next(e)))
}

// askRefresh sends the binding refresh request that is due (RFC 6275 §9.5.5),
// without a routing header (§6.1) to the regional care-of address, and so through
// the tunnel.
func (a *Anchor) askRefresh(e *binding.Entry, r *regional) {
	if r.requests.Take(e, a.now) {
		a.counts.RefreshRequests++
		a.do(role.Send{Packet: mip6.Packet{Source: a.config.Address, Destination: e.Home, Message: mip6.BindingRefreshRequest{}}})
	}
}

func (a *Anchor) do(actions ...role.Action) { a.out = append(a.out, actions...) }

func (a *Anchor) drop(reason role.DropReason, from netip.Addr) {
	a.do(role.Dropped{Reason: reason, From: from})
}

func (a *Anchor) log(level slog.Level, message string, attrs ...slog.Attr) {
	a.do(role.Log{Level: level, Message: message, Attrs: append([]slog.Attr{slog.String("node", a.config.Name)}, attrs...)})
}

// logBinding says what became of a binding. Refreshes are routine, and a visitor
// cannot fill the log.
func (a *Anchor) logBinding(message string, e *binding.Entry, r *regional, attrs ...slog.Attr) {
	if !r.visitor.events.Allow(a.now, events) {
		return
	}
	a.log(slog.LevelInfo, message, append([]slog.Attr{
		slog.String("visitor", r.visitor.Name), slog.Any("regional_care_of", e.Home), slog.Any("care_of", e.CareOf()),
		slog.Duration("lifetime", e.Lifetime.Duration())}, attrs...)...)
}

// tunnel is the tunnel of an active entry, for the data plane: new, or in place of
// the one it has.
func tunnel(e *binding.Entry) overlay.Change {
	return overlay.Change{Set: &overlay.Tunnel{
		Key:   overlay.Key{Home: e.Home, Side: overlay.AgentSide},
		Inner: []netip.Prefix{netip.PrefixFrom(e.Home, e.Home.BitLen())},
		Paths: e.Paths,
	}}
}

var _ role.Machine = (*Anchor)(nil)
