package control

import (
	"encoding/hex"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

// Leases are what DHCPv6 servers gave to this node.
type Leases struct {
	Clients []LeaseClient `json:"clients"`
}

// Whom a DHCPv6 client is for: an uplink, for care-of addresses and for prefixes
// of the access network, or a mobile router, for prefixes of its home agent
// (RFC 6276).
const (
	ForUplink       = "uplink"
	ForMobileRouter = "mobile_router"
)

// LeaseClient is one DHCPv6 client of this node.
type LeaseClient struct {
	For  string `json:"for"`  // one of the constants above
	Name string `json:"name"` // of the interface, or of the mobile router's section
	// State is "idle", "soliciting", "requesting", "confirming", "bound", "renewing"
	// and "rebinding" (RFC 8415 §18.2), "informing" and "informed" (no leases, but
	// other configuration), "ended" (nobody gave anything), "releasing" or "done".
	State string `json:"state"`
	// Server is the identifier (DUID) of the server of the lease, in hexadecimal.
	Server string `json:"server,omitempty"`
	// Renew and Rebind are the times until T1 and T2 (RFC 8415 §14.2); null: never,
	// or without a lease.
	Renew  *Seconds `json:"renew_seconds"`
	Rebind *Seconds `json:"rebind_seconds"`
	// Addresses are of length 128.
	Addresses []LeasedPrefix `json:"addresses"`
	Prefixes  []LeasedPrefix `json:"prefixes"`
	DNS       []netip.Addr   `json:"dns"`
	Domains   []string       `json:"domains"` // as the server sent them
}

// LeasedPrefix is a leased address or prefix. Preferred and Valid are what
// remains; null is for ever.
type LeasedPrefix struct {
	Prefix    netip.Prefix `json:"prefix"`
	Preferred *Seconds     `json:"preferred_seconds"`
	Valid     *Seconds     `json:"valid_seconds"`
}

// LeaseClientOf converts a client's snapshot; what is one of the constants above.
func LeaseClientOf(what string, s dhcpv6.Snapshot) LeaseClient {
	c := LeaseClient{
		For: what, Name: s.Name, State: s.State.String(), Server: hex.EncodeToString(s.Server),
		Addresses: leasedPrefixes(s.Lease.Addresses), Prefixes: leasedPrefixes(s.Lease.Prefixes),
		DNS: orEmpty(s.Lease.DNS), Domains: orEmpty(s.Lease.Domains),
	}
	if len(c.Addresses)+len(c.Prefixes) > 0 {
		c.Renew, c.Rebind = Remaining(s.T1), Remaining(s.T2)
	}
	return c
}

func leasedPrefixes(leased []role.LeasedPrefix) []LeasedPrefix {
	list := make([]LeasedPrefix, 0, len(leased))
	for _, p := range leased {
		list = append(list, LeasedPrefix{Prefix: p.Prefix, Preferred: Remaining(p.Preferred), Valid: Remaining(p.Valid)})
	}
	return list
}

// Render writes a row for each address and prefix of each client.
func (d Leases) Render(w io.Writer) error {
	t := newTable("FOR", "NAME", "STATE", "ADDRESS OR PREFIX", "PREFERRED", "VALID", "RENEW", "REBIND", "DNS", "DOMAINS", "SERVER")
	for _, c := range d.Clients {
		leased := slices.Concat(c.Addresses, c.Prefixes)
		renew, rebind := "", ""
		if len(leased) > 0 {
			renew, rebind = lifetime(c.Renew), lifetime(c.Rebind)
		}
		domains := make([]string, len(c.Domains))
		for i, name := range c.Domains {
			domains[i] = printable(name)
		}
		var prefixes, preferred, valid []string
		for _, p := range leased {
			prefixes = append(prefixes, leasedName(p.Prefix))
			preferred, valid = append(preferred, lifetime(p.Preferred)), append(valid, lifetime(p.Valid))
		}
		column := func(cells []string) string { return strings.Join(cells, "\n") }
		t.row(strings.ReplaceAll(c.For, "_", " "), c.Name, c.State, column(prefixes), column(preferred), column(valid),
			renew, rebind, lines(c.DNS), column(domains), c.Server)
	}
	return t.write(w, "no DHCPv6 clients")
}

// leasedName is an address, or a prefix with its length.
func leasedName(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// printable makes text that a stranger sent fit for a terminal and a cell.
func printable(s string) string {
	quoted := strconv.QuoteToASCII(s)
	if inside := quoted[1 : len(quoted)-1]; inside == s && !strings.ContainsAny(s, " ") {
		return s
	}
	return quoted
}
