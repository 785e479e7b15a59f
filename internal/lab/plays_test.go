package lab

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/uci"
)

// chosen are a scenario's options as its flags give them.
func chosen[O any](t *testing.T, declare func(*O, *flag.FlagSet), args ...string) O {
	t.Helper()
	var o O
	f := flag.NewFlagSet("", flag.ContinueOnError)
	declare(&o, f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

// plays are all scenarios, with their defaults and with what changes the world.
func plays(t *testing.T) map[string]play {
	ride := chosen(t, (*rideOptions).declare)
	return map[string]play{
		"ride":               &rideRun{rideOptions: ride, train: ride.train()},
		"host":               &hostRun{hostOptions: chosen(t, (*hostOptions).declare)},
		"host --no-ro":       &hostRun{hostOptions: chosen(t, (*hostOptions).declare, "--no-ro")},
		"host --ipsec":       &hostRun{hostOptions: chosen(t, (*hostOptions).declare, "--ipsec")},
		"host --ike":         exchanging(&hostRun{hostOptions: chosen(t, (*hostOptions).declare, "--ike")}),
		"host --ike payload": exchanging(&hostRun{hostOptions: chosen(t, (*hostOptions).declare, "--ike", "--no-ro", "--payload")}),
		"host --payload":     &hostRun{hostOptions: chosen(t, (*hostOptions).declare, "--ipsec", "--no-ro", "--payload")},
		"mobiles":            &mobilesRun{mobilesOptions: chosen(t, (*mobilesOptions).declare)},
		"uplinks":            &uplinksRun{uplinksOptions: chosen(t, (*uplinksOptions).declare)},
		"uplinks --router":   &uplinksRun{uplinksOptions: chosen(t, (*uplinksOptions).declare, "--router")},
		"managed":            newManagedRun(chosen(t, (*managedOptions).declare)),
		"managed --router":   newManagedRun(chosen(t, (*managedOptions).declare, "--router")),
		"failover":           &failoverRun{failoverOptions: chosen(t, (*failoverOptions).declare)},
		"renumber":           &renumberRun{renumberOptions: chosen(t, (*renumberOptions).declare)},
		"renumber --l2 0ms":  &renumberRun{renumberOptions: chosen(t, (*renumberOptions).declare, "--l2", "0ms")},
		"nested":             &nestedRun{nestedOptions: chosen(t, (*nestedOptions).declare)},
		"hierarchy":          &hierarchyRun{hierarchyOptions: chosen(t, (*hierarchyOptions).declare)},
		"hierarchy --ro":     &hierarchyRun{hierarchyOptions: chosen(t, (*hierarchyOptions).declare, "--ro")},
		"fleet":              &fleetRun{fleetOptions: chosen(t, (*fleetOptions).declare)},
		"delegation":         &delegationRun{delegationOptions: chosen(t, (*delegationOptions).declare)},
		"delegation --ipsec": &delegationRun{delegationOptions: chosen(t, (*delegationOptions).declare, "--ipsec")},
		"delegation kea":     &delegationRun{delegationOptions: chosen(t, (*delegationOptions).declare, "--server", "kea")},
		"advertise":          newAdvertiseRun(chosen(t, (*advertiseOptions).declare)),
		"scale":              &scaleRun{scaleOptions: chosen(t, (*scaleOptions).declare, "--mobiles", "1000")},
		"flood":              &floodRun{floodOptions: chosen(t, (*floodOptions).declare)},
	}
}

// exchanging gives the host what place would.
func exchanging(r *hostRun) *hostRun {
	r.exchange = exchangeOf(r.mobile(), "/tmp/x", r.payload)
	return r
}

// TestPlaysAreSound: the worlds can be built, and the daemons can read what the
// lab writes for them.
func TestPlaysAreSound(t *testing.T) {
	tested := map[string]bool{}
	for name, p := range plays(t) {
		tested[strings.Fields(name)[0]] = true
		topology, _ := p.set()
		if err := topology.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, c := range p.cast() {
			valid(t, name, c.node, c.sections)
			if !slices.Contains(nodes(topology), c.node) {
				t.Errorf("%s: there is a daemon for %s, which is not in the world", name, c.node)
			}
		}
	}
	for _, s := range Scenarios() {
		if !tested[s.Name] {
			t.Errorf("scenario %s is not among the plays", s.Name)
		}
	}
	// What the home agent of delegation gets later.
	d := &delegationRun{delegationOptions: chosen(t, (*delegationOptions).declare)}
	d.cast()
	other := d.pools()[1]
	if h := valid(t, "delegation, replaced", nodeHomeAgent, d.agent(other).sections()).HomeAgents[0]; len(h.Delegation.Pools) != 1 || h.Delegation.Pools[0] != other {
		t.Errorf("replaced: %+v", h.Delegation)
	}
	// What the home agent of renumber gets later.
	r := &renumberRun{renumberOptions: chosen(t, (*renumberOptions).declare)}
	r.cast()
	valid(t, "renumber, added", nodeHomeAgent, r.agent(r.oldPrefix(), r.newPrefix()).sections())
	c := valid(t, "renumber, deprecated", nodeHomeAgent, r.deprecating().sections())
	if h := c.HomeAgents[0]; len(h.Prefixes) != 2 || !slices.Contains(h.Deprecated, r.oldPrefix()) || h.DeprecatedLifetime != r.lifetime {
		t.Errorf("deprecated: %+v", h)
	}
}

func valid(t *testing.T, name, node string, sections []*section) *config.Config {
	t.Helper()
	text, err := uci.Format(configuration(Environment{Directory: "/tmp/x"}, node, sections...))
	if err != nil {
		t.Fatalf("%s, %s: %v", name, node, err)
	}
	c, err := config.Parse(node, text)
	if err != nil {
		t.Errorf("%s, %s: %v\n%s", name, node, err, text)
	}
	return c
}

// TestLapKeepsApart: the two mobile nodes are never at the same place, where
// they would not hear each other, and end where they began.
func TestLapKeepsApart(t *testing.T) {
	at := [2]string{agentNode(0), agentNode(1)}
	together := 0
	for _, legs := range lap() {
		for _, l := range legs {
			if at[l.mobile] == l.to {
				t.Errorf("%d is at %s already", l.mobile, l.to)
			}
			at[l.mobile] = l.to
		}
		if at[0] == at[1] {
			t.Errorf("both are at %s", at[0])
		}
		together += len(legs) - 1
	}
	if at != [2]string{agentNode(0), agentNode(1)} || together == 0 {
		t.Errorf("after a lap: %q, %d moves at once", at, together)
	}
}

// TestUplinkEvents: what happens to an uplink makes sense, and the one to use is
// the best there is.
func TestUplinkEvents(t *testing.T) {
	there := map[string]bool{uplinkEth: true, uplinkWLAN: true, uplinkWWAN: true}
	silent := map[string]bool{}
	list := events()
	for i, e := range list {
		switch e.what {
		case goes, fallsSilent:
			if !there[e.uplink] {
				t.Errorf("event %d: %s is gone already", i, e.uplink)
			}
			there[e.uplink], silent[e.uplink] = false, e.what == fallsSilent
		case returns, returnsSilently:
			if there[e.uplink] || silent[e.uplink] != (e.what == returnsSilently) {
				t.Errorf("event %d: %s cannot return so", i, e.uplink)
			}
			there[e.uplink] = true
		}
		for _, best := range uplinkNames() {
			if there[best] {
				if e.use != best {
					t.Errorf("event %d: to use is %s, not %s", i, e.use, best)
				}
				break
			}
		}
	}
	if last := list[len(list)-1]; last.what != returns || last.uplink != uplinkEth || list[len(list)-2].use != uplinkWLAN {
		t.Error("the lap does not end with the return of eth, before which it can flap")
	}
}

// TestNestedLap: nobody moves to where it is, or into its own network; a lap ends
// as it began, with all aboard.
func TestNestedLap(t *testing.T) {
	begin := nestedState{train: nodeHomeAgent, car: nodeRouter, mobile: nodeRouter}
	at := begin
	for i, l := range nestedLap() {
		if *at.of(l.mover) == l.to || l.mover == l.to {
			t.Errorf("move %d: %s goes to %s", i+1, l.mover, l.to)
		}
		*at.of(l.mover) = l.to
	}
	if at != begin {
		t.Errorf("after a lap: %+v", at)
	}
}

// TestNestedDistances: how far those aboard are from their own home agents, and
// what is left of the path MTU.
func TestNestedDistances(t *testing.T) {
	const ms = time.Millisecond
	o := nestedOptions{commonOptions: commonOptions{access: 2 * ms}, homeAgent: 10 * ms, second: 6 * ms}
	for _, c := range []struct {
		mover     string
		at        nestedState
		homeAgent time.Duration
		trip      time.Duration
		mtu       int
	}{
		{nodeRouter, nestedState{train: nodeHomeAgent}, 2 * ms, 0, 0},
		{nodeRouter, nestedState{train: "ar1"}, 10 * ms, 0, 0},
		{nodeCar, nestedState{train: "ar1", car: "ar2"}, 8 * ms, 14 * ms, 1460},
		{nodeCar, nestedState{train: "ar1", car: nodeRouter}, 26 * ms, 32 * ms, 1412},         // 2 to the train, 10 to ha, 8 back to the core, 6
		{nodeCar, nestedState{train: nodeHomeAgent, car: nodeRouter}, 18 * ms, 24 * ms, 1460}, // 2, 2, 8, 6
		{nodeMobile, nestedState{train: "ar1", mobile: "ar2"}, 10 * ms, 18 * ms, 1460},
		{nodeMobile, nestedState{train: "ar1", mobile: nodeRouter}, 12 * ms, 20 * ms, 1412},
	} {
		if p := o.placeOf(c.mover, c.at); p.HomeAgent != c.homeAgent || p.Access != 2*ms {
			t.Errorf("%s in %+v: %+v, want %v", c.mover, c.at, p, c.homeAgent)
		}
		if c.mtu == 0 {
			continue
		}
		if trip, mtu := o.roundTrip(c.mover, c.at), tunnelledMTU(c.at.tunnels(c.mover), true); trip != c.trip || mtu != c.mtu {
			t.Errorf("%s in %+v: round trip %v, MTU %d; want %v, %d", c.mover, c.at, trip, mtu, c.trip, c.mtu)
		}
	}
	for limited, want := range map[bool][]int{true: {1500, 1460, 1412, 1364}, false: {1500, 1460, 1420, 1380}} {
		for tunnels, mtu := range want {
			if got := tunnelledMTU(tunnels, limited); got != mtu {
				t.Errorf("%d tunnels, with limits: %v: MTU %d, want %d", tunnels, limited, got, mtu)
			}
		}
	}
}

// TestFleetAddresses: no two routers share anything.
func TestFleetAddresses(t *testing.T) {
	seen := map[string]fleetRouter{}
	r := fleetRun{fleetOptions: fleetOptions{routers: 250}}
	for _, n := range r.all() {
		for _, what := range []string{n.node(), n.home().Addr().String(), n.network().String()} {
			if other, taken := seen[what]; taken {
				t.Errorf("%v and %v share %s", other, n, what)
			}
			seen[what] = n
		}
		if !fleetNetworks.Contains(n.address()) || !n.network().Contains(n.address()) || len(n.node()) > 15 {
			t.Errorf("%s: %v in %v", n.node(), n.address(), n.network())
		}
	}
}
