package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
)

const initScript = "etc/init.d/roam6"

func TestInitStart(t *testing.T) {
	onRouters(t, func(r *router) {
		r.configure("roam6", trainConfig)
		r.configure("network", networkConfig)
		calls := r.run(initScript, "start")
		r.want("instance", calls, []string{"procd_open_instance", "procd_set_param", "procd_append_param", "procd_close_instance", "procd_add_jail"},
			"procd_open_instance",
			"procd_set_param [command] ["+r.root+"/usr/sbin/roam6] [run] [--other-advertisers] [/var/run/roam6.others]",
			"procd_set_param [file] [/etc/config/roam6] [/var/run/roam6.others]",
			"procd_append_param [netdev] [br-lan]", "procd_append_param [netdev] [wlan0]", "procd_append_param [netdev] [wwan0]",
			"procd_set_param [reload_signal] [HUP]",
			"procd_set_param [term_timeout] [10]",
			"procd_set_param [respawn] [3600] [5] [0]",
			"procd_set_param [pidfile] [/var/run/roam6.pid]",
			"procd_set_param [stdout] [1]", "procd_set_param [stderr] [1]",
			"procd_close_instance")
		r.want("nothing to complain of", calls, []string{"logger"})

		r.write("sbin/ujail", "#!/bin/sh\n", 0o755)
		r.want("with ujail", r.run(initScript, "start"), []string{"procd_add_jail", "procd_set_param [capabilities", "procd_set_param [no_new_privs"},
			"procd_add_jail [roam6]", "procd_set_param [capabilities] [/etc/capabilities/roam6.json]", "procd_set_param [no_new_privs] [1]")
	})
}

// rules are the firewall's rules among recorded calls, in a line each.
func rules(recorded []string) []string {
	var list []string
	inside, rule := false, ""
	for _, line := range recorded {
		switch {
		case line == "json_add_array [firewall]":
			inside = true
		case line == "json_close_array":
			inside = false
		case !inside:
		case line == "json_add_object []":
			rule = ""
		case line == "json_close_object":
			list = append(list, strings.TrimSpace(rule))
		default:
			var name, value string
			if n, err := fmt.Sscanf(strings.NewReplacer("] [", "=", " ", "_").Replace(strings.TrimPrefix(line, "json_add_string ")), "[%s", &name); n == 1 && err == nil {
				value = strings.TrimSuffix(name, "]")
			}
			rule += " " + value
		}
	}
	return list
}

// rule is one of them as it has to be.
func rule(device, proto, source, port string) string {
	s := "type=rule family=ipv6 src=*"
	if device != "" {
		s += " device=" + device
	}
	s += " proto=" + proto
	if proto == "icmpv6" {
		s += " icmp_type=1_2_3_4_133_134_135_136_144_145_146_147"
	}
	if source != "" {
		s += " src_ip=" + source
	}
	if port != "" {
		s += " dest_port=" + port
	}
	return s + " target=ACCEPT"
}

