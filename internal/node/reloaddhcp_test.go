package node

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	codec "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

// reload puts a text in place of the configuration; %s is the control socket, as at
// the start.
func (r *running) reload(text string) {
	r.Helper()
	r.write(fmt.Sprintf(text, filepath.Join(filepath.Dir(r.file), "s")))
	if err := r.client.Reload(context.Background()); err != nil {
		r.Fatal(err)
	}
}

// udpPorts are the UDP ports that are bound in a namespace.
func udpPorts(t *testing.T, s *nstest.Space) (ports []string) {
	t.Helper()
	s.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/udp6")
		for _, m := range regexp.MustCompile(`(?m)^ *\d+: [0-9A-F]{32}:([0-9A-F]{4})`).FindAllStringSubmatch(string(b), -1) {
			ports = append(ports, m[1])
		}
		return err
	})
	return ports
}

const clientPort, serverPort = "0222", "0223" // as the kernel writes them

// A router asks for prefixes by one uplink, then by another, under another name, for
// other interfaces: what is requested no more is returned, taken from its interface
// and deprecated at once, and what stays is not touched.
func TestReloadOfRequests(t *testing.T) {
	t.Parallel()
	one, two, router, host := nstest.New(t), nstest.New(t), nstest.New(t), nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	nstest.Veth(one, "a0", router, "up0")
	nstest.Veth(two, "b0", router, "up1")
	nstest.Veth(router, "lan0", host, "h0")
	nstest.Veth(router, "lan1", host, "h1")
	first := (&accessServer{prefix: netip.MustParsePrefix("2001:db8:d0::/60"), rapid: true}).serve(t, one, "a0")
	second := (&accessServer{prefix: netip.MustParsePrefix("2001:db8:e0::/60"), rapid: true}).serve(t, two, "b0")
	file := requestFile(stateDir(t))
	r := startIn(t, router, nil, file)
	has := func(name, prefix string) bool {
		a, _ := hostAddress(t, router, name, netip.MustParsePrefix(prefix))
		return a.IsValid()
	}
	r.until("the downstream is numbered", func() bool { return has("lan0", "2001:db8:d0::/64") })

	// Nothing that only has another name is changed in the kernel.
	changes := make(chan netlink.AddrUpdate, 64)
	end := make(chan struct{})
	router.Do(func() error { return netlink.AddrSubscribe(changes, end) })
	r.reload(strings.Replace(file, "'lan'", "'other'", 1))
	r.reload(strings.Replace(file, "'lan0'", "'lan0'\n\tlist downstream 'lan1'", 1))
	r.until("the second downstream is numbered", func() bool { return has("lan1", "2001:db8:d0:1::/64") })
	close(end)
	for c := range changes {
		if ip, _ := netip.AddrFromSlice(c.LinkAddress.IP); netip.MustParsePrefix("2001:db8:d0::/64").Contains(ip) && !c.NewAddr {
			t.Errorf("%v was removed", c.LinkAddress)
		}
	}
	r.reload(strings.Replace(file, "list downstream 'lan0'", "list downstream 'lan1'", 1))
	r.until("only the second downstream has a prefix, the first one of the delegated", func() bool {
		return has("lan1", "2001:db8:d0::/64") && !has("lan1", "2001:db8:d0:1::/64") && !has("lan0", "2001:db8:d0::/64")
	})
	r.reload(file)
	r.until("the first has it again", func() bool { return has("lan0", "2001:db8:d0::/64") && !has("lan1", "2001:db8:d0::/64") })
	if first.was(codec.MessageTypeRelease) != 0 {
		t.Error("returned meanwhile")
	}

	// The first access network has the prefix back before the other one gives its own.
	second.delegate(netip.Prefix{})
	r.reload(strings.Replace(file, "'up0'", "'up1'", 1))
	r.until("it is returned", func() bool { return first.was(codec.MessageTypeRelease) > 0 })
	if has("lan0", "2001:db8:d0::/64") {
		t.Error("a prefix that was returned is assigned")
	}
	r.until("its host is told", func() bool {
		a, deprecated := hostAddress(t, host, "h0", netip.MustParsePrefix("2001:db8:d0::/64"))
		return a.IsValid() && deprecated
	})
	second.delegate(netip.MustParsePrefix("2001:db8:e0::/60"))
	r.until("the other uplink's prefix is there", func() bool { return has("lan0", "2001:db8:e0::/64") })

	// An uplink that is made anew, with another index, goes on where it was.
	if err := router.Handle.LinkDel(router.Link("up1")); err != nil {
		t.Fatal(err)
	}
	nstest.Veth(router, "up1", two, "b1")
	third := (&accessServer{prefix: netip.MustParsePrefix("2001:db8:e0::/60"), rapid: true}).serve(t, two, "b1")
	r.until("it is asked whether the prefix is still good", func() bool { return third.was(codec.MessageTypeRebind) > 0 })
	if !has("lan0", "2001:db8:e0::/64") {
		t.Error("the prefix is gone meanwhile")
	}

	// Without a request nothing is left: not even the port.
	globals, _, _ := strings.Cut(file, "config prefix_request")
	r.reload(globals)
	r.until("it is returned, too", func() bool { return third.was(codec.MessageTypeRelease) > 0 })
	r.until("the port is free", func() bool { return !slices.Contains(udpPorts(t, router), clientPort) })
	if has("lan0", "2001:db8:e0::/64") {
		t.Error("a prefix is left")
	}
	r.end()
}

