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
	// Drops counts the packets dropped since start by reason.
	Drops map[string]uint64 `json:"drops"`
}

// Tunnel is one tunnel. Packets and octets are those of the inner packets.
type Tunnel struct {
	HomeAddress netip.Addr     `json:"home_address"`
	Side        string         `json:"side"`  // "mobile" or "agent": the end that this node is
	Inner       []netip.Prefix `json:"inner"` // the mobile's own address and prefixes
	Paths       []Path         `json:"paths"` // the preferred one first
	MTU         int            `json:"mtu"`   // largest inner packet
	Since       Time           `json:"since"`
	Age         Milliseconds   `json:"age_ms"`

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

// TunnelsOf converts what a plane tells of itself at a moment.
func TunnelsOf(plane string, status []overlay.Status, drops map[overlay.DropReason]uint64, now time.Time) Tunnels {
	d := Tunnels{Plane: plane, Tunnels: make([]Tunnel, 0, len(status)), Drops: make(map[string]uint64, len(drops))}
	for _, s := range status {
		t := Tunnel{
			HomeAddress: s.Home, Side: sideName(s.Side), Inner: orEmpty(s.Inner), Paths: make([]Path, 0, len(s.Paths)),
			MTU: s.MTU, Since: Time{s.Since}, Age: ageOf(now, s.Since),
			EncapsulatedPackets: s.Counters.EncapPackets, EncapsulatedBytes: s.Counters.EncapBytes,
			DecapsulatedPackets: s.Counters.DecapPackets, DecapsulatedBytes: s.Counters.DecapBytes,
		}
		for _, p := range s.Paths {
			t.Paths = append(t.Paths, Path{Local: p.Local, Remote: p.Remote, BID: p.BID, Link: p.Link, Port: p.RemotePort})
		}
		d.Tunnels = append(d.Tunnels, t)
	}
	for reason, n := range drops {
		d.Drops[reason.String()] += n
	}
	return d
}

func sideName(s overlay.Side) string {
	switch s {
	case overlay.MobileSide:
		return "mobile"
	case overlay.AgentSide:
		return "agent"
	default:
		return "unknown"
	}
}
