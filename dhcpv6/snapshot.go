package dhcpv6

import (
	"bytes"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// Snapshot is a client's state as show and metrics tell it. Times that remain are
// mip6.InfiniteLifetime when they never end.
type Snapshot struct {
	Name     string
	Link     int // zero: behind a relay
	State    State
	Identity role.LinkIdentity
	Server   []byte        // DUID of the server that gave the leases; none: nil
	T1, T2   time.Duration // until renewal and rebinding; zero without leases
	Lease    role.Lease    // lifetimes are what remains
	// Remembered is the number of other links of which leases are remembered.
	Remembered int
	Messages   []MessageCount // of types that occurred, by type
}

// MessageCount counts messages of a type, for instance "SOLICIT". Received are
// those that passed validation.
type MessageCount struct {
	Type           string
	Sent, Received uint64
}

// Snapshot is the client's state at a time.
func (c *Client) Snapshot(now time.Time) Snapshot {
	s := Snapshot{
		Name:     c.config.Name,
		Link:     c.config.Link,
		State:    c.state,
		Identity: c.identity,
		Server:   bytes.Clone(c.current.server),
		Lease: role.Lease{
			Addresses: c.current.addresses.remaining(now),
			Prefixes:  c.current.prefixes.remaining(now),
			DNS:       slices.Clone(c.current.dns),
			Domains:   slices.Clone(c.current.domains),
		},
		Remembered: len(c.remembered),
	}
	if !c.current.empty() {
		t1, t2 := c.current.times()
		s.T1, s.T2 = deadline.Remaining(now, t1), deadline.Remaining(now, t2)
	}
	for _, m := range c.stats {
		if m.Sent+m.Received > 0 {
			s.Messages = append(s.Messages, m)
		}
	}
	return s
}
