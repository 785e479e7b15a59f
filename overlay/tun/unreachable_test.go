package tun

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// errorAbout sends a packet and returns an ICMPv6 error that quotes it, as read.
func (b *bench) errorAbout(t *testing.T, from, to netip.Addr, kind, code uint8, change func([]byte)) (routeError, bool) {
	t.Helper()
	out, _ := b.send(udp(from, to, text(100)), virtioHeader{}, 0)
	if len(out) != 1 {
		t.Fatalf("%d packets", len(out))
	}
	message := binary.BigEndian.AppendUint32([]byte{kind, code, 0, 0}, 0)
	message = append(message, out[0]...)
	if change != nil {
		change(message[icmpHeaderLength:])
	}
	return parseRouteError(message)
}

// RFC 6275 §9.3.4: Destination Unreachable about a packet with a routing header of
// a present route is reported, with what has come along the route; no other error
// is, nor one about anything else.
func TestRouteUnreachable(t *testing.T) {
	arrived := func(p []byte) { // at the mobile, which has followed the routing header
		p[43] = 0
		for i := range 16 {
			p[24+i], p[48+i] = p[48+i], p[24+i]
		}
	}
	foreign := func(p []byte) { addressOf(netip.MustParseAddr("2001:db8:ffff::1")).put(p[24:]) }
	for _, test := range []struct {
		name       string
		routes     []overlay.Route
		from, to   netip.Addr
		kind, code uint8
		change     func([]byte)
		want       bool
	}{
		{"no route", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpUnreachable, 0, nil, true},
		{"prohibited", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpUnreachable, 1, nil, true},
		{"no neighbour", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpUnreachable, icmpCodeAddressUnreachable, nil, true},
		{"of two mobiles", []overlay.Route{mobileRoute(farHome), correspondentRoute(home)}, home, farHome, icmpUnreachable, 0, nil, true},
		{"port", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpUnreachable, icmpCodePortUnreachable, nil, false},
		{"from the mobile", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpUnreachable, 1, arrived, false},
		{"to the mobile's peer", []overlay.Route{mobileRoute(correspondent)}, home, correspondent, icmpUnreachable, 0, nil, false},
		{"hop limit", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpTimeExceeded, 0, nil, false},
		{"forged", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, icmpUnreachable, 0, foreign, false},
	} {
		b := newBench(t, overlay.MobileSide)
		for _, r := range test.routes {
			b.optimise(r, 0)
		}
		e, ok := b.errorAbout(t, test.from, test.to, test.kind, test.code, test.change)
		if !ok {
			t.Fatalf("%s: not read", test.name)
		}
		p := b.table.pathOf(&e)
		if got := e.unreachable(); got != test.want {
			t.Errorf("%s: %v", test.name, got)
			continue
		}
		if !test.want {
			continue
		}
		last := test.routes[len(test.routes)-1]
		if e.correspondent.pair != last.Pair || p.Remote != last.CareOf {
			t.Errorf("%s: about %v by %v", test.name, e.correspondent.pair, p.Remote)
		}
	}
}

// Once a second for a route, and not without bound for all: anybody can forge it.
// Covers: Attack: forged answers.
func TestRouteUnreachableLimit(t *testing.T) {
	type report struct {
		pair     overlay.Pair
		careOf   netip.Addr
		received uint64
	}
	var got []report
	r := newReporter(Config{RouteUnreachable: func(p overlay.Pair, careOf netip.Addr, received uint64) {
		got = append(got, report{p, careOf, received})
	}})
	o := &optimised{pair: correspondentRoute(correspondent).Pair}
	var want []report
	for i := range 100 {
		now := time.Duration(i) * time.Second / 10
		r.unreachable(o, farCareOf, now)
		if i%10 == 0 {
			want = append(want, report{o.pair, farCareOf, uint64(i)})
		}
		o.decapsulated.add(1, 100)
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports %v, want %v", got, want)
	}
	got = nil
	for range 10_000 {
		r.unreachable(&optimised{}, farCareOf, time.Hour)
	}
	if len(got) != unreachablePerSecond {
		t.Errorf("%d reports at the same time", len(got))
	}
	newReporter(Config{}).unreachable(&optimised{}, farCareOf, 0) // nobody listens
}
