// Package dhcpv6 is DHCPv6 (RFC 8415) as mobiles need it: a client for care-of
// addresses, delegated prefixes and information, and the relay that goes with it
// in a mobile router (RFC 6276). Pure state machines; the messages' codec is
// github.com/insomniacslk/dhcp.
package dhcpv6

import "net/netip"

// UDP ports (RFC 8415 §7.2).
const (
	ClientPort uint16 = 546
	ServerPort uint16 = 547
)

// AllRelayAgentsAndServers is the link-scoped multicast group of relays and
// servers (RFC 8415 §7.1).
func AllRelayAgentsAndServers() netip.Addr { return netip.MustParseAddr("ff02::1:2") }

// Config is what a client is to get, for one interface or one mobile router.
type Config struct {
	// Name is the interface or the mobile, for the log.
	Name string
	// Link is the interface; zero for a client behind a relay.
	Link int
	// DUID identifies the node, IAID each association (RFC 8415 §11, §12): stable
	// across restarts.
	DUID []byte
	IAID uint32
	// Prefixes asks for prefixes (IA_PD) as soon as the client is begun.
	Prefixes bool
	// Hints are the prefixes to ask for: of an earlier life, or ::/n for a length.
	Hints []netip.Prefix
	// NoRapidCommit keeps to exchanges of four messages.
	NoRapidCommit bool
	// Delay waits for a random time before the first message, as RFC 8415 §18.2.1
	// wants of hosts that were switched on together. A node that moves does not.
	Delay bool
	// MaxSolicits ends the client when so many solicitations were without success
	// (RFC 6276 §3.3); zero goes on for ever.
	MaxSolicits int
	// Random fills a slice with octets that nobody can guess.
	Random func([]byte)
}
