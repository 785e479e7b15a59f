package config

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// Options that errors of several sections refer to.
const (
	optionKey      = "key"
	optionSPI      = "spi"
	optionInsecure = "insecure"
)

// Describe lists all section types, in the order of the documentation.
func Describe() []SectionDescription {
	return []SectionDescription{
		globalsTable().describe(),
		metricsTable().describe(),
		mobileRouterTable().describe(),
		mobileNodeTable().describe(),
		homeAgentTable().describe(),
		mobileTable().describe(),
		interfaceTable().describe(),
		prefixTable().describe(),
	}
}

func globalsTable() schema[Globals] {
	return schema[Globals]{
		SectionDescription: SectionDescription{
			Type: "globals", Single: true,
			Help: "What concerns the daemon as a whole. The section may be left out.",
		},
		options: []option[Globals]{
			one("log_level", oneOf(
				choice[slog.Level]{"debug", slog.LevelDebug},
				choice[slog.Level]{"info", slog.LevelInfo},
				choice[slog.Level]{"warn", slog.LevelWarn},
				choice[slog.Level]{"error", slog.LevelError},
			), func(g *Globals) *slog.Level { return &g.LogLevel }).fallback("info").
				help("The least important messages to log."),
			one("log_target", oneOf(
				choice[LogTarget]{"stderr", LogStderr},
				choice[LogTarget]{"syslog", LogSyslog},
			), func(g *Globals) *LogTarget { return &g.LogTarget }).fallback("stderr").onReload(EffectDaemon).
				help("Where the log goes. Under procd, standard error ends up in the system log too."),
			one("control", socketPath(), func(g *Globals) *string { return &g.Control }).
				fallback("/var/run/roam6.sock").onReload(EffectDaemon).
				help("The unix socket on which `roam6 show` asks."),
			one("plane", oneOf(
				choice[PlaneChoice]{"auto", PlaneAuto},
				choice[PlaneChoice]{"tun", PlaneTUN},
			), func(g *Globals) *PlaneChoice { return &g.Plane }).fallback("auto").onReload(EffectDaemon).
				help("The data plane: the best that this machine offers, or the one in user space."),
			one("tunnel_device", interfaceName(), func(g *Globals) *string { return &g.TunnelDevice }).
				fallback("roam6").onReload(EffectDaemon).
				help("The name of the data plane's network device."),
		},
	}
}

func metricsTable() schema[metricsDraft] {
	return schema[metricsDraft]{
		SectionDescription: SectionDescription{
			Type: "metrics", Single: true,
			Help: "Metrics for Prometheus, on `/metrics` over HTTP. The section may be left out.",
		},
		options: []option[metricsDraft]{
			one("enabled", boolean(), func(m *metricsDraft) *bool { return &m.enabled }).fallback("0").
				help("Whether to listen at all."),
			one("listen_address", listenAddress(), func(m *metricsDraft) *netip.Addr { return &m.address }).fallback("::1").
				help("The address to listen on; `::` is all of them. There is no access control."),
			one("listen_port", integer[uint16](1, 65535, ""), func(m *metricsDraft) *uint16 { return &m.port }).fallback("9706").
				help("The TCP port to listen on."),
		},
	}
}

type metricsDraft struct {
	enabled bool
	address netip.Addr
	port    uint16
}

// credentials are the options of a security association.
type credentials struct {
	spi      uint32
	key      mip6.SharedKey
	insecure bool
}

func credentialOptions[S any](of func(*S) *credentials) []option[S] {
	return []option[S]{
		one(optionSPI, integer[uint32](256, 0xffffffff, ""), func(s *S) *uint32 { return &of(s).spi }).
			dependent("none; required with a key").
			help("The security parameter index (RFC 4285): the same number on both sides."),
		one(optionKey, sharedKey(), func(s *S) *mip6.SharedKey { return &of(s).key }).
			dependent("none; required unless insecure").
			help("The shared key of mobile and home agent. `hexdump -vn16 -e '16/1 \"%02x\"' /dev/urandom` makes one. A file with keys must have mode 0600."),
		one(optionInsecure, boolean(), func(s *S) *bool { return &of(s).insecure }).fallback("0").
			help("Run without authentication: anybody can then redirect this mobile's traffic. For experiments on closed networks only; logged as a warning."),
	}
}

type mobileNodeDraft struct {
	MobileNode
	credentials
	enabled bool
}

