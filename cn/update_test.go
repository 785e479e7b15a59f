package cn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §9.5.1, §9.5.4: an update with both tokens makes a binding, packets
// take the new way before the mobile is told, and the answer goes to the source
// with a routing header.
//
// Covers: C5, C6, C8, C10.
func TestRegistration(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	wantKinds(t, m.registers(time.Minute).send(),
		"optimise 2001:db8:1::a at 2001:db8:c::1 via 2001:db8:f1::1",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")
	want := []Binding{{Home: homeA, Peer: own, CareOf: careOf1, Sequence: 101, Lifetime: 15,
		Expires: w.now.Add(time.Minute), Created: w.now}}
	if got := w.node.Bindings(); !slices.Equal(got, want) {
		t.Errorf("bindings\n got %+v\nwant %+v", got, want)
	}
	created := w.now
	w.run(time.Second)
	// A refresh changes nothing in the data plane, a move does.
	if ba := m.registers(2 * time.Minute).accepted(); ba.Lifetime.Duration() != 2*time.Minute {
		t.Errorf("granted %v", ba.Lifetime)
	}
	m.careOf = careOf2
	m.testCareOf() // RFC 6275 §5.2.7: the home keygen token serves again
	wantKinds(t, m.registers(time.Minute).send(),
		"optimise 2001:db8:1::a at 2001:db8:c::1 via 2001:db8:f2::1",
		"ack 0 to 2001:db8:f2::1 route 2001:db8:1::a")
	if b := w.node.Bindings()[0]; b.Created != created || b.CareOf != careOf2 || b.Sequence != 103 {
		t.Errorf("after a move: %+v", b)
	}
	if s := w.node.Stats(); s.Registrations != 1 || s.Refreshes != 1 || s.Moves != 1 || s.Bindings != 1 {
		t.Errorf("%+v", s)
	}
}

// Updates that fail a test of RFC 6275 §9.5.1 for another reason than sequence
// number and nonces are silently discarded (§9.5.4).
//
// Covers: A4, A5, C5, C6, C7, C11, C12, Attack: BU spoofing, Attack: third party flooding.
func TestSilentlyDiscarded(t *testing.T) {
	multicast, linkLocal := netip.MustParseAddr("ff0e::1"), netip.MustParseAddr("fe80::1")
	for _, tt := range []struct {
		name   string
		spoil  func(*request)
		reason role.DropReason
	}{
		// §9.5.1: the nonce indices and the authorization data must be there.
		{"no nonce indices", func(r *request) { r.noIndices = true }, role.DropUnauthenticated},
		{"no authorization data", func(r *request) { r.unsealed = true }, role.DropUnauthenticated},
		{"Home Address option alone", func(r *request) { r.unsealed, r.noIndices = true, true }, role.DropUnauthenticated},
		// §5.2.6: the key is made of both tokens, for these addresses.
		{"home token alone", func(r *request) { r.key = mip6.NewDeregistrationKey(r.m.homeToken) }, role.DropBadAuthenticator},
		{"care-of token alone", func(r *request) { r.key = mip6.NewBindingKey(mip6.KeygenToken{}, r.m.careOfToken) }, role.DropBadAuthenticator},
		{"tokens exchanged", func(r *request) { r.key = mip6.NewBindingKey(r.m.careOfToken, r.m.homeToken) }, role.DropBadAuthenticator},
		{"no token", func(r *request) { r.key = mip6.NewBindingKey(mip6.KeygenToken{}, mip6.KeygenToken{}) }, role.DropBadAuthenticator},
		{"another's home address", func(r *request) { r.home = homeB }, role.DropBadAuthenticator},
		{"false care-of address", func(r *request) { r.source, r.sealed = careOf2, careOf2 }, role.DropBadAuthenticator},
		// §6.2.7: the authenticator covers the whole message.
		{"sequence number changed", func(r *request) { r.flip = 7 }, role.DropBadAuthenticator},
		{"lifetime changed", func(r *request) { r.flip = 11 }, role.DropBadAuthenticator},
		{"authenticator changed", func(r *request) { r.flip = 31 }, role.DropBadAuthenticator},
		// §6.2.5, §9.5.1: the alternate care-of address is what was tested.
		{"false alternate care-of address", func(r *request) { r.alternate, r.sealed = careOf2, careOf2 }, role.DropBadAuthenticator},
		{"sealed over the source", func(r *request) { r.alternate = careOf2 }, role.DropBadAuthenticator},
		// §6.1.7, §9.5.1: unicast routable addresses.
		{"multicast home address", func(r *request) { r.home = multicast }, role.DropUnroutable},
		{"link-local home address", func(r *request) { r.home = linkLocal }, role.DropUnroutable},
		{"unspecified home address", func(r *request) { r.home = netip.IPv6Unspecified() }, role.DropUnroutable},
		{"multicast care-of address", func(r *request) { r.alternate = multicast }, role.DropUnroutable},
		{"link-local care-of address", func(r *request) { r.alternate = linkLocal }, role.DropUnroutable},
		{"loopback care-of address", func(r *request) { r.alternate = netip.IPv6Loopback() }, role.DropUnroutable},
		{"multicast source", func(r *request) { r.source = multicast }, role.DropUnroutable},
		{"link-local source", func(r *request) { r.source = linkLocal }, role.DropUnroutable},
		{"our own address as home address", func(r *request) { r.home = own }, role.DropUnroutable},
		{"our own address as source", func(r *request) { r.source = own }, role.DropUnroutable},
		// §6.1, §9.1: to one of our routable addresses, without a routing header.
		{"multicast destination", func(r *request) { r.destination = multicast }, role.DropNotForUs},
		{"routing header", func(r *request) { r.route = own2 }, role.DropNotForUs},
		// §9.5.1: home registrations are the home agent's.
		{"home registration", func(r *request) { r.flags |= mip6.UpdateHome }, role.DropUnexpected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			r := m.registers(time.Minute)
			tt.spoil(&r)
			r.ignored(tt.reason)
			w.wantEmpty()
			// The same where there is a binding: it stays as it is.
			m.registers(time.Minute).accepted()
			r = m.registers(time.Hour)
			tt.spoil(&r)
			r.ignored(tt.reason)
			m.wantRoute(careOf1)
		})
	}
}

