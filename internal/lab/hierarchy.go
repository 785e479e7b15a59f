package lab

import (
	"flag"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// hierarchyOptions are what the user may choose for the scenario hierarchy.
type hierarchyOptions struct {
	commonOptions
	homeAgent time.Duration // round trip H
	anchor    time.Duration // round trip M
	laps      int
	dwell     time.Duration
	patience  time.Duration
	kill      string
	alone     bool // without the comparison
	optimise  bool // the mobile node optimises routes
	ipsec     bool // home agent and anchors know no other authentication
}

// hierarchy is the scenario of mobility anchor points.
func hierarchy() Scenario {
	return Scenario{
		Name:    "hierarchy",
		Summary: "far from home, a train and a mobile node ride through the domains of two mobility anchor points, which fail one after the other",
		Prepare: prepare((*hierarchyOptions).declare, hierarchyOptions.validate, func(o hierarchyOptions) play { return &hierarchyRun{hierarchyOptions: o} }),
	}
}

func (o *hierarchyOptions) declare(f *flag.FlagSet) {
	// Four streams, each through most of the links.
	o.interval = 2 * time.Millisecond
	o.commonOptions.declare(f)
	f.DurationVar(&o.homeAgent, "delay-ha", 100*time.Millisecond, "round `trip` from a mobile to the home agent while away (H), the one to the anchor included")
	f.DurationVar(&o.anchor, "delay-map", 10*time.Millisecond, "round `trip` from a mobile to an anchor (M), the one to the access router included")
	f.IntVar(&o.laps, "laps", 1, "`number` of laps before the anchors fail; ten moves each")
	f.DurationVar(&o.dwell, "dwell", 1500*time.Millisecond, "`time` between moves")
	f.DurationVar(&o.patience, "patience", 40*time.Second, "how long a `time` to wait until a mobile has recovered, or uses an anchor again")
	f.StringVar(&o.kill, "kill", killAll, "how anchors fail: `restart` (the daemon is killed and started again), daemon (killed), host (unreachable), all of them one after the other, or none")
	f.BoolVar(&o.alone, "no-comparison", false, "do not ride again with hierarchy off")
	f.BoolVar(&o.optimise, "ro", false, "the mobile node optimises the route to the correspondent")
	f.BoolVar(&o.ipsec, "ipsec", false, "mobiles, home agent and anchors protect their signalling by IPsec alone, without keys of RFC 4285")
}

// What --kill may be beside the names of faults.
const (
	killAll  = "all"
	killNone = "none"
)

func (o hierarchyOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.anchor < o.access+anchorAside:
		return wrongOption("--delay-map %v is the whole round trip to the anchor: it has to be longer than --delay-ar %v by %v", o.anchor, o.access, anchorAside)
	case o.homeAgent < o.anchor:
		return wrongOption("--delay-ha %v is the whole round trip to the home agent: it cannot be less than --delay-map %v", o.homeAgent, o.anchor)
	case o.laps < 1 || o.laps > 10_000:
		return wrongOption("--laps %d: 1 to 10000 make sense", o.laps)
	case o.kill != killAll && o.kill != killNone && !slices.Contains(faultNames(), o.kill):
		return wrongOption("--kill %s: %s, %s or one of %q", o.kill, killAll, killNone, faultNames())
	}
	return enough("dwell", o.dwell, 2*o.homeAgent+500*time.Millisecond)
}

// domain is the domain of a mobility anchor point: the anchor, and the access routers
// around it.
type domain struct {
	number int // 1 or 2
	// node is where the anchor is.
	node string
	// routers are the numbers of its access routers.
	routers [2]int
	// neighbours: the anchor serves the other domain's access routers too, so that
	// mobiles that have just gone there are not cut off (RFC 5380 §8).
	neighbours bool
}

// domains: in the first one the anchor is on the aggregation router itself, and the
// access routers learn of it by router advertisements. In the second one it is on a
// host beside the aggregation router, so that it can be unreachable while all others
// are not, and the access routers have it in their configurations.
func domains() [2]domain {
	return [2]domain{
		{number: 1, node: nodeFirstAnchor, routers: [2]int{1, 2}},
		{number: 2, node: nodeSecondAnchor, routers: [2]int{3, 4}, neighbours: true},
	}
}