func mobileNodeOptions() []option[mobileNodeDraft] {
	return append([]option[mobileNodeDraft]{
		one("enabled", boolean(), func(m *mobileNodeDraft) *bool { return &m.enabled }).fallback("1").onReload(EffectSection).
			help("A section that is not enabled is checked, but need not be complete."),
		one("home_address", hostAddress(), func(m *mobileNodeDraft) *netip.Prefix { return &m.HomeAddress }).required().onReload(EffectSection).
			help("The home address, with the length of the home prefix."),
		one("home_agent", unicastAddress(), func(m *mobileNodeDraft) *netip.Addr { return &m.HomeAgent }).required().onReload(EffectSection).
			help("The address of the home agent."),
		many("uplink", interfaceName(), func(m *mobileNodeDraft) *[]string { return &m.Uplinks }).required().
			help("The interfaces that lead outside, in order of preference. roam6 configures them itself: they are `proto none` for netifd."),
	}, append(credentialOptions(func(m *mobileNodeDraft) *credentials { return &m.credentials }),
		one("replay", oneOf(
			choice[Replay]{"timestamp", ReplayTimestamp},
			choice[Replay]{"sequence", ReplaySequence},
		), func(m *mobileNodeDraft) *Replay { return &m.Replay }).fallback("timestamp").
			help("The protection against replayed messages: timestamps beside the sequence numbers, or sequence numbers alone."),
		one("lifetime", seconds(8, 262140), func(m *mobileNodeDraft) *time.Duration { return &m.Lifetime }).fallback("600").
			help("The lifetime to ask for in a binding update; rounded down to 4 seconds."),
		one("initial_timeout_ms", milliseconds(500, 32000), func(m *mobileNodeDraft) *time.Duration { return &m.InitialTimeout }).fallback("1500").
			help("How long to wait for the first acknowledgement of a new registration before the update is repeated (InitialBindackTimeoutFirstReg, RFC 6275 §13)."),
		one("dad", oneOf(
			choice[DAD]{"optimistic", DADOptimistic},
			choice[DAD]{"wait", DADWait},
		), func(m *mobileNodeDraft) *DAD { return &m.DAD }).fallback("optimistic").
			help("Whether a new care-of address is used while duplicate address detection is under way (RFC 4429), or only a second later."),
	)...)
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
				help("Whether binding updates carry the prefixes, or the home agent knows them (RFC 3963 §5.2)."),
			many("prefix", network(), func(m *mobileNodeDraft) *[]netip.Prefix { return &m.Prefixes }).required().
				help("The mobile network prefixes. In implicit mode too: only packets from these prefixes enter the tunnel."),
			many("downstream", interfaceName(), func(m *mobileNodeDraft) *[]string { return &m.Downstreams }).
				help("The interfaces of the mobile network, on which the prefixes are advertised."),
		),
		enabled: func(m *mobileNodeDraft) bool { return m.enabled },
	}
}

type homeAgentDraft struct {
	HomeAgent
	enabled bool
}

func homeAgentTable() schema[homeAgentDraft] {
	return schema[homeAgentDraft]{
		SectionDescription: SectionDescription{
			Type: "home_agent", Named: true,
			Help: "A home agent on a home link. Whom it serves is in the `mobile` sections; nobody else is.",
		},
		options: []option[homeAgentDraft]{
			one("enabled", boolean(), func(h *homeAgentDraft) *bool { return &h.enabled }).fallback("1").onReload(EffectSection).
				help("A home agent that is not enabled disables its mobiles too."),
			one("interface", interfaceName(), func(h *homeAgentDraft) *string { return &h.Interface }).required().onReload(EffectSection).
				help("The interface to the home link, where home addresses are defended."),
			one("address", unicastAddress(), func(h *homeAgentDraft) *netip.Addr { return &h.Address }).required().onReload(EffectSection).
				help("The home agent's own address, inside of the prefix."),
			one("prefix", network(), func(h *homeAgentDraft) *netip.Prefix { return &h.Prefix }).required().onReload(EffectSection).
				help("The home prefix: all home addresses are inside."),
			one("max_lifetime", seconds(8, 262140), func(h *homeAgentDraft) *time.Duration { return &h.MaxLifetime }).fallback("3600").
				help("The longest binding lifetime granted."),
			one("dad", boolean(), func(h *homeAgentDraft) *bool { return &h.DAD }).fallback("1").
				help("Duplicate address detection for a home address before its first binding is acknowledged (RFC 6275 §10.3.1). It costs the first registration a second."),
			one("replay_window_ms", milliseconds(3000, 60000), func(h *homeAgentDraft) *time.Duration { return &h.ReplayWindow }).fallback("7000").
				help("How far the timestamp of an update may be from the home agent's clock (RFC 4285 §6)."),
		},
		enabled: func(h *homeAgentDraft) bool { return h.enabled },
	}
}

type mobileDraft struct {
	Mobile
	credentials
	enabled bool
}

