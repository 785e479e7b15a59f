package ha

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// A crash between two packets: the next agent forwards, defends and routes as the one
// before, at once and in one change of the data plane, without waiting for an answer of the
// home link and without a message to a mobile; bindings end when they would have, and the mobiles
// are asked to refresh them when they would have been.
func TestRestore(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 5))
	n := at(homeN, careOf2, 7)
	n.flags = flagsNode | mip6.UpdateLinkLocal
	w.registered(n)
	w.run(20 * time.Second)
	tunnels, defended, routes, unreachable := maps.Clone(w.tunnels), maps.Clone(w.defended), maps.Clone(w.routes), maps.Clone(w.unreachable)
	before := w.agent.Bindings()
	probes := w.probes
	w.now = w.now.Add(3 * time.Second)
	actions := w.restart(testConfig())
	forwards := slices.DeleteFunc(slices.Clone(actions), func(a role.Action) bool { _, ok := a.(role.Forward); return !ok })
	if len(forwards) != 1 || actions[0].(role.Forward).Changes == nil {
		t.Errorf("%d changes of the data plane: %v", len(forwards), kinds(actions))
	}
	if !reflect.DeepEqual(w.tunnels, tunnels) || !maps.Equal(w.defended, defended) || !maps.Equal(w.routes, routes) || !maps.Equal(w.unreachable, unreachable) || w.probes != probes {
		t.Errorf("forwards %v, defends %v, routes %v", w.tunnels, w.defended, w.routes)
	}
	after := w.agent.Bindings()
	for i := range after {
		after[i].Deadline, before[i].Deadline = binding.Deadline{}, binding.Deadline{}
	}
	if !reflect.DeepEqual(after, before) || w.agent.Stats().Restored != 2 || w.agent.Stats().Registrations != 0 {
		t.Errorf("bindings\n%+v, before\n%+v, %+v", after, before, w.agent.Stats())
	}
	// Somebody on the home link may have learned another address meanwhile.
	if told := kinds(w.run(2 * time.Second)); !slices.Contains(told, "announce 2001:db8:1::a router=true") || !slices.Contains(told, "announce fe80::c router=false") {
		t.Errorf("announced: %v", told)
	}
	asked := 0
	for _, k := range kinds(w.run(before[0].Expires.Sub(w.now) - time.Second)) {
		if k == fmt.Sprintf("%v to %v", mip6.TypeBindingRefreshRequest, homeA) {
			asked++
		}
	}
	if asked != 3 || w.tunnels[homeA].Paths == nil {
		t.Errorf("%d requests to refresh", asked)
	}
	w.run(3 * time.Second)
	if len(w.tunnels)+len(w.defended) != 0 || !w.routes[viaHome(networkA, homeA)] {
		t.Errorf("a restored binding outlives its lifetime: %v", w.tunnels)
	}
}

// After a restart the recorded update of before is as old as ever, by its sequence number
// or its timestamp, with a binding or without, under ESP or not; the next one is taken.
func TestRestoreKeepsFreshness(t *testing.T) {
	c := testConfig()
	c.DAD = false
	c.Mobiles[0].SA, c.Mobiles[0].ESP = nil, true
	w := newWorld(t, c)
	stamped := at(homeB, careOf1, 5)
	stamped.timestamp = w.now
	ended := at(homeN, careOf1, 9)
	ended.flags = flagsNode
	protected := at(homeA, careOf1, 3)
	protected.unsealed, protected.alternate = true, careOf1
	deliver := func(r request) []role.Action {
		w.alternate = r.alternate
		return w.handle(role.MessageReceived{Link: 1, Packet: r.packet(t), Protected: r.unsealed})
	}
	recorded := []request{stamped, ended, protected}
	for _, r := range recorded {
		if ba := onlyAck(t, deliver(r)); !ba.Status.Accepted() {
			t.Fatalf("%v: %v", r.home, ba.Status)
		}
	}
	gone := ended
	gone.sequence, gone.lifetime = 10, 0
	recorded = append(recorded, gone)
	if ba := onlyAck(t, deliver(gone)); !ba.Status.Accepted() {
		t.Fatal(ba.Status)
	}
	// What was refused cannot be taken later either.
	refused := at(homeN, careOf1, 12)
	refused.flags = flagsNode | mip6.UpdateMobileRouter
	recorded = append(recorded, refused)
	if ba := onlyAck(t, deliver(refused)); ba.Status.Accepted() {
		t.Fatal(ba.Status)
	}
	w.run(time.Minute) // longer than a de-registration is remembered
	tunnels := maps.Clone(w.tunnels)
	for range 2 { // and once more, of what was restored
		w.restart(c)
	}
	for _, r := range recorded {
		if got := drops(deliver(r)); !slices.Contains(got, role.DropReplay) {
			t.Errorf("recorded update %d of %v: %v", r.sequence, r.home, got)
		}
	}
	if !reflect.DeepEqual(w.tunnels, tunnels) {
		t.Errorf("forwards %v, before %v", w.tunnels, tunnels)
	}
	for _, r := range []request{stamped, ended, protected} {
		r.sequence += 20
		if r.source = careOf2; r.alternate.IsValid() {
			r.alternate = careOf2
		}
		if !r.timestamp.IsZero() {
			r.timestamp = w.now
		}
		if ba := onlyAck(t, deliver(r)); !ba.Status.Accepted() || w.tunnels[r.home].Paths[0].Remote != careOf2 {
			t.Errorf("next update of %v: %v", r.home, ba.Status)
		}
	}
}

