package control

import (
	"net/netip"
	"time"

	"roam6/internal/role"
)

// Overview is what the page of a daemon shows (internal/page): a part of what the
// other documents have, bounded, whatever the number of mobiles.
type Overview struct {
	Version string  `json:"version"`
	Uptime  Seconds `json:"uptime_seconds"`
	Now     Time    `json:"now"`
	// HomeAgents are absent where there is none.
	HomeAgents *AgentOverview `json:"home_agents,omitempty"`
	// Mobile is what this node is as a mobile; absent where it is none.
	Mobile *MobileOverview `json:"mobile,omitempty"`
}

// AgentOverview is of all home agents of a daemon.
type AgentOverview struct {
	Stats AgentStats `json:"stats"`
	// Matched is how many of the mobiles are as was asked for, of which Mobiles are the
	// first, in the order of the configuration.
	Matched int              `json:"matched"`
	Mobiles []MobileBindings `json:"mobiles"`
	// Changes are the newest of those in the time that was asked for, the newest first;
	// Changed is how many there were, and Forgotten tells that not all of that time are
	// remembered.
	Changes   []BindingChange `json:"changes"`
	Changed   int             `json:"changed"`
	Forgotten bool            `json:"forgotten"`
}

// MobileBindings is a configured mobile and its home registrations.
type MobileBindings struct {
	Mobile      string     `json:"mobile"` // the section's name
	HomeAgent   string     `json:"home_agent"`
	HomeAddress netip.Addr `json:"home_address"`
	// Bindings are empty while it is not registered: at home, or nobody knows where.
	Bindings []Binding `json:"bindings"`
}

// BindingChange is a registration, a move, or the end of a binding.
type BindingChange struct {
	// Number counts the changes since the start of the daemon.
	Number      uint64       `json:"number"`
	Mobile      string       `json:"mobile"` // the section's name
	HomeAddress netip.Addr   `json:"home_address"`
	From        netip.Addr   `json:"from,omitzero"` // absent: it was not registered
	To          netip.Addr   `json:"to,omitzero"`   // absent: it is not any more
	Cause       string       `json:"cause"`         // "update", "lifetime" or "configuration"
	At          Time         `json:"at"`
	Age         Milliseconds `json:"age_ms"` // since At
	// Processing is the home agent's own time: from taking up the binding update until
	// the packets for the mobile took the new path and the acknowledgement was sent.
	// It is there for moves alone.
	Processing *Milliseconds `json:"processing_ms,omitempty"`
}

// BindingChangeOf converts a change as seen at a moment; took is what the home agent
// needed for it.
func BindingChangeOf(number uint64, c role.BindingChanged, at time.Time, took time.Duration, now time.Time) BindingChange {
	x := BindingChange{
		Number: number, Mobile: c.Mobile, HomeAddress: c.Home, From: c.From, To: c.To, Cause: c.Cause.String(),
		At: Time{at}, Age: ageOf(now, at),
	}
	if c.From.IsValid() && c.To.IsValid() {
		m := Milliseconds(took)
		x.Processing = &m
	}
	return x
}

// MobileOverview is of all mobile nodes and routers of a daemon.
type MobileOverview struct {
	Updates []Update       `json:"updates"`
	Uplinks []MobileUplink `json:"uplinks"`
	// Handovers are the last ones, the newest first.
	Handovers []Handover `json:"handovers"`
}
