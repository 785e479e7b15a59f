package nd

import (
	"net/netip"
	"time"
)

// The options of a router advertisement that tell hosts something beside
// prefixes. Lifetimes are whole seconds; mip6.InfiniteLifetime is for ever where
// the field has 32 bits, and zero withdraws what was told before.

// RouteInformation is a Route Information option (RFC 4191 §2.3).
type RouteInformation struct {
	Prefix     netip.Prefix // masked
	Preference Preference
	Lifetime   time.Duration
}

// RecursiveDNS is a Recursive DNS Server option (RFC 8106 §5.1).
type RecursiveDNS struct {
	Servers  []netip.Addr // at least one, at most 127
	Lifetime time.Duration
}

// DNSSearch is a DNS Search List option (RFC 8106 §5.2).
type DNSSearch struct {
	Domains  []string // without the final dot; at least one
	Lifetime time.Duration
}

// NAT64Prefix is a PREF64 option (RFC 8781 §4).
type NAT64Prefix struct {
	Prefix netip.Prefix // masked, of 32, 40, 48, 56, 64 or 96 bits
	// Lifetime is a multiple of 8 seconds, at most 65528 seconds.
	Lifetime time.Duration
}

// BorderRouter is an Authoritative Border Router option (RFC 6775 §4.3).
type BorderRouter struct {
	Version uint32
	// ValidLifetime is whole minutes, at most 65535; zero stands for 10000 minutes.
	ValidLifetime time.Duration
	Router        netip.Addr
}

// Context is a 6LoWPAN Context option (RFC 6775 §4.2).
type Context struct {
	Prefix      netip.Prefix // masked
	ID          uint8        // 0 to 15
	Compression bool
	// ValidLifetime is whole minutes, at most 65535.
	ValidLifetime time.Duration
}
