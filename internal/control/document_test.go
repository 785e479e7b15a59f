package control

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mn/homelink"
	"roam6/mn/region"
	"roam6/mn/ro"
	"roam6/overlay"
)

var update = flag.Bool("update", false, "write the golden files anew")

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ms(f float64) time.Duration   { return time.Duration(f * float64(time.Millisecond)) }

// now is the moment at which the documents below are made.
func now() time.Time { return time.Date(2026, 5, 4, 3, 2, 1, 234567891, time.UTC) }

func ago(d time.Duration) time.Time { return now().Add(-d) }

func sampleBindings() Bindings {
	return Bindings{Bindings: []Binding{
		{
			HomeAgent: "ha", Mobile: "train", HomeAddress: addr("2001:db8:1::2"), State: "active",
			CareOf:   []CareOf{{Address: addr("2001:db8:a1::7")}},
			Prefixes: []netip.Prefix{prefix("2001:db8:100::/64"), prefix("2001:db8:101::/64")}, Router: true,
			Sequence: 4711, Granted: Seconds(600 * time.Second), Remaining: Seconds(599123 * time.Millisecond),
			Created: Time{ago(26 * time.Hour)}, Age: Milliseconds(26 * time.Hour),
			Updated: Time{ago(877 * time.Millisecond)}, UpdateAge: Milliseconds(877 * time.Millisecond),
		},
		{
			HomeAgent: "ha", Mobile: "phone", HomeAddress: addr("2001:db8:1::3"), State: "active",
			CareOf: []CareOf{
				{Address: addr("2001:db8:a2::7"), BID: 1},
				{Address: addr("::ffff:192.0.2.9"), BID: 2, Port: 4191},
			},
			Prefixes: []netip.Prefix{}, Sequence: 1, Granted: Seconds(40 * time.Second), Remaining: Seconds(9990 * time.Millisecond),
			Created: Time{ago(90 * time.Second)}, Age: Milliseconds(90 * time.Second),
			Updated: Time{ago(30010 * time.Millisecond)}, UpdateAge: Milliseconds(30010 * time.Millisecond),
		},
		{
			HomeAgent: "ha", Mobile: "car", HomeAddress: addr("2001:db8:1::4"), State: "probing",
			CareOf: []CareOf{{Address: addr("2001:db8:a3::7")}}, Prefixes: []netip.Prefix{}, Sequence: 65535,
			Granted: Seconds(420 * time.Second), Remaining: Seconds(420 * time.Second),
			Created: Time{now()}, Updated: Time{now()},
		},
	}, Anchors: []AnchorBinding{
		{
			Anchor: "city", Visitor: "bus", Regional: addr("2001:db8:5::7"), OnLink: addr("2001:db8:a1::7"), State: "active", Sequence: 12,
			Granted: Seconds(300 * time.Second), Remaining: Seconds(299 * time.Second),
			Created: Time{ago(2 * time.Hour)}, Age: Milliseconds(2 * time.Hour), Updated: Time{ago(time.Second)}, UpdateAge: Milliseconds(time.Second),
		},
		{Anchor: "city", Regional: addr("2001:db8:5::8"), State: "probing", Sequence: 1, Created: Time{now()}, Updated: Time{now()}},
	}, Correspondent: []CorrespondentBinding{{
		HomeAddress: addr("2001:db8:9::7"), Address: addr("2001:db8:1::1"), CareOf: addr("2001:db8:a9::7"), Sequence: 65535,
		Granted: Seconds(420 * time.Second), Remaining: Seconds(61 * time.Second),
		Created: Time{ago(359 * time.Second)}, Age: Milliseconds(359 * time.Second),
	}}}
}

