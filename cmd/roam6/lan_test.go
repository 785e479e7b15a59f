package main

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/config"
	"roam6/internal/lab/netns"
	labworld "roam6/internal/lab/world"
)

// lan is a router with a host on its link. roam6 advertises there, and something
// that hosts run listens.
type lan struct {
	*village
	router, host *netns.Space
}

// The ends of the link.
const (
	lanRouter = "lan0"
	lanHost   = "eth0"
)

// newLAN builds the world. The host's kernel listens to advertisements, or leaves
// them to somebody else.
func newLAN(t *testing.T, kernel bool) *lan {
	t.Helper()
	needWorlds(t)
	w, err := labworld.Build(labworld.Topology{
		Nodes: []labworld.Node{{Name: "router", Router: true}, {Name: "host", Listens: kernel}},
		Wires: []labworld.Wire{{A: labworld.End{Node: "router", Interface: lanRouter}, B: labworld.End{Node: "host", Interface: lanHost}}},
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return &lan{village: &village{T: t, world: w}, router: w.Space("router"), host: w.Space("host")}
}

// advertise starts roam6 on the router with sections of its configuration.
func (l *lan) advertise(sections string) {
	l.Helper()
	l.agent = l.start(l.router, os.Args[0], "router", lanGlobals+sections)
}

const lanGlobals = "config globals 'globals'\n\toption control '%s'\n"

// reload gives the router's daemon other sections.
func (l *lan) reload(sections string) {
	l.Helper()
	file := l.agent.cmd.Args[len(l.agent.cmd.Args)-1]
	before, err := os.ReadFile(file)
	l.must(err)
	globals, _, _ := strings.Cut(string(before), "config interface")
	l.must(os.WriteFile(file+".new", []byte(globals+sections), 0o600))
	l.must(os.Rename(file+".new", file))
	l.must(l.agent.cmd.Process.Signal(syscall.SIGHUP))
}

// stop ends the router's daemon in order.
func (l *lan) stop() {
	l.Helper()
	l.agent.end(l.T)
	l.agent = nil
}

// dummy gives the router another interface, with an address.
func (l *lan) dummy(name, address string) {
	l.Helper()
	l.must(l.router.Link.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, TxQLen: -1}, PeerName: name + "x"}))
	l.up(l.router, name, true)
	l.up(l.router, name+"x", true)
	l.must(labworld.AddAddress(l.router, name, netip.MustParsePrefix(address)))
}

// linkLocal is an interface's link-local address.
func (l *lan) linkLocal(s *netns.Space, name string) (a netip.Addr) {
	l.Helper()
	l.until(name+" has a link-local address", func() bool {
		for _, x := range l.addresses(s, name) {
			if x.addr.IsLinkLocalUnicast() {
				a = x.addr
			}
		}
		return a.IsValid()
	})
	return a
}

// hostAddress is an address that a host has.
type hostAddress struct {
	addr             netip.Addr
	preferred, valid int // seconds
	deprecated       bool
}

func (l *lan) addresses(s *netns.Space, name string) (all []hostAddress) {
	l.Helper()
	link, err := s.Link.LinkByName(name)
	l.must(err)
	list, err := s.Link.AddrList(link, netlink.FAMILY_V6)
	l.must(err)
	for _, a := range list {
		addr, _ := netip.AddrFromSlice(a.IP)
		all = append(all, hostAddress{addr: addr, preferred: a.PreferedLft, valid: a.ValidLft, deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0})
	}
	return all
}

// formed is the host's address in a prefix, if it has one.
func (l *lan) formed(prefix string) (hostAddress, bool) {
	l.Helper()
	for _, a := range l.addresses(l.host, lanHost) {
		if netip.MustParsePrefix(prefix).Contains(a.addr) {
			return a, true
		}
	}
	return hostAddress{}, false
}

// kernelRoute is a route as /proc/net/ipv6_route tells of it.
type kernelRoute struct {
	prefix netip.Prefix
	via    netip.Addr // unspecified: on-link
	flags  uint64
}

// Flags of routes: linux/ipv6_route.h. The preference takes two bits (RFC 4191 §2.1).
const (
	routeExpires    = 0x00400000
	routePrefMask   = 0x18000000
	routePreferHigh = 0x08000000
	routePreferLow  = 0x18000000
)

