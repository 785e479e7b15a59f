package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

// Target is one of those that a Fan reaches for: an address and the namespace
// that it is in.
type Target struct {
	Space   *netns.Space
	Address netip.AddrPort
}

// Fan sends a datagram to each of many targets each interval, which send it back:
// an echo for each, with three threads in all. The sendings are spread over the
// interval.
type Fan struct {
	interval time.Duration
	targets  []Target
	socket   int   // of the one who asks
	mirrors  []int // of the targets

	mu      sync.Mutex
	records []Record
	strange map[netip.Addr]bool // answers that came from another address

	newest  []atomic.Int64 // when the newest that came back was sent
	stop    atomic.Bool
	threads sync.WaitGroup
}

// StartFan begins. The targets' addresses must be there.
func StartFan(from *netns.Space, targets []Target, interval time.Duration) (_ *Fan, err error) {
	f := &Fan{
		interval: interval, targets: targets, socket: -1,
		records: make([]Record, len(targets)), newest: make([]atomic.Int64, len(targets)), strange: map[netip.Addr]bool{},
	}
	defer func() {
		if err != nil {
			f.Stop()
		}
	}()
	if f.socket, err = fanSocket(from); err != nil {
		return nil, err
	}
	for i, t := range targets {
		f.records[i].Interval = interval
		fd, err := fanSocket(t.Space)
		if err != nil {
			return nil, err
		}
		f.mirrors = append(f.mirrors, fd)
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: t.Address.Addr().As16(), Port: int(t.Address.Port())}); err != nil {
			return nil, fmt.Errorf("bind probe receiver to %v in %s: %w", t.Address, t.Space.Name(), err)
		}
	}
	// A socket stays in the namespace in which it was opened.
	for _, loop := range []func(){f.mirror, f.receive, f.send} {
		f.threads.Add(1)
		if err := from.Go(func() { defer f.threads.Done(); netns.Precise(); loop() }); err != nil {
			f.threads.Done()
			return nil, err
		}
	}
	return f, nil
}

func fanSocket(in *netns.Space) (fd int, err error) {
	err = in.Do(func() error {
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("probe socket in %s: %w", in.Name(), err)
		}
		// The receiver looks up ten times a second whether to stop.
		timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	})
	return fd, err
}

// Stop ends the fan and waits for its threads. What was measured remains.
func (f *Fan) Stop() {
	if f.stop.Swap(true) {
		return
	}
	f.threads.Wait()
	for _, fd := range append(f.mirrors, f.socket) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// NewestSent is when the newest datagram to a target that came back was sent; zero
// before the first one.
func (f *Fan) NewestSent(target int) time.Time {
	if ns := f.newest[target].Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Record is what was measured of a target so far.
func (f *Fan) Record(target int) Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.records[target]
	r.Sent, r.Arrivals = slices.Clone(r.Sent), slices.Clone(r.Arrivals)
	return r
}

// Strange are addresses that answers came from and that are not the target's.
func (f *Fan) Strange() (all []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for a := range f.strange {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func (f *Fan) send() {
	var b [payload]byte
	binary.BigEndian.PutUint64(b[:], magic)
	start := time.Now()
	for number := 0; ; number++ {
		for i, t := range f.targets {
			netns.SleepUntil(start.Add(time.Duration(number)*f.interval + time.Duration(i)*f.interval/time.Duration(len(f.targets))))
			if f.stop.Load() {
				return
			}
			now := time.Now().UnixNano()
			binary.BigEndian.PutUint32(b[8:], uint32(i))
			binary.BigEndian.PutUint32(b[12:], uint32(number))
			binary.BigEndian.PutUint64(b[16:], uint64(now))
			f.mu.Lock()
			f.records[i].Sent = append(f.records[i].Sent, now)
			f.mu.Unlock()
			// What the sender's own kernel refuses is lost.
			_ = unix.Sendto(f.socket, b[:], unix.MSG_DONTWAIT, &unix.SockaddrInet6{Addr: t.Address.Addr().As16(), Port: int(t.Address.Port())})
		}
	}
}

// mirror sends back whatever comes to the targets.
func (f *Fan) mirror() {
	set := make([]unix.PollFd, len(f.mirrors))
	for i, fd := range f.mirrors {
		set[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	var b [2 * payload]byte
	for !f.stop.Load() {
		if _, err := unix.Poll(set, 100); err != nil {
			continue // interrupted
		}
		for i := range set {
			if set[i].Revents == 0 {
				continue
			}
			if n, from, err := unix.Recvfrom(f.mirrors[i], b[:], unix.MSG_DONTWAIT); err == nil && n == payload && from != nil {
				_ = unix.Sendto(f.mirrors[i], b[:n], unix.MSG_DONTWAIT, from) // what cannot be sent is lost
			}
		}
	}
}

// receive notes what comes back.
func (f *Fan) receive() {
	var b [2 * payload]byte
	control := make([]byte, 64)
	for !f.stop.Load() {
		n, controls, _, from, err := unix.Recvmsg(f.socket, b[:], control, 0)
		if err != nil || n != payload || binary.BigEndian.Uint64(b[:]) != magic {
			continue // a timeout, an ICMPv6 error, or somebody else's
		}
		at := timestamp(control[:controls])
		if at == 0 {
			at = time.Now().UnixNano()
		}
		if peer, ok := from.(*unix.SockaddrInet6); ok {
			f.note(b[:], at, netip.AddrFrom16(peer.Addr))
		}
	}
}

func (f *Fan) note(b []byte, at int64, from netip.Addr) {
	target, number, sent := int(binary.BigEndian.Uint32(b[8:])), binary.BigEndian.Uint32(b[12:]), int64(binary.BigEndian.Uint64(b[16:]))
	if target >= len(f.targets) {
		return
	}
	if sent > f.newest[target].Load() {
		f.newest[target].Store(sent)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if from != f.targets[target].Address.Addr() {
		f.strange[from] = true
	}
	f.records[target].Arrivals = append(f.records[target].Arrivals, Arrival{At: at, Number: number})
}
