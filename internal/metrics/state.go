package metrics

import (
	"context"
	"time"

	"roam6/mn"
	"roam6/overlay"
)

// Source tells what is, at each scrape.
type Source interface {
	State(ctx context.Context) (State, error)
}

// State is what is at a moment.
type State struct {
	Mobiles []mn.Snapshot
	// Connected is the number of mobiles to whose home address packets arrive, as far as
	// is known; Outages is for how long such were not connected, all together.
	Connected int
	Outages   time.Duration
	Agents    []Agent
	Anchors   []Anchor
	// CorrespondentBindings is the number of mobile nodes that have a binding with
	// this node as a correspondent, CorrespondentLimit the most that there can be; 0: it
	// makes none. CorrespondentChanges are totals.
	CorrespondentBindings, CorrespondentLimit int
	CorrespondentChanges                      BindingChanges
	// LeasedAddresses and LeasedPrefixes are what this node has by DHCPv6.
	LeasedAddresses, LeasedPrefixes int
	Delegators                      []Delegator
	// Plane is the data plane engine's name; empty when none runs, and the
	// three fields after it are then not used.
	Plane   string
	Tunnels []overlay.Status
	Routes  []overlay.RouteStatus
	Drops   map[overlay.DropReason]uint64
	// NetlinkOverruns counts the times that notifications of the kernel were
	// lost; EventsLost what happened and found no room in the daemon's queue.
	NetlinkOverruns, EventsLost uint64
}

// Agent is a home agent's part of the state.
type Agent struct {
	Name     string // of the section
	Bindings int
	// Limit is the most bindings that there can be: the home addresses of the mobiles
	// that may register.
	Limit int
	// Changes are totals.
	Changes BindingChanges
	// Duplicates counts the home addresses found taken.
	Duplicates uint64
}

// Anchor is a mobility anchor point's part of the state.
type Anchor struct {
	Name     string // of the section
	Bindings int
	Limit    int // the most bindings that the anchor accepts
	Changes  BindingChanges
	// Duplicates counts the regional care-of addresses found taken.
	Duplicates uint64
}

// BindingChanges count what became of bindings.
type BindingChanges struct {
	Registrations, Refreshes, Moves, Deregistrations, Expirations uint64
}

// Delegator is a home agent's part that delegates prefixes, or relays to who does.
type Delegator struct {
	Name     string // of the home agent's section
	Prefixes int    // that mobile routers have
	// Exhaustions counts the requests for which no pool had a prefix left.
	Exhaustions uint64
}
