package mn

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// forAWhile is a MAP option of an anchor that is valid for half a minute.
func forAWhile(a mip6.MobilityAnchorPoint) mip6.MobilityAnchorPoint {
	a.ValidLifetime = 30 * time.Second
	return a
}

// Where the anchor of the domain may be used for less time than before, the home agent is
// told so (RFC 5380 §6.1): once, although the move alone is none of its business.
//
// Covers: P5.
func TestShorterGrantIsToldOnce(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	local := b.localTo(b.moveTo(ar2, forAWhile(offered(anchor1, 2, 10))), anchor1)
	home := b.homeUpdate(b.anchorAccepts(local))
	if l := home.Message.(mip6.BindingUpdate).Lifetime.Duration(); home.Source != rcoa || l > 28*time.Second {
		t.Errorf("the home agent is told %v for %v", home.Source, l)
	}
	b.homeAccepts(home)
	b.stacked(rcoa, anchor1, careOf2)
}

// An anchor that acknowledges before the home agent has: the tunnel takes the regional
// care-of address at once, as the correspondents are told, whatever the home agent will
// say.
//
// Covers: P5.
func TestTunnelFollowsTheAnchor(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	local := b.localTo(b.hearOn(1, ar1, offered(anchor1, 2, 10)), anchor1)
	b.direct(careOf1)
	b.anchorAccepts(local)
	b.stacked(local.HomeAddress, anchor1, careOf1)
	if at := b.node.reported; at.CareOf != local.HomeAddress {
		t.Errorf("correspondents are told %v", at.CareOf)
	}
}

// An acknowledgement that comes when its binding is about to end is of no use, and may be
// one of an earlier life of the node, which somebody has recorded: sequence numbers begin
// anew.
//
// Covers: P5, Attack: replay.
func TestAnchorAnswersTooLate(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.Timestamps = false })
	b.carrier(true)
	did := b.hearOn(1, ar1, forAWhile(offered(anchor1, 2, 10)))
	first := b.localTo(did, anchor1)
	b.homeAccepts(b.homeUpdate(did))
	b.pass(time.Second)
	b.carrier(false)
	b.pass(20 * time.Second)
	b.carrier(true)
	last := b.localTo(b.hearOn(1, ar1, forAWhile(offered(anchor1, 2, 10))), anchor1)
	did = b.anchorAccepts(first)
	b.quietAtHome(did)
	b.direct(careOf1)
	if s := b.node.Snapshot(b.now); s.Stats.LateAcknowledgements != 1 || s.Regional[0].Registered {
		t.Errorf("%+v, %+v", s.Stats, s.Regional)
	}
	b.homeAccepts(b.homeUpdate(b.anchorAccepts(last)))
	b.stacked(first.HomeAddress, anchor1, careOf1)
}

// An anchor may ask for the renewal of a binding that is in use (RFC 6275 §11.7.4,
// RFC 5380 §6.2).
//
// Covers: P8.
func TestAnchorAsksForRefresh(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	ask := func() []role.Action {
		p := b.wire(mip6.Packet{Source: anchor1, Destination: rcoa, Message: mip6.BindingRefreshRequest{}})
		if !b.node.Takes(p) {
			t.Fatal("not taken")
		}
		return b.handle(role.MessageReceived{Link: 1, Packet: p})
	}
	local := b.localTo(ask(), anchor1)
	if local.HomeAddress != rcoa || local.Source != careOf1 {
		t.Errorf("update of %v from %v", local.HomeAddress, local.Source)
	}
	if again := sends(ask(), true); len(again) != 0 {
		t.Errorf("while one is under way: %v", again)
	}
	b.quietAtHome(b.anchorAccepts(local))
	b.pass(3 * time.Second)
	local2 := b.localTo(b.moveTo(ar3, offered(anchor2, 2, 10)), anchor2)
	b.homeAccepts(b.homeUpdate(b.anchorAccepts(local2)))
	b.pass(time.Second)
	if again := sends(ask(), true); len(again) != 0 {
		t.Errorf("of one that is left: %v", again)
	}
}
