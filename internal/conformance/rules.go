package conformance

// Chapters are the rules by role, in the order of the document.
func Chapters() []Chapter {
	return []Chapter{all(), correspondent(), homeAgent(), mobileNode(), mobileRouter(), networkAgent(), delegation(), anchorPoint(), symptoms(), attacks()}
}

func all() Chapter {
	return Chapter{Title: "All roles", Rules: []Rule{
		{ID: "A1", Text: "The Mobility Header is a multiple of 8 octets long; reserved bits are 0 on send and ignored on receipt.", Source: "RFC 6275 §6.1"},
		{ID: "A2", Text: "Unknown options are skipped, the content of padding is ignored, options are sent at their alignment.", Source: "RFC 6275 §6.2"},
		{ID: "A3", Text: "A bad checksum is silent; an unknown MH type gets Binding Error 2; a wrong Payload Proto or Header Len gets Parameter Problem code 0 at the right pointer.", Source: "RFC 6275 §9.2"},
		{ID: "A4", Text: "No type 2 routing header and no Home Address option on Mobility Header messages other than BU and BA; bindings are never applied to Mobility Header messages.", Source: "RFC 6275 §6.1"},
		{ID: "A5", Text: "Care-of and home addresses are unicast and routable.", Source: "RFC 6275 §4.6"},
		{ID: "A6", Text: "Sequence numbers compare modulo 2^16.", Source: "RFC 6275 §9.5.1"},
		{ID: "A7", Text: "A packet with two Home Address options is rejected.", Source: "RFC 6275 §6.3"},
	}}
}

func correspondent() Chapter {
	return Chapter{Title: "Correspondent node", Rules: []Rule{
		{ID: "C1", Text: "A Home Address option is accepted only with a matching binding, otherwise Binding Error 1; not so for next headers 50, 51 and 135.", Source: "RFC 6275 §9.3.1"},
		{ID: "C2", Text: "Packets to a bound mobile node carry a type 2 routing header.", Source: "RFC 6275 §9.3.2"},
		{ID: "C3", Text: "A node that is not that mobile node discards a type 2 routing header.", Source: "RFC 6275 §9.3, §6.4"},
		{ID: "C4", Text: "HoTI and CoTI are taken only without Home Address option; Kcn is 20 random octets; no nonce is accepted after 240 s; no state until a valid BU arrives.", Source: "RFC 6275 §5.2, §9.4"},
		{ID: "C5", Text: "Keygen tokens, binding key and authenticator are computed as specified.", Source: "RFC 6275 §5.2.5, §6.2.7"},
		{ID: "C6", Text: "The Nonce Indices option is mandatory in a BU with authorization data, and absent with flag H.", Source: "RFC 6275 §9.5.1"},
		{ID: "C7", Text: "Answered errors are 135 with the last sequence number, 139, and 136, 137, 138 without Binding Authorization Data; every other failure is silent.", Source: "RFC 6275 §9.5.1"},
		{ID: "C8", Text: "The lifetime is at most 420 s and what was asked for; the binding is deleted when it ends.", Source: "RFC 6275 §9.5.2, §12"},
		{ID: "C9", Text: "Lifetime 0, or a care-of address that is the home address, deletes and creates nothing; the nonces may not be used again.", Source: "RFC 6275 §9.5.3, §5.2.8"},
		{ID: "C10", Text: "A BA is sent when asked for, and always for 135 to 138, to the packet's source, with a type 2 routing header unless the BU came from the home address.", Source: "RFC 6275 §9.5.4"},
		{ID: "C11", Text: "An Alternate Care-of Address is what the authenticator covers.", Source: "RFC 6275 §9.5.1"},
		{ID: "C12", Text: "The Home Address option never creates state.", Source: "RFC 6275 §9.3.1"},
		{ID: "C13", Text: "Route optimisation can be switched off; no BE or BA goes to a multicast address.", Source: "RFC 6275 §8.1, §9.3.3"},
	}}
}