// The flags that are a home agent's business are ignored (RFC 6275 §6.1.7), and
// so are options that are not known (§6.2).
//
// Covers: A1, A2.
func TestIgnoredFlags(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	r := m.registers(time.Minute)
	r.flags |= mip6.UpdateKeyManagement | mip6.UpdateLinkLocal
	r.options = []mip6.Option{mip6.UnknownOption{Type: 99, Data: make([]byte, 9)}}
	r.accepted()
	m.wantRoute(careOf1)
}

// RFC 6275 §9.5.1: nonces that are not known are told apart, in a deletion only
// the home nonce counts; §9.5.4: always answered, without authorization data.
//
// Covers: C6, C7, C10, B6.
func TestExpiredNonces(t *testing.T) {
	unknown := func(i uint16) uint16 { return i - 1000 }
	for _, tt := range []struct {
		name             string
		home, careOf     bool // known
		register, delete mip6.Status
	}{
		{"both known", true, true, 0, 0},
		{"home unknown", false, true, 136, 136},
		{"care-of unknown", true, false, 137, 0},
		{"both unknown", false, false, 138, 136},
	} {
		for _, flags := range []mip6.UpdateFlags{0, mip6.UpdateAcknowledge} {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			indices := m.indices
			if !tt.home {
				indices.Home = unknown(indices.Home)
			}
			if !tt.careOf {
				indices.CareOf = unknown(indices.CareOf)
			}
			r, d := m.registers(time.Minute), m.deletes()
			r.flags, r.indices, d.flags, d.indices = flags, indices, flags, indices
			for _, c := range []struct {
				r    request
				want mip6.Status
			}{{r, tt.register}, {d, tt.delete}} {
				switch {
				case c.want != 0:
					if ba := c.r.refused(c.want); ba.Sequence != c.r.sequence {
						t.Errorf("%s: sequence number %d, want a copy of %d", tt.name, ba.Sequence, c.r.sequence)
					}
				case flags == 0:
					if list := sent(c.r.send()); len(list) != 0 {
						t.Errorf("%s: flag A is not set, answered by %+v", tt.name, list)
					}
				default:
					c.r.accepted()
				}
			}
			if tt.register != 0 {
				w.wantEmpty()
			}
		}
	}
}

