// Package dhcpv6 is DHCPv6 (RFC 8415) as mobiles need it: a client for care-of
// addresses, delegated prefixes and information, and the relay that goes with it
// in a mobile router (RFC 6276). Pure state machines; the messages' codec is
// github.com/insomniacslk/dhcp.
package dhcpv6

import (
	"errors"
	"fmt"
	"net/netip"
)

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
	// Store is the name under which leases are kept across restarts, as role.Save
	// wants it; without one they are not.
	Store string
	// Link is the interface; zero for a client behind a relay.
	Link int
	// DUID identifies the node, IAID each association (RFC 8415 §11, §12): stable
	// across restarts.
	DUID []byte
	IAID uint32
	// Prefixes asks for prefixes (IA_PD) as soon as the client is begun, which is
	// with the first role.ConfigureLink, whatever flags that has. One without flags does
	// not end such a client: role.Stop does.
	Prefixes bool
	// Hints are the prefixes to ask for: of an earlier life, or ::/n for a length.
	Hints []netip.Prefix
	// NoRapidCommit keeps to exchanges of four messages.
	NoRapidCommit bool
	// Delay waits for a random time of up to a second before the first Solicit, or
	// Rebind, on a link, as RFC 8415 §18.2.1 says that clients should, because hosts may
	// have been switched on together. Nodes that move do not move together, and cannot
	// wait. Messages for which nobody waits are always delayed, as they must be.
	Delay bool
	// MaxSolicits ends the client when so many solicitations were without success
	// (RFC 6276 §3.3); zero goes on for ever.
	MaxSolicits int
	// Random fills a slice with octets that nobody can guess.
	Random func([]byte)
}

// Validate tells everything that is wrong with the configuration, joined in one
// error. NewClient and Reconfigure expect a valid one.
func (c Config) Validate() error {
	var errs []error
	if len(c.DUID) < minDUID || len(c.DUID) > maxDUID {
		errs = append(errs, fmt.Errorf("DUID of %d octets: %d to %d are possible", len(c.DUID), minDUID, maxDUID))
	}
	if c.Link < 0 {
		errs = append(errs, fmt.Errorf("interface index %d is negative", c.Link))
	}
	if c.MaxSolicits < 0 {
		errs = append(errs, fmt.Errorf("number of solicitations %d is negative", c.MaxSolicits))
	}
	for _, p := range c.Hints {
		if !hintable(p) {
			errs = append(errs, fmt.Errorf("prefix %v cannot be asked for", p))
		}
	}
	if c.Random == nil {
		errs = append(errs, errors.New("no source of random octets"))
	}
	return errors.Join(errs...)
}
