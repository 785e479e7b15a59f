package rtnl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/role"
)

func TestStateAssign(t *testing.T) {
	f := newFixture(t)
	before := everything(t, f.mr)
	careOf := netip.MustParseAddr("2001:db8:1::c0")
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	// Usable by the next system call, and known before the kernel's notice.
	f.mr.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet6{Addr: careOf.As16()})
	})
	if !f.local.Contains(careOf) {
		t.Error("LocalAddresses does not know it")
	}
	// RFC 5942 §4: no prefix is on-link for the address's sake.
	f.check("\naddress 2001:db8:1::c0/64 dev u0 valid 3600sec preferred 3600sec\n")
	if routes, err := f.mr.Handle.RouteGet(net.ParseIP("2001:db8:1::77")); err == nil {
		t.Errorf("a neighbour in the prefix is on-link: %v", routes)
	}

	t.Run("deprecated, lengthened, again", func(t *testing.T) {
		a := f.assign("2001:db8:1::c0/64")
		a.Preferred = 0
		f.must(f.state.AssignAddress(a))
		f.check("\naddress 2001:db8:1::c0/64 dev u0 valid 3600sec preferred 0sec deprecated\n")
		a.Preferred, a.Valid = forever, forever
		f.must(f.state.AssignAddress(a))
		f.check("\naddress 2001:db8:1::c0/64 dev u0 valid forever preferred forever\n")
		f.must(f.state.AssignAddress(a))
		f.check("\naddress 2001:db8:1::c0/64 dev u0 valid forever preferred forever\n")
	})
	f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: pfx("2001:db8:1::c0/64")}))
	f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: pfx("2001:db8:1::c0/64")}))
	if f.local.Contains(careOf) {
		t.Error("LocalAddresses still knows it")
	}
	if after := everything(t, f.mr); after != before {
		t.Errorf("left over:\n%s\nbefore:\n%s", after, before)
	}
}

func TestStateRejects(t *testing.T) {
	f := newFixture(t)
	if err := f.state.AssignAddress(role.AssignAddress{Link: f.link, Prefix: pfx("192.0.2.1/24"), Valid: time.Hour}); err == nil {
		t.Error("IPv4 address accepted")
	}
	if err := f.state.AssignAddress(role.AssignAddress{Link: f.link, Valid: time.Hour}); err == nil {
		t.Error("no address accepted")
	}
	if err := f.state.AddRoute(role.AddRoute{Route: role.Route{Link: f.link}}); err == nil {
		t.Error("no destination accepted")
	}
	a := f.assign("2001:db8:1::c0/64")
	a.Link = 9999
	if err := f.state.AssignAddress(a); !errors.Is(err, ErrDeferred) || !errors.Is(err, unix.ENODEV) {
		t.Errorf("address on an absent interface: %v", err)
	}
	if err := f.state.LearnNeighbor(role.LearnNeighbor{Link: 9999, Addr: ip("fe80::1"), Ethernet: [6]byte{2}}); !errors.Is(err, unix.ENODEV) {
		t.Errorf("neighbour on an absent interface: %v", err)
	}
}

