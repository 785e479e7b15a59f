package mn

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/overlay"
)

// tested are the care-of addresses for which a correspondent is asked among actions.
func tested(actions []role.Action) (all []netip.Addr) {
	for _, s := range only[role.Send](actions) {
		if _, ok := s.Packet.Message.(mip6.CareOfTestInit); ok {
			all = append(all, s.Packet.Source)
		}
	}
	return all
}

// Where the anchor of before refuses and the new one answers right after, the home agent
// is told two care-of addresses in a row. Its first answer does not make correspondents
// believe in the on-link one again: the care-of test of the regional one goes on
// (RFC 5380 §6.1, RFC 6275 §11.7.2).
func TestLateAnswerAndCorrespondents(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.inRegion()
	b.correspondent(b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide}))
	did := b.moveTo(ar3, offered(anchor2, 2, 10))
	old, local := b.localTo(did, anchor1), b.localTo(did, anchor2)
	rcoa := local.HomeAddress
	did = b.handle(b.anchorAnswer(old, mip6.StatusAdministrativelyProhibited, nil))
	first := b.homeUpdate(did)
	b.now = b.now.Add(time.Millisecond)
	did = b.anchorAccepts(local)
	second := b.homeUpdate(did)
	if all := tested(did); len(all) != 1 || all[0] != rcoa {
		t.Fatalf("correspondents are asked about %v, want %v", all, rcoa)
	}
	question := did
	b.now = b.now.Add(100 * time.Millisecond)
	did = b.homeAccepts(first)
	if all := tested(did); len(all) != 0 {
		t.Errorf("the late answer has correspondents asked about %v", all)
	}
	b.direct(careOf3)
	b.now = b.now.Add(time.Millisecond)
	did = append(did, b.homeAccepts(second)...)
	b.stacked(rcoa, anchor2, careOf3)
	did = append(did, b.correspondent(question)...)
	if r := optimised(did); len(r) != 1 || r[0].CareOf != rcoa {
		t.Errorf("routes %+v", r)
	}
}

// An anchor that is not quick: correspondents are told the regional care-of address with
// the home agent, and the on-link one before.
func TestSlowAnchorAndCorrespondents(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	local := b.localTo(did, anchor1)
	b.homeAccepts(b.homeUpdate(did))
	did = b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	if r := optimised(append(did, b.correspondent(did)...)); len(r) != 1 || r[0].CareOf != careOf1 {
		t.Fatalf("routes %+v", r)
	}
	did = b.anchorAccepts(local)
	b.homeUpdate(did)
	if all := tested(did); len(all) != 1 || all[0] != local.HomeAddress {
		t.Errorf("correspondents are asked about %v, want %v", all, local.HomeAddress)
	}
}
