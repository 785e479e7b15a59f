package config

import (
	"log/slog"
	"net/netip"
	"time"
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
	optionNetifd     = "netifd"
	optionPool       = "delegation_pool"
	optionServer     = "delegation_server"
	optionLength     = "delegation_length"
	optionDelegate   = "delegate"
	optionDUID       = "duid"
	optionAdvertise  = "AdvSendAdvert"

	optionLifetime  = "lifetime"
	optionInterface = "interface"
	optionIgnore    = "ignore"
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
		anchorKeyTable().describe(),
		homeAgentTable().describe(),
		mobileTable().describe(),
		ipsecTable().describe(),
		anchorTable().describe(),
		visitorTable().describe(),
		interfaceTable().describe(),
		prefixTable().describe(),
		routeTable().describe(),
		rdnssTable().describe(),
		dnsslTable().describe(),
		nat64Table().describe(),
		borderRouterTable().describe(),
		contextTable().describe(),
		mapOptionTable().describe(),
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
				help("The least important messages to log. `info` has three lines for each hand-over, `warn` what somebody should look at, `debug` each change of the kernel's state."),
			one("log_target", oneOf(
				choice[LogTarget]{"stderr", LogStderr},
				choice[LogTarget]{"syslog", LogSyslog},
			), func(g *Globals) *LogTarget { return &g.LogTarget }).fallback("stderr").onReload(EffectDaemon).
				help("Where the log goes. Under procd, standard error ends up in the system log too, and under systemd in the journal, with the priority of each line."),
			one("control", socketPath(), func(g *Globals) *string { return &g.Control }).
				fallback("/var/run/roam6.sock").onReload(EffectDaemon).
				help("The unix socket on which `roam6 show` asks. Beside it are files for a restart that is not one of the host, such as the bindings of home agents and anchors: its directory is to be in memory, and writable for roam6 alone."),
			one("plane", oneOf(
				choice[PlaneChoice]{"auto", PlaneAuto},
				choice[PlaneChoice]{"kernel", PlaneKernel},
				choice[PlaneChoice]{"tcx", PlaneTCX},
				choice[PlaneChoice]{"tun", PlaneTUN},
			), func(g *Globals) *PlaneChoice { return &g.Plane }).fallback("auto").onReload(EffectDaemon).
				help("The data plane: the best that this machine offers, which `roam6 doctor` tells, or that of the kernel's tunnels, of eBPF programs, or in user space. One that this machine does not offer is an error at the start."),
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
			one("page", boolean(), func(g *Globals) *bool { return &g.Page }).fallback("0").onReload(EffectDaemon).
				help("Whether the listener of the `metrics` section, which has to be enabled, also serves a page for people, on `/`: mobiles, where they are, and their last moves. Unlike the metrics it names mobiles and addresses, and like them it has no access control: whoever reaches the listener sees them."),
			one("gogc", integer[int](10, 1000, "percent"), func(g *Globals) *int { return &g.Runtime.GCPercent }).fallback("50").
				help("How much the heap grows, in percent of what is in use, until garbage is collected (Go's GOGC). Less saves memory and costs processor time; a home agent of many mobiles with memory to spare is faster with 100 or more. " + inEnvironment("GOGC")),
			one("memory_limit", orElse(orElse(integer[int](8, 1<<20, "MiB"), "none", MemoryLimitNone), "auto", MemoryLimitAuto),
				func(g *Globals) *int { return &g.Runtime.MemoryLimit }).fallback("auto").
				help("The memory of the Go runtime near which garbage is collected more and more often, with up to half of the processors' time (GOMEMLIMIT). It is no bound: what is in use stays. auto is a quarter of the memory of the machine, or of the control group if that has less, and 16 MiB or more. " + inEnvironment("GOMEMLIMIT")),
			one("processors", orElse(integer[int](1, 1024, ""), "auto", 0), func(g *Globals) *int { return &g.Runtime.Processors }).fallback("auto").
				help("How many processors roam6 uses at a time (GOMAXPROCS); auto is all that it may run on. 1 spares some memory. " + inEnvironment("GOMAXPROCS")),
		},
	}
}

// inEnvironment says who has the last word on an option of Go's runtime.
func inEnvironment(name string) string {
	return "The environment variable " + name + " takes precedence."
}

func metricsTable() schema[metricsDraft] {
	return schema[metricsDraft]{
		SectionDescription: SectionDescription{
			Type: "metrics", Single: true,
			Help: "Metrics for Prometheus, on `/metrics` over HTTP. The section may be left out.",
		},
		options: []option[metricsDraft]{
			one("enabled", boolean(), func(m *metricsDraft) *bool { return &m.enabled }).fallback("0").onReload(EffectDaemon).
				help("Whether to listen at all. `roam6 show stats` has most of it without."),
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
				help("The greatest such delay, each being random between the two, and the time after which mobiles are told again although nothing has changed (MaxMobPfxAdvInterval)."),
			one("max_lifetime", seconds(8, 262140), func(h *homeAgentDraft) *time.Duration { return &h.MaxLifetime }).fallback("3600").
				help("The longest binding lifetime granted, whatever a mobile asks for: for so long a mobile that is lost keeps its tunnel and its home address defended."),
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
				help("A mobile that is not enabled is not served: to the home agent it is unknown."),
			one("home_agent", sectionName("a home_agent"), func(m *mobileDraft) *string { return &m.HomeAgent }).
				dependent("the only one there is").onReload(EffectSection).
				help("The home agent that serves this mobile; required when there are several."),
			one("home_address", unicastAddress(), func(m *mobileDraft) *netip.Addr { return &m.HomeAddress }).required().onReload(EffectSection).
				help("The home address, inside of a prefix of the home agent."),
		}, credentialOptions(func(m *mobileDraft) *credentials { return &m.credentials })...),
			one("replay", replayKind(), func(m *mobileDraft) *Replay { return &m.Replay }).fallback("sequence").
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
