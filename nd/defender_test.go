package nd

import (
	"net/netip"
	"reflect"
	"testing"
)

// RFC 6275 §10.4.1, RFC 4861 §7.2.4 and §7.2.8.
func TestDefender(t *testing.T) {
	ofRouter := netip.MustParseAddr("2001:db8:1::b")
	var d Defender
	if _, _, ok := d.Answer(Header{Source: host}, NeighborSolicitation{Target: target}, linkAddr); ok {
		t.Fatal("an empty defender answers")
	}
	d.Defend(target, false)
	d.Defend(target, false)
	d.Defend(ofRouter, true)
	if d.Len() != 2 || !d.Defends(target) || d.Defends(host) {
		t.Fatalf("defends %d addresses", d.Len())
	}
	for name, c := range map[string]struct {
		source, target, to netip.Addr
		want               NeighborAdvertisement
	}{
		"address resolution": {host, target, host, NeighborAdvertisement{Solicited: true, Target: target, TargetLinkAddr: linkAddr}},
		"probe":              {netip.IPv6Unspecified(), target, AllNodes(), NeighborAdvertisement{Target: target, TargetLinkAddr: linkAddr}},
		"mobile router":      {host, ofRouter, host, NeighborAdvertisement{Router: true, Solicited: true, Target: ofRouter, TargetLinkAddr: linkAddr}},
	} {
		to, a, ok := d.Answer(Header{Source: c.source, Destination: SolicitedNode(c.target)}, NeighborSolicitation{Target: c.target}, linkAddr)
		if !ok || to != c.to || !reflect.DeepEqual(a, c.want) {
			t.Errorf("%s: %v to %v, %v; want %v to %v", name, a, to, ok, c.want, c.to)
		}
	}
	if !d.Undefend(target) || d.Undefend(target) || d.Defends(target) {
		t.Error("not removed once")
	}
	want := NeighborAdvertisement{Override: true, Target: target, TargetLinkAddr: linkAddr}
	if a := Announcement(target, false, linkAddr); !reflect.DeepEqual(a, want) {
		t.Errorf("announcement %+v, want %+v", a, want)
	}
}
