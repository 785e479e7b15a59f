package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"roam6/ha"
	"roam6/internal/role/roletest"
	"roam6/mip6"
	"roam6/mn"
)

// Faults are what the network does to packets. Probabilities are from 0 to 1.
type Faults struct {
	Loss      float64
	Duplicate float64
	Reorder   float64       // a packet is delayed once more
	Delay     time.Duration // one way
	Jitter    time.Duration // added at random
}

// Plan is what a world is made of.
type Plan struct {
	Cells   int // access networks beside the home link
	Agents  int // home agents on the home link
	Routers int // mobile routers, without route optimisation
	Hosts   int // mobile hosts that optimise routes and are correspondents
	// Reserved are mobile hosts that optimise no routes, and are correspondents.
	Reserved       int
	Correspondents int // with route optimisation
	Unwilling      int // correspondents with route optimisation switched off
	Ignorant       int // correspondents without Mobile IPv6
	// Discover: the mobiles are not told their home agents.
	Discover bool
	// Attacker: somebody sends forged packets, and repeats recorded ones.
	Attacker bool
	// Managed: access networks have DHCPv6 servers, of which some are needed.
	Managed bool
	// Foreign: somebody else manages uplinks of some mobiles.
	Foreign bool
	// Delegation: mobile routers ask for prefixes, and home agents delegate them.
	Delegation bool
	// Nested: mobiles may be in the networks of mobile routers.
	Nested bool
	// Clocks: the clocks of all nodes are set now and then, by years.
	Clocks bool
	// Anchors is how many mobility anchor points there are.
	Anchors int
	// Settlers: others take care-of addresses that mobiles have left.
	Settlers bool
}

// World is one simulated network.
type World struct {
	clock
	plan    Plan
	random  *rand.Rand
	faults  Faults
	cells   []*cell // the first is the home link
	domains []*domain
	hosts   []*host
	witness *witness
	air     neighbours
	home    homeNetwork
	enemy   attacker
	talks   talks

	lasting   bool      // what home agents and anchors remember survives every crash
	forgotten time.Time // when a mobile restarted last
	failures  []string
	counts    Counts
	touched   []*host // whose invariants are to be checked after the step
	lives     uint64  // of roles, for their random numbers
	traced    bool
	trace     func(format string, args ...any)
}

// Counts tell what a ride was made of.
type Counts struct {
	Handovers, Changes    int // completed; of home agents
	Bindings              int // made or changed at correspondents
	Trips, Direct         int // round trips of applications; without any tunnel
	Errors, Discoveries   int // binding errors sent; replies to discovery
	Formed, Strikes, Lost int // home addresses; of the attacker; agents and correspondents gone
	Leases, Granted       int // told to mobiles; by servers
	Declines, Datagrams   int // leased addresses; DHCPv6 messages of clients
	Delegations, Numbered int // told to home agents; downstream interfaces
	Nested, Circles       int // attachments to mobile networks; packets that went in circles
	Local, Stacked        int // registrations with anchors; packets in a tunnel in the tunnel to one
	Restored              int // bindings, of home agents and anchors after a crash
	Clocks                int // that were set
	Regional, Inside      int // bindings at correspondents to regional care-of addresses; calm moves inside a domain
	Settled, Evaded       int // care-of addresses that others took; that mobiles found taken then
}

// Add adds what another ride was made of.
func (c *Counts) Add(d Counts) {
	c.Handovers, c.Changes = c.Handovers+d.Handovers, c.Changes+d.Changes
	c.Bindings = c.Bindings + d.Bindings
	c.Trips, c.Direct = c.Trips+d.Trips, c.Direct+d.Direct
	c.Errors, c.Discoveries = c.Errors+d.Errors, c.Discoveries+d.Discoveries
	c.Formed, c.Strikes, c.Lost = c.Formed+d.Formed, c.Strikes+d.Strikes, c.Lost+d.Lost
	c.Leases, c.Granted = c.Leases+d.Leases, c.Granted+d.Granted
	c.Declines, c.Datagrams = c.Declines+d.Declines, c.Datagrams+d.Datagrams
	c.Delegations, c.Numbered = c.Delegations+d.Delegations, c.Numbered+d.Numbered
	c.Nested, c.Circles = c.Nested+d.Nested, c.Circles+d.Circles
	c.Local, c.Stacked = c.Local+d.Local, c.Stacked+d.Stacked
	c.Restored, c.Clocks = c.Restored+d.Restored, c.Clocks+d.Clocks
	c.Regional, c.Inside = c.Regional+d.Regional, c.Inside+d.Inside
	c.Settled, c.Evaded = c.Settled+d.Settled, c.Evaded+d.Evaded
}

// cell is a link with one subnet, or two on the home link while it is renumbered.
type cell struct {
	name     string
	prefixes []netip.Prefix
	home     bool
	radio    bool // mobiles come and go, and packets are lost there
	cut      bool // nothing passes between it and the rest
	silent   bool // no router advertises
	interval time.Duration
	router   *router // of an access network
	owner    *host   // whose mobile network it is
	domain   *domain // whose anchor is here, and the regional care-of addresses
	offers   []*offer

	managed, other bool // flags M and O
	stateless      bool // addresses may be formed
	server         *server
	taken          netip.Addr // somebody has it who does not move
	settled        netip.Addr // somebody has it who came when a mobile had left it
}