func mobileTable() schema[mobileDraft] {
	return schema[mobileDraft]{
		SectionDescription: SectionDescription{
			Type: "mobile", Named: true,
			Help: "A mobile that a home agent of this machine serves.",
		},
		options: append(append([]option[mobileDraft]{
			one("enabled", boolean(), func(m *mobileDraft) *bool { return &m.enabled }).fallback("1").onReload(EffectSection).
				help("A mobile that is not enabled is refused."),
			one("home_agent", sectionName("home_agent"), func(m *mobileDraft) *string { return &m.HomeAgent }).
				dependent("the only one there is").onReload(EffectSection).
				help("The home agent that serves this mobile; required when there are several."),
			one("home_address", unicastAddress(), func(m *mobileDraft) *netip.Addr { return &m.HomeAddress }).required().onReload(EffectSection).
				help("The home address, inside of the home agent's prefix."),
		}, credentialOptions(func(m *mobileDraft) *credentials { return &m.credentials })...),
			many("prefix", network(), func(m *mobileDraft) *[]netip.Prefix { return &m.Prefixes }).
				help("The mobile network prefixes that the mobile may register. No two mobiles share one."),
			one("router", boolean(), func(m *mobileDraft) *bool { return &m.Router }).
				dependent("1 with prefixes, 0 without").
				help("Whether the mobile may register as a mobile router."),
		),
		enabled: func(m *mobileDraft) bool { return m.enabled },
	}
}

// interfaceDraft holds an interface section; what has a default that depends
// on other options is computed later.
type interfaceDraft struct {
	Interface
	homeAgentInfo bool
	info          mip6.HomeAgentInformation
}

func interfaceTable() schema[interfaceDraft] {
	flag := func(name string, field func(*interfaceDraft) *bool) option[interfaceDraft] {
		return one(name, boolean(), field)
	}
	return schema[interfaceDraft]{
		SectionDescription: SectionDescription{
			Type: "interface",
			Help: "Router advertisements on a link; one section a link. The options are those of radvd. " +
				"With AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or a prefix with AdvRouterAddr the link serves mobiles, " +
				"and the short intervals of RFC 6275 §7.5 are allowed. " +
				"A mobile router's downstream interfaces need no section: there this one only changes the defaults.",
		},
		options: []option[interfaceDraft]{
			one("interface", interfaceName(), func(i *interfaceDraft) *string { return &i.Name }).required().onReload(EffectSection).
				help("The name of the interface."),
			flag("AdvSendAdvert", func(i *interfaceDraft) *bool { return &i.Advertise }).fallback("0").
				help("Whether to send advertisements at all."),
			one("max_interval_ms", milliseconds(70, 65535000), func(i *interfaceDraft) *time.Duration { return &i.MaxInterval }).fallback("600000").
				help("The longest time between unsolicited advertisements; at least 4000 on a link that does not serve mobiles."),
			one("min_interval_ms", milliseconds(30, 65535000), func(i *interfaceDraft) *time.Duration { return &i.MinInterval }).
				dependent("0.33 × max_interval_ms, within the limits").
				help("The shortest time between unsolicited advertisements. At least 3000 and at most three quarters of max_interval_ms on a link that does not serve mobiles."),
			one("min_delay_between_ras_ms", milliseconds(30, 60000), func(i *interfaceDraft) *time.Duration { return &i.MinDelay }).
				dependent("3000, or min_interval_ms if that is less").
				help("The shortest time between any two multicast advertisements (RFC 6275 §13); at least 3000 on a link that does not serve mobiles."),
			one("AdvDefaultLifetime", seconds(0, 65535), func(i *interfaceDraft) *time.Duration { return &i.RouterLifetime }).
				dependent("three times max_interval_ms").
				help("The router lifetime: 0 where this is no default router, otherwise at least a second and max_interval_ms."),
			one("AdvDefaultPreference", oneOf(
				choice[nd.Preference]{"low", nd.PreferenceLow},
				choice[nd.Preference]{"medium", nd.PreferenceMedium},
				choice[nd.Preference]{"high", nd.PreferenceHigh},
			), func(i *interfaceDraft) *nd.Preference { return &i.Preference }).fallback("medium").
				help("The default router preference (RFC 4191)."),
			flag("AdvManagedFlag", func(i *interfaceDraft) *bool { return &i.Managed }).fallback("0").
				help("Hosts get addresses by DHCPv6."),
			flag("AdvOtherConfigFlag", func(i *interfaceDraft) *bool { return &i.OtherConfig }).fallback("0").
				help("Hosts get other configuration by DHCPv6."),
			one("AdvLinkMTU", orElse(integer[uint32](1280, 65535, "octets"), "0", 0), func(i *interfaceDraft) *uint32 { return &i.MTU }).fallback("0").
				help("The MTU of the link; 0 does not tell."),
			one("AdvCurHopLimit", integer[uint8](0, 255, ""), func(i *interfaceDraft) *uint8 { return &i.CurHopLimit }).fallback("64").
				help("The hop limit for hosts to use; 0 does not tell."),
			one("AdvReachableTime", milliseconds(0, 3600000), func(i *interfaceDraft) *time.Duration { return &i.ReachableTime }).fallback("0").
				help("How long hosts take a neighbour as reachable; 0 does not tell."),
			one("AdvRetransTimer", milliseconds(0, 4294967295), func(i *interfaceDraft) *time.Duration { return &i.RetransTimer }).fallback("0").
				help("The time between repeated neighbour solicitations; 0 does not tell."),
			flag("AdvSourceLLAddress", func(i *interfaceDraft) *bool { return &i.SourceLinkAddr }).fallback("1").
				help("Include the link-layer address. A home agent must."),
			flag("AdvRASolicitedUnicast", func(i *interfaceDraft) *bool { return &i.UnicastReplies }).fallback("1").
				help("Answer solicitations by unicast."),
			flag("AdvIntervalOpt", func(i *interfaceDraft) *bool { return &i.IntervalOption }).fallback("0").
				help("Tell max_interval_ms, so that mobiles notice missed advertisements (RFC 6275 §7.3)."),
			flag("AdvHomeAgentFlag", func(i *interfaceDraft) *bool { return &i.HomeAgent }).fallback("0").
				help("This router is a home agent on the link. Needs a prefix with AdvRouterAddr."),
			flag("AdvHomeAgentInfo", func(i *interfaceDraft) *bool { return &i.homeAgentInfo }).fallback("0").
				help("Tell the following three (RFC 6275 §7.4). Needs AdvHomeAgentFlag."),
			one("HomeAgentLifetime", seconds(1, 65520), func(i *interfaceDraft) *time.Duration { return &i.info.Lifetime }).
				dependent("AdvDefaultLifetime").
				help("How long this router will be a home agent."),
			one("HomeAgentPreference", integer[int16](-32768, 32767, ""), func(i *interfaceDraft) *int16 { return &i.info.Preference }).fallback("0").
				help("The preference among the home agents of the link; the highest is tried first."),
			flag("AdvMobRtrSupportFlag", func(i *interfaceDraft) *bool { return &i.info.MobileRouter }).fallback("0").
				help("The home agent serves mobile routers (RFC 3963 §4.4)."),
		},
	}
}

