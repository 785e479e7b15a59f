package config

import (
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
)

// credentials are the options of a security association.
type credentials struct {
	spi      uint32
	key      mip6.SharedKey
	insecure bool
}

func credentialOptions[S any](of func(*S) *credentials) []option[S] {
	return []option[S]{
		spiOption(of).
			help("The security parameter index (RFC 4285), which goes with the key: the same number on both sides."),
		keyOption(of).
			dependent("none; required unless there is an ipsec section for the home address, or insecure").
			help("The shared key of mobile and home agent. `hexdump -vn16 -e '16/1 \"%02x\"' /dev/urandom` makes one. A file with keys must have mode 0600."),
		one(optionInsecure, boolean(), func(s *S) *bool { return &of(s).insecure }).fallback("0").
			help("Run without authentication: anybody can then redirect this mobile's traffic. For experiments on closed networks only; logged as a warning."),
	}
}

func spiOption[S any](of func(*S) *credentials) option[S] {
	return one(optionSPI, integer[uint32](256, 0xffffffff, ""), func(s *S) *uint32 { return &of(s).spi }).fallback("256")
}

func keyOption[S any](of func(*S) *credentials) option[S] {
	return one(optionKey, sharedKey(), func(s *S) *mip6.SharedKey { return &of(s).key })
}

// replayKind are the protections against replay.
func replayKind() kind[Replay] {
	return oneOf(
		choice[Replay]{"timestamp", ReplayTimestamp},
		choice[Replay]{"sequence", ReplaySequence},
	)
}

type mobileNodeDraft struct {
	MobileNode
	credentials
	enabled bool
}

func mobileNodeOptions() []option[mobileNodeDraft] {
	return slices.Concat([]option[mobileNodeDraft]{
		one("enabled", boolean(), func(m *mobileNodeDraft) *bool { return &m.enabled }).fallback("1").onReload(EffectSection).
			help("A section that is not enabled is checked, but need not be complete."),
		one("home_address", hostAddress(), func(m *mobileNodeDraft) *netip.Prefix { return &m.HomeAddress }).required().onReload(EffectSection).
			help("The home address, with the length of the home prefix."),
		many(optionHomeAgent, unicastAddress(), func(m *mobileNodeDraft) *[]netip.Addr { return &m.HomeAgents }).
			dependent("none: they are discovered").onReload(EffectSection).
			help("The addresses of home agents, in order of preference: when one refuses or does not answer, the next is tried. A reload restarts the section only where it takes away the one in use."),
		one("discover", boolean(), func(m *mobileNodeDraft) *bool { return &m.Discover }).
			dependent("1 without home_agent, 0 with one").
			help("Ask the home link for its home agents when there is none, or none of those listed serves (RFC 6275 §11.4.1). " +
				"Of the answer nothing is authenticated; the registration is, by the key."),
		many(optionUplink, interfaceName(), func(m *mobileNodeDraft) *[]string { return &m.Uplinks }).required().
			help("The interfaces that lead outside, in order of preference. roam6 configures them itself: they are `proto none` for netifd. An `uplink` section changes that, and says where addresses come from."),
		one("hysteresis_ms", milliseconds(0, 60000), func(m *mobileNodeDraft) *time.Duration { return &m.Hysteresis }).fallback("1000").
			help("How long a preferred uplink must be good before a working one is left for it. One that fails is left at once."),
		one("default_source", boolean(), func(m *mobileNodeDraft) *bool { return &m.DefaultSource }).
			dependent("1 for the first mobile_node or mobile_router, unless another one says 1").
			help("Whether programs of this host that choose no source address use this home address. Only one section can have that; `policy` sections add exceptions."),
		one("route_optimization", oneOf(
			choice[RouteOptimisation]{"off", TunnelledRoutes},
			choice[RouteOptimisation]{"on", OptimisedRoutes},
			choice[RouteOptimisation]{"list", ListedRoutes},
		), func(m *mobileNodeDraft) *RouteOptimisation { return &m.RouteOptimisation }).fallback("off").
			help("Whether packets from and to the home address itself go straight to correspondents that can do that, not through the home agent (RFC 6275 §11.6): " +
				"with all but those of the list `correspondent`, or only with those. They then know where the mobile is."),
		many("correspondent", networkOrAddress(), func(m *mobileNodeDraft) *[]netip.Prefix { return &m.Correspondents }).
			help("The correspondents that route_optimization excepts (`on`) or is for (`list`)."),
	}, credentialOptions(func(m *mobileNodeDraft) *credentials { return &m.credentials }), []option[mobileNodeDraft]{
		one("replay", replayKind(), func(m *mobileNodeDraft) *Replay { return &m.Replay }).fallback("timestamp").
			help("The protection against replayed messages: timestamps beside the sequence numbers, or sequence numbers alone. A clock that is wrong, as after the start of a router without one, is no obstacle: for timestamps the home agent's time is adopted."),
		one(optionLifetime, seconds(8, 262140), func(m *mobileNodeDraft) *time.Duration { return &m.Lifetime }).fallback("600").
			help("The lifetime to ask for in a binding update; rounded down to 4 seconds."),
		one("initial_timeout_ms", milliseconds(500, 32000), func(m *mobileNodeDraft) *time.Duration { return &m.InitialTimeout }).fallback("1500").
			help("How long to wait for the first acknowledgement of a new registration before the update is repeated (InitialBindackTimeoutFirstReg, RFC 6275 §13)."),
		one(optionDAD, oneOf(
			choice[DAD]{"optimistic", DADOptimistic},
			choice[DAD]{"wait", DADWait},
		), func(m *mobileNodeDraft) *DAD { return &m.DAD }).fallback("optimistic").
			help("Whether a new care-of address is used while duplicate address detection is under way (RFC 4429), or only a second later."),
	}, hierarchyOptions())
}