// A mobile router's delegation is switched off and on by reload, and its section
// removed: the network behind it is numbered only meanwhile, by the same prefix, and
// no port is left open.
func TestReloadOfDelegation(t *testing.T) {
	t.Parallel()
	router, host := nstest.New(t), nstest.New(t)
	router.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	agent := start(t, delegatingFile(stateDir(t)), func(here *nstest.Space) {
		nstest.Veth(here, "wan0", router, "up0")
		nstest.Veth(router, "lan0", host, "h0")
		nstest.Veth(router, "lan1", host, "h1")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
	})
	file := delegatedFile(stateDir(t))
	r := startIn(t, router, nil, file)
	agent.until("a prefix is delegated", func() bool { return agent.delegated().IsValid() })
	prefix := agent.delegated()
	lan := netip.PrefixFrom(prefix.Addr(), 64)
	has := func(name string) bool { a, _ := hostAddress(t, router, name, lan); return a.IsValid() }
	r.until("it numbers the downstream", func() bool { return has("lan0") })
	r.reload(strings.Replace(file, "list downstream 'lan0'", "list downstream 'lan1'", 1))
	r.until("another downstream", func() bool { return has("lan1") && !has("lan0") })

	without := strings.Replace(file, "	option prefix_delegation '1'\n", "	list prefix '2001:db8:100::/64'\n", 1)
	r.reload(without)
	r.until("the prefix is gone", func() bool { return !has("lan0") && !has("lan1") })
	r.until("the relay's port is free", func() bool { return !slices.Contains(udpPorts(t, router), serverPort) })
	r.reload(file)
	r.until("it is there again", func() bool { return has("lan0") })
	if p := agent.delegated(); p != prefix {
		t.Errorf("delegated %v, before %v", p, prefix)
	}

	// The home agent's pool is another one, and then none.
	pool := delegatingFile(stateDir(t))
	agent.reload(strings.Replace(pool, "2001:db8:f000::/40", "2001:db8:e000::/40", 1))
	agent.until("the lease is withdrawn", func() bool { return agent.delegated() != prefix })
	agent.reload(pool)
	globals, _, _ := strings.Cut(file, "config mobile_router")
	r.reload(globals)
	r.until("nothing is left of the router", func() bool { return !has("lan0") && !slices.Contains(udpPorts(t, router), serverPort) })
	r.end()
	agent.reload(strings.NewReplacer("	list delegation_pool '2001:db8:f000::/40'\n", "", "	option delegation_length '60'\n", "").Replace(pool))
	agent.until("the home agent's ports are free", func() bool { return !slices.Contains(udpPorts(t, agent.space), serverPort) })
	agent.end()
}

