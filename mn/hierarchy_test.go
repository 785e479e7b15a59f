package mn

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/nd"
	"roam6/overlay"
)

// Two anchors, each with a domain of two access routers, and one router outside.
var (
	anchor1  = netip.MustParseAddr("2001:db8:71::1")
	anchor2  = netip.MustParseAddr("2001:db8:72::1")
	anchorSA = mip6.SecurityAssociation{SPI: 300, Key: mip6.SharedKey{7, 7}}

	ar3     = cell{netip.MustParseAddr("fe80::a3"), netip.MustParsePrefix("2001:db8:a3::/64")}
	ar4     = cell{netip.MustParseAddr("fe80::a4"), netip.MustParsePrefix("2001:db8:a4::/64")}
	careOf3 = netip.MustParseAddr("2001:db8:a3::ff:fe00:42")
	careOf4 = netip.MustParseAddr("2001:db8:a4::ff:fe00:42")
)

// offered is a MAP option.
func offered(anchor netip.Addr, distance, preference uint8) mip6.MobilityAnchorPoint {
	return mip6.MobilityAnchorPoint{Address: anchor, Distance: distance, Preference: preference, ValidLifetime: time.Hour}
}

func hierarchical(c *Config) {
	c.Hierarchy = Hierarchy{Enabled: true, Keys: []AnchorKey{{Anchors: netip.MustParsePrefix("::/0"), SA: &anchorSA}}}
}

// region is a bench with a node that uses anchors.
func newRegion(t *testing.T, change func(*Config)) *bench {
	return newBench(t, func(c *Config) {
		hierarchical(c)
		if change != nil {
			change(c)
		}
	})
}

// hearFrom hears a router on up0, or another link, with anchors.
func (b *bench) hearOn(link int, c cell, anchors ...mip6.MobilityAnchorPoint) []role.Action {
	b.Helper()
	return b.handle(advertisement(link, c, func(ra *nd.RouterAdvertisement) { ra.Anchors = anchors }))
}

// moveTo breaks the link and comes to another router.
func (b *bench) moveTo(c cell, anchors ...mip6.MobilityAnchorPoint) []role.Action {
	b.Helper()
	b.carrier(false)
	did := b.carrier(true)
	return append(did, b.hearOn(1, c, anchors...)...)
}

// sends are the packets with binding updates among actions: local ones, or those to home
// agents.
func sends(actions []role.Action, local bool) []mip6.Packet {
	var out []mip6.Packet
	for _, s := range only[role.Send](actions) {
		if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok && (u.Flags&mip6.UpdateMAP != 0) == local && u.Flags&(mip6.UpdateMAP|mip6.UpdateHome) != 0 {
			out = append(out, s.Packet)
		}
	}
	return out
}

// localTo is the only local update among actions to an anchor.
func (b *bench) localTo(actions []role.Action, anchor netip.Addr) mip6.Packet {
	b.Helper()
	all := slices.DeleteFunc(sends(actions, true), func(p mip6.Packet) bool { return p.Destination != anchor })
	if len(all) != 1 {
		b.Fatalf("%d local updates to %v, want one: %v", len(all), anchor, all)
	}
	return all[0]
}

// homeUpdate is the only update to the home agent among actions.
func (b *bench) homeUpdate(actions []role.Action) mip6.Packet {
	b.Helper()
	all := sends(actions, false)
	if len(all) != 1 {
		b.Fatalf("%d updates to the home agent, want one: %v", len(all), all)
	}
	return all[0]
}

// quietAtHome asserts that the home agent is told nothing.
func (b *bench) quietAtHome(actions []role.Action) {
	b.Helper()
	if all := sends(actions, false); len(all) != 0 {
		b.Fatalf("the home agent is told %+v", all)
	}
}

// anchorAnswer is the acknowledgement of a local update.
func (b *bench) anchorAnswer(p mip6.Packet, status mip6.Status, change func(*mip6.BindingAcknowledgement)) role.MessageReceived {
	b.Helper()
	u := p.Message.(mip6.BindingUpdate)
	a := mip6.BindingAcknowledgement{Status: status, Sequence: u.Sequence, Lifetime: u.Lifetime}
	if o, ok := mip6.Find[mip6.ReplayProtection](u); ok {
		a.Options = append(a.Options, o)
	}
	if change != nil {
		change(&a)
	}
	m, err := anchorSA.Seal(a, p.Source, p.HomeAddress)
	if err != nil {
		b.Fatal(err)
	}
	q := b.wire(mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: p.HomeAddress, Message: m})
	if !b.node.Takes(q) {
		b.Fatalf("the node does not take %+v", q)
	}
	return role.MessageReceived{Link: 1, Packet: q}
}

func (b *bench) anchorAccepts(p mip6.Packet) []role.Action {
	b.Helper()
	return b.handle(b.anchorAnswer(p, mip6.StatusAccepted, nil))
}

// homeAccepts answers an update to the home agent.
func (b *bench) homeAccepts(p mip6.Packet) []role.Action {
	b.Helper()
	return b.handle(b.answerTo(p, mip6.StatusAccepted, nil))
}

// inRegion brings the node to ar1 in the domain of anchor1, all registered, and returns
// the regional care-of address.
func (b *bench) inRegion() netip.Addr {
	b.Helper()
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	local := b.localTo(did, anchor1)
	b.homeAccepts(b.homeUpdate(did))
	b.homeAccepts(b.homeUpdate(b.anchorAccepts(local)))
	b.pass(3 * time.Second)
	b.stacked(local.HomeAddress, anchor1, careOf1)
	return local.HomeAddress
}

