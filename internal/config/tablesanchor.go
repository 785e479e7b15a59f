package config

import (
	"net/netip"
	"slices"
	"time"
)

// Options of anchor, visitor and anchor_key sections, and of mobiles that use them.
const (
	optionAnchor          = "anchor"
	optionServed          = "served_prefix"
	optionDAD             = "dad"
	optionMobile          = "mobile"
	optionAnchors         = "anchors"
	optionHierarchy       = "hierarchy"
	optionSelection       = "anchor_selection"
	optionInsecureAnchors = "insecure_anchors"
)

type anchorDraft struct {
	Anchor
	enabled bool
}

func anchorTable() schema[anchorDraft] {
	return schema[anchorDraft]{
		SectionDescription: SectionDescription{
			Type: "anchor", Named: true,
			Help: "A mobility anchor point (RFC 5380): mobiles in the access networks around it register their address there with it, and their moves stay between the two. " +
				"Whom it serves is in the `visitor` sections. Mobiles learn of it by `map_option` sections of the access routers.",
		},
		options: []option[anchorDraft]{
			one("enabled", boolean(), func(a *anchorDraft) *bool { return &a.enabled }).fallback("1").onReload(EffectSection).
				help("An anchor that is not enabled disables the visitors that it alone serves."),
			one(optionInterface, interfaceName(), func(a *anchorDraft) *string { return &a.Interface }).
				dependent("none: the prefix is on no link").onReload(EffectSection).
				help("The interface to the link that has the prefix, where regional care-of addresses are defended. Without one the prefix is routed to this node by the other routers."),
			one(optionAddress, unicastAddress(), func(a *anchorDraft) *netip.Addr { return &a.Address }).required().onReload(EffectSection).
				help("The anchor's own address, which mobiles are told."),
			one(optionPrefix, network(), func(a *anchorDraft) *netip.Prefix { return &a.Prefix }).
				dependent("the /64 of address").onReload(EffectSection).
				help("The prefix of the regional care-of addresses: mobiles form them of the first 64 bits of the address (RFC 5380 §6), so that it can be no other one. No home prefix, nor another network of this machine, overlaps it."),
			many(optionServed, network(), func(a *anchorDraft) *[]netip.Prefix { return &a.Served }).
				help("The prefixes of the access networks whose addresses may be bound; others are refused with status 129 (RFC 5380 §6.2). None: any."),
			one("max_lifetime", seconds(int64(leastRegional/time.Second), 262140), func(a *anchorDraft) *time.Duration { return &a.MaxLifetime }).fallback("600").
				help("The longest binding lifetime granted. Bindings with home agents that go through the anchor last no longer (RFC 5380 §6.1)."),
			one("max_bindings", integer[int](1, 1000000, ""), func(a *anchorDraft) *int { return &a.MaxBindings }).
				dependent("as many as the visitors need").
				help("How many bindings there can be at a time; a mobile that moves from one regional address to another has two for a while."),
			one(optionDAD, boolean(), func(a *anchorDraft) *bool { return &a.DAD }).
				dependent("1 with interface, 0 without").
				help("Duplicate address detection for a regional care-of address before its first binding is acknowledged. It costs the first registration a second."),
			one("replay_window_ms", milliseconds(3000, 60000), func(a *anchorDraft) *time.Duration { return &a.ReplayWindow }).fallback("7000").
				help("How far the timestamp of an update may be from the anchor's clock (RFC 4285 §6)."),
			one(optionInsecure, boolean(), func(a *anchorDraft) *bool { return &a.Insecure }).fallback("0").
				help("Serve whoever asks, visitors or not, without authentication: anybody can then take the traffic of such a mobile. For experiments on closed networks only; logged as a warning."),
		},
		enabled: func(a *anchorDraft) bool { return a.enabled },
	}
}

type visitorDraft struct {
	Visitor
	credentials
	anchorESP
	enabled bool
}

