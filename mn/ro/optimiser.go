package ro

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// refreshLead is how long before its end a binding is renewed, at most: two
// whole runs of tests and updates find room in it. A quarter of a short lifetime
// serves as well.
const refreshLead = 30 * time.Second

// A home keygen token in use is renewed before it ends, so that after a move
// only the care-of test is left to do. That is a convenience, not a return
// routability procedure that could fail, and given up after fewer tries.
const (
	keepLead  = 15 * time.Second
	keepTries = 2
)

// newcomerRate is how often an unknown correspondent is approached: anybody can
// send packets with any source to the home address. The others have their turn
// when their traffic is reported again.
var newcomerRate = limit.Rate{Every: 200 * time.Millisecond, Burst: 32}

// Optimiser optimises the routes between one home address and its
// correspondents. It is not safe for concurrent use: the goroutine that owns the
// mobile node owns it.
//
// A correspondent whose traffic is seen in the tunnel is approached at once, not
// only when it proves to be a longer conversation: reports come ten seconds
// apart, and a vain approach costs two messages a try. When both tests are
// answered a binding update follows, when that is acknowledged the data plane is
// switched. The binding is renewed while there is traffic and otherwise runs out.
type Optimiser struct {
	config    Config
	at        Attachment
	peers     map[netip.Addr]*entry
	order     []*entry // those of peers, the most recently used first
	newcomers limit.Limiter
	stopped   bool

	stats Stats
	out   []role.Action // of the call under way
}

// Stats counts what an Optimiser did since it started.
type Stats struct {
	HomeTestInits   uint64
	CareOfTestInits uint64
	Updates         uint64 // binding updates to correspondents
	Optimised       uint64 // routes put into the data plane
	Failures        uint64 // runs that ended without a binding
}

// New returns an Optimiser that is nowhere. The configuration must be valid.
func New(c Config) *Optimiser {
	return &Optimiser{config: c.complete(), peers: make(map[netip.Addr]*entry)}
}

// Active reports whether there may be something to optimise, so that the data
// plane has to watch the tunnel.
func (o *Optimiser) Active() bool { return o.config.Policy.Mode != Off && !o.stopped }

// Stats returns the counters.
func (o *Optimiser) Stats() Stats { return o.stats }

// Handle processes an event; those that are not about correspondents are
// ignored.
func (o *Optimiser) Handle(now time.Time, e role.Event) []role.Action {
	o.out = nil
	if o.stopped {
		return nil
	}
	switch e := e.(type) {
	case role.TrafficSeen:
		o.trafficSeen(now, e)
	case role.MessageReceived:
		o.received(now, e)
	case role.PeerRefused:
		o.peerRefused(e)
	case role.Stop:
		o.stop(now)
	case role.Timeout:
	case role.LinkChanged, role.LinkGone, role.RouterHeard, role.NeighborHeard, role.ICMPReceived,
		role.TunnelRefused, role.TunnelSilent, role.UnknownHomeAddress:
		return nil
	}
	o.timers(now)
	return o.out
}

// Next is the earliest time at which Timeout must be delivered; zero for never.
func (o *Optimiser) Next() time.Time {
	var next time.Time
	for _, e := range o.order {
		next = deadline.Earlier(next, e.next())
	}
	return next
}

// timers does what is due, whatever the event was.
func (o *Optimiser) timers(now time.Time) {
	for _, e := range o.order {
		if e.route != nil && deadline.Due(now, e.expires) {
			o.tunnel(e)
			o.log(slog.LevelDebug, "binding at correspondent ran out", e)
		}
		if deadline.Due(now, e.home.retransmit) {
			o.testDue(now, e, &e.home)
		}
		if deadline.Due(now, e.careOf.retransmit) {
			o.testDue(now, e, &e.careOf)
		}
		if deadline.Due(now, e.retransmit) {
			o.updateDue(now, e)
		}
		if deadline.Due(now, e.endAt) {
			o.endDue(now, e)
		}
		if e.route != nil && deadline.Due(now, e.refresh) {
			o.refreshDue(now, e)
		}
		if e.route != nil && deadline.Due(now, e.keep) {
			o.keepDue(now, e)
		}
	}
	o.forget(now)
}

// refreshDue renews a binding that is in use (RFC 6275 §11.7.3). One that is not
// is left to run out, unless traffic returns before.
func (o *Optimiser) refreshDue(now time.Time, e *entry) {
	e.refresh = time.Time{}
	if e.phase == resting && !e.idle(now) {
		o.begin(now, e)
	}
}

// endDue tries again to end a binding.
func (o *Optimiser) endDue(now time.Time, e *entry) {
	e.endAt = time.Time{}
	if e.held.After(now) && !o.at.nowhere() {
		o.run(now, e, true, 0)
	}
}

// keepDue renews the home keygen token of a binding that is in use.
func (o *Optimiser) keepDue(now time.Time, e *entry) {
	e.keep = time.Time{}
	if e.phase == resting && !e.idle(now) && o.at.Registered && e.home.retransmit.IsZero() {
		o.ask(now, e, &e.home)
	}
}

