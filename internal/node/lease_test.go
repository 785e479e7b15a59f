package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	codec "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/rtnl/nstest"
)

// managedHome is homeFile with a link behind wan0 whose addresses are managed;
// with autonomous '0' none can be formed.
func managedHome(autonomous string) string {
	text := strings.Replace(homeFile, "option AdvIntervalOpt '1'", "option AdvIntervalOpt '1'\n\toption AdvManagedFlag '1'", 1)
	return strings.Replace(text, "list prefix '2001:db8:a1::/64'", "list prefix '2001:db8:a1::/64'\n\toption AdvAutonomous '"+autonomous+"'", 1)
}

// phoneFile is a host with one home address; its state is in a directory of the
// test's.
func phoneFile(state, more string) string {
	return `
config globals
	option control '%s'
	option tunnel_device 'mip0'
	option state_directory '` + state + `'
	option resolver_file '` + state + `/resolv.conf'

config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'
	list uplink 'up0'
` + more
}

// stateDir is a directory for state that does not exist yet.
func stateDir(t *testing.T) string { return filepath.Join(t.TempDir(), "state") }

// accessWorld is a home agent with an access link, to which a host is joined.
func accessWorld(t *testing.T, text string) (agent *running, host *nstest.Space) {
	t.Helper()
	host = nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	agent = start(t, text, func(here *nstest.Space) {
		nstest.Veth(here, "wan0", host, "up0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
	})
	return agent, host
}

// careOf is the care-of address that a home agent has for its only binding.
func careOf(r *running) netip.Addr {
	b, err := r.client.Bindings(context.Background())
	if err != nil || len(b.Bindings) != 1 || b.Bindings[0].State != "active" || len(b.Bindings[0].CareOf) != 1 {
		return netip.Addr{}
	}
	return b.Bindings[0].CareOf[0].Address
}

// The link of a mobile host has no autoconfiguration: its care-of address is
// leased, the server's DNS goes to the resolver file, and when it ends the lease
// is returned and nothing is left (RFC 8415 §18.2.7; RFC 6275 §11.5.3).
//
// Covers: B2.
func TestLeasedCareOf(t *testing.T) {
	agent, host := accessWorld(t, managedHome("0"))
	leased := netip.MustParseAddr("2001:db8:a1::77")
	server := (&accessServer{address: leased, rapid: true, dns: netip.MustParseAddr("2001:db8:53::1"), domain: "example.net"}).serve(t, agent.space, "wan0")
	before := leftovers(t, host)
	state := stateDir(t)
	r := startIn(t, host, nil, phoneFile(state, ""))
	r.until("it is registered with the leased address", func() bool { return careOf(agent) == leased })
	if l := r.leases(); len(l.Clients) != 1 || l.Clients[0].Name != "up0" || l.Clients[0].State != "bound" || len(l.Clients[0].Addresses) != 1 {
		t.Errorf("leases %+v", l)
	}
	resolver := filepath.Join(state, "resolv.conf")
	r.until("the resolver file is written", func() bool {
		b, err := os.ReadFile(resolver)
		return err == nil && strings.Contains(string(b), "nameserver 2001:db8:53::1\nsearch example.net\n")
	})
	first := server.client()
	r.end()
	if server.was(codec.MessageTypeRelease) == 0 {
		t.Error("the lease was not returned")
	}
	if after := leftovers(t, host); after != before {
		t.Errorf("left:\n%s\nwant:\n%s", after, before)
	}
	if _, err := os.Stat(resolver); err == nil {
		t.Error("the resolver file is left")
	}
	// Another life has the same identifier (RFC 8415 §11).
	again := startIn(t, host, nil, phoneFile(state, ""))
	again.until("it is registered again", func() bool { return careOf(agent) == leased })
	if second := server.client(); !slices.Equal(first, second) || len(first) == 0 {
		t.Errorf("the identifier was %x and is %x", first, second)
	}
	again.end()
	agent.end()
}

// Where addresses can be formed and are managed too, the host begins with a formed
// one and moves to the leased one.
func TestFormedThenLeased(t *testing.T) {
	t.Parallel()
	agent, host := accessWorld(t, managedHome("1"))
	r := startIn(t, host, nil, phoneFile(stateDir(t), ""))
	r.until("it is registered with an address that it has formed", func() bool { return careOf(agent).IsValid() })
	formed := careOf(agent)
	leased := netip.MustParseAddr("2001:db8:a1::77")
	(&accessServer{address: leased}).serve(t, agent.space, "wan0")
	r.until("it is registered with the leased address", func() bool { return careOf(agent) == leased })
	if formed == leased {
		t.Error("there was no formed one")
	}
	b, err := agent.client.Bindings(context.Background())
	if err != nil || len(b.Bindings) != 1 {
		t.Errorf("bindings %+v, %v", b, err)
	}
	r.end()
	agent.end()
}

// interfaceState is what somebody else would see of an interface: addresses and
// settings.
func interfaceState(t *testing.T, s *nstest.Space, name string) string {
	t.Helper()
	var b strings.Builder
	addrs, err := s.Handle.AddrList(s.Link(name), unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		fmt.Fprintln(&b, "address", a.IPNet, a.Flags)
	}
	for _, setting := range []string{"accept_ra", "autoconf", "accept_dad", "addr_gen_mode", "forwarding", "dad_transmits", "use_tempaddr", "disable_ipv6"} {
		fmt.Fprintln(&b, setting, s.ReadSysctl("net/ipv6/conf/"+name+"/"+setting))
	}
	return b.String()
}

// An uplink that is left to the kernel is used as it is: the address that the
// kernel has formed is the care-of address, and nothing of the interface changes,
// even where forwarding is switched on for the whole node.
func TestForeignUplink(t *testing.T) {
	t.Parallel()
	agent, host := accessWorld(t, homeFile)
	host.Sysctl("net/ipv6/conf/up0/accept_ra", "1")
	host.Sysctl("net/ipv6/conf/up0/accept_dad", "1")
	host.Sysctl("net/ipv6/conf/up0/autoconf", "1")
	foreign := func() (address netip.Addr) {
		addrs, err := host.Handle.AddrList(host.Link("up0"), unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if ip, _ := netip.AddrFromSlice(a.IP); ip.IsGlobalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				return ip
			}
		}
		return address
	}
	defaults := func() (ours, kernels int) {
		routes, err := host.Handle.RouteList(host.Link("up0"), unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range routes {
			if x.Dst == nil || x.Dst.IP.IsUnspecified() {
				if x.Protocol == unix.RTPROT_RA {
					kernels++
				} else {
					ours++
				}
			}
		}
		return ours, kernels
	}
	for _, router := range []bool{false, true} {
		t.Run(fmt.Sprintf("router %v", router), func(t *testing.T) {
			agent.T = t
			agent.until("the kernel has configured the uplink", func() bool {
				_, kernels := defaults()
				return foreign().IsValid() && kernels == 1
			})
			before, address := interfaceState(t, host, "up0"), foreign()
			more := "\nconfig uplink\n\toption interface 'up0'\n\toption addressing 'foreign'\n"
			if router { // anything that forwards
				more += "\nconfig interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n\nconfig prefix\n\toption interface 'lan0'\n\tlist prefix '2001:db8:77::/64'\n"
			}
			r := startIn(t, host, nil, phoneFile(stateDir(t), more))
			r.until("it is registered with the kernel's address", func() bool { return careOf(agent) == address })
			r.until("the kernel has its default route", func() bool { _, kernels := defaults(); return kernels == 1 })
			if during := interfaceState(t, host, "up0"); during != before {
				t.Errorf("while it runs:\n%s\nbefore:\n%s", during, before)
			}
			if forwarding := host.ReadSysctl("net/ipv6/conf/all/forwarding"); forwarding != map[bool]string{false: "0", true: "1"}[router] {
				t.Errorf("forwarding is %s", forwarding)
			}
			r.end()
			if after := interfaceState(t, host, "up0"); after != before {
				t.Errorf("after it has ended:\n%s\nbefore:\n%s", after, before)
			}
			if ours, _ := defaults(); ours != 0 {
				t.Errorf("%d default routes are left", ours)
			}
			agent.until("it is de-registered", func() bool { return !careOf(agent).IsValid() })
		})
	}
	agent.T = t
	agent.end()
}

// An address that the kernel gets while a node runs is taken, and one that it
// loses is left.
func TestForeignAddressChanges(t *testing.T) {
	agent, host := accessWorld(t, homeFile)
	host.Route("::/0", agent.space.LinkLocal("wan0").String(), "up0")
	r := startIn(t, host, nil, phoneFile(stateDir(t), "\nconfig uplink\n\toption interface 'up0'\n\toption addressing 'foreign'\n"))
	host.Address("up0", "2001:db8:a1::55/64")
	r.until("the first is registered", func() bool { return careOf(agent).String() == "2001:db8:a1::55" })
	host.Address("up0", "2001:db8:a1::66/64")
	remove(t, host, "up0", "2001:db8:a1::55/64")
	r.until("the second is registered", func() bool { return careOf(agent).String() == "2001:db8:a1::66" })
	r.end()
	agent.end()
}

func remove(t *testing.T, s *nstest.Space, name, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle.AddrDel(s.Link(name), a); err != nil {
		t.Fatal(err)
	}
}

// leases asks a node for its leases.
func (r *running) leases() control.Leases {
	r.Helper()
	raw, err := r.client.Show(context.Background(), control.TopicLeases)
	if err != nil {
		r.Fatal(err)
	}
	d, err := control.Decode(control.TopicLeases, raw)
	if err != nil {
		r.Fatal(err)
	}
	return d.(control.Leases)
}

// A reload leaves an uplink to the kernel and takes it back, begins and ends a
// prefix request, and changes nothing else: settings that were ours are put back,
// leases are returned.
func TestReloadOfUplinks(t *testing.T) {
	t.Parallel()
	agent, host := accessWorld(t, managedHome("0"))
	other := nstest.New(t)
	nstest.Veth(host, "lan0", other, "h0")
	leased := netip.MustParseAddr("2001:db8:a1::77")
	server := (&accessServer{address: leased, prefix: netip.MustParsePrefix("2001:db8:d0::/60"), rapid: true}).serve(t, agent.space, "wan0")
	host.Sysctl("net/ipv6/conf/up0/accept_dad", "1")
	before := interfaceState(t, host, "up0")
	r := startIn(t, host, nil, phoneFile(stateDir(t), ""))
	good, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(more string) {
		t.Helper()
		r.write(string(good) + more)
		if err := r.client.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	r.until("it is registered with the leased address", func() bool { return careOf(agent) == leased })

	reload("\nconfig prefix_request 'lan'\n\toption uplink 'up0'\n\tlist downstream 'lan0'\n")
	lan := netip.MustParsePrefix("2001:db8:d0::/64")
	r.until("a prefix numbers the downstream", func() bool { a, _ := hostAddress(t, host, "lan0", lan); return a.IsValid() })
	if l := r.leases(); len(l.Clients) != 1 || len(l.Clients[0].Addresses) != 1 || len(l.Clients[0].Prefixes) != 1 {
		t.Errorf("leases %+v", l)
	}
	reload("")
	r.until("the downstream has nothing", func() bool { a, _ := hostAddress(t, host, "lan0", lan); return !a.IsValid() })
	r.until("and the mobile what it had", func() bool { return careOf(agent) == leased })

	reload("\nconfig uplink\n\toption interface 'up0'\n\toption addressing 'foreign'\n")
	r.until("the leases are returned", func() bool { return server.was(codec.MessageTypeRelease) > 0 })
	r.until("there is no client", func() bool { return len(r.leases().Clients) == 0 })
	r.until("the interface is as it was", func() bool { return interfaceState(t, host, "up0") == before })

	reload("")
	r.until("it is registered with the leased address again", func() bool { return careOf(agent) == leased })
	r.end()
	agent.end()
}
