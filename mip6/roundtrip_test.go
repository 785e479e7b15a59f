package mip6

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// generator makes values at random, all of them such that they can be sent.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, seed))} }

func (g generator) octets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g generator) addr() netip.Addr { return netip.AddrFrom16([16]byte(g.octets(16))) }

func (g generator) prefix() netip.Prefix { return netip.PrefixFrom(g.addr(), g.IntN(129)).Masked() }

// options returns up to eight options that may stand together in this order.
func (g generator) options() []Option {
	var rules optionRules
	var options []Option
	for range g.IntN(9) {
		o := g.option()
		if rules.admit(o) != 0 {
			continue
		}
		options = append(options, o)
		if rules.authorized {
			break
		}
	}
	return options
}

func (g generator) option() Option {
	switch g.IntN(9) {
	case 0:
		return RefreshAdvice{Interval: Lifetime(g.Uint32())}
	case 1:
		return AlternateCareOf{Addr: g.addr()}
	case 2:
		return NonceIndices{Home: uint16(g.Uint32()), CareOf: uint16(g.Uint32())}
	case 3:
		return AuthorizationData{Authenticator: [12]byte(g.octets(12))}
	case 4:
		return MobileNetworkPrefix{Prefix: g.prefix()}
	case 5:
		return MobileNodeID{Subtype: uint8(g.Uint32()), Identifier: g.octets(g.IntN(255))}
	case 6:
		return Authentication{Subtype: uint8(g.IntN(4)), SPI: g.Uint32(), Data: g.octets(g.IntN(251))}
	case 7:
		return ReplayProtection{Timestamp: Timestamp(g.Uint64())}
	default:
		t := OptionType(g.Uint32())
		for t.known() {
			t = OptionType(g.Uint32())
		}
		return UnknownOption{Type: t, Data: g.octets(g.IntN(256))}
	}
}

func (g generator) message() Message {
	options := g.options()
	switch g.IntN(9) {
	case 0:
		return BindingRefreshRequest{Options: options}
	case 1:
		return HomeTestInit{Cookie: Cookie(g.octets(8)), Options: options}
	case 2:
		return CareOfTestInit{Cookie: Cookie(g.octets(8)), Options: options}
	case 3:
		return HomeTest{NonceIndex: uint16(g.Uint32()), Cookie: Cookie(g.octets(8)), Token: KeygenToken(g.octets(8)), Options: options}
	case 4:
		return CareOfTest{NonceIndex: uint16(g.Uint32()), Cookie: Cookie(g.octets(8)), Token: KeygenToken(g.octets(8)), Options: options}
	case 5:
		return BindingUpdate{
			Sequence: Sequence(g.Uint32()), Flags: UpdateFlags(g.Uint32()) & knownUpdateFlags,
			Lifetime: Lifetime(g.Uint32()), Options: options,
		}
	case 6:
		return BindingAcknowledgement{
			Status: Status(g.Uint32()), Flags: AckFlags(g.Uint32()) & knownAckFlags,
			Sequence: Sequence(g.Uint32()), Lifetime: Lifetime(g.Uint32()), Options: options,
		}
	case 7:
		return BindingError{Status: BindingErrorStatus(g.Uint32()), Home: g.addr(), Options: options}
	default:
		return UnknownMessage{MessageType: MessageType(8 + g.IntN(248)), Body: g.octets(2 + 8*g.IntN(256))}
	}
}

func (g generator) packet() Packet {
	p := Packet{Source: g.addr(), Destination: g.addr(), HopLimit: uint8(1 + g.IntN(255)), Message: g.message()}
	if g.IntN(2) == 0 {
		p.HomeAddress = g.addr()
	}
	if g.IntN(2) == 0 {
		p.RouteHome = g.addr()
	}
	return p
}

func (g generator) icmp() ICMPMessage {
	identifier := uint16(g.Uint32())
	switch g.IntN(4) {
	case 0:
		return HomeAgentRequest{Identifier: identifier, MobileRouter: g.IntN(2) == 0}
	case 1:
		var agents []netip.Addr
		for range g.IntN(80) {
			agents = append(agents, g.addr())
		}
		return HomeAgentReply{Identifier: identifier, MobileRouter: g.IntN(2) == 0, HomeAgents: agents}
	case 2:
		return PrefixSolicitation{Identifier: identifier}
	default:
		var prefixes []PrefixInformation
		for range g.IntN(8) {
			prefixes = append(prefixes, g.prefixInformation())
		}
		return PrefixAdvertisement{Identifier: identifier, Managed: g.IntN(2) == 0, OtherConfig: g.IntN(2) == 0, Prefixes: prefixes}
	}
}

