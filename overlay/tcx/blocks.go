// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

package tcx

import (
	"time"

	"github.com/cilium/ebpf/asm"

	"roam6/overlay"
)

// The blocks that both programs are made of.

// seenInterval is a little longer than the engine's interval, which would take a packet
// that comes a moment too early for the second one.
const seenInterval = overlay.TrafficInterval + 100*time.Millisecond

// version leaves a packet whose header, on the stack, is not IPv6.
func (p *program) version(header int16) {
	p.add(
		asm.LoadMem(asm.R2, asm.RFP, header, asm.Byte),
		asm.RSh.Imm(asm.R2, 4),
		asm.JNE.Imm(asm.R2, 6, leave),
	)
}

// length sets a register to the length that a header on the stack claims.
func (p *program) length(r asm.Register, header int16) {
	p.add(
		asm.LoadMem(r, asm.RFP, header+atPayload, asm.Half),
		asm.HostTo(asm.BE, r, asm.Half),
		asm.Add.Imm(r, headerLength),
	)
}

// common leaves the inner packets that are the engine's whatever tunnel they are of
// (tun.FastPath). The header and the four octets behind it are on the stack.
func (p *program) common(header int16) {
	// What has more headers before its payload, signalling, and another tunnel packet
	// (on an agent's side, too, because of the encapsulation limit).
	p.add(asm.LoadMem(asm.R2, asm.RFP, header+atNext, asm.Byte))
	for _, next := range []int32{
		protocolHopByHop, protocolRouting, protocolFragment, protocolDestinationOptions, protocolMobility, protocolIPv6,
	} {
		p.add(asm.JEq.Imm(asm.R2, next, leave))
	}
	// DHCPv6 of relays and servers (RFC 6276 §4).
	ports := p.fresh("ports")
	p.add(asm.JNE.Imm(asm.R2, protocolUDP, ports))
	for _, port := range []int16{0, 2} {
		p.add(asm.LoadMem(asm.R2, asm.RFP, header+atPorts+port, asm.Half), asm.JEq.Imm(asm.R2, networkOrder(dhcpServerPort), leave))
	}
	p.label(ports)
	// Addresses: multicast, link-local, and those of ::/64, among them the unspecified
	// one and loopback.
	for _, a := range []int16{header + atSource, header + atTarget} {
		next := p.fresh("address")
		p.add(
			asm.LoadMem(asm.R2, asm.RFP, a, asm.DWord),
			asm.JEq.Imm(asm.R2, 0, leave),
			asm.LoadMem(asm.R2, asm.RFP, a, asm.Byte),
			asm.JEq.Imm(asm.R2, 0xff, leave),
			asm.JNE.Imm(asm.R2, 0xfe, next),
			asm.LoadMem(asm.R2, asm.RFP, a+1, asm.Byte),
			asm.And.Imm(asm.R2, 0xc0),
			asm.JEq.Imm(asm.R2, 0x80, leave),
		)
		p.label(next)
	}
}

// match looks up the longest prefix that an address on the stack is in; R0 points to
// the number of its tunnel or is 0.
func (p *program) match(trie string, address int16) {
	p.add(asm.StoreImm(asm.RFP, atPrefix, 128, asm.Word))
	p.copy(asm.RFP, atPrefix+4, asm.RFP, address, 16)
	p.stack(asm.R2, atPrefix)
	p.lookup(trie)
}

// follow goes from the number of a tunnel, which R0 points to, to its path. Where there
// is none, or it was taken for another one's, the program goes on at a label.
func (p *program) follow(otherwise string) {
	p.add(asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.StoreMem(asm.RFP, atNumber, asm.R1, asm.Word))
	p.stack(asm.R2, atNumber)
	p.lookup(mapTunnels)
	p.add(
		asm.JEq.Imm(asm.R0, 0, otherwise),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.StoreMem(asm.RFP, atPath, asm.R1, asm.Word),
	)
	p.stack(asm.R2, atPath)
	p.lookup(mapPaths)
	p.add(
		asm.JEq.Imm(asm.R0, 0, otherwise),
		asm.Mov.Reg(path, asm.R0),
		asm.LoadMem(asm.R1, path, pathNumber, asm.Word),
		asm.LoadMem(asm.R2, asm.RFP, atNumber, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, otherwise),
	)
}

// equal goes on at a label unless two addresses are the same.
func (p *program) equal(a asm.Register, aOffset int16, b asm.Register, bOffset int16, otherwise string) {
	for i := int16(0); i < 16; i += 8 {
		p.add(
			asm.LoadMem(asm.R1, a, aOffset+i, asm.DWord),
			asm.LoadMem(asm.R2, b, bOffset+i, asm.DWord),
			asm.JNE.Reg(asm.R1, asm.R2, otherwise),
		)
	}
}

