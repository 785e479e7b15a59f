package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/lab/relay"
	labworld "roam6/internal/lab/world"
)

// estate is a world with a home link and an access network, for tests about the
// networks of mobile routers: a correspondent and a core, home agents on a home
// link that is a switch with an access point, an access router, and mobile routers,
// each with a node behind it that configures itself.
//
//	cn ── core ─┬─ agent ──┐
//	            ├─ agent2 ─┴─ home ))) (((  mr ── mnn
//	            └─ ar ))) (((               mr2 ── mnn2
type estate struct {
	*testing.T
	world   *labworld.World
	state   string            // directory of what daemons keep
	sockets map[string]string // directories of control sockets that are elsewhere, by node
	daemons map[string]*process
	capture string
}

// Where things are in an estate.
var (
	estateCN     = netip.MustParseAddr("2001:db8:c::2")
	estateAgent  = netip.MustParseAddr("2001:db8:10::1")
	estateAgent2 = netip.MustParseAddr("2001:db8:10::2")
	estateHome   = netip.MustParseAddr("2001:db8:10::100") // of mr
	estateHome2  = netip.MustParseAddr("2001:db8:10::200") // of mr2
	estatePools  = []netip.Prefix{netip.MustParsePrefix("2001:db8:8000::/40"), netip.MustParsePrefix("2001:db8:9000::/40")}
	// estateNets are prefixes for mobile networks that are configured.
	estateNets = []netip.Prefix{netip.MustParsePrefix("2001:db8:100::/64"), netip.MustParsePrefix("2001:db8:101::/64")}
	// estateLocal is routed to the access router.
	estateLocal = netip.MustParsePrefix("2001:db8:d000::/40")
)

const (
	estateKey     = "000102030405060708090a0b0c0d0e0f"
	estateHomeLAN = "home"
)

// newEstate builds the world. Its daemons are still to be started.
func newEstate(t *testing.T) *estate {
	t.Helper()
	needWorlds(t)
	end := func(node, ifname string, addresses ...string) labworld.End {
		e := labworld.End{Node: node, Interface: ifname}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, netip.MustParsePrefix(a))
		}
		return e
	}
	outside := func(via string) []labworld.Route {
		return []labworld.Route{{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: netip.MustParseAddr(via), Interface: "core0"}}
	}
	// Every link passes the relay, which sees what there is on it.
	path := relay.Impairment{Delay: 500 * time.Microsecond}
	wire := func(a, b labworld.End) labworld.Wire { return labworld.Wire{A: a, B: b, Path: path} }
	topology := labworld.Topology{
		Nodes: []labworld.Node{
			{Name: "cn"}, {Name: "core", Router: true}, {Name: "ar", Router: true},
			{Name: "agent", Router: true, Routes: outside("2001:db8:c:1::1")}, {Name: "agent2", Router: true, Routes: outside("2001:db8:c:2::1")},
			{Name: "mr", Router: true}, {Name: "mr2", Router: true},
			{Name: "mnn", Listens: true}, {Name: "mnn2", Listens: true},
		},
		Wires: []labworld.Wire{
			wire(end("cn", "eth0", "2001:db8:c::2/64"), end("core", "cn", "2001:db8:c::1/64")),
			wire(end("agent", "core0", "2001:db8:c:1::2/64"), end("core", "agent", "2001:db8:c:1::1/64")),
			wire(end("agent2", "core0", "2001:db8:c:2::2/64"), end("core", "agent2", "2001:db8:c:2::1/64")),
			wire(end("ar", "core0", "2001:db8:c:3::2/64"), end("core", "ar", "2001:db8:c:3::1/64")),
			wire(end("mr", "lan0"), end("mnn", "eth0")),
			wire(end("mr", "lan1"), end("mnn", "eth1")),
			wire(end("mr2", "lan0"), end("mnn2", "eth0")),
		},
		LANs: []labworld.LAN{{Name: estateHomeLAN, Ends: []labworld.End{
			end("agent", "home0", "2001:db8:10::1/64"), end("agent2", "home0", "2001:db8:10::2/64"),
		}}},
		Airs: []labworld.Air{{
			Routers:  []labworld.End{end(estateHomeLAN, "ap0"), end("ar", "acc0", "2001:db8:a1::1/64")},
			Stations: []labworld.End{end("mr", "up0"), end("mr2", "up0")}, Path: path,
		}},
		Anchors: []labworld.Anchor{
			{Prefix: estatePools[0], Node: "agent"}, {Prefix: estatePools[1], Node: "agent2"},
			{Prefix: estateNets[0], Node: "agent"}, {Prefix: estateNets[1], Node: "agent"}, {Prefix: estateLocal, Node: "ar"},
		},
	}
	w, err := labworld.Build(topology, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := &estate{T: t, world: w, state: t.TempDir(), sockets: map[string]string{}, daemons: map[string]*process{}, capture: filepath.Join(t.TempDir(), "estate.pcap")}
	t.Cleanup(func() { _ = w.Close() })
	f, err := os.Create(e.capture)
	e.must(err)
	e.must(w.Relay.Capture(f))
	t.Cleanup(func() { _ = w.Relay.EndCapture(); f.Close() })
	return e
}

