package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

var newPrefix = netip.MustParsePrefix("2001:db8:2::/64")

func solicitation(home, careOf netip.Addr, identifier uint16) mip6.ICMPPacket {
	return mip6.ICMPPacket{Source: careOf, Destination: agentAddr, HomeAddress: home, Message: mip6.PrefixSolicitation{Identifier: identifier}}
}

func (w *world) solicit(p mip6.ICMPPacket) []role.Action {
	w.t.Helper()
	return w.handle(role.ICMPReceived{Link: 9, Packet: p})
}

// advertisements picks the mobile prefix advertisements out of actions.
func advertisements(actions []role.Action) (list []mip6.ICMPPacket) {
	for _, action := range actions {
		if s, ok := action.(role.SendICMP); ok {
			list = append(list, s.Packet)
		}
	}
	return list
}

// bound is a world in which homeA is bound to careOf1 for as long as there is,
// and has got its first prefix information already.
func bound(t *testing.T, c Config) *world {
	t.Helper()
	c.MaxLifetime = 0
	w := newWorld(t, c)
	r := at(homeA, careOf1, 1)
	r.lifetime = mip6.MaxLifetime.Duration()
	w.registered(r)
	w.run(10 * time.Second)
	w.solicit(solicitation(homeA, careOf1, 1))
	w.run(10 * time.Second)
	return w
}

// RFC 6275 §6.8, §10.6.2, §10.6.3: a solicitation of a bound mobile is answered
// at once, at the source of the solicitation with a type 2 routing header, from
// the address it is registered at, with the identifier copied, M and O clear, and
// all prefixes with what remains of their lifetimes.
// Covers: H13.
func TestPrefixSolicitation(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	c.PrefixPreferredUntil, c.PrefixValidUntil = w.now.Add(time.Hour), w.now.Add(2*time.Hour)
	c.OtherPrefixes = []HomePrefix{
		{Prefix: newPrefix},
		{Prefix: netip.MustParsePrefix("2001:db8:3::/64"), PreferredUntil: w.now, ValidUntil: w.now.Add(time.Hour)},
		{Prefix: netip.MustParsePrefix("2001:db8:4::/64"), ValidUntil: w.now.Add(-time.Hour)},
	}
	w.apply(w.agent.Reconfigure(w.now, c))
	w.registered(at(homeA, careOf1, 1))
	w.run(9 * time.Second)
	actions := w.solicit(solicitation(homeA, careOf1, 4711))
	want := mip6.ICMPPacket{
		Source: agentAddr, Destination: careOf1, RouteHome: homeA,
		Message: mip6.PrefixAdvertisement{Identifier: 4711, Prefixes: []mip6.PrefixInformation{
			{Prefix: netip.PrefixFrom(agentAddr, 64), OnLink: true, Autonomous: true, RouterAddress: true,
				PreferredLifetime: time.Hour - 10*time.Second, ValidLifetime: 2*time.Hour - 10*time.Second},
			{Prefix: newPrefix, OnLink: true, Autonomous: true,
				PreferredLifetime: mip6.InfiniteLifetime, ValidLifetime: mip6.InfiniteLifetime},
			{Prefix: netip.MustParsePrefix("2001:db8:3::/64"), OnLink: true, Autonomous: true, ValidLifetime: time.Hour - 10*time.Second},
			{Prefix: netip.MustParsePrefix("2001:db8:4::/64"), OnLink: true, Autonomous: true},
		}},
	}
	got := advertisements(actions)
	if len(actions) != 1 || len(got) != 1 || got[0].Destination != want.Destination || got[0].RouteHome != homeA ||
		got[0].Source != want.Source || got[0].HomeAddress.IsValid() {
		t.Fatalf("%+v", actions)
	}
	ma, wa := got[0].Message.(mip6.PrefixAdvertisement), want.Message.(mip6.PrefixAdvertisement)
	if ma.Identifier != wa.Identifier || ma.Managed || ma.OtherConfig || !slices.Equal(ma.Prefixes, wa.Prefixes) {
		t.Errorf("got  %+v\nwant %+v", ma, wa)
	}
	// The same for people to see.
	list := w.agent.Prefixes(w.now)
	if len(list) != 4 || list[0].Bindings != 1 || list[0].Valid != 2*time.Hour-10*time.Second ||
		list[1].Preferred != mip6.InfiniteLifetime || list[2].Preferred != 0 || list[3].Valid != 0 {
		t.Errorf("%+v", list)
	}
}

