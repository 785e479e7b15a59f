package control

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"roam6/mn"
)

// Uplinks are the interfaces by which the mobiles of a daemon attach.
type Uplinks struct {
	Uplinks []MobileUplink `json:"uplinks"`
}

// MobileUplink is an uplink of one mobile.
type MobileUplink struct {
	Mobile      string     `json:"mobile"` // the section's name
	HomeAddress netip.Addr `json:"home_address"`
	// Preference counts the mobile's uplinks from 1, the preferred one, those that are
	// missing included.
	Preference int `json:"preference"`
	// InUse: the mobile is attached here. Pending: it is better than the one in
	// use, and being registered while that still works.
	InUse   bool `json:"in_use"`
	Pending bool `json:"pending"`
	// SteadyIn is how long it has to be good before a working uplink is left for
	// it, AvoidedFor how long it is left alone after it failed.
	SteadyIn   Milliseconds `json:"steady_in_ms"`
	AvoidedFor Milliseconds `json:"avoided_for_ms"`
	Uplink
	CareOfs []CareOfCandidate `json:"care_of_addresses"`
}

// UplinksOf converts a mobile's snapshot.
func UplinksOf(s mn.Snapshot) []MobileUplink {
	list := make([]MobileUplink, 0, len(s.Uplinks))
	for i, l := range s.Uplinks {
		u := MobileUplink{
			Mobile: s.Name, HomeAddress: s.HomeAddress, Preference: i + 1,
			InUse: s.Attachment.Link == l.Name, Pending: s.Pending.Link == l.Name,
			SteadyIn: Milliseconds(l.SteadyIn), AvoidedFor: Milliseconds(l.AvoidedFor),
			Uplink: uplinkOf(l), CareOfs: []CareOfCandidate{},
		}
		for _, c := range s.CareOfs {
			if c.Link == l.Index {
				u.CareOfs = append(u.CareOfs, careOfCandidate(c))
			}
		}
		list = append(list, u)
	}
	return list
}

func uplinkOf(l mn.Uplink) Uplink {
	u := Uplink{Name: l.Name, Missing: l.Missing, Index: l.Index, Up: l.Up, Routers: make([]Router, 0, len(l.Routers))}
	for _, r := range l.Routers {
		u.Routers = append(u.Routers, Router{
			Address: r.Addr, Prefixes: orEmpty(r.Prefixes), Lifetime: Seconds(r.Lifetime),
			Interval: Milliseconds(r.Interval), Age: Milliseconds(r.Age),
		})
	}
	return u
}

func careOfCandidate(c mn.CareOf) CareOfCandidate {
	origin := CareOfFormed
	switch {
	case c.Leased:
		origin = CareOfLeased
	case c.Foreign:
		origin = CareOfForeign
	}
	return CareOfCandidate{Address: c.Addr, Origin: origin, Optimistic: c.Optimistic, Retired: c.Retired, Standby: c.Standby}
}

// Render writes a row for each router that is heard on an uplink.
func (d Uplinks) Render(w io.Writer) error {
	t := newTable("MOBILE", "UPLINK", "CARRIER", "STATE", "CARE-OF ADDRESS", "ROUTER", "LIFETIME", "INTERVAL", "HEARD", "PREFIXES")
	for _, u := range d.Uplinks {
		carrier := "down"
		switch {
		case u.Missing:
			carrier = ""
		case u.Up:
			carrier = "up"
		}
		first := []string{u.Mobile, strconv.Itoa(u.Preference) + " " + u.Name, carrier, u.state(), u.careOfs()}
		if len(u.Routers) == 0 {
			t.row(append(first, "", "", "", "", "")...)
		}
		for _, r := range u.Routers {
			interval := ""
			if r.Interval != 0 {
				interval = span(time.Duration(r.Interval))
			}
			t.row(append(first, address(r.Address), span(time.Duration(r.Lifetime)), interval, span(time.Duration(r.Age))+" ago", lines(r.Prefixes))...)
			first = []string{" ", " ", " ", " ", " "} // told once
		}
	}
	return t.write(w, "no mobile nodes or routers")
}

// state tells the most important thing about an uplink in words.
func (u MobileUplink) state() string {
	switch {
	case u.Missing:
		return "missing"
	case u.InUse:
		return "in use"
	case u.Pending:
		return "registering"
	case u.AvoidedFor > 0:
		return "avoided for " + span(time.Duration(u.AvoidedFor))
	case u.SteadyIn > 0:
		return "steady in " + span(time.Duration(u.SteadyIn))
	default:
		return ""
	}
}

// careOfs are the care-of addresses, each with what is special about it.
func (u MobileUplink) careOfs() string {
	list := make([]string, len(u.CareOfs))
	for i, c := range u.CareOfs {
		words := []string{c.Origin}
		for _, w := range [...]struct {
			is   bool
			word string
		}{{c.Optimistic, "optimistic"}, {c.Standby, "standby"}, {c.Retired, "retired"}} {
			if w.is {
				words = append(words, w.word)
			}
		}
		list[i] = c.Address.String() + " (" + strings.Join(words, ", ") + ")"
	}
	return strings.Join(list, "\n")
}
