package tun

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/sock"
)

// A kernel without Mobile IPv6 delivers no packet with a Home Address option or a
// type 2 routing header; a packet socket sees them all the same. (What keeps the
// kernel from answering them with errors is the signalling's, internal/mhsock.)
// It is of type SOCK_RAW, since only that comes with a virtio header: the kernel
// may have made aggregates, and over virtual links leaves checksums to do.

// maximumLinkHeader is more than any link-layer header, and the virtio header
// before that.
const maximumLinkHeader = 64

// openCapture opens the packet socket. It does not hear the device: what the
// engine writes there has been dealt with.
func openCapture(size, buffer, device int) (_ *receiver, err error) {
	// Protocol 0 receives nothing: no packet gets in before the filter is on.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, openError("packet socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := sock.AttachFilter(fd, homeAddressesOnly(device)); err != nil {
		return nil, openError("packet socket: filter", err)
	}
	for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_AUXDATA} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
			return nil, openError("packet socket", err)
		}
	}
	// Saves the kernel the filter for what we send (Linux 4.20).
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, buffer)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6)}); err != nil {
		return nil, openError("packet socket: bind", err)
	}
	return newReceiver(fd, size, maximumLinkHeader+maximumPacket)
}

// homeAddressesOnly accepts packets to this host, from any other interface than
// the device, to one node, with destination options or a routing header first or
// behind hop-by-hop options. Signalling is not among them as long as nothing
// stands before its own header.
func homeAddressesOnly(device int) []bpf.Instruction {
	const network = 1<<32 - 0x100000 // SKF_NET_OFF: from the IPv6 header on, whatever is before it
	load := func(offset uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: network + offset, Size: 1} }
	const (
		ethernet, etherType = 14, 12 // octets: the length of a header, and where its type is

		bare, elsewhere, next, first, ours, accept, reject = 6, 9, 10, 17, 19, 25, 26
	)
	to := func(from, target int) uint8 { return uint8(target - from - 1) }
	return []bpf.Instruction{
		// All that the node receives or forwards passes here. Where the IPv6 header is
		// known to be the kernel reads an octet of it in line, and elsewhere by a function.
		0: bpf.LoadExtension{Num: bpf.ExtLinkLayerType},
		1: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ARPHRD_ETHER, SkipTrue: to(1, bare)},
		2: bpf.LoadAbsolute{Off: etherType, Size: 2},
		3: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IPV6, SkipTrue: to(3, elsewhere)}, // a VLAN tag
		4: bpf.LoadAbsolute{Off: ethernet + offsetNextHeader, Size: 1},
		5: bpf.Jump{Skip: uint32(to(5, next))},

		bare: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ARPHRD_TUNNEL6, SkipTrue: to(bare, elsewhere)},
		7:    bpf.LoadAbsolute{Off: offsetNextHeader, Size: 1},
		8:    bpf.Jump{Skip: uint32(to(8, next))},

		elsewhere: load(offsetNextHeader),

		// Most have none of these, and that is found out first.
		next: bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolDestinationOptions, SkipTrue: to(next, first)},
		11:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolRouting, SkipTrue: to(11, first)},
		12:   bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolHopByHop, SkipTrue: to(12, reject)},

		13: load(headerLength), // behind hop-by-hop options
		14: bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolDestinationOptions, SkipTrue: to(14, ours)},
		15: bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolRouting, SkipTrue: to(15, ours)},
		16: bpf.Jump{Skip: uint32(to(16, reject))},

		first: load(headerLength), // behind the first of those we want
		18:    bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolMobility, SkipTrue: to(18, reject)},

		ours: bpf.LoadExtension{Num: bpf.ExtType},
		20:   bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_HOST, SkipTrue: to(20, reject)},
		21:   bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		22:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(device), SkipTrue: to(22, reject)},
		23:   load(offsetDestination),
		24:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0xff, SkipTrue: to(24, reject)},

		accept: bpf.RetConstant{Val: 1 << 18},
		reject: bpf.RetConstant{Val: 0},
	}
}

// captured returns a captured packet, with at least receiveHeadroom octets in
// front that are free, and its virtio header. whole is false if it was too large
// or is no packet.
func (r *receiver) captured(i int) (buffer []byte, h virtioHeader, whole bool) {
	m := &r.messages[i]
	network := 0 // offset of the IPv6 header from the link-layer header
	r.ancillary(i, func(level, kind int32, data []byte) {
		const offsetNetwork = 14 // tp_net of struct tpacket_auxdata
		if level == unix.SOL_PACKET && kind == unix.PACKET_AUXDATA && len(data) >= offsetNetwork+2 {
			network = int(binary.NativeEndian.Uint16(data[offsetNetwork:]))
		}
	})
	b := r.buffers[i][:receiveHeadroom+int(m.length)]
	before := receiveHeadroom + virtioLength + network
	if m.header.Flags&unix.MSG_TRUNC != 0 || len(b) < before+headerLength {
		return nil, h, false
	}
	h.parse(b[receiveHeadroom:])
	if h.flags&virtioNeedsChecksum != 0 {
		h.start -= uint16(network)
	}
	if h.gso != gsoNone {
		h.headerLength -= uint16(network)
	}
	return b[before-receiveHeadroom:], h, true
}
