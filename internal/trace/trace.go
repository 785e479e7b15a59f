// Package trace records what a role was told and what it decided, and plays it back: a
// role is a pure state machine, so that its configuration and its events are all it takes
// to have it decide the same again, on another machine and under a debugger, or otherwise
// after a repair.
//
// A trace is a text of lines, each a JSON object (Entry); the first is a Header. It is
// described in docs/trace.md. A Stream is the end that writes, in the daemon, and a
// Recorder its part for one role; a Reader reads, and a Player has the role play.
//
// No key is in a trace. Where a message has an authenticator the recorder, which has the
// role's keys, notes whether it verifies, and leaves it out; the player seals those that
// did with a key of its own, which it gives to the role in place of the real one. So the
// role verifies as ever, and comes to the same result. Keygen tokens (RFC 6275 §5.2.5),
// of which the keys of route optimisation are made, are replaced likewise; see keyring.
// What a correspondent makes them of, its node keys and nonces, it does not draw where a
// recorder could see it (cn.Config); in a play it has others, and gives out other tokens.
package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/role"
)

// Format is the version of the format. A reader takes no other.
const Format = 1

// Limits, on what is written and on what is read.
const (
	// MaxLine bounds a line in octets, its newline included: that of a home agent with
	// some ten thousand mobiles and their bindings.
	MaxLine = 16 << 20
	// MaxRoles bounds the roles of a trace.
	MaxRoles = 256
	// maxQueue and maxQueued bound what waits to be written, in entries and octets.
	maxQueue  = 4096
	maxQueued = 4 << 20
)

// ErrFormat is in the error for what is no trace, or not one of this format.
var ErrFormat = errors.New("not a trace that this version of roam6 reads")

// Header is the first line of a trace.
type Header struct {
	Format  int    `json:"roam6_trace"`
	Version string `json:"version"` // of the roam6 that recorded
	// Start is the time of day at which the offsets of the entries begin.
	Start time.Time `json:"start"`
}

// Entry is a line of a trace: one of Begin, Event, Reconfigure, End and Gap is there.
type Entry struct {
	// At is when it was, in nanoseconds since the start by the monotonic clock; Wall is
	// the time of day then.
	At   int64     `json:"at_ns"`
	Wall time.Time `json:"wall"`
	Role string    `json:"role,omitempty"` // the section's name, the home address where two have it

	Begin       *Begin          `json:"begin,omitempty"`
	Event       *Tagged         `json:"event,omitempty"`
	Reconfigure json.RawMessage `json:"reconfigure,omitempty"` // the new configuration
	End         bool            `json:"end,omitempty"`         // the role has ended
	Gap         uint64          `json:"gap,omitempty"`         // so many entries are missing here

	// Authentic, of a message with an authenticator: it verified.
	Authentic bool `json:"authentic,omitempty"`
	// Random are the octets that the role drew from its source of randomness.
	Random octets `json:"random,omitempty"`
	// Barred are the answers that an anchor had where it asked whether an address may be
	// bound (anchor.Config).
	Barred map[netip.Addr]bool `json:"barred,omitempty"`
	// Actions are what the role decided, and Next is when it wants to be woken, in
	// nanoseconds since the start; null: never.
	Actions []Tagged `json:"actions,omitempty"`
	Next    *int64   `json:"next_ns,omitempty"`
}

// Begin tells how a role was made, or what is known of one that ran before the trace.
type Begin struct {
	Kind   Kind            `json:"kind"`
	Start  Start           `json:"start"`
	Config json.RawMessage `json:"config"`
	// Memories are the bindings of a home agent or anchor, as binding.Memory has them in
	// octets, with times that count from the Header's Start.
	Memories []octets `json:"memories,omitempty"`
	// Delegated are the prefixes that its mobiles have by delegation.
	Delegated []prefixesDelegated `json:"delegated,omitempty"`
	// Links are the interfaces that a home agent or anchor knew.
	Links []role.Link `json:"links,omitempty"`
	// Saved is what a DHCPv6 client or delegating router had kept of an earlier life.
	Saved octets `json:"saved,omitempty"`
	// State is, of StartUnknown, what is shown of the role: of a mobile by `roam6 show
	// updates --json`, of a correspondent its bindings by `roam6 show bindings --json`, of
	// a DHCPv6 client or delegating router its leases as of `roam6 show leases --json` or
	// `roam6 show delegations --json`.
	State json.RawMessage `json:"state,omitempty"`
}

// Kind is a kind of role.
type Kind string

// Kinds of roles that are recorded.
const (
	KindNode          Kind = "mobile_node"
	KindRouter        Kind = "mobile_router"
	KindAgent         Kind = "home_agent"
	KindAnchor        Kind = "anchor"
	KindCorrespondent Kind = "correspondent"
	KindClient        Kind = "dhcpv6_client"
	KindDelegator     Kind = "delegating_router"
)

// Start says in which state a role is at its first entry.
type Start string

// Starts.
const (
	// StartNew: it has just been made. Everything is known, the bindings of an earlier
	// process that a home agent or anchor has among it.
	StartNew Start = "new"
	// StartRestored: a home agent or anchor that ran before, of which bindings, delegated
	// prefixes and links are told. What else it knew is not: whom it has answered lately
	// (limits of rates), which other home agents it has heard, probes under way.
	StartRestored Start = "restored"
	// StartUnknown: a role of another kind that ran before. It cannot be played, only read.
	StartUnknown Start = "unknown"
)

// Drawn is what a role took from outside while it decided.
type Drawn struct {
	Random []byte
	Barred map[netip.Addr]bool // of an anchor: the addresses that it asked about, and the answers
}

// Tagged is an event or action: an object with one member, whose name is its type in
// package role and whose value has the fields of that, but where wire.go says otherwise.
type Tagged struct {
	Type string
	Data json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (t Tagged) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(t.Type)+len(t.Data)+5)
	b = append(append(append(b, `{"`...), t.Type...), `":`...)
	return append(append(b, t.Data...), '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Tagged) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if len(m) != 1 {
		return fmt.Errorf("an event or action is an object with one member, not %d", len(m))
	}
	for t.Type, t.Data = range m {
	}
	return nil
}

// clock turns moments into nanoseconds since the start of a trace and back.
type clock struct{ start time.Time }

// offset is nil for the zero time.
func (c clock) offset(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := int64(t.Sub(c.start))
	return &n
}

func (c clock) time(offset *int64) time.Time {
	if offset == nil {
		return time.Time{}
	}
	return c.at(*offset)
}

func (c clock) at(offset int64) time.Time { return c.start.Add(time.Duration(offset)) }
