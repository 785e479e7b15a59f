package delegating

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
	"roam6/mip6"
)

func prefixes(list ...string) (ps []netip.Prefix) {
	for _, p := range list {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// The same mobile gets the same prefix: after it was released or has ended, after
// a restart with and without what was saved, after pools were added, away and at
// home. A mobile router that rebooted asks with a Rebind or a Solicit, and a hint
// or none (RFC 6276 §3.1).
//
// Covers: D3.
func TestStable(t *testing.T) {
	config := testConfig()
	more := testConfig()
	more.Pools = prefixes("2001:db8:100::/40", "2001:db8:200::/40")
	w := newWorld(t, config)
	first, second := w.obtain(homeA, duidA, 1), w.obtain(homeA, duidA, 2)
	other := w.obtain(homeB, duidB, 1)
	if first == second || first.Overlaps(other) || second.Overlaps(other) {
		t.Fatalf("granted %v, %v, %v", first, second, other)
	}
	again := func(what string) {
		t.Helper()
		if got := w.obtain(homeA, duidA, 1); got != first {
			t.Errorf("%s: %v, not %v", what, got, first)
		}
		if got := w.obtain(homeA, duidA, 2); got != second {
			t.Errorf("%s: second IA: %v, not %v", what, got, second)
		}
		a := w.away(homeA, w.client(codec.MessageTypeRebind, duidA, pd(1, first.String())))
		if a == nil || len(granted(a)) != 1 || granted(a)[first.String()] != [2]int{1800, 3600} {
			t.Errorf("%s: Rebind: %v", what, a)
		}
		w.sleep(10 * time.Second)
	}
	again("at once")
	if got := w.obtain(homeA, duidA, 2, "::/60"); got != second {
		t.Errorf("a length makes another prefix of %v: %v", second, got)
	}
	w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(1, first.String()), pd(2, second.String())))
	if w.told[homeA] != nil {
		t.Fatalf("told %v after the release", w.told[homeA])
	}
	again("released")
	w.sleep(48 * time.Hour)
	if len(w.s.Leases(w.now)) != 3 || w.s.Counters().Bound != 0 {
		t.Fatalf("leases %+v", w.s.Leases(w.now))
	}
	again("expired")
	w.reconfigure(more)
	again("more pools")
	w.restart(more)
	if got := w.told[homeA]; len(got) != 2 {
		t.Errorf("told at start: %v", w.told)
	}
	again("restarted")
	w.sleep(48 * time.Hour)
	w.handle(role.Stop{})
	w.restart(config)
	if len(w.told) != 0 {
		t.Errorf("told at start: %v", w.told)
	}
	again("expired, restarted, fewer pools")
	w.saved = nil
	w.restart(config)
	again("everything forgotten")
	a := w.home(localX, w.client(codec.MessageTypeRenew, duidA, pd(1, first.String())))
	if a == nil || granted(a)[first.String()] != [2]int{1800, 3600} {
		t.Errorf("at home: %v", a)
	}
}