func homeAgent() Chapter {
	return Chapter{Title: "Home agent", Rules: []Rule{
		{ID: "H1", Text: "IPsec ESP in transport mode protects BU and BA, the security association bound to the home address.", Source: "RFC 6275 §10.3.1, RFC 4877"},
		{ID: "H2", Text: "Tests in this order: 131, 132, 129; a Home Address option is accepted without a binding when the message is authenticated.", Source: "RFC 6275 §10.3.1"},
		{ID: "H3", Text: "Duplicate address detection for the home address before the first BA, 134 when it fails; flag L covers the link-local address.", Source: "RFC 6275 §10.3.1"},
		{ID: "H4", Text: "The lifetime is at most what was asked for and what remains of the prefix; status 1 when the prefix is deprecated.", Source: "RFC 6275 §10.3.1"},
		{ID: "H5", Text: "A BA always, with the sequence number and the granted lifetime; Binding Refresh Advice less than the lifetime.", Source: "RFC 6275 §10.3.1"},
		{ID: "H6", Text: "Home registrations are never evicted early.", Source: "RFC 6275 §10.3.1"},
		{ID: "H7", Text: "Proxy neighbour advertisements to all nodes; solicitations for the home address are answered; both end with the registration.", Source: "RFC 6275 §10.4.1"},
		{ID: "H8", Text: "Packets go to the care-of address in a tunnel; those to the link-local home address get unreachable code 3; link-scope multicast is never tunnelled.", Source: "RFC 6275 §10.4.2"},
		{ID: "H9", Text: "Tunnelled packets are taken only from the care-of address; ICMP errors are relayed through the tunnel.", Source: "RFC 6275 §10.4.5, §10.4.4"},
		{ID: "H10", Text: "De-registration without a binding gets 133; otherwise a BA with lifetime 0, and the entry is remembered for a while.", Source: "RFC 6275 §10.3.2"},
		{ID: "H11", Text: "Tunnel-mode ESP for HoTI and HoT; its outer address follows the care-of address.", Source: "RFC 6275 §10.4.6"},
		{ID: "H12", Text: "A home-agents list for each link from advertisements; the reply to discovery is ordered by preference, random among equals, at most 1280 octets; entries expire.", Source: "RFC 6275 §10.5"},
		{ID: "H13", Text: "Mobile prefix advertisements with type 2 routing header and the identifier of the solicitation, at most one a second for each mobile; unsolicited ones are repeated until acknowledged.", Source: "RFC 6275 §10.6"},
	}}
}

func mobileNode() Chapter {
	return Chapter{Title: "Mobile node", Rules: []Rule{
		{ID: "M1", Text: "A BU to the home agent has H, A, a Home Address option and always the Alternate Care-of Address option; K is clear with manual keys, L set only if the interface identifier matches.", Source: "RFC 6275 §11.7.1"},
		{ID: "M2", Text: "The lifetime is greater than 0 and at most what remains of home and care-of address; a correspondent's at most what remains of the home registration.", Source: "RFC 6275 §11.7.1, §11.7.2"},
		{ID: "M3", Text: "Sequence numbers increase strictly per destination, for retransmissions too; 1.5 s first, 1 s afterwards, doubling to 32 s; at most 3 updates a second.", Source: "RFC 6275 §11.8"},
		{ID: "M4", Text: "A BA is valid with the right sequence number and authentication; fewer than 128 updates in flight; a difference of lifetimes is subtracted; an authenticated 135 makes the node adopt the sequence number.", Source: "RFC 6275 §11.7.3"},
		{ID: "M5", Text: "HoTI and CoTI go in parallel, cookies are checked, HoTI goes through the home agent; after three tries the tunnel remains.", Source: "RFC 6275 §11.6"},
		{ID: "M6", Text: "Tunnelled packets come only from the home agent; a type 2 routing header has length 2, one segment left and the own home address.", Source: "RFC 6275 §11.3.2, §6.4"},
		{ID: "M7", Text: "No Home Address option on link-local, neighbour discovery or listener packets.", Source: "RFC 6275 §11.3.1"},
		{ID: "M8", Text: "Movement is detected; the new care-of address is of the new default router's prefix; the BU leaves at once. Duplicate address detection goes on behind it, on every return too, and what is taken is replaced at once.", Source: "RFC 6275 §11.5.1, §11.5.2, RFC 4862 §5.4, RFC 4429"},
		{ID: "M9", Text: "Returning home: BU with lifetime 0 from the home address, no duplicate address detection, advertisement to all nodes after the BA.", Source: "RFC 6275 §11.5.5"},
		{ID: "M10", Text: "Home agents are discovered, with back-off; after one that refuses comes the next.", Source: "RFC 6275 §11.4.1"},
		{ID: "M11", Text: "Mobile prefix solicitations have a random identifier and the Home Address option; advertisements are validated.", Source: "RFC 6275 §11.4.2, §11.4.3"},
		{ID: "M12", Text: "Binding Error 1 drops or renews the entry; a Parameter Problem code 1 is remembered.", Source: "RFC 6275 §11.3.5, §11.3.6"},
		{ID: "M13", Text: "A Binding Refresh Request is answered.", Source: "RFC 6275 §11.7.4"},
		{ID: "M14", Text: "Route optimisation can be switched.", Source: "RFC 6275 §8.5"},
	}}
}

