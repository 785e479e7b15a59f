package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/internal/role"
	"roam6/mr"
	"roam6/overlay"
)

// Prefix delegation (RFC 6276): the delegating router of each home agent, with a pool
// of its own, and the downstream interfaces of mobile routers.

// delegable contains the pools of all home agents.
var delegable = netip.MustParsePrefix("2001:db8:180::/41")

// Lifetimes of what is delegated.
const (
	delegatedPreferred = 60 * time.Second
	delegatedValid     = 120 * time.Second
	delegatedLength    = 60
)

// downstreams are the interfaces of a mobile router that delegated prefixes number.
// The first is where others may be attached.
var downstreams = []string{"lan0", "lan1"}

// startDelegator begins the delegating router of a home agent, with what it has
// saved.
func (w *World) startDelegator(h *host) {
	if !h.pool.IsValid() {
		return
	}
	s := delegating.New(w.delegatingConfig(h), h.kept["delegating-"+h.name])
	h.agent.delegator = &runner{machine: s}
	w.handle(h, h.agent.delegator, role.Timeout{})
}

func (w *World) delegatingConfig(h *host) delegating.Config {
	c := delegating.Config{
		Name: h.name, Address: h.address(), DUID: []byte{0, 99, 0xa, byte(h.number)}, Pools: []netip.Prefix{h.pool},
		Length: delegatedLength, Preferred: delegatedPreferred, Valid: delegatedValid,
	}
	for _, m := range w.hosts {
		if !m.delegates {
			continue
		}
		d := delegating.Mobile{Name: m.name, HomeAddress: homeAddr(w.home.prefix, m.number)}
		if m.order%2 == 0 {
			d.DUID = m.duid // otherwise it is learned, or told by the link-local address
		}
		c.Mobiles = append(c.Mobiles, d)
	}
	return c
}

// delegation is what a mobile router needs to know to ask for prefixes.
func (h *host) delegation() *mr.Delegation {
	return &mr.Delegation{DUID: h.duid, IAID: dhcpv6.IAIDOf(h.name), Downstreams: downstreams, Saved: h.kept["delegation-"+h.name]}
}

// prefixesDelegated takes what a delegating router has given to its home agent.
func (w *World) prefixesDelegated(h *host, e role.PrefixesDelegated) {
	w.tell("%s delegates %v to %v until %v", h.name, e.Prefixes, e.Home, e.Until.Sub(epoch))
	w.counts.Delegations++
	w.witness.delegated(h, e)
	if h.agent != nil {
		w.handle(h, &h.agent.runner, e)
	}
}

// numbered is a prefix that a downstream interface has, or had and still advertises.
type numbered struct {
	link           string
	prefix         netip.Prefix
	by             *runner
	given          bool
	preferred, end time.Time
}

// longestDeprecated is for how long a prefix that was taken back is advertised.
const longestDeprecated = 2 * time.Hour

// numberDownstream gives a downstream interface a prefix, or takes it back.
func (w *World) numberDownstream(h *host, by *runner, a role.NumberDownstream) {
	w.tell("%s numbers %s from %v for %v", h.name, a.Interface, a.Prefix, a.Valid)
	i := slices.IndexFunc(h.numbers, func(n numbered) bool { return n.link == a.Interface && n.prefix == a.Prefix })
	if a.Valid <= 0 {
		if i >= 0 && h.numbers[i].by == by {
			h.numbers[i].deprecate(w.now)
		}
		return
	}
	if !slices.Contains(downstreams, a.Interface) || a.Prefix.Bits() != 64 || a.Preferred > a.Valid {
		w.fail("%s numbers %s from %v, lifetimes %v and %v", h.name, a.Interface, a.Prefix, a.Preferred, a.Valid)
	}
	if i < 0 {
		h.numbers = append(h.numbers, numbered{link: a.Interface, prefix: a.Prefix})
		i = len(h.numbers) - 1
	}
	n := &h.numbers[i]
	n.by, n.given, n.preferred, n.end = by, true, w.now.Add(a.Preferred), w.now.Add(a.Valid)
	w.counts.Numbered++
}

func (n *numbered) deprecate(now time.Time) {
	if !n.given {
		return
	}
	n.given, n.by, n.preferred = false, nil, now
	if limit := now.Add(longestDeprecated); n.end.After(limit) {
		n.end = limit
	}
}

// takeBack takes back all that a role has given.
func (h *host) takeBack(now time.Time, by *runner) {
	for i := range h.numbers {
		if h.numbers[i].by == by {
			h.numbers[i].deprecate(now)
		}
	}
}

// given are the prefixes that downstream interfaces have now.
func (h *host) given() []numbered {
	return slices.DeleteFunc(slices.Clone(h.numbers), func(n numbered) bool { return !n.given })
}

