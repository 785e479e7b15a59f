package mhsock

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SendReason says why a packet could not be sent; its String is a metric label.
type SendReason uint8

// Reasons for a failed Send.
const (
	SendFailed      SendReason = iota // anything else
	SendMalformed                     // not an IPv6 packet
	SendUnreachable                   // no route, or the interface is down or gone
	SendNoSource                      // the source address is not assigned to this node
	SendCongested                     // no buffer: the queue is full
	SendTooBig                        // larger than the path's MTU
	SendProhibited                    // by a firewall rule, a prohibiting route or a policy of IPsec
	numSendReasons
)

func (r SendReason) String() string {
	switch r {
	case SendMalformed:
		return "malformed"
	case SendUnreachable:
		return "unreachable"
	case SendNoSource:
		return "no_source"
	case SendCongested:
		return "congested"
	case SendTooBig:
		return "too_big"
	case SendProhibited:
		return "prohibited"
	default:
		return "failed"
	}
}

// SendError is a packet that was not sent. The Conn stays usable.
type SendError struct {
	Reason              SendReason
	Source, Destination netip.Addr
	Link                int // interface index asked for; 0: none
	Err                 error
}

func (e *SendError) Error() string {
	where := ""
	if e.Link != 0 {
		where = fmt.Sprintf(" on interface %d", e.Link)
	}
	return fmt.Sprintf("send from %v to %v%s: %v", e.Source, e.Destination, where, e.Err)
}

func (e *SendError) Unwrap() error { return e.Err }

// sender is a raw socket that is bound to an interface for each packet that
// must leave by one. IPV6_PKTINFO alone would not do: with a source address in
// it the kernel takes its interface for a wish, and a more specific route over
// another interface wins.
type sender struct {
	mu   sync.Mutex
	file *os.File
	link int // bound to; 0: none
}

func openSender(mark uint32) (*sender, error) {
	// IPPROTO_RAW includes the header (IPV6_HDRINCL) and receives nothing.
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, err
	}
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("SO_MARK", err)
		}
	}
	return &sender{file: newFile(fd, "mhsock raw")}, nil
}

func (s *sender) send(packet []byte, link int, source netip.Addr, to *unix.SockaddrInet6) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rc, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	control := packetInfo(source)
	// Control, not Write: a full queue is an error at once. Signalling that is
	// sent late is worth less than the retransmission that replaces it.
	var sendErr error
	err = rc.Control(func(fd uintptr) {
		if s.link != link {
			if sendErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, link); sendErr != nil {
				return
			}
			s.link = link
		}
		for {
			if sendErr = unix.Sendmsg(int(fd), packet, control, to, 0); sendErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return sendErr
}

var errNotIPv6 = errors.New("not an IPv6 packet")

// Send sends a whole IPv6 packet. The kernel chooses the route and resolves
// the next hop. It looks the route up with source, or the packet's own source
// when that is invalid, as the flow's source, which must be assigned to this
// node (any interface will do, and an address assigned without duplicate
// address detection serves at once); link, when not zero, is the interface to
// send on: a route over another one is not taken. What a policy wants in ESP
// (SetPolicies) leaves in ESP or not at all. An error is a *SendError.
func (c *Conn) Send(packet []byte, link int, source netip.Addr) error {
	return c.SendBy(0, packet, link, source)
}

// SendBy is Send for a local binding update or the acknowledgement of one, of which
// addresses do not tell the security association: it leaves in ESP by the one whose
// other direction has the given inbound SPI (esp.Policies.ProtectBy), or, where there is
// none any more, not at all (SendProhibited). With zero it is Send.
func (c *Conn) SendBy(spi uint32, packet []byte, link int, source netip.Addr) error {
	if len(packet) < ipv6HeaderLen || packet[0]>>4 != 6 {
		c.counters.sendErrors[SendMalformed].Add(1)
		return &SendError{Reason: SendMalformed, Link: link, Err: errNotIPv6}
	}
	destination := netip.AddrFrom16([16]byte(packet[offsetDestination:ipv6HeaderLen]))
	if !source.IsValid() {
		source = netip.AddrFrom16([16]byte(packet[offsetSource:offsetDestination]))
	}
	packet, err := c.ipsec.protect(packet, spi)
	if err != nil {
		c.counters.sendErrors[SendProhibited].Add(1)
		return &SendError{Reason: SendProhibited, Source: source, Destination: destination, Link: link, Err: err}
	}
	to := &unix.SockaddrInet6{Addr: destination.As16()}
	if destination.IsLinkLocalUnicast() {
		to.ZoneId = uint32(link)
	}
	if err = c.raw.send(packet, link, source, to); err == nil {
		c.counters.sent.Add(1)
		return nil
	}
	reason := sendReason(err)
	c.counters.sendErrors[reason].Add(1)
	return &SendError{Reason: reason, Source: source, Destination: destination, Link: link, Err: err}
}

func sendReason(err error) SendReason {
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN),
		errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EADDRNOTAVAIL):
		return SendUnreachable
	case errors.Is(err, unix.EINVAL):
		// What the kernel says to a source in IPV6_PKTINFO that is not assigned,
		// or still tentative.
		return SendNoSource
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
		return SendCongested
	case errors.Is(err, unix.EMSGSIZE):
		return SendTooBig
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return SendProhibited
	default:
		return SendFailed
	}
}

// packetInfo is an IPV6_PKTINFO control message with a source address for the
// route look-up (RFC 3542 §6).
func packetInfo(source netip.Addr) []byte {
	b := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&b[unix.CmsgLen(0)]))
	info.Addr = source.As16()
	return b
}