// sampleSnapshots are mobiles in all kinds of places.
func sampleSnapshots() []mn.Snapshot {
	away := mn.Snapshot{
		Name: "train", HomeAddress: addr("2001:db8:1::2"), HomeAgent: addr("2001:db8:1::1"),
		Attachment: role.Attachment{Link: "wan", Router: addr("fe80::a1"), CareOf: addr("2001:db8:a1::7")},
		Uplinks: []mn.Uplink{
			{Name: "wan", Index: 3, Up: true, Routers: []mn.Router{
				{Addr: addr("fe80::a1"), Prefixes: []netip.Prefix{prefix("2001:db8:a1::/64"), prefix("2001:db8:b1::/64")},
					Lifetime: 30 * time.Minute, Interval: 70 * time.Millisecond, Age: 12 * time.Millisecond},
				{Addr: addr("fe80::a2"), Lifetime: 9000 * time.Second, Age: 3 * time.Second},
			}},
			{Name: "wwan", Index: 4},
			{Name: "lte", Index: 5, Up: true, AvoidedFor: 4 * time.Second},
			{Name: "eth", Index: 6, Up: true, SteadyIn: 800 * time.Millisecond},
			{Name: "wlan", Index: 7, Up: true},
			{Name: "wwlan0", Missing: true},
		},
		Pending: role.Attachment{Link: "wlan"},
		Update: mn.Update{Sequence: 4711, Registered: true, CareOf: addr("2001:db8:a1::7"), Granted: 600 * time.Second,
			Remaining: 599123 * time.Millisecond, Pending: true},
		CareOfs: []mn.CareOf{
			{Addr: addr("2001:db8:a1::7"), Link: 3, Optimistic: true},
			{Addr: addr("2001:db8:a0::7"), Link: 3, Retired: true},
			{Addr: addr("2001:db8:a1::1f"), Link: 3, Leased: true, Optimistic: true},
			{Addr: addr("2001:db8:a5::7"), Link: 5, Foreign: true, Standby: true},
		},
		Peers: []ro.Peer{
			{Addr: addr("2001:db8:5::1"), State: ro.StateOptimised, CareOf: addr("2001:db8:a1::7"), Remaining: 400 * time.Second, Idle: 3 * time.Second, Sequence: 99},
			{Addr: addr("2001:db8:6::1"), State: ro.StateRefused, RetryAfter: time.Hour, Failures: 1},
		},
		Regional: []mn.Regional{
			{Anchor: addr("2001:db8:5::1"), CareOf: addr("2001:db8:5::7"), OnLink: addr("2001:db8:a1::7"), State: mn.RegionalInUse, Registered: true,
				Granted: 300 * time.Second, Remaining: 299 * time.Second, Sequence: 12},
			{Anchor: addr("2001:db8:6::1"), CareOf: addr("2001:db8:6::7"), OnLink: addr("2001:db8:a1::7"), State: mn.RegionalProspect, Pending: true, Sequence: 1},
			{Anchor: addr("2001:db8:7::1"), CareOf: addr("2001:db8:7::7"), OnLink: addr("2001:db8:a1::7"), Pending: true, Sequence: 65535},
		},
		Anchors: []mn.Anchor{
			{Address: addr("2001:db8:5::1"), Distance: 2, Preference: 10, Remaining: mip6.InfiniteLifetime, InUse: true},
			{Address: addr("2001:db8:6::1"), Distance: 3, Preference: 10, Remaining: 90 * time.Second},
			{Address: addr("2001:db8:7::1"), Distance: 1, Preference: 15, Obstacle: region.Failed},
		},
		Stats: mn.Stats{LocalUpdates: 5, LocalRetransmissions: 1, AnchorFailures: 2,
			LocalAcknowledgements: map[mip6.Status]uint64{mip6.StatusAccepted: 3, mip6.StatusAdministrativelyProhibited: 1}},
	}
	home := mn.Snapshot{
		Name: "van", HomeAddress: addr("2001:db8:1::3"), HomeAgent: addr("2001:db8:1::1"),
		Attachment: role.Attachment{Link: "lan", Router: addr("fe80::1"), CareOf: addr("2001:db8:1::3"), AtHome: true},
		Uplinks:    []mn.Uplink{{Name: "lan", Index: 2, Up: true, Routers: []mn.Router{{Addr: addr("fe80::1")}}}},
	}
	lost := away
	lost.Name, lost.Lost, lost.Update, lost.Uplinks, lost.Peers = "bus", true, mn.Update{Remaining: -time.Second}, nil, nil
	lost.Regional, lost.Stats = nil, mn.Stats{}
	refused := mn.Snapshot{Name: "tram", HomeAddress: addr("2001:db8:1::5"), HomeAgent: addr("2001:db8:1::1"),
		Attachment: away.Attachment, Update: mn.Update{Halted: true}}
	nowhere := mn.Snapshot{Name: "ship", HomeAddress: addr("2001:db8:1::6"), HomeAgent: addr("2001:db8:1::1")}
	return []mn.Snapshot{away, home, lost, refused, nowhere}
}