// Hints are honoured when they are the mobile's own or free (RFC 8415 §18.3.2,
// §13.3; RFC 8168 for lengths).
func TestHints(t *testing.T) {
	config := testConfig()
	taken := netip.Prefix{}
	for _, c := range []struct {
		name string
		hint string
		want string // a prefix, or "/length"
	}{
		{"free", "2001:db8:1ab:cd00::/56", "2001:db8:1ab:cd00::/56"},
		{"free, with host bits", "2001:db8:1ab:cdef::1/56", "2001:db8:1ab:cd00::/56"},
		{"longer", "2001:db8:1ab:cd10::/60", "2001:db8:1ab:cd10::/60"},
		{"too short", "2001:db8:1ab::/48", "/56"},
		{"too long", "2001:db8:1ab:cd00::/72", "/56"},
		{"not in the pool", "2001:db8:fff:ff00::/56", "/56"},
		{"contains the home agent", "2001:db8:1::/56", "/56"},
		{"another's", "taken", "/56"},
		{"a part of another's", "part", "/56"},
		{"length", "::/56", "/56"},
		{"longer length", "::/62", "/62"},
		{"longest", "::/64", "/64"},
		{"too long a length", "::/65", "/56"},
		{"shorter length", "::/48", "/56"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, config)
			taken = w.obtain(homeB, duidB, 1)
			hint := c.hint
			switch hint {
			case "taken":
				hint = taken.String()
			case "part":
				hint = netip.PrefixFrom(taken.Addr(), 60).String()
			}
			got := w.obtain(homeA, duidA, 1, hint)
			if length, any := strings.CutPrefix(c.want, "/"); any && fmt.Sprint(got.Bits()) != length || !any && got.String() != c.want {
				t.Errorf("hint %v gives %v, want %v", hint, got, c.want)
			}
			if got.Overlaps(taken) || !pool.Contains(got.Addr()) {
				t.Errorf("hint %v gives %v", hint, got)
			}
		})
	}
	t.Run("own of another IAID", func(t *testing.T) {
		w := newWorld(t, config)
		p := w.obtain(homeA, duidA, 1)
		if got := w.obtain(homeA, duidA, 2, p.String()); got != p {
			t.Errorf("a client that changed its IAID gets %v, not %v", got, p)
		}
		// Not one that the same message names.
		a := w.away(homeA, w.client(codec.MessageTypeSolicit, duidA, rapid(), pd(2), pd(3, p.String())))
		if len(granted(a)) != 2 {
			t.Errorf("granted %v", granted(a))
		}
	})
}

// Without a free prefix the client is told, and the log once a minute.
func TestExhausted(t *testing.T) {
	config := testConfig()
	config.Pools = prefixes("2001:db8:100::/55") // two prefixes
	w := newWorld(t, config)
	a, b := w.obtain(homeA, duidA, 1), w.obtain(homeB, duidB, 1)
	if !a.IsValid() || !b.IsValid() || a.Overlaps(b) {
		t.Fatalf("granted %v, %v", a, b)
	}
	for _, kind := range []codec.MessageType{codec.MessageTypeSolicit, codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRebind} {
		r := w.away(homeC, w.client(kind, duidX, pd(1)))
		if r == nil || len(granted(r)) != 0 || statusOf(r) != noPrefixAvail {
			t.Errorf("answer to %v: %v", kind, r)
		}
	}
	r := w.away(homeC, w.client(codec.MessageTypeSolicit, duidX, rapid(), pd(1)))
	if r == nil || r.MessageType != codec.MessageTypeAdvertise || statusOf(r) != noPrefixAvail {
		t.Errorf("answer to a Solicit with Rapid Commit: %v", r)
	}
	complaints := func() (n int) {
		for _, l := range w.logs {
			if strings.Contains(l.Message, "no prefix") {
				n++
			}
		}
		return n
	}
	if complaints() != 1 || w.s.Counters().Exhaustions != 5 {
		t.Errorf("%d complaints, counters %+v", complaints(), w.s.Counters())
	}
	w.sleep(time.Minute)
	w.away(homeC, w.client(codec.MessageTypeSolicit, duidX, pd(1)))
	if complaints() != 2 {
		t.Errorf("%d complaints", complaints())
	}
}

// What has ended is given to others when there is nothing else: the longest ended
// first, and nothing that holds with it.
func TestReclaim(t *testing.T) {
	config := testConfig()
	config.Pools = prefixes("2001:db8:100::/55") // two prefixes
	type client struct {
		home netip.Addr
		duid []byte
		has  netip.Prefix
	}
	for first := range 2 {
		w := newWorld(t, config)
		clients := []*client{{home: homeA, duid: duidA}, {home: homeB, duid: duidB}}
		for _, c := range clients {
			c.has = w.obtain(c.home, c.duid, 1)
		}
		before, after := clients[first], clients[1-first]
		for _, c := range []*client{before, after} {
			w.away(c.home, w.client(codec.MessageTypeRelease, c.duid, pd(1, c.has.String())))
			w.sleep(time.Second)
		}
		if got := w.obtain(homeC, duidX, 1); got != before.has {
			t.Errorf("%v is given, not %v, which ended before", got, before.has)
		}
		if got := w.obtain(after.home, after.duid, 1); got != after.has {
			t.Errorf("%v, not %v, which was kept", got, after.has)
		}
		if w.obtainIfAny(before.home, before.duid).IsValid() {
			t.Error("a third prefix of two")
		}
	}

	// Of a prefix that was reclaimed in part the rest is free.
	config.Pools = prefixes("2001:db8:100::/56")
	w := newWorld(t, config)
	whole := w.obtain(homeA, duidA, 1)
	w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(1, whole.String())))
	b, c := w.obtain(homeB, duidB, 1, "::/60"), w.obtain(homeC, duidX, 1, "::/60")
	if !b.IsValid() || !c.IsValid() {
		t.Fatalf("granted %v, %v", b, c)
	}
	// And a part that is kept does not make the whole free.
	w.away(homeB, w.client(codec.MessageTypeRelease, duidB, pd(1, b.String())))
	if got := w.obtainIfAny(homeA, duidA); got.IsValid() {
		t.Errorf("%v is given, of which %v holds", got, c)
	}
}

