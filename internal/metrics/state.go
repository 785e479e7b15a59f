package metrics

import (
	"context"

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
	Agents  []Agent
	Anchors []Anchor
	// CorrespondentBindings is the number of mobile nodes that have a binding with
	// this node as a correspondent.
	CorrespondentBindings int
	// LeasedAddresses and LeasedPrefixes are what this node has by DHCPv6.
	LeasedAddresses, LeasedPrefixes int
	// DelegatedPrefixes is the number of those that mobile routers have of this
	// daemon's home agents, or of servers that these relay to.
	DelegatedPrefixes int
	// Plane is the data plane engine's name; empty when none runs, and the
	// three fields after it are then not used.
	Plane   string
	Tunnels []overlay.Status
	Routes  []overlay.RouteStatus
	Drops   map[overlay.DropReason]uint64
	// NetlinkOverruns counts the times that notifications of the kernel were
	// lost.
	NetlinkOverruns uint64
}

// Agent is a home agent's part of the state.
type Agent struct {
	Name     string // of the section
	Bindings int
	// Limit is the most bindings that the agent accepts; 0: not limited.
	Limit int
	// Duplicates counts the home addresses found taken.
	Duplicates uint64
}

// Anchor is a mobility anchor point's part of the state.
type Anchor struct {
	Name     string // of the section
	Bindings int
	Limit    int // the most bindings that the anchor accepts
	// Duplicates counts the regional care-of addresses found taken.
	Duplicates uint64
}
