package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/role"
	"roam6/internal/trace"
)

// A delegating router is recorded with its home agent, which its section names; anew, it has
// the leases of before.
func TestTraceDelegator(t *testing.T) {
	const file = `
config home_agent 'ha'
	option interface 'home0'
	option dad '0'
	option address '2001:db8:10::1'
	option prefix '2001:db8:10::/64'
	list delegation_pool '2001:db8:f000::/40'

config mobile 'train'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option router '1'
`
	for name, anew := range map[string]bool{"as it runs": false, "anew": true} {
		t.Run(name, func(t *testing.T) {
			s, _ := bareShell(t, file)
			s.config.HomeAgents[0].Interface = ""
			s.agents = []*agentHost{s.newAgentHost(testNow, s.config.HomeAgents[0], s.config.Mobiles)}
			s.agents[0].random.stop()
			lease := netip.MustParsePrefix("2001:db8:f000:100::/56")
			s.kept.save(keptName(keptDelegating+"ha"), []byte(`{"version":1,"mobiles":[{"home":"2001:db8:10::100","leases":[{"iaid":1,"prefix":"`+lease.String()+`","preferred":3600,"valid":7200}]}]}`))
			now := testNow
			s.applyDelegators(now)
			s.follow(now)
			before := s.delegators[0].machine
			delegated := func() bool {
				list := s.delegators[0].machine.Leases(now)
				return len(list) == 1 && list[0].Prefix == lease && len(s.agents[0].machine.Delegated()) == 1
			}
			if !delegated() {
				t.Fatal("nothing was delegated before")
			}
			if _, err := s.beginTrace(now, control.TraceRequest{Role: "ha", Anew: anew}); err != nil {
				t.Fatal(err)
			}
			s.follow(now)
			if (s.delegators[0].machine != before) != anew || !delegated() {
				t.Fatalf("another one: %t, delegated %t", s.delegators[0].machine != before, delegated())
			}
			now = now.Add(time.Minute)
			s.applyDelegators(now)
			s.config.HomeAgents[0].Delegation = nil
			s.applyDelegators(now)
			var starts []trace.Start
			played, ended := 0, false
			for _, step := range s.playTrace(t) {
				switch b := step.Entry.Begin; {
				case step.Entry.Role != delegatorRole+"ha":
				case b != nil:
					starts = append(starts, b.Start)
					if anew != strings.Contains(string(b.Saved), lease.String()) || anew == strings.Contains(string(b.State), lease.String()) {
						t.Errorf("begin %+v", b)
					}
				case step.Played:
					played++
				}
				ended = ended || step.Entry.End && step.Entry.Role == delegatorRole+"ha"
			}
			start, events := trace.StartUnknown, 0
			if anew {
				start, events = trace.StartNew, 3 // it tells its home agent, a configuration, the end
			}
			if len(starts) != 1 || starts[0] != start || played != events || !ended {
				t.Errorf("starts %v, %d events played, ended %t", starts, played, ended)
			}
		})
	}
}

// The DHCPv6 client of an uplink is recorded under the name of that, and begins anew only
// where it is named: it gives back what it has for that.
func TestTraceClient(t *testing.T) {
	const file = `
config prefix_request 'lan'
	option uplink 'up0'
	list downstream 'lan0'
`
	for name, tt := range map[string]struct {
		request control.TraceRequest
		anew    bool
	}{
		"as it runs": {control.TraceRequest{Role: "up0"}, false},
		"anew":       {control.TraceRequest{Role: "up0", Anew: true}, true},
		"of all":     {control.TraceRequest{Anew: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := bareShell(t, file)
			now := testNow
			up := role.Link{Index: 3, Name: "up0", Up: true, Carriers: 1, MTU: 1500}
			s.links[3] = up
			s.clientLinkChanged(now, role.Link{}, up)
			before := s.clients[3].machine
			if before == nil || s.clients[3].random.keep {
				t.Fatal("no client, or one that keeps what it draws")
			}
			if _, err := s.beginTrace(now, tt.request); err != nil {
				t.Fatal(err)
			}
			s.reapClients(now)
			u := s.clients[3]
			if (u.machine != before) != tt.anew || !u.random.keep {
				t.Fatalf("another one: %t", u.machine != before)
			}
			now = now.Add(2 * time.Second)
			s.timeouts(now)
			s.config.Uplinks = []config.UplinkOptions{{Name: "up0", NoRapidCommit: true}}
			s.applyRequests(now)
			s.clientLinkGone(now, 3)
			played, ended, sent := 0, false, 0
			for _, step := range s.playTrace(t) {
				if step.Entry.Role != clientRole+"up0" {
					t.Errorf("role %q", step.Entry.Role)
				}
				if step.Played {
					played++
				}
				ended = step.Entry.End
				for _, a := range step.Actions {
					if _, ok := a.(role.SendDHCP); ok {
						sent++
					}
				}
			}
			if tt.anew != (played >= 5) || tt.anew != (sent >= 2) || !ended || u.random.keep && s.tracing != nil {
				t.Errorf("%d played, %d messages, ended %t", played, sent, ended)
			}
		})
	}
}
