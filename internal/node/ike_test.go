package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/internal/role"
	"roam6/overlay"
)

// exchanging is a configuration with a mobile and with another mobile's home agent, whose
// keys are negotiated.
func exchanging() *config.Config {
	peer := func(home netip.Addr, side overlay.Side, socket string) ike.Peer {
		return ike.Peer{Ends: ike.Ends{Home: home, Agent: securedAgent, Side: side}, Socket: socket, PSK: "a secret of two, long enough", MOBIKE: true}
	}
	policy := func(p ike.Peer) esp.Policy {
		return esp.Policy{Home: p.Home, Agent: p.Agent, Side: p.Side, Negotiated: &esp.Negotiated{}}
	}
	own, served := peer(securedHome, overlay.MobileSide, "/run/a"), peer(securedHome.Next(), overlay.AgentSide, "/run/b")
	ofServed := policy(served)
	return &config.Config{
		MobileNodes: []config.MobileNode{{Name: "train", HomeAddress: netip.PrefixFrom(securedHome, 64), ESP: []esp.Policy{policy(own)}, IKE: []ike.Peer{own}}},
		Mobiles:     []config.Mobile{{Name: "bus", HomeAgent: "home", HomeAddress: served.Home, ESP: &ofServed, IKE: &served}},
	}
}

// negotiated are associations for everything, with SPIs from first on.
func negotiated(first uint32) esp.Negotiated {
	sa := func(n uint32) esp.Association {
		return esp.Association{SPI: first + n, Algorithm: esp.AESGCM, Key: esp.Key(strings.Repeat(fmt.Sprintf("%04d", first+n), 5))}
	}
	out, tunnelOut := sa(0), sa(1)
	return esp.Negotiated{Out: &out, TunnelOut: &tunnelOut, In: []esp.Association{sa(2)}, TunnelIn: []esp.Association{sa(3)}}
}

// Both sides have their keys exchanged by the charon of their section, and the roles know
// it (RFC 6275 §10.3.1, §11.7.1: bit K).
func TestExchangesOfTheConfiguration(t *testing.T) {
	c := exchanging()
	if got := peers(c); len(got) != 2 || !slices.Equal(got["/run/a"], c.MobileNodes[0].IKE) || !slices.Equal(got["/run/b"], []ike.Peer{*c.Mobiles[0].IKE}) {
		t.Errorf("peers %+v", got)
	}
	if m := mobileConfig(c.MobileNodes[0], surroundings{}, 0); !m.ESP || !m.KeyExchange || !m.KeyMobility {
		t.Errorf("mobile %+v", m)
	}
	a := agentConfig(config.HomeAgent{Name: "home", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:10::/64")}}, c.Mobiles, nil)
	if m := a.Mobiles[0]; !m.ESP || !m.KeyMobility || m.Insecure {
		t.Errorf("served %+v", m)
	}
	c.MobileNodes[0].IKE[0].MOBIKE, c.Mobiles[0].IKE.MOBIKE = false, false
	if mobileConfig(c.MobileNodes[0], surroundings{}, 0).KeyMobility || agentConfig(config.HomeAgent{Name: "home", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:10::/64")}}, c.Mobiles, nil).Mobiles[0].KeyMobility {
		t.Error("without MOBIKE the key exchange does not move")
	}
}

// What is negotiated becomes the policies, and the mobile hears of the first and of the
// end of it, not of what replaces others. Nothing of it is in the log.
func TestKeysChanged(t *testing.T) {
	var log bytes.Buffer
	c := exchanging()
	r := &recorder{home: securedHome}
	s := &Shell{config: c, log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), mobiles: []*mobileHost{{machine: r, config: c.MobileNodes[0]}}}
	s.makeMaps()
	first, second := negotiated(1000), negotiated(2000)
	heard := func(what string, want ...role.Event) {
		t.Helper()
		if !slices.Equal(r.events, want) {
			t.Errorf("%s: heard %v, want %v", what, r.events, want)
		}
		r.events = nil
	}
	changed := func(present bool) role.Event {
		return role.KeysChanged{Home: securedHome, Agent: securedAgent, Present: present}
	}
	now := time.Now()
	own, served := c.MobileNodes[0].IKE[0].Ends, c.Mobiles[0].IKE.Ends
	s.keysChanged(now, own, esp.Negotiated{In: first.In})
	heard("half of it")
	s.keysChanged(now, own, first)
	heard("the first", changed(true))
	s.keysChanged(now, own, second)
	heard("replaced")
	s.keysChanged(now, served, first)
	heard("another's")
	all := s.withKeys(policies(c))
	if len(all) != 2 || all[0].Negotiated.Out.SPI != 2000 || all[1].Negotiated.Out.SPI != 1000 || !c.MobileNodes[0].ESP[0].Negotiated.Empty() {
		t.Errorf("policies %+v", all)
	}
	if err := esp.NewPolicies(func([]byte) {}).Replace(all); err != nil {
		t.Errorf("policies: %v", err)
	}
	s.introduceKeys(now, s.mobiles[0])
	heard("a mobile that begins", changed(true))
	s.keysChanged(now, own, esp.Negotiated{})
	heard("the end", changed(false))
	s.introduceKeys(now, s.mobiles[0])
	heard("a mobile that begins without")
	for _, n := range []esp.Negotiated{first, second} {
		for _, a := range []esp.Association{*n.Out, *n.TunnelOut, n.In[0], n.TunnelIn[0]} {
			if strings.Contains(log.String(), string(a.Key)) {
				t.Error("a key is in the log")
			}
		}
	}
	if !strings.Contains(log.String(), "keys for signalling negotiated") {
		t.Error("the log does not tell of keys")
	}
}
