package node

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/internal/page"
	"roam6/internal/role"
)

// changeOf is a move of a mobile.
func changeOf(mobile string, from, to netip.Addr) role.BindingChanged {
	return role.BindingChanged{Mobile: mobile, Home: homeAddr, From: from, To: to, Cause: role.CauseUpdate}
}

// What is remembered of changes is bounded, the newest stay, and a question has a bounded
// answer.
func TestChanges(t *testing.T) {
	var c changes
	any := func(role.BindingChanged) bool { return true }
	if list, all, forgotten := c.since(testNow, testNow, 10, any); len(list) != 0 || all != 0 || forgotten {
		t.Errorf("of none: %v, %d, %t", list, all, forgotten)
	}
	const n = 3*keptChanges + 7
	for i := range n {
		c.add(change{changeOf(fmt.Sprint(i%10), visiting, agentAddr), testNow.Add(time.Duration(i) * time.Second), time.Millisecond})
	}
	if len(c.ring) != keptChanges {
		t.Errorf("%d are kept", len(c.ring))
	}
	now := testNow.Add(n * time.Second)
	list, all, forgotten := c.since(testNow, now, 10, any)
	if len(list) != 10 || all != keptChanges || !forgotten {
		t.Errorf("%d of %d, %t", len(list), all, forgotten)
	}
	for i, x := range list {
		if x.Number != uint64(n-1-i) || x.Mobile != fmt.Sprint(x.Number%10) || time.Duration(x.Age) != time.Duration(i+1)*time.Second || x.Processing == nil || time.Duration(*x.Processing) != time.Millisecond {
			t.Errorf("%d: %+v", i, x)
		}
	}
	// Those of a minute, and of them those that are wanted.
	list, all, forgotten = c.since(now.Add(-time.Minute), now, 100, func(x role.BindingChanged) bool { return x.Mobile == "3" })
	if len(list) != 6 || all != 6 || forgotten {
		t.Errorf("%d of %d, %t", len(list), all, forgotten)
	}
	// What is no move has no processing.
	c.add(change{role.BindingChanged{Mobile: "x", Home: homeAddr, From: visiting, Cause: role.CauseLifetime}, now, time.Second})
	if list, _, _ := c.since(now, now, 1, any); list[0].Processing != nil || list[0].Cause != "lifetime" || list[0].To.IsValid() {
		t.Errorf("%+v", list[0])
	}
}

// A fleet of many thousand mobiles: the first are shown, and others when they are looked
// for. The loop is never asked for more than some at a time, so that between two of these
// questions it does something else.
func TestOverviewOfManyMobiles(t *testing.T) {
	const mobiles = 5000
	var text strings.Builder
	text.WriteString("config home_agent 'ha'\n\toption interface 'home0'\n\toption address '2001:db8:10::1'\n\toption dad '0'\n\tlist prefix '2001:db8:10::/64'\n")
	for i := range mobiles {
		fmt.Fprintf(&text, "config mobile 'Bus_%d'\n\toption home_address '2001:db8:10::1:%x'\n\toption insecure '1'\n", i, i+1)
	}
	s, _ := bareShell(t, text.String())
	s.requests = make(chan request)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.agents = append(s.agents, s.newAgentHost(testNow, s.config.HomeAgents[0], s.config.Mobiles))
	s.changes.add(change{BindingChanged: changeOf("Bus_7", visiting, agentAddr), at: testNow})
	s.changes.add(change{BindingChanged: changeOf("Bus_8", visiting, agentAddr), at: testNow})
	asked := 0
	go func() {
		for {
			select {
			case r := <-s.requests:
				asked++
				r.do(testNow)
				close(r.done)
			case <-ctx.Done():
				return
			}
		}
	}()
	look := func(search string) *control.AgentOverview {
		t.Helper()
		d, err := s.Overview(ctx, page.Query{Search: search, Window: time.Minute})
		if err != nil || d.HomeAgents == nil || d.Mobile != nil {
			t.Fatalf("%+v, %v", d, err)
		}
		return d.HomeAgents
	}
	a := look("")
	if len(a.Mobiles) != shownMobiles || a.Matched != mobiles || a.Stats.Mobiles != mobiles || a.Mobiles[0].Mobile != "Bus_0" || len(a.Changes) != 2 {
		t.Errorf("%d of %d mobiles, %d changes", len(a.Mobiles), a.Matched, len(a.Changes))
	}
	if asked > 2 {
		t.Errorf("the loop was asked %d times for the first mobiles", asked)
	}
	for search, want := range map[string]struct{ mobiles, matched, changes int }{
		"BUS_4999": {1, 1, 0}, "bus_49": {shownMobiles, 111, 0}, " 2001:db8:10::1:1388 ": {1, 1, 0}, "nobody": {0, 0, 0}, "bus_7": {shownMobiles, 111, 1}, visiting.String(): {0, 0, 2},
	} {
		a := look(search)
		if len(a.Mobiles) != want.mobiles || a.Matched != want.matched || len(a.Changes) != want.changes {
			t.Errorf("%q: %d of %d mobiles, %d changes", search, len(a.Mobiles), a.Matched, len(a.Changes))
		}
	}
	cancel()
	if _, err := s.Overview(ctx, page.Query{}); err == nil {
		t.Error("a daemon that does not answer has an overview")
	}
}
