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

	optionHomeAgent  = "home_agent"
	optionPrefix     = "prefix"
	optionDeprecated = "deprecated_prefix"

	optionUplink     = "uplink"
	optionDownstream = "downstream"
	optionDelegation = "prefix_delegation"
	optionPool       = "delegation_pool"
	optionServer     = "delegation_server"
	optionLength     = "delegation_length"
	optionDelegate   = "delegate"
	optionDUID       = "duid"
	optionAdvertise  = "AdvSendAdvert"
)

// Describe lists all section types, in the order of the documentation.
func Describe() []SectionDescription {
	return []SectionDescription{
		globalsTable().describe(),
		metricsTable().describe(),
		mobileRouterTable().describe(),
		mobileNodeTable().describe(),
		uplinkTable().describe(),
		prefixRequestTable().describe(),
		policyTable().describe(),
		correspondentTable().describe(),
		homeAgentTable().describe(),
		mobileTable().describe(),
		ipsecTable().describe(),
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
			one("state_directory", absolutePath(4095), func(g *Globals) *string { return &g.StateDirectory }).
				fallback("/var/lib/roam6").onReload(EffectDaemon).
				help("Where roam6 keeps what has to survive a restart: its DHCPv6 identifier, leases, delegated prefixes. It is made if it is not there. " +
					"OpenWrt's /var is in memory and gone after a reboot: a directory such as /etc/roam6 keeps identifier and prefixes, and costs some writes to flash."),
			one("resolver_file", absolutePath(4095), func(g *Globals) *string { return &g.ResolverFile }).
				dependent("none").onReload(EffectDaemon).
				help("A file that gets the DNS servers and search domains that DHCPv6 servers told, in the form of resolv.conf, such as /tmp/resolv.conf.d/resolv.conf.roam6, which OpenWrt's dnsmasq reads where its `option resolvfile` names it."),
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
			one("enabled", boolean(), func(m *metricsDraft) *bool { return &m.enabled }).fallback("0").onReload(EffectDaemon).
				help("Whether to listen at all."),
			one("listen_address", listenAddress(), func(m *metricsDraft) *netip.Addr { return &m.address }).fallback("::1").onReload(EffectDaemon).
				help("The address to listen on; `::` is all of them. There is no access control."),
			one("listen_port", integer[uint16](1, 65535, ""), func(m *metricsDraft) *uint16 { return &m.port }).fallback("9706").onReload(EffectDaemon).
				help("The TCP port to listen on."),
		},
	}
}

type metricsDraft struct {
	enabled bool
	address netip.Addr
	port    uint16
}

type homeAgentDraft struct {
	HomeAgent
	delegation Delegation
	enabled    bool
}

