package ha

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// promise is what an accepted update entitles a mobile to.
type promise struct {
	careOf netip.Addr
	until  time.Time
	router bool
}

// chaos drives an agent with random events and checks after each that there is
// no state without a valid update behind it, and none for longer than promised.
type chaos struct {
	*world
	r        *rand.Rand
	config   Config
	seed     uint64
	sequence map[netip.Addr]mip6.Sequence
	sent     map[string]request // genuine updates, by home address and sequence number
	recorded []mip6.Packet
	promised map[netip.Addr]promise
	accepted map[string]bool
	leased   map[netip.Addr]lease // as the delegating router told
	trace    strings.Builder
}

// lease is what a mobile has by delegation.
type lease struct {
	prefixes []netip.Prefix
	until    time.Time
}

// TestProperties: no state without a valid update, no binding outlives its
// lifetime, nobody is served from a recorded or forged update, what is outside
// is what is in the cache; and the same events give the same actions.
func TestProperties(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		trace := runChaos(t, seed)
		if seed < 10 && runChaos(t, seed) != trace {
			t.Errorf("seed %d: the same events gave other actions", seed)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// chaosConfig has a second home prefix with every other seed, and delegation with
// every third.
func chaosConfig(seed uint64) Config {
	c := testConfig()
	if seed%2 == 1 {
		c = renumbering()
	}
	if seed%3 == 0 {
		c.Mobiles[0].Delegate, c.Mobiles[1].Delegate, c.Mobiles[0].Prefixes = true, true, nil
	}
	c.MinMobPfxAdvInterval, c.MaxMobPfxAdvInterval, c.Random = 5*time.Second, time.Minute, testRandom(seed)
	return c
}

func runChaos(t *testing.T, seed uint64) string {
	c := &chaos{
		world: newWorld(t, chaosConfig(seed)), r: rand.New(rand.NewPCG(seed, 1)), config: chaosConfig(seed), seed: seed,
		sequence: map[netip.Addr]mip6.Sequence{}, sent: map[string]request{},
		promised: map[netip.Addr]promise{}, accepted: map[string]bool{},
		leased: map[netip.Addr]lease{},
	}
	for range 200 {
		c.step()
		c.check()
		if t.Failed() {
			break
		}
	}
	// After the last event everything ends by itself.
	c.advance(time.Hour)
	if s := c.agent.Stats(); s.Bindings+s.Probing+s.Deleted != 0 || !c.agent.Next().IsZero() ||
		len(c.tunnels)+len(c.defended)+len(c.agent.networks.owner)+len(c.agent.linkLocals)+len(c.direct) != 0 ||
		len(c.agent.delegations)+len(c.agent.claims.given.owner) != 0 {
		t.Errorf("left behind: %+v, %v, %v, %v", s, c.tunnels, c.defended, c.agent.networks.owner)
	}
	for home, m := range c.agent.homes {
		if m.probe != nil {
			t.Errorf("detection for %v is left behind", home)
		}
	}
	return c.trace.String()
}

func (c *chaos) step() {
	mobile := c.config.Mobiles[c.r.IntN(len(c.config.Mobiles))].HomeAddress
	switch n := c.r.IntN(100); {
	case n < 48:
		c.genuine(mobile)
	case n < 53:
		c.question(mobile)
	case n < 58 && len(c.recorded) > 0:
		c.deliver(c.recorded[c.r.IntN(len(c.recorded))]) // replay
	case n < 64:
		forged := at(mobile, careOf1, c.sequence[mobile]+1) // of the configured address
		forged.sa = &mip6.SecurityAssociation{SPI: association(mobile).SPI}
		c.deliver(forged.packet(c.t))
	case n < 68:
		c.do(role.NeighborHeard{Link: homeIndex, Target: mobile})
	case n < 70:
		c.link.Up = !c.link.Up
		c.do(role.LinkChanged{Link: c.link})
	case n < 73:
		c.reload()
	case n < 75:
		c.delegateSomething(mobile)
	case n < 77:
		c.crash()
	case n < 79:
		c.now = c.now.Add(time.Duration(c.r.IntN(30)) * time.Second) // the timers are late
	default:
		c.advance(time.Duration(c.r.IntN(3000)) * time.Millisecond)
	}
}

// genuine sends an update that the mobile itself might send.
func (c *chaos) genuine(home netip.Addr) {
	sa := association(home)
	if len(c.config.OtherPrefixes) > 0 && c.r.IntN(2) == 0 {
		home = under(newPrefix, home)
	}
	c.sequence[home] += mip6.Sequence(1 + c.r.IntN(3))
	r := request{
		home: home, sequence: c.sequence[home], flags: flagsNode, sa: sa,
		source:   []netip.Addr{careOf1, careOf2, homeB, netip.MustParseAddr("2001:db8:a:1::7"), netip.MustParseAddr("2001:db8:b:1::7")}[c.r.IntN(5)],
		lifetime: time.Duration(c.r.IntN(60)) * time.Second,
	}
	if c.r.IntN(2) == 0 {
		r.flags |= mip6.UpdateMobileRouter
	}
	if c.r.IntN(4) == 0 {
		r.flags |= mip6.UpdateLinkLocal
	}
	if c.r.IntN(3) == 0 {
		r.options = prefixOptions([]string{"2001:db8:a:1::/64", "2001:db8:b:1::/64", "fe80::/64"}[c.r.IntN(3)])
	}
	if c.r.IntN(5) == 0 {
		r.atHome, r.lifetime = true, 0
	}
	c.sent[fmt.Sprint(home, r.sequence)] = r
	p := r.packet(c.t)
	c.recorded = append(c.recorded, p)
	c.deliver(p)
}

// question asks about the home link, rightly or not, or a home agent there is heard.
func (c *chaos) question(home netip.Addr) {
	switch c.r.IntN(4) {
	case 0:
		c.do(role.ICMPReceived{Packet: discoveryRequest(c.r.IntN(2) == 0)})
	case 1:
		c.do(role.ICMPReceived{Packet: solicitation(under(newPrefix, home), careOf1, uint16(c.r.IntN(9)))})
	case 2:
		c.do(role.ICMPReceived{Packet: solicitation(home, careOf1, uint16(c.r.IntN(9)))})
	default:
		c.do(role.RouterHeard{Link: homeIndex, Router: routerX, RA: homeAgentRA(agentX)})
	}
}

// delegateSomething is the delegating router at work: rightly, or with prefixes that
// others have.
func (c *chaos) delegateSomething(home netip.Addr) {
	var l lease
	for range c.r.IntN(3) {
		l.prefixes = append(l.prefixes, prefixes("2001:db8:d:100::/56", "2001:db8:d:200::/56", "2001:db8:d:110::/60",
			"2001:db8:b:100::/56", "2001:db8:1::/66", "2001:db8:f1::/64")[c.r.IntN(6)])
	}
	l.until = c.now.Add(time.Duration(c.r.IntN(40)) * time.Second)
	c.do(role.PrefixesDelegated{Home: home, Prefixes: l.prefixes, Until: l.until})
	c.leased[home] = l
}

func (c *chaos) reload() {
	conf := chaosConfig(c.seed)
	if c.r.IntN(4) == 0 {
		conf.OtherPrefixes = nil
	}
	conf.DAD = c.r.IntN(2) == 0
	conf.Mobiles = slices.DeleteFunc(conf.Mobiles, func(Mobile) bool { return c.r.IntN(4) == 0 })
	for i := range conf.Mobiles {
		if c.r.IntN(4) == 0 && len(conf.Mobiles[i].Prefixes) > 0 {
			conf.Mobiles[i].Prefixes = []netip.Prefix{netip.PrefixFrom(conf.Mobiles[i].Prefixes[0].Addr(), 60)}
		}
	}
	if len(conf.Mobiles) == 0 {
		return
	}
	c.config = conf
	for home := range c.agent.homes {
		c.homes[home] = true
	}
	c.take(c.apply(c.agent.Reconfigure(c.now, conf)))
	// What is remembered of a removed mobile goes with it: it starts anew.
	for home := range c.sequence {
		if c.agent.homes[home] == nil {
			c.forgetMobile(home)
		}
	}
}

// crash ends the process in the middle of its actions: those of the last event that it
// has carried out hold, and what it remembers is all that the next one knows.
func (c *chaos) crash() {
	before := 0
	for home := range c.tunnels {
		if e := c.entry(home); e.Expires.After(c.now) { // the timer may be late
			before++
		}
	}
	probing := c.agent.Stats().Probing
	c.take(c.restart(c.config))
	for _, l := range c.logs {
		if n, ok := attribute(l, "not_restored"); ok && l.Message == "bindings of an earlier run restored" {
			before -= int(n.Int64()) // a reload has left what would not be granted anew
		}
	}
	c.logs = nil
	for _, l := range []netip.Addr{homeA, homeB} { // the delegating router tells again
		if lease := c.leased[l]; lease.until.After(c.now) && c.agent.homes[l] != nil {
			c.do(role.PrefixesDelegated{Home: l, Prefixes: lease.prefixes, Until: lease.until})
		}
	}
	if c.config.Mobiles[0].Delegate {
		before = 0 // what is delegated comes first in the shell, and some of it may have ended
	}
	if len(c.tunnels) < before || c.agent.Stats().Probing > probing {
		c.t.Errorf("%d tunnels before the crash, %d afterwards", before, len(c.tunnels))
	}
}

func (c *chaos) forgetMobile(home netip.Addr) {
	delete(c.promised, home)
	for key := range c.accepted {
		if strings.HasPrefix(key, home.String()+" ") {
			delete(c.accepted, key)
		}
	}
	c.recorded = slices.DeleteFunc(c.recorded, func(p mip6.Packet) bool { return p.From() == home })
}

func (c *chaos) deliver(p mip6.Packet) { c.do(role.MessageReceived{Packet: p}) }

func (c *chaos) do(e role.Event) { c.take(c.handle(e)) }

func (c *chaos) advance(d time.Duration) {
	end := c.now.Add(d)
	for next := c.agent.Next(); !next.IsZero() && !next.After(end); next = c.agent.Next() {
		if next.After(c.now) {
			c.now = next
		}
		c.do(role.Timeout{})
		c.check()
	}
	c.now = end
	c.do(role.Timeout{})
}

// take notes what the answers promise.
func (c *chaos) take(actions []role.Action) {
	fmt.Fprintln(&c.trace, kinds(actions))
	for _, p := range acks(actions) {
		ba := p.Message.(mip6.BindingAcknowledgement)
		if !ba.Status.Accepted() {
			continue
		}
		key := fmt.Sprint(p.To(), ba.Sequence)
		r, genuine := c.sent[key]
		key = p.To().String() + " " + key
		switch {
		case !genuine:
			c.t.Errorf("accepted what %v never sent: %+v", p.To(), ba)
		case c.accepted[key]:
			c.t.Errorf("accepted a replay: %v, sequence number %d", p.To(), ba.Sequence)
		case ba.Lifetime.Duration() > r.lifetime:
			c.t.Errorf("granted %v of %v", ba.Lifetime, r.lifetime)
		case ba.Lifetime == 0 && r.lifetime >= mip6.LifetimeUnit && !r.atHome && r.source != r.home:
			c.t.Errorf("granted nothing of %v", r.lifetime)
		}
		c.accepted[key] = true
		delete(c.promised, p.To())
		if ba.Lifetime > 0 {
			c.promised[p.To()] = promise{r.source, c.now.Add(ba.Lifetime.Duration()), r.flags&mip6.UpdateMobileRouter != 0}
		}
	}
}

// permitted reports whether a mobile may have a prefix: by configuration, or by
// delegation as long as that lasts.
func (c *chaos) permitted(m Mobile, prefix netip.Prefix) bool {
	l := c.leased[m.HomeAddress]
	may := m.Prefixes
	if m.Delegate && (l.until.After(c.now) || !c.agent.Next().After(c.now)) { // or the timer is late
		may = slices.Concat(may, l.prefixes)
	}
	return slices.ContainsFunc(may, func(own netip.Prefix) bool { return own.Bits() <= prefix.Bits() && own.Contains(prefix.Addr()) })
}

// checkRoutes: the networks of a mobile router are in the tunnel or on the home
// link, and nobody's are in two places.
func (c *chaos) checkRoutes() {
	c.t.Helper()
	for r := range c.routes {
		h := c.agent.homes[r.Via]
		switch {
		case h == nil || !c.permitted(h.Mobile, r.Destination):
			c.t.Errorf("%v is routed to %v without authorisation", r.Destination, r.Via)
			continue
		case slices.ContainsFunc(h.homes, func(o *home) bool { return c.tunnels[o.addr].Paths != nil }):
			c.t.Errorf("%v is away, and %v is on the home link", r.Via, r.Destination)
		}
		for o := range c.routes {
			if o != r && o.Via != r.Via && o.Destination.Overlaps(r.Destination) {
				c.t.Errorf("%v is routed to %v and %v", r.Destination, r.Via, o.Via)
			}
		}
	}
	for _, m := range c.config.Mobiles {
		away := slices.ContainsFunc(c.agent.homes[m.HomeAddress].homes, func(o *home) bool { return c.tunnels[o.addr].Paths != nil })
		for _, p := range m.Prefixes {
			if !away && !c.routes[viaHome(p, m.HomeAddress)] {
				c.t.Errorf("%v of %v is routed nowhere", p, m.Name)
			}
		}
	}
}

// check compares the state outside with what was promised.
func (c *chaos) check() {
	c.t.Helper()
	links := map[netip.Addr]bool{}
	for home, tunnel := range c.tunnels {
		m := c.agent.homes[home]
		p, ok := c.promised[home]
		switch {
		case m == nil:
			c.t.Errorf("tunnel of %v, which is not configured", home)
		case !ok || tunnel.Paths[0].Remote != p.careOf:
			c.t.Errorf("tunnel of %v to %v, promised was %+v", home, tunnel.Paths[0].Remote, p)
		case c.agent.Next().IsZero() || c.agent.Next().After(p.until):
			c.t.Errorf("tunnel of %v ends at %v, and the agent waits until %v", home, p.until, c.agent.Next())
		case !p.router && len(tunnel.Inner) > 1:
			c.t.Errorf("prefixes %v of a mobile node", tunnel.Inner)
		}
		for _, prefix := range tunnel.Inner[1:] {
			if m != nil && !c.permitted(m.Mobile, prefix) {
				c.t.Errorf("%v is forwarded to %v without authorisation", prefix, home)
			}
		}
		r, direct := c.direct[overlay.Pair{Home: home, Peer: agentAddr, Side: overlay.CorrespondentSide}]
		if m != nil && (direct != m.Delegate || direct && r.CareOf != p.careOf) {
			c.t.Errorf("route for the delegation to %v: %v", home, r)
		}
		links[home] = true
		if ll := linkLocal(home, c.entry(home).Flags); ll.IsValid() {
			links[ll] = true
		}
		// Follow a packet: it must leave the agent's own mobile networks.
		to, hops := tunnel.Paths[0].Remote, 0
		for ; hops <= len(c.tunnels); hops++ {
			next, longest := netip.Addr{}, 0
			for _, o := range c.tunnels {
				for _, p := range o.Inner {
					if p.Contains(to) && p.Bits() > longest {
						next, longest = o.Paths[0].Remote, p.Bits()
					}
				}
			}
			if !next.IsValid() {
				break
			}
			to = next
		}
		if hops > len(c.tunnels) {
			c.t.Errorf("packets to %v go round in circles", home)
		}
	}
	if len(c.direct) > len(c.tunnels) {
		c.t.Errorf("routes for delegation %v, tunnels %v", c.direct, c.tunnels)
	}
	c.checkRoutes()
	for addr := range c.defended {
		if !links[addr] {
			c.t.Errorf("%v is defended without a binding", addr)
		}
	}
	if len(c.defended) != len(links) {
		c.t.Errorf("defended %v, tunnels %v", c.defended, links)
	}
	if s := c.agent.Stats(); s.Bindings != len(c.tunnels) || s.Bindings+s.Probing+s.Deleted != c.agent.bindings.Len() {
		c.t.Errorf("%+v with %d tunnels and %d entries", s, len(c.tunnels), c.agent.bindings.Len())
	}
	for home, p := range c.promised {
		if _, ok := c.tunnels[home]; ok && c.now.After(p.until) && c.agent.Next().After(c.now) {
			c.t.Errorf("%v outlives %v", home, p.until)
		}
	}
}
