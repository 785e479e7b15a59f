package homelink

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// prefix is one of the home link's.
type prefix struct {
	prefix                     netip.Prefix // masked
	preferredUntil, validUntil time.Time    // zero: for ever
	deprecated, expired        bool
	formed                     bool // HomeAddressFormed was said
}

// next is when something of the prefix ends.
func (p *prefix) next() time.Time {
	switch {
	case p.expired:
		return time.Time{}
	case p.deprecated:
		return p.validUntil
	default:
		return deadline.Earlier(p.preferredUntil, p.validUntil)
	}
}

// HomePrefixValidUntil is when the prefix of the home address ceases to be
// valid: no binding may last longer (RFC 6275 §11.4.2). Zero: not known, or
// never. It stays in the past when the prefix has expired.
func (h *HomeLink) HomePrefixValidUntil() time.Time {
	if p := h.homePrefix(); p != nil {
		return p.validUntil
	}
	return time.Time{}
}

// homePrefix is the entry of the prefix of the home address; nil while nothing
// is known of it.
func (h *HomeLink) homePrefix() *prefix { return h.findPrefix(h.config.HomePrefix.Masked()) }

func (h *HomeLink) findPrefix(p netip.Prefix) *prefix {
	for _, q := range h.prefixes {
		if q.prefix == p {
			return q
		}
	}
	return nil
}

// learnPrefixes takes in prefixes of the home link as a router advertisement
// there would bring them (RFC 6275 §11.4.3, RFC 4862 §5.5.3), and forms a home
// address under each new one.
func (h *HomeLink) learnPrefixes(now time.Time, options []mip6.PrefixInformation) {
	for _, o := range options {
		p := h.learnPrefix(now, o)
		if p == nil || p.deprecated || !o.Autonomous {
			continue
		}
		h.formAddress(now, p)
	}
}

// learnPrefix takes in one option; nil: it is not acceptable, or ended a prefix.
func (h *HomeLink) learnPrefix(now time.Time, o mip6.PrefixInformation) *prefix {
	name := o.Prefix.Masked()
	if !mip6.Routable(name.Addr()) || o.PreferredLifetime > o.ValidLifetime {
		return nil
	}
	p := h.findPrefix(name)
	if p == nil {
		// The home prefix always finds a place.
		if o.ValidLifetime == 0 || len(h.prefixes) >= maxPrefixes && name != h.config.HomePrefix.Masked() {
			return nil
		}
		p = &prefix{prefix: name}
		h.prefixes = append(h.prefixes, p)
	} else if !p.expired {
		o.ValidLifetime = nd.ValidLifetime(deadline.Remaining(now, p.validUntil), o.ValidLifetime)
	}
	p.preferredUntil, p.validUntil = deadline.Of(now, o.PreferredLifetime), deadline.Of(now, o.ValidLifetime)
	was := p.deprecated
	p.deprecated, p.expired = o.PreferredLifetime == 0, o.ValidLifetime == 0
	if p.deprecated && !was {
		h.deprecated(now, p)
	}
	return p
}

// formAddress tells of a home address under a prefix that is not the home
// prefix: once, until the prefix is deprecated or expires.
func (h *HomeLink) formAddress(now time.Time, p *prefix) {
	home := h.config.HomePrefix
	if p.formed || p.prefix == home.Masked() || p.prefix.Bits() != 64 || home.Bits() != 64 {
		return
	}
	p.formed = true
	a, identifier := p.prefix.Addr().As16(), h.config.HomeAddress.As16()
	copy(a[8:], identifier[8:])
	to := netip.PrefixFrom(netip.AddrFrom16(a), 64)
	h.log(slog.LevelInfo, "home link has another prefix, a home address is formed", slog.String("address", to.String()))
	h.act(role.HomeAddressFormed{From: h.config.HomeAddress, To: to, Valid: deadline.Remaining(now, p.validUntil)})
}

// deprecated notes that a prefix is not to be used for anything new.
func (h *HomeLink) deprecated(now time.Time, p *prefix) {
	p.formed = false
	if p.prefix == h.config.HomePrefix.Masked() {
		h.log(slog.LevelWarn, "the home prefix is deprecated", slog.Duration("valid_for", deadline.Remaining(now, p.validUntil)))
	}
}

// prefixesDue notes what has ended. An expired home prefix is kept, so that no
// binding is made to outlive it.
func (h *HomeLink) prefixesDue(now time.Time) {
	for _, p := range h.prefixes {
		if !p.deprecated && (deadline.Due(now, p.preferredUntil) || deadline.Due(now, p.validUntil)) {
			p.deprecated = true
			h.deprecated(now, p)
		}
		if !p.expired && deadline.Due(now, p.validUntil) {
			p.expired = true
			if p.prefix == h.config.HomePrefix.Masked() {
				h.log(slog.LevelError, "the home prefix has expired: the home address is not valid any more")
			}
		}
	}
	h.prefixes = slices.DeleteFunc(h.prefixes, func(p *prefix) bool {
		return p.expired && p.prefix != h.config.HomePrefix.Masked()
	})
}

// routerHeard learns from an advertisement on the home link: home agents
// (RFC 6275 §10.5.1), and the lifetimes of prefixes. Home addresses are not
// formed from it: at home whoever configures the link does that.
func (h *HomeLink) routerHeard(now time.Time, e role.RouterHeard) {
	for _, o := range e.RA.Prefixes {
		if o.Prefix.Masked() == h.config.HomePrefix.Masked() {
			h.learnPrefix(now, o)
		}
	}
	if h.config.Discover {
		h.agentHeard(now, e)
	}
}
