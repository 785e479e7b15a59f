package node

import (
	"net/netip"
	"strings"
	"testing"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/rtnl/nstest"
)

// IPv6 is switched off on an interface and on again, under a running node: what the
// node has put there comes back, addresses, routes and advertisements
// (requirements B5, B10).
//
// Covers: B5, B10.
func TestIPv6SwitchedOff(t *testing.T) {
	access, router, host := nstest.New(t), nstest.New(t), nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	nstest.Veth(access, "a0", router, "up0")
	nstest.Veth(router, "lan0", host, "h0")
	lan := netip.MustParsePrefix("2001:db8:d0::/64")
	server := (&accessServer{prefix: netip.MustParsePrefix("2001:db8:d0::/60"), rapid: true}).serve(t, access, "a0")
	r := startIn(t, router, nil, requestFile(stateDir(t)))
	has := func() bool { a, _ := hostAddress(t, router, "lan0", lan); return a.IsValid() }
	r.until("the downstream is numbered", has)
	for _, name := range []string{"lan0", "up0"} {
		asked := server.was(codec.MessageTypeRebind)
		router.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
		if name == "lan0" {
			r.until("there is nothing", func() bool { return !has() })
		}
		router.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "0")
		r.until("the downstream is numbered after "+name, has)
		if name == "up0" {
			r.until("the prefix is asked for again", func() bool { return server.was(codec.MessageTypeRebind) > asked })
		}
	}
	// The host gets its address from what is advertised afterwards.
	host.LinkDown("h0")
	host.LinkUp("h0")
	r.until("the host has an address", func() bool { a, _ := hostAddress(t, host, "h0", lan); return a.IsValid() })
	r.end()
	if strings.Contains(leftovers(t, router), "2001:db8") {
		t.Errorf("left:\n%s", leftovers(t, router))
	}
}

// The same of a mobile's uplink, where its link-local address changes, too: it is
// reached at a leased care-of address afterwards, and gives it back in the end.
func TestIPv6SwitchedOffOnUplink(t *testing.T) {
	agent, host := accessWorld(t, managedHome("0"))
	leased := netip.MustParseAddr("2001:db8:a1::77")
	server := (&accessServer{address: leased, rapid: true}).serve(t, agent.space, "wan0")
	r := startIn(t, host, nil, phoneFile(stateDir(t), ""))
	r.until("it is registered with the leased address", func() bool { return careOf(agent) == leased })
	has := func() bool { a, _ := hostAddress(t, host, "up0", netip.PrefixFrom(leased, 128)); return a == leased }
	r.until("the address is there", has)
	host.Sysctl("net/ipv6/conf/up0/disable_ipv6", "1")
	r.until("the address is gone", func() bool { return !has() })
	host.Sysctl("net/ipv6/conf/up0/addr_gen_mode", "3") // another link-local address
	host.Sysctl("net/ipv6/conf/up0/disable_ipv6", "0")
	r.until("the address is there again", has)
	r.until("it reaches its home agent", func() bool { return reaches(host, netip.MustParseAddr("2001:db8:10::1")) })
	r.end()
	agent.until("the lease is returned", func() bool { return server.was(codec.MessageTypeRelease) > 0 })
	agent.end()
}
