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
	// there, and nothing is probed or defended.
	HomeLink string
	// Address is the home agent's own address, to which binding updates go.
	Address netip.Addr
	// Prefix is the home prefix, in which the home addresses are.
	Prefix netip.Prefix
	// PrefixPreferredUntil and PrefixValidUntil are the ends of the home prefix's
	// lifetimes; the zero time is no end.
	PrefixPreferredUntil, PrefixValidUntil time.Time
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
	// mobiles.
	MaxBindings int
	// Mobiles are all that may register. Nobody else is answered.
	Mobiles []Mobile
}

// Mobile is a mobile node or router that may register.
type Mobile struct {
	Name        string
	HomeAddress netip.Addr
	// SA authenticates its messages (RFC 4285). It may be nil only with Insecure.
	SA *mip6.SecurityAssociation
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
}

// Defaults of a Config.
const (
	defaultRetransTimer           = time.Second     // RFC 4861 §10, RETRANS_TIMER
	defaultDupAddrDetectTransmits = 1               // RFC 4862 §5.1
	defaultReplayWindow           = 7 * time.Second // RFC 4285 §6
	minReplayWindow               = 3 * time.Second // RFC 4285 §6
)

func (c Config) withDefaults() Config {
	c.MaxLifetime = cmp.Or(c.MaxLifetime, mip6.MaxLifetime.Duration())
	c.RetransTimer = cmp.Or(c.RetransTimer, defaultRetransTimer)
	c.DupAddrDetectTransmits = cmp.Or(c.DupAddrDetectTransmits, defaultDupAddrDetectTransmits)
	c.ReplayWindow = cmp.Or(c.ReplayWindow, defaultReplayWindow)
	c.Prefix = c.Prefix.Masked()
	return c
}

// Validate tells everything that is wrong with the configuration, joined in one
// error. New and Reconfigure expect a valid one.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !routable(c.Address) {
		wrong("home agent address %v is not a routable unicast IPv6 address", c.Address)
	}
	if !c.Prefix.IsValid() || !c.Prefix.Addr().Is6() || c.Prefix.Bits() == 0 {
		wrong("home prefix %v is not an IPv6 prefix", c.Prefix)
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
	return errors.Join(append(errs, overlaps(c.Mobiles)...)...)
}

func (m Mobile) validate(c Config) (errs []error) {
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("mobile %q: "+format, append([]any{m.Name}, args...)...))
	}
	if !routable(m.HomeAddress) || !c.Prefix.Contains(m.HomeAddress) {
		wrong("home address %v is not in the home prefix %v", m.HomeAddress, c.Prefix)
	}
	if m.HomeAddress == c.Address {
		wrong("home address %v is the home agent's own", m.HomeAddress)
	}
	if m.SA == nil && !m.Insecure {
		wrong("no key: its binding updates would never be accepted")
	}
	if len(m.Prefixes) > 0 && !m.Router {
		wrong("has mobile network prefixes but is not a mobile router")
	}
	for _, p := range m.Prefixes {
		if !networkPrefix(p, c.Address) {
			wrong("%v cannot be a mobile network prefix", p)
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

// routable reports whether an address may be a home or care-of address: a
// unicast routable IPv6 address (RFC 6275 §6.1.7, §9.3.1), unique local ones
// included (§4.6).
func routable(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && a.IsGlobalUnicast()
}

// networkPrefix reports whether p can be a mobile network prefix: of routable
// addresses, and not one that would draw the home agent's own packets into a
// tunnel.
func networkPrefix(p netip.Prefix, agent netip.Addr) bool {
	return p.IsValid() && p.Bits() > 0 && routable(p.Masked().Addr()) && !p.Contains(agent)
}
