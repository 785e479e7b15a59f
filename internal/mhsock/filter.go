package mhsock

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/mip6"
)

// Offsets from the start of the IPv6 header, where a SOCK_DGRAM packet socket
// begins.
const (
	ipv6HeaderLen     = 40
	offsetNextHeader  = 6
	offsetSource      = 8
	offsetDestination = 24
)

// hostPacketsOnly accepts packets addressed to this host at the link layer: no
// outgoing, no overheard, no multicast ones (no Mobility Header is ever sent to
// a group). The program that follows must end in a verdict.
func hostPacketsOnly() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
}

// mobilityHeadersOnly accepts IPv6 packets whose Mobility Header comes first,
// or behind a destination options header, a type 2 routing header, or one of
// each in either order. Everything else with a Home Address option or a type 2
// routing header is data, and must not be able to crowd out signalling. A load
// beyond the end of a packet rejects it.
func mobilityHeadersOnly() []bpf.Instruction {
	const (
		mobility    = mip6.ProtocolMobility
		destination = mip6.ProtocolDestination
		routing     = mip6.ProtocolRouting
	)
	return []bpf.Instruction{
		0: bpf.LoadAbsolute{Off: offsetNextHeader, Size: 1},
		1: bpf.JumpIf{Cond: bpf.JumpEqual, Val: mobility, SkipTrue: 17},   // accept
		2: bpf.JumpIf{Cond: bpf.JumpEqual, Val: destination, SkipTrue: 7}, // 10
		3: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: routing, SkipTrue: 16}, // reject
		// Routing header: type, then what follows.
		4: bpf.LoadAbsolute{Off: ipv6HeaderLen + 2, Size: 1},
		5: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: mip6.RoutingType2, SkipTrue: 14}, // reject
		6: bpf.LoadAbsolute{Off: ipv6HeaderLen, Size: 1},
		7: bpf.JumpIf{Cond: bpf.JumpEqual, Val: mobility, SkipTrue: 11}, // accept
		8: bpf.JumpIf{Cond: bpf.JumpEqual, Val: destination, SkipTrue: 4},
		9: bpf.RetConstant{Val: 0},
		// Destination options header: what follows.
		10: bpf.LoadAbsolute{Off: ipv6HeaderLen, Size: 1},
		11: bpf.JumpIf{Cond: bpf.JumpEqual, Val: mobility, SkipTrue: 7},    // accept
		12: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: routing, SkipTrue: 7},  // reject
		13: bpf.LoadAbsolute{Off: ipv6HeaderLen + 1, Size: 1},              // length of the first
		14: bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 1},                    // extension header
		15: bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 3},              // in octets
		16: bpf.TAX{},                                                      //
		17: bpf.LoadIndirect{Off: ipv6HeaderLen, Size: 1},                  // next header of the second
		18: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: mobility, SkipTrue: 1}, // reject
		19: bpf.RetConstant{Val: 1 << 18},
		20: bpf.RetConstant{Val: 0},
	}
}
