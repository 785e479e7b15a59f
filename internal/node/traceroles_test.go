package node

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/role"
	"roam6/internal/trace"
	"roam6/mip6"
)

// An anchor that is recorded goes through reloads, is told the addresses of its node, and
// ends; all of that plays.
func TestTraceAnchor(t *testing.T) {
	for name, anew := range map[string]bool{"as it runs": false, "anew": true} {
		t.Run(name, func(t *testing.T) {
			c := newCity(t, anchorSections)
			c.anchors[0].random.stop()
			regional, onLink := netip.MustParseAddr("2001:db8:5::7"), netip.MustParseAddr("2001:db8:a1::7")
			update := func(sequence mip6.Sequence, onLink netip.Addr) {
				c.now = c.now.Add(time.Second)
				c.dispatch(c.now, role.MessageReceived{Link: 2, Packet: localUpdate(t, cityAddr, regional, onLink, sequence)})
			}
			reload := func(text string) {
				parsed, err := config.Parse("roam6", []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				c.config = parsed
				c.applyAnchors(c.now, parsed)
			}
			update(1, onLink)
			before := c.anchors[0].machine
			if _, err := c.beginTrace(c.now, control.TraceRequest{Role: "city", Anew: anew}); err != nil {
				t.Fatal(err)
			}
			if (c.anchors[0].machine != before) != anew || !strings.Contains(c.bound(), regional.String()) {
				t.Fatalf("another one: %t, bound %s", c.anchors[0].machine != before, c.bound())
			}
			update(2, onLink.Next())
			reload(strings.Replace(anchorSections, "sequence", "timestamp", 1))
			c.foreigns[2] = foreignLink{addresses: []role.LeasedPrefix{{Prefix: netip.PrefixFrom(regional.Next(), 64)}}}
			c.takenDue = true
			c.settleTaken(c.now)
			update(3, onLink) // without a timestamp
			if got := c.bound(); got != "city: bus 2001:db8:5::7 to 2001:db8:a1::8" {
				t.Errorf("bound %s", got)
			}
			reload("")
			steps := c.playTrace(t)
			start := trace.StartRestored
			if anew {
				start = trace.StartNew
			}
			if b := steps[0].Entry.Begin; b.Start != start || b.Kind != trace.KindAnchor || len(b.Memories) != 1 {
				t.Errorf("begin %+v", b)
			}
			updates, asked, reconfigured := 0, 0, 0
			for _, s := range steps[1:] {
				if s.Entry.Authentic && s.Played {
					updates++
				}
				if s.Entry.Reconfigure != nil && s.Played {
					reconfigured++
				}
				asked += len(s.Entry.Barred)
			}
			if updates != 2 || asked != 3 || reconfigured != 2 || !steps[len(steps)-1].Entry.End {
				t.Errorf("%d updates, %d answers, %d configurations", updates, asked, reconfigured)
			}
		})
	}
}

// A correspondent is recorded under a name that is no section's.
func TestTraceCorrespondent(t *testing.T) {
	for section, want := range map[string]string{"ha": correspondentRole, correspondentRole: "(" + correspondentRole + ")"} {
		s := tracedShell(t)
		s.agents[0].config.Name = section
		s.correspondent = newCorrespondentHost(config.Correspondent{Enabled: true})
		s.correspondent.random.stop()
		if _, err := s.beginTrace(testNow, control.TraceRequest{Anew: true, Role: correspondentRole}); err != nil {
			t.Fatal(err)
		}
		init := mip6.Packet{Source: visiting, Destination: agentAddr, Message: mip6.CareOfTestInit{}}
		s.dispatch(testNow.Add(time.Second), role.MessageReceived{Packet: init})
		s.reconfigureCorrespondent(testNow.Add(2*time.Second), config.Correspondent{Enabled: true, MaxBindings: 5})
		s.dispatch(testNow.Add(3*time.Second), role.MessageReceived{Packet: init})
		played := 0
		for _, step := range s.playTrace(t) {
			if step.Entry.Role == want && step.Played && len(step.Notes) == 0 {
				played++
			}
		}
		if played != 4 {
			t.Errorf("%d steps of %q played", played, want)
		}
	}
}

// A role whose recording could not be begun keeps nothing for it.
func TestTraceNotBegun(t *testing.T) {
	s := tracedShell(t)
	x := &tap{keep: true}
	x.octets(make([]byte, 8))
	x.answers(func(netip.Addr) bool { return true })(agentAddr)
	s.record(quietMachine{}, x, nil, errors.New("it is too large"))
	if x.keep || x.drawn.Random != nil || x.drawn.Barred != nil {
		t.Errorf("%+v", x)
	}
}
