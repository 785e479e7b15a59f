package sim

import (
	"net/netip"
	"time"

	"roam6/mip6"
)

// attacker sends from its own network with whatever addresses it likes, and knows
// all addresses. It sees nothing that is not sent to it, but somebody gives it
// old packets.
type attacker struct {
	w        *World
	cell     *cell
	addr     netip.Addr
	recorded []recording
	// What it has learned from tests of its own address.
	careOf map[netip.Addr]mip6.CareOfTest
}

// recording is a packet that passed.
type recording struct {
	packet packet
	at     time.Time
	from   *host
	home   bool // a registration with a home agent, or an anchor
}

// maxRecordings bounds what is remembered; old packets give way.
const maxRecordings = 200

func (x *attacker) begin(w *World) {
	prefix := netip.MustParsePrefix("2001:db8:666::/64")
	*x = attacker{w: w, cell: &cell{name: "attacker", prefixes: []netip.Prefix{prefix}}, addr: prefix.Addr().Next(), careOf: make(map[netip.Addr]mip6.CareOfTest)}
	w.cells = append(w.cells, x.cell)
}

// record keeps a packet to repeat it.
func (x *attacker) record(b []byte, from *host, p mip6.Packet) {
	if !x.w.plan.Attacker {
		return
	}
	u, update := p.Message.(mip6.BindingUpdate)
	r := recording{
		packet: packet{source: p.Source, destination: p.Destination, message: b}, at: x.w.now, from: from,
		home: update && u.Flags&(mip6.UpdateHome|mip6.UpdateMAP) != 0,
	}
	if len(x.recorded) == maxRecordings {
		x.recorded[x.w.random.IntN(maxRecordings)] = r
		return
	}
	x.recorded = append(x.recorded, r)
}

// takes gets what is sent to the attacker.
func (x *attacker) takes(destination netip.Addr, p packet) bool {
	if destination != x.addr {
		return false
	}
	if q, err := mip6.ParsePacket(p.message); p.message != nil && err == nil {
		if m, ok := q.Message.(mip6.CareOfTest); ok {
			x.careOf[q.Source] = m
		}
	}
	if p.datum != nil {
		x.w.fail("the attacker gets a packet from %v to %v", p.datum.source, p.datum.destination)
	}
	return true
}

// Strike does one of the things that an attacker can.
func (x *attacker) Strike() {
	w := x.w
	mobiles, others := w.mobiles(), w.talks.hosts
	victim, peer := mobiles[w.random.IntN(len(mobiles))], others[w.random.IntN(len(others))]
	home, to := w.addresses(victim), w.addresses(peer)
	if victim == peer || len(home) == 0 || len(to) == 0 {
		return
	}
	w.counts.Strikes++
	careOf := x.careOfOf(victim)
	kinds := 10
	if len(w.domains) > 0 {
		kinds = 13
	}
	switch w.random.IntN(kinds) {
	case 0:
		x.replay()
	case 1:
		x.replay()
	case 2:
		x.update(home[0], to[0])
	case 3:
		x.homeUpdate(home[0])
	case 4: // answers that nobody asked for
		x.message(to[0], home[0], mip6.HomeTest{NonceIndex: uint16(w.random.Uint32()), Cookie: x.cookie()})
		x.message(to[0], careOf, mip6.CareOfTest{NonceIndex: uint16(w.random.Uint32()), Cookie: x.cookie()})
	case 5: // tests in the mobile's name, and of its own address
		x.message(home[0], to[0], mip6.HomeTestInit{Cookie: x.cookie()})
		x.message(careOf, to[0], mip6.CareOfTestInit{Cookie: x.cookie()})
		x.message(x.addr, to[0], mip6.CareOfTestInit{Cookie: x.cookie()})
	case 6:
		x.message(to[0], careOf, mip6.BindingError{Status: mip6.BindingErrorUnknownBinding, Home: home[0]})
		x.message(to[0], home[0], mip6.BindingError{Status: mip6.BindingErrorUnknownMHType, Home: netip.IPv6Unspecified()})
	case 7: // refusals
		x.inject(packet{source: to[0], destination: careOf, fault: &fault{peer: to[0]}})
		x.inject(packet{source: to[0], destination: careOf, fault: &fault{home: home[0]}})
	case 8: // data in the mobile's name, along an optimised route and through the tunnel
		d := &datum{source: home[0], destination: to[0], from: victim, to: peer, forged: true}
		x.inject(packet{source: x.addr, destination: to[0], home: home[0], datum: d})
		for _, agent := range w.hosts {
			if agent.isAgent && len(agent.fixed) > 0 {
				x.inject(packet{source: home[0], destination: to[0], outer: []header{{x.addr, agent.fixed[0]}}, tunnelled: true, datum: d})
			}
		}
	case 9:
		x.message(to[0], home[0], mip6.BindingRefreshRequest{})
		x.message(to[0], careOf, mip6.BindingAcknowledgement{Sequence: mip6.Sequence(w.random.Uint32()), Lifetime: 100,
			Options: []mip6.Option{mip6.AuthorizationData{}}})
	case 10:
		x.localUpdate(victim, peer)
	case 11:
		x.anchorAnswers(victim, careOf)
	case 12:
		x.throughAnchor(victim, peer, home[0], to[0])
	}
}

