// Package delegating gives prefixes to mobile routers (RFC 6276): the delegating
// router of DHCPv6 prefix delegation (RFC 8415 §6.3), or a relay to a server
// elsewhere. A pure state machine that a home agent's node hosts beside package ha.
package delegating

import (
	"net/netip"
	"time"
)

// Config is what an administrator decides for one home agent.
type Config struct {
	// Name is the home agent's, for the log.
	Name string
	// Address is the home agent's own: mobile routers that are away send to it.
	Address netip.Addr
	// DUID identifies the server (RFC 8415 §11): stable across restarts.
	DUID []byte
	// Pools are what delegated prefixes of Length are taken from; Preferred and
	// Valid their lifetimes.
	Pools            []netip.Prefix
	Length           int
	Preferred, Valid time.Duration
	// Server, when valid, gets everything relayed, and there are no Pools.
	Server netip.Addr
	// Mobiles are whom it serves. Nobody else is answered.
	Mobiles []Mobile
	// Random fills a slice with octets that nobody can guess.
	Random func([]byte)
}

// Mobile is a mobile router that may have prefixes.
type Mobile struct {
	Name        string
	HomeAddress netip.Addr
	// DUID, when not empty, tells which client it is at home, where messages do not
	// come from the home address. Otherwise that is learned while it is away, or
	// told by the interface identifier of its link-local address.
	DUID []byte
}
