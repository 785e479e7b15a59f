package rtnl

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
)

func TestWatch(t *testing.T) {
	f := newFixture(t)
	f.startWatch(WatchOptions{})
	is := func(l role.Link) bool { return l.Index == f.link }
	isUp := func(l role.Link) bool { return is(l) && l.Up }
	isDown := func(l role.Link) bool { return is(l) && !l.Up }

	first := f.expect("the uplink at start", isUp)
	want := role.Link{Index: f.link, Name: "u0", Up: true, MTU: 1500, LinkLocal: f.mr.LinkLocal("u0"), Carriers: first.Carriers,
		Ethernet: [6]byte(f.mr.Link("u0").Attrs().HardwareAddr)}
	if first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
	if !f.local.Contains(want.LinkLocal) {
		t.Error("LocalAddresses does not know the link-local address")
	}
	t.Run("carrier", func(t *testing.T) {
		for range 3 {
			f.ar.LinkDown("a0")
			f.expect("carrier lost", isDown)
			f.ar.LinkUp("a0")
			want.Carriers++
			if l := f.expect("carrier back", isUp); l != want {
				t.Errorf("got %+v, want %+v", l, want)
			}
		}
	})
	t.Run("administratively down and up", func(t *testing.T) {
		f.mr.LinkDown("u0")
		f.expect("down", isDown)
		f.mr.LinkUp("u0")
		want.Carriers++
		if l := f.expect("up", isUp); l != want {
			t.Errorf("got %+v, want %+v", l, want)
		}
	})
	t.Run("mtu", func(t *testing.T) {
		f.must(f.mr.Handle.LinkSetMTU(f.mr.Link("u0"), 1400))
		f.expect("mtu", func(l role.Link) bool { return is(l) && l.MTU == 1400 })
	})
	t.Run("renamed", func(t *testing.T) {
		f.mr.Rename("u0", "wan")
		f.expect("new name", func(l role.Link) bool { return isUp(l) && l.Name == "wan" })
	})
	t.Run("address of others", func(t *testing.T) {
		a := f.mr.Address("wan", "2001:db8:3::1/64")
		eventually(t, "known", func() bool { return f.local.Contains(a) })
		p, err := netlink.ParseAddr("2001:db8:3::1/64")
		f.must(err)
		f.must(f.mr.Handle.AddrDel(f.mr.Link("wan"), p))
		eventually(t, "forgotten", func() bool { return !f.local.Contains(a) })
	})
	t.Run("removed", func(t *testing.T) {
		f.must(f.mr.Handle.LinkDel(f.mr.Link("wan")))
		timeout := time.After(patience)
		for gone := false; !gone; {
			select {
			case e := <-f.events:
				gone = e == role.LinkGone{Index: f.link}
			case <-timeout:
				t.Fatal("no LinkGone")
			}
		}
		eventually(t, "its addresses are forgotten", func() bool { return !f.local.Contains(want.LinkLocal) })
	})
	f.must(f.watch.Close())
	f.must(f.watch.Close())
	noGoroutines(t)
}

// A link whose link-local address is still under duplicate address detection is
// not up, unless it is an uplink of ours.
func TestWatchTentative(t *testing.T) {
	for _, optimistic := range []bool{false, true} {
		t.Run(fmt.Sprintf("optimistic=%v", optimistic), func(t *testing.T) {
			f := newFixture(t)
			f.mr.Sysctl("net/ipv6/conf/default/accept_dad", "1")
			f.mr.Sysctl("net/ipv6/conf/default/router_solicitation_delay", "0")
			var sysctls *Sysctls
			f.mr.Do(func() (err error) {
				sysctls, err = NewSysctls("")
				return err
			})
			f.startWatch(WatchOptions{Sysctls: sysctls, OptimisticLinkLocal: func(name string) bool { return optimistic && name == "u1" }})
			// The uplink is plugged in while we watch.
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "u1"
			f.must(f.mr.Handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}))
			f.mr.Sysctl("net/ipv6/neigh/u1/retrans_time_ms", "100")
			index := f.mr.Index("u1")
			f.expect("appears", func(l role.Link) bool { return l.Index == index && !l.Up })
			f.mr.LinkUp("peer")
			f.mr.LinkUp("u1")
			if !optimistic {
				// Its events in between, while the address is tentative, say down.
				l := f.expect("up at last", func(l role.Link) bool { return l.Index == index && l.Up })
				list, err := f.mr.Handle.AddrList(f.mr.Link("u1"), unix.AF_INET6)
				f.must(err)
				if len(list) != 1 || list[0].Flags&unix.IFA_F_TENTATIVE != 0 || !l.LinkLocal.IsValid() {
					t.Errorf("up with %v", list)
				}
				return
			}
			f.expect("up", func(l role.Link) bool { return l.Index == index && l.Up })
			if got := f.mr.ReadSysctl("net/ipv6/conf/u1/accept_dad"); got != "0" {
				t.Errorf("accept_dad %s", got)
			}
			f.mr.Rename("u1", "wan")
			f.must(sysctls.Close())
			if got := f.mr.ReadSysctl("net/ipv6/conf/wan/accept_dad"); got != "1" {
				t.Errorf("accept_dad %s after Close", got)
			}
		})
	}
}

