package control

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mn"
	"roam6/mn/ro"
)

// Updates is the binding update list of the mobile nodes and routers of a
// daemon, and where they are.
type Updates struct {
	Updates []Update `json:"updates"`
}

// Update is a mobile's registration with its home agent.
type Update struct {
	Mobile      string     `json:"mobile"` // the section's name
	HomeAddress netip.Addr `json:"home_address"`
	HomeAgent   netip.Addr `json:"home_agent"`
	// Attachment is where the mobile is; null while nowhere.
	Attachment *Attachment `json:"attachment"`
	// Lost: the attachment does not work at the moment.
	Lost bool `json:"lost"`
	// Registered: the home agent has acknowledged a care-of address, namely
	// CareOf, and its lifetime runs.
	Registered bool       `json:"registered"`
	CareOf     netip.Addr `json:"care_of,omitzero"`
	Sequence   uint16     `json:"sequence"` // of the last update sent
	Granted    Seconds    `json:"granted_seconds"`
	Remaining  Seconds    `json:"remaining_seconds"`
	Pending    bool       `json:"pending"` // an update waits for its acknowledgement
	Halted     bool       `json:"halted"`  // refused: no updates are sent until reconfigured
	// CareOfs are the care-of addresses there are, registered or not.
	CareOfs []CareOfCandidate `json:"care_of_addresses"`
	Uplinks []Uplink          `json:"uplinks"`
	// Regional are the registrations with mobility anchor points (RFC 5380). Where one
	// is in use its address is CareOf.
	Regional []RegionalUpdate `json:"regional"`
	// Local counts what happened with anchors since start.
	Local LocalUpdates `json:"local_updates"`
	// Peers are the correspondents with which routes are, or could be, optimised.
	Peers []Peer `json:"peers"`
}

// RegionalUpdate is a mobile's registration with a mobility anchor point.
type RegionalUpdate struct {
	Anchor netip.Addr `json:"anchor"`
	CareOf netip.Addr `json:"regional_care_of"`
	// OnLink is the on-link care-of address that the anchor has, or is told.
	OnLink netip.Addr `json:"on_link_care_of,omitzero"`
	// State is RegionalInUse (the home agent is told the address), RegionalProspect
	// (it is being registered) or RegionalFormer (left, and forwarding for a while).
	State      string  `json:"state"`
	Registered bool    `json:"registered"`
	Sequence   uint16  `json:"sequence"` // of the last update sent
	Granted    Seconds `json:"granted_seconds"`
	Remaining  Seconds `json:"remaining_seconds"`
	Pending    bool    `json:"pending"` // an update waits for its acknowledgement
}

// States of a regional care-of address.
const (
	RegionalInUse    = "in_use"
	RegionalProspect = "prospect"
	RegionalFormer   = "former"
)

// LocalUpdates are the counters of a mobile's registrations with anchors.
type LocalUpdates struct {
	Sent            uint64 `json:"sent"` // retransmissions included
	Retransmissions uint64 `json:"retransmissions"`
	// AnchorFailures are anchors that refused, did not answer in time, or were said to
	// have failed.
	AnchorFailures uint64 `json:"anchor_failures"`
	// Acknowledgements are those accepted, in the order of their status.
	Acknowledgements []Acknowledgements `json:"acknowledgements"`
}

func regionalOf(list []mn.Regional) []RegionalUpdate {
	all := make([]RegionalUpdate, 0, len(list))
	for _, r := range list {
		x := RegionalUpdate{
			Anchor: r.Anchor, CareOf: r.CareOf, OnLink: r.OnLink, State: RegionalFormer, Registered: r.Registered,
			Sequence: uint16(r.Sequence), Granted: Seconds(r.Granted), Remaining: Seconds(r.Remaining), Pending: r.Pending,
		}
		switch r.State {
		case mn.RegionalInUse:
			x.State = RegionalInUse
		case mn.RegionalProspect:
			x.State = RegionalProspect
		case mn.RegionalFormer:
		}
		all = append(all, x)
	}
	return all
}

// Peer is a correspondent in a binding update list (RFC 6275 §11.1).
type Peer struct {
	Address netip.Addr `json:"address"`
	// State is "testing" (the return routability procedure runs), "registering",
	// "optimised", "deregistering", "unanswered" or "refused".
	State     string     `json:"state"`
	CareOf    netip.Addr `json:"care_of,omitzero"` // of the optimised route
	Remaining Seconds    `json:"remaining_seconds"`
	// RetryAfter is how long a peer that cannot or will not is left alone.
	RetryAfter Seconds      `json:"retry_after_seconds"`
	Idle       Milliseconds `json:"idle_ms"`  // since traffic was seen last
	Sequence   uint16       `json:"sequence"` // of the last update sent
	Failures   int          `json:"failures"` // in a row
}