func mobileRouter() Chapter {
	return Chapter{Title: "Mobile router", Rules: []Rule{
		{ID: "R1", Text: "Every rule of the mobile node.", Source: "RFC 3963 §5"},
		{ID: "R2", Text: "Flag R implies H; explicit and implicit mode.", Source: "RFC 3963 §5.2"},
		{ID: "R3", Text: "In explicit mode the prefixes are in every BU, refreshes too.", Source: "RFC 3963 §5.2"},
		{ID: "R4", Text: "A BA without flag R: de-register and try another home agent.", Source: "RFC 3963 §5.3"},
		{ID: "R5", Text: "140 to 143 are handled in both modes; a prefix that is refused is not advertised; when all modes fail the updates end and the log says so.", Source: "RFC 3963 §5.4"},
		{ID: "R6", Text: "Advertisements on the uplink are heard; nothing is advertised there while away.", Source: "RFC 3963 §5.6, §5.7"},
		{ID: "R7", Text: "Returning home: de-register, ordinary routing resumes.", Source: "RFC 3963 §5.8"},
		{ID: "R8", Text: "Only sources of the mobile network enter the tunnel; link-local packets are never forwarded.", Source: "RFC 3963 §5.5, §8, §9"},
	}}
}

func networkAgent() Chapter {
	return Chapter{Title: "Home agent for mobile routers", Rules: []Rule{
		{ID: "N1", Text: "Both modes and a prefix table; several prefixes are all or nothing.", Source: "RFC 3963 §6.2"},
		{ID: "N2", Text: "H=0 gets 140, a changed R 139, invalid prefixes 141, not authorised ones 142, none 143.", Source: "RFC 3963 §6.2"},
		{ID: "N3", Text: "Prefixes missing from a new BU are withdrawn.", Source: "RFC 3963 §6.2"},
		{ID: "N4", Text: "Packets for the mobile network go into the tunnel; R is set in the BA.", Source: "RFC 3963 §6.5, §6.6"},
		{ID: "N5", Text: "De-registration ignores prefix options and withdraws all.", Source: "RFC 3963 §6.7"},
		{ID: "N6", Text: "Discovery with flag R names only agents that serve mobile routers.", Source: "RFC 3963 §7"},
		{ID: "N7", Text: "A prefix is authorised before it is forwarded.", Source: "RFC 3963 §6.1.2, §6.6, RFC 6276 §4"},
	}}
}

func delegation() Chapter {
	return Chapter{Title: "Prefix delegation", Rules: []Rule{
		{ID: "D1", Text: "An implicit BU first, then DHCPv6 prefix delegation: by the relay in the mobile router while it is away, on the home link at home; the home agent delegates, or relays.", Source: "RFC 6276 §3"},
		{ID: "D2", Text: "A delegated prefix joins the registration of the mobile router and the prefix table of the home agent, and leaves both when it expires or is released.", Source: "RFC 6276 §3, §4"},
		{ID: "D3", Text: "Renewal survives handovers; after a restart the mobile router asks for the same prefix.", Source: "RFC 6276 §3.1"},
	}}
}

func anchorPoint() Chapter {
	return Chapter{Title: "Mobility anchor point", Rules: []Rule{
		{ID: "P1", Text: "The MAP option is type 23, of length 3, the distance at least 1; a valid lifetime of 0 says that the anchor has failed, and another is chosen; without one mobility is not hierarchical.", Source: "RFC 5380 §5, §7.1"},
		{ID: "P2", Text: "Options are stored; the highest preference comes first, then the distance; preference 0 is not for new bindings.", Source: "RFC 5380 §7.1, §9.1"},
		{ID: "P3", Text: "A local BU has flags M and A, the regional care-of address in the Home Address option and the on-link one as its source.", Source: "RFC 5380 §4, §6.1"},
		{ID: "P4", Text: "A BA of an anchor without a type 2 routing header with the regional care-of address is ignored.", Source: "RFC 5380 §6.1"},
		{ID: "P5", Text: "Then the home agent is told the regional care-of address, with a lifetime of at most that at the anchor.", Source: "RFC 5380 §6.1"},
		{ID: "P6", Text: "A regional care-of address of one anchor is never the on-link one of another.", Source: "RFC 5380 §6.1"},
		{ID: "P7", Text: "The MTU accounts for the further header.", Source: "RFC 5380 §6.1, §11"},
		{ID: "P8", Text: "The anchor is a home agent for the regional care-of address: duplicate address detection, a BA with type 2 routing header, a tunnel both ways; an on-link prefix that it does not serve gets 129.", Source: "RFC 5380 §6.2"},
		{ID: "P9", Text: "Mobile and anchor authenticate each other; integrity and protection against replay.", Source: "RFC 5380 §12"},
		{ID: "P10", Text: "Routers pass on the MAP options that they hear, with the distance increased by 1.", Source: "RFC 5380 §5"},
	}}
}