// Notifications are lost (ENOBUFS): the links are listed anew (B10).
//
// Covers: B10.
func TestWatchSurvivesLoss(t *testing.T) {
	f := newFixture(t)
	blocked, entered := make(chan struct{}), make(chan struct{}, 1)
	var seen []role.Event
	events := make(chan role.Event, 4096)
	f.startWatch(WatchOptions{ReceiveBuffer: 1, Notify: func(e role.Event) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-blocked
		events <- e
	}})
	<-entered
	// More than the buffer holds, and at the end something new and something gone.
	for i := range 200 {
		f.must(f.mr.Handle.LinkSetMTU(f.mr.Link("u0"), 1400+i%2))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "new0"
	f.must(f.mr.Handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "new1"}))
	added := f.mr.Index("new0")
	a := f.mr.Address("new0", "2001:db8:7::1/64")
	f.must(f.mr.Handle.LinkDel(f.mr.Link("u0")))
	close(blocked)
	has := func(want func(role.Event) bool) func() bool {
		return func() bool {
			for len(events) > 0 {
				seen = append(seen, <-events)
			}
			return slices.ContainsFunc(seen, want)
		}
	}
	eventually(t, "the removed link is gone", has(func(e role.Event) bool { return e == role.LinkGone{Index: f.link} }))
	eventually(t, "the new link is there", has(func(e role.Event) bool {
		c, ok := e.(role.LinkChanged)
		return ok && c.Link.Index == added
	}))
	eventually(t, "its address is known", func() bool { return f.local.Contains(a) })
	if f.watch.Counters().Resubscribed == 0 {
		t.Error("nothing was lost: the test did not test")
	}
	// And it goes on.
	f.must(f.mr.Handle.LinkSetMTU(f.mr.Link("new0"), 1300))
	eventually(t, "later changes are seen", has(func(e role.Event) bool {
		c, ok := e.(role.LinkChanged)
		return ok && c.Link.Index == added && c.Link.MTU == 1300
	}))
}

// The socket itself fails: a new one takes its place.
//
// Covers: B10.
func TestWatchSurvivesSocketFailure(t *testing.T) {
	f := newFixture(t)
	f.startWatch(WatchOptions{})
	f.expect("start", func(l role.Link) bool { return l.Index == f.link })
	f.watch.mu.Lock()
	f.watch.links.Close()
	f.watch.routes.Close()
	f.watch.mu.Unlock()
	eventually(t, "both resubscribed", func() bool { return f.watch.Counters().Resubscribed == 2 })
	f.ar.LinkDown("a0")
	f.expect("events go on", func(l role.Link) bool { return l.Index == f.link && !l.Up })
}

// A netlink message that another process sends is not believed.
//
// Covers: Attack: forged netlink.
func TestWatchIgnoresForgedMessages(t *testing.T) {
	f := newFixture(t)
	f.startWatch(WatchOptions{})
	f.expect("start", func(l role.Link) bool { return l.Index == f.link })
	f.watch.mu.Lock()
	port, err := f.watch.links.GetPid()
	f.watch.mu.Unlock()
	f.must(err)
	forged := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(forged, uint32(len(forged)))
	binary.NativeEndian.PutUint16(forged[4:], unix.RTM_DELLINK)
	binary.NativeEndian.PutUint32(forged[unix.SizeofNlMsghdr+4:], uint32(f.link))
	f.mr.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, forged, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	})
	eventually(t, "the message arrived", func() bool { return f.watch.Counters().Foreign == 1 })
	f.ar.LinkDown("a0")
	for {
		switch e := (<-f.events).(type) {
		case role.LinkGone:
			t.Fatal("believed a forged message")
		case role.LinkChanged:
			if e.Link.Index == f.link && !e.Link.Up {
				return
			}
		}
	}
}

func TestWatchNeedsItsCallback(t *testing.T) {
	if _, err := Watch(WatchOptions{}); err == nil {
		t.Error("watches without Notify")
	}
	if _, err := Watch(WatchOptions{Notify: func(role.Event) {}, OptimisticLinkLocal: func(string) bool { return true }}); err == nil {
		t.Error("watches without Sysctls")
	}
}

// BenchmarkCarrier measures from before the system call that raises the peer,
// by which the carrier returns, to the callback.
func BenchmarkCarrier(b *testing.B) {
	mr, ar := nstest.New(b), nstest.New(b)
	nstest.Veth(mr, "u0", ar, "a0")
	index, peer := mr.Index("u0"), ar.Link("a0")
	events := make(chan role.Link, 256)
	var w *Watcher
	mr.Do(func() (err error) {
		w, err = Watch(WatchOptions{Notify: func(e role.Event) {
			if c, ok := e.(role.LinkChanged); ok && c.Link.Index == index {
				events <- c.Link
			}
		}})
		return err
	})
	defer w.Close()
	wait := func(up bool) {
		for l := range events {
			if l.Up == up {
				return
			}
		}
	}
	wait(true)
	for b.Loop() {
		b.StopTimer()
		if err := ar.Handle.LinkSetDown(peer); err != nil {
			b.Fatal(err)
		}
		wait(false)
		b.StartTimer()
		if err := ar.Handle.LinkSetUp(peer); err != nil {
			b.Fatal(err)
		}
		wait(true)
	}
}
