package rtnl

import (
	"errors"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/role"
)

// A route that leads nowhere answers "unreachable", comes behind any other, survives
// somebody else's deletion, and is gone at the end; a successor finds it.
func TestStateUnreachableRoute(t *testing.T) {
	f := newFixture(t)
	before := everything(t, f.mr)
	discard := role.Route{Destination: pfx("2001:db8:8000::/40"), Unreachable: true, Metric: 1 << 30}
	part := role.Route{Destination: pfx("2001:db8:8000::/64"), Link: f.link}
	const text = "\nroute 2001:db8:8000::/40 unreachable metric 1073741824\nroute 2001:db8:8000::/64 dev u0 metric 1024\n"
	unreachable := func(a string) bool {
		_, err := f.mr.Handle.RouteGet(net.ParseIP(a))
		return errors.Is(err, unix.EHOSTUNREACH)
	}
	f.must(f.state.AddRoute(role.AddRoute{Route: discard}))
	f.must(f.state.AddRoute(role.AddRoute{Route: part}))
	f.must(f.state.AddRoute(role.AddRoute{Route: discard}))
	if !unreachable("2001:db8:80ff::1") || unreachable("2001:db8:8000::1") {
		t.Error("the wrong addresses are unreachable")
	}
	f.check(text)

	f.kill()
	f.start()
	f.must(f.state.AddRoute(role.AddRoute{Route: discard}))
	f.must(f.state.AddRoute(role.AddRoute{Route: part}))
	f.must(f.state.Reconcile())
	f.check(text)

	f.startWatch(WatchOptions{})
	_, destination, _ := net.ParseCIDR("2001:db8:8000::/40")
	f.must(f.mr.Handle.RouteDel(&netlink.Route{Dst: destination, Type: unix.RTN_UNREACHABLE, Priority: 1 << 30}))
	eventually(t, "the route is back", func() bool { return unreachable("2001:db8:80ff::1") })
	f.must(f.watch.Close())

	f.must(f.state.RemoveRoute(role.RemoveRoute{Route: discard}))
	f.must(f.state.AddRoute(role.AddRoute{Route: discard}))
	f.must(f.state.Close())
	if after := everything(t, f.mr); after != before {
		t.Errorf("left over:\n%s\nbefore:\n%s", after, before)
	}
}

// A neighbour that has left is forgotten, and one that is not there yet is looked
// for anew.
func TestStateForgetNeighbor(t *testing.T) {
	f := newFixture(t)
	forget := role.ForgetNeighbor{Link: f.link, Addr: ip("2001:db8:10::100")}
	for _, state := range []int{unix.NUD_REACHABLE, unix.NUD_STALE, unix.NUD_FAILED} {
		f.must(f.mr.Handle.NeighSet(&netlink.Neigh{LinkIndex: f.link, IP: net.ParseIP("2001:db8:10::100"), State: state,
			HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}))
		f.must(f.state.ForgetNeighbor(forget))
		list, err := f.mr.Handle.NeighList(f.link, unix.AF_INET6)
		f.must(err)
		for _, n := range list {
			if n.IP.Equal(net.ParseIP("2001:db8:10::100")) && n.State != unix.NUD_FAILED {
				t.Errorf("of state %#x there is %+v", state, n)
			}
		}
	}
	f.must(f.state.ForgetNeighbor(forget))
}
