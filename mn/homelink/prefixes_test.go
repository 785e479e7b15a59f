package homelink

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// away is a mobile that has registered with A from careOf1; the solicitation is
// returned.
func away(t *testing.T, change func(*Config)) (*bench, mip6.ICMPPacket) {
	t.Helper()
	b := newBench(t, change)
	b.attach(careOf1)
	b.registered(time.Hour)
	return b, b.one()
}

// RFC 6275 §11.4.2, §6.7: the solicitation after the first registration with an
// agent, from the care-of address with a Home Address option.
//
// Covers: M11.
func TestSolicitation(t *testing.T) {
	b, s := away(t, nil)
	if s.Source != careOf1 || s.Destination != agentA || s.HomeAddress != homeAddress || s.RouteHome.IsValid() {
		t.Errorf("solicitation %+v", s)
	}
	b.receive(advertisement(s, info("2001:db8:10::/64", 24*time.Hour, 4*time.Hour)))
	b.registered(time.Hour)
	b.attach(careOf2)
	b.registered(time.Hour)
	if n := len(b.icmp()); n != 0 {
		t.Errorf("%d solicitations for a refresh and a move", n)
	}
	b.failed(Unanswered)
	b.registered(time.Hour)
	if again := b.one(); again.Destination != agentB || again.Message == s.Message {
		t.Errorf("solicitation to the next agent: %+v", again)
	}
}

// Nothing is solicited before the registration, after it, or at home.
func TestSolicitsOnlyWhileRegistered(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	b.did = b.link.PrefixesDue(b.now)
	b.pass(time.Minute)
	if n := len(b.icmp()); n != 0 {
		t.Errorf("%d before", n)
	}
	b.registered(4 * time.Second)
	b.one()
	b.attach(careOf2) // the home agent does not know it yet
	b.pass(time.Hour)
	if n := len(b.icmp()); n != 0 {
		t.Errorf("%d without a registration", n)
	}
	b.registered(time.Hour)
	if s := b.one(); s.Source != careOf2 {
		t.Errorf("from %v", s.Source)
	}
	b.did = b.link.Attach(b.now, homeAddress, 1, true)
	b.did = b.link.Registered(b.now, homeAddress, time.Time{})
	b.pass(time.Hour)
	if n := len(b.icmp()); n != 0 {
		t.Errorf("%d at home", n)
	}
}

// RFC 6275 §11.8, §12: retransmitted after 3 s and doubling up to 32 s; then a
// pause that grows.
//
// Covers: M11.
func TestSolicitationBackOff(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	b.registered(1000 * time.Hour)
	start, first := b.now, b.one()
	var at []time.Duration
	for len(at) < 12 {
		b.pass(b.link.Next().Sub(b.now))
		for _, s := range b.icmp() {
			at = append(at, b.now.Sub(start))
			if len(at) <= 4 && s.Packet.Message != first.Message {
				t.Error("a retransmission has another identifier")
			}
		}
	}
	want := []time.Duration{3, 9, 21, 45, 77 + 600, 77 + 603}
	for i := range want {
		if at[i] != want[i]*time.Second {
			t.Errorf("sent at %v, want %v s", at[:len(want)], want)
			break
		}
	}
	// The home agent seems not to do prefix discovery: moves change nothing.
	sent := 0
	for i := range 100 {
		b.attach([]netip.Addr{careOf2, careOf1}[i%2])
		b.registered(1000 * time.Hour)
		sent += len(b.icmp())
		b.pass(time.Second)
		sent += len(b.icmp())
	}
	if sent > 8 {
		t.Errorf("%d solicitations in 100 moves", sent)
	}
}

// RFC 6275 §11.7.3: status 1 is a reason to solicit.
func TestPrefixesDue(t *testing.T) {
	b, s := away(t, nil)
	b.receive(advertisement(s, info("2001:db8:10::/64", 24*time.Hour, 4*time.Hour)))
	b.did = b.link.PrefixesDue(b.now)
	b.one()
}

