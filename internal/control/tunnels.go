package control

import (
	"net/netip"
	"time"

	"roam6/overlay"
)

// Tunnels is what the data plane carries out.
type Tunnels struct {
	Plane   string   `json:"plane"` // the engine's name; empty: none runs
	Tunnels []Tunnel `json:"tunnels"`
	Routes  []Route  `json:"routes"` // optimised ones
	// Drops counts the packets dropped since start by reason.
	Drops map[string]uint64 `json:"drops"`
}

// Tunnel is one tunnel. Packets and octets are those of the inner packets.
type Tunnel struct {
	HomeAddress netip.Addr     `json:"home_address"` // where Regional, the regional care-of address
	Side        string         `json:"side"`         // "mobile" or "agent": the end that this node is
	Inner       []netip.Prefix `json:"inner"`        // the mobile's own address and prefixes
	Paths       []Path         `json:"paths"`        // the preferred one first
	MTU         int            `json:"mtu"`          // largest inner packet
	// Regional: it is that of a mobility anchor point.
	Regional bool `json:"regional"`
	// StackedOn is the regional care-of address by whose tunnel this one's packets go;
	// absent where they go by no other.
	StackedOn netip.Addr   `json:"stacked_on,omitzero"`
	Since     Time         `json:"since"`
	Age       Milliseconds `json:"age_ms"`

	EncapsulatedPackets uint64 `json:"encapsulated_packets"`
	EncapsulatedBytes   uint64 `json:"encapsulated_bytes"`
	DecapsulatedPackets uint64 `json:"decapsulated_packets"`
	DecapsulatedBytes   uint64 `json:"decapsulated_bytes"`
}

// Route is an optimised route: its packets go straight to the other end, with a
// Home Address option or a type 2 routing header. Encapsulated are those sent
// with it, decapsulated those received.
type Route struct {
	HomeAddress netip.Addr   `json:"home_address"`
	Peer        netip.Addr   `json:"peer"`
	Side        string       `json:"side"` // "mobile" or "correspondent": the end that this node is
	CareOf      netip.Addr   `json:"care_of"`
	Regional    bool         `json:"regional"`       // CareOf is a regional one of this node, in whose tunnel the packets go
	Link        int          `json:"link,omitempty"` // interface index; 0: by the routing table
	Since       Time         `json:"since"`
	Age         Milliseconds `json:"age_ms"`

	EncapsulatedPackets uint64 `json:"encapsulated_packets"`
	EncapsulatedBytes   uint64 `json:"encapsulated_bytes"`
	DecapsulatedPackets uint64 `json:"decapsulated_packets"`
	DecapsulatedBytes   uint64 `json:"decapsulated_bytes"`
}

// Path is one way to the other end.
type Path struct {
	Local  netip.Addr `json:"local"`
	Remote netip.Addr `json:"remote"`
	BID    uint16     `json:"bid,omitempty"`  // binding identifier (RFC 5648); none: 0
	Link   int        `json:"link,omitempty"` // interface index; 0: by the routing table
	Port   uint16     `json:"port,omitempty"` // UDP port of the remote end (RFC 5555); none: 0
}

// TunnelsOf converts what a plane tells of itself at a moment. regional tells of which
// tunnels the home address is a regional care-of address; nil: of none.
func TunnelsOf(plane string, status []overlay.Status, routes []overlay.RouteStatus, drops map[overlay.DropReason]uint64, regional func(overlay.Key) bool, now time.Time) Tunnels {
	d := Tunnels{
		Plane: plane, Tunnels: make([]Tunnel, 0, len(status)), Routes: make([]Route, 0, len(routes)),
		Drops: make(map[string]uint64, len(drops)),
	}
	own := make(map[netip.Addr]bool) // addresses that others are stacked on
	for _, s := range status {
		if s.Side == overlay.MobileSide {
			own[s.Home] = true
		}
	}
	for _, s := range status {
		t := Tunnel{
			Regional: regional != nil && regional(s.Key), HomeAddress: s.Home, Side: sideName(s.Side), Inner: orEmpty(s.Inner), Paths: make([]Path, 0, len(s.Paths)),
			MTU: s.MTU, Since: Time{s.Since}, Age: ageOf(now, s.Since),
			EncapsulatedPackets: s.Counters.EncapPackets, EncapsulatedBytes: s.Counters.EncapBytes,
			DecapsulatedPackets: s.Counters.DecapPackets, DecapsulatedBytes: s.Counters.DecapBytes,
		}
		for _, p := range s.Paths {
			if s.Side == overlay.MobileSide && own[p.Local] {
				t.StackedOn = p.Local
			}
			t.Paths = append(t.Paths, Path{Local: p.Local, Remote: p.Remote, BID: p.BID, Link: p.Link, Port: p.RemotePort})
		}
		d.Tunnels = append(d.Tunnels, t)
	}
	for _, r := range routes {
		d.Routes = append(d.Routes, Route{
			HomeAddress: r.Home, Peer: r.Peer, Side: sideName(r.Side), CareOf: r.CareOf, Link: r.Link,
			Regional: r.Side == overlay.MobileSide && own[r.CareOf],
			Since:    Time{r.Since}, Age: ageOf(now, r.Since),
			EncapsulatedPackets: r.EncapPackets, EncapsulatedBytes: r.EncapBytes,
			DecapsulatedPackets: r.DecapPackets, DecapsulatedBytes: r.DecapBytes,
		})
	}
	for reason, n := range drops {
		d.Drops[reason.String()] += n
	}
	return d
}

// Words for what this node is: the end of a tunnel or of an optimised route.
const (
	SideMobile        = "mobile"
	SideAgent         = "agent"
	SideCorrespondent = "correspondent"
)

func sideName(s overlay.Side) string {
	switch s {
	case overlay.MobileSide:
		return SideMobile
	case overlay.AgentSide:
		return SideAgent
	case overlay.CorrespondentSide:
		return SideCorrespondent
	default:
		return "unknown"
	}
}
