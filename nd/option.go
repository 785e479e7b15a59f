package nd

import (
	"net/netip"
	"time"

	"roam6/mip6"
)

// Types of neighbour discovery options that are decoded here.
const (
	optionSourceLinkAddr = 1 // RFC 4861 §4.6.1
	optionTargetLinkAddr = 2
	optionMTU            = 5  // RFC 4861 §4.6.4
	optionNonce          = 14 // RFC 3971 §5.3.2, RFC 7527 §4.1
	optionRoute          = 24 // RFC 4191 §2.3
	optionDNSServers     = 25 // RFC 8106 §5.1
	optionDNSSearch      = 31 // RFC 8106 §5.2
	optionContext        = 34 // RFC 6775 §4.2
	optionBorderRouter   = 35 // RFC 6775 §4.3
	optionCaptivePortal  = 37 // RFC 8910 §2.3
	optionNAT64          = 38 // RFC 8781 §4

	optionPrefix    = mip6.NDOptionPrefixInformation
	optionInterval  = mip6.NDOptionAdvertisementInterval
	optionHomeAgent = mip6.NDOptionHomeAgentInformation
	optionAnchor    = mip6.NDOptionMobilityAnchorPoint
)

// An option is counted in units of 8 octets, 255 at most, of which the first
// two octets are type and length.
const (
	optionUnit    = 8
	optionHeader  = 2
	maxOptionData = 255*optionUnit - optionHeader
	lenMTU        = 6
	maxRawOptions = 64 // a message has no use for more; the rest is counted as malformed
	// maxListed of each kind of option that may come several times is more than a
	// packet of 1280 octets holds.
	maxListed = 256
)

// checkOptions sees whether the options of a message have lengths that can be:
// otherwise the whole message is to be discarded (RFC 4861 §4.6, §6.1, §7.1).
func checkOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < optionHeader {
			return false
		}
		n := int(b[1]) * optionUnit
		if n == 0 || n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

// options yields type and content of each option of b, which passed
// checkOptions.
func options(b []byte) func(yield func(kind uint8, data []byte) bool) {
	return func(yield func(uint8, []byte) bool) {
		for len(b) > 0 {
			n := int(b[1]) * optionUnit
			if !yield(b[0], b[optionHeader:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// findOption returns a copy of the content of the first option of a type.
func findOption(b []byte, kind uint8) []byte {
	for k, data := range options(b) {
		if k == kind {
			return append([]byte(nil), data...)
		}
	}
	return nil
}

// appendOption appends an option, its content padded; one that is longer than
// an option can be is left out, and so is an empty one.
func appendOption(b []byte, kind uint8, data []byte) []byte {
	if len(data) == 0 || len(data) > maxOptionData {
		return b
	}
	units := (optionHeader + len(data) + optionUnit - 1) / optionUnit
	b = append(append(b, kind, byte(units)), data...)
	for pad := units*optionUnit - optionHeader - len(data); pad > 0; pad-- {
		b = append(b, 0)
	}
	return b
}

// Append appends the whole option, padded. One of a type that RouterAdvertisement
// has a field for is left out, and so is one that is empty or longer than an option
// can be.
func (o RawOption) Append(b []byte) []byte {
	switch o.Type {
	case optionSourceLinkAddr, optionMTU, optionPrefix, optionInterval, optionHomeAgent, optionAnchor, optionRoute,
		optionDNSServers, optionDNSSearch, optionContext, optionBorderRouter, optionCaptivePortal, optionNAT64:
		return b
	default:
		return appendOption(b, o.Type, o.Data)
	}
}

// take adds what an option holds to a list of them, if the option is in order and
// the list not too long.
func take[T any](list *[]T, v T, ok bool) bool {
	if !ok || len(*list) == maxListed {
		return false
	}
	*list = append(*list, v)
	return true
}

// shortPrefix reads a prefix of which an option holds no more octets than it needs,
// or more; the bits behind it mean nothing. The zero Prefix is none.
func shortPrefix(octets []byte, bits uint8) netip.Prefix {
	if bits > 128 || int(bits) > 8*len(octets) {
		return netip.Prefix{}
	}
	var a [16]byte
	copy(a[:], octets)
	return netip.PrefixFrom(netip.AddrFrom16(a), int(bits)).Masked()
}

// sendable is the prefix as an option holds it. Without one, an option that means a
// prefix is left out: ::/0 would mean everything.
func sendable(p netip.Prefix) (addr [16]byte, bits int, ok bool) {
	if !p.IsValid() || !p.Addr().Is6() {
		return addr, 0, false
	}
	return p.Masked().Addr().As16(), p.Bits(), true
}

// leastUnits is units, but a lifetime that is not zero is not sent as zero, which
// takes back what the option tells.
func leastUnits(d, unit time.Duration, most uint32) uint32 {
	if d > 0 {
		d = max(d, unit)
	}
	return units(d, unit, most)
}
