package node

import (
	"os"
	"slices"
	"strings"
	"testing"

	"roam6/internal/rtnl/nstest"
)

// A mobile router is no router on its uplinks: it is in none of the all-routers
// groups there, although it forwards, on the links of its network it is, and what it
// changed is as it was afterwards (RFC 3963 §5.7).
//
// Covers: R6.
func TestNoRouterOnUplinks(t *testing.T) {
	t.Parallel()
	router, host := nstest.New(t), nstest.New(t)
	router.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	router.Sysctl("net/ipv6/conf/all/forwarding", "1") // as on OpenWrt
	host.Sysctl("net/ipv6/conf/default/accept_ra", "1")
	agent := start(t, delegatingFile(stateDir(t)), func(here *nstest.Space) {
		nstest.Veth(here, "wan0", router, "up0")
		nstest.Veth(here, "wan1", router, "up1")
		nstest.Veth(router, "lan0", host, "h0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
		assign(t, here, "wan1", "2001:db8:a2::1/64")
	})
	if !slices.Equal(routerGroups(t, router), []string{"lan0", "up0", "up1"}) {
		t.Fatalf("before: a router on %v", routerGroups(t, router))
	}
	r := startIn(t, router, nil, delegatedFile(stateDir(t)))
	agent.until("a prefix is delegated", func() bool { return agent.delegated().IsValid() })
	r.until("it is a router on its own network only", func() bool { return slices.Equal(routerGroups(t, router), []string{"lan0"}) })
	r.end()
	if !slices.Equal(routerGroups(t, router), []string{"lan0", "up0", "up1"}) {
		t.Errorf("afterwards: a router on %v", routerGroups(t, router))
	}
	agent.end()
}

// routerGroups are the Ethernet interfaces that are in an all-routers group
// (RFC 4291 §2.7.1), sorted.
func routerGroups(t *testing.T, s *nstest.Space) []string {
	t.Helper()
	groups := []string{"ff010000000000000000000000000002", "ff020000000000000000000000000002", "ff050000000000000000000000000002"}
	var links []string
	s.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/igmp6")
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 2 && slices.Contains(groups, f[2]) && f[1] != "lo" && f[1] != "mip0" && f[1] != "roam6" {
				links = append(links, f[1])
			}
		}
		return err
	})
	slices.Sort(links)
	return slices.Compact(links)
}
