package rtnl

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/role"
	"roam6/mip6"
)

// Attribute numbers and flags that golang.org/x/sys/unix does not have.
const (
	ifaProto         = 11 // IFA_PROTO, kernel 5.18
	operstateUp      = 6  // IF_OPER_UP
	operstateUnknown = 0  // IF_OPER_UNKNOWN: the driver does not say
	addressFlags     = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
)

func addrOf(b []byte) (netip.Addr, bool) {
	if len(b) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b)), true
}

// linkAttributes is what a link message says.
type linkAttributes struct {
	index    int
	name     string
	adminUp  bool
	carrier  bool // and operational: 802.1X done, for instance
	loopback bool
	mtu      int
	ethernet [6]byte
	carriers uint32 // times that the carrier came
}

// parseLink decodes RTM_NEWLINK or RTM_DELLINK. Messages of another family
// than AF_UNSPEC, such as a bridge's about its ports, are not about the link.
func parseLink(data []byte) (l linkAttributes, ok bool) {
	if len(data) < unix.SizeofIfInfomsg || data[0] != unix.AF_UNSPEC {
		return l, false
	}
	const carrier = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	kind := binary.NativeEndian.Uint16(data[2:])
	flags := binary.NativeEndian.Uint32(data[8:])
	l.index = int(int32(binary.NativeEndian.Uint32(data[4:])))
	l.adminUp = flags&unix.IFF_UP != 0
	l.carrier = flags&carrier == carrier
	l.loopback = flags&unix.IFF_LOOPBACK != 0
	for kindOf, v := range nlsock.Attributes(data[unix.SizeofIfInfomsg:]) {
		switch kindOf {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(v)
		case unix.IFLA_MTU:
			if m, ok := nlsock.Uint32(v); ok {
				l.mtu = int(m)
			}
		case unix.IFLA_ADDRESS:
			if kind == unix.ARPHRD_ETHER && len(v) == len(l.ethernet) {
				l.ethernet = [6]byte(v)
			}
		case unix.IFLA_CARRIER_UP_COUNT:
			l.carriers, _ = nlsock.Uint32(v)
		case unix.IFLA_OPERSTATE:
			if len(v) == 1 && v[0] != operstateUp && v[0] != operstateUnknown {
				l.carrier = false
			}
		}
	}
	return l, l.index > 0
}

// kernelAddress is what an address message says.
type kernelAddress struct {
	Address
	tag       uint8
	tentative bool // not usable yet, or never: duplicate
	temporary bool // RFC 8981
}

// parseAddress decodes RTM_NEWADDR or RTM_DELADDR.
func parseAddress(data []byte) (a kernelAddress, ok bool) {
	if len(data) < unix.SizeofIfAddrmsg || data[0] != unix.AF_INET6 {
		return a, false
	}
	bits := int(data[1])
	flags := uint32(data[2])
	a.Link = int(int32(binary.NativeEndian.Uint32(data[4:])))
	a.Valid, a.Preferred = mip6.InfiniteLifetime, mip6.InfiniteLifetime
	var addr, local netip.Addr
	for kind, v := range nlsock.Attributes(data[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_ADDRESS:
			addr, _ = addrOf(v)
		case unix.IFA_LOCAL: // of a point-to-point address, whose IFA_ADDRESS is the peer's
			local, _ = addrOf(v)
		case unix.IFA_FLAGS:
			if f, ok := nlsock.Uint32(v); ok {
				flags = f
			}
		case unix.IFA_CACHEINFO:
			if len(v) >= 8 {
				a.Preferred = seconds(binary.NativeEndian.Uint32(v))
				a.Valid = seconds(binary.NativeEndian.Uint32(v[4:]))
			}
		case ifaProto:
			if len(v) == 1 {
				a.tag = v[0]
			}
		}
	}
	if local.IsValid() {
		addr = local
	}
	if !addr.IsValid() || bits > 128 || a.Link <= 0 {
		return a, false
	}
	a.Prefix = netip.PrefixFrom(addr, bits)
	a.Home = flags&unix.IFA_F_HOMEADDRESS != 0
	a.temporary = flags&unix.IFA_F_TEMPORARY != 0
	if flags&unix.IFA_F_DEPRECATED != 0 {
		a.Preferred = 0
	}
	// RFC 4429 §3: an optimistic address may be used.
	a.tentative = flags&unix.IFA_F_DADFAILED != 0 || flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return a, true
}

