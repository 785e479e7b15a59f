package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"roam6/internal/lab/dhcpserver"
)

// TestManaged: a mobile passes access networks whose addresses are formed, leased by
// servers of other people (RFC 8415 §18.2), or both (RFC 4862 §5.5, RFC 4861 §4.2):
// each handover completes, leases are renewed and returned, known ones are used at
// once (§18.2.3), and a leased address takes the place of a formed one without any
// loss. tshark finds nothing wrong with any DHCPv6 message.
func TestManaged(t *testing.T) {
	needWorlds(t)
	for _, c := range []struct {
		args     string
		needs    []dhcpserver.Kind
		kinds    []string
		messages []string // of clients, by tshark's numbers
	}{
		{"--router", []dhcpserver.Kind{dhcpserver.Kea, dhcpserver.Dnsmasq},
			[]string{"leased by 2", "formed first", "replaced", "leased by 4", "formed", "known lease", "known lease", "known lease"},
			[]string{"1", "3", "4", "5", "8"}},
		{"--servers kea --handovers 3 --no-link-events", []dhcpserver.Kind{dhcpserver.Kea}, []string{"leased by 2", "formed first", "replaced", "leased by 4"}, []string{"1", "3", "5", "8"}},
		{"--servers dnsmasq --handovers 4", []dhcpserver.Kind{dhcpserver.Dnsmasq}, []string{"leased by 2", "formed, leased", "formed", "known lease"}, []string{"1", "4", "8"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			for _, k := range c.needs {
				needServer(t, k)
			}
			_, capture := world(t, "managed "+c.args, leasedAs(c.kinds))
			t.Run("tshark", func(t *testing.T) {
				dissect(t, capture)
				var seen []string
				for _, row := range readings(t, capture, "dhcpv6", "dhcpv6.msgtype", "udp.dstport") {
					if row[1] == "547" && !slices.Contains(seen, row[0]) {
						seen = append(seen, row[0])
					}
				}
				for _, m := range c.messages {
					if !slices.Contains(seen, m) {
						t.Errorf("tshark has seen no message of type %s, only %q", m, seen)
					}
				}
			})
		})
	}
}

// leasedAs: the moves are of these kinds, each with the lease that its kind tells of, and
// nothing is lost where a care-of address takes another one's place.
func leasedAs(kinds []string) condition {
	return func(r worldJSON) error {
		if !slices.Contains(kinds, "replaced") {
			// dnsmasq leases before or after the home agent has answered: who is
			// quicker is not for a test to say.
			r.Handovers = slices.DeleteFunc(slices.Clone(r.Handovers), func(h handoverJSON) bool { return h.Kind == "replaced" })
		}
		wrong := expected(len(kinds), "lost_settled", "renewals", "unanswered", "returned", "foreign_addresses")(r)
		for i, h := range r.Handovers {
			if i < len(kinds) && h.Kind != kinds[i] {
				wrong = errors.Join(wrong, fmt.Errorf("handover %d: %q, want %q", i+1, h.Kind, kinds[i]))
			}
			leased := strings.Contains(h.Kind, "lease")
			if leased != (h.Lease != nil && h.Lease.AnsweredMS != nil && h.Lease.ServerMS != nil) && h.Kind != "formed first" {
				wrong = errors.Join(wrong, fmt.Errorf("handover %d, %s: %+v", i+1, h.Kind, h.Lease))
			}
			if h.Kind == "replaced" && *h.LostDown+*h.LostUp != 0 {
				wrong = errors.Join(wrong, fmt.Errorf("handover %d: %d and %d lost", i+1, *h.LostDown, *h.LostUp))
			}
		}
		return wrong
	}
}

// needServer skips a test where a DHCPv6 server is not on the machine.
func needServer(t *testing.T, k dhcpserver.Kind) string {
	t.Helper()
	path := k.Find()
	if path == "" {
		t.Skipf("NOT TESTED: there is no %s (apt-get install %s), which is to lease addresses", k.File(), k.Package())
	}
	return path
}
