package ha

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
)

// Config is what an administrator tells a home agent. Zero values of the
// durations and counts stand for their defaults.
type Config struct {
	// Name is the section's name, for the log.
	Name string
	// HomeLink is the interface of the home link. Without one the home network is
	// virtual (RFC 4887 §7): the home prefix is routed to this node, nobody lives
	// there, and nothing is probed or defended, nor an anycast address joined.
	HomeLink string
	// Address is the home agent's own address, to which binding updates go.
	Address netip.Addr
	// Prefix is the home prefix, in which the home addresses are.
	Prefix netip.Prefix
	// PrefixPreferredUntil and PrefixValidUntil are the ends of the home prefix's
	// lifetimes; the zero time is no end.
	PrefixPreferredUntil, PrefixValidUntil time.Time
	// OtherPrefixes are further prefixes of the home link, at most 15: old ones
	// that are to end, or new ones. A mobile may register the address with its
	// interface identifier under any home prefix, several at once too. No two home
	// prefixes overlap.
	OtherPrefixes []HomePrefix
	// Preference is this home agent's among those of its home link; higher is
	// preferred (RFC 6275 §7.4). Lifetime is that of its entry in the home agents
	// list, 1 s to 65535 s, default 30 min: the entry lasts as long as the home
	// agent runs, so this is only shown.
	Preference int16
	Lifetime   time.Duration
	// MobileRouters tells mobile routers that look for a home agent that this one
	// serves them (RFC 3963 §7).
	MobileRouters bool
	// NoPrefixAdvertisements keeps home prefixes from mobiles that are away: no
	// mobile prefix advertisement is sent, solicited or not (RFC 6275 §8.4).
	NoPrefixAdvertisements bool
	// MinMobPfxAdvInterval and MaxMobPfxAdvInterval bound the random delay of
	// unsolicited mobile prefix advertisements, defaults 600 s and 86400 s
	// (RFC 6275 §13).
	MinMobPfxAdvInterval, MaxMobPfxAdvInterval time.Duration
	// Random fills a slice with octets that nobody can guess: the order of home
	// agents of the same preference, delays. Nil: nothing is random.
	Random func([]byte)
	// MaxLifetime limits the lifetime of bindings. Default: 262140 s, the
	// longest there is.
	MaxLifetime time.Duration
	// DAD performs duplicate address detection on the home link before a home
	// address is first registered (RFC 6275 §10.3.1).
	DAD bool
	// RetransTimer is the time a solicitation waits for an answer, default 1 s
	// (RFC 4861 §10); DupAddrDetectTransmits is their number, default 1
	// (RFC 4862 §5.1).
	RetransTimer           time.Duration
	DupAddrDetectTransmits int
	// ReplayWindow is how far a timestamp may be from the time of day, default
	// 7 s (RFC 4285 §6).
	ReplayWindow time.Duration
	// MaxBindings limits the number of bindings; zero leaves it to the number of
	// mobiles and home prefixes.
	MaxBindings int
	// Mobiles are all that may register. Nobody else is answered.
	Mobiles []Mobile
}

// Mobile is a mobile node or router that may register.
type Mobile struct {
	Name string
	// HomeAddress is its home address under one of the home prefixes; under the
	// others it has the one with the same interface identifier.
	HomeAddress netip.Addr
	// SA authenticates its messages (RFC 4285). It may be nil only with ESP or
	// Insecure.
	SA *mip6.SecurityAssociation
	// ESP takes its messages only if they came under IPsec (RFC 3776, RFC 4877).
	// With SA, too, both are asked for.
	ESP bool
	// KeyMobility: the associations of ESP were made by IKE, whose end here follows the
	// mobile's care-of address (K bit, RFC 6275 §10.3.1).
	KeyMobility bool
	// Insecure accepts messages without any authentication: whoever can send a
	// packet can then take this mobile's traffic. For laboratories.
	Insecure bool
	// RequireTimestamp refuses messages without a timestamp (RFC 4285 §6), with
	// which an update recorded earlier cannot be replayed even after a restart of
	// the home agent.
	RequireTimestamp bool
	// Disabled answers every registration with "administratively prohibited".
	Disabled bool
	// Router permits registration as a mobile router (RFC 3963).
	Router bool
	// Prefixes are the mobile network prefixes it may register, and those it gets
	// when it names none (implicit mode).
	Prefixes []netip.Prefix
	// Delegate: it may have prefixes by delegation (RFC 6276), which come with
	// role.PrefixesDelegated and count like Prefixes in implicit mode.
	Delegate bool
}

