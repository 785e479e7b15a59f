// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

package tcx

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Flags of bpf_skb_adjust_room, and its mode: room directly behind the link layer
// header.
const (
	roomAtMAC        = 1      // BPF_ADJ_ROOM_MAC
	roomFixedGSO     = 1 << 0 // the packets of an aggregate keep their size
	roomEncapsulates = 1 << 2 // BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
	roomDecapsulates = 1 << 8 // BPF_F_ADJ_ROOM_DECAP_L3_IPV6
)

// struct bpf_fib_lookup, and what bpf_fib_lookup returns and takes for flags.
const (
	fibFamily, fibProtocol, fibLength, fibLink, fibSource, fibTarget, fibMark = 0, 1, 6, 8, 16, 32, 52
	fibSize                                                                   = 64

	fibFound, fibNotForwarding, fibNoNeighbor = 0, 5, 7
	fibOutput, fibWithMark                    = 1 << 1, 1 << 5
)

// struct bpf_redir_neigh
const neighborSize = 20

const (
	outerHopLimit  = 64 // RFC 2473 §6.3
	ethernetLength = 14
)

// setting is what is fixed in the programs.
type setting struct {
	device         int32 // interface index of the TUN device
	mark, markMask uint32
	routeByMark    bool // bpf_fib_lookup knows marks (Linux 6.10)
}

// egress is the program of what the kernel routes into the device. l2 is 0 there.
func (s setting) egress(l2 int32, maps map[string]int) asm.Instructions {
	p := &program{maps: maps, l2: l2}
	p.begin()

	// The packet, whole: its header says how long it is.
	p.load(0, atInner, headerLength+4)
	p.version(atInner)
	p.length(size, atInner)
	p.add(
		asm.JGT.Imm(size, 1<<16-1, leave), // no room in the outer header's length
		asm.LoadMem(asm.R3, ctx, skbLen, asm.Word),
		asm.Sub.Imm(asm.R3, l2),
		asm.JNE.Reg(size, asm.R3, leave),
	)
	p.common(atInner)

	// Optimised routes are the engine's.
	p.switched(switchPairs, "no pair")
	p.stack(asm.R2, atInner+atSource)
	p.lookup(mapPairs)
	p.add(asm.JNE.Imm(asm.R0, 0, leave))
	p.label("no pair")

	// The tunnel: an agent's by the inner destination, a mobile's by the inner source.
	p.match(mapAgent, atInner+atTarget)
	p.add(asm.JNE.Imm(asm.R0, 0, "tunnel"))
	p.match(mapMobile, atInner+atSource)
	p.add(asm.JEq.Imm(asm.R0, 0, leave))
	p.label("tunnel")
	p.follow(leave)

	// It fits: otherwise the engine fragments or answers.
	p.segments(atInner, 0)
	p.add(
		asm.Add.Imm(part, headerLength),
		asm.LoadMem(asm.R3, path, pathMTU, asm.Word),
		asm.JGT.Reg(part, asm.R3, leave),
	)
	p.watch(atInner, atInner+atSource)
	p.state()
	p.way(s)

	// A hash of what makes the inner flow is the flow label (RFC 6438 §3).
	p.add(
		asm.Mov.Reg(asm.R1, ctx),
		asm.FnGetHashRecalc.Call(),
		asm.And.Imm(asm.R0, 0xfffff),
		asm.StoreMem(asm.RFP, atLabel, asm.R0, asm.Word),
	)

	// Room for the header. It fails where the packet is in a tunnel of the kernel's.
	p.add(
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, headerLength),
		asm.Mov.Imm(asm.R3, roomAtMAC),
		asm.Mov.Imm(asm.R4, roomFixedGSO|roomEncapsulates),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, leave),
	)

	// The header (RFC 2473 §5.1). Its traffic class is the inner one's, ECN field and all
	// (RFC 6040 §4.1, normal mode).
	p.add(
		asm.LoadMem(asm.R1, asm.RFP, atInner, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.And.Imm(asm.R1, 0x0ff00000),
		asm.Or.Imm(asm.R1, 6<<28),
		asm.LoadMem(asm.R2, asm.RFP, atLabel, asm.Word),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, atOuter, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R1, size),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.RFP, atOuter+atPayload, asm.R1, asm.Half),
		asm.StoreImm(asm.RFP, atOuter+atNext, protocolIPv6, asm.Byte),
		asm.StoreImm(asm.RFP, atOuter+atNext+1, outerHopLimit, asm.Byte),
	)
	p.copy(asm.RFP, atOuter+atSource, path, pathLocal, 16)
	p.copy(asm.RFP, atOuter+atTarget, path, pathRemote, 16)
	p.add(asm.Mov.Reg(asm.R1, ctx), asm.Mov.Imm(asm.R2, l2))
	p.stack(asm.R3, atOuter)
	p.add(
		asm.Mov.Imm(asm.R4, headerLength),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, drop),
	)

	// The engine's mark; other bits stay as they are.
	p.add(
		asm.LoadMem(asm.R1, ctx, skbMark, asm.Word),
		asm.And.Imm32(asm.R1, int32(^s.markMask)),
		asm.Or.Imm32(asm.R1, int32(s.mark)),
		asm.StoreMem(ctx, skbMark, asm.R1, asm.Word),
	)

	// bpf_redirect_neigh replaces an Ethernet header, so that there has to be one.
	if l2 == 0 {
		p.add(
			asm.Mov.Reg(asm.R1, ctx),
			asm.Mov.Imm(asm.R2, ethernetLength),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnSkbChangeHead.Call(),
			asm.JNE.Imm(asm.R0, 0, drop),
		)
	}
	p.count(stateEncap)

	// Out by the link, to the next hop.
	p.add(
		asm.StoreImm(asm.RFP, atNeighbor, unix.AF_INET6, asm.Word),
		asm.LoadMem(asm.R3, asm.RFP, atState, asm.DWord),
	)
	p.copy(asm.RFP, atNeighbor+4, asm.R3, stateNextHop, 16)
	p.add(asm.LoadMem(asm.R1, asm.R3, stateLink, asm.Word))
	p.stack(asm.R2, atNeighbor)
	p.add(asm.Mov.Imm(asm.R3, neighborSize), asm.Mov.Imm(asm.R4, 0), asm.FnRedirectNeigh.Call(), asm.Return())
	p.noRoom()
	p.end()
	return p.Instructions
}

