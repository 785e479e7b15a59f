// Package config is roam6's configuration: a UCI file becomes typed values
// that are valid, alone and together, or a list of errors that name the place,
// what stands there and what was expected.
//
// Each section type is described by one table (tables.go), which both
// validates and documents: docs/configuration.md is generated from it. What
// concerns several options or sections is in the check files.
package config

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/internal/uci"
	"roam6/mip6"
	"roam6/nd"
)

// DefaultPath is where the configuration is, on a router and on a server.
const DefaultPath = "/etc/config/roam6"

// Config is a valid configuration. Sections that are not enabled are left out,
// as are the mobiles of a home agent that is not; so everything here is meant
// to run. Each list is in the order of the file.
type Config struct {
	Globals     Globals
	Metrics     Metrics
	MobileNodes []MobileNode
	HomeAgents  []HomeAgent
	Mobiles     []Mobile
	Interfaces  []Interface
	// Correspondent is the node's role of correspondent.
	Correspondent Correspondent
	// Policies steer traffic of this host to home addresses: the first that
	// matches holds.
	Policies []Policy
	// Uplinks say more of uplinks than their names; those not there have the zero
	// UplinkOptions but for Name.
	Uplinks []UplinkOptions
	// PrefixRequests number networks behind this node with prefixes from an access
	// network, without mobility.
	PrefixRequests []PrefixRequest
	// Anchors are the mobility anchor points of this machine, Visitors the mobiles
	// that they serve.
	Anchors  []Anchor
	Visitors []Visitor
	// AnchorKeys authenticate this machine's mobiles at mobility anchor points.
	AnchorKeys []AnchorKey
	// Disabled are the names of the sections left out.
	Disabled []string
	// Digest is of the file's text and mode: one that is the same says the same. Zero
	// where it was not loaded from a file.
	Digest [sha256.Size]byte
}

// Globals concern the daemon as a whole.
type Globals struct {
	LogLevel     slog.Level
	LogTarget    LogTarget
	Control      string // path of the control socket
	Plane        PlaneChoice
	TunnelDevice string // name of the data plane's TUN device
	// StateDirectory keeps what has to survive a restart: identifiers and leases.
	StateDirectory string
	// ResolverFile, when not empty, gets the DNS servers and search domains that
	// DHCPv6 servers told, in the form of resolv.conf.
	ResolverFile string
	// Page: the listener of the metrics has a page for people, too.
	Page    bool
	Runtime Runtime
}

// Runtime is what the daemon may spend: Go's garbage collector and scheduler.
type Runtime struct {
	// GCPercent is how much the heap grows until it is collected, in percent of what
	// is in use (GOGC).
	GCPercent int
	// MemoryLimit, in MiB, makes the collector work harder near it (GOMEMLIMIT).
	// MemoryLimitAuto is a share of the machine's memory, MemoryLimitNone no limit.
	MemoryLimit int
	// Processors are those that run Go code at a time (GOMAXPROCS); 0: all there are.
	Processors int
}

// Memory limits that are no number of MiB.
const (
	MemoryLimitAuto = 0
	MemoryLimitNone = -1
)

// UplinkOptions say how an uplink gets its addresses.
type UplinkOptions struct {
	Name       string // of the interface
	Addressing Addressing
	// NoRapidCommit keeps to DHCPv6 exchanges of four messages.
	NoRapidCommit bool
}

// Addressing says where the care-of addresses of an uplink come from.
type Addressing uint8

// Sources of care-of addresses; see mn.Addressing.
const (
	AddressingAuto Addressing = iota
	AddressingSLAAC
	AddressingDHCP
	AddressingForeign
)

// PrefixRequest asks an access network for a prefix by DHCPv6 and numbers
// downstream interfaces with it.
type PrefixRequest struct {
	Name        string // of the section
	Uplink      string // interface
	Length      int    // to ask for; 0: any
	Downstreams []string
}

// LogTarget is where the log goes.
type LogTarget uint8

// Log targets.
const (
	LogStderr LogTarget = iota
	LogSyslog
)

// PlaneChoice selects the data plane engine.
type PlaneChoice uint8

// Data plane choices.
const (
	PlaneAuto   PlaneChoice = iota // by probing
	PlaneKernel                    // the kernel's tunnels, with overlay/kernel
	PlaneTCX                       // eBPF, with overlay/tcx
	PlaneTUN                       // user space, with overlay/tun
)

// String is the value as in the file, and the name of the engine.
func (p PlaneChoice) String() string {
	switch p {
	case PlaneAuto:
		return "auto"
	case PlaneKernel:
		return "kernel"
	case PlaneTCX:
		return "tcx"
	case PlaneTUN:
		return "tun"
	default:
		return "unknown"
	}
}

