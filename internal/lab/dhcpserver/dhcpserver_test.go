package dhcpserver

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a server is to do is in its configuration, in files below the directory only,
// and what it is not to do is not.
func TestWrite(t *testing.T) {
	a := netip.MustParseAddr
	full := Config{
		Interface: "acc0", Subnet: netip.MustParsePrefix("2001:db8:a1::/64"), First: a("2001:db8:a1::1000"), Last: a("2001:db8:a1::1fff"),
		DNS: a("2001:db8:53::1"), Domain: "example.net", T1: 3 * time.Second, Valid: time.Minute, Rapid: true, AtOnce: true, Number: 7,
	}
	information := full
	information.First, information.Last, information.Rapid, information.AtOnce = netip.Addr{}, netip.Addr{}, false, false
	for _, c := range []struct {
		kind       Kind
		config     Config
		has, hasno []string
	}{
		{Kea, full, []string{`2001:db8:a1::1000 - 2001:db8:a1::1fff`, `"rapid-commit": true`, `"preference"`, `"renew-timer": 3`, `"valid-lifetime": 60`, `"identifier": "00000007"`}, nil},
		{Kea, information, []string{`2001:db8:53::1`, `"rapid-commit": false`}, []string{`"pools"`, `"preference"`}},
		{Dnsmasq, full, []string{"dhcp-range=2001:db8:a1::1000,2001:db8:a1::1fff,64,120\n", "dhcp-authoritative\n", "[2001:db8:53::1]"}, nil},
		{Dnsmasq, information, []string{"dhcp-range=2001:db8:a1::,static\n"}, []string{"dhcp-authoritative"}},
	} {
		directory := t.TempDir()
		command, err := c.kind.Write("/sbin/x", directory, "name", c.config)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(directory, "name.conf"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if c.kind == Kea && !json.Valid(b) {
			t.Errorf("%s: not JSON", c.kind)
		}
		for _, s := range append(c.has, directory+"/name.leases", "acc0") {
			if !strings.Contains(text, s) {
				t.Errorf("%s: %q is missing in\n%s", c.kind, s, text)
			}
		}
		for _, s := range c.hasno {
			if strings.Contains(text, s) {
				t.Errorf("%s: %q is in\n%s", c.kind, s, text)
			}
		}
		if !strings.Contains(strings.Join(command.Args, " "), directory+"/name.conf") || command.Path != "/sbin/x" || command.Leases != directory+"/name.leases" {
			t.Errorf("%s: %+v", c.kind, command)
		}
	}
}