// homeNetwork is what the administrator of the home network has decided.
type homeNetwork struct {
	prefix int // index of the prefix that is configured as home prefix
	// deprecated and expired are about the first prefix; other is advertised beside.
	other      bool
	deprecated time.Time // zero: not
	expires    time.Time // zero: never
}

// Home prefixes: the first, and the one that replaces it.
var homePrefixes = [2]netip.Prefix{netip.MustParsePrefix("2001:db8:10::/64"), netip.MustParsePrefix("2001:db8:20::/64")}

// addr is an address of the home network.
func homeAddr(prefix, n int) netip.Addr {
	a := homePrefixes[prefix].Addr().As16()
	a[14], a[15] = byte(n>>8), byte(n)
	return netip.AddrFrom16(a)
}

const firstMobile = 0x100 // interface identifier of the first home address

// NewWorld builds a world in which all mobiles are without carrier.
func NewWorld(seed uint64, plan Plan, faults Faults, trace func(format string, args ...any)) *World {
	w := &World{plan: plan, random: rand.New(rand.NewPCG(seed, 6275)), faults: faults, trace: trace, traced: trace != nil}
	w.now = roletest.ClockSet(epoch, 0)
	w.witness = newWitness(w)
	w.air = make(neighbours)
	w.buildCells()
	for i := range plan.Agents {
		w.addAgent(i)
	}
	for i := range plan.Correspondents + plan.Unwilling + plan.Ignorant {
		w.addCorrespondent(i)
	}
	w.buildDomains()
	for i := range plan.Routers + plan.Hosts + plan.Reserved {
		w.addMobile(i)
	}
	w.enemy.begin(w)
	for _, h := range w.hosts {
		w.boot(h)
	}
	w.everySecond()
	return w
}

func (w *World) buildCells() {
	w.cells = []*cell{{name: "home", prefixes: homePrefixes[:1], home: true, interval: time.Second, stateless: true}}
	for i := range w.plan.Cells {
		r := &router{
			addr:     netip.MustParseAddr(fmt.Sprintf("fe80::a%d", i+1)),
			ethernet: [6]byte{2, 0, 0, 0, 0xa, byte(i + 1)},
		}
		prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:a%d::/64", i+1))
		if i%2 == 0 {
			r.global = prefix.Addr().Next()
		}
		c := &cell{name: fmt.Sprintf("cell%d", i+1), prefixes: []netip.Prefix{prefix}, radio: true, interval: time.Second, router: r, stateless: true}
		w.cells = append(w.cells, c)
		if w.plan.Managed {
			w.manage(c)
		}
	}
	for _, c := range w.cells {
		w.advertiseLater(c)
	}
}

// manage makes an access network one of several kinds: with managed addresses, formed
// ones beside them or none, or with other information only.
func (w *World) manage(c *cell) {
	c.server = newServer(c, w.random.IntN)
	switch w.random.IntN(5) {
	case 0: // nobody tells of it
	case 1:
		c.other = true
	case 2:
		c.managed = true
	default:
		c.managed, c.stateless = true, false
	}
	if w.random.IntN(3) == 0 {
		c.taken = c.server.free(w, netip.Addr{})
	}
}

// addAgent adds the node of a home agent.
func (w *World) addAgent(i int) {
	h := w.addHost(fmt.Sprintf("ha%d", i))
	h.router = &router{addr: netip.MustParseAddr(fmt.Sprintf("fe80::%d", i+1)), ethernet: [6]byte{2, 0, 0, 0, 0x10, byte(i)}}
	h.addPort("home0", w.cells[0], h.router.ethernet)
	h.number = i + 1
	h.isAgent = true
	if w.plan.Delegation {
		bits := []int{48, 58}[w.random.IntN(2)]
		h.pool = netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:18%d::", i)), bits)
	}
}

// agentConfig is the configuration of a home agent as its administrator has it
// now.
func (w *World) agentConfig(h *host) ha.Config {
	n := w.home
	c := ha.Config{
		Name: h.name, HomeLink: "home0", Address: homeAddr(n.prefix, h.number), Prefix: homePrefixes[n.prefix],
		MaxLifetime: 300 * time.Second, DAD: true, ReplayWindow: 7 * time.Second, MobileRouters: true,
		Preference: int16(10 * h.number), MinMobPfxAdvInterval: 5 * time.Second, MaxMobPfxAdvInterval: 30 * time.Second,
		Random: w.entropy(),
	}
	if n.prefix == 0 {
		c.PrefixPreferredUntil, c.PrefixValidUntil = n.deprecated, n.expires
		if n.other {
			c.OtherPrefixes = []ha.HomePrefix{{Prefix: homePrefixes[1]}}
		}
	}
	for _, m := range w.hosts {
		if !m.isMobile {
			continue
		}
		sa := m.association()
		hm := ha.Mobile{Name: m.name, HomeAddress: homeAddr(n.prefix, m.number), SA: &sa}
		if m.network.IsValid() {
			hm.Prefixes = []netip.Prefix{m.network}
		}
		hm.Router, hm.Delegate = m.isRouter, m.delegates
		c.Mobiles = append(c.Mobiles, hm)
	}
	return c
}

