package anchor

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
)

// promise is what an accepted update entitles a visitor to.
type promise struct {
	visitor int
	careOf  netip.Addr
	until   time.Time
}

// chaos drives an anchor with random events and checks after each that there is no
// state without a valid update behind it, and none for longer than promised.
type chaos struct {
	*world
	r        *rand.Rand
	config   Config
	sequence mip6.Sequence
	sent     map[mip6.Sequence]request // genuine updates; each has a number of its own
	recorded []request
	promised map[netip.Addr]promise
	accepted map[mip6.Sequence]bool
	trace    strings.Builder
}

// TestProperties: no state without a valid update of the visitor that has it, no binding
// outlives its lifetime, nobody is served from a recorded or forged update, no address
// is two visitors', no more than permitted; what is outside is what is in the cache; and
// the same events give the same actions.
// Covers: P8, P9.
func TestProperties(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	served := 0
	for seed := range seeds {
		trace, n := runChaos(t, seed)
		if seed < 10 {
			if again, _ := runChaos(t, seed); again != trace {
				t.Errorf("seed %d: the same events gave other actions", seed)
			}
		}
		if served += n; t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if served < int(seeds)*10 {
		t.Errorf("only %d updates were accepted", served)
	}
}

func chaosConfig(seed uint64) Config {
	c := testConfig()
	c.Visitors = append(c.Visitors, Visitor{Name: "carol", SA: association(3), RequireTimestamp: true})
	if seed%3 == 1 {
		c.Link = ""
	}
	if seed%4 == 1 {
		c.MaxBindings = 3
	}
	c.DAD = seed%2 == 0
	return c
}

func runChaos(t *testing.T, seed uint64) (trace string, served int) {
	config := chaosConfig(seed)
	c := &chaos{
		world: newWorld(t, config), r: rand.New(rand.NewPCG(seed, 1)), config: config,
		sent: map[mip6.Sequence]request{}, promised: map[netip.Addr]promise{}, accepted: map[mip6.Sequence]bool{},
	}
	for range 200 {
		c.step(seed)
		c.check()
		if t.Failed() {
			break
		}
	}
	served = len(c.accepted)
	if seed%5 == 0 {
		c.do(role.Stop{})
		if !c.anchor.Done() {
			t.Errorf("not done after the stop")
		}
	}
	// After the last event everything ends by itself.
	c.advance(time.Hour)
	if s := c.anchor.Stats(); s.Bindings+s.Probing != 0 || !c.anchor.Next().IsZero() || len(c.tunnels)+len(c.defended)+len(c.anchor.held) != 0 {
		t.Errorf("left behind: %+v, %v", s, c.tunnels)
	}
	return c.trace.String(), served
}

func (c *chaos) step(seed uint64) {
	visitor := 1 + c.r.IntN(3)
	home := rcoaNumber(c.r.IntN(12))
	switch n := c.r.IntN(100); {
	case n < 55:
		c.genuine(visitor, home)
	case n < 62 && len(c.recorded) > 0:
		r := c.recorded[c.r.IntN(len(c.recorded))] // replay
		p := r.packet(c.t)
		if c.r.IntN(3) == 0 {
			p.HomeAddress = home
		}
		c.do(role.MessageReceived{Packet: p})
	case n < 67:
		forged := local(visitor, home, lcoa1, c.sequence+1)
		forged.forged, forged.unsealed = c.r.IntN(2) == 0, true
		forged.unsealed = !forged.forged
		c.do(role.MessageReceived{Packet: forged.packet(c.t)})
	case n < 71:
		c.do(role.NeighborHeard{Link: linkIndex, Target: home})
	case n < 74:
		c.link.Up = !c.link.Up
		c.do(role.LinkChanged{Link: c.link})
	case n < 77:
		c.reload(seed)
	case n < 79:
		c.crash()
	case n < 82:
		c.now = c.now.Add(time.Duration(c.r.IntN(30)) * time.Second) // the timers are late
	default:
		c.advance(time.Duration(c.r.IntN(3000)) * time.Millisecond)
	}
}

// genuine sends an update that the visitor itself might send.
func (c *chaos) genuine(visitor int, home netip.Addr) {
	c.sequence += mip6.Sequence(1 + c.r.IntN(3))
	r := request{
		visitor: visitor, home: home, sequence: c.sequence,
		source:   []netip.Addr{lcoa1, lcoa2, lcoaNumber(c.r.IntN(5)), foreign, rcoaNumber(c.r.IntN(12))}[c.r.IntN(5)],
		lifetime: time.Duration(c.r.IntN(60)) * time.Second,
	}
	if c.r.IntN(2) == 0 {
		r.timestamp = c.now.Add(time.Duration(c.r.IntN(100)) * time.Millisecond)
	}
	if c.r.IntN(10) == 0 {
		r.flags = flagsLocal | []mip6.UpdateFlags{mip6.UpdateHome, mip6.UpdateMobileRouter, mip6.UpdateLinkLocal}[c.r.IntN(3)]
	}
	if c.r.IntN(10) == 0 {
		r.alternate = []netip.Addr{lcoa1, lcoa2, foreign}[c.r.IntN(3)]
	}
	c.sent[r.sequence] = r
	c.recorded = append(c.recorded, r)
	c.do(role.MessageReceived{Packet: r.packet(c.t)})
}

func (c *chaos) reload(seed uint64) {
	conf := chaosConfig(seed)
	conf.DAD = c.r.IntN(2) == 0
	if c.r.IntN(3) == 0 {
		conf.Served = conf.Served[c.r.IntN(2):][:1]
	}
	removed := map[int]bool{}
	conf.Visitors = slices.DeleteFunc(conf.Visitors, func(v Visitor) bool {
		if c.r.IntN(4) != 0 {
			return false
		}
		removed[int(v.SA.SPI)-1000] = true
		return true
	})
	for i := range conf.Visitors {
		conf.Visitors[i].Disabled = c.r.IntN(5) == 0
	}
	c.config = conf
	c.take(c.apply(c.anchor.Reconfigure(c.now, conf)))
	// What is remembered of a removed visitor goes with it: it starts anew.
	c.recorded = slices.DeleteFunc(c.recorded, func(r request) bool { return removed[r.visitor] })
}

// crash ends the process: what it remembers is all that the next one knows.
func (c *chaos) crash() {
	before := 0
	for home := range c.tunnels {
		if c.anchor.bindings.Get(home).Expires.After(c.now) { // the timer may be late
			before++
		}
	}
	c.logs = nil
	c.take(c.restart(c.config))
	for _, l := range c.logs {
		for _, a := range l.Attrs {
			if a.Key == "not_restored" {
				before -= int(a.Value.Int64()) // a reload has left what would not be granted anew
			}
		}
	}
	if len(c.tunnels) < before {
		c.t.Errorf("%d tunnels before the crash, %d afterwards", before, len(c.tunnels))
	}
}

func (c *chaos) do(e role.Event) { c.take(c.handle(e)) }

func (c *chaos) advance(d time.Duration) {
	end := c.now.Add(d)
	for next := c.anchor.Next(); !next.IsZero() && !next.After(end); next = c.anchor.Next() {
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
		r, genuine := c.sent[ba.Sequence]
		careOf := r.source
		if r.alternate.IsValid() {
			careOf = r.alternate
		}
		switch {
		case !genuine || r.home != p.RouteHome || r.source != p.Destination:
			c.t.Errorf("accepted what nobody sent: %+v", p)
		case c.accepted[ba.Sequence]:
			c.t.Errorf("accepted a replay: %v, sequence number %d", p.To(), ba.Sequence)
		case ba.Lifetime.Duration() > r.lifetime:
			c.t.Errorf("granted %v of %v", ba.Lifetime, r.lifetime)
		case ba.Lifetime == 0 && r.lifetime >= mip6.LifetimeUnit && careOf != r.home:
			c.t.Errorf("granted nothing of %v", r.lifetime)
		}
		c.accepted[ba.Sequence] = true
		if ba.Lifetime > 0 {
			c.promised[r.home] = promise{r.visitor, careOf, c.now.Add(ba.Lifetime.Duration())}
		} else if c.promised[r.home].visitor == r.visitor {
			delete(c.promised, r.home)
		}
	}
}

// check compares the state outside with what was promised.
func (c *chaos) check() {
	c.t.Helper()
	each := map[int]int{}
	for home, tunnel := range c.tunnels {
		p, ok := c.promised[home]
		careOf := tunnel.Paths[0].Remote
		i := slices.IndexFunc(c.config.Visitors, func(v Visitor) bool { return *v.SA == *association(p.visitor) })
		served := slices.ContainsFunc(c.config.Served, func(s netip.Prefix) bool { return s.Contains(careOf) })
		switch {
		case !ok || careOf != p.careOf:
			c.t.Errorf("tunnel of %v to %v, promised was %+v", home, careOf, p)
		case c.anchor.Next().IsZero() || c.anchor.Next().After(p.until):
			c.t.Errorf("tunnel of %v ends at %v, and the anchor waits until %v", home, p.until, c.anchor.Next())
		case i < 0 || c.config.Visitors[i].Disabled || !served || prefix.Contains(careOf):
			c.t.Errorf("tunnel of %v to %v is not permitted", home, careOf)
		case c.config.Link != "" && !c.defended[home]:
			c.t.Errorf("%v is not defended", home)
		}
		if each[p.visitor]++; each[p.visitor] > maxBound {
			c.t.Errorf("visitor %d has %d bindings", p.visitor, each[p.visitor])
		}
	}
	for home := range c.defended {
		if _, ok := c.tunnels[home]; !ok {
			c.t.Errorf("%v is defended without a binding", home)
		}
	}
	for _, v := range c.anchor.visitors {
		if len(v.addresses) > maxRemembered {
			c.t.Errorf("%d addresses of %s are remembered", len(v.addresses), v.Name)
		}
	}
	s := c.anchor.Stats()
	if s.Bindings != len(c.tunnels) || s.Bindings+s.Probing != c.anchor.bindings.Len() || len(c.anchor.held) != c.anchor.bindings.Len() {
		c.t.Errorf("%+v with %d tunnels and %d entries", s, len(c.tunnels), c.anchor.bindings.Len())
	}
}