// keepFresh sets the time of keepDue.
func (e *entry) keepFresh() {
	e.keep = time.Time{}
	if e.route != nil && !e.home.since.IsZero() {
		e.keep = e.home.since.Add(MaxTokenLifetime - keepLead)
	}
}

// trafficSeen begins a correspondent registration (RFC 6275 §11.7.2), or keeps
// one alive.
func (o *Optimiser) trafficSeen(now time.Time, t role.TrafficSeen) {
	if t.Side != overlay.MobileSide || t.Home != o.config.Home || !o.at.away() || !o.candidate(t.Peer) {
		return
	}
	e := o.peers[t.Peer]
	if e == nil {
		if e = o.admit(now, t.Peer); e == nil {
			return
		}
	}
	e.used = now
	o.touch(e)
	switch {
	case e.deleting: // because it was idle when we moved
		o.begin(now, e)
	case e.phase != resting, now.Before(e.retryAfter):
	case e.route != nil && !e.refresh.IsZero(): // nothing is due
	default:
		o.begin(now, e)
	}
}

// candidate reports whether routes to a node may be optimised at all.
func (o *Optimiser) candidate(peer netip.Addr) bool {
	return mip6.Routable(peer) && peer != o.config.Home && !o.at.has(peer) && peer != o.at.HomeAgent &&
		o.config.Policy.Permits(peer)
}

// begin starts a run of tests and binding update with an entry.
func (o *Optimiser) begin(now time.Time, e *entry) { o.run(now, e, false, 0) }

// run starts a run, the n-th of a batch. Beyond a burst the runs of a batch are
// spread.
func (o *Optimiser) run(now time.Time, e *entry, deleting bool, n int) {
	e.rest()
	if e.home.spent && !deleting {
		e.home.proof, e.careOf.proof, e.left = proof{}, proof{}, proof{}
	}
	e.phase, e.deleting, e.began = proving, deleting, now
	e.refresh, e.retryAfter, e.refused = time.Time{}, time.Time{}, false
	if n >= batchBurst {
		e.notBefore = now.Add(time.Duration(n-batchBurst+1) * batchInterval)
	}
	o.advance(now, e)
}

// received handles a Mobility Header message. None but the acknowledgement may
// have a type 2 routing header, and none a Home Address option (RFC 6275 §6.1).
func (o *Optimiser) received(now time.Time, e role.MessageReceived) {
	p := e.Packet
	_, acknowledgement := p.Message.(mip6.BindingAcknowledgement)
	if p.HomeAddress.IsValid() || p.RouteHome.IsValid() && !acknowledgement {
		o.drop(role.DropNoHomeAddress, p)
		return
	}
	switch m := p.Message.(type) {
	case mip6.HomeTest:
		o.homeTest(now, e, m)
	case mip6.CareOfTest:
		o.careOfTest(now, p, m)
	case mip6.BindingAcknowledgement:
		o.acknowledged(now, p, m)
	case mip6.BindingRefreshRequest:
		o.refreshRequested(now, p)
	case mip6.BindingError:
		o.bindingError(now, p, m)
	case mip6.BindingUpdate, mip6.HomeTestInit, mip6.CareOfTestInit, mip6.UnknownMessage:
		o.drop(role.DropUnexpected, p)
	}
}

// Owns reports whether a Mobility Header message is for this Optimiser, rather
// than for the mobile node itself or another one on the same host: a test's
// answer for this home address or with a cookie of ours, or anything else from a
// correspondent in the list.
func (o *Optimiser) Owns(p mip6.Packet) bool {
	if o.stopped {
		return false
	}
	e := o.peers[p.Source]
	switch m := p.Message.(type) {
	case mip6.HomeTest:
		return p.To() == o.config.Home
	case mip6.CareOfTest:
		return e != nil && !e.careOf.sentWith(m.Cookie).IsZero()
	case mip6.BindingAcknowledgement, mip6.BindingRefreshRequest:
		return e != nil && p.To() == o.config.Home
	case mip6.BindingError:
		return e != nil && (m.Home == o.config.Home || m.Home.IsUnspecified() && e.awaits())
	case mip6.BindingUpdate, mip6.HomeTestInit, mip6.CareOfTestInit, mip6.UnknownMessage:
	}
	return false
}

func (o *Optimiser) act(a role.Action) { o.out = append(o.out, a) }

// drop counts a message that is not accepted.
func (o *Optimiser) drop(r role.DropReason, p mip6.Packet) {
	o.act(role.Dropped{Reason: r, From: p.From()})
}

// log adds a line that names the node, its home address and the correspondent.
func (o *Optimiser) log(level slog.Level, message string, e *entry, attrs ...slog.Attr) {
	all := append([]slog.Attr{slog.String("node", o.config.Name), slog.String("home", o.config.Home.String()),
		slog.String("correspondent", e.peer.String())}, attrs...)
	o.act(role.Log{Level: level, Message: message, Attrs: all})
}
