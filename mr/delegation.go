package mr

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// maxSolicits is after how many solicitations a home agent is taken for one that
// delegates nothing (RFC 6276 §3.3).
const maxSolicits = 6

// Pauses before a home agent that delegates nothing is asked again.
const (
	leastDelegationPause = 30 * time.Second
	mostDelegationPause  = time.Hour
)

// maxBarren bounds the home agents that are remembered for delegating nothing.
const maxBarren = 32

// delegation is the requesting router in the mobile router (RFC 6276 §3): a
// DHCPv6 client that begins when the registration stands, and lives through
// handovers: what it sends on the way is lost, and sent again by its own timers.
type delegation struct {
	config Delegation
	client *dhcpv6.Client // nil: waiting for retry
	// identity is what the client was told of the link, which is the home link
	// wherever the router is; zero: it has not begun.
	identity role.LinkIdentity
	saved    []byte // of the client, newest

	leases   []lease
	agent    netip.Addr // that delegated them
	granter  netip.Addr // who sent them, at home its link-local address
	speaking netip.Addr // whose message is being handled; invalid: nobody's
	numbered []subnet
	renumber bool // the home agent's opinion of a prefix has changed

	doubted  bool           // a new client asks whether they are good
	pardoned []netip.Prefix // confirmed, and not accepted since

	barren []netip.Addr // home agents that have delegated nothing
	retry  time.Time
	pause  time.Duration
}

// lease is a delegated prefix; the zero time is no end.
type lease struct {
	prefix                     netip.Prefix
	preferredUntil, validUntil time.Time
}

// subnet is a /64 of a downstream interface.
type subnet struct {
	downstream string
	prefix     netip.Prefix
}

// doubt has another client ask whether the prefixes are still this router's.
func (d *delegation) doubt() {
	d.client, d.retry, d.doubted = nil, time.Time{}, true
}

// confirmed are the prefixes of new leases that the home agent had refused and that
// its delegating router says to be this router's all the same: it did not know them
// any more, and does now. But only once, until they are accepted: a home agent that
// refuses what it delegates is not to be asked in a circle.
func (r *Router) confirmed(leases []lease) (list []netip.Prefix) {
	d := r.delegation
	if !d.doubted || len(leases) == 0 {
		return nil
	}
	d.doubted = false
	for _, l := range leases {
		if !r.usable(l.prefix) && !slices.Contains(d.pardoned, l.prefix) {
			list = append(list, l.prefix)
		}
	}
	d.pardoned = append(d.pardoned, list...)
	return list
}

// has reports whether a prefix is a delegated one.
func (d *delegation) has(p netip.Prefix) bool {
	return d != nil && slices.ContainsFunc(d.leases, func(l lease) bool { return l.prefix == p })
}

// leasedBy reports whether there are leases, and of this home agent.
func (d *delegation) leasedBy(agent netip.Addr) bool { return len(d.leases) > 0 && d.agent == agent }

func (d *delegation) next() time.Time {
	next := d.retry
	for _, l := range d.leases {
		next = deadline.Earlier(next, l.validUntil)
	}
	if d.client == nil {
		return next
	}
	return deadline.Earlier(d.client.Next(), next)
}

// delegate begins with the delegation of a new configuration.
func (r *Router) delegate() {
	if c := r.config.Delegation; c != nil {
		r.delegation = &delegation{config: *c, saved: c.Saved}
		r.delegation.client = r.newClient()
	}
}

// newClient returns a client that goes on where the last one ended.
func (r *Router) newClient() *dhcpv6.Client {
	d := r.delegation
	c := dhcpv6.Config{
		Name: r.config.Name, Store: "delegation-" + r.config.Name, DUID: d.config.DUID, IAID: d.config.IAID,
		Prefixes: true, MaxSolicits: maxSolicits, Random: r.config.Random,
	}
	if d.config.Length > 0 {
		c.Hints = []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), d.config.Length)}
	}
	if c.Random == nil {
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], r.config.Seed)
		source := rand.NewChaCha8(seed)
		c.Random = func(b []byte) { _, _ = source.Read(b) } // never fails
	}
	return dhcpv6.NewClient(c, d.saved)
}

// redelegate follows a new configuration. Another identity, or another length, is
// another client; new downstreams are numbered from the leases there are.
func (r *Router) redelegate(now time.Time) []role.Action {
	d, c := r.delegation, r.config.Delegation
	switch {
	case d == nil:
		r.delegate()
		return nil
	case c == nil:
		r.delegation = nil
		return d.takeBack()
	case !slices.Equal(d.config.DUID, c.DUID) || d.config.IAID != c.IAID || d.config.Length != c.Length:
		r.delegate()
		r.delegation.saved = nil // of somebody else
		r.delegation.client = r.newClient()
		return d.takeBack()
	}
	d.config.Downstreams = c.Downstreams
	d.barren, d.pause, d.retry = nil, 0, time.Time{}
	return r.number(now)
}

