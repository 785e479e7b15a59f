// Package mip6 is Mobile IPv6 on the wire: the Mobility Header with its
// messages and options (RFC 6275, 3963, 4283, 4285), the Home Address
// destination option, the type 2 routing header, the ICMPv6 messages of
// Mobile IPv6 and its neighbour discovery options. Bytes go in, values come
// out; nothing here does I/O or reads a clock.
//
// Decoding is strict on what the RFCs tell a receiver to reject and tolerant
// of what they tell it to ignore: unknown messages and options survive as raw
// values, padding and reserved bits are dropped. Encoding places every option
// at its required alignment (RFC 6275 §6.2.1) and fills in length, padding and
// checksum, so that a value of this package cannot be sent malformed.
package mip6

import (
	"fmt"
	"time"
)

// Protocol numbers and option types of RFC 6275 and its companions.
const (
	ProtocolMobility      = 135 // IPv6 next header: Mobility Header, RFC 6275 §6.1
	ProtocolESP           = 50  // RFC 4303
	ProtocolIPv6          = 41  // an IPv6 packet in a tunnel, RFC 2473
	ProtocolNone          = 59  // payload proto of every Mobility Header, RFC 6275 §6.1.1
	ProtocolRouting       = 43
	ProtocolDestination   = 60
	ProtocolICMPv6        = 58
	OptionTypeHomeAddress = 0xc9 // destination option, RFC 6275 §6.3
	RoutingType2          = 2    // RFC 6275 §6.4
)

// MessageType is the MH Type field (RFC 6275 §6.1.1).
type MessageType uint8

// Mobility Header types of RFC 6275 §6.1.
const (
	TypeBindingRefreshRequest  MessageType = 0
	TypeHomeTestInit           MessageType = 1
	TypeCareOfTestInit         MessageType = 2
	TypeHomeTest               MessageType = 3
	TypeCareOfTest             MessageType = 4
	TypeBindingUpdate          MessageType = 5
	TypeBindingAcknowledgement MessageType = 6
	TypeBindingError           MessageType = 7
)

// LifetimeUnit is the unit of binding lifetimes on the wire (RFC 6275 §6.1.7).
const LifetimeUnit = 4 * time.Second

// Lifetime is a binding lifetime in the wire's units of four seconds, so that
// no lifetime can be held that cannot be sent.
type Lifetime uint16

// MaxLifetime is the longest binding lifetime, 262,140 s.
const MaxLifetime Lifetime = 0xffff

// LifetimeFrom rounds d down to the wire's unit and limits it to what the wire
// can carry. A negative d gives zero. Rounding down keeps the promise that a
// lifetime is never longer than what was asked for or remains.
func LifetimeFrom(d time.Duration) Lifetime {
	switch u := d / LifetimeUnit; {
	case u <= 0:
		return 0
	case u > time.Duration(MaxLifetime):
		return MaxLifetime
	default:
		return Lifetime(u)
	}
}

// Duration returns the lifetime as a duration.
func (l Lifetime) Duration() time.Duration { return time.Duration(l) * LifetimeUnit }

func (l Lifetime) String() string { return l.Duration().String() }

// Sequence is a binding update's sequence number; it compares modulo 2^16
// (RFC 6275 §9.5.1).
type Sequence uint16

// After reports whether s is newer than t: "greater than" in the circular
// sense of RFC 6275 §9.5.1, by which the 32768 values up to and including t
// are not newer.
func (s Sequence) After(t Sequence) bool { return s != t && s-t < 1<<15 }

// Status is a binding acknowledgement's status. Below 128 the binding update
// was accepted (RFC 6275 §6.1.8).
type Status uint8

// Status values of RFC 6275 §6.1.8, RFC 3963 §4.2 and RFC 4285 §8.
const (
	StatusAccepted                     Status = 0
	StatusPrefixDiscoveryNecessary     Status = 1
	StatusReasonUnspecified            Status = 128
	StatusAdministrativelyProhibited   Status = 129
	StatusInsufficientResources        Status = 130
	StatusHomeRegistrationNotSupported Status = 131
	StatusNotHomeSubnet                Status = 132
	StatusNotHomeAgent                 Status = 133
	StatusDuplicateAddress             Status = 134
	StatusSequenceOutOfWindow          Status = 135
	StatusExpiredHomeNonce             Status = 136
	StatusExpiredCareOfNonce           Status = 137
	StatusExpiredNonces                Status = 138
	StatusTypeChangeDisallowed         Status = 139
	StatusRouterNotPermitted           Status = 140 // Mobile Router Operation not permitted
	StatusInvalidPrefix                Status = 141
	StatusNotAuthorizedForPrefix       Status = 142
	StatusForwardingSetupFailed        Status = 143 // missing prefixes
	StatusIDMismatch                   Status = 144 // MIPV6-ID-MISMATCH, RFC 4285
	StatusMessageIDRequired            Status = 145 // MIPV6-MESG-ID-REQD
	StatusAuthenticationFailed         Status = 146 // MIPV6-AUTH-FAIL
	StatusInvalidCareOfAddress         Status = 174
)

// Accepted reports whether the status means that the update was accepted.
func (s Status) Accepted() bool { return s < 128 }

// BindingErrorStatus is the status of a Binding Error (RFC 6275 §6.1.9).
type BindingErrorStatus uint8

// Status values of a Binding Error.
const (
	BindingErrorUnknownBinding BindingErrorStatus = 1 // Home Address option without a binding
	BindingErrorUnknownMHType  BindingErrorStatus = 2 // unrecognised MH Type
)

func (s BindingErrorStatus) String() string {
	switch s {
	case BindingErrorUnknownBinding:
		return "unknown binding for Home Address option (1)"
	case BindingErrorUnknownMHType:
		return "unrecognized MH Type (2)"
	default:
		return fmt.Sprintf("binding error %d", uint8(s))
	}
}