func sampleUpdates() Updates {
	var d Updates
	for _, s := range sampleSnapshots() {
		d.Updates = append(d.Updates, UpdateOf(s))
	}
	return d
}

func sampleAnchors() Anchors {
	d := Anchors{Anchors: []Anchor{
		{Name: "city", Address: addr("2001:db8:5::1"), Prefix: prefix("2001:db8:5::/64"), Ready: true,
			Served: []netip.Prefix{prefix("2001:db8:a000::/36"), prefix("2001:db8:b000::/36")}, MaxLifetime: Seconds(10 * time.Minute),
			Visitors: 3, Bindings: 2, Probing: 1, Limit: 12},
		{Name: "lab", Address: addr("2001:db8:6::1"), Prefix: prefix("2001:db8:6::/64"), Link: "eth1", Served: []netip.Prefix{},
			MaxLifetime: Seconds(10 * time.Minute), DAD: true, Insecure: true, Limit: 1024},
	}}
	for i, s := range sampleSnapshots()[:3] {
		if i == 1 {
			s.Anchors = nil // at home
		}
		d.Mobiles = append(d.Mobiles, KnownAnchorsOf(i < 2, s))
	}
	d.Mobiles[2].Anchors[0].InUse = false // nothing is where it is not wanted
	return d
}

func sampleHomeAgents() HomeAgents {
	return HomeAgents{
		Links: []LinkAgent{
			{HomeAgent: "ha", Addresses: []netip.Addr{addr("2001:db8:1::1")}, Preference: 10, Remaining: Seconds(1800 * time.Second), MobileRouter: true, Own: true},
			{HomeAgent: "ha", LinkLocal: addr("fe80::5"), Addresses: []netip.Addr{addr("2001:db8:1::5"), addr("2001:db8:2::5")}, Preference: -3, Remaining: Seconds(28 * time.Second)},
		},
		Mobiles: []KnownAgents{
			KnownAgentsOf("train", addr("2001:db8:1::2"), homelink.Snapshot{Agents: []homelink.Agent{
				{Addr: addr("2001:db8:1::1"), Origin: homelink.Configured, State: homelink.DidNotAnswer, RetryAfter: 30 * time.Second},
				{Addr: addr("2001:db8:1::5"), Origin: homelink.Discovered, State: homelink.Registered},
				{Addr: addr("2001:db8:1::6"), Origin: homelink.Heard, State: homelink.Candidate, Preference: 7},
			}}),
			KnownAgentsOf("van", addr("2001:db8:1::3"), homelink.Snapshot{Discovering: true}),
			KnownAgentsOf("tram", addr("2001:db8:1::4"), homelink.Snapshot{}),
		},
	}
}