// stacked asserts that the tunnel to the home agent goes through that of a regional
// care-of address to its anchor.
func (b *bench) stacked(rcoa, anchor, careOf netip.Addr) {
	b.Helper()
	if p := b.kernel.tunnel.Paths[0]; p != (overlay.Path{Local: rcoa, Remote: homeAgent}) {
		b.Fatalf("the tunnel to the home agent takes %+v, want %v", p, rcoa)
	}
	if t := b.kernel.regional[rcoa]; t == nil || t.Paths[0].Local != careOf || t.Paths[0].Remote != anchor {
		b.Fatalf("the tunnel of %v is %+v, want from %v", rcoa, t, careOf)
	}
}

// direct asserts that the tunnel to the home agent begins at an on-link care-of address.
func (b *bench) direct(careOf netip.Addr) {
	b.Helper()
	if p := b.kernel.tunnel.Paths[0]; p.Local != careOf || p.Link == 0 {
		b.Fatalf("the tunnel to the home agent takes %+v, want %v", p, careOf)
	}
}

// The first attachment in a domain: the home agent is told the on-link care-of address
// at once, the anchor beside it; when it has acknowledged, the home agent is told the
// regional one, for no longer than the anchor has granted, and its acknowledgement swaps
// the path (RFC 5380 §4, §6.1).
//
// Covers: P1, P2, P3, P5.
func TestFirstAttachmentInRegion(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	local, home := b.localTo(did, anchor1), b.homeUpdate(did)
	u := local.Message.(mip6.BindingUpdate)
	if u.Flags != mip6.UpdateAcknowledge|mip6.UpdateMAP || local.Source != careOf1 {
		t.Errorf("local update %+v from %v", u, local.Source)
	}
	if _, ok := mip6.Find[mip6.AlternateCareOf](u); ok {
		t.Error("alternate care-of address in a local update")
	}
	rcoa := local.HomeAddress
	if !netip.PrefixFrom(anchor1, 64).Masked().Contains(rcoa) || rcoa == anchor1 || rcoa.As16()[15] == careOf1.As16()[15] && rcoa.As16()[14] == careOf1.As16()[14] {
		t.Errorf("regional care-of address %v", rcoa)
	}
	if wire := b.wire(local); anchorSA.Verify(wire.MH, careOf1, rcoa) != nil {
		t.Error("not authenticated")
	}
	if home.Source != careOf1 {
		t.Errorf("home agent is told %v", home.Source)
	}
	if len(b.kernel.regional) != 0 {
		t.Error("a tunnel before the anchor has acknowledged")
	}
	if did := b.homeAccepts(home); len(only[role.HandoverDone](did)) != 1 {
		t.Error("handover not complete")
	}
	b.direct(careOf1)
	did = b.handle(b.anchorAnswer(local, mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) { a.Lifetime = mip6.LifetimeFrom(200 * time.Second) }))
	home = b.homeUpdate(did)
	u = home.Message.(mip6.BindingUpdate)
	if home.Source != rcoa || home.HomeAddress != homeAddress || u.Lifetime.Duration() > 200*time.Second {
		t.Errorf("home update %+v from %v", u, home.Source)
	}
	if o, ok := mip6.Find[mip6.AlternateCareOf](u); !ok || o.Addr != rcoa {
		t.Errorf("alternate care-of address %v", o.Addr)
	}
	b.direct(careOf1) // make before break
	if b.kernel.regional[rcoa] == nil {
		t.Error("no way for the update from the regional care-of address")
	}
	b.homeAccepts(home)
	b.stacked(rcoa, anchor1, careOf1)
	for _, a := range only[role.AssignAddress](b.all) {
		if a.Prefix.Addr() == rcoa && (a.Preferred != 0 || a.Link != 0 || !a.Home || a.Prefix.Bits() != 128) {
			t.Errorf("assigned %+v", a)
		}
	}
	s := b.node.Snapshot(b.now)
	if len(s.Anchors) != 1 || !s.Anchors[0].InUse || s.Anchors[0].Distance != 2 || s.Anchors[0].Preference != 10 || s.Anchors[0].Remaining != time.Hour {
		t.Errorf("anchors %+v", s.Anchors)
	}
	if len(s.Regional) != 1 || s.Regional[0].State != RegionalInUse || s.Regional[0].CareOf != rcoa || s.Regional[0].OnLink != careOf1 ||
		s.Regional[0].Remaining != 200*time.Second || s.Regional[0].Pending || s.Update.CareOf != rcoa {
		t.Errorf("regional %+v, update %+v", s.Regional, s.Update)
	}
	if s.Stats.LocalUpdates != 1 || s.Stats.LocalAcknowledgements[0] != 1 {
		t.Errorf("stats %+v", s.Stats)
	}
}

// The anchor may be the faster one: then its acknowledgement overtakes the home agent's.
func TestAnchorOvertakesHomeAgent(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	local, first := b.localTo(did, anchor1), b.homeUpdate(did)
	second := b.homeUpdate(b.anchorAccepts(local))
	did = b.homeAccepts(first)
	b.quietAtHome(did)
	b.direct(careOf1)
	if len(only[role.HandoverDone](did)) != 1 {
		t.Error("handover not complete although the node can be reached")
	}
	b.homeAccepts(second)
	b.stacked(local.HomeAddress, anchor1, careOf1)
}

