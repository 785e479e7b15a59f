package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// TestHierarchyPlan: nobody goes to where it is; the lap has each kind of move; when the
// anchors fail the train is in the domain of the first one and the mobile node in that
// of the second.
func TestHierarchyPlan(t *testing.T) {
	at := map[string]string{nodeRouter: nodeHomeAgent, nodeMobile: nodeHomeAgent}
	kinds := map[moveKind]int{}
	follow := func(plan []nestedLeg) {
		for i, l := range plan {
			if at[l.mover] == l.to || at[l.mover] == "" {
				t.Errorf("move %d: %s goes from %q to %s", i+1, l.mover, at[l.mover], l.to)
			}
			kinds[kindOf(at[l.mover], l.to, false)]++
			at[l.mover] = l.to
		}
	}
	follow(hierarchyLap())
	if first, second := domainOf(at[nodeRouter]), domainOf(at[nodeMobile]); first == nil || first.node != nodeFirstAnchor || second == nil || second.node != nodeSecondAnchor {
		t.Errorf("after a lap: %v", at)
	}
	if kinds[movesInto] != 2 || kinds[movesInside] != 5 || kinds[movesBetween] != 2 || kinds[movesFrom] != 1 || kinds[movesHome] != 0 {
		t.Errorf("kinds of moves in a lap: %v", kinds)
	}
	follow(hierarchyLap()) // a second one begins where the first one ends
	follow(hierarchyReturn())
	if at[nodeRouter] != nodeHomeAgent || at[nodeMobile] != nodeHomeAgent {
		t.Errorf("in the end: %v", at)
	}
}

func TestHierarchyLimits(t *testing.T) {
	const ms = time.Millisecond
	o := hierarchyOptions{commonOptions: commonOptions{access: 2 * ms}, homeAgent: 100 * ms, anchor: 10 * ms}
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		from, to        string
		off             bool
		kind            string
		plain, down, up time.Duration
	}{
		{nodeHomeAgent, "ar1", false, "into a domain", 112 * ms, 112 * ms, 61 * ms},
		{"ar1", "ar2", false, "inside", 112 * ms, 22 * ms, 12 * ms},
		{"ar4", "ar3", false, "inside", 112 * ms, 22 * ms, 12 * ms},
		{"ar2", "ar3", false, "between", 112 * ms, 122 * ms, 22 * ms},
		{"ar3", "ar2", false, "between, forwarded", 112 * ms, 22 * ms, 12 * ms},
		{"ar1", nodeHomeAgent, false, "home", 14 * ms, 14 * ms, 0},
		{"ar1", "ar2", true, "hierarchy off", 112 * ms, 112 * ms, 12 * ms},
		{"ar2", "ar3", true, "hierarchy off", 112 * ms, 112 * ms, 12 * ms},
	} {
		kind := kindOf(c.from, c.to, c.off)
		m := move{from: c.from, to: c.to, Switch: world.Switch{Left: start, Attached: start.Add(10 * ms)}}
		if plain, down, up := o.limits(kind, m, false); kind.String() != c.kind || plain != c.plain || down != c.down || up != c.up {
			t.Errorf("%s → %s: %v, limits %v, %v and %v; want %+v", c.from, c.to, kind, plain, down, up, c)
		}
	}
	for _, c := range []struct {
		from, to    string
		off         bool
		plain, down time.Duration
	}{
		{nodeHomeAgent, "ar1", false, 112 * ms, 112 * ms},
		{"ar1", "ar2", false, 212 * ms, 22 * ms},
		{"ar2", "ar3", false, 212 * ms, 222 * ms},
		{"ar1", nodeHomeAgent, false, 16 * ms, 16 * ms},
		{"ar1", "ar2", true, 212 * ms, 212 * ms},
	} {
		m := move{from: c.from, to: c.to, Switch: world.Switch{Left: start, Attached: start.Add(10 * ms)}}
		if plain, down, _ := o.limits(kindOf(c.from, c.to, c.off), m, true); plain != c.plain || down != c.down {
			t.Errorf("%s → %s, optimised: limits %v and %v; want %+v", c.from, c.to, plain, down, c)
		}
	}
	for f, want := range map[fault]time.Duration{restarts: 0, dies: 1510 * ms, unreachable: 4002 * ms} {
		if d, ok := o.detection(f); d != want || ok != (want > 0) {
			t.Errorf("%v is noticed after %v, want %v", f, d, want)
		}
	}
	for kill, want := range map[string]int{killAll: 3, killNone: 0, "host": 1} {
		if n := len((hierarchyOptions{kill: kill}).chosen()); n != want {
			t.Errorf("--kill %s: %d faults", kill, n)
		}
	}
}

