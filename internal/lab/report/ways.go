package report

import "time"

// Ways are the round trips between a mobile at a place and those it deals with.
type Ways struct {
	Access    time.Duration // to the router of the link: A
	HomeAgent time.Duration // to its home agent: H; at home A
	// Direct is the round trip to the correspondent along the shortest way, C; at
	// home the only one.
	Direct time.Duration
	// Tunnel is the round trip to it through the home agent, T.
	Tunnel time.Duration
	// Test is the round trip of HoTI and HoT: Tunnel, and through the home agent
	// of a mobile correspondent too.
	Test time.Duration
	// Signal is the round trip of CoTI and CoT, from the care-of address to where
	// the correspondent is addressed: Direct, or of a mobile correspondent through
	// its home agent.
	Signal time.Duration
	Home   bool
}

// Expected is what physics leaves for a move of a mobile.
type Expected struct {
	// Down and Up are the shortest gaps that the receivers see in steady streams.
	Down, Up time.Duration
	// Direct is the time from the new link until a packet can go the shortest way
	// and its answer too; zero when there is no such thing.
	Direct time.Duration
}

// Optimised gives the limits of a move where routes are optimised. switching is
// the time without a link, L2. bound tells whether the correspondent has a
// binding for the care-of address that is left, so that it keeps sending there
// until it is told.
//
// Away: the link is back after L2, the care-of address there after A. Then the
// binding update for the home agent and CoTI leave together; the home keygen
// token is still good (RFC 6275 §5.2.7), and so is the home registration of
// before, so that the correspondent may be told as soon as CoT is back, after C;
// that takes C/2, and the first packet the new way as long: L2 + A + 2 C down.
// Packets up can follow the care-of address at once through the tunnel, or go
// the direct way right behind the correspondent's binding update; whichever
// arrives first counts, less what the last ones before took.
//
// Where the correspondent has no binding the limits are those of the tunnel,
// L2 + A + H down. HoTI may follow the home agent's binding update, and the
// direct way opens when it and CoTI have been answered: A + max(T, C) after the
// link.
//
// Back home the home address can be used when the home agent has answered:
// L2 + 2 A, and a correspondent with a binding hears of it then.
func Optimised(switching time.Duration, from, to Ways, bound bool) (e Expected) {
	before := from.Tunnel
	if from.Home || bound {
		before = from.Direct
	}
	arrived := switching + to.Access
	// When the correspondent may be told, after the care-of address is there.
	tell := to.Signal
	switch {
	case to.Home && bound:
		e.Down = arrived + to.HomeAgent + to.Signal/2 + to.Direct/2
	case bound:
		e.Down = arrived + tell + to.Signal/2 + to.Direct/2
	default:
		e.Down = arrived + to.HomeAgent
	}
	switch {
	case to.Home:
		e.Up = arrived + to.HomeAgent + to.Direct/2
		e.Direct = to.Access + to.HomeAgent
	case bound:
		e.Up = arrived + min(to.Tunnel/2, tell+to.Direct/2)
		e.Direct = to.Access + tell
	default:
		e.Up = arrived + to.Tunnel/2
		e.Direct = to.Access + max(to.Test, to.HomeAgent, tell)
	}
	e.Up = max(e.Up-before/2, 0)
	return e
}

// FirstPacket is how long packets to a correspondent without a binding go
// through the tunnel at least: until HoTI and CoTI have been answered.
func FirstPacket(w Ways) time.Duration { return max(w.Test, w.Signal) }