func samplePrefixes() Prefixes {
	d := Prefixes{
		Home: []HomePrefix{
			{Side: "agent", Name: "ha", Prefix: prefix("2001:db8:1::/64"), Main: true, Preferred: Remaining(4 * time.Hour), Valid: Remaining(mip6.InfiniteLifetime)},
			{Side: "agent", Name: "ha", Prefix: prefix("2001:db8:2::/64"), Preferred: Remaining(0), Valid: Remaining(90 * time.Minute)},
		},
		Network: []NetworkPrefix{
			{Side: "agent", Name: "train", HomeAddress: addr("2001:db8:1::2"), Prefix: prefix("2001:db8:100::/64"), State: "registered", Origin: OriginConfigured},
			{Side: "agent", Name: "train", HomeAddress: addr("2001:db8:1::2"), Prefix: prefix("2001:db8:8000::/56"), State: "registered", Origin: OriginDelegated, Preferred: Remaining(59 * time.Minute), Valid: Remaining(119 * time.Minute)},
			{Side: "mobile", Name: "bus", HomeAddress: addr("2001:db8:3::2"), Prefix: prefix("2001:db8:300::/64"), State: "usable", Downstream: "br-lan", Origin: OriginConfigured},
			{Side: "mobile", Name: "bus", HomeAddress: addr("2001:db8:3::2"), Prefix: prefix("2001:db8:8000:100::/64"), State: "usable", Downstream: "br-lan", Origin: OriginDelegated, Preferred: Remaining(0), Valid: Remaining(90 * time.Second)},
		},
	}
	d.Home = append(d.Home, HomePrefixesOf("bus", addr("2001:db8:3::2"), homelink.Snapshot{Prefixes: []homelink.Prefix{
		{Prefix: prefix("2001:db8:3::/64"), Home: true, Preferred: mip6.InfiniteLifetime, Valid: mip6.InfiniteLifetime},
		{Prefix: prefix("2001:db8:4::/64"), Preferred: -time.Second, Valid: 3 * time.Hour},
	}})...)
	return d
}

func sampleUplinks() Uplinks {
	var d Uplinks
	for _, s := range sampleSnapshots() {
		d.Uplinks = append(d.Uplinks, UplinksOf(s)...)
	}
	return d
}

func sampleTunnels() Tunnels {
	return TunnelsOf("tun", []overlay.Status{
		{
			Tunnel: overlay.Tunnel{
				Key:   overlay.Key{Home: addr("2001:db8:1::2"), Side: overlay.AgentSide},
				Inner: []netip.Prefix{prefix("2001:db8:1::2/128"), prefix("2001:db8:100::/64")},
				Paths: []overlay.Path{
					{BID: 1, Local: addr("2001:db8:1::1"), Remote: addr("2001:db8:a1::7")},
					{BID: 2, Local: addr("::ffff:192.0.2.1"), Remote: addr("::ffff:192.0.2.9"), RemotePort: 4191},
				},
			},
			MTU: 1460, Since: ago(3 * time.Minute),
			Counters: overlay.Counters{EncapPackets: 12, EncapBytes: 999, DecapPackets: 7654321, DecapBytes: 5 << 30},
		},
		{
			Tunnel: overlay.Tunnel{
				Key:   overlay.Key{Home: addr("2001:db8:1::9"), Side: overlay.MobileSide},
				Inner: []netip.Prefix{prefix("2001:db8:1::9/128")},
				Paths: []overlay.Path{{Local: addr("2001:db8:a1::9"), Remote: addr("2001:db8:1::1"), Link: 3}},
			},
			MTU: 1460, Since: now(),
		},
		{
			Tunnel: overlay.Tunnel{
				Key:   overlay.Key{Home: addr("2001:db8:5::7"), Side: overlay.MobileSide},
				Inner: []netip.Prefix{prefix("2001:db8:5::7/128")},
				Paths: []overlay.Path{{Local: addr("2001:db8:a1::9"), Remote: addr("2001:db8:5::1"), Link: 3}},
			},
			MTU: 1460, Since: now(),
		},
		{
			Tunnel: overlay.Tunnel{
				Key:   overlay.Key{Home: addr("2001:db8:1::8"), Side: overlay.MobileSide},
				Inner: []netip.Prefix{prefix("2001:db8:1::8/128")},
				Paths: []overlay.Path{{Local: addr("2001:db8:5::7"), Remote: addr("2001:db8:1::1")}},
			},
			MTU: 1420, Since: now(),
		},
	}, []overlay.RouteStatus{
		{
			Route: overlay.Route{Pair: overlay.Pair{Home: addr("2001:db8:1::9"), Peer: addr("2001:db8:5::1"), Side: overlay.MobileSide},
				CareOf: addr("2001:db8:a1::9"), Link: 3},
			Since: ago(time.Minute), Counters: overlay.Counters{EncapPackets: 5, EncapBytes: 6000, DecapPackets: 4, DecapBytes: 40},
		},
		{Route: overlay.Route{Pair: overlay.Pair{Home: addr("2001:db8:9::9"), Peer: addr("2001:db8:1::9"), Side: overlay.CorrespondentSide},
			CareOf: addr("2001:db8:a9::9")}, Since: now()},
		{Route: overlay.Route{Pair: overlay.Pair{Home: addr("2001:db8:1::8"), Peer: addr("2001:db8:6::1"), Side: overlay.MobileSide},
			CareOf: addr("2001:db8:5::7")}, Since: now()},
	}, map[overlay.DropReason]uint64{overlay.DropNoTunnel: 3, overlay.DropTooBig: 0}, func(k overlay.Key) bool { return k.Home == addr("2001:db8:5::7") }, now())
}