// association is the security association of a mobile with all home agents.
func (h *host) association() mip6.SecurityAssociation {
	return mip6.SecurityAssociation{SPI: 256 + uint32(h.number), Key: mip6.SharedKey{byte(h.number), 1, 2, 3}}
}

// addCorrespondent adds a node that does not move.
func (w *World) addCorrespondent(i int) {
	h := w.addHost(fmt.Sprintf("cn%d", i))
	prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:c%d::/64", i))
	c := &cell{name: h.name, prefixes: []netip.Prefix{prefix}}
	w.cells = append(w.cells, c)
	h.addPort("eth0", c, [6]byte{2, 0, 0, 0, 0xc, byte(i)})
	h.fixed = []netip.Addr{prefix.Addr().Next()}
	h.optimises = i < w.plan.Correspondents
	h.ignorant = i >= w.plan.Correspondents+w.plan.Unwilling
	w.talks.add(h)
}

// addMobile adds a mobile node: a router, a host, or one that optimises nothing.
// Every second one has two uplinks, of which the first is preferred.
func (w *World) addMobile(i int) {
	h := w.addHost(fmt.Sprintf("m%d", i))
	h.isMobile, h.number, h.order = true, firstMobile+i, i
	for j := range 1 + i%2 {
		h.addPort(fmt.Sprintf("up%d", j), nil, [6]byte{2, 0, 0, 0, byte(1 + j), byte(i)})
	}
	switch {
	case i < w.plan.Routers:
		h.isRouter, h.implicit = true, i%3 == 2
		h.delegates = w.plan.Delegation && i%4 != 3
		if !h.delegates || i%2 == 1 {
			h.network = netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", 0x100+i))
		}
		if h.delegates {
			h.implicit = w.random.IntN(2) == 0
		}
	default:
		h.optimises = true
		h.seeks = i < w.plan.Routers+w.plan.Hosts
	}
	if w.plan.Nested && h.isRouter {
		w.addNetwork(h)
	}
	w.address(h)
	w.follows(h)
	w.talks.add(h)
}

// address decides where the care-of addresses of a mobile come from.
func (w *World) address(h *host) {
	h.duid = []byte{0, 99, 0xb, byte(h.order)}
	h.addressing = make(map[string]mn.Addressing)
	for _, p := range h.ports {
		n := 0
		if w.plan.Foreign || w.plan.Managed {
			n = w.random.IntN(12)
		}
		switch {
		case w.plan.Foreign && n < 5:
			h.addressing[p.name] = mn.AddressingForeign
		case w.plan.Managed && n == 5:
			h.addressing[p.name] = mn.AddressingDHCP
		}
	}
}

// entropy is a source of octets for one life of a role: nobody can guess them,
// and they are the same in each run of the seed.
func (w *World) entropy() func([]byte) {
	var key [32]byte
	w.lives++
	key[0], key[1], key[2] = byte(w.lives), byte(w.lives>>8), byte(w.lives>>16)
	for i := 3; i < 11; i++ {
		key[i] = byte(w.random.Uint32())
	}
	source := rand.NewChaCha8(key)
	return func(b []byte) { _, _ = source.Read(b) } // never fails
}

// Run advances the clock.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for w.step(end) {
		for _, h := range w.touched {
			w.checkHost(h)
		}
		w.touched = w.touched[:0]
	}
}

// everySecond checks what time alone can break.
func (w *World) everySecond() {
	for _, h := range w.hosts {
		w.checkHost(h)
	}
	w.after(time.Second, w.everySecond)
}

func (w *World) since() time.Duration { return w.now.Sub(epoch) }

// clockOf is what a host's clock says.
func (w *World) clockOf(h *host) time.Time {
	if h.set == 0 {
		return w.now
	}
	return roletest.ClockSet(w.now, h.set)
}

// setClock sets a host's clock, as an administrator, NTP or a start without a clock chip
// does: by minutes or by years, not before 1970.
func (w *World) setClock(h *host, random *rand.Rand) {
	const year = 365 * 24 * time.Hour
	switch random.IntN(4) {
	case 0: // right again
		h.set = 0
	case 1:
		h.set += time.Duration(random.IntN(600)-300) * time.Second
	default:
		h.set = time.Duration(random.IntN(40)-20) * year
	}
	w.counts.Clocks++
	w.tell("%s: the clock is set to %v", h.name, w.clockOf(h).Format(time.DateTime))
}

// tell writes a line of the trace.
func (w *World) tell(format string, args ...any) {
	if w.traced {
		w.trace("%9.3f "+format, append([]any{w.since().Seconds()}, args...)...)
	}
}

// mobiles are the nodes that move.
func (w *World) mobiles() []*host {
	var list []*host
	for _, h := range w.hosts {
		if h.isMobile {
			list = append(list, h)
		}
	}
	return list
}