// A move inside the domain is one local update: the home agent and the correspondents
// hear nothing, routes stay, the path of the regional care-of address is swapped behind
// the update, and the anchor's acknowledgement completes the handover (RFC 5380 §6.1).
//
// Covers: P3, P5.
func TestMoveInsideRegion(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	rcoa := b.inRegion()
	did := b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	if r := optimised(append(did, b.correspondent(did)...)); len(r) != 1 || r[0].CareOf != rcoa || r[0].Link != 0 {
		t.Fatalf("routes %+v", r)
	}
	for i, to := range []struct {
		cell   cell
		careOf netip.Addr
	}{{ar2, careOf2}, {ar1, careOf1}, {ar3, careOf3}} {
		did := b.moveTo(to.cell, offered(anchor1, uint8(1+i), 10))
		b.quietAtHome(did)
		local := b.localTo(did, anchor1)
		if local.Source != to.careOf || local.HomeAddress != rcoa {
			t.Errorf("local update from %v for %v", local.Source, local.HomeAddress)
		}
		b.stacked(rcoa, anchor1, to.careOf)
		sent := slices.IndexFunc(did, func(a role.Action) bool { s, ok := a.(role.Send); return ok && s.Packet.Destination == anchor1 })
		swap := slices.IndexFunc(did, func(a role.Action) bool { f, ok := a.(role.Forward); return ok && f.Changes[0].Set != nil })
		if sent > swap {
			t.Error("the swap comes before the update")
		}
		did = append(did, b.pass(40*time.Millisecond)...)
		acked := b.anchorAccepts(local)
		did = append(did, acked...)
		done := only[role.HandoverDone](acked)
		if len(done) != 1 || done[0].Handover.Acknowledged.Sub(done[0].Handover.Updated) != 40*time.Millisecond || done[0].Handover.Updates != 1 ||
			done[0].Handover.To.CareOf != to.careOf {
			t.Fatalf("handovers %+v", done)
		}
		did = append(did, b.pass(3*time.Second)...)
		b.quietAtHome(did)
		for _, s := range only[role.Send](did) {
			if s.Packet.Destination == peer {
				t.Errorf("the correspondent is told %+v", s.Packet)
			}
		}
		for _, f := range only[role.Forward](did) {
			if f.Changes[0].Deoptimise != nil || f.Changes[0].Optimise != nil {
				t.Errorf("routes change: %+v", f.Changes)
			}
		}
		if b.kernel.has(1, careOf4) || !b.kernel.has(1, to.careOf) {
			t.Error("care-of addresses pile up")
		}
	}
	if as, _ := b.kernelState(); len(as) != 3 { // home, regional, on-link
		t.Errorf("addresses %v", as)
	}
}

// A move to another domain: the anchor of before is told the new on-link care-of address
// at once and goes on serving; the new one is registered beside it, then the home agent
// is told, one swap, then correspondents, and then the old binding ends (§8).
//
// Covers: P5, P6.
func TestMoveBetweenRegions(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	rcoa1 := b.inRegion()
	did := b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	b.correspondent(did)

	did = b.moveTo(ar3, offered(anchor2, 2, 10))
	b.quietAtHome(did)
	old, local := b.localTo(did, anchor1), b.localTo(did, anchor2)
	rcoa2 := local.HomeAddress
	if old.Source != careOf3 || old.HomeAddress != rcoa1 || local.Source != careOf3 || rcoa2 == rcoa1 {
		t.Errorf("updates %+v, %+v", old, local)
	}
	b.stacked(rcoa1, anchor1, careOf3)
	did = b.anchorAccepts(old)
	b.quietAtHome(did)
	if len(only[role.HandoverDone](did)) != 1 {
		t.Error("handover not complete although packets arrive again")
	}
	b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	home := b.homeUpdate(b.anchorAccepts(local))
	if home.Source != rcoa2 {
		t.Errorf("home agent is told %v", home.Source)
	}
	b.stacked(rcoa1, anchor1, careOf3)
	did = b.homeAccepts(home)
	b.stacked(rcoa2, anchor2, careOf3)
	if r := optimised(append(did, b.correspondent(did)...)); len(r) != 1 || r[0].CareOf != rcoa2 {
		t.Errorf("routes %+v", r)
	}
	if b.kernel.regional[rcoa1] == nil {
		t.Error("what is on its way to the former regional care-of address is lost")
	}
	bye := b.localTo(b.pass(formerRegion+time.Millisecond), anchor1)
	if u := bye.Message.(mip6.BindingUpdate); u.Lifetime != 0 || bye.Source != careOf3 {
		t.Errorf("the old binding ends by %+v", u)
	}
	b.anchorAccepts(bye)
	if len(b.kernel.regional) != 1 {
		t.Errorf("tunnels %v", b.kernel.regional)
	}
	b.quietAtHome(b.pass(time.Minute))
}

// Where the anchor of before refuses to serve in another domain, or does not answer, the
// home agent is told the on-link care-of address at once.
//
// Covers: P5.
func TestFormerAnchorDoesNotServe(t *testing.T) {
	for _, silent := range []bool{false, true} {
		b := newRegion(t, nil)
		b.inRegion()
		did := b.moveTo(ar3, offered(anchor2, 2, 10))
		old, local := b.localTo(did, anchor1), b.localTo(did, anchor2)
		if silent {
			b.quietAtHome(b.pass(InitialBindAckTimeout - time.Millisecond))
			did = b.pass(2 * time.Millisecond)
		} else {
			did = b.handle(b.anchorAnswer(old, mip6.StatusAdministrativelyProhibited, nil))
		}
		home := b.homeUpdate(did)
		if home.Source != careOf3 {
			t.Errorf("silent %v: home agent is told %v", silent, home.Source)
		}
		b.direct(careOf3)
		b.homeAccepts(home)
		home = b.homeUpdate(b.anchorAccepts(local))
		b.homeAccepts(home)
		b.stacked(local.HomeAddress, anchor2, careOf3)
	}
}

// Out of the domain, where no anchor is advertised, mobility is not hierarchical: the
// home agent is told the on-link care-of address at once (§7.1), and the anchor, which
// may forward what is on its way (§8).
//
// Covers: P1.
func TestMoveOutOfRegion(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	did := b.moveTo(ar3)
	home := b.homeUpdate(did)
	old := b.localTo(did, anchor1)
	if home.Source != careOf3 || old.Source != careOf3 {
		t.Errorf("told %v and %v", home.Source, old.Source)
	}
	b.direct(careOf3)
	b.anchorAccepts(old)
	b.direct(careOf3)
	if b.kernel.regional[rcoa] == nil {
		t.Error("what the anchor forwards is not taken")
	}
	b.homeAccepts(home)
	b.direct(careOf3)
	bye := b.localTo(b.pass(formerRegion+time.Millisecond), anchor1)
	b.anchorAccepts(bye)
	if len(b.kernel.regional) != 0 || len(b.node.Snapshot(b.now).Regional) != 0 {
		t.Errorf("left: %v", b.kernel.regional)
	}
	// And back: the same regional care-of address again.
	did = b.moveTo(ar1, offered(anchor1, 2, 10))
	if p := b.localTo(did, anchor1); p.HomeAddress != rcoa {
		t.Errorf("another regional care-of address: %v", p.HomeAddress)
	}
}