// TestHierarchyConfigurations: the anchors and the mobiles have the same keys, one for
// each pair; an access router learns of its anchor in one way; the first anchor serves
// its own domain only, and the second one its neighbours, too.
func TestHierarchyConfigurations(t *testing.T) {
	r := &hierarchyRun{hierarchyOptions: chosen(t, (*hierarchyOptions).declare)}
	configurations := map[string]*config.Config{}
	for _, c := range r.cast() {
		configurations[c.node] = valid(t, "hierarchy", c.node, c.sections)
	}
	var keys []string
	for _, d := range domains() {
		c := configurations[d.node]
		if len(c.Anchors) != 1 || c.Anchors[0].Address != d.address() || c.Anchors[0].Prefix != d.prefix() || c.Anchors[0].DAD {
			t.Fatalf("%s: %+v", d.node, c.Anchors)
		}
		for _, other := range domains() {
			for _, i := range other.routers {
				want := other.number == d.number || d.number == 2
				if serves := slices.Contains(c.Anchors[0].Served, accessAddress(i).Masked()); serves != want {
					t.Errorf("%s serves %s: %t", d.node, accessRouterName(i), serves)
				}
			}
		}
		for _, v := range c.Visitors {
			mobile := configurations[v.Name]
			at := slices.IndexFunc(mobile.AnchorKeysOf(v.Name), func(k config.AnchorKey) bool { return k.Anchors.Contains(d.address()) })
			if at < 0 {
				t.Errorf("%s has no key for %s", v.Name, d.node)
				continue
			}
			if k := mobile.AnchorKeysOf(v.Name)[at]; *k.Association != *v.Association || k.Anchors.Bits() != 128 {
				t.Errorf("%s and %s do not have the same key", v.Name, d.node)
			}
			keys = append(keys, string(v.Association.Key[:]))
		}
		for _, i := range d.routers {
			ar := configurations[accessRouterName(i)]
			if own, upstream := len(ar.Interfaces[0].Anchors), len(ar.Interfaces[0].AnchorUpstreams); own != d.number-1 || upstream != 2-d.number {
				t.Errorf("%s has %d anchors of its own and %d upstreams", accessRouterName(i), own, upstream)
			}
		}
	}
	if slices.Sort(keys); len(keys) != 4 || len(slices.Compact(keys)) != 4 {
		t.Errorf("%d keys, some of them the same", len(keys))
	}
	for _, m := range r.riders {
		if c := configurations[m.name]; !c.MobileNodes[0].Hierarchy {
			t.Errorf("%s does not use anchors", m.name)
		}
		c := valid(t, "hierarchy off", m.name, r.mobileSections(m, false))
		if c.MobileNodes[0].Hierarchy || len(c.AnchorKeys) > 0 {
			t.Errorf("hierarchy off: %s uses anchors", m.name)
		}
	}
}

