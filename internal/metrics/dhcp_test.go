//go:build !nometrics

package metrics

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
)

// Every type of RFC 8415 §7.3 and every reason is there before the first event.
func TestDHCPFirstScrape(t *testing.T) {
	want := map[string]string{
		`roam6_dhcp_exchange_seconds_count`:                   "0",
		`roam6_dhcp_exchange_seconds_bucket{le="0.001"}`:      "0",
		`roam6_dhcp_messages_dropped_total{reason="unknown"}`: "",
		`roam6_dhcp_leases{kind="address"}`:                   "", // nobody to ask
		`roam6_delegated_prefixes`:                            "",
	}
	types := []string{"solicit", "advertise", "request", "confirm", "renew", "rebind", "reply", "release", "decline", "reconfigure",
		"information_request", "relay_forward", "relay_reply"}
	for _, kind := range types {
		want[fmt.Sprintf(`roam6_dhcp_messages_total{direction="sent",type=%q}`, kind)] = "0"
		want[fmt.Sprintf(`roam6_dhcp_messages_total{direction="received",type=%q}`, kind)] = "0"
	}
	for r := role.DropMalformed; r <= role.DropProhibited; r++ {
		want[fmt.Sprintf("roam6_dhcp_messages_dropped_total{reason=%q}", r)] = "0"
	}
	expect(t, samples(t, New("1")), want)
}

func TestDHCP(t *testing.T) {
	m := New("1")
	solicit, relayReply := []byte{1, 0xaa, 0xbb, 0xcc}, []byte{13}
	m.DHCPSent(solicit)
	m.DHCPSent(solicit)
	m.DHCPReceived([]byte{7, 0xaa, 0xbb, 0xcc})
	m.DHCPReceived([]byte{7, 0xaa, 0xbb, 0xcc}) // another server
	m.DHCPReceived(relayReply)
	m.DHCPReceived([]byte{0})   // of no type that is known: these are
	m.DHCPReceived([]byte{14})  // counted where they are dropped
	m.DHCPReceived([]byte{255}) //
	m.DHCPReceived(nil)
	m.DHCPDropped(role.DropMalformed)
	m.DHCPDropped(role.DropMalformed)
	m.Observe(&source{state: State{LeasedAddresses: 2, LeasedPrefixes: 1, Delegators: []Delegator{{Name: "a", Prefixes: 300}}}})
	expect(t, samples(t, m), map[string]string{
		`roam6_dhcp_messages_total{direction="sent",type="solicit"}`:         "2",
		`roam6_dhcp_messages_total{direction="received",type="solicit"}`:     "0",
		`roam6_dhcp_messages_total{direction="received",type="reply"}`:       "2",
		`roam6_dhcp_messages_total{direction="received",type="relay_reply"}`: "1",
		`roam6_dhcp_messages_dropped_total{reason="malformed"}`:              "2",
		`roam6_messages_dropped_total{reason="malformed"}`:                   "0",
		`roam6_dhcp_exchange_seconds_count`:                                  "1",
		`roam6_dhcp_leases{kind="address"}`:                                  "2",
		`roam6_dhcp_leases{kind="prefix"}`:                                   "1",
		`roam6_delegated_prefixes`:                                           "300",
	})
	// The same for people.
	want := []DHCPMessageCount{{"solicit", 2, 0}, {"reply", 0, 2}, {"relay_reply", 0, 1}}
	if got := m.DHCPMessages(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := m.DHCPMessagesDropped(); len(got) != 1 || got[role.DropMalformed] != 2 {
		t.Errorf("got %v", got)
	}
}

// RFC 8415 §16.1: the transaction identifier joins message and answer.
func TestDHCPExchanges(t *testing.T) {
	const (
		solicit, advertise, request, confirm = 1, 2, 3, 4
		renew, rebind, reply, release        = 5, 6, 7, 8
		decline, information, relay          = 9, 11, 12
	)
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	type step struct {
		ms       int
		received bool
		kind, id byte
	}
	many := []step{{kind: solicit, id: 200}}
	for i := range byte(16) {
		many = append(many, step{ms: 1 + int(i), kind: solicit, id: i})
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  string // number and sum
	}{
		{"two messages", []step{{0, false, solicit, 1}, {3, true, reply, 1}}, "1 0.003"},
		{"four messages", []step{{0, false, solicit, 1}, {3, true, advertise, 1}, {4, false, request, 2}, {8, true, reply, 2}}, "2 0.007"},
		{"retransmission", []step{{0, false, solicit, 1}, {1000, false, solicit, 1}, {1003, true, reply, 1}}, "1 1.003"},
		{"a second server", []step{{0, false, solicit, 1}, {3, true, advertise, 1}, {5, true, advertise, 1}}, "1 0.003"},
		{"somebody else's answer", []step{{0, false, solicit, 1}, {3, true, reply, 2}}, "0 0"},
		{"an answer to nothing", []step{{3, true, reply, 0}}, "0 0"},
		{"a clock that goes back", []step{{5, false, renew, 1}, {3, true, reply, 1}}, "1 0"},
		{"each kind", []step{{0, false, confirm, 1}, {1, true, reply, 1}, {0, false, renew, 2}, {1, true, reply, 2}, {0, false, rebind, 3}, {1, true, reply, 3},
			{0, false, release, 4}, {1, true, reply, 4}, {0, false, decline, 5}, {1, true, reply, 5}, {0, false, information, 6}, {1, true, reply, 6}}, "6 0.006"},
		{"a server's and a relay's", []step{{0, true, solicit, 1}, {1, false, reply, 1}, {0, false, relay, 2}, {1, true, reply, 2}}, "0 0"},
		{"too many: the oldest is forgotten", append(many, step{100, true, reply, 200}, step{101, true, reply, 0}, step{101, true, reply, 15}), "2 0.185"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := New("1")
			for _, s := range tt.steps {
				message := []byte{s.kind, 0, 0, s.id}
				if s.received {
					m.exchanges.received(at(s.ms), message)
				} else {
					m.exchanges.sent(at(s.ms), message)
				}
			}
			got := samples(t, m)
			var sum float64
			if _, err := fmt.Sscan(got["roam6_dhcp_exchange_seconds_sum"], &sum); err != nil {
				t.Fatal(err)
			}
			if s := fmt.Sprintf("%s %.4g", got["roam6_dhcp_exchange_seconds_count"], sum); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}
