package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestHost: a mobile node and its correspondents optimise their routes
// (RFC 6275 §11.6, §9), stay with the tunnel where the administrator or the
// correspondent wants it (§8.5, §11.3.5), and the TCP connection survives each
// move, the direct way's beginning and end, and the return home.
//
// Covers: M5, M9, M14, C13.
func TestHost(t *testing.T) {
	needWorlds(t)
	for _, c := range []struct {
		args      string
		handovers int
		direct    bool
		figures   []string
	}{
		{"--handovers 4 --dwell 1s", 4, true, []string{"round_trip_home_ms", "round_trip_direct_ms", "tcp_round_trip_ms", "first_round_trip_ms", "optimised_after_ms", "foreign_addresses"}},
		{"--handovers 2 --dwell 1s --no-ro", 2, false, []string{"round_trip_tunnel_ms", "tcp_round_trip_ms", "foreign_addresses"}},
		{"--handovers 2 --dwell 1s --plain-cn", 2, false, []string{"round_trip_tunnel_ms", "tcp_round_trip_ms", "foreign_addresses"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			_, capture := world(t, "host "+c.args, expected(c.handovers, c.figures...), optimised(c.direct))
			t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
		})
	}
}

// TestMobiles: two mobile nodes are each other's correspondent; packets carry a
// Home Address option and a type 2 routing header at once (RFC 6275 §6.1, §9.3).
//
// Covers: B6.
func TestMobiles(t *testing.T) {
	needWorlds(t)
	_, capture := world(t, "mobiles --dwell 1s",
		expected(8, "round_trip_direct_ms", "foreign_addresses"))
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}

// TestUplinks: a mobile router with three uplinks.
func TestUplinks(t *testing.T) {
	needWorlds(t)
	_, capture := world(t, "uplinks --router --dwell 1200ms --hysteresis 300ms --flaps 3",
		expected(8, "lost_make_first", "silence_noticed_ms", "better_used_after_ms", "lost_flapping", "handovers_flapping", "foreign_addresses"))
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}

// TestFailover: home agents are discovered (RFC 6275 §11.4.1), and one takes the
// place of another.
//
// Covers: M10, H12.
func TestFailover(t *testing.T) {
	needWorlds(t)
	_, capture := world(t, "failover --dwell 1s",
		expected(2, "recovered_downlink_ms", "lost_downlink", "recovered_uplink_ms", "lost_uplink", "lost_return", "foreign_addresses"))
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}

// TestRenumber: the home link gets another prefix (RFC 6275 §10.6, §11.4.2).
//
// Covers: M11, H13.
func TestRenumber(t *testing.T) {
	needWorlds(t)
	_, capture := world(t, "renumber --dwell 1s --lifetime 5s",
		expected(3, "new_address_after_ms", "lost_old_deprecated", "lost_new", "old_after_end", "new_from_old"))
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}

// expected: there are so many handovers, and figures were measured.
func expected(handovers int, figures ...string) condition {
	return func(r worldJSON) error {
		var wrong []error
		if len(r.Handovers) != handovers {
			wrong = append(wrong, fmt.Errorf("%d handovers, want %d", len(r.Handovers), handovers))
		}
		var measured []string
		for _, f := range r.Figures {
			if f.Value != nil && f.Unit != "" {
				measured = append(measured, f.Name)
			}
		}
		for _, name := range figures {
			if !slices.Contains(measured, name) {
				wrong = append(wrong, fmt.Errorf("%s was not measured; there are %q", name, measured))
			}
		}
		return errors.Join(wrong...)
	}
}

// optimised: all moves lead to the direct way, or none.
func optimised(direct bool) condition {
	return func(r worldJSON) error {
		for i, h := range r.Handovers {
			if (h.DirectMS != nil) != direct {
				return fmt.Errorf("handover %d: the direct way is used: %t", i+1, h.DirectMS != nil)
			}
		}
		return nil
	}
}
