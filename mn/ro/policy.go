// Package ro is route optimisation as a mobile node does it (RFC 6275 §11.6,
// §11.7.2): the return routability procedure, and the binding update list's
// entries for correspondents. It is a pure state machine; see package role.
package ro

import (
	"fmt"
	"net/netip"
	"slices"
)

// Mode says with which correspondents routes are optimised.
type Mode uint8

// Modes of route optimisation.
const (
	Off  Mode = iota // with none: everything goes through the home agent
	On               // with whoever can, except those listed
	List             // only with those listed
)

// Policy is the administrator's decision about route optimisation
// (RFC 6275 §8.5: it can be switched off).
type Policy struct {
	Mode Mode
	// Peers are, with List, the correspondents to optimise with, and with On those
	// that are left alone.
	Peers []netip.Prefix
}

// Permits reports whether routes to a correspondent may be optimised.
func (p Policy) Permits(peer netip.Addr) bool {
	listed := slices.ContainsFunc(p.Peers, func(q netip.Prefix) bool { return q.Contains(peer) })
	switch p.Mode {
	case On:
		return !listed
	case List:
		return listed
	case Off:
		return false
	}
	return false
}

// Validate reports what is wrong with p.
func (p Policy) Validate() error {
	if p.Mode > List {
		return fmt.Errorf("unknown mode %d of route optimisation", p.Mode)
	}
	for _, q := range p.Peers {
		if !q.IsValid() || !q.Addr().Is6() {
			return fmt.Errorf("correspondent %v is not an IPv6 prefix", q)
		}
	}
	if p.Mode == List && len(p.Peers) == 0 {
		return fmt.Errorf("route optimisation with listed correspondents, and none is listed")
	}
	return nil
}
