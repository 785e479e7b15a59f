package control

import (
	"io"
	"net/netip"
	"strconv"
	"time"

	"roam6/mn/homelink"
)

// HomeAgents are the home agents that a daemon knows.
type HomeAgents struct {
	// Links are those of home links, as the home agents of the daemon hear each
	// other (RFC 6275 §10.1).
	Links []LinkAgent `json:"home_links"`
	// Mobiles is what the daemon's mobiles know of theirs.
	Mobiles []KnownAgents `json:"mobiles"`
}

// LinkAgent is a home agent on a home link, heard or this node itself.
type LinkAgent struct {
	HomeAgent    string       `json:"home_agent"` // the section's name
	LinkLocal    netip.Addr   `json:"link_local,omitzero"`
	Addresses    []netip.Addr `json:"addresses"` // global
	Preference   int16        `json:"preference"`
	Remaining    Seconds      `json:"remaining_seconds"` // of its lifetime; of this node: all of it
	MobileRouter bool         `json:"mobile_router"`     // serves mobile routers
	Own          bool         `json:"own"`               // this node
}

// KnownAgents are the home agents that a mobile may register with.
type KnownAgents struct {
	Mobile      string       `json:"mobile"` // the section's name
	HomeAddress netip.Addr   `json:"home_address"`
	Discovering bool         `json:"discovering"` // the home link is being asked
	Agents      []KnownAgent `json:"agents"`      // in order of preference
}

// KnownAgent is a home agent that a mobile knows.
type KnownAgent struct {
	Address netip.Addr `json:"address"`
	Origin  string     `json:"origin"` // "configured", "discovered" or "heard"
	// State is "candidate", "current" (registering there), "registered",
	// "unanswered" or "refused".
	State      string  `json:"state"`
	Preference int16   `json:"preference"`          // as heard on the home link
	RetryAfter Seconds `json:"retry_after_seconds"` // left alone for so long
}

// KnownAgentsOf converts what a mobile knows of its home link.
func KnownAgentsOf(mobile string, home netip.Addr, s homelink.Snapshot) KnownAgents {
	k := KnownAgents{Mobile: mobile, HomeAddress: home, Discovering: s.Discovering, Agents: make([]KnownAgent, 0, len(s.Agents))}
	for _, a := range s.Agents {
		k.Agents = append(k.Agents, KnownAgent{
			Address: a.Addr, Origin: a.Origin.String(), State: a.State.String(),
			Preference: a.Preference, RetryAfter: Seconds(a.RetryAfter),
		})
	}
	return k
}

// Render writes a row for each home agent on a home link, and then one for each
// that a mobile knows.
func (d HomeAgents) Render(w io.Writer) error {
	links := newTable("HOME AGENT", "ADDRESS", "LINK-LOCAL", "PREFERENCE", "MOBILE ROUTERS", "REMAINING")
	for _, a := range d.Links {
		name := a.HomeAgent
		if a.Own {
			name += " (this node)"
		}
		links.row(name, lines(a.Addresses), address(a.LinkLocal), strconv.Itoa(int(a.Preference)), yesNo(a.MobileRouter), span(time.Duration(a.Remaining)))
	}
	mobiles := newTable("MOBILE", "HOME ADDRESS", "HOME AGENT", "ORIGIN", "PREFERENCE", "STATE", "RETRY IN")
	for _, m := range d.Mobiles {
		if m.Discovering || len(m.Agents) == 0 {
			state := "none known"
			if m.Discovering {
				state = "discovering"
			}
			mobiles.row(m.Mobile, address(m.HomeAddress), "", "", "", state, "")
		}
		for _, a := range m.Agents {
			retry := ""
			if a.RetryAfter > 0 {
				retry = span(time.Duration(a.RetryAfter))
			}
			mobiles.row(m.Mobile, address(m.HomeAddress), address(a.Address), a.Origin, strconv.Itoa(int(a.Preference)), a.State, retry)
		}
	}
	return writeTables(w, "no home agents known", links, mobiles)
}