func (e *estate) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// until waits for what has to happen.
func (e *estate) until(what string, holds func() bool) {
	e.Helper()
	e.within(20*time.Second, what, holds)
}

func (e *estate) within(limit time.Duration, what string, holds func() bool) {
	e.Helper()
	await(e.T, limit, what, maps.Values(e.daemons), holds)
}

// text is a whole configuration of a node's sections.
func (e *estate) text(name, sections string) string {
	return fmt.Sprintf("config globals 'globals'\n\toption control '%s'\n\toption log_level 'debug'\n\toption state_directory '%s'\n%s",
		e.socket(name), filepath.Join(e.state, name), sections)
}

// socket is the control socket of a node's daemon, beside which it notes bindings.
func (e *estate) socket(name string) string {
	return filepath.Join(cmp.Or(e.sockets[name], e.state), name+".s")
}

// start starts a node's daemon, or starts it again.
func (e *estate) start(name, sections string) *process {
	e.Helper()
	paths := daemonPaths{config: filepath.Join(e.state, name+".conf"), socket: e.socket(name), log: filepath.Join(e.state, name+".log")}
	e.must(os.WriteFile(paths.config, []byte(e.text(name, sections)), 0o600))
	binary, err := os.Executable()
	e.must(err)
	p := startProcess(e.T, e.world.Space(name), binary, name, paths)
	e.daemons[name] = p
	e.until(name+" answers", p.answers)
	return p
}

