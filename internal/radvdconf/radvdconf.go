// Package radvdconf reads the configuration of radvd, the router advertisement
// daemon of Linux, and translates it into roam6's.
//
// Parse takes the grammar of radvd 2.19 and what 2.20 added to it. It takes a
// little more than radvd does, where that can only mean one thing: keywords in
// any case, CRLF line ends, a block without options after every head.
// Translate says what became of everything that roam6 does not have, or has
// with another meaning.
//
// The grammar in short, each statement ended by a semicolon:
//
//	interface NAME {
//	    OPTION VALUE;
//	    prefix ADDRESS/LENGTH { OPTION VALUE; … };
//	    route ADDRESS/LENGTH { … };
//	    RDNSS ADDRESS… { … };
//	    DNSSL DOMAIN… { … };
//	    clients { ADDRESS; … };
//	    AdvRASrcAddress { ADDRESS; … };
//	    abro ADDRESS { … };
//	    lowpanco { … };
//	    nat64prefix ADDRESS/LENGTH { … };
//	    autoignoreprefixes { ADDRESS/LENGTH; … };
//	};
//
// A comment is from # to the end of the line, where # begins a word.
package radvdconf

import (
	"net/netip"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// MaxSize is the longest file that Parse takes, in octets.
const MaxSize = 1 << 20

// Infinity is the lifetime that never ends, in seconds: all ones on the wire.
const Infinity = 0xffffffff

// File is a configuration.
type File struct {
	Interfaces []Interface
	// Repeated are options that are given again later in the same block, where
	// the last one counts.
	Repeated []Repeated
}

// Repeated is an option without effect, because it is given again.
type Repeated struct {
	Option   string
	Position uci.Position // of the one without effect
}

// Setting is the value of an option, if it is given.
type Setting[T any] struct {
	Given    bool
	Value    T
	Position uci.Position // of the option's name
}

// or returns the value, or another where none is given.
func (s Setting[T]) or(other T) T {
	if s.Given {
		return s.Value
	}
	return other
}

// Given makes the setting of something that comes from no file.
func Given[T any](v T) Setting[T] { return Setting[T]{Given: true, Value: v} }

// Interface is what is advertised on one interface. Lifetimes are in seconds
// here and below, where nothing else is said; Infinity where the grammar has
// the word for it.
type Interface struct {
	Name     string
	Position uci.Position // of the name

	IgnoreIfMissing, AdvSendAdvert                         Setting[bool]
	UnicastOnly, AdvRASolicitedUnicast                     Setting[bool]
	UnrestrictedUnicast                                    Setting[bool] // from 2.20
	MaxRtrAdvInterval, MinRtrAdvInterval                   Setting[time.Duration]
	MinDelayBetweenRAs                                     Setting[time.Duration]
	AdvManagedFlag, AdvOtherConfigFlag, AdvSourceLLAddress Setting[bool]
	AdvLinkMTU, AdvRAMTU                                   Setting[uint32]
	AdvReachableTime, AdvRetransTimer                      Setting[uint32] // milliseconds
	AdvCurHopLimit, AdvDefaultLifetime                     Setting[uint32]
	AdvDefaultPreference                                   Setting[int] // -1 low, 0 medium, 1 high
	RemoveAdvOnExit                                        Setting[bool]
	AdvCaptivePortalAPI                                    Setting[string]

	AdvHomeAgentFlag, AdvHomeAgentInfo, AdvIntervalOpt, AdvMobRtrSupportFlag Setting[bool]
	HomeAgentLifetime                                                        Setting[uint32]
	// HomeAgentPreference is as in the file, the signed 16 bits of the option
	// taken as a number without sign.
	HomeAgentPreference Setting[uint32]

	Prefixes           []Prefix
	Routes             []Route
	RDNSS              []RDNSS
	DNSSL              []DNSSL
	Clients            []Address
	RASrcAddresses     []Address
	ABRO               []ABRO
	LowpanContexts     []LowpanContext
	NAT64Prefixes      []NAT64Prefix
	AutoIgnorePrefixes []Ignored
}

// Head is the beginning of a block.
type Head struct {
	Position uci.Position // of its keyword
	// Interval is the MaxRtrAdvInterval in force where the block begins, from
	// which radvd computes its default lifetime: one that comes later in the file
	// does not count.
	Interval time.Duration
}

// Prefix is a prefix to advertise.
type Prefix struct {
	Head
	// Prefix has the host bits of the file. The address :: stands for the prefixes
	// that the interface has.
	Prefix netip.Prefix

	AdvOnLink, AdvAutonomous, AdvRouterAddr Setting[bool]
	AdvDHCPv6PDPreferred                    Setting[bool] // from 2.20
	AdvValidLifetime, AdvPreferredLifetime  Setting[uint32]
	DeprecatePrefix, DecrementLifetimes     Setting[bool]
	Base6Interface, Base6to4Interface       Setting[string]
}

// Route is a more specific route (RFC 4191).
type Route struct {
	Head
	Prefix             netip.Prefix // with the host bits of the file
	AdvRouteLifetime   Setting[uint32]
	AdvRoutePreference Setting[int] // as AdvDefaultPreference
	RemoveRoute        Setting[bool]
}

// RDNSS are DNS servers (RFC 8106 §5.1).
type RDNSS struct {
	Head
	Servers          []netip.Addr
	AdvRDNSSLifetime Setting[uint32]
	FlushRDNSS       Setting[bool]
	// Of a draft of the option; radvd does not use them any more.
	AdvRDNSSPreference Setting[uint32]
	AdvRDNSSOpen       Setting[bool]
}

// DNSSL is a DNS search list (RFC 8106 §5.2).
type DNSSL struct {
	Head
	Suffixes         []string
	AdvDNSSLLifetime Setting[uint32]
	FlushDNSSL       Setting[bool]
}

// Address is an address of a list.
type Address struct {
	Position uci.Position
	Address  netip.Addr
	// Not is a client that is left out (from 2.20).
	Not bool
}

// ABRO is an authoritative border router (RFC 6775 §4.3).
type ABRO struct {
	Head
	Address netip.Addr
	// OldLength: the address has a prefix length, which means nothing.
	OldLength                     bool
	AdvVersionLow, AdvVersionHigh Setting[uint32]
	AdvValidLifetime              Setting[uint32] // minutes
}

// LowpanContext is a 6LoWPAN context (RFC 6775 §4.2).
type LowpanContext struct {
	Head
	// Prefix is invalid in what Parse returns: radvd's grammar has none, and sends
	// zeroes.
	Prefix                    netip.Prefix
	AdvContextLength          Setting[uint32]
	AdvContextCompressionFlag Setting[bool]
	AdvContextID              Setting[uint32]
	AdvLifeTime               Setting[uint32] // minutes
}

// NAT64Prefix is a PREF64 (RFC 8781; from 2.20).
type NAT64Prefix struct {
	Head
	Prefix           netip.Prefix // with the host bits of the file
	AdvValidLifetime Setting[uint32]
}

// Ignored is a prefix that :: does not stand for (from 2.20).
type Ignored struct {
	Position uci.Position
	Prefix   netip.Prefix
}

// Error is a place where a file breaks the grammar.
type Error = translation.Error
