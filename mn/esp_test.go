package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 3776 §4.1, RFC 4877 §4: a mobile that uses IPsec takes no acknowledgement and
// no prefix advertisement that did not come under it, and its updates always have
// the Alternate Care-of Address option, which ESP protects (§4.3).
//
// Covers: M1, H1.
func TestRegistrationUnderIPsec(t *testing.T) {
	b := newBench(t, func(c *Config) { c.SA, c.ESP, c.Timestamps = nil, true, false })
	b.carrier(true)
	b.hear(ar1)
	u, p := b.lastUpdate()
	if a, ok := mip6.Find[mip6.AlternateCareOf](u); !ok || a.Addr != careOf1 || len(mip6.All[mip6.Authentication](u)) != 0 || p.HomeAddress != homeAddress {
		t.Fatalf("update %+v", p)
	}
	answer := role.MessageReceived{Link: 1, Packet: b.wire(mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: homeAddress,
		Message: mip6.BindingAcknowledgement{Sequence: u.Sequence, Lifetime: u.Lifetime}})}
	refused := func(e role.Event) bool {
		var got []role.DropReason
		for _, d := range only[role.Dropped](b.handle(e)) {
			got = append(got, d.Reason)
		}
		return slices.Equal(got, []role.DropReason{role.DropUnauthenticated})
	}
	if !refused(answer) || b.node.reg.registered {
		t.Error("an acknowledgement without ESP is taken")
	}
	answer.Protected = true
	b.handle(answer)
	if !b.node.reg.registered {
		t.Fatal("not registered")
	}
	b.answering(time.Second)
	advertisement := role.ICMPReceived{Link: 1, Packet: mip6.ICMPPacket{Source: homeAgent, Destination: careOf1, RouteHome: homeAddress,
		Message: mip6.PrefixAdvertisement{Identifier: 1}}}
	if !refused(advertisement) {
		t.Error("a prefix advertisement without ESP is taken")
	}
	advertisement.Protected = true
	if refused(advertisement) {
		t.Error("a prefix advertisement in ESP is not taken")
	}
	// What discovery says is nobody's secret.
	if refused(role.ICMPReceived{Link: 1, Packet: mip6.ICMPPacket{Source: homeAgent, Destination: careOf1,
		Message: mip6.HomeAgentReply{Identifier: 1, HomeAgents: []netip.Addr{homeAgent}}}}) {
		t.Error("discovery is refused")
	}
}
