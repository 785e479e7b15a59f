//go:build !nometrics

package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/overlay"
)

// samples returns the samples of the text format by name and labels.
func samples(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	s := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			i := strings.LastIndexByte(line, ' ')
			s[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return s
}

// expect compares samples; a value of "" means that there is none.
func expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %q, want %q", name, got[name], value)
		}
	}
}

// Rates work from the first scrape only if the counters are there before the
// first event.
func TestFirstScrape(t *testing.T) {
	s := samples(t, New("1.2.3"))
	want := map[string]string{
		`roam6_build_info{version="1.2.3"}`:                             "1",
		"roam6_router_advertisements_sent_total":                        "0",
		`roam6_reloads_total{result="success"}`:                         "0",
		`roam6_reloads_total{result="failure"}`:                         "0",
		`roam6_last_reload_successful`:                                  "1",
		`roam6_messages_dropped_total{reason="unknown"}`:                "",
		`roam6_handover_phase_seconds_bucket{phase="total",le="0.001"}`: "0",
		`roam6_handover_phase_seconds_bucket{phase="total",le="10"}`:    "0",
		`roam6_handover_phase_seconds_bucket{phase="total",le="+Inf"}`:  "0",
		`roam6_bindings`: "", // nobody to ask
	}
	for r := role.DropMalformed; r <= role.DropProhibited; r++ {
		want[fmt.Sprintf("roam6_messages_dropped_total{reason=%q}", r)] = "0"
	}
	for _, message := range []string{
		"mobile,sent: binding_update home_test_init care_of_test_init home_agent_address_discovery_request mobile_prefix_solicitation",
		"mobile,received: binding_acknowledgement binding_refresh_request home_test care_of_test binding_error home_agent_address_discovery_reply mobile_prefix_advertisement",
		"agent,sent: binding_acknowledgement binding_refresh_request home_agent_address_discovery_reply mobile_prefix_advertisement",
		"agent,received: binding_update home_agent_address_discovery_request mobile_prefix_solicitation",
		"anchor,sent: binding_acknowledgement binding_refresh_request",
		"anchor,received: binding_update",
		"correspondent,sent: home_test care_of_test binding_acknowledgement binding_refresh_request binding_error",
		"correspondent,received: home_test_init care_of_test_init binding_update",
		"node,sent: binding_error",
	} {
		head, types, _ := strings.Cut(message, ": ")
		who, direction, _ := strings.Cut(head, ",")
		for _, kind := range strings.Fields(types) {
			want[fmt.Sprintf("roam6_messages_total{direction=%q,role=%q,type=%q}", direction, who, kind)] = "0"
		}
	}
	for tr := role.TriggerStart; tr <= role.TriggerExpiry; tr++ {
		want[fmt.Sprintf("roam6_handovers_total{trigger=%q}", tr)] = "0"
	}
	for _, who := range []string{"sent agent", "sent anchor", "sent correspondent", "received mobile"} {
		direction, who, _ := strings.Cut(who, " ")
		acks := func(status int) string {
			return fmt.Sprintf(`roam6_binding_acknowledgements_total{direction=%q,role=%q,status="%d"}`, direction, who, status)
		}
		for _, status := range []int{0, 1, 128, 135, 146, 174} {
			want[acks(status)] = "0"
		}
		want[acks(2)] = ""
	}
	for _, phase := range []string{"link", "solicit", "advertise", "configure", "update", "acknowledge", "total"} {
		want[fmt.Sprintf("roam6_handover_phase_seconds_count{phase=%q}", phase)] = "0"
	}
	expect(t, s, want)
	messages := 0
	for name := range s {
		if strings.HasPrefix(name, "roam6_messages_total{") {
			messages++
		}
	}
	if messages != 31 {
		t.Errorf("%d kinds of messages from the start, want 31", messages)
	}
	if s["process_start_time_seconds"] == "" || s["process_resident_memory_bytes"] == "" {
		t.Error("process metrics are missing")
	}
}