func (g generator) prefixInformation() PrefixInformation {
	p := PrefixInformation{
		Prefix: g.prefix(), OnLink: g.IntN(2) == 0, Autonomous: g.IntN(2) == 0,
		ValidLifetime:     time.Duration(g.Uint32()) * time.Second,
		PreferredLifetime: time.Duration(g.Uint32()) * time.Second,
	}
	if g.IntN(2) == 0 {
		p.RouterAddress = true
		p.Prefix = netip.PrefixFrom(g.addr(), g.IntN(129))
	}
	return p
}

func TestRoundTripPackets(t *testing.T) {
	g := newGenerator(1)
	var buffer []byte
	for i := range 20000 {
		want := g.packet()
		b, err := want.Append(buffer[:0])
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		buffer = b
		got, err := ParsePacket(b)
		if err != nil {
			t.Fatalf("packet %d: %v\n%#v\n%x", i, err, want, b)
		}
		if n := len(got.MH); n%8 != 0 || n > maxMHLen {
			t.Fatalf("packet %d: Mobility Header of %d octets", i, n)
		}
		want.MH = got.MH
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("packet %d: decoded\n%#v, want\n%#v", i, got, want)
		}
		checkAlignment(t, got.MH)
	}
}

// checkAlignment reads the options of a Mobility Header by the letter of their
// definitions.
func checkAlignment(t *testing.T, mh []byte) {
	t.Helper()
	fixed := fixedLength(MessageType(mh[2]))
	if fixed == 0 {
		return
	}
	padding := 0
	for at := fixed; at < len(mh); {
		x, y := 1, 0
		switch mh[at] {
		case 2, 4: // RFC 6275 §6.2.4, §6.2.6
			x = 2
		case 3: // RFC 6275 §6.2.5
			x, y = 8, 6
		case 5, 10: // RFC 6275 §6.2.7, RFC 4285 §6
			x, y = 8, 2
		case 6: // RFC 3963 §4.3
			x, y = 8, 4
		case 9: // RFC 4285 §5
			x, y = 4, 1
		}
		if at%x != y {
			t.Fatalf("option %d at %d, want %dn + %d: %x", mh[at], at, x, y, mh)
		}
		n := 1
		if mh[at] != 0 {
			n = 2 + int(mh[at+1])
		}
		if mh[at] > 1 {
			padding = 0
		} else if padding++; padding > 1 || n > 8 {
			t.Fatalf("wasteful padding at %d: %x", at, mh) // RFC 6275 §6.2.2
		}
		at += n
	}
}

func TestRoundTripICMP(t *testing.T) {
	g := newGenerator(2)
	for i := range 5000 {
		want := ICMPPacket{Source: g.addr(), Destination: g.addr(), HopLimit: 1, Message: g.icmp()}
		if g.IntN(2) == 0 {
			want.HomeAddress = g.addr()
		}
		if g.IntN(2) == 0 {
			want.RouteHome = g.addr()
		}
		b, err := want.Append(nil)
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		got, err := ParseICMPPacket(b)
		if err != nil {
			t.Fatalf("packet %d: %v\n%x", i, err, b)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("packet %d: decoded\n%#v, want\n%#v", i, got, want)
		}
	}
}

func TestRoundTripSeal(t *testing.T) {
	g := newGenerator(3)
	sealed := 0
	for i := range 5000 {
		p := g.packet()
		m := p.Message
		switch m.(type) {
		case BindingUpdate, BindingAcknowledgement:
		default:
			continue
		}
		sa := SecurityAssociation{SPI: g.Uint32(), Key: SharedKey(g.octets(16))}
		binding := BindingKey(g.octets(20))
		a, b := g.addr(), g.addr()
		if n := len(m.MobilityOptions()); n > 0 {
			if _, ok := m.MobilityOptions()[n-1].(AuthorizationData); ok {
				continue // excludes the Authentication option
			}
		}
		if _, hasAAA := findSubtype(m, AuthenticationMNAAA); !hasAAA {
			s, err := sa.Seal(m, a, b)
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			mh, err := AppendMessage(nil, p.From(), p.To(), s)
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			if err := sa.Verify(mh, a, b); err != nil {
				t.Fatalf("message %d: %v\n%#v", i, err, s)
			}
			sealed++
		}
		s, err := binding.SealAuthorization(m, a, b)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		mh, err := AppendMessage(nil, p.From(), p.To(), s)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if err := binding.VerifyAuthorization(mh, a, b); err != nil {
			t.Fatalf("message %d: %v\n%#v", i, err, s)
		}
	}
	if sealed < 100 {
		t.Errorf("only %d messages were sealed", sealed)
	}
}

func findSubtype(m Message, subtype uint8) (Authentication, bool) {
	for _, a := range All[Authentication](m) {
		if a.Subtype == subtype {
			return a, true
		}
	}
	return Authentication{}, false
}
