package ndconn

import (
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/sock"
	"roam6/nd"
)

const (
	ipv6HeaderLen     = 40
	offsetNextHeader  = 6
	offsetHopLimit    = 7
	offsetSource      = 8
	offsetDestination = 24
	protocolICMPv6    = 58

	// receiveBuffer holds several hundred messages.
	receiveBuffer = 512 << 10
	// prioControl is TC_PRIO_CONTROL, which the kernel gives its own
	// neighbour discovery too.
	prioControl = 7
)

// messagesOnly accepts the four messages of neighbour discovery with hop limit
// 255, unless this host sent them or they are addressed to another at the link
// layer. A router also sees what it forwards: without the test of the hop limit
// anybody in the world could fill our queue.
func messagesOnly() []bpf.Instruction {
	return []bpf.Instruction{
		0:  bpf.LoadExtension{Num: bpf.ExtType},
		1:  bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 9}, // reject
		2:  bpf.LoadAbsolute{Off: offsetNextHeader, Size: 1},
		3:  bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolICMPv6, SkipTrue: 7}, // reject
		4:  bpf.LoadAbsolute{Off: offsetHopLimit, Size: 1},
		5:  bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nd.HopLimit, SkipTrue: 5}, // reject
		6:  bpf.LoadAbsolute{Off: ipv6HeaderLen, Size: 1},
		7:  bpf.JumpIf{Cond: bpf.JumpLessThan, Val: nd.TypeRouterSolicitation, SkipTrue: 3},       // reject
		8:  bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: nd.TypeNeighborAdvertisement, SkipTrue: 2}, // reject
		9:  bpf.RetConstant{Val: 1 << 18},
		10: bpf.RetConstant{Val: 0},
		11: bpf.RetConstant{Val: 0},
	}
}

// openPacket opens the packet socket of an interface, with all its groups.
func openPacket(link int) (*os.File, syscall.RawConn, error) {
	// Protocol 0 receives nothing: no packet gets in before the filter is on.
	return openSocket(unix.AF_PACKET, unix.SOCK_DGRAM, 0, "nd packet", func(fd int) error {
		if err := sock.AttachFilter(fd, messagesOnly()); err != nil {
			return os.NewSyscallError("SO_ATTACH_FILTER", err)
		}
		// Both only spare work: the filter drops what we sent, and the buffer
		// stays what it was.
		_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: link}); err != nil {
			return os.NewSyscallError("bind", err)
		}
		return os.NewSyscallError("PACKET_ADD_MEMBERSHIP", unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(link), Type: unix.PACKET_MR_ALLMULTI}))
	})
}

// openRaw opens a socket that sends whole packets, and receives none.
func openRaw(link int) (*os.File, syscall.RawConn, error) {
	return openSocket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW, "nd raw", func(fd int) error {
		return os.NewSyscallError("SO_BINDTOIFINDEX", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, link))
	})
}

// openGroup opens a socket that is there to be a member of groups.
func openGroup() (*os.File, syscall.RawConn, error) {
	return openSocket(unix.AF_INET6, unix.SOCK_DGRAM, 0, "nd groups", func(int) error { return nil })
}

func openSocket(domain, kind, protocol int, name string, prepare func(fd int) error) (*os.File, syscall.RawConn, error) {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, prioControl)
	if err := prepare(fd); err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, rc, nil
}
