package ha

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/order"
	"roam6/internal/role"
)

// delegation is what a mobile has by delegation (RFC 6276), as the delegating
// router told. It is kept while the mobile is configured, also where the
// configuration does not permit it at present.
type delegation struct {
	home     netip.Addr // the mobile's configured one
	prefixes []netip.Prefix
	usable   []netip.Prefix // of them, those that nobody else has

	binding.Deadline // when the last of them ends, whoever says so or not
}

// Delegated is what the mobiles have by delegation, as it would be told anew, in the order
// of home addresses.
func (a *Agent) Delegated() []role.PrefixesDelegated {
	list := make([]role.PrefixesDelegated, 0, len(a.delegations))
	for _, d := range a.delegations {
		list = append(list, role.PrefixesDelegated{Home: d.home, Prefixes: d.prefixes, Until: d.At()})
	}
	slices.SortFunc(list, func(a, b role.PrefixesDelegated) int { return a.Home.Compare(b.Home) })
	return list
}

// prefixesDelegated takes in what a mobile has by delegation now. What is new is
// forwarded at once, what is gone not any more (RFC 6276 §4).
func (a *Agent) prefixesDelegated(e role.PrefixesDelegated) {
	h := a.homes[e.Home]
	if h == nil {
		a.drop(role.DropUnknownMobile, e.Home)
		return
	}
	m := h.mobile
	d := a.delegations[m.HomeAddress]
	if len(e.Prefixes) == 0 || !e.Until.IsZero() && !e.Until.After(a.now) {
		if d != nil {
			a.delegationEnded(d)
		}
		return
	}
	if d == nil {
		d = &delegation{home: m.HomeAddress}
		a.delegations[m.HomeAddress] = d
	}
	a.served(h, netip.Addr{}) // it talks to this node
	a.expiries.Set(d, e.Until)
	list := make([]netip.Prefix, len(e.Prefixes))
	for i, p := range e.Prefixes {
		list[i] = p.Masked()
	}
	if list = sorted(list); slices.Equal(list, d.prefixes) {
		return // a renewal
	}
	a.disclaim(d)
	d.prefixes = list
	a.permitDelegation(d, m)
	a.networksChanged(m)
}

// delegationEnded forgets a delegation that was released, or has ended.
func (a *Agent) delegationEnded(d *delegation) {
	a.forgetDelegation(d)
	if h := a.homes[d.home]; h != nil {
		a.networksChanged(h.mobile)
	}
}

func (a *Agent) forgetDelegation(d *delegation) {
	a.disclaim(d)
	a.expiries.Set(d, time.Time{})
	delete(a.delegations, d.home)
}

// permitDelegation finds out which delegated prefixes a mobile may have: not those
// in which others have addresses (RFC 6276 §4, RFC 3963 §6.1.2).
func (a *Agent) permitDelegation(d *delegation, m *mobile) {
	for _, p := range d.prefixes {
		if reason := a.refuses(p, m); reason != "" {
			if a.strangers.Allow(a.now, complaints) {
				a.do(role.Log{Level: slog.LevelWarn, Message: "delegated prefix refused", Attrs: []slog.Attr{
					slog.String("mobile", m.Name), slog.Any("home", m.HomeAddress), slog.Any("prefix", p), slog.String("reason", reason)}})
			}
			continue
		}
		d.usable = append(d.usable, p)
		a.claims.given.add(p, m.HomeAddress)
	}
}

// refuses tells why a prefix cannot be delegated to a mobile; empty: it can.
func (a *Agent) refuses(p netip.Prefix, m *mobile) string {
	switch {
	case !m.Delegate || !m.Router:
		return "the mobile may not have prefixes by delegation"
	case !networkPrefix(p, a.config.Address):
		return "not a prefix for a mobile network"
	case a.atHome(p):
		return "it has addresses of the home link"
	case a.claims.overlaps(p, m.HomeAddress):
		return "another mobile has addresses of it"
	default:
		return ""
	}
}

// disclaim gives up what a delegation may use.
func (a *Agent) disclaim(d *delegation) {
	for _, p := range d.usable {
		a.claims.given.remove(p, d.home)
	}
	d.usable = nil
}

// reclaim judges all delegations anew under another configuration.
func (a *Agent) reclaim() {
	list := make([]*delegation, 0, len(a.delegations))
	for _, d := range a.delegations {
		list = append(list, d)
	}
	slices.SortFunc(list, func(c, d *delegation) int { return c.home.Compare(d.home) })
	for _, d := range list {
		d.usable = nil // the claims are new
		h := a.homes[d.home]
		if h == nil || h.HomeAddress != d.home {
			a.forgetDelegation(d)
			continue
		}
		a.permitDelegation(d, h.mobile)
	}
}

// networksOf are the networks that a mobile may have: those of the configuration
// and those it has by delegation. They are not to be changed.
func (a *Agent) networksOf(m *mobile) []netip.Prefix {
	d := a.delegations[m.HomeAddress]
	if d == nil || len(d.usable) == 0 {
		return m.Prefixes
	}
	return sorted(slices.Concat(m.Prefixes, d.usable))
}

// networksChanged brings the bindings of a mobile in line with networksOf, and its
// routes on the home link.
func (a *Agent) networksChanged(m *mobile) {
	var active []*binding.Entry
	for _, h := range m.homes {
		if e := a.bindings.Get(h.addr); e != nil && e.State == binding.Active {
			a.permit(e, h)
			a.entitle(e, h)
			active = append(active, e)
		}
	}
	a.settle(active)
	a.settleRoutes(m, nil)
}

// Delegation is what a mobile has by delegation, for people to see.
type Delegation struct {
	Home     netip.Addr
	Mobile   string
	Prefixes []netip.Prefix // those in use
	Refused  []netip.Prefix
}

// Delegations returns the delegations in the order of home addresses.
func (a *Agent) Delegations() []Delegation {
	list := make([]Delegation, 0, len(a.delegations))
	for _, d := range a.delegations {
		x := Delegation{Home: d.home, Mobile: a.homes[d.home].Name, Prefixes: slices.Clone(d.usable)}
		for _, p := range d.prefixes {
			if !slices.Contains(d.usable, p) {
				x.Refused = append(x.Refused, p)
			}
		}
		list = append(list, x)
	}
	order.Sort(list, func(c, d Delegation) int { return c.Home.Compare(d.Home) })
	return list
}
