package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// protectedRegion is a bench with a node whose anchors have IPsec alone: that of 71::/48
// by the association with inbound SPI 401, all others by 400.
func protectedRegion(t *testing.T) *bench {
	return newRegion(t, func(c *Config) {
		c.Hierarchy.Keys = []AnchorKey{
			{Anchors: netip.MustParsePrefix("::/0"), ESP: 400}, {Anchors: netip.MustParsePrefix("2001:db8:71::/48"), ESP: 401},
		}
	})
}

// plainAnswer is the acknowledgement of an anchor without an authenticator, that came
// under an association.
func (b *bench) plainAnswer(p mip6.Packet, spi uint32, status mip6.Status) role.MessageReceived {
	b.Helper()
	u := p.Message.(mip6.BindingUpdate)
	a := mip6.BindingAcknowledgement{Status: status, Sequence: u.Sequence, Lifetime: u.Lifetime}
	if !status.Accepted() {
		a.Lifetime = 0
	}
	if o, ok := mip6.Find[mip6.ReplayProtection](u); ok {
		a.Options = append(a.Options, o)
	}
	return role.MessageReceived{Link: 1, SPI: spi, Packet: b.wire(mip6.Packet{
		Source: p.Destination, Destination: p.Source, RouteHome: p.HomeAddress, Message: a,
	})}
}

// underSPI are the associations of the local updates among actions.
func underSPI(actions []role.Action) (all []uint32) {
	for _, s := range only[role.Send](actions) {
		if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateMAP != 0 {
			all = append(all, s.SPI)
		} else if s.SPI != 0 {
			all = append(all, 0) // of nobody else
		}
	}
	return all
}

// RFC 5380 §12.1, RFC 4877 §4: with IPsec the node tells an anchor nothing but under the
// association with it, the care-of address where ESP protects it (RFC 3776 §4.3); and it
// takes an acknowledgement only under that association: not without ESP, nor under
// another anchor's, nor the home agent's.
//
// Covers: P4, P9.
func TestAnchorUnderIPsec(t *testing.T) {
	b := protectedRegion(t)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	local := b.localTo(did, anchor1)
	u := local.Message.(mip6.BindingUpdate)
	if a, ok := mip6.Find[mip6.AlternateCareOf](u); !ok || a.Addr != careOf1 || len(mip6.All[mip6.Authentication](u)) != 0 ||
		len(mip6.All[mip6.ReplayProtection](u)) != 0 || local.Source != careOf1 || !slices.Equal(underSPI(did), []uint32{401}) {
		t.Fatalf("update %+v under %v", local, underSPI(did))
	}
	good := b.plainAnswer(local, 401, mip6.StatusAccepted)
	sealed := b.anchorAnswer(local, mip6.StatusAccepted, nil) // by a key that is not configured
	for name, e := range map[string]role.MessageReceived{
		"without ESP":                       {Link: 1, Packet: good.Packet},
		"with an authenticator":             sealed,
		"by another anchor's association":   {Link: 1, Packet: good.Packet, SPI: 400},
		"by the home agent's association":   {Link: 1, Packet: good.Packet, Protected: true},
		"a refusal without ESP":             {Link: 1, Packet: b.plainAnswer(local, 0, mip6.StatusAdministrativelyProhibited).Packet},
		"a sequence number without ESP":     {Link: 1, Packet: b.plainAnswer(local, 0, mip6.StatusSequenceOutOfWindow).Packet},
		"a wish for timestamps without ESP": {Link: 1, Packet: b.plainAnswer(local, 0, mip6.StatusMessageIDRequired).Packet},
	} {
		did := b.handle(e)
		drops := only[role.Dropped](did)
		if len(drops) != 1 || drops[0].Reason != role.DropUnauthenticated || len(sends(did, false)) != 0 || len(sends(did, true)) != 0 || len(b.kernel.regional) != 0 {
			t.Errorf("%s: %+v", name, did)
		}
	}
	did = b.handle(good)
	if home := b.homeUpdate(did); !slices.Contains(b.node.regionals, b.node.regionalAt(local.HomeAddress)) || home.Source != local.HomeAddress {
		t.Errorf("told the home agent %+v", home)
	}
	// In the other domain the other key; the anchor of before is told under its own.
	did = b.moveTo(ar3, offered(anchor2, 2, 10))
	if got := underSPI(did); !slices.Equal(got, []uint32{400, 401}) && !slices.Equal(got, []uint32{401, 400}) {
		t.Errorf("told under %v", got)
	}
	b.localTo(did, anchor1)
	b.localTo(did, anchor2)
}