func TestStateRoutes(t *testing.T) {
	f := newFixture(t)
	before := everything(t, f.mr)
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c1/64")))
	add := func(r role.Route) { t.Helper(); f.must(f.state.AddRoute(role.AddRoute{Route: r})) }
	remove := func(r role.Route) { t.Helper(); f.must(f.state.RemoveRoute(role.RemoveRoute{Route: r})) }
	const addresses = `
address 2001:db8:1::c0/64 dev u0 valid 3600sec preferred 3600sec
address 2001:db8:1::c1/64 dev u0 valid 3600sec preferred 3600sec
`
	onLink := role.Route{Destination: pfx("2001:db8:1::77/64"), Link: f.link} // host bits, default metric
	add(onLink)
	add(f.defaultRoute("fe80::1", "", 512))
	add(f.defaultRoute("fe80::1", "", 512))
	f.check(addresses + `route default via fe80::1 dev u0 metric 512
route 2001:db8:1::/64 dev u0 metric 1024
`)
	// The same route with another source, then another metric.
	add(f.defaultRoute("fe80::1", "2001:db8:1::c0", 512))
	add(f.defaultRoute("fe80::1", "2001:db8:1::c1", 512))
	add(f.defaultRoute("fe80::1", "2001:db8:1::c1", 100))
	f.check(addresses + `route default via fe80::1 dev u0 src 2001:db8:1::c1 metric 100
route 2001:db8:1::/64 dev u0 metric 1024
`)
	// Another router with the same metric: both are there, each can go alone.
	add(f.defaultRoute("fe80::2", "", 100))
	remove(f.defaultRoute("fe80::1", "", 0))
	f.check(addresses + `route default via fe80::2 dev u0 metric 100
route 2001:db8:1::/64 dev u0 metric 1024
`)
	remove(f.defaultRoute("fe80::2", "", 0))
	remove(f.defaultRoute("fe80::2", "", 0))
	remove(onLink)
	f.check(addresses)
	f.must(f.state.Close())
	if after := everything(t, f.mr); after != before {
		t.Errorf("left over:\n%s\nbefore:\n%s", after, before)
	}
	if err := f.state.AddRoute(role.AddRoute{Route: onLink}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Somebody else's address or route that is the same as ours is left alone,
// while we want it and when we do not any more.
func TestStateForeign(t *testing.T) {
	f := newFixture(t)
	f.mr.Address("u0", "2001:db8:1::c0/64")
	f.mr.Route("2001:db8:5::/48", "fe80::5", "u0")
	before := everything(t, f.mr)
	theirs := role.Route{Destination: pfx("2001:db8:5::/48"), Link: f.link, Via: ip("fe80::5")}
	a := f.assign("2001:db8:1::c0/64")
	f.must(f.state.AssignAddress(a))
	f.must(f.state.AssignAddress(a))
	f.must(f.state.AddRoute(role.AddRoute{Route: theirs}))
	f.must(f.state.Reconcile())
	f.check("")
	f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: a.Prefix}))
	f.must(f.state.RemoveRoute(role.RemoveRoute{Route: theirs}))
	f.must(f.state.AssignAddress(a))
	f.must(f.state.AddRoute(role.AddRoute{Route: theirs}))
	f.must(f.state.Close())
	if after := everything(t, f.mr); after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
}

// A killed instance's state: nothing is interrupted, what is asked for again is
// adopted, the rest goes at Reconcile (B2).
func TestStateCrashAndAdopt(t *testing.T) {
	f := newFixture(t)
	before := everything(t, f.mr)
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::dead/64")))
	kept := f.defaultRoute("fe80::1", "2001:db8:1::c0", 512)
	f.must(f.state.AddRoute(role.AddRoute{Route: kept}))
	f.must(f.state.AddRoute(role.AddRoute{Route: f.defaultRoute("fe80::dead", "", 100)}))
	left := f.present()
	f.kill()

	f.start()
	if got := f.present(); got != left {
		t.Errorf("changed by starting:\n%s", got)
	}
	// Losses noticed before the roles have spoken do not make anything stale.
	f.state.restore("test")
	if got := f.present(); got != left {
		t.Errorf("changed before Reconcile:\n%s", got)
	}
	renewed := f.assign("2001:db8:1::c0/64")
	renewed.Valid, renewed.Preferred = 2*time.Hour, 2*time.Hour
	f.must(f.state.AssignAddress(renewed))
	f.must(f.state.AddRoute(role.AddRoute{Route: kept}))
	f.must(f.state.Reconcile())
	f.check(`
address 2001:db8:1::c0/64 dev u0 valid 7200sec preferred 7200sec
route default via fe80::1 dev u0 src 2001:db8:1::c0 metric 512
`)
	f.kill()

	// Killed again, and nothing is wanted any more.
	f.start()
	f.must(f.state.Close())
	if after := everything(t, f.mr); after != before {
		t.Errorf("left over:\n%s\nbefore:\n%s", after, before)
	}
}

