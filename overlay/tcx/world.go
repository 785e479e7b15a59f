package tcx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
)

// world follows the addresses and interfaces of the engine's network namespace, with a
// thread of its own: programs are attached to the interfaces of the namespace that the
// calling thread is in.
type world struct {
	path      *fastPath
	namespace int // file descriptor
	events    int // netlink socket
	wake      int // eventfd
	control   int // any socket, for requests about interfaces
	requests  *rtbatch.Conn

	mu     sync.Mutex
	wanted map[int]bool // interfaces to attach to
	closed bool
	ended  chan struct{}
}

// rest is how long the world waits for events before it looks at what has to be done
// from time to time.
const rest = retirement

// openWorld opens it, as that of a fast path, in the namespace of the calling thread. Its
// thread is runLoop.
func openWorld(f *fastPath) (err error) {
	w := &world{path: f, namespace: -1, events: -1, wake: -1, control: -1, wanted: make(map[int]bool), ended: make(chan struct{})}
	defer func() {
		if err != nil {
			w.release()
		}
	}()
	if w.namespace, err = unix.Open(threadNamespace, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if w.control, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if w.requests, err = rtbatch.Open(); err != nil {
		return err
	}
	if w.events, err = nlsock.Subscribe(unix.NETLINK_ROUTE, unix.RTMGRP_LINK|unix.RTMGRP_IPV6_IFADDR|f.hook.groups()); err != nil {
		return fmt.Errorf("follow links and addresses: %w", err)
	}
	f.mu.Lock()
	f.world = w
	f.learnLocals()
	f.mu.Unlock()
	f.followAttached()
	f.judgeOffloads()
	return nil
}

const threadNamespace = "/proc/thread-self/ns/net"

// enter takes the calling thread to the engine's namespace, unless it is there.
func (w *world) enter() error {
	var here, engine unix.Stat_t
	if err := errors.Join(unix.Stat(threadNamespace, &here), unix.Fstat(w.namespace, &engine)); err != nil {
		return err
	}
	if here.Ino == engine.Ino {
		return nil
	}
	return unix.Setns(w.namespace, unix.CLONE_NEWNET)
}

// want has the program put at an interface.
func (w *world) want(index int) {
	w.mu.Lock()
	ask := !w.closed && !w.wanted[index] && len(w.wanted) < mostInterfaces
	if ask {
		w.wanted[index] = true
		w.rouse()
	}
	w.mu.Unlock()
}

func (w *world) rouse() {
	_, _ = unix.Write(w.wake, []byte{1, 1, 1, 1, 1, 1, 1, 1}) // any number but zero
}

// close may be called again.
func (w *world) close() {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	if !again {
		w.rouse()
	}
	w.mu.Unlock()
	<-w.ended
	if !again {
		w.release()
	}
}

func (w *world) release() {
	for _, fd := range []int{w.namespace, w.events, w.wake, w.control} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if w.requests != nil {
		w.requests.Close()
	}
}

// runLoop waits for events. What they say is not looked at: addresses and links are
// listed anew, which costs little and misses nothing.
func (w *world) runLoop() {
	defer close(w.ended)
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := w.enter(); err != nil {
		w.path.log.Warn("tunnel packets are received in user space: the network namespace cannot be entered", "engine", Name, "reason", err)
	}
	buffer := make([]byte, 1<<16)
	set := [2]unix.PollFd{{Fd: int32(w.events), Events: unix.POLLIN}, {Fd: int32(w.wake), Events: unix.POLLIN}}
	judged, judge := time.Now(), false
	for {
		if _, err := unix.Poll(set[:], int(rest/time.Millisecond)); err != nil && err != unix.EINTR {
			time.Sleep(rest)
		}
		wanted, closed := w.take()
		if closed {
			return
		}
		addresses, links, removed := w.drain(buffer)
		if addresses {
			w.path.mu.Lock()
			w.path.learnLocals()
			w.path.mu.Unlock()
		}
		if links {
			judge = true
		}
		if links || removed || w.path.misses() {
			w.path.followAttached()
		}
		if judge && time.Since(judged) >= rest { // it takes some time where there are many
			w.path.judgeOffloads()
			judged, judge = time.Now(), false
		}
		for _, index := range wanted {
			w.path.takeFrom(index)
		}
		w.path.mu.Lock()
		w.path.reap()
		w.path.mu.Unlock()
	}
}

// take returns the interfaces that are wanted.
func (w *world) take() (wanted []int, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b [8]byte
	_, _ = unix.Read(w.wake, b[:])
	for index := range w.wanted {
		wanted = append(wanted, index)
	}
	clear(w.wanted)
	return wanted, w.closed
}

// drain reads all events and tells what they were about: addresses, links, or something
// of traffic control that was removed.
func (w *world) drain(b []byte) (addresses, links, removed bool) {
	for {
		n, from, err := unix.Recvfrom(w.events, b, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return addresses, links, removed
		case err != nil: // ENOBUFS: some are lost
			return true, true, true
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 || n < unix.SizeofNlMsghdr {
			continue
		}
		// Several in one datagram are of one kind.
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			addresses = true
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			links = true
		case unix.RTM_DELQDISC, unix.RTM_DELTFILTER:
			removed = true
		}
	}
}

// link returns the name of an interface and its ARPHRD type.
func (w *world) link(index int) (name string, kind uint16, err error) {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	err = w.requests.Get(unix.RTM_GETLINK, b, func(m []byte) {
		if len(m) >= unix.SizeofIfInfomsg {
			kind = binary.NativeEndian.Uint16(m[2:])
			name = unix.ByteSliceToString(rtbatch.Attribute(m[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME))
		}
	})
	return name, kind, err
}

// way is the interface that the way from an address of this node to another one begins
// with, 0 if there is none.
func (w *world) way(from, to netip.Addr) (index int) {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg)
	b[0], b[1], b[2] = unix.AF_INET6, 128, 128
	s, d := from.As16(), to.As16()
	b = b.Bytes(unix.RTA_SRC, s[:]).Bytes(unix.RTA_DST, d[:]).Uint32(unix.RTA_MARK, w.path.setting.mark)
	if err := w.requests.Get(unix.RTM_GETROUTE, b, func(m []byte) {
		if len(m) >= unix.SizeofRtMsg {
			v, _ := rtbatch.Uint32Attribute(m[unix.SizeofRtMsg:], unix.RTA_OIF)
			index = int(v)
		}
	}); err != nil {
		return 0
	}
	return index
}

// likely are interfaces that tunnel packets may come in by: those with addresses of
// global scope, and the one that the way to everywhere begins with.
func (w *world) likely() (links []int) {
	found := make(map[int]bool)
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0] = unix.AF_INET6
	err := w.requests.Dump(unix.RTM_GETADDR, b, func(m []byte) {
		if len(m) >= unix.SizeofIfAddrmsg && m[3] == unix.RT_SCOPE_UNIVERSE {
			found[int(binary.NativeEndian.Uint32(m[4:]))] = true
		}
	})
	if err != nil {
		w.path.log.Warn("addresses of this node", "engine", Name, "reason", err)
	}
	found[w.way(netip.IPv6Unspecified(), everywhere)] = true
	for index := range found {
		if _, kind, err := w.link(index); err == nil && len(links) < mostAhead {
			if _, ok := headerOf(kind); ok {
				links = append(links, index)
			}
		}
	}
	return links
}

// everywhere stands for all that is global unicast.
var everywhere = netip.AddrFrom16([16]byte{0x20})

func (w *world) there(index int) bool {
	_, _, err := w.link(index)
	return err == nil
}

// names are those of all interfaces.
func (w *world) names() (names []string, err error) {
	err = w.requests.Dump(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg), func(m []byte) {
		if len(m) >= unix.SizeofIfInfomsg {
			names = append(names, unix.ByteSliceToString(rtbatch.Attribute(m[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME)))
		}
	})
	return names, err
}
