package sim

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// packet is an IPv6 packet under way. One of the last five is its contents.
type packet struct {
	source, destination netip.Addr
	home, routeHome     netip.Addr // Home Address option, type 2 routing header, of what the data plane sends
	outer               []header   // of the tunnels that it is in, the outermost last
	hops                int
	tunnelled           bool // it was in a tunnel once

	message  []byte // a whole packet with a Mobility Header
	icmp     []byte // or with an ICMPv6 message of Mobile IPv6
	datum    *datum
	datagram *datagram // of DHCPv6
	fault    *fault
}

// maxTunnels is how many tunnels a packet may be in, one in the other, by the tunnel
// encapsulation limit (RFC 2473 §6.6). Old bindings with several home agents may put a
// packet into one after the other without end.
const maxTunnels = 5

// header is a tunnel header.
type header struct{ source, destination netip.Addr }

// fault is an ICMPv6 error about a packet to peer: there is no tunnel for the inner
// source home, or the Mobility Header is not known.
type fault struct {
	home netip.Addr
	peer netip.Addr
}

// ends are the addresses by which the packet is routed.
func (p *packet) ends() (source, destination netip.Addr) {
	if n := len(p.outer); n > 0 {
		return p.outer[n-1].source, p.outer[n-1].destination
	}
	return p.source, p.destination
}

// peer is who sends the packet: whom the Home Address option names, if there is one.
func (p *packet) peer() netip.Addr {
	if p.home.IsValid() {
		return p.home
	}
	return p.source
}

// enter puts the packet into a tunnel. One to an anchor is no détour by a home agent.
func (p *packet) enter(t header) {
	p.outer = append(slices.Clone(p.outer), t)
	p.tunnelled = p.tunnelled || !isAnchor(t.source) && !isAnchor(t.destination)
}

// leave takes the packet out of a tunnel.
func (p *packet) leave() header {
	last := len(p.outer) - 1
	t := p.outer[last]
	p.outer = p.outer[:last]
	return t
}

// maxHops is more than any packet needs on its way between two mobiles, each behind
// as many others as there may be.
const maxHops = 40

// send sends a Mobility Header message of a role.
func (w *World) send(h *host, r *runner, s role.Send) {
	if w.traced {
		w.tell("%s sends %s", h.name, describe(s.Packet))
	}
	w.witness.sent(h, r, s)
	b, err := s.Packet.Append(nil)
	if err != nil {
		w.fail("%s: packet from %v does not encode: %v", h.name, s.Packet.Source, err)
		return
	}
	if regional(s.Packet.Source) && s.Link == 0 && h.isMobile && len(h.kernel.tunnels[mobileKey(s.Packet.Source)].Paths) == 0 {
		w.fail("%s sends %s, and has no tunnel for its source", h.name, describe(s.Packet))
	}
	w.enemy.record(b, h, s.Packet)
	w.output(h, s.Link, packet{source: s.Packet.Source, destination: s.Packet.Destination, message: b})
}

// sendICMP sends an ICMPv6 message of a role.
func (w *World) sendICMP(h *host, s role.SendICMP) {
	w.tell("%s sends %v %v -> %v", h.name, s.Packet.Message.ICMPType(), s.Packet.Source, s.Packet.Destination)
	if _, ok := s.Packet.Message.(mip6.HomeAgentReply); ok {
		w.counts.Discoveries++
	}
	b, err := s.Packet.Append(nil)
	if err != nil {
		w.fail("%s: ICMPv6 message from %v does not encode: %v", h.name, s.Packet.Source, err)
		return
	}
	w.output(h, s.Link, packet{source: s.Packet.Source, destination: s.Packet.Destination, icmp: b})
}

// output routes a packet that a host sends itself, by the given interface or as
// the kernel would: from a home address that is away into its tunnel. Signalling
// never takes an optimised route (RFC 6275 §6.1).
func (w *World) output(h *host, link int, p packet) {
	if link != 0 {
		out := h.port(link)
		if !out.holds(p.source) {
			w.fail("%s sends from %v, which is not on link %d", h.name, p.source, link)
			return
		}
		w.transmit(out, p)
		return
	}
	if t, ok := h.kernel.inner(overlay.MobileSide, p.source); ok {
		w.encapsulate(h, t, p)
		return
	}
	if h.isAgent {
		w.forward(h, p)
		return
	}
	for _, out := range h.ports {
		if out.holds(p.source) {
			w.transmit(out, p)
			return
		}
	}
}

// encapsulate sends a packet into a tunnel.
func (w *World) encapsulate(h *host, t overlay.Tunnel, p packet) {
	if len(p.outer) == maxTunnels {
		w.counts.Circles++
		return
	}
	path := t.Paths[0]
	p.enter(header{path.Local, path.Remote})
	if lower, ok := h.kernel.beneath(t); ok {
		w.counts.Stacked++
		w.encapsulate(h, lower, p)
		return
	}
	out := h.port(max(path.Link, 1))
	if out.holds(path.Local) {
		w.transmit(out, p)
	}
}

