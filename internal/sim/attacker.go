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
	home   bool // a home registration
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
		home: update && u.Flags&mip6.UpdateHome != 0,
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
	switch w.random.IntN(10) {
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

// replay sends a recorded packet again. A home agent that has restarted knows
// nothing of sequence numbers; then only timestamps protect (RFC 4285 §6), for
// which the packet has to be older than the replay window.
func (x *attacker) replay() {
	if len(x.recorded) == 0 {
		return
	}
	r := x.recorded[x.w.random.IntN(len(x.recorded))]
	if r.home && (r.from.order%2 == 1 || x.w.now.Sub(r.at) < 10*time.Second) {
		for _, h := range x.w.hosts {
			if h.agent != nil && h.agent.started.After(r.at) {
				return
			}
		}
	}
	x.w.tell("attacker repeats a packet of %s, %v old", r.from, x.w.now.Sub(r.at))
	x.inject(r.packet)
}