const (
	nodeFirstAnchor  = "map1"
	nodeSecondAnchor = "map2"
	// nodeAggregation is the aggregation router of the second domain.
	nodeAggregation = "agg2"
)

// prefix is that of the regional care-of addresses.
func (d domain) prefix() netip.Prefix {
	return [...]netip.Prefix{netip.MustParsePrefix("2001:db8:f1::/64"), netip.MustParsePrefix("2001:db8:f2::/64")}[d.number-1]
}

// address is the anchor's.
func (d domain) address() netip.Addr { return d.prefix().Addr().Next() }

// serves are the prefixes of the access links that the anchor serves.
func (d domain) serves() (all []netip.Prefix) {
	for _, other := range domains() {
		if other.number == d.number || d.neighbours {
			for _, i := range other.routers {
				all = append(all, accessAddress(i).Masked())
			}
		}
	}
	return all
}

// domainOf is the domain of a stop; nil at home.
func domainOf(stop string) *domain {
	for _, d := range domains() {
		for _, i := range d.routers {
			if accessRouterName(i) == stop {
				return &d
			}
		}
	}
	return nil
}

// moveKind is what a move is to a mobile that uses anchors.
type moveKind uint8

const (
	movesInto    moveKind = iota // a domain, from home
	movesInside                  // a domain
	movesBetween                 // domains, and the anchor of before does not serve there
	movesFrom                    // one domain to another, and the anchor of before goes on serving
	movesHome
	movesPlain // it uses no anchor
)

func (k moveKind) String() string {
	switch k {
	case movesInto:
		return "into a domain"
	case movesInside:
		return "inside"
	case movesBetween:
		return "between"
	case movesFrom:
		return "between, forwarded"
	case movesHome:
		return "home"
	default:
		return "hierarchy off"
	}
}

// kindOf is the kind of a move. off: hierarchy is.
func kindOf(from, to string, off bool) moveKind {
	before, after := domainOf(from), domainOf(to)
	switch {
	case off:
		return movesPlain
	case after == nil:
		return movesHome
	case before == nil:
		return movesInto
	case before.number == after.number:
		return movesInside
	case before.neighbours:
		return movesFrom
	default:
		return movesBetween
	}
}

// placeOf is where a mobile is, as far as the home agent goes.
func (o hierarchyOptions) placeOf(stop string) report.Place {
	if isHome(stop) {
		return report.Place{Access: o.access, HomeAgent: o.access}
	}
	return report.Place{Access: o.access, HomeAgent: o.homeAgent}
}

// limits are the shortest interruptions that are possible without and with anchors.
//
// Inside a domain nobody beyond the anchor hears of a move, and M takes the place of H.
// The same holds where the anchor of before serves the new place, too, which is as far
// from it as its own access routers are. Where it does not, the home agent has to be
// told, and not before the new anchor has acknowledged (RFC 5380 §6.1): M comes on top.
//
// A correspondent with a binding for the place that is left has to be told, too, which is
// a round trip to it later (see report.Optimised): H, since it is beyond the home agent,
// and at home A.
func (o hierarchyOptions) limits(kind moveKind, m move, optimised bool) (plain, down, up time.Duration) {
	switching := m.Attached.Sub(m.Left)
	plain, up = report.Limits(switching, o.placeOf(m.from), o.placeOf(m.to))
	if optimised && !isHome(m.from) {
		plain += o.placeOf(m.to).HomeAgent
	}
	down = plain
	switch kind {
	case movesInside, movesFrom:
		down = switching + o.access + o.anchor
	case movesBetween:
		down += o.anchor
		up += o.anchor
	case movesInto, movesHome, movesPlain:
	}
	return plain, down, up
}

// fault is how an anchor fails.
type fault uint8