// routes are the host's routes that lead out of its interface.
func (l *lan) routes() (all []kernelRoute) {
	l.Helper()
	var text []byte
	l.must(l.host.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/ipv6_route")
		return err
	}))
	address := func(s string) netip.Addr {
		b, err := hex.DecodeString(s)
		l.must(err)
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[9] != lanHost {
			continue
		}
		bits, err := strconv.ParseUint(f[1], 16, 8)
		l.must(err)
		flags, err := strconv.ParseUint(f[8], 16, 64)
		l.must(err)
		all = append(all, kernelRoute{prefix: netip.PrefixFrom(address(f[0]), int(bits)), via: address(f[4]), flags: flags})
	}
	return all
}

// route is the host's route to a prefix.
func (l *lan) route(prefix string) (kernelRoute, bool) {
	l.Helper()
	for _, r := range l.routes() {
		if r.prefix == netip.MustParsePrefix(prefix) {
			return r, true
		}
	}
	return kernelRoute{}, false
}

// leads reports whether the host's route to a prefix is by way of a router, with a
// preference and for a time.
func (l *lan) leads(prefix string, via netip.Addr, preference uint64) func() bool {
	return func() bool {
		r, ok := l.route(prefix)
		return ok && r.via == via && r.flags&routePrefMask == preference && r.flags&routeExpires != 0
	}
}

// forms waits for an address in each prefix, and looks at its lifetimes, which are
// those of the prefixes.
func (l *lan) forms() {
	l.Helper()
	for prefix, lifetimes := range map[string][2]int{"2001:db8:a1::/64": {1800, 3600}, "2001:db8:a3::/64": {14400, 86400}} {
		var a hostAddress
		l.until("the host has an address in "+prefix, func() (ok bool) { a, ok = l.formed(prefix); return ok })
		if p, v := lifetimes[0]-a.preferred, lifetimes[1]-a.valid; p < 0 || p > 60 || v < 0 || v > 60 || a.deprecated {
			l.Errorf("address %+v, want lifetimes of %v", a, lifetimes)
		}
	}
	if a, ok := l.formed("2001:db8:a2::/64"); ok {
		l.Errorf("an address %v, although the prefix is not autonomous", a)
	}
	for prefix, want := range map[string]bool{"2001:db8:a1::/64": true, "2001:db8:a2::/64": true, "2001:db8:a3::/64": false} {
		l.until(fmt.Sprintf("%s is on-link: %t", prefix, want), func() bool {
			r, ok := l.route(prefix)
			return want == (ok && r.via.IsUnspecified()) // or by way of the router
		})
	}
}

// changes gives the router the changed configuration and waits until the host has
// followed.
func (l *lan) changes() {
	l.Helper()
	l.reload(lanChanged())
	l.until("the host has an address in the new prefix", func() bool { _, ok := l.formed("2001:db8:a4::/64"); return ok })
	l.until("its old address is deprecated, and not valid for longer than two hours", func() bool {
		a, ok := l.formed("2001:db8:a1::/64")
		return ok && a.deprecated && a.preferred == 0 && a.valid <= 7200
	})
	l.until("the route is withdrawn", func() bool { _, ok := l.route("2001:db8:b000::/36"); return !ok })
	if a, ok := l.formed("2001:db8:a3::/64"); !ok || a.deprecated {
		l.Errorf("the prefix that has stayed: %+v", a)
	}
}

