// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

package tcx

import "github.com/cilium/ebpf/asm"

const (
	packetHost = 0 // PACKET_HOST
	intoDevice = 1 // BPF_F_INGRESS

	ecnECT1, ecnCE = 0b01, 0b11
)

// ingress is the program of what comes in by a link with so many octets of link layer
// header. Tunnel packets, tested, continue in the device as if user space had written
// them there.
func (s setting) ingress(l2 int32, maps map[string]int) asm.Instructions {
	p := &program{maps: maps, l2: l2}
	p.begin()

	// To this node, and not to a VLAN of the link, which is another one.
	p.add(
		asm.LoadMem(asm.R2, ctx, skbPacketType, asm.Word),
		asm.JNE.Imm(asm.R2, packetHost, leave),
		asm.LoadMem(asm.R2, ctx, skbVLANPresent, asm.Word),
		asm.JNE.Imm(asm.R2, 0, leave),
	)

	// IPv6 in IPv6 without other headers in between, and the lengths fit. Most packets are
	// none of that: mostly their header can be looked at where it is.
	p.add(
		asm.LoadMem(asm.R2, ctx, skbData, asm.Word),
		asm.LoadMem(asm.R3, ctx, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, l2+headerLength),
		asm.JGT.Reg(asm.R4, asm.R3, "scattered"),
		asm.LoadMem(asm.R4, asm.R2, int16(l2)+atNext, asm.Byte),
		asm.JNE.Imm(asm.R4, protocolIPv6, leave),
	)
	p.label("scattered")
	p.load(0, atOuter, 2*headerLength+4)
	p.version(atOuter)
	p.add(asm.LoadMem(asm.R2, asm.RFP, atOuter+atNext, asm.Byte), asm.JNE.Imm(asm.R2, protocolIPv6, leave))
	p.version(atInner)
	p.length(size, atOuter)
	p.add(
		asm.LoadMem(asm.R3, ctx, skbLen, asm.Word),
		asm.Sub.Imm(asm.R3, l2),
		asm.JNE.Reg(size, asm.R3, leave),
		asm.Sub.Imm(size, headerLength),
	)
	p.length(asm.R3, atInner)
	p.add(asm.JNE.Reg(size, asm.R3, leave))

	// Congestion marks (RFC 6040 §4.2): those that would change the inner header are the
	// engine's.
	p.ecn(asm.R2, atOuter)
	p.ecn(asm.R3, atInner)
	p.add(
		asm.JEq.Imm(asm.R2, ecnCE, leave),
		asm.JNE.Imm(asm.R2, ecnECT1, "unmarked"),
		asm.JNE.Imm(asm.R3, ecnECT1, leave),
	)
	p.label("unmarked")
	p.common(atInner)

	// The tunnel that the packet came out of, and whether it may come from there: a
	// mobile's by the inner destination (RFC 6275 §11.3), an agent's by the inner source
	// (RFC 6275 §10.4.5, RFC 3963 §9).
	p.match(mapMobile, atInner+atTarget)
	p.add(asm.JEq.Imm(asm.R0, 0, "agent"))
	p.follow("agent")
	p.from("agent")
	p.watch(atInner, atInner+atTarget)
	p.add(asm.Ja.Label("accepted"))

	p.label("agent")
	p.match(mapAgent, atInner+atSource)
	p.add(asm.JEq.Imm(asm.R0, 0, leave))
	p.follow(leave)
	p.from(leave)

	// To an address of this node, still: otherwise no socket would get it.
	p.label("accepted")
	p.stack(asm.R2, atOuter+atTarget)
	p.lookup(mapLocals)
	p.add(asm.JEq.Imm(asm.R0, 0, leave))
	p.segments(atInner, headerLength)

	// Aggregates are the engine's where a network card could take them for tunnel packets
	// on their way out (offload.go).
	p.add(asm.LoadMem(asm.R1, ctx, skbGSOSize, asm.Word), asm.JEq.Imm(asm.R1, 0, "whole"))
	p.switched(switchAggregates, "whole")
	p.add(asm.Ja.Label(leave))

	// The device takes it.
	p.label("whole")
	p.add(asm.Mov.Imm(asm.R2, s.device))
	p.linkMTU(leave)
	p.add(asm.JGT.Reg(part, asm.R1, leave))
	p.state()

	// Off with the header. Older kernels do not know the flag, newer ones forget by it
	// that the packets of an aggregate were in a tunnel.
	for _, flags := range []int32{roomFixedGSO | roomDecapsulates, roomFixedGSO} {
		p.add(
			asm.Mov.Reg(asm.R1, ctx),
			asm.Mov.Imm(asm.R2, -headerLength),
			asm.Mov.Imm(asm.R3, roomAtMAC),
			asm.Mov.Imm(asm.R4, flags),
			asm.FnSkbAdjustRoom.Call(),
			asm.JEq.Imm(asm.R0, 0, "bare"),
		)
	}
	p.add(asm.Ja.Label(leave))
	p.label("bare")
	p.count(stateDecap)
	p.add(asm.Mov.Imm(asm.R1, s.device), asm.Mov.Imm(asm.R2, intoDevice), asm.FnRedirect.Call(), asm.Return())
	p.end()
	return p.Instructions
}

// from goes on at a label unless the tunnel header has the addresses of an end.
func (p *program) from(otherwise string) {
	right := p.fresh("right")
	for i := range int16(mostEnds) {
		next := otherwise
		if i < mostEnds-1 {
			next = p.fresh("end")
		}
		// From and To follow each other, as source and destination do.
		p.equal(asm.RFP, atOuter+atSource, path, pathEnds+i*endSize, next)
		p.equal(asm.RFP, atOuter+atTarget, path, pathEnds+i*endSize+16, next)
		if i < mostEnds-1 {
			p.add(asm.Ja.Label(right))
			p.label(next)
		}
	}
	p.label(right)
}

// ecn sets a register to the ECN field of a header on the stack.
func (p *program) ecn(r asm.Register, header int16) {
	p.add(asm.LoadMem(r, asm.RFP, header+1, asm.Byte), asm.RSh.Imm(r, 4), asm.And.Imm(r, ecnCE))
}

// linkMTU sets R1 to the MTU of the interface in R2. The program goes on at a label
// where there is no such interface.
func (p *program) linkMTU(otherwise string) {
	p.add(asm.Mov.Reg(asm.R1, ctx), asm.StoreImm(asm.RFP, atScratch, 0, asm.Word))
	p.stack(asm.R3, atScratch)
	p.add(
		asm.Mov.Imm(asm.R4, 0),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnCheckMtu.Call(),
		asm.JSLT.Imm(asm.R0, 0, otherwise),
		asm.LoadMem(asm.R1, asm.RFP, atScratch, asm.Word),
	)
}
