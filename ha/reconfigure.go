package ha

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// configure takes over a configuration. What bindings may depend on has changed at the
// home addresses returned, with what the agent had of each: nil for a new one.
func (a *Agent) configure(c Config) (changed map[netip.Addr]*home) {
	mobiles := c.Mobiles
	c.Mobiles = nil
	before, prefixes := a.config, a.prefixes
	a.config, a.prefixes = c.withDefaults(), c.homePrefixes()
	a.configurations++
	if before.Address == c.Address && before.HomeLink == c.HomeLink && len(prefixes) == 1 && slices.EqualFunc(prefixes, a.prefixes, HomePrefix.equal) {
		changed = a.changeMobiles(mobiles)
	} else {
		changed = a.configureMobiles(mobiles)
	}
	a.counts.Mobiles, a.counts.Homes = len(mobiles), len(a.homes)
	a.insecure = insecure(mobiles)
	a.claims = newClaims(mobiles, a.homes)
	a.reclaim()
	a.bindings.SetLimit(c.MaxBindings)
	return changed
}

// insecure are the names of the mobiles whose messages are not authenticated.
func insecure(mobiles []Mobile) (names []string) {
	for i := range mobiles {
		if m := &mobiles[i]; m.Insecure && m.SA == nil && !m.ESP {
			names = append(names, m.Name)
		}
	}
	return names
}

// Reconfigure takes over a new configuration, which is valid (Config.Validate),
// and returns the actions that follow. Bindings survive, except those the new
// configuration does not permit; prefixes it does not permit are withdrawn from
// theirs. Where only mobiles have changed, and the home link has one prefix, the
// others cost a comparison: with a hundred thousand of them a reload that changes one
// must not keep the others waiting.
func (a *Agent) Reconfigure(now time.Time, c Config) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	before, prefixes := a.config, a.prefixes
	changed := a.configure(c)
	entries := a.entriesOf(changed)
	reasons := make([]string, len(entries))
	for i, e := range entries {
		// Nothing that is not permitted any more is passed on to another binding.
		was := changed[e.Home]
		if reasons[i] = a.prohibits(e, was, before); reasons[i] != "" {
			was.wanted = nil
		} else if e.State == binding.Active {
			a.permit(e, was)
		}
	}
	for i, e := range entries {
		if reasons[i] != "" {
			a.end(e, changed[e.Home], reasons[i], role.CauseConfiguration)
		}
	}
	if before.HomeLink != a.config.HomeLink {
		for _, e := range entries {
			if e.State == binding.Active && a.bindings.Get(e.Home) == e {
				for _, addr := range defended(e) {
					a.undefend(addr)
				}
			}
		}
		a.findHomeLink()
	}
	a.joinAnycast(false)
	renumbered := !slices.EqualFunc(prefixes, a.prefixes, HomePrefix.equal)
	var kept []*binding.Entry
	for _, e := range entries {
		if e.State == binding.Active && a.bindings.Get(e.Home) == e {
			h := a.homes[e.Home]
			if renumbered {
				a.scheduleDelivery(h)
			}
			a.entitle(e, h)
			kept = append(kept, e)
		}
	}
	a.settle(kept)
	a.settleRoutesAt(slices.SortedFunc(maps.Keys(changed), netip.Addr.Compare))
	return a.out
}