// Acknowledgements of an anchor that are not in order are ignored: without a type 2
// routing header with the regional care-of address, with a wrong one, not authentic, to
// no update.
//
// Covers: P4.
func TestAnchorAnswersIgnored(t *testing.T) {
	for name, spoil := range map[string]func(*role.MessageReceived){
		"no routing header": func(e *role.MessageReceived) { e.Packet.RouteHome = netip.Addr{} },
		"home address":      func(e *role.MessageReceived) { e.Packet.RouteHome = homeAddress },
		"another regional":  func(e *role.MessageReceived) { e.Packet.RouteHome = netip.MustParseAddr("2001:db8:71::dead") },
		"another sender":    func(e *role.MessageReceived) { e.Packet.Source = anchor2 },
		"home address option": func(e *role.MessageReceived) {
			e.Packet.HomeAddress = netip.MustParseAddr("2001:db8:71::dead")
		},
		"wrong authenticator": func(e *role.MessageReceived) {
			e.Packet.MH = slices.Clone(e.Packet.MH)
			e.Packet.MH[len(e.Packet.MH)-1] ^= 1
		},
		"another destination": func(e *role.MessageReceived) { e.Packet.Destination = careOf2 },
	} {
		b := newRegion(t, nil)
		b.carrier(true)
		local := b.localTo(b.hearOn(1, ar1, offered(anchor1, 2, 10)), anchor1)
		e := b.anchorAnswer(local, mip6.StatusAccepted, nil)
		spoil(&e)
		did := b.handle(e)
		if len(only[role.Dropped](did)) != 1 || len(sends(did, false)) != 0 || len(b.kernel.regional) != 0 {
			t.Errorf("%s: %+v", name, did)
		}
		if did = b.anchorAccepts(local); len(sends(did, false)) != 1 {
			t.Errorf("%s: the true one is not taken then", name)
		}
	}
}

// What an anchor refuses: a sequence number and the time of day are adopted, a regional
// care-of address that is taken is replaced, and where it will not serve another anchor
// is asked, or none.
func TestAnchorRefuses(t *testing.T) {
	begin := func() (*bench, mip6.Packet) {
		b := newRegion(t, nil)
		b.carrier(true)
		return b, b.localTo(b.hearOn(1, ar1, offered(anchor1, 2, 10), offered(anchor2, 1, 9)), anchor1)
	}
	b, p := begin()
	did := b.handle(b.anchorAnswer(p, mip6.StatusSequenceOutOfWindow, func(a *mip6.BindingAcknowledgement) { a.Sequence = 4711 }))
	if u := b.localTo(did, anchor1).Message.(mip6.BindingUpdate); u.Sequence != 4712 {
		t.Errorf("sequence %d after 135 with 4711", u.Sequence)
	}
	b, p = begin()
	theirs := mip6.TimestampFrom(b.now.Add(-1000 * time.Hour))
	did = b.handle(b.anchorAnswer(p, mip6.StatusIDMismatch, func(a *mip6.BindingAcknowledgement) {
		a.Options = []mip6.Option{mip6.ReplayProtection{Timestamp: theirs}}
	}))
	if o, _ := mip6.Find[mip6.ReplayProtection](b.localTo(did, anchor1).Message); o.Timestamp.Sub(theirs).Abs() > time.Second {
		t.Errorf("timestamp %v off the anchor's", o.Timestamp.Sub(theirs))
	}
	b, p = begin()
	seen := []netip.Addr{p.HomeAddress}
	for range maxIdentifiers - 1 {
		p = b.localTo(b.handle(b.anchorAnswer(p, mip6.StatusDuplicateAddress, nil)), anchor1)
		if slices.Contains(seen, p.HomeAddress) || p.HomeAddress.As16()[7] != anchor1.As16()[7] {
			t.Errorf("next regional care-of address %v after %v", p.HomeAddress, seen)
		}
		seen = append(seen, p.HomeAddress)
		b.pass(400 * time.Millisecond)
	}
	b.localTo(b.handle(b.anchorAnswer(p, mip6.StatusDuplicateAddress, nil)), anchor2)
	for _, status := range []mip6.Status{mip6.StatusReasonUnspecified, mip6.StatusAdministrativelyProhibited, mip6.StatusInsufficientResources,
		mip6.StatusHomeRegistrationNotSupported, mip6.StatusInvalidCareOfAddress} {
		b, p := begin()
		b.localTo(b.handle(b.anchorAnswer(p, status, nil)), anchor2)
		if s := b.node.Snapshot(b.now); s.Stats.AnchorFailures != 1 {
			t.Errorf("%v: %+v", status, s.Stats)
		}
	}
	// One that grants next to nothing is of no use.
	b, p = begin()
	b.localTo(b.handle(b.anchorAnswer(p, mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) { a.Lifetime = 1 })), anchor2)
}

