package nd

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"roam6/mip6"
)

const (
	up1 = 1 // upstream links
	up2 = 2
)

var (
	anchor1 = adr("2001:db8:a1::1")
	anchor2 = adr("2001:db8:a2::1")
)

func anchorAt(a netip.Addr, distance, preference uint8, valid time.Duration) mip6.MobilityAnchorPoint {
	return mip6.MobilityAnchorPoint{Address: a, Distance: distance, Preference: preference, ValidLifetime: valid}
}

func anchorsRA(lifetime time.Duration, anchors ...mip6.MobilityAnchorPoint) RouterAdvertisement {
	return RouterAdvertisement{RouterLifetime: lifetime, Anchors: anchors}
}

// relayStep is what a relay hears or what time passes, and what it advertises then.
type relayStep struct {
	after   time.Duration // since the start
	link    int           // 0: time only
	router  netip.Addr
	ra      RouterAdvertisement
	changed bool
	want    []mip6.MobilityAnchorPoint
}

// Anchors heard upstream are advertised a hop further away, as long as router and
// anchor last, and what changes is told at once.
//
// Covers: P10
func TestAnchorRelay(t *testing.T) {
	half := 30 * time.Minute
	a1 := anchorAt(anchor1, 1, 10, time.Hour)
	failed := anchorAt(anchor1, 1, 10, 0)
	type list = []mip6.MobilityAnchorPoint
	for name, c := range map[string]struct {
		own   list
		steps []relayStep
	}{
		"a hop further": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1, anchorAt(anchor2, 3, 2, mip6.InfiniteLifetime)), true,
				list{anchorAt(anchor1, 2, 10, time.Hour), anchorAt(anchor2, 4, 2, mip6.InfiniteLifetime)}},
			{time.Second, up1, router1.WithZone("eth0"), anchorsRA(half, a1), false,
				list{anchorAt(anchor1, 2, 10, time.Hour), anchorAt(anchor2, 4, 2, mip6.InfiniteLifetime)}},
		}},
		"nothing beyond 15": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, anchorAt(anchor1, 15, 1, time.Hour), anchorAt(anchor2, 14, 1, time.Hour)), true, list{anchorAt(anchor2, 15, 1, time.Hour)}},
			{0, up1, router1, anchorsRA(half, anchorAt(anchor2, 15, 1, time.Hour)), true, nil},
			{0, up1, router1, anchorsRA(half, anchorAt(anchor2, 15, 1, 0)), false, nil},
		}},
		"own anchors win": {list{anchorAt(anchor1, 1, 3, time.Minute)}, []relayStep{
			{0, up1, router1, anchorsRA(half, a1, anchorAt(anchor2, 1, 1, time.Hour)), true, list{anchorAt(anchor1, 1, 3, time.Minute), anchorAt(anchor2, 2, 1, time.Hour)}},
			{0, up1, router1, anchorsRA(half, failed), true, list{anchorAt(anchor1, 1, 3, time.Minute), anchorAt(anchor2, 2, 1, time.Hour)}},
		}},
		"the nearest counts": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, anchorAt(anchor1, 4, 10, time.Hour)), true, list{anchorAt(anchor1, 5, 10, time.Hour)}},
			{0, up2, router1, anchorsRA(half, anchorAt(anchor1, 2, 1, time.Minute)), true, list{anchorAt(anchor1, 3, 1, time.Minute)}},
			{0, up1, router2, anchorsRA(half, anchorAt(anchor1, 2, 2, time.Hour)), true, list{anchorAt(anchor1, 3, 2, time.Hour)}},
		}},
		"the router's lifetime ends": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{20 * time.Minute, up1, router1, anchorsRA(half), false, list{anchorAt(anchor1, 2, 10, time.Hour)}}, // RFC 4861 §6.2.3: not all options each time
			{50*time.Minute - 1, 0, netip.Addr{}, RouterAdvertisement{}, false, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{50 * time.Minute, 0, netip.Addr{}, RouterAdvertisement{}, true, nil},
		}},
		"the anchor's lifetime ends": {nil, []relayStep{
			{0, up1, router1, anchorsRA(2*time.Hour, a1, anchorAt(anchor2, 1, 1, mip6.InfiniteLifetime)), true, list{anchorAt(anchor1, 2, 10, time.Hour), anchorAt(anchor2, 2, 1, mip6.InfiniteLifetime)}},
			{time.Hour, 0, netip.Addr{}, RouterAdvertisement{}, true, list{anchorAt(anchor2, 2, 1, mip6.InfiniteLifetime)}},
		}},
		"a router that is none any more": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{0, up1, router1, anchorsRA(0, a1), true, nil},
			{0, up1, router1, anchorsRA(0, a1), false, nil},
		}},
		"a lifetime that is counted down": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{time.Minute, up1, router1, anchorsRA(half, anchorAt(anchor1, 1, 10, 45*time.Minute)), false, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{time.Minute, up1, router1, anchorsRA(half, anchorAt(anchor1, 1, 10, 44*time.Minute)), true, list{anchorAt(anchor1, 2, 10, 44*time.Minute)}},
			{time.Minute, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
		}},
		"other values": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{0, up1, router1, anchorsRA(half, anchorAt(anchor1, 1, 0, time.Hour)), true, list{anchorAt(anchor1, 2, 0, time.Hour)}},
			{0, up1, router1, anchorsRA(half, anchorAt(anchor1, 3, 0, time.Hour)), true, list{anchorAt(anchor1, 4, 0, time.Hour)}},
		}},
		"a failure is passed on, whoever else is behind": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{0, up1, router2, anchorsRA(half, anchorAt(anchor1, 3, 10, time.Hour)), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{time.Second, up1, router1, anchorsRA(half, anchorAt(anchor1, 4, 10, 0)), true, list{anchorAt(anchor1, 2, 10, 0)}},
			{2 * time.Second, up1, router1, anchorsRA(half, failed), false, list{anchorAt(anchor1, 2, 10, 0)}},
			{2 * time.Second, up1, router2, anchorsRA(half, anchorAt(anchor1, 3, 10, time.Hour)), false, list{anchorAt(anchor1, 2, 10, 0)}},
			{62*time.Second - 1, 0, netip.Addr{}, RouterAdvertisement{}, false, list{anchorAt(anchor1, 2, 10, 0)}},
			{62 * time.Second, 0, netip.Addr{}, RouterAdvertisement{}, true, list{anchorAt(anchor1, 4, 10, time.Hour)}},
		}},
		"a failure told by a router that leaves": {nil, []relayStep{
			{0, up1, router1, anchorsRA(0, failed), true, list{anchorAt(anchor1, 2, 10, 0)}},
			{0, up1, router1, anchorsRA(0), false, list{anchorAt(anchor1, 2, 10, 0)}},
		}},
		"a nearer router knows better": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{0, up1, router2, anchorsRA(half, anchorAt(anchor1, 2, 10, 0)), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
		}},
		"of two as near the latest news counts": {nil, []relayStep{
			{0, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{0, up1, router2, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{time.Second, up1, router1, anchorsRA(half, failed), true, list{anchorAt(anchor1, 2, 10, 0)}},
			{2 * time.Second, up1, router2, anchorsRA(half, a1), false, list{anchorAt(anchor1, 2, 10, 0)}},
			{3 * time.Second, up1, router1, anchorsRA(half, a1), true, list{anchorAt(anchor1, 2, 10, time.Hour)}},
			{4 * time.Second, up1, router2, anchorsRA(half, failed), true, list{anchorAt(anchor1, 2, 10, 0)}},
		}},
	} {
		var r AnchorRelay
		for i, s := range c.steps {
			now := epoch.Add(s.after)
			var changed bool
			if s.link == 0 {
				if next := r.Next(); s.changed && !next.Equal(now) {
					t.Errorf("%s, step %d: next at %v, want %v", name, i, next.Sub(epoch), s.after)
				}
				changed = r.Expire(now)
			} else {
				changed = r.Heard(now, s.link, s.router, s.ra)
			}
			if got := r.Anchors(c.own, up1, up2); changed != s.changed || !slices.Equal(got, s.want) {
				t.Errorf("%s, step %d: changed %v, advertises\n%+v, want %v\n%+v", name, i, changed, got, s.changed, s.want)
			}
		}
	}
}