// Defaults of a Config.
const (
	defaultRetransTimer           = time.Second     // RFC 4861 §10, RETRANS_TIMER
	defaultDupAddrDetectTransmits = 1               // RFC 4862 §5.1
	defaultReplayWindow           = 7 * time.Second // RFC 4285 §6
	minReplayWindow               = 3 * time.Second // RFC 4285 §6
	defaultHomeAgentLifetime      = 30 * time.Minute
	maxHomeAgentLifetime          = 65535 * time.Second // RFC 6275 §7.4
	defaultMinMobPfxAdvInterval   = 600 * time.Second   // RFC 6275 §13
	defaultMaxMobPfxAdvInterval   = 86400 * time.Second // RFC 6275 §13
)

func (c Config) withDefaults() Config {
	c.MaxLifetime = cmp.Or(c.MaxLifetime, mip6.MaxLifetime.Duration())
	c.RetransTimer = cmp.Or(c.RetransTimer, defaultRetransTimer)
	c.DupAddrDetectTransmits = cmp.Or(c.DupAddrDetectTransmits, defaultDupAddrDetectTransmits)
	c.ReplayWindow = cmp.Or(c.ReplayWindow, defaultReplayWindow)
	c.Lifetime = cmp.Or(c.Lifetime, defaultHomeAgentLifetime)
	c.MinMobPfxAdvInterval = cmp.Or(c.MinMobPfxAdvInterval, defaultMinMobPfxAdvInterval)
	c.MaxMobPfxAdvInterval = cmp.Or(c.MaxMobPfxAdvInterval, defaultMaxMobPfxAdvInterval)
	return c
}

// Validate tells everything that is wrong with the configuration, joined in one
// error. New and Reconfigure expect a valid one.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !mip6.Routable(c.Address) {
		wrong("home agent address %v is not a routable unicast IPv6 address", c.Address)
	}
	errs = append(errs, c.validatePrefixes()...)
	if c.Lifetime != 0 && (c.Lifetime < time.Second || c.Lifetime > maxHomeAgentLifetime) {
		wrong("home agent lifetime %v is not between 1s and %v", c.Lifetime, maxHomeAgentLifetime)
	}
	if c.MinMobPfxAdvInterval < 0 || c.MaxMobPfxAdvInterval < 0 ||
		c.withDefaults().MinMobPfxAdvInterval > c.withDefaults().MaxMobPfxAdvInterval {
		wrong("intervals of mobile prefix advertisements: %v is not between 0 and %v", c.MinMobPfxAdvInterval, c.MaxMobPfxAdvInterval)
	}
	if c.MaxLifetime != 0 && c.MaxLifetime < mip6.LifetimeUnit {
		wrong("longest binding lifetime %v is less than %v", c.MaxLifetime, mip6.LifetimeUnit)
	}
	if c.RetransTimer < 0 || c.DupAddrDetectTransmits < 0 || c.MaxBindings < 0 {
		wrong("retransmission timer, number of probes and number of bindings must not be negative")
	}
	if c.ReplayWindow != 0 && c.ReplayWindow < minReplayWindow {
		wrong("replay window %v is less than %v (RFC 4285 §6)", c.ReplayWindow, minReplayWindow)
	}
	owner := make(map[netip.Addr]string, len(c.Mobiles))
	for _, m := range c.Mobiles {
		errs = append(errs, m.validate(c)...)
		if other, taken := owner[m.HomeAddress]; taken {
			wrong("mobiles %q and %q have the same home address %v", other, m.Name, m.HomeAddress)
		}
		owner[m.HomeAddress] = m.Name
	}
	if len(errs) == 0 {
		errs = c.aggregated()
	}
	return errors.Join(append(errs, overlaps(c.Mobiles)...)...)
}

