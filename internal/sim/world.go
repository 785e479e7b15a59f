package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"roam6/ha"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mr"
	"roam6/nd"
)

// Faults are what the network does to packets. Probabilities are from 0 to 1.
type Faults struct {
	Loss      float64
	Duplicate float64
	Reorder   float64       // a packet is delayed once more
	Delay     time.Duration // one way
	Jitter    time.Duration // added at random
}

// World is one simulated network: a home agent with its home link, access
// routers, and mobile routers that move between them.
type World struct {
	clock
	random  *rand.Rand
	faults  Faults
	agent   *agent
	access  []*accessRouter // access[0] is on the home link
	mobiles []*mobile
	// partitioned: nothing passes between the access networks and the home agent.
	partitioned bool
	failures    []string
	Trace       func(format string, args ...any)
}

// agent is the home agent's node.
type agent struct {
	role    *ha.Agent
	config  ha.Config
	kernel  kernel
	wake    time.Time
	oracle  map[netip.Addr]grant        // by home address: what was acknowledged last
	updates map[netip.Addr][]heldUpdate // delivered to the agent, not yet answered
}

// grant is a binding as the acknowledgements on the wire tell it.
type grant struct {
	careOf   netip.Addr
	sequence mip6.Sequence
	expires  time.Time
}

type heldUpdate struct {
	sequence mip6.Sequence
	careOf   netip.Addr
}

// accessRouter is a router that advertises a prefix; its radio cell is the link.
type accessRouter struct {
	name     string
	prefix   netip.Prefix
	addr     netip.Addr // link-local
	global   netip.Addr // told by the R bit; invalid: not told
	ethernet [6]byte
	interval time.Duration
	silent   bool
	home     bool
}

// mobile is a mobile router's node with one uplink or two, of which the first is
// preferred.
type mobile struct {
	role    *mr.Router
	config  mr.Config
	kernel  kernel
	wake    time.Time
	ports   []*port
	stopped bool
	done    int // handovers completed
}

// port is an uplink of a mobile.
type port struct {
	index    int
	name     string
	at       *accessRouter // nil: out of reach
	up       bool          // carrier
	ethernet [6]byte
	moves    int
}

// port returns the uplink with an index.
func (m *mobile) port(index int) *port { return m.ports[index-1] }

// on returns the uplink by which a mobile is in a cell, or nil. The home link and
// the access networks are cells.
func (m *mobile) on(a *accessRouter) *port {
	for _, p := range m.ports {
		if p.at == a {
			return p
		}
	}
	return nil
}

// best is the preferred uplink that works, or nil.
func (m *mobile) best() *port {
	for _, p := range m.ports {
		if p.up && p.at != nil {
			return p
		}
	}
	return nil
}

const homeLink = 1

var (
	homePrefix = netip.MustParsePrefix("2001:db8:10::/64")
	agentAddr  = netip.MustParseAddr("2001:db8:10::1")
	agentLocal = netip.MustParseAddr("fe80::1")
)

// NewWorld builds a world of access routers and mobile routers, all at home and
// without carrier.
func NewWorld(seed uint64, routers, mobiles int, faults Faults) *World {
	w := &World{random: rand.New(rand.NewPCG(seed, 6275)), faults: faults, Trace: func(string, ...any) {}}
	w.now = epoch
	for i := range routers + 1 {
		a := &accessRouter{
			name:     fmt.Sprintf("ar%d", i),
			prefix:   netip.MustParsePrefix(fmt.Sprintf("2001:db8:a%d::/64", i)),
			addr:     netip.MustParseAddr(fmt.Sprintf("fe80::a%d", i)),
			ethernet: [6]byte{2, 0, 0, 0, 0xa, byte(i)},
			interval: time.Second,
		}
		if i%2 == 1 {
			a.global = a.prefix.Addr().Next()
		}
		if i == 0 {
			a.name, a.prefix, a.addr, a.home = "home", homePrefix, agentLocal, true
		}
		w.access = append(w.access, a)
		w.advertiseLater(a)
	}
	config := ha.Config{Name: "ha", HomeLink: "home0", Address: agentAddr, Prefix: homePrefix, MaxLifetime: 300 * time.Second, DAD: true, ReplayWindow: 7 * time.Second}
	for i := range mobiles {
		home := netip.MustParseAddr(fmt.Sprintf("2001:db8:10::%x", 0x100+i))
		prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", 0x100+i))
		sa := mip6.SecurityAssociation{SPI: 256 + uint32(i), Key: mip6.SharedKey{byte(i), 1, 2, 3}}
		config.Mobiles = append(config.Mobiles, ha.Mobile{Name: fmt.Sprintf("m%d", i), HomeAddress: home, SA: &sa, Prefixes: []netip.Prefix{prefix}, Router: true})
		m := &mobile{kernel: newKernel()}
		for j := range 1 + i%2 {
			m.ports = append(m.ports, &port{index: j + 1, name: fmt.Sprintf("up%d", j), ethernet: [6]byte{2, 0, 0, 0, byte(1 + j), byte(i)}})
			m.config.Uplinks = append(m.config.Uplinks, fmt.Sprintf("up%d", j))
		}
		m.config.Name = fmt.Sprintf("m%d", i)
		m.config.HomeAddress, m.config.HomePrefix, m.config.HomeAgents = home, homePrefix, []netip.Addr{agentAddr}
		m.config.SA, m.config.Timestamps = &sa, i%2 == 0
		m.config.Lifetime = 120 * time.Second
		m.config.Seed = seed + uint64(i)
		m.config.Mode, m.config.Prefixes = mr.Explicit, []netip.Prefix{prefix}
		if i%3 == 2 {
			m.config.Mode = mr.Implicit
		}
		w.mobiles = append(w.mobiles, m)
	}
	w.agent = &agent{config: config}
	w.startAgent()
	for _, m := range w.mobiles {
		w.startMobile(m)
	}
	return w
}

