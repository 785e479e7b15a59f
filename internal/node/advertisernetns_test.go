package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// A Linux host on the link forms an address of `::/64`, has the route and the DNS
// server, and loses all of it in order when the interface loses its address, when the
// configuration does, and when the daemon stops.
func TestOwnPrefixAtHost(t *testing.T) {
	l := newLAN(t, fastLink+prefixSection()+
		"\nconfig route\n\toption interface 'lan0'\n\tlist prefix '2001:db8:200::/40'\n"+
		"\nconfig rdnss\n\toption interface 'lan0'\n\tlist addr '2001:db8:1::53'\n"+
		"\nconfig dnssl\n\toption interface 'lan0'\n\tlist suffix 'example.org'\n",
		func(router *nstest.Space) { router.Address("lan0", "2001:db8:1::1/64") })
	l.until("the host forms an address", func() bool { p, ok := l.formed("2001:db8:1::/64"); return ok && p > 0 })
	l.until("the host has the route", func() bool { return strings.Contains(l.hostRoutes(), "2001:db8:200::/40") })
	for _, want := range []string{"2001:db8:1::/64", "Recursive DNS server     : 2001:db8:1::53", "DNS search list          : example.org", "2001:db8:200::/40"} {
		if out := l.rdisc(); !strings.Contains(out, want) {
			t.Errorf("rdisc6 does not hear %q:\n%s", want, out)
		}
	}
	if a := l.shown("lan0"); a.State != "sending" || a.Source == nil || a.Multicast == 0 || len(a.Options) != 4 {
		t.Errorf("shown: %+v", a)
	}

	// Another prefix comes: it is advertised; the first one leaves: it is deprecated.
	l.space.Address("lan0", "2001:db8:2::1/64")
	l.until("the host forms an address of the new one", func() bool { p, ok := l.formed("2001:db8:2::/64"); return ok && p > 0 })
	unassign(t, l.space, "lan0", "2001:db8:1::1/64")
	l.until("the first one is deprecated at the host", func() bool { p, ok := l.formed("2001:db8:1::/64"); return ok && p == 0 })

	// What is taken out of the configuration is taken back.
	if err := l.rewrite(fastLink + prefixSection()); err != nil {
		t.Fatal(err)
	}
	l.until("the route is gone at the host", func() bool { return !strings.Contains(l.hostRoutes(), "2001:db8:200::/40") })
	l.until("DNS is taken back", func() bool {
		return slices.ContainsFunc(l.all(), func(h heardRA) bool {
			return len(h.DNSServers) == 1 && h.DNSServers[0].Lifetime == 0 && len(h.DNSSearch) == 1 && h.DNSSearch[0].Lifetime == 0
		})
	})

	// The end: three times that this is no router.
	if !l.hasRouter() {
		t.Errorf("the host has no default route:\n%s", l.hostRoutes())
	}
	l.end()
	finals := func() (n int) {
		for _, h := range l.all() {
			if h.RouterLifetime == 0 {
				n++
			}
		}
		return n
	}
	// The last was sent before the daemon ended; the ear may hear it a moment later.
	for limit := time.Now().Add(10 * time.Second); finals() < 3 && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	if n := finals(); n != 3 {
		t.Errorf("%d final advertisements", n)
	}
	if l.hasRouter() {
		t.Errorf("the host still has a default route:\n%s", l.hostRoutes())
	}
	if p, ok := l.formed("2001:db8:2::/64"); !ok || p == 0 {
		t.Errorf("deprecated at the end without DeprecatePrefix: %d, %v", p, ok)
	}
}

// radvd ended when a file was bad on SIGHUP. Here what was before goes on, and the error
// is told.
func TestBadFileDoesNotEndAdvertisements(t *testing.T) {
	l := newLAN(t, fastLink+prefixSection("list prefix '2001:db8:1::/64'"))
	l.until("it advertises", func() bool { _, _, ok := l.last().prefixOf("2001:db8:1::/64"); return ok })
	for _, bad := range []string{"config interface\n\toption interface\n", fastLink + prefixSection("list prefix '2001:db8:1::1/64'"), "\x00"} {
		if err := l.rewrite(bad); err == nil {
			t.Fatalf("%q is taken", bad)
		}
		n := len(l.all())
		l.until("it goes on", func() bool { return len(l.all()) > n+5 })
		if _, valid, ok := l.last().prefixOf("2001:db8:1::/64"); !ok || valid == 0 {
			t.Errorf("after %q the prefix is %v, %v", bad, valid, ok)
		}
	}
	if s, err := l.client.Stats(context.Background()); err != nil || s.Daemon.ReloadsFailed < 3 {
		t.Errorf("%+v, %v", s.Daemon, err)
	}
	l.end()
}