// sampleMoves are an arrival, a move between links, and one that did not need a
// binding update.
func sampleMoves() []role.Handover {
	home := role.Attachment{Link: "lan", Router: addr("fe80::1"), CareOf: addr("2001:db8:1::2"), AtHome: true}
	one := role.Attachment{Link: "wan", Router: addr("fe80::a1"), CareOf: addr("2001:db8:a1::7")}
	start := func(d time.Duration) (time.Time, func(float64) time.Time) {
		s := ago(d).Truncate(time.Microsecond)
		return s, func(f float64) time.Time { return s.Add(ms(f)) }
	}
	first, f := start(25 * time.Hour)
	second, s := start(61 * time.Second)
	third, t := start(400 * time.Millisecond)
	return []role.Handover{
		{Home: addr("2001:db8:1::2"), To: home, Trigger: role.TriggerStart, Start: first, LinkUp: f(0), Advertised: f(33.5),
			CareOf: f(33.5), Acknowledged: f(33.5)},
		{Home: addr("2001:db8:1::2"), From: home, To: one, Trigger: role.TriggerLink, Start: second, LinkUp: s(5), Solicited: s(5.25),
			Advertised: s(8.125), CareOf: s(8.25), Updated: s(8.5), Acknowledged: s(28.75), Updates: 1},
		{Home: addr("2001:db8:1::2"), From: one, To: home, Trigger: role.TriggerSilence, Start: third, Advertised: t(200),
			CareOf: t(200.001), Updated: t(200.002), Updates: 2},
	}
}

func sampleHandovers() Handovers {
	d := Handovers{Handovers: []Handover{}}
	for _, h := range sampleMoves() {
		d.Handovers = append(d.Handovers, HandoverOf(h, now()))
	}
	return d
}