// RFC 6275 §11.4.3: the tests that an advertisement has to pass.
//
// Covers: M11, Attack: forged answers.
func TestAdvertisements(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name     string
		change   func(p *mip6.ICMPPacket, m *mip6.PrefixAdvertisement)
		drop     role.DropReason
		accepted bool
	}{
		{"accepted", func(*mip6.ICMPPacket, *mip6.PrefixAdvertisement) {}, 0, true},
		{"to where we were", func(p *mip6.ICMPPacket, _ *mip6.PrefixAdvertisement) { p.Destination = careOf2 }, 0, true},
		{"identifier", func(_ *mip6.ICMPPacket, m *mip6.PrefixAdvertisement) { m.Identifier++ }, role.DropUnsolicited, false},
		{"another source", func(p *mip6.ICMPPacket, _ *mip6.PrefixAdvertisement) { p.Source = agentB }, role.DropUnexpected, false},
		{"no routing header", func(p *mip6.ICMPPacket, _ *mip6.PrefixAdvertisement) { p.RouteHome = netip.Addr{} }, 0, false},
		{"no routing header, through the tunnel", func(p *mip6.ICMPPacket, _ *mip6.PrefixAdvertisement) {
			p.RouteHome, p.Destination = netip.Addr{}, homeAddress
		}, role.DropUnexpected, false},
		{"routing header of another", func(p *mip6.ICMPPacket, _ *mip6.PrefixAdvertisement) { p.RouteHome = agentC }, 0, false},
		{"home address option", func(p *mip6.ICMPPacket, _ *mip6.PrefixAdvertisement) { p.HomeAddress = agentC }, role.DropUnexpected, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, s := away(t, nil)
			p := advertisement(s, info("2001:db8:10::/64", day, 4*time.Hour))
			m := p.Message.(mip6.PrefixAdvertisement)
			test.change(&p, &m)
			p.Message = m
			b.receive(p)
			if got := b.dropped(); got != test.drop {
				t.Errorf("dropped as %v, want %v", got, test.drop)
			}
			want := time.Time{}
			if test.accepted {
				want = b.now.Add(day)
			}
			if got := b.link.HomePrefixValidUntil(); got != want {
				t.Errorf("home prefix valid until %v, want %v", got, want)
			}
		})
	}
}

// RFC 6275 §11.4.3: an unsolicited advertisement is discarded and makes us
// solicit, which acknowledges it; not more often than a forger should be able to
// make us.
//
// Covers: M11, Attack: forged answers.
func TestUnsolicited(t *testing.T) {
	b, s := away(t, nil)
	first := advertisement(s, info("2001:db8:10::/64", 24*time.Hour, 4*time.Hour))
	b.receive(first)
	b.pass(time.Minute)

	b.receive(first) // a copy of what was answered is no news
	if b.dropped() != role.DropUnsolicited || len(b.icmp()) != 0 {
		t.Errorf("copy: %v", b.did)
	}
	news := advertisement(s, info("2001:db8:10::/64", 30*24*time.Hour, time.Hour), info("2001:db8:99::/64", time.Hour, time.Hour))
	m := news.Message.(mip6.PrefixAdvertisement)
	m.Identifier ^= 0x5555
	news.Message, news.Destination = m, homeAddress // through the tunnel
	until := b.link.HomePrefixValidUntil()
	b.receive(news)
	if b.dropped() != role.DropUnsolicited || b.link.HomePrefixValidUntil() != until || len(b.formed()) != 0 {
		t.Errorf("an unsolicited one was believed: %v", b.did)
	}
	b.receive(advertisement(b.one(), m.Prefixes...))
	if len(b.formed()) != 1 {
		t.Errorf("the solicited one was not: %v", b.did)
	}

	sent := 0
	for i := range 10000 {
		m.Identifier = uint16(i * 7)
		news.Message = m
		b.receive(news)
		sent += len(b.icmp())
		b.pass(10 * time.Millisecond)
		sent += len(b.icmp())
	}
	if sent > 14 {
		t.Errorf("%d solicitations in 100 s of forged advertisements", sent)
	}
}