func TestStateHomeLink(t *testing.T) {
	f := newFixture(t)
	home := role.AssignAddress{Prefix: pfx("2001:db8::9/128"), Valid: forever, Preferred: forever, Home: true}
	if err := f.state.AssignAddress(home); !errors.Is(err, ErrDeferred) {
		t.Errorf("without a home link: %v", err)
	}
	f.mr.Do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "roam0"}, Mode: netlink.TUNTAP_MODE_TUN})
	})
	f.mr.LinkUp("roam0")
	f.must(f.state.SetHomeLink(f.mr.Index("roam0")))
	f.check("\naddress 2001:db8::9/128 dev roam0 valid forever preferred forever home\n")
	// Coming home: the address moves to the home link.
	atHome := home
	atHome.Link, atHome.Prefix = f.link, pfx("2001:db8::9/64")
	f.must(f.state.AssignAddress(atHome))
	f.must(f.state.UnassignAddress(role.UnassignAddress{Prefix: home.Prefix}))
	f.check("\naddress 2001:db8::9/64 dev u0 valid forever preferred forever home\n")
	if !f.local.Contains(home.Prefix.Addr()) {
		t.Error("LocalAddresses lost it on the way")
	}
}

func TestStateLearnNeighbor(t *testing.T) {
	f := newFixture(t)
	router := role.LearnNeighbor{Link: f.link, Addr: ip("fe80::1"), Ethernet: [6]byte{2, 0, 0, 0, 0, 1}}
	entry := func() netlink.Neigh {
		t.Helper()
		list, err := f.mr.Handle.NeighList(f.link, unix.AF_INET6)
		f.must(err)
		for _, n := range list {
			if n.IP.Equal(net.ParseIP("fe80::1")) {
				return n
			}
		}
		return netlink.Neigh{}
	}
	f.must(f.state.LearnNeighbor(router))
	if n := entry(); n.State != unix.NUD_STALE || n.HardwareAddr.String() != "02:00:00:00:00:01" {
		t.Errorf("entry %+v", n)
	}
	// RFC 4861 §6.3.4: the same address again does not change the state.
	f.must(f.mr.Handle.NeighSet(&netlink.Neigh{LinkIndex: f.link, IP: net.ParseIP("fe80::1"), State: unix.NUD_REACHABLE,
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}))
	f.must(f.state.LearnNeighbor(router))
	if n := entry(); n.State != unix.NUD_REACHABLE {
		t.Errorf("state %#x after the same address, want reachable", n.State)
	}
	router.Ethernet[5] = 2
	f.must(f.state.LearnNeighbor(router))
	if n := entry(); n.State != unix.NUD_STALE || n.HardwareAddr.String() != "02:00:00:00:00:02" {
		t.Errorf("entry %+v", n)
	}
	f.must(f.state.LearnNeighbor(role.LearnNeighbor{Link: f.link, Addr: ip("fe80::2")})) // no link-layer address
	f.must(f.state.Close())
	if n := entry(); n.IP != nil {
		t.Errorf("left after Close: %+v", n)
	}
}