// RFC 6275 §6.8: never more than one a second to a mobile, whatever is asked; the
// newest solicitation is answered when the second is over.
// Covers: H13, Attack: discovery floods.
func TestSolicitationFlood(t *testing.T) {
	w := bound(t, testConfig())
	sent, last := 0, time.Time{}
	var identifier uint16
	for i := range 5000 {
		w.now = w.now.Add(time.Millisecond)
		actions := append(w.handle(role.Timeout{}), w.solicit(solicitation(homeA, careOf1, uint16(i)))...)
		for _, p := range advertisements(actions) {
			if !last.IsZero() && w.now.Sub(last) < time.Second {
				t.Fatalf("two in %v", w.now.Sub(last))
			}
			sent, last = sent+1, w.now
			identifier = p.Message.(mip6.PrefixAdvertisement).Identifier
		}
	}
	if sent != 5 {
		t.Errorf("%d answers in five seconds", sent)
	}
	got := advertisements(w.run(10 * time.Second))
	if len(got) != 1 || got[0].Message.(mip6.PrefixAdvertisement).Identifier != 4999 || identifier >= 4999 {
		t.Errorf("afterwards %+v", got)
	}
}

// Solicitations that are not answered with prefixes: without a binding at this
// care-of address with a Binding Error, RFC 6275 §9.3.1, at a limited rate.
// Covers: H13, A4, Attack: reflection.
func TestSolicitationDrops(t *testing.T) {
	const bindingError = "binding error to 2001:db8:f2::1"
	for _, tt := range []struct {
		name string
		p    mip6.ICMPPacket
		want []string
	}{
		{"not our address", mip6.ICMPPacket{Source: careOf1, Destination: homeA, HomeAddress: homeA, Message: mip6.PrefixSolicitation{}}, []string{"drop not_for_us"}},
		{"with a routing header", mip6.ICMPPacket{Source: careOf1, Destination: agentAddr, HomeAddress: homeA, RouteHome: homeA, Message: mip6.PrefixSolicitation{}}, []string{"drop not_for_us"}},
		{"without Home Address option", mip6.ICMPPacket{Source: homeA, Destination: agentAddr, Message: mip6.PrefixSolicitation{}}, []string{"drop home_address_option"}},
		{"of nobody", solicitation(netip.MustParseAddr("2001:db8:1::99"), careOf1, 1), []string{"drop unknown_mobile"}},
		{"from another address", solicitation(homeA, careOf2, 1), []string{"drop unauthenticated", bindingError}},
		{"without a binding", solicitation(homeB, careOf2, 1), []string{"drop unauthenticated", bindingError}},
		{"from a multicast address", solicitation(homeB, netip.MustParseAddr("ff02::1"), 1), []string{"drop unauthenticated"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := bound(t, testConfig())
			actions := w.solicit(tt.p)
			wantKinds(t, actions, tt.want...)
			if len(tt.want) == 2 {
				e := actions[1].(role.Send).Packet.Message.(mip6.BindingError)
				if e.Status != mip6.BindingErrorUnknownBinding || e.Home != tt.p.HomeAddress {
					t.Errorf("%+v", e)
				}
			}
			errors := 0
			for range 1000 {
				errors += len(w.solicit(tt.p)) - 1
			}
			if errors > failures.Burst {
				t.Errorf("%d binding errors", errors)
			}
		})
	}
	many := manyMobiles(200)
	w, errors := newWorld(t, many), 0
	for _, m := range many.Mobiles {
		errors += len(w.solicit(solicitation(m.HomeAddress, careOf1, 1))) - 1
	}
	if errors != allFailures.Burst {
		t.Errorf("%d binding errors to many, want %d", errors, allFailures.Burst)
	}
	c := testConfig()
	c.NoPrefixAdvertisements = true // RFC 6275 §8.4: must be configurable
	w = newWorld(t, c)
	w.registered(at(homeA, careOf1, 1))
	wantKinds(t, w.solicit(solicitation(homeA, careOf1, 1)), "drop prohibited")
}