const (
	restarts    fault = iota // the daemon is killed and started again at once
	dies                     // the daemon is killed; the host goes on
	unreachable              // the host is; nobody is told
)

func faults() []fault { return []fault{restarts, dies, unreachable} }

func (f fault) String() string { return [...]string{"restart", "daemon", "host"}[f] }

func faultNames() (all []string) {
	for _, f := range faults() {
		all = append(all, f.String())
	}
	return all
}

// words are for people.
func (f fault) words() string {
	return [...]string{"the anchor's daemon was killed and started again", "the anchor's daemon was killed", "the anchor's host became unreachable"}[f]
}

// chosen are the faults of a ride.
func (o hierarchyOptions) chosen() []fault {
	return slices.DeleteFunc(faults(), func(f fault) bool { return o.kill != killAll && o.kill != f.String() })
}

// The times after which a mobile believes that an anchor is gone.
const (
	// daemonAbsent is how long the anchor's host has to answer for it that nobody takes
	// packets.
	daemonAbsent = 500 * time.Millisecond
	// anchorUnanswered is how long it waits for an answer to the question whether
	// the anchor knows it (RFC 6275 §12, INITIAL_BINDACK_TIMEOUT).
	anchorUnanswered = time.Second
	// tunnelUnanswered is how long a tunnel may take packets and bring none.
	tunnelUnanswered = 3 * time.Second
)

// detection is the time that a mobile takes to believe that an anchor has failed: a host
// that is there says that nobody takes packets any more. ok is false where it need not.
func (o hierarchyOptions) detection(f fault) (d time.Duration, ok bool) {
	switch f {
	case dies:
		return o.anchor + daemonAbsent + anchorUnanswered, true
	case unreachable:
		// The router is asked before the anchor is.
		return tunnelUnanswered + o.access + anchorUnanswered, true
	default:
		return 0, false
	}
}

// hierarchyRun is the scenario under way.
type hierarchyRun struct {
	hierarchyOptions
	ends []*far
	keys map[string]*section // options: of each mobile at each anchor
	// protected are the ipsec sections of the mobiles; none without --ipsec.
	protected map[string]*section
	riders    []mobile

	at       map[string]string // by mover
	off      bool              // hierarchy is
	moves    []hierarchyMove
	failures []anchorFailure
	paths    []pathFigure
	ended    time.Time
}

// hierarchyMove is a move of one of them.
type hierarchyMove struct {
	move
	mover string
	kind  moveKind
	// updates are those that the home agent was given; negative: it did not tell.
	// optimised are those at the correspondent, likewise.
	updates, optimised int
	end                time.Time
}

// anchorFailure is a failure of an anchor.
type anchorFailure struct {
	fault
	domain domain
	mover  string // who is in the domain
	at     time.Time
	// recovered is when the mobile could do without it, restored when the anchor was
	// there again, and regained when the mobile used it again; zero: it did not.
	recovered, restored, regained time.Time
}

func (r *hierarchyRun) site() homeSite { return homeSite{1} }

// movers are who moves.
func (r *hierarchyRun) movers() []string { return []string{nodeRouter, nodeMobile} }

// passenger is the node behind the mobile router.
func (r *hierarchyRun) passenger() netip.Addr { return trainNetwork.Addr().Next().Next() }

// optimises reports whether a mover optimises its route to the correspondent.
func (r *hierarchyRun) optimises(mover string) bool { return r.optimise && mover == nodeMobile }

// homeOf is the home address of a mover.
func (r *hierarchyRun) homeOf(mover string) netip.Prefix {
	if mover == nodeMobile {
		return netip.PrefixFrom(r.site().at("200"), 64)
	}
	return r.site().mobile()
}

// streams are all of the probes.
func (r *hierarchyRun) streams() (all []*probe.Stream) {
	for _, e := range r.ends {
		all = append(all, e.down, e.up)
	}
	return all
}

// settling is the time after a break within which its silence begins at the receivers:
// what was under way arrives until then.
func (o hierarchyOptions) settling() time.Duration { return (o.homeAgent+o.anchor)/2 + slack }