func sampleStats() Stats {
	return Stats{
		Version: "0.1.0", Uptime: Seconds(93784 * time.Second),
		MessagesDropped:  MessagesDroppedOf(map[role.DropReason]uint64{role.DropReplay: 2, role.DropChecksum: 0, role.DropMalformed: 17}),
		PacketsDropped:   map[string]uint64{"no_tunnel": 4},
		Acknowledgements: AcknowledgementsOf(map[mip6.Status]uint64{0: 7, 135: 1}, map[mip6.Status]uint64{200: 2, 0: 3}),
		Messages: []Messages{
			{Role: "mobile", Type: "home_test_init", Sent: 12},
			{Role: "correspondent", Type: "home_test_init", Received: 3},
		},
		DHCP:          []DHCPMessages{{Type: "solicit", Sent: 2}, {Type: "reply", Received: 1}},
		DHCPDropped:   map[string]uint64{"unsolicited": 5, "malformed": 0},
		Correspondent: &CorrespondentStats{Enabled: true, Bindings: 2},
		Mobile:        &MobileStats{UpdatesSent: 9, Retransmissions: 1, Handovers: 3, LocalUpdatesSent: 12, LocalRetransmissions: 2, AnchorFailures: 1},
		Anchor:        &AnchorStats{Visitors: 3, Bindings: 2, Limit: 12, Registrations: 5, Refreshes: 7, Moves: 6, Deregistrations: 2, Expirations: 1},
		Agent:         &AgentStats{Mobiles: 5, Bindings: 2, Probing: 1, Registrations: 4, Moves: 3},
		Daemon:        DaemonStats{RouterAdvertisementsSent: 123456, Reloads: 1, Budget: Budget{GCPercent: 50, MemoryLimit: 32, Processors: 4, Memory: 9 << 20}},
	}
}

func sampleStatus() Status {
	var roles []RoleStatus
	for i, s := range sampleSnapshots() {
		roles = append(roles, MobileStatus([]string{"mobile router", "mobile node"}[i%2], UpdateOf(s)))
	}
	return Status{
		Version: "0.1.0", Uptime: Seconds(93784 * time.Second), Plane: "kernel",
		Configuration: Configuration{File: "/etc/config/roam6", Loaded: Time{ago(3 * time.Hour)}, Age: Milliseconds(3 * time.Hour),
			Failed: &FailedReload{Time: Time{ago(2 * time.Minute)}, Age: Milliseconds(2 * time.Minute), Error: "roam6:12: no such option\nroam6:14: no such section"}},
		Roles: append(roles, RoleStatus{Kind: "home agent", Name: "ha", State: "3 bindings of 5 mobiles", Good: true},
			RoleStatus{Kind: "DHCPv6 client", Name: "wan", State: "soliciting"}),
		Trouble: []string{"17 messages were dropped because they were malformed"},
	}
}

