package sim

import (
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/role"
	"roam6/mn"
)

// DHCPv6 as the shell hosts it (internal/node): a client for each uplink and all
// mobiles together, and the delivery of datagrams to clients, delegating routers and
// mobile routers.

// uplinkClient is the DHCPv6 client of an interface.
type uplinkClient struct {
	*runner // nil: none runs
	role    *dhcpv6.Client
	port    *port
	ending  bool

	wants dhcpv6.Wants[*runner]

	lease  role.Lease
	leased time.Time // zero: never
	// unnamed is since when a mobile uses an address that the client does not name.
	unnamed time.Time
	// ends are the ends of the leases of addresses, as the client has said last, also
	// of those that it does not name any more.
	ends map[netip.Addr]time.Time
}

// later has something done when all that the present batch of actions asks for is
// done.
func (h *host) later(do func()) { h.following = append(h.following, do) }

// batch does something, and then what it has left for later.
func (w *World) batch(h *host, do func()) {
	h.batches++
	do()
	if h.batches == 1 {
		h.follow()
		w.mobilesEnded(h)
		h.follow()
		w.clientsEnded(h)
		h.follow()
	}
	h.batches--
}

func (h *host) follow() {
	for len(h.following) > 0 {
		next := h.following[0]
		h.following = h.following[1:]
		next()
	}
}

// clientsEnded forgets clients that have ended, and begins those that are wanted
// again by now.
func (w *World) clientsEnded(h *host) {
	for _, p := range h.ports {
		u := h.clients[p.index]
		if u == nil || !u.ending || !u.role.Done() {
			continue
		}
		u.runner.gone = true
		u.runner, u.role, u.ending, u.lease, u.leased = nil, nil, false, role.Lease{}, time.Time{}
		if w.serveUplink(h, u); u.runner == nil {
			delete(h.clients, p.index)
		}
	}
}

// mobilesEnded forgets what mobiles wanted that have ended.
func (w *World) mobilesEnded(h *host) {
	for _, m := range h.mobiles {
		if m.ending && !m.ended && m.role.Done() {
			m.ended = true
			for _, p := range h.ports {
				w.forgetWant(h, h.clients[p.index], &m.runner)
			}
			h.takeBack(w.now, &m.runner)
		}
	}
}

// configureLink notes what a mobile wants of the client of an uplink.
func (w *World) configureLink(h *host, by *runner, c role.ConfigureLink) {
	u := h.clients[c.Link]
	m := h.mobileOf(by)
	if h.addressing[h.port(c.Link).name] == mn.AddressingForeign || m == nil {
		return
	}
	if m.ending {
		w.forgetWant(h, u, by)
		return
	}
	if u == nil {
		if !c.Managed && !c.Other {
			return
		}
		u = &uplinkClient{port: h.port(c.Link), wants: dhcpv6.Wants[*runner]{Link: c.Link}, ends: make(map[netip.Addr]time.Time)}
		h.clients[c.Link] = u
	}
	u.wants.Ask(by, c)
	w.serveUplink(h, u)
}

// serveUplink begins, tells or ends the client of an uplink, as it is wanted now.
func (w *World) serveUplink(h *host, u *uplinkClient) {
	wanted := !h.stopping && u.wants.Any()
	switch {
	case u.runner == nil && !wanted, u.ending:
	case !wanted:
		u.ending = true
		if len(u.lease.Addresses) > 0 {
			w.leaseChanged(h, u.runner, role.LeaseChanged{Link: u.port.index})
		}
		w.handle(h, u.runner, role.Stop{})
	case u.runner == nil:
		store := "uplink-" + u.port.name
		u.role = dhcpv6.NewClient(dhcpv6.Config{
			Name: u.port.name, Store: store, Link: u.port.index, DUID: h.duid, IAID: dhcpv6.IAIDOf(u.port.name),
			NoRapidCommit: h.order%4 == 3, Random: w.entropy(),
		}, h.kept[store])
		u.runner = &runner{machine: u.role}
		w.handle(h, u.runner, linkEvent(u.port))
		w.handle(h, u.runner, u.wants.Tell())
	case u.wants.Due():
		w.handle(h, u.runner, u.wants.Tell())
	}
}

