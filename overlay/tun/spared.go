package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/internal/sock"
)

// spared keeps packets that the kernel takes from the capture socket, in the kernel: a
// socket filter of eBPF that looks them up in a map. Everything else goes through it as
// through homeAddressesOnly, which costs less, and is there while the kernel takes none.
type spared struct {
	socket, device int
	keys, program  int
	kept           int // keys in the map
}

// spareKey is how a packet comes: its addresses, the one in the Home Address option and
// the one in the type 2 routing header, zero where there is none.
type spareKey struct{ source, destination, option, route [16]byte }

// openSpared makes the filter for a packet socket, and tries it there. The error wraps
// errors.ErrUnsupported where the kernel or the process may not do that.
func openSpared(socket, device int) (_ *spared, err error) {
	s := &spared{socket: socket, device: device, keys: -1, program: -1}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	create := struct{ kind, key, value, entries, flags uint32 }{unix.BPF_MAP_TYPE_HASH, uint32(unsafe.Sizeof(spareKey{})), 1, mostDelegated, unix.BPF_F_NO_PREALLOC}
	if s.keys, err = bpfCall(unix.BPF_MAP_CREATE, unsafe.Pointer(&create), unsafe.Sizeof(create)); err != nil {
		return nil, unableToSpare("map", err)
	}
	program, license := spareProgram(s.keys, device), []byte("GPL\x00")
	load := struct {
		kind, count    uint32
		code, license  uint64
		level, logSize uint32
		log            uint64
	}{kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: uint32(len(program) / 8),
		code: uint64(uintptr(unsafe.Pointer(&program[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	s.program, err = bpfCall(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
	runtime.KeepAlive(program)
	runtime.KeepAlive(license)
	if err != nil {
		return nil, unableToSpare("program", err)
	}
	if err := s.attach(); err != nil {
		return nil, unableToSpare("filter", err)
	}
	return s, s.detach()
}

// attach and detach put the one or the other filter in place of what the socket has.
func (s *spared) attach() error {
	return unix.SetsockoptInt(s.socket, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, s.program)
}

func (s *spared) detach() error {
	if err := sock.AttachFilter(s.socket, homeAddressesOnly(s.device)); err != nil {
		return openError("packet socket: filter", err)
	}
	return nil
}

// TrySpared tells whether the kernel has what keeps packets from the engine that a
// RoutePath takes: an error that wraps errors.ErrUnsupported, or what keeps that from being
// known.
func TrySpared() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return openError("packet socket", err)
	}
	defer unix.Close(fd)
	s, err := openSpared(fd, 0)
	if err != nil {
		return err
	}
	s.close()
	return nil
}

func unableToSpare(what string, err error) error {
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("eBPF %s for the packet socket: %w (%w): CONFIG_BPF_SYSCALL, CAP_BPF", what, errors.ErrUnsupported, err)
	}
	return fmt.Errorf("eBPF %s for the packet socket: %w", what, err)
}

// element is what bpf(2) takes to change an element of a map.
type element struct {
	fd         uint32
	_          uint32
	key, value uint64
	flags      uint64
}

func (s *spared) add(k spareKey) error {
	value := [1]byte{1}
	err := s.change(unix.BPF_MAP_UPDATE_ELEM, &k, &value)
	if err == nil && s.kept == 0 {
		if err = s.attach(); err != nil {
			_ = s.change(unix.BPF_MAP_DELETE_ELEM, &k, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("leave packets of an optimised route to the kernel: %w", err)
	}
	s.kept++
	return nil
}

// remove takes back a key that was added.
func (s *spared) remove(k spareKey) {
	_ = s.change(unix.BPF_MAP_DELETE_ELEM, &k, nil)
	if s.kept--; s.kept == 0 {
		_ = s.detach() // the other filter passes the same then
	}
}

func (s *spared) change(command uintptr, k *spareKey, value *[1]byte) error {
	e := element{fd: uint32(s.keys), key: uint64(uintptr(unsafe.Pointer(k))), value: uint64(uintptr(unsafe.Pointer(value)))}
	_, err := bpfCall(command, unsafe.Pointer(&e), unsafe.Sizeof(e))
	runtime.KeepAlive(k)
	runtime.KeepAlive(value)
	return err
}

func (s *spared) close() {
	for _, fd := range []int{s.keys, s.program} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func bpfCall(command uintptr, attributes unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attributes), size)
	if errno != 0 {
		return -1, os.NewSyscallError("bpf", errno)
	}
	return int(r), nil
}

// code is a program of eBPF under construction. Jumps name labels.
type code struct {
	b      []byte
	labels map[string]int
	jumps  map[int]string
}

func (c *code) op(op, dst, src uint8, off int16, imm int32) {
	c.b = append(c.b, op, src<<4|dst)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		c.b[len(c.b)-1] = dst<<4 | src // the halves of an octet follow its order
	}
	c.b = binary.NativeEndian.AppendUint16(c.b, uint16(off))
	c.b = binary.NativeEndian.AppendUint32(c.b, uint32(imm))
}

func (c *code) label(name string) { c.labels[name] = len(c.b) / 8 }

// jump compares a register with a number.
func (c *code) jump(op, dst uint8, imm int32, to string) {
	c.jumps[len(c.b)/8] = to
	c.op(unix.BPF_JMP|op|unix.BPF_K, dst, 0, 0, imm)
}

func (c *code) finish() []byte {
	for at, name := range c.jumps {
		binary.NativeEndian.PutUint16(c.b[8*at+2:], uint16(c.labels[name]-at-1))
	}
	return c.b
}

// spareProgram is the filter.
func spareProgram(keys, device int) []byte {
	const (
		r0, r1, r2, r3, r4, r5, r6, r10 = 0, 1, 2, 3, 4, 5, 6, 10
		packetType, interfaceIndex      = 4, 40 // in struct __sk_buff
		key                             = -64   // on the stack
		headers                         = key - 88
		move, lookup, loadRelative      = 0xb0, 1, 68
		fromNetwork                     = 1                // BPF_HDR_START_NET
		network                         = 1<<32 - 0x100000 // as homeAddressesOnly
		always, notEqual                = 0x00, 0x50
	)
	c := &code{labels: make(map[string]int), jumps: make(map[int]string)}
	imm := func(dst uint8, v int32) { c.op(unix.BPF_ALU64|move|unix.BPF_K, dst, 0, 0, v) }
	reg := func(dst, src uint8) { c.op(unix.BPF_ALU64|move|unix.BPF_X, dst, src, 0, 0) }
	stack := func(dst uint8, at int32) {
		reg(dst, r10)
		c.op(unix.BPF_ALU64|unix.BPF_ADD|unix.BPF_K, dst, 0, 0, at)
	}
	// get reads octets of the packet to the stack; a packet that is shorter goes on.
	get := func(from, at, n int32) {
		reg(r1, r6)
		imm(r2, from)
		stack(r3, at)
		imm(r4, n)
		imm(r5, fromNetwork)
		c.op(unix.BPF_JMP|unix.BPF_CALL, 0, 0, 0, loadRelative)
		c.jump(notEqual, r0, 0, "rest")
	}
	octet := func(at int16) { c.op(unix.BPF_LDX|unix.BPF_B|unix.BPF_MEM, r0, r10, headers+at, 0) }
	wants := func(at int16, v int32) {
		octet(at)
		c.jump(notEqual, r0, v, "rest")
	}
	// put copies an address of the headers to the key; from -1 it is zero.
	put := func(to, from int16) {
		for i := int16(0); i < 16; i += 8 {
			if from < 0 {
				imm(r0, 0)
			} else {
				c.op(unix.BPF_LDX|unix.BPF_DW|unix.BPF_MEM, r0, r10, headers+from+i, 0)
			}
			c.op(unix.BPF_STX|unix.BPF_DW|unix.BPF_MEM, r10, r0, key+to+i, 0)
		}
	}
	notFor := func(at int16, to string) { // what is left to others, or is signalling
		octet(at)
		for _, p := range []int32{protocolESP, protocolAH, protocolMobility} {
			c.jump(unix.BPF_JEQ, r0, p, to)
		}
	}
	reg(r6, r1)
	c.op(unix.BPF_LDX|unix.BPF_W|unix.BPF_MEM, r0, r6, packetType, 0)
	c.jump(notEqual, r0, unix.PACKET_HOST, "reject")
	c.op(unix.BPF_LDX|unix.BPF_W|unix.BPF_MEM, r0, r6, interfaceIndex, 0)
	c.jump(unix.BPF_JEQ, r0, int32(device), "reject")
	load := func(offset uint32) { c.op(unix.BPF_LD|unix.BPF_ABS|unix.BPF_B, 0, 0, 0, int32(network+offset)) }
	load(offsetNextHeader)
	c.jump(unix.BPF_JEQ, r0, protocolDestinationOptions, "look")
	c.jump(unix.BPF_JEQ, r0, protocolRouting, "look")
	c.jump(unix.BPF_JEQ, r0, protocolHopByHop, "rest")
	c.jump(always, r0, 0, "reject")

	c.label("look")
	get(0, headers, headerLength+homeHeaderLength)
	put(0, offsetSource)
	put(16, offsetDestination)
	octet(offsetNextHeader)
	c.jump(unix.BPF_JEQ, r0, protocolRouting, "routing")
	c.jump(notEqual, r0, protocolDestinationOptions, "rest")

	wants(41, homeHeaderLength/8-1)
	wants(46, optionHomeAddress)
	wants(47, 16)
	notFor(40, "rest")
	put(32, 48)
	put(48, -1)
	c.jump(always, r0, 0, "lookup")

	c.label("routing")
	wants(41, routeHeaderLength/8-1)
	wants(42, routingType2)
	wants(43, 1)
	put(48, 48)
	notFor(40, "rest")
	c.jump(unix.BPF_JEQ, r0, protocolDestinationOptions, "both")
	put(32, -1)
	c.jump(always, r0, 0, "lookup")

	c.label("both")
	get(headerLength+routeHeaderLength, headers+64, homeHeaderLength)
	wants(65, homeHeaderLength/8-1)
	wants(70, optionHomeAddress)
	wants(71, 16)
	notFor(64, "rest")
	put(32, 72)

	c.label("lookup")
	const mapByDescriptor = 1 // BPF_PSEUDO_MAP_FD
	c.op(unix.BPF_LD|unix.BPF_IMM|unix.BPF_DW, r1, mapByDescriptor, 0, int32(keys))
	c.op(0, 0, 0, 0, 0) // of two instructions
	stack(r2, key)
	c.op(unix.BPF_JMP|unix.BPF_CALL, 0, 0, 0, lookup)
	c.jump(notEqual, r0, 0, "reject")

	// What is not in the map: as homeAddressesOnly.
	c.label("rest")
	load(offsetDestination)
	c.jump(unix.BPF_JEQ, r0, 0xff, "reject")
	load(offsetNextHeader)
	c.jump(unix.BPF_JEQ, r0, protocolDestinationOptions, "first")
	c.jump(unix.BPF_JEQ, r0, protocolRouting, "first")
	c.jump(notEqual, r0, protocolHopByHop, "reject")
	load(headerLength)
	c.jump(unix.BPF_JEQ, r0, protocolDestinationOptions, "accept")
	c.jump(unix.BPF_JEQ, r0, protocolRouting, "accept")
	c.jump(always, r0, 0, "reject")
	c.label("first")
	load(headerLength)
	c.jump(unix.BPF_JEQ, r0, protocolMobility, "reject")
	c.label("accept")
	imm(r0, 1<<18)
	c.op(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0, 0)
	c.label("reject")
	imm(r0, 0)
	c.op(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0, 0)
	return c.finish()
}