// way sees to it that the state has the way of the packet. What was found in this tick
// serves again. part is the length of the largest tunnel packet.
func (p *program) way(s setting) {
	p.add(
		asm.FnJiffies64.Call(),
		asm.StoreMem(asm.RFP, atTick, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, atState, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, stateTick, asm.DWord),
		asm.JNE.Reg(asm.R0, asm.R2, "look"),
		asm.LoadMem(asm.R2, asm.R1, statePath, asm.Word),
		asm.LoadMem(asm.R3, asm.RFP, atPath, asm.Word),
		asm.JNE.Reg(asm.R2, asm.R3, "look"),
		asm.LoadMem(asm.R2, asm.R1, stateMTU, asm.Word),
		asm.JLE.Reg(part, asm.R2, "way"),
	)

	// The path begins at an address of this node, still.
	p.label("look")
	p.add(asm.Mov.Reg(asm.R2, path), asm.Add.Imm(asm.R2, int32(pathLocal)))
	p.lookup(mapLocals)
	p.add(asm.JEq.Imm(asm.R0, 0, leave))
	p.route(s)
	p.add(
		asm.LoadMem(asm.R3, asm.RFP, atState, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, atTick, asm.DWord),
		asm.StoreMem(asm.R3, stateTick, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, atPath, asm.Word),
		asm.StoreMem(asm.R3, statePath, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, atFIB+fibLink, asm.Word),
		asm.StoreMem(asm.R3, stateLink, asm.R1, asm.Word),
		// The length has become the MTU of the route, or it is as it was.
		asm.LoadMem(asm.R1, asm.RFP, atFIB+fibLength, asm.Half),
		asm.StoreMem(asm.R3, stateMTU, asm.R1, asm.Word),
	)
	p.copy(asm.R3, stateNextHop, asm.RFP, atFIB+fibTarget, 16)
	p.label("way")
}

// route finds the link that the packet leaves by and the next hop there. part is the
// length of the largest tunnel packet.
//
// The engine's socket is bound to the link of a path, so that no other route counts than
// those of this link. The look-up only prefers it. Where the best route is by another
// one the packet is left; it is not where each care-of address has a route of its own.
func (p *program) route(s setting) {
	for i := int16(0); i < fibSize; i += 8 {
		p.add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(asm.RFP, atFIB+i, asm.R5, asm.DWord))
	}
	p.add(
		asm.StoreImm(asm.RFP, atFIB+fibFamily, unix.AF_INET6, asm.Byte),
		asm.StoreImm(asm.RFP, atFIB+fibProtocol, protocolIPv6, asm.Byte),
		asm.StoreMem(asm.RFP, atFIB+fibLength, part, asm.Half),
	)
	p.copy(asm.RFP, atFIB+fibSource, path, pathLocal, 32) // and Remote
	flags := int32(0)
	if s.routeByMark {
		flags |= fibWithMark
		p.add(asm.Mov.Imm32(asm.R1, int32(s.mark)), asm.StoreMem(asm.RFP, atFIB+fibMark, asm.R1, asm.Word))
	}

	// As if sent by the link of the path. A host that does not forward there has no such
	// look-up: then, and for a path without a link, as if forwarded from the device.
	p.add(asm.LoadMem(asm.R2, path, pathLink, asm.Word), asm.JEq.Imm(asm.R2, 0, "forwarded"))
	p.look(flags | fibOutput)
	p.add(asm.JNE.Imm(asm.R0, fibNotForwarding, "looked"))
	p.label("forwarded")
	p.add(asm.Mov.Imm(asm.R2, s.device))
	p.look(flags)

	// Where there is no route, or one that takes less than this packet, the engine knows
	// what to do. A next hop whose link-layer address is not known yet is asked for it
	// when the packet is on its way.
	p.label("looked")
	p.add(
		asm.JEq.Imm(asm.R0, fibFound, "found"),
		asm.JNE.Imm(asm.R0, fibNoNeighbor, leave),
	)
	p.label("found")
	p.add(
		asm.LoadMem(asm.R1, asm.RFP, atFIB+fibLink, asm.Word),
		asm.JEq.Imm(asm.R1, s.device, leave), // round and round
		asm.LoadMem(asm.R2, path, pathLink, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "routed"),
		asm.JNE.Reg(asm.R1, asm.R2, leave),
	)
	p.label("routed")
}

// look looks a route up; R2 is the interface to begin with, R0 the result.
func (p *program) look(flags int32) {
	p.add(asm.StoreMem(asm.RFP, atFIB+fibLink, asm.R2, asm.Word), asm.Mov.Reg(asm.R1, ctx))
	p.stack(asm.R2, atFIB)
	p.add(asm.Mov.Imm(asm.R3, fibSize), asm.Mov.Imm(asm.R4, flags), asm.FnFibLookup.Call())
}