// takeBack takes all delegated prefixes from the downstream interfaces.
func (d *delegation) takeBack() []role.Action {
	var out []role.Action
	for _, s := range d.numbered {
		out = append(out, role.NumberDownstream{Interface: s.downstream, Prefix: s.prefix})
	}
	d.numbered = nil
	return out
}

// reachable reports whether the delegating router can be talked to: the
// registration stands (RFC 6276 §3.1), or the router is at home (§3.2).
func (r *Router) reachable() bool {
	p := r.node.Place()
	return p.AtHome || p.Registered
}

// delegationDue begins the client, and does what is due.
func (r *Router) delegationDue(now time.Time) []role.Action {
	d := r.delegation
	if deadline.Due(now, d.retry) || d.client == nil && d.retry.IsZero() {
		d.retry, d.client, d.identity = time.Time{}, r.newClient(), role.LinkIdentity{}
	}
	var out []role.Action
	if d.client == nil {
		return r.leasesDue(now)
	}
	to := r.homeIdentity()
	if r.reachable() && !r.node.Place().AtHome && d.identity == to && len(d.leases) > 0 && d.agent != to.Router && !d.doubted {
		// At home another one was there alone, and delegated.
		d.doubt()
		d.client, d.identity = r.newClient(), role.LinkIdentity{}
	}
	if r.reachable() && d.identity != to {
		// Another home agent is another delegating router: for the client that is
		// another link.
		d.identity = to
		out = r.drive(now, to.Router, role.ConfigureLink{Identity: to})
	}
	if d.client != nil && deadline.Due(now, d.client.Next()) {
		out = append(out, r.drive(now, d.agent, role.Timeout{})...)
	}
	return append(out, r.leasesDue(now)...)
}

// leasesDue ends leases whose time is over. Their client says so too, unless it was
// given up meanwhile.
func (r *Router) leasesDue(now time.Time) []role.Action {
	ended := func(l lease) bool { return deadline.Due(now, l.validUntil) }
	if !slices.ContainsFunc(r.delegation.leases, ended) {
		return nil
	}
	return r.setLeases(now, r.delegation.agent, slices.DeleteFunc(slices.Clone(r.delegation.leases), ended))
}

// homeIdentity tells home agents apart.
func (r *Router) homeIdentity() role.LinkIdentity {
	return role.LinkIdentity{Router: r.node.Place().Agent, Prefix: r.config.HomePrefix.Masked()}
}

// drive gives the client an event and carries out what it wants. agent is the home
// agent whose leases the client may have after it.
func (r *Router) drive(now time.Time, agent netip.Addr, e role.Event) []role.Action {
	d := r.delegation
	var out []role.Action
	for _, a := range d.client.Handle(now, e) {
		switch a := a.(type) {
		case role.SendDHCP:
			out = append(out, r.sendDHCP(a)...)
		case role.LeaseChanged:
			out = append(out, r.leaseChanged(now, agent, a.Lease)...)
		case role.DelegationEnded:
			out = append(out, r.delegationEnded(now)...)
		case role.Save:
			d.saved = a.Data
			out = append(out, a)
		default:
			out = append(out, a)
		}
	}
	return out
}

// leaseChanged takes over what is delegated now.
func (r *Router) leaseChanged(now time.Time, agent netip.Addr, l role.Lease) []role.Action {
	var out []role.Action
	var leases []lease
	for _, p := range l.Prefixes {
		if reason := r.objection(p.Prefix); reason != "" {
			out = append(out, r.log(slog.LevelWarn, "delegated prefix is not usable",
				slog.String("prefix", p.Prefix.String()), slog.String("reason", reason)))
			continue
		}
		leases = append(leases, lease{p.Prefix.Masked(), deadline.Of(now, min(p.Preferred, p.Valid)), deadline.Of(now, p.Valid)})
	}
	if d := r.delegation; d.speaking.IsValid() {
		d.granter = d.speaking
	}
	return append(out, r.setLeases(now, agent, leases)...)
}