// A lifetime of zero says that the anchor has failed: another one is chosen, its bindings
// are lost, and without another one mobility is not hierarchical (§7.1).
//
// Covers: P1.
func TestAnchorFailed(t *testing.T) {
	dead := offered(anchor1, 2, 10)
	dead.ValidLifetime = 0
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	did := b.hearOn(1, ar1, dead)
	home := b.homeUpdate(did)
	if home.Source != careOf1 || len(sends(did, true)) != 0 {
		t.Errorf("told %v", did)
	}
	b.direct(careOf1)
	if b.kernel.regional[rcoa] != nil {
		t.Error("the tunnel to the dead anchor stays")
	}
	b.homeAccepts(home)
	for range 20 {
		if did := append(b.hearOn(1, ar1, dead), b.pass(10*time.Second)...); len(sends(did, true)) != 0 {
			t.Fatalf("asked: %v", did)
		}
	}

	b = newRegion(t, nil)
	b.inRegion()
	did = b.hearOn(1, ar1, dead, offered(anchor2, 1, 3))
	home, local := b.homeUpdate(did), b.localTo(did, anchor2)
	b.homeAccepts(home)
	b.homeAccepts(b.homeUpdate(b.anchorAccepts(local)))
	b.stacked(local.HomeAddress, anchor2, careOf1)
}

// An anchor that does not acknowledge a move in time is done without, and asked on: if it
// answers, it serves again, otherwise it is left for a while that doubles.
func TestSilentAnchor(t *testing.T) {
	for _, answers := range []bool{true, false} {
		b := newRegion(t, nil)
		rcoa := b.inRegion()
		b.quietAtHome(b.moveTo(ar2, offered(anchor1, 2, 10)))
		b.quietAtHome(b.pass(InitialBindAckTimeout - time.Millisecond))
		did := b.pass(2 * time.Millisecond)
		home, again := b.homeUpdate(did), b.localTo(did, anchor1)
		if home.Source != careOf2 {
			t.Errorf("told %v", home.Source)
		}
		b.direct(careOf2)
		if done := only[role.HandoverDone](b.homeAccepts(home)); len(done) != 1 {
			t.Errorf("handovers %v", done)
		}
		if answers {
			home = b.homeUpdate(b.anchorAccepts(again))
			b.homeAccepts(home)
			b.stacked(rcoa, anchor1, careOf2)
			continue
		}
		did = b.pass(6 * time.Second)
		b.quietAtHome(did)
		if s := b.node.Snapshot(b.now); s.Anchors[0].Obstacle.String() != "avoided" {
			t.Errorf("anchors %+v", s.Anchors)
		}
		b.direct(careOf2)
		b.hearOn(1, ar2, offered(anchor1, 2, 10))
		if did = b.pass(3 * time.Second); len(sends(did, true)) != 0 {
			t.Errorf("asked: %v", sends(did, true))
		}
		if did = b.pass(10 * time.Second); len(sends(did, true)) == 0 {
			t.Error("never asked again")
		}
	}
}

// Where the tunnel brings nothing back, the router is asked, then the anchor, then the
// home agent; a dead anchor costs its first time-out.
func TestTunnelSilentThroughAnchor(t *testing.T) {
	for _, answers := range []bool{true, false} {
		for _, home := range []bool{true, false} {
			b := newRegion(t, nil)
			rcoa := b.inRegion()
			silent := role.TunnelSilent{Home: homeAddress}
			if !home {
				silent.Home = rcoa
			}
			b.handle(silent)
			did := b.handle(role.NeighborHeard{Link: 1, From: ar1.router, Target: ar1.router, Solicited: true})
			b.quietAtHome(did)
			local := b.localTo(did, anchor1)
			if answers {
				if p := b.homeUpdate(b.anchorAccepts(local)); p.Source != rcoa {
					t.Errorf("told %v", p.Source)
				}
				continue
			}
			if p := b.homeUpdate(b.pass(InitialBindAckTimeout)); p.Source != careOf1 {
				t.Errorf("told %v", p.Source)
			}
			b.direct(careOf1)
		}
	}
}

// An anchor that has lost its bindings is registered with again at once; the home agent's
// refusal is a matter of the home agent.
func TestAnchorRestarts(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	local := b.localTo(b.handle(role.TunnelRefused{Home: rcoa}), anchor1)
	b.quietAtHome(b.anchorAccepts(local))
	b.stacked(rcoa, anchor1, careOf1)
	if did := b.handle(role.TunnelRefused{Home: rcoa}); len(sends(did, true)) != 0 {
		t.Error("anybody can forge that: not more than once a second")
	}
	b.pass(2 * time.Second)
	b.localTo(b.handle(role.TunnelRefused{Home: rcoa}), anchor1)
	if p := b.homeUpdate(b.pass(InitialBindAckTimeout)); p.Source != careOf1 {
		t.Errorf("told %v", p.Source)
	}
	b = newRegion(t, nil)
	b.inRegion()
	b.homeUpdate(b.handle(role.TunnelRefused{Home: homeAddress}))
}

// Make before break inside a domain: the anchor is told the care-of address of the
// better link, tunnel and care-of address in use stay until it has acknowledged.
func TestPrepareInsideRegion(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.Uplinks = []string{"up1", "up0"} })
	rcoa := b.inRegion()
	b.handle(upLink(2, "up1", true))
	b.hearOn(2, ar2, offered(anchor1, 2, 10))
	did := b.pass(1100 * time.Millisecond)
	b.quietAtHome(did)
	local := b.localTo(did, anchor1)
	if local.Source != careOf2 {
		t.Fatalf("told %v", local.Source)
	}
	b.stacked(rcoa, anchor1, careOf1)
	did = b.anchorAccepts(local)
	b.quietAtHome(did)
	b.stacked(rcoa, anchor1, careOf2)
	if d := only[role.HandoverDone](did); len(d) != 1 || d[0].Handover.To.CareOf != careOf2 || d[0].Handover.Updates != 1 {
		t.Errorf("handovers %+v", d)
	}
	if b.node.current.link != 2 || b.node.pending != nil {
		t.Errorf("at %+v", b.node.current)
	}
}

