package cn

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// RFC 6275 §9.5.2: no longer than asked for, §5.2.6: no longer than
// MAX_RR_BINDING_LIFETIME; or less by configuration. Deleted when it ends (§9.6).
//
// Covers: C8.
func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		limit, asked, want time.Duration
	}{
		{0, time.Minute, time.Minute},
		{0, 420 * time.Second, 420 * time.Second},
		{0, 424 * time.Second, 420 * time.Second},
		{0, mip6.MaxLifetime.Duration(), 420 * time.Second},
		{time.Hour, time.Hour, 420 * time.Second},
		{30 * time.Second, time.Hour, 28 * time.Second},
		{30 * time.Second, 8 * time.Second, 8 * time.Second},
	} {
		c := testConfig()
		c.MaxLifetime = tt.limit
		w := newWorld(t, c)
		m := w.mobile(homeA, careOf1).test()
		if ba := m.registers(tt.asked).accepted(); ba.Lifetime.Duration() != tt.want {
			t.Errorf("limit %v, asked for %v: granted %v, want %v", tt.limit, tt.asked, ba.Lifetime, tt.want)
		}
		wantKinds(t, w.run(tt.want-1))
		m.wantRoute(careOf1)
		wantKinds(t, w.run(1), "deoptimise 2001:db8:1::a at 2001:db8:c::1")
		if s := w.node.Stats(); s.Expirations != 1 || s.Bindings != 0 {
			t.Errorf("%+v", s)
		}
		w.run(maxNonceLifetime)
		w.wantEmpty()
	}
}

// However late the timer is, nothing uses a binding beyond its lifetime.
//
// Covers: C8.
func TestLateTimer(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(time.Minute).accepted()
	w.now = w.now.Add(time.Minute)
	wantKinds(t, w.handle(role.TrafficSeen{Home: homeA, Peer: own, Side: overlay.CorrespondentSide}),
		"deoptimise 2001:db8:1::a at 2001:db8:c::1")
}

// The two ways to ask for a deletion, and what the authenticator covers:
// RFC 6275 §9.5.1, §9.5.3, §6.2.7, §5.2.5 (the home token alone).
//
// Covers: C5, C9, C10.
func TestDeletion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		adjust func(*request)
		answer string
	}{
		{"from the home address", func(*request) {}, "ack 0 to 2001:db8:1::a"},
		{"lifetime not zero", func(r *request) { r.lifetime = time.Minute }, "ack 0 to 2001:db8:1::a"},
		{"away", func(r *request) { r.source, r.home = careOf1, homeA }, "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a"},
		{"away, sealed over the care-of address", func(r *request) { r.source, r.home, r.sealed = careOf1, homeA, careOf1 },
			"ack 0 to 2001:db8:f1::1 route 2001:db8:1::a"},
		{"away, home address as the alternate care-of address", func(r *request) {
			r.source, r.home, r.alternate, r.lifetime = careOf1, homeA, homeA, time.Minute
		}, "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a"},
		{"care-of nonce that never was", func(r *request) { r.indices.CareOf = 1 }, "ack 0 to 2001:db8:1::a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			// Where there is nothing: answered, and no entry is made.
			d := m.deletes()
			tt.adjust(&d)
			d.accepted()
			w.wantEmpty()
			m.registers(time.Minute).accepted()
			d = m.deletes()
			tt.adjust(&d)
			wantKinds(t, d.send(), "deoptimise 2001:db8:1::a at 2001:db8:c::1", tt.answer)
			if s := w.node.Stats(); s.Deregistrations != 1 || s.Bindings != 0 || s.Deleted != 1 {
				t.Errorf("%+v", s)
			}
			// Its answer was lost: the mobile asks again.
			d = m.deletes()
			tt.adjust(&d)
			d.accepted()
			m.registers(time.Minute) // a number is skipped
			// Both tokens do not make a deletion.
			d = m.deletes()
			tt.adjust(&d)
			d.key = mip6.NewBindingKey(m.homeToken, m.careOfToken)
			d.ignored(role.DropBadAuthenticator)
			w.run(maxNonceLifetime)
			w.wantEmpty()
		})
	}
}