// setLeases makes the prefixes that a home agent delegates those of the mobile network,
// and no others. The home agent has heard of it from its delegating router; in
// explicit mode it is told, too.
func (r *Router) setLeases(now time.Time, agent netip.Addr, leases []lease) []role.Action {
	d := r.delegation
	named, before := r.named(), d.leases
	d.leases, d.agent = leases, agent
	gained, lost := missing(leases, before), missing(before, leases)
	var out []role.Action
	for _, l := range gained {
		out = append(out, r.log(slog.LevelInfo, "prefix delegated", slog.String("prefix", l.prefix.String()),
			slog.Duration("lifetime", deadline.Remaining(now, l.validUntil))))
		if n := len(d.config.Downstreams); len(dhcpv6.Subnets(l.prefix, n)) < n {
			out = append(out, r.log(slog.LevelWarn, "delegated prefix has not a /64 for each downstream interface",
				slog.String("prefix", l.prefix.String())))
		}
	}
	var gone []netip.Prefix
	for _, l := range lost {
		gone = append(gone, l.prefix)
		out = append(out, r.log(slog.LevelWarn, "delegated prefix is lost", slog.String("prefix", l.prefix.String())))
	}
	gone = without(gone, r.config.Prefixes)
	r.sieve.forget(gone)
	r.unusable = without(r.unusable, gone)
	if len(leases) > 0 {
		d.barren, d.pause = nil, 0
	}
	confirmed := r.confirmed(leases)
	r.sieve.forget(confirmed)
	r.unusable = without(r.unusable, confirmed)
	d.pardoned = without(d.pardoned, gone)
	if len(gained)+len(confirmed) > 0 { // what was refused were others
		r.denied = slices.DeleteFunc(r.denied, func(d denial) bool { return d.mode == Explicit })
	}
	if len(gained)+len(lost)+len(confirmed) > 0 {
		// The tunnel before the addresses: nothing leaves beside it.
		out = append(out, r.node.InnerChanged(now, !slices.Equal(named, r.named()))...)
	}
	return append(out, r.number(now)...)
}

// missing are the leases of a whose prefix b has not.
func missing(a, b []lease) []lease {
	return slices.DeleteFunc(slices.Clone(a), func(l lease) bool {
		return slices.ContainsFunc(b, func(m lease) bool { return m.prefix == l.prefix })
	})
}

// objection tells why a prefix cannot be a mobile network of this router; empty: it
// can.
func (r *Router) objection(p netip.Prefix) string {
	switch agent := r.node.Agent(); {
	case !p.IsValid() || p.Bits() == 0 || !mip6.Routable(p.Masked().Addr()):
		return "not a prefix of routable addresses"
	case p.Contains(agent):
		return "it contains the home agent"
	case p.Bits() <= r.config.HomePrefix.Bits() && p.Overlaps(r.config.HomePrefix):
		return "it contains the home link"
	case p.Contains(r.config.HomeAddress):
		return "it contains the home address"
	case p.Contains(r.node.Place().CareOf), p.Contains(r.node.Place().OnLink):
		return "it contains the care-of address"
	default:
		return ""
	}
}

// number gives each downstream interface its /64 of every delegated prefix, with
// what remains of the lifetimes, and takes back those that are not ours any more,
// or that the home agent refuses (RFC 3963 §5.4.2).
func (r *Router) number(now time.Time) []role.Action {
	d := r.delegation
	d.renumber = false
	before := d.numbered
	d.numbered = nil
	var out []role.Action
	for _, l := range d.leases {
		if !r.usable(l.prefix) {
			continue
		}
		for i, p := range dhcpv6.Subnets(l.prefix, len(d.config.Downstreams)) {
			s := subnet{d.config.Downstreams[i], p}
			valid := deadline.Remaining(now, l.validUntil)
			if valid == 0 || slices.Contains(d.numbered, s) {
				continue
			}
			d.numbered = append(d.numbered, s)
			out = append(out, role.NumberDownstream{Interface: s.downstream, Prefix: s.prefix,
				Preferred: deadline.Remaining(now, l.preferredUntil), Valid: valid})
		}
	}
	for _, s := range before {
		if !slices.Contains(d.numbered, s) {
			out = append(out, role.NumberDownstream{Interface: s.downstream, Prefix: s.prefix})
		}
	}
	return out
}

// delegationEnded turns to another home agent when this one delegates nothing, and
// asks again after a pause when there is none, or each has been asked (RFC 6276
// §3.3).
func (r *Router) delegationEnded(now time.Time) []role.Action {
	d, agent := r.delegation, r.node.Place().Agent
	d.client, d.retry = nil, time.Time{}
	if !r.reachable() {
		return nil // that says nothing of the home agent: another try when it is
	}
	d.pause = min(max(2*d.pause, leastDelegationPause), mostDelegationPause)
	d.retry = now.Add(d.pause)
	out := []role.Action{r.log(slog.LevelWarn, "home agent delegates no prefix",
		slog.String("home_agent", agent.String()), slog.Duration("again_in", d.pause))}
	if r.node.Place().AtHome || slices.Contains(d.barren, agent) || len(d.barren) == maxBarren {
		return out
	}
	d.barren = append(d.barren, agent)
	actions, other := r.node.LeaveAgent(now)
	if other {
		d.retry, d.pause = time.Time{}, 0 // as soon as the other one serves
	}
	return append(out, actions...)
}
