package lab

import (
	"flag"
	"slices"
	"strings"
	"testing"

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
		"ride":              &rideRun{rideOptions: ride, train: ride.train()},
		"host":              &hostRun{hostOptions: chosen(t, (*hostOptions).declare)},
		"host --no-ro":      &hostRun{hostOptions: chosen(t, (*hostOptions).declare, "--no-ro")},
		"mobiles":           &mobilesRun{mobilesOptions: chosen(t, (*mobilesOptions).declare)},
		"uplinks":           &uplinksRun{uplinksOptions: chosen(t, (*uplinksOptions).declare)},
		"uplinks --router":  &uplinksRun{uplinksOptions: chosen(t, (*uplinksOptions).declare, "--router")},
		"failover":          &failoverRun{failoverOptions: chosen(t, (*failoverOptions).declare)},
		"renumber":          &renumberRun{renumberOptions: chosen(t, (*renumberOptions).declare)},
		"renumber --l2 0ms": &renumberRun{renumberOptions: chosen(t, (*renumberOptions).declare, "--l2", "0ms")},
		"flood":             &floodRun{floodOptions: chosen(t, (*floodOptions).declare)},
	}
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
	text, err := uci.Format(configuration("/tmp/x", node, sections...))
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
