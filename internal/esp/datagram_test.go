package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"roam6/mip6"
	"roam6/overlay"
)

// datagram is a UDP datagram with a message that can be recognised. Its checksum is
// nobody's business here.
func datagram(from, to uint16) []byte {
	const text = "relay-forward of a mobile router"
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(udpHeaderLen+len(text)))
	return append(b, "\x12\x34"+text...)
}

var (
	mobileKey = overlay.Key{Home: home, Side: overlay.MobileSide}
	agentKey  = overlay.Key{Home: home, Side: overlay.AgentSide}
)

// RFC 6276 §3, §4: DHCPv6 messages between the home address and the agent go in ESP in
// transport mode, with a Home Address option or a type 2 routing header before it, by
// the associations that the home address has, wherever the mobile is.
//
// Covers: D1, H1.
func TestRelayed(t *testing.T) {
	const options, routing, esp = mip6.ProtocolDestination, mip6.ProtocolRouting, mip6.ProtocolESP
	for _, a := range []Algorithm{AESCBCSHA256, AESGCM} {
		ofMobile, ofAgent := policies(home, a, 256, 1000)
		mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
		for _, at := range []netip.Addr{careOf, newCareOf, careOf} {
			for _, test := range []struct {
				name          string
				from, to      *Policies
				key, opposite overlay.Key
				local, remote netip.Addr
				source, sink  netip.Addr // logically
				headers       []uint8
				ports         [2]uint16
			}{
				{"to the agent", mobileSide, agentSide, mobileKey, agentKey, at, agent, home, agent, []uint8{options, esp}, [2]uint16{547, 547}},
				{"to the agent from any port", mobileSide, agentSide, mobileKey, agentKey, at, agent, home, agent, []uint8{options, esp}, [2]uint16{40000, 547}},
				{"to the mobile", agentSide, mobileSide, agentKey, mobileKey, agent, at, agent, home, []uint8{routing, esp}, [2]uint16{547, 547}},
				{"to any port of the mobile", agentSide, mobileSide, agentKey, mobileKey, agent, at, agent, home, []uint8{routing, esp}, [2]uint16{547, 40000}},
			} {
				plain := datagram(test.ports[0], test.ports[1])
				sealed, err := test.from.Enclose([]byte("before"), test.key, test.local, test.remote, plain)
				if err != nil || !bytes.HasPrefix(sealed, []byte("before")) {
					t.Fatalf("%v: %s: %v", a, test.name, err)
				}
				sealed = sealed[len("before"):]
				if got := headers(sealed); !slices.Equal(got, test.headers) || int(binary.BigEndian.Uint16(sealed[4:])) != len(sealed)-40 {
					t.Errorf("%v: %s: headers %v, want %v", a, test.name, got, test.headers)
				}
				if bytes.Contains(sealed, plain[udpHeaderLen:]) {
					t.Errorf("%v: %s: it can be read", a, test.name)
				}
				r, err := test.to.Unprotect(sealed)
				if err != nil || !r.Protected || r.Tunnel != nil || r.Datagram == nil {
					t.Fatalf("%v: %s: came out as %+v (%v)", a, test.name, r, err)
				}
				d := r.Datagram
				if !bytes.Equal(d.UDP, plain) || d.Key != test.opposite || d.Source != test.local || d.Destination != test.remote ||
					d.Agent != agent || d.From() != test.source || d.To() != test.sink {
					t.Errorf("%v: %s: %+v from %v to %v", a, test.name, *d, d.From(), d.To())
				}
				if !bytes.HasSuffix(r.Packet, plain) || int(binary.BigEndian.Uint16(r.Packet[4:])) != len(r.Packet)-40 {
					t.Errorf("%v: %s: the packet was %x", a, test.name, r.Packet)
				}
				if _, err := test.from.Unprotect(sealed); !errors.Is(err, ErrForeign) {
					t.Errorf("%v: %s, sent back: %v", a, test.name, err)
				}
			}
		}
	}
}

