package cn

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §9.4: each test init is answered where it came from, from the address
// it was sent to, with its cookie, and with a token of the newest nonce; §5.2.5:
// nothing is remembered of it.
//
// Covers: C4, C5.
func TestReturnRoutability(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1)
	m.peer = own2
	m.test()
	s := w.node.nonces.find(w.now, m.indices.Home)
	if s == nil || m.indices.CareOf != m.indices.Home {
		t.Fatalf("nonce indices %+v, one nonce for both expected", m.indices)
	}
	// RFC 6275 §5.2.5, §5.2.1, §5.2.2: the arithmetic is mip6's; here its inputs.
	if m.homeToken != s.key.HomeToken(homeA, s.nonce) || m.careOfToken != s.key.CareOfToken(careOf1, s.nonce) {
		t.Error("tokens are not those of the addresses")
	}
	if s.key == (mip6.NodeKey{}) || s.nonce == (mip6.Nonce{}) {
		t.Error("node key or nonce is not random")
	}
	w.wantEmpty()
	// The same question has the same answer, to whomever.
	again := w.mobile(homeA, careOf1)
	again.peer = own2
	again.test()
	if again.homeToken != m.homeToken || again.careOfToken != m.careOfToken {
		t.Error("tokens differ under the same nonce")
	}
	other := w.mobile(homeB, homeA).test()
	if other.homeToken == m.homeToken || other.careOfToken == m.homeToken {
		t.Error("tokens are the same for other addresses, or for the other test")
	}
}

