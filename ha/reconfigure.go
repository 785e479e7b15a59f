package ha

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// configure takes over a configuration. What is remembered of a mobile stays
// with its home address.
func (a *Agent) configure(c Config) {
	mobiles := make(map[netip.Addr]*mobile, len(c.Mobiles))
	a.insecure = nil
	for _, conf := range c.Mobiles {
		conf.Prefixes = slices.Clone(conf.Prefixes)
		for i, p := range conf.Prefixes {
			conf.Prefixes[i] = p.Masked()
		}
		conf.Prefixes = sorted(conf.Prefixes)
		m := a.mobiles[conf.HomeAddress]
		if m == nil {
			m = new(mobile)
		}
		m.Mobile = conf
		if conf.Insecure && conf.SA == nil {
			a.insecure = append(a.insecure, conf.Name)
		}
		mobiles[conf.HomeAddress] = m
	}
	c.Mobiles = nil
	a.config, a.mobiles = c.withDefaults(), mobiles
	a.bindings.SetLimit(c.MaxBindings)
}

// Reconfigure takes over a new configuration, which is valid (Config.Validate),
// and returns the actions that follow. Bindings survive, except those the new
// configuration does not permit; prefixes it does not permit are withdrawn from
// theirs.
func (a *Agent) Reconfigure(now time.Time, c Config) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	before := a.config
	entries := a.bindings.Sorted()
	mobiles := a.mobiles
	a.configure(c)
	for _, e := range entries {
		if reason := a.prohibits(e, before); reason != "" {
			a.end(e, mobiles[e.Home], reason)
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
	for _, e := range entries {
		if e.State == binding.Active && a.bindings.Get(e.Home) == e {
			a.adjust(e, a.mobiles[e.Home])
		}
	}
	return a.out
}

// prohibits tells why an entry cannot stay, or nothing if it can.
func (a *Agent) prohibits(e *binding.Entry, before Config) string {
	m := a.mobiles[e.Home]
	switch {
	case m == nil:
		return "mobile removed"
	case m.Disabled:
		return "mobile disabled"
	case a.config.Address != before.Address:
		return "home agent address changed"
	case !a.config.Prefix.Contains(e.Home):
		return "home prefix changed"
	case binding.Grant(1, binding.Remaining(a.now, a.config.PrefixValidUntil)) == 0:
		return "home prefix expired"
	case e.Flags&mip6.UpdateMobileRouter != 0 && !m.Router:
		return "no longer a mobile router"
	default:
		return ""
	}
}

// end ends an entry that the configuration does not permit any more.
func (a *Agent) end(e *binding.Entry, m *mobile, reason string) {
	if e.State == binding.Active {
		a.do(role.Log{Level: slog.LevelWarn, Message: "binding ended", Attrs: []slog.Attr{
			slog.String("mobile", m.Name), slog.Any("home", e.Home), slog.Any("care_of", e.CareOf()),
			slog.String("reason", reason)}})
	}
	m.probe = nil
	a.withdraw(e)
	a.forget(e)
}

// adjust brings a binding that stays in line with the configuration: prefixes
// that are not the mobile's any more are withdrawn, in implicit mode new ones are
// forwarded, and no binding outlives the home prefix (RFC 6275 §10.3.1).
func (a *Agent) adjust(e *binding.Entry, m *mobile) {
	var prefixes []netip.Prefix
	switch {
	case e.Flags&mip6.UpdateMobileRouter == 0:
	case e.Explicit:
		for _, p := range e.Prefixes {
			if m.authorized(p) && networkPrefix(p, a.config.Address) {
				prefixes = append(prefixes, p)
			}
		}
	default:
		prefixes = m.Prefixes
	}
	if !slices.Equal(prefixes, e.Prefixes) {
		a.setPrefixes(e, prefixes)
		a.forward(e)
		a.do(role.Log{Level: slog.LevelInfo, Message: "mobile network prefixes changed", Attrs: []slog.Attr{
			slog.String("mobile", m.Name), slog.Any("home", e.Home), slog.Any("prefixes", prefixes)}})
	}
	if left := binding.Remaining(a.now, a.config.PrefixValidUntil); left < e.Expires.Sub(a.now) {
		e.Expires = a.now.Add(left)
	}
	a.schedule(e, m)
}
