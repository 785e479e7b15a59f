package mip6

import "net/netip"

// Message is one Mobility Header message. The set is closed: the types of this
// file and no others.
type Message interface {
	// Type is the MH Type the message is sent with.
	Type() MessageType
	// Options are the message's mobility options in their order on the wire,
	// without padding.
	MobilityOptions() []Option
	isMessage()
}

// BindingRefreshRequest asks a mobile node to renew its binding (RFC 6275 §6.1.2).
type BindingRefreshRequest struct {
	Options []Option
}

// Cookie is an init cookie of the return routability procedure (RFC 6275 §5.2.5).
type Cookie [8]byte

// KeygenToken is a home or care-of keygen token (RFC 6275 §5.2.5).
type KeygenToken [8]byte

// HomeTestInit starts the home address test (RFC 6275 §6.1.3).
type HomeTestInit struct {
	Cookie  Cookie
	Options []Option
}

// CareOfTestInit starts the care-of address test (RFC 6275 §6.1.4).
type CareOfTestInit struct {
	Cookie  Cookie
	Options []Option
}

// HomeTest answers a HomeTestInit (RFC 6275 §6.1.5).
type HomeTest struct {
	NonceIndex uint16
	Cookie     Cookie
	Token      KeygenToken
	Options    []Option
}

// CareOfTest answers a CareOfTestInit (RFC 6275 §6.1.6).
type CareOfTest struct {
	NonceIndex uint16
	Cookie     Cookie
	Token      KeygenToken
	Options    []Option
}

// UpdateFlags are the flags of a binding update.
type UpdateFlags uint16

// Flags of a binding update, at their place in the 16-bit field that follows
// the sequence number. Bits that are not named here are reserved: zero when
// sent, ignored when received.
const (
	UpdateAcknowledge   UpdateFlags = 1 << 15 // A, RFC 6275 §6.1.7
	UpdateHome          UpdateFlags = 1 << 14 // H
	UpdateLinkLocal     UpdateFlags = 1 << 13 // L
	UpdateKeyManagement UpdateFlags = 1 << 12 // K
	UpdateMAP           UpdateFlags = 1 << 11 // M, RFC 5380 §4.1
	UpdateMobileRouter  UpdateFlags = 1 << 10 // R, RFC 3963 §4.1
	UpdateProxy         UpdateFlags = 1 << 9  // P, RFC 5213 §8.1
	UpdateForceUDP      UpdateFlags = 1 << 8  // F, RFC 5555 §3.1.3
	knownUpdateFlags                = UpdateAcknowledge | UpdateHome | UpdateLinkLocal | UpdateKeyManagement | UpdateMAP | UpdateMobileRouter | UpdateProxy | UpdateForceUDP
)

// BindingUpdate tells a home agent, correspondent node or mobility anchor
// point of a mobile node's care-of address (RFC 6275 §6.1.7, RFC 3963 §4.1).
type BindingUpdate struct {
	Sequence Sequence
	Flags    UpdateFlags
	Lifetime Lifetime
	Options  []Option
}

// AckFlags are the flags of a binding acknowledgement.
type AckFlags uint8

// Flags of a binding acknowledgement.
const (
	AckKeyManagement AckFlags = 1 << 7 // K, RFC 6275 §6.1.8
	AckMobileRouter  AckFlags = 1 << 6 // R, RFC 3963 §4.2
	AckProxy         AckFlags = 1 << 5 // P, RFC 5213 §8.2
	knownAckFlags             = AckKeyManagement | AckMobileRouter | AckProxy
)

// BindingAcknowledgement answers a binding update (RFC 6275 §6.1.8).
type BindingAcknowledgement struct {
	Status   Status
	Flags    AckFlags
	Sequence Sequence
	Lifetime Lifetime
	Options  []Option
}

// BindingError reports a mobility error that has no binding update to answer
// (RFC 6275 §6.1.9). Home is the unspecified address where the packet had no
// Home Address option.
type BindingError struct {
	Status  BindingErrorStatus
	Home    netip.Addr
	Options []Option
}

// UnknownMessage is a message of a type this package does not know. Body is
// the Mobility Header after the checksum field, padding included.
type UnknownMessage struct {
	MessageType MessageType
	Body        []byte
}

// Type implements Message.
func (BindingRefreshRequest) Type() MessageType  { return TypeBindingRefreshRequest }
func (HomeTestInit) Type() MessageType           { return TypeHomeTestInit }
func (CareOfTestInit) Type() MessageType         { return TypeCareOfTestInit }
func (HomeTest) Type() MessageType               { return TypeHomeTest }
func (CareOfTest) Type() MessageType             { return TypeCareOfTest }
func (BindingUpdate) Type() MessageType          { return TypeBindingUpdate }
func (BindingAcknowledgement) Type() MessageType { return TypeBindingAcknowledgement }
func (BindingError) Type() MessageType           { return TypeBindingError }
func (m UnknownMessage) Type() MessageType       { return m.MessageType }

// MobilityOptions implements Message. An unknown message has none: where they
// would begin is not known.
func (m BindingRefreshRequest) MobilityOptions() []Option  { return m.Options }
func (m HomeTestInit) MobilityOptions() []Option           { return m.Options }
func (m CareOfTestInit) MobilityOptions() []Option         { return m.Options }
func (m HomeTest) MobilityOptions() []Option               { return m.Options }
func (m CareOfTest) MobilityOptions() []Option             { return m.Options }
func (m BindingUpdate) MobilityOptions() []Option          { return m.Options }
func (m BindingAcknowledgement) MobilityOptions() []Option { return m.Options }
func (m BindingError) MobilityOptions() []Option           { return m.Options }
func (UnknownMessage) MobilityOptions() []Option           { return nil }

func (BindingRefreshRequest) isMessage()  {}
func (HomeTestInit) isMessage()           {}
func (CareOfTestInit) isMessage()         {}
func (HomeTest) isMessage()               {}
func (CareOfTest) isMessage()             {}
func (BindingUpdate) isMessage()          {}
func (BindingAcknowledgement) isMessage() {}
func (BindingError) isMessage()           {}
func (UnknownMessage) isMessage()         {}