// A message with more IAs than there are prefixes, or than one mobile may have,
// takes nothing from itself.
func TestSeveral(t *testing.T) {
	ias := func(n int) (all []codec.Option) {
		all = append(all, rapid())
		for i := range n {
			all = append(all, pd(uint32(i)))
		}
		return all
	}
	check := func(w *world, n, want int) {
		t.Helper()
		a := w.away(homeA, w.client(codec.MessageTypeSolicit, duidA, ias(n)...))
		refused := 0
		for _, ia := range a.Options.IAPD() {
			if s := ia.Options.Status(); s != nil && s.StatusCode == noPrefixAvail && len(ia.Options.Prefixes()) == 0 {
				refused++
			}
		}
		if len(granted(a)) != want || refused != n-want || len(w.told[homeA]) != want {
			t.Errorf("%d IAs: granted %v, refused %d, told %v; want %d", n, granted(a), refused, w.told[homeA], want)
		}
	}
	w := newWorld(t, testConfig())
	check(w, 3, 3)
	check(w, maxLeases+3, maxLeases)
	if a := w.away(homeA, w.client(codec.MessageTypeSolicit, duidA, ias(maxIAs+1)...)); a != nil || w.reason() != role.DropMalformed {
		t.Errorf("answer %v", a)
	}
	config := testConfig()
	config.Pools = prefixes("2001:db8:100::/56")
	check(newWorld(t, config), 3, 1)

	// What has ended makes room for new IAs of the same mobile.
	w = newWorld(t, testConfig())
	var first netip.Prefix
	for iaid := range uint32(20) {
		p := w.obtain(homeA, duidA, iaid)
		if iaid == 0 {
			first = p
		}
		if iaid == maxLeases && p != first {
			t.Errorf("IAID %d gets %v, not %v, which ended first", iaid, p, first)
		}
		w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(iaid, p.String())))
		w.sleep(time.Second)
	}
	if n := len(w.s.Leases(w.now)); n != maxLeases {
		t.Errorf("%d leases are kept", n)
	}
}

// A pool that is removed: the home agent forgets its prefixes at once, the client
// when it renews (RFC 8415 §18.3.4).
func TestPoolRemoved(t *testing.T) {
	w := newWorld(t, testConfig())
	p := w.obtain(homeA, duidA, 1)
	w.away(homeB, w.client(codec.MessageTypeSolicit, duidB, pd(1))) // an offer goes, too
	config := testConfig()
	config.Pools = prefixes("2001:db8:200::/40")
	w.reconfigure(config)
	if got, told := w.told[homeA]; !told || len(got) != 0 || len(w.s.Leases(w.now)) != 0 || w.s.Counters().Withdrawals != 1 {
		t.Fatalf("told %v, leases %+v", w.told, w.s.Leases(w.now))
	}
	if _, told := w.told[homeB]; told {
		t.Error("told of a mobile that had nothing")
	}
	w.handle(role.Timeout{})
	a := w.away(homeA, w.client(codec.MessageTypeRenew, duidA, pd(1, p.String())))
	if a == nil || len(granted(a)) != 2 || granted(a)[p.String()] != [2]int{} || len(w.told[homeA]) != 1 ||
		granted(a)[w.told[homeA][0].String()] != [2]int{1800, 3600} || a.Options.OneIAPD().T1 != 15*time.Minute {
		t.Errorf("answer %v, told %v", a.Summary(), w.told)
	}
	// With nothing to give instead the lifetimes of zero are the answer: a status
	// code would make the client keep what it has (§18.2.10.1).
	p = w.told[homeA][0]
	config.Pools = prefixes("2001:db8:300::/56")
	config.Mobiles = config.Mobiles[:2]
	w.reconfigure(config)
	w.obtain(homeB, duidB, 1)
	a = w.away(homeA, w.client(codec.MessageTypeRenew, duidA, pd(1, p.String())))
	if a == nil || len(granted(a)) != 1 || granted(a)[p.String()] != [2]int{} || statusOf(a) != success || a.Options.OneIAPD().T1 != 0 {
		t.Errorf("answer %v", a.Summary())
	}
}