// lanSections are a router's advertisements with something of everything. Times are
// whole ticks of any kernel.
const lanSections = `config interface
	option interface 'lan0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
	option AdvDefaultLifetime '600'
	option AdvDefaultPreference 'high'
	option AdvCurHopLimit '42'
	option AdvLinkMTU '1400'
	option AdvReachableTime '12400'
	option AdvRetransTimer '2400'
config prefix
	option interface 'lan0'
	list prefix '2001:db8:a1::1/64'
	option AdvRouterAddr '1'
	option AdvValidLifetime '3600'
	option AdvPreferredLifetime '1800'
config prefix
	option interface 'lan0'
	list prefix '2001:db8:a2::/64'
	option AdvAutonomous '0'
	option AdvValidLifetime '3600'
	option AdvPreferredLifetime '1800'
config prefix
	option interface 'lan0'
	list prefix '2001:db8:a3::/64'
	option AdvOnLink '0'
	option AdvValidLifetime '86400'
	option AdvPreferredLifetime '14400'
config route
	option interface 'lan0'
	list prefix '2001:db8:b000::/36'
	option AdvRoutePreference 'low'
	option AdvRouteLifetime '900'
config rdnss
	option interface 'lan0'
	list addr '2001:db8:a1::53'
	list addr '2001:db8:a1::54'
	option AdvRDNSSLifetime '300'
config dnssl
	option interface 'lan0'
	list suffix 'example.net'
	list suffix 'lan.example.net'
	option AdvDNSSLLifetime '400'
`

// lanChanged are the same with one prefix exchanged, another preference, and
// without the route.
func lanChanged() string {
	s := strings.NewReplacer("2001:db8:a1::1/64", "2001:db8:a4::1/64", "'high'", "'low'", "'42'", "'43'").Replace(lanSections)
	before, rest, _ := strings.Cut(s, "config route")
	_, after, _ := strings.Cut(rest, "config rdnss")
	return before + "config rdnss" + after
}

// TestKernelHost: what Linux makes of the advertisements. RFC 4861 §6.3.4, RFC 4862
// §5.5.3, RFC 4191 §3.1, RFC 6275 §7.2; and of changes of them: RFC 4861 §6.2.4,
// §6.2.5, RFC 9096 §3.5.
// program is a program that hosts run, or that shows what it hears. It runs until
// the test ends, with every process that it has started, and with a directory /run
// of its own.
func (l *lan) program(s *netns.Space, pkg string, prepare string, args ...string) {
	l.Helper()
	path := l.find(args[0], pkg)
	out, err := os.Create(filepath.Join(l.TempDir(), "log"))
	l.must(err)
	defer out.Close()
	script := "mount -t tmpfs tmpfs /run && " + prepare + ` && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh", path}, args[1:]...)...)
	cmd.Stdout, cmd.Stderr = out, out
	l.must(s.Do(cmd.Start))
	l.Cleanup(func() {
		// With the first process of the namespace all others end; that of unshare ends
		// only one that has kept its user.
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid)); err == nil {
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if b, err := os.ReadFile(out.Name()); err == nil && l.Failed() {
			l.Logf("%s:\n%s", args[0], b[max(0, len(b)-8000):])
		}
	})
}

// find looks for a program, or skips the test.
func (l *lan) find(name, pkg string) string {
	l.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name, "/lib/systemd/" + name, "/usr/lib/systemd/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	l.Skipf("NOT TESTED: there is no %s (apt-get install %s)", name, pkg)
	return ""
}

// TestDhcpcdHost: dhcpcd, which forms addresses in user space, makes of the
// advertisements what the kernel does, and takes in their DNS options (RFC 8106 §5).
// TestNetworkdHost: systemd-networkd does, too, and routes by route information
// options (RFC 4191 §2.3). It runs without systemd, and where it cannot change /sys it
// does not wait for udev. A route that it has keeps its preference when another one is
// advertised (systemd 252), so that is not looked at.
// TestRdisc6: what rdisc6 (ndisc6) shows is what was advertised.
// TestRadvdump: what radvdump makes of the advertisements is, taken for a
// configuration of radvd and translated, the one that they were made with.
// imported is the configuration that a configuration of radvd is translated into,
// which has to be possible without a loss.
func (l *lan) imported(text string) *config.Config {
	l.Helper()
	uci := l.translated(text)
	c, err := config.Parse("imported", []byte(uci))
	if err != nil {
		l.Fatalf("%v in\n%s", err, uci)
	}
	return c
}

// translated is what roam6 import makes of a configuration of radvd.
func (l *lan) translated(text string) string {
	l.Helper()
	code, out, notes := runImport(text, "-")
	if code != 0 || notes != "" {
		l.Fatalf("import of\n%s\nexit code %d\n%s", text, code, notes)
	}
	return out
}
