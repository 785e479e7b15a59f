package delegating

import (
	"encoding/binary"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
)

// Bounds on what one mobile can cause.
const (
	maxLeases        = 4  // from the pools, those that are kept included
	maxRelayedLeases = 16 // from an external server
	maxExchanges     = 4  // under way with an external server
)

var (
	// messages of one mobile
	messages = limit.Rate{Every: time.Second / 4, Burst: 16}
	// lines in the log about each thing that can go wrong
	complaints = limit.Rate{Every: time.Minute, Burst: 1}
	// lines in the log about what was delegated, of all mobiles
	reports = limit.Rate{Every: time.Second / 5, Burst: 100}
	// what is saved: at once as a rule, but a flash memory is not worn out by a
	// mobile that releases and asks again without end
	saves = limit.Rate{Every: 30 * time.Second, Burst: 10}
	// messages that an external server sends without being asked
	reconfigures = limit.Rate{Every: time.Second / 10, Burst: 100}
)

// Server is the delegating router, or the relay to one, of a home agent: a
// role.Machine.
type Server struct {
	config  Config                 // Mobiles are in mobiles
	mobiles map[netip.Addr]*mobile // by home address
	homes   map[netip.Addr]*mobile // by any home address, Mobile.Formed included
	order   []*mobile              // by home address
	// identifiers are the mobiles by DUID. interfaces are those without a configured
	// one by the interface identifier of their home address; nil where several have
	// the same.
	identifiers map[string]*mobile
	interfaces  map[uint64]*mobile
	table       table
	exchanges   map[exchangeKey]*exchange
	saved       []byte // until the first event
	begun       bool
	stopped     bool

	unsaved bool
	saveAt  time.Time // when what is unsaved is saved
	saving  limit.Limiter

	exhausted, refused, conflicting, reporting, reconfiguring limit.Limiter
	counts                                                    Counters

	now     time.Time
	out     []role.Action
	changed []*mobile       // whose prefixes are to be told
	answers []role.SendDHCP // sent when everything else is done
}

// mobile is a mobile router and what is known of it.
type mobile struct {
	Mobile
	learned []byte // its DUID, when none is configured
	leases  []*lease
	told    bool // the home agent knows of prefixes
	changed bool // the home agent is to be told in this call
	// A stranger on the home link can use up the tokens of a mobile whose DUID it
	// knows, but not those for when it is away.
	away, home limit.Limiter
	exchanges  []exchangeKey // under way, the oldest first
}

// duid is the client's, as far as it is known.
func (m *mobile) duid() []byte {
	if len(m.DUID) > 0 {
		return m.DUID
	}
	return m.learned
}

// bound reports whether a mobile has a lease that holds.
func (m *mobile) bound() bool {
	return slices.ContainsFunc(m.leases, func(l *lease) bool { return l.bound })
}

// New returns a server with a configuration that is valid (Config.Validate) and
// what an earlier life saved (role.Save); saved may be nil. What is not readable
// is logged at the first event and left.
func New(c Config, saved []byte) *Server {
	s := &Server{saved: saved, mobiles: make(map[netip.Addr]*mobile), exchanges: make(map[exchangeKey]*exchange)}
	s.configure(c)
	return s
}

// configure takes over a configuration. What is known of mobiles that stay is
// kept.
func (s *Server) configure(c Config) {
	mobiles := c.Mobiles
	c.Mobiles, c.Pools = nil, slices.Clone(c.Pools)
	s.config = c
	before := s.mobiles
	s.mobiles = make(map[netip.Addr]*mobile, len(mobiles))
	s.identifiers, s.interfaces = make(map[string]*mobile), make(map[uint64]*mobile)
	s.order = make([]*mobile, 0, len(mobiles))
	for _, configured := range mobiles {
		m := before[configured.HomeAddress]
		if m == nil {
			m = new(mobile)
		}
		m.Mobile = configured
		s.mobiles[m.HomeAddress] = m
		s.order = append(s.order, m)
	}
	slices.SortFunc(s.order, func(a, b *mobile) int { return a.HomeAddress.Compare(b.HomeAddress) })
	s.homes = maps.Clone(s.mobiles)
	for _, m := range s.order {
		for _, a := range m.Formed {
			if s.homes[a] == nil && a != c.Address {
				s.homes[a] = m
			}
		}
	}
	for _, m := range s.order {
		if len(m.DUID) > 0 {
			s.identifiers[string(m.DUID)], m.learned = m, nil
			continue
		}
		id := interfaceIdentifier(m.HomeAddress)
		if _, taken := s.interfaces[id]; taken {
			s.interfaces[id] = nil
		} else {
			s.interfaces[id] = m
		}
	}
	for _, m := range s.order {
		if m.learned == nil {
			continue
		}
		if _, taken := s.identifiers[string(m.learned)]; taken {
			m.learned = nil
		} else {
			s.identifiers[string(m.learned)] = m
		}
	}
}

// interfaceIdentifier is the lower half of an address.
func interfaceIdentifier(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}