// Test inits that must not be answered: RFC 6275 §6.1 (no Home Address option, no
// routing header), §9.4.1, §9.4.2; §4.6 (addresses).
//
// Covers: A4, A5, C4.
func TestRefusedTestInits(t *testing.T) {
	linkLocal, multicast := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1")
	for _, tt := range []struct {
		name   string
		packet mip6.Packet
		reason role.DropReason
	}{
		{"home address option", mip6.Packet{Source: careOf1, Destination: own, HomeAddress: homeA}, role.DropNoHomeAddress},
		{"home address option of the same address", mip6.Packet{Source: homeA, Destination: own, HomeAddress: homeA}, role.DropNoHomeAddress},
		{"routing header", mip6.Packet{Source: homeA, Destination: own, RouteHome: own2}, role.DropNotForUs},
		{"to multicast", mip6.Packet{Source: homeA, Destination: multicast}, role.DropNotForUs},
		{"to link-local", mip6.Packet{Source: homeA, Destination: linkLocal}, role.DropNotForUs},
		{"from link-local", mip6.Packet{Source: linkLocal, Destination: own}, role.DropUnroutable},
		{"from multicast", mip6.Packet{Source: multicast, Destination: own}, role.DropUnroutable},
		{"from unspecified", mip6.Packet{Source: netip.IPv6Unspecified(), Destination: own}, role.DropUnroutable},
		{"from loopback", mip6.Packet{Source: netip.IPv6Loopback(), Destination: own}, role.DropUnroutable},
		{"from IPv4-mapped", mip6.Packet{Source: netip.MustParseAddr("::ffff:192.0.2.1"), Destination: own}, role.DropUnroutable},
		{"from the address it is sent to", mip6.Packet{Source: own, Destination: own}, role.DropUnroutable},
	} {
		for _, m := range []mip6.Message{mip6.HomeTestInit{}, mip6.CareOfTestInit{}} {
			t.Run(tt.name+" "+m.Type().String(), func(t *testing.T) {
				w := newWorld(t, testConfig())
				p := tt.packet
				p.Message = m
				wantKinds(t, w.receive(p), "drop "+tt.reason.String())
				if s := w.node.Stats(); s != (Stats{}) {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// Unknown options are skipped (RFC 6275 §6.1.3, §6.1.4).
//
// Covers: A2.
func TestTestInitOptions(t *testing.T) {
	w := newWorld(t, testConfig())
	options := []mip6.Option{mip6.UnknownOption{Type: 200, Data: []byte{1, 2, 3}}}
	for _, m := range []mip6.Message{mip6.HomeTestInit{Options: options}, mip6.CareOfTestInit{Options: options}} {
		onlySent(t, w.receive(mip6.Packet{Source: homeA, Destination: own, Message: m}))
	}
}

// RFC 6275 §5.2.7: a nonce lasts MAX_NONCE_LIFETIME from its first use, and a
// token MAX_TOKEN_LIFETIME at least, whenever it was made.
//
// Covers: C4, Attack: old nonces.
func TestNonceLifetime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  time.Duration // from the first use of the nonce to the test
		wait   time.Duration // from there to the update
		status mip6.Status
	}{
		{"at once", 0, 0, 0},
		{"at the last moment", 0, maxNonceLifetime - time.Nanosecond, 0},
		{"too late", 0, maxNonceLifetime, 138},
		{"long ago", 0, 24 * time.Hour, 138},
		{"token made late, MAX_TOKEN_LIFETIME", nonceInterval - time.Nanosecond, maxTokenLifetime, 0},
		{"token made late, too late", nonceInterval - time.Nanosecond, maxTokenLifetime + time.Nanosecond, 138},
		{"token of the next nonce", nonceInterval, maxNonceLifetime - time.Nanosecond, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.mobile(homeB, careOf2).test()
			w.run(tt.after)
			m := w.mobile(homeA, careOf1).test()
			w.run(tt.wait)
			if tt.status == 0 {
				m.registers(time.Minute).accepted()
				m.wantRoute(careOf1)
				return
			}
			m.registers(time.Minute).refused(tt.status)
			w.wantEmpty()
		})
	}
}

// Nonces are made when somebody asks, and not before the last one is 30 s old, so
// that the valid ones are few (RFC 6275 §5.2.7). Each has a node key of its own.
// Their indices wrap.
//
// Covers: C4.
func TestNonceRotation(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1)
	m.test()
	w.node.nonces.newest = 65530
	w.node.nonces.slots = [nonceSlots]secret{}
	w.node.nonces.slots[65530%nonceSlots] = secret{index: 65530, since: w.now}
	last := uint16(65530)
	keys := map[mip6.NodeKey]bool{}
	for second := range 1000 {
		m.testHome()
		if want := uint16((65530 + second/30) & 0xffff); m.indices.Home != want {
			t.Fatalf("after %d s nonce index %d, want %d", second, m.indices.Home, want)
		}
		last = m.indices.Home
		keys[w.node.nonces.find(w.now, last).key] = true
		valid := 0
		for index := range 1 << 16 {
			if w.node.nonces.find(w.now, uint16(index)) != nil {
				valid++
			}
		}
		if want := min(second/30+1, 8); valid != want {
			t.Fatalf("after %d s %d nonces are valid, want %d", second, valid, want)
		}
		w.run(time.Second)
		if !w.node.Next().IsZero() {
			t.Fatal("nonces need no timer")
		}
	}
	if last >= 65530 || len(keys) != 34 {
		t.Errorf("indices did not wrap (%d) or keys are the same (%d)", last, len(keys))
	}
	// Nobody asked for a day: one new nonce, not thousands.
	w.run(24 * time.Hour)
	m.testHome()
	if m.indices.Home != last+1 {
		t.Errorf("nonce index %d after %d", m.indices.Home, last)
	}
}

// However often bindings are made and deleted, no nonce is lost before its time,
// and none lives longer.
//
// Covers: C4, C9.
func TestNonceReplacement(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1)
	made := map[uint16]time.Time{}
	for range 4 * 600 {
		m.testHome()
		if _, ok := made[m.indices.Home]; !ok {
			made[m.indices.Home] = w.now
		}
		w.node.nonces.spend(m.indices.Home)
		for index, at := range made {
			if valid := w.node.nonces.find(w.now, index) != nil; valid != (w.now.Sub(at) < maxNonceLifetime) {
				t.Fatalf("nonce %d is %v old, valid: %t", index, w.now.Sub(at), valid)
			}
		}
		w.run(250 * time.Millisecond)
	}
	if n := len(made); n < 16 || n > 16+600/8+600/30+1 {
		t.Errorf("%d nonces in ten minutes", n)
	}
}

// RFC 6275 §5.2.7: after a restart nothing that was handed out before is good, and
// the mobile is told to test again.
//
// Covers: B6.
func TestRestart(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(time.Minute).accepted()
	w.node = New(Config{Optimise: true, Random: entropy(2)})
	clear(w.routes)
	m.registers(time.Minute).refused(mip6.StatusExpiredNonces)
	m.deletes().refused(mip6.StatusExpiredHomeNonce)
	w.mobile(homeB, careOf2).test() // the new life has nonces, too
	m.registers(time.Minute).refused(mip6.StatusExpiredNonces)
	m.test().registers(time.Minute).accepted()
	m.wantRoute(careOf1)
}
