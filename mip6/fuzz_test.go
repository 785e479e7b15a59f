package mip6

import (
	"errors"
	"reflect"
	"testing"
)

// Each target asserts that what decodes can be encoded, and that decoding that
// gives the same again. The seeds are the hand-made vectors and generated packets.

// Covers: Attack: malformed options.
func FuzzParsePacket(f *testing.F) {
	for _, v := range packetVectors {
		f.Add(octets(f, v.wire))
	}
	g := newGenerator(7)
	for range 20 {
		if b, err := g.packet().Append(nil); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// With the right checksum, or the fuzzer would hardly get beyond it.
		b = append([]byte(nil), b...)
		if c, err := parseChain(b, ProtocolMobility); err == nil {
			p := Packet{Source: c.source, Destination: c.destination, HomeAddress: c.home, RouteHome: c.route}
			if n, perr := headerLength(c.payload); perr == nil {
				summed(c.payload[:n], p.From(), p.To())
			}
		}
		p, err := ParsePacket(b)
		if err != nil {
			checkError(t, b, err)
			return
		}
		if p.HopLimit == 0 {
			p.HopLimit = defaultHopLimit // zero is not sent
		}
		sent, err := p.Append(nil)
		if err != nil {
			t.Fatalf("%#v does not encode: %v", p, err)
		}
		again, err := ParsePacket(sent)
		if err != nil {
			t.Fatalf("%#v does not decode again: %v", p, err)
		}
		p.MH, again.MH = nil, nil
		if !reflect.DeepEqual(again, p) {
			t.Fatalf("decoded again\n%#v, want\n%#v", again, p)
		}
	})
}

// Covers: Attack: malformed options.
func FuzzParseMessage(f *testing.F) {
	for _, v := range messageVectors {
		f.Add(octets(f, v.wire))
	}
	f.Fuzz(func(t *testing.T, mh []byte) {
		// With the right checksum, or the fuzzer would hardly get beyond it.
		if n, perr := headerLength(mh); perr == nil {
			mh = append([]byte(nil), mh...)
			summed(mh[:n], mobile, homeAgent)
		}
		m, err := ParseMessage(mobile, homeAgent, mh)
		if err != nil {
			checkError(t, mh, err)
			return
		}
		sent, err := AppendMessage(nil, mobile, homeAgent, m)
		if err != nil {
			t.Fatalf("%#v does not encode: %v", m, err)
		}
		again, err := ParseMessage(mobile, homeAgent, sent)
		if err != nil {
			t.Fatalf("%#v does not decode again: %v", m, err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("decoded again\n%#v, want\n%#v", again, m)
		}
		// Verification reads the same octets on its own.
		switch m.(type) {
		case BindingUpdate, BindingAcknowledgement:
			err = testAssociation.Verify(mh, careOf, mobile)
			if _, ok := AuthenticationOf(m); ok == errors.Is(err, ErrNoAuthentication) {
				t.Fatalf("%#v: %v", m, err)
			}
			err = BindingKey{}.VerifyAuthorization(mh, careOf, mobile)
			if _, ok := Find[AuthorizationData](m); ok == errors.Is(err, ErrNoAuthentication) {
				t.Fatalf("%#v: %v", m, err)
			}
		}
	})
}

func FuzzICMP(f *testing.F) {
	for _, v := range icmpVectors {
		f.Add(octets(f, v.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = summedICMP(append([]byte(nil), b...))
		m, err := ParseICMP(mobile, homeAgent, b)
		if err != nil {
			checkError(t, b, err)
			return
		}
		sent, err := AppendICMP(nil, mobile, homeAgent, m)
		if err != nil {
			t.Fatalf("%#v does not encode: %v", m, err)
		}
		again, err := ParseICMP(mobile, homeAgent, sent)
		if err != nil {
			t.Fatalf("%#v does not decode again: %v", m, err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("decoded again\n%#v, want\n%#v", again, m)
		}
	})
}

func FuzzNDOption(f *testing.F) {
	f.Add(octets(f, "40e0 00015180 00003840 00000000 20010db8000100000000000000000001"))
	f.Add(octets(f, "0000 00000046"))
	f.Add(octets(f, "8000 ffff ffff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := ParsePrefixInformation(data); err == nil {
			if again, err := ParsePrefixInformation(p.Append(nil)[2:]); err != nil || again != p {
				t.Fatalf("decoded again %v, want %v (%v)", again, p, err)
			}
		} else {
			checkError(t, data, err)
		}
		if a, err := ParseAdvertisementInterval(data); err == nil {
			if again, err := ParseAdvertisementInterval(a.Append(nil)[2:]); err != nil || again != a {
				t.Fatalf("decoded again %v, want %v (%v)", again, a, err)
			}
		}
		if h, err := ParseHomeAgentInformation(data); err == nil {
			if again, err := ParseHomeAgentInformation(h.Append(nil)[2:]); err != nil || again != h {
				t.Fatalf("decoded again %v, want %v (%v)", again, h, err)
			}
		}
	})
}

// checkError asserts that an error is one of those promised, points into the
// input, and has a text.
func checkError(t *testing.T, b []byte, err error) {
	t.Helper()
	if errors.Is(err, ErrNotMobility) {
		return
	}
	var perr *ParseError
	if !errors.As(err, &perr) {
		t.Fatalf("%T: %v", err, err)
	}
	if perr.Offset < 0 || perr.Offset > len(b) {
		t.Fatalf("octet %d of %d: %v", perr.Offset, len(b), err)
	}
	if perr.Error() == "" || perr.Reason.String() == "unknown" {
		t.Fatalf("%#v", perr)
	}
}
