package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/cn"
	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
)

// host is a node with the roles that it runs, and the shell round them.
type host struct {
	name   string
	number int // interface identifier
	order  int
	ports  []*port
	fixed  []netip.Addr // of one that does not move
	kernel kernel
	plane  plane
	down   bool
	set    time.Duration // by how much its clock was set

	isAgent, isMobile bool
	optimises         bool         // as a correspondent
	seeks             bool         // optimises as a mobile
	ignorant          bool         // does not know Mobile IPv6
	router            *router      // of a home agent, on the home link
	pool              netip.Prefix // of its delegating router
	domain            *domain      // of an anchor

	isRouter, implicit bool         // a mobile router, and its mode
	delegates          bool         // it asks for prefixes
	network            netip.Prefix // configured; invalid: none
	withheld           bool         // the home agent does not take it
	numbers            []numbered
	lan                *cell // its first downstream interface, where others may be

	hierarchy  mn.Hierarchy             // of a mobile
	addressing map[string]mn.Addressing // by uplink
	duid       []byte
	kept       map[string][]byte // across restarts
	// memories are what a home agent or anchor remembers across a restart of its
	// process; that of the host forgets them.
	memories  map[binding.Key]binding.Memory
	clients   map[int]*uplinkClient // of DHCPv6, by interface
	stopping  bool                  // the clients end
	datagrams int                   // that its clients have sent
	following []func()              // see batch
	batches   int                   // under way, one in another

	mobiles       []*mobile
	agent         *agent
	anchor        *anchorPoint
	correspondent *correspondent
}

// runner is a role with its timer. Gone: it ended, or its node crashed.
type runner struct {
	machine role.Machine
	armed   time.Time
	gone    bool
}

// mobile is a mobile node or router: one home address.
type mobile struct {
	runner
	role          mobileMachine
	home          netip.Addr
	ending, ended bool // Stop was delivered; nothing is left of it in the shell
	reconfigure   func(now time.Time) []role.Action
}

type mobileMachine interface {
	role.Machine
	Done() bool
	Snapshot(now time.Time) mn.Snapshot
	Takes(p mip6.Packet) bool
	HasCareOf(a netip.Addr) bool
}

type agent struct {
	runner
	role    *ha.Agent
	config  ha.Config
	started time.Time
	// delegator is its delegating router; nil: none.
	delegator *runner
}

type correspondent struct {
	runner
	role *cn.Correspondent
}

// port is an interface.
type port struct {
	host     *host
	index    int
	name     string
	at       *cell // nil: out of reach
	up       bool  // carrier
	ethernet [6]byte
	moves    int
	carriers uint32
	foreign  []foreignAddress // that somebody else has assigned
	answered time.Time        // when the server of an access network did last
}

func (w *World) addHost(name string) *host {
	h := &host{name: name, kept: make(map[string][]byte), memories: make(map[binding.Key]binding.Memory)}
	w.hosts = append(w.hosts, h)
	return h
}

func (h *host) addPort(name string, at *cell, ethernet [6]byte) {
	h.ports = append(h.ports, &port{host: h, index: len(h.ports) + 1, name: name, at: at, up: at != nil, ethernet: ethernet})
}

// port returns the interface with an index, nil for that of the data plane.
func (h *host) port(index int) *port {
	if index < 1 || index > len(h.ports) {
		return nil
	}
	return h.ports[index-1]
}

// on returns the interface by which a host is in a cell, or nil.
func (h *host) on(c *cell) *port {
	for _, p := range h.ports {
		if p.at == c && p.up && !h.down {
			return p
		}
	}
	return nil
}

// best is the preferred uplink that works, or nil.
func (h *host) best() *port {
	for _, p := range h.ports {
		if p.up && p.at != nil {
			return p
		}
	}
	return nil
}

// holds reports whether an address is on an interface.
func (p *port) holds(a netip.Addr) bool {
	return slices.Contains(p.host.fixed, a) || p.host.kernel.has(p.index, a) ||
		p.hasForeign(a)
}

// linkLocal is an address without zone that no other interface has. That of a router
// whose DUID the home agent is not told is made of the identifier of its home address.
func (p *port) linkLocal() netip.Addr {
	switch h := p.host; {
	case h.router != nil:
		return h.router.addr
	case h.delegates && h.order%2 == 1:
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(h.number >> 8), 15: byte(h.number)})
	}
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(p.index), 15: p.ethernet[5] + 2})
}

// mobileAt finds the living mobile with a home address, or nil.
func (h *host) mobileAt(home netip.Addr) *mobile {
	for _, m := range h.mobiles {
		if m.home == home && !m.gone {
			return m
		}
	}
	return nil
}

// runners are the living roles of a host, in a fixed order.
func (h *host) runners() []*runner {
	var list []*runner
	for _, m := range h.mobiles {
		if !m.gone {
			list = append(list, &m.runner)
		}
	}
	if h.agent != nil {
		list = append(list, &h.agent.runner)
		if h.agent.delegator != nil {
			list = append(list, h.agent.delegator)
		}
	}
	if h.anchor != nil {
		list = append(list, &h.anchor.runner)
	}
	for _, p := range h.ports {
		if u := h.clients[p.index]; u != nil && u.runner != nil {
			list = append(list, u.runner)
		}
	}
	if h.correspondent != nil {
		list = append(list, &h.correspondent.runner)
	}
	return list
}

