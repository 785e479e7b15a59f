package node

import (
	"encoding/binary"
	"net/netip"
	"time"

	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// refusals answers the signalling that no role can take: Binding Errors for
// unknown message types (RFC 6275 §9.3.3), ICMPv6 Parameter Problems for
// headers that are wrong (§9.2). A node has one, because the rate is the
// node's. It is pure; the zero value is ready.
type refusals struct {
	bindingErrors, parameterProblems, registrations limit.Limiter
}

// refusalRate is that of ICMPv6 errors as RFC 4443 §2.4 (f) recommends for a
// small device: ten a second on average.
var refusalRate = limit.Rate{Every: time.Second / 10, Burst: 10}

// answerable reports whether a packet between these addresses may be answered
// with an error: one from a unicast address that was for this node alone.
func answerable(source, destination netip.Addr) bool {
	return source.IsValid() && !source.IsUnspecified() && !source.IsMulticast() && !destination.IsMulticast()
}

// unknownType answers a message of a type that is not known (RFC 6275 §9.2).
func (r *refusals) unknownType(now time.Time, p mip6.Packet) []role.Action {
	actions := []role.Action{role.Dropped{Reason: role.DropUnknownType, From: p.Source}}
	if !answerable(p.Source, p.Destination) {
		return actions
	}
	if !r.bindingErrors.Allow(now, refusalRate) {
		return append(actions, role.Dropped{Reason: role.DropRateLimited, From: p.Source})
	}
	home := p.HomeAddress
	if !home.IsValid() {
		home = netip.IPv6Unspecified()
	}
	return append(actions, role.Send{Packet: mip6.Packet{
		Source:      p.Destination,
		Destination: p.Source,
		Message:     mip6.BindingError{Status: mip6.BindingErrorUnknownMHType, Home: home},
	}})
}

// homeRegistration answers a binding update that takes this node for a home
// agent, which it is not (RFC 6275 §10.3.1: status 131). Nothing in it is
// authenticated, and nothing comes of it.
func (r *refusals) homeRegistration(now time.Time, p mip6.Packet, u mip6.BindingUpdate) []role.Action {
	dropped := role.Dropped{Reason: role.DropUnexpected, From: p.From()}
	if !answerable(p.Source, p.Destination) || p.HomeAddress.IsValid() && !p.HomeAddress.IsGlobalUnicast() {
		return []role.Action{dropped}
	}
	if !r.registrations.Allow(now, refusalRate) {
		return []role.Action{role.Dropped{Reason: role.DropRateLimited, From: p.From()}}
	}
	const status = mip6.StatusHomeRegistrationNotSupported
	return []role.Action{
		dropped,
		role.Acknowledged{Status: status, Sent: true},
		role.Send{Packet: mip6.Packet{
			Source: p.Destination, Destination: p.Source, RouteHome: p.HomeAddress,
			Message: mip6.BindingAcknowledgement{Status: status, Sequence: u.Sequence},
		}},
	}
}

// Sizes for an ICMPv6 error (RFC 4443 §2.4 (c), §3.4).
const (
	headerLen      = 40
	problemLen     = 8
	maxErrorPacket = 1280
)

// parameterProblem builds the ICMPv6 Parameter Problem that answers a packet
// (RFC 4443 §3.4), or nil where none may be sent.
func (r *refusals) parameterProblem(now time.Time, packet []byte, code uint8, pointer uint32) []byte {
	if len(packet) < headerLen {
		return nil
	}
	source, destination := netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
	if !answerable(source, destination) || !r.parameterProblems.Allow(now, refusalRate) {
		return nil
	}
	quoted := packet[:min(len(packet), maxErrorPacket-headerLen-problemLen)]
	b := make([]byte, headerLen+problemLen, headerLen+problemLen+len(quoted))
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(problemLen+len(quoted)))
	b[6], b[7] = mip6.ProtocolICMPv6, 64
	copy(b[8:], packet[24:40])
	copy(b[24:], packet[8:24])
	b[40], b[41] = 4, code
	binary.BigEndian.PutUint32(b[44:], pointer)
	b = append(b, quoted...)
	nd.Seal(destination, source, b[headerLen:])
	return b
}
