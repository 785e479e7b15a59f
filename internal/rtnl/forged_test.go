package rtnl

import (
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/logging/logtest"
	"roam6/internal/role"
)

// forge sends a netlink message from this process to a socket of the namespace.
func (f *fixture) forge(port uint32, message []byte) {
	f.t.Helper()
	f.mr.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	})
}

// netlinkMessage is a message that pretends to be an answer to port.
func netlinkMessage(kind uint16, sequence, port uint32, body []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(b, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[8:], sequence)
	binary.NativeEndian.PutUint32(b[12:], port)
	return append(b, body...)
}

// That a route of ours was removed is believed of the kernel alone: somebody
// else's word does not even make us look.
//
// Covers: Attack: forged netlink.
func TestForgedLossOfRoute(t *testing.T) {
	f := newFixture(t)
	log := new(logtest.Buffer)
	f.state.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.startWatch(WatchOptions{})
	f.must(f.state.Reconcile())
	route := f.defaultRoute("fe80::1", "", 512)
	f.must(f.state.AddRoute(role.AddRoute{Route: route}))
	f.watch.mu.Lock()
	port, err := f.watch.routes.GetPid()
	f.watch.mu.Unlock()
	f.must(err)
	const loss = "loss of a route"
	f.forge(port, netlinkMessage(unix.RTM_DELROUTE, 0, 0, routeBody(route)))
	eventually(t, "the message arrived", func() bool { return f.watch.Counters().Foreign == 1 })
	// Notifications are taken in their order: when the loss of another route, a
	// real one, has been noticed, that of the first would have been.
	other := f.defaultRoute("fe80::2", "", 600)
	f.must(f.state.AddRoute(role.AddRoute{Route: other}))
	stranger, err := openStranger(f)
	f.must(err)
	f.must(stranger.deleteRoute(other))
	eventually(t, "a real loss is mended", func() bool { return strings.Contains(f.present(), "fe80::2") })
	f.must(f.watch.Close()) // and so it has been logged
	if n := strings.Count(log.String(), loss); n != 1 {
		t.Errorf("%d losses noticed: believed a forged message", n)
	}
}

// openStranger is another process that changes routes.
func openStranger(f *fixture) (q *requests, err error) {
	f.mr.Do(func() error { q, err = openRequests(); return err })
	if err == nil {
		f.t.Cleanup(q.close)
	}
	return q, err
}

// An answer to a request of ours is the kernel's or it is none: one that
// somebody else sends is at worst noticed as such, what is asked next is done,
// and what was wanted is there in the end.
//
// Covers: Attack: forged netlink.
func TestForgedAnswers(t *testing.T) {
	f := newFixture(t)
	f.must(f.state.Reconcile())
	port := f.state.requests.port
	address := f.assign("2001:db8:1::c0/64")
	success := make([]byte, 4+unix.SizeofNlMsghdr)
	refusal := make([]byte, 4+unix.SizeofNlMsghdr)
	binary.NativeEndian.PutUint32(refusal, 0xffffffff-uint32(unix.EPERM)+1)
	stolen := addressBody(Address{Link: f.link, Prefix: pfx("2001:db8:66::66/64"), Valid: time.Hour, Preferred: time.Hour})
	for name, m := range map[string][]byte{
		"success": netlinkMessage(unix.NLMSG_ERROR, 1, port, success),
		"refusal": netlinkMessage(unix.NLMSG_ERROR, 1, port, refusal),
		"address": netlinkMessage(unix.RTM_NEWADDR, 1, port, stolen),
		"garbage": {1, 2, 3, 4, 5},
	} {
		f.forge(port, m)
		if err := f.state.AssignAddress(address); err != nil {
			t.Logf("%s: the request that met it failed: %v", name, err)
		}
		f.must(f.state.AssignAddress(address))
		f.check("\naddress 2001:db8:1::c0/64 dev u0 valid 3600sec preferred 3600sec\n")
		f.must(f.state.UnassignAddress(role.UnassignAddress{Link: f.link, Prefix: address.Prefix}))
		f.check("")
	}
}