// A recorded update does not bring a binding back, whatever ended it, as long as
// its nonces are good, nor after that: RFC 6275 §5.2.8, §9.5.3, §15.4.4.
//
// Covers: C4, C9, Attack: replay, Attack: old nonces.
func TestReplay(t *testing.T) {
	for _, end := range []string{"expired", "moved", "deleted", "switched off and on"} {
		t.Run(end, func(t *testing.T) {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			first, old := m.registers(20*time.Second), m.deletes()
			old.sequence++
			second := m.registers(20 * time.Second)
			second.sequence = old.sequence + 1
			recorded := []mip6.Packet{first.packet(), old.packet(), second.packet()}
			for _, p := range recorded {
				w.receive(p)
			}
			m.sequence = second.sequence
			m.careOf = careOf2
			switch end {
			case "moved":
				m.testCareOf()
				m.registers(400 * time.Second).accepted()
			case "deleted":
				m.deletes().accepted()
			case "switched off and on":
				off := testConfig()
				off.Optimise = false
				w.apply(w.node.Reconfigure(w.now, off))
				w.apply(w.node.Reconfigure(w.now, testConfig()))
				w.mobile(homeB, careOf2).test()
			}
			var want netip.Addr
			for range 500 {
				switch {
				case end == "moved" && w.node.Stats().Bindings == 1:
					want = careOf2
				case w.node.Stats().Bindings == 1: // until it expires
					want = careOf1
				default:
					want = netip.Addr{}
				}
				for i, p := range recorded {
					for _, action := range kinds(w.receive(p)) {
						if action == "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a" {
							t.Fatalf("update %d was accepted again", i)
						}
					}
				}
				m.wantRoute(want)
				w.run(time.Second)
			}
			w.wantEmpty()
		})
	}
}

// RFC 6275 §9.5.3: after a deletion the same nonces are not good for the same
// addresses, even for the mobile itself; another test gives it others at once.
//
// Covers: C9, B6.
func TestNoncesAfterDeletion(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(time.Minute).accepted()
	before := m.indices
	m.deletes().accepted()
	m.registers(time.Minute).refused(mip6.StatusExpiredCareOfNonce)
	m.wantRoute(netip.Addr{})
	m.testCareOf()
	if m.indices.CareOf == before.CareOf {
		t.Fatal("the same nonce is handed out again")
	}
	m.registers(time.Minute).accepted()
	m.registers(time.Minute).accepted()
	m.wantRoute(careOf1)
	// One deletion, one new nonce.
	last := m.indices
	m.test()
	if m.indices.Home != last.CareOf || m.indices.CareOf != last.CareOf {
		t.Errorf("nonce indices %+v after %+v", m.indices, last)
	}
	// Others are not concerned, and a binding that just ended is not either.
	other := w.mobile(homeB, careOf2)
	other.test()
	other.registers(4 * time.Second).accepted()
	w.run(5 * time.Second)
	other.wantRoute(netip.Addr{})
	other.registers(time.Minute).accepted()
	// Another care-of address was tested by itself.
	m.deletes().accepted()
	m.careOf = careOf3
	m.testCareOf()
	m.registers(time.Minute).accepted()
}

