package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	worlds "roam6/internal/lab"
	"roam6/internal/lab/netns"
	labworld "roam6/internal/lab/world"
)

// The configurations of docs/routing.md, with short times.
const (
	agentBIRD = `log stderr all;
router id 192.0.2.1;
protocol device { scan time 1; }
protocol kernel {
	learn;
	ipv6 {
		import where krt_source = 137 && net.len < 128;
		export none;
	};
}
protocol bgp core {
	local 2001:db8:c::2 as 64512;
	neighbor 2001:db8:c::1 as 64513;
	connect delay time 1; connect retry time 1; error wait time 1, 1;
	ipv6 {
		import none;
		export where source = RTS_INHERIT;
	};
}
`
	neighborBIRD = `log stderr all;
router id 192.0.2.2;
protocol device { scan time 1; }
protocol kernel { ipv6 { import none; export all; }; }
protocol bgp agent {
	local 2001:db8:c::1 as 64513;
	neighbor 2001:db8:c::2 as 64512;
	connect delay time 1; connect retry time 1; error wait time 1, 1;
	ipv6 { import all; export none; };
}
`
	routingAgentFile = `config globals 'globals'
	option control '%s'
config interface
	option interface 'wan0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
config prefix
	option interface 'wan0'
	list prefix '2001:db8:a1::/64'
config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	list prefix '2001:db8:10::/64'
	option dad '0'
config mobile 'train'
	option home_address '2001:db8:10::100'
	list prefix '2001:db8:100::/64'
	list prefix '2001:db8:101::/64'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'
`
	routingRouterFile = `config globals 'globals'
	option control '%s'
config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	list uplink 'up0'
	list prefix '2001:db8:100::/64'
	list prefix '2001:db8:101::/64'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'
`
)

// TestRoutingDaemon: the routes of mobile networks carry a protocol number of
// their own (137), by which a routing daemon on the home agent knows them. BIRD
// tells a neighbour of a mobile network when its router registers, no longer when
// a prefix is withdrawn, and of none when the router de-registers (RFC 3963 §6.3:
// the home agent advertises mobile networks while it has a binding for them).
func TestRoutingDaemon(t *testing.T) {
	if !worlds.Privileged() {
		t.Skip("needs root, or `unshare -Urn`: network namespaces")
	}
	if _, err := exec.LookPath("bird"); err != nil {
		t.Skip("NOT TESTED: there is no BIRD 2 (apt-get install bird2), which is to redistribute routes of mobile networks")
	}
	needWorlds(t)
	t.Parallel()
	w, err := labworld.Build(labworld.Topology{
		Nodes: []labworld.Node{{Name: "agent", Router: true}, {Name: "neighbor", Router: true}, {Name: "resident"}, {Name: "train", Router: true}},
		Wires: []labworld.Wire{
			{A: routingEnd("agent", "core0", "2001:db8:c::2/64"), B: routingEnd("neighbor", "agent0", "2001:db8:c::1/64")},
			{A: routingEnd("agent", "home0", "2001:db8:10::1/64"), B: routingEnd("resident", "eth0", "2001:db8:10::2/64")},
		},
		Airs: []labworld.Air{{
			Routers:  []labworld.End{routingEnd("agent", "wan0", "2001:db8:a1::1/64")},
			Stations: []labworld.End{{Node: "train", Interface: "up0"}},
		}},
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	v := &village{T: t, world: w}
	if _, err := w.Move("train", "up0", "agent", 0, true); err != nil {
		t.Fatal(err)
	}
	bird(t, w.Space("agent"), agentBIRD)
	bird(t, w.Space("neighbor"), neighborBIRD)
	binary, err := os.Executable()
	v.must(err)
	v.agent = v.start(w.Space("agent"), binary, "agent", routingAgentFile)
	v.host = v.start(w.Space("train"), binary, "train", routingRouterFile)

	kept, withdrawn := netip.MustParsePrefix("2001:db8:100::/64"), netip.MustParsePrefix("2001:db8:101::/64")
	knows := func(p netip.Prefix) bool { return birdRoute(t, w.Space("neighbor"), p) }
	began := time.Now()
	v.until("the neighbour has the routes of both mobile networks", func() bool { return knows(kept) && knows(withdrawn) })
	t.Logf("routes after %v", time.Since(began))
	if home := netip.MustParsePrefix("2001:db8:10::100/128"); knows(home) {
		t.Errorf("the neighbour has a route to %v", home)
	}

	changed := strings.Replace(fmt.Sprintf(routingRouterFile, v.host.paths.socket), "\tlist prefix '2001:db8:101::/64'\n", "", 1)
	v.must(os.WriteFile(v.host.paths.config, []byte(changed), 0o600))
	v.must(v.host.cmd.Process.Signal(syscall.SIGHUP))
	began = time.Now()
	v.until("the route of the withdrawn prefix is gone", func() bool { return !knows(withdrawn) })
	t.Logf("withdrawn after %v", time.Since(began))
	if !knows(kept) {
		t.Error("with it went the route of the other one")
	}

	v.must(v.host.cmd.Process.Signal(syscall.SIGTERM))
	<-v.host.ended
	v.host = nil
	began = time.Now()
	v.until("the route is gone with the registration", func() bool { return !knows(kept) })
	t.Logf("gone %v after the de-registration", time.Since(began))
}

func routingEnd(node, ifname, address string) labworld.End {
	return labworld.End{Node: node, Interface: ifname, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
}

// bird runs BIRD in a namespace until the test ends.
func bird(t *testing.T, s *netns.Space, text string) {
	t.Helper()
	directory := t.TempDir()
	file := filepath.Join(directory, "bird.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(directory, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bird", "-f", "-c", file, "-s", filepath.Join(directory, "ctl"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := s.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("BIRD of %s:\n%s", s.Name(), b)
		}
	})
}

// birdRoute reports whether BIRD has a route to a prefix in a namespace's kernel.
func birdRoute(t *testing.T, s *netns.Space, p netip.Prefix) bool {
	t.Helper()
	routes, err := s.Link.RouteList(nil, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.String() == p.String() && int(r.Protocol) == unix.RTPROT_BIRD {
			return true
		}
	}
	return false
}
