package nd

import "roam6/mip6"

// Types of neighbour discovery options that are decoded here.
const (
	optionSourceLinkAddr = 1 // RFC 4861 §4.6.1
	optionTargetLinkAddr = 2
	optionMTU            = 5  // RFC 4861 §4.6.4
	optionNonce          = 14 // RFC 3971 §5.3.2, RFC 7527 §4.1

	optionPrefix    = mip6.NDOptionPrefixInformation
	optionInterval  = mip6.NDOptionAdvertisementInterval
	optionHomeAgent = mip6.NDOptionHomeAgentInformation
)

// An option is counted in units of 8 octets, 255 at most, of which the first
// two octets are type and length.
const (
	optionUnit    = 8
	optionHeader  = 2
	maxOptionData = 255*optionUnit - optionHeader
	lenMTU        = 6
	maxRawOptions = 64 // a message has no use for more; the rest is counted as malformed
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