// Where the addresses of an uplink come from is changed by reload: the care-of
// address follows.
func TestReloadOfAddressing(t *testing.T) {
	t.Parallel()
	agent, host := accessWorld(t, managedHome("1"))
	leased := netip.MustParseAddr("2001:db8:a1::77")
	server := (&accessServer{address: leased, rapid: true}).serve(t, agent.space, "wan0")
	file := phoneFile(stateDir(t), "\nconfig metrics\n\toption enabled '1'\n\toption listen_address '::1'\n\toption listen_port '9706'\n")
	r := startIn(t, host, nil, file)
	r.until("it is registered with the leased address", func() bool { return careOf(agent) == leased })
	if page := r.scrape(); !strings.Contains(page, "roam6_dhcp_exchange_seconds_count 1\n") {
		t.Errorf("the exchange is not measured:\n%s", page)
	}
	formed := func() bool { a := careOf(agent); return a.IsValid() && a != leased }
	r.reload(file + "\nconfig uplink\n\toption interface 'up0'\n\toption addressing 'slaac'\n")
	r.until("it is registered with a formed address", formed)
	r.until("the client has ended and its port is free", func() bool { return !slices.Contains(udpPorts(t, host), clientPort) })
	if server.was(codec.MessageTypeRelease) == 0 {
		t.Error("the lease was not returned")
	}
	r.reload(file + "\nconfig uplink\n\toption interface 'up0'\n\toption addressing 'dhcpv6'\n\toption rapid_commit '0'\n")
	r.until("it is registered with the leased address again", func() bool { return careOf(agent) == leased })
	if server.was(codec.MessageTypeRequest) == 0 {
		t.Error("the exchange was a rapid one")
	}
	r.end()
	agent.end()
}

// An interface that becomes an uplink by reload is prepared like one from the start,
// and one that is an uplink no more is given back; a foreign uplink that somebody
// else has prepared is used at once, and not changed.
func TestReloadOfUplinkList(t *testing.T) {
	t.Parallel()
	agent, host := accessWorld(t, homeFile)
	other := nstest.New(t)
	nstest.Veth(host, "up1", other, "b0")
	for _, name := range []string{"up0", "up1"} {
		host.Sysctl("net/ipv6/conf/"+name+"/accept_dad", "1")
		host.Sysctl("net/ipv6/conf/"+name+"/accept_ra", "1")
	}
	setting := func(name, what string) string { return host.ReadSysctl("net/ipv6/conf/" + name + "/" + what) }
	before := interfaceState(t, host, "up1")
	file := phoneFile(stateDir(t), "")
	r := startIn(t, host, nil, file)
	r.until("it is registered", func() bool { return careOf(agent).IsValid() })
	r.reload(strings.Replace(file, "'up0'", "'up0'\n\tlist uplink 'up1'", 1))
	for _, what := range []string{"accept_ra", "autoconf", "accept_dad"} {
		if v := setting("up1", what); v != "0" {
			t.Errorf("%s of the uplink that was added is %s", what, v)
		}
	}
	// Made anew it is prepared before it is up.
	if err := host.Handle.LinkDel(host.Link("up1")); err != nil {
		t.Fatal(err)
	}
	host.Sysctl("net/ipv6/conf/default/accept_dad", "1")
	nstest.Veth(host, "up1", other, "b0")
	r.until("it is prepared", func() bool { return setting("up1", "accept_dad") == "0" && setting("up1", "accept_ra") == "0" })
	r.reload(file)
	for what, want := range map[string]string{"accept_dad": "1", "autoconf": "1"} {
		if v := setting("up1", what); v != want {
			t.Errorf("%s of the uplink that is none any more is %s", what, v)
		}
	}

	// up1 leads to the home agent, too; the kernel has configured it long before.
	nstest.Veth(agent.space, "wan9", host, "up9")
	host.Sysctl("net/ipv6/conf/up9/accept_ra", "0")
	host.Address("up9", "2001:db8:a9::55/64")
	agent.space.Address("wan9", "2001:db8:a9::1/64")
	agent.reload(homeFile + "\nconfig interface\n\toption interface 'wan9'\n\toption AdvSendAdvert '1'\n\nconfig prefix\n\toption interface 'wan9'\n\tlist prefix '2001:db8:a9::/64'\n")
	host.Route("::/0", agent.space.LinkLocal("wan9").String(), "up9")
	state := interfaceState(t, host, "up9")
	r.reload(strings.Replace(file, "list uplink 'up0'", "list uplink 'up9'", 1) + "\nconfig uplink\n\toption interface 'up9'\n\toption addressing 'foreign'\n")
	r.until("it is registered by the foreign uplink", func() bool { return careOf(agent) == netip.MustParseAddr("2001:db8:a9::55") })
	if now := interfaceState(t, host, "up9"); now != state {
		t.Errorf("the foreign uplink was\n%sand is\n%s", state, now)
	}
	r.end()
	if after := interfaceState(t, host, "up1"); strings.Contains(before, "accept_dad 1") != strings.Contains(after, "accept_dad 1") {
		t.Errorf("up1 was\n%sand is\n%s", before, after)
	}
	agent.end()
}

