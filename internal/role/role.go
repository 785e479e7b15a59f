// Package role is the vocabulary between the pure roles and the shell that
// hosts them. A role is a state machine without I/O: Handle takes the time and
// one Event and returns the Actions to carry out, in order; Next tells when it
// wants to be woken. The same calls give the same actions.
//
// Time is what the shell says it is. Roles only compare and add; the shell
// passes time.Now values, whose monotonic reading makes them immune to a wall
// clock that jumps.
package role

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/binding"
	"roam6/mip6"
	"roam6/nd"
	"roam6/overlay"
)

// Machine is a role as the shell and the simulator see it.
type Machine interface {
	// Handle processes one event. now never goes backwards between calls.
	Handle(now time.Time, e Event) []Action
	// Next is the earliest time at which Timeout must be delivered; the zero
	// time means there is nothing to wait for. It may change with every Handle.
	Next() time.Time
}

// Event is something that happened. The set is closed.
type Event interface{ isEvent() }

// Timeout says that the time of Next has come.
type Timeout struct{}

// LinkChanged tells of a link that appeared or changed: carrier, name, address
// or MTU. The shell sends one for every link at start.
type LinkChanged struct{ Link Link }

// LinkGone tells that an interface was removed.
type LinkGone struct{ Index int }

// Link is a network interface as a role knows it.
type Link struct {
	Index int
	Name  string
	// Up: administratively up, carrier present, and able to send: the link-local
	// address may be used.
	Up bool
	// Carriers counts how often the carrier came. The kernel may merge the loss
	// and the return of a carrier into one notification (its link watch waits up
	// to a second); then this alone tells that the link was away.
	Carriers uint32
	MTU      int
	// Ethernet is the link-layer address; all zero on links without one.
	Ethernet [6]byte
	// LinkLocal is the interface's own link-local address, without zone.
	LinkLocal netip.Addr
}

// RouterHeard delivers a router advertisement that passed the checks of
// RFC 4861 §6.1.2 (hop limit 255, link-local source among them).
type RouterHeard struct {
	Link   int
	Router netip.Addr // link-local source, without zone
	RA     nd.RouterAdvertisement
}

// NeighborHeard delivers a neighbour advertisement, or a neighbour
// solicitation for duplicate address detection (unspecified source), that was
// heard on a link and is not our own.
type NeighborHeard struct {
	Link         int
	From         netip.Addr // source of the packet; unspecified in a DAD solicitation
	Target       netip.Addr
	Solicitation bool // a DAD probe of somebody else
	Solicited    bool // the S flag of an advertisement
}

// MessageReceived delivers a Mobility Header message addressed to this node.
type MessageReceived struct {
	Link   int
	Packet mip6.Packet
	// Protected: it came under an IPsec security association whose home address is
	// the packet's (RFC 4877 §4).
	Protected bool
	// SPI, when not zero, is the inbound one of the association with a mobility anchor
	// point, or with a visitor of one, under which it came (RFC 5380 §12.1). Such an
	// association is no home address's, so that it is not Protected: what whoever has it
	// may say is for the role to judge.
	SPI uint32
}

// TunnelRefused tells that the other end of a tunnel answered a packet with an
// ICMPv6 error, as one does that has no such tunnel (any more). Anybody can
// forge that, so it is a reason to ask, not to believe.
type TunnelRefused struct{ Home netip.Addr }

// ICMPReceived delivers an ICMPv6 message of Mobile IPv6 (RFC 6275 §6.5–§6.8)
// addressed to this node, anycast addresses of JoinAnycast included.
type ICMPReceived struct {
	Link      int
	Packet    mip6.ICMPPacket
	Protected bool // as in MessageReceived
}

// PeerRefused tells that Peer answered a Mobility Header message from Local with
// an ICMPv6 Parameter Problem, "unrecognized next header": it does not know
// Mobile IPv6 (RFC 6275 §11.3.5). Anybody can forge that.
type PeerRefused struct{ Local, Peer netip.Addr }

