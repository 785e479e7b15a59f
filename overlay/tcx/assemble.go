// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

package tcx

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// Registers that keep their value across calls of helpers.
const (
	ctx  = asm.R6 // struct __sk_buff
	path = asm.R7 // pathValue of the tunnel
	size = asm.R8 // of the inner packet, octets
	part = asm.R9 // of the inner packet, or the largest packet that an aggregate becomes
)

// Places on the stack, the same in both programs. Addresses are at multiples of eight.
const (
	atInner    = -48            // header of the inner packet and four octets more
	atOuter    = atInner - 40   // header of the tunnel packet, directly before the inner one
	atPrefix   = atOuter - 24   // key of the tries
	atFIB      = atPrefix - 64  // struct bpf_fib_lookup
	atNeighbor = atFIB - 24     // struct bpf_redir_neigh
	atNumber   = atNeighbor - 8 // of the tunnel
	atSegments = atNumber - 8   // packets in an aggregate
	atHeaders  = atSegments - 8 // octets of headers that each of them has
	atLabel    = atHeaders - 8  // flow label
	atState    = atLabel - 8    // pointer to the stateValue
	atTick     = atState - 8    // of the kernel's clock
	atPath     = atTick - 8     // number of the path
	atScratch  = atPath - 8     // of one block
)

// Offsets in struct __sk_buff.
const (
	skbLen         = 0
	skbPacketType  = 4
	skbMark        = 8
	skbProtocol    = 16
	skbVLANPresent = 20
	skbData        = 76
	skbDataEnd     = 80
	skbGSOSize     = 176
)

// Offsets in the IPv6 header.
const (
	headerLength = 40
	atPayload    = 4
	atNext       = 6
	atSource     = 8
	atTarget     = 24
	atPorts      = headerLength
)

// Next header values.
const (
	protocolHopByHop           = 0
	protocolTCP                = 6
	protocolUDP                = 17
	protocolIPv6               = 41
	protocolRouting            = 43
	protocolFragment           = 44
	protocolDestinationOptions = 60
	protocolMobility           = 135
	dhcpServerPort             = 547
)

// What a program returns (include/uapi/linux/bpf.h, enum tcx_action_base). With leave
// the packet goes on to whoever is next: another program, then the stack or device.
const (
	actionLeave = -1
	actionDrop  = 2
)

// Labels of the ends of a program.
const (
	leave = "leave" // the packet is the engine's, and unchanged
	drop  = "drop"  // no memory; the packet is half changed
)

// program is one under construction.
type program struct {
	asm.Instructions
	maps   map[string]int // file descriptors by name
	l2     int32          // octets of link layer header before the packet
	target string         // label of the next instruction
	labels int
}

// add appends instructions.
func (p *program) add(all ...asm.Instruction) {
	for _, i := range all {
		if p.target != "" {
			i, p.target = i.WithSymbol(p.target), ""
		}
		p.Instructions = append(p.Instructions, i)
	}
}

// label names the next instruction. One that has a name already goes on there.
func (p *program) label(name string) {
	if p.target != "" {
		p.add(asm.Ja.Label(name))
	}
	p.target = name
}

// fresh makes a label that is not used yet.
func (p *program) fresh(name string) string {
	p.labels++
	return fmt.Sprintf("%s-%d", name, p.labels)
}

// stack sets a register to an address on the stack.
func (p *program) stack(r asm.Register, offset int16) {
	p.add(asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, int32(offset)))
}

// lookup looks a key up that R2 points to; R0 points to the value or is 0.
func (p *program) lookup(name string) {
	p.add(asm.LoadMapPtr(asm.R1, p.maps[name]), asm.FnMapLookupElem.Call())
}

// copy copies octets, a multiple of four, word by word through R1.
func (p *program) copy(to asm.Register, toOffset int16, from asm.Register, fromOffset int16, octets int16) {
	for i := int16(0); i < octets; i += 4 {
		p.add(asm.LoadMem(asm.R1, from, fromOffset+i, asm.Word), asm.StoreMem(to, toOffset+i, asm.R1, asm.Word))
	}
}

// begin saves the context and leaves what is no IPv6 packet.
func (p *program) begin() {
	p.add(
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(asm.R2, ctx, skbProtocol, asm.Word),
		asm.JNE.Imm(asm.R2, networkOrder(0x86dd), leave),
	)
}

// end is what all programs end with.
func (p *program) end() {
	p.label(leave)
	p.add(asm.Mov.Imm(asm.R0, actionLeave), asm.Return())
}

// noRoom counts and drops a packet that there was no memory for when it was half changed.
func (p *program) noRoom() {
	p.label(drop)
	p.add(asm.StoreImm(asm.RFP, atScratch, dropNoRoom, asm.Word))
	p.stack(asm.R2, atScratch)
	p.lookup(mapDrops)
	p.add(
		asm.JEq.Imm(asm.R0, 0, "dropped"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
	)
	p.label("dropped")
	p.add(asm.Mov.Imm(asm.R0, actionDrop), asm.Return())
}

// load copies octets of the packet, beginning behind the link layer header, to the
// stack. A packet that is shorter is left.
func (p *program) load(from int32, to int16, octets int32) {
	p.add(asm.Mov.Reg(asm.R1, ctx), asm.Mov.Imm(asm.R2, p.l2+from))
	p.stack(asm.R3, to)
	p.add(asm.Mov.Imm(asm.R4, octets), asm.FnSkbLoadBytes.Call(), asm.JNE.Imm(asm.R0, 0, leave))
}

// networkOrder is a number of two octets as it stands in a packet, loaded from there.
func networkOrder(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}
