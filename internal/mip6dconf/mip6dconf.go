// Package mip6dconf reads the configuration of mip6d, the Mobile IPv6 and NEMO
// daemon of UMIP, and translates it into roam6's.
//
// Parse takes the grammar of UMIP 0.4 and 1.0 with the options of its
// development since. It takes a little more than mip6d does, where that can
// only mean one thing: CRLF line ends, whole numbers for decimals, and the
// definitions of the Proxy Mobile IPv6 that OpenAirInterface made of UMIP, which
// are passed over. Translate says what became of everything that roam6 does not
// have, or has with another meaning; Keywords lists all of it.
//
// The grammar in short, each statement ended by a semicolon, but not a block:
//
//	include "PATTERN"        without a semicolon
//	NodeConfig CN | HA | MN;
//	OPTION VALUE;
//	Interface "NAME" { IfType …; MnIfPreference NUMBER; Tunnel BOOLEAN; }
//	MnHomeLink "NAME" {
//	    HomeAddress ADDRESS/LENGTH (ADDRESS/LENGTH, …);
//	    HomeAgentAddress ADDRESS;
//	    HomePrefix ADDRESS/LENGTH;
//	    MnRoPolicy ADDRESS BOOLEAN;
//	    IsMobRtr BOOLEAN; UseAltCoa BOOLEAN;
//	}
//	BindingAclPolicy ADDRESS (ADDRESS/LENGTH, …) BOOLEAN | NUMBER;
//	CnBindingPolicySet { ADDRESS ADDRESS BOOLEAN; … }
//	IPsecPolicySet {
//	    HomeAgentAddress ADDRESS;
//	    HomeAddress ADDRESS/LENGTH; …
//	    IPsecPolicy TYPE UseESP NUMBER NUMBER BOOLEAN; …
//	}
//
// What is in parentheses, and the first address of MnRoPolicy, may be missing. A
// comment is from # to the end of the line, wherever # stands outside of quotes.
package mip6dconf

