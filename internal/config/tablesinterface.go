package config

import (
	"net/netip"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// Options of interface sections that errors refer to.
const (
	optionUnicastOnly    = "UnicastOnly"
	optionUnicastReplies = "AdvRASolicitedUnicast"
	optionIntervalOption = "AdvIntervalOpt"
	optionRemoveOnExit   = "RemoveAdvOnExit"
	optionClient         = "client"
	optionSource         = "AdvRASrcAddress"
	optionMapUpstream    = "map_upstream"
)

// interfaceDraft holds an interface section; what has a default that depends
// on other options is computed later.
type interfaceDraft struct {
	Interface
	removeOnExit  bool
	ignore        bool
	homeAgentInfo bool
	info          mip6.HomeAgentInformation
}

func interfaceTable() schema[interfaceDraft] {
	flag := func(name string, field func(*interfaceDraft) *bool) option[interfaceDraft] {
		return one(name, boolean(), field)
	}
	var options []option[interfaceDraft]
	options = append(options,
		one(optionInterface, interfaceName(), func(i *interfaceDraft) *string { return &i.Name }).required().onReload(EffectSection).
			help("The name of the interface: that of the device, such as br-lan, not netifd's lan."),
		flag(optionAdvertise, func(i *interfaceDraft) *bool { return &i.Advertise }).
			dependent("0; 1 on a downstream").
			help("Whether to send advertisements at all."),
		flag(optionIgnore, func(i *interfaceDraft) *bool { return &i.ignore }).fallback("0").onReload(EffectSection).
			help("1: the section is not used, nor is what belongs to its interface. It need not be complete."),
		settled[interfaceDraft]("IgnoreIfMissing", kind[struct{}]{
			name: "1: roam6 waits for an interface that is not there, and does everything else meanwhile",
			parse: func(s string) (struct{}, error) {
				on, err := boolean().parse(s)
				if err == nil && !on {
					err = errMalformed
				}
				return struct{}{}, err
			},
		}).fallback("1").
			help("For files that were radvd's, where 0 ends the program."),
	)
	options = append(options, intervalOptions()...)
	options = append(options, audienceOptions()...)
	options = append(options,
		one("AdvDefaultLifetime", seconds(0, 65535), func(i *interfaceDraft) *time.Duration { return &i.RouterLifetime }).
			dependent("three times max_interval_ms").
			help("The router lifetime: 0 where this is no default router, otherwise at least a second and max_interval_ms."),
		one("AdvDefaultPreference", preference(), func(i *interfaceDraft) *nd.Preference { return &i.Preference }).fallback("medium").
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
		one("AdvCaptivePortalAPI", captivePortal(), func(i *interfaceDraft) *string { return &i.CaptivePortal }).dependent("none").
			help("The URI of the captive portal's API (RFC 8910). Networks that also tell IPv4 hosts by DHCP keep it to 255 characters."),
		flag(optionIntervalOption, func(i *interfaceDraft) *bool { return &i.IntervalOption }).fallback("0").
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
		many(optionMapUpstream, interfaceName(), func(i *interfaceDraft) *[]string { return &i.AnchorUpstreams }).
			help("Interfaces whose routers may advertise mobility anchor points: those are advertised here, too, one hop further away (RFC 5380 §7). Anchors that this file names are `map_option` sections."),
	)
	return schema[interfaceDraft]{
		SectionDescription: SectionDescription{
			Type: "interface",
			Help: "Router advertisements on a link; one section a link. The options are those of radvd. " +
				"With AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or a prefix with AdvRouterAddr the link serves mobiles, " +
				"and the short intervals of RFC 6275 §7.5 are allowed. " +
				"What does not fit into one packet is sent in several. " +
				"The downstream interfaces of a `mobile_router` or `prefix_request` need no section, nor do their prefixes: those come by themselves, also delegated ones. There this section only changes the defaults, and AdvSendAdvert is 1.",
		},
		options: options,
		enabled: func(i *interfaceDraft) bool { return !i.ignore },
	}
}

// spelling is the two names of an interval: roam6's own, in milliseconds, and
// radvd's, in seconds.
type spelling struct{ own, radvd string }

func maxIntervalOption() spelling { return spelling{"max_interval_ms", "MaxRtrAdvInterval"} }
func minIntervalOption() spelling { return spelling{"min_interval_ms", "MinRtrAdvInterval"} }
func minDelayOption() spelling    { return spelling{"min_delay_between_ras_ms", "MinDelayBetweenRAs"} }

func intervalOptions() []option[interfaceDraft] {
	longest := func(i *interfaceDraft) *time.Duration { return &i.MaxInterval }
	shortest := func(i *interfaceDraft) *time.Duration { return &i.MinInterval }
	delay := func(i *interfaceDraft) *time.Duration { return &i.MinDelay }
	asRadvd := func(o spelling) string {
		return "What " + o.own + " says, as radvd and OpenWrt write it: in seconds, and with decimals. One of the two."
	}
	return []option[interfaceDraft]{
		one(maxIntervalOption().own, milliseconds(70, 65535000), longest).fallback("600000").
			help("The longest time between unsolicited advertisements; at least 4000 on a link that does not serve mobiles."),
		one(maxIntervalOption().radvd, decimalSeconds(70, 65535000), longest).dependent("max_interval_ms").
			help(asRadvd(maxIntervalOption())),
		one(minIntervalOption().own, milliseconds(30, 65535000), shortest).
			dependent("0.33 × max_interval_ms, within the limits").
			help("The shortest time between unsolicited advertisements. At least 3000 and at most three quarters of max_interval_ms on a link that does not serve mobiles."),
		one(minIntervalOption().radvd, decimalSeconds(30, 65535000), shortest).dependent("min_interval_ms").
			help(asRadvd(minIntervalOption())),
		one(minDelayOption().own, milliseconds(30, 60000), delay).
			dependent("3000, or min_interval_ms if that is less").
			help("The shortest time between any two multicast advertisements (RFC 6275 §13), at most max_interval_ms; at least 3000 on a link that does not serve mobiles."),
		one(minDelayOption().radvd, decimalSeconds(30, 60000), delay).dependent("min_delay_between_ras_ms").
			help(asRadvd(minDelayOption())),
	}
}

// audienceOptions say who hears advertisements, and from where.
func audienceOptions() []option[interfaceDraft] {
	flag := func(name string, field func(*interfaceDraft) *bool) option[interfaceDraft] {
		return one(name, boolean(), field)
	}
	return []option[interfaceDraft]{
		flag(optionUnicastReplies, func(i *interfaceDraft) *bool { return &i.UnicastReplies }).fallback("1").
			help("Answer solicitations by unicast."),
		flag(optionUnicastOnly, func(i *interfaceDraft) *bool { return &i.UnicastOnly }).fallback("0").
			help("Send nothing to all nodes, as on links without multicast: only answers to solicitations, each to its sender."),
		many(optionClient, linkLocalAddress(), func(i *interfaceDraft) *[]netip.Addr { return &i.Clients }).orBlank().
			help("The only nodes that get advertisements, by unicast each; solicitations of others are not answered. None: everybody."),
		many(optionSource, linkLocalAddress(), func(i *interfaceDraft) *[]netip.Addr { return &i.Sources }).orBlank().
			help("Addresses to send from: the first of them that the interface has; while it has none, nothing is sent. None: the interface's link-local address."),
		flag(optionRemoveOnExit, func(i *interfaceDraft) *bool { return &i.removeOnExit }).fallback("1").
			help("Tell hosts when roam6 stops that this router and what goes with it are gone. 0 says nothing, so that hosts stay while roam6 is exchanged."),
	}
}

func preference() kind[nd.Preference] {
	return oneOf(
		choice[nd.Preference]{"low", nd.PreferenceLow},
		choice[nd.Preference]{"medium", nd.PreferenceMedium},
		choice[nd.Preference]{"high", nd.PreferenceHigh},
	)
}