// The interface goes down and comes up; somebody deletes things: what is wanted
// comes back.
func TestStateRestores(t *testing.T) {
	f := newFixture(t)
	f.startWatch(WatchOptions{})
	f.must(f.state.Reconcile())
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	f.must(f.state.AddRoute(role.AddRoute{Route: role.Route{Destination: pfx("2001:db8:1::/64"), Link: f.link, Metric: 256}}))
	f.must(f.state.AddRoute(role.AddRoute{Route: f.defaultRoute("fe80::1", "2001:db8:1::c0", 512)}))
	want := f.present()
	restored := func() bool { return f.present() == want }

	t.Run("administratively down and up", func(t *testing.T) {
		f.mr.LinkDown("u0")
		f.expect("down", func(l role.Link) bool { return l.Index == f.link && !l.Up })
		// The kernel tells that it is down before it takes addresses and routes away, and
		// it lets a Watcher that has heard of a route put an address back.
		eventually(t, "the routes are gone", func() bool { return !strings.Contains(f.present(), "route") })
		if err := f.state.AssignAddress(f.assign("2001:db8:1::c1/64")); !errors.Is(err, ErrDeferred) {
			t.Errorf("address on an interface that is down: %v", err)
		}
		f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: pfx("2001:db8:1::c1/64")}))
		f.mr.LinkUp("u0")
		f.expect("up", func(l role.Link) bool { return l.Index == f.link && l.Up })
		eventually(t, "all is back", restored)
	})
	t.Run("address deleted", func(t *testing.T) {
		a, err := netlink.ParseAddr("2001:db8:1::c0/64")
		f.must(err)
		// The kernel takes the source address from the route as well, without a word,
		// and after it has told about the address: often, for the moment in between.
		for range 50 {
			f.must(f.mr.Handle.AddrDel(f.mr.Link("u0"), a))
			eventually(t, "address and route are back", restored)
		}
	})
	t.Run("route deleted", func(t *testing.T) {
		f.must(f.mr.Handle.RouteDel(&netlink.Route{LinkIndex: f.link, Gw: net.ParseIP("fe80::1"), Family: unix.AF_INET6}))
		eventually(t, "route is back", restored)
	})
	t.Run("carrier", func(t *testing.T) {
		f.ar.LinkDown("a0")
		f.expect("down", func(l role.Link) bool { return l.Index == f.link && !l.Up })
		f.check("\n" + want)
		f.ar.LinkUp("a0")
		f.expect("up", func(l role.Link) bool { return l.Index == f.link && l.Up })
		f.check("\n" + want)
	})
	t.Run("IPv6 off and on", func(t *testing.T) {
		f.mr.Sysctl("net/ipv6/conf/u0/disable_ipv6", "1")
		f.expect("off", func(l role.Link) bool { return l.Index == f.link && !l.Up })
		// Whatever the Watcher has tried until now, the kernel refuses.
		if err := f.state.Reconcile(); err == nil {
			t.Error("addresses on an interface without IPv6")
		}
		eventually(t, "all is gone", func() bool { return f.present() == "" })
		f.mr.Sysctl("net/ipv6/conf/u0/disable_ipv6", "0")
		eventually(t, "all is back", restored)
	})
	t.Run("expired", func(t *testing.T) {
		short := f.assign("2001:db8:1::5/64")
		short.Valid, short.Preferred = time.Second, time.Second
		f.must(f.state.AssignAddress(short))
		eventually(t, "the kernel lets it expire, and it is not put back", func() bool {
			return !f.local.Contains(short.Prefix.Addr()) && restored()
		})
	})
	t.Run("removed", func(t *testing.T) {
		f.must(f.mr.Handle.LinkDel(f.mr.Link("u0")))
		eventually(t, "nothing is wanted any more", func() bool {
			w := f.state.Wanted()
			return len(w.Addresses)+len(w.Routes) == 0 && !f.local.Contains(ip("2001:db8:1::c0"))
		})
	})
}

// 50 moves leave nothing behind (B2).
//
// Covers: B2.
func TestStateFiftyMoves(t *testing.T) {
	f := newFixture(t)
	before := everything(t, f.mr)
	for i := range 50 {
		a := f.assign(fmt.Sprintf("2001:db8:%x::c0/64", i+1))
		r := f.defaultRoute(fmt.Sprintf("fe80::%x", i+1), a.Prefix.Addr().String(), 512)
		f.must(f.state.AssignAddress(a))
		f.must(f.state.AddRoute(role.AddRoute{Route: r}))
		if i == 0 {
			continue
		}
		old := fmt.Sprintf("2001:db8:%x::c0/64", i)
		f.must(f.state.RemoveRoute(role.RemoveRoute{Route: f.defaultRoute(fmt.Sprintf("fe80::%x", i), "", 512)}))
		f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: pfx(old)}))
	}
	f.check(`
address 2001:db8:32::c0/64 dev u0 valid 3600sec preferred 3600sec
route default via fe80::32 dev u0 src 2001:db8:32::c0 metric 512
`)
	f.must(f.state.Close())
	if after := everything(t, f.mr); after != before {
		t.Errorf("left over:\n%s\nbefore:\n%s", after, before)
	}
}

// A home agent has a route for each of a hundred thousand networks: what one more costs
// does not depend on how many there are.
func TestCostOfOneRoute(t *testing.T) {
	f := newFixture(t)
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	i := 0
	add := func() {
		t.Helper()
		i++
		r := f.defaultRoute("fe80::1", "", 512)
		r.Destination = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 48)
		f.must(f.state.AddRoute(role.AddRoute{Route: r}))
	}
	// Octets that one takes on the average: now and then a map grows.
	cost := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			add()
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / 100
	}
	add()
	few := cost()
	for range 2000 {
		add()
	}
	if many := cost(); many > 4*few {
		t.Errorf("a route takes %d octets where there are few, %d where there are 2,000", few, many)
	}
}