// RFC 6275 §11.4.3: before any registration and with no agent nothing is
// accepted.
func TestNoAdvertiser(t *testing.T) {
	b := newBench(t, discovering)
	b.attach(careOf1)
	b.receive(mip6.ICMPPacket{Source: agentA, Destination: careOf1, RouteHome: homeAddress, Message: mip6.PrefixAdvertisement{}})
	if b.dropped() != role.DropUnexpected {
		t.Error(b.did)
	}
}

// RFC 6275 §10.6, §11.4.3: a home address is formed under a new prefix of the
// home link, with the same interface identifier, once.
//
// Covers: M11.
func TestRenumbering(t *testing.T) {
	const hour = time.Hour
	home := info("2001:db8:10::/64", 24*hour, 4*hour)
	manual := info("2001:db8:99::/64", 2*hour, hour)
	manual.Autonomous = false
	for _, test := range []struct {
		name     string
		prefixes []mip6.PrefixInformation
		want     string
	}{
		{"a new one", []mip6.PrefixInformation{home, info("2001:db8:99::/64", 2*hour, hour)}, "2001:db8:99::100/64"},
		{"with a router's address", []mip6.PrefixInformation{info("2001:db8:99::1/64", 2*hour, hour)}, "2001:db8:99::100/64"},
		{"the home prefix", []mip6.PrefixInformation{home}, ""},
		{"deprecated", []mip6.PrefixInformation{info("2001:db8:99::/64", 2*hour, 0)}, ""},
		{"not valid", []mip6.PrefixInformation{info("2001:db8:99::/64", 0, 0)}, ""},
		{"not autonomous", []mip6.PrefixInformation{manual}, ""},
		{"not /64", []mip6.PrefixInformation{info("2001:db8:99::/56", 2*hour, hour)}, ""},
		{"preferred longer than valid", []mip6.PrefixInformation{info("2001:db8:99::/64", hour, 2*hour)}, ""},
		{"link-local", []mip6.PrefixInformation{info("fe80::/64", 2*hour, hour)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, s := away(t, nil)
			b.receive(advertisement(s, test.prefixes...))
			formed := b.formed()
			if test.want == "" {
				if len(formed) != 0 {
					t.Errorf("formed %+v", formed)
				}
				return
			}
			want := []role.HomeAddressFormed{{From: homeAddress, To: netip.MustParsePrefix(test.want), Valid: 2 * hour}}
			if !slices.Equal(formed, want) {
				t.Fatalf("formed %+v, want %+v", formed, want)
			}
			ask := func() mip6.ICMPPacket {
				b.pass(time.Minute)
				b.did = b.link.PrefixesDue(b.now)
				return b.one()
			}
			b.receive(advertisement(ask(), test.prefixes...))
			if len(b.formed()) != 0 {
				t.Error("formed again")
			}
			gone := slices.Clone(test.prefixes)
			gone[len(gone)-1].PreferredLifetime = 0
			b.receive(advertisement(ask(), gone...))
			b.receive(advertisement(ask(), test.prefixes...))
			if len(b.formed()) != 1 {
				t.Error("not formed when it came back")
			}
		})
	}
	t.Run("many", func(t *testing.T) {
		b, s := away(t, nil)
		var prefixes []mip6.PrefixInformation
		for i := range 40 {
			a := netip.MustParseAddr("2001:db8:99::").As16()
			a[7] = byte(i)
			p := info("2001:db8:99::/64", 2*hour, hour)
			p.Prefix = netip.PrefixFrom(netip.AddrFrom16(a), 64)
			prefixes = append(prefixes, p)
		}
		b.receive(advertisement(s, append(prefixes, home)...))
		if n := len(b.formed()); n != maxPrefixes {
			t.Errorf("%d formed", n)
		}
		if !b.link.HomePrefixValidUntil().Equal(b.now.Add(24 * hour)) {
			t.Error("the home prefix found no place")
		}
	})
}

