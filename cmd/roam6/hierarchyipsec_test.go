package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/esp"
)

// TestHierarchyIPsec: mobiles, their home agent and mobility anchor points know no other
// authentication than ESP (RFC 5380 §12.1). All is as without, a restart of an anchor
// included; tshark, which gets the keys, finds local binding updates
// and their acknowledgements in ESP, all of them intact, and no update or acknowledgement
// of an anchor or the home agent without. The keys are in no log.
//
// Covers: P9, H1.
func TestHierarchyIPsec(t *testing.T) {
	needWorlds(t)
	files := t.TempDir()
	_, capture := worldIn(t, files, "hierarchy --ipsec --probe-interval 5ms --dwell 1200ms --kill restart --no-comparison",
		expected(15, "inside_down_ms", "home_updates_inside", "restart_recovered_downlink_ms", "foreign_sources", "foreign_addresses"))

	var all []esp.Policy
	var local []esp.Association
	for _, name := range []string{"mr", "mn"} {
		c, err := config.Load(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		if m := c.MobileNodes[0]; len(m.ESP) != 1 || m.Association != nil || len(c.AnchorKeys) != 2 {
			t.Fatalf("%s is configured otherwise: %+v", name, m)
		}
		all = append(all, c.MobileNodes[0].ESP...)
		for _, k := range c.AnchorKeys {
			if k.ESP == nil || k.Association != nil {
				t.Fatalf("%s is configured otherwise: %+v", name, k)
			}
			all = append(all, esp.Policy{Out: k.ESP.Out, In: k.ESP.In})
			local = append(local, k.ESP.Out, k.ESP.In)
		}
	}
	for name, text := range logsIn(t, files) {
		withoutKeys(t, name, text, all...)
	}
	t.Run("tshark", func(t *testing.T) { localUpdatesOnTheWire(t, capture, all, local) })
}

// localUpdatesOnTheWire looks at the signalling with two anchors and a home agent, of
// which all is to be in ESP: there is nobody else who would get an update.
func localUpdatesOnTheWire(t *testing.T, capture string, policies []esp.Policy, local []esp.Association) {
	complaints(t, capture)

	// What anybody can read.
	for _, row := range readings(t, capture, fmt.Sprintf("mip6.mhtype in {%s, %s}", mhUpdate, mhAcknowledge), "frame.number", "ipv6.src", "ipv6.dst") {
		t.Errorf("an update or acknowledgement without ESP: %v", row)
	}

	// What somebody with the keys can read.
	var keys []string
	for _, p := range policies {
		keys = append(keys, decryption(p)...)
	}
	complaints(t, capture, keys...)
	updates, answers := map[string]int{}, map[string]int{}
	for _, row := range readingsWith(t, keys, capture, "esp", "frame.number", "frame.protocols", "esp.spi", "mip6.mhtype", "mip6.bu.m_flag", "esp.icv_good") {
		if row[5] != "1" && row[5] != "True" {
			t.Errorf("frame %s: the integrity check value is wrong: %v", row[0], row)
		}
		switch {
		case strings.HasSuffix(row[1], "ipv6:ipv6.dstopts:esp:mipv6") && (row[4] == "1" || row[4] == "True"):
			updates[row[2]]++
		case strings.HasSuffix(row[1], "ipv6:ipv6.routing:esp:mipv6") && row[3] == mhAcknowledge:
			answers[row[2]]++
		}
	}
	for i, a := range local {
		found, what := updates, "local binding updates"
		if i%2 == 1 {
			found, what = answers, "acknowledgements of anchors"
		}
		if spi := fmt.Sprintf("0x%08x", a.SPI); found[spi] == 0 {
			t.Errorf("no %s with SPI %s; there are updates %v, acknowledgements %v", what, spi, updates, answers)
		} else {
			delete(updates, spi)
		}
	}
	if len(updates) > 0 {
		t.Errorf("local binding updates under other associations: %v", updates)
	}
}