// RFC 6275 §10.6.2: after a change of the prefixes, an advertisement at the
// care-of address after a random delay, repeated after 3, 6 and 12 s until a
// solicitation acknowledges it.
// Covers: H13.
func TestUnsolicitedAdvertisements(t *testing.T) {
	for _, acknowledged := range []int{0, 1, 2, 4} { // after so many; 0: never
		c := testConfig()
		w := bound(t, c)
		c.MaxLifetime = 0
		c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}}
		w.apply(w.agent.Reconfigure(w.now, c))
		changed := w.now
		var sent []time.Duration
		for w.agent.Next().Before(changed.Add(23 * time.Hour)) {
			got := advertisements(w.run(w.agent.Next().Sub(w.now)))
			for _, p := range got {
				ma := p.Message.(mip6.PrefixAdvertisement)
				if p.Destination != careOf1 || p.RouteHome != homeA || ma.Identifier != 0 || len(ma.Prefixes) != 2 {
					t.Errorf("%+v", p)
				}
				sent = append(sent, w.now.Sub(changed)/time.Second)
			}
			if len(got) > 0 && len(sent) == acknowledged {
				w.now = w.now.Add(2 * time.Second) // round trips
				if got := advertisements(w.solicit(solicitation(homeA, careOf1, 9))); len(got) != 1 {
					t.Errorf("%d answers", len(got))
				}
			}
		}
		want := []time.Duration{600, 603, 609, 621} // without randomness, MinMobPfxAdvInterval
		if acknowledged > 0 {
			want = want[:acknowledged]
		}
		if !slices.Equal(sent, want) {
			t.Errorf("acknowledged after %d: sent after %v s, want %v", acknowledged, sent, want)
		}
	}
}

// RFC 6275 §10.6.2: the delays are random between MinMobPfxAdvInterval and
// MaxMobPfxAdvInterval or the preferred lifetime; where the prefix ends sooner
// the mobile hears of it in time.
// Covers: H13.
func TestAdvertisementDelay(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		preferred, valid       time.Duration // zero: no end
		atLeast, atMost, apart time.Duration
	}{
		{"infinite", 0, 0, 10 * time.Minute, 24 * time.Hour, 20 * time.Hour},
		{"preferred lifetime", 2 * time.Hour, 0, 10 * time.Minute, 2 * time.Hour, time.Hour},
		{"deprecated", time.Nanosecond, 24 * time.Hour, 10 * time.Minute, 20 * time.Minute, 8 * time.Minute},
		{"ends soon", time.Minute, 10 * time.Minute, 0, 5 * time.Minute, 4 * time.Minute},
		{"has ended", time.Nanosecond, time.Nanosecond, 0, 0, 0},
	} {
		c := testConfig()
		c.Random = testRandom(3)
		w := newWorld(t, c)
		w.now = w.now.Add(time.Second)
		if tt.preferred != 0 {
			c.PrefixPreferredUntil = w.now.Add(tt.preferred)
		}
		if tt.valid != 0 {
			c.PrefixValidUntil = w.now.Add(tt.valid)
		}
		w.apply(w.agent.Reconfigure(w.now, c))
		least, most := time.Duration(1<<62), time.Duration(0)
		for range 1000 {
			d := w.agent.advertisementDelay(w.agent.homes[homeA])
			least, most = min(least, d), max(most, d)
		}
		if least < tt.atLeast || most > tt.atMost || most-least < tt.apart {
			t.Errorf("%s: delays between %v and %v", tt.name, least, most)
		}
	}
}