// RFC 6275 §11.4.2: the lifetime of the home prefix limits bindings, and we ask
// again before it ends. It is deprecated, it expires, and it may come back.
//
// Covers: M2, M11.
func TestHomePrefixLifetime(t *testing.T) {
	b := newBench(t, nil)
	b.attach(careOf1)
	if !b.link.HomePrefixValidUntil().IsZero() {
		t.Error("known from nowhere")
	}
	b.registered(1000 * time.Hour)
	b.receive(advertisement(b.one(), info("2001:db8:10::/64", 10*time.Hour, 4*time.Hour)))
	heard := b.now
	var asked []time.Duration
	for b.now.Sub(heard) < 12*time.Hour {
		b.pass(b.link.Next().Sub(b.now))
		for range b.icmp() {
			asked = append(asked, b.now.Sub(heard))
		}
		snapshot := b.link.Snapshot(b.now).Prefixes[0]
		if preferred := b.now.Sub(heard) < 4*time.Hour; preferred != (snapshot.Preferred > 0) {
			t.Fatalf("preferred for %v after %v", snapshot.Preferred, b.now.Sub(heard))
		}
	}
	if len(asked) == 0 || asked[0] < 150*time.Minute || asked[0] > 180*time.Minute {
		t.Errorf("asked at %v, want at about three quarters of the preferred lifetime", asked)
	}
	if got := b.link.HomePrefixValidUntil(); got != heard.Add(10*time.Hour) {
		t.Errorf("valid until %v, want %v", got, heard.Add(10*time.Hour))
	}
	s := b.link.Snapshot(b.now).Prefixes
	if len(s) != 1 || !s[0].Home || s[0].Valid != 0 {
		t.Errorf("prefixes %+v", s)
	}
	var p mip6.ICMPPacket
	for p.Message == nil {
		b.pass(time.Minute)
		if sent := b.icmp(); len(sent) > 0 {
			p = sent[0].Packet
		}
	}
	b.receive(advertisement(p, info("2001:db8:10::/64", mip6.InfiniteLifetime, mip6.InfiniteLifetime)))
	if !b.link.HomePrefixValidUntil().IsZero() {
		t.Error("an infinite lifetime is a limit")
	}
}

// RFC 4862 §5.5.3 e: an advertisement does not shorten the lifetime below two
// hours, since it may be forged.
//
// Covers: M11.
func TestTwoHours(t *testing.T) {
	b, s := away(t, nil)
	b.receive(advertisement(s, info("2001:db8:10::/64", 24*time.Hour, 4*time.Hour)))
	b.pass(time.Minute)
	b.did = b.link.PrefixesDue(b.now)
	b.receive(advertisement(b.one(), info("2001:db8:10::/64", time.Minute, time.Minute)))
	if got := b.link.HomePrefixValidUntil().Sub(b.now); got != 2*time.Hour {
		t.Errorf("valid for %v", got)
	}
}

// At home the lifetime comes from the advertisements of the link; addresses are
// not formed from them.
func TestPrefixHeardAtHome(t *testing.T) {
	b := newBench(t, nil)
	b.did = b.link.Attach(b.now, homeAddress, 1, true)
	e := homeRA(1, router, agentA, nil)
	e.RA.Prefixes = append(e.RA.Prefixes, info("2001:db8:99::/64", time.Hour, time.Hour))
	b.handle(e)
	if got := b.link.HomePrefixValidUntil().Sub(b.now); got != 24*time.Hour || len(b.formed()) != 0 {
		t.Errorf("valid for %v, formed %v", got, b.formed())
	}
}
