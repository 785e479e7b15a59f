package tun

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

const (
	// sendBatch is how many outer packets go in one system call.
	sendBatch = 128
	// sendArena holds the packets read until those are sent.
	sendArena = 4 * maximumPacket
	// moderation is how long a burst may gather, as network cards do with their
	// interrupts: fewer and larger aggregates for the device, a tenth to a fifth
	// more throughput on one processor. A packet that comes alone does not wait.
	moderation = 50 * time.Microsecond
	// pause is after an error that may last.
	pause = 50 * time.Millisecond
	// refusalsPerSecond lets an agent's mobiles know within seconds that it has
	// lost their bindings, and is little to an attacker who forges sources.
	refusalsPerSecond = 500
)

// The loops wait in poll(2) on threads of their own, not in Go's network
// poller: that is woken for each packet, also while a loop is busy, and moves
// loops between processors, which puts packets out of order.

// wait waits until fd is readable. It returns false when the engine closes.
func (e *Engine) wait(fd int) bool {
	set := [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(e.stop), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(set[:], -1); err == nil {
			return set[1].Revents == 0
		} else if err != unix.EINTR {
			time.Sleep(pause) // no memory: nothing else is possible here
		}
	}
}

// sendRunLoop carries packets from the device to the socket. It reads until
// there are no more, or no room; then it sends them all.
func (e *Engine) sendRunLoop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out := newBatch(sendBatch, e.sender.send)
	errors := &errorSender{limit: e.errors}
	encapsulator := encapsulator{
		table: &e.table, out: out, errors: errors, watch: e.watcher(), identification: uint32(time.Now().UnixNano()),
		pathMTU: e.config.PathMTU, wayOut: e.wayOut, homeTest: e.config.HomeTest,
	}
	arena := make([]byte, sendArena)
	for e.wait(e.device.fd) {
		used, now := 0, e.now()
		for len(arena)-used >= virtioLength+maximumPacket {
			n, err := e.device.read(arena[used:])
			if err != nil {
				out.send()
				if !e.survivable("read", err) {
					return
				}
				break
			}
			if n == 0 {
				break
			}
			if n < virtioLength {
				e.table.drops.count(overlay.DropMalformed)
				continue
			}
			var h virtioHeader
			h.parse(arena[used:])
			if reply := encapsulator.packet(arena[used+virtioLength:used+n], h, now); reply != nil {
				e.informed(reply)
			}
			used += (n + 7) &^ 7
		}
		out.send()
	}
}

// survivable logs an error of the device and tells whether to go on.
func (e *Engine) survivable(verb string, err error) bool {
	if errors.Is(err, unix.EBADFD) {
		e.config.Log.Error("the TUN device was removed by somebody else: restart to forward packets again", "engine", e.Name(), "device", e.device.name)
		return false
	}
	e.config.Log.Warn("TUN device", "engine", e.Name(), "device", e.device.name, "operation", verb, "reason", err)
	time.Sleep(pause)
	return true
}

// inject writes a packet with its virtio header to the device.
func (e *Engine) inject(b []byte) {
	piece := [1]unix.Iovec{{Base: &b[0]}}
	piece[0].SetLen(len(b))
	if err := e.device.write(piece[:]); err != nil {
		e.table.drops.count(deviceDropReason(err))
	}
}

func deviceDropReason(err error) overlay.DropReason {
	switch {
	case errors.Is(err, unix.EINVAL):
		return overlay.DropOffload // the kernel does not like the virtio header
	case errors.Is(err, unix.EIO):
		return overlay.DropUnreachable // the device is down
	default:
		return dropReason(err)
	}
}

// receiveRunLoop carries packets from the socket of tunnels to the device.
func (e *Engine) receiveRunLoop() {
	d := decapsulator{arrivals: arrivals{&e.table, e.watcher()}, joined: e.coalescer(e.receive), fast: e.fast.path}
	var denied quiet
	refusals := refuser{limit: newBucket(refusalsPerSecond, refusalsPerSecond)}
	e.receiveAll(e.receive, d.joined, func(i int, now time.Duration) {
		buffer, o, whole := e.receive.tunnelPacket(i, e.device.index, markOf{e.config.Mark, e.config.MarkMask &^ e.sorted()})
		if !whole {
			e.table.drops.count(overlay.DropMalformed)
			return
		}
		reason := d.packet(buffer, o, now)
		if reason == overlay.DropNoTunnel && e.config.Refuse && (e.config.Ready == nil || e.config.Ready()) {
			e.refuse(&refusals, buffer[receiveHeadroom:], o, now)
		}
		if reason == overlay.DropOuterSource && denied.speak(now) {
			packet := buffer[receiveHeadroom:]
			e.config.Log.Debug("tunnel packet not from the other end of its tunnel", "engine", e.Name(),
				"outer_source", o.source.netip(), "source", source(packet).netip(), "destination", destination(packet).netip())
		}
	})
}

// captureRunLoop carries packets of optimised routes from the packet socket to
// the device.
func (e *Engine) captureRunLoop() {
	a := arrivals{&e.table, e.watcher()}
	joined := e.coalescer(e.capture)
	e.receiveAll(e.capture, joined, func(i int, now time.Duration) {
		buffer, h, whole := e.capture.captured(i)
		if !whole {
			e.table.drops.count(overlay.DropMalformed)
			return
		}
		a.receive(buffer, h, joined, now)
	})
}

func (e *Engine) watcher() *watcher { return &watcher{reporter: e.reports} }

func (e *Engine) coalescer(r *receiver) *coalescer {
	return newCoalescer(len(r.messages), e.config.PathMTU-headerLength)
}

