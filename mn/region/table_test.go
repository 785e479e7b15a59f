package region

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/mip6"
)

var (
	epoch  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a      = netip.MustParseAddr("2001:db8:a::1")
	b      = netip.MustParseAddr("2001:db8:b::1")
	onLink = netip.MustParseAddr("2001:db8:1::42")
	router = Source{Link: 1, Router: netip.MustParseAddr("fe80::1"), Ethernet: "\x02\x00\x00\x00\x00\x01"}
)

func option(anchor netip.Addr, distance, preference uint8) mip6.MobilityAnchorPoint {
	return mip6.MobilityAnchorPoint{Address: anchor, Distance: distance, Preference: preference, ValidLifetime: time.Hour}
}

func table(change func(*Config)) *Table {
	x := Config{Enabled: true, Insecure: true}
	if change != nil {
		change(&x)
	}
	return NewTable(x)
}

// ask is a query; held are the anchors with bindings.
func ask(serving netip.Addr, held ...netip.Addr) Query {
	return Query{From: router, OnLink: onLink, Serving: serving,
		Holds: func(x netip.Addr) bool { return slices.Contains(held, x) }, Barred: func(netip.Addr) bool { return false }}
}

// RFC 5380 §7.1, §9.1: preference before distance or after it; none with preference zero,
// unless there is a binding and nobody else; none with lifetime zero. What serves stays,
// unless the preference speaks for another one.
//
// Covers: P1, P2.
func TestSelect(t *testing.T) {
	failed := option(a, 9, 15)
	failed.ValidLifetime = 0
	allocates := option(a, 9, 15)
	allocates.Allocated = true
	none := netip.Addr{}
	type options = []mip6.MobilityAnchorPoint
	for name, x := range map[string]struct {
		selection Selection
		options   options
		serving   netip.Addr
		want      netip.Addr
	}{
		"nothing":                  {Preferred, nil, none, none},
		"preference first":         {Preferred, options{option(a, 1, 9), option(b, 5, 8)}, none, a},
		"then the furthest":        {Preferred, options{option(a, 1, 9), option(b, 5, 9)}, none, b},
		"the furthest":             {Furthest, options{option(a, 1, 9), option(b, 5, 8)}, none, b},
		"then preference":          {Furthest, options{option(a, 5, 9), option(b, 5, 8)}, none, a},
		"the nearest":              {Nearest, options{option(a, 1, 9), option(b, 5, 8)}, none, a},
		"nearest, then preference": {Nearest, options{option(a, 1, 7), option(b, 1, 8)}, none, b},
		"always the same":          {Preferred, options{option(b, 1, 7), option(a, 1, 7)}, none, a},
		"failed":                   {Preferred, options{failed, option(b, 1, 1)}, none, b},
		"failed, in use":           {Preferred, options{failed}, a, none},
		"allocates":                {Preferred, options{allocates, option(b, 1, 1)}, none, b},
		"drained":                  {Furthest, options{option(a, 9, 0), option(b, 1, 1)}, none, b},
		"drained, alone":           {Preferred, options{option(a, 9, 0)}, none, none},
		"drained, in use":          {Preferred, options{option(a, 9, 0)}, a, a},
		"drained, in use, another": {Furthest, options{option(a, 9, 0), option(b, 1, 1)}, a, b},
		"distance alone":           {Furthest, options{option(a, 1, 5), option(b, 9, 5)}, a, a},
		"higher preference":        {Preferred, options{option(a, 1, 5), option(b, 1, 6)}, a, b},
		"higher, but not chosen":   {Nearest, options{option(a, 1, 5), option(b, 2, 6)}, a, a},
		"not advertised any more":  {Preferred, options{option(b, 1, 1)}, a, b},
	} {
		tab := table(func(c *Config) { c.Selection = x.selection })
		tab.Heard(epoch, router, x.options)
		got, ok := tab.Select(epoch, ask(x.serving, x.serving))
		if got.Address != x.want || ok != x.want.IsValid() {
			t.Errorf("%s: %v", name, got.Address)
		}
	}
	off := table(func(c *Config) { c.Enabled = false })
	off.Heard(epoch, router, options{option(a, 1, 1)})
	if _, ok := off.Select(epoch, ask(none)); ok {
		t.Error("selects although it is switched off")
	}
}