// startAgent begins a home agent with nothing remembered: also after a crash.
func (w *World) startAgent() {
	g := w.agent
	g.role, g.kernel, g.wake = ha.New(g.config), newKernel(), time.Time{}
	g.oracle, g.updates = make(map[netip.Addr]grant), make(map[netip.Addr][]heldUpdate)
	w.toAgent(role.LinkChanged{Link: role.Link{Index: homeLink, Name: "home0", Up: true, MTU: 1500, Ethernet: w.access[0].ethernet, LinkLocal: agentLocal}})
}

// startMobile begins a mobile router with nothing remembered: also after a
// crash, when what its kernel held is swept as the shell does.
func (w *World) startMobile(m *mobile) {
	m.role, m.kernel, m.wake, m.stopped = mr.New(m.config), newKernel(), time.Time{}, false
	for _, p := range m.ports {
		w.link(m, p)
	}
}

// link tells a mobile the state of an uplink.
func (w *World) link(m *mobile, p *port) {
	local := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(p.index), 15: p.ethernet[5] + 2})
	w.toMobile(m, role.LinkChanged{Link: role.Link{Index: p.index, Name: p.name, Up: p.up, MTU: 1500, Ethernet: p.ethernet, LinkLocal: local}})
}

// Move takes an uplink of a mobile to an access router: the carrier goes, and
// comes back after gap. Without events the link stays up all the time. A mobile
// is not in one cell twice.
func (w *World) Move(m *mobile, p *port, to *accessRouter, gap time.Duration, events bool) {
	w.Trace("%v %s moves %s to %s", w.since(), m.config.Name, p.name, to.name)
	p.moves++
	move := p.moves
	p.at = nil
	if events && p.up {
		p.up = false
		w.link(m, p)
	}
	w.after(gap, func() {
		if p.moves != move || m.on(to) != nil {
			return // it moved on meanwhile
		}
		p.at = to
		if events || !p.up {
			p.up = true
			w.link(m, p)
		}
	})
}

// Run advances the clock.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for w.step(end) {
		w.checkAlways()
	}
}

func (w *World) since() time.Duration { return w.now.Sub(epoch) }

// advertiseLater schedules the router's next advertisement.
func (w *World) advertiseLater(a *accessRouter) {
	w.after(a.interval/2+time.Duration(w.random.Int64N(int64(a.interval/2))), func() {
		if !a.silent {
			for _, m := range w.mobiles {
				if m.on(a) != nil {
					w.advertise(a, m)
				}
			}
		}
		w.advertiseLater(a)
	})
}

// advertise delivers one advertisement to one mobile.
func (w *World) advertise(a *accessRouter, m *mobile) {
	ra := nd.RouterAdvertisement{
		RouterLifetime: 30 * time.Second, SourceLinkAddr: a.ethernet[:], Interval: a.interval, HomeAgent: a.home,
		Prefixes: []mip6.PrefixInformation{{Prefix: a.prefix, OnLink: true, Autonomous: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour}},
	}
	if a.home {
		ra.Prefixes[0].Prefix, ra.Prefixes[0].RouterAddress = netip.PrefixFrom(agentAddr, 64), true
	} else if a.global.IsValid() {
		ra.Prefixes[0].Prefix, ra.Prefixes[0].RouterAddress = netip.PrefixFrom(a.global, 64), true
	}
	w.overAir(a, m, func(p *port) {
		w.toMobile(m, role.RouterHeard{Link: p.index, Router: a.addr, RA: ra})
	})
}

// overAir carries something between a router and a mobile in its cell.
func (w *World) overAir(a *accessRouter, m *mobile, deliver func(*port)) {
	if w.random.Float64() < w.faults.Loss {
		return
	}
	w.after(time.Millisecond, func() {
		if p := m.on(a); p != nil && p.up {
			deliver(p)
		}
	})
}

func (w *World) toMobile(m *mobile, e role.Event) {
	if m.stopped {
		return
	}
	w.fromMobile(m, m.role.Handle(w.now, e))
	w.wakeAt(&m.wake, m.role.Next, func() { w.toMobile(m, role.Timeout{}) })
}

func (w *World) toAgent(e role.Event) {
	w.fromAgent(w.agent.role.Handle(w.now, e))
	w.wakeAt(&w.agent.wake, w.agent.role.Next, func() { w.toAgent(role.Timeout{}) })
}

// wakeAt keeps one timer scheduled for a role's Next.
func (w *World) wakeAt(armed *time.Time, next func() time.Time, wake func()) {
	t := next()
	if t.IsZero() || (!armed.IsZero() && !t.Before(*armed)) {
		return
	}
	*armed = t
	w.after(t.Sub(w.now), func() {
		if !armed.Equal(t) {
			return // replaced by an earlier one
		}
		*armed = time.Time{}
		wake()
	})
}