func linkEvent(p *port) role.Event {
	return role.LinkChanged{Link: role.Link{Index: p.index, Name: p.name, Up: p.up, Carriers: p.carriers, MTU: 1500, Ethernet: p.ethernet, LinkLocal: p.linkLocal()}}
}

// link tells a host the state of an interface: the client of DHCPv6 first.
func (w *World) link(p *port) {
	h := p.host
	w.batch(h, func() {
		if u := h.clients[p.index]; u != nil && u.runner != nil {
			w.handle(h, u.runner, linkEvent(p))
		}
		w.broadcast(h, linkEvent(p))
	})
}

// Move takes an uplink of a mobile to a cell: the carrier goes, and comes back
// after gap. Without events the link stays up all the time. A mobile is not in
// one cell twice.
func (w *World) Move(p *port, to *cell, gap time.Duration, events bool) {
	w.tell("%s moves %s to %s (gap %v, events %v)", p.host.name, p.name, to.name, gap, events)
	p.moves++
	move := p.moves
	w.leaves(p)
	p.at = nil
	if events && p.up {
		p.up = false
		w.link(p)
	}
	w.manageForeign(p)
	w.after(gap, func() {
		if !w.mayEnter(p.host, to) || to.owner != nil && p.host.addressing[p.name] == mn.AddressingDHCP {
			to = w.cells[1] // in mobile networks there is no DHCPv6
		}
		if p.moves != move || slices.ContainsFunc(p.host.ports, func(o *port) bool { return o.at == to }) {
			return // it moved on meanwhile
		}
		p.at = to
		if to.owner != nil {
			w.counts.Nested++
		}
		if events || !p.up {
			p.up = true
			p.carriers++
			w.link(p)
		}
		w.manageForeign(p)
	})
}

// broadcast gives an event to the roles of Mobile IPv6 of a host.
func (w *World) broadcast(h *host, e role.Event) {
	w.toMobiles(h, e, func(*mobile) bool { return true })
	w.toAgent(h, e)
	w.toAnchor(h, e)
	w.toCorrespondent(h, e)
}

// handle gives an event to a role and carries out what it decides.
func (w *World) handle(h *host, r *runner, e role.Event) {
	if r.gone {
		return
	}
	if _, stop := e.(role.Stop); stop {
		if m := h.mobileOf(r); m != nil {
			m.ending = true
		}
	}
	w.carryOut(h, r, r.machine.Handle(w.clockOf(h), e))
}

// carryOut carries out a role's actions and sets its timer.
func (w *World) carryOut(h *host, r *runner, actions []role.Action) {
	w.touched = append(w.touched, h)
	w.batch(h, func() {
		for _, a := range actions {
			w.perform(h, r, a)
		}
		w.arm(h, r)
	})
}

// arm sets a role's timer.
func (w *World) arm(h *host, r *runner) {
	next := r.machine.Next()
	if next.IsZero() || !r.armed.IsZero() && !next.Before(r.armed) {
		return
	}
	r.armed = next
	w.after(next.Sub(w.now), func() {
		if r.gone || !r.armed.Equal(next) {
			return // replaced by an earlier one
		}
		r.armed = time.Time{}
		w.handle(h, r, role.Timeout{})
	})
}

// perform carries out one action.
func (w *World) perform(h *host, r *runner, a role.Action) {
	if h.kernel.carryOut(r, a) {
		return
	}
	switch a := a.(type) {
	case role.Send:
		w.send(h, r, a)
	case role.SendICMP:
		w.sendICMP(h, a)
	case role.SolicitRouter:
		w.solicitRouter(h.port(a.Link))
	case role.ProbeNeighbor:
		w.probeNeighbor(h.port(a.Link), a.Target)
	case role.ProbeAddress:
		w.probeAddress(h.port(a.Link), a.Addr)
	case role.AnnounceAddress:
		w.announce(h.port(a.Link), a.Addr)
	case role.HomeAddressFormed:
		w.formHome(h, a)
	case role.ConfigureLink:
		h.later(func() { w.configureLink(h, r, a) })
	case role.DeclineAddress:
		h.later(func() { w.declineAddress(h, a) })
	case role.LeaseChanged:
		h.later(func() { w.leaseChanged(h, r, a) })
	case role.PrefixesDelegated:
		h.later(func() { w.prefixesDelegated(h, a) })
	case role.NumberDownstream:
		h.later(func() { w.numberDownstream(h, r, a) })
	case role.AdvertisePrefix:
		if a.Prefix == h.network {
			h.withheld = !a.Usable
		}
	case role.SendDHCP:
		w.sendDHCP(h, r, a)
	case role.Save:
		h.kept[a.Name] = slices.Clone(a.Data)
	case role.Remember:
		h.memories[a.Memory.Key()] = a.Memory
	case role.HandoverDone:
		w.counts.Handovers++
		w.tell("%s handover %v -> %v (%v)", h.name, a.Handover.From.CareOf, a.Handover.To.CareOf, a.Handover.Trigger)
	case role.Log:
		w.tell("%s: %s %v", h.name, a.Message, a.Attrs)
	case role.Dropped:
		w.tell("%s dropped %v from %v", h.name, a.Reason, a.From)
	}
}

func (m *mobile) String() string { return fmt.Sprint(m.home) }
