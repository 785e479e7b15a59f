// Package ha is the home agent: home registrations (RFC 6275 §10), mobile
// network prefixes (RFC 3963 §6), and the authentication of both (RFC 4285); and
// what mobiles far from home ask it about the home link: which home agents there
// are (RFC 6275 §10.5) and which prefixes (§10.6).
//
// A binding update passes four gates. read: is it well-formed, for this node,
// with usable addresses? authenticate: does a configured mobile have this home
// address, and did it send this, and just now? judge: may it have what it asks
// for? Then it is carried out: a new home address is probed on the home link,
// registered, defended and its packets forwarded; a known one has its path
// swapped; a de-registration undoes all that. What fails the first gate or has no
// valid authentication leaves no trace but a counter; what fails a later one is
// answered with a status.
//
// A mobile is configured with one home address. Where the home link has several
// prefixes it has one under each of them, with the same interface identifier and
// the same security association, and may register any or all of them: that is how
// it lives through a renumbering of the home link.
//
// The entries of the binding cache are either being probed, active, or
// remembered for some seconds after a de-registration. Each has one deadline, at
// which step looks at it. What must outlive a binding (the newest sequence
// number and timestamp) is kept with the home address, so that the memory of
// an agent is bounded by its configuration. Both survive the process (restore.go).
//
// Timestamps are checked against the wall clock reading of the time given to
// Handle, everything else against its monotonic reading.
package ha

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/binding"
	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/overlay"
)

// announcementSpread keeps apart the questions for many addresses, and so their
// announcements, when the home link comes back or the agent does.
const announcementSpread = time.Millisecond

// Limits on what can be caused without a valid binding update.
var (
	// answers with an error status, to one mobile
	refusals = limit.Rate{Every: time.Second / 3, Burst: 10}
	// answers to failed authentication, to one mobile and to all
	failures    = limit.Rate{Every: time.Second, Burst: 3}
	allFailures = limit.Rate{Every: time.Second / 100, Burst: 100}
	// replies to discovery requests, to one sender and to all
	discoveries    = limit.Rate{Every: time.Second, Burst: 5}
	allDiscoveries = limit.Rate{Every: time.Second / 50, Burst: 50}
	// lines in the log about strangers, and about what happens on the home link
	complaints = limit.Rate{Every: time.Second, Burst: 5}
)

// Agent is a home agent: a role.Machine for one home link and its mobiles.
type Agent struct {
	config Config // with defaults; Mobiles are in homes
	// configurations is how many there were, with this one.
	configurations uint64
	prefixes       []HomePrefix // of the home link, Config.Prefix first
	homes          map[netip.Addr]*home
	bindings       *binding.Cache
	networks       networks
	// delegations are what the delegating router has told, and routed the routes on
	// the home link that are installed, by the configured home address.
	delegations map[netip.Addr]*delegation
	expiries    binding.Deadlines[*delegation]
	claims      claims
	routed      map[netip.Addr][]role.Route
	// linkLocals leads from link-local addresses that are probed or defended
	// (flag L) to the home address of one of the entries that claim it, all of the
	// same mobile.
	linkLocals map[netip.Addr]netip.Addr
	links      map[int]role.Link
	link       role.Link   // the home link; zero while it is not there
	agents     []homeAgent // the other home agents on it, in the order of appearance
	anycast    anycast
	discovery  discovery
	stopped    bool
	insecure   []string // mobiles that the log is still to warn of

	failures  limit.Limiter
	strangers limit.Limiter
	conflicts limit.Limiter
	counts    Stats

	now    time.Time
	out    []role.Action
	random [8]byte
}

// Stats are totals since start, and the present number of entries by state.
type Stats struct {
	Mobiles, Bindings, Probing, Deleted int
	// Homes is the number of home addresses that may be registered: those of the
	// mobiles, and what the further home prefixes make of them.
	Homes int

	Registrations, Refreshes, Moves, Deregistrations, Expirations uint64
	// Restored are bindings that were taken over from an earlier process.
	Restored uint64
	// Duplicates are home addresses found in use on the home link by detection;
	// Conflicts are neighbours heard using a registered one.
	Duplicates, Conflicts uint64
	// Discoveries are replies to discovery requests, PrefixAdvertisements mobile
	// prefix advertisements and RefreshRequests binding refresh requests sent.
	Discoveries, PrefixAdvertisements, RefreshRequests uint64
}

// Binding is an entry of the binding cache for people to see.
type Binding struct {
	binding.Entry
	Mobile string // its configured name
}

// New returns a home agent with the given configuration, which is valid
// (Config.Validate). It knows no link until it is told.
func New(c Config) *Agent {
	a := &Agent{
		homes:       make(map[netip.Addr]*home),
		bindings:    binding.NewCache(c.MaxBindings),
		linkLocals:  make(map[netip.Addr]netip.Addr),
		links:       make(map[int]role.Link),
		networks:    newNetworks(),
		delegations: make(map[netip.Addr]*delegation),
		routed:      make(map[netip.Addr][]role.Route),
		discovery:   newDiscovery(c.Random),
	}
	a.configure(c)
	return a
}

