package tun

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passes runs the filter on a packet that comes in by the loopback interface, to the link-layer
// address of nobody else.
func (s *spared) passes(t *testing.T, packet []byte) bool {
	t.Helper()
	frame := slices.Concat(make([]byte, 12), []byte{0x86, 0xdd}, packet)
	run := struct {
		program, result  uint32
		sizeIn, sizeOut  uint32
		in, out          uint64
		repeat, duration uint32
	}{program: uint32(s.program), sizeIn: uint32(len(frame)), in: uint64(uintptr(unsafe.Pointer(&frame[0])))}
	_, err := bpfCall(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&run), unsafe.Sizeof(run))
	runtime.KeepAlive(frame)
	if err != nil {
		t.Fatalf("run the filter: %v", err)
	}
	return run.result != 0
}

// The filter keeps from the engine data whose headers are where everybody places them,
// where there is a key for their addresses, and what is not for the engine anyhow; all else
// comes through.
func TestSpared(t *testing.T) {
	const loopback, elsewhere = 1, 1000
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs CAP_NET_RAW: %v", err)
	}
	defer unix.Close(socket)
	s, err := openSpared(socket, elsewhere)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()

	option := func(next uint8) []byte {
		return extension(next, slices.Concat([]byte{1, 2, 0, 0, 0xc9, 16}, farHome.AsSlice())...)
	}
	route := func(next, segments uint8) []byte {
		return extension(next, slices.Concat([]byte{2, segments, 0, 0, 0, 0}, home.AsSlice())...)
	}
	packet := func(from, to netip.Addr, first uint8, headers ...[]byte) []byte {
		return ipv6(from, to, first, slices.Concat(append(headers, make([]byte, 8))...))
	}
	longer := extension(17, slices.Concat([]byte{1, 2, 0, 0, 0xc9, 16}, farHome.AsSlice(), []byte{1, 6, 0, 0, 0, 0, 0, 0})...)
	const udp = 17
	byOption := spareKey{source: farCareOf.As16(), destination: correspondent.As16(), option: farHome.As16()}
	byRoute := spareKey{source: correspondent.As16(), destination: careOf.As16(), route: home.As16()}
	byBoth := spareKey{source: farCareOf.As16(), destination: careOf.As16(), option: farHome.As16(), route: home.As16()}
	for _, test := range []struct {
		name    string
		packet  []byte
		without bool // passes without keys
		with    bool // passes with them
	}{
		{"option", packet(farCareOf, correspondent, 60, option(udp)), true, false},
		{"routing header", packet(correspondent, careOf, 43, route(udp, 1)), true, false},
		{"both", packet(farCareOf, careOf, 43, route(60, 1), option(udp)), true, false},
		{"option from elsewhere", packet(newCareOf, correspondent, 60, option(udp)), true, true},
		{"option to another address", packet(farCareOf, careOf, 60, option(udp)), true, true},
		{"routing header from elsewhere", packet(farCareOf, careOf, 43, route(udp, 1)), true, true},
		{"both, from elsewhere", packet(correspondent, careOf, 43, route(60, 1), option(udp)), true, true},
		{"segments left 0", packet(correspondent, careOf, 43, route(udp, 0)), true, true},
		{"longer header of the option", packet(farCareOf, correspondent, 60, longer), true, true},
		{"other options", packet(farCareOf, correspondent, 60, extension(udp, make([]byte, 22)...)), true, true},
		{"ESP behind the option", packet(farCareOf, correspondent, 60, option(protocolESP)), true, true},
		{"AH behind the routing header", packet(correspondent, careOf, 43, route(protocolAH, 1)), true, true},
		{"ESP behind both", packet(farCareOf, careOf, 43, route(60, 1), option(protocolESP)), true, true},
		{"hop-by-hop options first", packet(farCareOf, correspondent, 0, extension(60, 1, 4, 0, 0, 0, 0), option(udp)), true, true},
		{"hop-by-hop options alone", packet(farCareOf, correspondent, 0, extension(udp, 1, 4, 0, 0, 0, 0)), false, false},
		{"Mobility Header behind the option", packet(farCareOf, correspondent, 60, option(protocolMobility)), false, false},
		{"multicast", packet(farCareOf, netip.MustParseAddr("ff02::1"), 60, option(udp)), false, false},
		{"neither", packet(farCareOf, correspondent, udp), false, false},
		{"cut off", packet(farCareOf, correspondent, 60)[:44], true, true},
	} {
		if got := s.passes(t, test.packet); got != test.without {
			t.Errorf("%s: passes without a key: %v, want %v", test.name, got, test.without)
		}
		for _, k := range []spareKey{byOption, byRoute, byBoth} {
			if err := s.add(k); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.passes(t, test.packet); got != test.with {
			t.Errorf("%s: passes with a key: %v, want %v", test.name, got, test.with)
		}
		for _, k := range []spareKey{byOption, byRoute, byBoth} {
			s.remove(k)
		}
	}

	// The filter is there while there are keys: packets of others pass the other one.
	attached := func() bool {
		var length uint32
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), unix.SOL_SOCKET, unix.SO_GET_FILTER, 0, uintptr(unsafe.Pointer(&length)), 0)
		return errno == unix.EACCES // what is eBPF is not shown
	}
	for _, step := range []struct {
		do   func() error
		want bool
	}{
		{func() error { return nil }, false},
		{func() error { return s.add(byOption) }, true},
		{func() error { return s.add(byRoute) }, true},
		{func() error { s.remove(byOption); return nil }, true},
		{func() error { s.remove(byRoute); return nil }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := attached(); got != step.want {
			t.Errorf("with %d keys the filter is on the socket: %v", s.kept, got)
		}
	}

	// Nothing comes from the engine's own device.
	own, err := openSpared(socket, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	if own.passes(t, packet(farCareOf, correspondent, 60, option(udp))) {
		t.Error("a packet from the device passes")
	}
}
