package control

import (
	"io"
	"net/netip"
	"time"

	"roam6/mip6"
	"roam6/mn/homelink"
)

// Prefixes are the prefixes of home links and of mobile networks that a daemon
// knows.
type Prefixes struct {
	Home    []HomePrefix    `json:"home_prefixes"`
	Network []NetworkPrefix `json:"network_prefixes"`
}

// HomePrefix is a prefix of a home link.
type HomePrefix struct {
	Side string `json:"side"` // "agent" or "mobile": what this node is
	Name string `json:"name"` // of the home agent's or mobile's section
	// HomeAddress is the mobile's; absent on the agent's side.
	HomeAddress netip.Addr   `json:"home_address,omitzero"`
	Prefix      netip.Prefix `json:"prefix"`
	// Main: the one with the home agent's, or with the home address.
	Main bool `json:"main"`
	// Preferred and Valid are what remains; null is for ever.
	Preferred *Seconds `json:"preferred_seconds"`
	Valid     *Seconds `json:"valid_seconds"`
}

// NetworkPrefix is a mobile network prefix.
type NetworkPrefix struct {
	Side        string       `json:"side"` // "agent" or "mobile": what this node is
	Name        string       `json:"name"` // of the mobile's section
	HomeAddress netip.Addr   `json:"home_address"`
	Prefix      netip.Prefix `json:"prefix"`
	// State is, on the agent's side, "registered" or "absent" (it may be
	// registered, and is not); on the mobile's, "usable" or "refused".
	State      string `json:"state"`
	Downstream string `json:"downstream,omitempty"` // interface it is advertised on; the mobile's side
	// Origin is OriginConfigured or OriginDelegated (by DHCPv6, RFC 6276).
	Origin string `json:"origin"`
	// Preferred and Valid are what remains of a delegated prefix; null is for ever,
	// as what is configured is.
	Preferred *Seconds `json:"preferred_seconds"`
	Valid     *Seconds `json:"valid_seconds"`
}

// Origins of mobile network prefixes.
const (
	OriginConfigured = "configured"
	OriginDelegated  = "delegated"
)

// HomePrefixesOf converts what a mobile knows of its home link.
func HomePrefixesOf(mobile string, home netip.Addr, s homelink.Snapshot) []HomePrefix {
	list := make([]HomePrefix, 0, len(s.Prefixes))
	for _, p := range s.Prefixes {
		list = append(list, HomePrefix{
			Side: SideMobile, Name: mobile, HomeAddress: home, Prefix: p.Prefix, Main: p.Home,
			Preferred: Remaining(p.Preferred), Valid: Remaining(p.Valid),
		})
	}
	return list
}

// Remaining is what remains of a lifetime, where an infinite one is nil.
func Remaining(d time.Duration) *Seconds {
	if d == mip6.InfiniteLifetime {
		return nil
	}
	s := Seconds(max(d, 0))
	return &s
}

// Render writes a row for each prefix of a home link, and then one for each of a
// mobile network.
func (d Prefixes) Render(w io.Writer) error {
	home := newTable("HOME PREFIX", "SIDE", "SECTION", "HOME ADDRESS", "PREFERRED", "VALID", "")
	for _, p := range d.Home {
		remark := " "
		switch {
		case p.Main:
			remark = "main"
		case p.Preferred != nil && *p.Preferred == 0:
			remark = "deprecated"
		}
		home.row(p.Prefix.String(), p.Side, p.Name, address(p.HomeAddress), lifetime(p.Preferred), lifetime(p.Valid), remark)
	}
	network := newTable("NETWORK PREFIX", "SIDE", "SECTION", "HOME ADDRESS", "ORIGIN", "STATE", "DOWNSTREAM", "PREFERRED", "VALID")
	for _, p := range d.Network {
		network.row(p.Prefix.String(), p.Side, p.Name, address(p.HomeAddress), p.Origin, p.State, p.Downstream, lifetime(p.Preferred), lifetime(p.Valid))
	}
	return writeTables(w, "no prefixes", home, network)
}

func lifetime(s *Seconds) string {
	if s == nil {
		return "infinite"
	}
	return span(time.Duration(*s))
}