// Reconfigure takes over a new configuration, which is valid (Config.Validate),
// and returns the actions that follow. Leases survive, except those the new
// configuration does not permit.
func (s *Server) Reconfigure(now time.Time, c Config) []role.Action {
	if s.stopped {
		return nil
	}
	s.begin(now)
	before, mobiles := s.config, s.order
	s.configure(c)
	s.table.exhausted = [longest + 1]bool{}
	clear(s.exchanges)
	for _, m := range mobiles {
		m.exchanges = nil
		gone := s.mobiles[m.HomeAddress] != m
		s.unsaved = s.unsaved || gone && (m.learned != nil || len(m.leases) > 0)
		for _, l := range slices.Clone(m.leases) {
			if gone || before.relays() != s.config.relays() || !s.permits(l.prefix) {
				s.withdraw(l)
			}
		}
	}
	return s.finish()
}

// permits reports whether a mobile may have a prefix.
func (s *Server) permits(p netip.Prefix) bool {
	if s.config.relays() {
		return s.acceptable(p)
	}
	return s.config.permits(p)
}

// withdraw takes a lease away that the configuration does not permit any more.
// The client learns of it when it renews.
func (s *Server) withdraw(l *lease) {
	if l.bound {
		s.counts.Withdrawals++
		s.report(slog.LevelWarn, "delegated prefix withdrawn", l)
	}
	s.table.remove(l)
	s.change(l.mobile)
}

// Handle implements role.Machine.
func (s *Server) Handle(now time.Time, e role.Event) []role.Action {
	if s.stopped {
		return nil
	}
	s.begin(now)
	switch e := e.(type) {
	case role.DHCPReceived:
		if reason := s.receive(e); reason != 0 {
			s.do(role.Dropped{Reason: reason, From: e.From.Addr()})
		}
	case role.Stop:
		s.stopped = true
		s.unsaved = s.unsaved || s.table.bound > 0
	default: // the time has come, or something that is no concern of ours
	}
	return s.finish()
}

// begin takes notice of the time.
func (s *Server) begin(now time.Time) {
	s.now, s.out, s.changed, s.answers = now, nil, s.changed[:0], nil
	if !s.begun {
		s.begun = true
		s.restore()
	}
	for l := s.table.deadlines.Due(now); l != nil; l = s.table.deadlines.Due(now) {
		s.counts.Expirations++
		s.report(slog.LevelInfo, "delegated prefix expired", l)
		s.end(l)
	}
}

// finish gathers the actions: the home agent is told, and what has to outlive us
// is saved (RFC 8415 §18.3.1), before the client has its answer.
func (s *Server) finish() []role.Action {
	for _, m := range s.changed {
		prefixes := m.delegated()
		if m.told || len(prefixes) > 0 {
			s.do(role.PrefixesDelegated{Home: m.HomeAddress, Prefixes: prefixes, Until: m.until()})
		}
		m.changed, m.told = false, len(prefixes) > 0
	}
	s.save()
	for _, a := range s.answers {
		s.do(a)
	}
	return s.out
}

func (s *Server) do(a role.Action) { s.out = append(s.out, a) }

// change says that the home agent is to be told of a mobile's prefixes.
func (s *Server) change(m *mobile) {
	if !m.changed {
		m.changed = true
		s.changed = append(s.changed, m)
	}
}

// delegated are a mobile's prefixes in order.
func (m *mobile) delegated() (prefixes []netip.Prefix) {
	for _, l := range m.leases {
		if l.bound {
			prefixes = append(prefixes, l.prefix)
		}
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return prefixes
}

// until is when the last of them ends, or the zero time.
func (m *mobile) until() (end time.Time) {
	for _, l := range m.leases {
		switch {
		case !l.bound:
		case l.valid.IsZero():
			return time.Time{}
		case l.valid.After(end):
			end = l.valid
		}
	}
	return end
}

// end ends a lease. One from the pools is kept for its mobile.
func (s *Server) end(l *lease) {
	s.unsaved = true
	if s.config.relays() {
		s.table.remove(l)
	} else {
		s.table.release(l)
		l.ended = s.now
	}
	s.change(l.mobile)
}

// report logs what happens to a lease.
func (s *Server) report(level slog.Level, text string, l *lease) {
	if !s.reporting.Allow(s.now, reports) {
		return
	}
	s.do(role.Log{Level: level, Message: text, Attrs: []slog.Attr{
		slog.String("home_agent", s.config.Name), slog.String("mobile", l.mobile.Name),
		slog.Any("home", l.mobile.HomeAddress), slog.Any("prefix", l.prefix)}})
}

// complain logs what an administrator has to mend, at most once a minute.
func (s *Server) complain(l *limit.Limiter, text string, m *mobile, attrs ...slog.Attr) {
	if !l.Allow(s.now, complaints) {
		return
	}
	s.do(role.Log{Level: slog.LevelWarn, Message: text, Attrs: append([]slog.Attr{
		slog.String("home_agent", s.config.Name), slog.String("mobile", m.Name), slog.Any("home", m.HomeAddress)}, attrs...)})
}

// Next implements role.Machine.
func (s *Server) Next() time.Time {
	if s.stopped {
		return time.Time{}
	}
	return deadline.Earlier(s.table.deadlines.Next(), s.saveAt)
}