// An anchor that does not remember an address any more asks for timestamps, which are
// then sent under ESP; by themselves they are not.
func TestTimestampsUnderIPsec(t *testing.T) {
	b := protectedRegion(t)
	b.carrier(true)
	local := b.localTo(b.hearOn(1, ar1, offered(anchor1, 2, 10)), anchor1)
	did := b.handle(b.plainAnswer(local, 401, mip6.StatusMessageIDRequired))
	did = append(did, b.pass(time.Second)...)
	all := sends(did, true)
	if len(all) == 0 || len(mip6.All[mip6.ReplayProtection](all[0].Message)) != 1 || len(mip6.All[mip6.Authentication](all[0].Message)) != 0 {
		t.Fatalf("told %+v", all)
	}
	b.handle(b.plainAnswer(all[len(all)-1], 401, mip6.StatusAccepted))
	if r := b.node.regionalAt(local.HomeAddress); !r.registered {
		t.Error("not registered")
	}
}

// With a key besides, both are asked for.
//
// Covers: P9.
func TestAnchorWithBoth(t *testing.T) {
	b := newRegion(t, func(c *Config) { c.Hierarchy.Keys[0].ESP = 400 })
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	local := b.localTo(did, anchor1)
	if w := b.wire(local); anchorSA.Verify(w.MH, careOf1, local.HomeAddress) != nil || !slices.Equal(underSPI(did), []uint32{400}) {
		t.Fatalf("update %+v under %v", local, underSPI(did))
	}
	both := b.anchorAnswer(local, mip6.StatusAccepted, nil)
	both.SPI = 400
	for name, e := range map[string]role.MessageReceived{
		"the authenticator alone": b.anchorAnswer(local, mip6.StatusAccepted, nil),
		"ESP alone":               b.plainAnswer(local, 400, mip6.StatusAccepted),
	} {
		if drops := only[role.Dropped](b.handle(e)); len(drops) != 1 || drops[0].Reason != role.DropUnauthenticated {
			t.Errorf("%s: %+v", name, drops)
		}
	}
	b.handle(both)
	if r := b.node.regionalAt(local.HomeAddress); !r.registered {
		t.Error("not registered")
	}
}

// Keys are exchanged: what is sent from then on goes under the new association, and what
// comes under the former one is not taken. Without any the former one ends the binding.
func TestAnchorKeysExchanged(t *testing.T) {
	inRegion := func() *bench {
		b := protectedRegion(t)
		b.carrier(true)
		did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
		local := b.localTo(did, anchor1)
		b.homeAccepts(b.homeUpdate(did))
		b.homeAccepts(b.homeUpdate(b.handle(b.plainAnswer(local, 401, mip6.StatusAccepted))))
		b.pass(3 * time.Second)
		return b
	}
	b := inRegion()
	changed := config()
	hierarchical(&changed)
	changed.Hierarchy.Keys = []AnchorKey{{Anchors: netip.MustParsePrefix("::/0"), ESP: 410}}
	b.did(b.node.Reconfigure(b.now, changed))
	did := b.moveTo(ar2, offered(anchor1, 2, 10))
	local := b.localTo(did, anchor1)
	if got := underSPI(did); !slices.Equal(got, []uint32{410}) {
		t.Errorf("told under %v", got)
	}
	if drops := only[role.Dropped](b.handle(b.plainAnswer(local, 401, mip6.StatusAccepted))); len(drops) != 1 {
		t.Errorf("under the former association: %+v", drops)
	}
	b.handle(b.plainAnswer(local, 410, mip6.StatusAccepted))
	if r := b.node.regionalAt(local.HomeAddress); r.careOf != careOf2 {
		t.Errorf("registered at %v", r.careOf)
	}

	b = inRegion()
	b.homeAccepts(b.homeUpdate(b.did(b.node.Reconfigure(b.now, config()))))
	did = b.pass(formerRegion + time.Millisecond)
	if bye := sends(did, true); len(bye) != 1 || bye[0].Message.(mip6.BindingUpdate).Lifetime != 0 || !slices.Equal(underSPI(did), []uint32{401}) {
		t.Errorf("told %+v under %v", bye, underSPI(did))
	}
}

// An acknowledgement of the home agent that came under an anchor's association is not
// one, whatever addresses that association has.
//
// Covers: H1, Attack: BU spoofing.
func TestAnchorCannotSpeakForHomeAgent(t *testing.T) {
	b := newBench(t, func(c *Config) {
		hierarchical(c)
		c.Hierarchy.Keys[0].ESP = 400
		c.SA, c.ESP, c.Timestamps = nil, true, false
	})
	b.carrier(true)
	b.hear(ar1)
	u, p := b.lastUpdate()
	answer := role.MessageReceived{Link: 1, SPI: 400, Packet: b.wire(mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: homeAddress,
		Message: mip6.BindingAcknowledgement{Sequence: u.Sequence, Lifetime: u.Lifetime}})}
	if drops := only[role.Dropped](b.handle(answer)); len(drops) != 1 || drops[0].Reason != role.DropUnauthenticated || b.node.reg.registered {
		t.Errorf("%+v", drops)
	}
}