// RFC 4301 §5.2, RFC 6276 §4: what else than a DHCPv6 message comes by the
// associations, or for another home address, or from a mobile that is at home, is
// none; and nothing else leaves by them.
//
// Covers: Attack: prefix hijack.
func TestRelayedSelectors(t *testing.T) {
	ofMobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	ofOther, agentOfOther := policies(otherHome, AESCBCSHA256, 128, 2000)
	mobileSide, agentSide := database(t, ofMobile, ofOther), database(t, ofAgent, agentOfOther)
	message := datagram(547, 547)
	padded := append(slices.Clone(message), 0, 0)
	claimsMore := slices.Clone(message)
	claimsMore[5]++
	type header struct{ source, destination, option, route netip.Addr }
	fromAway := header{careOf, agent, home, netip.Addr{}}
	toAway := header{agent, careOf, netip.Addr{}, home}
	for name, test := range map[string]struct {
		by      Association
		header  header
		next    uint8
		payload []byte
		to      *Policies
		want    error
	}{
		"right":                              {ofMobile.Out, fromAway, protocolUDP, message, agentSide, nil},
		"right, back":                        {ofAgent.Out, toAway, protocolUDP, message, mobileSide, nil},
		"another home address":               {ofMobile.Out, header{careOf, agent, otherHome, netip.Addr{}}, protocolUDP, message, agentSide, ErrSelector},
		"another mobile's association":       {ofOther.Out, fromAway, protocolUDP, message, agentSide, ErrSelector},
		"no home address":                    {ofMobile.Out, header{careOf, agent, netip.Addr{}, netip.Addr{}}, protocolUDP, message, agentSide, ErrSelector},
		"at home":                            {ofMobile.Out, header{home, agent, netip.Addr{}, netip.Addr{}}, protocolUDP, message, agentSide, ErrSelector},
		"at home, back":                      {ofAgent.Out, header{agent, home, netip.Addr{}, netip.Addr{}}, protocolUDP, message, mobileSide, ErrSelector},
		"to another agent":                   {ofMobile.Out, header{careOf, peer, home, netip.Addr{}}, protocolUDP, message, agentSide, ErrSelector},
		"by way of another":                  {ofMobile.Out, header{careOf, peer, home, agent}, protocolUDP, message, agentSide, ErrSelector},
		"of another agent":                   {ofAgent.Out, header{peer, careOf, netip.Addr{}, home}, protocolUDP, message, mobileSide, ErrSelector},
		"to another home address":            {ofAgent.Out, header{agent, careOf, netip.Addr{}, otherHome}, protocolUDP, message, mobileSide, ErrSelector},
		"on behalf of another, at the agent": {ofAgent.Out, header{careOf, careOf, agent, home}, protocolUDP, message, mobileSide, ErrSelector},
		"other ports":                        {ofMobile.Out, fromAway, protocolUDP, datagram(546, 53), agentSide, ErrSelector},
		"other ports, back":                  {ofAgent.Out, toAway, protocolUDP, datagram(53, 546), mobileSide, ErrSelector},
		"another protocol":                   {ofMobile.Out, fromAway, 6, message, agentSide, ErrSelector},
		"UDP-Lite":                           {ofMobile.Out, fromAway, 136, message, agentSide, ErrSelector},
		"a fragment":                         {ofMobile.Out, fromAway, 44, append([]byte{protocolUDP, 0, 0, 1, 0, 0, 0, 1}, message...), agentSide, ErrSelector},
		"options before it":                  {ofMobile.Out, fromAway, mip6.ProtocolDestination, append([]byte{protocolUDP, 0, 1, 4, 0, 0, 0, 0}, message...), agentSide, ErrSelector},
		"a packet":                           {ofMobile.Out, fromAway, mip6.ProtocolIPv6, message, agentSide, ErrSelector},
		"half of a header":                   {ofMobile.Out, fromAway, protocolUDP, message[:6], agentSide, ErrSelector},
		"nothing":                            {ofMobile.Out, fromAway, protocolUDP, nil, agentSide, ErrSelector},
		"cut off":                            {ofMobile.Out, fromAway, protocolUDP, message[:20], agentSide, ErrSelector},
		"more than it says":                  {ofMobile.Out, fromAway, protocolUDP, padded, agentSide, ErrSelector},
		"less than it says":                  {ofMobile.Out, fromAway, protocolUDP, claimsMore, agentSide, ErrSelector},
		"by the tunnel's association":        {*ofMobile.TunnelOut, fromAway, protocolUDP, message, agentSide, ErrSelector},
	} {
		out, err := NewOutbound(test.by, counting())
		if err != nil {
			t.Fatal(err)
		}
		h := test.header
		b, err := mip6.AppendHomeHeaders(nil, h.source, h.destination, h.option, h.route, mip6.ProtocolESP)
		if err == nil {
			b, err = out.Seal(b, test.next, test.payload)
		}
		if err == nil {
			err = mip6.SetPayloadLength(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := test.to.Unprotect(b)
		if !errors.Is(err, test.want) || (r.Datagram != nil) != (test.want == nil) || err != nil && r.Packet != nil {
			t.Errorf("%s: %+v (%v), want %v", name, r, err, test.want)
		}
	}
	for name, test := range map[string]struct {
		key           overlay.Key
		local, remote netip.Addr
		datagram      []byte
		want          error
	}{
		"to another agent":        {mobileKey, careOf, peer, message, ErrNoAssociation},
		"of another mobile":       {overlay.Key{Home: peer, Side: overlay.MobileSide}, careOf, agent, message, ErrNoAssociation},
		"the other side":          {agentKey, agent, careOf, message, ErrNoAssociation},
		"other ports":             {mobileKey, careOf, agent, datagram(546, 53), ErrSelector},
		"nothing":                 {mobileKey, careOf, agent, nil, ErrSelector},
		"from an invalid address": {mobileKey, netip.Addr{}, agent, message, mip6.ErrNotIPv6},
	} {
		if b, err := mobileSide.Enclose([]byte("b"), test.key, test.local, test.remote, test.datagram); !errors.Is(err, test.want) || string(b) != "b" {
			t.Errorf("%s: %q, %v, want %v", name, b, err, test.want)
		}
	}
	long := binary.BigEndian.AppendUint16(slices.Clone(message[:4]), 0xffff)
	long = append(long, make([]byte, 0xffff-len(long))...)
	if b, err := mobileSide.Enclose(nil, mobileKey, careOf, agent, long); !errors.Is(err, mip6.ErrTooLong) || b != nil {
		t.Errorf("too long: %d octets, %v", len(b), err)
	}
}

// With an anti-replay window a message that was recorded is not taken again, also
// from another care-of address, which ESP does not protect; a change of it is no break,
// and the other signalling counts with it (RFC 4303 §3.4.3).
//
// Covers: Attack: prefix hijack.
func TestRelayedReplay(t *testing.T) {
	ofMobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	ofAgent.In.Window = 64
	mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
	var recorded [][]byte
	for _, at := range []netip.Addr{careOf, newCareOf, careOf} {
		sealed, err := mobileSide.Enclose(nil, mobileKey, at, agent, datagram(547, 547))
		if err != nil {
			t.Fatal(err)
		}
		recorded = append(recorded, sealed)
		u, _, err := mobileSide.Protect(nil, whole(t, update()))
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range [][]byte{sealed, u} {
			if r, err := agentSide.Unprotect(b); err != nil || !r.Protected {
				t.Errorf("at %v, %d: %v", at, i, err)
			}
		}
	}
	for i, b := range recorded {
		for _, from := range []netip.Addr{careOf, newCareOf} {
			b = slices.Clone(b)
			copy(b[8:], from.AsSlice())
			if r, err := agentSide.Unprotect(b); !errors.Is(err, ErrReplay) || r.Packet != nil || r.Datagram != nil {
				t.Errorf("%d, again from %v: %+v (%v)", i, from, r, err)
			}
		}
	}
}

// RFC 6276 §4: between whom there is no DHCPv6 without ESP, seen from either end.
func TestBetween(t *testing.T) {
	ofMobile, _ := policies(home, AESCBCSHA256, 128, 1000)
	_, ofAgent := policies(otherHome, AESCBCSHA256, 128, 2000)
	both := database(t, ofMobile, ofAgent)
	for _, test := range []struct {
		local, remote netip.Addr
		want          overlay.Key
	}{
		{home, agent, mobileKey},
		{agent, otherHome, overlay.Key{Home: otherHome, Side: overlay.AgentSide}},
		{agent, home, overlay.Key{}},
		{otherHome, agent, overlay.Key{}},
		{careOf, agent, overlay.Key{}},
		{home, peer, overlay.Key{}},
		{netip.Addr{}, netip.Addr{}, overlay.Key{}},
	} {
		if got, ok := both.Between(test.local, test.remote); got != test.want || ok != (test.want != overlay.Key{}) {
			t.Errorf("%v and %v: %+v, %v", test.local, test.remote, got, ok)
		}
	}
	if got, ok := NewPolicies(counting()).Between(home, agent); ok {
		t.Errorf("without policies: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { both.Between(careOf, agent) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever a mobile with keys puts into ESP: only a whole datagram with the port is
// taken for a DHCPv6 message.
func FuzzRelayed(f *testing.F) {
	ofMobile, ofAgent := policies(home, AESGCM, 128, 1000)
	agentSide := database(f, ofAgent)
	f.Add(uint8(protocolUDP), datagram(547, 547))
	f.Add(uint8(protocolUDP), datagram(53, 547)[:7])
	f.Add(uint8(mip6.ProtocolMobility), datagram(547, 547))
	f.Fuzz(func(t *testing.T, next uint8, payload []byte) {
		out, err := NewOutbound(ofMobile.Out, counting())
		if err != nil {
			t.Fatal(err)
		}
		b, err := mip6.AppendHomeHeaders(nil, careOf, agent, home, netip.Addr{}, mip6.ProtocolESP)
		if err == nil {
			b, err = out.Seal(b, next, payload)
		}
		if err != nil || mip6.SetPayloadLength(b) != nil {
			return
		}
		r, err := agentSide.Unprotect(b)
		if d := r.Datagram; err == nil && next == protocolUDP && d == nil || d != nil && (err != nil || next != protocolUDP || !bytes.Equal(d.UDP, payload) || !isDHCP(payload)) {
			t.Errorf("protocol %d, %x: %+v (%v)", next, payload, r, err)
		}
	})
}