// The kernel's default route by a foreign uplink, or that of a prefix request,
// outlives that forwarding is switched on, for which nobody advertises again; and
// comes back where forwarding was on before the uplink was one.
func TestDefaultRouteOfHost(t *testing.T) {
	t.Parallel()
	access, router, host := nstest.New(t), nstest.New(t), nstest.New(t)
	access.Sysctl("net/ipv6/conf/all/forwarding", "1")
	router.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	nstest.Veth(access, "a0", router, "up0")
	nstest.Veth(router, "lan0", host, "h0")
	// It advertises a few times at first, and then so rarely that the test is over.
	a := startIn(t, access, nil, `
config globals
	option control '%s'

config interface
	option interface 'a0'
	option AdvSendAdvert '1'

config prefix
	option interface 'a0'
	list prefix '2001:db8:a1::/64'
`)
	hasDefault := func() bool {
		routes, err := router.Handle.RouteList(router.Link("up0"), unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(routes, func(x netlink.Route) bool {
			return x.Protocol == unix.RTPROT_RA && (x.Dst == nil || x.Dst.IP.IsUnspecified())
		})
	}
	a.until("the kernel has a default route", hasDefault)
	removed := make(chan netlink.RouteUpdate, 64)
	end := make(chan struct{})
	router.Do(func() error { return netlink.RouteSubscribe(removed, end) })
	file := requestFile(stateDir(t))
	r := startIn(t, router, nil, file)
	if v := router.ReadSysctl("net/ipv6/conf/all/forwarding"); v != "1" {
		t.Fatalf("forwarding is %s", v)
	}
	r.end()
	close(end)
	for u := range removed {
		if u.Type == unix.RTM_DELROUTE && u.Protocol == unix.RTPROT_RA {
			t.Errorf("removed %v", u.Route)
		}
	}
	if v := router.ReadSysctl("net/ipv6/conf/up0/accept_ra"); v != "1" || !hasDefault() {
		t.Errorf("accept_ra is %s, default route %v", v, hasDefault())
	}

	router.LinkDown("up0")
	router.LinkUp("up0")
	a.until("the kernel has asked for a default route", hasDefault)
	head, rest, _ := strings.Cut(file, "config prefix_request")
	_, lan, _ := strings.Cut(rest, "config interface")
	plain := head + "config interface" + lan
	r = startIn(t, router, nil, plain)
	r.until("the kernel is a router on every interface", func() bool { return !hasDefault() })
	r.reload(file)
	r.until("the kernel has its default route again", hasDefault)
	r.end()
	a.end()
}

// A router that advertises a link no more says so to its hosts (RFC 4861 §6.2.5),
// although nothing else keeps the link in use.
func TestReloadEndsAdvertising(t *testing.T) {
	t.Parallel()
	router, host := nstest.New(t), nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	nstest.Veth(router, "lan0", host, "h0")
	file := "config globals\n\toption control '%s'\n"
	r := startIn(t, router, nil, file+"\nconfig interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n")
	hasDefault := func() bool {
		routes, err := host.Handle.RouteList(host.Link("h0"), unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(routes, func(x netlink.Route) bool { return x.Protocol == unix.RTPROT_RA })
	}
	r.until("the host has a default route", hasDefault)
	r.reload(file)
	r.until("the host has none", func() bool { return !hasDefault() })
	r.end()
}

// Without a directory for state a node goes on and says so once; it has the same
// identifier in its next life, made of its hardware (RFC 8415 §11.4).
func TestWithoutState(t *testing.T) {
	access, router, host := nstest.New(t), nstest.New(t), nstest.New(t)
	nstest.Veth(access, "a0", router, "up0")
	nstest.Veth(router, "lan0", host, "h0")
	server := (&accessServer{prefix: netip.MustParsePrefix("2001:db8:d0::/60"), rapid: true}).serve(t, access, "a0")
	live := func() []byte {
		r := startIn(t, router, nil, requestFile("/dev/null/state"))
		r.until("a prefix is there", func() bool {
			a, _ := hostAddress(t, router, "lan0", netip.MustParsePrefix("2001:db8:d0::/64"))
			return a.IsValid()
		})
		r.end()
		if n := strings.Count(r.log.String(), "will not survive a restart"); n != 1 {
			t.Errorf("said %d times:\n%s", n, r.log)
		}
		return server.client()
	}
	if first, second := live(), live(); !bytes.Equal(first, second) || len(first) != 10 {
		t.Errorf("the identifier was %x and is %x", first, second)
	}
}
