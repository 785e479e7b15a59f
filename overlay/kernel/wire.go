package kernel

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// Messages to the kernel's routing. Numbers that golang.org/x/sys/unix lacks have the
// names of the kernel.
const (
	tunnelKind = "ip6tnl"

	iflaInfoKind, iflaInfoData = 1, 2

	iflaTunnelLink      = 1  // IFLA_IPTUN_LINK
	iflaTunnelLocal     = 2  // IFLA_IPTUN_LOCAL
	iflaTunnelRemote    = 3  // IFLA_IPTUN_REMOTE
	iflaTunnelHopLimit  = 4  // IFLA_IPTUN_TTL
	iflaTunnelFlags     = 8  // IFLA_IPTUN_FLAGS
	iflaTunnelProtocol  = 9  // IFLA_IPTUN_PROTO
	iflaTunnelExternal  = 19 // IFLA_IPTUN_COLLECT_METADATA
	ignoreEncapsulation = 1  // IP6_TNL_F_IGN_ENCAP_LIMIT
	lightweightTunnel   = 4  // LWTUNNEL_ENCAP_IP6
	lightweightTo       = 2  // LWTUNNEL_IP6_DST
	lightweightFrom     = 3  // LWTUNNEL_IP6_SRC
	lightweightHopLimit = 4  // LWTUNNEL_IP6_HOPLIMIT
	outerHopLimit       = 64 // RFC 2473 §6.3
	addressGeneration   = 8  // IFLA_INET6_ADDR_GEN_MODE
	noAddress           = 1  // IN6_ADDR_GEN_MODE_NONE
	metricLock          = 1  // RTAX_LOCK
	routeMetric         = 1024
)

// link is a tunnel device of ours.
type link struct {
	index    int
	name     string
	external bool
	local    netip.Addr // not of the external one, as what follows
	remote   netip.Addr
	on       int
	mtu      int
}