// TestHierarchyIPsecConfigurations: with --ipsec nobody has a key of RFC 4285, and what one
// sends by the other receives by; home agent, anchors and mobiles alike.
func TestHierarchyIPsecConfigurations(t *testing.T) {
	r := &hierarchyRun{hierarchyOptions: chosen(t, (*hierarchyOptions).declare, "--ipsec")}
	configurations := map[string]*config.Config{}
	for _, c := range r.cast() {
		configurations[c.node] = valid(t, "hierarchy --ipsec", c.node, c.sections)
	}
	pairs := 0
	for _, m := range configurations[nodeHomeAgent].Mobiles {
		own := configurations[m.Name].MobileNodes[0]
		if m.Association != nil || m.ESP == nil || own.Association != nil || len(own.ESP) != 1 || own.ESP[0].Out != m.ESP.In || own.ESP[0].In != m.ESP.Out {
			t.Errorf("%s and its home agent: %+v, %+v", m.Name, m, own)
		}
		if c := valid(t, "hierarchy off", m.Name, r.mobileSections(r.riders[pairs], false)); len(c.MobileNodes[0].ESP) != 1 || len(c.AnchorKeys) != 0 {
			t.Errorf("hierarchy off: %+v", c.MobileNodes[0])
		}
		pairs++
	}
	for _, d := range domains() {
		for _, v := range configurations[d.node].Visitors {
			keys := configurations[v.Name].AnchorKeysOf(v.Name)
			at := slices.IndexFunc(keys, func(k config.AnchorKey) bool { return k.Anchors.Contains(d.address()) })
			if at < 0 || v.Association != nil || keys[at].Association != nil || v.ESP == nil || keys[at].ESP == nil ||
				v.ESP.In != keys[at].ESP.Out || v.ESP.Out != keys[at].ESP.In {
				t.Errorf("%s and %s: %+v", v.Name, d.node, v)
			}
			pairs++
		}
	}
	if pairs != 6 {
		t.Errorf("%d pairs", pairs)
	}
}

func TestHierarchyTopology(t *testing.T) {
	r := &hierarchyRun{hierarchyOptions: chosen(t, (*hierarchyOptions).declare)}
	topology, _ := r.set()
	routes := topology.Routes()
	for node, prefixes := range map[string]map[string]string{
		nodeCore:        {"2001:db8:f1::/64": nodeFirstAnchor, "2001:db8:f2::/64": nodeAggregation, "2001:db8:a1::/64": nodeFirstAnchor, "2001:db8:c::/64": nodeHomeAgent},
		nodeAggregation: {"2001:db8:f2::/64": nodeSecondAnchor, "2001:db8:a4::/64": "ar4"},
		nodeFirstAnchor: {"2001:db8:a2::/64": "ar2", "2001:db8:a3::/64": "core0"},
	} {
		for prefix, ifname := range prefixes {
			if !containsRoute(routes[node], prefix, ifname) {
				t.Errorf("%s has no route to %s by %s: %v", node, prefix, ifname, routes[node])
			}
		}
	}
	// The round trips are what was asked for: to the anchors, and to the home agent.
	trip := map[string]time.Duration{}
	for _, w := range topology.Wires {
		trip[w.A.Node+" "+w.B.Node] = 2 * w.Path.Delay
	}
	if m := r.access + trip["ar1 "+nodeFirstAnchor]; m != r.anchor {
		t.Errorf("%v to the first anchor", m)
	}
	if m := r.access + trip["ar3 "+nodeAggregation] + trip[nodeSecondAnchor+" "+nodeAggregation]; m != r.anchor {
		t.Errorf("%v to the second anchor", m)
	}
	if h := r.access + trip["ar1 "+nodeFirstAnchor] + trip[nodeHomeAgent+" "+nodeCore]; h != r.homeAgent {
		t.Errorf("%v to the home agent", h)
	}
}

