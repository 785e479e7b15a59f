package mhsock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// relayMessage is a UDP datagram between ports. Nobody looks at its checksum here.
func relayMessage(from, to uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, 8+13)
	return append(b, "\x12\x34relay-forward"...)
}

// RFC 6276 §4: a DHCPv6 message in ESP is taken apart from the other signalling, what
// is not one is dropped and counted, and the kernel says nothing.
//
// Covers: D1, H1.
func TestReceiveRelayed(t *testing.T) {
	w := newWorld(t)
	s := w.openSecured()
	key := overlay.Key{Home: homeAddress, Side: overlay.MobileSide}
	message := relayMessage(547, 547)
	sealed, err := s.mobile.Enclose(nil, key, w.peerAddr, w.addr, message)
	if err != nil {
		t.Fatal(err)
	}
	send(t, w.peer, sealed)
	want := esp.TunnelEnd{Key: overlay.Key{Home: homeAddress, Side: overlay.AgentSide}, Source: w.peerAddr, Destination: w.addr}
	if d := wait(t, s.relayed); d.TunnelEnd != want || d.From() != homeAddress || d.To() != w.addr || !bytes.Equal(d.UDP, message) {
		t.Errorf("delivered %+v", d)
	}
	ofMobile, _ := s.policies()
	for _, tt := range []struct {
		name    string
		next    uint8
		payload []byte
		home    bool
		reason  role.DropReason
	}{
		{"another port", 17, relayMessage(546, 53), true, role.DropProhibited},
		{"another protocol", 6, message, true, role.DropProhibited},
		{"not from the home address", 17, message, false, role.DropProhibited},
	} {
		out, err := esp.NewOutbound(ofMobile.Out, random)
		if err != nil {
			t.Fatal(err)
		}
		home := homeAddress
		if !tt.home {
			home = w.hostAddr
		}
		b, err := mip6.AppendHomeHeaders(nil, w.peerAddr, w.addr, home, netip.Addr{}, mip6.ProtocolESP)
		if err == nil {
			b, err = out.Seal(b, tt.next, tt.payload)
		}
		if err == nil {
			err = mip6.SetPayloadLength(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		send(t, w.peer, b)
		if r := wait(t, s.dropped); r != tt.reason {
			t.Errorf("%s: %v, want %v", tt.name, r, tt.reason)
		}
	}
	if k := s.conn.Counters(); k.Received != 4 || k.Protected != 1 || k.Denied != 3 || k.Delivered != 1 || len(s.relayed) != 0 {
		t.Errorf("counters %+v, %d more delivered", k, len(s.relayed))
	}
	if n := w.parameterProblems(); n != 0 && s.conn.Silenced() {
		t.Errorf("%d parameter problems", n)
	}
}

// RFC 6276 §3: what the home agent sends to a router that is away leaves in ESP behind
// a type 2 routing header, in one piece or not at all.
//
// Covers: D1, H1.
func TestSendRelayed(t *testing.T) {
	w := newWorld(t)
	s := w.openSecured()
	key := overlay.Key{Home: homeAddress, Side: overlay.AgentSide}
	path := overlay.Path{Local: s.addr, Remote: s.peerAddr}
	message := relayMessage(547, 547)
	if err := s.conn.SendRelayed(key, path, message); err != nil {
		t.Fatal(err)
	}
	all := w.heard.until(func(b []byte) bool { return b[6] == mip6.ProtocolRouting })
	r, err := s.mobile.Unprotect(all[len(all)-1])
	if err != nil || r.Datagram == nil || !bytes.Equal(r.Datagram.UDP, message) || r.Datagram.To() != homeAddress {
		t.Errorf("arrived %x: %+v (%v)", all[len(all)-1], r, err)
	}
	long := append(relayMessage(547, 547), make([]byte, 1500)...)
	binary.BigEndian.PutUint16(long[4:], uint16(len(long)))
	for _, tt := range []struct {
		name     string
		key      overlay.Key
		message  []byte
		reason   SendReason
		sentinel error
	}{
		{"no policy", overlay.Key{Home: w.hostAddr, Side: overlay.AgentSide}, message, SendProhibited, esp.ErrNoAssociation},
		{"the other side", overlay.Key{Home: homeAddress, Side: overlay.MobileSide}, message, SendProhibited, esp.ErrNoAssociation},
		{"other ports", key, relayMessage(53, 546), SendProhibited, esp.ErrSelector},
		{"too long", key, long, SendTooBig, nil},
	} {
		var e *SendError
		if err := s.conn.SendRelayed(tt.key, path, tt.message); !errors.As(err, &e) || e.Reason != tt.reason || tt.sentinel != nil && !errors.Is(err, tt.sentinel) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if k := s.conn.Counters(); k.Sent != 1 || k.SendErrors[SendProhibited] != 3 || k.SendErrors[SendTooBig] != 1 {
		t.Errorf("counters %+v", k)
	}
	if err := newWorld(t).open().SendRelayed(key, path, message); !errors.Is(err, errNoIPsec) {
		t.Errorf("without IPsec: %v", err)
	}
}
