package dhcpserver

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

func seconds(d time.Duration) int { return int(d / time.Second) }

// kea is a configuration of Kea. Preference is an option that clients must not ask
// for, and Kea sends what it is asked for unless it is told to.
func (c Config) kea(leases string) ([]byte, error) {
	type object = map[string]any
	options := []object{{"name": "dns-servers", "data": c.DNS.String()}, {"name": "domain-search", "data": c.Domain}}
	if c.AtOnce {
		options = append(options, object{"name": "preference", "data": "255", "always-send": true})
	}
	subnet := object{"id": 1, "subnet": c.Subnet.String(), "interface": c.Interface, "rapid-commit": c.Rapid}
	if c.First.IsValid() {
		subnet["pools"] = []object{{"pool": fmt.Sprintf("%v - %v", c.First, c.Last)}}
	}
	severity := "INFO"
	if c.Verbose {
		severity = "DEBUG"
	}
	return json.MarshalIndent(object{"Dhcp6": object{
		"interfaces-config": object{"interfaces": []string{c.Interface}},
		"lease-database":    object{"type": "memfile", "persist": true, "name": leases, "lfc-interval": 0},
		// An identifier of its own, for there are other servers with the same file
		// system.
		"server-id":          object{"type": "EN", "enterprise-id": 32473, "identifier": fmt.Sprintf("%08X", c.Number), "persist": false},
		"renew-timer":        seconds(c.T1),
		"rebind-timer":       seconds(c.Valid * 3 / 4),
		"preferred-lifetime": seconds(c.Valid * 7 / 8),
		"valid-lifetime":     seconds(c.Valid),
		"option-data":        options,
		"subnet6":            []object{subnet},
		"loggers":            []object{{"name": "kea-dhcp6", "severity": severity, "debuglevel": 40, "output_options": []object{{"output": "stdout"}}}},
	}}, "", "  ")
}

// dnsmasq is a configuration of dnsmasq.
func (c Config) dnsmasq(leases string) []byte {
	const least = 2 * time.Minute
	what := "dhcp-range=" + c.Subnet.Addr().String() + ",static"
	if c.First.IsValid() {
		what = fmt.Sprintf("dhcp-range=%v,%v,%d,%d", c.First, c.Last, c.Subnet.Bits(), seconds(max(least, c.Valid)))
	}
	lines := []string{
		"port=0", // no DNS
		"interface=" + c.Interface,
		"bind-interfaces",
		"dhcp-leasefile=" + leases,
		"log-dhcp",
		what,
		fmt.Sprintf("dhcp-option=option6:dns-server,[%v]", c.DNS),
		"dhcp-option=option6:domain-search," + c.Domain,
	}
	if c.AtOnce {
		lines = append(lines, "dhcp-authoritative")
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}