// Metrics is the HTTP endpoint for Prometheus.
type Metrics struct {
	Enabled bool
	Listen  netip.AddrPort
}

// MobileNode is a mobile node or, with Router, a mobile router.
type MobileNode struct {
	Name   string // of the section
	Router bool
	// HomeAddress is the home address with the length of the home prefix.
	HomeAddress netip.Prefix
	// HomeAgents are those to register with, the preferred one first; may be
	// empty with Discover.
	HomeAgents []netip.Addr
	// Discover: ask the home link for its home agents where none is given, or
	// none of those given serves (RFC 6275 §11.4.1).
	Discover bool
	Uplinks  []string // interface names, the preferred one first; never empty
	// Hysteresis is how long a preferred uplink must be good before a working one
	// is left for it.
	Hysteresis time.Duration
	// DefaultSource: what this host sends by itself comes from the home address,
	// unless it chooses otherwise. At most one mobile has it.
	DefaultSource bool
	// RouteOptimisation and Correspondents say with whom routes are optimised:
	// with ListedRoutes those of Correspondents, which is then not empty; with
	// OptimisedRoutes all but those.
	RouteOptimisation RouteOptimisation
	Correspondents    []netip.Prefix // masked
	// Association authenticates the signalling (RFC 4285); nil only where the
	// administrator has chosen to run insecure.
	Association *mip6.SecurityAssociation
	// ESP protects the signalling with home agents by IPsec, one policy for each
	// (overlay.MobileSide); empty where it is not protected so.
	ESP []esp.Policy
	// IKE makes the keys of ESP, of all its policies or, empty, of none.
	IKE      []ike.Peer
	Replay   Replay
	Lifetime time.Duration // of a binding, as asked for; 8 s to 262140 s
	// InitialTimeout is InitialBindackTimeoutFirstReg (RFC 6275 §13).
	InitialTimeout time.Duration
	DAD            DAD

	// Hierarchy: use the mobility anchor points that access routers advertise
	// (RFC 5380), chosen by AnchorSelection. InsecureAnchors: also those for which
	// there is no AnchorKey, without authentication.
	Hierarchy       bool
	AnchorSelection AnchorSelection
	InsecureAnchors bool

	// For mobile routers only.

	Mode PrefixMode
	// Prefixes are the mobile network prefixes: masked, disjoint, never empty
	// for a router and always empty for a node.
	Prefixes []netip.Prefix
	// Downstreams are the interfaces on which Prefixes are advertised.
	Downstreams []string
	// Delegation: ask the home agent for prefixes (RFC 6276), of DelegationLength
	// where that is not 0, and number Downstreams with them. Prefixes may then be
	// empty.
	Delegation       bool
	DelegationLength int
	// Netifd: somebody else numbers the mobile network and advertises in it; there are
	// no Downstreams.
	Netifd bool
}

// RouteOptimisation says with which correspondents routes are optimised.
type RouteOptimisation uint8

// Choices of route optimisation.
const (
	TunnelledRoutes RouteOptimisation = iota // with none
	OptimisedRoutes                          // with all but those listed
	ListedRoutes                             // with those listed
)

// Policy steers chosen traffic of this host to the home address of a mobile.
// Every condition that is there has to hold; there is at least one.
type Policy struct {
	Name     string // of the section
	Mobile   string // name of the MobileNode
	Protocol uint8  // 0: any; otherwise TCP or UDP
	// FirstPort to LastPort are destination ports; 0: any. Only with a Protocol.
	FirstPort, LastPort uint16
	Mark, Mask          uint32 // firewall mark under a mask; Mask 0: any
}

// Correspondent is how this node behaves towards mobile nodes that it talks to
// (RFC 6275 §9).
type Correspondent struct {
	// Enabled: mobile nodes may optimise their routes to this node.
	Enabled     bool
	MaxBindings int
	MaxLifetime time.Duration
}

// Replay is the protection against replayed signalling.
type Replay uint8

// Replay protections.
const (
	ReplayTimestamp Replay = iota // RFC 4285 §6
	ReplaySequence                // sequence numbers
)

// DAD is what a mobile does while duplicate address detection for a care-of
// address is under way.
type DAD uint8

// Duplicate address detection.
const (
	DADOptimistic DAD = iota // use the address meanwhile, RFC 4429
	DADWait                  // wait for the end, RFC 4862 §5.4
)

// PrefixMode is how a mobile router's prefixes are registered (RFC 3963 §5.2).
type PrefixMode uint8

// Prefix modes.
const (
	ModeExplicit PrefixMode = iota // the binding update carries them
	ModeImplicit                   // the home agent knows them
)