func samples() map[Topic]Document {
	return map[Topic]Document{
		TopicStatus:   sampleStatus(),
		TopicBindings: sampleBindings(), TopicUpdates: sampleUpdates(), TopicTunnels: sampleTunnels(),
		TopicHomeAgents: sampleHomeAgents(), TopicPrefixes: samplePrefixes(), TopicUplinks: sampleUplinks(),
		TopicHandovers: sampleHandovers(), TopicStats: sampleStats(),
		TopicAnchors: sampleAnchors(), TopicLeases: sampleLeases(), TopicDelegations: sampleDelegations(), TopicAdvertisements: sampleAdvertisements(),
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// The JSON is an interface, the table what people see: both are fixed, and the
// table of a document that went through JSON is the same.
func TestDocuments(t *testing.T) {
	for topic, d := range samples() {
		t.Run(topic.String(), func(t *testing.T) {
			data, err := json.MarshalIndent(d, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, topic.String()+".json", append(data, '\n'))
			again, err := Decode(topic, data)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []Document{d, again} {
				var b bytes.Buffer
				if err := d.Render(&b); err != nil {
					t.Fatal(err)
				}
				golden(t, topic.String()+".txt", b.Bytes())
			}
		})
	}
}

func TestEmptyDocuments(t *testing.T) {
	for _, tt := range []struct {
		d    Document
		want string
	}{
		{Bindings{}, "no bindings\n"},
		{Updates{}, "no mobile nodes or routers\n"},
		{HomeAgents{}, "no home agents known\n"},
		{Prefixes{}, "no prefixes\n"},
		{Uplinks{}, "no mobile nodes or routers\n"},
		{Tunnels{Plane: "tun"}, "plane: tun\n\nno tunnels\n"},
		{Tunnels{}, "no tunnels\n"},
		{Handovers{}, "no handovers\n"},
		{Status{Version: "1", Configuration: Configuration{File: "roam6"}}, "roam6 1, up 0s\nconfiguration roam6, in force for 0s\n\nno roles\n"},
		{Leases{}, "no DHCPv6 clients\n"},
		{Delegations{}, "no delegated prefixes\n"},
		{Anchors{}, "no mobility anchor points\n"},
		{Anchors{Mobiles: []KnownAnchors{{Mobile: "train"}}}, "no mobility anchor points\n"},
	} {
		var b bytes.Buffer
		if err := tt.d.Render(&b); err != nil || b.String() != tt.want {
			t.Errorf("%T: %q, %v; want %q", tt.d, b.String(), err, tt.want)
		}
	}
}

// What the lab reads is what the daemon knows, to the microsecond.
func TestHandoverRoundTrip(t *testing.T) {
	for _, h := range sampleMoves() {
		data, err := json.Marshal(HandoverOf(h, now()))
		if err != nil {
			t.Fatal(err)
		}
		var d Handover
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		if got := d.Role(); !reflect.DeepEqual(got, h) {
			t.Errorf("got  %+v\nwant %+v", got, h)
		}
	}
	if got := parseTrigger("teleportation"); got != 0 {
		t.Errorf("unknown trigger: %v", got)
	}
}

func TestDurations(t *testing.T) {
	for _, tt := range []struct {
		d           time.Duration
		millis, sec string
	}{
		{0, "0", "0"},
		{time.Microsecond, "0.001", "0"},
		{1499 * time.Nanosecond, "0.001", "0"},
		{-1500 * time.Microsecond, "-1.5", "-0.002"},
		{262140 * time.Second, "262140000", "262140"},
		{599123456 * time.Microsecond, "599123.456", "599.123"},
	} {
		m, _ := json.Marshal(Milliseconds(tt.d))
		s, _ := json.Marshal(Seconds(tt.d))
		if string(m) != tt.millis || string(s) != tt.sec {
			t.Errorf("%v: %s ms, %s s; want %s, %s", tt.d, m, s, tt.millis, tt.sec)
		}
		var back Milliseconds
		if err := json.Unmarshal(m, &back); err != nil || time.Duration(back) != tt.d.Round(time.Microsecond) {
			t.Errorf("%s: %v, %v", m, time.Duration(back), err)
		}
	}
	for _, bad := range []string{`"1"`, "1e300", "-1e15", "{}"} {
		var s Seconds
		if err := json.Unmarshal([]byte(bad), &s); err == nil {
			t.Errorf("%s: taken for %v", bad, time.Duration(s))
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                             "0s",
		time.Microsecond:              "0ms",
		999999 * time.Microsecond:     "999ms",
		9999 * time.Millisecond:       "9.9s",
		3 * time.Second:               "3s",
		59999 * time.Millisecond:      "59s",
		time.Minute:                   "1m",
		3599 * time.Second:            "59m59s",
		25*time.Hour + 59*time.Minute: "1d1h",
		23*time.Hour + 59*time.Minute: "23h59m",
		-90 * time.Second:             "-1m30s",
		106751 * 24 * time.Hour:       "106751d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", int64(d), got, want)
		}
	}
}

func TestTopics(t *testing.T) {
	for _, topic := range Topics() {
		if got, err := ParseTopic(topic.String()); got != topic || err != nil {
			t.Errorf("%v: %v, %v", topic, got, err)
		}
	}
	_, err := ParseTopic("weather")
	if want := `unknown topic "weather": one of status, bindings, updates, home-agents, anchors, prefixes, uplinks, ra, leases, delegations, tunnels, handovers, stats`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
