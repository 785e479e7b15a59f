package delegating

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/order"
)

// Lease is a delegated prefix for people to see.
type Lease struct {
	Mobile string // its configured name
	Home   netip.Addr
	DUID   []byte // the client's; empty when it is not known
	IAID   uint32
	Prefix netip.Prefix
	// Preferred and Valid are what remains of the lifetimes;
	// mip6.InfiniteLifetime is for ever. Both are zero when State is Kept.
	Preferred, Valid time.Duration
	State            LeaseState
}

// LeaseState tells where a lease is from, and whether it holds.
type LeaseState uint8

// States of a lease.
const (
	Delegated LeaseState = iota + 1 // from the pools
	Relayed                         // by the external server
	Kept                            // ended or only offered; it waits for its mobile
)

func (s LeaseState) String() string {
	switch s {
	case Delegated:
		return "delegated"
	case Relayed:
		return "relayed"
	case Kept:
		return "kept"
	default:
		return "unknown"
	}
}

// Counters are totals since start, and how much there is at present.
type Counters struct {
	// Mobiles are those configured, Bound their leases, Kept ended ones that wait
	// for them. Capacity is how many prefixes of Config.Length the pools have;
	// 2^64-1 stands for all larger numbers.
	Mobiles, Bound, Kept int
	Capacity             uint64

	// Delegations are leases that began, Renewals grants of ones that there were.
	Delegations, Renewals, Releases, Expirations uint64
	// Withdrawals are leases that the configuration took away.
	Withdrawals uint64
	// Exhaustions are requests for which there was no prefix.
	Exhaustions uint64
	// Refusals are clients with another mobile's DUID, and prefixes of an external
	// server that the home agent was not told of.
	Refusals uint64
	// Relayed and Returned are messages passed to an external server and back.
	Relayed, Returned uint64
}

// Leases are all leases, in the order of home addresses and prefixes. There are
// none before the first event.
func (s *Server) Leases(now time.Time) []Lease {
	list := make([]Lease, 0, len(s.table.sorted))
	for _, m := range s.order {
		from := len(list)
		for _, l := range m.leases {
			lease := Lease{Mobile: m.Name, Home: m.HomeAddress, DUID: slices.Clone(m.duid()), IAID: l.iaid, Prefix: l.prefix, State: Kept}
			if l.bound {
				lease.Preferred, lease.Valid = l.remaining(now)
				lease.State = Delegated
				if s.config.relays() {
					lease.State = Relayed
				}
			}
			list = append(list, lease)
		}
		order.Sort(list[from:], func(a, b Lease) int { return a.Prefix.Compare(b.Prefix) })
	}
	return list
}

// Counters tells what has happened.
func (s *Server) Counters() Counters {
	c := s.counts
	c.Mobiles, c.Bound, c.Kept, c.Capacity = len(s.mobiles), s.table.bound, s.table.kept(), s.config.capacity()
	return c
}
