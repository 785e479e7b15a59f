package mn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
)

// Constants and configuration variables of RFC 6275 §12 and §13.
const (
	// FirstBindAckTimeout is InitialBindackTimeoutFirstReg: long enough for the
	// home agent's duplicate address detection.
	FirstBindAckTimeout = 1500 * time.Millisecond
	// InitialBindAckTimeout is INITIAL_BINDACK_TIMEOUT.
	InitialBindAckTimeout = time.Second
	// MaxBindAckTimeout is MAX_BINDACK_TIMEOUT.
	MaxBindAckTimeout = 32 * time.Second
	// MaxUpdateRate is MAX_UPDATE_RATE: updates to one node within a second.
	MaxUpdateRate = 3
	// DefaultHysteresis is longer than a link that flaps stays up, and short
	// against the time for which a better one is used.
	DefaultHysteresis = time.Second
	// DefaultAttempts is three: seven seconds of silence, or ten of a first
	// registration.
	DefaultAttempts = 3
)

// Config is what the administrator decides for one mobile node.
type Config struct {
	// Name is the node's name in configuration, logs and show.
	Name string
	// HomeAddress and HomePrefix identify the node and its home link.
	HomeAddress netip.Addr
	HomePrefix  netip.Prefix
	// HomeAgents are the global addresses of the home agents to register with, in
	// order of preference. It may be empty with DiscoverHomeAgent.
	HomeAgents []netip.Addr
	// DiscoverHomeAgent asks the home link for its home agents (RFC 6275 §11.4.1)
	// when there are none, and when none of them serves.
	DiscoverHomeAgent bool
	// RouteOptimisation tells with which correspondents to optimise routes.
	RouteOptimisation ro.Policy
	// DefaultSource: what this host sends without a choice of its own comes from
	// the home address. Of several nodes on one host only one has it.
	DefaultSource bool
	// Hysteresis is how long a preferred uplink must be good before a working one
	// is left for it; zero means DefaultHysteresis. One that does not work is left
	// at once.
	Hysteresis time.Duration
	// Attempts is how many updates in a row may be without an answer before
	// another home agent is tried, or a handover to a better uplink is given up;
	// zero means DefaultAttempts.
	Attempts int
	// SA authenticates binding updates (RFC 4285). Nil sends them without
	// authentication, which no home agent accepts by default but one that uses ESP.
	SA *mip6.SecurityAssociation
	// ESP takes acknowledgements and prefix advertisements of home agents only if
	// they came under IPsec (RFC 3776, RFC 4877); what is sent, the shell protects.
	ESP bool
	// KeyExchange: the associations of ESP are made by IKE (RFC 4877 §7). A binding
	// update waits until role.KeysChanged says that there are some.
	KeyExchange bool
	// KeyMobility, with KeyExchange: the IKE association follows the care-of address (K
	// bit, RFC 6275 §11.7.1).
	KeyMobility bool
	// Timestamps adds the replay protection option of RFC 4285 §6.
	Timestamps bool
	// Hierarchy: use the mobility anchor points that access routers advertise
	// (RFC 5380).
	Hierarchy Hierarchy
	// Lifetime is asked for in each home registration.
	Lifetime time.Duration
	// Uplinks are interface names in order of preference.
	Uplinks []string
	// Addressing says, by name of an uplink, where care-of addresses come from;
	// AddressingAuto for those that are not named.
	Addressing map[string]Addressing
	// WaitForDAD delays a new care-of address until duplicate address detection
	// ends instead of using it optimistically (RFC 4429). One that was proven on a
	// link is used at once on the return there.
	WaitForDAD bool
	// FirstTimeout is InitialBindackTimeoutFirstReg; zero means its default.
	FirstTimeout time.Duration
	// Seed makes the node's choice of interface identifiers repeatable in tests;
	// the shell passes a random one.
	Seed uint64
	// Random fills a slice with octets that nobody can guess: cookies and
	// identifiers come from it. The shell passes crypto/rand; without it they come
	// from Seed, which is for tests.
	Random func([]byte)
}

// Addressing says where the care-of addresses of an uplink come from.
type Addressing uint8