func visitorTable() schema[visitorDraft] {
	of := func(v *visitorDraft) *credentials { return &v.credentials }
	return schema[visitorDraft]{
		SectionDescription: SectionDescription{
			Type: "visitor", Named: true,
			Help: "A mobile that a mobility anchor point of this machine serves. It is known by its `spi` alone, or with IPsec by its `spi_to_anchor`: the anchor is not told its home address.",
		},
		options: slices.Concat([]option[visitorDraft]{
			one("enabled", boolean(), func(v *visitorDraft) *bool { return &v.enabled }).fallback("1").onReload(EffectSection).
				help("A visitor that is not enabled is not served: to the anchor it is unknown."),
			one(optionAnchor, sectionName("an anchor"), func(v *visitorDraft) *string { return &v.Anchor }).
				dependent("all of this file").onReload(EffectSection).
				help("The anchor that serves the mobile."),
			spiOption(of).
				help("The security parameter index (RFC 4285), the same number as in the mobile's `anchor_key`. No other visitor of the anchor has it."),
			keyOption(of).dependent("required without IPsec").
				help("The shared key of mobile and anchor, the same as in the mobile's `anchor_key`; another one than that of its home agent. A file with keys must have mode 0600."),
			one("replay", replayKind(), func(v *visitorDraft) *Replay { return &v.Replay }).dependent("timestamp; sequence with IPsec and without key").
				help("Whether updates without a timestamp are refused, or taken by their sequence number. Timestamps are checked in any case. Mobiles that run roam6 send them in IPsec, too, to an anchor that asks for them."),
		}, anchorESPOptions(func(v *visitorDraft) *anchorESP { return &v.anchorESP })),
		enabled: func(v *visitorDraft) bool { return v.enabled },
	}
}

type anchorKeyDraft struct {
	AnchorKey
	credentials
	anchorESP
}

func anchorKeyTable() schema[anchorKeyDraft] {
	of := func(k *anchorKeyDraft) *credentials { return &k.credentials }
	return schema[anchorKeyDraft]{
		SectionDescription: SectionDescription{
			Type: "anchor_key", Named: true,
			Help: "A key by which mobiles with `hierarchy` and mobility anchor points know each other; the anchor has it as a `visitor`. " +
				"Of several that an anchor's address fits, the one with the longest prefix is used, and of those the one that names the mobile.",
		},
		options: slices.Concat([]option[anchorKeyDraft]{
			one(optionMobile, sectionName("a mobile_node or mobile_router"), func(k *anchorKeyDraft) *string { return &k.Mobile }).
				dependent("all of this file").
				help("The mobile that has the key. Two that share one, and so its number, are one visitor to the anchor: each had better have its own."),
			one(optionAnchors, orAnywhere(networkOrAddress()), func(k *anchorKeyDraft) *netip.Prefix { return &k.Anchors }).fallback("::/0").
				help("The addresses of the anchors that have the key. The key proves that an anchor knows it, not which address is the anchor's: name single addresses (/128) where others can send router advertisements, or one of them puts itself before the anchor."),
			spiOption(of).
				help("The security parameter index (RFC 4285), which goes with the key: the same number on both sides."),
			keyOption(of).dependent("required without IPsec").
				help("The shared key of mobile and anchor. A file with keys must have mode 0600."),
		}, anchorESPOptions(func(k *anchorKeyDraft) *anchorESP { return &k.anchorESP })),
	}
}

// hierarchyOptions are those of a mobile that uses mobility anchor points.
func hierarchyOptions() []option[mobileNodeDraft] {
	return []option[mobileNodeDraft]{
		one(optionHierarchy, boolean(), func(m *mobileNodeDraft) *bool { return &m.Hierarchy }).fallback("0").
			help("Whether to use the mobility anchor points that access routers advertise (RFC 5380): home agents and correspondents then learn of a move from one anchor to another only, and those within its domain take as long as the way to the anchor. Needs an `anchor_key` section."),
		one(optionSelection, oneOf(
			choice[AnchorSelection]{"preferred", AnchorPreferred},
			choice[AnchorSelection]{"furthest", AnchorFurthest},
			choice[AnchorSelection]{"nearest", AnchorNearest},
		), func(m *mobileNodeDraft) *AnchorSelection { return &m.AnchorSelection }).fallback("preferred").
			help("Which of several anchors to use: the one with the highest preference, and among equals the furthest (RFC 5380 §7.1); the furthest, for those that move fast (RFC 5380 §9.1); or the nearest."),
		one(optionInsecureAnchors, boolean(), func(m *mobileNodeDraft) *bool { return &m.InsecureAnchors }).fallback("0").
			help("Also use anchors for which there is no key, without authentication: whoever can send router advertisements gets this mobile's traffic. For experiments on closed networks only; logged as a warning."),
	}
}
