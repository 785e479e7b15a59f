package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/rtnl/nstest"
)

// homeFile is a home agent whose node is also an access router and a
// correspondent.
const homeFile = `
config globals
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

config mobile 'phone'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'

config mobile 'work'
	option home_address '2001:db8:10::200'
	option key '101112131415161718191a1b1c1d1e1f'
	option spi '257'
	option replay 'timestamp'

config correspondent
`

// awayFile is a host with two home addresses. It has to find its home agent.
const awayFile = `
config globals
	option control '%s'
	option tunnel_device 'mip0'

config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'
	list uplink 'up0'
	option route_optimization 'on'

config mobile_node 'work'
	option home_address '2001:db8:10::200/64'
	option home_agent '2001:db8:10::1'
	option key '101112131415161718191a1b1c1d1e1f'
	option spi '257'
	list uplink 'up0'

config policy
	option mobile_node 'work'
	option proto 'udp'
	option port '5000-5010'
`

// worker is the home address of awayFile's second section.
var worker = netip.MustParseAddr("2001:db8:10::200")

func assign(t *testing.T, s *nstest.Space, link, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	a.Flags = unix.IFA_F_NODAD // to be used at once
	l, err := s.Handle.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle.AddrAdd(l, a); err != nil {
		t.Fatal(err)
	}
}

// sourceTo sends a datagram from a space and returns the source address that the
// kernel chose.
func sourceTo(s *nstest.Space, to netip.AddrPort) (source netip.Addr, err error) {
	err = s.Try(func() error {
		c, err := net.Dial("udp", to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		source = netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
		_, err = c.Write([]byte("anybody there?"))
		return err
	})
	return source, err
}

// A host that is away finds its home agent by asking the home link, registers two
// home addresses, learns the home prefixes, sends from the home address that is
// meant, talks to a correspondent straight, and leaves nothing when it ends
// (RFC 6275 §11.4.1, §11.4.2, §11.6).
//
// Covers: M5, M10, M11, C2, H12, H13, B2.
func TestHostAway(t *testing.T) {
	correspondent := netip.MustParseAddr("2001:db8:c::1")
	host := nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "0") // what is left is ours
	agent := start(t, homeFile, func(here *nstest.Space) {
		nstest.Veth(here, "wan0", host, "up0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
		assign(t, here, "home0", correspondent.String()+"/128")
	})
	before := leftovers(t, host)
	r := startIn(t, host, nil, awayFile)
	ctx := context.Background()

	r.until("both home addresses are registered", func() bool {
		u, err := r.client.Updates(ctx)
		return err == nil && len(u.Updates) == 2 && u.Updates[0].Registered && u.Updates[1].Registered
	})
	agents, err := r.client.HomeAgents(ctx)
	if err != nil || len(agents.Mobiles) != 2 || len(agents.Mobiles[0].Agents) != 1 ||
		agents.Mobiles[0].Agents[0].Origin != "discovered" || agents.Mobiles[0].Agents[0].State != "registered" ||
		agents.Mobiles[1].Agents[0].Origin != "configured" {
		t.Errorf("home agents %+v, %v", agents, err)
	}
	r.until("the home prefixes are known", func() bool {
		p, err := r.client.Prefixes(ctx)
		return err == nil && slices.ContainsFunc(p.Home, func(h control.HomePrefix) bool {
			return h.Side == control.SideMobile && h.HomeAddress == homeAddr && h.Main && h.Prefix.String() == "2001:db8:10::/64"
		})
	})
	up, err := r.client.Uplinks(ctx)
	if err != nil || len(up.Uplinks) != 2 || !up.Uplinks[0].InUse || len(up.Uplinks[0].CareOfs) == 0 {
		t.Errorf("uplinks %+v, %v", up, err)
	}

	// The first section is the default source; what the policy chooses is the
	// second's.
	for port, want := range map[uint16]netip.Addr{4999: homeAddr, 5000: worker, 5010: worker, 5011: homeAddr} {
		r.until(fmt.Sprintf("port %d is reached from %v", port, want), func() bool {
			source, err := sourceTo(host, netip.AddrPortFrom(correspondent, port))
			return err == nil && source == want
		})
	}
	if during := leftovers(t, host); !strings.Contains(during, "rule 630 ") {
		t.Errorf("no rule of the policy:\n%s", during)
	}

	// Those datagrams began the optimisation of the first's route, and only that.
	r.until("the route is optimised", func() bool {
		u, err := r.client.Updates(ctx)
		return err == nil && len(u.Updates[1].Peers) == 0 && slices.ContainsFunc(u.Updates[0].Peers, func(p control.Peer) bool {
			return p.Address == correspondent && p.State == "optimised"
		})
	})
	b, err := agent.client.Bindings(ctx)
	if err != nil || len(b.Bindings) != 2 || len(b.Correspondent) != 1 || b.Correspondent[0].HomeAddress != homeAddr || b.Correspondent[0].Address != correspondent {
		t.Errorf("bindings %+v, %v", b, err)
	}
	r.until("packets take it", func() bool {
		if _, err := sourceTo(host, netip.AddrPortFrom(correspondent, 9)); err != nil {
			return false
		}
		d, err := r.client.Tunnels(ctx)
		return err == nil && len(d.Routes) == 1 && d.Routes[0].EncapsulatedPackets > 0
	})

	// A reload without policy and optimisation takes both back, and nothing else.
	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	plain, _, _ := strings.Cut(strings.Replace(string(text), "\toption route_optimization 'on'\n", "", 1), "config policy")
	r.write(plain)
	if err := r.client.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	r.until("the correspondent has no binding", func() bool {
		b, err := agent.client.Bindings(ctx)
		return err == nil && len(b.Correspondent) == 0 && len(b.Bindings) == 2
	})
	if during := leftovers(t, host); strings.Contains(during, "rule 630 ") {
		t.Errorf("the policy's rule is left:\n%s", during)
	}
	if source, err := sourceTo(host, netip.AddrPortFrom(correspondent, 5000)); err != nil || source != homeAddr {
		t.Errorf("without the policy from %v, %v", source, err)
	}

	r.end()
	agent.until("both are de-registered", func() bool {
		b, err := agent.client.Bindings(ctx)
		return err == nil && !slices.ContainsFunc(b.Bindings, func(b control.Binding) bool { return b.State == "active" })
	})
	if after := leftovers(t, host); after != before {
		t.Errorf("left:\n%s\nwant:\n%s", after, before)
	}
	agent.end()
}
