package nd

import (
	"net/netip"
	"time"

	"roam6/mip6"
)

// Router is a router that was heard on a link.
type Router struct {
	Addr netip.Addr // link-local, without zone
	// RA is the advertisement heard last. The interval, the link-layer address
	// and the home agent information of an earlier one stay when it lacks
	// them: a router need not send all options each time (RFC 4861 §6.2.3,
	// RFC 6275 §7.2). Its RouterLifetime is zero as soon as that has run out.
	// Its Prefixes are only those it had: see the other Prefixes. So are all options
	// that a router may divide between several advertisements.
	RA RouterAdvertisement
	// Prefixes are those valid now, in the order of their appearance.
	Prefixes []Prefix
	// Since is when the router appeared, Heard when it was heard last.
	Since, Heard time.Time
	// LifetimeEnds is when it ceases to be a default router, unless it is heard
	// again. Zero: it is none now.
	LifetimeEnds time.Time

	alive    time.Time // heard, or known to be there by other means
	patience uint      // doublings of the time it may be silent
	// lost routers are not shown, but remembered while they have a prefix, so
	// that the two-hour rule cannot be got round.
	lost bool
	left time.Time // of a remembered one: when it went
}

// Prefix is a prefix that a router advertised.
type Prefix struct {
	// Info is the option heard last. Its ValidLifetime is the one that holds
	// after the two-hour rule (RFC 4862 §5.5.3), counted from when it was heard;
	// its PreferredLifetime is zero as soon as the prefix is deprecated.
	Info mip6.PrefixInformation
	// PreferredUntil and ValidUntil end the lifetimes; zero is never.
	PreferredUntil, ValidUntil time.Time

	heard  time.Time
	missed int // advertisements in a row that named other prefixes only
}

// RouterAddress returns the router's own address under the prefix, if it told
// one (R bit, RFC 6275 §7.2).
func (p Prefix) RouterAddress() (netip.Addr, bool) {
	return p.Info.Prefix.Addr(), p.Info.RouterAddress
}

// ChangeKind says what changed in a Routers table.
type ChangeKind uint8

// Kinds of changes.
const (
	// RouterAppeared: heard for the first time, or again after it was lost.
	RouterAppeared ChangeKind = iota + 1
	// RouterLost: silent for three of its intervals, its lifetime has run out,
	// or the table was full. Its prefixes are gone with it without a word.
	RouterLost
	// RouterChanged: a flag, the preference, the link-layer address, the home
	// agent information, whether it is a default router, or the flags or the
	// router address of a prefix.
	RouterChanged
	// PrefixAppeared: new, or preferred again.
	PrefixAppeared
	// PrefixDeprecated: not to be used for anything new.
	PrefixDeprecated
	// PrefixExpired: not valid any more.
	PrefixExpired
)

func (k ChangeKind) String() string {
	switch k {
	case RouterAppeared:
		return "router appeared"
	case RouterLost:
		return "router lost"
	case RouterChanged:
		return "router changed"
	case PrefixAppeared:
		return "prefix appeared"
	case PrefixDeprecated:
		return "prefix deprecated"
	case PrefixExpired:
		return "prefix expired"
	default:
		return "unknown"
	}
}

// Change is something that changed in a Routers table.
type Change struct {
	Kind   ChangeKind
	Link   int
	Router netip.Addr
	Prefix netip.Prefix // masked; of the Prefix kinds
}
