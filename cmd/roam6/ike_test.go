package main

import (
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/config"
	worlds "roam6/internal/lab"
)

// TestHostIKE: a mobile node and its home agent have their keys from two charons of
// strongSwan, as Debian has it. Away from the start, the mobile registers when there are
// keys, moves without waiting for others, has the key exchange follow it, and comes home;
// the lab sees nothing of the two that is not in ESP, and finds no key in what they log
// and show. tshark, without keys, finds the same.
//
// Covers: H1, H11.
func TestHostIKE(t *testing.T) {
	needWorlds(t)
	if err := worlds.CanExchangeKeys(); err != nil {
		t.Skip(err)
	}
	files := t.TempDir()
	_, capture := worldIn(t, files, "host --ike --untimed --handovers 4 --dwell 4s --probe-interval 50ms --tcp-rate 20000 --delay-ha 200ms --delay-cn 60ms --delay-ar 20ms",
		expected(4, "ike_messages", "ike_first_ms", "ike_follows_ms", "protected_messages", "readable_messages", "foreign_addresses"))
	c, err := config.Load(filepath.Join(files, "mn"))
	if err != nil {
		t.Fatal(err)
	}
	m := c.MobileNodes[0]
	if len(m.IKE) != 1 || m.Association != nil || !m.IKE[0].MOBIKE {
		t.Fatalf("the mobile node is configured otherwise: %+v", m)
	}
	for name, text := range logsIn(t, files) {
		if strings.Contains(text, string(m.IKE[0].PSK)) {
			t.Errorf("the preshared key is in %s", name)
		}
	}
	t.Run("tshark", func(t *testing.T) {
		dissect(t, capture)
		if plain := readings(t, capture, "mip6.mhtype in {"+mhUpdate+", "+mhAcknowledge+"} && ipv6.addr == "+m.HomeAgents[0].String(), "frame.number", "mip6.mhtype"); len(plain) > 0 {
			t.Errorf("updates or acknowledgements without ESP: %v", plain)
		}
		if inside := readings(t, capture, "esp", "frame.number"); len(inside) == 0 {
			t.Error("there is no ESP")
		}
	})
}
