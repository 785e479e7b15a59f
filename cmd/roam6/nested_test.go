package main

import (
	"fmt"
	"testing"
)

// TestNested: a mobile router and a mobile node visit the network of another mobile
// router, leave it and return: tunnels in tunnels (RFC 3963 §1, RFC 4888). Who is
// aboard has no handover when the outer router moves; the path MTU is found exactly
// by everybody (RFC 2473 §7.1, RFC 8201); two mobile routers behind each other do
// not send packets round for ever (RFC 2473 §4.1.1); nothing leaves a network with a
// source that does not belong there.
func TestNested(t *testing.T) {
	needWorlds(t)
	figures := []string{"handovers_of_others", "lost_of_others", "round_trip_mnn_ms", "round_trip_mn_ms", "loop_frames_each", "loop_left_after_ms", "foreign_sources", "foreign_addresses"}
	for _, end := range []string{"mnn", "mn"} {
		for _, there := range []string{"home", "away"} {
			for _, direction := range []string{"down", "up"} {
				figures = append(figures, fmt.Sprintf("path_mtu_%s_%s_%s", direction, end, there), fmt.Sprintf("tcp_segment_%s_%s_%s", direction, end, there))
			}
		}
	}
	_, capture := world(t, "nested --probe-interval 5ms --dwell 1200ms --loop 500ms", expected(13, figures...))
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}