// A de-registration whose answer was lost in the crash is answered when it comes again.
func TestRestoreDeregistration(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	gone := at(homeA, careOf1, 2)
	gone.lifetime = 0
	w.send(gone)
	w.restart(testConfig())
	if len(w.tunnels)+len(w.defended) != 0 {
		t.Fatalf("a binding that has ended is back: %v", w.tunnels)
	}
	gone.sequence = 3
	if ba := onlyAck(t, w.send(gone)); ba.Status != mip6.StatusAccepted {
		t.Errorf("answer %v", ba.Status)
	}
	w.run(binding.MaxDeleteTime)
	w.restart(testConfig())
	gone.sequence = 4
	if ba := onlyAck(t, w.send(gone)); ba.Status != mip6.StatusNotHomeAgent {
		t.Errorf("answer when it is forgotten: %v", ba.Status)
	}
}

// A binding is restored if this configuration would grant it, and otherwise not; the
// other mobile's stays in any case.
func TestRestoreUnderAnotherConfiguration(t *testing.T) {
	explicit := func(c *Config) { c.Mobiles[0].Prefixes = prefixes("2001:db8:aa::/48") }
	for name, test := range map[string]struct {
		change   func(*Config)
		alter    func(*binding.Memory)
		later    time.Duration
		restored bool
	}{
		"the same":             {restored: true},
		"renamed":              {change: func(c *Config) { c.Mobiles[0].Name = "train" }, restored: true},
		"removed":              {change: func(c *Config) { c.Mobiles = c.Mobiles[1:] }},
		"disabled":             {change: func(c *Config) { c.Mobiles[0].Disabled = true }},
		"no router":            {change: func(c *Config) { c.Mobiles[0].Router, c.Mobiles[0].Prefixes = false, nil }},
		"another network":      {change: explicit},
		"a part of it":         {change: func(c *Config) { c.Mobiles[0].Prefixes = prefixes("2001:db8:a::/47") }, restored: true},
		"home prefix over":     {change: func(c *Config) { c.PrefixValidUntil = time.Date(2026, 3, 1, 12, 0, 2, 0, time.UTC) }},
		"longest lifetime cut": {change: func(c *Config) { c.MaxLifetime = 8 * time.Second }, restored: true},
		"no room":              {change: func(c *Config) { c.MaxBindings = 1 }},
		"over":                 {later: time.Hour},
		"longer than granted":  {alter: func(m *binding.Memory) { m.Expires = m.Expires.Add(time.Hour) }},
		"care-of address of nobody": {alter: func(m *binding.Memory) {
			m.Paths = []overlay.Path{{Local: agentAddr, Remote: netip.IPv6LinkLocalAllNodes()}}
		}},
		"no care-of address":          {alter: func(m *binding.Memory) { m.Paths = nil }},
		"care-of address at home":     {alter: func(m *binding.Memory) { m.Paths = []overlay.Path{{Local: agentAddr, Remote: homeA}} }},
		"care-of address of a mobile": {alter: func(m *binding.Memory) { m.Paths = []overlay.Path{{Local: agentAddr, Remote: homeB}} }},
		"of another home agent":       {alter: func(m *binding.Memory) { m.Paths = []overlay.Path{{Local: careOf2, Remote: careOf1}} }},
		"no home registration":        {alter: func(m *binding.Memory) { m.Flags = mip6.UpdateAcknowledge }},
		"another's prefix":            {alter: func(m *binding.Memory) { m.Prefixes = prefixes("2001:db8:b::/48") }},
		"somebody else's":             {alter: func(m *binding.Memory) { m.Mobile = "2001:db8:1::dead z" }},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig()
			c.DAD = false
			w := newWorld(t, c)
			n := at(homeN, careOf2, 1)
			n.flags = flagsNode
			w.registered(n)
			w.run(time.Second)
			r := at(homeA, careOf1, 5)
			r.options = prefixOptions("2001:db8:a::/48")
			w.registered(r)
			w.run(2 * time.Second)
			if test.change != nil {
				test.change(&c)
			}
			if test.alter != nil {
				m := w.memories[binding.Key{Home: homeA}]
				test.alter(&m)
				w.memories[m.Key()] = m
			}
			w.now = w.now.Add(test.later)
			w.agent = New(c)
			w.logs = nil
			clear(w.tunnels)
			clear(w.defended)
			clear(w.routes)
			list := w.agent.Restore(w.now, slices.Collect(maps.Values(w.memories)))
			w.apply(slices.Concat(list, w.agent.Handle(w.now, role.LinkChanged{Link: w.link})))
			e := w.entry(homeA)
			if restored := e != nil && e.State == binding.Active; restored != test.restored {
				t.Errorf("restored %v: %+v, log %v", restored, e, w.logs)
			}
			if n := w.entry(homeN); test.later == 0 && name != "home prefix over" && (n == nil || n.State != binding.Active) {
				t.Errorf("the other one is %+v", n)
			}
			if !test.restored && test.later == 0 && !slices.ContainsFunc(w.logs, func(l role.Log) bool { return l.Message == "binding of an earlier run not restored" }) && name != "longer than granted" {
				t.Errorf("nobody says why: %v", w.logs)
			}
			if p := w.tunnels[homeA]; test.restored && !slices.Equal(p.Inner[1:], prefixes("2001:db8:a::/48")) {
				t.Errorf("forwards %v", p.Inner)
			}
		})
	}
}

