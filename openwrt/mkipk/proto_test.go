package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const protoScript = "lib/netifd/proto/roam6.sh"

func TestProtoConfig(t *testing.T) {
	onRouters(t, func(r *router) {
		calls := r.run(protoScript, "proto_roam6_init_config; record flags $no_device $available", "INCLUDE_ONLY=1")
		r.want("config", calls, []string{""}, "proto_config_add_string [mobile]", "flags [1] [1]")
	})
}

func TestProtoSetup(t *testing.T) {
	var cases []func(*router)
	const follow = "proto_run_command [roam] [/usr/sbin/roam6] [follow] [--control] [/var/run/roam6.sock] [train] [/lib/netifd/roam6.script]"
	handed := []string{"proto_export [INTERFACE=roam]", "proto_export [ROAM6_DEVICE=roam6]", follow}
	refused := func(code, detail, message string) []string {
		return []string{
			"logger [-t] [roam6] [-p] [daemon.err] [interface 'roam': " + message + "]",
			"proto_notify_error [roam] [" + code + "] [" + detail + "]", "proto_block_restart [roam]",
		}
	}
	const noMobile = "no mobile_router or mobile_node '%s' in /etc/config/roam6 is enabled"
	byNetifd := strings.Replace(trainConfig, "list downstream 'br-lan'", "option netifd '1'", 1)
	const advertised = "config dhcp 'inside'\n option interface 'lan'\n option ra 'server'\n"
	for _, tt := range []struct {
		name, roam6, dhcp, mobile string
		want                      []string
		refused                   bool
	}{
		{"the only one", byNetifd, advertised, "", handed, false},
		{"by name", "config mobile_router 'bus'\n" + byNetifd, advertised, "train", handed, false},
		{"the first that is enabled", "config mobile_router 'bus'\n option enabled '0'\n" + byNetifd, advertised, "", handed, false},
		{"a node", strings.NewReplacer("mobile_router", "mobile_node", " list downstream 'br-lan'\n", "").Replace(trainConfig), "", "train", handed, false},
		{"a device and socket of another name", "config globals\n option tunnel_device 'tun9'\n option control '/tmp/s'\n" + byNetifd, "", "", []string{
			"proto_export [INTERFACE=roam]", "proto_export [ROAM6_DEVICE=tun9]", strings.Replace(follow, "/var/run/roam6.sock", "/tmp/s", 1)}, false},
		{"roam6 advertises, odhcpd does not", trainConfig, "", "", handed, false},
		{"both advertise", trainConfig, advertised, "", refused("ODHCPD_SENDS_RA", "inside",
			"mobile router 'train' advertises on br-lan, and so does odhcpd: 'ra' of dhcp.inside has to be 'disabled', or 'br-lan' no downstream and 'netifd' 1 in section 'train' of roam6"), true},
		{"no such mobile", trainConfig, "", "tram", refused("NO_MOBILE", "tram", fmt.Sprintf(noMobile, "tram")), true},
		{"disabled", trainConfig + "config mobile_node 'bus'\n option enabled '0'\n", "", "bus", refused("NO_MOBILE", "bus", fmt.Sprintf(noMobile, "bus")), true},
		{"none", "config home_agent 'depot'\n", "", "", refused("NO_MOBILE", "", fmt.Sprintf(noMobile, "")), true},
	} {
		cases = append(cases, func(r *router) {
			r.configure("roam6", tt.roam6)
			r.configure("network", networkConfig)
			r.configure("dhcp", tt.dhcp)
			calls, err := r.try(protoScript, "proto_roam6_setup roam", "INCLUDE_ONLY=1", "JSON_mobile="+tt.mobile)
			r.want(tt.name, calls, []string{""}, tt.want...)
			if (err != nil) != tt.refused {
				r.Errorf("%s: error %v", tt.name, err)
			}
		})
	}
	onRouters(t, func(r *router) {
		for _, c := range cases {
			c(r)
		}
		r.want("teardown", r.run(protoScript, "proto_roam6_teardown roam", "INCLUDE_ONLY=1"), []string{""}, "proto_kill_command [roam]")
	})
}

// netifd runs the handler in its directory, and asks it for its description first.
func TestProtoHandler(t *testing.T) {
	onRouters(t, func(r *router) {
		r.write("lib/netifd/netifd-proto.sh", `init_proto() { record init_proto "$@"; }
add_protocol() { record add_protocol "$@"; }
`, 0o644)
		calls := r.run("lib/functions.sh", `cd "$IPKG_INSTROOT/lib/netifd/proto" && set -- roam6 dump && . ./roam6.sh`)
		r.want("handler", calls, []string{""}, "init_proto [roam6] [dump]", "add_protocol [roam6]")
	})
}

func TestHandOver(t *testing.T) {
	const script = "lib/netifd/roam6.script"
	environment := []string{
		"INTERFACE=roam", "ROAM6_DEVICE=roam6", "ROAM6_MOBILE=train", "ROAM6_HOME_ADDRESSES=2001:db8:1::2 2001:db8:2::2",
		"ROAM6_PREFIXES=2001:db8:100::/56,4294967295,4294967295 2001:db8:8000::/56,1800,3600",
	}
	onRouters(t, func(r *router) {
		event := func(event string) ([]string, error) {
			return r.try("lib/functions.sh", `set -- `+event+`; . "$IPKG_INSTROOT/`+script+`"`, environment...)
		}
		calls, err := event("up")
		if err == nil {
			r.Error("handed over without a device")
		}
		r.want("without a device", calls, []string{""})
		r.write("sys/class/net/roam6", "", 0o644)
		calls, err = event("up")
		if err != nil {
			r.Error(err)
		}
		// A third 1: netifd does not assign what the daemon has assigned.
		r.want("up", calls, []string{""}, "proto_init_update [roam6] [1] [1]",
			"proto_add_ipv6_address [2001:db8:1::2] [128]", "proto_add_ipv6_address [2001:db8:2::2] [128]",
			"proto_add_ipv6_prefix [2001:db8:100::/56,4294967295,4294967295]", "proto_add_ipv6_prefix [2001:db8:8000::/56,1800,3600]",
			"proto_send_update [roam]")
		calls, _ = event("down")
		r.want("down", calls, []string{""}, "proto_init_update [roam6] [0]", "proto_send_update [roam]")
		c := exec.Command(r.shell[0], append(slices.Clone(r.shell[1:]), filepath.Join(r.root, script), "up")...)
		c.Env = environment[2:]
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "run by roam6 follow") {
			r.Errorf("run by hand: %v, %q", err, out)
		}
	})
}