// A better link that does not keep what it promised is given up, and the anchor told
// again where the node is; the home agent hears of nothing.
func TestPreparationAbandoned(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.Uplinks = []string{"up1", "up0"} })
	rcoa := b.inRegion()
	b.handle(upLink(2, "up1", true))
	b.hearOn(2, ar2, offered(anchor1, 2, 10))
	did := b.pass(1100 * time.Millisecond)
	b.localTo(did, anchor1)
	did = b.answering(8 * time.Second)
	b.quietAtHome(did)
	all := sends(did, true)
	last := all[len(all)-1]
	if last.Source != careOf1 || b.node.pending != nil {
		t.Errorf("told %v, pending %+v", last.Source, b.node.pending)
	}
	b.stacked(rcoa, anchor1, careOf1)
	b.quietAtHome(b.anchorAccepts(last))
	b.stacked(rcoa, anchor1, careOf1)
}

// Make before break into another domain: first the anchor there, then the home agent by
// it, then the swap. What the anchor of before has is left alone until then. Where the
// new anchor is slow the home agent is told the on-link care-of address.
func TestPrepareBetweenRegions(t *testing.T) {
	for _, slow := range []bool{false, true} {
		b := newRegion(t, func(c *Config) { c.Uplinks = []string{"up1", "up0"} })
		rcoa1 := b.inRegion()
		b.handle(upLink(2, "up1", true))
		b.hearOn(2, ar3, offered(anchor2, 2, 10))
		did := b.pass(1100 * time.Millisecond)
		b.quietAtHome(did)
		local := b.localTo(did, anchor2)
		if len(sends(did, true)) != 1 {
			t.Errorf("told %v", sends(did, true))
		}
		want := careOf3
		if !slow {
			want = local.HomeAddress
			did = b.anchorAccepts(local)
		} else {
			did = b.pass(FirstBindAckTimeout)
		}
		home := b.homeUpdate(did)
		if home.Source != want {
			t.Errorf("told %v, want %v", home.Source, want)
		}
		b.stacked(rcoa1, anchor1, careOf1)
		did = b.homeAccepts(home)
		old := b.localTo(did, anchor1)
		if old.Source != careOf3 || b.kernel.tunnel.Paths[0].Local != want || b.kernel.regional[rcoa1].Paths[0].Local != careOf3 {
			t.Errorf("slow %v: %+v, tunnel %+v", slow, old, b.kernel.tunnel.Paths)
		}
		if len(only[role.HandoverDone](did)) != 1 {
			t.Error("handover not complete")
		}
	}
}

// The link in use dies while a better one in another domain is prepared: the anchor of
// before serves there, as in any other move.
func TestOldLinkDiesInPreparation(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.Uplinks = []string{"up1", "up0"} })
	rcoa1 := b.inRegion()
	b.handle(upLink(2, "up1", true))
	b.hearOn(2, ar3, offered(anchor2, 2, 10))
	local := b.localTo(b.pass(1100*time.Millisecond), anchor2)
	did := b.carrier(false)
	old := b.localTo(did, anchor1)
	b.quietAtHome(did)
	b.stacked(rcoa1, anchor1, careOf3)
	b.anchorAccepts(old)
	b.homeAccepts(b.homeUpdate(b.anchorAccepts(local)))
	b.stacked(local.HomeAddress, anchor2, careOf3)
}

// At home the regional care-of address is of no use: the anchor is told so when the home
// agent has let the node go, and from the home address.
func TestReturnHomeFromRegion(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	did := b.moveTo(atHome)
	if home := b.homeUpdate(did); home.Message.(mip6.BindingUpdate).Lifetime != 0 || home.Source != homeAddress || len(sends(did, true)) != 0 {
		t.Errorf("told %+v", did)
	}
	if len(b.kernel.regional) != 0 || b.kernel.has(0, rcoa) {
		t.Errorf("left %v", b.kernel.regional)
	}
	did = b.acknowledge()
	did = append(did, b.pass(time.Millisecond)...)
	bye := b.localTo(did, anchor1)
	if bye.Message.(mip6.BindingUpdate).Lifetime != 0 || bye.Source != homeAddress || bye.HomeAddress != rcoa {
		t.Errorf("told %+v", bye)
	}
	b.anchorAccepts(bye)
	if did := b.pass(time.Minute); len(sends(did, true)) != 0 {
		t.Errorf("told again: %v", sends(did, true))
	}
}

// A stop ends the registration with the home agent, by the regional care-of address, and
// then that with the anchor, answered or not.
func TestStopInRegion(t *testing.T) {
	for _, answered := range []int{0, 1, 2} {
		b := newRegion(t, nil)
		rcoa := b.inRegion()
		did := b.handle(role.Stop{})
		home := b.homeUpdate(did)
		if home.Source != rcoa || home.Message.(mip6.BindingUpdate).Lifetime != 0 || len(sends(did, true)) != 0 {
			t.Errorf("told %+v", did)
		}
		if answered == 0 {
			did = b.pass(3 * time.Second)
		} else {
			did = b.acknowledge()
		}
		bye := sends(did, true)
		if len(bye) != 1 || bye[0].Message.(mip6.BindingUpdate).Lifetime != 0 || bye[0].HomeAddress != rcoa {
			t.Fatalf("%d: the anchor is told %+v", answered, bye)
		}
		switch answered {
		case 1:
			b.pass(3 * time.Second)
		case 2:
			b.anchorAccepts(bye[0])
		}
		if !b.node.Done() {
			t.Errorf("%d: not done", answered)
		}
		b.empty()
	}
}