// An entry is remembered no longer than its nonces, and not at all when they are
// too old already.
//
// Covers: C9, Attack: cache exhaustion.
func TestMemoryOfDeleted(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	start := w.now
	w.run(100 * time.Second)
	m.registers(420 * time.Second).accepted()
	w.run(50 * time.Second)
	m.deletes().accepted()
	if want := start.Add(maxNonceLifetime); !w.node.Next().Equal(want) {
		t.Errorf("remembered until %v, want %v", w.node.Next(), want)
	}
	w.run(90*time.Second - 1)
	if w.node.Stats().Deleted != 1 {
		t.Error("forgotten too early")
	}
	w.run(1)
	w.wantEmpty()
	// A deletion that needs a newer home nonce is remembered as long as that.
	m.test().registers(420 * time.Second).accepted()
	w.run(200 * time.Second)
	m.testHome()
	tested := w.now
	m.deletes().accepted()
	if want := tested.Add(maxNonceLifetime); !w.node.Next().Equal(want) {
		t.Errorf("remembered until %v, want %v", w.node.Next(), want)
	}
	w.run(maxNonceLifetime)
	// A deletion that is repeated with a newer home nonce.
	m.test().registers(420 * time.Second).accepted()
	m.deletes().accepted()
	w.run(200 * time.Second)
	m.testHome()
	tested = w.now
	m.deletes().accepted()
	if want := tested.Add(maxNonceLifetime); !w.node.Next().Equal(want) {
		t.Errorf("remembered until %v, want %v", w.node.Next(), want)
	}
	w.run(maxNonceLifetime)
	// One nonce that is too old makes the other one useless.
	m.testHome()
	tested = w.now
	w.run(100 * time.Second)
	m.testCareOf()
	m.registers(4 * time.Second).accepted()
	w.run(5 * time.Second)
	if want := tested.Add(maxNonceLifetime); !w.node.Next().Equal(want) {
		t.Errorf("remembered until %v, want %v", w.node.Next(), want)
	}
	w.run(maxNonceLifetime)
	w.wantEmpty()
	// Expired when its nonces are long gone.
	m.test().registers(420 * time.Second).accepted()
	w.run(420 * time.Second)
	w.wantEmpty()
}