// reload gives a daemon another configuration.
func (e *estate) reload(name, sections string) {
	e.Helper()
	p := e.daemons[name]
	e.must(os.WriteFile(p.paths.config, []byte(e.text(name, sections)), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	e.must(p.client.Reload(ctx))
}

// end ends a daemon in order.
func (e *estate) end(name string) {
	e.Helper()
	e.daemons[name].end(e.T)
	delete(e.daemons, name)
}

// kill ends a daemon without any order.
func (e *estate) kill(name string) {
	e.daemons[name].kill()
	delete(e.daemons, name)
}

// move takes a mobile router to the access router or home.
func (e *estate) move(name, to string) {
	e.Helper()
	_, err := e.world.Move(name, "up0", to, 10*time.Millisecond, true)
	e.must(err)
}

// The parts of configurations.
const (
	estateAdvertise = `config interface
	option interface '%s'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
`
	estatePrefix = `config prefix
	option interface '%s'
	list prefix '%s'
`
)

// accessRouter is the access router's configuration.
func (e *estate) accessRouter() string {
	return fmt.Sprintf(estateAdvertise, "acc0") + fmt.Sprintf(estatePrefix, "acc0", "2001:db8:a1::/64")
}

// homeAgent is a home agent's configuration: options of its own section, and the
// sections of mobiles.
func (e *estate) homeAgent(address netip.Addr, options string, mobiles ...string) string {
	return fmt.Sprintf(estateAdvertise, "home0") + "\toption AdvHomeAgentFlag '1'\n\toption AdvHomeAgentInfo '1'\n\toption AdvMobRtrSupportFlag '1'\n" +
		fmt.Sprintf(estatePrefix, "home0", address.String()+"/64") + "\toption AdvRouterAddr '1'\n" +
		fmt.Sprintf("config home_agent 'ha'\n\toption interface 'home0'\n\toption address '%s'\n\tlist prefix '2001:db8:10::/64'\n\toption dad '0'\n%s", address, options) +
		strings.Join(mobiles, "")
}

// mobile is the section of a mobile at its home agent.
func (e *estate) mobile(name string, home netip.Addr, options string) string {
	return fmt.Sprintf("config mobile '%s'\n\toption home_address '%s'\n\toption key '%s'\n%s", name, home, estateKey, options)
}

// router is a mobile router's configuration.
func (e *estate) router(name string, home netip.Addr, options string) string {
	return fmt.Sprintf("config mobile_router '%s'\n\toption home_address '%s/64'\n\toption key '%s'\n\tlist uplink 'up0'\n%s", name, home, estateKey, options)
}

// Options that tests use again and again.
const (
	toAgent    = "\tlist home_agent '2001:db8:10::1'\n"
	fromPool   = "\tlist delegation_pool '2001:db8:8000::/40'\n"
	getsPrefix = "\toption prefix_delegation '1'\n\tlist downstream 'lan0'\n"
	isRouter   = "\toption router '1'\n"
)

// hostAddress is the address of a node in a prefix, and whether it is deprecated.
func (e *estate) hostAddress(node string, p netip.Prefix) (a netip.Addr, deprecated bool) {
	e.Helper()
	list, err := e.world.Space(node).Link.AddrList(nil, netlink.FAMILY_V6)
	e.must(err)
	for _, x := range list {
		if ip, _ := netip.AddrFromSlice(x.IP); p.Contains(ip) && x.Flags&unix.IFA_F_TENTATIVE == 0 {
			return ip, x.Flags&unix.IFA_F_DEPRECATED != 0
		}
	}
	return a, false
}

// addressOf waits for the address of a node in a prefix.
func (e *estate) addressOf(node string, p netip.Prefix) (a netip.Addr) {
	e.Helper()
	e.until(fmt.Sprintf("%s has an address of %v", node, p), func() bool {
		var deprecated bool
		a, deprecated = e.hostAddress(node, p)
		return a.IsValid() && !deprecated
	})
	return a
}

// delegations are what the home agent of a node has delegated and holds.
func (e *estate) delegations(agent string) (list []control.Delegation) {
	e.Helper()
	raw, err := e.daemons[agent].client.Show(context.Background(), control.TopicDelegations)
	e.must(err)
	d, err := control.Decode(control.TopicDelegations, raw)
	e.must(err)
	for _, x := range d.(control.Delegations).Delegations {
		if x.State != "kept" {
			list = append(list, x)
		}
	}
	return list
}

// delegatedTo waits for the prefix of a mobile.
func (e *estate) delegatedTo(agent, mobile string) (p netip.Prefix) {
	e.Helper()
	e.until(agent+" has delegated a prefix to "+mobile, func() bool {
		p = netip.Prefix{}
		for _, d := range e.delegations(agent) {
			if d.Mobile == mobile {
				p = d.Prefix
			}
		}
		return p.IsValid()
	})
	return p
}

// registeredAt waits until a mobile router is registered away from home, or at home.
func (e *estate) registeredAt(router string, away bool) {
	e.Helper()
	e.until(fmt.Sprintf("%s is registered: %t", router, away), func() bool {
		u, err := e.daemons[router].client.Updates(context.Background())
		return err == nil && len(u.Updates) == 1 && u.Updates[0].Registered == away && !u.Updates[0].Pending
	})
}

// What comes of an echo request.
const (
	echoReply        = "reply"
	echoNothing      = "nothing"
	echoTimeExceeded = "time exceeded"
	echoUnreachable  = "unreachable, code " // and the code
)

// echo sends an ICMPv6 echo request and tells what comes of it soon.
func (e *estate) echo(node string, from, to netip.Addr) string {
	e.Helper()
	return e.echoWithin(500*time.Millisecond, node, from, to)
}

// resolution is for how long a router looks for a neighbour until it gives up
// (RFC 4861 §10), and some more.
const resolution = 3500 * time.Millisecond

func (e *estate) echoWithin(limit time.Duration, node string, from, to netip.Addr) (outcome string) {
	e.Helper()
	const request, reply, exceeded, unreachable, header = 128, 129, 3, 1, 40
	e.must(e.world.Space(node).Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
			return err
		}
		if from.IsValid() {
			if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()}); err != nil {
				return err
			}
		}
		mark := uint32(time.Now().UnixNano())
		m := binary.BigEndian.AppendUint32([]byte{request, 0, 0, 0, 0, 7, 0, 1}, mark)
		if err := unix.Sendto(fd, m, 0, &unix.SockaddrInet6{Addr: to.As16()}); err != nil {
			outcome = err.Error()
			return nil
		}
		outcome = echoNothing
		b := make([]byte, 2048)
		for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				outcome = err.Error()
				return nil
			}
			mine := func(at int) bool { return n >= at+12 && binary.BigEndian.Uint32(b[at+8:]) == mark }
			switch {
			case b[0] == reply && mine(0):
				outcome = echoReply
				return nil
			case b[0] == exceeded && mine(8+header):
				outcome = echoTimeExceeded
				return nil
			case b[0] == unreachable && mine(8+header):
				outcome = fmt.Sprint(echoUnreachable, b[1])
				return nil
			}
		}
		return nil
	}))
	return outcome
}