// Several anchors: a better one takes the place of the one in use, make before break; the
// one in use stays where the distance alone speaks for another; with preference zero it
// is renewed as long as there is no other (§7.1, §9.1).
//
// Covers: P2.
func TestAnchorPreferenceChanges(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	if did := b.hearOn(1, ar1, offered(anchor1, 2, 10), offered(anchor2, 9, 10)); len(sends(did, true)) != 0 {
		t.Errorf("left for a further one: %v", did)
	}
	drained := offered(anchor1, 2, 0)
	for range 3 { // then it has not advertised the other one for long enough
		b.pass(50 * time.Millisecond)
		b.hearOn(1, ar1, drained)
	}
	b.quietAtHome(b.pass(4 * time.Second))
	var refreshed bool
	for range 1000 {
		did := b.pass(500 * time.Millisecond)
		for _, p := range sends(did, true) {
			refreshed = refreshed || p.Destination == anchor1 && p.HomeAddress == rcoa
			b.anchorAccepts(p)
		}
		for _, p := range sends(did, false) {
			b.homeAccepts(p)
		}
	}
	if !refreshed {
		t.Error("a binding with a drained anchor is not renewed")
	}
	did := b.hearOn(1, ar1, drained, offered(anchor2, 1, 1))
	b.quietAtHome(did)
	local := b.localTo(did, anchor2)
	home := b.homeUpdate(b.anchorAccepts(local))
	b.stacked(rcoa, anchor1, careOf1)
	b.homeAccepts(home)
	b.stacked(local.HomeAddress, anchor2, careOf1)

	b = newRegion(t, nil) // nobody begins with a drained one
	b.carrier(true)
	if did := b.hearOn(1, ar1, drained); len(sends(did, true)) != 0 {
		t.Errorf("asked: %v", did)
	}
}

// An anchor that is not advertised any more serves until its binding would have to be
// renewed, and is left then, make before break (§9: eager to bind, lazy to release).
func TestAnchorNotAdvertised(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	for range 5 {
		b.quietAtHome(b.hearOn(1, ar1))
	}
	b.stacked(rcoa, anchor1, careOf1)
	var home []mip6.Packet
	for range 1200 {
		did := append(b.hearOn(1, ar1), b.pass(500*time.Millisecond)...)
		if l := sends(did, true); len(l) != 0 && l[0].Message.(mip6.BindingUpdate).Lifetime > 0 {
			t.Errorf("renewed: %+v", l)
		}
		for _, p := range sends(did, false) {
			home = append(home, p)
			b.homeAccepts(p)
		}
	}
	if len(home) == 0 || home[0].Source != careOf1 {
		t.Fatalf("told %+v", home)
	}
	b.direct(careOf1)
	if len(b.kernel.regional) != 0 {
		t.Errorf("left: %v", b.kernel.regional)
	}
}

// Both registrations are renewed in time, and the one with the home agent is never longer
// than the one with the anchor.
//
// Covers: P5.
func TestRegionRefreshed(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.Hierarchy.Lifetime = 200 * time.Second })
	rcoa := b.inRegion()
	local, home := 0, 0
	for range 3600 {
		if b.now.Second() == 0 {
			b.hearOn(1, ar1, offered(anchor1, 2, 10))
		}
		did := b.pass(time.Second)
		for _, p := range sends(did, true) {
			local++
			b.anchorAccepts(p)
		}
		for _, p := range sends(did, false) {
			home++
			b.homeAccepts(p)
		}
		s := b.node.Snapshot(b.now)
		if len(s.Regional) != 1 || !s.Update.Registered || s.Update.CareOf != rcoa || s.Update.Remaining > s.Regional[0].Remaining {
			t.Fatalf("%v: %+v, %+v", b.now, s.Update, s.Regional)
		}
	}
	if local > 40 || home > 60 {
		t.Errorf("%d local updates and %d to the home agent in an hour", local, home)
	}
	b.stacked(rcoa, anchor1, careOf1)
}

// Anchors that are not used, and why: those that allocate addresses, those without a key,
// those at home; the log says so once.
func TestAnchorsNotUsed(t *testing.T) {
	allocates := offered(anchor1, 2, 10)
	allocates.Allocated = true
	for name, c := range map[string]struct {
		option mip6.MobilityAnchorPoint
		change func(*Config)
		logged int
		used   bool
	}{
		"allocates":   {option: allocates, logged: 1},
		"no key":      {option: offered(anchor1, 2, 10), change: func(c *Config) { c.Hierarchy.Keys[0].Anchors = netip.MustParsePrefix("2001:db8:99::/48") }, logged: 1},
		"insecure":    {option: offered(anchor1, 2, 10), change: func(c *Config) { c.Hierarchy.Keys, c.Hierarchy.Insecure = nil, true }, used: true},
		"at home":     {option: offered(netip.MustParseAddr("2001:db8:10::77"), 2, 10)},
		"home agent":  {option: offered(homeAgent, 2, 10)},
		"not enabled": {option: offered(anchor1, 2, 10), change: func(c *Config) { c.Hierarchy.Enabled = false }},
	} {
		b := newRegion(t, c.change)
		b.carrier(true)
		for range 5 {
			b.hearOn(1, ar1, c.option)
			b.pass(time.Second)
		}
		if used := len(sends(b.all, true)) > 0; used != c.used {
			t.Errorf("%s: used %v", name, used)
		}
		logged := 0
		for _, l := range only[role.Log](b.all) {
			if l.Message == "mobility anchor point is not used" {
				logged++
			}
		}
		if logged != c.logged {
			t.Errorf("%s: logged %d times, want %d", name, logged, c.logged)
		}
	}
}