// hasInner reports whether an address is one of a router's own on its downstream
// interfaces.
func (h *host) hasInner(a netip.Addr) bool {
	return h.network.IsValid() && a == h.network.Addr().Next() ||
		slices.ContainsFunc(h.numbers, func(n numbered) bool { return n.given && a == n.prefix.Addr().Next() })
}

// delegated notes what a delegating router has promised a mobile.
func (x *witness) delegated(h *host, e role.PrefixesDelegated) {
	for _, p := range e.Prefixes {
		if !h.pool.Overlaps(p) || p.Bits() != delegatedLength {
			x.w.fail("%s delegates %v, which is not of its pool %v", h.name, p, h.pool)
		}
		key := promise{e.Home, p}
		if end := x.promised[key]; e.Until.After(end) {
			x.promised[key] = e.Until
		}
	}
	x.given[promisedBy{h, e.Home}] = e
}

// promise is a prefix that a home address was promised, and promisedBy by whom.
type promise struct {
	home   netip.Addr
	prefix netip.Prefix
}

type promisedBy struct {
	agent *host
	home  netip.Addr
}

// slack is for how much longer a mobile believes that it has a prefix than the
// server does: the time that the answer takes.
const slack = 3 * time.Second

// checkNumbers asserts that what is numbered is delegated, and nobody else's.
func (w *World) checkNumbers(h *host) {
	for _, n := range h.numbers {
		if !n.given {
			continue
		}
		if w.now.After(n.end) {
			w.fail("%s has %v on %s, and its lease has ended", h.name, n.prefix, n.link)
		}
		promised := false
		for _, m := range h.mobiles {
			for key, end := range w.witness.promised {
				promised = promised || key.home == m.home && key.prefix.Overlaps(n.prefix) && !end.Add(slack).Before(w.now)
			}
		}
		if !promised {
			w.fail("%s has %v on %s, which nobody has delegated to it", h.name, n.prefix, n.link)
		}
		for _, o := range w.hosts {
			if o != h && slices.ContainsFunc(o.numbers, func(x numbered) bool { return x.given && x.prefix.Overlaps(n.prefix) }) {
				w.fail("%s and %s both have %v", h.name, o.name, n.prefix)
			}
		}
	}
}

// checkDelegated asserts that a home agent forwards delegated prefixes to the mobiles
// that have them, and by one way only.
func (w *World) checkDelegated(h *host) {
	k := &h.kernel
	permitted := func(home netip.Addr, p netip.Prefix) bool {
		e := w.witness.given[promisedBy{h, home}]
		return slices.Contains(e.Prefixes, p) && (e.Until.IsZero() || !w.now.After(e.Until))
	}
	for key, t := range k.tunnels {
		for _, p := range t.Inner {
			if delegable.Overlaps(p) && !permitted(key.Home, p) {
				w.fail("%s forwards %v to %v, to which it is not delegated", h.name, p, key.Home)
			}
		}
	}
	for r := range k.routes {
		if !r.via.IsValid() {
			continue
		}
		if delegable.Overlaps(r.destination) && !permitted(r.via, r.destination) {
			w.fail("%s routes %v to %v, to which it is not delegated", h.name, r.destination, r.via)
		}
		if t, ok := k.inner(overlay.AgentSide, r.destination.Addr()); ok {
			w.fail("%s has %v in the tunnel of %v and on the home link", h.name, r.destination, t.Home)
		}
	}
}

// undelegated tells which mobile routers that ask for prefixes have none that is of
// use.
func (w *World) undelegated() (wrong []string) {
	for _, h := range w.mobiles() {
		if !h.delegates || h.down || h.best() == nil {
			continue
		}
		if len(h.given()) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s has no prefix by delegation: %s", h.name, w.delegationOf(h)))
		}
		for _, n := range h.given() {
			if !w.leads(h, n.prefix) {
				wrong = append(wrong, fmt.Sprintf("no home agent forwards %v to %s: %s", n.prefix, h.name, w.delegationOf(h)))
			}
		}
	}
	return wrong
}

// leads reports whether exactly one home agent forwards a prefix to a router where it
// is.
func (w *World) leads(h *host, p netip.Prefix) bool {
	count := 0
	for _, a := range w.hosts {
		if !a.isAgent || a.down {
			continue
		}
		t, away := a.kernel.inner(overlay.AgentSide, p.Addr())
		via, home := a.kernel.gateway(p.Addr())
		switch {
		case away && h.hasHome(t.Home) && !h.best().at.home, home && h.hasHome(via) && h.best().at.home:
			count++
		case away || home:
			return false
		}
	}
	return count == 1
}

func (w *World) delegationOf(h *host) (text string) {
	for _, m := range h.mobiles {
		if r, ok := m.role.(*mr.Router); ok {
			n := r.Networks(w.now)
			text += fmt.Sprintf("%v with %v, %v", m, n.Delegation.Agent, n.Delegation.Client.State)
		}
	}
	return text
}
