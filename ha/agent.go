// Package ha is the home agent: home registrations (RFC 6275 §10), mobile
// network prefixes (RFC 3963 §6), and the authentication of both (RFC 4285).
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
// The entries of the binding cache are either being probed, active, or
// remembered for some seconds after a de-registration. Each has one deadline, at
// which step looks at it. What must outlive a binding (the newest sequence
// number and timestamp) is kept with the configured mobile, so that the memory of
// an agent is bounded by its configuration.
//
// Timestamps are checked against the wall clock reading of the time given to
// Handle, everything else against its monotonic reading.
package ha

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/binding"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/overlay"
)

// Protocol constants.
const (
	maxDeleteBCETimeout       = 10 * time.Second // RFC 6275 §12
	maxNeighborAdvertisements = 3                // RFC 4861 §10
	announcementInterval      = time.Second      // RFC 4861 §10, RETRANS_TIMER
	// announcementSpread keeps apart the announcements of many addresses when the
	// home link comes back.
	announcementSpread = time.Millisecond
)

// Limits on what can be caused without a valid binding update.
var (
	// answers with an error status, to one mobile
	refusals = limit.Rate{Every: time.Second / 3, Burst: 10}
	// answers to failed authentication, to one mobile and to all
	failures    = limit.Rate{Every: time.Second, Burst: 3}
	allFailures = limit.Rate{Every: time.Second / 100, Burst: 100}
	// lines in the log about strangers, and about conflicts on the home link
	complaints = limit.Rate{Every: time.Second, Burst: 5}
)

// Agent is a home agent: a role.Machine for one home link and its mobiles.
type Agent struct {
	config   Config // with defaults; Mobiles are in mobiles
	mobiles  map[netip.Addr]*mobile
	bindings *binding.Cache
	networks networks
	// linkLocals leads from link-local addresses that are probed or defended
	// (flag L) to their home addresses.
	linkLocals map[netip.Addr]netip.Addr
	links      map[int]role.Link
	link       role.Link // the home link; zero while it is not there
	stopped    bool
	insecure   []string // mobiles that the log is still to warn of

	failures  limit.Limiter
	strangers limit.Limiter
	conflicts limit.Limiter
	counts    Stats

	now time.Time
	out []role.Action
}

// mobile is a configured mobile and what the agent remembers of it with or
// without a binding.
type mobile struct {
	Mobile
	fresh    binding.Freshness
	refusals limit.Limiter
	failures limit.Limiter
	probe    *probe // while duplicate address detection runs

	announcements int // still to be sent
	announceAt    time.Time
}

// Stats are totals since start, and the present number of entries by state.
type Stats struct {
	Mobiles, Bindings, Probing, Deleted int

	Registrations, Refreshes, Moves, Deregistrations, Expirations uint64
	// Duplicates are home addresses found in use on the home link by detection;
	// Conflicts are neighbours heard using a registered one.
	Duplicates, Conflicts uint64
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
		bindings:   binding.NewCache(c.MaxBindings),
		linkLocals: make(map[netip.Addr]netip.Addr),
		links:      make(map[int]role.Link),
		networks:   newNetworks(),
	}
	a.configure(c)
	return a
}

// Handle processes one event. See role.Machine.
//
// Of the Mobility Header messages, binding updates with flag H or R and without
// M are the home agent's, and those for a home address it has registered.
// Anything else is counted as unexpected: a shell with several roles gives it to
// the role it is for.
func (a *Agent) Handle(now time.Time, e role.Event) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	switch e := e.(type) {
	case role.Timeout:
	case role.MessageReceived:
		a.receive(e.Packet)
	case role.NeighborHeard:
		a.neighborHeard(e)
	case role.LinkChanged:
		a.links[e.Link.Index] = e.Link
		a.findHomeLink()
	case role.LinkGone:
		delete(a.links, e.Index)
		a.findHomeLink()
	case role.RouterHeard, role.TunnelRefused: // do not concern bindings
	case role.Stop:
		// The shell takes back what is in the kernel; the mobiles find out by
		// themselves, or register again with this agent's next life.
		a.stopped = true
	}
	return a.out
}

// Next is the earliest deadline of any binding. See role.Machine.
func (a *Agent) Next() time.Time {
	if a.stopped {
		return time.Time{}
	}
	return a.bindings.Next()
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
		a.step(e, a.mobiles[e.Home])
	}
}

// step does what is due for an entry.
func (a *Agent) step(e *binding.Entry, m *mobile) {
	switch e.State {
	case binding.Probing:
		a.continueProbe(e, m)
	case binding.Active:
		if !e.Expires.After(a.now) {
			a.counts.Expirations++
			a.logBinding("binding expired", e, m)
			a.withdraw(e)
			a.forget(e)
			return
		}
		a.announce(e, m)
		a.schedule(e, m)
	case binding.Deleted:
		a.forget(e)
	}
}

// schedule sets the deadline of an active entry.
func (a *Agent) schedule(e *binding.Entry, m *mobile) {
	at := e.Expires
	if m.announcements > 0 && m.announceAt.Before(at) {
		at = m.announceAt
	}
	a.bindings.Wake(e, at)
}

func (a *Agent) do(actions ...role.Action) { a.out = append(a.out, actions...) }

func (a *Agent) drop(reason role.DropReason, from netip.Addr) {
	a.do(role.Dropped{Reason: reason, From: from})
}

// forward gives the data plane the tunnel of an active entry, new or in place of
// the one it has.
func (a *Agent) forward(e *binding.Entry) {
	inner := make([]netip.Prefix, 0, 1+len(e.Prefixes))
	inner = append(inner, netip.PrefixFrom(e.Home, e.Home.BitLen()))
	inner = append(inner, e.Prefixes...)
	a.do(role.Forward{Changes: []overlay.Change{{Set: &overlay.Tunnel{
		Key:   overlay.Key{Home: e.Home, Side: overlay.AgentSide},
		Inner: inner,
		Paths: e.Paths,
	}}}})
}

// Bindings returns the binding cache in the order of home addresses.
func (a *Agent) Bindings() []Binding {
	entries := a.bindings.Sorted()
	list := make([]Binding, len(entries))
	for i, e := range entries {
		list[i] = Binding{Entry: *e, Mobile: a.mobiles[e.Home].Name}
	}
	return list
}

// Stats returns the counters.
func (a *Agent) Stats() Stats {
	s := a.counts
	s.Mobiles = len(a.mobiles)
	return s
}

var _ role.Machine = (*Agent)(nil)
