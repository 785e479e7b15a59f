package overlay

import "testing"

// The largest packet that fits does fit, and one octet more does not: RFC 4303 §2.4, with
// AES-CBC and HMAC-SHA-256-128 (blocks of 16) and with AES-GCM (4).
func TestRoom(t *testing.T) {
	for name, s := range map[string]Seal{"CBC": {Header: 24, Block: 16, ICV: 16}, "GCM": {Header: 16, Block: 4, ICV: 16}} {
		inESP := func(packet int) int {
			payload := packet - 40 + 2 // trailer
			return 40 + s.Header + (payload+s.Block-1)/s.Block*s.Block + s.ICV
		}
		for octets := 1280; octets <= 1600; octets++ {
			room := s.Room(octets)
			if inESP(room) > octets || inESP(room+1) <= octets {
				t.Fatalf("%s: %d octets of %d are %d in ESP, and one more %d", name, room, octets, inESP(room), inESP(room+1))
			}
		}
		if !s.On() {
			t.Errorf("%s is none", name)
		}
	}
	if (Seal{}).On() {
		t.Error("nothing is something")
	}
}