// TrafficSeen tells that the data plane carried a packet between a home address
// and a peer. On overlay.MobileSide the home address is ours and the packet went
// through the tunnel or along an optimised route; on overlay.CorrespondentSide
// the peer is ours and the packet went along an optimised route. It comes with
// the first packet of a pair, and then at most every overlay.TrafficInterval.
type TrafficSeen struct {
	Home, Peer netip.Addr
	Side       overlay.Side
}

// TunnelSilent tells that a mobile's tunnel has carried packets to the home
// agent for overlay.SilenceInterval and brought none back. It comes again as
// long as that lasts, and is a reason to ask the home agent, not to leave it.
type TunnelSilent struct{ Home netip.Addr }

// UnknownHomeAddress tells of a data packet with a Home Address option that no
// binding of this node permits (RFC 6275 §9.3.1).
type UnknownHomeAddress struct {
	Source      netip.Addr // of the packet
	Destination netip.Addr // this node's address
	Home        netip.Addr // in the option
}

// RouteUnreachable tells that a packet which took a correspondent's optimised
// route was answered with an ICMPv6 Destination Unreachable from on the way
// (RFC 6275 §9.3.4). Anybody can forge that; it comes once a second for a route at
// most.
type RouteUnreachable struct {
	Home, Peer netip.Addr
	CareOf     netip.Addr // where the packet was sent to
	// Received is how many packets the mobile has sent along the route so far: a
	// sign that it is there.
	Received uint64
}

// KeysChanged tells a mobile whether IKE has made the IPsec associations for its
// signalling with a home agent (RFC 4877 §7.3). There are none at the start. Associations
// that take the place of others are no change.
type KeysChanged struct {
	Home, Agent netip.Addr
	Present     bool
}

// Stop asks the role to end in order: de-register, retract, clean up. The role
// is done when its Next is zero and it has no more actions; the shell waits a
// bounded time and then withdraws all kernel state of the role.
type Stop struct{}

func (Timeout) isEvent()            {}
func (LinkChanged) isEvent()        {}
func (LinkGone) isEvent()           {}
func (RouterHeard) isEvent()        {}
func (NeighborHeard) isEvent()      {}
func (MessageReceived) isEvent()    {}
func (TunnelRefused) isEvent()      {}
func (ICMPReceived) isEvent()       {}
func (PeerRefused) isEvent()        {}
func (TrafficSeen) isEvent()        {}
func (TunnelSilent) isEvent()       {}
func (UnknownHomeAddress) isEvent() {}
func (RouteUnreachable) isEvent()   {}
func (KeysChanged) isEvent()        {}
func (Stop) isEvent()               {}

// Action is something the shell must do. The set is closed. Actions of kernel
// state are idempotent: adding what exists updates it, removing what is absent
// does nothing.
type Action interface{ isAction() }

// Send sends a Mobility Header message. Link, when not zero, is the interface
// to send on, whatever the routing table prefers: a home agent answers a mobile
// that is back on the home link there, past the tunnel that may still exist.
//
// SPI, when not zero, names the IPsec association of a local binding update or its
// acknowledgement, as in MessageReceived: by the inbound SPI of the pair. If there is
// none any more the message is not sent.
type Send struct {
	Packet mip6.Packet
	Link   int
	SPI    uint32
}

// SendICMP sends an ICMPv6 message of Mobile IPv6; Link is as for Send.
type SendICMP struct {
	Packet mip6.ICMPPacket
	Link   int
}

// RequestKeys asks for the associations of a KeysChanged: a message from CareOf, which is
// the home address at home, waits for them.
type RequestKeys struct{ Home, Agent, CareOf netip.Addr }

// RenewKeys tells that a home agent has registered a care-of address and does not move
// its end of the IKE association there (K bit clear, RFC 6275 §11.7.3): unless it is
// there already, it is to be made anew.
type RenewKeys struct{ Home, Agent, CareOf netip.Addr }

// JoinAnycast makes this node receive packets to an anycast address of a link's
// prefix, and answer neighbour solicitations for it as RFC 4861 §7.2.7 wants;
// LeaveAnycast ends it.
type JoinAnycast struct {
	Link int
	Addr netip.Addr
}

