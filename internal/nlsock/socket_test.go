package nlsock

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

const patience = 10 * time.Second

// newSocket opens a socket in a namespace of its own.
func newSocket(t *testing.T, timeout time.Duration) (*nstest.Space, *Socket) {
	t.Helper()
	space := nstest.New(t)
	var s *Socket
	space.Do(func() (err error) {
		s, err = Open(unix.NETLINK_ROUTE, timeout)
		return err
	})
	t.Cleanup(s.Close)
	return space, s
}

// ask asks for an interface: the answers are the interface and that the request ended, or
// that it failed.
func ask(seq uint32, name string) []byte {
	body := AppendAttribute(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_IFNAME, append([]byte(name), 0))
	h := unix.NlMsghdr{Type: unix.RTM_GETLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: seq}
	return append(AppendHeader(nil, h, len(body)), body...)
}

// answer is what Receive has found.
type answer struct {
	seq   uint32
	link  bool // else an outcome
	error syscall.Errno
}

// answers receives what there is to requests, until the last has ended.
func answers(t *testing.T, s *Socket, first, last uint32) (all []answer) {
	t.Helper()
	err := s.Receive(first, last, func(m syscall.NetlinkMessage) (bool, error) {
		a := answer{seq: m.Header.Seq, link: m.Header.Type == unix.RTM_NEWLINK}
		ended, err := Outcome(m)
		errors.As(err, &a.error)
		all = append(all, a)
		return ended && m.Header.Seq == last, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Receive gives what belongs to a range of requests, also where their numbers begin anew,
// and not what is left of others.
func TestReceive(t *testing.T) {
	_, s := newSocket(t, patience)
	for _, tt := range []struct {
		name        string
		requests    []byte
		first, last uint32
		want        []answer
	}{
		{"one", ask(5, "lo"), 5, 5, []answer{{seq: 5, link: true}, {seq: 5}}},
		{"refused", ask(6, "absent"), 6, 6, []answer{{seq: 6, error: unix.ENODEV}}},
		{"behind another", slices.Concat(ask(7, "lo"), ask(8, "lo")), 8, 8, []answer{{seq: 8, link: true}, {seq: 8}}},
		{
			"numbers begin anew", slices.Concat(ask(math.MaxUint32, "absent"), ask(0, "lo")), math.MaxUint32, 0,
			[]answer{{seq: math.MaxUint32, error: unix.ENODEV}, {seq: 0, link: true}, {seq: 0}},
		},
	} {
		if err := s.Send(tt.requests); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := answers(t, s, tt.first, tt.last); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	failure := errors.New("enough")
	if err := s.Send(ask(9, "lo")); err != nil {
		t.Fatal(err)
	}
	if err := s.Receive(9, 9, func(syscall.NetlinkMessage) (bool, error) { return false, failure }); err != failure {
		t.Errorf("f's failure became %v", err)
	}
}

// An answer that is not the kernel's is none.
//
// Covers: Attack: forged netlink.
func TestReceiveForged(t *testing.T) {
	space, s := newSocket(t, patience)
	refusal := AppendHeader(nil, unix.NlMsghdr{Type: unix.NLMSG_ERROR, Seq: 1}, 4+unix.SizeofNlMsghdr)
	refusal = binary.NativeEndian.AppendUint32(refusal, 0xffffffff-uint32(unix.EPERM)+1)
	refusal = append(refusal, make([]byte, unix.SizeofNlMsghdr)...)
	space.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, forged := range [][]byte{refusal, {1, 2, 3, 4, 5}} {
			if err := unix.Sendto(fd, forged, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: s.Port()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Send(ask(1, "lo")); err != nil {
		t.Fatal(err)
	}
	if got, want := answers(t, s, 1, 1), []answer{{seq: 1, link: true}, {seq: 1}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A list that changes while the kernel tells it is asked for again; one that changes each
// time is taken as it is.
func TestList(t *testing.T) {
	space, s := newSocket(t, patience)
	address := func(i int) *netlink.Addr {
		ip := net.ParseIP("2001:db8::")
		binary.BigEndian.PutUint32(ip[12:], uint32(i))
		return &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)}, Flags: unix.IFA_F_NODAD}
	}
	lo, err := space.Handle.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	add := func(i int) {
		t.Helper()
		if err := space.Handle.AddrAdd(lo, address(i)); err != nil {
			t.Fatal(err)
		}
	}
	// Several datagrams, of which the kernel makes the later ones when there is room.
	const before = 2000
	for i := range before {
		add(i)
	}
	// dump lists the addresses while they change as often as said, and tells how often it
	// asked.
	dump := func(changes int) (items map[string]int, asked int) {
		t.Helper()
		items = make(map[string]int)
		err := s.List(func() (uint32, error) {
			asked++
			seq := uint32(100 + asked)
			q := AppendHeader(nil, unix.NlMsghdr{
				Type: unix.RTM_GETADDR, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: seq, Pid: s.Port(),
			}, unix.SizeofIfAddrmsg)
			q = append(q, unix.AF_INET6, 0, 0, 0, 0, 0, 0, 0)
			err := s.Send(q)
			if asked <= changes {
				add(before)
				if err := space.Handle.AddrDel(lo, address(before)); err != nil {
					t.Fatal(err)
				}
			}
			return seq, err
		}, func(b []byte) { items[string(Attribute(b[unix.SizeofIfAddrmsg:], unix.IFA_ADDRESS))]++ })
		if err != nil {
			t.Fatal(err)
		}
		return items, asked
	}
	// The kernel has to do with new addresses for a while after.
	for deadline := time.Now().Add(patience); ; {
		if _, asked := dump(0); asked == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("addresses at rest are asked for again and again")
		}
	}
	items, asked := dump(1)
	if asked < 2 || len(items) != before+1 { // and ::1
		t.Errorf("changed once: asked %d times, %d addresses, want %d", asked, len(items), before+1)
	}
	for ip, n := range items {
		if n != 1 {
			t.Errorf("%v came %d times", net.IP(ip), n)
		}
	}
	if _, asked := dump(listAttempts); asked != listAttempts {
		t.Errorf("changed each time: asked %d times", asked)
	}
}

func TestReceiveTimeout(t *testing.T) {
	_, s := newSocket(t, time.Millisecond)
	err := s.Receive(1, 1, func(syscall.NetlinkMessage) (bool, error) { return true, nil })
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("without an answer: %v", err)
	}
}

func TestClosed(t *testing.T) {
	_, s := newSocket(t, patience)
	s.Close()
	s.Close()
	if err := s.Send(ask(1, "lo")); !s.Closed() || !errors.Is(err, os.ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if err := s.Receive(1, 1, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("receive: %v", err)
	}
}

// Who subscribes hears of changes, and does not wait for them.
func TestSubscribe(t *testing.T) {
	space, s := newSocket(t, patience)
	var events int
	space.Do(func() (err error) {
		events, err = Subscribe(unix.NETLINK_ROUTE, unix.RTMGRP_LINK)
		return err
	})
	defer unix.Close(events)
	buffer := make([]byte, receiveRoom)
	if _, _, err := unix.Recvfrom(events, buffer, 0); err != unix.EAGAIN {
		t.Fatalf("before anything happened: %v", err)
	}
	down := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(down[4:], 1) // the loopback interface
	binary.NativeEndian.PutUint32(down[12:], unix.IFF_UP)
	h := unix.NlMsghdr{Type: unix.RTM_NEWLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: 1}
	if err := s.Send(append(AppendHeader(nil, h, len(down)), down...)); err != nil {
		t.Fatal(err)
	}
	if got := answers(t, s, 1, 1); len(got) != 1 || got[0].error != 0 {
		t.Fatalf("%+v", got)
	}
	// What is told, is told before the request ends.
	n, from, err := unix.Recvfrom(events, buffer, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := FromKernel(buffer[:n], from)
	if err != nil || len(messages) != 1 || messages[0].Header.Type != unix.RTM_NEWLINK {
		t.Errorf("%+v, %v", messages, err)
	}
}

func TestGone(t *testing.T) {
	for err, want := range map[error]bool{
		unix.ESRCH: true, unix.ENODEV: true, os.NewSyscallError("sendto", unix.ENOENT): true,
		unix.EPERM: false, os.ErrClosed: false, nil: false,
	} {
		if Gone(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}
