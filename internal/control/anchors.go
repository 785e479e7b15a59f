package control

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"roam6/mn"
	"roam6/mn/region"
)

// Anchors are the mobility anchor points (RFC 5380) that a daemon is, and those that
// its mobiles hear of.
type Anchors struct {
	Anchors []Anchor       `json:"anchors"`
	Mobiles []KnownAnchors `json:"mobiles"`
}

// Anchor is a mobility anchor point of the daemon.
type Anchor struct {
	Name    string       `json:"anchor"` // the section's name
	Address netip.Addr   `json:"address"`
	Prefix  netip.Prefix `json:"prefix"`              // of regional care-of addresses
	Link    string       `json:"interface,omitempty"` // to the link that has the prefix; absent: none has
	// Ready: it takes registrations. Otherwise its interface is not there.
	Ready       bool           `json:"ready"`
	Served      []netip.Prefix `json:"served_prefixes"` // of on-link care-of addresses; empty: all
	MaxLifetime Seconds        `json:"max_lifetime_seconds"`
	DAD         bool           `json:"duplicate_address_detection"` // before the first acknowledgement
	Insecure    bool           `json:"insecure"`                    // whoever asks is served
	Visitors    int            `json:"visitors"`                    // configured
	Bindings    int            `json:"bindings"`
	Probing     int            `json:"probing"` // waiting for duplicate address detection
	Limit       int            `json:"limit"`   // most of both
}

// KnownAnchors are the anchors that the router in use advertises to a mobile.
type KnownAnchors struct {
	Mobile      string        `json:"mobile"` // the section's name
	HomeAddress netip.Addr    `json:"home_address"`
	Hierarchy   bool          `json:"hierarchy"` // it uses anchors
	Anchors     []KnownAnchor `json:"anchors"`   // none at home
}

// KnownAnchor is an anchor that a mobile hears of.
type KnownAnchor struct {
	Address    netip.Addr `json:"address"`
	Distance   uint8      `json:"distance"`
	Preference uint8      `json:"preference"`
	// Valid is what remains; null is for ever, 0 says that the anchor has failed.
	Valid *Seconds `json:"valid_seconds"`
	InUse bool     `json:"in_use"`
	// Obstacle is why it is not used, in words; absent where it could be.
	Obstacle string `json:"obstacle,omitempty"`
}

// KnownAnchorsOf converts what a mobile hears of anchors.
func KnownAnchorsOf(hierarchy bool, s mn.Snapshot) KnownAnchors {
	k := KnownAnchors{Mobile: s.Name, HomeAddress: s.HomeAddress, Hierarchy: hierarchy, Anchors: make([]KnownAnchor, 0, len(s.Anchors))}
	for _, a := range s.Anchors {
		x := KnownAnchor{Address: a.Address, Distance: a.Distance, Preference: a.Preference, Valid: Remaining(a.Remaining), InUse: a.InUse}
		if a.Obstacle != region.None {
			x.Obstacle = a.Obstacle.String()
		}
		k.Anchors = append(k.Anchors, x)
	}
	return k
}

// Render writes a row for each anchor of the daemon, and then one for each that a
// mobile hears of.
func (d Anchors) Render(w io.Writer) error {
	own := newTable("ANCHOR", "ADDRESS", "PREFIX", "INTERFACE", "STATE", "SERVED PREFIXES", "LIFETIME", "VISITORS", "BINDINGS")
	for _, a := range d.Anchors {
		served := lines(a.Served)
		if served == "" {
			served = "all"
		}
		own.row(a.Name, address(a.Address), a.Prefix.String(), a.Link, a.state(), served, span(time.Duration(a.MaxLifetime)), a.visitors(),
			fmt.Sprintf("%d of %d", a.Bindings+a.Probing, a.Limit))
	}
	mobiles := newTable("MOBILE", "HOME ADDRESS", "ANCHOR", "DISTANCE", "PREFERENCE", "VALID", "STATE")
	for _, m := range d.Mobiles {
		if len(m.Anchors) == 0 && m.Hierarchy {
			mobiles.row(m.Mobile, address(m.HomeAddress), "", "", "", "", "none heard")
		}
		for _, a := range m.Anchors {
			mobiles.row(m.Mobile, address(m.HomeAddress), address(a.Address), strconv.Itoa(int(a.Distance)), strconv.Itoa(int(a.Preference)),
				lifetime(a.Valid), a.state(m.Hierarchy))
		}
	}
	return writeTables(w, "no mobility anchor points", own, mobiles)
}

func (a Anchor) state() string {
	if !a.Ready {
		return "no interface"
	}
	return "ready"
}

func (a Anchor) visitors() string {
	if a.Insecure {
		return strconv.Itoa(a.Visitors) + " and anybody (insecure)"
	}
	return strconv.Itoa(a.Visitors)
}

// state tells in words what an anchor is to a mobile that uses anchors, or does not.
func (a KnownAnchor) state(hierarchy bool) string {
	switch {
	case a.InUse:
		return "in use"
	case !hierarchy:
		return "not wanted"
	case a.Obstacle != "":
		return a.Obstacle
	default:
		return "candidate"
	}
}