// What a mobile has by several home addresses, and by delegation, is shared as before.
func TestRestoreShared(t *testing.T) {
	c := renumbering()
	c.DAD = false
	c.Mobiles[0].Delegate = true
	w := newWorld(t, c)
	w.delegate(homeA, time.Hour, "2001:db8:d::/56")
	w.registered(asA(homeA, careOf1, 1))
	w.run(time.Second)
	w.registered(asA(under(newPrefix, homeA), careOf1, 1))
	w.run(time.Second)
	w.registered(asA(homeA, careOf1, 2))
	tunnels, direct := maps.Clone(w.tunnels), maps.Clone(w.direct)
	// As the shell does it: the delegating router tells what it has kept before.
	w.agent = New(c)
	clear(w.tunnels)
	clear(w.direct)
	clear(w.routes)
	clear(w.defended)
	w.agent.Handle(w.now, role.PrefixesDelegated{Home: homeA, Prefixes: prefixes("2001:db8:d::/56"), Until: w.now.Add(time.Hour)})
	w.apply(w.agent.Restore(w.now, slices.Collect(maps.Values(w.memories))))
	if !reflect.DeepEqual(w.tunnels, tunnels) || !maps.Equal(w.direct, direct) || len(direct) != 2 {
		t.Errorf("forwards %v\nbefore %v; direct %v, before %v", w.tunnels, tunnels, w.direct, direct)
	}
}

// 10,000 and 100,000 bindings restored, without what the shell does.
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, now := manyMobiles(n), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			c.HomeLink = ""
			a := New(c)
			register(b, a, now, c.Mobiles)
			memories := slices.Collect(a.Memories())
			for b.Loop() {
				b.StopTimer()
				next := New(c)
				b.StartTimer()
				next.Restore(now, memories)
				if next.Stats().Bindings != n {
					b.Fatal(next.Stats())
				}
			}
		})
	}
}
