// Package report turns the measurements of a lab into figures beside what
// physics allows, and renders them as a table and as JSON.
package report

import "time"

// Place is where a mobile router is, as far as its packets' travelling time
// goes.
type Place struct {
	// Access is the round trip to the router of the link: A in the design.
	Access time.Duration
	// HomeAgent is the round trip to the home agent: H. At home the home agent
	// is the router, and H is A.
	HomeAgent time.Duration
}

// Limits are the shortest interruptions that are possible when a router with
// one interface moves, each as the gap that the receiver sees in a steady
// stream. switching is the time without a link, L2.
//
// Downlink: the last packet arrives at the router when it leaves. The link is
// back after L2; soliciting the new router and hearing it takes A; the binding
// update takes H/2 to the home agent, and the first packet it redirects takes
// H/2 back: L2 + A + H. The same holds at home, where the home agent is the
// next hop: L2 + 2 A.
//
// Uplink: the router may send as soon as it knows its care-of address, right
// behind the binding update, hence after L2 + A. These packets travel H/2 to
// the home agent, and so did the last ones before the move, so that the time
// cancels out of the gap at the receiver unless one of the two places is
// nearer: H/2 of the new place counts, less H/2 of the old one. (From the break
// itself until the home agent forwards again it is L2 + A + H/2.)
func Limits(switching time.Duration, from, to Place) (down, up time.Duration) {
	down = switching + to.Access + to.HomeAgent
	up = switching + to.Access + to.HomeAgent/2 - from.HomeAgent/2
	return down, max(up, 0)
}