// transmit sends a packet by an interface, if the access network lets its source
// pass: a mobile may not know yet that it moved.
func (w *World) transmit(from *port, p packet) {
	source, _ := p.ends()
	switch {
	case from.at == nil || !from.up || from.host.isMobile && !from.at.contains(source):
	case from.at.owner != nil:
		w.upstream(from.at, p)
	default:
		w.carry(from.at, p)
	}
}

// carry takes a packet from one cell to that of its destination, with the faults
// of the network between. On one link the delay is small.
func (w *World) carry(from *cell, p packet) {
	_, destination := p.ends()
	to := w.cellOf(destination)
	if to == nil || to != from && (from.cut || to.cut || !w.passes(from, to)) {
		return
	}
	if !w.hop(&p) {
		return
	}
	copies := 1
	if w.random.Float64() < w.faults.Duplicate {
		copies = 2
	}
	for range copies {
		if w.random.Float64() < w.faults.Loss {
			continue
		}
		d := w.faults.Delay
		switch {
		case to == from:
			d = time.Millisecond
		case w.near(from, to):
			d /= 4
		}
		if w.faults.Jitter > 0 {
			d += time.Duration(w.random.Int64N(int64(w.faults.Jitter)))
		}
		if w.random.Float64() < w.faults.Reorder {
			d += 3*w.faults.Delay + w.faults.Jitter
		}
		w.after(d, func() { w.arrive(to, p) })
	}
}

// hop counts the steps of a packet and reports whether it may go on.
func (w *World) hop(p *packet) bool {
	if p.hops++; p.hops > maxHops {
		source, destination := p.ends()
		if w.ignorant(destination) {
			w.counts.Circles++
			return false
		}
		w.fail("packet from %v to %v (%v, %v) goes in circles", p.source, p.destination, source, destination)
		return false
	}
	return true
}

// ignorant reports whether the home agent that delegates a prefix cannot know that
// another one serves the mobile that has it: it has not heard it (any more).
func (w *World) ignorant(a netip.Addr) bool {
	return slices.ContainsFunc(w.hosts, func(h *host) bool {
		return h.pool.Contains(a) && h.agent != nil && len(h.agent.role.HomeAgents(w.now)) < w.plan.Agents
	})
}

// cellOf finds the cell of an address. Mobile networks are behind the home link.
func (w *World) cellOf(a netip.Addr) *cell {
	for _, c := range w.cells {
		if c.owner == nil && c.contains(a) {
			return c
		}
	}
	if networks.Contains(a) {
		return w.cells[0]
	}
	return nil
}

// networks contains all mobile networks.
var networks = netip.MustParsePrefix("2001:db8:100::/40")

// arrive hands a packet to whoever has its destination, or draws it.
func (w *World) arrive(c *cell, p packet) {
	_, destination := p.ends()
	if w.enemy.takes(destination, p) {
		return
	}
	var to *port
	switch {
	case c.home && !c.contains(destination):
		to = w.resolveNetwork(c, destination)
	case c.home:
		to = w.resolve(c, destination)
	case c.domain != nil:
		to = c.domain.host.on(c)
	case destination == c.settled: // whoever else has it, too
	default:
		for _, h := range w.hosts {
			if x := h.on(c); x != nil && x.holds(destination) {
				to = x
			}
		}
	}
	if to == nil {
		return
	}
	if c.radio {
		w.overAir(c, to, func() { w.receive(to, p) })
		return
	}
	w.receive(to, p)
}

// deviceLink is the index of the data plane's device.
const deviceLink = 100

// local is the end of a packet's way.
func (w *World) local(h *host, link int, p packet) {
	switch {
	case p.message != nil:
		w.signalled(h, link, p)
	case p.icmp != nil:
		q, err := mip6.ParseICMPPacket(p.icmp)
		if err != nil {
			w.fail("ICMPv6 message from %v does not decode: %v", p.source, err)
			return
		}
		w.dispatch(h, role.ICMPReceived{Link: link, Packet: q})
	case p.fault != nil && p.fault.home.IsValid():
		home := p.fault.home
		if t, ok := h.kernel.inner(overlay.MobileSide, home); ok {
			home = t.Home
		}
		w.dispatch(h, role.TunnelRefused{Home: home})
	case p.fault != nil:
		w.dispatch(h, role.PeerRefused{Local: p.destination, Peer: p.fault.peer})
	case p.datum != nil, p.datagram != nil:
		w.plane(h).arrived(link, p)
	}
}

// signalled takes in a Mobility Header message. A node that does not know any
// says so.
func (w *World) signalled(h *host, link int, p packet) {
	q, err := mip6.ParsePacket(p.message)
	if err != nil {
		w.fail("packet from %v does not decode: %v", p.source, err)
		return
	}
	if h.ignorant {
		w.output(h, 1, packet{source: p.destination, destination: p.source, fault: &fault{peer: p.destination}})
		return
	}
	w.witness.arrives(h, q)
	w.dispatch(h, role.MessageReceived{Link: link, Packet: q})
	w.witness.handled(h, q)
}
