package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
	"roam6/internal/lab/report"
	"roam6/internal/sock"
	"roam6/nd"
)

// readPause is how long the sniffer waits for a packet before it looks whether to
// stop.
const readPause = 50 * time.Millisecond

// overheard is a packet at the host's end of a link, with the kernel's time.
type overheard struct {
	at   int64
	link int
	kind heardKind
	last bool // an advertisement with a router lifetime of zero
}

// heardKind is what a packet is.
type heardKind uint8

const (
	heardSolicitation heardKind = iota // from here
	heardToAll
	heardToOne
)

// solicited is what came of a solicitation: until the answer to the host alone, and
// until any advertisement.
type solicited struct{ unicast, first report.Milliseconds }

// sniffer hears what passes the links at the host's ends, and solicits there.
type sniffer struct {
	space  *netns.Space
	fd     int         // packet socket
	raw    int         // ICMPv6 socket, for solicitations
	links  []int       // interface indexes
	number map[int]int // and the other way round
	random *rand.Rand

	stop   atomic.Bool
	reader sync.WaitGroup

	mu  sync.Mutex
	log []overheard
}

func newSniffer(space *netns.Space, links int, seed uint64) (*sniffer, error) {
	s := &sniffer{space: space, fd: -1, raw: -1, number: map[int]int{}, random: rand.New(rand.NewPCG(seed, 0))}
	for i := range links {
		l, err := space.Link.LinkByName(hostLink(i))
		if err != nil {
			return nil, fmt.Errorf("interface %s of the host: %w", hostLink(i), err)
		}
		s.links, s.number[l.Attrs().Index] = append(s.links, l.Attrs().Index), i
	}
	err := space.Do(s.open)
	if err == nil {
		s.reader.Add(1)
		if err = space.Go(func() { defer s.reader.Done(); s.read() }); err != nil {
			s.reader.Done()
		}
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("listen for router advertisements: %w", err)
	}
	return s, nil
}

// open opens both sockets. What is sent here is heard, too: it is stamped by the
// same clock.
func (s *sniffer) open() (err error) {
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	timeout := unix.NsecToTimeval(int64(readPause))
	const next, kind = 6, 40 // of an IPv6 packet: next header, and ICMPv6's type
	err = errors.Join(
		sock.AttachFilter(s.fd, []bpf.Instruction{
			bpf.LoadAbsolute{Off: next, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 4},
			bpf.LoadAbsolute{Off: kind, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: nd.TypeRouterAdvertisement, SkipTrue: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nd.TypeRouterSolicitation, SkipTrue: 1},
			bpf.RetConstant{Val: 1 << 16},
			bpf.RetConstant{Val: 0},
		}),
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
		unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		// Only this protocol number hears what is sent.
		unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_ALL)}))
	if err != nil {
		return err
	}
	if s.raw, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6); err != nil {
		return err
	}
	var none unix.ICMPv6Filter
	for i := range none.Data {
		none.Data[i] = ^uint32(0)
	}
	return errors.Join(
		unix.SetsockoptICMPv6Filter(s.raw, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &none),
		unix.SetsockoptInt(s.raw, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, nd.HopLimit),
		unix.SetsockoptInt(s.raw, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0))
}

func (s *sniffer) close() {
	s.stop.Store(true)
	s.reader.Wait()
	for _, fd := range []*int{&s.fd, &s.raw} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// read records until the sniffer is closed.
func (s *sniffer) read() {
	netns.Precise()
	var b [128]byte
	control := make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
	for !s.stop.Load() {
		n, controls, _, from, err := unix.Recvmsg(s.fd, b[:], control, 0)
		l, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			continue // a timeout
		}
		messages, err := unix.ParseSocketControlMessage(control[:controls])
		if err != nil || len(messages) == 0 || messages[0].Header.Type != unix.SCM_TIMESTAMPNS {
			continue
		}
		at := (*unix.Timespec)(unsafe.Pointer(&messages[0].Data[0])).Nano()
		if h, ok := s.classify(b[:n], l); ok {
			h.at = at
			s.mu.Lock()
			s.log = append(s.log, h)
			s.mu.Unlock()
		}
	}
}