// HomeAgent is a home agent on one home link.
type HomeAgent struct {
	Name      string // of the section
	Interface string // the home link
	Address   netip.Addr
	// Prefixes are the home prefixes in use, masked and never empty; the first
	// contains Address. Deprecated are those given up, DeprecatedLifetime after
	// they were first seen there. All are disjoint.
	Prefixes           []netip.Prefix
	Deprecated         []netip.Prefix
	DeprecatedLifetime time.Duration
	// PrefixAdvertisements: mobiles that are away are told of the home prefixes;
	// unsolicited after PrefixMinInterval to PrefixMaxInterval (RFC 6275 §10.6.3).
	PrefixAdvertisements                 bool
	PrefixMinInterval, PrefixMaxInterval time.Duration
	// Information is what the home link's own advertisements tell of this home
	// agent; nil where they do not.
	Information *mip6.HomeAgentInformation
	// MaxLifetime is the longest binding granted.
	MaxLifetime time.Duration
	// DAD: perform duplicate address detection for a home address before the
	// first acknowledgement (RFC 6275 §10.3.1).
	DAD bool
	// ReplayWindow is how far a mobile's timestamp may be off (RFC 4285 §6).
	ReplayWindow time.Duration
	// Delegation is nil where mobile routers get no prefixes by DHCPv6.
	Delegation *Delegation
}

// Delegation is how a home agent gives prefixes to mobile routers (RFC 6276):
// from Pools, or by a server elsewhere.
type Delegation struct {
	Pools            []netip.Prefix // masked, disjoint; empty with Server
	Length           int            // of delegated prefixes
	Preferred, Valid time.Duration
	Server           netip.Addr // relay to it; invalid with Pools
}

// Mobile is a mobile that a home agent serves.
type Mobile struct {
	Name        string // of the section
	HomeAgent   string // name of the HomeAgent
	HomeAddress netip.Addr
	// Association is as in MobileNode.
	Association *mip6.SecurityAssociation
	// ESP protects the signalling by IPsec (overlay.AgentSide); nil where it is not
	// protected so.
	ESP *esp.Policy
	// IKE makes the keys of ESP; nil where they are configured.
	IKE *ike.Peer
	// Replay: with ReplayTimestamp updates without a timestamp are refused.
	Replay Replay
	// Router: the mobile may register as a mobile router.
	Router bool
	// Prefixes are the mobile network prefixes it may register: masked, and
	// disjoint over all mobiles.
	Prefixes []netip.Prefix
	// Delegate: it gets prefixes by delegation, where its home agent does that.
	// DUID, when not empty, is its DHCPv6 identifier, by which it is known at home
	// before it ever was away.
	Delegate bool
	DUID     []byte
}

// Anchor is a mobility anchor point (RFC 5380).
type Anchor struct {
	Name string // of the section
	// Interface is the link of the regional care-of addresses; empty: a virtual one,
	// the prefix being routed to this node.
	Interface string
	Address   netip.Addr
	Prefix    netip.Prefix // of regional care-of addresses: masked, a /64, contains Address
	// Served are the prefixes of on-link care-of addresses that may be bound; empty:
	// all.
	Served       []netip.Prefix
	MaxLifetime  time.Duration
	MaxBindings  int  // 0: as many as the visitors need
	DAD          bool // never without an Interface
	ReplayWindow time.Duration
	// Insecure: whoever asks is served, without authentication, beside the visitors.
	Insecure bool
}

// Visitor is a mobile that a mobility anchor point serves. It is known by the SPI
// of its Association, or of ESP: the anchor does not know home addresses.
type Visitor struct {
	Name        string                    // of the section
	Anchor      string                    // name of the Anchor; empty: all of this machine
	Association *mip6.SecurityAssociation // nil only with ESP
	// ESP protects the signalling by IPsec (overlay.AgentSide), with the anchors that
	// are enabled; nil where it is not protected.
	ESP    *esp.AnchorPolicy
	Replay Replay
}

// AnchorKey authenticates a mobile at mobility anchor points.
type AnchorKey struct {
	Name        string                    // of the section
	Mobile      string                    // name of the MobileNode; empty: all of this machine
	Anchors     netip.Prefix              // that have the key; ::/0: all
	Association *mip6.SecurityAssociation // nil only with ESP
	// ESP protects the signalling by IPsec (overlay.MobileSide); nil where it is not
	// protected.
	ESP *esp.AnchorPolicy
}

// AnchorSelection is how a mobile chooses among several mobility anchor points.
type AnchorSelection uint8

// Choices of a mobility anchor point.
const (
	AnchorPreferred AnchorSelection = iota // highest preference, then the furthest (RFC 5380 §7.1)
	AnchorFurthest                         // the furthest, then the highest preference (RFC 5380 §9.1)
	AnchorNearest                          // the nearest, then the highest preference
)

