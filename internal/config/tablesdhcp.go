package config

import (
	"net/netip"
	"time"
)

// Lengths of prefixes that are asked for or delegated: a router's own network,
// at most, and one link of it at least.
const (
	shortestDelegation = 48
	longestDelegation  = 64
)

func delegationLength() kind[int] {
	return integer[int](shortestDelegation, longestDelegation, "")
}

type uplinkDraft struct {
	UplinkOptions
	rapidCommit bool
}

func uplinkTable() schema[uplinkDraft] {
	return schema[uplinkDraft]{
		SectionDescription: SectionDescription{
			Type: "uplink",
			Help: "How an interface that a `mobile_router`, `mobile_node` or `prefix_request` has as its uplink gets addresses. " +
				"Without a section it is `auto`. One section an interface; it is for all that use it.",
		},
		options: []option[uplinkDraft]{
			one("interface", interfaceName(), func(u *uplinkDraft) *string { return &u.Name }).required().
				help("The name of the interface, which is the `uplink` of another section."),
			one("addressing", oneOf(
				choice[Addressing]{"auto", AddressingAuto},
				choice[Addressing]{"slaac", AddressingSLAAC},
				choice[Addressing]{"dhcpv6", AddressingDHCP},
				choice[Addressing]{"foreign", AddressingForeign},
			), func(u *uplinkDraft) *Addressing { return &u.Addressing }).fallback("auto").
				help("Where addresses come from. " +
					"`auto`: roam6 forms them from advertised prefixes (SLAAC), and where a router advertises that addresses are managed, by DHCPv6; a leased address then takes the place of one that was formed. " +
					"`slaac`: formed only. `dhcpv6`: leased only, whatever routers advertise. " +
					"`foreign`: somebody else manages the interface, such as odhcp6c (netifd's `proto dhcpv6`), systemd-networkd, a modem manager or the kernel: roam6 uses the addresses that it finds there, assigns and removes none, and asks no DHCPv6 server; all that it adds are routes of its own, for packets from those addresses. " +
					"In the other three roam6 is alone on the interface: for netifd it is `proto none`, and no other DHCPv6 client runs there."),
			one("rapid_commit", boolean(), func(u *uplinkDraft) *bool { return &u.rapidCommit }).fallback("1").
				help("Whether the first answer of a DHCPv6 server that offers it is the lease (RFC 8415 §18.2.1): two messages, not four. " +
					"For servers that are confused by it, and for access networks with several servers of which one is to be chosen, 0."),
		},
	}
}

type prefixRequestDraft struct {
	PrefixRequest
	enabled bool
}

func prefixRequestTable() schema[prefixRequestDraft] {
	return schema[prefixRequestDraft]{
		SectionDescription: SectionDescription{
			Type: "prefix_request", Named: true,
			Help: "A prefix of the access network for networks behind this node, by DHCPv6 and without mobility: it is another one wherever the uplink leads. " +
				"The prefixes of a mobile router, which stay, are a matter of its own `prefix` and `prefix_delegation`. " +
				"Each downstream gets one /64 of the prefix, the address ::1 in it, and advertisements of it.",
		},
		options: []option[prefixRequestDraft]{
			one("enabled", boolean(), func(r *prefixRequestDraft) *bool { return &r.enabled }).fallback("1").
				help("A request that is not enabled gives its prefix back."),
			one(optionUplink, interfaceName(), func(r *prefixRequestDraft) *string { return &r.Uplink }).required().
				help("The interface to ask on; it may be the uplink of a mobile, too. Its `addressing` is not `foreign`: two DHCPv6 clients on one interface take each other's answers."),
			one("length", delegationLength(), func(r *prefixRequestDraft) *int { return &r.Length }).dependent("the server's choice").
				help("The length to ask for. The server may give another one."),
			many(optionDownstream, interfaceName(), func(r *prefixRequestDraft) *[]string { return &r.Downstreams }).required().
				help("The interfaces to number, in this order. No other section has them as downstream."),
		},
		enabled: func(r *prefixRequestDraft) bool { return r.enabled },
	}
}

// delegationOptions are those of a home agent that delegates prefixes. The draft
// has a Delegation always; that it is one is decided later.
func delegationOptions() []option[homeAgentDraft] {
	return []option[homeAgentDraft]{
		many(optionPool, network(), func(h *homeAgentDraft) *[]netip.Prefix { return &h.delegation.Pools }).
			help("Prefixes of which mobile routers get theirs by DHCPv6 prefix delegation (RFC 6276); they are routed to this home agent, as the mobiles' `prefix` are. " +
				"None overlaps another one or a mobile's `prefix`; one may be a part of a home prefix, if no home address is in it."),
		one(optionLength, delegationLength(), func(h *homeAgentDraft) *int { return &h.delegation.Length }).fallback("56").
			help("The length of delegated prefixes; at least that of each pool. A mobile router that asks for a longer prefix, that is, for a smaller network, gets it, up to a /64."),
		one("delegation_preferred", seconds(8, 31536000), func(h *homeAgentDraft) *time.Duration { return &h.delegation.Preferred }).fallback("3600").
			help("The preferred lifetime of delegated prefixes. Mobile routers renew them after half of it."),
		one("delegation_lifetime", seconds(8, 31536000), func(h *homeAgentDraft) *time.Duration { return &h.delegation.Valid }).fallback("7200").
			help("The valid lifetime of delegated prefixes, at least the preferred one: for how long a mobile router keeps its prefix that cannot reach the home agent."),
		one(optionServer, unicastAddress(), func(h *homeAgentDraft) *netip.Addr { return &h.delegation.Server }).dependent("none").
			help("The address of a DHCPv6 server elsewhere, to which this home agent relays in place of delegating from pools. Length and lifetimes are then the server's business."),
	}
}