func TestEvents(t *testing.T) {
	m := New("1")
	m.Dropped(role.DropReplay)
	m.Dropped(role.DropReplay)
	m.Acknowledged(RoleAgent, role.Acknowledged{Status: mip6.StatusSequenceOutOfWindow, Sent: true})
	m.Acknowledged(RoleAnchor, role.Acknowledged{Status: mip6.StatusSequenceOutOfWindow, Sent: true})
	m.Acknowledged(RoleAnchor, role.Acknowledged{Status: mip6.StatusAdministrativelyProhibited, Sent: true})
	m.Acknowledged(RoleMobile, role.Acknowledged{Status: 200})
	m.Acknowledged(RoleNode, role.Acknowledged{Status: mip6.StatusHomeRegistrationNotSupported, Sent: true})
	m.Sent(RoleMobile, mip6.TypeHomeTestInit)
	m.Sent(RoleMobile, mip6.TypeHomeTestInit)
	m.Received(RoleCorrespondent, mip6.TypeHomeTestInit)
	m.Received(RoleMobile, mip6.TypeBindingUpdate) // not its business, and yet counted
	m.Received(RoleNode, 200)                      // of no type that is known
	m.SentICMP(RoleMobile, mip6.ICMPHomeAgentRequest)
	m.ReceivedICMP(RoleAgent, mip6.ICMPPrefixSolicitation)
	m.ReceivedICMP(RoleAgent, 128)
	m.AdvertisementSent()
	m.Reloaded(nil)
	m.Reloaded(errors.New("line 3"))
	m.Reloaded(errors.New("line 4"))
	m.OutageEnded(300 * time.Millisecond)
	expect(t, samples(t, m), map[string]string{
		`roam6_messages_dropped_total{reason="replay"}`:                                                    "2",
		`roam6_messages_dropped_total{reason="checksum"}`:                                                  "0",
		`roam6_binding_acknowledgements_total{direction="sent",role="agent",status="135"}`:                 "1",
		`roam6_binding_acknowledgements_total{direction="sent",role="anchor",status="135"}`:                "1",
		`roam6_binding_acknowledgements_total{direction="sent",role="anchor",status="129"}`:                "1",
		`roam6_binding_acknowledgements_total{direction="sent",role="agent",status="129"}`:                 "0",
		`roam6_binding_acknowledgements_total{direction="sent",role="node",status="131"}`:                  "1",
		`roam6_binding_acknowledgements_total{direction="received",role="mobile",status="135"}`:            "0",
		`roam6_binding_acknowledgements_total{direction="received",role="mobile",status="200"}`:            "1",
		`roam6_messages_total{direction="sent",role="mobile",type="home_test_init"}`:                       "2",
		`roam6_messages_total{direction="received",role="correspondent",type="home_test_init"}`:            "1",
		`roam6_messages_total{direction="received",role="mobile",type="binding_update"}`:                   "1",
		`roam6_messages_total{direction="sent",role="mobile",type="home_agent_address_discovery_request"}`: "1",
		`roam6_messages_total{direction="received",role="agent",type="mobile_prefix_solicitation"}`:        "1",
		`roam6_router_advertisements_sent_total`:                                                           "1",
		`roam6_reloads_total{result="success"}`:                                                            "1",
		`roam6_reloads_total{result="failure"}`:                                                            "2",
		`roam6_last_reload_successful`:                                                                     "0",
		`roam6_outage_duration_seconds_sum`:                                                                "0.3",
		`roam6_outage_duration_seconds_bucket{le="0.2"}`:                                                   "0",
		`roam6_outage_duration_seconds_bucket{le="0.3"}`:                                                   "1",
	})
	want := []MessageCount{
		{RoleMobile, "home_test_init", 2, 0}, {RoleMobile, "binding_update", 0, 1}, {RoleMobile, "home_agent_address_discovery_request", 1, 0},
		{RoleAgent, "mobile_prefix_solicitation", 0, 1}, {RoleCorrespondent, "home_test_init", 0, 1},
	}
	if got := m.Messages(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// The same for people.
	sent, received := m.Acknowledgements()
	succeeded, failed := m.Reloads()
	got := fmt.Sprint(m.MessagesDropped(), len(sent), sent[135], len(received), received[200], m.Advertisements(), succeeded, failed)
	if want := "map[replay:2] 3 2 1 1 1 1 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHandover(t *testing.T) {
	start := time.Now()
	at := func(f float64) time.Time { return start.Add(time.Duration(f * float64(time.Millisecond))) }
	tests := []struct {
		name string
		h    role.Handover
		want string // the phases that took place, in ms
	}{
		{"link event", role.Handover{Trigger: role.TriggerLink, LinkUp: at(5), Solicited: at(5.5), Advertised: at(8), CareOf: at(8.25), Updated: at(8.5), Acknowledged: at(30)},
			"link 5 solicit 0.5 advertise 2.5 configure 0.25 update 0.25 acknowledge 21.5 total 30"},
		{"silence", role.Handover{Trigger: role.TriggerSilence, Advertised: at(200), CareOf: at(200), Updated: at(201), Acknowledged: at(221)},
			"advertise 200 configure 0 update 1 acknowledge 20 total 221"},
		{"solicited before the start, start at the link", role.Handover{Trigger: role.TriggerLink, LinkUp: at(0), Solicited: at(-1), Advertised: at(3), CareOf: at(3), Updated: at(3), Acknowledged: at(23)},
			"link 0 solicit 0 advertise 3 configure 0 update 0 acknowledge 20 total 23"},
		{"without an update", role.Handover{Trigger: role.TriggerStart, Advertised: at(10), CareOf: at(10), Acknowledged: at(10)},
			"advertise 10 configure 0 acknowledge 0 total 10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New("1")
			tt.h.Start = start
			m.Handover(tt.h)
			s := samples(t, m)
			var got []string
			for _, p := range phaseNames() {
				if s[fmt.Sprintf("roam6_handover_phase_seconds_count{phase=%q}", p)] == "1" {
					var seconds float64
					if _, err := fmt.Sscan(s[fmt.Sprintf("roam6_handover_phase_seconds_sum{phase=%q}", p)], &seconds); err != nil {
						t.Fatal(err)
					}
					got = append(got, fmt.Sprintf("%s %.4g", p, seconds*1000))
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), tt.want)
			}
			expect(t, s, map[string]string{fmt.Sprintf("roam6_handovers_total{trigger=%q}", tt.h.Trigger): "1"})
		})
	}
}