// careOfOf is the care-of address that a mobile has, or its home address.
func (x *attacker) careOfOf(h *host) netip.Addr {
	for _, m := range h.mobiles {
		if s := m.role.Snapshot(x.w.now); s.Attachment.CareOf.IsValid() {
			return s.Attachment.CareOf
		}
	}
	return homeAddr(x.w.home.prefix, h.number)
}

func (x *attacker) cookie() (c mip6.Cookie) {
	for i := range c {
		c[i] = byte(x.w.random.Uint32())
	}
	return c
}

// message sends a message with a source of its choice.
func (x *attacker) message(source, destination netip.Addr, m mip6.Message) {
	x.send(mip6.Packet{Source: source, Destination: destination, Message: m})
}

func (x *attacker) send(p mip6.Packet) {
	if p.Source == p.Destination {
		return
	}
	b, err := p.Append(nil)
	if err != nil {
		x.w.fail("forged packet does not encode: %v", err)
		return
	}
	x.w.tell("attacker sends %s", describe(p))
	x.inject(packet{source: p.Source, destination: p.Destination, message: b})
}

func (x *attacker) inject(p packet) { x.w.carry(x.cell, p) }

// update tries to bind a mobile's home address to the attacker's own, for which
// it has a care-of keygen token, with a guess for the home keygen token.
func (x *attacker) update(home, peer netip.Addr) {
	var guess mip6.KeygenToken
	test := x.careOf[peer]
	key := mip6.NewBindingKey(guess, test.Token)
	u := mip6.BindingUpdate{Sequence: mip6.Sequence(x.w.random.Uint32()), Flags: mip6.UpdateAcknowledge, Lifetime: mip6.Lifetime(1 + x.w.random.IntN(100)),
		Options: []mip6.Option{mip6.NonceIndices{Home: test.NonceIndex, CareOf: test.NonceIndex}}}
	if x.w.random.IntN(3) == 0 {
		u.Lifetime, key = 0, mip6.NewDeregistrationKey(guess)
	}
	m, err := key.SealAuthorization(u, x.addr, peer)
	if err != nil {
		x.w.fail("forged update is not sealed: %v", err)
		return
	}
	x.send(mip6.Packet{Source: x.addr, Destination: peer, HomeAddress: home, Message: m})
}

// homeUpdate tries the same at the home agents, with a key of its own or none.
func (x *attacker) homeUpdate(home netip.Addr) {
	for _, h := range x.w.hosts {
		if !h.isAgent || len(h.fixed) == 0 {
			continue
		}
		var m mip6.Message = mip6.BindingUpdate{Sequence: mip6.Sequence(x.w.random.Uint32()), Flags: mip6.UpdateAcknowledge | mip6.UpdateHome,
			Lifetime: mip6.Lifetime(x.w.random.IntN(30)), Options: []mip6.Option{mip6.AlternateCareOf{Addr: x.addr}}}
		if x.w.random.IntN(2) == 0 {
			sa := mip6.SecurityAssociation{SPI: 256 + uint32(home.As16()[15]), Key: mip6.SharedKey{6, 6, 6}}
			sealed, err := sa.Seal(m, x.addr, home)
			if err != nil {
				x.w.fail("forged update is not sealed: %v", err)
				return
			}
			m = sealed
		}
		x.send(mip6.Packet{Source: x.addr, Destination: h.fixed[0], HomeAddress: home, Message: m})
	}
}

