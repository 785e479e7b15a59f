package delegating

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
)

// Config is what an administrator decides for one home agent.
type Config struct {
	// Name is the home agent's, for the log and the name of what is saved.
	Name string
	// Address is the home agent's own: mobile routers that are away send to it,
	// and what is relayed to Server is sent from it.
	Address netip.Addr
	// DUID identifies the server (RFC 8415 §11): stable across restarts. Not
	// needed with Server.
	DUID []byte
	// Pools are what delegated prefixes of Length (at most 64) are taken from: the
	// first as long as it has any. Preferred and Valid are their lifetimes, whole
	// seconds; mip6.InfiniteLifetime is for ever.
	Pools            []netip.Prefix
	Length           int
	Preferred, Valid time.Duration
	// Server, when valid, gets everything relayed, and there are no Pools.
	Server netip.Addr
	// Mobiles are whom it serves. Nobody else is answered.
	Mobiles []Mobile
	// Random fills a slice with octets that nobody can guess. Not used: nothing
	// that a server sends has to be unguessable.
	Random func([]byte)
}

// Mobile is a mobile router that may have prefixes.
type Mobile struct {
	Name        string
	HomeAddress netip.Addr
	// Formed are further home addresses of it, such as it forms when its home link
	// is renumbered: what comes from one of them is from it, too, as far as the
	// address is nobody's HomeAddress.
	Formed []netip.Addr
	// DUID, when not empty, tells which client it is at home, where messages do not
	// come from the home address. Otherwise that is learned while it is away, or
	// told by the interface identifier of its link-local address.
	DUID []byte
}

// longest is the longest prefix that is delegated from a pool: a network needs 64
// bits for the addresses of its nodes (RFC 4291 §2.5.4).
const longest = 64

// The length of a DUID (RFC 8415 §11.1): its type has two octets, the rest up to
// 128.
const minDUID, maxDUID = 2 + 1, 2 + 128

func validDUID(duid []byte) bool { return len(duid) >= minDUID && len(duid) <= maxDUID }

// Validate tells everything that is wrong with the configuration, joined in one
// error. New and Reconfigure expect a valid one.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !mip6.Routable(c.Address) {
		wrong("home agent address %v is not a routable unicast IPv6 address", c.Address)
	}
	switch {
	case c.Server.IsValid() && len(c.Pools) > 0:
		wrong("there are pools and a server to relay to: prefixes come from one or the other")
	case c.Server.IsValid() && (!mip6.Routable(c.Server) || c.Server == c.Address):
		wrong("server %v is not the address of another node", c.Server)
	case !c.Server.IsValid():
		errs = append(errs, c.validatePools()...)
	}
	homes, duids := make(map[netip.Addr]string), make(map[string]string)
	for _, m := range c.Mobiles {
		if !mip6.Routable(m.HomeAddress) || m.HomeAddress == c.Address {
			wrong("mobile %q: home address %v is not a routable address of its own", m.Name, m.HomeAddress)
		}
		if other, taken := homes[m.HomeAddress]; taken {
			wrong("mobiles %q and %q have the same home address %v", other, m.Name, m.HomeAddress)
		}
		homes[m.HomeAddress] = m.Name
		if len(m.DUID) == 0 {
			continue
		}
		if !validDUID(m.DUID) {
			wrong("mobile %q: a DUID of %d octets is not between %d and %d", m.Name, len(m.DUID), minDUID, maxDUID)
		}
		if other, taken := duids[string(m.DUID)]; taken {
			wrong("mobiles %q and %q have the same DUID %x", other, m.Name, m.DUID)
		}
		duids[string(m.DUID)] = m.Name
	}
	return errors.Join(errs...)
}

func (c Config) validatePools() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Pools) == 0 {
		wrong("there is neither a pool nor a server to relay to")
	}
	if !validDUID(c.DUID) {
		wrong("the server's DUID of %d octets is not between %d and %d", len(c.DUID), minDUID, maxDUID)
	}
	if c.Length < 1 || c.Length > longest {
		wrong("length %d of delegated prefixes is not between 1 and %d", c.Length, longest)
	}
	if c.Valid < time.Second || c.Valid > mip6.InfiniteLifetime || c.Preferred < time.Second || c.Preferred > c.Valid ||
		c.Valid%time.Second != 0 || c.Preferred%time.Second != 0 {
		wrong("lifetimes: preferred %v, valid %v are not whole seconds of which the first is not longer", c.Preferred, c.Valid)
	}
	for i, p := range c.Pools {
		if !routable(p) {
			wrong("pool %v is not a prefix of routable IPv6 addresses", p)
			continue
		}
		if p.Bits() > c.Length {
			wrong("pool %v has no prefix of length %d", p, c.Length)
		}
		if p.Contains(c.Address) {
			wrong("pool %v contains the home agent's address %v", p, c.Address)
		}
		for _, m := range c.Mobiles {
			if p.Contains(m.HomeAddress) {
				wrong("pool %v contains the home address %v of mobile %q", p, m.HomeAddress, m.Name)
			}
		}
		for _, q := range c.Pools[:i] {
			if p.Overlaps(q) {
				wrong("pools %v and %v have addresses in common", q, p)
			}
		}
	}
	return errs
}

// routable reports whether all addresses of a prefix can be a node's, as far as the
// first and the last tell.
func routable(p netip.Prefix) bool {
	if !p.IsValid() || !p.Addr().Is6() || p.Bits() == 0 {
		return false
	}
	last := p.Addr().As16()
	for bit := p.Bits(); bit < 128; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return mip6.Routable(p.Masked().Addr()) && mip6.Routable(netip.AddrFrom16(last))
}

// relays reports whether prefixes come from a server elsewhere.
func (c Config) relays() bool { return c.Server.IsValid() }

// owns reports whether a prefix is inside a pool.
func (c Config) owns(p netip.Prefix) bool {
	return slices.ContainsFunc(c.Pools, func(pool netip.Prefix) bool {
		return pool.Bits() <= p.Bits() && pool.Contains(p.Addr())
	})
}

// permits reports whether a prefix may be delegated from the pools.
func (c Config) permits(p netip.Prefix) bool {
	return p.Bits() >= c.Length && p.Bits() <= longest && c.owns(p)
}

// capacity is how many prefixes the pools have.
func (c Config) capacity() (n uint64) {
	for _, p := range c.Pools {
		one := uint64(1) << min(c.Length-p.Bits(), 63)
		if n > math.MaxUint64-one {
			return math.MaxUint64
		}
		n += one
	}
	return n
}
