package node

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

// switched is an access link with several nodes: a bridge, whose ports have carrier as
// the test wants.
type switched struct{ *nstest.Space }

func newSwitch(t *testing.T) switched {
	t.Helper()
	s := switched{nstest.New(t)}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	snooping := false
	if err := s.Handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		t.Skipf("needs a bridge: %v: a kernel with CONFIG_BRIDGE", err)
	}
	s.LinkUp("br0")
	return s
}

// join gives a space an interface on the link.
func (s switched) join(t *testing.T, other *nstest.Space, name, port string) {
	t.Helper()
	nstest.Veth(s.Space, port, other, name)
	if err := s.Handle.LinkSetMaster(s.Link(port), s.Link("br0")); err != nil {
		t.Fatalf("port %s of the bridge: %v", port, err)
	}
}

// take makes an address that of a space, if duplicate address detection of its kernel
// finds nobody, and tells a router of it.
func take(t *testing.T, s *nstest.Space, name string, a, router netip.Addr) {
	t.Helper()
	s.Sysctl("net/ipv6/conf/"+name+"/accept_dad", "1")
	x, err := netlink.ParseAddr(netip.PrefixFrom(a, 64).String())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle.AddrAdd(s.Link(name), x); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		flags := addressFlags(t, s, name, a)
		if flags&unix.IFA_F_DADFAILED != 0 || time.Now().After(deadline) {
			t.Fatalf("%v is not free: flags %#x", a, flags)
		}
		if flags&unix.IFA_F_TENTATIVE == 0 {
			break
		}
	}
	if source, err := sourceTo(s, netip.AddrPortFrom(router, 9)); err != nil || source != a {
		t.Fatalf("speaks with %v, not %v: %v", source, a, err)
	}
}

// addressFlags are those of an address in a kernel.
func addressFlags(t *testing.T, s *nstest.Space, name string, a netip.Addr) int {
	t.Helper()
	list, err := s.Handle.AddrList(s.Link(name), unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if ip, ok := netip.AddrFromSlice(x.IP); ok && ip == a {
			return x.Flags
		}
	}
	t.Fatalf("%v is not on %s", a, name)
	return 0
}

// While a mobile is away from a link another node takes the care-of address that it had
// there, as it may: its duplicate address detection finds nobody. The mobile uses the
// address at once when it returns, finds out, and is reached again by another one within
// two seconds, not at its next move (RFC 4862 §5.4, RFC 6059 §5.8).
//
// Covers: M8.
func TestAddressTakenMeanwhile(t *testing.T) {
	second := strings.Replace(homeFile, "config home_agent 'ha'", `config interface
	option interface 'wan1'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'

config prefix
	option interface 'wan1'
	list prefix '2001:db8:a2::/64'

config home_agent 'ha'`, 1)
	for name, elsewhere := range map[string]bool{"without a link": false, "on another link": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, host, other := newSwitch(t), nstest.New(t), nstest.New(t)
			for _, s := range []*nstest.Space{host, other} {
				s.Sysctl("net/ipv6/conf/default/accept_ra", "0")
			}
			router := netip.MustParseAddr("2001:db8:a1::1")
			agent := start(t, second, func(here *nstest.Space) {
				access.join(t, here, "wan0", "p0")
				nstest.Veth(here, "wan1", host, "up1")
				assign(t, here, "home0", "2001:db8:10::1/64")
				assign(t, here, "wan0", router.String()+"/64")
				assign(t, here, "wan1", "2001:db8:a2::1/64")
			})
			access.join(t, host, "up0", "p1")
			access.join(t, other, "eth0", "p2")
			assign(t, agent.peer, "peer0", "2001:db8:10::99/64")
			if !elsewhere {
				agent.space.LinkDown("wan1")
			}
			r := startIn(t, host, nil, phoneFile(stateDir(t), "\tlist uplink 'up1'\n"))
			here := netip.MustParsePrefix("2001:db8:a1::/64")
			r.until("it is registered on the link", func() bool { return here.Contains(careOf(agent)) })
			taken := careOf(agent)
			service := netip.AddrPortFrom(homeAddr, 7)
			r.until("the home address is there", func() bool { return hasAddress(host, homeAddr) })
			echo(t, host, service)
			r.until("it is reached", func() bool { _, ok := asked(agent.peer, service); return ok })
			r.until("the address is proven", func() bool { return proven(r, taken) })

			access.LinkDown("p1")
			if elsewhere {
				r.until("it is registered on another link", func() bool { c := careOf(agent); return c.IsValid() && !here.Contains(c) })
				r.until("the address is not there any more", func() bool { return !hasAddress(host, taken) })
			}
			r.until("the carrier is gone", func() bool { return carrier(host, "up0") == netlink.OperDown })
			take(t, other, "eth0", taken, router)

			access.LinkUp("p1")
			r.until("the carrier is back", func() bool { return carrier(host, "up0") == netlink.OperUp })
			if elsewhere {
				agent.space.LinkDown("wan1") // or the link of before would serve on
			}
			begin := time.Now()
			r.until("it is registered with another address of the link", func() bool {
				c := careOf(agent)
				return here.Contains(c) && c != taken
			})
			r.until("it is reached", func() bool { _, ok := asked(agent.peer, service); return ok })
			if d := time.Since(begin); d > 2*time.Second {
				t.Errorf("reached again after %v", d)
			} else {
				t.Logf("reached again after %v", d)
			}
			if hasAddress(host, taken) {
				t.Error("the address of another node is still there")
			}
			if s, err := r.client.Stats(context.Background()); err != nil || s.Mobile == nil || s.Mobile.Duplicates != 1 {
				t.Errorf("not counted: %+v, %v", s.Mobile, err)
			}
			if !strings.Contains(r.log.String(), fmt.Sprintf("care_of=%v by=", taken)) {
				t.Error("the log does not tell")
			}
			if flags := addressFlags(t, other, "eth0", taken); flags&unix.IFA_F_DADFAILED != 0 {
				t.Errorf("the other node has lost it: flags %#x", flags)
			}
			r.end()
			agent.end()
		})
	}
}

// hasAddress reports whether a kernel has an address, on any interface.
func hasAddress(s *nstest.Space, a netip.Addr) bool {
	list, err := s.Handle.AddrList(nil, unix.AF_INET6)
	if err != nil {
		return false
	}
	for _, x := range list {
		if ip, ok := netip.AddrFromSlice(x.IP); ok && ip == a {
			return true
		}
	}
	return false
}

// carrier is the operational state of an interface.
func carrier(s *nstest.Space, name string) netlink.LinkOperState {
	l, err := s.Handle.LinkByName(name)
	if err != nil {
		return netlink.OperUnknown
	}
	return l.Attrs().OperState
}

// proven reports whether duplicate address detection has found nobody who has a care-of
// address of a node.
func proven(r *running, a netip.Addr) bool {
	up, err := r.client.Uplinks(context.Background())
	if err != nil {
		return false
	}
	for _, u := range up.Uplinks {
		for _, c := range u.CareOfs {
			if c.Address == a {
				return !c.Optimistic
			}
		}
	}
	return false
}