// Only what the wanted upstream links carry is advertised, and what is gone with a
// link or a router is not.
func TestAnchorRelayLinks(t *testing.T) {
	var r AnchorRelay
	r.Heard(epoch, up1, router1, anchorsRA(time.Hour, anchorAt(anchor1, 1, 1, time.Hour)))
	r.Heard(epoch, up2, router2, anchorsRA(time.Hour, anchorAt(anchor2, 1, 1, time.Hour)))
	one, two := anchorAt(anchor1, 2, 1, time.Hour), anchorAt(anchor2, 2, 1, time.Hour)
	for _, c := range []struct {
		links []int
		want  []mip6.MobilityAnchorPoint
	}{{nil, nil}, {[]int{up1}, []mip6.MobilityAnchorPoint{one}}, {[]int{up2}, []mip6.MobilityAnchorPoint{two}}, {[]int{up1, up2}, []mip6.MobilityAnchorPoint{one, two}}} {
		if got := r.Anchors(nil, c.links...); !slices.Equal(got, c.want) {
			t.Errorf("of %v: %+v, want %+v", c.links, got, c.want)
		}
	}
	if r.LinkGone(3) || r.RouterGone(up2, router1) || !r.LinkGone(up1) || !r.RouterGone(up2, router2.WithZone("eth1")) || len(r.Anchors(nil, up1, up2)) != 0 || !r.Next().IsZero() {
		t.Errorf("left: %+v, next %v", r.Anchors(nil, up1, up2), r.Next())
	}
	r.Heard(epoch, up1, router1, anchorsRA(time.Hour, anchorAt(anchor1, 1, 1, 0)))
	if r.RouterGone(up1, router1) || len(r.Anchors(nil, up1)) != 1 {
		t.Error("the failure went with the router that told of it")
	}
}

