package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// describe writes what is remembered, one prefix a line.
func (x *numbering) describe(now time.Time) string {
	var lines []string
	for _, n := range x.list {
		state := "deprecated"
		switch {
		case n.given:
			state = "given"
		case !n.after.IsZero():
			state = "waiting"
		}
		life := " for ever"
		switch {
		case !n.after.IsZero():
			life = ""
		case !n.validUntil.IsZero():
			life = " " + n.validUntil.Sub(now).String()
		}
		lines = append(lines, fmt.Sprintf("%s %v %s%s", n.link, n.prefix, state, life))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// anywhere takes every interface.
func anywhere(string) bool { return true }

// A prefix is advertised as long as it is given, and as deprecated when it is taken
// back, for no longer than two hours (RFC 4862 §5.5.3 e); what an earlier life had
// waits to be given again, and is deprecated when another one is given or nobody
// comes (RFC 9096 §3.4).
func TestNumbering(t *testing.T) {
	one, two := netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("2001:db8:2::/64")
	var x numbering
	router := new(recorder)
	give := func(link string, p netip.Prefix, valid time.Duration) func(time.Time) bool {
		return func(now time.Time) bool {
			return x.give(now, router, role.NumberDownstream{Interface: link, Prefix: p, Preferred: valid / 2, Valid: valid})
		}
	}
	saved := []byte(`[{"interface":"lan0","prefix":"2001:db8:1::/64"},{"interface":"lan1","prefix":"2001:db8:2::/64"},{"interface":"","prefix":"2001:db8:3::/64"}]`)
	for i, step := range []struct {
		what    string
		at      time.Duration
		do      func(now time.Time) bool
		changed bool
		want    string
	}{
		{"taken back and never given", 0, give("lan0", one, 0), false, ""},
		{"given", 0, give("lan0", one, 4*time.Hour), true, "lan0 2001:db8:1::/64 given 4h0m0s"},
		{"renewed", time.Hour, give("lan0", one, 4*time.Hour), true, "lan0 2001:db8:1::/64 given 4h0m0s"},
		{"another beside it", time.Hour, give("lan0", two, time.Hour), true, "lan0 2001:db8:1::/64 given 4h0m0s; lan0 2001:db8:2::/64 given 1h0m0s"},
		{"taken back", time.Hour, give("lan0", one, 0), true, "lan0 2001:db8:1::/64 deprecated 2h0m0s; lan0 2001:db8:2::/64 given 1h0m0s"},
		{"taken back again", 90 * time.Minute, give("lan0", one, 0), false, "lan0 2001:db8:1::/64 deprecated 1h30m0s; lan0 2001:db8:2::/64 given 30m0s"},
		{"expired", 2 * time.Hour, x.expire, true, "lan0 2001:db8:1::/64 deprecated 1h0m0s"},
		{"given again", 2 * time.Hour, give("lan0", one, mip6.InfiniteLifetime), true, "lan0 2001:db8:1::/64 given for ever"},
		{"the router ends", 2 * time.Hour, func(now time.Time) bool { return x.takeBack(now, router) }, true, "lan0 2001:db8:1::/64 deprecated 2h0m0s"},
		{"and again", 2 * time.Hour, func(now time.Time) bool { return x.takeBack(now, router) }, false, "lan0 2001:db8:1::/64 deprecated 2h0m0s"},
		{"nobody has it any more", 4 * time.Hour, x.expire, true, ""},
		{"another life", 5 * time.Hour, func(now time.Time) bool { return x.restore(now, saved, anywhere) == nil }, true,
			"lan0 2001:db8:1::/64 waiting; lan1 2001:db8:2::/64 waiting"},
		{"one comes back", 5 * time.Hour, give("lan0", one, time.Hour), true, "lan0 2001:db8:1::/64 given 1h0m0s; lan1 2001:db8:2::/64 waiting"},
		{"the other does not", 5*time.Hour + time.Minute, x.expire, true, "lan0 2001:db8:1::/64 given 59m0s; lan1 2001:db8:2::/64 deprecated 1h30m0s"},
	} {
		now := testNow.Add(step.at)
		if changed := step.do(now); changed != step.changed {
			t.Errorf("step %d, %s: changed %v", i, step.what, changed)
		}
		if got := x.describe(now); got != step.want {
			t.Errorf("step %d, %s: %q, want %q", i, step.what, got, step.want)
		}
	}
}

// What waits is neither advertised nor assigned, and makes way when another prefix
// is given to its interface.
func TestNumberingAfterRestart(t *testing.T) {
	one, two := netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("2001:db8:2::/64")
	var first, x numbering
	first.give(testNow, nil, role.NumberDownstream{Interface: "lan0", Prefix: one, Preferred: time.Hour, Valid: time.Hour})
	if err := x.restore(testNow, first.save(), anywhere); err != nil {
		t.Fatal(err)
	}
	if list := x.of("lan0"); len(list) != 0 {
		t.Errorf("advertised at once: %+v", list)
	}
	if next := x.next(); !next.Equal(testNow.Add(patienceForOld)) {
		t.Errorf("waits until %v", next)
	}
	x.give(testNow, nil, role.NumberDownstream{Interface: "lan0", Prefix: two, Preferred: time.Hour, Valid: time.Hour})
	if got, want := x.describe(testNow), "lan0 2001:db8:1::/64 deprecated 1h30m0s; lan0 2001:db8:2::/64 given 1h0m0s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := x.restore(testNow, []byte("{"), anywhere); err == nil {
		t.Error("what is torn is taken")
	}
	if len(new(numbering).save()) != 0 {
		t.Error("nothing is saved as something")
	}
}

// What comes from the network is bounded, and what is in use stays.
func TestNumberingBounded(t *testing.T) {
	var x numbering
	keep := netip.MustParsePrefix("2001:db8:ffff::/64")
	p := netip.MustParseAddr("2001:db8::").As16()
	for i := range 4 * maxNumbered {
		p[6], p[7] = byte(i>>8), byte(i)
		n := role.NumberDownstream{Interface: "lan0", Prefix: netip.PrefixFrom(netip.AddrFrom16(p), 64), Preferred: time.Hour, Valid: time.Hour}
		x.give(testNow, nil, n)
		n.Valid = 0
		x.give(testNow, nil, n)
		x.give(testNow, nil, role.NumberDownstream{Interface: "lan0", Prefix: keep, Preferred: time.Hour, Valid: time.Hour})
	}
	if len(x.list) > maxNumbered || x.find("lan0", keep) == nil {
		t.Errorf("%d are remembered", len(x.list))
	}
}

// What one router takes back is not another's that has it by now, as when the home
// link is renumbered.
func TestNumberingChangesHands(t *testing.T) {
	var x numbering
	p := netip.MustParsePrefix("2001:db8:1::/64")
	before, after := new(recorder), &recorder{drops: true}
	n := role.NumberDownstream{Interface: "lan0", Prefix: p, Preferred: time.Hour, Valid: time.Hour}
	x.give(testNow, before, n)
	x.give(testNow, after, n)
	n.Valid = 0
	if x.give(testNow, before, n) || x.takeBack(testNow, before) || !x.find("lan0", p).given {
		t.Errorf("taken back: %s", x.describe(testNow))
	}
	if !x.give(testNow, after, n) || x.find("lan0", p).given {
		t.Errorf("not taken back: %s", x.describe(testNow))
	}
}

// However often the access network changes its mind, what there is to advertise on
// an interface fits into an advertisement, with the newest prefix in it.
func TestNumberingFits(t *testing.T) {
	s, _ := bareShell(t, "")
	p := netip.MustParseAddr("2001:db8::").As16()
	var newest netip.Prefix
	for i := range 3 * maxNumbered {
		p[6], p[7] = byte(i>>8), byte(i)
		newest = netip.PrefixFrom(netip.AddrFrom16(p), 64)
		n := role.NumberDownstream{Interface: "lan0", Prefix: newest, Preferred: time.Hour, Valid: time.Hour}
		s.numbering.give(testNow, nil, n)
		a, _ := s.advertisementOn("lan0")
		if err := a.machineConfig(role.Link{Name: "lan0", Ethernet: [6]byte{2}}, s.networkUsable).Validate(); err != nil {
			t.Fatalf("after %d prefixes: %v", i, err)
		}
		if i%2 == 0 { // some are taken back, some forgotten by the server
			n.Valid = 0
			s.numbering.give(testNow, nil, n)
		}
	}
	if x := s.numbering.find("lan0", newest); x == nil || !x.given {
		t.Error("the newest is not there")
	}
	s.numbering.give(testNow, nil, role.NumberDownstream{Interface: "lan1", Prefix: newest, Preferred: time.Hour, Valid: time.Hour})
	if len(s.numbering.of("lan1")) != 1 {
		t.Error("another interface has no room")
	}
}

// A restart without the section that numbered an interface: its hosts are told where
// this node still advertises, and somebody else's advertisements are left alone.
func TestNumberingOfFormerSection(t *testing.T) {
	for _, advertises := range []bool{true, false} {
		text := ""
		if advertises {
			text = "config interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n"
		}
		s, _ := bareShell(t, text)
		s.advertised = advertisements(s.config)
		s.kept.save(keptDownstreams, []byte(`[{"interface":"lan0","prefix":"2001:db8:1::/64"},{"interface":"lan1","prefix":"2001:db8:2::/64"}]`))
		for !s.kept.has(keptDownstreams) {
			time.Sleep(time.Millisecond)
		}
		if err := s.restoreKept(); err != nil {
			t.Fatal(err)
		}
		want := ""
		if advertises {
			want = "lan0 2001:db8:1::/64 waiting"
		}
		if got := s.numbering.describe(testNow); got != want {
			t.Errorf("advertises %v: %q, want %q", advertises, got, want)
		}
		if s.renumberDue(); !advertises && s.kept.load(keptDownstreams, anything) != nil {
			t.Error("what is nobody's concern any more is kept")
		}
	}
}

// The advertiser counts the lifetimes down, and a link that has nothing but
// deprecated prefixes is no way to anywhere (RFC 7084 §4.3 L-13).
func TestNumberedAdvertisement(t *testing.T) {
	s, _ := bareShell(t, "")
	one, two := netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("2001:db8:2::/64")
	give := func(p netip.Prefix, valid time.Duration) {
		s.numbering.give(testNow, nil, role.NumberDownstream{Interface: "lan0", Prefix: p, Preferred: valid, Valid: valid})
	}
	if _, ok := s.advertisementOn("lan0"); ok {
		t.Error("advertised without anything")
	}
	give(one, 4*time.Hour)
	give(two, time.Hour)
	give(two, 0)
	a, ok := s.advertisementOn("lan0")
	c := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable)
	if !ok || c.Validate() != nil || len(c.Advertisement.Prefixes) != 2 || c.Advertisement.RouterLifetime == 0 {
		t.Fatalf("%+v, %v, %v", c, ok, c.Validate())
	}
	if p := c.Advertisement.Prefixes[0]; p.Prefix != one || !p.OnLink || !p.Autonomous || p.ValidLifetime != advertisedValid || p.PreferredLifetime != advertisedPreferred {
		t.Errorf("%+v", p)
	}
	if e := c.Expiring; len(e) != 2 || !e[0].Valid.Equal(testNow.Add(4*time.Hour)) || e[1].Preferred.After(testNow) || !e[1].Valid.Equal(testNow.Add(time.Hour)) {
		t.Errorf("ends %+v", e)
	}
	s.refused[netip.MustParsePrefix("2001:db8:1::/56")] = true // RFC 3963 §5.4.2, of the whole prefix
	if c := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable); len(c.Advertisement.Prefixes) != 1 {
		t.Errorf("refused, and advertised: %+v", c.Advertisement.Prefixes)
	}
	clear(s.refused)
	give(one, 0)
	a, _ = s.advertisementOn("lan0")
	if c := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable); c.Advertisement.RouterLifetime != 0 || len(c.Advertisement.Prefixes) != 2 {
		t.Errorf("with deprecated prefixes only: %+v", c.Advertisement)
	}
}

// Whatever an earlier life is said to have left, what comes of it is bounded and
// can be saved and read again.
func FuzzNumberingRestore(f *testing.F) {
	f.Add([]byte(`[{"interface":"lan0","prefix":"2001:db8:1::/64"}]`))
	f.Add([]byte(`[{"interface":"lan0","prefix":"10.0.0.0/8"},{"interface":"lan0"},null]`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, saved []byte) {
		var x, y numbering
		if x.restore(testNow, saved, anywhere) != nil {
			return
		}
		if err := y.restore(testNow, x.save(), anywhere); err != nil || len(x.list) > maxNumbered || len(y.list) != len(x.list) {
			t.Errorf("%d, then %d prefixes, %v", len(x.list), len(y.list), err)
		}
		x.expire(testNow.Add(patienceForOld))
		if x.expire(testNow.Add(patienceForOld + advertisedValid)); len(x.list) != 0 {
			t.Errorf("%d are left", len(x.list))
		}
	})
}
