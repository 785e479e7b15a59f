package config

import (
	"net/netip"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// Options of sections that belong to an interface section.
const (
	optionValid     = "AdvValidLifetime"
	optionPreferred = "AdvPreferredLifetime"
	optionDeprecate = "DeprecatePrefix"
	optionDecrement = "DecrementLifetimes"
	optionBase      = "Base6Interface"

	optionRouteLifetime = "AdvRouteLifetime"
	optionRemoveRoute   = "RemoveRoute"

	optionAddr         = "addr"
	optionDNSLifetime  = "AdvRDNSSLifetime"
	optionFlushServers = "FlushRDNSS"

	optionSuffix         = "suffix"
	optionSearchLifetime = "AdvDNSSLLifetime"
	optionFlushSearch    = "FlushDNSSL"

	optionAddress       = "address"
	optionContextLength = "AdvContextLength"
	optionContextID     = "AdvContextID"
)

// bound is what all sections have that add to the advertisements on an interface.
type bound struct {
	link   string
	ignore bool
}

// boundOptions are the options of such a section, rest between the two that all
// have.
func boundOptions[S any](of func(*S) *bound, rest ...option[S]) []option[S] {
	options := []option[S]{
		one(optionInterface, interfaceName(), func(s *S) *string { return &of(s).link }).required().
			help("The name of the interface, which has an `interface` section."),
	}
	return append(append(options, rest...),
		one(optionIgnore, boolean(), func(s *S) *bool { return &of(s).ignore }).fallback("0").
			help("1: the section is not used, and need not be complete."))
}

// lifetime is one of 32 bits in seconds.
func lifetime() kind[time.Duration] {
	return orElse(seconds(0, 4294967294), "infinity", mip6.InfiniteLifetime)
}

type prefixDraft struct {
	bound
	prefixes             []netip.Prefix
	information          mip6.PrefixInformation
	from                 string
	deprecate, decrement bool
}

func prefixTable() schema[prefixDraft] {
	return schema[prefixDraft]{
		SectionDescription: SectionDescription{
			Type: "prefix",
			Help: "Prefixes to advertise on an interface. Options that differ take a section of their own.",
		},
		options: boundOptions(func(d *prefixDraft) *bound { return &d.bound },
			many(optionPrefix, advertisedPrefix(), func(d *prefixDraft) *[]netip.Prefix { return &d.prefixes }).orBlank().fallback("::/64").
				help("The prefixes. With AdvRouterAddr each is the router's whole address, such as 2001:db8:1::1/64. "+
					"`::/64` is every prefix of that length that the interface has, while it has it, and never for longer than the kernel says; with AdvRouterAddr the interface's own address in each is sent."),
			one("AdvOnLink", boolean(), func(d *prefixDraft) *bool { return &d.information.OnLink }).fallback("1").
				help("Addresses of the prefix are on the link: hosts look for them there, not at the router (flag L)."),
			one("AdvAutonomous", boolean(), func(d *prefixDraft) *bool { return &d.information.Autonomous }).fallback("1").
				help("Hosts may make themselves an address of the prefix."),
			one("AdvRouterAddr", boolean(), func(d *prefixDraft) *bool { return &d.information.RouterAddress }).fallback("0").
				help("The router's whole address is sent in place of the prefix (RFC 6275 §7.2)."),
			one("AdvDHCPv6PDPreferred", boolean(), func(d *prefixDraft) *bool { return &d.information.PreferDelegation }).fallback("0").
				help("Hosts that can are to ask for a prefix of their own by DHCPv6, and make themselves addresses of that (flag P, RFC 9762)."),
			one(optionValid, lifetime(), func(d *prefixDraft) *time.Duration { return &d.information.ValidLifetime }).fallback("86400").
				help("How long addresses of the prefix may be used."),
			one(optionPreferred, lifetime(), func(d *prefixDraft) *time.Duration { return &d.information.PreferredLifetime }).
				dependent("14400, or AdvValidLifetime if that is less").
				help("How long addresses of the prefix may be used for something new."),
			one(optionDeprecate, boolean(), func(d *prefixDraft) *bool { return &d.deprecate }).fallback("0").
				help("When roam6 stops, hosts are told to use the prefix for nothing new. Only where no other router advertises it."),
			one(optionDecrement, boolean(), func(d *prefixDraft) *bool { return &d.decrement }).fallback("0").
				help("The lifetimes count down from the start of roam6, and do not begin anew with each advertisement."),
			one(optionBase, interfaceName(), func(d *prefixDraft) *string { return &d.from }).dependent("none").
				help("Another interface, from whose prefixes this one is numbered: `prefix` is then ::/64, or such as 0:0:0:1::/64, whose last bits are the number of the subnet behind that interface's prefix."),
			settled[prefixDraft]("Base6to4Interface", kind[struct{}]{
				name:  "no such option: roam6 makes no 6to4 prefixes, whose public relays are withdrawn (RFC 7526); Base6Interface numbers from what an access network delegates",
				parse: func(string) (struct{}, error) { return struct{}{}, errMalformed },
			}).dependent("none").
				help("Of radvd's options the one that is refused."),
		),
		enabled: func(d *prefixDraft) bool { return !d.ignore },
	}
}

type routeDraft struct {
	bound
	prefixes []netip.Prefix
	route    nd.RouteInformation
	remove   bool
}

func routeTable() schema[routeDraft] {
	return schema[routeDraft]{
		SectionDescription: SectionDescription{
			Type: "route",
			Help: "Routes to advertise on an interface, for hosts that have a choice of routers (RFC 4191). RFC 4191 §4 wants no more than 17 a link.",
		},
		options: boundOptions(func(d *routeDraft) *bound { return &d.bound },
			many(optionPrefix, orAnywhere(network()), func(d *routeDraft) *[]netip.Prefix { return &d.prefixes }).orBlank().required().
				help("Where the routes lead; hosts that know them send packets to there by this router."),
			one(optionRouteLifetime, lifetime(), func(d *routeDraft) *time.Duration { return &d.route.Lifetime }).
				dependent("three times the interface's max_interval_ms").
				help("How long the route holds; 0 takes it back."),
			one("AdvRoutePreference", preference(), func(d *routeDraft) *nd.Preference { return &d.route.Preference }).fallback("medium").
				help("The preference among routers that advertise the same."),
			one(optionRemoveRoute, boolean(), func(d *routeDraft) *bool { return &d.remove }).fallback("1").
				help("Take the route back when roam6 stops."),
		),
		enabled: func(d *routeDraft) bool { return !d.ignore },
	}
}

type rdnssDraft struct {
	bound
	nd.RecursiveDNS
	flush bool
}

func rdnssTable() schema[rdnssDraft] {
	return schema[rdnssDraft]{
		SectionDescription: SectionDescription{
			Type: "rdnss",
			Help: "DNS servers to advertise on an interface (RFC 8106 §5.1).",
		},
		options: boundOptions(func(d *rdnssDraft) *bound { return &d.bound },
			many(optionAddr, serverAddress(), func(d *rdnssDraft) *[]netip.Addr { return &d.Servers }).orBlank().required().
				help("Their addresses; link-local ones are of this link."),
			one(optionDNSLifetime, lifetime(), func(d *rdnssDraft) *time.Duration { return &d.Lifetime }).
				dependent("three times the interface's max_interval_ms").
				help("How long hosts may use the servers, at least max_interval_ms; 0 takes them back."),
			one(optionFlushServers, boolean(), func(d *rdnssDraft) *bool { return &d.flush }).fallback("1").
				help("Take the servers back when roam6 stops."),
		),
		enabled: func(d *rdnssDraft) bool { return !d.ignore },
	}
}

type dnsslDraft struct {
	bound
	nd.DNSSearch
	flush bool
}

func dnsslTable() schema[dnsslDraft] {
	return schema[dnsslDraft]{
		SectionDescription: SectionDescription{
			Type: "dnssl",
			Help: "DNS search domains to advertise on an interface (RFC 8106 §5.2).",
		},
		options: boundOptions(func(d *dnsslDraft) *bound { return &d.bound },
			many(optionSuffix, domainName(), func(d *dnsslDraft) *[]string { return &d.Domains }).orBlank().required().
				help("The domains, in the order in which hosts try them."),
			one(optionSearchLifetime, lifetime(), func(d *dnsslDraft) *time.Duration { return &d.Lifetime }).
				dependent("three times the interface's max_interval_ms").
				help("How long hosts may use the domains, at least max_interval_ms; 0 takes them back."),
			one(optionFlushSearch, boolean(), func(d *dnsslDraft) *bool { return &d.flush }).fallback("1").
				help("Take the domains back when roam6 stops."),
		),
		enabled: func(d *dnsslDraft) bool { return !d.ignore },
	}
}

type nat64Draft struct {
	bound
	prefixes []netip.Prefix
	lifetime time.Duration
}

func nat64Table() schema[nat64Draft] {
	return schema[nat64Draft]{
		SectionDescription: SectionDescription{
			Type: "nat64prefix",
			Help: "Prefixes of a NAT64 to advertise on an interface (RFC 8781), by which hosts reach IPv4.",
		},
		options: boundOptions(func(d *nat64Draft) *bound { return &d.bound },
			many(optionPrefix, translationPrefix(), func(d *nat64Draft) *[]netip.Prefix { return &d.prefixes }).orBlank().required().
				help("The prefixes, behind which addresses of IPv4 stand."),
			one(optionValid, seconds(0, int64(maxTranslationLifetime/time.Second)), func(d *nat64Draft) *time.Duration { return &d.lifetime }).
				dependent("three times the interface's max_interval_ms, at most 65528").
				help("How long the prefix may be used, at least max_interval_ms and rounded up to a multiple of 8; 0 takes it back."),
		),
		enabled: func(d *nat64Draft) bool { return !d.ignore },
	}
}

type borderRouterDraft struct {
	bound
	nd.BorderRouter
	low, high uint16
}

func borderRouterTable() schema[borderRouterDraft] {
	return schema[borderRouterDraft]{
		SectionDescription: SectionDescription{
			Type: "abro",
			Help: "The border router of a 6LoWPAN, from which the prefixes and contexts advertised on its interface come (Authoritative Border Router option, RFC 6775 §4.3). One an interface.",
		},
		options: boundOptions(func(d *borderRouterDraft) *bound { return &d.bound },
			one(optionAddress, serverAddress(), func(d *borderRouterDraft) *netip.Addr { return &d.Router }).required().
				help("The border router's address."),
			one("AdvVersionLow", integer[uint16](0, 65535, ""), func(d *borderRouterDraft) *uint16 { return &d.low }).fallback("0").
				help("The lower 16 bits of the version of what is advertised; each change needs a higher version."),
			one("AdvVersionHigh", integer[uint16](0, 65535, ""), func(d *borderRouterDraft) *uint16 { return &d.high }).fallback("0").
				help("The upper 16 bits of that version."),
			one(optionValid, minutes(0, 65535), func(d *borderRouterDraft) *time.Duration { return &d.ValidLifetime }).fallback("0").
				help("How long what is advertised is valid, in minutes; 0 stands for 10000, about a week."),
		),
		enabled: func(d *borderRouterDraft) bool { return !d.ignore },
	}
}

type contextDraft struct {
	bound
	nd.Context
	prefix prefixOrAddress
	length int
}

func contextTable() schema[contextDraft] {
	return schema[contextDraft]{
		SectionDescription: SectionDescription{
			Type: "lowpanco",
			Help: "A context for the compression of headers in a 6LoWPAN (RFC 6775 §4.2).",
		},
		options: boundOptions(func(d *contextDraft) *bound { return &d.bound },
			one(optionPrefix, contextPrefix(), func(d *contextDraft) *prefixOrAddress { return &d.prefix }).required().
				help("The prefix that is left out of compressed addresses."),
			one(optionContextLength, integer[int](0, 128, "bits"), func(d *contextDraft) *int { return &d.length }).
				dependent("the length that stands in prefix").
				help("The length of the prefix; required where prefix has none."),
			one(optionContextID, integer[uint8](0, 15, ""), func(d *contextDraft) *uint8 { return &d.ID }).required().
				help("The number of the context; each is there once on an interface."),
			one("AdvContextCompressionFlag", boolean(), func(d *contextDraft) *bool { return &d.Compression }).fallback("1").
				help("Whether nodes may compress with the context, or only decompress: a new context is there with 0 first until all know it (RFC 6775 §7.2)."),
			one("AdvLifeTime", minutes(0, 65535), func(d *contextDraft) *time.Duration { return &d.ValidLifetime }).required().
				help("How long the context is valid, in minutes; 0 takes it back."),
		),
		enabled: func(d *contextDraft) bool { return !d.ignore },
	}
}

type mapOptionDraft struct {
	bound
	mip6.MobilityAnchorPoint
}

func mapOptionTable() schema[mapOptionDraft] {
	return schema[mapOptionDraft]{
		SectionDescription: SectionDescription{
			Type: "map_option",
			Help: "A mobility anchor point to advertise on an interface (MAP option, RFC 5380 §5). The anchor itself, here or elsewhere, is an `anchor` section.",
		},
		options: boundOptions(func(d *mapOptionDraft) *bound { return &d.bound },
			one(optionAddress, unicastAddress(), func(d *mapOptionDraft) *netip.Addr { return &d.Address }).required().
				help("The anchor's address. Mobiles form their regional care-of addresses of its first 64 bits."),
			one("distance", integer[uint8](1, 15, ""), func(d *mapOptionDraft) *uint8 { return &d.Distance }).fallback("1").
				help("The distance in hops from the mobiles to the anchor; 1 is on the link."),
			one("preference", integer[uint8](0, 15, ""), func(d *mapOptionDraft) *uint8 { return &d.Preference }).fallback("10").
				help("The preference among anchors, 15 the highest. With 0 mobiles keep their bindings and make no new ones, as before maintenance."),
			one("lifetime", lifetime(), func(d *mapOptionDraft) *time.Duration { return &d.ValidLifetime }).fallback("86400").
				help("How long the anchor's address and the regional care-of addresses are valid. 0 says that the anchor has failed: mobiles leave it at once."),
			one("allocated", boolean(), func(d *mapOptionDraft) *bool { return &d.Allocated }).fallback("0").
				help("Flag R: the anchor allocates regional care-of addresses itself (RFC 4877 §9). A roam6 anchor does not."),
		),
		enabled: func(d *mapOptionDraft) bool { return !d.ignore },
	}
}