// LeaveAnycast ends a JoinAnycast.
type LeaveAnycast struct {
	Link int
	Addr netip.Addr
}

// HomeAddressFormed tells the shell that the home link was renumbered: the node
// with home address From is to live on at To as well (RFC 6275 §11.4.1). The
// shell begins a mobile node for To that is otherwise configured like the one
// for From, unless there is one. Valid is how long the new prefix is.
type HomeAddressFormed struct {
	From  netip.Addr
	To    netip.Prefix // the new home address with the length of its home prefix
	Valid time.Duration
}

// SolicitRouter sends a router solicitation to all routers on a link
// (RFC 4861 §6.3.7).
type SolicitRouter struct{ Link int }

// ProbeAddress sends one duplicate address detection solicitation for Addr
// (RFC 4862 §5.4.2). Answers arrive as NeighborHeard; the role keeps the time.
type ProbeAddress struct {
	Link int
	Addr netip.Addr
}

// ProbeNeighbor sends one unicast neighbour solicitation, without a source
// link-layer address option, to see whether Target is there (RFC 4861 §7.3)
// and to make a router learn Source early: an optimistic address may be the
// source of such a solicitation (RFC 4429 §3.2).
type ProbeNeighbor struct {
	Link   int
	Source netip.Addr
	Target netip.Addr
}

// AnnounceAddress multicasts an unsolicited neighbour advertisement to all
// nodes with the link's own link-layer address, S=0, O=1 (RFC 6275 §10.4.1,
// §11.5.5). Router is the R flag.
type AnnounceAddress struct {
	Link   int
	Addr   netip.Addr
	Router bool
}

// DefendAddress makes this node answer neighbour solicitations for Addr on
// behalf of a mobile node that is away (RFC 6275 §10.4.1). Router is the R flag
// of the answers, set for a mobile router (RFC 3963 §6.2). UndefendAddress ends it.
type DefendAddress struct {
	Link   int
	Addr   netip.Addr
	Router bool
}

// UndefendAddress ends a DefendAddress.
type UndefendAddress struct {
	Link int
	Addr netip.Addr
}

// AssignAddress puts an address on an interface, without the kernel's own
// duplicate address detection. A Preferred of zero makes it deprecated: it
// serves what uses it and is not chosen for anything new. mip6.InfiniteLifetime
// is for ever.
type AssignAddress struct {
	Link             int
	Prefix           netip.Prefix // address and prefix length
	Preferred, Valid time.Duration
	// Home marks a home address: assigned while away to the data plane's device
	// (Link 0), at home to the home link.
	Home bool
}

// UnassignAddress removes an address that AssignAddress put there.
type UnassignAddress struct {
	Link   int
	Prefix netip.Prefix
}

// AddRoute installs a route; RemoveRoute removes it. Via is an address on the link,
// link-local or not, or invalid for an on-link route.
type AddRoute struct{ Route Route }

// RemoveRoute removes a route that AddRoute installed.
type RemoveRoute struct{ Route Route }

// Route is a route in the main table. Two routes are the same when Destination,
// From, Link and Via are.
type Route struct {
	Destination netip.Prefix
	// From, when valid, confines the route to packets with a source in this
	// prefix. It is preferred to a route to the same destination without one
	// (RFC 8028 §3.2).
	From netip.Prefix
	Link int
	Via  netip.Addr
	// Source, when valid, is the preferred source address.
	Source netip.Addr
	Metric int
	// Unreachable: it leads nowhere, and senders are told so. It has neither Link nor
	// Via nor Source.
	Unreachable bool
}

// LearnNeighbor records a neighbour's link-layer address that a router
// advertisement brought, so that the first packet need not wait for address
// resolution (RFC 4861 §6.3.4).
type LearnNeighbor struct {
	Link     int
	Addr     netip.Addr
	Ethernet [6]byte
}

