// Package mhsock moves Mobile IPv6 signalling between the wire and the node
// without the kernel's help: received packets are captured before the IPv6
// stack, sent packets are built whole by the caller.
//
// A stock kernel (no CONFIG_IPV6_MIP6, which is every OpenWrt) never delivers
// a Mobility Header that stands behind a Home Address option or a type 2
// routing header to a socket; it answers with an ICMPv6 Parameter Problem. A
// packet socket sees such packets all the same. So there is one path, on every
// kernel:
//
//	receive  AF_PACKET socket, filtered in the kernel to Mobility Headers and
//	         the ICMPv6 messages of Mobile IPv6
//	silence  the stack drops what the packet socket has seen (see silence.go)
//	IPsec    ESP is taken off and put on by package esp, where there are policies
//	send     IPPROTO_RAW socket: header included, routed by the kernel
//
// A packet socket is ahead of the kernel's own checks and of the firewall's
// rules. The checks of ip6_rcv that matter are repeated in receive.go; access
// control is the roles' business.
//
// Signalling is never fragmented (a Mobility Header of a mobile node is far
// smaller than the IPv6 minimum MTU): fragments are not captured.
package mhsock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"roam6/internal/limit"
	"roam6/mip6"
)

// DefaultTableName is the nftables table used when Options names none.
const DefaultTableName = "roam6"

// defaultReceiveBuffer holds some 3,000 binding updates: 150 ms at 20,000/s.
const defaultReceiveBuffer = 2 << 20

// Options configure a Conn. Local and Deliver are required.
type Options struct {
	// Log receives what the operator must know; nil is silent.
	Log *slog.Logger
	// TableName is the nftables table (family ip6) that belongs to this Conn
	// alone: it is replaced at Open and removed at Close. Empty means
	// DefaultTableName.
	TableName string
	// ReceiveBuffer is the size in octets of the socket's buffer; zero means
	// 2 MiB. The kernel doubles it, and shortens it when the process lacks
	// CAP_NET_ADMIN.
	ReceiveBuffer int
	// Local reports whether an address is this node's. A router also sees what
	// it forwards: packets to other destinations are not delivered. It is
	// called from the receiving goroutine for every captured packet.
	Local func(netip.Addr) bool
	// Deliver takes one IPv6 packet, header included, that holds a Mobility
	// Header, and the index of the interface it arrived on. The callee owns the
	// octets. It is called from one goroutine; while it blocks, packets queue in
	// the socket's buffer and, when that is full, are dropped and counted. It
	// must not call Close.
	Deliver func(packet []byte, link int)
	// ICMP, when not nil, takes the ICMPv6 messages of Mobile IPv6 (types 144 to
	// 147, RFC 6275 §6.5–§6.8), to this node's addresses and to those of
	// JoinAnycast, as Deliver takes Mobility Headers. Their checksum is not
	// verified yet.
	ICMP func(packet []byte, link int)
	// Refused, when not nil, learns that a peer does not know the Mobility Header
	// of a message from local: an ICMPv6 Parameter Problem code 1 that quotes it
	// came (RFC 6275 §11.3.5). Anybody can forge that. It is called like Deliver,
	// ten times a second at most.
	Refused func(local, peer netip.Addr)
	// IPsec, when not nil, makes it possible to protect signalling by ESP: see
	// SetPolicies.
	IPsec *IPsec
	// Mark, when not zero, is the SO_MARK of what is sent.
	Mark uint32
	// RouteMark, when not zero, are bits of the mark that a kernel with Mobile IPv6 gets on
	// data along optimised routes with its headers where everybody places them. It takes of
	// that what the data plane has given it states for (tun.RouteMark), and drops the rest
	// without a word. With zero all of it is dropped.
	RouteMark uint32
}

// Conn captures and sends signalling in one network namespace. Send and
// Counters may be called by several goroutines.
type Conn struct {
	log     *slog.Logger
	local   func(netip.Addr) bool
	deliver func([]byte, int)
	icmp    func([]byte, int)

	onRefused func(local, peer netip.Addr)
	refusals  limit.Limiter
	anycasts  anycasts
	ipsec     ipsec

	packet    *os.File // AF_PACKET
	packetRaw syscall.RawConn
	unheard   *os.File // raw protocol 135, hears nothing: see silence.go
	raw       *sender
	silencer  *silencer
	silenced  bool

	counters counters
	closed   atomic.Bool
	done     chan struct{}
	running  sync.WaitGroup
}