// radvd did not deprecate a prefix that a reload takes away.
func TestRemovedPrefixIsDeprecatedOnReload(t *testing.T) {
	l := newLAN(t, fastLink+prefixSection("list prefix '2001:db8:1::/64'", "list prefix '2001:db8:2::/64'"))
	l.until("the host has both", func() bool {
		a, ok := l.formed("2001:db8:1::/64")
		b, ok2 := l.formed("2001:db8:2::/64")
		return ok && ok2 && a > 0 && b > 0
	})
	if err := l.rewrite(fastLink + prefixSection("list prefix '2001:db8:2::/64'")); err != nil {
		t.Fatal(err)
	}
	l.until("the first is deprecated at the host", func() bool { p, ok := l.formed("2001:db8:1::/64"); return ok && p == 0 })
	if p, ok := l.formed("2001:db8:2::/64"); !ok || p == 0 {
		t.Errorf("the second is deprecated, too: %d, %v", p, ok)
	}
	// The whole section goes: what it told is taken back by those who heard it, at last
	// with final advertisements, and the daemon goes on.
	if err := l.rewrite(""); err != nil {
		t.Fatal(err)
	}
	l.until("the second is deprecated", func() bool { p, ok := l.formed("2001:db8:2::/64"); return ok && p == 0 })
	l.until("the host has no default route", func() bool { return !l.hasRouter() })
	l.end()
}

// The lifetimes of what the interface has are those of the kernel, where they are
// shorter: they count down, follow when they are renewed, and what is deprecated there
// is not told as preferred.
func TestLifetimesFollowKernel(t *testing.T) {
	set := func(router *nstest.Space, preferred, valid int) {
		a, err := netlink.ParseAddr("2001:db8:1::1/64")
		if err != nil {
			t.Fatal(err)
		}
		a.Flags, a.PreferedLft, a.ValidLft = unix.IFA_F_NODAD, preferred, valid
		if err := router.Handle.AddrReplace(router.Link("lan0"), a); err != nil {
			t.Fatal(err)
		}
	}
	l := newLAN(t, fastLink+prefixSection("option AdvRouterAddr '1'"), func(router *nstest.Space) { set(router, 600, 1200) })
	between := func(what string, preferred, valid time.Duration) {
		t.Helper()
		l.until(what, func() bool {
			p, v, ok := l.last().prefixOf("2001:db8:1::/64")
			return ok && p <= preferred && v <= valid && (p > preferred-5*time.Second || preferred == 0) && v > valid-5*time.Second
		})
	}
	between("it has the kernel's lifetimes", 600*time.Second, 1200*time.Second)
	l.until("they count down", func() bool { p, _, _ := l.last().prefixOf("2001:db8:1::/64"); return p < 599*time.Second })
	set(l.space, 900, 1800)
	between("they are renewed", 900*time.Second, 1800*time.Second)
	if h := l.last(); len(h.Prefixes) != 1 || h.Prefixes[0].Prefix.Addr() != netip.MustParseAddr("2001:db8:1::1") || !h.Prefixes[0].RouterAddress {
		t.Errorf("the router's address: %+v", h.Prefixes)
	}
	set(l.space, 0, 1700)
	between("it is deprecated", 0, 1700*time.Second)
	set(l.space, 1000000, 2000000)
	between("configured ones where those are shorter", 4*time.Hour, 24*time.Hour)
	l.end()
}

// Base6Interface: the subnets of another interface, while that has them.
func TestNumberedFromAnotherInterface(t *testing.T) {
	far := nstest.New(t)
	l := newLAN(t, fastLink+prefixSection("list prefix '0:0:0:7::/64'", "option Base6Interface 'wan0'"), func(router *nstest.Space) {
		nstest.Veth(router, "wan0", far, "peer0")
		router.Address("wan0", "2001:db8:a:10::1/60")
	})
	l.until("it is numbered", func() bool { _, v, ok := l.last().prefixOf("2001:db8:a:17::/64"); return ok && v > 0 })
	unassign(t, l.space, "wan0", "2001:db8:a:10::1/60")
	l.space.Address("wan0", "2001:db8:b:20::1/60")
	l.until("the next one is there and the first deprecated", func() bool {
		h := l.last()
		_, v, ok := h.prefixOf("2001:db8:b:27::/64")
		p, _, was := h.prefixOf("2001:db8:a:17::/64")
		return ok && v > 0 && was && p == 0
	})
	l.space.Rename("wan0", "wan9")
	l.until("it is deprecated without the interface", func() bool { p, _, was := l.last().prefixOf("2001:db8:b:27::/64"); return was && p == 0 })
	l.end()
}

// AdvRASrcAddress: nothing is sent before the interface has one, which is said once, and
// it begins as soon as it has.
func TestSourceAppears(t *testing.T) {
	l := newLAN(t, strings.Replace(fastLink, "\toption AdvSendAdvert", "\tlist AdvRASrcAddress 'fe80::aa'\n\toption AdvSendAdvert", 1))
	l.until("it is said", func() bool { return strings.Contains(l.log.String(), "are not sent") })
	if n := len(l.all()); n != 0 {
		t.Fatalf("%d are sent", n)
	}
	if a := l.shown("lan0"); a.State != "silent" || a.Source != nil || !strings.Contains(a.Trouble, "AdvRASrcAddress") {
		t.Errorf("shown: %+v", a)
	}
	l.space.Assign("lan0", "fe80::aa/64")
	l.until("it is sent from there", func() bool { return l.last().router == netip.MustParseAddr("fe80::aa") })
	if n := strings.Count(l.log.String(), "are not sent"); n != 1 {
		t.Errorf("said %d times", n)
	}
	l.end()
}

