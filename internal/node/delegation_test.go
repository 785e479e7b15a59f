package node

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	codec "github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/store"
)

// requestFile is a router that numbers a network with what an access network
// delegates. It is no mobile.
func requestFile(state string) string {
	return `
config globals
	option control '%s'
	option state_directory '` + state + `'

config prefix_request 'lan'
	option uplink 'up0'
	list downstream 'lan0'

config interface
	option interface 'lan0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
`
}

// hostAddress is an address of a host in a prefix, and whether it is deprecated.
func hostAddress(t *testing.T, s *nstest.Space, name string, p netip.Prefix) (a netip.Addr, deprecated bool) {
	t.Helper()
	addrs, err := s.Handle.AddrList(s.Link(name), unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range addrs {
		if ip, _ := netip.AddrFromSlice(x.IP); p.Contains(ip) {
			return ip, x.Flags&unix.IFA_F_DEPRECATED != 0
		}
	}
	return a, false
}

// A prefix that the access network delegates numbers the downstream interface: it
// gets the address ::1, and its hosts get theirs. After a restart with another
// prefix the hosts are told that the one of before is deprecated (RFC 9096 §3.4).
//
// Covers: B2.
func TestPrefixRequest(t *testing.T) {
	access, router, host := nstest.New(t), nstest.New(t), nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	nstest.Veth(access, "a0", router, "up0")
	nstest.Veth(router, "lan0", host, "h0")
	server := (&accessServer{prefix: netip.MustParsePrefix("2001:db8:d0::/56")}).serve(t, access, "a0")
	state := stateDir(t)
	first, second := netip.MustParsePrefix("2001:db8:d0::/64"), netip.MustParsePrefix("2001:db8:e0::/64")

	r := startIn(t, router, nil, requestFile(state))
	r.until("the host has an address", func() bool { a, _ := hostAddress(t, host, "h0", first); return a.IsValid() })
	if a, _ := hostAddress(t, router, "lan0", first); a != netip.MustParseAddr("2001:db8:d0::1") {
		t.Errorf("the router has %v", a)
	}
	if l := r.leases(); len(l.Clients) != 1 || len(l.Clients[0].Prefixes) != 1 || len(l.Clients[0].Addresses) != 0 {
		t.Errorf("leases %+v", l)
	}
	if server.was(codec.MessageTypeSolicit) == 0 {
		t.Error("nothing was solicited")
	}
	// An interface that is made anew is numbered as well.
	if err := router.Handle.LinkDel(router.Link("lan0")); err != nil {
		t.Fatal(err)
	}
	nstest.Veth(router, "lan0", host, "h0")
	r.until("the host has an address again", func() bool { a, _ := hostAddress(t, host, "h0", first); return a.IsValid() })
	r.end()
	if server.was(codec.MessageTypeRelease) == 0 {
		t.Error("the prefix was not returned")
	}
	if a, _ := hostAddress(t, router, "lan0", first); a.IsValid() {
		t.Errorf("%v is left", a)
	}

	server.delegate(netip.MustParsePrefix("2001:db8:e0::/56"))
	again := startIn(t, router, nil, requestFile(state))
	again.until("the host has another address, and the old one is deprecated", func() bool {
		a, _ := hostAddress(t, host, "h0", second)
		b, deprecated := hostAddress(t, host, "h0", first)
		return a.IsValid() && b.IsValid() && deprecated
	})
	again.end()
	if after := leftovers(t, router); strings.Contains(after, "2001:db8") || !strings.Contains(after, "forwarding 0") {
		t.Errorf("left:\n%s", after)
	}
}

func (a *accessServer) delegate(p netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prefix = p
}

// delegatingFile is a home agent that delegates, with two access links.
func delegatingFile(state string) string {
	text := strings.Replace(homeFile, "config globals\n", "config globals\n\toption state_directory '"+state+"'\n", 1)
	text = strings.Replace(text, "	option dad '0'\n", "	option dad '0'\n	list delegation_pool '2001:db8:f000::/40'\n	option delegation_length '60'\n", 1)
	text = strings.Replace(text, "	option spi '256'\n", "	option spi '256'\n	option router '1'\n", 1)
	return text + `
config interface
	option interface 'wan1'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'

config prefix
	option interface 'wan1'
	list prefix '2001:db8:a2::/64'

config interface
	option interface 'home0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'

config prefix
	option interface 'home0'
	list prefix '2001:db8:10::/64'
`
}

// delegatedFile is a mobile router that gets its network from its home agent.
func delegatedFile(state string) string {
	return `
config globals
	option control '%s'
	option tunnel_device 'mip0'
	option state_directory '` + state + `'

config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'
	list uplink 'up0'
	list uplink 'up1'
	option prefix_delegation '1'
	list downstream 'lan0'
`
}

// delegations asks a node for what it has delegated.
func (r *running) delegations() control.Delegations {
	r.Helper()
	raw, err := r.client.Show(context.Background(), control.TopicDelegations)
	if err != nil {
		r.Fatal(err)
	}
	d, err := control.Decode(control.TopicDelegations, raw)
	if err != nil {
		r.Fatal(err)
	}
	return d.(control.Delegations)
}

// delegated is the prefix of the only mobile router that has one.
func (r *running) delegated() netip.Prefix {
	d := r.delegations()
	i := slices.IndexFunc(d.Delegations, func(x control.Delegation) bool { return x.State == "delegated" })
	if i < 0 {
		return netip.Prefix{}
	}
	return d.Delegations[i].Prefix
}

// A mobile router gets its prefix through the tunnel from its own home agent,
// numbers the network behind it, keeps the prefix over a handover and over the
// restart of either side, and asks on the home link when it is at home
// (RFC 6276 §3.1, §3.2).
//
// Covers: D1, D2, D3.
func TestDelegatedRouter(t *testing.T) {
	t.Parallel()
	router, host := nstest.New(t), nstest.New(t)
	router.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	agentState, state := stateDir(t), stateDir(t)
	agent := start(t, delegatingFile(agentState), func(here *nstest.Space) {
		nstest.Veth(here, "wan0", router, "up0")
		nstest.Veth(here, "wan1", router, "up1")
		nstest.Veth(router, "lan0", host, "h0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
		assign(t, here, "wan1", "2001:db8:a2::1/64")
	})
	r := startIn(t, router, nil, delegatedFile(state))
	agent.until("a prefix is delegated", func() bool { return agent.delegated().IsValid() })
	prefix := agent.delegated()
	lan := netip.PrefixFrom(prefix.Addr(), 64)
	agent.until("the host behind the router has an address and reaches the home agent", func() bool {
		a, _ := hostAddress(t, host, "h0", lan)
		return a.IsValid() && reaches(host, netip.MustParseAddr("2001:db8:10::1"))
	})
	agent.until("the prefix is part of the registration", func() bool {
		b, err := agent.client.Bindings(context.Background())
		return err == nil && len(b.Bindings) == 1 && slices.Contains(b.Bindings[0].Prefixes, prefix)
	})

	before := careOf(agent)
	router.LinkDown("up0")
	agent.until("it has moved", func() bool { a := careOf(agent); return a.IsValid() && a != before })
	if p := agent.delegated(); p != prefix {
		t.Errorf("after the handover %v, before %v", p, prefix)
	}
	agent.until("the host reaches the home agent after the handover", func() bool { return reaches(host, netip.MustParseAddr("2001:db8:10::1")) })

	r.end()
	r = startIn(t, router, nil, delegatedFile(state))
	r.until("the router numbers its network again after a restart", func() bool { a, _ := hostAddress(t, router, "lan0", lan); return a.IsValid() })
	if a, deprecated := hostAddress(t, host, "h0", lan); !a.IsValid() || deprecated {
		t.Errorf("the host has %v, deprecated %v", a, deprecated)
	}
	if p := agent.delegated(); p != prefix {
		t.Errorf("after the restart %v, before %v", p, prefix)
	}

	space := agent.space
	agent.end()
	agent = startIn(t, space, nil, delegatingFile(agentState))
	if p := agent.delegated(); p != prefix {
		t.Errorf("after the restart of the home agent %v, before %v", p, prefix)
	}
	r.end()
	agent.end()
	if after := leftovers(t, router); strings.Contains(after, "2001:db8") || strings.Contains(after, "mip0") {
		t.Errorf("left:\n%s", after)
	}
}

// At home the router asks by multicast on the home link, and gets its prefix there
// (RFC 6276 §3.2).
//
// Covers: D1.
func TestDelegatedAtHome(t *testing.T) {
	t.Parallel()
	host := nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	var router *nstest.Space
	agent := start(t, strings.Replace(delegatingFile(stateDir(t)), "	option spi '256'\n", "	option spi '256'\n	option duid '00040000000000000000000000000000abcd'\n", 1), func(here *nstest.Space) {
		assign(t, here, "home0", "2001:db8:10::1/64")
	})
	router = agent.peer
	router.Sysctl("net/ipv6/conf/all/accept_ra", "0")
	nstest.Veth(router, "lan0", host, "h0")
	state := stateDir(t)
	keepDUID(t, state, "\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xab\xcd")
	r := startIn(t, router, nil, strings.Replace(delegatedFile(state), "'up0'", "'peer0'", 1))
	agent.until("a prefix is delegated at home", func() bool { return agent.delegated().IsValid() })
	lan := netip.PrefixFrom(agent.delegated().Addr(), 64)
	r.until("the host behind the router has an address", func() bool { a, _ := hostAddress(t, host, "h0", lan); return a.IsValid() })
	r.end()
	agent.end()
}

// The home link of a mobile router with a delegated prefix is renumbered: the home
// address that it forms takes over the delegation, with the same prefix, and the
// network behind it stays reachable (RFC 6275 §11.4.1, RFC 6276 §3.1).
//
// Covers: D3, M11.
func TestDelegationOfRenumbered(t *testing.T) {
	t.Parallel()
	router, host := nstest.New(t), nstest.New(t)
	router.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	file := strings.Replace(delegatingFile(stateDir(t)), "	option dad '0'\n", "	option dad '0'\n	option prefix_min_interval '1'\n	option prefix_max_interval '1'\n", 1)
	agent := start(t, file, func(here *nstest.Space) {
		nstest.Veth(here, "wan0", router, "up0")
		nstest.Veth(router, "lan0", host, "h0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
	})
	r := startIn(t, router, nil, delegatedFile(stateDir(t)))
	agent.until("a prefix is delegated", func() bool { return agent.delegated().IsValid() })
	prefix := agent.delegated()
	reachable := func() bool { return reaches(host, netip.MustParseAddr("2001:db8:10::1")) }
	agent.until("the host behind the router reaches the home agent", reachable)

	agent.reload(strings.Replace(file, "	list prefix '2001:db8:10::/64'\n	option dad", "	list prefix '2001:db8:10::/64'\n	list prefix '2001:db8:11::/64'\n	option dad", 1))
	formed := netip.MustParseAddr("2001:db8:11::100")
	agent.until("the formed home address is registered, with the prefix", func() bool {
		b, err := agent.client.Bindings(context.Background())
		return err == nil && slices.ContainsFunc(b.Bindings, func(b control.Binding) bool {
			return b.HomeAddress == formed && b.State == "active" && slices.Contains(b.Prefixes, prefix)
		})
	})
	r.until("the delegation is the new home address's, alone", func() bool {
		l := r.leases()
		return len(l.Clients) == 1 && l.Clients[0].State == "bound" && len(l.Clients[0].Prefixes) == 1
	})
	lan := netip.PrefixFrom(prefix.Addr(), 64)
	r.until("the network has its prefix", func() bool { a, _ := hostAddress(t, router, "lan0", lan); return a.IsValid() })
	agent.until("the host reaches the home agent", reachable)
	if p := agent.delegated(); p != prefix {
		t.Errorf("delegated %v, before %v", p, prefix)
	}
	if n := len(agent.delegations().Delegations); n != 1 {
		t.Errorf("%d delegations", n)
	}
	r.end()
	agent.end()
}

// keepDUID gives a node that has not run yet its identifier.
func keepDUID(t *testing.T, state, duid string) {
	t.Helper()
	s, err := store.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(keptDUID, []byte(duid)); err != nil {
		t.Fatal(err)
	}
}

// reaches reports whether an ICMPv6 echo is answered.
func reaches(s *nstest.Space, to netip.Addr) bool {
	return s.Try(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6)
		if err != nil {
			if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6); err != nil {
				return err
			}
		}
		defer unix.Close(fd)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
		if err := unix.Sendto(fd, []byte{128, 0, 0, 0, 0, 1, 0, 1}, 0, &unix.SockaddrInet6{Addr: to.As16()}); err != nil {
			return err
		}
		_, from, err := unix.Recvfrom(fd, make([]byte, 100), 0)
		if err != nil {
			return err
		}
		if a, ok := from.(*unix.SockaddrInet6); !ok || netip.AddrFrom16(a.Addr) != to {
			return unix.EHOSTUNREACH
		}
		return nil
	}) == nil
}
