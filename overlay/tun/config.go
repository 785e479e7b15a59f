package tun

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// Defaults of Config.
const (
	DefaultDevice = "roam6"
	// RouteProtocol tags routes and policy rules of the engine (RTPROT). It is not
	// the one of the node's other routes, so that each part removes only its own.
	RouteProtocol = 137
	// DefaultRulePriority is before those of OpenWrt's interfaces (10000) and
	// multi-WAN (1000).
	DefaultRulePriority = 627
	// DefaultTable is the routing table whose default route is the device.
	DefaultTable = 6275
	// DefaultRouteMetric is lower than that of connected (256) and advertised
	// (1024) routes.
	DefaultRouteMetric = 64
	// DefaultPathMTU is assumed until a link or a router on the way says less.
	DefaultPathMTU = 1500
	// DefaultMark and DefaultMarkMask tell the engine's packets from others, whose
	// marks use the lower bits.
	DefaultMark     = 0x62750000
	DefaultMarkMask = 0xffff0000
	// DefaultGrace is how long packets from a former care-of address are accepted.
	DefaultGrace = 2 * time.Second
	// DefaultAdopt gives mobiles and home agents the time to register again after a
	// crash.
	DefaultAdopt = 10 * time.Second
)

// Config configures the engine. The zero value of each field means its default.
type Config struct {
	Device        string       // name of the TUN device
	Log           *slog.Logger // nil: silent
	RouteProtocol int          // 5–255; one engine at a time may use it in a namespace
	RulePriority  int          // of the first of three priorities in a row
	Table         int          // routing table; the next one belongs to the engine, too
	RouteMetric   int          // of routes to inner prefixes on the agent's side
	PathMTU       int          // octets, at least 1280
	Grace         time.Duration
	// Batch is how many packets are received at a time, which bounds the memory
	// for them: 64 KB each, if there is so much to receive.
	Batch int
	// SocketBuffer is the size of the queues of the sockets in octets.
	SocketBuffer int
	// Refuse tells the senders of packets that belong to no tunnel so: for home
	// agents, whose mobiles register again then.
	Refuse bool
	// Ready tells whether bindings are restored, and the mobiles that are refused can
	// register; nil: always. One that is told too early loses the update that it sends at
	// once. It is called under the engine's lock.
	Ready func() bool
	// Mark is the firewall mark (SO_MARK) of all packets the engine sends, and
	// MarkMask its bits. The kernel's part of optimised routes on the correspondent's
	// side does not apply to packets with the highest of these bits.
	Mark, MarkMask uint32
	// Local reports whether an address is this node's; several goroutines call it.
	// Without it no packet is taken for one to this node that no binding or tunnel
	// is about.
	Local func(netip.Addr) bool
	// Signalling reports whether IPsec ESP with an SPI is signalling, which somebody
	// else takes from the wire: it is then not given to the kernel, whatever home
	// addresses are in front of it. Several goroutines call it. nil: there is none.
	Signalling func(spi uint32) bool
	// HomeTest takes a packet that is to go through a tunnel that is Protected, and
	// the path to take. The packet is the callee's until it returns. It is called
	// from the goroutine that sends and must not call the engine. nil: such packets
	// are dropped.
	HomeTest func(home overlay.Key, path overlay.Path, packet []byte)
	// Fast carries what it can of the tunnels' packets past user space; nil: nothing.
	Fast FastPath
	// Routes carries what it can of the packets of optimised routes past user space, on
	// kernels that can do that; nil: nothing.
	Routes RoutePath
	// Adopt is how long what a predecessor that crashed left in the kernel goes on
	// until somebody sets it again, and longer until the node is Ready.
	Adopt time.Duration
	// Relayed reports whether DHCPv6 messages between an address of this node and a
	// remote one are in ESP, which somebody else takes from the wire and sends: the
	// engine drops those without, whichever way they come or go. Several goroutines
	// call it. nil: there are none.
	Relayed func(local, remote netip.Addr) bool

	// What the engine reports. The functions are called from its goroutines, must
	// be quick and must not call the engine; nil: not reported. Anybody can forge
	// what causes them, so that they are called at a limited rate.

	// Refused: the other end of a mobile's tunnel refused a packet.
	Refused func(home netip.Addr)
	// TrafficSeen: a packet passed between a home address and a peer, through a
	// tunnel with Watch (MobileSide) or along an optimised route. Once for a pair in
	// overlay.TrafficInterval; where very many talk at a time, perhaps more often.
	TrafficSeen func(home, peer netip.Addr, side overlay.Side)
	// Silent: a mobile's tunnel has taken packets for overlay.SilenceInterval, and
	// nothing came back to the home address by any way.
	Silent func(home netip.Addr)
	// UnknownHomeAddress: a packet to this node carried a Home Address option that
	// no binding permits (RFC 6275 §9.3.1).
	UnknownHomeAddress func(source, destination, home netip.Addr)
	// RouteUnreachable: an ICMPv6 Destination Unreachable came back about a packet
	// that took an optimised route of the correspondent side to a care-of address,
	// which is still the present one. received is how many packets have come along
	// the route so far. Once a second for each route.
	RouteUnreachable func(pair overlay.Pair, careOf netip.Addr, received uint64)
}

func (c *Config) complete() error {
	c.Device = cmp.Or(c.Device, DefaultDevice)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.RouteProtocol = cmp.Or(c.RouteProtocol, RouteProtocol)
	c.RulePriority = cmp.Or(c.RulePriority, DefaultRulePriority)
	c.Table = cmp.Or(c.Table, DefaultTable)
	c.RouteMetric = cmp.Or(c.RouteMetric, DefaultRouteMetric)
	c.PathMTU = cmp.Or(c.PathMTU, DefaultPathMTU)
	c.Grace = cmp.Or(c.Grace, DefaultGrace)
	c.Adopt = cmp.Or(c.Adopt, DefaultAdopt)
	c.Mark = cmp.Or(c.Mark, DefaultMark)
	c.MarkMask = cmp.Or(c.MarkMask, DefaultMarkMask)
	c.Batch = cmp.Or(c.Batch, 32)
	c.SocketBuffer = cmp.Or(c.SocketBuffer, 4<<20)
	for _, check := range []struct {
		name           string
		v, least, most int
	}{
		{"route protocol", c.RouteProtocol, unix.RTPROT_STATIC + 1, 255},
		{"rule priority", c.RulePriority, 1, 32763},
		{"table", c.Table, 1, 1<<31 - 2},
		{"route metric", c.RouteMetric, 1, 1<<31 - 1},
		{"path MTU", c.PathMTU, minimumMTU, 65535},
		{"batch", c.Batch, 1, 1024},
		{"socket buffer", c.SocketBuffer, 1, 1 << 30},
	} {
		if check.v < check.least || check.v > check.most {
			return fmt.Errorf("tun data plane: %s %d is not between %d and %d", check.name, check.v, check.least, check.most)
		}
	}
	for _, table := range []int{c.Table, c.Table + 1} {
		switch table {
		case unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL, unix.RT_TABLE_DEFAULT:
			return fmt.Errorf("tun data plane: table %d is the system's: choose another", table)
		}
	}
	if c.Mark&^c.MarkMask != 0 {
		return fmt.Errorf("tun data plane: mark %#x has bits that are not in its mask %#x", c.Mark, c.MarkMask)
	}
	return nil
}