type prefixDraft struct {
	link        string
	prefixes    []netip.Prefix
	information mip6.PrefixInformation
}

func prefixTable() schema[prefixDraft] {
	return schema[prefixDraft]{
		SectionDescription: SectionDescription{
			Type: "prefix",
			Help: "Prefixes to advertise on an interface. Options that differ take a section of their own.",
		},
		options: []option[prefixDraft]{
			one("interface", interfaceName(), func(d *prefixDraft) *string { return &d.link }).required().
				help("The name of the interface, which has an `interface` section."),
			many("prefix", advertisedPrefix(), func(d *prefixDraft) *[]netip.Prefix { return &d.prefixes }).required().
				help("The prefixes. With AdvRouterAddr each is the router's whole address, such as 2001:db8:1::1/64."),
			one("AdvOnLink", boolean(), func(d *prefixDraft) *bool { return &d.information.OnLink }).fallback("1").
				help("Addresses of the prefix are on the link."),
			one("AdvAutonomous", boolean(), func(d *prefixDraft) *bool { return &d.information.Autonomous }).fallback("1").
				help("Hosts may make themselves an address of the prefix."),
			one("AdvRouterAddr", boolean(), func(d *prefixDraft) *bool { return &d.information.RouterAddress }).fallback("0").
				help("The router's whole address is sent in place of the prefix (RFC 6275 §7.2)."),
			one("AdvValidLifetime", orElse(seconds(0, 4294967294), "infinity", mip6.InfiniteLifetime),
				func(d *prefixDraft) *time.Duration { return &d.information.ValidLifetime }).fallback("86400").
				help("How long addresses of the prefix may be used."),
			one("AdvPreferredLifetime", orElse(seconds(0, 4294967294), "infinity", mip6.InfiniteLifetime),
				func(d *prefixDraft) *time.Duration { return &d.information.PreferredLifetime }).
				dependent("14400, or AdvValidLifetime if that is less").
				help("How long addresses of the prefix may be used for something new."),
		},
	}
}