// source is a Source for tests.
type source struct {
	state State
	err   error
}

func (s *source) State(context.Context) (State, error) { return s.state, s.err }

func mobile(host byte, registered bool, remaining time.Duration, stats mn.Stats) mn.Snapshot {
	s := mn.Snapshot{HomeAddress: netip.AddrFrom16([16]byte{0x20, 0x01, 15: host}), Stats: stats}
	s.Update.Registered, s.Update.Remaining, s.Update.Granted = registered, remaining, 121*time.Second
	return s
}

// aState is one in which nothing is zero that a metric tells.
func aState() State {
	one := mobile(1, true, 90*time.Second, mn.Stats{UpdatesSent: 10, Retransmissions: 2, Duplicates: 1, LocalUpdates: 7, LocalRetransmissions: 3, AnchorFailures: 2})
	// By an anchor; the second one has left its own behind.
	one.Update.CareOf = netip.MustParseAddr("2001:db8:5::7")
	one.Regional = []mn.Regional{{CareOf: one.Update.CareOf}}
	one.Uplinks = []mn.Uplink{{Up: true}, {}}
	two := mobile(2, true, 60500*time.Millisecond, mn.Stats{UpdatesSent: 5, LocalUpdates: 1})
	two.Update.CareOf, two.Regional = netip.MustParseAddr("2001:db8:a1::7"), one.Regional
	three := mobile(3, false, 0, mn.Stats{})
	three.Attachment.AtHome = true
	return State{
		Mobiles: []mn.Snapshot{one, two, three},
		Agents:  []Agent{{Name: "a", Bindings: 7, Limit: 10, Duplicates: 3, Changes: BindingChanges{Registrations: 9, Refreshes: 40, Moves: 30, Deregistrations: 1, Expirations: 1}}, {Name: "b", Bindings: 1, Limit: 5, Changes: BindingChanges{Moves: 2}}},
		Anchors: []Anchor{{Name: "a", Bindings: 2, Limit: 8, Duplicates: 1, Changes: BindingChanges{Registrations: 2}}, {Name: "b", Bindings: 1, Limit: 100, Duplicates: 4}},
		Plane:   "tun",
		Tunnels: []overlay.Status{
			{Tunnel: overlay.Tunnel{Key: overlay.Key{Home: one.HomeAddress, Side: overlay.MobileSide}},
				Counters: overlay.Counters{EncapPackets: 1, EncapBytes: 100, DecapPackets: 2, DecapBytes: 200}},
			{Tunnel: overlay.Tunnel{Key: overlay.Key{Home: one.HomeAddress, Side: overlay.AgentSide}},
				Counters: overlay.Counters{EncapPackets: 10, EncapBytes: 1000, DecapPackets: 20, DecapBytes: 2000}},
		},
		Routes: []overlay.RouteStatus{
			{Route: overlay.Route{Pair: overlay.Pair{Home: one.HomeAddress, Side: overlay.MobileSide}},
				Counters: overlay.Counters{EncapPackets: 5, EncapBytes: 500, DecapPackets: 6, DecapBytes: 600}},
			{Route: overlay.Route{Pair: overlay.Pair{Home: one.HomeAddress, Side: overlay.CorrespondentSide}},
				Counters: overlay.Counters{EncapPackets: 50, EncapBytes: 5000, DecapPackets: 60, DecapBytes: 6000}},
		},
		Connected: 2, Outages: 12500 * time.Millisecond,
		CorrespondentBindings: 4, CorrespondentLimit: 50, CorrespondentChanges: BindingChanges{Expirations: 3},
		LeasedAddresses: 1, LeasedPrefixes: 2,
		Delegators:      []Delegator{{Name: "a", Prefixes: 2, Exhaustions: 4}, {Name: "b", Prefixes: 1, Exhaustions: 1}},
		Drops:           map[overlay.DropReason]uint64{overlay.DropNoTunnel: 4, overlay.DropTooBig: 0},
		NetlinkOverruns: 6, EventsLost: 8,
	}
}