// receiveAll reads from a socket until the engine closes. It calls each for the
// packets received, one after the other, and writes what is joined then to the
// device.
func (e *Engine) receiveAll(r *receiver, joined *coalescer, each func(i int, now time.Duration)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	size := len(r.messages)
	vectors := make([]unix.Iovec, size+1)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Microsecond), 0, 0, 0) // of this thread
	rest := unix.NsecToTimespec(int64(moderation))
	n := 0
	for e.wait(r.fd) {
		if n > 1 && n < size/2 {
			_ = unix.Nanosleep(&rest, nil)
		}
		var err error
		n, err = r.receive()
		if err != nil {
			// Such as ENOBUFS, or an ICMPv6 error that the kernel puts on the socket.
			e.table.drops.count(dropReason(err))
			continue
		}
		now := e.now()
		for i := range n {
			each(i, now)
		}
		e.deliver(joined, vectors)
	}
}

// deliver writes what is joined to the device.
func (e *Engine) deliver(joined *coalescer, vectors []unix.Iovec) {
	for i := range joined.items[:joined.n] {
		it := &joined.items[i]
		head, ok := joined.finish(it)
		if !ok {
			e.table.drops.count(overlay.DropOffload)
			continue
		}
		vectors[0].Base = &head[0]
		vectors[0].SetLen(len(head))
		for k, m := range it.more {
			vectors[k+1].Base = &m[0]
			vectors[k+1].SetLen(len(m))
		}
		if err := e.device.write(vectors[:1+len(it.more)]); err != nil {
			e.table.drops[deviceDropReason(err)].Add(uint64(1 + len(it.more)))
		}
	}
	joined.reset()
}

// quiet lets one line a second into the log.
type quiet struct{ next time.Duration }

func (q *quiet) speak(now time.Duration) bool {
	if now < q.next {
		return false
	}
	q.next = now + time.Second
	return true
}

// openICMP opens a socket that hears ICMPv6 errors.
func openICMP() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return -1, openError("raw ICMPv6 socket", err)
	}
	filter := unix.ICMPv6Filter{}
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0) // a set bit blocks
	}
	for _, kind := range []int{icmpUnreachable, icmpPacketTooBig, icmpTimeExceeded, icmpParameterProblem} {
		filter.Data[kind/32] &^= 1 << (kind % 32)
	}
	if err := unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter); err != nil {
		unix.Close(fd)
		return -1, openError("raw ICMPv6 socket: filter", err)
	}
	return fd, nil
}

// errorRunLoop hears ICMPv6 errors about what the engine sent, and tells the
// sources of the packets that were in it (RFC 2473 §8, RFC 6275 §9.3.4).
func (e *Engine) errorRunLoop() {
	relays := &errorSender{limit: e.errors}
	b := make([]byte, maximumPacket)
	for e.wait(e.icmp) {
		n, from, err := unix.Recvfrom(e.icmp, b, unix.MSG_DONTWAIT)
		if err != nil {
			continue // about what has passed
		}
		router := address{}
		if a, ok := from.(*unix.SockaddrInet6); ok {
			router = addressAt(a.Addr[:])
		}
		if report, ok := parseRouteError(b[:n]); ok {
			e.routeFailed(relays, &report, router)
		} else if report, ok := parseTunnelError(b[:n]); ok {
			e.tunnelFailed(relays, &report)
		} else if report, ok := parseSealedError(b[:n]); ok {
			e.sealedFailed(&report)
		}
	}
}

func (e *Engine) tunnelFailed(relays *errorSender, report *tunnelError) {
	now := e.now()
	t, p, r, ok := e.table.received(report, now)
	if t != nil && t.key.Side == overlay.MobileSide && e.config.Refused != nil &&
		(report.refused() || report.absent() && e.absent.lasts(t.key.Home, now)) {
		e.config.Refused(t.key.Home)
	}
	if t != nil && report.kind == icmpPacketTooBig {
		e.mtuLearned(t)
	}
	if !ok {
		return
	}
	e.config.Log.Debug("error from within a tunnel", "engine", e.Name(), "remote", p.Remote,
		"type", report.kind, "code", report.code, "path_mtu", p.mtu(now))
	// What is stacked on the tunnel is told without a message.
	if upper, ok := e.table.tunnelAbove(t, report, r); ok {
		e.tunnelFailed(relays, &upper)
		return
	}
	if upper, ok := e.table.routeAbove(t, report, r); ok {
		e.routeFailed(relays, &upper, t.home)
		return
	}
	if reply := relays.reply(report.inner, t.errorSource(p), r.kind, r.code, r.parameter, now); reply != nil {
		e.informed(reply)
	}
}

func (e *Engine) routeFailed(relays *errorSender, report *routeError, router address) {
	now := e.now()
	p, r, ok := e.table.about(report, now)
	if p == nil {
		return
	}
	if report.unreachable() {
		if e.delegation.path != nil {
			e.mu.Lock() // received is to be up to date
			seen := e.collect()
			e.mu.Unlock()
			e.sighted(seen)
		}
		e.reports.unreachable(report.correspondent, p.Remote, now)
	}
	e.config.Log.Debug("error about a packet of an optimised route", "engine", e.Name(), "remote", p.Remote, "router", router.netip(),
		"type", report.kind, "code", report.code, "parameter", report.parameter, "path_mtu", p.mtu(now))
	e.routeNarrowed(report)
	if !ok {
		return
	}
	packet := report.original()
	if router.linkScope() || router.multicast() {
		router = source(packet) // a router without an address that says more
	}
	if reply := relays.reply(packet, router, r.kind, r.code, r.parameter, now); reply != nil {
		e.informed(reply)
	}
}