func homeAgentTable() schema[homeAgentDraft] {
	return schema[homeAgentDraft]{
		SectionDescription: SectionDescription{
			Type: "home_agent", Named: true,
			Help: "A home agent on a home link. Whom it serves is in the `mobile` sections; nobody else is.",
		},
		options: append([]option[homeAgentDraft]{
			one("enabled", boolean(), func(h *homeAgentDraft) *bool { return &h.enabled }).fallback("1").onReload(EffectSection).
				help("A home agent that is not enabled disables its mobiles too."),
			one("interface", interfaceName(), func(h *homeAgentDraft) *string { return &h.Interface }).required().onReload(EffectSection).
				help("The interface to the home link, where home addresses are defended."),
			one("address", unicastAddress(), func(h *homeAgentDraft) *netip.Addr { return &h.Address }).required().onReload(EffectSection).
				help("The home agent's own address, inside of the first prefix."),
			many(optionPrefix, network(), func(h *homeAgentDraft) *[]netip.Prefix { return &h.Prefixes }).required().
				help("The home prefixes, the main one first: all home addresses are inside of one. " +
					"A mobile has a home address in each, with the same interface identifier."),
			many(optionDeprecated, network(), func(h *homeAgentDraft) *[]netip.Prefix { return &h.Deprecated }).
				help("Home prefixes that are being given up: mobiles are told to use one of the others for what is new, and move to it."),
			one("deprecated_lifetime", seconds(1, 4294967294), func(h *homeAgentDraft) *time.Duration { return &h.DeprecatedLifetime }).fallback("7200").
				help("How long a deprecated prefix can still be used, from the first time that roam6 reads it there. A reload does not begin anew."),
			one("prefix_advertisements", boolean(), func(h *homeAgentDraft) *bool { return &h.PrefixAdvertisements }).fallback("1").
				help("Tell mobiles that are away of the home prefixes (SendMobPfxAdvs, RFC 6275 §13)."),
			one("prefix_min_interval", seconds(1, 86400), func(h *homeAgentDraft) *time.Duration { return &h.PrefixMinInterval }).fallback("600").
				help("The least delay before mobiles are told of a change that is not urgent (MinMobPfxAdvInterval)."),
			one("prefix_max_interval", seconds(1, 604800), func(h *homeAgentDraft) *time.Duration { return &h.PrefixMaxInterval }).fallback("86400").
				help("The greatest (MaxMobPfxAdvInterval)."),
			one("max_lifetime", seconds(8, 262140), func(h *homeAgentDraft) *time.Duration { return &h.MaxLifetime }).fallback("3600").
				help("The longest binding lifetime granted."),
			one("dad", boolean(), func(h *homeAgentDraft) *bool { return &h.DAD }).fallback("1").
				help("Duplicate address detection for a home address before its first binding is acknowledged (RFC 6275 §10.3.1). It costs the first registration a second."),
			one("replay_window_ms", milliseconds(3000, 60000), func(h *homeAgentDraft) *time.Duration { return &h.ReplayWindow }).fallback("7000").
				help("How far the timestamp of an update may be from the home agent's clock (RFC 4285 §6)."),
		}, delegationOptions()...),
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
				help("The home address, inside of a prefix of the home agent."),
		}, credentialOptions(func(m *mobileDraft) *credentials { return &m.credentials })...),
			one("replay", oneOf(
				choice[Replay]{"timestamp", ReplayTimestamp},
				choice[Replay]{"sequence", ReplaySequence},
			), func(m *mobileDraft) *Replay { return &m.Replay }).fallback("sequence").
				help("Whether updates without a timestamp are refused, or taken by their sequence number. Timestamps are checked in any case."),
			many("prefix", network(), func(m *mobileDraft) *[]netip.Prefix { return &m.Prefixes }).
				help("The mobile network prefixes that the mobile may register. No two mobiles share one."),
			one("router", boolean(), func(m *mobileDraft) *bool { return &m.Router }).
				dependent("1 with prefix or delegate, 0 without").
				help("Whether the mobile may register as a mobile router."),
			one(optionDelegate, boolean(), func(m *mobileDraft) *bool { return &m.Delegate }).
				dependent("1 for a router of a home agent that delegates").
				help("Whether the mobile router gets prefixes by delegation, from the home agent's `delegation_pool` or `delegation_server`. Then it needs no `prefix`."),
			one(optionDUID, duid(), func(m *mobileDraft) *[]byte { return &m.DUID }).
				dependent("none: learned while it is away").
				help("The mobile router's DHCPv6 identifier, which `roam6 show delegations` tells. Away its home address says who it is; only a router that asks on the home link before it ever was away, and whose interface identifier there is not that of its home address, needs the option."),
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
				"The downstream interfaces of a `mobile_router` or `prefix_request` need no section, nor do their prefixes: those come by themselves, also delegated ones. There this section only changes the defaults, and AdvSendAdvert is 1.",
		},
		options: []option[interfaceDraft]{
			one("interface", interfaceName(), func(i *interfaceDraft) *string { return &i.Name }).required().onReload(EffectSection).
				help("The name of the interface."),
			flag(optionAdvertise, func(i *interfaceDraft) *bool { return &i.Advertise }).
				dependent("0; 1 on a downstream").
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
