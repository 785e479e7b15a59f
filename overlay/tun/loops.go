package tun

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

const (
	// sendBatch is how many outer packets go in one system call.
	sendBatch = 128
	// sendArena holds the packets read until those are sent.
	sendArena = 4 * maximumPacket
	// pause is after an error that may last.
	pause = 50 * time.Millisecond
)

// sendRunLoop carries packets from the device to the socket. It reads until
// there are no more, or no room; then it sends them all.
func (e *Engine) sendRunLoop() {
	arena := make([]byte, sendArena)
	used := 0
	out := newBatch(sendBatch, e.sender.send)
	encapsulator := encapsulator{
		table: &e.table, out: out, errors: &errorSender{limit: e.errors}, identification: uint32(time.Now().UnixNano()),
	}
	var failure error
	read := func(fd uintptr) (done bool) {
		now := e.now()
		for {
			buffer := arena[used:]
			n, _, errno := unix.Syscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
			switch errno {
			case 0:
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				out.send()
				used = 0
				return false
			default:
				failure = errno
				return true
			}
			if n < virtioLength {
				e.table.drops.count(overlay.DropMalformed)
				continue
			}
			var h virtioHeader
			h.parse(buffer)
			if reply := encapsulator.packet(buffer[virtioLength:n], h, now); reply != nil {
				e.inject(reply)
			}
			used += int(n+7) &^ 7
			if len(arena)-used < virtioLength+maximumPacket {
				out.send()
				used = 0
				now = e.now()
			}
		}
	}
	for {
		failure = nil
		if err := e.device.raw.Read(read); err != nil {
			return // closed
		}
		out.send()
		used = 0
		if !e.survivable("read", failure) {
			return
		}
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
	if _, err := e.device.file.Write(b); err != nil && !errors.Is(err, os.ErrClosed) {
		e.table.drops.count(deviceDropReason(err))
	}
}

func deviceDropReason(err error) overlay.DropReason {
	if errors.Is(err, unix.EINVAL) {
		return overlay.DropOffload // the kernel does not like the virtio header
	}
	if errors.Is(err, unix.EIO) {
		return overlay.DropUnreachable // the device is down
	}
	return dropReason(err)
}

// receiveRunLoop carries packets from the socket to the device.
func (e *Engine) receiveRunLoop() {
	joined := newCoalescer(len(e.receive.messages), e.config.PathMTU-headerLength)
	writer := newDeviceWriter(e.device, len(e.receive.messages))
	var denied quiet
	for {
		n, err := e.receive.receive()
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			// Such as ENOBUFS, or an ICMPv6 error that the kernel puts on the socket.
			e.table.drops.count(dropReason(err))
			continue
		}
		now := e.now()
		for i := range n {
			buffer, o, whole := e.receive.packet(i)
			packet, ok := trim(buffer[receiveHeadroom:])
			if !ok || !whole {
				e.table.drops.count(overlay.DropMalformed)
				continue
			}
			t, reason := e.table.inbound(packet, o, now)
			if t == nil {
				e.table.drops.count(reason)
				if reason == overlay.DropOuterSource && denied.speak(now) {
					e.config.Log.Debug("tunnel packet not from where its mobile is", "engine", e.Name(),
						"care_of", o.source.netip(), "source", source(packet).netip(), "destination", destination(packet).netip())
				}
				continue
			}
			if !decapsulateECN(packet, o.class) {
				e.table.drops.count(overlay.DropCongestion)
				continue
			}
			t.decapsulated.add(1, len(packet))
			joined.add(buffer[:receiveHeadroom+len(packet)])
		}
		for i := range joined.items[:joined.n] {
			it := &joined.items[i]
			head, ok := joined.finish(it)
			if !ok {
				e.table.drops.count(overlay.DropOffload)
				continue
			}
			if err := writer.write(head, it.more); err != nil {
				e.table.drops[deviceDropReason(err)].Add(uint64(1 + len(it.more)))
			}
		}
		joined.reset()
	}
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

// deviceWriter writes packets in pieces. Of one goroutine.
type deviceWriter struct {
	device  *device
	vectors []unix.Iovec
	run     []unix.Iovec
	err     error
	call    func(fd uintptr) bool
}

func newDeviceWriter(d *device, pieces int) *deviceWriter {
	w := &deviceWriter{device: d, vectors: make([]unix.Iovec, pieces+1)}
	w.call = w.writev
	return w
}

func (w *deviceWriter) write(head []byte, more [][]byte) error {
	w.run = w.vectors[:1+len(more)]
	w.run[0].Base = &head[0]
	w.run[0].SetLen(len(head))
	for i, m := range more {
		w.run[i+1].Base = &m[0]
		w.run[i+1].SetLen(len(m))
	}
	w.err = nil
	if err := w.device.raw.Write(w.call); err != nil {
		return nil // closed
	}
	return w.err
}

func (w *deviceWriter) writev(fd uintptr) (done bool) {
	for {
		_, _, e := unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.run[0])), uintptr(len(w.run)))
		switch e {
		case 0:
		case unix.EINTR:
			continue
		default:
			w.err = e // also EAGAIN: a full queue is a dropped packet
		}
		return true
	}
}

// openICMP opens a socket that hears ICMPv6 errors.
func openICMP() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return nil, openError("raw ICMPv6 socket", err)
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
		return nil, openError("raw ICMPv6 socket: filter", err)
	}
	return os.NewFile(uintptr(fd), "tunnel errors"), nil
}

// errorRunLoop hears ICMPv6 errors about tunnel packets and relays them to the
// sources of the inner packets (RFC 2473 §8).
func (e *Engine) errorRunLoop() {
	relays := errorSender{limit: e.errors}
	b := make([]byte, maximumPacket)
	for {
		n, err := e.icmp.Read(b)
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			e.config.Log.Debug("ICMPv6 socket", "engine", e.Name(), "reason", err)
			time.Sleep(pause)
			continue
		}
		report, ok := parseTunnelError(b[:n])
		if !ok {
			continue
		}
		now := e.now()
		t, p, r, ok := e.table.received(report, now)
		if !ok {
			continue
		}
		e.config.Log.Debug("error from within a tunnel", "engine", e.Name(), "remote", p.Remote,
			"type", report.kind, "code", report.code, "path_mtu", p.mtu(now))
		if reply := relays.reply(report.inner, t.errorSource(p), r.kind, r.code, r.parameter, now); reply != nil {
			e.inject(reply)
		}
	}
}
