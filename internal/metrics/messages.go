package metrics

import (
	"strings"
	"sync/atomic"

	"roam6/mip6"
)

// Role is a label: which part of the daemon a message came from or went to.
type Role uint8

// Roles. RoleNode is the node itself, which answers what no role can take.
const (
	RoleNode Role = iota
	RoleMobile
	RoleAgent
	RoleAnchor
	RoleCorrespondent
	roles // their number
)

func (r Role) String() string {
	switch r {
	case RoleNode:
		return "node"
	case RoleMobile:
		return "mobile"
	case RoleAgent:
		return "agent"
	case RoleAnchor:
		return "anchor"
	case RoleCorrespondent:
		return "correspondent"
	default:
		return "unknown"
	}
}

// kind is a type of signalling message: of a Mobility Header, or ICMPv6.
type kind uint8

const (
	mobilityKinds = kind(mip6.TypeBindingError) + 1 // they are numbered from 0
	icmpKinds     = kind(mip6.ICMPPrefixAdvertisement-mip6.ICMPHomeAgentRequest) + 1
	kinds         = mobilityKinds + icmpKinds
)

func mobilityKind(t mip6.MessageType) (kind, bool) { return kind(t), kind(t) < mobilityKinds }

func icmpKind(t mip6.ICMPType) (kind, bool) {
	k := mobilityKinds + kind(t-mip6.ICMPHomeAgentRequest)
	return k, t >= mip6.ICMPHomeAgentRequest && k < kinds
}

// String is the message's name as a label: "home_test_init".
func (k kind) String() string {
	name := mip6.MessageType(k).String()
	if k >= mobilityKinds {
		name = (mip6.ICMPHomeAgentRequest + mip6.ICMPType(k-mobilityKinds)).String()
	}
	return strings.NewReplacer(" ", "_", "-", "_").Replace(name)
}

// exchanged counts messages by role and kind.
type exchanged [roles][kinds]atomic.Uint64

// Sent counts a Mobility Header message that a role sent.
func (m *Metrics) Sent(r Role, t mip6.MessageType) {
	if k, ok := mobilityKind(t); ok {
		m.events.sent[r][k].Add(1)
	}
}

// Received counts a Mobility Header message that was given to a role, whatever
// it makes of it.
func (m *Metrics) Received(r Role, t mip6.MessageType) {
	if k, ok := mobilityKind(t); ok {
		m.events.received[r][k].Add(1)
	}
}

// SentICMP is Sent for ICMPv6 messages.
func (m *Metrics) SentICMP(r Role, t mip6.ICMPType) {
	if k, ok := icmpKind(t); ok {
		m.events.sent[r][k].Add(1)
	}
}

// ReceivedICMP is Received for ICMPv6 messages.
func (m *Metrics) ReceivedICMP(r Role, t mip6.ICMPType) {
	if k, ok := icmpKind(t); ok {
		m.events.received[r][k].Add(1)
	}
}

// MessageCount is how often a role sent and received a kind of message.
type MessageCount struct {
	Role           Role
	Type           string
	Sent, Received uint64
}

// Messages returns the counts that are not zero, in a fixed order.
func (m *Metrics) Messages() []MessageCount {
	var list []MessageCount
	for r := range roles {
		for k := range kinds {
			c := MessageCount{Role: r, Type: k.String(), Sent: m.events.sent[r][k].Load(), Received: m.events.received[r][k].Load()}
			if c.Sent+c.Received > 0 {
				list = append(list, c)
			}
		}
	}
	return list
}