// classify tells what a packet of ICMPv6 is, but for its time.
func (s *sniffer) classify(b []byte, from *unix.SockaddrLinklayer) (h overheard, ok bool) {
	const header, lifetime, shortest = 40, 46, 56
	number, known := s.number[from.Ifindex]
	if h.link = number; !known || len(b) < header+8 {
		return h, false
	}
	out := from.Pkttype == unix.PACKET_OUTGOING
	switch b[header] {
	case nd.TypeRouterSolicitation:
		h.kind = heardSolicitation
		return h, out
	case nd.TypeRouterAdvertisement:
		if len(b) < shortest || out {
			return h, false
		}
		if h.kind = heardToOne; b[24] == 0xff {
			h.kind = heardToAll
		}
		h.last = binary.BigEndian.Uint16(b[lifetime:]) == 0
		return h, true
	}
	return h, false
}

// between are the packets of a time, in the order of their times.
func (s *sniffer) between(from, to time.Time) (all []overheard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.log {
		if h.at >= from.UnixNano() && h.at < to.UnixNano() {
			all = append(all, h)
		}
	}
	return all
}

// advertisements are the times of those to all nodes, by link.
func (s *sniffer) advertisements(from, to time.Time) [][]int64 {
	all := make([][]int64, len(s.links))
	for _, h := range s.between(from, to) {
		if h.kind == heardToAll {
			all[h.link] = append(all[h.link], h.at)
		}
	}
	return all
}

// everywhere reports whether so many advertisements were heard on every link.
func (s *sniffer) everywhere(since time.Time, least int) bool {
	for _, l := range s.advertisements(since, time.Now()) {
		if len(l) < least {
			return false
		}
	}
	return true
}

// farewells counts the advertisements with a router lifetime of zero since a time,
// by link.
func (s *sniffer) farewells(since time.Time) []int {
	time.Sleep(2 * readPause) // what the kernel has stamped may still have to be read
	n := make([]int, len(s.links))
	for _, h := range s.between(since, time.Now()) {
		if h.kind == heardToAll && h.last {
			n[h.link]++
		}
	}
	return n
}

// solicitations are what came, until now, of those that were sent in a time.
func (s *sniffer) solicitations(from, to time.Time) []solicited {
	return answers(s.between(from, time.Now()), len(s.links), to.UnixNano())
}

// answers finds what came of the solicitations that were sent before a time. One
// that is followed by another before it is answered by unicast shares the answer.
func answers(log []overheard, links int, before int64) (all []solicited) {
	type open struct {
		at    int64
		index int
	}
	unicast, first := make([][]open, links), make([][]open, links)
	for _, h := range log {
		switch h.kind {
		case heardSolicitation:
			if h.at >= before {
				continue
			}
			o := open{h.at, len(all)}
			all = append(all, solicited{report.None(), report.None()})
			unicast[h.link], first[h.link] = append(unicast[h.link], o), append(first[h.link], o)
		case heardToOne, heardToAll:
			for _, o := range first[h.link] {
				all[o.index].first = report.Millis(time.Duration(h.at - o.at))
			}
			first[h.link] = nil
			if h.kind == heardToOne {
				for _, o := range unicast[h.link] {
					all[o.index].unicast = report.Millis(time.Duration(h.at - o.at))
				}
				unicast[h.link] = nil
			}
		}
	}
	return all
}

// solicit sends solicitations on every link for a time, at random: between half of
// a mean time after the one before and one and a half of it.
func (s *sniffer) solicit(ctx context.Context, mean, duration time.Duration) error {
	start := time.Now()
	end := start.Add(duration)
	due := make([]time.Time, len(s.links))
	for i := range due {
		due[i] = start.Add(time.Duration(s.random.Int64N(int64(mean))))
	}
	for {
		link := 0
		for i := range due {
			if due[i].Before(due[link]) {
				link = i
			}
		}
		if due[link].After(end) {
			return nil
		}
		if !sleep(ctx, time.Until(due[link])) {
			return ctx.Err()
		}
		if err := s.ask(link); err != nil {
			return err
		}
		due[link] = due[link].Add(mean/2 + time.Duration(s.random.Int64N(int64(mean))))
	}
}

// ask solicits from the link-local address of a link.
func (s *sniffer) ask(link int) error {
	l, err := s.space.Link.LinkByIndex(s.links[link])
	if err != nil {
		return fmt.Errorf("interface %s of the host: %w", hostLink(link), err)
	}
	rs := nd.RouterSolicitation{SourceLinkAddr: l.Attrs().HardwareAddr}.Append(nil) // the kernel fills in the checksum
	to := &unix.SockaddrInet6{Addr: nd.AllRouters().As16(), ZoneId: uint32(s.links[link])}
	if err := unix.Sendto(s.raw, rs, 0, to); err != nil {
		return fmt.Errorf("solicit on %s: %w", hostLink(link), err)
	}
	return nil
}