// Forged advertisements fill neither memory nor packets, and drive nobody out.
func TestAnchorRelayBounds(t *testing.T) {
	var r AnchorRelay
	r.Heard(epoch, up1, router1, anchorsRA(time.Hour, anchorAt(anchor1, 1, 15, time.Hour)))
	for i := range 1000 {
		var forged []mip6.MobilityAnchorPoint
		for j := range 20 {
			x := [16]byte{0: 0x20, 1: 1, 15: byte(j)}
			binary.BigEndian.PutUint32(x[4:], uint32(i))
			forged = append(forged, anchorAt(netip.AddrFrom16(x), 1, 14, time.Hour))
		}
		from := [16]byte{0: 0xfe, 1: 0x80}
		binary.BigEndian.PutUint32(from[12:], uint32(i))
		r.Heard(epoch, up1, netip.AddrFrom16(from), anchorsRA(time.Hour, forged...))
	}
	if len(r.sources) > maxAnchorSources || r.Refused() == 0 {
		t.Errorf("%d remembered, %d refused", len(r.sources), r.Refused())
	}
	perRouter := map[netip.Addr]int{}
	for _, s := range r.sources {
		perRouter[s.router]++
		if perRouter[s.router] > maxRouterAnchors {
			t.Errorf("%d of %v", perRouter[s.router], s.router)
		}
	}
	if got := r.Anchors(nil, up1); len(got) != maxRelayedAnchors || got[0].Address != anchor1 {
		t.Errorf("%d advertised, first %v", len(got), got[0])
	}
}