// Switched off while it is in use, the home agent is told the on-link care-of address;
// switched on again, the anchor serves again. A key that changes is used.
func TestHierarchyReconfigured(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	did := b.did(b.node.Reconfigure(b.now, config()))
	home := b.homeUpdate(did)
	if home.Source != careOf1 {
		t.Errorf("told %v", home.Source)
	}
	b.homeAccepts(home)
	b.direct(careOf1)
	bye := sends(b.pass(formerRegion+time.Millisecond), true)
	if len(bye) != 1 || bye[0].Message.(mip6.BindingUpdate).Lifetime != 0 {
		t.Fatalf("told %+v", bye)
	}
	on := config()
	hierarchical(&on)
	key := mip6.SecurityAssociation{SPI: 301, Key: mip6.SharedKey{9}}
	on.Hierarchy.Keys = append(on.Hierarchy.Keys, AnchorKey{Anchors: netip.MustParsePrefix("2001:db8:71::/48"), SA: &key})
	local := b.localTo(b.did(b.node.Reconfigure(b.now, on)), anchor1)
	if wire := b.wire(local); key.Verify(wire.MH, careOf1, rcoa) != nil {
		t.Error("not sealed with the key of the longest prefix")
	}
}

// Correspondents on the same link are told the on-link care-of address, so that packets
// do not go by the anchor; a move inside the domain is one for them alone (§6.1).
func TestCorrespondentOnLink(t *testing.T) {
	near := netip.MustParseAddr("2001:db8:a1::99")
	b := newRegion(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	rcoa := b.inRegion()
	did := b.handle(role.TrafficSeen{Home: homeAddress, Peer: near, Side: overlay.MobileSide})
	did = append(did, b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})...)
	from := map[netip.Addr]role.Send{}
	for _, s := range only[role.Send](did) {
		if _, ok := s.Packet.Message.(mip6.CareOfTestInit); ok {
			from[s.Packet.Destination] = s
		}
	}
	if from[near].Packet.Source != careOf1 || from[near].Link != 1 || from[peer].Packet.Source != rcoa || from[peer].Link != 0 {
		t.Errorf("care-of tests %+v", from)
	}
}

// RFC 5380 §6.1: no regional care-of address is ever told an anchor as the on-link one. An
// access network may have the prefix of an anchor: the address formed there is another
// one, and a lease of the very address is not used.
//
// Covers: P6.
func TestRegionalAddressIsNoOnLinkAddress(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	at := cell{netip.MustParseAddr("fe80::71"), netip.MustParsePrefix("2001:db8:71::/64")}
	did := b.moveTo(at, offered(anchor1, 1, 10), offered(anchor2, 1, 15))
	onLink := b.node.current.careOf
	if !at.prefix.Contains(onLink) || onLink == rcoa {
		t.Fatalf("on-link care-of address %v", onLink)
	}
	for _, p := range sends(did, true) {
		if p.Source != onLink {
			t.Errorf("%v is told %v", p.Destination, p.Source)
		}
	}
	b = newRegion(t, func(c *Config) { c.Addressing = map[string]Addressing{"up0": AddressingAuto} })
	rcoa = b.inRegion()
	b.handle(role.LeaseChanged{Link: 1, Lease: role.Lease{Addresses: []role.LeasedPrefix{
		{Prefix: netip.PrefixFrom(rcoa, 128), Preferred: time.Hour, Valid: time.Hour}}}})
	if b.pass(time.Minute); b.node.current.careOf != careOf1 || b.node.pending != nil {
		t.Errorf("attached with %+v", b.node.current)
	}
}

// A mobile router in a domain: its prefixes are named to the home agent, with the
// regional care-of address, and nothing leaves beside the tunnel.
func TestRouterInRegion(t *testing.T) {
	b := newRouterBench(t, hierarchical)
	rcoa := b.inRegion()
	if got := b.kernel.tunnel.Inner; len(got) != 2 || got[1] != behind.prefix {
		t.Errorf("inner %v", got)
	}
	place := b.node.Place()
	if place.CareOf != rcoa || place.Link != 0 || place.OnLink != careOf1 || !place.Bound || !place.Registered {
		t.Errorf("place %+v", place)
	}
	did := b.moveTo(ar2, offered(anchor1, 2, 10))
	b.quietAtHome(did)
	if place = b.node.Place(); place.CareOf != rcoa || !place.Registered || place.OnLink != careOf2 {
		t.Errorf("place %+v", place)
	}
	// One in the network behind would be reached through its own tunnel.
	inside := netip.MustParseAddr("2001:db8:100::1")
	b.anchorAccepts(b.localTo(did, anchor1))
	if did = b.hearOn(1, ar2, offered(anchor1, 2, 10), offered(inside, 1, 15)); len(sends(did, true)) != 0 {
		t.Errorf("asked: %v", did)
	}
}

// The options of routers with the same link-local address do not mix, and those of before
// are known again when a router answers for itself (RFC 6059).
func TestAnchorsOfRouters(t *testing.T) {
	b := newRegion(t, nil)
	b.inRegion()
	twin := cell{ar1.router, ar2.prefix}
	b.carrier(false)
	b.carrier(true)
	did := b.handle(advertisement(1, twin, func(ra *nd.RouterAdvertisement) { ra.SourceLinkAddr[5] = 0x77 }))
	if home := b.homeUpdate(did); home.Source != careOf2 {
		t.Errorf("a router without anchors: told %v", home.Source)
	}
}

// Whatever happens to the updates, no more than three go to an anchor within a second,
// and unanswered ones back off to 32 s (RFC 6275 §11.8).
func TestLocalUpdateRate(t *testing.T) {
	b := newRegion(t, nil)
	b.inRegion()
	var times []time.Time
	count := func(did []role.Action) {
		for range sends(did, true) {
			times = append(times, b.now)
		}
	}
	for i := range 20 {
		count(b.moveTo([]cell{ar2, ar1}[i%2], offered(anchor1, 2, 10)))
		for range 10 {
			count(b.pass(10 * time.Millisecond))
		}
	}
	for i := range times {
		if i >= MaxUpdateRate && times[i].Sub(times[i-MaxUpdateRate]) < time.Second {
			t.Fatalf("update %d and %d within %v", i-MaxUpdateRate, i, times[i].Sub(times[i-MaxUpdateRate]))
		}
	}
	if len(times) < 4 {
		t.Error(fmt.Sprint("only ", len(times), " updates"))
	}
}