func linkHeader(index int, flags, change uint32) rtbatch.Attributes {
	b := rtbatch.Attributes{unix.AF_UNSPEC, 0, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

func text(s string) []byte { return append([]byte(s), 0) }

// info describes a tunnel device.
func (l link) info() []byte {
	data := rtbatch.Attributes(nil).Bytes(iflaTunnelProtocol, []byte{unix.IPPROTO_IPV6}).Uint32(iflaTunnelFlags, ignoreEncapsulation)
	if l.external {
		data = data.Bytes(iflaTunnelExternal, nil)
	} else {
		local, remote := l.local.As16(), l.remote.As16()
		data = data.Uint32(iflaTunnelLink, uint32(l.on)).Bytes(iflaTunnelLocal, local[:]).Bytes(iflaTunnelRemote, remote[:]).
			Bytes(iflaTunnelHopLimit, []byte{outerHopLimit})
	}
	return rtbatch.Attributes(nil).Bytes(iflaInfoKind, text(tunnelKind)).Bytes(iflaInfoData|unix.NLA_F_NESTED, data)
}

// create makes the device, down.
func (l link) create() rtbatch.Request {
	b := linkHeader(0, 0, 0).Bytes(unix.IFLA_IFNAME, text(l.name)).Uint32(unix.IFLA_MTU, uint32(l.mtu)).
		Bytes(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, l.info())
	return rtbatch.Request{Kind: unix.RTM_NEWLINK, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: b}
}

// impossibleLink asks for a tunnel device of ICMP, which there is not. It has no name that
// could be somebody's.
func impossibleLink() rtbatch.Request {
	data := rtbatch.Attributes(nil).Bytes(iflaTunnelProtocol, []byte{unix.IPPROTO_ICMP})
	info := rtbatch.Attributes(nil).Bytes(iflaInfoKind, text(tunnelKind)).Bytes(iflaInfoData|unix.NLA_F_NESTED, data)
	return rtbatch.Request{
		Kind: unix.RTM_NEWLINK, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL,
		Body: linkHeader(0, 0, 0).Bytes(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info),
	}
}

// up sets the device up, without an address and multicast, so that the kernel sends
// nothing into it by itself.
func (l link) up(alias string) []rtbatch.Request {
	inet6 := rtbatch.Attributes(nil).Bytes(addressGeneration, []byte{noAddress})
	family := rtbatch.Attributes(nil).Bytes(unix.AF_INET6|unix.NLA_F_NESTED, inet6)
	return []rtbatch.Request{
		{Kind: unix.RTM_NEWLINK, Body: linkHeader(l.index, 0, unix.IFF_MULTICAST).Bytes(unix.IFLA_IFALIAS, []byte(alias)).Bytes(unix.IFLA_AF_SPEC|unix.NLA_F_NESTED, family)},
		{Kind: unix.RTM_NEWLINK, Body: linkHeader(l.index, unix.IFF_UP, unix.IFF_UP)},
	}
}

// change gives the device its ends. That makes its MTU the one that the kernel thinks
// right, behind the back of the kernel's IPv6: setting another one in between has all
// notice.
func (l link) change() []rtbatch.Request {
	requests := []rtbatch.Request{{Kind: unix.RTM_NEWLINK, Body: linkHeader(l.index, 0, 0).Bytes(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, l.info())}}
	return append(requests, l.resize(leastMTU), l.resize(leastMTU+1), l.resize(l.mtu))
}

func (l link) resize(mtu int) rtbatch.Request {
	return rtbatch.Request{Kind: unix.RTM_NEWLINK, Body: linkHeader(l.index, 0, 0).Uint32(unix.IFLA_MTU, uint32(mtu))}
}

func (l link) remove() rtbatch.Request {
	return rtbatch.Request{Kind: unix.RTM_DELLINK, Body: linkHeader(l.index, 0, 0)}
}

// parseLink reads what the kernel lists. ok is false for what is no tunnel device of
// its kind.
func parseLink(m []byte) (l link, alias string, ok bool) {
	if len(m) < unix.SizeofIfInfomsg {
		return l, "", false
	}
	a := m[unix.SizeofIfInfomsg:]
	information := rtbatch.Attribute(a, unix.IFLA_LINKINFO)
	if unix.ByteSliceToString(rtbatch.Attribute(information, iflaInfoKind)) != tunnelKind {
		return l, "", false
	}
	data := rtbatch.Attribute(information, iflaInfoData)
	l.index = int(int32(binary.NativeEndian.Uint32(m[4:])))
	l.name = unix.ByteSliceToString(rtbatch.Attribute(a, unix.IFLA_IFNAME))
	mtu, _ := rtbatch.Uint32Attribute(a, unix.IFLA_MTU)
	on, _ := rtbatch.Uint32Attribute(data, iflaTunnelLink)
	l.mtu, l.on = int(mtu), int(on)
	l.external = rtbatch.Attribute(data, iflaTunnelExternal) != nil
	if !l.external {
		l.local, _ = netip.AddrFromSlice(rtbatch.Attribute(data, iflaTunnelLocal))
		l.remote, _ = netip.AddrFromSlice(rtbatch.Attribute(data, iflaTunnelRemote))
	}
	return l, unix.ByteSliceToString(rtbatch.Attribute(a, unix.IFLA_IFALIAS)), true
}

// probePrefix is one that is nobody's (RFC 3849).
var probePrefix = netip.MustParsePrefix("2001:db8:6275::/64")

// route is a route of ours.
type route struct {
	to, from netip.Prefix // invalid: any
	table    int
	metric   int
	device   int
	mtu      int // 0: the device's
	// path is what the route encapsulates by; without a remote address nothing.
	path overlay.Path
}

// gateway is one that is the same for all routes into the external device: the kernel
// then has one neighbour for it and not one for each destination.
var gateway = netip.MustParseAddr("fe80::1")

func (r route) body(protocol int) []byte {
	bits := func(p netip.Prefix) byte { return byte(max(p.Bits(), 0)) }
	b := rtbatch.Attributes{unix.AF_INET6, bits(r.to), bits(r.from), 0, unix.RT_TABLE_UNSPEC, byte(protocol), unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	b = b.Uint32(unix.RTA_TABLE, uint32(r.table))
	for kind, p := range map[uint16]netip.Prefix{unix.RTA_DST: r.to, unix.RTA_SRC: r.from} {
		if p.Bits() > 0 {
			a := p.Addr().As16()
			b = b.Bytes(kind, a[:])
		}
	}
	b = b.Uint32(unix.RTA_OIF, uint32(r.device))
	if r.path.Remote.IsValid() {
		via, to, from := gateway.As16(), r.path.Remote.As16(), r.path.Local.As16()
		b = b.Bytes(unix.RTA_GATEWAY, via[:])
		b = b.Bytes(unix.RTA_ENCAP_TYPE, binary.NativeEndian.AppendUint16(nil, lightweightTunnel))
		b = b.Bytes(unix.RTA_ENCAP|unix.NLA_F_NESTED, rtbatch.Attributes(nil).Bytes(lightweightTo, to[:]).Bytes(lightweightFrom, from[:]).
			Bytes(lightweightHopLimit, []byte{outerHopLimit}))
	}
	if r.mtu != 0 { // locked: the kernel does not look at it when it forwards otherwise
		b = b.Bytes(unix.RTA_METRICS|unix.NLA_F_NESTED, rtbatch.Attributes(nil).Uint32(metricLock, 1<<unix.RTAX_MTU).Uint32(unix.RTAX_MTU, uint32(r.mtu)))
	}
	return b.Uint32(unix.RTA_PRIORITY, uint32(r.metric))
}

func (r route) add(protocol int) rtbatch.Request {
	return rtbatch.Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: r.body(protocol)}
}

func (r route) remove(protocol int) rtbatch.Request {
	r.path, r.mtu = overlay.Path{}, 0
	return rtbatch.Request{Kind: unix.RTM_DELROUTE, Body: r.body(protocol)}
}

// key is a route as far as there can be one only.
func (r route) key() route {
	r.path, r.mtu = overlay.Path{}, 0
	return r
}

// parseRoute reads what the kernel lists.
func parseRoute(m []byte) (r route, protocol int, ok bool) {
	if len(m) < unix.SizeofRtMsg || m[0] != unix.AF_INET6 || m[1] > 128 || m[2] > 128 || m[7] != unix.RTN_UNICAST {
		return r, 0, false
	}
	a := m[unix.SizeofRtMsg:]
	number := func(kind uint16) int {
		v, _ := rtbatch.Uint32Attribute(a, kind)
		return int(v)
	}
	prefix := func(kind uint16, bits byte) netip.Prefix {
		v, ok := netip.AddrFromSlice(rtbatch.Attribute(a, kind))
		if !ok {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(v, int(bits))
	}
	return route{
		to: prefix(unix.RTA_DST, m[1]), from: prefix(unix.RTA_SRC, m[2]), table: number(unix.RTA_TABLE), metric: number(unix.RTA_PRIORITY),
		device: number(unix.RTA_OIF),
	}, int(m[5]), true
}

// leftRule leads packets with a mark to a table.
func leftRule(priority, table, protocol int, mark uint32) []byte {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg) // fib_rule_hdr has the same size
	b[0], b[7] = unix.AF_INET6, unix.FR_ACT_TO_TBL
	return b.Uint32(unix.FRA_PRIORITY, uint32(priority)).Uint32(unix.FRA_FWMARK, mark).Uint32(unix.FRA_FWMASK, mark).
		Uint32(unix.FRA_TABLE, uint32(table)).Bytes(unix.FRA_PROTOCOL, []byte{byte(protocol)})
}

// anyRule is whatever rule has a priority and our tag, for removal.
func anyRule(priority, protocol int) []byte {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg)
	b[0] = unix.AF_INET6
	return b.Uint32(unix.FRA_PRIORITY, uint32(priority)).Bytes(unix.FRA_PROTOCOL, []byte{byte(protocol)})
}
