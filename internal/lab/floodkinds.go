package lab

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"roam6/mip6"
)

// floodKind is what an attacker sends. All of it is well-formed: what is not
// costs less.
type floodKind struct {
	name string
	// packet makes one of the packets, from a source.
	packet func(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error)
}

// floodOf is what goes into the packets of a flood.
type floodOf struct {
	kind floodKind
	many bool
	run  *floodRun
}

func floodKinds() []floodKind {
	return []floodKind{
		{"HoTI", message(func(_ floodOf, r *rand.Rand) mip6.Message {
			return mip6.HomeTestInit{Cookie: cookieFrom(r.Uint64())}
		})},
		{"CoTI", message(func(_ floodOf, r *rand.Rand) mip6.Message {
			return mip6.CareOfTestInit{Cookie: cookieFrom(r.Uint64())}
		})},
		{"BU, forged", homeUpdate(func(f floodOf, _ *rand.Rand) netip.Addr { return f.run.victim() })},
		{"BU, unknown mobiles", homeUpdate(func(f floodOf, r *rand.Rand) netip.Addr {
			return netip.AddrFrom16(lowHalf(f.run.victim(), r.Uint64()))
		})},
		{"BU to CN, no nonce", correspondentUpdate(func(_ floodOf, r *rand.Rand) mip6.NonceIndices {
			return mip6.NonceIndices{Home: uint16(r.Uint32()), CareOf: uint16(r.Uint32())}
		})},
		{"BU to CN, forged", correspondentUpdate(func(f floodOf, _ *rand.Rand) mip6.NonceIndices { return f.run.caller.indices() })},
		{"data with HAO", reflected},
		{"DHAAD request", discovery},
		{"prefix solicitation", solicitation},
		{"unknown MH type", message(func(_ floodOf, r *rand.Rand) mip6.Message {
			return mip6.UnknownMessage{MessageType: mip6.MessageType(100 + r.IntN(100)), Body: make([]byte, 10)}
		})},
	}
}

// message is a Mobility Header message to the home agent's address.
func message(make func(floodOf, *rand.Rand) mip6.Message) func(floodOf, *rand.Rand, netip.Addr) ([]byte, error) {
	return func(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error) {
		return mip6.Packet{Source: source, Destination: f.run.target(), Message: make(f, r)}.Append(nil)
	}
}

// homeUpdate is a home registration of a mobile's home address, with an
// authenticator that somebody made up.
func homeUpdate(home func(floodOf, *rand.Rand) netip.Addr) func(floodOf, *rand.Rand, netip.Addr) ([]byte, error) {
	return func(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error) {
		var guess mip6.SharedKey
		binary.BigEndian.PutUint64(guess[:], r.Uint64())
		h := home(f, r)
		m, err := mip6.SecurityAssociation{SPI: spiNumber, Key: guess}.Seal(mip6.BindingUpdate{
			Sequence: mip6.Sequence(r.Uint32()), Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: 100,
			Options: []mip6.Option{mip6.AlternateCareOf{Addr: source}, mip6.ReplayProtection{Timestamp: mip6.Timestamp(r.Uint64())}},
		}, source, h)
		if err != nil {
			return nil, err
		}
		return mip6.Packet{Source: source, Destination: f.run.target(), HomeAddress: h, Message: m}.Append(nil)
	}
}

// correspondentUpdate is a registration with the correspondent, of a home
// address in the source's network.
func correspondentUpdate(indices func(floodOf, *rand.Rand) mip6.NonceIndices) func(floodOf, *rand.Rand, netip.Addr) ([]byte, error) {
	return func(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error) {
		var guess mip6.BindingKey
		binary.BigEndian.PutUint64(guess[:], r.Uint64())
		m, err := guess.SealAuthorization(mip6.BindingUpdate{
			Sequence: mip6.Sequence(r.Uint32()), Flags: mip6.UpdateAcknowledge, Lifetime: 100,
			Options: []mip6.Option{indices(f, r)},
		}, source, f.run.target())
		if err != nil {
			return nil, err
		}
		return mip6.Packet{Source: source, Destination: f.run.target(), HomeAddress: source.Next(), Message: m}.Append(nil)
	}
}

// reflected is data with a Home Address option without a binding: the answer
// goes to the source (RFC 6275 §9.3.3).
func reflected(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error) {
	const udp, padN, size = 17, 1, 40
	home := source.Next().As16()
	options := append([]byte{udp, 2, padN, 2, 0, 0, mip6.OptionTypeHomeAddress, 16}, home[:]...)
	datagram := make([]byte, size)
	binary.BigEndian.PutUint32(datagram, r.Uint32())
	binary.BigEndian.PutUint16(datagram[4:], size)
	b := make([]byte, 40, 40+len(options)+size)
	b[0], b[6], b[7] = 0x60, mip6.ProtocolDestination, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(options)+size))
	from, to := source.As16(), f.run.target().As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	return append(append(b, options...), datagram...), nil
}

// discovery asks for home agents (RFC 6275 §6.5).
func discovery(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error) {
	return mip6.ICMPPacket{
		Source: source, Destination: mip6.HomeAgentsAnycast(f.run.site().mobile().Masked()),
		Message: mip6.HomeAgentRequest{Identifier: uint16(r.Uint32())},
	}.Append(nil)
}

// solicitation asks for prefixes in the mobile's name (RFC 6275 §6.7).
func solicitation(f floodOf, r *rand.Rand, source netip.Addr) ([]byte, error) {
	return mip6.ICMPPacket{
		Source: source, Destination: f.run.target(), HomeAddress: f.run.victim(),
		Message: mip6.PrefixSolicitation{Identifier: uint16(r.Uint32())},
	}.Append(nil)
}

func cookieFrom(n uint64) (c mip6.Cookie) {
	binary.BigEndian.PutUint64(c[:], n)
	return c
}

// lowHalf is an address with another interface identifier.
func lowHalf(a netip.Addr, identifier uint64) [16]byte {
	b := a.As16()
	binary.BigEndian.PutUint64(b[8:], identifier)
	return b
}

// floodSource is an address of the attacker's choice: always the same, or one of
// a network of its own.
func floodSource(r *rand.Rand, many bool) netip.Addr {
	b := floodPrefix.Addr().Next().As16()
	if many {
		binary.BigEndian.PutUint64(b[8:], r.Uint64()|1)
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])|r.Uint64()>>36)
	}
	return netip.AddrFrom16(b)
}
