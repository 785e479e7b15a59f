package tun

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
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
	// DefaultGrace is how long packets from a former care-of address are accepted.
	DefaultGrace = 2 * time.Second
)

// Config configures the engine. The zero value of each field means its default.
type Config struct {
	Device        string       // name of the TUN device
	Log           *slog.Logger // nil: silent
	RouteProtocol int          // 5–255; one engine at a time may use it in a namespace
	RulePriority  int          // of the first of two priorities in a row
	Table         int          // routing table
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
	// Refused is called when the other end of a mobile's tunnel refused a packet,
	// from a goroutine of the engine. Anybody can forge that.
	Refused func(home netip.Addr)
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
	c.Batch = cmp.Or(c.Batch, 32)
	c.SocketBuffer = cmp.Or(c.SocketBuffer, 4<<20)
	for _, check := range []struct {
		name           string
		v, least, most int
	}{
		{"route protocol", c.RouteProtocol, unix.RTPROT_STATIC + 1, 255},
		{"rule priority", c.RulePriority, 1, 32764},
		{"table", c.Table, 1, 1<<31 - 1},
		{"route metric", c.RouteMetric, 1, 1<<31 - 1},
		{"path MTU", c.PathMTU, minimumMTU, 65535},
		{"batch", c.Batch, 1, 1024},
		{"socket buffer", c.SocketBuffer, 1, 1 << 30},
	} {
		if check.v < check.least || check.v > check.most {
			return fmt.Errorf("tun data plane: %s %d is not between %d and %d", check.name, check.v, check.least, check.most)
		}
	}
	switch c.Table {
	case unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL, unix.RT_TABLE_DEFAULT:
		return fmt.Errorf("tun data plane: table %d is the system's: choose another", c.Table)
	}
	return nil
}
