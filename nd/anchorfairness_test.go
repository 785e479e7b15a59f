package nd

import (
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

// Whoever forges routers on one upstream link keeps no anchor of another from being
// remembered and advertised, however near and preferred the forged ones claim to be.
func TestAnchorRelayOfSeveralLinks(t *testing.T) {
	var r AnchorRelay
	for i := range 32 {
		var list []mip6.MobilityAnchorPoint
		for j := range 16 {
			list = append(list, anchorAt(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(i), 15: byte(j)}), 1, 15, mip6.InfiniteLifetime))
		}
		r.Heard(epoch, up1, forged(i), anchorsRA(time.Hour, list...))
	}
	r.Heard(epoch, up2, forged(1), anchorsRA(time.Hour, anchorAt(anchor1, 3, 1, time.Hour), anchorAt(anchor2, 4, 1, time.Hour)))
	got := r.Anchors(nil, up1, up2)
	if len(got) != maxRelayedAnchors {
		t.Fatalf("%d anchors", len(got))
	}
	if a, b := got[len(got)-2], got[len(got)-1]; a.Address != anchor1 || b.Address != anchor2 {
		t.Errorf("at last %+v and %+v", a, b)
	}
	if len(r.sources) > 2*maxAnchorSources {
		t.Errorf("%d remembered", len(r.sources))
	}
}
