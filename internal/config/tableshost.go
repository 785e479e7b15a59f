package config

import "time"

// Transport protocols of a Policy.
const (
	ProtocolTCP = 6
	ProtocolUDP = 17
)

type policyDraft struct {
	Policy
	ports portRange
	mark  markMask
}

func policyTable() schema[policyDraft] {
	return schema[policyDraft]{
		SectionDescription: SectionDescription{
			Type: "policy",
			Help: "Chosen traffic of this host comes from a certain home address, whatever default_source says, as long as the mobile has that address. " +
				"Every condition of a section has to hold; of several sections the first that fits counts. " +
				"What a program binds to an address of its own choice, and what this machine forwards, is not concerned.",
		},
		options: []option[policyDraft]{
			one("mobile_node", sectionName("a mobile_node or mobile_router"), func(p *policyDraft) *string { return &p.Mobile }).required().
				help("The section whose home address the traffic gets as its source."),
			one("proto", oneOf(
				choice[uint8]{"any", 0},
				choice[uint8]{"tcp", ProtocolTCP},
				choice[uint8]{"udp", ProtocolUDP},
			), func(p *policyDraft) *uint8 { return &p.Protocol }).fallback("any").
				help("The transport protocol of the traffic that is meant."),
			one("port", ports(), func(p *policyDraft) *portRange { return &p.ports }).dependent("any").
				help("The destination port, or the first and the last of several. Needs a proto."),
			one("mark", mark(), func(p *policyDraft) *markMask { return &p.mark }).dependent("any").
				help("The mark that a socket (SO_MARK) or a firewall rule gave the packet, and which of its bits count. The mark 0x62750000 belongs to roam6's own packets, and the bit 0x80000000 to data along optimised routes that it leaves to the kernel."),
		},
	}
}

func correspondentTable() schema[Correspondent] {
	return schema[Correspondent]{
		SectionDescription: SectionDescription{
			Type: "correspondent", Single: true,
			Help: "This node as a correspondent of mobile nodes: they may optimise their routes to it (RFC 6275 §9). " +
				"Without the section they may not, and are told so where another section makes roam6 do Mobile IPv6.",
		},
		options: []option[Correspondent]{
			one("enabled", boolean(), func(c *Correspondent) *bool { return &c.Enabled }).fallback("1").
				help("Whether mobile nodes may optimise their routes to this node."),
			one("max_bindings", integer[int](1, 65535, ""), func(c *Correspondent) *int { return &c.MaxBindings }).fallback("1000").
				help("The most mobile nodes to have an optimised route at a time."),
			one("max_lifetime", seconds(8, 420), func(c *Correspondent) *time.Duration { return &c.MaxLifetime }).fallback("420").
				help("The longest lifetime of such a binding (MAX_RR_BINDING_LIFETIME, RFC 6275 §12)."),
		},
	}
}