func mobileNodeTable() schema[mobileNodeDraft] {
	return schema[mobileNodeDraft]{
		SectionDescription: SectionDescription{
			Type: "mobile_node", Named: true,
			Help: "A mobile node: one host that keeps its address. Several sections are several home addresses.",
		},
		options: mobileNodeOptions(),
		enabled: func(m *mobileNodeDraft) bool { return m.enabled },
	}
}

func mobileRouterTable() schema[mobileNodeDraft] {
	return schema[mobileNodeDraft]{
		SectionDescription: SectionDescription{
			Type: "mobile_router", Named: true,
			Help: "A mobile router: a mobile node that moves a network with it.",
		},
		options: append(mobileNodeOptions(),
			one("mode", oneOf(
				choice[PrefixMode]{"explicit", ModeExplicit},
				choice[PrefixMode]{"implicit", ModeImplicit},
			), func(m *mobileNodeDraft) *PrefixMode { return &m.Mode }).fallback("explicit").
				help("Whether binding updates carry the prefixes, or the home agent knows them (RFC 3963 §5.2). "+
					"With prefix_delegation updates are implicit until something is delegated, whatever this says (RFC 6276 §3.1); in explicit mode those after that carry it, too."),
			many(optionPrefix, network(), func(m *mobileNodeDraft) *[]netip.Prefix { return &m.Prefixes }).
				dependent("none; required without prefix_delegation").
				help("The mobile network prefixes. In implicit mode too: only packets from these prefixes enter the tunnel."),
			many(optionDownstream, interfaceName(), func(m *mobileNodeDraft) *[]string { return &m.Downstreams }).
				dependent("none; required with prefix_delegation, unless netifd").
				help("The interfaces of the mobile network, on which the prefixes are advertised: of those configured the first on the first, and what is left over on the last; of each delegated one a /64 on every interface. In delegated prefixes the interface gets the address ::1 from roam6; in configured ones its address is to be set by others (netifd, systemd-networkd), or nothing comes back to hosts there."),
			one(optionDelegation, boolean(), func(m *mobileNodeDraft) *bool { return &m.Delegation }).fallback("0").
				help("Whether to get prefixes from the home agent, by DHCPv6 prefix delegation through the tunnel or on the home link (RFC 6276). They stay the same while the network moves, and need not be configured: each downstream gets a /64 and this router's address ::1 in it."),
			one(optionLength, delegationLength(), func(m *mobileNodeDraft) *int { return &m.DelegationLength }).
				dependent("the home agent's choice").
				help("The length of prefix to ask for. The home agent may give another one."),
			one(optionNetifd, boolean(), func(m *mobileNodeDraft) *bool { return &m.Netifd }).fallback("0").
				help("Whether OpenWrt's netifd has the mobile network: an interface of `proto roam6` (package roam6-proto) hands it the prefixes, its `ip6assign` numbers the interfaces, and odhcpd advertises there. roam6 then does neither, so there is no downstream."),
		),
		enabled: func(m *mobileNodeDraft) bool { return m.enabled },
	}
}