// Sources of care-of addresses.
const (
	// AddressingAuto is autoconfiguration (SLAAC), and DHCPv6 where a router
	// advertises that addresses are managed (RFC 4861 §4.2): a leased address takes
	// the place of one that was formed.
	AddressingAuto Addressing = iota
	// AddressingSLAAC is autoconfiguration only.
	AddressingSLAAC
	// AddressingDHCP is DHCPv6 only, whatever routers advertise.
	AddressingDHCP
	// AddressingForeign leaves the interface to somebody else: its addresses are
	// used as they are, and nothing there is changed, but that the care-of address
	// gets a default route of its own (from that address alone), the router's
	// link-layer address is learned, and the home address is assigned at home.
	AddressingForeign
)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if !mip6.Routable(c.HomeAddress) {
		errs = append(errs, fmt.Errorf("home address %v is not a routable unicast IPv6 address", c.HomeAddress))
	}
	if !c.HomePrefix.IsValid() || !c.HomePrefix.Contains(c.HomeAddress) {
		errs = append(errs, fmt.Errorf("home address %v is not inside the home prefix %v", c.HomeAddress, c.HomePrefix))
	}
	if len(c.HomeAgents) == 0 && !c.DiscoverHomeAgent {
		errs = append(errs, errors.New("no home agent, and discovery is off"))
	}
	for _, a := range c.HomeAgents {
		if !mip6.Routable(a) || a == c.HomeAddress {
			errs = append(errs, fmt.Errorf("home agent %v is not another node's routable unicast IPv6 address", a))
		}
	}
	errs = append(errs, c.RouteOptimisation.Validate(), c.Hierarchy.Validate())
	if c.Hysteresis < 0 || c.Attempts < 0 {
		errs = append(errs, fmt.Errorf("hysteresis %v and %d attempts must not be negative", c.Hysteresis, c.Attempts))
	}
	if c.Lifetime < 2*mip6.LifetimeUnit {
		errs = append(errs, fmt.Errorf("lifetime %v is shorter than %v", c.Lifetime, 2*mip6.LifetimeUnit))
	}
	if len(c.Uplinks) == 0 {
		errs = append(errs, errors.New("no uplink"))
	}
	for _, name := range c.Uplinks {
		if a := c.Addressing[name]; a > AddressingForeign {
			errs = append(errs, fmt.Errorf("addressing %d of uplink %s is unknown", a, name))
		}
	}
	return errors.Join(errs...)
}

// complete puts the defaults in.
func (c Config) complete() Config {
	if c.FirstTimeout == 0 {
		c.FirstTimeout = FirstBindAckTimeout
	}
	if c.Hysteresis == 0 {
		c.Hysteresis = DefaultHysteresis
	}
	if c.Attempts == 0 {
		c.Attempts = DefaultAttempts
	}
	if c.Random == nil {
		c.Random = seeded(c.Seed)
	}
	return c
}

// seeded is a source of octets that anybody can guess who knows the seed.
func seeded(seed uint64) func([]byte) {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	source := rand.NewChaCha8(key)
	return func(b []byte) { _, _ = source.Read(b) } // never fails
}

// Extension is what a mobile router adds to a mobile node (RFC 3963). The
// methods are called from within Handle.
type Extension interface {
	// Extend completes a home registration before it is authenticated;
	// deregistration tells that it ends the binding.
	Extend(u *mip6.BindingUpdate, deregistration bool)
	// Inner are the prefixes that go through the tunnel beside the home address.
	Inner() []netip.Prefix
	// Judge examines an authentic acknowledgement of a registration before the
	// node acts on it.
	Judge(now time.Time, a mip6.BindingAcknowledgement) (Verdict, []role.Action)
}

// Verdict is an extension's opinion of a binding acknowledgement.
type Verdict uint8

// Verdicts.
const (
	// VerdictPlain leaves the acknowledgement to the rules of RFC 6275.
	VerdictPlain Verdict = iota
	// VerdictRetry asks for a new binding update at once, changed by Extend.
	VerdictRetry
	// VerdictWithdraw asks to end the registration that the home agent accepted,
	// and then as VerdictReject.
	VerdictWithdraw
	// VerdictElsewhere asks for another home agent, and if there is none that may be
	// tried for the same as VerdictRetry.
	VerdictElsewhere
	// VerdictReject asks for another home agent, and if there is none for as much
	// as VerdictStop.
	VerdictReject
	// VerdictStop asks to send no more updates until reconfigured.
	VerdictStop
)