// After a wrong index the mobile tests again and is well (RFC 6275 §5.2.7).
//
// Covers: B6.
func TestRecoveryFromExpiredNonce(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	w.run(200 * time.Second)
	m.testCareOf()
	m.registers(time.Minute).accepted()
	w.run(50 * time.Second)
	m.registers(time.Minute).refused(mip6.StatusExpiredHomeNonce)
	m.wantRoute(careOf1) // the binding is not touched by that
	m.testHome()
	m.registers(time.Minute).accepted()
}

// RFC 6275 §9.5.1: sequence numbers compare modulo 2^16; one that is not greater
// is answered with the last accepted, authentic (§9.5.4), whether or not flag A is
// set; without an entry any is good.
//
// Covers: A6, C7, C10.
func TestSequence(t *testing.T) {
	for _, tt := range []struct {
		last, next mip6.Sequence
		ok         bool
	}{
		{15, 16, true}, {15, 15, false}, {15, 0, false}, {15, 14, false},
		{15, 32782, true}, {15, 32783, false}, {15, 65535, false},
		{65535, 0, true}, {65535, 32766, true}, {65535, 32767, false}, {65535, 65534, false},
	} {
		for _, flags := range []mip6.UpdateFlags{0, mip6.UpdateAcknowledge} {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			r := m.registers(time.Minute)
			r.sequence = tt.last
			r.accepted()
			r = m.registers(2 * time.Minute)
			r.sequence, r.flags = tt.next, flags
			switch {
			case !tt.ok:
				if ba := r.refused(mip6.StatusSequenceOutOfWindow); ba.Sequence != tt.last {
					t.Errorf("%d after %d: told %d", tt.next, tt.last, ba.Sequence)
				}
				if b := w.node.Bindings()[0]; b.Sequence != tt.last || b.Lifetime.Duration() != time.Minute {
					t.Errorf("%d after %d changed the binding: %+v", tt.next, tt.last, b)
				}
			case flags == 0:
				wantKinds(t, r.send())
			default:
				r.accepted()
			}
		}
	}
}

// Who cannot authenticate is not told the sequence number, whatever the number is.
//
// Covers: C7, Attack: replay.
func TestSequenceIsSecret(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(time.Minute).accepted()
	for _, sequence := range []mip6.Sequence{0, 101, 102, 40000} {
		r := m.registers(time.Minute)
		r.sequence, r.key = sequence, mip6.BindingKey{}
		r.ignored(role.DropBadAuthenticator)
	}
	m.sequence = 101
	m.registers(time.Minute).accepted()
}

// RFC 6275 §9.5.1, §6.2.5: an Alternate Care-of Address is what is bound; the
// answer goes to the source (§9.5.4).
//
// Covers: C10, C11.
func TestAlternateCareOf(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf2).test()
	r := m.registers(time.Minute)
	r.source, r.alternate = careOf1, careOf2
	wantKinds(t, r.send(),
		"optimise 2001:db8:1::a at 2001:db8:c::1 via 2001:db8:f2::1",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")
	// From the home address itself: no routing header (§9.5.4).
	r = m.registers(time.Minute)
	r.source, r.home, r.alternate = homeA, netip.Addr{}, careOf2
	r.accepted()
	m.wantRoute(careOf2)
}