// RFC 6275 §10.6.2: whatever changes the prefixes other than time is told, once
// (and three times repeated) for what comes together; nothing is told when nothing has changed.
// Covers: H13.
func TestWhatIsDelivered(t *testing.T) {
	later := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		change func(*Config)
		sent   int
	}{
		{"nothing", func(*Config) {}, 0},
		{"other things", func(c *Config) { c.Preference, c.MobileRouters = 5, true }, 0},
		{"preferred lifetime", func(c *Config) { c.PrefixPreferredUntil = later }, 4},
		{"valid lifetime", func(c *Config) { c.PrefixValidUntil = later }, 4},
		{"added prefix", func(c *Config) { c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}} }, 4},
		{"switched off", func(c *Config) {
			c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}}
			c.NoPrefixAdvertisements = true
		}, 0},
	} {
		c := testConfig()
		w := bound(t, c)
		c.MaxLifetime = 0
		tt.change(&c)
		w.apply(w.agent.Reconfigure(w.now, c))
		w.run(time.Minute)
		w.apply(w.agent.Reconfigure(w.now, c))
		if got := advertisements(w.run(601 * time.Second)); len(got) != tt.sent {
			t.Errorf("%s: %d advertisements, want %d", tt.name, len(got), tt.sent)
		}
	}
	// Switched off while one is scheduled.
	c := testConfig()
	w := bound(t, c)
	c.MaxLifetime, c.OtherPrefixes = 0, []HomePrefix{{Prefix: newPrefix}}
	w.apply(w.agent.Reconfigure(w.now, c))
	c.NoPrefixAdvertisements = true
	w.apply(w.agent.Reconfigure(w.now, c))
	if got := advertisements(w.run(24 * time.Hour)); len(got) != 0 {
		t.Errorf("%d advertisements although they are switched off", len(got))
	}
}

// RFC 6275 §10.6.2: another change while the first is not acknowledged is told in
// place of it, with everything in it, and as often.
// Covers: H13.
func TestCombinedChanges(t *testing.T) {
	c := testConfig()
	w := bound(t, c)
	c.MaxLifetime, c.OtherPrefixes = 0, []HomePrefix{{Prefix: newPrefix}}
	w.apply(w.agent.Reconfigure(w.now, c))
	if got := advertisements(w.run(604 * time.Second)); len(got) != 2 {
		t.Fatalf("%d advertisements", len(got))
	}
	c.OtherPrefixes = append(c.OtherPrefixes, HomePrefix{Prefix: netip.MustParsePrefix("2001:db8:3::/64")})
	w.apply(w.agent.Reconfigure(w.now, c))
	got := advertisements(w.run(20 * time.Minute))
	if len(got) != 4 {
		t.Errorf("%d advertisements of the second change, want 4", len(got))
	}
	for _, p := range got {
		if n := len(p.Message.(mip6.PrefixAdvertisement).Prefixes); n != 3 {
			t.Errorf("%d prefixes", n)
		}
	}
	// A third one, after the second was given up.
	c.OtherPrefixes = c.OtherPrefixes[:1]
	w.apply(w.agent.Reconfigure(w.now, c))
	if got := advertisements(w.run(20 * time.Minute)); len(got) != 4 {
		t.Errorf("%d advertisements of the third change, want 4", len(got))
	}
}

