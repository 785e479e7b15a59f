package lab

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/lab/report"
)

// What passes between home agent and mobile is told apart: in clear is all that is not
// ESP and not neighbour discovery, wherever it hides; what others say is no matter.
func TestClearWatch(t *testing.T) {
	agent, mobile := netip.MustParseAddr("2001:db8:10::1"), netip.MustParseAddr("2001:db8:a1::2")
	other := netip.MustParseAddr("2001:db8:c::2")
	frame := func(from, to netip.Addr, next byte, payload ...byte) []byte {
		b := make([]byte, 14, 128)
		b[12], b[13] = 0x86, 0xdd
		b = append(b, 0x60, 0, 0, 0, 0, byte(len(payload)), next, 64)
		return slices.Concat(b, from.AsSlice(), to.AsSlice(), payload)
	}
	payload, signalling := []byte{0x80, 0, 0, 1, 0, 0, 0, 1}, []byte{0, 0, 4, 0, 0, 0, 0, 1}
	quote := func(protocol, first, last byte) []byte {
		b := make([]byte, 8+40+8)
		b[0], b[1], b[8], b[8+6], b[8+40], b[len(b)-1] = 1, 5, 0x60, protocol, first, last
		return b
	}
	for _, test := range []struct {
		name                     string
		frame                    []byte
		toAgent, toMobile, clear int
	}{
		{"payload up", frame(mobile, agent, 50, payload...), 1, 0, 0},
		{"payload down", frame(agent, mobile, 50, payload...), 0, 1, 0},
		{"payload behind a limit", frame(agent, mobile, 60, append([]byte{50, 0, 4, 1, 4, 1, 1, 0}, payload...)...), 0, 1, 0},
		{"first fragment", frame(agent, mobile, 44, append([]byte{50, 0, 0, 1, 0, 0, 0, 9}, payload...)...), 0, 1, 0},
		{"last fragment", frame(agent, mobile, 44, append([]byte{50, 0, 4, 0, 0, 0, 0, 9}, signalling...)...), 0, 1, 0},
		{"update", frame(mobile, agent, 60, append([]byte{50, 0, 1, 4, 0, 0, 0, 0}, signalling...)...), 0, 0, 0},
		{"neighbour solicitation", frame(agent, mobile, 58, 135, 0, 0, 0, 0, 0, 0, 0), 0, 0, 0},
		{"error", frame(agent, mobile, 58, 1, 4, 0, 0, 0, 0, 0, 0), 0, 0, 1},
		{"refusal", frame(agent, mobile, 58, quote(50, 0, 0)...), 0, 0, 0},
		{"refusal that quotes", frame(agent, mobile, 58, quote(50, 0, 1)...), 0, 0, 1},
		{"router's error about ESP", frame(other, agent, 58, quote(50, 0xc1, 1)...), 0, 0, 0},
		{"error that quotes a tunnel packet", frame(agent, mobile, 58, quote(41, 0xc1, 1)...), 0, 0, 1},
		{"tunnel packet", frame(mobile, agent, 41, payload...), 0, 0, 1},
		{"tunnel packet behind options", frame(mobile, agent, 60, append([]byte{41, 0, 1, 4, 0, 0, 0, 0}, payload...)...), 0, 0, 1},
		{"fragment in clear", frame(mobile, agent, 44, append([]byte{41, 0, 4, 0, 0, 0, 0, 9}, payload...)...), 0, 0, 1},
		{"update in clear", frame(mobile, agent, 135, payload...), 0, 0, 1},
		{"cut off", frame(mobile, agent, 60), 0, 0, 1},
		{"others", frame(mobile, other, 41, payload...), 0, 0, 0},
		{"no IPv6", make([]byte, 60), 0, 0, 0},
	} {
		w := clearWatch{agent: agent}
		w.take(test.frame, time.Time{})
		if w.toAgent != test.toAgent || w.toMobile != test.toMobile || w.clear != test.clear {
			t.Errorf("%s: %d and %d in ESP, %d in clear", test.name, w.toAgent, w.toMobile, w.clear)
		}
	}
	// Where keys are negotiated nothing tells payload's SPIs from others until they are
	// known, and the exchange itself is no payload.
	ike := []byte{0x11, 0x94, 0x11, 0x94, 0, 8, 0, 0}
	w := clearWatch{agent: agent, negotiated: map[uint32]bool{}}
	w.take(frame(mobile, agent, 50, payload...), time.Time{})
	w.take(frame(mobile, agent, 17, ike...), time.Time{})
	w.know([]uint32{0x80000001})
	w.take(frame(mobile, agent, 50, payload...), time.Time{})
	w.take(frame(agent, mobile, 50, signalling...), time.Time{})
	w.take(frame(agent, mobile, 17, 0x11, 0x94, 0, 53, 0, 8, 0, 0), time.Time{})
	if w.toAgent != 1 || w.toMobile != 0 || w.clear != 1 {
		t.Errorf("negotiated: %d and %d in ESP, %d in clear", w.toAgent, w.toMobile, w.clear)
	}
	w = clearWatch{agent: agent}
	if w.take(frame(mobile, agent, 17, ike...), time.Time{}); w.clear != 1 {
		t.Error("a key exchange where keys are configured")
	}
	// Silence is no proof, and one packet in clear is a failure.
	for _, test := range []struct {
		w    *clearWatch
		good bool
	}{
		{&clearWatch{toAgent: 5, toMobile: 5}, true},
		{&clearWatch{toAgent: 5}, false},
		{&clearWatch{toMobile: 5}, false},
		{&clearWatch{toAgent: 5, toMobile: 5, clear: 1}, false},
	} {
		r := new(report.Report)
		test.w.report(r)
		if (len(r.Failures) == 0) != test.good {
			t.Errorf("%d and %d in ESP, %d in clear: %q", test.w.toAgent, test.w.toMobile, test.w.clear, r.Failures)
		}
	}
}
