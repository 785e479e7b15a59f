package mip6dconf

import "slices"

// Keyword is a word of mip6d's grammar, and what becomes of it.
type Keyword struct {
	Name string
	// In is the block or statement that it belongs to; empty: none.
	In string
	// Nodes are those that mip6d uses it for; empty: all.
	Nodes string
	// Becomes is what roam6 has for it; empty: it is not applicable.
	Becomes string
	// Note says what is different, or why there is nothing.
	Note string
}

// Nodes for which keywords are.
const (
	homeAgents = "HA"
	mobiles    = "MN"
)

// Keywords are all keywords, first those outside of blocks, in the order of
// mip6d.conf(5).
func Keywords() []Keyword {
	return []Keyword{
		{"include", "", "", "the files' content", "the output is one file"},
		{"NodeConfig", "", "", "`mobile_node`, `mobile_router`, `home_agent` and `mobile`, or `correspondent` sections", "LMA and MAG are left out: roam6 has no Proxy Mobile IPv6"},
		{"DebugLevel", "", "", "`log_level` 'debug' for more than 0", ""},
		{"DebugLogFile", "", "", "", "roam6 logs to standard error, or with log_target 'syslog' to the system's log"},
		{"NonVolatileBindingCache", "", "", "", "mip6d ignores it; roam6 keeps bindings over a restart that is not one of the machine"},
		{"DoRouteOptimizationCN", "", "", "a `correspondent` section", "mip6d's default is enabled, and roam6's is none: the section is written unless it is disabled"},
		{"CnBindingPolicySet", "", "", "", "roam6's correspondent takes bindings of every mobile that passes return routability, or of none"},
		{"Interface", "", "", "`uplink` of mobiles, `interface` of home agents", ""},
		{"UseMnHaIPsec", "", "", "`ipsec` sections, or `insecure` '1' where it is disabled", "better than insecure is a key of RFC 4285, the same on both sides"},
		{"KeyMngMobCapability", "", "", "`ike` '1' of `ipsec` sections", "strongSwan makes the keys; what it authenticates by has to be filled in"},
		{"TunnelPayloadForceSANego", "", "", "", "with payload and ike roam6 has keys negotiated before anything passes the tunnel"},
		{"IPsecPolicySet", "", "", "an `ipsec` section for each home address", "mip6d's file has no keys: they are in what setkey, ip xfrm or an IKE daemon was given, and have to be filled in"},
		{"UseMovementModule", "", "", "", "there are no modules"},
		{"UsePolicyModule", "", "", "", "there are no modules: what the module decides has to be said by mobile sections"},

		{"HaMaxBindingLife", "", homeAgents, "`max_lifetime` of `home_agent`", "the default is 3600, not 262140"},
		{"SendMobPfxAdvs", "", homeAgents, "`prefix_advertisements` of `home_agent`", ""},
		{"SendUnsolMobPfxAdvs", "", homeAgents, "", "prefix_advertisements is for those that are solicited and those that are not"},
		{"MinMobPfxAdvInterval", "", homeAgents, "`prefix_min_interval` of `home_agent`", ""},
		{"MaxMobPfxAdvInterval", "", homeAgents, "`prefix_max_interval` of `home_agent`", ""},
		{"HaAcceptMobRtr", "", homeAgents, "`list prefix` of `mobile` sections", "mip6d's default is disabled: then there is none"},
		{"HaServedPrefix", "", homeAgents, "", "it is for home addresses that are made of mobile network prefixes; those of roam6 are in a home prefix"},
		{"BindingAclPolicy", "", homeAgents, "a `mobile` section", "one that denies is left out, because nobody else is served; so is the status of a refusal"},
		{"DefaultBindingAclPolicy", "", homeAgents, "", "roam6 serves the mobiles of its mobile sections and nobody else: each needs one, with a key of its own"},

		{"MnMaxHaBindingLife", "", mobiles, "`lifetime`", "the default is 600, not 262140"},
		{"MnMaxCnBindingLife", "", mobiles, "", "roam6 asks correspondents for 420 seconds, the most that there is"},
		{"MnDiscardHaParamProb", "", mobiles, "", "an ICMPv6 error alone ends no registration of roam6's"},
		{"MnResetDhaadAtHome", "", mobiles, "", "roam6 keeps all home agents that it knows, and tries them in their order"},
		{"MnFlushAllAtHome", "", mobiles, "", "at home roam6 de-registers until it is answered, or its binding has run out"},
		{"MnMaxHaConsecutiveResends", "", mobiles, "", "a home agent that leaves three updates unanswered is left for the next one, and asked again later"},
		{"MnMaxCnConsecutiveResends", "", mobiles, "", "a correspondent that does not answer is reached through the home agent, and asked again later"},
		{"SendMobPfxSols", "", mobiles, "", "roam6 solicits prefixes before those it knows run out, as RFC 6275 §11.4.2 demands"},
		{"DoRouteOptimizationMN", "", mobiles, "`route_optimization`", "mip6d's default is enabled; with payload in ESP it is off"},
		{"MnUseAllInterfaces", "", mobiles, "", "the interfaces have to be named: `list uplink`"},
		{"MobRtrUseExplicitMode", "", mobiles, "`mode` of `mobile_router`", ""},
		{"UseCnBuAck", "", mobiles, "", "roam6 always asks correspondents to acknowledge"},
		{"InterfaceInitialInitDelay", "", mobiles, "", "roam6 registers as soon as an uplink works, and changes to a better one without loss (hysteresis_ms)"},
		{"MnRouterProbes", "", mobiles, "", "roam6 asks the router in use whether it is there before it leaves for another one of the link"},
		{"MnRouterProbeTimeout", "", mobiles, "", "roam6 waits about twice the router's round trip"},
		{"InitialBindackTimeoutFirstReg", "", mobiles, "`initial_timeout_ms`", ""},
		{"InitialBindackTimeoutReReg", "", mobiles, "", "roam6 waits a second (INITIAL_BINDACK_TIMEOUT, RFC 6275 §12)"},
		{"InitialSolicitTimer", "", mobiles, "", "roam6 waits three seconds (INITIAL_SOLICIT_TIMER, RFC 6275 §12)"},
		{"OptimisticHandoff", "", mobiles, "", "roam6 uses the tunnel as soon as the binding update has gone"},
		{"NoHomeReturn", "", mobiles, "", "a mobile that comes home de-registers, whatever IPsec protects"},
		{"MnHomeLink", "", mobiles, "a `mobile_node` or `mobile_router` section", "its interface is an uplink, too"},

		{"IfType", "Interface", "", "whether the interface is in the list", ""},
		{"MnIfPreference", "Interface", "", "the order of `list uplink`", "with 0 the interface is left out"},
		{"Tunnel", "Interface", "", "`addressing` 'foreign' of an `uplink` section", ""},
		{"LinkUpDelay", "Interface", "", "", "of OpenAirInterface's version; roam6 asks for a router as soon as there is a carrier"},

		{"HomeAddress", "MnHomeLink", "", "`home_address`, and `list prefix` of a `mobile_router`", ""},
		{"HomeAgentAddress", "MnHomeLink", "", "`home_agent`, or `discover` '1' for ::", ""},
		{"HomePrefix", "MnHomeLink", "", "the length of `home_address`", "a home address outside of it is none that roam6 can have"},
		{"UseAltCoa", "MnHomeLink", "", "", "binding updates to home agents always have the Alternate Care-of Address option"},
		{"MnRoPolicy", "MnHomeLink", "", "`route_optimization` and `list correspondent`", ""},
		{"IsMobRtr", "MnHomeLink", "", "`mobile_router` in place of `mobile_node`", "list downstream has to be filled in: on these interfaces of the mobile network roam6 advertises it, as radvd did beside mip6d"},

		{"HomeAgentAddress", "IPsecPolicySet", "", "`home_agent`, and `address` of the `home_agent` section", ""},
		{"HomeAddress", "IPsecPolicySet", "", "`home_address`, and `prefix` of the `home_agent` section", ""},
		{"IPsecPolicy", "IPsecPolicySet", "", "the options that have to be filled in", "roam6's sections protect binding updates and acknowledgements and prefix discovery in any case; the numbers are request ids, not SPIs"},
		{"HomeRegBinding", "IPsecPolicy", "", "`spi_to_agent`, `spi_to_mobile` and their keys", ""},
		{"Mh", "IPsecPolicy", "", "as HomeRegBinding", ""},
		{"MobPfxDisc", "IPsecPolicy", "", "as HomeRegBinding", ""},
		{"ICMP", "IPsecPolicy", "", "as HomeRegBinding", "of ICMPv6 prefix discovery alone is protected"},
		{"any", "IPsecPolicy", "", "as HomeRegBinding", "of the rest nothing is protected"},
		{"TunnelHomeTesting", "IPsecPolicy", "", "`spi_tunnel_to_agent`, `spi_tunnel_to_mobile` and their keys", ""},
		{"TunnelMh", "IPsecPolicy", "", "as TunnelHomeTesting", ""},
		{"TunnelPayload", "IPsecPolicy", "", "`payload` '1', `spi_payload_to_agent`, `spi_payload_to_mobile` and their keys", ""},
		{"UseESP", "IPsecPolicy", "", "the sections do ESP", "with AES-CBC and HMAC-SHA-256, or with AES-GCM"},
		{"UseAH", "IPsecPolicy", "", "", "roam6 does ESP alone"},
		{"UseIPComp", "IPsecPolicy", "", "", "roam6 does ESP alone"},

		{"ProxyMipLma", "", "", "", "of OpenAirInterface's version; roam6 has no Proxy Mobile IPv6"},
		{"ProxyMipMag", "", "", "", "of OpenAirInterface's version; roam6 has no Proxy Mobile IPv6"},
		{"LinkName", "none", "", "", "mip6d knows the word, and has no use for it"},
		{"IfName", "none", "", "", "mip6d knows the word, and has no use for it"},
		{"IPsecType", "none", "", "", "mip6d knows the word, and has no use for it"},
		{"DoRouteOptimization", "none", "", "", "mip6d knows the word, and has no use for it"},
	}
}

// keyword finds a keyword of a block.
func keyword(name, in string) Keyword {
	all := Keywords()
	i := slices.IndexFunc(all, func(k Keyword) bool { return k.Name == name && k.In == in })
	if i < 0 {
		return Keyword{Name: name, In: in}
	}
	return all[i]
}

// Begins reports whether a configuration of mip6d can begin with a word.
func Begins(word string) bool {
	return slices.ContainsFunc(Keywords(), func(k Keyword) bool { return k.Name == word && k.In == "" })
}