// TestHierarchyReport computes a ride from made-up streams: into a domain, within it,
// the anchor's daemon dies, and the same move with hierarchy off.
func TestHierarchyReport(t *testing.T) {
	start := time.Unix(1000, 0)
	ms := func(v float64) time.Time { return start.Add(time.Duration(v * float64(time.Millisecond))) }
	r := &hierarchyRun{hierarchyOptions: chosen(t, (*hierarchyOptions).declare, "--probe-interval", "1ms"), ended: ms(9000)}
	step := func(from, to string, off bool, at float64, updates int) hierarchyMove {
		return hierarchyMove{
			move:  move{from: from, to: to, Switch: world.Switch{Left: ms(at), Attached: ms(at + 10)}},
			mover: nodeRouter, kind: kindOf(from, to, off), updates: updates, optimised: -1, end: ms(at + 900),
		}
	}
	r.moves = []hierarchyMove{step(nodeHomeAgent, "ar1", false, 1000, 2), step("ar1", "ar2", false, 2000, 0), step("ar2", "ar1", true, 8000, 1)}
	r.failures = []anchorFailure{{fault: dies, domain: domains()[0], mover: nodeRouter, at: ms(3000), restored: ms(6000), regained: ms(6900)}}
	records := map[*probe.Stream]probe.Record{}
	stream := func(flight float64, lost func(i int) bool) *probe.Stream {
		rec := probe.Record{Interval: time.Millisecond}
		for i := range 9200 {
			rec.Sent = append(rec.Sent, ms(float64(i)).UnixNano())
			if lost == nil || !lost(i) {
				rec.Arrivals = append(rec.Arrivals, probe.Arrival{At: ms(float64(i) + flight).UnixNano(), Number: uint32(i)})
			}
		}
		key := &probe.Stream{}
		records[key] = rec
		return key
	}
	// Not before 50 ms after the break at the sender, which is when nothing is under way.
	down := func(i int) bool {
		return i > 950 && i < 1064 || i > 1950 && i < 1975 || i > 2950 && i < 4105 || i > 7950 && i < 8064
	}
	up := func(i int) bool {
		return i > 1000 && i < 1014 || i > 2000 && i < 2014 || i > 3000 && i < 4020 || i > 8000 && i < 8014
	}
	r.ends = []*far{
		{node: nodeBehind, mover: nodeRouter, down: stream(50, down), up: stream(50, up)},
		{node: nodeMobile, mover: nodeMobile, down: stream(50, nil), up: stream(50, nil)},
	}
	s := &stage{stats: relay.Stats{Refusals: map[relay.Refusal]uint64{
		{From: "mr/up0", To: "ar2/acc0", Source: netip.MustParseAddr("2001:db8:a1::5")}: 3,
	}}}
	result := r.compute(s, records)
	if len(result.Failures) > 0 {
		t.Errorf("failures: %q", result.Failures)
	}
	want := map[string][2]report.Milliseconds{
		"inside_down_ms": {24, 22}, "inside_up_ms": {13, 12}, "plain_down_ms": {113, 112}, "plain_up_ms": {13, 12},
		"home_updates_inside": {0, 0}, "home_updates_plain": {1, 0}, "daemon_recovered_downlink_ms": {1155, 1610},
		"daemon_recovered_uplink_ms": {1070, 1510}, "daemon_lost_downlink": {1154, 1610}, "daemon_lost_uplink": {1019, 1510},
		"daemon_regained_ms": {900, 0}, "daemon_lost_return": {0, 0}, "lost_other_domain": {0, 0}, "foreign_sources": {0, 0},
	}
	for _, f := range result.Figures {
		w, ok := want[f.Name]
		if ok && (f.Value != w[0] || f.Limit.Known() && f.Limit != w[1]) {
			t.Errorf("%s: %v, limit %v; want %v", f.Name, f.Value, f.Limit, w)
		}
		delete(want, f.Name)
	}
	if len(want) > 0 {
		t.Errorf("not measured: %v", want)
	}
	if h := result.Handovers[1]; h.Kind != "inside" || *h.LimitPlain != 112 || h.LimitDown != 22 || h.Down != 24 || *h.HomeUpdates != 0 {
		t.Errorf("inside: %+v", h)
	}
	var table strings.Builder
	if err := result.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"plain", "BUs", "inside", "hierarchy off", "downlink interruption inside a domain"} {
		if !strings.Contains(table.String(), text) {
			t.Errorf("the table lacks %q:\n%s", text, table.String())
		}
	}
	// What must not be is a failure: an update inside a domain, an interruption as long
	// as without anchors, and a regional address on an access link.
	r.moves[1].updates = 1
	r.ends[0].down = stream(50, func(i int) bool { return down(i) || i > 1950 && i < 2070 })
	s.stats.Refusals[relay.Refusal{From: "mr/up0", To: "ar2/acc0", Source: netip.MustParseAddr("2001:db8:f1::5")}] = 1
	text := strings.Join(r.compute(s, records).Failures, "\n")
	for _, what := range []string{"updates at the home agent", "downlink interruption inside a domain", "2001:db8:f1::5", "never an address there"} {
		if !strings.Contains(text, what) {
			t.Errorf("no failure for %q: %s", what, text)
		}
	}
}
