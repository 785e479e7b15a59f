package control

import (
	"slices"

	"roam6/internal/role"
	"roam6/mip6"
)

// Stats are the counters of a daemon since its start, and a few present
// numbers.
type Stats struct {
	Version string  `json:"version"`
	Uptime  Seconds `json:"uptime_seconds"`
	// MessagesDropped counts the signalling messages not accepted, by reason.
	MessagesDropped map[string]uint64 `json:"messages_dropped"`
	// PacketsDropped counts the packets the data plane dropped, by reason.
	PacketsDropped map[string]uint64 `json:"packets_dropped"`
	// Acknowledgements are in the order of their status.
	Acknowledgements []Acknowledgements `json:"acknowledgements"`
	// Messages are those that were given to a role, accepted or not, and those
	// that one sent, in the order of roles and types.
	Messages []Messages `json:"messages"`
	// DHCP are the DHCPv6 messages sent and received, in the order of types, and
	// DHCPDropped those not accepted, by reason.
	DHCP        []DHCPMessages    `json:"dhcp_messages"`
	DHCPDropped map[string]uint64 `json:"dhcp_messages_dropped"`
	Mobile      *MobileStats      `json:"mobile,omitempty"` // of all mobile nodes and routers; none: absent
	Agent       *AgentStats       `json:"agent,omitempty"`  // of all home agents; none: absent
	Anchor      *AnchorStats      `json:"anchor,omitempty"` // of all mobility anchor points; none: absent
	// Correspondent is absent where Mobile IPv6 is not done at all.
	Correspondent *CorrespondentStats `json:"correspondent,omitempty"`
	Daemon        DaemonStats         `json:"daemon"`
}

// Acknowledgements counts binding acknowledgements of one status.
type Acknowledgements struct {
	Status   uint8  `json:"status"`
	Meaning  string `json:"meaning"`
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// Messages counts the messages of a type that a role sent and received.
type Messages struct {
	Role     string `json:"role"` // "mobile", "agent", "anchor", "correspondent" or "node"
	Type     string `json:"type"`
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// DHCPMessages counts the DHCPv6 messages of a type.
type DHCPMessages struct {
	Type     string `json:"type"`
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// CorrespondentStats are the numbers of the node as a correspondent.
type CorrespondentStats struct {
	Enabled  bool `json:"enabled"` // mobile nodes may optimise their routes to it
	Bindings int  `json:"bindings"`
}

// MobileStats are the counters of mobile nodes and routers.
type MobileStats struct {
	UpdatesSent          uint64 `json:"updates_sent"`    // retransmissions included
	Retransmissions      uint64 `json:"retransmissions"` // of binding updates
	LateAcknowledgements uint64 `json:"late_acknowledgements"`
	Handovers            uint64 `json:"handovers"`
	Duplicates           uint64 `json:"duplicate_addresses"` // care-of addresses found taken
	// Of the registrations with mobility anchor points, which the others do not count.
	LocalUpdatesSent     uint64 `json:"local_updates_sent"`    // retransmissions included
	LocalRetransmissions uint64 `json:"local_retransmissions"` // of local binding updates
	AnchorFailures       uint64 `json:"anchor_failures"`
}

// AgentStats are the counters of home agents.
type AgentStats struct {
	Mobiles         int    `json:"mobiles"` // configured
	Bindings        int    `json:"bindings"`
	Probing         int    `json:"probing"` // waiting for duplicate address detection
	Deleted         int    `json:"deleted"` // de-registered and remembered for a while
	Registrations   uint64 `json:"registrations"`
	Refreshes       uint64 `json:"refreshes"`
	Moves           uint64 `json:"moves"`
	Deregistrations uint64 `json:"deregistrations"`
	Expirations     uint64 `json:"expirations"`
	Restored        uint64 `json:"restored"`            // taken over from an earlier process
	Duplicates      uint64 `json:"duplicate_addresses"` // home addresses found taken
	Conflicts       uint64 `json:"conflicts"`           // neighbours heard using a registered one
}

// AnchorStats are the counters of mobility anchor points.
type AnchorStats struct {
	Visitors        int    `json:"visitors"` // configured
	Bindings        int    `json:"bindings"`
	Probing         int    `json:"probing"` // waiting for duplicate address detection
	Limit           int    `json:"limit"`   // most of both
	Registrations   uint64 `json:"registrations"`
	Refreshes       uint64 `json:"refreshes"`
	Moves           uint64 `json:"moves"`
	Deregistrations uint64 `json:"deregistrations"`
	Expirations     uint64 `json:"expirations"`
	Restored        uint64 `json:"restored"`            // taken over from an earlier process
	Duplicates      uint64 `json:"duplicate_addresses"` // regional care-of addresses found taken
	Conflicts       uint64 `json:"conflicts"`           // neighbours heard using a registered one
	RefreshRequests uint64 `json:"refresh_requests"`    // sent
}

// DaemonStats are the counters of what all roles share.
type DaemonStats struct {
	RouterAdvertisementsSent uint64 `json:"router_advertisements_sent"`
	Reloads                  uint64 `json:"reloads"`
	ReloadsFailed            uint64 `json:"reloads_failed"`
	NetlinkOverruns          uint64 `json:"netlink_overruns"` // notifications lost; the state was read anew
	EventsLost               uint64 `json:"events_lost"`      // more than the roles could take
	Budget                   Budget `json:"budget"`
}

// Budget is what the daemon may spend in Go's runtime, and has of it: the options gogc,
// memory_limit and processors, or what the environment said instead.
type Budget struct {
	GCPercent   int    `json:"gogc"`             // 0: no collection but near the limit
	MemoryLimit uint64 `json:"memory_limit_mib"` // 0: none
	Processors  int    `json:"processors"`
	// Memory is what the runtime has of the system, in octets, as the limit counts it;
	// not all of it is resident.
	Memory uint64 `json:"memory_bytes"`
}

// MessagesDroppedOf converts counters by reason.
func MessagesDroppedOf(counts map[role.DropReason]uint64) map[string]uint64 {
	m := make(map[string]uint64, len(counts))
	for reason, n := range counts {
		m[reason.String()] += n
	}
	return m
}

// AcknowledgementsOf converts counters by status, of those sent and of those
// received.
func AcknowledgementsOf(sent, received map[mip6.Status]uint64) []Acknowledgements {
	list := make([]Acknowledgements, 0, len(sent)+len(received))
	at := func(s mip6.Status) *Acknowledgements {
		i, found := slices.BinarySearchFunc(list, uint8(s), func(a Acknowledgements, s uint8) int { return int(a.Status) - int(s) })
		if !found {
			list = slices.Insert(list, i, Acknowledgements{Status: uint8(s), Meaning: s.String()})
		}
		return &list[i]
	}
	for s, n := range sent {
		at(s).Sent = n
	}
	for s, n := range received {
		at(s).Received = n
	}
	return list
}