// numbered is a mobile, another one for every number, each of a network of its
// own.
func (w *world) numbered(i int) *mobile {
	m := w.mobile(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::a", i)), netip.MustParseAddr(fmt.Sprintf("2001:db8:f:%x::1", i)))
	return m.test()
}

// RFC 6275 §9.5.2, §9.6: when there is no room a new binding is refused with 130,
// unless one is not used; those that are in use, and what must be remembered
// against replay (§5.2.8), stay.
//
// Covers: C10, Attack: cache exhaustion.
func TestQuota(t *testing.T) {
	c := testConfig()
	c.MaxBindings = 3
	w := newWorld(t, c)
	seen := func(m *mobile) {
		w.handle(role.TrafficSeen{Home: m.home, Peer: m.peer, Side: overlay.CorrespondentSide})
	}
	var m []*mobile
	for i := range 3 {
		m = append(m, w.numbered(i))
		m[i].registers(420 * time.Second).accepted()
	}
	late := w.numbered(3)
	r := late.registers(420 * time.Second)
	r.flags = 0 // RFC 6275 §9.5.4: answered all the same
	r.refused(mip6.StatusInsufficientResources)
	if len(w.logs) == 0 {
		t.Error("no word about it in the log")
	}
	// Known mobiles go on.
	m[0].registers(420 * time.Second).accepted()
	// Nobody uses the bindings, but their nonces are good.
	w.run(2 * idleAfter)
	late.registers(420 * time.Second).refused(mip6.StatusInsufficientResources)
	for i := range 3 {
		m[i].wantRoute(m[i].careOf)
	}
	// All nonces are too old after a while, but all bindings are in use.
	w.run(maxNonceLifetime)
	for _, i := range []int{0, 2, 1} {
		seen(m[i])
	}
	w.run(idleAfter - 1)
	late.test().registers(420 * time.Second).refused(mip6.StatusInsufficientResources)
	w.run(1)
	for _, i := range []int{2, 1} {
		seen(m[i])
	}
	w.run(1)
	ended := m[0].home
	wantKinds(t, late.test().registers(420*time.Second).send(),
		fmt.Sprintf("deoptimise %v at %v", ended, own),
		fmt.Sprintf("optimise %v at %v via %v", late.home, own, late.careOf),
		fmt.Sprintf("ack 0 to %v route %v", late.careOf, late.home))
	for _, b := range []*mobile{m[1], m[2], late} {
		b.wantRoute(b.careOf)
	}
	// What was deleted has to be remembered: it takes room until it is not.
	late.deletes().accepted()
	m[0].test().registers(420 * time.Second).refused(mip6.StatusInsufficientResources)
	w.run(maxNonceLifetime)
	m[0].test().registers(420 * time.Second).accepted()
	if s := w.node.Stats(); s.Evictions != 1 || s.InsufficientResources != 4 {
		t.Errorf("%+v", s)
	}
}

// A lower limit ends no binding, but keeps new ones out.
func TestLowerQuota(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	for i := range 5 {
		w.numbered(i).registers(420 * time.Second).accepted()
	}
	c.MaxBindings = 2
	wantKinds(t, w.apply(w.node.Reconfigure(w.now, c)))
	late := w.numbered(5)
	late.registers(420 * time.Second).refused(mip6.StatusInsufficientResources)
	w.run(maxNonceLifetime)
	late.test().registers(420 * time.Second).accepted()
	if s := w.node.Stats(); s.Bindings != 2 || s.Evictions != 4 {
		t.Errorf("%+v", s)
	}
}

// RFC 6275 §9.5.5: a Binding Refresh Request goes to the home address, when the
// binding ends soon and is in use, a few times, until there is an update.
func TestBindingRefreshRequest(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lifetime time.Duration
		every    time.Duration // reports of traffic
		want     []time.Duration
	}{
		{"in use", 420 * time.Second, 10 * time.Second, []time.Duration{390 * time.Second, 400 * time.Second, 410 * time.Second}},
		{"in use now and then", 420 * time.Second, 100 * time.Second, []time.Duration{400 * time.Second}},
		{"not in use", 420 * time.Second, time.Hour, nil},
		{"short", 20 * time.Second, 10 * time.Second, []time.Duration{10 * time.Second}},
		{"reports too often", 420 * time.Second, time.Second, []time.Duration{390 * time.Second, 395 * time.Second, 400 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			m.registers(tt.lifetime).accepted()
			begin := w.now
			var got []time.Duration
			for w.run(tt.every); w.now.Sub(begin) <= tt.lifetime+time.Minute; w.run(tt.every) {
				for _, p := range sent(w.handle(role.TrafficSeen{Home: homeA, Peer: own, Side: overlay.CorrespondentSide})) {
					if _, ok := p.Message.(mip6.BindingRefreshRequest); !ok || p.Source != own || p.Destination != homeA {
						t.Errorf("sent %+v", p)
					}
					got = append(got, w.now.Sub(begin))
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("asked after %v, want %v", got, tt.want)
			}
		})
	}
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(60 * time.Second).accepted()
	seen := role.TrafficSeen{Home: homeA, Peer: own, Side: overlay.CorrespondentSide}
	for range 2 {
		w.run(35 * time.Second)
		for range maxRefreshes {
			onlySent(t, w.handle(seen))
			w.run(refreshInterval)
		}
		wantKinds(t, w.handle(seen)) // asked often enough
		m.registers(60 * time.Second).accepted()
		w.run(10 * time.Second)
		wantKinds(t, w.handle(seen)) // renewed
	}
	w.run(30 * time.Second)
	for _, e := range []role.TrafficSeen{
		{Home: homeA, Peer: own, Side: overlay.MobileSide},
		{Home: homeA, Peer: own2, Side: overlay.CorrespondentSide},
		{Home: homeB, Peer: own, Side: overlay.CorrespondentSide},
	} {
		wantKinds(t, w.handle(e))
	}
	onlySent(t, w.handle(seen))
}