// entriesOf are the entries of home addresses, in their order.
func (a *Agent) entriesOf(homes map[netip.Addr]*home) []*binding.Entry {
	var list []*binding.Entry
	for addr := range homes {
		if e := a.bindings.Get(addr); e != nil {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(x, y *binding.Entry) int { return x.Home.Compare(y.Home) })
	return list
}

// prohibits tells why an entry cannot stay, or nothing if it can.
func (a *Agent) prohibits(e *binding.Entry, was *home, before Config) string {
	h := a.homes[e.Home]
	switch {
	case a.config.Address != before.Address:
		return "home agent address changed"
	case a.prefixOf(e.Home) == nil:
		return "home prefix removed"
	case h == nil:
		return "mobile removed"
	case h != was:
		return "home address has another mobile now"
	case h.Disabled:
		return "mobile disabled"
	case a.grant(e.Home, 1) == 0:
		return "home prefix expired"
	case e.Flags&mip6.UpdateMobileRouter != 0 && !h.Router:
		return "no longer a mobile router"
	default:
		return ""
	}
}

// end ends an entry without its mobile's doing.
func (a *Agent) end(e *binding.Entry, h *home, reason string, cause role.BindingCause) {
	if e.State == binding.Active {
		a.do(role.Log{Level: slog.LevelWarn, Message: "binding ended", Attrs: []slog.Attr{
			slog.String("mobile", h.Name), slog.Any("home", e.Home), slog.Any("care_of", e.CareOf()),
			slog.String("reason", reason)}})
	}
	h.probe = nil
	ended, was := role.BindingChanged{Mobile: h.Name, Home: e.Home, From: e.CareOf(), Cause: cause}, e.State
	a.withdraw(e, h)
	a.forget(e)
	a.remember(h)
	if was == binding.Active {
		a.do(ended)
	}
}

// permit takes from what a binding that stays has registered the prefixes that
// are not the mobile's any more.
func (a *Agent) permit(e *binding.Entry, h *home) {
	if e.Flags&mip6.UpdateMobileRouter == 0 {
		return
	}
	before := len(h.wanted)
	h.wanted = slices.DeleteFunc(slices.Clone(h.wanted), func(p netip.Prefix) bool {
		return !a.authorized(h, p) || !networkPrefix(p, a.config.Address)
	})
	if e.Explicit && len(h.wanted) < before {
		a.remember(h)
	}
}

// entitle gives a binding in implicit mode the networks that its mobile has now,
// except those whose packets would come back to it, or that another mobile has
// registered and keeps. What others lose is taken from them before.
func (a *Agent) entitle(e *binding.Entry, h *home) {
	if e.Flags&mip6.UpdateMobileRouter == 0 || e.Explicit {
		return
	}
	h.wanted = slices.DeleteFunc(slices.Clone(a.networksOf(h.mobile)), func(p netip.Prefix) bool {
		if slices.Contains(e.Prefixes, p) {
			return false
		}
		other := a.networks.lookup(p.Addr())
		kept := other.IsValid() && a.homes[other].mobile != h.mobile &&
			slices.ContainsFunc(a.homes[other].wanted, func(q netip.Prefix) bool { return q.Contains(p.Addr()) })
		return kept || a.loops(h, e.CareOf(), []netip.Prefix{p})
	})
}

// settle makes active bindings what permit and entitle have made of their
// registrations: those that lose a prefix before those that get it.
func (a *Agent) settle(entries []*binding.Entry) {
	loses := func(e *binding.Entry) bool {
		return slices.ContainsFunc(e.Prefixes, func(p netip.Prefix) bool { return !slices.Contains(a.homes[e.Home].wanted, p) })
	}
	slices.SortStableFunc(entries, func(x, y *binding.Entry) int {
		switch {
		case loses(x) == loses(y):
			return 0
		case loses(x):
			return -1
		default:
			return 1
		}
	})
	for _, e := range entries {
		a.adjust(e, a.homes[e.Home])
	}
}

// adjust brings a binding that stays in line with the configuration: what permit
// and entitle have changed is forwarded, and no binding outlives its home prefix (RFC 6275
// §10.3.1).
func (a *Agent) adjust(e *binding.Entry, h *home) {
	prefixes := e.Prefixes
	before, after := a.share(e, h)
	if !slices.Equal(prefixes, e.Prefixes) {
		before = append(before, tunnel(e))
		a.do(role.Log{Level: slog.LevelInfo, Message: "mobile network prefixes changed", Attrs: []slog.Attr{
			slog.String("mobile", h.Name), slog.Any("home", e.Home), slog.Any("prefixes", e.Prefixes)}})
	}
	a.forward(slices.Concat(before, after, a.direct(e, h)))
	if e.Explicit && len(e.Prefixes) < len(prefixes) {
		// It advertises what it has not any more until it is told (RFC 3963 §5.4.2).
		a.sendRefreshRequest(e)
	}
	if left := binding.Remaining(a.now, a.prefixOf(e.Home).ValidUntil); left < e.Expires.Sub(a.now) {
		e.Expires = a.now.Add(left)
		a.remember(h)
	}
	a.schedule(e, h)
}
