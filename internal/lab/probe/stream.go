// Package probe measures what passes between two ends of a lab: a stream of
// numbered datagrams in one direction or there and back, and a transfer whose
// content is checked.
package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

const (
	// payload is the length of a probe: magic, number and time of sending, and
	// as much again, about the size of a voice frame.
	payload = 64
	magic   = 0x726f616d36707262
)

// Stream is a sender that sends a datagram each interval, and a receiver that
// notes when which arrived: at the other end, or, of an echo, back at the
// sender. All times are of one clock, as both ends are on one machine.
type Stream struct {
	interval time.Duration

	mu       sync.Mutex
	sent     []int64 // by number: nanoseconds of the real-time clock
	arrivals []Arrival
	peers    map[netip.Addr]bool // whom the applications at the ends saw

	newest  atomic.Int64 // time of sending of the newest that arrived
	stop    atomic.Bool
	threads sync.WaitGroup
	fds     []int
}

// Arrival is a datagram that arrived.
type Arrival struct {
	At     int64 // nanoseconds of the real-time clock
	Number uint32
}

// Start sends from one namespace to an address in another, each interval. The
// sender leaves it to its kernel which address it sends from.
func Start(from, to *netns.Space, destination netip.AddrPort, interval time.Duration) (*Stream, error) {
	return start(from, to, netip.Addr{}, destination, interval, false)
}

// StartFrom does the same from an address of the sender's choice.
func StartFrom(from, to *netns.Space, source netip.Addr, destination netip.AddrPort, interval time.Duration) (*Stream, error) {
	return start(from, to, source, destination, interval, false)
}

// StartEcho does the same, and the other end sends each datagram back: what is
// recorded are round trips.
func StartEcho(from, to *netns.Space, destination netip.AddrPort, interval time.Duration) (*Stream, error) {
	return start(from, to, netip.Addr{}, destination, interval, true)
}

func start(from, to *netns.Space, source netip.Addr, destination netip.AddrPort, interval time.Duration, echo bool) (*Stream, error) {
	s := &Stream{interval: interval, peers: map[netip.Addr]bool{}}
	receiver, err := s.socket(to)
	if err == nil {
		err = unix.Bind(receiver, &unix.SockaddrInet6{Addr: destination.Addr().As16(), Port: int(destination.Port())})
		if err != nil {
			err = fmt.Errorf("bind probe receiver to %v in %s: %w", destination, to.Name(), err)
		}
	}
	var sender int
	if err == nil {
		sender, err = s.socket(from)
	}
	if err == nil && source.IsValid() {
		if err = unix.Bind(sender, &unix.SockaddrInet6{Addr: source.As16()}); err != nil {
			err = fmt.Errorf("bind probe sender to %v in %s: %w", source, from.Name(), err)
		}
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	type job struct {
		in *netns.Space
		do func()
	}
	jobs := []job{{to, func() { s.receive(receiver, s.note) }}}
	if echo {
		jobs = []job{{to, func() { s.receive(receiver, s.reflect(receiver)) }}, {from, func() { s.receive(sender, s.note) }}}
	}
	for _, j := range append(jobs, job{from, func() { s.send(sender, destination) }}) {
		s.threads.Add(1)
		if err := j.in.Go(func() { defer s.threads.Done(); j.do() }); err != nil {
			s.threads.Done()
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *Stream) socket(in *netns.Space) (fd int, err error) {
	err = in.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("probe socket in %s: %w", in.Name(), err)
		}
		s.fds = append(s.fds, fd)
		// The receiver looks up ten times a second whether to stop.
		timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	})
	return fd, err
}

// Stop ends both ends and waits for them. What was measured remains.
func (s *Stream) Stop() {
	if s.stop.Swap(true) {
		return
	}
	s.threads.Wait()
	for _, fd := range s.fds {
		_ = unix.Close(fd)
	}
}

// NewestSent is when the newest datagram that arrived was sent; zero before the
// first one.
func (s *Stream) NewestSent() time.Time {
	if ns := s.newest.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Peers are the addresses that datagrams came from, as the applications at the
// ends saw them, in order.
func (s *Stream) Peers() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.peers), netip.Addr.Compare)
}

// Record returns what was measured so far.
func (s *Stream) Record() Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Record{Interval: s.interval, Sent: slices.Clone(s.sent), Arrivals: slices.Clone(s.arrivals)}
}

func (s *Stream) send(fd int, destination netip.AddrPort) {
	netns.Precise()
	to := &unix.SockaddrInet6{Addr: destination.Addr().As16(), Port: int(destination.Port())}
	var b [payload]byte
	binary.BigEndian.PutUint64(b[:], magic)
	next := time.Now()
	for number := uint64(0); !s.stop.Load(); number++ {
		netns.SleepUntil(next)
		next = next.Add(s.interval)
		now := time.Now().UnixNano()
		binary.BigEndian.PutUint64(b[8:], number)
		binary.BigEndian.PutUint64(b[16:], uint64(now))
		s.mu.Lock()
		s.sent = append(s.sent, now)
		s.mu.Unlock()
		// What the sender's own kernel refuses, as for want of a route, is lost.
		_ = unix.Sendto(fd, b[:], unix.MSG_DONTWAIT, to)
	}
}

// receive hands on what arrives: the datagram, when, and from where.
func (s *Stream) receive(fd int, take func(b []byte, at int64, from *unix.SockaddrInet6)) {
	netns.Precise()
	var b [2 * payload]byte
	control := make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
	for !s.stop.Load() {
		n, controls, _, from, err := unix.Recvmsg(fd, b[:], control, 0)
		if err != nil || n != payload || binary.BigEndian.Uint64(b[:]) != magic {
			continue // a timeout, an ICMPv6 error, or somebody else's
		}
		at := timestamp(control[:controls])
		if at == 0 {
			at = time.Now().UnixNano()
		}
		if peer, ok := from.(*unix.SockaddrInet6); ok {
			take(b[:n], at, peer)
		}
	}
}

// note records an arrival.
func (s *Stream) note(b []byte, at int64, from *unix.SockaddrInet6) {
	if sent := int64(binary.BigEndian.Uint64(b[16:])); sent > s.newest.Load() {
		s.newest.Store(sent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals = append(s.arrivals, Arrival{At: at, Number: uint32(binary.BigEndian.Uint64(b[8:]))})
	s.peers[netip.AddrFrom16(from.Addr)] = true
}

// reflect sends datagrams back to where they came from.
func (s *Stream) reflect(fd int) func(b []byte, at int64, from *unix.SockaddrInet6) {
	return func(b []byte, _ int64, from *unix.SockaddrInet6) {
		// What cannot be sent is lost, as on the way there.
		_ = unix.Sendto(fd, b, unix.MSG_DONTWAIT, from)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.peers[netip.AddrFrom16(from.Addr)] = true
	}
}

// timestamp is the kernel's time of arrival: the receiver's own wake-up is no
// part of what is measured.
func timestamp(control []byte) int64 {
	if len(control) < unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	return (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Nano()
}