// RFC 6275 §9.5.4: an accepted update is answered when flag A asks for it.
//
// Covers: C10.
func TestUnacknowledged(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	r := m.registers(time.Minute)
	r.flags = 0
	wantKinds(t, r.send(), "optimise 2001:db8:1::a at 2001:db8:c::1 via 2001:db8:f1::1")
	d := m.deletes()
	d.flags = 0
	wantKinds(t, d.send(), "deoptimise 2001:db8:1::a at 2001:db8:c::1")
}

// RFC 6275 §15.1: no care-of address that leads back here.
//
// Covers: Attack: loops.
func TestLoops(t *testing.T) {
	w := newWorld(t, testConfig())
	a := w.mobile(homeA, careOf1).test()
	a.registers(time.Minute).accepted()
	b := w.mobile(homeB, homeA).test()
	b.registers(time.Minute).refused(mip6.StatusInvalidCareOfAddress)
	b.wantRoute(netip.Addr{})
	// Our own address: nobody else can have a token for it, so it is made here.
	self := w.mobile(homeB, careOf2).test()
	s := w.node.nonces.find(w.now, self.indices.CareOf)
	r := self.registers(time.Minute)
	r.alternate, r.sealed, r.key = own, own, mip6.NewBindingKey(self.homeToken, s.key.CareOfToken(own, s.nonce))
	r.refused(mip6.StatusInvalidCareOfAddress)
	// A chain is made from its far end, and can then not be closed.
	c := w.mobile(careOf1, careOf3).test()
	c.registers(time.Minute).accepted()
	c.careOf = homeA
	c.test().registers(time.Minute).refused(mip6.StatusInvalidCareOfAddress)
	c.wantRoute(careOf3)
	if s := w.node.Stats(); s.InvalidCareOfAddresses != 3 || len(w.logs) == 0 {
		t.Errorf("%+v, logs %v", s, w.logs)
	}
	// At another address of ours that home address is not bound.
	b = w.mobile(homeB, homeA)
	b.peer = own2
	b.test().registers(time.Minute).accepted()
}

// RFC 6275 §9.1: each of our addresses has a binding cache of its own.
//
// Covers: B6.
func TestCachePerAddress(t *testing.T) {
	w := newWorld(t, testConfig())
	first, second := w.mobile(homeA, careOf1), w.mobile(homeA, careOf2)
	second.peer, second.sequence = own2, 7
	first.test().registers(time.Minute).accepted()
	second.test().registers(2 * time.Minute).accepted()
	first.wantRoute(careOf1)
	second.wantRoute(careOf2)
	first.deletes().accepted()
	first.wantRoute(netip.Addr{})
	second.wantRoute(careOf2)
	if list := w.node.Bindings(); len(list) != 1 || list[0].Peer != own2 || list[0].Sequence != 8 {
		t.Errorf("bindings %+v", list)
	}
	// An update for one address is not good for the other.
	r := second.registers(time.Minute)
	p := r.packet()
	p.Destination = own
	wantKinds(t, w.receive(p), "drop bad_authenticator")
}

// Messages that are for other roles (RFC 6275 §9.2), with route optimisation on
// and off.
//
// Covers: C13.
func TestOthersMessages(t *testing.T) {
	for _, optimise := range []bool{true, false} {
		c := testConfig()
		c.Optimise = optimise
		w := newWorld(t, c)
		for _, m := range []mip6.Message{
			mip6.HomeTest{}, mip6.CareOfTest{}, mip6.BindingAcknowledgement{}, mip6.BindingRefreshRequest{},
			mip6.BindingError{Status: 1, Home: homeA}, mip6.UnknownMessage{MessageType: 77},
			mip6.BindingUpdate{Flags: mip6.UpdateHome, Lifetime: 5},
		} {
			wantKinds(t, w.receive(mip6.Packet{Source: careOf1, Destination: own, Message: m}), "drop unexpected")
		}
		for _, e := range []role.Event{role.LinkGone{Index: 1}, role.TunnelRefused{Home: homeA}, role.PeerRefused{Local: own, Peer: homeA}, role.Timeout{}} {
			wantKinds(t, w.handle(e))
		}
		w.wantEmpty()
	}
}
