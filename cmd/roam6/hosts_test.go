package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
)

func TestKernelHost(t *testing.T) {
	t.Parallel()
	l := newLAN(t, true)
	for _, s := range [][2]string{{"accept_ra_rt_info_max_plen", "128"}, {"accept_ra_rtr_pref", "1"}} {
		l.must(l.host.SetSysctl("net/ipv6/conf/"+lanHost+"/"+s[0], s[1]))
	}
	router := l.linkLocal(l.router, lanRouter)
	l.advertise(lanSections)
	l.until("the host has a default route of high preference", l.leads("::/0", router, routePreferHigh))
	l.until("the host has the route of the route information option, of low preference", l.leads("2001:db8:b000::/36", router, routePreferLow))
	l.forms() // the first prefix is announced as the router's whole address
	for name, want := range map[string]string{
		"conf/" + lanHost + "/hop_limit":               "42",
		"conf/" + lanHost + "/mtu":                     "1400",
		"neigh/" + lanHost + "/base_reachable_time_ms": "12400",
		"neigh/" + lanHost + "/retrans_time_ms":        "2400",
	} {
		l.until(fmt.Sprintf("%s is %s", name, want), func() bool { v, err := l.host.Sysctl("net/ipv6/" + name); l.must(err); return v == want })
	}

	l.changes()
	l.until("the default route is of low preference", l.leads("::/0", router, routePreferLow))
	l.until("the hop limit is another", func() bool {
		v, err := l.host.Sysctl("net/ipv6/conf/" + lanHost + "/hop_limit")
		l.must(err)
		return v == "43"
	})

	l.stop()
	l.until("the host has no default route", func() bool { _, ok := l.route("::/0"); return !ok })
	for _, prefix := range []string{"2001:db8:a3::/64", "2001:db8:a4::/64"} {
		if a, ok := l.formed(prefix); !ok || a.deprecated {
			t.Errorf("after the end, %s: %+v", prefix, a) // DeprecatePrefix is off
		}
	}
}

func TestDhcpcdHost(t *testing.T) {
	t.Parallel()
	l := newLAN(t, false)
	directory := t.TempDir()
	hook := filepath.Join(directory, "hook")
	l.must(os.WriteFile(hook, []byte("#!/bin/sh\nenv >"+directory+"/$$ && mv "+directory+"/$$ "+directory+"/$reason\n"), 0o700))
	conf := filepath.Join(directory, "dhcpcd.conf")
	l.must(os.WriteFile(conf, []byte("ipv6only\nslaac hwaddr\nnodhcp6\n"), 0o600))
	l.must(os.Chmod(directory, 0o755))
	router := l.linkLocal(l.router, lanRouter)
	l.find("dhcpcd", "dhcpcd-base")
	l.advertise(lanSections)
	l.program(l.host, "dhcpcd-base", "mkdir -p /var/lib/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd",
		"dhcpcd", "-B", "-6", "-f", conf, "-c", hook, lanHost)
	told := func() map[string]string {
		all := map[string]string{}
		b, _ := os.ReadFile(filepath.Join(directory, "ROUTERADVERT")) // not there at first
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
				all[name] = value
			}
		}
		return all
	}
	var last map[string]string
	tells := func(want map[string]string) {
		t.Helper()
		defer func() {
			if t.Failed() {
				t.Logf("dhcpcd told %v", last)
			}
		}()
		l.until("dhcpcd tells what was advertised", func() bool {
			last = told()
			for name, value := range want {
				if last[name] != value {
					return false
				}
			}
			return true
		})
	}
	tells(map[string]string{
		"nd1_from": router.String(), "nd1_hoplimit": "42", "nd1_lifetime": "600", "nd1_mtu": "1400", "nd1_flags": "h",
		"nd1_prefix_information1_prefix": "2001:db8:a1::1", "nd1_prefix_information1_flags": "LAH",
		"nd1_prefix_information1_vltime": "3600", "nd1_prefix_information1_pltime": "1800",
		"nd1_prefix_information2_prefix": "2001:db8:a2::", "nd1_prefix_information2_flags": "L",
		"nd1_prefix_information3_prefix": "2001:db8:a3::", "nd1_prefix_information3_flags": "A",
		"nd1_rdnss1_servers": "2001:db8:a1::53 2001:db8:a1::54", "nd1_rdnss1_lifetime": "300",
		"nd1_dnssl1_search": "example.net lan.example.net", "nd1_dnssl1_lifetime": "400",
	})
	l.forms()
	l.until("the host has a default route", func() bool { r, ok := l.route("::/0"); return ok && r.via == router })

	l.reload(lanChanged())
	l.until("the host has an address in the new prefix", func() bool { _, ok := l.formed("2001:db8:a4::/64"); return ok })
	l.until("its old address is deprecated", func() bool { a, ok := l.formed("2001:db8:a1::/64"); return ok && a.preferred == 0 && a.valid <= 7200 })
	tells(map[string]string{"nd1_flags": "l", "nd1_hoplimit": "43"})

	l.stop()
	l.until("the host has no default route", func() bool { _, ok := l.route("::/0"); return !ok })
}

