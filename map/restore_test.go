package anchor

import (
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

// A crash between two packets: the next anchor forwards and defends as the one before, in
// one change of the data plane, without duplicate address detection and without a message
// to a mobile; bindings end when they would have.
func TestRestore(t *testing.T) {
	w := newWorld(t, testConfig())
	w.send(local(alice, rcoaA, lcoa1, 1))
	w.send(local(bob, rcoaB, lcoa2, 1))
	w.run(20 * time.Second)
	tunnels, defended, before := maps.Clone(w.tunnels), maps.Clone(w.defended), w.anchor.Snapshot(w.now).Bindings
	if len(tunnels) != 2 {
		t.Fatalf("bound: %v", tunnels)
	}
	probes := w.probes
	w.now = w.now.Add(time.Second)
	actions := w.restart(testConfig())
	forwards := slices.DeleteFunc(slices.Clone(actions), func(a role.Action) bool { _, ok := a.(role.Forward); return !ok })
	if len(forwards) != 1 || !reflect.DeepEqual(w.tunnels, tunnels) || !maps.Equal(w.defended, defended) || w.probes != probes {
		t.Errorf("%v: forwards %v, defends %v", kinds(actions), w.tunnels, w.defended)
	}
	after := w.anchor.Snapshot(w.now).Bindings
	for i := range after {
		after[i].Deadline, before[i].Deadline = binding.Deadline{}, binding.Deadline{}
		before[i].Remaining -= time.Second
		before[i].Updated = after[i].Updated // by its probe at first
	}
	if !reflect.DeepEqual(after, before) || w.anchor.Stats().Restored != 2 {
		t.Errorf("bindings\n%+v, before\n%+v", after, before)
	}
	if told := kinds(w.run(time.Second)); !slices.Contains(told, "announce 2001:db8:9::a") {
		t.Errorf("announced: %v", told)
	}
	end := before[0].Expires
	w.run(end.Sub(w.now) - time.Second)
	if w.tunnels[rcoaA].Paths == nil {
		t.Error("it ends too early")
	}
	w.run(3 * time.Second)
	if len(w.tunnels)+len(w.defended) != 0 {
		t.Errorf("a restored binding outlives its lifetime: %v", w.tunnels)
	}
}

// After a restart a recorded update is as old as ever, bound or not, and what had to be
// forgotten of a visitor still asks for a timestamp.
func TestRestoreKeepsFreshness(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	var recorded []request
	for i := range maxRemembered + 2 { // of which the first two are forgotten
		r := local(alice, rcoaNumber(i), lcoa1, mip6.Sequence(i+1))
		w.send(r)
		recorded = append(recorded, r)
		if i >= 3 {
			end := local(alice, rcoaNumber(i), lcoa1, mip6.Sequence(i+100))
			end.lifetime = 0
			w.send(end)
			recorded = append(recorded, end)
		}
		w.run(time.Second)
	}
	w.run(time.Minute)
	for round := range 2 {
		w.restart(c)
		for _, r := range recorded {
			for _, p := range acks(w.send(r)) {
				if s := p.Message.(mip6.BindingAcknowledgement).Status; s.Accepted() {
					t.Errorf("round %d: recorded update %d of %v is taken", round, r.sequence, r.home)
				}
			}
			w.run(time.Second)
		}
	}
	fresh := local(alice, rcoaNumber(40), lcoa2, 500)
	fresh.timestamp = w.now
	if list := acks(w.send(fresh)); len(list) != 1 || !list[0].Message.(mip6.BindingAcknowledgement).Status.Accepted() {
		t.Errorf("a new address: %v", list)
	}
}

// A de-registration whose answer was lost in the crash is answered when it comes again.
func TestRestoreDeregistration(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	w.send(local(alice, rcoaA, lcoa1, 1))
	end := local(alice, rcoaA, lcoa1, 2)
	end.lifetime = 0
	wantStatus(t, w.send(end), mip6.StatusAccepted)
	w.restart(c)
	if len(w.tunnels) != 0 {
		t.Fatalf("a binding that has ended is back: %v", w.tunnels)
	}
	end.sequence = 3
	wantStatus(t, w.send(end), mip6.StatusAccepted)
	w.run(binding.MaxDeleteTime + time.Second)
	w.restart(c)
	end.sequence = 4
	wantStatus(t, w.send(end), mip6.StatusNotHomeAgent)
}

func wantStatus(t *testing.T, actions []role.Action, want mip6.Status) {
	t.Helper()
	list := acks(actions)
	if len(list) != 1 || list[0].Message.(mip6.BindingAcknowledgement).Status != want {
		t.Errorf("answers %+v, want %v", list, want)
	}
}

// A binding is restored if this configuration would grant it, and otherwise not.
func TestRestoreUnderAnotherConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		before, change func(*Config)
		alter          func(*binding.Memory)
		restored       bool
	}{
		"the same":                   {restored: true},
		"removed":                    {change: func(c *Config) { c.Visitors = c.Visitors[1:] }},
		"disabled":                   {change: func(c *Config) { c.Visitors[0].Disabled = true }},
		"not served any more":        {change: func(c *Config) { c.Served = c.Served[1:] }},
		"taken":                      {change: func(c *Config) { c.Taken = []netip.Addr{rcoaA} }},
		"barred":                     {change: func(c *Config) { c.Barred = func(a netip.Addr) bool { return a == lcoa1 } }},
		"on no link":                 {change: func(c *Config) { c.Link = "" }, restored: true},
		"longer than granted":        {alter: func(m *binding.Memory) { m.Expires = m.Expires.Add(time.Hour) }},
		"to a regional address":      {alter: func(m *binding.Memory) { m.Paths = []overlay.Path{{Local: anchorAddr, Remote: rcoaB}} }},
		"of another anchor":          {alter: func(m *binding.Memory) { m.Paths = []overlay.Path{{Local: lcoa2, Remote: lcoa1}} }},
		"of nobody":                  {alter: func(m *binding.Memory) { m.Visitor = "" }},
		"without authentication":     {before: insecure, change: insecure, alter: func(*binding.Memory) {}, restored: true},
		"authentication is required": {before: insecure},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := testConfig(), testConfig()
			before.DAD, after.DAD = false, false
			r := local(alice, rcoaA, lcoa1, 1)
			if test.before != nil {
				test.before(&before)
				r.unsealed = true
			}
			w := newWorld(t, before)
			w.send(r)
			if test.change != nil {
				test.change(&after)
			}
			for _, m := range slices.Collect(maps.Values(w.memories)) {
				delete(w.memories, m.Key())
				if test.alter != nil {
					test.alter(&m)
				}
				w.memories[m.Key()] = m
			}
			w.anchor = New(after)
			w.logs = nil
			clear(w.tunnels)
			clear(w.defended)
			w.anchor.Restore(w.now, slices.Collect(maps.Values(w.memories)))
			if e := w.anchor.bindings.Get(rcoaA); (e != nil) != test.restored {
				t.Errorf("restored %v: %+v", e != nil, e)
			}
		})
	}
}

func insecure(c *Config) { c.Insecure = true }

// A visitor that is called otherwise has what it had, in the next process, too.
func TestRestoreRenamed(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	w.send(local(alice, rcoaA, lcoa1, 1))
	c.Visitors = slices.Clone(c.Visitors)
	c.Visitors[0].Name = "al"
	w.apply(w.anchor.Reconfigure(w.now, c))
	w.restart(c)
	if w.tunnels[rcoaA].Paths == nil {
		t.Errorf("it is lost: %v", w.memories)
	}
	w.send(local(alice, rcoaA, lcoa2, 2))
	w.restart(c)
	if p := w.tunnels[rcoaA].Paths; len(p) != 1 || p[0].Remote != lcoa2 {
		t.Errorf("it leads to %v", p)
	}
}
