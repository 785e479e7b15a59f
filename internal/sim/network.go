package sim

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// fromMobile carries out a mobile's actions.
func (w *World) fromMobile(m *mobile, actions []role.Action) {
	for _, a := range actions {
		if m.kernel.carryOut(a) {
			continue
		}
		switch a := a.(type) {
		case role.Send:
			w.sendFromMobile(m, a)
		case role.SolicitRouter:
			if r := m.port(a.Link).at; r != nil && !r.silent {
				w.overAir(r, m, func(*port) { w.advertise(r, m) })
			}
		case role.ProbeNeighbor:
			if r := m.port(a.Link).at; r != nil && (r.addr == a.Target || r.global == a.Target) && !r.silent {
				w.overAir(r, m, func(*port) {
					w.overAir(r, m, func(p *port) {
						w.toMobile(m, role.NeighborHeard{Link: p.index, From: a.Target, Target: a.Target, Solicited: true})
					})
				})
			}
		case role.ProbeAddress:
			w.probeFromMobile(m, a)
		case role.HandoverDone:
			m.done++
			w.Trace("%v %s handover %v -> %v (%v)", w.since(), m.config.Name, a.Handover.From.CareOf, a.Handover.To.CareOf, a.Handover.Trigger)
		case role.Log:
			w.Trace("%v %s %s %v", w.since(), m.config.Name, a.Message, a.Attrs)
		case role.Dropped:
			w.Trace("%v %s dropped %v", w.since(), m.config.Name, a.Reason)
		}
	}
}

// probeFromMobile asks the cell whether an address is taken.
func (w *World) probeFromMobile(m *mobile, a role.ProbeAddress) {
	cell, addr := m.port(a.Link).at, a.Addr
	if cell == nil {
		return
	}
	answer := func(from netip.Addr) {
		w.overAir(cell, m, func(p *port) { w.toMobile(m, role.NeighborHeard{Link: p.index, From: from, Target: addr}) })
	}
	if cell.home && w.agent.kernel.defended[addr] {
		answer(agentLocal)
	}
	for _, other := range w.mobiles {
		if p := other.on(cell); other != m && p != nil && other.kernel.has(p.index, addr) {
			answer(addr)
		}
	}
}

// sendFromMobile takes a packet from a mobile to the home agent, if the access
// network lets its source pass (ingress filtering).
func (w *World) sendFromMobile(m *mobile, s role.Send) {
	p, port := s.Packet, m.port(s.Link)
	cell := port.at
	if cell == nil || !port.up {
		return
	}
	if !cell.prefix.Contains(p.Source) {
		return // it does not know yet that it moved: ingress filtering
	}
	if !m.kernel.has(s.Link, p.Source) {
		w.fail("%s sent from %v, which is not on link %d", m.config.Name, p.Source, s.Link)
		return
	}
	q, ok := w.overWire(p)
	if !ok {
		return
	}
	w.transmit(cell.home, func() {
		u, isUpdate := q.Message.(mip6.BindingUpdate)
		if isUpdate {
			h := heldUpdate{sequence: u.Sequence, careOf: q.Source}
			if o, ok := mip6.Find[mip6.AlternateCareOf](u); ok {
				h.careOf = o.Addr
			}
			w.agent.updates[q.From()] = append(w.agent.updates[q.From()], h)
		}
		w.toAgent(role.MessageReceived{Link: homeLink, Packet: q})
	})
}

// fromAgent carries out the home agent's actions.
func (w *World) fromAgent(actions []role.Action) {
	g := w.agent
	for _, a := range actions {
		if g.kernel.carryOut(a) {
			continue
		}
		switch a := a.(type) {
		case role.Send:
			w.sendFromAgent(a.Packet)
		case role.ProbeAddress:
			for _, m := range w.mobiles {
				if p := m.on(w.access[0]); p != nil && p.up && m.kernel.has(p.index, a.Addr) {
					w.after(time.Millisecond, func() {
						w.toAgent(role.NeighborHeard{Link: homeLink, From: a.Addr, Target: a.Addr})
					})
				}
			}
		case role.Log:
			w.Trace("%v ha %s %v", w.since(), a.Message, a.Attrs)
		case role.Dropped:
			w.Trace("%v ha dropped %v from %v", w.since(), a.Reason, a.From)
		}
	}
}

// sendFromAgent takes a packet from the home agent to whoever has its
// destination by the time it arrives.
func (w *World) sendFromAgent(p mip6.Packet) {
	if ack, ok := p.Message.(mip6.BindingAcknowledgement); ok {
		w.witness(p, ack)
	}
	q, ok := w.overWire(p)
	if !ok {
		return
	}
	w.transmit(homePrefix.Contains(q.Destination), func() {
		for _, m := range w.mobiles {
			for _, p := range m.ports {
				if p.at == nil || !p.up || !p.at.prefix.Contains(q.Destination) || !m.kernel.has(p.index, q.Destination) {
					continue
				}
				w.overAir(p.at, m, func(p *port) { w.toMobile(m, role.MessageReceived{Link: p.index, Packet: q}) })
			}
		}
	})
}

// witness learns from an acknowledgement on the wire what the home agent has
// promised: the invariants hold it to that.
func (w *World) witness(p mip6.Packet, ack mip6.BindingAcknowledgement) {
	g, home := w.agent, p.To()
	held := g.updates[home]
	if !ack.Status.Accepted() {
		return
	}
	// The last one: sequence numbers begin anew when a mobile restarts.
	i := len(held) - 1
	for i >= 0 && held[i].sequence != ack.Sequence {
		i--
	}
	if i < 0 {
		w.fail("acknowledgement %d for %v answers no update", ack.Sequence, home)
		return
	}
	if ack.Lifetime == 0 {
		delete(g.oracle, home)
		return
	}
	g.oracle[home] = grant{held[i].careOf, ack.Sequence, w.now.Add(ack.Lifetime.Duration())}
}

// overWire puts a packet through the codec, as every real one goes.
func (w *World) overWire(p mip6.Packet) (mip6.Packet, bool) {
	b, err := p.Append(nil)
	if err != nil {
		w.fail("packet from %v does not encode: %v", p.Source, err)
		return mip6.Packet{}, false
	}
	q, err := mip6.ParsePacket(b)
	if err != nil {
		w.fail("packet from %v does not decode: %v", p.Source, err)
		return mip6.Packet{}, false
	}
	return q, true
}

// transmit delivers over the core network, with its faults. At home the path
// is one link and its delay small.
func (w *World) transmit(atHome bool, deliver func()) {
	if w.partitioned && !atHome {
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
		if atHome {
			d = time.Millisecond
		}
		if w.faults.Jitter > 0 {
			d += time.Duration(w.random.Int64N(int64(w.faults.Jitter)))
		}
		if w.random.Float64() < w.faults.Reorder {
			d += 3*w.faults.Delay + w.faults.Jitter
		}
		w.after(d, deliver)
	}
}
