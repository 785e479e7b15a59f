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

// ICMPv6 Parameter Problem, "unrecognized Next Header type encountered"
// (RFC 4443 §3.4): what a node that does not know the Mobility Header answers
// (RFC 6275 §11.3.5). Code 2, an unrecognized option, says nothing about the
// Mobility Header, and code 0 nothing at all.
const (
	icmpHeaderLen        = 8
	icmpParameterProblem = 4
	icmpUnknownHeader    = 1
)

// hostPacketsOnly accepts packets addressed to this host at the link layer: no
// outgoing, no overheard, no multicast ones (no signalling is ever sent to a
// group). The program that follows must end in a verdict.
func hostPacketsOnly() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
}

// signallingOnly accepts IPv6 packets whose Mobility Header comes first, or
// behind destination options headers or type 2 routing headers, two of them at
// most in any order. icmp: likewise the ICMPv6 messages of Mobile IPv6, and the
// Parameter Problems that refuse a Mobility Header. ipsec: likewise ESP that comes first
// with one of the spis, which are sorted, and all that comes behind these headers, so that
// what has the wrong SPI does not vanish without a word. Everything else with a Home
// Address option or a type 2 routing header is data, and must not be able to crowd out
// signalling. A load beyond the end of a packet rejects it.
func signallingOnly(icmp, ipsec bool, spis []uint32) []bpf.Instruction {
	program := []bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegX, Val: ipv6HeaderLen},
		bpf.LoadAbsolute{Off: offsetNextHeader, Size: 1},
	}
	program = append(program, extensionHeaderStep()...)
	program = append(program, extensionHeaderStep()...)
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: mip6.ProtocolMobility, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 18},
	)
	if ipsec {
		program = append(program, espStep(spis)...)
	}
	if icmp {
		program = append(program, icmpStep()...)
	}
	return append(program, bpf.RetConstant{Val: 0})
}

// extensionHeaderStep is part of a program: it begins and ends with the protocol
// of what stands at offset X in A, and passes over one extension header.
func extensionHeaderStep() []bpf.Instruction {
	return []bpf.Instruction{
		0: bpf.JumpIf{Cond: bpf.JumpEqual, Val: mip6.ProtocolDestination, SkipTrue: 4}, // 5
		1: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: mip6.ProtocolRouting, SkipTrue: 11}, // the end
		2: bpf.LoadIndirect{Off: 2, Size: 1},
		3: bpf.JumpIf{Cond: bpf.JumpEqual, Val: mip6.RoutingType2, SkipTrue: 1}, // 5
		4: bpf.RetConstant{Val: 0},
		// What follows, and where: the length is in units of 8 octets without the first.
		5:  bpf.LoadIndirect{Off: 0, Size: 1},
		6:  bpf.StoreScratch{Src: bpf.RegA, N: 0},
		7:  bpf.LoadIndirect{Off: 1, Size: 1},
		8:  bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 1},
		9:  bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 3},
		10: bpf.ALUOpX{Op: bpf.ALUOpAdd},
		11: bpf.TAX{},
		12: bpf.LoadScratch{Dst: bpf.RegA, N: 0},
	}
}

// mostExact is for how many SPIs a program has room in a socket (net.core.optmem_max).
const mostExact = 256

// espStep is part of a program: what stands at offset X has the protocol in A, and
// goes on with both if that is not ESP. Without a header before it the kernel's own IPsec
// may be busy with other SPIs, those of payload among them, which must not crowd out signalling: where there
// are too many of ours it takes all between the least and the greatest.
func espStep(spis []uint32) []bpf.Instruction {
	verdict := spiStep(spis)
	if len(spis) > mostExact {
		verdict = []bpf.Instruction{
			0: bpf.JumpIf{Cond: bpf.JumpLessThan, Val: spis[0], SkipTrue: 2}, // 3
			1: bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: spis[len(spis)-1], SkipTrue: 1},
			2: bpf.RetConstant{Val: 1 << 18},
			3: bpf.RetConstant{Val: 0},
		}
	}
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: mip6.ProtocolESP, SkipTrue: 1},
		bpf.Jump{Skip: uint32(4 + len(verdict))}, // the end
		bpf.TXA{},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ipv6HeaderLen, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.LoadIndirect{Off: 0, Size: 4},
	}, verdict...)
}

// spiStep accepts the packet whose SPI is in A if that is one of some that are sorted,
// and rejects it otherwise.
func spiStep(spis []uint32) (program []bpf.Instruction) {
	const few = 4
	if len(spis) > few {
		lower, upper := spiStep(spis[:len(spis)/2]), spiStep(spis[len(spis)/2:])
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: spis[len(spis)/2], SkipTrue: 1},
			bpf.Jump{Skip: uint32(len(lower))},
		)
		return append(append(program, lower...), upper...)
	}
	for _, spi := range spis {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: spi, SkipTrue: 1}, bpf.RetConstant{Val: 1 << 18})
	}
	return append(program, bpf.RetConstant{Val: 0})
}

// icmpStep is part of a program: what stands at offset X has the protocol in A.
func icmpStep() []bpf.Instruction {
	const (
		quoted       = icmpHeaderLen // the offending packet, in the message
		afterQuoted  = quoted + ipv6HeaderLen
		quotedHeader = quoted + offsetNextHeader
	)
	return []bpf.Instruction{
		0: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: mip6.ProtocolICMPv6, SkipTrue: 12}, // reject
		1: bpf.LoadIndirect{Off: 0, Size: 1},
		2: bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmpParameterProblem, SkipTrue: 3},                 // 6
		3: bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(mip6.ICMPHomeAgentRequest), SkipTrue: 9}, // reject
		4: bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: uint32(mip6.ICMPPrefixAdvertisement), SkipTrue: 8},
		5: bpf.RetConstant{Val: 1 << 18},
		6: bpf.LoadIndirect{Off: 1, Size: 1},
		7: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpUnknownHeader, SkipTrue: 5}, // reject
		// The packet that is refused, and what it begins with.
		8:  bpf.LoadIndirect{Off: quotedHeader, Size: 1},
		9:  bpf.JumpIf{Cond: bpf.JumpEqual, Val: mip6.ProtocolMobility, SkipTrue: 2}, // 12
		10: bpf.LoadIndirect{Off: afterQuoted, Size: 1},
		11: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: mip6.ProtocolMobility, SkipTrue: 1}, // reject
		12: bpf.RetConstant{Val: 1 << 18},
	}
}
