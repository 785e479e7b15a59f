package node

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

var (
	testNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	us      = netip.MustParseAddr("2001:db8:10::1")
	them    = netip.MustParseAddr("2001:db8::5")
	home    = netip.MustParseAddr("2001:db8:10::100")
)

// RFC 6275 §9.2, §9.3.3; A3.
//
// Covers: A3.
func TestUnknownType(t *testing.T) {
	for _, tt := range []struct {
		name    string
		source  string
		home    netip.Addr
		group   bool
		want    netip.Addr // Home Address field
		answers bool
	}{
		{name: "without Home Address option", source: "2001:db8::5", want: netip.IPv6Unspecified(), answers: true},
		{name: "with Home Address option", source: "2001:db8::5", home: home, want: home, answers: true},
		{name: "link-local source", source: "fe80::5", want: netip.IPv6Unspecified(), answers: true},
		{name: "multicast source", source: "ff02::1"},
		{name: "unspecified source", source: "::"},
		{name: "to a group", source: "2001:db8::5", group: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r refusals
			p := mip6.Packet{Source: netip.MustParseAddr(tt.source), Destination: us, HomeAddress: tt.home, Message: mip6.UnknownMessage{MessageType: 99}}
			if tt.group {
				p.Destination = netip.MustParseAddr("ff02::2")
			}
			actions := r.unknownType(testNow, p)
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
			if sent.Source != us || sent.Destination != p.Source || sent.RouteHome.IsValid() ||
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
//
// Covers: Attack: reflection.
func TestRefusalFlood(t *testing.T) {
	var r refusals
	p := mip6.Packet{Source: them, Destination: us, Message: mip6.UnknownMessage{MessageType: 99}}
	raw, err := mip6.Packet{Source: them, Destination: us, Message: mip6.BindingRefreshRequest{}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	errors, problems, now := 0, 0, testNow
	for range 10000 {
		now = now.Add(time.Millisecond)
		for _, action := range r.unknownType(now, p) {
			if _, ok := action.(role.Send); ok {
				errors++
			}
		}
		if r.parameterProblem(now, raw, 0, 40) != nil {
			problems++
		}
	}
	for _, n := range []int{errors, problems} {
		if n < 100 || n > 100+refusalRate.Burst {
			t.Errorf("%d answers in 10 s, want 10 a second", n)
		}
	}
}

// RFC 6275 §9.2, RFC 4443 §3.4: the pointer of a wrong Payload Proto is octet
// 40 of a packet without extension headers, that of the Header Len is 41.
//
// Covers: A3.
func TestParameterProblem(t *testing.T) {
	good, err := mip6.Packet{Source: them, Destination: us, Message: mip6.BindingUpdate{}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		octet   int
		value   byte
		pointer byte
	}{{40, 6, 40}, {41, 0, 41}} {
		b := append([]byte(nil), good...)
		b[tt.octet] = tt.value
		problem := withChecksum(t, b)
		code, pointer, ok := problem.ParameterProblem()
		if !ok || code != 0 || pointer != uint32(tt.pointer) {
			t.Fatalf("octet %d = %d: code %d, pointer %d, %v", tt.octet, tt.value, code, pointer, ok)
		}
		var r refusals
		p := r.parameterProblem(testNow, b, code, pointer)
		if p[40] != 4 || p[41] != 0 || p[47] != tt.pointer || string(p[48:]) != string(b) {
			t.Errorf("% x", p)
		}
		if nd.Checksum(us, them, p[40:]) != 0 {
			t.Error("checksum is wrong")
		}
	}
}

// withChecksum finds the checksum of a damaged packet, since that is tested
// before everything else, and returns what is wrong apart from it.
func withChecksum(t *testing.T, b []byte) *mip6.ParseError {
	t.Helper()
	for sum := range 1 << 16 {
		binary.BigEndian.PutUint16(b[44:], uint16(sum))
		_, err := mip6.ParsePacket(b)
		if p, ok := err.(*mip6.ParseError); ok && p.Reason != mip6.ReasonChecksum {
			return p
		}
	}
	t.Fatal("no checksum fits")
	return nil
}