// forgetWant forgets what a mobile wanted on one link.
func (w *World) forgetWant(h *host, u *uplinkClient, by *runner) {
	if u == nil {
		return
	}
	if u.wants.Forget(by) {
		w.serveUplink(h, u)
	}
}

// leaseChanged takes what a client has now to the mobiles.
func (w *World) leaseChanged(h *host, by *runner, e role.LeaseChanged) {
	u := h.clients[e.Link]
	if u == nil || u.runner != by {
		return
	}
	w.tell("%s has leases %v on %s", h.name, e.Lease.Addresses, u.port.name)
	u.lease, u.leased = e.Lease, w.now
	for _, p := range e.Lease.Addresses {
		u.ends[p.Prefix.Addr()] = w.now.Add(p.Valid)
		w.counts.Leases++
	}
	w.toMobiles(h, e, func(*mobile) bool { return true })
}

// declineAddress tells the client of a link that somebody else has an address.
func (w *World) declineAddress(h *host, e role.DeclineAddress) {
	w.tell("%s declines %v", h.name, e.Addr)
	w.counts.Declines++
	if u := h.clients[e.Link]; u != nil && u.runner != nil {
		w.handle(h, u.runner, e)
	}
}

// introduceLeases tells a mobile that has just begun what there is already.
func (w *World) introduceLeases(h *host, m *mobile) {
	for _, p := range h.ports {
		if u := h.clients[p.index]; u != nil && !u.leased.IsZero() {
			w.handle(h, &m.runner, role.LeaseChanged{Link: p.index, Lease: u.leaseAt(w.now)})
		}
		if h.addressing[p.name] == mn.AddressingForeign {
			w.handle(h, &m.runner, p.foreignAddresses(w.now))
		}
	}
}

// leaseAt is the lease with the lifetimes that remain.
func (u *uplinkClient) leaseAt(now time.Time) role.Lease {
	l := u.lease
	l.Addresses = nil
	for _, p := range u.lease.Addresses {
		p.Valid -= now.Sub(u.leased)
		p.Preferred = max(p.Preferred-now.Sub(u.leased), 0)
		if p.Valid > 0 {
			l.Addresses = append(l.Addresses, p)
		}
	}
	return l
}

// stopClients ends the clients of a host whose mobiles have ended.
func (w *World) stopClients(h *host) {
	h.stopping = true
	for _, p := range h.ports {
		if u := h.clients[p.index]; u != nil {
			w.batch(h, func() { w.serveUplink(h, u) })
		}
	}
}

// datagram is a UDP datagram of DHCPv6 that is routed.
type datagram struct {
	from, to netip.AddrPort
	message  []byte
}

// sendDHCP sends a datagram: by multicast on a link, by unicast on it, or routed.
func (w *World) sendDHCP(h *host, r *runner, a role.SendDHCP) {
	w.tell("%s sends %s %v -> %v on %d", h.name, describeDHCP(a.Message), a.From, a.To, a.Link)
	if h.isMobile {
		h.datagrams++
		w.counts.Datagrams++
	}
	p := h.port(a.Link)
	switch {
	case p == nil:
		if a.From.Addr() != h.address() && !h.hasHome(a.From.Addr()) {
			w.fail("%s sends DHCPv6 from %v", h.name, a.From)
		}
		w.plane(h).route(packet{source: a.From.Addr(), destination: a.To.Addr(), datagram: &datagram{a.From, a.To, a.Message}})
	case a.To.Addr() == dhcpv6.AllRelayAgentsAndServers():
		from := netip.AddrPortFrom(p.linkLocal(), a.From.Port())
		w.onLink(p, func() { w.multicast(p, role.DHCPReceived{From: from, To: a.To, Message: a.Message}) })
	default:
		from := netip.AddrPortFrom(p.linkLocal(), a.From.Port())
		for _, o := range w.hosts {
			if q := o.on(w.cells[0]); p.at == w.cells[0] && q != nil && q.linkLocal() == a.To.Addr() {
				w.onLink(p, func() {
					w.overAir(p.at, q, func() { w.dispatch(o, role.DHCPReceived{Link: q.index, From: from, To: a.To, Message: a.Message}) })
				})
			}
		}
	}
}

