package main

import (
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/pcap/tshark"
)

// TestDelegationIPsec: a mobile router and its home agent have IPsec and no other
// authentication. The router gets its prefix and keeps it through handovers, renewals,
// restarts and the return home, as without IPsec; and tshark, which gets the keys, finds
// the DHCPv6 messages of the router away in ESP, each in a packet from or to its care-of
// address (RFC 6276 §3, §4), and those at home on the home link as ever (§3.2). Without
// the keys there is none between home address and home agent.
//
// Covers: D1, D2, D3, H1.
func TestDelegationIPsec(t *testing.T) {
	needWorlds(t)
	for _, args := range []string{
		"--ipsec --handovers 2 --dwell 1200ms --probe-interval 4ms",
		"--ipsec --handovers 2 --dwell 1200ms --probe-interval 4ms --crash --server kea",
	} {
		t.Run(args, func(t *testing.T) {
			kea := strings.Contains(args, "kea")
			if kea {
				needKea(t)
			}
			files := t.TempDir()
			_, capture := worldIn(t, files, "delegation "+args, delegated())
			c, err := config.Load(filepath.Join(files, "mr"))
			if err != nil {
				t.Fatal(err)
			}
			m := c.MobileNodes[0]
			if len(m.ESP) != 1 || m.Association != nil || !m.Delegation {
				t.Fatalf("the mobile router is configured otherwise: %+v", m)
			}
			t.Run("tshark", func(t *testing.T) {
				tshark.Need(t)
				for _, row := range readings(t, capture, "dhcpv6", "frame.number", "frame.protocols", "ipv6.src", "ipv6.dst") {
					for _, a := range []string{"2001:db8:10::100", "2001:db8:a1:", "2001:db8:a2:"} {
						if strings.HasPrefix(row[2], a) || strings.HasPrefix(row[3], a) {
							t.Errorf("frame %s can be read: %q", row[0], row[1:])
						}
					}
				}
				keys := decryption(m.ESP[0])
				complaints(t, capture, keys...)
				relayed(t, capture, kea, keys)
			})
		})
	}
}
