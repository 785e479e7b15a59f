package delegating

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
)

// chaos drives a server with random events of many mobiles, and knows what they
// must have.
type chaos struct {
	*world
	r      *rand.Rand
	config Config
	relays bool
	// granted is when what a mobile was promised ends, by IAID and prefix. In the
	// course of a restart promises are kept as far as they were saved.
	granted map[netip.Addr]map[netip.Prefix]time.Time
	// first is the prefix that a mobile's IAID had first, as long as the pools have
	// room for all and stay.
	first map[string]netip.Prefix
}

// TestProperties: whatever many mobiles do, and whatever happens to the
// configuration and the server, no two prefixes overlap, the home agent knows of
// exactly what holds, nothing outlives its lifetime, a client has the same prefix
// again, and the same events give the same actions.
//
// Covers: D2, D3.
func TestProperties(t *testing.T) {
	seeds := uint64(24)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		trace := runChaos(t, seed)
		if seed < 4 && runChaos(t, seed) != trace {
			t.Errorf("the same events gave other actions")
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func chaosConfig(seed uint64) Config {
	c := testConfig()
	c.Mobiles = nil
	for i := range 40 {
		c.Mobiles = append(c.Mobiles, Mobile{Name: fmt.Sprint(i), HomeAddress: netip.MustParseAddr(fmt.Sprintf("2001:db8:1::2:%x", i))})
	}
	switch seed % 3 {
	case 0: // room for all
	case 1: // scarce
		c.Pools, c.Length = prefixes("2001:db8:100::/52", "2001:db8:101::/55"), 56
	case 2:
		c.Pools, c.Server = nil, serverAddr
	}
	return c
}

func runChaos(t *testing.T, seed uint64) string {
	c := &chaos{r: rand.New(rand.NewPCG(seed, 6)), config: chaosConfig(seed), relays: seed%3 == 2,
		granted: map[netip.Addr]map[netip.Prefix]time.Time{}, first: map[string]netip.Prefix{}}
	c.world = newWorld(t, c.config)
	var trace strings.Builder
	for range 600 {
		switch n := c.r.IntN(100); {
		case n < 80:
			if c.relays {
				c.viaServer()
			} else {
				c.ask(seed%3 == 0)
			}
		case n < 95:
			c.sleep(time.Duration(c.r.Int64N(int64(valid / 4))))
		case n < 96:
			c.sleep(2 * valid)
		case n < 98:
			c.again()
		default:
			config := c.config
			config.Mobiles = slices.Clone(config.Mobiles)
			if i := c.r.IntN(2 * len(config.Mobiles)); i < len(config.Mobiles) && seed%3 != 0 {
				config.Mobiles = slices.Delete(config.Mobiles, i, i+1)
			}
			c.reconfigure(config)
			c.forgetEnded()
			c.reconfigure(c.config)
		}
		c.check()
		fmt.Fprintln(&trace, c.now.Unix(), len(c.saved), c.sent)
		if t.Failed() {
			return trace.String()
		}
	}
	c.sleep(24 * valid)
	c.check()
	if bound := c.s.Counters().Bound; bound != 0 {
		t.Errorf("%d leases without end", bound)
	}
	return trace.String()
}

func (c *chaos) mobile() (netip.Addr, []byte) {
	i := c.r.IntN(len(c.config.Mobiles))
	return c.config.Mobiles[i].HomeAddress, []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, byte(i)}
}

// promise notes what a Reply grants.
func (c *chaos) promise(home netip.Addr, p netip.Prefix, lasting time.Duration) {
	if c.granted[home] == nil {
		c.granted[home] = map[netip.Prefix]time.Time{}
	}
	c.granted[home][p] = c.now.Add(lasting)
}

// ask lets a mobile send something, away or at home.
func (c *chaos) ask(stable bool) {
	home, duid := c.mobile()
	kinds := []codec.MessageType{codec.MessageTypeSolicit, codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRebind, codec.MessageTypeRelease}
	kind := kinds[c.r.IntN(len(kinds))]
	iaid := uint32(c.r.IntN(maxLeases - 1)) // and the next one
	var hints []string
	for p := range c.granted[home] {
		hints = append(hints, p.String())
	}
	slices.Sort(hints)
	switch {
	case kind == codec.MessageTypeRelease:
	case stable: // hints of other IAs would move their leases
		hints = nil
	case c.r.IntN(3) == 0:
		hints = append(hints[:0], fmt.Sprintf("2001:db8:100:%x00::/%d", c.r.IntN(18), 54+c.r.IntN(8)))
	}
	options := []codec.Option{pd(iaid, hints...)}
	if kind == codec.MessageTypeSolicit && c.r.IntN(2) == 0 {
		options = append(options, rapid())
	}
	if c.r.IntN(4) == 0 && kind != codec.MessageTypeRelease {
		options = append(options, pd(iaid+1))
	}
	m := c.client(kind, duid, options...)
	before := map[netip.Prefix]time.Time{}
	for _, l := range c.s.Leases(c.now) {
		if l.Home == home && l.State == Delegated && l.IAID == iaid {
			before[l.Prefix] = time.Time{}
		}
	}
	var a *codec.Message
	if c.r.IntN(3) == 0 {
		b := home.As16()
		copy(b[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
		a = c.home(netip.AddrFrom16(b), m)
	} else {
		a = c.away(home, m)
	}
	switch {
	case a == nil && kind == codec.MessageTypeRebind, a != nil && a.MessageType == codec.MessageTypeAdvertise, c.reason() == role.DropRateLimited:
		return
	case a == nil:
		c.t.Errorf("no answer to %v, dropped for %v", kind, c.drops)
		return
	case kind == codec.MessageTypeRelease:
		for p := range before {
			if slices.Contains(hints, p.String()) {
				delete(c.granted[home], p)
			}
		}
		return
	}
	for _, ia := range a.Options.IAPD() {
		for _, o := range ia.Options.Prefixes() {
			p, _ := prefixOf(o.Prefix)
			if o.ValidLifetime == 0 {
				continue // of another IA, or what it has no more
			}
			c.promise(home, p, valid)
			key := fmt.Sprint(home, ia.IaId)
			if was, known := c.first[key]; stable && known && was != p {
				c.t.Errorf("%v has %v, and had %v", key, p, was)
			}
			c.first[key] = p
		}
		if stable && len(ia.Options.Prefixes()) == 0 {
			if leases := c.s.mobiles[home].leases; len(leases) < maxLeases {
				c.t.Errorf("nothing for %v: %+v", home, ia)
			}
		}
	}
}

// viaServer lets an external server, which is not careful, delegate something.
func (c *chaos) viaServer() {
	home, duid := c.mobile()
	kind := []codec.MessageType{codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRelease}[c.r.IntN(3)]
	p := netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:aa00:%x::", c.r.IntN(1<<12)<<4)), 50+c.r.IntN(12)).Masked()
	if own := slices.SortedFunc(maps.Keys(c.granted[home]), netip.Prefix.Compare); len(own) > 0 && c.r.IntN(2) == 0 {
		p = own[c.r.IntN(len(own))]
	}
	q := c.client(kind, duid, pd(1, p.String()))
	e, ok := c.up(home, q)
	if !ok {
		return // limited
	}
	if kind == codec.MessageTypeRelease {
		delete(c.granted[home], p)
		return
	}
	lasting := time.Duration(c.r.Int64N(3)) * valid / 2
	c.handle(fromServer(back(e, says(codec.MessageTypeReply, q, given(1, 0, lasting, p)).ToBytes())))
	c.forgetEnded()
	_, own := c.granted[home][p]
	switch {
	case lasting == 0:
		delete(c.granted[home], p)
	case own || !c.taken(p) && len(c.granted[home]) < maxRelayedLeases:
		c.promise(home, p, lasting)
	}
}

// taken reports whether some mobile has addresses of p.
func (c *chaos) taken(p netip.Prefix) bool {
	for _, all := range c.granted {
		for q := range all {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}

// again is a restart: what was saved goes on.
func (c *chaos) again() {
	c.sleep(saves.Every)
	c.handle(role.Stop{})
	before := c.now
	c.forgetEnded()
	c.restart(c.config)
	for _, all := range c.granted {
		for p, until := range all {
			left := until.Sub(before).Truncate(time.Second)
			if all[p] = c.now.Add(left); left == 0 {
				delete(all, p)
			}
		}
	}
}

// forgetEnded takes out what has ended, or what a change of the configuration has
// taken away.
func (c *chaos) forgetEnded() {
	for home, all := range c.granted {
		for p, until := range all {
			if !until.After(c.now) || c.s.mobiles[home] == nil {
				delete(all, p)
			}
		}
	}
}

// check compares what the mobiles were promised, what the home agent was told, and
// what the server says it has; no two of it overlap (world.checkTold).
func (c *chaos) check() {
	c.t.Helper()
	c.sleep(0)
	c.forgetEnded()
	listed := map[netip.Addr][]netip.Prefix{}
	all := c.s.Leases(c.now)
	slices.SortFunc(all, func(a, b Lease) int { return a.Prefix.Compare(b.Prefix) })
	for i, l := range all {
		if i > 0 && l.Prefix.Overlaps(all[i-1].Prefix) {
			c.t.Errorf("%+v and %+v", all[i-1], l)
		}
		if l.State != Kept {
			listed[l.Home] = append(listed[l.Home], l.Prefix)
		}
	}
	if s := c.s.Counters(); s.Bound+s.Kept != len(all) {
		c.t.Errorf("counters %+v, %d leases", s, len(all))
	}
	for _, m := range c.config.Mobiles {
		promised := slices.SortedFunc(maps.Keys(c.granted[m.HomeAddress]), netip.Prefix.Compare)
		if told := c.told[m.HomeAddress]; !slices.Equal(promised, told) || !slices.Equal(promised, listed[m.HomeAddress]) {
			c.t.Errorf("%v: promised %v, told %v, listed %v", m.HomeAddress, promised, told, listed[m.HomeAddress])
		}
	}
}