// Interface is a link on which router advertisements are sent.
type Interface struct {
	Name      string // of the interface
	Advertise bool
	// MinInterval ≤ MaxInterval bound the time between unsolicited
	// advertisements; MinDelay is the least time between any two multicast
	// ones (RFC 4861 §6.2.1, RFC 6275 §7.5 and §13).
	MinInterval, MaxInterval, MinDelay time.Duration

	RouterLifetime time.Duration // whole seconds; 0: not a default router
	Managed        bool
	OtherConfig    bool
	MTU            uint32 // 0: none
	CurHopLimit    uint8
	ReachableTime  time.Duration
	RetransTimer   time.Duration
	Preference     nd.Preference
	SourceLinkAddr bool // send the link-layer address
	IntervalOption bool // send MaxInterval (RFC 6275 §7.3)
	HomeAgent      bool // H flag
	HomeAgentInfo  *mip6.HomeAgentInformation
	UnicastReplies bool // answer solicitations by unicast
	// UnicastOnly: nothing is sent to all nodes.
	UnicastOnly bool
	// Clients, when not empty, are the only nodes that get advertisements, each by
	// unicast: link-local addresses, without zone.
	Clients []netip.Addr
	// Sources are link-local addresses to send from, the first that the interface
	// has; empty: its own choice.
	Sources []netip.Addr
	// KeepOnExit: no final advertisements when roam6 stops.
	KeepOnExit bool

	Prefixes      []Prefix
	Routes        []Route
	DNSServers    []DNSServers
	DNSSearch     []DNSSearch
	NAT64         []nd.NAT64Prefix
	CaptivePortal string
	BorderRouters []nd.BorderRouter
	Contexts      []nd.Context

	// Anchors are mobility anchor points to advertise. AnchorUpstreams are
	// interfaces whose routers' anchors are advertised, too, a hop further away
	// (RFC 5380 §7, requirement P10).
	Anchors         []mip6.MobilityAnchorPoint
	AnchorUpstreams []string
}

// Prefix is a prefix, or all prefixes of an interface, to advertise.
type Prefix struct {
	mip6.PrefixInformation
	// Own: all prefixes of its length that the interface, or From, has now, with
	// the kernel's lifetimes where those are shorter. The information's Prefix is
	// then ::/64 or another length, and with RouterAddress the interface's own address
	// in each is told.
	Own bool
	// From is another interface from whose prefixes this one is numbered (radvd's
	// Base6Interface); only with Own. The subnet is the information's Prefix'
	// bits behind that prefix.
	From string
	// Deprecate: the prefix is advertised with lifetime zero when roam6 stops.
	Deprecate bool
	// Decrement: its lifetimes count down in real time from the start.
	Decrement bool
}

// Route is a route to advertise.
type Route struct {
	nd.RouteInformation
	// Keep: not withdrawn when roam6 stops.
	Keep bool
}

// DNSServers are DNS servers to advertise.
type DNSServers struct {
	nd.RecursiveDNS
	Keep bool // as of Route
}

// DNSSearch is a DNS search list to advertise.
type DNSSearch struct {
	nd.DNSSearch
	Keep bool // as of Route
}

// Source is a configuration file that was read and not yet parsed, which takes longer.
type Source struct {
	// Digest is that of the Config that is made of it.
	Digest [sha256.Size]byte

	path string
	text []byte
	mode fs.FileMode
}

// Load reads and validates a configuration file. The error is an Errors when
// the file could be read. A file with keys must not be readable by others.
func Load(path string) (*Config, error) {
	s, err := Read(path)
	if err != nil {
		return nil, err
	}
	return s.Parse()
}

// Read reads a configuration file.
func Read(path string) (*Source, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration %s: write one, or name another file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("configuration %s is not a regular file", path)
	}
	var text bytes.Buffer
	text.Grow(int(min(info.Size(), uci.MaxSize)) + bytes.MinRead) // for the end of the file, too
	if _, err := text.ReadFrom(io.LimitReader(f, uci.MaxSize+1)); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	s := &Source{path: path, text: text.Bytes(), mode: info.Mode().Perm()}
	digest := sha256.New()
	digest.Write(s.text)
	fmt.Fprintf(digest, "\x00%v", s.mode)
	digest.Sum(s.Digest[:0])
	return s, nil
}

// Parse validates the configuration. The error is an Errors.
func (s *Source) Parse() (*Config, error) {
	c, err := parse(s.path, s.text, s.mode)
	if err != nil {
		return nil, err
	}
	c.Digest = s.Digest
	return c, nil
}

// Parse validates a configuration that comes from no file; name stands for it
// in positions. The error is an Errors.
func Parse(name string, src []byte) (*Config, error) {
	return parse(name, src, 0o600)
}
