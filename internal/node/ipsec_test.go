package node

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

var (
	securedHome  = netip.MustParseAddr("2001:db8:10::100")
	securedAgent = netip.MustParseAddr("2001:db8:10::1")
	securedAt    = netip.MustParseAddr("2001:db8:a1::7")
)

func securedPolicy(side overlay.Side, tunnel bool) esp.Policy {
	sa := func(spi uint32) esp.Association {
		return esp.Association{SPI: spi, Algorithm: esp.AESCBCSHA256, Key: esp.Key(strings.Repeat("k", 48))}
	}
	p := esp.Policy{Home: securedHome, Agent: securedAgent, Side: side, Out: sa(1000), In: sa(1001)}
	if tunnel {
		out, in := sa(1002), sa(1003)
		p.TunnelOut, p.TunnelIn = &out, &in
	}
	return p
}

// The policies of all mobiles, of both sides, are put in force, and roles that have
// one take nothing without ESP.
func TestPoliciesOfTheConfiguration(t *testing.T) {
	mobileSide, agentSide := securedPolicy(overlay.MobileSide, true), securedPolicy(overlay.AgentSide, true)
	c := &config.Config{
		MobileNodes: []config.MobileNode{{Name: "plain"}, {Name: "train", ESP: []esp.Policy{mobileSide}}},
		Mobiles:     []config.Mobile{{Name: "plain", HomeAgent: "home"}, {Name: "bus", HomeAgent: "home", ESP: &agentSide}},
	}
	if got := policies(c); !slices.Equal(got, []esp.Policy{mobileSide, agentSide}) {
		t.Errorf("policies %+v", got)
	}
	if got := policies(&config.Config{}); len(got) != 0 {
		t.Errorf("policies of nothing: %+v", got)
	}
	for i, want := range []bool{false, true} {
		if got := mobileConfig(c.MobileNodes[i], surroundings{}, 0).ESP; got != want {
			t.Errorf("%s: ESP %v", c.MobileNodes[i].Name, got)
		}
		a := agentConfig(config.HomeAgent{Name: "home", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:10::/64")}}, c.Mobiles, nil)
		if a.Mobiles[i].ESP != want || a.Mobiles[i].Insecure == want {
			t.Errorf("%s: ESP %v, insecure %v", a.Mobiles[i].Name, a.Mobiles[i].ESP, a.Mobiles[i].Insecure)
		}
	}
}

// The data plane learns from the policies which tunnels carry no home test without
// ESP: by home address, agent and side; what the roles said is not changed.
func TestProtectedTunnels(t *testing.T) {
	tunnel := func(side overlay.Side, agent netip.Addr) *overlay.Tunnel {
		p := overlay.Path{Local: securedAt, Remote: agent}
		if side == overlay.AgentSide {
			p = overlay.Path{Local: agent, Remote: securedAt}
		}
		return &overlay.Tunnel{Key: overlay.Key{Home: securedHome, Side: side}, Paths: []overlay.Path{p}}
	}
	for _, test := range []struct {
		name   string
		policy *esp.Policy
		tunnel *overlay.Tunnel
		want   bool
	}{
		{"mobile", ptr(securedPolicy(overlay.MobileSide, true)), tunnel(overlay.MobileSide, securedAgent), true},
		{"agent", ptr(securedPolicy(overlay.AgentSide, true)), tunnel(overlay.AgentSide, securedAgent), true},
		{"the other side's", ptr(securedPolicy(overlay.AgentSide, true)), tunnel(overlay.MobileSide, securedAgent), false},
		{"another agent", ptr(securedPolicy(overlay.MobileSide, true)), tunnel(overlay.MobileSide, securedAgent.Next()), false},
		{"updates only", ptr(securedPolicy(overlay.MobileSide, false)), tunnel(overlay.MobileSide, securedAgent), false},
		{"no policy", nil, tunnel(overlay.MobileSide, securedAgent), false},
	} {
		p := protection{policies: esp.NewPolicies(randomOctets)}
		if test.policy != nil {
			if err := p.policies.Replace([]esp.Policy{*test.policy}); err != nil {
				t.Fatal(err)
			}
		}
		given := []overlay.Change{{Remove: test.tunnel.Key}, {Set: test.tunnel}}
		got := p.mark(given)
		if len(got) != 2 || got[0] != given[0] || got[1].Set.Protected != test.want || test.tunnel.Protected {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
	var none protection
	if got := none.mark([]overlay.Change{{Set: tunnel(overlay.MobileSide, securedAgent)}}); len(got) != 1 || got[0].Set.Protected {
		t.Errorf("without IPsec: %+v", got)
	}
}

// A home address that a mobile forms itself has no keys (RFC 3776 §4.2): none is
// used, the old one goes on, and the administrator learns why. A reload with keys
// ends the ones that there are.
func TestNoKeysForFormedHomeAddress(t *testing.T) {
	s, log := bareShell(t, renumberedFile)
	s.config.MobileNodes[0].ESP = []esp.Policy{securedPolicy(overlay.MobileSide, true)}
	s.mobiles = []*mobileHost{newMobileHost(s.config.MobileNodes[0], s.surroundings(s.config.MobileNodes[0]), 1)}
	formed := netip.MustParsePrefix("2001:db8:11::100/64")
	s.homeAddressFormed(role.HomeAddressFormed{From: homeOf(s.config.MobileNodes[0]), To: formed})
	s.reap(testNow)
	if len(s.mobiles) != 1 || len(s.formed) != 0 {
		t.Errorf("%d mobiles, formed %+v", len(s.mobiles), s.formed)
	}
	if text := log.String(); !strings.Contains(text, "IPsec has no keys for a new home address") || !strings.Contains(text, "new_home=2001:db8:11::100/64") {
		t.Errorf("the administrator is not told:\n%s", text)
	}

	s.config.MobileNodes[0].ESP = nil
	reparse(t, s, testNow, renumberedFile)
	s.homeAddressFormed(role.HomeAddressFormed{From: homeOf(s.config.MobileNodes[0]), To: formed})
	s.reap(testNow)
	if len(s.formed) != 1 {
		t.Errorf("without IPsec formed %+v", s.formed)
	}
	c := *s.config
	c.MobileNodes = slices.Clone(c.MobileNodes)
	c.MobileNodes[0].ESP = []esp.Policy{securedPolicy(overlay.MobileSide, true)}
	if got := s.wantedMobiles(&c); len(got) != 1 || len(s.formed) != 0 {
		t.Errorf("with IPsec there are %d mobiles", len(got))
	}
}

// Home tests that can be read are worth a warning, and only with route
// optimisation.
func TestWarnReadable(t *testing.T) {
	for _, test := range []struct {
		name   string
		routes config.RouteOptimisation
		tunnel bool
		want   bool
	}{
		{"all in ESP", config.OptimisedRoutes, true, false},
		{"updates only", config.OptimisedRoutes, false, true},
		{"updates only, for some", config.ListedRoutes, false, true},
		{"no home tests", config.TunnelledRoutes, false, false},
	} {
		s, log := bareShell(t, "")
		s.warnReadable(&config.Config{MobileNodes: []config.MobileNode{{
			Name: "train", RouteOptimisation: test.routes, ESP: []esp.Policy{securedPolicy(overlay.MobileSide, test.tunnel)},
		}}})
		if got := strings.Contains(log.String(), "without IPsec for home tests"); got != test.want {
			t.Errorf("%s: %q", test.name, log)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// What came in ESP is delivered as such, and damaged messages are not answered.
func TestDeliverProtected(t *testing.T) {
	s, _ := bareShell(t, "")
	w := new(wire)
	s.signalling, s.events, s.done = w, make(chan role.Event, 8), make(chan struct{})
	update, err := mip6.Packet{Source: securedAt, Destination: securedAgent, HomeAddress: securedHome, Message: mip6.BindingUpdate{Sequence: 1}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	solicitation, err := mip6.ICMPPacket{Source: securedAt, Destination: securedAgent, HomeAddress: securedHome, Message: mip6.PrefixSolicitation{Identifier: 1}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.deliverProtected(update, 7)
	if len(s.events) != 0 {
		t.Error("delivered before the roles know the links")
	}
	s.listed.Store(true)
	o := s.protect()
	o.Deliver(update, 7)
	o.ICMP(solicitation, 8)
	if e, ok := (<-s.events).(role.MessageReceived); !ok || !e.Protected || e.Link != 7 || e.Packet.From() != securedHome {
		t.Errorf("message %+v", e)
	}
	if e, ok := (<-s.events).(role.ICMPReceived); !ok || !e.Protected || e.Link != 8 || e.Packet.From() != securedHome {
		t.Errorf("ICMPv6 message %+v", e)
	}
	update[64+1] = 0 // the header's length
	o.Deliver(update, 7)
	o.ICMP(solicitation[:70], 7)
	o.Dropped(role.DropBadAuthenticator, securedAt)
	if len(s.events) != 0 || len(w.packets) != 0 {
		t.Errorf("%d events, %d answers", len(s.events), len(w.packets))
	}
}