func TestNetworkdHost(t *testing.T) {
	t.Parallel()
	l := newLAN(t, false)
	directory := t.TempDir()
	l.must(os.WriteFile(filepath.Join(directory, "10-host.network"), []byte(
		"[Match]\nName="+lanHost+"\n[Network]\nIPv6AcceptRA=yes\nDHCP=no\nLinkLocalAddressing=ipv6\n[IPv6AcceptRA]\nDHCPv6Client=no\nUseDomains=yes\n"), 0o644))
	router := l.linkLocal(l.router, lanRouter)
	l.find("systemd-networkd", "systemd")
	l.advertise(lanSections)
	l.program(l.host, "systemd",
		"mkdir -p /run/systemd/network && cp "+directory+"/10-host.network /run/systemd/network && mount -t sysfs -o ro sysfs /sys"+
			" && { (while sleep .1; do cat /run/systemd/netif/links/* >"+directory+"/new 2>/dev/null && mv "+directory+"/new "+directory+"/links; done) & }",
		"systemd-networkd")
	told := func(wanted ...string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(filepath.Join(directory, "links")) // not there at first
			for _, w := range wanted {
				if !strings.Contains(string(b), w) {
					return false
				}
			}
			return true
		}
	}
	l.until("networkd has configured the interface", told("ADMIN_STATE=configured"))
	l.until("the host has a default route of high preference", l.leads("::/0", router, routePreferHigh))
	l.until("the host has the route of the route information option, of low preference", l.leads("2001:db8:b000::/36", router, routePreferLow))
	l.forms()
	l.until("networkd has the name servers and domains", told("2001:db8:a1::53", "2001:db8:a1::54", "lan.example.net"))
	l.changes()
	l.stop()
	l.until("the host has no default route", func() bool { _, ok := l.route("::/0"); return !ok })
}

func TestRdisc6(t *testing.T) {
	t.Parallel()
	l := newLAN(t, false)
	path := l.find("rdisc6", "ndisc6")
	router := l.linkLocal(l.router, lanRouter)
	l.linkLocal(l.host, lanHost)
	l.advertise(lanSections)
	link, err := l.router.Link.LinkByName(lanRouter)
	l.must(err)
	cmd := exec.Command(path, "--single", lanHost)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	l.must(l.host.Do(cmd.Start))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	want := strings.Split(`Hop limit : 42
Stateful address conf. : No
Stateful other conf. : No
Mobile home agent : No
Router preference : high
Neighbor discovery proxy : No
Router lifetime : 600 seconds
Reachable time : 12400 milliseconds
Retransmit time : 2400 milliseconds
Source link-layer address: `+strings.ToUpper(link.Attrs().HardwareAddr.String())+`
MTU : 1400 bytes (valid)
Prefix : 2001:db8:a1::1/64
On-link : Yes
Autonomous address conf.: Yes
Valid time : 3600 seconds
Pref. time : 1800 seconds
Prefix : 2001:db8:a2::/64
On-link : Yes
Autonomous address conf.: No
Valid time : 3600 seconds
Pref. time : 1800 seconds
Prefix : 2001:db8:a3::/64
On-link : No
Autonomous address conf.: Yes
Valid time : 86400 seconds
Pref. time : 14400 seconds
Route : 2001:db8:b000::/36
Route preference : low
Route lifetime : 900 seconds
Recursive DNS server : 2001:db8:a1::53
Recursive DNS server : 2001:db8:a1::54
DNS servers lifetime : 300 seconds
DNS search list : example.net lan.example.net
DNS search list lifetime: 400 seconds
from `+router.String(), "\n")
	hexadecimal := regexp.MustCompile(`\( *0x[0-9a-f]+\)`)
	var got []string
	for line := range strings.Lines(out.String()) {
		if line = strings.Join(strings.Fields(hexadecimal.ReplaceAllString(line, "")), " "); line != "" && !strings.HasPrefix(line, "Soliciting") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rdisc6 shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRadvdump(t *testing.T) {
	t.Parallel()
	l := newLAN(t, false)
	path := l.find("radvdump", "radvdump")
	l.linkLocal(l.host, lanHost)
	l.advertise(lanSections)
	cmd := exec.Command(path)
	out, err := cmd.StdoutPipe()
	l.must(err)
	l.must(l.host.Do(cmd.Start))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var dump strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "End of interface definition") {
		// The one thing that advertisements do not tell.
		if line := lines.Text(); strings.Contains(line, "cannot be obtained") {
			dump.WriteString("MinRtrAdvInterval 0.03; MaxRtrAdvInterval 0.07;\n")
		} else {
			dump.WriteString(line + "\n")
		}
	}
	dump.WriteString("};\n")
	theirs := l.imported(strings.ReplaceAll(dump.String(), lanHost, lanRouter))
	ours, err := config.Parse("ours", []byte(lanSections))
	l.must(err)
	if !reflect.DeepEqual(theirs.Interfaces, ours.Interfaces) {
		t.Errorf("radvdump tells\n%s\nwhich means\n%+v\nwant\n%+v", dump.String(), theirs.Interfaces, ours.Interfaces)
	}
}
