package tun

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// What the engine has in the kernel besides the device, all of it with its
// protocol number as the tag:
//
//	agent side, for each inner prefix P:
//	  route P dev TUN metric M                          main table
//	mobile side, for each inner prefix P:
//	  rule  N:   to P lookup main                       the mobile network's own packets
//	  rule  N+1: from P lookup T                        all else from there
//	  route unreachable P metric 2^32-1                 main table
//	for each peer A of optimised routes there:
//	  route A dev TUN mtu L                             table T
//	correspondent side, for each bound home address H:
//	  route H dev TUN src A mtu L                       table T+1
//	and while there is one:
//	  rule  N+2: iif lo fwmark 0/B lookup T+1           what this node sends itself
//	for a moment, with further ones (nudge.go):
//	  rule  N+2: from ::1 iif lo lookup T+1
//	always:
//	  route default dev TUN                             table T
//	  route unreachable default metric 2^32-1           table T
//
// The unreachable route of P is behind any real one, such as that of the link
// with this prefix. Without it a packet out of the tunnel to a part of P that is
// not there would take the default route back to the agent, and so on until its
// hop limit ends. The one of table T keeps packets from the mobile network from
// an uplink, where they do not belong, between a crash and the restart.
//
// L is what an optimised route takes of the first link, less what it adds: more
// than the device's own MTU, which is that of tunnels. The kernel observes it for
// what it sends itself, and only that uses optimised routes.
//
// What the engine sends carries a mark, whose highest bit is B: its own packets
// do not come back to it. (The rule cannot say "not fwmark mark/mask": that would
// turn "iif lo" round as well.)
const (
	lastMetric   = math.MaxUint32
	tunnelMetric = 1024
)

// kernel builds requests.
type kernel struct {
	config Config
	index  int // of the device
}

// route is a route of ours.
type route struct {
	prefix      netip.Prefix
	table       int
	metric      uint32
	unreachable bool
	source      netip.Addr // preferred source address; invalid: none
	mtu         int        // of packets to there; 0: the device's
}

func (k *kernel) routeBody(r route) []byte {
	kind, scope := byte(unix.RTN_UNICAST), byte(unix.RT_SCOPE_UNIVERSE)
	if r.unreachable {
		kind = unix.RTN_UNREACHABLE
	}
	b := rtbatch.Attributes{unix.AF_INET6, byte(r.prefix.Bits()), 0, 0, unix.RT_TABLE_UNSPEC, byte(k.config.RouteProtocol), scope, kind, 0, 0, 0, 0}
	b = b.Uint32(unix.RTA_TABLE, uint32(r.table))
	if r.prefix.Bits() > 0 {
		a := r.prefix.Addr().As16()
		b = b.Bytes(unix.RTA_DST, a[:])
	}
	if !r.unreachable {
		b = b.Uint32(unix.RTA_OIF, uint32(k.index))
	}
	if r.source.IsValid() {
		a := r.source.As16()
		b = b.Bytes(unix.RTA_PREFSRC, a[:])
	}
	if r.mtu != 0 {
		b = b.Bytes(unix.RTA_METRICS|unix.NLA_F_NESTED, rtbatch.Attributes(nil).Uint32(unix.RTAX_MTU, uint32(r.mtu)))
	}
	return b.Uint32(unix.RTA_PRIORITY, r.metric)
}

func (k *kernel) addRoute(r route) rtbatch.Request {
	return rtbatch.Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: k.routeBody(r)}
}

// replaceRoute adds a route, or puts it in the place of one to the same prefix.
func (k *kernel) replaceRoute(r route) rtbatch.Request {
	return rtbatch.Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: k.routeBody(r)}
}

func (k *kernel) removeRoute(r route) rtbatch.Request {
	return rtbatch.Request{Kind: unix.RTM_DELROUTE, Flags: 0, Body: k.routeBody(r)}
}

// ruleBody is a policy rule: packets from or to a prefix look into a table.
func (k *kernel) ruleBody(priority, table int, from, to netip.Prefix) []byte {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg) // fib_rule_hdr has the same size
	b[0], b[7] = unix.AF_INET6, unix.FR_ACT_TO_TBL
	if from.IsValid() {
		b[2] = byte(from.Bits())
		a := from.Addr().As16()
		b = b.Bytes(unix.FRA_SRC, a[:])
	}
	if to.IsValid() {
		b[1] = byte(to.Bits())
		a := to.Addr().As16()
		b = b.Bytes(unix.FRA_DST, a[:])
	}
	b = b.Uint32(unix.FRA_PRIORITY, uint32(priority))
	b = b.Uint32(unix.FRA_TABLE, uint32(table))
	return b.Bytes(unix.FRA_PROTOCOL, []byte{byte(k.config.RouteProtocol)})
}

func (k *kernel) rules(p netip.Prefix) (inside, tunnelled []byte) {
	inside = k.ruleBody(k.config.RulePriority, unix.RT_TABLE_MAIN, netip.Prefix{}, p)
	tunnelled = k.ruleBody(k.config.RulePriority+1, k.config.Table, p, netip.Prefix{})
	return inside, tunnelled
}

// sendersRule leads what this node sends, the engine's own packets excepted, to
// the table of bound home addresses.
func (k *kernel) sendersRule() []byte {
	b := rtbatch.Attributes(k.ruleBody(k.config.RulePriority+2, k.config.Table+1, netip.Prefix{}, netip.Prefix{}))
	b = b.Bytes(unix.FRA_IIFNAME, []byte("lo\x00"))
	b = b.Uint32(unix.FRA_FWMARK, 0)
	return b.Uint32(unix.FRA_FWMASK, markBit(k.config.Mark&k.config.MarkMask))
}