// An interface that is not there is waited for; one that goes, or gets another name, is
// served again when it is back.
func TestInterfaceComesLater(t *testing.T) {
	l := newLAN(t, strings.Replace(fastLink, "lan0", "lan7", 1)+strings.Replace(prefixSection(), "lan0", "lan7", 1), func(router *nstest.Space) {
		router.Address("lan0", "2001:db8:1::1/64")
	})
	if a := l.shown("lan7"); a.State != "missing" {
		t.Errorf("shown: %+v", a)
	}
	l.space.Rename("lan0", "lan7")
	l.space.Address("lan7", "2001:db8:2::1/64")
	l.until("it is served", func() bool { _, _, ok := l.last().prefixOf("2001:db8:2::/64"); return ok })
	l.space.Rename("lan7", "lan0")
	n := 0
	l.until("it is served no more", func() bool { n = len(l.all()); return l.shown("lan7").State == "missing" })
	l.space.Rename("lan0", "lan7")
	l.until("it is served again", func() bool { return len(l.all()) > n && l.last().RouterLifetime > 0 })
	l.end()
}

// Other routers of the link that say something else are heard, counted and logged.
func TestContradictionHeard(t *testing.T) {
	l := newLAN(t, fastLink+"\toption AdvLinkMTU '1400'\n")
	index := l.host.Index("h0")
	var c *ndconn.Conn
	l.host.Do(func() (err error) {
		c, err = ndconn.Open(ndconn.LinkRef{Index: index, Name: "h0", MTU: 1500}, func(ndconn.Received) {})
		return err
	})
	defer c.Close()
	l.until("it is said", func() bool {
		if err := c.SendRA(nd.AllNodes(), nd.RouterAdvertisement{MTU: 1300}); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(l.log.String(), "field=mtu")
	})
	for range 10 {
		if err := c.SendRA(nd.AllNodes(), nd.RouterAdvertisement{MTU: 1300}); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(l.log.String(), "field=mtu"); n != 1 || strings.Contains(l.log.String(), "router="+l.space.LinkLocal("lan0").String()) {
		t.Errorf("%d lines", n)
	}
	l.end()
}

// A router in the second row hears anchors on its uplink, though it forwards, and
// advertises them one hop further away; when they fail it says so at once.
//
// Covers: P10.
func TestAnchorsRelayed(t *testing.T) {
	far := nstest.New(t)
	l := newLAN(t, fastLink+"\tlist map_upstream 'wan0'\n", func(router *nstest.Space) {
		router.Sysctl("net/ipv6/conf/all/forwarding", "1")
		nstest.Veth(router, "wan0", far, "peer0")
	})
	const anchor = "config map_option\n\toption interface 'peer0'\n\toption address '2001:db8:9::1'\n\toption distance '2'\n"
	above := startIn(t, far, nil, globalsText+strings.Replace(fastLink, "lan0", "peer0", 1)+anchor)
	l.until("the anchor is advertised", func() bool {
		a := l.last().Anchors
		return len(a) == 1 && a[0].Address == netip.MustParseAddr("2001:db8:9::1") && a[0].Distance == 3 && a[0].ValidLifetime > 0
	})
	above.write(strings.Replace(fmt.Sprintf(globalsText, socketOf(above))+strings.Replace(fastLink, "lan0", "peer0", 1)+anchor, "distance '2'\n", "distance '2'\n\toption lifetime '0'\n", 1))
	if err := above.client.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.until("its failure is told", func() bool { a := l.last().Anchors; return len(a) == 1 && a[0].ValidLifetime == 0 })
	above.end()
	l.end()
}

// Eight links at 30 to 70 ms at once stay within that; a machine that is busy with
// something else gets a tenth.
func TestManyFastLinks(t *testing.T) {
	router, host := nstest.New(t), nstest.New(t)
	text := globalsText
	var ears []*ear
	for i := range 8 {
		nstest.Veth(router, fmt.Sprintf("lan%d", i), host, fmt.Sprintf("h%d", i))
		ears = append(ears, listen(t, host, fmt.Sprintf("h%d", i)))
		text += strings.Replace(fastLink, "lan0", fmt.Sprintf("lan%d", i), 1)
	}
	r := startIn(t, router, nil, text)
	r.until("each has sent fifty", func() bool {
		return !slices.ContainsFunc(ears, func(e *ear) bool { return len(e.all()) < 50 })
	})
	gaps, outside := 0, 0
	for _, e := range ears {
		list := e.all()
		for i := range list[1:] {
			gaps++
			if d := list[i+1].at.Sub(list[i].at); d < 29*time.Millisecond || d > 71*time.Millisecond {
				outside++
			}
		}
	}
	if outside > gaps/10 {
		t.Errorf("%d of %d gaps are not of 30 to 70 ms", outside, gaps)
	}
	r.end()
}
