package nd

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// Content lengths of the 6LoWPAN options, without the octets of type and length.
const (
	lenBorderRouter = 22
	lenContext      = 6 // and the octets of the prefix
)

const (
	contextCompression = 0x10
	maxContext         = 15
	maxMinutes         = math.MaxUint16 * time.Minute
)

// minutes is a lifetime in the field of an option, rounded up: zero has a meaning of
// its own.
func minutes(d time.Duration) uint16 {
	return uint16(units(min(d, maxMinutes)+time.Minute-1, time.Minute, math.MaxUint16))
}

// Append appends the whole option. The lifetime is rounded up to minutes.
func (r BorderRouter) Append(b []byte) []byte {
	b = append(b, optionBorderRouter, (optionHeader+lenBorderRouter)/optionUnit)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Version))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Version>>16))
	b = binary.BigEndian.AppendUint16(b, minutes(r.ValidLifetime))
	return appendAddr(b, r.Router)
}

// parseBorderRouter decodes the content of an Authoritative Border Router option.
func parseBorderRouter(data []byte) (BorderRouter, bool) {
	if len(data) != lenBorderRouter {
		return BorderRouter{}, false
	}
	be := binary.BigEndian
	r := BorderRouter{
		Version:       uint32(be.Uint16(data[2:]))<<16 | uint32(be.Uint16(data)),
		ValidLifetime: time.Duration(be.Uint16(data[4:])) * time.Minute,
		Router:        netip.AddrFrom16([16]byte(data[6:])),
	}
	return r, isUnicast(r.Router)
}

// Append appends the whole option; one without an IPv6 prefix is left out. The
// identifier is limited to what its field can hold, the lifetime rounded up to
// minutes.
func (c Context) Append(b []byte) []byte {
	addr, bits, ok := sendable(c.Prefix)
	if !ok {
		return b
	}
	octets := 8 // there is no option without a prefix, however short
	if bits > 64 {
		octets = 16
	}
	flags := min(c.ID, maxContext)
	if c.Compression {
		flags |= contextCompression
	}
	b = append(b, optionContext, byte(1+octets/optionUnit), byte(bits), flags, 0, 0)
	b = binary.BigEndian.AppendUint16(b, minutes(c.ValidLifetime))
	return append(b, addr[:octets]...)
}

// parseContext decodes the content of a 6LoWPAN Context option.
func parseContext(data []byte) (Context, bool) {
	if n := len(data) - lenContext; n != 8 && n != 16 {
		return Context{}, false
	}
	c := Context{
		Prefix:        shortPrefix(data[lenContext:], data[0]),
		ID:            data[1] & maxContext,
		Compression:   data[1]&contextCompression != 0,
		ValidLifetime: time.Duration(binary.BigEndian.Uint16(data[4:])) * time.Minute,
	}
	return c, c.Prefix.IsValid()
}