// Options are kept for their lifetime, for each router by itself, and until the router has
// left them out three times.
//
// Covers: P2.
func TestOptionsStored(t *testing.T) {
	tab := table(nil)
	short := option(a, 1, 1)
	short.ValidLifetime = 10 * time.Second
	tab.Heard(epoch, router, []mip6.MobilityAnchorPoint{short, option(b, 1, 1)})
	other := router
	other.Ethernet = "another"
	if got := tab.Offers(epoch, other); len(got) != 0 {
		t.Errorf("another router with the same address offers %v", got)
	}
	if next := tab.Next(); !next.Equal(epoch.Add(10 * time.Second)) {
		t.Errorf("next %v", next)
	}
	now := epoch.Add(10 * time.Second)
	tab.Expire(now)
	if got := tab.Offers(now, router); len(got) != 1 || got[0].Address != b {
		t.Errorf("after its lifetime: %v", got)
	}
	for i := range missedAdvertisements {
		if got := tab.Offers(now, router); len(got) != 1 {
			t.Errorf("after %d advertisements without: %v", i, got)
		}
		now = now.Add(30 * time.Millisecond)
		for range 5 { // packets of one advertisement
			tab.Heard(now, router, nil)
		}
	}
	if got := tab.Offers(now, router); len(got) != 0 {
		t.Errorf("not forgotten: %v", got)
	}
	tab.Heard(now, router, []mip6.MobilityAnchorPoint{option(b, 1, 1)})
	tab.LinkGone(router.Link)
	if got := tab.Offers(now, router); len(got) != 0 {
		t.Errorf("on a link that is gone: %v", got)
	}
}

// What anybody can advertise is bounded.
func TestBounded(t *testing.T) {
	tab := table(nil)
	for i := range 1000 {
		s := router
		s.Ethernet = fmt.Sprint(i)
		var all []mip6.MobilityAnchorPoint
		for j := range 100 {
			b := a.As16()
			b[14], b[15] = byte(i), byte(j)
			all = append(all, option(netip.AddrFrom16(b), 1, 1))
		}
		tab.Heard(epoch.Add(time.Duration(i)), s, all)
		tab.Heard(epoch.Add(time.Duration(i)), s, all[50:])
		tab.Failed(epoch, all[0].Address, netip.Addr{})
		tab.Failed(epoch, all[0].Address, onLink)
	}
	if len(tab.sources) > maxSources || len(tab.failures) > maxFailures {
		t.Errorf("%d routers, %d failures", len(tab.sources), len(tab.failures))
	}
	for _, s := range tab.sources {
		if len(s.offers) > maxOffers {
			t.Errorf("%d anchors of a router", len(s.offers))
		}
	}
	if tab.find(Source{Link: 1, Router: router.Router, Ethernet: "999"}) == nil {
		t.Error("the last one found no room")
	}
}

// An anchor that has failed is left alone for a time that doubles; one that has refused a
// care-of address may serve another one.
func TestAvoided(t *testing.T) {
	tab := table(nil)
	now := epoch
	hear := func() { tab.Heard(now, router, []mip6.MobilityAnchorPoint{option(a, 1, 1)}) }
	selects := func(careOf netip.Addr) bool {
		q := ask(netip.Addr{})
		q.OnLink = careOf
		_, ok := tab.Select(now, q)
		return ok
	}
	for want := leastAvoidance; want < 4*mostAvoidance; want *= 2 {
		hear()
		tab.Failed(now, a, netip.Addr{})
		if end := now.Add(min(want, mostAvoidance)); !tab.Next().Equal(end) {
			t.Errorf("until %v, want %v", tab.Next(), end)
		}
		if selects(onLink) {
			t.Error("selected at once")
		}
		now = now.Add(min(want, mostAvoidance))
		tab.Expire(now)
		if hear(); !selects(onLink) {
			t.Error("not selected again")
		}
	}
	now = now.Add(mostAvoidance)
	tab.Expire(now)
	if len(tab.failures) != 0 {
		t.Error("never forgiven")
	}
	tab.Failed(now, a, onLink)
	if hear(); selects(onLink) || !selects(netip.MustParseAddr("2001:db8:2::42")) {
		t.Error("what was refused counts for other care-of addresses, or not for this one")
	}
	tab.Reconfigure(Config{Enabled: true, Insecure: true})
	if !selects(onLink) {
		t.Error("not forgiven by another configuration")
	}
}