func TestInitFirewall(t *testing.T) {
	const home, other = "2001:db8:1::1", "2001:db8:1::9"
	mobile := func(extra string) string {
		return "config mobile_node 'n'\n option home_agent '" + home + "'\n list uplink 'wan'\n" + extra
	}
	var cases []func(*router)
	uplink := []string{rule("wan", "135", "", ""), rule("wan", "icmpv6", "", ""), rule("wan", "udp", "", "546")}
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"mobile router with a foreign uplink", trainConfig, []string{
			rule("wlan0", "135", "", ""), rule("wlan0", "41", home, ""), rule("wlan0", "icmpv6", "", ""), rule("wlan0", "udp", "", "546"),
			rule("wwan0", "135", "", ""), rule("wwan0", "41", home, ""), rule("wwan0", "icmpv6", "", ""),
		}},
		{"two home agents", mobile(" option home_agent '" + other + "'\n list home_agent '" + home + "'\n"), append([]string{
			rule("wan", "41", home, ""), rule("wan", "41", other, "")}, uplink...)},
		{"home agents to be discovered", "config mobile_node 'n'\n list uplink 'wan'\n", append([]string{rule("wan", "41", "", "")}, uplink...)},
		{"home agents to be discovered beside one", mobile(" option discover '1'\n"), append([]string{rule("wan", "41", "", "")}, uplink...)},
		{"anchors that are advertised", mobile(" option hierarchy '1'\n"), append([]string{rule("wan", "41", "", "")}, uplink...)},
		{"disabled", mobile(" option enabled '0'\n"), nil},
		{"ESP and IKE", mobile("config ipsec\n option ike '1'\n"), append([]string{
			rule("wan", "41", home, ""), rule("wan", "50", home, ""), rule("wan", "udp", home, "500"), rule("wan", "udp", home, "4500")}, uplink...)},
		{"ESP alone", mobile("config ipsec\n"), append([]string{rule("wan", "41", home, ""), rule("wan", "50", home, "")}, uplink...)},
		{"ESP of an anchor", mobile("config anchor_key\n option spi_to_anchor '1'\n"), append([]string{rule("wan", "41", home, ""), rule("wan", "50", home, "")}, uplink...)},
		{"delegated prefixes", strings.Replace(mobile(" option prefix_delegation '1'\n"), "mobile_node", "mobile_router", 1), append([]string{
			rule("wan", "41", home, ""), rule("wan", "udp", home, "547")}, uplink...)},
		{"delegated prefixes by a foreign uplink", strings.Replace(mobile(" option prefix_delegation '1'\nconfig uplink\n option interface 'wan'\n option addressing 'foreign'\n"), "mobile_node", "mobile_router", 1), append([]string{
			rule("wan", "41", home, ""), rule("wan", "udp", home, "547")}, uplink...)},
		{"prefix request", "config prefix_request 'p'\n option uplink 'wan'\n list downstream 'lan'\n", uplink[1:]},
		{"home agent", "config home_agent 'h'\n option interface 'lan'\n", []string{rule("", "135", "", ""), rule("", "41", "", ""), rule("", "icmpv6", "", "")}},
		{"home agent that delegates, with ESP", "config home_agent 'h'\n option interface 'lan'\n list delegation_pool '2001:db8:8000::/40'\nconfig ipsec\n", []string{
			rule("", "135", "", ""), rule("", "41", "", ""), rule("", "50", "", ""), rule("", "icmpv6", "", ""), rule("", "udp", "", "547")}},
		{"anchor", "config anchor 'a'\n", []string{rule("", "135", "", ""), rule("", "41", "", ""), rule("", "icmpv6", "", "")}},
		{"correspondent", "config correspondent\n", []string{rule("", "135", "", "")}},
		{"advertisements", "config interface\n option interface 'lan'\n option AdvSendAdvert '1'\nconfig interface\n option interface 'lan2'\n", []string{rule("lan", "icmpv6", "", "")}},
	} {
		cases = append(cases, func(r *router) {
			r.configure("roam6", tt.config)
			got := rules(r.run(initScript, "start"))
			slices.Sort(got)
			want := slices.Sorted(slices.Values(tt.want))
			if !slices.Equal(got, want) {
				r.Errorf("%s: rules\n  %s\nwant\n  %s", tt.name, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
	onRouters(t, func(r *router) {
		for _, c := range cases {
			c(r)
		}
	})
}

// The firewall is told when its rules change, and only then: a reload of it takes time.
func TestInitTellsFirewall(t *testing.T) {
	onRouters(t, func(r *router) {
		told := []string{"procd_set_config_changed"}
		r.configure("roam6", trainConfig)
		r.want("first start", r.run(initScript, "start"), told, "procd_set_config_changed [firewall]")
		r.want("the same again", r.run(initScript, "start"), told)
		r.configure("roam6", strings.Replace(trainConfig, "2001:db8:1::1", "2001:db8:1::9", 1))
		r.want("another home agent", r.run(initScript, "reload_service"), told, "procd_set_config_changed [firewall]")
		r.want("stop", r.run(initScript, "stop"), told, "procd_set_config_changed [firewall]")
		r.want("stop again", r.run(initScript, "stop"), told)
		r.check("errors", 1)
		r.want("start with errors", r.run(initScript, "start"), told)
		r.check("/etc/config/roam6: ok: 1 mobile router", 0)
		r.want("errors mended", r.run(initScript, "reload_service"), told, "procd_set_config_changed [firewall]")
	})
}

// Errors are logged with their places. A start has no instance then, but leaves triggers
// behind; a reload does not touch what runs.
func TestInitBroken(t *testing.T) {
	const broken = `roam6:3:22: option 'home_address' in section 'train': "2001": expected an IPv6 address
roam6:9:7: option 'uplnk' in section 'train': did you mean 'uplink'?`
	logged := []string{
		"logger [-t] [roam6] [-p] [daemon.err] [the configuration has errors and is not used]",
		`logger [-t] [roam6] [-p] [daemon.err] [roam6:3:22: option 'home_address' in section 'train': "2001": expected an IPv6 address]`,
		"logger [-t] [roam6] [-p] [daemon.err] [roam6:9:7: option 'uplnk' in section 'train': did you mean 'uplink'?]",
	}
	onRouters(t, func(r *router) {
		r.configure("roam6", trainConfig)
		r.check(broken, 1)
		r.want("start", r.run(initScript, "start"), []string{""}, append([]string{"extra_command [check] [Validate the configuration]"}, logged...)...)
		calls, err := r.try(initScript, "reload_service")
		if err == nil {
			r.Error("a reload with errors is said to have succeeded")
		}
		r.want("reload", calls, []string{""}, append([]string{"extra_command [check] [Validate the configuration]"}, logged...)...)
	})
}

// With nothing to do no daemon runs; a reload that takes the last section away ends it,
// which for procd is a service without an instance.
func TestInitIdle(t *testing.T) {
	onRouters(t, func(r *router) {
		r.check("/etc/config/roam6: ok: nothing to do, 1 disabled", 0)
		for _, code := range []string{"start", "reload_service"} {
			r.want(code, r.run(initScript, code), []string{"procd_open", "procd_kill", "logger"},
				"logger [-t] [roam6] [-p] [daemon.notice] [/etc/config/roam6: nothing to do]")
		}
	})
}

func TestInitReload(t *testing.T) {
	onRouters(t, func(r *router) {
		r.configure("roam6", trainConfig)
		first, again := r.run(initScript, "start"), r.run(initScript, "reload_service")
		r.want("reload", again, []string{"procd_set_param [command]"}, "procd_set_param [command] ["+r.root+"/usr/sbin/roam6] [run] [--other-advertisers] [/var/run/roam6.others]")
		if i := slices.Index(first, "procd_set_config_changed [firewall]"); i < 0 || !slices.Equal(slices.Delete(slices.Clone(first), i, i+1), again) {
			r.Errorf("reload called\n%s\nstart called\n%s", again, first)
		}
	})
}

// What is no error of the configuration, but of the router around it, is logged, and the
// daemon started.
func TestInitWarnings(t *testing.T) {
	var cases []func(*router)
	for _, tt := range []struct {
		name, roam6, network, dhcp string
		want                       []string
	}{
		{"a logical name", strings.Replace(trainConfig, "'wlan0'", "'sta'", 1), networkConfig, "", []string{
			"uplink 'sta' is the name of a netifd interface: roam6 takes that of its device (phy0-sta0)"}},
		{"a logical name whose device is not there", strings.Replace(trainConfig, "'wlan0'", "'modem'", 1), networkConfig + "config interface 'modem'\n option proto 'qmi'\n", "", []string{
			"uplink 'modem' is the name of a netifd interface: roam6 takes that of its device (not known yet)"}},
		{"a logical name that is a device, too", strings.Replace(trainConfig, "'wlan0'", "'lan'", 1), strings.Replace(networkConfig, "br-lan", "lan.7", 1), "", nil},
		{"another DHCPv6 client", strings.Replace(trainConfig, "'foreign'", "'auto'", 1), networkConfig, "", []string{
			"uplink wwan0: interface 'wwan' asks for addresses there too: proto 'none' there, or addressing 'foreign' here"}},
	} {
		cases = append(cases, func(r *router) {
			r.write("sys/class/net/lan", "", 0o644)
			r.configure("roam6", tt.roam6)
			r.configure("network", tt.network)
			r.configure("dhcp", tt.dhcp)
			calls := r.run(initScript, "start", "L3_sta=phy0-sta0")
			var want []string
			for _, w := range tt.want {
				want = append(want, "logger [-t] [roam6] [-p] [daemon.err] ["+w+"]")
			}
			r.want(tt.name+", log", calls, []string{"logger"}, want...)
			r.want(tt.name+", started", calls, []string{"procd_open_instance"}, "procd_open_instance")
		})
	}
	onRouters(t, func(r *router) {
		for _, c := range cases {
			c(r)
		}
	})
}

// The daemon is told where odhcpd advertises, by what odhcpd makes of its configuration,
// wherever that is: roam6's may change before the script runs. procd signals the daemon
// when that file changes, by a reload with its triggers.
func TestInitTellsOthers(t *testing.T) {
	line := func(device, section string) string {
		return device + " odhcpd, by section '" + section + "' of /etc/config/dhcp: uci set dhcp." + section + ".ra=disabled; uci commit dhcp; reload_config\n"
	}
	var cases []func(*router)
	for _, tt := range []struct{ name, dhcp, want string }{
		{"server", "config dhcp 'lan'\n option interface 'lan'\n option ra 'server'\n", line("br-lan", "lan")},
		{"the section's name is the interface's", "config dhcp 'lan'\n option ra 'hybrid'\n", line("br-lan", "lan")},
		{"or not", "config dhcp 'inside'\n option interface 'lan'\n option ra 'relay'\n", line("br-lan", "inside")},
		{"a device by its name", "config dhcp\n option interface 'other'\n option ifname 'eth9'\n option ra 'server'\n", line("eth9", "cfg00")},
		{"a device that netifd knows", "config dhcp 'sta'\n option ra 'server'\n", line("phy0-sta0", "sta")},
		{"what dnsmasq ignores", "config dhcp 'lan'\n option ra 'server'\n option ignore '1'\n", line("br-lan", "lan")},
		{"that of another interface", "config dhcp 'lan6'\n option ra 'server'\n", line("br-lan", "lan6")},
		{"that of one that is not there", "config dhcp 'modem6'\n option ra 'server'\n", ""},
		{"two", "config dhcp 'wwan'\n option ra 'server'\nconfig dhcp 'lan'\n option ra 'server'\n", line("br-lan", "lan") + line("wwan0", "wwan")},
		{"relayed from there", "config dhcp 'lan'\n option ra 'relay'\n option master '1'\n", ""},
		{"relayed from there, but served", "config dhcp 'lan'\n option ra 'server'\n option master '1'\n", line("br-lan", "lan")},
		{"leases only", "config dhcp 'lan'\n option dhcpv6 'server'\n option ra 'disabled'\n", ""},
		{"nothing said", "config dhcp 'lan'\n option dhcpv6 'server'\n", ""},
		{"no such interface", "config dhcp 'guest'\n option ra 'server'\n", ""},
		{"a device that is not there", "config dhcp 'modem'\n option ra 'server'\n", ""},
		{"a device that is there now", "config dhcp 'usb'\n option ra 'server'\n", line("wwan1", "usb")},
		{"no configuration", "", ""},
	} {
		cases = append(cases, func(r *router) {
			r.configure("dhcp", tt.dhcp)
			r.want(tt.name, r.run(initScript, "start", "L3_sta=phy0-sta0", "L3_lan6=br-lan", "L3_usb=wwan1"), []string{"logger", "procd_open_instance"}, "procd_open_instance")
			if got := r.read("var/run/roam6.others"); got != tt.want {
				r.Errorf("%s: told\n%swant\n%s", tt.name, got, tt.want)
			}
		})
	}
	onRouters(t, func(r *router) {
		r.configure("roam6", trainConfig)
		r.configure("network", networkConfig+"config interface 'modem'\n option proto 'qmi'\n option device '/dev/cdc-wdm0'\n"+
			"config interface 'usb'\n option proto 'qmi'\n option device '/dev/cdc-wdm1'\n"+
			"config interface 'lan6'\n option device '@lan'\nconfig interface 'modem6'\n option device '@modem'\n")
		for _, c := range cases {
			c(r)
		}
		const advertises = "config dhcp 'lan'\n option ra 'server'\n"
		r.configure("dhcp", advertises)
		r.run(initScript, "reload_service")
		if got := r.read("var/run/roam6.others"); got != line("br-lan", "lan") {
			r.Errorf("after a reload: told %q", got)
		}
		r.write("etc/init.d/odhcpd", "#!/bin/sh\nexit 1\n", 0o755)
		r.run(initScript, "reload_service")
		if got := r.read("var/run/roam6.others"); got != "" {
			r.Errorf("odhcpd is not enabled: told %q", got)
		}
		if err := os.Remove(filepath.Join(r.root, "etc/init.d/odhcpd")); err != nil {
			r.Fatal(err)
		}
		r.run(initScript, "start")
		if got := r.read("var/run/roam6.others"); got != "" {
			r.Errorf("odhcpd is not installed: told %q", got)
		}
		r.want("the file cannot be written", r.run(initScript, "OTHERS=/nowhere/others; start 2>/dev/null"), []string{"logger", "procd_open_instance"},
			"logger [-t] [roam6] [-p] [daemon.err] [/nowhere/others could not be written: roam6 may advertise where odhcpd does]", "procd_open_instance")
	})
}

func TestInitTriggers(t *testing.T) {
	onRouters(t, func(r *router) {
		r.configure("roam6", strings.Replace(trainConfig, "'wlan0'", "'phy0-sta0'", 1))
		r.configure("network", networkConfig+`
config interface 'dmz'
	option device 'eth7'

config interface 'modem'
	option proto 'qmi'
	option device '/dev/cdc-wdm0'

config interface 'roam'
	option proto 'roam6'
`)
		calls := r.run(initScript, "service_triggers", "L3_sta=phy0-sta0")
		// A device that is not known yet may be one of ours.
		r.want("triggers", calls, []string{"procd_add"},
			"procd_add_reload_trigger [roam6] [network] [dhcp]",
			"procd_add_reload_interface_trigger [lan]", "procd_add_reload_interface_trigger [wwan]", "procd_add_reload_interface_trigger [sta]",
			"procd_add_reload_interface_trigger [modem]")
	})
}

// procd gets the datatypes of all section types, in one call: it would keep the last.
func TestInitValidation(t *testing.T) {
	onRouters(t, func(r *router) {
		r.want("validation", r.run(initScript, `procd_add_validation() { record procd_add_validation "$@"; }; service_triggers`),
			[]string{"procd_add_validation"}, "procd_add_validation [roam6_validation]")
		var types []string
		for _, line := range r.run(initScript, "service_triggers") {
			rest, ok := strings.CutPrefix(line, "uci_load_validate [roam6] [")
			if !ok {
				continue
			}
			name, options, _ := strings.Cut(rest, "] [] [] ")
			types = append(types, name)
			for option := range strings.SplitSeq(strings.Trim(options, "[]"), "] [") {
				if !regexp.MustCompile(`^\w+:[^:]+(:[^:]+)?$`).MatchString(option) {
					r.Errorf("%s: option %q", name, option)
				}
			}
		}
		var want []string
		for _, s := range config.Describe() {
			want = append(want, s.Type)
		}
		if !slices.Equal(types, want) {
			r.Errorf("validated %q, want %q", types, want)
		}
	})
}

// At a shutdown the script waits until the daemon has de-registered, and no longer than
// procd would let it live.
func TestInitShutdown(t *testing.T) {
	onRouters(t, func(r *router) {
		r.configure("roam6", trainConfig)
		r.want("not running", r.run(initScript, "shutdown"), []string{"procd_kill", "sleep"}, "procd_kill")
		r.write("var/run/roam6.pid", "1\n", 0o644)
		calls := r.run(initScript, "n=0; sleep() { record sleep \"$@\"; n=$((n + 1)); [ $n -lt 3 ] || rm \"$IPKG_INSTROOT$PIDFILE\"; }; shutdown")
		r.want("ends after a while", calls, []string{"procd_kill", "sleep"}, "procd_kill", "sleep [1]", "sleep [1]", "sleep [1]")
		r.write("var/run/roam6.pid", "1\n", 0o644)
		if got := len(r.run(initScript, "shutdown")) - 2; got != 10 { // beside extra_command and procd_kill
			r.Errorf("waits %d seconds for one that does not end", got)
		}
	})
}
