package control

import (
	"net/netip"
)

// Bindings is the binding cache of a daemon: of its home agents, of its mobility
// anchor points, and of the node as a correspondent.
type Bindings struct {
	Bindings []Binding `json:"bindings"`
	// Anchors are the regional care-of addresses that visitors have bound.
	Anchors []AnchorBinding `json:"anchor_bindings"`
	// Correspondent are the mobile nodes that optimised their routes to this node.
	Correspondent []CorrespondentBinding `json:"correspondent_bindings"`
}

// CorrespondentBinding is a binding that return routability made (RFC 6275
// §9.5).
type CorrespondentBinding struct {
	HomeAddress netip.Addr `json:"home_address"`
	// Address is this node's, to which the mobile node talks.
	Address   netip.Addr   `json:"address"`
	CareOf    netip.Addr   `json:"care_of"`
	Sequence  uint16       `json:"sequence"`
	Granted   Seconds      `json:"granted_seconds"`
	Remaining Seconds      `json:"remaining_seconds"`
	Created   Time         `json:"created"`
	Age       Milliseconds `json:"age_ms"` // since Created
}

// Binding is a home registration as the home agent keeps it.
type Binding struct {
	HomeAgent   string     `json:"home_agent"` // the section's name
	Mobile      string     `json:"mobile"`     // the section's name
	HomeAddress netip.Addr `json:"home_address"`
	// State is "probing" while duplicate address detection runs, "active", or
	// "deleted" for the time that a de-registration is remembered.
	State string `json:"state"`
	// CareOf are the care-of addresses, the preferred one first.
	CareOf   []CareOf       `json:"care_of"`
	Prefixes []netip.Prefix `json:"prefixes"` // mobile network prefixes
	Router   bool           `json:"router"`   // registered as a mobile router
	Sequence uint16         `json:"sequence"` // of the update accepted last
	// Granted is the lifetime granted by that update, Remaining what is left.
	Granted   Seconds      `json:"granted_seconds"`
	Remaining Seconds      `json:"remaining_seconds"`
	Created   Time         `json:"created"`
	Age       Milliseconds `json:"age_ms"` // since Created
	Updated   Time         `json:"updated"`
	UpdateAge Milliseconds `json:"update_age_ms"` // since Updated
}

// AnchorBinding is a local registration as the mobility anchor point keeps it
// (RFC 5380 §6.2).
type AnchorBinding struct {
	Anchor  string `json:"anchor"`            // the section's name
	Visitor string `json:"visitor,omitempty"` // the section's name; absent: served without authentication
	// Regional is the regional care-of address, OnLink the on-link one that it is
	// bound to; absent while probing.
	Regional netip.Addr `json:"regional_care_of"`
	OnLink   netip.Addr `json:"on_link_care_of,omitzero"`
	// State is "probing" while duplicate address detection runs, or "active".
	State    string `json:"state"`
	Sequence uint16 `json:"sequence"` // of the update accepted last
	// Granted is the lifetime granted by that update, Remaining what is left.
	Granted   Seconds      `json:"granted_seconds"`
	Remaining Seconds      `json:"remaining_seconds"`
	Created   Time         `json:"created"`
	Age       Milliseconds `json:"age_ms"` // since Created
	Updated   Time         `json:"updated"`
	UpdateAge Milliseconds `json:"update_age_ms"` // since Updated
}

// CareOf is a care-of address in a binding.
type CareOf struct {
	Address netip.Addr `json:"address"`
	BID     uint16     `json:"bid,omitempty"`  // binding identifier (RFC 5648); none: 0
	Port    uint16     `json:"port,omitempty"` // UDP port of a path through a NAT (RFC 5555); none: 0
}
