package role

import (
	"net/netip"
	"time"
)

// LinkIdentity tells links apart that come by the same interface, as far as a
// node can: by a default router and a prefix it advertises. The zero value is a
// link of which nothing is known.
type LinkIdentity struct {
	Router netip.Addr
	Prefix netip.Prefix
}

// ConfigureLink, of a mobile, asks for DHCPv6 on a link: Managed for addresses,
// Other for information only; neither ends it. The shell passes it on as an event
// to the link's client, of which there is one for all mobiles. It is sent again
// when the link or the flags change, or the carrier came back: for a client that
// is a link event (RFC 8415 §18.2.12).
type ConfigureLink struct {
	Link           int
	Identity       LinkIdentity
	Managed, Other bool
}

// DeclineAddress, of a mobile, tells that a leased address was found in use by
// somebody else (RFC 8415 §18.2.8). The shell passes it on to the link's client.
type DeclineAddress struct {
	Link int
	Addr netip.Addr
}

// LeaseChanged tells what a DHCPv6 client has now, all of it: an address or
// prefix that is not named any more is lost. It is an action of the client and
// an event for the mobiles, and comes with every renewal, too.
type LeaseChanged struct {
	Link  int
	Lease Lease
}

// Lease is what DHCPv6 servers gave. Lifetimes count from the moment of the
// event that carries it.
type Lease struct {
	Addresses []LeasedPrefix // of length 128
	Prefixes  []LeasedPrefix
	// Information from Reply messages: addresses of DNS servers, and the domain
	// search list.
	DNS     []netip.Addr
	Domains []string
}

// LeasedPrefix is one leased address or prefix. Valid is never zero;
// mip6.InfiniteLifetime is for ever.
type LeasedPrefix struct {
	Prefix           netip.Prefix
	Preferred, Valid time.Duration
}

// DelegationEnded, of a client with dhcpv6.Config.MaxSolicits, tells that nobody
// gave what was asked for.
type DelegationEnded struct{ Link int }

// ForeignAddresses tells which global addresses somebody else, the kernel or
// another client, has assigned to an interface and can be used now: all of them,
// tentative ones and ours left out. Lifetimes count from the event.
type ForeignAddresses struct {
	Link      int
	Addresses []LeasedPrefix // the length is that of the on-link prefix
}

// DHCPReceived delivers a UDP datagram of DHCPv6.
type DHCPReceived struct {
	Link     int
	From, To netip.AddrPort // without zones; To may be the servers' multicast group
	Message  []byte
}

// SendDHCP sends a UDP datagram of DHCPv6. A From without an address is the
// link-local address of Link. Link is zero where the routing table decides.
type SendDHCP struct {
	Link     int
	From, To netip.AddrPort
	Message  []byte
}

// NumberDownstream gives a downstream interface a /64 of a delegated prefix: the
// shell assigns the prefix's address ::1 there and advertises the prefix with
// these lifetimes, counted down (RFC 8415 §18.2.10.1, RFC 7084 L-2). A Valid of zero
// takes it back: the prefix is advertised as deprecated and the address removed.
type NumberDownstream struct {
	Interface        string
	Prefix           netip.Prefix
	Preferred, Valid time.Duration
}

// PrefixesDelegated tells which prefixes a mobile has by delegation, all of them
// (RFC 6276 §3.1). It is an action of the delegating server and an event for the
// home agent. Until is when the last of them ends.
type PrefixesDelegated struct {
	Home     netip.Addr
	Prefixes []netip.Prefix
	Until    time.Time
}

// Save asks to keep data across restarts, under a name of lower-case letters,
// digits and hyphens. It replaces what was kept under the name; no data forgets
// it. A role gets back what it saved when it is made.
type Save struct {
	Name string
	Data []byte
}

func (ConfigureLink) isEvent()     {}
func (DeclineAddress) isEvent()    {}
func (LeaseChanged) isEvent()      {}
func (DelegationEnded) isEvent()   {}
func (ForeignAddresses) isEvent()  {}
func (DHCPReceived) isEvent()      {}
func (PrefixesDelegated) isEvent() {}

func (ConfigureLink) isAction()     {}
func (DeclineAddress) isAction()    {}
func (LeaseChanged) isAction()      {}
func (DelegationEnded) isAction()   {}
func (SendDHCP) isAction()          {}
func (NumberDownstream) isAction()  {}
func (PrefixesDelegated) isAction() {}
func (Save) isAction()              {}