// RFC 6275 §10.6.2: an update begins what was given up anew, but neither at once
// nor when the mobile has answered since.
// Covers: H13.
func TestUpdateAfterSilence(t *testing.T) {
	for _, tt := range []struct {
		name         string
		acknowledged bool
		wait         time.Duration // from giving up to the update
		sent         int
	}{
		{"silent", false, 11 * time.Minute, 4},
		{"soon", false, time.Minute, 0},
		{"acknowledged", true, 11 * time.Minute, 0},
	} {
		c := testConfig()
		w := bound(t, c)
		c.MaxLifetime, c.OtherPrefixes = 0, []HomePrefix{{Prefix: newPrefix}}
		w.apply(w.agent.Reconfigure(w.now, c))
		if got := advertisements(w.run(640 * time.Second)); len(got) != 4 {
			t.Fatalf("%d advertisements", len(got))
		}
		if tt.acknowledged {
			w.solicit(solicitation(homeA, careOf1, 1))
		}
		w.run(tt.wait)
		r := at(homeA, careOf2, 2)
		r.lifetime = mip6.MaxLifetime.Duration()
		w.send(r)
		got := advertisements(w.run(time.Minute))
		if len(got) != tt.sent {
			t.Errorf("%s: %d advertisements, want %d", tt.name, len(got), tt.sent)
		}
		for _, p := range got {
			if p.Destination != careOf2 {
				t.Errorf("%s: to %v", tt.name, p.Destination)
			}
		}
	}
}

// A solicitation that waits for its second when the binding ends is not answered
// by what is sent in the next binding.
// Covers: H13.
func TestSolicitationEndsWithBinding(t *testing.T) {
	c := testConfig()
	c.MinMobPfxAdvInterval = 20 * time.Second
	w := newWorld(t, c)
	w.registered(at(homeA, careOf1, 1))
	w.run(59500 * time.Millisecond)
	w.solicit(solicitation(homeA, careOf1, 5))
	w.solicit(solicitation(homeA, careOf1, 6))
	w.run(10 * time.Second)
	c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}}
	w.registered(at(homeA, careOf1, 2))
	w.apply(w.agent.Reconfigure(w.now, c))
	got := advertisements(w.run(59 * time.Second))
	if len(got) != 4 || got[0].Message.(mip6.PrefixAdvertisement).Identifier != 0 {
		t.Errorf("%+v", got)
	}
}

// RFC 6275 §10.6.2: information that is older than MaxMobPfxAdvInterval is sent
// again, also to a mobile that never asks.
// Covers: H13.
func TestOldInformation(t *testing.T) {
	c := testConfig()
	c.MaxLifetime = 0
	w := newWorld(t, c)
	r := at(homeA, careOf1, 1)
	r.lifetime = mip6.MaxLifetime.Duration()
	w.registered(r)
	first := advertisements(w.run(11 * time.Minute))
	if len(first) != 4 {
		t.Fatalf("%d advertisements after the registration, want one and three repetitions", len(first))
	}
	if got := advertisements(w.run(23 * time.Hour)); len(got) != 0 {
		t.Errorf("%d before a day is over", len(got))
	}
	if got := advertisements(w.run(2 * time.Hour)); len(got) != 4 {
		t.Errorf("%d on the next day", len(got))
	}
}

// RFC 6275 §10.6.2: nothing is sent without a binding; a mobile that has not
// acknowledged and registers again, without having been home, is told again.
// Covers: H13.
func TestDeliveryEndsWithBinding(t *testing.T) {
	for _, home := range []bool{false, true} {
		c := testConfig()
		w := newWorld(t, c)
		w.registered(at(homeA, careOf1, 1))
		c.MinMobPfxAdvInterval = 30 * time.Second
		c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}}
		w.apply(w.agent.Reconfigure(w.now, c))
		if got := advertisements(w.run(32 * time.Second)); len(got) != 1 {
			t.Fatalf("%d advertisements", len(got))
		}
		if home {
			w.send(request{home: homeA, atHome: true, sequence: 2, flags: flagsMR})
		} else {
			w.now = w.now.Add(time.Minute) // and the binding expires
		}
		if got := advertisements(w.run(time.Minute)); len(got) != 0 {
			t.Errorf("home=%t: %d without a binding", home, len(got))
		}
		w.registered(at(homeA, careOf2, 3))
		got := advertisements(w.run(20 * time.Second))
		if want := map[bool]int{false: 3, true: 0}[home]; len(got) != want {
			t.Errorf("home=%t: %d after the next registration, want %d", home, len(got), want)
		}
	}
}