// segments finds out about an aggregate: how many packets it becomes, how many octets
// of headers each of them begins with, and the length of the largest (in part). Only
// those of TCP can get or lose a header without being taken apart.
func (p *program) segments(header int16, inner int32) {
	p.add(
		asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, atHeaders, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R1, 1), asm.StoreMem(asm.RFP, atSegments, asm.R1, asm.DWord),
		asm.Mov.Reg(part, size),
		asm.LoadMem(asm.R2, ctx, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "segments"),
		asm.LoadMem(asm.R1, asm.RFP, header+atNext, asm.Byte),
		asm.JNE.Imm(asm.R1, protocolTCP, leave),
	)
	const dataOffset = 12 // in the TCP header: its length in words, and four other bits
	p.load(inner+headerLength+dataOffset, atScratch, 1)
	p.add(
		asm.LoadMem(asm.R1, asm.RFP, atScratch, asm.Byte),
		asm.RSh.Imm(asm.R1, 4),
		asm.LSh.Imm(asm.R1, 2),
		asm.Add.Imm(asm.R1, headerLength),
		asm.StoreMem(asm.RFP, atHeaders, asm.R1, asm.DWord),
		asm.JLE.Reg(size, asm.R1, leave),
		// (size - headers) / segment, rounded up
		asm.LoadMem(asm.R2, ctx, skbGSOSize, asm.Word),
		asm.Mov.Reg(asm.R3, size),
		asm.Sub.Reg(asm.R3, asm.R1),
		asm.Add.Reg(asm.R3, asm.R2),
		asm.Sub.Imm(asm.R3, 1),
		asm.Div.Reg(asm.R3, asm.R2),
		asm.StoreMem(asm.RFP, atSegments, asm.R3, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.JGE.Reg(asm.R1, size, "segments"),
		asm.Mov.Reg(part, asm.R1),
	)
	p.label("segments")
}

// watch leaves the first packet of a pair in an interval where the tunnel is watched and
// an address on the stack is its home address. header is that of the inner packet.
func (p *program) watch(header, address int16) {
	fresh, known := p.fresh("fresh"), p.fresh("known")
	p.add(
		asm.LoadMem(asm.R1, path, pathFlags, asm.Word),
		asm.And.Imm(asm.R1, flagWatch),
		asm.JEq.Imm(asm.R1, 0, fresh),
	)
	p.equal(asm.RFP, address, path, pathHome, fresh)
	p.add(asm.FnKtimeGetNs.Call(), asm.StoreMem(asm.RFP, atScratch, asm.R0, asm.DWord))
	p.stack(asm.R2, header+atSource)
	p.lookup(mapSeen)
	p.add(
		asm.JNE.Imm(asm.R0, 0, known),
		asm.LoadMapPtr(asm.R1, p.maps[mapSeen]),
	)
	p.stack(asm.R2, header+atSource)
	p.stack(asm.R3, atScratch)
	p.add(asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call(), asm.Ja.Label(leave))
	p.label(known)
	p.add(
		asm.LoadMem(asm.R1, asm.RFP, atScratch, asm.DWord),
		asm.LoadMem(asm.R2, asm.R0, 0, asm.DWord),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Sub.Reg(asm.R3, asm.R2),
		asm.LoadImm(asm.R2, int64(seenInterval), asm.DWord),
		asm.JLT.Reg(asm.R3, asm.R2, fresh),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Ja.Label(leave),
	)
	p.label(fresh)
}

// state finds what this processor has of the tunnel, and makes it with the first packet.
// What is on the stack for the tries and for routing is lost.
func (p *program) state() {
	p.stack(asm.R2, atNumber)
	p.lookup(mapStates)
	p.add(asm.JNE.Imm(asm.R0, 0, "state"), asm.Mov.Imm(asm.R1, 0))
	for i := int16(0); i < stateSize; i += 8 {
		p.add(asm.StoreMem(asm.RFP, atFIB+i, asm.R1, asm.DWord))
	}
	p.add(asm.LoadMapPtr(asm.R1, p.maps[mapStates]))
	p.stack(asm.R2, atNumber)
	p.stack(asm.R3, atFIB)
	p.add(asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call())
	p.stack(asm.R2, atNumber)
	p.lookup(mapStates)
	p.add(asm.JEq.Imm(asm.R0, 0, leave))
	p.label("state")
	p.add(asm.StoreMem(asm.RFP, atState, asm.R0, asm.DWord))
}

// count adds the packets to a counter of the state.
func (p *program) count(counter int16) {
	p.add(
		asm.LoadMem(asm.R0, asm.RFP, atState, asm.DWord),
		// packets in R4; octets in R5: (packets - 1) × headers more than there are
		asm.LoadMem(asm.R4, asm.RFP, atSegments, asm.DWord),
		asm.LoadMem(asm.R3, asm.RFP, atHeaders, asm.DWord),
		asm.Mov.Reg(asm.R5, asm.R4),
		asm.Sub.Imm(asm.R5, 1),
		asm.Mul.Reg(asm.R5, asm.R3),
		asm.Add.Reg(asm.R5, size),
		asm.LoadMem(asm.R1, asm.R0, counter, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R4),
		asm.StoreMem(asm.R0, counter, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R0, counter+8, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R5),
		asm.StoreMem(asm.R0, counter+8, asm.R1, asm.DWord),
	)
}

// switched goes on at a label unless a switch is on.
func (p *program) switched(place int32, otherwise string) {
	p.add(asm.StoreImm(asm.RFP, atScratch, int64(place), asm.Word))
	p.stack(asm.R2, atScratch)
	p.lookup(mapSwitches)
	p.add(
		asm.JEq.Imm(asm.R0, 0, otherwise),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.JEq.Imm(asm.R1, 0, otherwise),
	)
}
