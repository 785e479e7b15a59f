package xfrm

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// What is wanted in the kernel; the package comment has it as a table.

// everybody is a wildcard.
func everybody() netip.Prefix { return netip.PrefixFrom(netip.IPv6Unspecified(), 0) }

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// request is the request identifier of a policy's inbound part.
func (e *entry) request() uint32 { return overlay.SealRequest | e.number }

func (e *entry) what() string { return "for the payload of " + e.Home.String() }

// static is what a policy has whatever the care-of address.
func (m *Manager) static(e *entry) []item {
	if e.Side == overlay.AgentSide {
		return append(m.strays(e), m.inbound(e, netip.IPv6Unspecified(), e.Agent)...)
	}
	return append(e.require(e.Agent, everybody()), e.outbound(e.Agent)...)
}

// dynamic is what it has for a path.
func (m *Manager) dynamic(e *entry, x ends) []item {
	items := []item{
		policy{direction: directionOut, source: host(x.local), destination: host(x.remote), protocol: unix.IPPROTO_IPV6, request: overlay.SealRequest}.item(e.what()),
		policy{direction: directionOut, source: host(x.local), destination: host(x.remote), protocol: unix.IPPROTO_ICMPV6, errors: true, request: overlay.SealRequest}.item(e.what()),
	}
	if e.Side == overlay.AgentSide {
		return append(append(items, e.require(x.remote, host(x.local))...), e.outbound(x.remote)...)
	}
	return append(items, m.inbound(e, x.remote, x.local)...)
}

// protocols are those of tunnel packets, and of headers that may be before them.
func protocols() [4]byte {
	return [...]byte{unix.IPPROTO_IPV6, unix.IPPROTO_ROUTING, unix.IPPROTO_FRAGMENT, unix.IPPROTO_DSTOPTS}
}

// strays are the policies of a home agent for packets in ESP from where no binding says
// that they come from: the kernel must not see what was in ESP, since it answers tunnel
// packets that none of its own tunnels takes by quoting them, in clear. They are the same
// for all mobiles.
func (m *Manager) strays(e *entry) (items []item) {
	for _, protocol := range protocols() {
		items = append(items, policy{direction: directionIn, source: everybody(), destination: host(e.Agent), protocol: protocol,
			request: overlay.SealRequest, block: true, mark: m.options.Mark, mask: m.options.Mask}.item("for packets in ESP without a binding"))
	}
	// A kernel with a tunnel driver complains before it asks the policies.
	return append(items, policy{direction: directionOut, source: host(e.Agent), destination: everybody(), protocol: unix.IPPROTO_ICMPV6,
		noPort: true, request: overlay.SealRequest, block: true}.item("for complaints about packets in ESP"))
}

// require are the policies for received packets.
func (e *entry) require(from netip.Addr, to netip.Prefix) (items []item) {
	for _, protocol := range protocols() {
		items = append(items, policy{direction: directionIn, source: host(from), destination: to, protocol: protocol, request: e.request()}.item(e.what()))
	}
	return items
}

func (e *entry) outbound(to netip.Addr) (items []item) {
	if e.Out != nil {
		items = append(items, state{source: netip.IPv6Unspecified(), destination: to, Association: *e.Out, negotiated: e.Negotiated, request: overlay.SealRequest}.item(e.what()))
	}
	return items
}

func (m *Manager) inbound(e *entry, from, to netip.Addr) (items []item) {
	for _, a := range e.In {
		items = append(items, state{source: from, destination: to, Association: a, negotiated: e.Negotiated, request: e.request(), mark: m.options.Mark, mask: m.options.Mask}.item(e.what()))
	}
	return items
}
