package cn

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// RFC 6275 §9.3.4: a binding whose care-of address is persistently not reached is
// deleted, and one that may be reached is not.
//
// Covers: C1, Attack: forged answers.
func TestUnreachable(t *testing.T) {
	type report struct {
		after    time.Duration // the one before
		received uint64
	}
	const second = time.Second
	for _, tt := range []struct {
		name    string
		reports []report
		deleted bool // with the last of them
	}{
		{"one a second", []report{{0, 7}, {second, 7}, {second, 7}, {second, 7}, {second, 7}, {second, 7}}, true},
		{"not long enough", []report{{0, 7}, {second, 7}, {second, 7}, {second, 7}, {1999 * time.Millisecond, 7}}, false},
		{"retransmissions", []report{{0, 7}, {2 * second, 7}, {4 * second, 7}}, true},
		{"two", []report{{0, 7}, {20 * second, 7}}, false},
		{"now and then", []report{{0, 7}, {31 * second, 7}, {31 * second, 7}, {31 * second, 7}}, false},
		{"the mobile sends", []report{{0, 7}, {2 * second, 8}, {2 * second, 9}, {2 * second, 10}, {2 * second, 11}}, false},
		{"the mobile has sent", []report{{0, 7}, {2 * second, 8}, {2 * second, 8}, {3 * second, 8}}, true},
		{"counted anew", []report{{0, 7}, {2 * second, 7}, {5 * second, 0}, {2 * second, 0}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			m := w.mobile(homeA, careOf1).test()
			m.registers(400 * time.Second).accepted()
			for i, r := range tt.reports {
				w.run(r.after)
				actions := w.handle(role.RouteUnreachable{Home: homeA, Peer: own, CareOf: careOf1, Received: r.received})
				if tt.deleted && i == len(tt.reports)-1 {
					wantKinds(t, actions, "deoptimise 2001:db8:1::a at 2001:db8:c::1")
				} else {
					wantKinds(t, actions)
				}
			}
			if s := w.node.Stats(); (s.Unreachable == 1) != tt.deleted || (s.Bindings == 0) != tt.deleted {
				t.Errorf("%+v", s)
			}
		})
	}
}

// lost lets errors come about all that is sent to a mobile for so long that its
// binding goes.
func (m *mobile) lost() {
	m.w.t.Helper()
	for range 4 {
		m.w.handle(role.RouteUnreachable{Home: m.home, Peer: m.peer, CareOf: m.careOf})
		m.w.run(2 * time.Second)
	}
}

// RFC 6275 §9.3.4, §5.2.8: what was deleted is not brought back by a recorded
// update, is answered like any that was never made, and is made again by a new
// one: with the count at its beginning.
//
// Covers: C1, Attack: replay.
func TestAfterUnreachable(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	first := m.registers(400 * time.Second)
	first.accepted()
	m.lost()
	if s := w.node.Stats(); s.Bindings != 0 || s.Deleted != 1 {
		t.Fatalf("%+v", s)
	}
	first.refused(mip6.StatusSequenceOutOfWindow)
	p := onlySent(t, w.handle(role.UnknownHomeAddress{Source: careOf1, Destination: own, Home: homeA}))
	if be, ok := p.Message.(mip6.BindingError); !ok || be.Status != mip6.BindingErrorUnknownBinding {
		t.Errorf("its data is answered by %+v", p)
	}
	wantKinds(t, w.handle(role.RouteUnreachable{Home: homeA, Peer: own, CareOf: careOf1})) // late
	m.registers(400 * time.Second).accepted()
	m.wantRoute(careOf1)
	wantKinds(t, w.handle(role.RouteUnreachable{Home: homeA, Peer: own, CareOf: careOf1}))
}

// Errors about another address than the present one mean nothing, and an update
// shows that the mobile is there.
func TestUnreachableElsewhere(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(400 * time.Second).accepted()
	for _, u := range []role.RouteUnreachable{
		{Home: homeA, Peer: own, CareOf: careOf2},
		{Home: homeB, Peer: own, CareOf: careOf1},
		{Home: homeA, Peer: own2, CareOf: careOf1},
	} {
		for range 10 {
			wantKinds(t, w.handle(u))
			w.run(time.Second)
		}
	}
	u := role.RouteUnreachable{Home: homeA, Peer: own, CareOf: careOf1}
	for i := range 10 {
		w.handle(u)
		w.run(2 * time.Second)
		w.handle(u)
		w.handle(role.TrafficSeen{Home: homeA, Peer: own, Side: overlay.CorrespondentSide}) // our own may be all
		if i == 5 {
			m.careOf = careOf2
			m.testCareOf()
			u.CareOf = careOf2
		}
		m.registers(400 * time.Second).accepted()
		w.run(4 * time.Second)
	}
	m.wantRoute(careOf2)
}