func symptoms() Chapter {
	const experience = "earlier systems"
	return Chapter{Title: "Symptoms of earlier systems", Rules: []Rule{
		{ID: "B1", Text: "The mobile node notices that it moved: within 1 s of a carrier event, without one within three missed advertisements.", Source: experience},
		{ID: "B2", Text: "No stale addresses, routes, rules, tunnels or nftables after 50 moves, the return home, and the end of the process, orderly or not.", Source: experience},
		{ID: "B3", Text: "The return home neither loops nor deadlocks, in any order of events.", Source: experience},
		{ID: "B4", Text: "Ten thousand repeated BUs during duplicate address detection: one detection, one BA, flat memory.", Source: experience},
		{ID: "B5", Text: "Advertisements without prefixes, hot-plugged and renamed interfaces do not hang the daemon.", Source: experience},
		{ID: "B6", Text: "No wrong nonce index, no wrongly repeated HoTI, no optimised route left behind, no conflict between two mobiles.", Source: experience},
		{ID: "B7", Text: "No kernel option beyond a stock OpenWrt image is needed.", Source: experience},
		{ID: "B8", Text: "Keys are set up in one line for each node.", Source: experience},
		{ID: "B9", Text: "Three links at boot: at most one BU for each final care-of address, the first within 300 ms.", Source: experience},
		{ID: "B10", Text: "No socket error ends the process.", Source: experience},
	}}
}

func attacks() Chapter {
	const source = "RFC 6275 §15"
	return Chapter{Title: "Attacks", Rules: []Rule{
		{ID: "Attack: BU spoofing", Text: "A BU without a security association is dropped in silence and counted; who is not configured is not served.", Source: source},
		{ID: "Attack: replay", Text: "Recorded BUs, and sequence numbers played in advance, change nothing.", Source: source},
		{ID: "Attack: test floods", Text: "Floods of HoTI and CoTI leave no state and are limited.", Source: source},
		{ID: "Attack: reflection", Text: "Binding Errors for Home Address options are limited and never go to multicast.", Source: source},
		{ID: "Attack: routing header", Text: "A type 2 routing header that is not for a home address of this node is discarded.", Source: source},
		{ID: "Attack: old nonces", Text: "Nonces older than 240 s, or used for a deletion, are not accepted.", Source: source},
		{ID: "Attack: cache exhaustion", Text: "Home registrations are protected, correspondents have a quota, there is one detection for an address.", Source: source},
		{ID: "Attack: third party flooding", Text: "A false care-of address cannot be bound.", Source: source},
		{ID: "Attack: loops", Text: "No binding whose care-of address is another's home address, no circular bindings.", Source: source},
		{ID: "Attack: rogue router", Text: "Advertisements need hop limit 255 and a link-local source; a working link is left only when its router does not answer.", Source: source},
		{ID: "Attack: forged answers", Text: "Forged acknowledgements, tests, Binding Errors, discovery replies, prefix advertisements and ICMPv6 errors change nothing; what cannot be told from a true one costs no more than a question.", Source: source},
		{ID: "Attack: malformed options", Text: "Bounds are checked; nothing is allocated by a length field.", Source: source},
		{ID: "Attack: prefix hijack", Text: "A home address is authorised for its prefixes; inner sources are checked.", Source: source},
		{ID: "Attack: discovery floods", Text: "Home agent discovery is limited, and needs no memory.", Source: source},
		{ID: "Attack: forged netlink", Text: "Netlink messages that are not the kernel's are ignored.", Source: source},
		{ID: "Attack: kept privileges", Text: "After the start only the capabilities that are needed remain.", Source: source},
	}}
}
