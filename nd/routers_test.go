package nd

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const link = 7

func prefixOption(p string, valid, preferred time.Duration) mip6.PrefixInformation {
	return mip6.PrefixInformation{Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: true, ValidLifetime: valid, PreferredLifetime: preferred}
}

func ra(lifetime time.Duration, prefixes ...mip6.PrefixInformation) RouterAdvertisement {
	return RouterAdvertisement{RouterLifetime: lifetime, SourceLinkAddr: linkAddr, Prefixes: prefixes}
}

func text(changes []Change) string {
	var s []string
	for _, c := range changes {
		line := fmt.Sprintf("%v %v", c.Kind, c.Router)
		if c.Prefix.IsValid() {
			line += " " + c.Prefix.String()
		}
		if c.Link != link {
			line += fmt.Sprintf(" on %d", c.Link)
		}
		s = append(s, line)
	}
	return strings.Join(s, "; ")
}

// step is an event at a time and what it changes.
type step struct {
	at    time.Duration
	from  netip.Addr // invalid: Expire
	ra    RouterAdvertisement
	also  func(*Routers, time.Time) // in place of either
	wants string
}

// A table of what routers say, and what time does.
func TestRouters(t *testing.T) {
	const a, b = "2001:db8:a::/64", "2001:db8:b::/64"
	pa, pb := prefixOption(a, time.Hour, 30*time.Minute), prefixOption(b, time.Hour, 30*time.Minute)
	fast := func(r RouterAdvertisement, d time.Duration) RouterAdvertisement { r.Interval = d; return r }
	with := func(r RouterAdvertisement, change func(*RouterAdvertisement)) RouterAdvertisement {
		change(&r)
		return r
	}
	for name, steps := range map[string][]step{
		"RFC 4861 §6.3.4: appears once, its lifetime renewed, and ends": {
			{0, router1, ra(time.Minute, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{30 * time.Second, router1, ra(time.Minute, pa), nil, ""},
			{89 * time.Second, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{90 * time.Second, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
			{91 * time.Second, router1, ra(time.Minute, pa), nil, "router appeared fe80::1"},
		},
		"RFC 4861 §6.3.4: lifetime zero ends the default router at once": {
			{0, router1, ra(time.Minute, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{time.Second, router1, ra(0, pa), nil, "router changed fe80::1"},
			{2 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{3 * time.Minute, router1, ra(time.Minute, pa), nil, "router changed fe80::1"},
		},
		"nothing worth remembering": {
			{0, router1, ra(0), nil, ""},
			{0, router1, ra(0, prefixOption(a, 0, 0)), nil, ""},
		},
		"RFC 6275 §11.5.1: three intervals of silence": {
			{0, router1, fast(ra(9000*time.Second, pa), 90*time.Millisecond), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{279 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{280 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
			{time.Second, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{2 * time.Second, router1, fast(ra(9000*time.Second, pa), 90*time.Millisecond), nil, "router appeared fe80::1"},
		},
		"RFC 6275 §7.2: an advertisement without the interval keeps it": {
			{0, router1, fast(ra(9000*time.Second), 90*time.Millisecond), nil, "router appeared fe80::1"},
			{100 * time.Millisecond, router1, ra(9000 * time.Second), nil, ""},
			{380 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
		},
		"an interval below what RFC 6275 §7.5 permits": {
			{0, router1, fast(ra(time.Hour), time.Millisecond), nil, "router appeared fe80::1"},
			{219 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{220 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
		},
		"a silent router that answers is there, and may be silent for longer": {
			{0, router1, fast(ra(time.Hour), 100*time.Millisecond), nil, "router appeared fe80::1"},
			{310 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
			{320 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, func(r *Routers, now time.Time) {
				if !r.Confirm(now, link, router1) || r.Confirm(now, link, router2) || len(r.On(link)) != 1 {
					t.Error("not confirmed")
				}
			}, ""},
			{900 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{930 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
			{940 * time.Millisecond, router1, ra(time.Hour), nil, "router appeared fe80::1"},
			{1250 * time.Millisecond, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1"},
		},
		"lifetimes of prefixes": {
			{0, router1, ra(9000*time.Second, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{30 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, "prefix deprecated fe80::1 " + a},
			{31 * time.Minute, router1, ra(9000*time.Second, pa), nil, "prefix appeared fe80::1 " + a},
			{61 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, "prefix deprecated fe80::1 " + a},
			{91 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, "prefix expired fe80::1 " + a},
		},
		"RFC 4862 §5.5.3 e: an hour left cannot be taken away, deprecation works": {
			{0, router1, ra(9000*time.Second, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{time.Minute, router1, ra(9000*time.Second, prefixOption(a, 0, 0)), nil, "prefix deprecated fe80::1 " + a},
			{59 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, ""},
			{60 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, "prefix expired fe80::1 " + a},
		},
		"RFC 4861 §6.3.4: a prefix without A ends at once": {
			{0, router1, ra(9000*time.Second, mip6.PrefixInformation{Prefix: netip.MustParsePrefix(a), OnLink: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour}), nil,
				"router appeared fe80::1; prefix appeared fe80::1 " + a},
			{time.Minute, router1, ra(9000*time.Second, mip6.PrefixInformation{Prefix: netip.MustParsePrefix(a), OnLink: true}), nil, "prefix expired fe80::1 " + a},
		},
		"RFC 4862 §5.5.3 b, c and others: options to ignore": {
			{0, router1, ra(time.Hour, prefixOption("fe80::/64", time.Hour, time.Hour), prefixOption("ff0e::/64", time.Hour, time.Hour),
				prefixOption(a, time.Hour, 2*time.Hour), prefixOption(b, 0, 0)), nil, "router appeared fe80::1"},
		},
		"infinite lifetimes": {
			{0, router1, ra(0, prefixOption(a, mip6.InfiniteLifetime, mip6.InfiniteLifetime)), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{100000 * time.Hour, netip.Addr{}, RouterAdvertisement{}, nil, ""},
		},
		"a router that is no default router goes with its last prefix": {
			{0, router1, ra(0, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{30 * time.Minute, netip.Addr{}, RouterAdvertisement{}, nil, "prefix deprecated fe80::1 " + a},
			{time.Hour, netip.Addr{}, RouterAdvertisement{}, nil, "prefix expired fe80::1 " + a + "; router lost fe80::1"},
		},
		"what changes a router": {
			{0, router1, ra(time.Hour, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{1, router1, with(ra(time.Hour, pa), func(r *RouterAdvertisement) { r.HomeAgent = true }), nil, "router changed fe80::1"},
			{2, router1, with(ra(time.Hour, pa), func(r *RouterAdvertisement) { r.HomeAgent = true; r.Preference = PreferenceHigh }), nil, "router changed fe80::1"},
			{3, router1, with(ra(time.Hour, pa), func(r *RouterAdvertisement) {
				r.HomeAgent = true
				r.Preference = PreferenceHigh
				r.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: 3}
			}), nil, "router changed fe80::1"},
			{4, router1, with(ra(time.Hour, pa), func(r *RouterAdvertisement) {
				r.HomeAgent = true
				r.Preference = PreferenceHigh
				r.SourceLinkAddr = nil
			}), nil, ""},
			{5, router1, with(ra(time.Hour, pa), func(r *RouterAdvertisement) {
				r.HomeAgent = true
				r.Preference = PreferenceHigh
				r.SourceLinkAddr = net.HardwareAddr{2, 0, 0, 0, 0, 9}
			}), nil, "router changed fe80::1"},
			{6, router1, with(ra(time.Hour, prefixOption("2001:db8:a::1/64", time.Hour, time.Hour)), func(r *RouterAdvertisement) {
				r.HomeAgent = true
				r.Preference = PreferenceHigh
				r.Prefixes[0].RouterAddress = true
			}), nil, "router changed fe80::1"},
		},
		"RFC 6275 §11.5.1: another router with the same link-local address": {
			{0, router1, ra(time.Hour, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{1, router1, with(ra(time.Hour, pb), func(r *RouterAdvertisement) { r.SourceLinkAddr = net.HardwareAddr{2, 0, 0, 0, 0, 9} }), nil,
				"router appeared fe80::1; prefix appeared fe80::1 " + b},
		},
		"two routers, two links": {
			{0, router1, ra(time.Hour, pa), nil, "router appeared fe80::1; prefix appeared fe80::1 " + a},
			{1, router2, ra(time.Hour, pb), nil, "router appeared fe80::2; prefix appeared fe80::2 " + b},
			{2, netip.Addr{}, RouterAdvertisement{}, func(r *Routers, now time.Time) {
				if got := text(r.Heard(now, 3, router1, ra(time.Second))); got != "router appeared fe80::1 on 3" {
					t.Error(got)
				}
			}, ""},
			{time.Second + 2, netip.Addr{}, RouterAdvertisement{}, nil, "router lost fe80::1 on 3"},
			{2 * time.Second, netip.Addr{}, RouterAdvertisement{}, func(r *Routers, now time.Time) {
				r.Forget(now, link, router1)
				r.Forget(now, link, router1)
				if on := r.On(link); len(on) != 1 || on[0].Addr != router2 {
					t.Errorf("%d routers", len(on))
				}
				r.LinkDown(now, link)
				if len(r.On(link)) != 0 || !r.Next().IsZero() {
					t.Error("not forgotten")
				}
			}, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRouters()
			for i, s := range steps {
				now := epoch.Add(s.at)
				var got []Change
				switch {
				case s.also != nil:
					s.also(r, now)
				case s.from.IsValid():
					got = r.Heard(now, link, s.from, s.ra)
				default:
					// The shell comes when Next says so: not before, and it must
					// have been said.
					if next := r.Next(); s.wants != "" && !next.Equal(now) {
						t.Errorf("step %d: Next is %v, want %v", i, next.Sub(epoch), s.at)
					}
					got = r.Expire(now)
				}
				if text(got) != s.wants {
					t.Errorf("step %d at %v: %q, want %q", i, s.at, text(got), s.wants)
				}
			}
		})
	}
}

// What the table remembers of a router.
func TestRouterRemembered(t *testing.T) {
	r := NewRouters()
	m := ra(time.Hour, prefixOption("2001:db8:a::1/64", 3*time.Hour, time.Hour), prefixOption("2001:db8:a::/64", time.Hour, time.Hour))
	m.Prefixes[0].RouterAddress = true
	m.HomeAgent, m.Interval = true, time.Second
	r.Heard(epoch, link, router1.WithZone("eth0"), m)
	later := epoch.Add(500 * time.Millisecond)
	m.Interval, m.SourceLinkAddr = 0, nil
	m.Prefixes = []mip6.PrefixInformation{prefixOption("2001:db8:a::1/64", time.Hour, 0)}
	m.Prefixes[0].RouterAddress = true
	r.Heard(later, link, router1, m)
	got, ok := r.Get(link, router1)
	if !ok || got.RA.Interval != time.Second || got.RA.SourceLinkAddr.String() != linkAddr.String() ||
		!got.Since.Equal(epoch) || !got.Heard.Equal(later) || !got.LifetimeEnds.Equal(later.Add(time.Hour)) || len(got.Prefixes) != 1 {
		t.Fatalf("remembered %+v", got)
	}
	p := got.Prefixes[0]
	if a, ok := p.RouterAddress(); !ok || a.String() != "2001:db8:a::1" {
		t.Errorf("router address %v, %v", a, ok)
	}
	// Three hours were left, one was told: two remain.
	if p.Info.ValidLifetime != 2*time.Hour || !p.ValidUntil.Equal(later.Add(2*time.Hour)) || p.Info.PreferredLifetime != 0 {
		t.Errorf("prefix %+v", p)
	}
	if _, ok := r.Get(link, router2); ok {
		t.Error("knows a router that was never heard")
	}
}

// RFC 4862 §5.5.3 e.
func TestTwoHourRule(t *testing.T) {
	for _, c := range []struct{ remaining, advertised, want time.Duration }{
		{time.Hour, 3 * time.Hour, 3 * time.Hour},                             // 1: more than two hours
		{5 * time.Hour, 3 * time.Hour, 3 * time.Hour},                         //
		{time.Minute, time.Hour, time.Hour},                                   // 1: more than remains
		{time.Hour, time.Minute, time.Hour},                                   // 2: ignored
		{2 * time.Hour, 0, 2 * time.Hour},                                     //
		{5 * time.Hour, time.Minute, 2 * time.Hour},                           // 3: two hours
		{mip6.InfiniteLifetime, 0, 2 * time.Hour},                             //
		{mip6.InfiniteLifetime, mip6.InfiniteLifetime, mip6.InfiniteLifetime}, //
		{0, mip6.InfiniteLifetime, mip6.InfiniteLifetime},                     //
	} {
		if got := ValidLifetime(c.remaining, c.advertised); got != c.want {
			t.Errorf("%v remain, %v advertised: %v, want %v", c.remaining, c.advertised, got, c.want)
		}
	}
}

// Forged advertisements cannot fill memory, and what they push out is reported.
//
// Covers: Attack: rogue router.
func TestRoutersBounded(t *testing.T) {
	r := NewRouters()
	forged := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 12: 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
	}
	r.Heard(epoch, link, router1, ra(9000*time.Second))
	lost := 0
	for i := range 1000 {
		now := epoch.Add(time.Duration(i+1) * time.Second)
		r.Confirm(now, link, router1) // the one in use gives signs of life
		for _, c := range r.Heard(now, link, forged(i), ra(9000*time.Second)) {
			if c.Kind == RouterLost {
				lost++
			}
		}
	}
	on := r.On(link)
	if len(on) != maxRouters || lost != 1001-maxRouters {
		t.Errorf("%d routers, %d lost", len(on), lost)
	}
	if !slices.ContainsFunc(on, func(x *Router) bool { return x.Addr == router1 }) {
		t.Error("the router in use was pushed out")
	}

	numbered := func(i int) mip6.PrefixInformation {
		return prefixOption(fmt.Sprintf("2001:db8:%x::/64", i), time.Hour, time.Hour)
	}
	r = NewRouters()
	for i := range 1000 {
		r.Heard(epoch.Add(time.Duration(i)*time.Second), link, router1, ra(9000*time.Second, numbered(i)))
	}
	one, _ := r.Get(link, router1)
	if len(one.Prefixes) != maxRouterPrefixes || one.Prefixes[0].Info.Prefix != numbered(1000-maxRouterPrefixes).Prefix {
		t.Errorf("%d prefixes, the first %v", len(one.Prefixes), one.Prefixes[0].Info.Prefix)
	}
	var many []mip6.PrefixInformation
	for i := range 200 {
		many = append(many, numbered(i))
	}
	r = NewRouters()
	r.Heard(epoch, link, router1, ra(9000*time.Second, many...))
	if again := r.Heard(epoch.Add(time.Second), link, router1, ra(9000*time.Second, many[:maxRouterPrefixes]...)); len(again) != 0 {
		t.Errorf("an advertisement with many prefixes is not stable: %v", text(again))
	}
}

// Whatever is heard and whenever: Expire at Next leaves a later Next, the bounds
// hold, only routers believed to be there are shown, and the same events give
// the same changes.
func TestRoutersRandomly(t *testing.T) {
	run := func(seed uint64) (log []string) {
		random := rand.New(rand.NewPCG(seed, 1))
		lifetimes := []time.Duration{0, time.Second, time.Minute, 3 * time.Hour, mip6.InfiniteLifetime}
		pick := func() time.Duration { return lifetimes[random.IntN(len(lifetimes))] }
		r, now := NewRouters(), epoch
		for range 400 {
			now = now.Add(time.Duration(random.Int64N(int64(5 * time.Second))))
			for next := r.Next(); deadline.Due(now, next); next = r.Next() {
				log = append(log, text(r.Expire(next)))
				if after := r.Next(); !after.IsZero() && !after.After(next) {
					t.Fatalf("seed %d: Next stays at %v", seed, next)
				}
			}
			l := random.IntN(2)
			from := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(random.IntN(40))})
			switch random.IntN(20) {
			case 0:
				r.LinkDown(now, l)
			case 1:
				r.Forget(now, l, from)
			case 2:
				r.Confirm(now, l, from)
			case 3:
				if all := r.Remembered(now, l); len(all) > 0 {
					log = append(log, text(r.Recall(now, l, all[random.IntN(len(all))])))
				}
			default:
				m := ra(min(pick(), 9000*time.Second))
				m.Interval = time.Duration(random.IntN(3)) * time.Second
				for range random.IntN(4) {
					m.Prefixes = append(m.Prefixes, prefixOption(fmt.Sprintf("2001:db8:%x::/64", random.IntN(60)), pick(), pick()))
				}
				log = append(log, text(r.Heard(now, l, from, m)))
			}
			for _, x := range r.On(l) {
				if x.lost || len(x.Prefixes) > maxRouterPrefixes || x.LifetimeEnds.IsZero() != (x.RA.RouterLifetime == 0) {
					t.Fatalf("seed %d: shows %+v", seed, x)
				}
			}
			if len(r.remembered[l]) > maxRemembered {
				t.Fatalf("seed %d: %d remembered", seed, len(r.remembered[l]))
			}
			if len(r.links[l]) > maxRouters {
				t.Fatalf("seed %d: %d routers", seed, len(r.links[l]))
			}
		}
		return log
	}
	for seed := range uint64(100) {
		if a := run(seed); seed < 10 && !reflect.DeepEqual(a, run(seed)) {
			t.Fatalf("seed %d: not the same twice", seed)
		}
	}
}
