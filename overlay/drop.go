package overlay

// DropReason says why the data plane dropped a packet; its String is a metric
// label.
type DropReason uint8

// Reasons for dropping a packet, first those of both directions, then of
// encapsulation, decapsulation and the way out.
const (
	DropMalformed     DropReason = iota + 1 // not a whole IPv6 packet
	DropLinkScope                           // link-local, unspecified, loopback or link-scope multicast: never tunnelled (RFC 6275 §10.4.2)
	DropNoTunnel                            // no binding for the inner address
	DropInnerSource                         // mobile side: source is not of the mobile network (RFC 3963 §6)
	DropNesting                             // tunnel encapsulation limit reached (RFC 2473 §4.1.1)
	DropLoop                                // inner and outer addresses are the same pair (RFC 2473 §4.1.2)
	DropTooBig                              // answered with Packet Too Big (RFC 2473 §7.1)
	DropOuterSource                         // outer source is not the other end's (RFC 6275 §10.4.5, RFC 3963 §9)
	DropCongestion                          // congestion mark on a packet that cannot carry it (RFC 6040 §4.2)
	DropOffload                             // aggregate that cannot be taken apart
	DropHomeAddress                         // Home Address option that no binding permits (RFC 6275 §9.3.1)
	DropRoutingHeader                       // type 2 routing header that is not for a home address of ours (RFC 6275 §6.4)
	DropUnprotected                         // home test, home test init or DHCPv6 message that must be in ESP and is not (RFC 6275 §10.4.6, RFC 6276 §4)
	DropUnreachable                         // no route, neighbour or link for the outer packet
	DropNoSource                            // the outer source is not this node's address (any more)
	DropQueueFull                           // no buffer in the kernel
	DropProhibited                          // refused by the kernel's policy or firewall
	DropFailed                              // any other error of the kernel
)

// DropReasons are all reasons, in order.
func DropReasons() []DropReason {
	all := make([]DropReason, 0, DropFailed)
	for r := DropMalformed; r <= DropFailed; r++ {
		all = append(all, r)
	}
	return all
}

func (r DropReason) String() string {
	switch r {
	case DropMalformed:
		return "malformed"
	case DropLinkScope:
		return "link_scope"
	case DropNoTunnel:
		return "no_tunnel"
	case DropInnerSource:
		return "inner_source"
	case DropNesting:
		return "nesting"
	case DropLoop:
		return "loop"
	case DropTooBig:
		return "too_big"
	case DropOuterSource:
		return "outer_source"
	case DropCongestion:
		return "congestion"
	case DropOffload:
		return "offload"
	case DropHomeAddress:
		return "home_address_option"
	case DropRoutingHeader:
		return "routing_header"
	case DropUnprotected:
		return "unprotected"
	case DropUnreachable:
		return "unreachable"
	case DropNoSource:
		return "no_source"
	case DropQueueFull:
		return "queue_full"
	case DropProhibited:
		return "prohibited"
	case DropFailed:
		return "failed"
	default:
		return "unknown"
	}
}
