package mr

import (
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/deadline"
	"roam6/mip6"
)

// Origin tells where a mobile network prefix is from.
type Origin uint8

// Origins of prefixes.
const (
	Configured Origin = iota + 1
	Delegated         // by the home agent (RFC 6276)
)

func (o Origin) String() string {
	switch o {
	case Configured:
		return "configured"
	case Delegated:
		return "delegated"
	default:
		return "unknown"
	}
}

// Network is a mobile network prefix.
type Network struct {
	Prefix netip.Prefix
	Origin Origin
	// Usable: it may be used inside the network; the home agent has not refused it.
	Usable bool
	// Preferred and Valid are what remains; mip6.InfiniteLifetime of those that are
	// configured.
	Preferred, Valid time.Duration
	// Subnets are the parts of a delegated prefix that downstream interfaces have.
	Subnets []Subnet
}

// Subnet is the /64 of a downstream interface.
type Subnet struct {
	Interface string
	Prefix    netip.Prefix
}

// Networks are the mobile networks of a router as show and metrics tell of them.
type Networks struct {
	Mode     Mode // of registration, in use
	Prefixes []Network
	// Delegation is nil when prefixes are not asked for.
	Delegation *DelegationStatus
}

// DelegationStatus is how the delegation of prefixes stands.
type DelegationStatus struct {
	// Client is the requesting router; its state is dhcpv6.StateEnded while it waits
	// for another try.
	Client dhcpv6.Snapshot
	// Agent is the home agent that is asked; invalid before it was.
	Agent netip.Addr
	// RetryIn is how long it is until the home agent is asked again that has
	// delegated nothing; zero: it is not waiting.
	RetryIn time.Duration
}

// Networks returns the state of the mobile networks at a moment.
func (r *Router) Networks(now time.Time) Networks {
	s := Networks{Mode: r.Mode()}
	for _, p := range r.config.Prefixes {
		s.Prefixes = append(s.Prefixes, Network{Prefix: p, Origin: Configured, Usable: r.usable(p),
			Preferred: mip6.InfiniteLifetime, Valid: mip6.InfiniteLifetime})
	}
	d := r.delegation
	if d == nil {
		return s
	}
	for _, l := range d.leases {
		if slices.Contains(r.config.Prefixes, l.prefix) {
			continue
		}
		n := Network{Prefix: l.prefix, Origin: Delegated, Usable: r.usable(l.prefix),
			Preferred: deadline.Remaining(now, l.preferredUntil), Valid: deadline.Remaining(now, l.validUntil)}
		for _, x := range d.numbered {
			if l.prefix.Overlaps(x.prefix) {
				n.Subnets = append(n.Subnets, Subnet{x.downstream, x.prefix})
			}
		}
		s.Prefixes = append(s.Prefixes, n)
	}
	status := &DelegationStatus{Client: dhcpv6.Snapshot{Name: r.config.Name, State: dhcpv6.StateEnded}, Agent: d.identity.Router}
	if d.client != nil {
		status.Client = d.client.Snapshot(now)
	}
	if !d.retry.IsZero() {
		status.RetryIn = max(d.retry.Sub(now), 0)
	}
	s.Delegation = status
	return s
}