func seconds(v uint32) time.Duration { return time.Duration(v) * time.Second }

// wholeSeconds rounds up: an address must not end before its time.
func wholeSeconds(d time.Duration) uint32 {
	return uint32(min((max(d, 0)+time.Second-1)/time.Second, mip6.InfiniteLifetime/time.Second))
}

// addressBody is the body of a message that adds or changes an address.
//
// IFA_F_NODAD: duplicate address detection is the roles' (RFC 4429).
// IFA_F_NOPREFIXROUTE: having an address says nothing about which addresses are
// on the link (RFC 5942 §4); that is the prefix information's L bit, and the
// role adds a route for it. A prefix route of the kernel's own would compete
// with the role's, and outlive the move for as long as the old care-of address
// is kept deprecated.
func addressBody(a Address) []byte {
	flags := uint32(addressFlags)
	if a.Home {
		flags |= unix.IFA_F_HOMEADDRESS
	}
	b := addressKeyBody(a)
	b = nlsock.AppendUint32(b, unix.IFA_FLAGS, flags)
	lifetimes := make([]byte, unix.SizeofIfaCacheinfo)
	binary.NativeEndian.PutUint32(lifetimes, wholeSeconds(min(a.Preferred, a.Valid)))
	binary.NativeEndian.PutUint32(lifetimes[4:], wholeSeconds(a.Valid))
	b = nlsock.AppendAttribute(b, unix.IFA_CACHEINFO, lifetimes)
	return nlsock.AppendAttribute(b, ifaProto, []byte{Protocol})
}

