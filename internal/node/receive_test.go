package node

import (
	"net/netip"
	"testing"

	"roam6/internal/role"
	"roam6/mip6"
)

// A message that comes before the roles know their links is not delivered: a
// home agent would answer that it is none, and the mobile wait five minutes.
func TestNothingBeforeTheLinks(t *testing.T) {
	s := &Shell{events: make(chan role.Event, 2)}
	agent, home := netip.MustParseAddr("2001:db8:10::1"), netip.MustParseAddr("2001:db8:10::100")
	update, err := mip6.Packet{
		Source: netip.MustParseAddr("2001:db8:a1::1"), Destination: agent, HomeAddress: home,
		Message: mip6.BindingUpdate{Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: 10},
	}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := mip6.ICMPPacket{
		Source: netip.MustParseAddr("2001:db8:a1::1"), Destination: agent, Message: mip6.HomeAgentRequest{Identifier: 1},
	}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.deliver(update, 1)
	s.deliverICMP(request, 1)
	if n := len(s.events); n != 0 {
		t.Errorf("%d events before the links were listed", n)
	}
	s.listed.Store(true)
	s.deliver(update, 1)
	s.deliverICMP(request, 1)
	if n := len(s.events); n != 2 {
		t.Errorf("%d events of 2 afterwards", n)
	}
}
