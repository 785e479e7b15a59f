package rtnl

import (
	"net"
	"os"
	"strconv"
	"strings"
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
	// Solicitations for it: two members, the kernel's address and we.
	for end := time.Now().Add(10 * time.Second); f.members("ff0200000000000000000001ff0000c0") != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the solicited-node group does not have two members")
		}
	}
	f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: pfx(careOf + "/64")}))
	if n := f.members("ff0200000000000000000001ff0000c0"); n != 0 {
		t.Errorf("%d members left", n)
	}
	if local() {
		t.Error("still received")
	}
}

// members is how many members a multicast group has on the link.
func (f *fixture) members(group string) (n int) {
	f.mr.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/igmp6")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "u0" && fields[2] == group {
				n, err = strconv.Atoi(fields[3])
			}
		}
		return err
	})
	return n
}