// reached waits until the correspondent gets an answer from an address, and looks
// that the answer's owner reaches the correspondent from there.
func (e *estate) reached(node string, a netip.Addr) {
	e.Helper()
	last := ""
	defer func() {
		if e.Failed() {
			e.Logf("the last echo to %v of %s: %s", a, node, last)
		}
	}()
	e.until(fmt.Sprintf("the correspondent reaches %v of %s", a, node), func() bool { last = e.echo("cn", estateCN, a); return last == echoReply })
	e.until(fmt.Sprintf("%v of %s reaches the correspondent", a, node), func() bool { last = e.echo(node, a, estateCN); return last == echoReply })
}

// becomes waits for an outcome of echo requests to an address, and looks that one
// that must not be is never seen.
func (e *estate) becomes(what string, a netip.Addr, wanted string, never ...string) {
	e.Helper()
	last := ""
	defer func() {
		if e.Failed() {
			e.Logf("%s: the last echo: %s", what, last)
		}
	}()
	e.until(what, func() bool {
		if last = e.echoWithin(resolution, "cn", estateCN, a); slices.Contains(never, last) {
			e.Fatalf("%s: %s", what, last)
		}
		return last == wanted
	})
}

// snapshots are the states of the nodes, for what must be left at the end.
func (e *estate) snapshots() labworld.Snapshots {
	e.Helper()
	s, err := e.world.Snapshots()
	e.must(err)
	return s
}

// captured ends the capture and returns its file.
func (e *estate) captured() string {
	e.Helper()
	e.must(e.world.Relay.EndCapture())
	return e.capture
}

func (e *estate) link(node, ifname string) netlink.Link {
	e.Helper()
	link, err := e.world.Space(node).Link.LinkByName(ifname)
	e.must(err)
	return link
}

func ipAddr(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}}
}

// linkLocals are the link-local addresses of an interface.
func (e *estate) linkLocals(node, ifname string) (all []netip.Addr) {
	e.Helper()
	list, err := e.world.Space(node).Link.AddrList(e.link(node, ifname), netlink.FAMILY_V6)
	e.must(err)
	for _, x := range list {
		if ip, ok := netip.AddrFromSlice(x.IP); ok && ip.IsLinkLocalUnicast() {
			all = append(all, ip)
		}
	}
	return all
}
