package node

import (
	"net/netip"
	"testing"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/overlay"
)

// RFC 6276 §4: what a UDP socket hears between a home address and its agent was not in
// ESP, whichever way it came, and goes to nobody where there is a policy for the two;
// what comes at home, by link-local addresses, does (§3.2).
//
// Covers: D1, Attack: prefix hijack.
func TestUnprotectedDHCP(t *testing.T) {
	at := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 547) }
	linkLocal, other := netip.MustParseAddr("fe80::7"), netip.MustParseAddr("2001:db8:10::101")
	server := netip.MustParseAddr("2001:db8:d::2")
	for _, test := range []struct {
		name    string
		side    overlay.Side
		from    netip.Addr
		to      netip.Addr
		refused bool
	}{
		{"from the home address", overlay.AgentSide, securedHome, securedAgent, true},
		{"from a mobile without IPsec", overlay.AgentSide, other, securedAgent, false},
		{"from the router's link-local address", overlay.AgentSide, linkLocal, netip.MustParseAddr("ff02::1:2"), false},
		{"from the server elsewhere", overlay.AgentSide, server, securedAgent, false},
		{"from the home agent", overlay.MobileSide, securedAgent, securedHome, true},
		{"from another server", overlay.MobileSide, server, securedHome, false},
		{"from the home agent's link-local address", overlay.MobileSide, linkLocal, linkLocal.Next(), false},
		{"the other side's", overlay.MobileSide, securedHome, securedAgent, false},
	} {
		for _, policy := range []bool{true, false} {
			s, _ := bareShell(t, renumberedFile)
			s.events = make(chan role.Event, 4)
			s.listed.Store(true)
			s.ipsec.policies = esp.NewPolicies(randomOctets)
			if policy {
				if err := s.ipsec.policies.Replace([]esp.Policy{securedPolicy(test.side, false)}); err != nil {
					t.Fatal(err)
				}
			}
			want := test.refused && policy
			s.deliverDHCP(role.DHCPReceived{Link: 1, From: at(test.from), To: at(test.to), Message: []byte("message")})
			if n := s.metrics.DHCPMessagesDropped()[role.DropUnauthenticated]; (n == 1) != want || len(s.events) == int(n) {
				t.Errorf("%s, policy %v: %d dropped, %d delivered", test.name, policy, n, len(s.events))
			}
			if got := s.ipsec.relays(test.to, test.from); got != want {
				t.Errorf("%s, policy %v: the data plane hears %v", test.name, policy, got)
			}
		}
	}
	var none protection
	if none.relays(securedHome, securedAgent) {
		t.Error("without anything of Mobile IPv6 there is a policy")
	}
}
