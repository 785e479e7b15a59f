package lab

import (
	"flag"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/lab/dhcpserver"
	"roam6/internal/lab/probe"
)

// managedOptions are what the user may choose for the scenario managed.
type managedOptions struct {
	commonOptions
	handovers    int
	homeAgent    time.Duration // round trip H
	dwell        time.Duration
	renew        time.Duration // T1
	servers      string
	noPreference bool
	noLinkEvents bool
	router       bool
}

// managed is the scenario of access networks with DHCPv6.
func managed() Scenario {
	return Scenario{
		Name:    "managed",
		Summary: "a mobile passes access networks where addresses are formed, leased by Kea and dnsmasq, or both",
		Prepare: prepare((*managedOptions).declare, managedOptions.validate, func(o managedOptions) play { return newManagedRun(o) }),
	}
}

func (o *managedOptions) declare(f *flag.FlagSet) {
	o.commonOptions.declare(f)
	f.IntVar(&o.handovers, "handovers", 7, "`number` of moves; four are a lap, and from the second on the mobile knows its links")
	f.DurationVar(&o.homeAgent, "delay-ha", 10*time.Millisecond, "round `trip` from the mobile to the home agent (H)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` at each stop")
	f.DurationVar(&o.renew, "renew", time.Second, "`time` after which Kea's leases are renewed (T1): whole seconds")
	f.StringVar(&o.servers, "servers", serversBoth, "the DHCPv6 servers: kea, dnsmasq or both; a `name`")
	f.BoolVar(&o.noPreference, "no-preference", false, "the server without rapid commit does not say that it is to be taken at once: RFC 8415 has the mobile wait a second for others")
	f.BoolVar(&o.noLinkEvents, "no-link-events", false, "the interface notices nothing of the moves but silence, and new advertisements")
	f.BoolVar(&o.router, "router", false, "the mobile is a mobile router with a node behind it")
}

func (o managedOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.homeAgent < o.access:
		return wrongOption("--delay-ha %v is the whole round trip to the home agent: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	case o.renew < time.Second || o.renew%time.Second != 0 || o.renew > time.Hour:
		return wrongOption("--renew %v: 1s to 1h, in whole seconds", o.renew)
	case o.servers != serversBoth && !slices.Contains(dhcpserver.Kinds(), dhcpserver.Kind(o.servers)):
		return wrongOption("--servers %s: kea, dnsmasq or both", o.servers)
	}
	if err := movesMakeSense(o.handovers); err != nil {
		return err
	}
	return enough("dwell", o.dwell, solicitWait+5*o.access+2*o.homeAgent+500*time.Millisecond)
}

// solicitWait is how long a client waits for more advertisements than those without
// a preference of 255, at least (RFC 8415 §18.2.1): SOL_TIMEOUT.
const solicitWait = time.Second

// valid is the lifetime of leases, which has to last for a lap.
func (o managedOptions) valid() time.Duration {
	return max(time.Minute, 4*o.renew, 3*4*o.dwell.Round(time.Second))
}

// addressing is how the hosts of an access network get their addresses.
type addressing uint8

const (
	formedOnly  addressing = iota // SLAAC
	leasedRapid                   // DHCPv6, in two messages
	formedFirst                   // both
	leasedSlow                    // DHCPv6, in four messages
)

// managedRun is the scenario under way.
type managedRun struct {
	managedOptions
	links    []accessLink
	messages messageLog
	down, up *probe.Stream

	stops   []accessLink // those that are passed
	moves   []managedMove
	careOfs map[string]netip.Addr // by link
	ended   time.Time
	without []string // what is not there, for the report
}

// managedMove is a move to a link. known: the mobile was there before.
type managedMove struct {
	move
	link  accessLink
	known bool
	end   time.Time
}

func newManagedRun(o managedOptions) *managedRun {
	r := &managedRun{managedOptions: o, careOfs: map[string]netip.Addr{}}
	for i, a := range []addressing{formedOnly, leasedRapid, formedFirst, leasedSlow} {
		r.links = append(r.links, accessLink{node: accessRouterName(i + 1), number: i + 1, addressing: a})
	}
	r.stops = r.links
	return r
}
