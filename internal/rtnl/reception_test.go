package rtnl

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/role"
)

// A new address receives although the kernel has not put its own local route into
// the table yet, or any more.
func TestStateReceives(t *testing.T) {
	f := newFixture(t)
	careOf := "2001:db8:1::c0"
	local := func() bool {
		routes, err := f.mr.Handle.RouteGet(net.ParseIP(careOf))
		return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
	}
	if local() {
		t.Fatal("there before")
	}
	f.must(f.state.AssignAddress(f.assign(careOf + "/64")))
	if !local() {
		t.Error("not received at once")
	}
	// The kernel's: of metric 0, which in a request means 1024 or any; its protocol
	// tells it from ours.
	k := linkAddress{f.link, ip(careOf)}
	own := receptionBody(k)
	own[5] = unix.RTPROT_KERNEL
	own = own[:len(own)-8] // without metric
	for end := time.Now().Add(10 * time.Second); f.state.requests.command(unix.RTM_DELROUTE, 0, own) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the kernel never had its own")
		}
	}
	if !local() {
		t.Error("not received without the kernel's route")
	}
	f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: pfx(careOf + "/64")}))
	if local() {
		t.Error("still received")
	}
}