// Handle processes one event. See role.Machine.
//
// Of the Mobility Header messages, binding updates with flag H or R and without
// M are the home agent's, and those for a home address it has registered.
// Anything else is counted as unexpected: a shell with several roles gives it to
// the role it is for (see Serves). Of the ICMPv6 messages, home agent address
// discovery requests and mobile prefix solicitations are.
func (a *Agent) Handle(now time.Time, e role.Event) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	switch e := e.(type) {
	case role.Timeout:
	case role.MessageReceived:
		if a.permits(e.Packet.From(), e.Packet.Source, e.Protected) {
			a.receive(e.Packet)
		}
	case role.NeighborHeard:
		a.neighborHeard(e)
	case role.RouterHeard:
		a.routerHeard(e)
	case role.ICMPReceived:
		if a.permits(e.Packet.From(), e.Packet.Source, e.Protected) {
			a.receiveICMP(e.Packet)
		}
	case role.LinkChanged:
		a.links[e.Link.Index] = e.Link
		a.findHomeLink()
	case role.LinkGone:
		delete(a.links, e.Index)
		a.findHomeLink()
	case role.PrefixesDelegated:
		a.prefixesDelegated(e)
	case role.TunnelRefused, role.TunnelSilent, role.TrafficSeen, role.PeerRefused, role.UnknownHomeAddress:
		// Do not concern a home agent: a binding lasts as long as it was promised,
		// whether or not the mobile can be reached.
	case role.Stop:
		// The shell takes back what is in the kernel. The mobiles are told nothing: this
		// agent's next life restores their bindings, or they find out by themselves.
		a.leaveAnycast()
		a.stopped = true
	}
	return a.out
}

// Next is the earliest deadline of any binding or delegation. See role.Machine.
func (a *Agent) Next() time.Time {
	if a.stopped {
		return time.Time{}
	}
	return deadline.Earlier(a.bindings.Next(), a.expiries.Next())
}

// begin starts a call: what is due happens first, so that nothing can use a
// binding beyond its lifetime however late the timer is.
func (a *Agent) begin(now time.Time) {
	a.now, a.out = now, nil
	if len(a.insecure) > 0 {
		a.do(role.Log{Level: slog.LevelWarn, Message: "binding updates are accepted without authentication", Attrs: []slog.Attr{
			slog.Any("mobile", a.insecure)}})
		a.insecure = nil
	}
	for e := a.bindings.Due(now); e != nil; e = a.bindings.Due(now) {
		a.step(e, a.homes[e.Home])
	}
	for d := a.expiries.Due(now); d != nil; d = a.expiries.Due(now) {
		a.delegationEnded(d)
	}
}

// step does what is due for an entry.
func (a *Agent) step(e *binding.Entry, h *home) {
	switch e.State {
	case binding.Probing:
		a.continueProbe(e, h)
	case binding.Active:
		if !e.Expires.After(a.now) {
			a.counts.Expirations++
			a.logBinding("binding expired", e, h)
			expired := role.BindingChanged{Mobile: h.Name, Home: e.Home, From: e.CareOf(), Cause: role.CauseLifetime}
			a.withdraw(e, h)
			a.forget(e)
			a.do(expired)
			return
		}
		a.continueInquiry(e, h)
		a.announce(e, h)
		a.deliver(e, h)
		a.askRefresh(e, h)
		a.schedule(e, h)
	case binding.Deleted:
		a.forget(e)
	}
}

// schedule sets the deadline of an active entry.
func (a *Agent) schedule(e *binding.Entry, h *home) {
	at := deadline.Earlier(e.Expires, h.announcements.Next())
	at = deadline.Earlier(at, h.inquiry.at)
	at = deadline.Earlier(at, h.delivery.at)
	a.bindings.Wake(e, deadline.Earlier(at, h.requests.Next(e)))
}

func (a *Agent) do(actions ...role.Action) { a.out = append(a.out, actions...) }

func (a *Agent) drop(reason role.DropReason, from netip.Addr) {
	a.do(role.Dropped{Reason: reason, From: from})
}

// below is a random number of at least zero and less than n; zero without a
// source of randomness.
func (a *Agent) below(n int64) int64 {
	if n <= 1 || a.config.Random == nil {
		return 0
	}
	a.config.Random(a.random[:])
	return int64(binary.BigEndian.Uint64(a.random[:])>>1) % n
}

// tunnel is the tunnel of an active entry, for the data plane: new, or in place
// of the one it has.
func tunnel(e *binding.Entry) overlay.Change {
	inner := make([]netip.Prefix, 0, 1+len(e.Prefixes))
	inner = append(inner, netip.PrefixFrom(e.Home, e.Home.BitLen()))
	inner = append(inner, e.Prefixes...)
	return overlay.Change{Set: &overlay.Tunnel{
		Key:   overlay.Key{Home: e.Home, Side: overlay.AgentSide},
		Inner: inner,
		Paths: e.Paths,
	}}
}

// forward gives changes to the data plane, if there are any.
func (a *Agent) forward(changes []overlay.Change) {
	if len(changes) > 0 {
		a.do(role.Forward{Changes: changes})
	}
}

// Serves reports whether home has an active binding: a binding update for it
// without flag H is then this agent's to refuse (RFC 6275 §9.5.1), not a
// correspondent's.
func (a *Agent) Serves(home netip.Addr) bool {
	e := a.bindings.Get(home)
	return e != nil && e.State == binding.Active
}

// Bindings returns the binding cache in the order of home addresses.
func (a *Agent) Bindings() []Binding {
	entries := a.bindings.Sorted()
	list := make([]Binding, len(entries))
	for i, e := range entries {
		list[i] = Binding{Entry: *e, Mobile: a.homes[e.Home].Name}
	}
	return list
}

// BindingsOf returns those of the mobile that has a home address, in the order of its
// home addresses. It takes no longer for many mobiles than for one.
func (a *Agent) BindingsOf(home netip.Addr) []Binding {
	h := a.homes[home]
	if h == nil {
		return nil
	}
	var list []Binding
	for _, h := range h.homes {
		if e := a.bindings.Get(h.addr); e != nil {
			list = append(list, Binding{Entry: *e, Mobile: h.Name})
		}
	}
	return list
}

// Stats returns the counters.
func (a *Agent) Stats() Stats {
	return a.counts
}

var _ role.Machine = (*Agent)(nil)
