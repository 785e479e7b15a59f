// Package nd is neighbour discovery as Mobile IPv6 needs it, without I/O: its
// messages on the wire, the Advertiser that decides when a router
// advertisement is sent (RFC 4861 §6.2, with the short intervals of RFC 6275
// §7.5), CompareAdvertisements for those of other routers on the link, the Routers
// table that remembers those heard and notices a router's silence, the AnchorRelay of
// the mobility anchor points that they advertise, and the Defender that answers for
// home addresses whose mobile is away. The sockets are in nd/ndconn.
package nd

import (
	"net"
	"net/netip"
	"time"

	"roam6/mip6"
)

// ICMPv6 types of neighbour discovery (RFC 4861 §4).
const (
	TypeRouterSolicitation    = 133
	TypeRouterAdvertisement   = 134
	TypeNeighborSolicitation  = 135
	TypeNeighborAdvertisement = 136
)

// Protocol constants (RFC 4861 §10).
const (
	// HopLimit is what every neighbour discovery packet has, so that none from
	// beyond a router is taken for one.
	HopLimit = 255
	// MaxRADelay is MAX_RA_DELAY_TIME.
	MaxRADelay = 500 * time.Millisecond
	// MaxNeighborAdvertisements is MAX_NEIGHBOR_ADVERTISEMENT.
	MaxNeighborAdvertisements = 3
	// RetransTimer is RETRANS_TIMER, the time between such repetitions.
	RetransTimer = time.Second
)

// AllNodes and AllRouters return the link-local groups (RFC 4291 §2.7.1).
func AllNodes() netip.Addr   { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1}) }
func AllRouters() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 2}) }

// SolicitedNode returns the solicited-node group of a unicast IPv6 address
// (RFC 4291 §2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// Message is one message of neighbour discovery. The set is closed. Append
// appends the ICMPv6 message with a checksum of zero.
type Message interface {
	Append(b []byte) []byte
	isMessage()
}

// Preference is a default router preference (RFC 4191 §2.1).
type Preference int8

// Router preferences; the reserved value is received as PreferenceMedium
// (RFC 4191 §2.2).
const (
	PreferenceLow    Preference = -1
	PreferenceMedium Preference = 0
	PreferenceHigh   Preference = 1
)

func (p Preference) String() string {
	switch p {
	case PreferenceLow:
		return "low"
	case PreferenceMedium:
		return "medium"
	case PreferenceHigh:
		return "high"
	default:
		return "reserved"
	}
}

// RouterAdvertisement is a router advertisement (RFC 4861 §4.2).
type RouterAdvertisement struct {
	CurHopLimit    uint8 // 0: unspecified
	Managed        bool  // M: addresses by DHCPv6
	OtherConfig    bool  // O: other configuration by DHCPv6
	HomeAgent      bool  // H: this router is a home agent (RFC 6275 §7.1)
	Preference     Preference
	RouterLifetime time.Duration // whole seconds, 0: not a default router
	ReachableTime  time.Duration // whole milliseconds, 0: unspecified
	RetransTimer   time.Duration // whole milliseconds, 0: unspecified
	SourceLinkAddr net.HardwareAddr
	MTU            uint32 // 0: no MTU option
	Prefixes       []mip6.PrefixInformation
	Interval       time.Duration // Advertisement Interval option; 0: none
	HomeAgentInfo  *mip6.HomeAgentInformation
	Anchors        []mip6.MobilityAnchorPoint // RFC 5380 §5
	Routes         []RouteInformation         // RFC 4191 §2.3
	DNSServers     []RecursiveDNS             // RFC 8106 §5.1
	DNSSearch      []DNSSearch                // RFC 8106 §5.2
	NAT64          []NAT64Prefix              // RFC 8781 §4
	// CaptivePortal is the URI of the captive portal's API, at most 2038 octets
	// (RFC 8910 §2.3); empty: no option.
	CaptivePortal string
	BorderRouters []BorderRouter // RFC 6775 §4.3
	Contexts      []Context      // RFC 6775 §4.2
	Others        []RawOption    // options not decoded above, in wire order

	// Malformed counts the options that were skipped on receipt because their
	// content is not in order.
	Malformed int
}

// RawOption is a neighbour discovery option as type and content (without the
// two octets of type and length). On the wire the content is padded with
// zeroes to whole units of 8 octets, type and length included.
type RawOption struct {
	Type uint8
	Data []byte
}

// RouterSolicitation is a router solicitation (RFC 4861 §4.1).
type RouterSolicitation struct {
	SourceLinkAddr net.HardwareAddr // never with the unspecified source
}

// NeighborSolicitation is a neighbour solicitation (RFC 4861 §4.3).
type NeighborSolicitation struct {
	Target         netip.Addr
	SourceLinkAddr net.HardwareAddr // never with the unspecified source
	// Nonce tells a solicitation of our own that the link gave back from that
	// of another node (RFC 7527 §4.1); at least 6 octets, or none.
	Nonce []byte
}

// NeighborAdvertisement is a neighbour advertisement (RFC 4861 §4.4).
type NeighborAdvertisement struct {
	Router, Solicited, Override bool
	Target                      netip.Addr
	TargetLinkAddr              net.HardwareAddr
}

func (RouterAdvertisement) isMessage()   {}
func (RouterSolicitation) isMessage()    {}
func (NeighborSolicitation) isMessage()  {}
func (NeighborAdvertisement) isMessage() {}
