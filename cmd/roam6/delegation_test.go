package main

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// needKea skips a test where there is no Kea server.
func needKea(t *testing.T) {
	t.Helper()
	for _, file := range []string{"kea-dhcp6", "/usr/sbin/kea-dhcp6"} {
		if _, err := exec.LookPath(file); err == nil {
			return
		}
	}
	t.Skip("NOT TESTED: there is no Kea (apt-get install kea-dhcp6-server), which is to delegate prefixes")
}

// TestDelegation: a mobile router registers without any prefix, gets one through the
// tunnel, keeps it through handovers, renewals, its own restart and the home
// agent's, at home too, and gives it up for one of another pool (RFC 6276). What is
// on the wire is what RFC 6276 §3 demands.
//
// Covers: D1, D2, D3.
func TestDelegation(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	for _, args := range []string{
		"--handovers 2 --dwell 1200ms --probe-interval 4ms",
		"--handovers 2 --dwell 1200ms --probe-interval 4ms --crash --server kea",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			kea := strings.Contains(args, "kea")
			if kea {
				needKea(t)
			}
			_, capture := world(t, "delegation "+args, delegated())
			t.Run("tshark", func(t *testing.T) {
				dissect(t, capture)
				relayed(t, capture, kea, nil)
			})
		})
	}
}

// delegated is what a run of the scenario delegation measures.
func delegated() condition {
	return expected(8, "prefix_after_ms", "first_packet_ms", "renewals", "restart_router_down_ms", "restart_router_up_ms",
		"restart_home_agent_down_ms", "restart_home_agent_up_ms", "new_prefix_after_ms", "old_deprecated_after_ms", "forwarded_after", "new_connected_after_ms", "lost_new", "foreign_addresses")
}

// DHCPv6 messages (RFC 8415 §7.3).
const (
	dhcpSolicit, dhcpRenew, dhcpRebind, dhcpReply = 1, 5, 6, 7
	dhcpForward, dhcpBack                         = 12, 13
)

// relayed looks at every DHCPv6 message of a run of the scenario delegation. Away,
// between mobile router and home agent, there are Relay-forward messages with a Home
// Address option and Relay-reply messages with a type 2 routing header (RFC 6276 §3,
// §3.1.2); at home the router speaks by multicast, without a relay (§3.2); and what
// goes on to Kea is relayed once more (RFC 8415 §19.1.2). With the keys of IPsec, those
// of the router away are in ESP (RFC 6276 §4), and no others are.
func relayed(t *testing.T, file string, kea bool, keys []string) {
	t.Helper()
	const home, agent, server = "2001:db8:10::100", "2001:db8:10::1", "2001:db8:d::2"
	const group, client, relay = "ff02::1:2", "546", "547"
	linkLocal := func(a string) bool { return strings.HasPrefix(a, "fe80:") }
	away := func(a string) bool {
		return strings.HasPrefix(a, "2001:db8:a1:") || strings.HasPrefix(a, "2001:db8:a2:")
	}
	seen := map[string]int{}
	for _, row := range readingsWith(t, keys, file, "dhcpv6", "frame.number", "ipv6.src", "ipv6.dst", "ipv6.opt.mipv6.home_address", "ipv6.routing.mipv6.home_address",
		"ipv6.routing.segleft", "udp.srcport", "udp.dstport", "dhcpv6.msgtype", "dhcpv6.hopcount", "dhcpv6.linkaddr", "dhcpv6.peeraddr", "frame.protocols") {
		from, to, option, route, left, source, destination := row[1], row[2], row[3], row[4], row[5], row[6], row[7]
		messages, hops, links, peers := strings.Split(row[8], ","), row[9], row[10], row[11]
		kinds := make([]int, len(messages))
		for i, m := range messages {
			kinds[i], _ = strconv.Atoi(m)
		}
		inner := kinds[len(kinds)-1]
		good := false
		switch {
		case strings.Contains(row[12], "icmpv6"): // quoted by an error: nobody listens, for a moment
			continue
		case from == server || to == server:
			seen["Kea"]++
			good = option == "" && route == "" && source == relay && destination == relay && (from == agent || to == agent)
			if strings.Contains(hops, ",") { // of the router away
				good = good && len(kinds) == 3 && kinds[0] == kinds[1] && hops == "2,1" && links == "::,"+home && peers == home+","+home
			} else {
				good = good && len(kinds) == 2 && hops == "0" && links == agent && linkLocal(peers)
			}
		case away(from):
			seen["forward"]++
			seen["away "+strconv.Itoa(inner)]++
			good = to == agent && option == home && route == "" && kinds[0] == dhcpForward && len(kinds) == 2
		case away(to):
			seen["back"]++
			good = from == agent && option == "" && route == home && left == "1" && kinds[0] == dhcpBack && len(kinds) == 2
		case linkLocal(from) && to == group:
			seen["home "+strconv.Itoa(inner)]++
			good = len(kinds) == 1 && source == client && destination == relay && option == "" && route == ""
		case linkLocal(from) && linkLocal(to):
			seen["home reply"]++
			good = len(kinds) == 1 && inner == dhcpReply && source == relay && destination == client && option == "" && route == ""
		}
		if kinds[0] == dhcpForward || kinds[0] == dhcpBack {
			good = good && source == relay && destination == relay
			if away(from) || away(to) {
				good = good && hops == "1" && links == home && peers == home
			}
		}
		if sealed := slices.Contains(strings.Split(row[12], ":"), "esp"); sealed != (len(keys) > 0 && (away(from) || away(to))) {
			good = false
		}
		if !good {
			t.Errorf("frame %s: %q", row[0], row[1:])
		}
	}
	wanted := []string{"forward", "back", "home reply", "away " + strconv.Itoa(dhcpSolicit), "away " + strconv.Itoa(dhcpRebind)}
	if kea {
		wanted = append(wanted, "Kea")
	}
	for _, what := range wanted {
		if seen[what] == 0 {
			t.Errorf("no message of this kind: %s; there are %v", what, seen)
		}
	}
	if seen["home "+strconv.Itoa(dhcpRenew)]+seen["home "+strconv.Itoa(dhcpRebind)] == 0 {
		t.Errorf("the lease was not renewed at home: %v", seen)
	}
}