// What a new configuration permits stays, the rest is withdrawn.
func TestReconfigure(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		stays  bool
	}{
		{"the same", func(*Config) {}, true},
		{"another name of the mobile", func(c *Config) { c.Mobiles[0].Name = "x" }, true},
		{"another order", func(c *Config) { slices.Reverse(c.Mobiles) }, true},
		{"pool shrinks round it", func(c *Config) { c.Pools = prefixes("2001:db8:100::/41", "2001:db8:180::/41") }, true},
		{"lifetimes", func(c *Config) { c.Preferred, c.Valid = time.Minute, time.Minute }, true},
		{"shorter prefixes", func(c *Config) { c.Length = 48 }, true},
		{"longer prefixes", func(c *Config) { c.Length = 60 }, false},
		{"address of the home agent", func(c *Config) { c.Address = netip.MustParseAddr("2001:db8:1::2") }, true},
		{"mobile removed", func(c *Config) { c.Mobiles = c.Mobiles[1:] }, false},
		{"pool removed", func(c *Config) { c.Pools = prefixes("2001:db8:300::/40") }, false},
		{"external server", func(c *Config) { c.Pools, c.Server = nil, serverAddr }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, restart := range []bool{false, true} {
				w := newWorld(t, testConfig())
				p := w.obtain(homeA, duidA, 1)
				config := testConfig()
				c.change(&config)
				if restart {
					w.restart(config)
				} else {
					w.reconfigure(config)
				}
				if stays := slices.Equal(w.told[homeA], []netip.Prefix{p}); stays != c.stays {
					t.Errorf("restart %v: told %v", restart, w.told)
				}
				w.sleep(2 * valid)
				if len(w.told[homeA]) > 0 {
					t.Errorf("restart %v: told %v after the lifetime", restart, w.told)
				}
			}
		})
	}
}

// The smallest gap is found, in any order and with any lengths.
func TestFreeFindsEverything(t *testing.T) {
	config := testConfig()
	config.Pools, config.Length, config.Mobiles = prefixes("2001:db8:100::/58"), 60, nil
	for i := range 64 {
		config.Mobiles = append(config.Mobiles, Mobile{Name: fmt.Sprint(i), HomeAddress: netip.MustParseAddr(fmt.Sprintf("2001:db8:1::1:%x", i))})
	}
	w := newWorld(t, config)
	seen := map[netip.Prefix]bool{}
	for i, m := range config.Mobiles { // 4 × /60 are 64 × /64
		p := w.obtain(m.HomeAddress, []byte{0, 9, byte(i)}, 1, "::/64")
		if p.Bits() != 64 || seen[p] {
			t.Fatalf("mobile %d gets %v", i, p)
		}
		seen[p] = true
	}
	if p := w.obtainIfAny(config.Mobiles[0].HomeAddress, []byte{0, 9, 0}); !seen[p] {
		t.Errorf("then %v", p)
	}
	// The last of all addresses is no reason to begin again from the first.
	all := Config{Pools: prefixes("ffff:ffff:ffff:fffe::/63"), Length: 64}
	tb, m := new(table), new(mobile)
	for i := range 3 {
		p, ok := tb.free(all, 64, homeA, 1)
		if ok != (i < 2) {
			t.Fatalf("%d: %v, %v", i, p, ok)
		}
		if ok {
			tb.insert(&lease{mobile: m, prefix: p})
		}
	}
}