import (
	"net/netip"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// Bounds of what Parse takes.
const (
	MaxSize     = 1 << 20 // octets, of all files together
	MaxDepth    = 5       // files that include one another, as in mip6d
	MaxIncluded = 200     // files
)

// Source is a file.
type Source struct {
	Name string // for positions
	Text []byte
}

// File is a configuration with what it includes.
type File struct {
	NodeConfig Setting[Entity]

	DebugLevel              Setting[uint32]
	DebugLogFile            Setting[string]
	NonVolatileBindingCache Setting[bool]
	UseMovementModule       Setting[string] // empty: internal
	UsePolicyModule         Setting[string]

	UseMnHaIPsec, KeyMngMobCapability, TunnelPayloadForceSANego Setting[bool]

	SendMobPfxSols, SendMobPfxAdvs, SendUnsolMobPfxAdvs Setting[bool]
	MinMobPfxAdvInterval, MaxMobPfxAdvInterval          Setting[uint32] // seconds

	HaMaxBindingLife, MnMaxHaBindingLife, MnMaxCnBindingLife Setting[uint32] // seconds
	HaAcceptMobRtr                                           Setting[bool]
	DefaultBindingAclPolicy                                  Setting[Verdict]

	DoRouteOptimizationCN, DoRouteOptimizationMN, UseCnBuAck Setting[bool]
	MobRtrUseExplicitMode, MnUseAllInterfaces                Setting[bool]
	MnDiscardHaParamProb, MnResetDhaadAtHome                 Setting[bool]
	MnFlushAllAtHome, OptimisticHandoff, NoHomeReturn        Setting[bool]
	MnMaxHaConsecutiveResends, MnMaxCnConsecutiveResends     Setting[uint32]
	MnRouterProbes                                           Setting[uint32]
	MnRouterProbeTimeout, InterfaceInitialInitDelay          Setting[time.Duration]
	InitialBindackTimeoutFirstReg, InitialBindackTimeoutReReg,
	InitialSolicitTimer Setting[time.Duration]

	Interfaces      []Interface
	HomeLinks       []HomeLink
	ServedPrefixes  []Prefix
	BindingACL      []Binding
	PeerPolicies    []PeerPolicy
	IPsecPolicySets []IPsecPolicySet
	Proxy           []Proxy
	NotFound        []Setting[string] // patterns of include that no file fits
	// Repeated are options that are given again later, where the last one counts.
	Repeated []Repeated
	// Given are all options outside of blocks, in the order of the file.
	Given []Given
}

// Repeated is an option without effect, because it is given again.
type Repeated struct {
	Option   string
	Position uci.Position // of the one without effect
}

// Given is an option with its place.
type Given struct {
	Keyword  string
	Position uci.Position
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

// Entity is what a node is.
type Entity uint8

// Entities of NodeConfig and IfType.
const (
	Correspondent Entity = iota // CN, the default
	HomeAgent                   // HA
	Mobile                      // MN
	ProxyAnchor                 // LMA, of Proxy Mobile IPv6
	ProxyGateway                // MAG, of Proxy Mobile IPv6
)

// entities are the words for them.
var entities = [...]string{Correspondent: "CN", HomeAgent: "HA", Mobile: "MN", ProxyAnchor: "LMA", ProxyGateway: "MAG"}

func (e Entity) String() string { return entities[e] }

// Verdict is the status of binding acknowledgements: below 128 bindings are
// accepted.
type Verdict uint32

// Verdicts of the words.
const (
	Accepted   Verdict = 0
	Prohibited Verdict = 129
)

func (v Verdict) accepts() bool { return v < 128 }

// Interface is an interface that mip6d uses.
type Interface struct {
	Name           string
	Position       uci.Position // of the name
	IfType         Setting[Entity]
	MnIfPreference Setting[uint32] // 1 is the best, 0 not to be used; 10 where none is given
	Tunnel         Setting[bool]
	LinkUpDelay    Setting[uint32] // milliseconds; of Proxy Mobile IPv6
}

// Prefix is an address with a prefix length.
type Prefix struct {
	Position uci.Position
	netip.Prefix
}

// HomeLink is a home address of a mobile.
type HomeLink struct {
	Interface        string
	Position         uci.Position // of the name
	HomeAddress      Setting[netip.Prefix]
	Networks         []Prefix // of a mobile router
	HomeAgentAddress Setting[netip.Addr]
	HomePrefix       Setting[netip.Prefix]
	UseAltCoa        Setting[bool]
	IsMobRtr         Setting[bool]
	RoutePolicies    []RoutePolicy
}

// RoutePolicy says whether a mobile optimises routes.
type RoutePolicy struct {
	Position uci.Position
	Peer     netip.Addr // unspecified: all
	Optimise bool
}

// Binding is a mobile that a home agent serves or refuses.
type Binding struct {
	Position    uci.Position
	HomeAddress netip.Addr
	Networks    []Prefix
	Verdict     Verdict
}

// PeerPolicy is a mobile that a correspondent accepts bindings of, or not.
type PeerPolicy struct {
	Position    uci.Position
	HomeAddress netip.Addr
	Local       netip.Addr // the correspondent's own address; unspecified: any
	Accept      bool
}

// IPsecPolicySet is what IPsec protects between a home agent and mobiles.
type IPsecPolicySet struct {
	Position      uci.Position
	HomeAgent     netip.Addr
	HomeAddresses []Prefix
	Policies      []IPsecPolicy
}

// IPsecPolicy is one kind of packets that IPsec protects.
type IPsecPolicy struct {
	Position  uci.Position
	Type      PolicyType
	ESP       bool // UseESP is among the protocols
	Others    bool // UseAH or UseIPComp
	Allow     bool
	RequestID [2]uint32 // to the home agent, to the mobile; 0: none
}

// PolicyType says which packets a policy is for.
type PolicyType uint8

// Types of policies.
const (
	HomeRegBinding    PolicyType = iota // binding updates and acknowledgements
	MH                                  // all of the Mobility Header
	MobPfxDisc                          // prefix discovery
	TunnelHomeTesting                   // home tests
	TunnelMH                            // all of the Mobility Header in the tunnel
	TunnelPayload                       // all in the tunnel
	ICMP                                // all of ICMPv6
	AnyPolicy                           // all
	numPolicyTypes
)

// policyTypes are the words for them.
var policyTypes = [numPolicyTypes]string{
	HomeRegBinding: "HomeRegBinding", MH: "Mh", MobPfxDisc: "MobPfxDisc", TunnelHomeTesting: "TunnelHomeTesting",
	TunnelMH: "TunnelMh", TunnelPayload: "TunnelPayload", ICMP: "ICMP", AnyPolicy: "any",
}

func (t PolicyType) String() string { return policyTypes[t] }

// Proxy is a definition of Proxy Mobile IPv6.
type Proxy struct {
	Keyword  string
	Position uci.Position
}

// Error is a place where a file breaks the grammar.
type Error = translation.Error