// markBit is the highest bit of a mark.
func markBit(mark uint32) uint32 { return 1 << (bits.Len32(mark) - 1) }

// install leads the packets of an inner prefix into the device.
func (k *kernel) install(side overlay.Side, p netip.Prefix) []rtbatch.Request {
	if side == overlay.AgentSide {
		return []rtbatch.Request{k.addRoute(route{prefix: p, table: unix.RT_TABLE_MAIN, metric: uint32(k.config.RouteMetric)})}
	}
	inside, tunnelled := k.rules(p)
	const flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	return []rtbatch.Request{
		k.addRoute(route{prefix: p, table: unix.RT_TABLE_MAIN, metric: lastMetric, unreachable: true}),
		{Kind: unix.RTM_NEWRULE, Flags: flags, Body: inside},
		{Kind: unix.RTM_NEWRULE, Flags: flags, Body: tunnelled},
	}
}

// uninstall undoes install.
func (k *kernel) uninstall(side overlay.Side, p netip.Prefix) []rtbatch.Request {
	if side == overlay.AgentSide {
		return []rtbatch.Request{k.removeRoute(route{prefix: p, table: unix.RT_TABLE_MAIN, metric: uint32(k.config.RouteMetric)})}
	}
	inside, tunnelled := k.rules(p)
	return []rtbatch.Request{
		{Kind: unix.RTM_DELRULE, Flags: 0, Body: tunnelled},
		{Kind: unix.RTM_DELRULE, Flags: 0, Body: inside},
		k.removeRoute(route{prefix: p, table: unix.RT_TABLE_MAIN, metric: lastMetric, unreachable: true}),
	}
}

// tunnelTable is the content of table T.
func (k *kernel) tunnelTable() []route {
	all := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	return []route{
		{prefix: all, table: k.config.Table, metric: tunnelMetric},
		{prefix: all, table: k.config.Table, metric: lastMetric, unreachable: true},
	}
}

// linkUp sets up the device: its MTU, no link-local address, no multicast (so
// that the kernel sends no listener reports or router solicitations into it),
// and up.
func (k *kernel) linkUp(mtu int) []rtbatch.Request {
	header := func(flags, change uint32) rtbatch.Attributes {
		b := rtbatch.Attributes{unix.AF_UNSPEC, 0, 0, 0}
		b = binary.NativeEndian.AppendUint32(b, uint32(k.index))
		b = binary.NativeEndian.AppendUint32(b, flags)
		return binary.NativeEndian.AppendUint32(b, change)
	}
	const addressGeneration, none = 8, 1 // IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE
	inet6 := rtbatch.Attributes(nil).Bytes(addressGeneration, []byte{none})
	family := rtbatch.Attributes(nil).Bytes(unix.AF_INET6|unix.NLA_F_NESTED, inet6)
	return []rtbatch.Request{
		{Kind: unix.RTM_NEWLINK, Flags: 0, Body: header(0, unix.IFF_MULTICAST).Uint32(unix.IFLA_MTU, uint32(mtu)).Bytes(unix.IFLA_AF_SPEC|unix.NLA_F_NESTED, family)},
		{Kind: unix.RTM_NEWLINK, Flags: 0, Body: header(unix.IFF_UP, unix.IFF_UP)},
	}
}

// enableIPv6 undoes a net.ipv6.conf.default.disable_ipv6 for the device.
func enableIPv6(name string) error {
	path := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("tun device %s: %w (%w)", name, ErrNoIPv6, err)
	}
	if len(b) > 0 && b[0] == '0' {
		return nil
	}
	if err := os.WriteFile(path, []byte("0"), 0); err != nil {
		return fmt.Errorf("tun device %s: enabling IPv6: %w", name, err)
	}
	return nil
}

// firstHop returns the interface that packets of the engine between two addresses
// leave by.
func firstHop(n *rtbatch.Conn, from, to netip.Addr, mark uint32) (index int, err error) {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg)
	b[0], b[1], b[2] = unix.AF_INET6, 128, 128
	s, d := from.As16(), to.As16()
	b = b.Bytes(unix.RTA_SRC, s[:]).Bytes(unix.RTA_DST, d[:]).Uint32(unix.RTA_MARK, mark)
	err = n.Get(unix.RTM_GETROUTE, b, func(m []byte) {
		if len(m) < unix.SizeofRtMsg {
			return
		}
		if i, ok := rtbatch.Uint32Attribute(m[unix.SizeofRtMsg:], unix.RTA_OIF); ok {
			index = int(i)
		}
	})
	if err == nil && index == 0 {
		err = unix.ENETUNREACH
	}
	return index, err
}

// wayMTU is what the kernel knows of the path MTU between two addresses; 0: nothing.
func wayMTU(n *rtbatch.Conn, socket int, from, to netip.Addr) (mtu int) {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg)
	b[0], b[1], b[2] = unix.AF_INET6, 128, 128
	s, d := from.As16(), to.As16()
	b = b.Bytes(unix.RTA_SRC, s[:]).Bytes(unix.RTA_DST, d[:])
	err := n.Get(unix.RTM_GETROUTE, b, func(m []byte) {
		if len(m) < unix.SizeofRtMsg {
			return
		}
		a := m[unix.SizeofRtMsg:]
		if v, ok := rtbatch.Uint32Attribute(rtbatch.Attribute(a, unix.RTA_METRICS), unix.RTAX_MTU); ok {
			mtu = int(v)
		}
		if link, ok := rtbatch.Uint32Attribute(a, unix.RTA_OIF); ok {
			if v, err := linkMTU(socket, int(link)); err == nil && (mtu == 0 || v < mtu) {
				mtu = v
			}
		}
	})
	if err != nil {
		return 0
	}
	return mtu
}
