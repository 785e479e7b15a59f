package ro

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
)

// Protocol constants of RFC 6275 §12. A run of three tries waits 1, 2 and 4 s,
// so that MAX_BINDACK_TIMEOUT (32 s) is never reached here.
const (
	// InitialBindAckTimeout is INITIAL_BINDACK_TIMEOUT, the first wait for an
	// answer; it doubles with each try (§11.8).
	InitialBindAckTimeout = time.Second
	// MaxTokenLifetime is MAX_TOKEN_LIFETIME: how long a keygen token serves.
	MaxTokenLifetime = 210 * time.Second
	// MaxBindingLifetime is MAX_RR_BINDING_LIFETIME.
	MaxBindingLifetime = 420 * time.Second
	// MaxUpdateRate is MAX_UPDATE_RATE: messages of one type to one
	// correspondent within a second.
	MaxUpdateRate = 3
	// MaxFailures is MAX_RO_FAILURE: tries after which packets go through the
	// home agent again (§5.2.9).
	MaxFailures = 3
)

// DefaultMaxPeers bounds the entries for correspondents where the configuration
// does not.
const DefaultMaxPeers = 128

// IdleAfter is how long a correspondent may be silent before its binding is left
// to run out. Traffic is reported every overlay.TrafficInterval.
const IdleAfter = 60 * time.Second

// Config is what an Optimiser has to know of its mobile node.
type Config struct {
	// Name is the node's name in logs.
	Name string
	// Home is its home address. It cannot be changed: another home address makes
	// another node.
	Home   netip.Addr
	Policy Policy
	// Lifetime is asked of correspondents; zero and more than MaxBindingLifetime
	// mean MaxBindingLifetime.
	Lifetime time.Duration
	// MaxPeers bounds the correspondents that are remembered; zero means
	// DefaultMaxPeers.
	MaxPeers int
	// Random fills a slice with octets that nobody can guess.
	Random func([]byte)
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if !mip6.Routable(c.Home) {
		errs = append(errs, fmt.Errorf("home address %v is not a routable unicast IPv6 address", c.Home))
	}
	if c.Lifetime < 0 || c.Lifetime > 0 && c.Lifetime < 2*mip6.LifetimeUnit {
		errs = append(errs, fmt.Errorf("lifetime %v of bindings at correspondents is shorter than %v", c.Lifetime, 2*mip6.LifetimeUnit))
	}
	if c.MaxPeers < 0 {
		errs = append(errs, fmt.Errorf("%d correspondents at most is less than none", c.MaxPeers))
	}
	if c.Random == nil {
		errs = append(errs, errors.New("no source of random octets"))
	}
	errs = append(errs, c.Policy.Validate())
	return errors.Join(errs...)
}

// complete puts the defaults in.
func (c Config) complete() Config {
	if c.Lifetime == 0 || c.Lifetime > MaxBindingLifetime {
		c.Lifetime = MaxBindingLifetime
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = DefaultMaxPeers
	}
	return c
}

// Attachment is where the mobile node is. The zero value is nowhere.
type Attachment struct {
	// CareOf is the care-of address and Link the interface it is used on; at home
	// CareOf means nothing and Link is the home link.
	CareOf netip.Addr
	Link   int
	AtHome bool
	// Registered: the home agent has acknowledged this care-of address, or at
	// home the de-registration, so that packets to the home address arrive here.
	Registered bool
	// Expires is the end of the home registration, also of one that still has the
	// care-of address before; zero when there is none.
	Expires time.Time
	// ValidUntil is the end of the care-of address itself; zero when it has none.
	ValidUntil time.Time
	// HomeAgent is never a correspondent.
	HomeAgent netip.Addr
	// Local is where the mobile node is on its link when CareOf is a regional care-of
	// address; otherwise the zero value.
	Local Local
}

// MaxOnLink bounds the prefixes of Local.
const MaxOnLink = 4

// Local is an on-link care-of address beside a regional one: correspondents on the same
// link are told the former, so that packets do not go through the mobility anchor point
// (RFC 5380 §6.1).
type Local struct {
	CareOf     netip.Addr
	Link       int
	ValidUntil time.Time // zero: for ever
	// OnLink are prefixes of the link; the rest is invalid.
	OnLink [MaxOnLink]netip.Prefix
}

// of is the attachment as a correspondent is to be told of it.
func (a Attachment) of(peer netip.Addr) Attachment {
	if !a.AtHome && a.near(peer) {
		a.CareOf, a.Link, a.ValidUntil = a.Local.CareOf, a.Local.Link, a.Local.ValidUntil
	}
	return a
}

// near reports whether a correspondent is on the link, beside a regional care-of address.
func (a Attachment) near(peer netip.Addr) bool {
	return a.CareOf.IsValid() && a.Local.CareOf.IsValid() &&
		slices.ContainsFunc(a.Local.OnLink[:], func(p netip.Prefix) bool { return p.Contains(peer) })
}

// has reports whether an address is a care-of address of the mobile node.
func (a Attachment) has(addr netip.Addr) bool { return addr == a.CareOf || addr == a.Local.CareOf }

// physical is the link that the mobile node is on.
func (a Attachment) physical() int {
	if a.Local.CareOf.IsValid() {
		return a.Local.Link
	}
	return a.Link
}

func (a Attachment) nowhere() bool { return !a.AtHome && !a.CareOf.IsValid() }

// away reports whether there is a care-of address to optimise routes to.
func (a Attachment) away() bool { return !a.AtHome && a.CareOf.IsValid() }

// source is the address that updates to correspondents come from.
func (a Attachment) source(home netip.Addr) netip.Addr {
	if a.AtHome {
		return home
	}
	return a.CareOf
}

// samePlace reports whether a and b differ in nothing but the registration.
func (a Attachment) samePlace(b Attachment) bool {
	return a.AtHome == b.AtHome && a.Link == b.Link && (a.AtHome || a.CareOf == b.CareOf)
}