func TestState(t *testing.T) {
	m := New("1")
	src := &source{}
	m.Observe(src)
	expect(t, samples(t, m), map[string]string{
		"roam6_mobiles": "0", "roam6_registered": "0", "roam6_registration_remaining_seconds": "", "roam6_bindings": "0",
		"roam6_bindings_limit": "", "roam6_binding_updates_sent_total": "0", "roam6_netlink_overruns_total": "0",
		`roam6_duplicate_addresses_total{address="care_of"}`: "0", `roam6_duplicate_addresses_total{address="home"}`: "0",
		`roam6_duplicate_addresses_total{address="regional"}`: "0", "roam6_anchored": "0", "roam6_anchor_bindings": "0",
		"roam6_anchor_bindings_limit": "", "roam6_local_binding_updates_sent_total": "0", "roam6_anchor_failures_total": "0",
		"roam6_connected": "0", "roam6_outage_seconds_total": "0", "roam6_outage_duration_seconds_count": "0", "roam6_registration_remaining_ratio": "",
		"roam6_correspondent_bindings_limit": "", "roam6_delegation_exhaustions_total": "0", "roam6_events_lost_total": "0",
		`roam6_binding_changes_total{change="move",role="agent"}`: "0", `roam6_binding_changes_total{change="expiration",role="correspondent"}`: "0",
	})

	src.state = aState()
	one, two := src.state.Mobiles[0], src.state.Mobiles[1]
	want := map[string]string{
		"roam6_mobiles": "3", "roam6_registered": "2", "roam6_at_home": "1", "roam6_uplinks_up": "1",
		"roam6_registration_remaining_seconds": "60.5", "roam6_bindings": "8", "roam6_bindings_limit": "15",
		"roam6_binding_updates_sent_total": "15", "roam6_binding_update_retransmissions_total": "2", "roam6_netlink_overruns_total": "6",
		`roam6_duplicate_addresses_total{address="care_of"}`: "1", `roam6_duplicate_addresses_total{address="home"}`: "3",
		`roam6_duplicate_addresses_total{address="regional"}`: "5", "roam6_anchored": "1", "roam6_anchor_bindings": "3", "roam6_anchor_bindings_limit": "108",
		"roam6_connected": "2", "roam6_outage_seconds_total": "12.5", "roam6_registration_remaining_ratio": "0.5",
		"roam6_correspondent_bindings_limit": "50", "roam6_delegation_exhaustions_total": "5", "roam6_delegated_prefixes": "3", "roam6_events_lost_total": "8",
		`roam6_binding_changes_total{change="move",role="agent"}`: "32", `roam6_binding_changes_total{change="registration",role="agent"}`: "9",
		`roam6_binding_changes_total{change="refresh",role="agent"}`: "40", `roam6_binding_changes_total{change="deregistration",role="agent"}`: "1",
		`roam6_binding_changes_total{change="registration",role="anchor"}`: "2", `roam6_binding_changes_total{change="expiration",role="correspondent"}`: "3",
		"roam6_local_binding_updates_sent_total": "8", "roam6_local_binding_update_retransmissions_total": "3", "roam6_anchor_failures_total": "2",
		`roam6_tunnels{plane="tun"}`:                  "2",
		`roam6_tunnel_packets_total{direction="out"}`: "11", `roam6_tunnel_packets_total{direction="in"}`: "22",
		`roam6_tunnel_bytes_total{direction="out"}`: "1100", `roam6_tunnel_bytes_total{direction="in"}`: "2200",
		"roam6_correspondent_bindings": "4", `roam6_optimised_routes{side="mobile"}`: "1", `roam6_optimised_routes{side="correspondent"}`: "1",
		`roam6_optimised_packets_total{direction="out"}`: "55", `roam6_optimised_packets_total{direction="in"}`: "66",
		`roam6_optimised_bytes_total{direction="out"}`: "5500", `roam6_optimised_bytes_total{direction="in"}`: "6600",
		`roam6_packets_dropped_total{plane="tun",reason="no_tunnel"}`: "4", `roam6_packets_dropped_total{plane="tun",reason="too_big"}`: "0",
	}
	expect(t, samples(t, m), want)
	expect(t, samples(t, m), want) // a second look changes nothing

	// A mobile, an agent and a tunnel that go take their past with them; the
	// counters keep it. What comes anew with the same name counts from zero.
	one.Stats.UpdatesSent = 3
	src.state.Mobiles = []mn.Snapshot{one}
	src.state.Agents, src.state.Anchors = src.state.Agents[1:], nil
	src.state.Tunnels = slices.Clone(src.state.Tunnels[1:])
	src.state.Routes = src.state.Routes[1:]
	src.state.Tunnels[0].Counters = overlay.Counters{EncapPackets: 12, EncapBytes: 1, DecapPackets: 20, DecapBytes: 2000}
	expect(t, samples(t, m), map[string]string{
		"roam6_binding_updates_sent_total": "18", "roam6_registered": "1", "roam6_bindings": "1",
		"roam6_local_binding_updates_sent_total": "8", "roam6_anchor_bindings": "0", "roam6_anchor_bindings_limit": "", `roam6_duplicate_addresses_total{address="regional"}`: "5",
		`roam6_duplicate_addresses_total{address="home"}`:         "3",
		`roam6_binding_changes_total{change="move",role="agent"}`: "32", `roam6_binding_changes_total{change="registration",role="anchor"}`: "2",
		`roam6_optimised_routes{side="mobile"}`: "0", `roam6_optimised_packets_total{direction="out"}`: "55",
		`roam6_tunnel_packets_total{direction="out"}`: "13", `roam6_tunnel_bytes_total{direction="out"}`: "1101",
		`roam6_tunnel_packets_total{direction="in"}`: "22", `roam6_tunnel_bytes_total{direction="in"}`: "2200",
	})
	src.state.Mobiles = []mn.Snapshot{one, two}
	expect(t, samples(t, m), map[string]string{"roam6_binding_updates_sent_total": "23"})
}

// Roles that do not answer cost their own metrics, not the others.
func TestStateFails(t *testing.T) {
	m := New("1")
	m.Observe(&source{err: context.DeadlineExceeded})
	text, err := m.Text()
	if err == nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "asking the roles: context deadline exceeded") {
		t.Errorf("got %v", err)
	}
	if s := string(text); !strings.Contains(s, "roam6_router_advertisements_sent_total 0\n") || strings.Contains(s, "roam6_bindings") {
		t.Errorf("got %s", s)
	}
}

func BenchmarkDropped(b *testing.B) {
	m := New("1")
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			m.Dropped(role.DropReplay)
		}
	})
}

func BenchmarkText(b *testing.B) {
	m := New("1")
	m.Observe(&source{state: State{Plane: "tun"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Text(); err != nil {
			b.Fatal(err)
		}
	}
}