// addressKeyBody is the body of a message that names an address.
func addressKeyBody(a Address) []byte {
	b := []byte{unix.AF_INET6, byte(a.Prefix.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	b = binary.NativeEndian.AppendUint32(b, uint32(a.Link))
	v := a.Prefix.Addr().As16()
	b = nlsock.AppendAttribute(b, unix.IFA_LOCAL, v[:])
	return nlsock.AppendAttribute(b, unix.IFA_ADDRESS, v[:])
}

// routeBody is the body of a message that adds a route, or names one for
// removal: the tag in it keeps other people's routes from being removed.
func routeBody(r role.Route) []byte {
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	kind := byte(unix.RTN_UNICAST)
	if r.Unreachable {
		kind = unix.RTN_UNREACHABLE
	}
	b := []byte{unix.AF_INET6, byte(r.Destination.Bits()), byte(max(r.From.Bits(), 0)), 0, unix.RT_TABLE_MAIN, Protocol, scope, kind, 0, 0, 0, 0}
	v := r.Destination.Addr().As16()
	b = nlsock.AppendAttribute(b, unix.RTA_DST, v[:])
	if r.From.IsValid() {
		v = r.From.Addr().As16()
		b = nlsock.AppendAttribute(b, unix.RTA_SRC, v[:])
	}
	b = nlsock.AppendUint32(b, unix.RTA_OIF, uint32(r.Link))
	if r.Via.IsValid() {
		v = r.Via.As16()
		b = nlsock.AppendAttribute(b, unix.RTA_GATEWAY, v[:])
	}
	if r.Source.IsValid() {
		v = r.Source.As16()
		b = nlsock.AppendAttribute(b, unix.RTA_PREFSRC, v[:])
	}
	return nlsock.AppendUint32(b, unix.RTA_PRIORITY, uint32(r.Metric))
}

// parseRoutes decodes RTM_NEWROUTE or RTM_DELROUTE of the main table that carry
// our tag. Routes of the same destination and metric come as one message.
func parseRoutes(data []byte) []role.Route {
	if table, routes := parseTaggedRoutes(data); table == unix.RT_TABLE_MAIN {
		return routes
	}
	return nil
}

// parseTaggedRoutes is parseRoutes for every table.
func parseTaggedRoutes(data []byte) (table uint32, routes []role.Route) {
	if len(data) < unix.SizeofRtMsg || data[0] != unix.AF_INET6 || data[5] != Protocol {
		return 0, nil
	}
	unreachable := data[7] == unix.RTN_UNREACHABLE
	if !unreachable && data[7] != unix.RTN_UNICAST {
		return 0, nil
	}
	bits, fromBits := int(data[1]), int(data[2])
	if bits > 128 || fromBits > 128 {
		return 0, nil
	}
	table = uint32(data[4])
	destination, from := netip.IPv6Unspecified(), netip.IPv6Unspecified()
	r := role.Route{Unreachable: unreachable}
	var multipath []byte
	for kind, v := range nlsock.Attributes(data[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_TABLE:
			if t, ok := nlsock.Uint32(v); ok {
				table = t
			}
		case unix.RTA_DST:
			if a, ok := addrOf(v); ok {
				destination = a
			}
		case unix.RTA_SRC:
			if a, ok := addrOf(v); ok {
				from = a
			}
		case unix.RTA_OIF:
			if i, ok := nlsock.Uint32(v); ok {
				r.Link = int(i)
			}
		case unix.RTA_GATEWAY:
			r.Via, _ = addrOf(v)
		case unix.RTA_PREFSRC:
			r.Source, _ = addrOf(v)
		case unix.RTA_PRIORITY:
			if m, ok := nlsock.Uint32(v); ok {
				r.Metric = int(m)
			}
		case unix.RTA_MULTIPATH:
			multipath = v
		}
	}
	r.Destination = netip.PrefixFrom(destination, bits)
	if fromBits > 0 {
		r.From = netip.PrefixFrom(from, fromBits)
	}
	if multipath == nil {
		return table, []role.Route{r}
	}
	for len(multipath) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(multipath))
		if n < unix.SizeofRtNexthop || n > len(multipath) {
			break
		}
		hop := r
		hop.Link = int(int32(binary.NativeEndian.Uint32(multipath[4:])))
		hop.Via = netip.Addr{}
		for kind, v := range nlsock.Attributes(multipath[unix.SizeofRtNexthop:n]) {
			if kind == unix.RTA_GATEWAY {
				hop.Via, _ = addrOf(v)
			}
		}
		routes = append(routes, hop)
		multipath = multipath[min((n+3)&^3, len(multipath)):]
	}
	return table, routes
}

// neighborBody is the body of a message about a neighbour.
func neighborBody(link int, addr netip.Addr, ethernet *[6]byte, state uint16) []byte {
	b := []byte{unix.AF_INET6, 0, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, uint32(link))
	b = binary.NativeEndian.AppendUint16(b, state)
	b = append(b, 0, 0)
	v := addr.As16()
	b = nlsock.AppendAttribute(b, unix.NDA_DST, v[:])
	if ethernet != nil {
		b = nlsock.AppendAttribute(b, unix.NDA_LLADDR, ethernet[:])
	}
	return b
}

// parseNeighbor returns a neighbour's link-layer address and whether the entry
// can be used to send.
func parseNeighbor(data []byte) (ethernet [6]byte, usable bool) {
	const sizeofNdmsg = 12
	if len(data) < sizeofNdmsg {
		return ethernet, false
	}
	state := binary.NativeEndian.Uint16(data[8:])
	usable = state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0
	for kind, v := range nlsock.Attributes(data[sizeofNdmsg:]) {
		if kind == unix.NDA_LLADDR && len(v) == len(ethernet) {
			ethernet = [6]byte(v)
		}
	}
	return ethernet, usable
}

// fromKernel are the messages that the kernel sent; anybody with CAP_NET_ADMIN
// can send others to our port.
func fromKernel(messages []syscall.NetlinkMessage, from *unix.SockaddrNetlink) []syscall.NetlinkMessage {
	if from == nil || from.Pid != 0 {
		return nil
	}
	return messages
}