// The key with the longest prefix counts; without one an anchor is used only where the
// configuration says so.
func TestKeys(t *testing.T) {
	wide, narrow := &mip6.SecurityAssociation{SPI: 1}, &mip6.SecurityAssociation{SPI: 2}
	x := Config{Enabled: true, Keys: []Key{{Anchors: netip.MustParsePrefix("2001:db8:a::/48"), SA: narrow, ESP: 400}, {Anchors: netip.MustParsePrefix("2001:db8:a::/36"), SA: wide}}}
	if k, ok := x.KeyOf(a); !ok || k.SA != narrow || k.ESP != 400 {
		t.Errorf("wrong key %+v", k)
	}
	if k, ok := x.KeyOf(netip.MustParseAddr("2001:db9::1")); ok {
		t.Errorf("key %+v of nobody", k)
	}
	tab := NewTable(x)
	tab.Heard(epoch, router, []mip6.MobilityAnchorPoint{option(netip.MustParseAddr("2001:db9::1"), 9, 9), option(a, 1, 1)})
	if got, _ := tab.Select(epoch, ask(netip.Addr{})); got.Address != a {
		t.Errorf("selected %v", got)
	}
	q := ask(netip.Addr{})
	q.Barred = func(x netip.Addr) bool { return x == a }
	if got, ok := tab.Select(epoch, q); ok {
		t.Errorf("selected %v", got)
	}
}

// RFC 5380 §6: the anchor's prefix, an identifier that is always the same, and another one
// for each home address, anchor, seed and attempt.
func TestAddress(t *testing.T) {
	home := netip.MustParseAddr("2001:db8:10::100")
	seen := map[netip.Addr]bool{}
	for _, x := range []netip.Addr{
		Address(a, home, 1, 0), Address(b, home, 1, 0), Address(a, home.Next(), 1, 0), Address(a, home, 2, 0), Address(a, home, 1, 1),
	} {
		if seen[x] || x.As16()[8]&2 != 0 {
			t.Errorf("%v twice, or of a vendor", x)
		}
		seen[x] = true
	}
	if x := Address(a, home, 1, 0); !seen[x] || !netip.PrefixFrom(a, 64).Masked().Contains(x) {
		t.Errorf("%v is not stable, or not under %v", x, a)
	}
	if Address(a.Next(), home, 1, 0) != Address(a, home, 1, 0) {
		t.Error("anchors of one prefix have different addresses: one could not take over from the other (§10)")
	}
}

func TestValidate(t *testing.T) {
	sa := &mip6.SecurityAssociation{SPI: 256}
	all := netip.MustParsePrefix("::/0")
	for _, x := range []struct {
		config Config
		ok     bool
	}{
		{Config{}, true},
		{Config{Enabled: true, Keys: []Key{{Anchors: all, SA: sa}, {Anchors: all, ESP: 256}, {Anchors: all, SA: sa, ESP: 256}}, Lifetime: time.Minute}, true},
		{Config{Selection: Nearest + 1}, false},
		{Config{Keys: []Key{{Anchors: all}}}, false},
		{Config{Keys: []Key{{Anchors: netip.MustParsePrefix("10.0.0.0/8"), SA: sa}}}, false},
		{Config{Keys: []Key{{SA: sa}}}, false},
		{Config{Lifetime: time.Second}, false},
		{Config{Lifetime: -1}, false},
	} {
		if err := x.config.Validate(); (err == nil) != x.ok {
			t.Errorf("%+v: %v", x.config, err)
		}
	}
}