// Open opens the sockets in the calling thread's network namespace, silences
// the kernel there and starts to deliver. It needs CAP_NET_RAW, and
// CAP_NET_ADMIN for nftables. Without nftables it works all the same and logs
// what is the worse for it.
func Open(o Options) (_ *Conn, err error) {
	if o.Local == nil || o.Deliver == nil {
		return nil, errors.New("signalling socket: options lack Local or Deliver")
	}
	if !o.IPsec.complete() {
		return nil, errors.New("signalling socket: options of IPsec lack a callback")
	}
	if o.TableName == "" {
		o.TableName = DefaultTableName
	}
	if o.ReceiveBuffer <= 0 {
		o.ReceiveBuffer = defaultReceiveBuffer
	}
	c := &Conn{
		log: o.Log, local: o.Local, deliver: o.Deliver, icmp: o.ICMP, onRefused: o.Refused, done: make(chan struct{}),
	}
	c.ipsec.IPsec = o.IPsec
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			c.closeSockets()
		}
	}()
	if c.unheard, err = openUnheard(mip6.ProtocolMobility); err != nil {
		return nil, needsCapability("raw socket for protocol 135", err)
	}
	if o.IPsec != nil {
		if c.ipsec.unheard, err = openUnheard(mip6.ProtocolESP); err != nil {
			return nil, needsCapability("raw socket for protocol 50", err)
		}
	}
	if c.raw, err = openSender(o.Mark); err != nil {
		return nil, needsCapability("raw IPv6 socket for sending", err)
	}
	if c.packet, err = openPacket(o.ReceiveBuffer, o.ICMP != nil || o.Refused != nil); err != nil {
		return nil, needsCapability("packet socket", err)
	}
	if c.packetRaw, err = c.packet.SyscallConn(); err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	mobileIPv6 := kernelHasMobileIPv6(c.raw.file)
	c.silencer, err = openSilencer(o.TableName, rules(mobileIPv6, o.RouteMark), c.log)
	switch {
	case err == nil:
		c.silenced = true
	case unavailable(err):
		c.log.LogAttrs(context.Background(), slog.LevelWarn, withoutNftables(mobileIPv6), slog.Any("error", err))
		err = nil
	default:
		return nil, needsCapability("nftables table ip6 "+o.TableName, err)
	}
	c.running.Add(1)
	go c.receiveRunLoop()
	if c.silenced {
		c.running.Add(1)
		go func() {
			defer c.running.Done()
			c.silencer.watchRunLoop(c.done)
		}()
	}
	return c, nil
}

// Silenced reports whether the kernel is kept from answering signalling with
// ICMPv6 errors: false where nftables is unavailable.
func (c *Conn) Silenced() bool { return c.silenced }

// Close stops delivery, removes the nftables table and closes the sockets.
// After it returns Deliver is not called any more.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	close(c.done)
	err := c.closeSockets()
	c.running.Wait()
	return err
}

func (c *Conn) closeSockets() error {
	var err error
	// The table goes while the raw socket still silences plain Mobility Headers.
	if c.silencer != nil {
		err = c.silencer.close()
	}
	if c.raw != nil {
		err = errors.Join(err, c.raw.file.Close())
	}
	for _, f := range []*os.File{c.packet, c.unheard} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return errors.Join(err, c.ipsec.close())
}

// withoutNftables tells the operator the consequence, and the remedy.
func withoutNftables(mobileIPv6 bool) string {
	const remedy = "; install nftables (OpenWrt: kmod-nft-core)"
	if mobileIPv6 {
		return "nftables unavailable: this kernel has Mobile IPv6 of its own and answers malformed signalling besides roam6" + remedy
	}
	return "nftables unavailable: the kernel answers every binding update from a mobile that is away, every acknowledgement to one, and every packet along an optimised route with an ICMPv6 Parameter Problem, which the other end may take for a refusal" + remedy
}

// needsCapability explains a socket error to the operator.
func needsCapability(what string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%s: %w: run as root or with CAP_NET_RAW and CAP_NET_ADMIN", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// newFile makes a nonblocking file of a socket, so that Close ends a read.
func newFile(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
