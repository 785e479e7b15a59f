package anchor

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §10.3.1 with RFC 4862 §5.4.3, §5.4.4: somebody on the link has the address,
// or wants it.
// Covers: P8.
func TestDuplicateAddress(t *testing.T) {
	for _, tt := range []struct {
		name   string
		heard  role.NeighborHeard
		failed bool
	}{
		{"advertisement", role.NeighborHeard{Link: linkIndex, From: netip.MustParseAddr("fe80::9"), Target: rcoaA}, true},
		{"probe of another", role.NeighborHeard{Link: linkIndex, From: netip.IPv6Unspecified(), Target: rcoaA, Solicitation: true}, true},
		{"another link", role.NeighborHeard{Link: 7, Target: rcoaA}, false},
		{"another address", role.NeighborHeard{Link: linkIndex, Target: rcoaB}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.send(local(alice, rcoaA, lcoa1, 1))
			w.now = w.now.Add(time.Second / 2)
			actions := w.handle(tt.heard)
			if !tt.failed {
				wantKinds(t, actions)
				if ba := onlyAck(t, w.run(time.Second)); ba.Status != 0 {
					t.Errorf("%v", ba.Status)
				}
				return
			}
			wantKinds(t, actions, "ack 134 to 2001:db8:f1::1 route 2001:db8:9::a")
			wantKinds(t, w.run(time.Minute))
			if s := w.anchor.Stats(); s.Probing != 0 || s.Duplicates != 1 || len(w.anchor.held) != 0 {
				t.Errorf("left behind %+v", s)
			}
			w.registered(local(alice, rcoaA, lcoa1, 2)) // another try is another detection
			if w.probes != 2 {
				t.Errorf("%d probes", w.probes)
			}
		})
	}
}

// RFC 4862 §5.1: DupAddrDetectTransmits probes, RetransTimer apart; one detection and
// one answer, to the newest update, however many come meanwhile.
// Covers: P8, B4.
func TestDetection(t *testing.T) {
	c := testConfig()
	c.DupAddrDetectTransmits, c.RetransTimer = 2, 100*time.Millisecond
	w := newWorld(t, c)
	wantKinds(t, w.send(local(alice, rcoaA, lcoa1, 1)), "probe 2001:db8:9::a")
	wantKinds(t, w.send(local(alice, rcoaA, lcoa1, 1)), "drop replay") // a copy
	wantKinds(t, w.send(local(alice, rcoaA, lcoa2, 2)))
	w.refused(local(bob, rcoaA, lcoa1, 1), mip6.StatusDuplicateAddress)
	wantKinds(t, w.run(100*time.Millisecond), "probe 2001:db8:9::a")
	wantKinds(t, w.run(100*time.Millisecond), "set 2001:db8:9::a via 2001:db8:f2::2", "defend 2001:db8:9::a",
		"announce 2001:db8:9::a", "ack 0 to 2001:db8:f2::2 route 2001:db8:9::a")

	// Given up while it runs; and what is not permitted any more when it ends.
	w.send(local(alice, rcoaB, lcoa1, 1))
	end := local(alice, rcoaB, lcoa1, 2)
	end.lifetime = 0
	wantKinds(t, w.send(end), "ack 0 to 2001:db8:f1::1 route 2001:db8:9::b")
	w.send(local(alice, rcoaB, lcoa1, 3))
	c.Taken = []netip.Addr{rcoaNumber(5), rcoaB}
	wantKinds(t, w.apply(w.anchor.Reconfigure(w.now, c)))
	if s := w.anchor.Stats(); s.Probing != 0 || s.Bindings != 1 {
		t.Errorf("%+v", s)
	}
}

// Without a link, or without detection, the answer comes at once; a virtual link has
// nobody to defend the address against.
func TestNoDetection(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	wantKinds(t, w.send(local(alice, rcoaA, lcoa1, 1)), "set 2001:db8:9::a via 2001:db8:f1::1", "defend 2001:db8:9::a",
		"announce 2001:db8:9::a", "ack 0 to 2001:db8:f1::1 route 2001:db8:9::a")
	c = testConfig()
	c.Link = ""
	w = newWorld(t, c)
	wantKinds(t, w.send(local(alice, rcoaA, lcoa1, 1)), "set 2001:db8:9::a via 2001:db8:f1::1", "ack 0 to 2001:db8:f1::1 route 2001:db8:9::a")
}

// The link goes and comes: bindings stay and are defended and announced again; a
// detection begins anew on another link.
// Covers: P8.
func TestLink(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(alice, rcoaA, lcoa1, 1))
	w.run(5 * time.Second)
	w.link.Up = false
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}))
	w.link.Up = true
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}))
	wantKinds(t, w.run(time.Second), "announce 2001:db8:9::a")

	w.send(local(bob, rcoaB, lcoa2, 1))
	w.handle(role.LinkGone{Index: linkIndex})
	w.link.Index++
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}), "defend 2001:db8:9::a")
	wantKinds(t, w.run(time.Second), "announce 2001:db8:9::a", "probe 2001:db8:9::b")
	wantKinds(t, w.run(time.Second), "set 2001:db8:9::b via 2001:db8:f2::2", "defend 2001:db8:9::b", "announce 2001:db8:9::b",
		"ack 0 to 2001:db8:f2::2 route 2001:db8:9::b")
	// Other links are nothing to it.
	wantKinds(t, w.handle(role.LinkChanged{Link: role.Link{Index: 9, Name: "eth9", Up: true}}))
	wantKinds(t, w.handle(role.LinkGone{Index: 9}))
}

// RFC 6275 §10.4.1: a neighbour that uses a registered address ends nothing; the log
// says so, at a limited rate.
func TestConflict(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(alice, rcoaA, lcoa1, 1))
	for range 100 {
		w.handle(role.NeighborHeard{Link: linkIndex, Target: rcoaA})
	}
	if n := w.logged("regional care-of address in use on its link"); n != complaints.Burst || len(w.tunnels) != 1 || w.anchor.Stats().Conflicts != 100 {
		t.Errorf("%d lines, %v", n, w.tunnels)
	}
}