// Routers that hear each other forget an anchor that is gone: distances grow to the
// end (RFC 5380 §5), and nothing is ever beyond it.
//
// Covers: P10
func TestAnchorRelayLoop(t *testing.T) {
	var a, b AnchorRelay
	now := epoch
	const lifetime = 2 * time.Second
	a.Heard(now, up1, router1, anchorsRA(lifetime, anchorAt(anchor1, 1, 1, time.Hour)))
	for i := range 100 {
		now = now.Add(time.Second)
		for _, x := range []*AnchorRelay{&a, &b} {
			x.Expire(now)
		}
		b.Heard(now, up2, router1, anchorsRA(lifetime, a.Anchors(nil, up1, up2)...))
		a.Heard(now, up2, router2, anchorsRA(lifetime, b.Anchors(nil, up1, up2)...))
		for _, m := range append(a.Anchors(nil, up1, up2), b.Anchors(nil, up1, up2)...) {
			if m.Distance > 15 {
				t.Fatalf("round %d: %+v", i, m)
			}
		}
	}
	if left := append(a.Anchors(nil, up1, up2), b.Anchors(nil, up1, up2)...); len(left) != 0 {
		t.Errorf("advertised for ever: %+v", left)
	}
}

// RFC 5380 §9: an anchor that a router does not name any more is gone, but not
// because it is missing from a few advertisements, or from some packets of each.
//
// Covers: P10
func TestAnchorRelayMissing(t *testing.T) {
	var r AnchorRelay
	a1 := anchorAt(anchor1, 1, 1, time.Hour)
	now := epoch
	r.Heard(now, up1, router1, anchorsRA(time.Hour, a1))
	for range 5 {
		for range missedAnchor - 1 {
			now = now.Add(30 * time.Millisecond)
			if r.Heard(now, up1, router1, anchorsRA(time.Hour)) {
				t.Fatal("a change")
			}
		}
		now = now.Add(30 * time.Millisecond)
		r.Heard(now, up1, router1, anchorsRA(time.Hour, a1))
		for range 20 { // further packets
			now = now.Add(time.Millisecond / 2)
			if r.Heard(now, up1, router1, anchorsRA(time.Hour)) {
				t.Fatal("a change")
			}
		}
	}
	for i := range missedAnchor {
		now = now.Add(30 * time.Millisecond)
		if changed := r.Heard(now, up1, router1, anchorsRA(time.Hour)); changed != (i == missedAnchor-1) {
			t.Errorf("advertisement %d: changed %v", i, changed)
		}
	}
	if left := r.Anchors(nil, up1); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
}

// From one router's advertisement to the next one's: what the relay says is what an
// Advertiser takes, and a failure goes out at once.
//
// Covers: P10
func TestAnchorRelayAdvertised(t *testing.T) {
	var r AnchorRelay
	a := newAdvertiser(t, mobileConfig())
	a.wake()
	for _, c := range []struct {
		valid time.Duration
		want  []mip6.MobilityAnchorPoint
	}{
		{time.Hour, []mip6.MobilityAnchorPoint{anchorAt(anchor1, 2, 9, time.Hour)}},
		{0, []mip6.MobilityAnchorPoint{anchorAt(anchor1, 2, 9, 0)}},
	} {
		a.now = a.now.Add(time.Second)
		if !r.Heard(a.now, up1, router1, anchorsRA(time.Hour, anchorAt(anchor1, 1, 9, c.valid))) {
			t.Fatal("no change")
		}
		config := mobileConfig()
		config.Advertisement.Anchors = r.Anchors(nil, up1)
		out, err := a.Reconfigure(a.now, config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRouterAdvertisement(a.one(out, AllNodes()).Append(nil))
		if err != nil || !reflect.DeepEqual(got.Anchors, c.want) {
			t.Errorf("advertised %+v, %v, want %+v", got.Anchors, err, c.want)
		}
	}
}
