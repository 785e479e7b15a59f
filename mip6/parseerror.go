package mip6

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrNotMobility says that a packet is in order as far as it was read and is
// no Mobile IPv6 signalling.
var ErrNotMobility = errors.New("not a Mobile IPv6 message")

// ParseReason says why octets did not decode. Its String is a metric label.
type ParseReason uint8

// Reasons why octets do not decode.
const (
	ReasonTruncated         ParseReason = iota + 1 // shorter than its own length fields say
	ReasonVersion                                  // not IPv6
	ReasonExtensionHeader                          // extension header out of place
	ReasonFragment                                 // one fragment of a packet
	ReasonDestinationOption                        // unknown destination option that forbids processing
	ReasonHomeAddress                              // Home Address option of wrong length, or a second one
	ReasonRoutingHeader                            // routing header that must not be processed
	ReasonChecksum                                 // RFC 6275 §6.1.1
	ReasonPayloadProto                             // not 59, RFC 6275 §9.2
	ReasonHeaderLength                             // Header Len below the minimum of the type, RFC 6275 §9.2
	ReasonOptionLength                             // option of a length that its type does not have
	ReasonOptionValue                              // option with a value that has no meaning
	ReasonOptionOrder                              // option after one that must be the last
	ReasonDuplicateOption                          // second instance of an option that may appear once
	ReasonCode                                     // ICMPv6 code not zero
	ReasonAddress                                  // the address given by the caller is not IPv6
)

func (r ParseReason) String() string {
	switch r {
	case ReasonTruncated:
		return "truncated"
	case ReasonVersion:
		return "version"
	case ReasonExtensionHeader:
		return "extension_header"
	case ReasonFragment:
		return "fragment"
	case ReasonDestinationOption:
		return "destination_option"
	case ReasonHomeAddress:
		return "home_address_option"
	case ReasonRoutingHeader:
		return "routing_header"
	case ReasonChecksum:
		return "checksum"
	case ReasonPayloadProto:
		return "payload_proto"
	case ReasonHeaderLength:
		return "header_length"
	case ReasonOptionLength:
		return "option_length"
	case ReasonOptionValue:
		return "option_value"
	case ReasonOptionOrder:
		return "option_order"
	case ReasonDuplicateOption:
		return "duplicate_option"
	case ReasonCode:
		return "code"
	case ReasonAddress:
		return "address"
	default:
		return "unknown"
	}
}

// ParseError says why octets did not decode and where. It is built for every
// bad packet that an attacker cares to send, so its text is made only when
// somebody asks for it.
type ParseError struct {
	// Offset is the octet in the input that the error is about.
	Offset int
	// Reason classifies the error.
	Reason ParseReason

	what       string // the thing that is wrong; empty: the option
	option     OptionType
	have, want int
	icmpCode   uint8 // code of a Parameter Problem message plus one; 0: none
}

// Error returns what is wrong at which octet.
func (e *ParseError) Error() string {
	what := e.what
	if what == "" {
		what = e.option.String()
		if e.option.known() {
			what += " option"
		}
	}
	text := what
	switch e.Reason {
	case ReasonTruncated:
		text = fmt.Sprintf("%s needs %d octets, %d are there", what, e.want, e.have)
	case ReasonVersion:
		text = fmt.Sprintf("IP version %d, want 6", e.have)
	case ReasonChecksum:
		text = fmt.Sprintf("%s %#04x, computed %#04x", what, e.have, e.want)
	case ReasonPayloadProto:
		text = fmt.Sprintf("payload proto %d, want %d", e.have, ProtocolNone)
	case ReasonHeaderLength:
		text = fmt.Sprintf("%s has header length %d, want at least %d", what, e.have, e.want)
	case ReasonOptionLength:
		text = fmt.Sprintf("%s has length %d, want %d", what, e.have, e.want)
	case ReasonOptionValue:
		text = fmt.Sprintf("%s has value %d, at most %d is possible", what, e.have, e.want)
	case ReasonOptionOrder:
		text = what + " is not where it must be, at the end"
	case ReasonDuplicateOption:
		text = "second " + what
	case ReasonCode:
		text = fmt.Sprintf("%s has code %d, want 0", what, e.have)
	case ReasonAddress:
		text = what + " is not an IPv6 address"
	case ReasonExtensionHeader, ReasonFragment, ReasonDestinationOption, ReasonHomeAddress, ReasonRoutingHeader:
	}
	return "octet " + strconv.Itoa(e.Offset) + ": " + text
}

// ParameterProblem tells whether the packet is to be answered with an ICMPv6
// Parameter Problem message, with which code, and what its pointer is: the
// Offset. RFC 6275 §9.2 wants one of code 0 for a wrong Payload Proto or
// Header Len; RFC 8200 §4.2 and §4.4 for unknown options and routing headers.
// Everything else is dropped in silence.
func (e *ParseError) ParameterProblem() (code uint8, pointer uint32, ok bool) {
	if e.icmpCode == 0 {
		return 0, 0, false
	}
	return e.icmpCode - 1, uint32(e.Offset), true
}

// shift moves the offset of an error in a part of the input to the whole.
func (e *ParseError) shift(by int) *ParseError {
	e.Offset += by
	return e
}

func truncated(offset int, what string, have, want int) *ParseError {
	return &ParseError{Offset: offset, Reason: ReasonTruncated, what: what, have: have, want: want}
}
