package ha

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §9.2, §9.3.3; A3.
func TestUnknownType(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		source  string
		home    netip.Addr
		group   bool
		want    netip.Addr // Home Address field
		answers bool
	}{
		{name: "without Home Address option", source: "2001:db8::5", want: netip.IPv6Unspecified(), answers: true},
		{name: "with Home Address option", source: "2001:db8::5", home: homeA, want: homeA, answers: true},
		{name: "link-local source", source: "fe80::5", want: netip.IPv6Unspecified(), answers: true},
		{name: "multicast source", source: "ff02::1"},
		{name: "unspecified source", source: "::"},
		{name: "to a group", source: "2001:db8::5", group: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b BindingErrors
			p := mip6.Packet{Source: netip.MustParseAddr(tt.source), Destination: agentAddr, HomeAddress: tt.home, Message: mip6.UnknownMessage{MessageType: 99}}
			if tt.group {
				p.Destination = netip.MustParseAddr("ff02::2")
			}
			actions := b.UnknownType(now, p)
			if d, ok := actions[0].(role.Dropped); !ok || d.Reason != role.DropUnknownType {
				t.Errorf("first action %+v", actions[0])
			}
			if !tt.answers {
				if len(actions) != 1 {
					t.Errorf("answered: %+v", actions)
				}
				return
			}
			sent := actions[1].(role.Send).Packet
			be := sent.Message.(mip6.BindingError)
			if sent.Source != agentAddr || sent.Destination != p.Source || sent.RouteHome.IsValid() ||
				be.Status != mip6.BindingErrorUnknownMHType || be.Home != tt.want {
				t.Errorf("%+v", sent)
			}
			if _, err := sent.Append(nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// RFC 6275 §9.3.3: rate-limited as ICMPv6 errors are.
func TestUnknownTypeFlood(t *testing.T) {
	var b BindingErrors
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := mip6.Packet{Source: careOf1, Destination: agentAddr, Message: mip6.UnknownMessage{MessageType: 99}}
	answers := 0
	for range 10000 {
		now = now.Add(time.Millisecond)
		for _, action := range b.UnknownType(now, p) {
			if _, ok := action.(role.Send); ok {
				answers++
			}
		}
	}
	if answers < 100 || answers > 100+errorRate.burst {
		t.Errorf("%d answers in 10 s, want 10 a second", answers)
	}
}