func peersOf(peers []ro.Peer) []Peer {
	list := make([]Peer, 0, len(peers))
	for _, p := range peers {
		list = append(list, Peer{
			Address: p.Addr, State: p.State.String(), CareOf: p.CareOf, Remaining: Seconds(p.Remaining),
			RetryAfter: Seconds(p.RetryAfter), Idle: Milliseconds(p.Idle), Sequence: uint16(p.Sequence), Failures: p.Failures,
		})
	}
	return list
}

// Attachment is where a mobile is attached.
type Attachment struct {
	Link   string     `json:"link"` // interface name
	Router netip.Addr `json:"router,omitzero"`
	CareOf netip.Addr `json:"care_of,omitzero"` // the home address when at home
	AtHome bool       `json:"at_home"`
}

// CareOfCandidate is a care-of address on an uplink.
type CareOfCandidate struct {
	Address netip.Addr `json:"address"`
	// Origin is where it comes from: CareOfFormed (SLAAC), CareOfLeased (DHCPv6) or
	// CareOfForeign (somebody else assigned it).
	Origin     string `json:"origin"`
	Optimistic bool   `json:"optimistic"` // duplicate address detection is under way
	Retired    bool   `json:"retired"`    // kept for a while for what is still on its way
	Standby    bool   `json:"standby"`    // kept ready on an uplink that is not in use
}

// Origins of care-of addresses.
const (
	CareOfFormed  = "formed"
	CareOfLeased  = "leased"
	CareOfForeign = "foreign"
)

// Uplink is an interface that a mobile may attach by, as the configuration names it.
type Uplink struct {
	Name    string   `json:"name"`
	Missing bool     `json:"missing"` // there is no interface of that name
	Index   int      `json:"index"`   // 0: missing
	Up      bool     `json:"up"`      // it has a carrier
	Routers []Router `json:"routers"`
}

// Router is a router heard on an uplink.
type Router struct {
	Address  netip.Addr     `json:"address"`
	Prefixes []netip.Prefix `json:"prefixes"`
	Lifetime Seconds        `json:"lifetime_seconds"`
	Interval Milliseconds   `json:"interval_ms"` // advertised; 0: not
	Age      Milliseconds   `json:"age_ms"`      // since it was last heard
}

// UpdateOf converts a mobile's snapshot.
func UpdateOf(s mn.Snapshot) Update {
	u := Update{
		Mobile: s.Name, HomeAddress: s.HomeAddress, HomeAgent: s.HomeAgent,
		Attachment: attachmentOf(s.Attachment), Lost: s.Lost,
		Registered: s.Update.Registered, CareOf: s.Update.CareOf, Sequence: uint16(s.Update.Sequence),
		Granted: Seconds(s.Update.Granted), Remaining: Seconds(max(s.Update.Remaining, 0)),
		Pending: s.Update.Pending, Halted: s.Update.Halted,
		CareOfs: make([]CareOfCandidate, 0, len(s.CareOfs)),
		Uplinks: make([]Uplink, 0, len(s.Uplinks)),
		Peers:   peersOf(s.Peers),

		Regional: regionalOf(s.Regional),
		Local: LocalUpdates{
			Sent: s.Stats.LocalUpdates, Retransmissions: s.Stats.LocalRetransmissions, AnchorFailures: s.Stats.AnchorFailures,
			Acknowledgements: AcknowledgementsOf(nil, s.Stats.LocalAcknowledgements),
		},
	}
	for _, c := range s.CareOfs {
		u.CareOfs = append(u.CareOfs, careOfCandidate(c))
	}
	for _, l := range s.Uplinks {
		u.Uplinks = append(u.Uplinks, uplinkOf(l))
	}
	return u
}

// attachmentOf converts an attachment; nowhere is nil.
func attachmentOf(a role.Attachment) *Attachment {
	if a == (role.Attachment{}) {
		return nil
	}
	return &Attachment{Link: a.Link, Router: a.Router, CareOf: a.CareOf, AtHome: a.AtHome}
}

func (a *Attachment) role() role.Attachment {
	if a == nil {
		return role.Attachment{}
	}
	return role.Attachment{Link: a.Link, Router: a.Router, CareOf: a.CareOf, AtHome: a.AtHome}
}

// orEmpty makes an absent list one that is [] and not null in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// ageOf is the time since t; zero when t has not been, or is ahead because the
// wall clock was set back.
func ageOf(now, t time.Time) Milliseconds {
	if t.IsZero() {
		return 0
	}
	return Milliseconds(max(now.Sub(t), 0))
}