// localUpdate tries to bind a mobile's regional care-of address, or another one, to the
// attacker's own address or that of somebody else, with a key of its own or none.
func (x *attacker) localUpdate(victim, other *host) {
	for _, d := range x.w.domains {
		rcoa := withPrefix(d.cell.prefixes[0], x.addr)
		if list := victim.regionals(); len(list) > 0 {
			rcoa = list[x.w.random.IntN(len(list))]
		}
		source := x.addr
		if x.w.random.IntN(2) == 0 {
			source = x.careOfOf(other)
		}
		var m mip6.Message = mip6.BindingUpdate{Sequence: mip6.Sequence(x.w.random.Uint32()), Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP,
			Lifetime: mip6.Lifetime(x.w.random.IntN(30))}
		if x.w.random.IntN(3) > 0 {
			sa := victim.anchorAssociation()
			sa.Key[15] ^= 6
			sealed, err := sa.Seal(m, source, rcoa)
			if err != nil {
				x.w.fail("forged update is not sealed: %v", err)
				return
			}
			m = sealed
		}
		if source != rcoa {
			x.send(mip6.Packet{Source: source, Destination: d.host.fixed[0], HomeAddress: rcoa, Message: m})
		}
	}
}

// anchorAnswers sends what an anchor may send, and what says that one has forgotten the
// mobile.
func (x *attacker) anchorAnswers(victim *host, careOf netip.Addr) {
	for _, rcoa := range victim.regionals() {
		to := withPrefix(netip.PrefixFrom(rcoa, 64).Masked(), netip.AddrFrom16([16]byte{15: 1}))
		x.send(mip6.Packet{Source: to, Destination: careOf, RouteHome: rcoa,
			Message: mip6.BindingAcknowledgement{Status: mip6.Status(x.w.random.IntN(140)), Sequence: mip6.Sequence(x.w.random.Uint32()), Lifetime: 100}})
		x.message(to, rcoa, mip6.BindingRefreshRequest{})
		x.inject(packet{source: to, destination: careOf, fault: &fault{home: rcoa}})
	}
}

// throughAnchor sends data in the mobile's name through the tunnel to an anchor, alone and
// in that to a home agent, and to the mobile from where no anchor is.
func (x *attacker) throughAnchor(victim, peer *host, home, to netip.Addr) {
	d := &datum{source: home, destination: to, from: victim, to: peer, forged: true}
	back := &datum{source: to, destination: home, from: peer, to: victim, forged: true}
	for _, rcoa := range victim.regionals() {
		anchor := withPrefix(netip.PrefixFrom(rcoa, 64).Masked(), netip.AddrFrom16([16]byte{15: 1}))
		for _, agent := range x.w.hosts {
			if agent.isAgent && len(agent.fixed) > 0 {
				a := agent.fixed[0]
				x.inject(packet{source: home, destination: to, outer: []header{{rcoa, a}, {x.addr, anchor}}, tunnelled: true, datum: d})
				x.inject(packet{source: to, destination: home, outer: []header{{a, rcoa}, {x.addr, x.careOfOf(victim)}}, tunnelled: true, datum: back})
				x.inject(packet{source: to, destination: home, outer: []header{{x.addr, rcoa}}, tunnelled: true, datum: back})
			}
		}
		x.inject(packet{source: rcoa, destination: to, home: home, outer: []header{{x.addr, anchor}}, datum: d})
	}
}

// replay sends a recorded packet again. A home agent, or an anchor, that has restarted knows
// nothing of sequence numbers; then only timestamps protect (RFC 4285 §6), for
// which the packet has to be older than the replay window.
func (x *attacker) replay() {
	if len(x.recorded) == 0 {
		return
	}
	r := x.recorded[x.w.random.IntN(len(x.recorded))]
	if r.home && (r.from.order%2 == 1 || x.w.now.Sub(r.at) < 10*time.Second) {
		for _, h := range x.w.hosts {
			if h.agent != nil && h.agent.started.After(r.at) || h.anchor != nil && h.anchor.started.After(r.at) {
				return
			}
		}
	}
	x.w.tell("attacker repeats a packet of %s, %v old", r.from, x.w.now.Sub(r.at))
	x.inject(r.packet)
}