// obtainIfAny is obtain where there may be none.
func (w *world) obtainIfAny(home netip.Addr, duid []byte) netip.Prefix {
	w.t.Helper()
	a := w.away(home, w.client(codec.MessageTypeRequest, duid, pd(1)))
	for _, p := range a.Options.OneIAPD().Options.Prefixes() {
		q, _ := prefixOf(p.Prefix)
		return q
	}
	return netip.Prefix{}
}

func TestValidate(t *testing.T) {
	relaying := func(c *Config) { c.Pools, c.Server = nil, serverAddr }
	for _, c := range []struct {
		says   string // nothing: valid
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"", relaying},
		{"", func(c *Config) { relaying(c); c.Length, c.Preferred, c.Valid, c.DUID = 0, 0, 0, nil }},
		{"", func(c *Config) { c.Preferred, c.Valid = mip6.InfiniteLifetime, mip6.InfiniteLifetime }},
		{"", func(c *Config) { c.Mobiles[0].DUID = duidA }},
		{"home agent address", func(c *Config) { c.Address = netip.Addr{} }},
		{"one or the other", func(c *Config) { c.Server = serverAddr }},
		{"another node", func(c *Config) { relaying(c); c.Server = localA }},
		{"another node", func(c *Config) { relaying(c); c.Server = agentAddr }},
		{"neither a pool", func(c *Config) { c.Pools = nil }},
		{"has no prefix", func(c *Config) { c.Length = 36 }},
		{"length 65", func(c *Config) { c.Length = 65 }},
		{"length 0", func(c *Config) { c.Length = 0 }},
		{"lifetimes", func(c *Config) { c.Preferred = c.Valid + time.Second }},
		{"lifetimes", func(c *Config) { c.Preferred = 0 }},
		{"lifetimes", func(c *Config) { c.Valid += time.Millisecond }},
		{"lifetimes", func(c *Config) { c.Valid = mip6.InfiniteLifetime + time.Second }},
		{"not a prefix", func(c *Config) { c.Pools = prefixes("fe80::/10") }},
		{"not a prefix", func(c *Config) { c.Pools = prefixes("f000::/4") }},
		{"not a prefix", func(c *Config) { c.Pools = prefixes("10.0.0.0/8") }},
		{"not a prefix", func(c *Config) { c.Pools = prefixes("::/0") }},
		{"not a prefix", func(c *Config) { c.Pools = []netip.Prefix{{}} }},
		{"home agent's address", func(c *Config) { c.Pools = prefixes("2001:db8::/32") }},
		{"home address", func(c *Config) { c.Pools = prefixes("2001:db8::/32") }},
		{"in common", func(c *Config) { c.Pools = append(c.Pools, netip.MustParsePrefix("2001:db8:1ff::/48")) }},
		{"home address", func(c *Config) { c.Mobiles[0].HomeAddress = localA }},
		{"home address", func(c *Config) { c.Mobiles[0].HomeAddress = agentAddr }},
		{"same home address", func(c *Config) { c.Mobiles[0].HomeAddress = homeB }},
		{"same DUID", func(c *Config) { c.Mobiles[0].DUID, c.Mobiles[1].DUID = duidA, duidA }},
		{"DUID of 2", func(c *Config) { c.Mobiles[0].DUID = []byte{0, 1} }},
		{"server's DUID", func(c *Config) { c.DUID = nil }},
	} {
		config := testConfig()
		c.change(&config)
		err := config.Validate()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want %q", err, c.says)
		}
	}
}

func TestCapacity(t *testing.T) {
	for _, c := range []struct {
		pools  []netip.Prefix
		length int
		want   uint64
	}{
		{prefixes("2001:db8::/56"), 56, 1},
		{prefixes("2001:db8::/48", "2001:db8:1::/40"), 56, 256 + 65536},
		{prefixes("2000::/3"), 64, 1 << 61},
		{prefixes("4000::/1", "8000::/1"), 64, math.MaxUint64},
	} {
		if got := (Config{Pools: c.pools, Length: c.length}).capacity(); got != c.want {
			t.Errorf("%v: %d of length %d, want %d", c.pools, got, c.length, c.want)
		}
	}
}