// onLink has something leave by an interface, with the faults of the network.
func (w *World) onLink(from *port, do func()) {
	copies := 1
	if w.random.Float64() < w.faults.Duplicate {
		copies = 2
	}
	at, moves := from.at, from.moves
	if at == nil || !from.up {
		return
	}
	for range copies {
		if w.random.Float64() < w.faults.Loss {
			continue
		}
		d := time.Millisecond
		if w.faults.Jitter > 0 {
			d += time.Duration(w.random.Int64N(int64(w.faults.Jitter)))
		}
		if w.random.Float64() < w.faults.Reorder {
			d += 3 * w.faults.Delay
		}
		w.after(d, func() {
			if from.at == at && from.moves == moves {
				do()
			}
		})
	}
}

// multicast brings a client's message to the servers of its link.
func (w *World) multicast(from *port, e role.DHCPReceived) {
	c := from.at
	switch {
	case c.home:
		for _, h := range w.hosts {
			if h.agent != nil && h.agent.delegator != nil && !h.down {
				e.Link = 1
				w.dispatch(h, e)
			}
		}
	case c.server != nil:
		c.server.receive(w, from, e.Message)
	}
}

// datagramArrived gives a datagram that was routed to those whom it is for.
func (w *World) datagramArrived(h *host, link int, source, destination netip.Addr, d *datagram) {
	if source != d.from.Addr() || destination != d.to.Addr() {
		w.fail("%s gets a datagram %v -> %v as %v -> %v", h.name, d.from, d.to, source, destination)
		return
	}
	w.dispatch(h, role.DHCPReceived{Link: link, From: d.from, To: d.to, Message: d.message})
}

// dhcpReceived gives a DHCPv6 message to those whom it may be for.
func (w *World) dhcpReceived(h *host, e role.DHCPReceived) {
	var takers []*runner
	switch e.To.Port() {
	case dhcpv6.ClientPort:
		if u := h.clients[e.Link]; u != nil && u.runner != nil {
			takers = append(takers, u.runner)
		}
		for _, m := range h.mobiles {
			if h.delegates && !m.gone {
				takers = append(takers, &m.runner)
			}
		}
	case dhcpv6.ServerPort:
		if h.agent != nil && h.agent.delegator != nil && (h.address() == e.To.Addr() || e.To.Addr().IsMulticast()) && vouched(e) {
			takers = append(takers, h.agent.delegator)
		}
		for _, m := range h.mobiles {
			if h.delegates && !m.gone && m.home == e.To.Addr() {
				takers = append(takers, &m.runner)
			}
		}
	}
	for _, r := range takers {
		w.handle(h, r, e)
	}
}

// vouched reports whether a message to a delegating router can be from whom it says:
// through the data plane, or on the home link.
func vouched(e role.DHCPReceived) bool { return e.Link == deviceLink || e.Link == 1 }

// address is that of a host that does not move.
func (h *host) address() netip.Addr {
	if len(h.fixed) == 0 {
		return netip.Addr{}
	}
	return h.fixed[0]
}

// hasHome reports whether an address is a home address of a host.
func (h *host) hasHome(a netip.Addr) bool {
	return slices.ContainsFunc(h.mobiles, func(m *mobile) bool { return m.home == a })
}

// mobileOf finds the mobile whose runner by is; nil: none.
func (h *host) mobileOf(by *runner) *mobile {
	for _, m := range h.mobiles {
		if &m.runner == by {
			return m
		}
	}
	return nil
}