// validatePrefixes checks the prefixes of the home link.
func (c Config) validatePrefixes() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	prefixes := c.homePrefixes()
	if len(prefixes) > maxHomePrefixes {
		wrong("%d home prefixes are more than %d", len(prefixes), maxHomePrefixes)
	}
	for i, p := range prefixes {
		if !p.Prefix.IsValid() || !p.Prefix.Addr().Is6() || p.Prefix.Bits() == 0 {
			wrong("home prefix %v is not an IPv6 prefix", p.Prefix)
			continue
		}
		for _, q := range prefixes[:i] {
			if p.Prefix.Overlaps(q.Prefix) {
				wrong("home prefixes %v and %v have addresses in common", q.Prefix, p.Prefix)
			}
		}
	}
	return errs
}

func (m Mobile) validate(c Config) (errs []error) {
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("mobile %q: "+format, append([]any{m.Name}, args...)...))
	}
	prefixes := c.homePrefixes()
	i := slices.IndexFunc(prefixes, func(p HomePrefix) bool { return p.Prefix.Contains(m.HomeAddress) })
	switch {
	case !mip6.Routable(m.HomeAddress) || i < 0:
		wrong("home address %v is not in the home prefix %v, nor in another one", m.HomeAddress, c.Prefix)
	case m.HomeAddress == mip6.HomeAgentsAnycast(prefixes[i].Prefix):
		wrong("home address %v is the anycast address of the home agents", m.HomeAddress)
	}
	if m.HomeAddress == c.Address {
		wrong("home address %v is the home agent's own", m.HomeAddress)
	}
	if m.SA == nil && !m.ESP && !m.Insecure {
		wrong("no key: its binding updates would never be accepted")
	}
	if len(m.Prefixes) > 0 && !m.Router {
		wrong("has mobile network prefixes but is not a mobile router")
	}
	if m.Delegate && !m.Router {
		wrong("may have prefixes by delegation but is not a mobile router")
	}
	for _, p := range m.Prefixes {
		if !networkPrefix(p, c.Address) {
			wrong("%v cannot be a mobile network prefix", p)
		}
		for _, home := range prefixes {
			switch {
			case !p.IsValid() || !home.Prefix.IsValid() || !covers(p, home.Prefix):
			case p.Bits() <= home.Prefix.Bits():
				wrong("mobile network prefix %v contains the home prefix %v", p, home.Prefix)
			default:
				wrong("mobile network prefix %v contains an anycast address of the home prefix %v", p, home.Prefix)
			}
		}
	}
	return errs
}

// overlaps finds prefixes of different mobiles that have addresses in common. In
// sorted order a prefix comes right before those inside it.
func overlaps(mobiles []Mobile) (errs []error) {
	type claim struct {
		prefix netip.Prefix
		mobile string
		home   netip.Addr
	}
	var claims []claim
	for _, m := range mobiles {
		for _, p := range m.Prefixes {
			claims = append(claims, claim{p.Masked(), m.Name, m.HomeAddress})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int { return a.prefix.Compare(b.prefix) })
	for i, outer := range claims {
		for _, inner := range claims[i+1:] {
			if !outer.prefix.Overlaps(inner.prefix) {
				break
			}
			if outer.home != inner.home {
				errs = append(errs, fmt.Errorf("mobiles %q and %q both have addresses of %v", outer.mobile, inner.mobile, inner.prefix))
				break
			}
		}
	}
	return errs
}

// networkPrefix reports whether p can be a mobile network prefix: of routable
// addresses, and not one that would draw the home agent's own packets into a
// tunnel.
func networkPrefix(p netip.Prefix, agent netip.Addr) bool {
	return p.IsValid() && p.Bits() > 0 && mip6.Routable(p.Masked().Addr()) && !p.Contains(agent)
}
