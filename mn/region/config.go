// Package region is what a mobile node knows of mobility anchor points
// (RFC 5380): which ones the access routers advertise, which of them to use, and
// the regional care-of address at each. It is pure and sends nothing; package mn
// registers with the one that is chosen.
package region

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roam6/mip6"
)

// Selection is how a mobile chooses among several anchors. One that serves is left
// only for one that is chosen before it and has a higher preference: distances differ
// from access router to access router, and each change costs updates to the home agent
// and all correspondents (RFC 5380 §9.1).
type Selection uint8

// Selections.
const (
	Preferred Selection = iota // the highest preference, then the furthest (§7.1)
	Furthest                   // the furthest, then the highest preference (§9.1)
	Nearest                    // the nearest, then the highest preference
)

// Key authenticates local binding updates to anchors: by RFC 4285, IPsec, or both.
type Key struct {
	// Anchors are the addresses that have the key; of several keys the one with the
	// longest prefix counts.
	Anchors netip.Prefix
	// SA authenticates by RFC 4285; nil: it does not.
	SA *mip6.SecurityAssociation
	// ESP is the inbound SPI of the association for IPsec (RFC 5380 §12.1), without which
	// nothing goes to these anchors and nothing is taken from them; zero: there is none.
	ESP uint32
	// Seed stands for the keys of that association in Config.Seed, and is made of them;
	// zero with SA, of whose key it is made then.
	Seed uint64
}

// Config is what the administrator decides about hierarchical mobility.
type Config struct {
	// Enabled: use the anchors that access routers advertise.
	Enabled   bool
	Selection Selection
	Keys      []Key
	// Insecure uses anchors without a key, too; anybody may then redirect what is
	// sent to the regional care-of address (RFC 5380 §12).
	Insecure bool
	// Lifetime is asked for in local registrations; zero: that of home
	// registrations.
	Lifetime time.Duration
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Selection > Nearest {
		errs = append(errs, fmt.Errorf("unknown selection %d of mobility anchor points", c.Selection))
	}
	for _, k := range c.Keys {
		if !k.Anchors.IsValid() || !k.Anchors.Addr().Is6() {
			errs = append(errs, fmt.Errorf("key for mobility anchor points %v, which is not an IPv6 prefix", k.Anchors))
		}
		if k.SA == nil && k.ESP == 0 {
			errs = append(errs, fmt.Errorf("key for mobility anchor points %v has no security association", k.Anchors))
		}
	}
	if c.Lifetime < 0 || c.Lifetime > 0 && c.Lifetime < LeastGrant {
		errs = append(errs, fmt.Errorf("lifetime %v of local registrations is shorter than %v", c.Lifetime, LeastGrant))
	}
	return errors.Join(errs...)
}

// LeastGrant is the shortest lifetime of a local registration that is of use: home
// registrations may not be longer (RFC 5380 §6.1), and have to be renewed within it.
const LeastGrant = 5 * mip6.LifetimeUnit

// KeyOf is the key for an anchor; ok is false where there is none.
func (c Config) KeyOf(anchor netip.Addr) (best Key, ok bool) {
	for _, k := range c.Keys {
		if k.Anchors.Contains(anchor) && (!ok || k.Anchors.Bits() > best.Anchors.Bits()) {
			best, ok = k, true
		}
	}
	return best, ok
}

// permits reports whether an anchor may be used as far as keys go.
func (c Config) permits(anchor netip.Addr) bool {
	_, ok := c.KeyOf(anchor)
	return ok || c.Insecure
}

// Seed is what the regional care-of addresses at an anchor are made of beside what others
// know (RFC 7217 §5): the key, so that a node that starts anew has the address that it
// had, and with it the binding. otherwise is taken where there is no key.
func (c Config) Seed(anchor netip.Addr, otherwise uint64) uint64 {
	k, ok := c.KeyOf(anchor)
	switch {
	case !ok:
		return otherwise
	case k.Seed == 0 && k.SA != nil:
		return SeedOf(k.SA.Key[:])
	default:
		return k.Seed
	}
}

// SeedOf is the seed that a key makes. Nobody learns the key from it.
func SeedOf(key []byte) uint64 {
	s := sha256.New()
	s.Write([]byte("seed of regional care-of addresses"))
	s.Write(key)
	return binary.BigEndian.Uint64(s.Sum(nil))
}
