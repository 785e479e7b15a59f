package anchor

import (
	"cmp"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
)

// configure takes over a configuration.
func (a *Anchor) configure(c Config) {
	visitors := c.Visitors
	c = c.withDefaults()
	c.Visitors, c.Served, c.Taken = nil, slices.Clone(c.Served), slices.Clone(c.Taken)
	a.warn = c.Insecure && !a.config.Insecure
	a.config = c
	a.configureVisitors(visitors)
	switch {
	case !c.Insecure:
		a.anonymous = nil
	case a.anonymous == nil:
		a.anonymous = &visitor{}
	}
	a.bindings.SetLimit(c.MaxBindings)
	a.counts.Limit = cmp.Or(c.MaxBindings, maxBound*len(visitors))
}

// Reconfigure takes over a new configuration, which is valid (Config.Validate), and
// returns the actions that follow. Bindings survive, except those the new
// configuration does not permit: of visitors that are not there any more or are
// disabled, and of on-link care-of addresses that are not served any more. Whoever
// takes a prefix out of Served wants the anchor not to be used from there (RFC 5380
// §6.2), and a mobile that registers again is told so.
func (a *Anchor) Reconfigure(now time.Time, c Config) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	before, known := a.config, a.named()
	a.configure(c)
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if v := known[name]; v.Name != name {
			a.renamed(v, name)
		}
	}
	var ended, kept []*binding.Entry
	for _, e := range a.bindings.Sorted() {
		if reason := a.prohibits(e, before); reason != "" {
			a.logEnded(e, reason)
			ended = append(ended, e)
		} else if e.State == binding.Active {
			kept = append(kept, e)
		}
	}
	holders := make([]*regional, len(ended))
	for i, e := range ended {
		holders[i] = a.held[e.Home]
	}
	a.end(ended...)
	for _, r := range holders {
		a.keep(r)
	}
	if before.Link != a.config.Link {
		for _, e := range kept {
			a.undefend(e.Home)
		}
		a.findLink()
	}
	return a.out
}

// renamed has what is remembered of a visitor remembered by its new name.
func (a *Anchor) renamed(v *visitor, before string) {
	for _, r := range v.addresses {
		a.do(role.Remember{Memory: binding.Memory{Home: r.addr, Visitor: before}})
		a.keep(r)
	}
	if v.forgot {
		a.do(role.Remember{Memory: binding.Memory{Home: netip.IPv6Unspecified(), Visitor: before}}, role.Remember{Memory: v.forgetfulness()})
	}
}

// prohibits tells why an entry cannot stay, or nothing if it can.
func (a *Anchor) prohibits(e *binding.Entry, before Config) string {
	r := a.held[e.Home]
	v := r.visitor
	careOf := e.CareOf()
	if r.probe != nil {
		careOf = r.probe.update.careOf
	}
	switch {
	case a.config.Address != before.Address:
		return "anchor address changed"
	case !a.config.Prefix.Contains(e.Home):
		return "prefix changed"
	case e.Home == a.config.Address, slices.Contains(a.config.Taken, e.Home):
		return "regional care-of address is taken"
	case v.anonymous() && v != a.anonymous:
		return "authentication is required now"
	case !v.anonymous() && !a.configured(v):
		return "visitor removed"
	case v.Disabled:
		return "visitor disabled"
	case !a.serves(careOf):
		return "on-link care-of address not served any more"
	case a.barred(careOf):
		return "on-link care-of address is this node's, or in a tunnel of it"
	default:
		return ""
	}
}

func (a *Anchor) logEnded(e *binding.Entry, reason string) {
	if e.State == binding.Active {
		a.log(slog.LevelWarn, "regional binding ended", slog.String("visitor", a.held[e.Home].visitor.Name),
			slog.Any("regional_care_of", e.Home), slog.Any("care_of", e.CareOf()), slog.String("reason", reason))
	}
}