// ForgetNeighbor has a neighbour's address resolved anew when something is to be
// sent to it: it has come, and the kernel may be waiting in vain for an answer to
// what it asked before, or it has left, and the kernel would not notice for half a
// minute (RFC 4861 §7.3).
type ForgetNeighbor struct {
	Link int
	Addr netip.Addr
}

// Forward gives changes to the data plane.
type Forward struct{ Changes []overlay.Change }

// AdvertisePrefix tells the advertiser of a downstream link whether a mobile
// network prefix may be advertised: withdrawn prefixes are advertised with
// lifetime zero (RFC 3963 §6.2).
type AdvertisePrefix struct {
	Prefix netip.Prefix
	Usable bool
}

// Remember has what a role that keeps bindings knows of one home address survive the
// process, in place of what it said before with the same binding.Key. It comes before
// the acknowledgement of the update that changed it, and is carried out before: what
// was acknowledged is remembered.
type Remember struct{ Memory binding.Memory }

// Dropped counts a message that was not accepted, by reason.
type Dropped struct {
	Reason DropReason
	From   netip.Addr
}

// Log is one line for the operator.
type Log struct {
	Level   slog.Level
	Message string
	Attrs   []slog.Attr
}

// HandoverDone reports the timeline of a completed handover.
type HandoverDone struct{ Handover Handover }

// Acknowledged reports the status of a binding acknowledgement that was sent
// or accepted, for the metrics.
type Acknowledged struct {
	Status mip6.Status
	Sent   bool
}

func (Send) isAction()              {}
func (SendICMP) isAction()          {}
func (RequestKeys) isAction()       {}
func (RenewKeys) isAction()         {}
func (JoinAnycast) isAction()       {}
func (LeaveAnycast) isAction()      {}
func (HomeAddressFormed) isAction() {}
func (SolicitRouter) isAction()     {}
func (ProbeAddress) isAction()      {}
func (ProbeNeighbor) isAction()     {}
func (AnnounceAddress) isAction()   {}
func (DefendAddress) isAction()     {}
func (UndefendAddress) isAction()   {}
func (AssignAddress) isAction()     {}
func (UnassignAddress) isAction()   {}
func (AddRoute) isAction()          {}
func (RemoveRoute) isAction()       {}
func (LearnNeighbor) isAction()     {}
func (ForgetNeighbor) isAction()    {}
func (Forward) isAction()           {}
func (AdvertisePrefix) isAction()   {}
func (Remember) isAction()          {}
func (Dropped) isAction()           {}
func (Log) isAction()               {}
func (HandoverDone) isAction()      {}
func (Acknowledged) isAction()      {}

// Handover is the timeline of one move. Times that did not happen are zero;
// the phases are counted from Start.
type Handover struct {
	Home         netip.Addr
	From, To     Attachment
	Trigger      Trigger
	Start        time.Time // the event that began it
	LinkUp       time.Time // the carrier came
	Solicited    time.Time // router solicitation sent
	Advertised   time.Time // router advertisement of the new router
	CareOf       time.Time // new care-of address usable
	Updated      time.Time // first binding update sent
	Acknowledged time.Time // binding acknowledgement accepted: complete
	Updates      int       // binding updates sent, retransmissions included
}

// Attachment is where a mobile is attached: the zero value is nowhere.
type Attachment struct {
	Link   string // interface name
	Router netip.Addr
	CareOf netip.Addr // the home address when at home
	AtHome bool
}

// Trigger is what made a mobile move.
type Trigger uint8

// Triggers of movement.
const (
	TriggerStart         Trigger = iota + 1 // first attachment
	TriggerLink                             // carrier or interface event
	TriggerAdvertisement                    // a new router was heard
	TriggerSilence                          // the router missed its advertisements
	TriggerExpiry                           // address or router lifetime ended
)

func (t Trigger) String() string {
	switch t {
	case TriggerStart:
		return "start"
	case TriggerLink:
		return "link"
	case TriggerAdvertisement:
		return "advertisement"
	case TriggerSilence:
		return "silence"
	case TriggerExpiry:
		return "expiry"
	default:
		return "unknown"
	}
}
