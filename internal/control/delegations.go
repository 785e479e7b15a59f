package control

import (
	"encoding/hex"
	"io"
	"math"
	"net/netip"
	"strconv"

	"roam6/dhcpv6/delegating"
)

// Delegations are the prefixes that the home agents of a daemon have given to
// mobile routers (RFC 6276).
type Delegations struct {
	Delegations []Delegation     `json:"delegations"`
	Pools       []DelegationPool `json:"pools"`
}

// Delegation is a prefix of one mobile router.
type Delegation struct {
	HomeAgent   string       `json:"home_agent"` // the section's name
	Mobile      string       `json:"mobile"`     // the section's name
	HomeAddress netip.Addr   `json:"home_address"`
	Prefix      netip.Prefix `json:"prefix"`
	// State is "delegated", "relayed" (it belongs to a server elsewhere) or "kept"
	// (it has ended, and waits for the mobile router to come back).
	State string `json:"state"`
	// Preferred and Valid are what remains; null is for ever.
	Preferred *Seconds `json:"preferred_seconds"`
	Valid     *Seconds `json:"valid_seconds"`
	// Client is the mobile router's DHCPv6 identifier (DUID) in hexadecimal, where
	// it is known, and IAID that of the association which the prefix belongs to.
	Client string `json:"client,omitempty"`
	IAID   uint32 `json:"iaid"`
}

// DelegationPool is what a home agent delegates from.
type DelegationPool struct {
	HomeAgent string       `json:"home_agent"` // the section's name
	Pool      netip.Prefix `json:"pool"`
	Length    int          `json:"length"`   // of delegated prefixes
	Used      uint64       `json:"used"`     // prefixes delegated or kept
	Capacity  uint64       `json:"capacity"` // prefixes that the pool holds
}

// DelegationsOf converts the leases of a home agent.
func DelegationsOf(homeAgent string, leases []delegating.Lease) []Delegation {
	list := make([]Delegation, 0, len(leases))
	for _, l := range leases {
		list = append(list, Delegation{
			HomeAgent: homeAgent, Mobile: l.Mobile, HomeAddress: l.Home, Prefix: l.Prefix, State: l.State.String(),
			Preferred: Remaining(l.Preferred), Valid: Remaining(l.Valid), Client: hex.EncodeToString(l.DUID), IAID: l.IAID,
		})
	}
	return list
}

// PoolsOf counts what is used of the pools of a home agent, which delegates
// prefixes of one length. Leases that an earlier configuration gave from elsewhere
// do not count.
func PoolsOf(homeAgent string, pools []netip.Prefix, length int, leases []delegating.Lease) []DelegationPool {
	list := make([]DelegationPool, 0, len(pools))
	for _, pool := range pools {
		d := DelegationPool{HomeAgent: homeAgent, Pool: pool, Length: length}
		switch bits := length - pool.Bits(); {
		case bits < 0: // nothing fits
		case bits < 64:
			d.Capacity = 1 << bits
		default:
			d.Capacity = math.MaxUint64
		}
		for _, l := range leases {
			if pool.Bits() <= l.Prefix.Bits() && pool.Contains(l.Prefix.Addr()) {
				d.Used++
			}
		}
		list = append(list, d)
	}
	return list
}

// Render writes a row for each delegated prefix, and then one for each pool.
func (d Delegations) Render(w io.Writer) error {
	t := newTable("HOME AGENT", "MOBILE", "HOME ADDRESS", "PREFIX", "STATE", "PREFERRED", "VALID", "CLIENT")
	for _, x := range d.Delegations {
		t.row(x.HomeAgent, x.Mobile, address(x.HomeAddress), x.Prefix.String(), x.State, lifetime(x.Preferred), lifetime(x.Valid), x.Client)
	}
	pools := newTable("HOME AGENT", "POOL", "LENGTH", "USED", "CAPACITY")
	for _, p := range d.Pools {
		pools.row(p.HomeAgent, p.Pool.String(), strconv.Itoa(p.Length), strconv.FormatUint(p.Used, 10), strconv.FormatUint(p.Capacity, 10))
	}
	return writeTables(w, "no delegated prefixes", t, pools)
}
