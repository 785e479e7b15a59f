package planetest

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// withOption is a packet with a Home Address option, withRoute one with a type 2
// routing header, made of a packet as its ends see it.
func withOption(packet []byte, careOf netip.Addr) []byte {
	h := slices.Concat([]byte{packet[6], 2, 1, 2, 0, 0, 0xc9, 16}, packet[8:24])
	return ipv6Packet(careOf, netip.AddrFrom16([16]byte(packet[24:40])), unix.IPPROTO_DSTOPTS, slices.Concat(h, packet[40:]))
}

func withRoute(packet []byte, careOf netip.Addr) []byte {
	h := slices.Concat([]byte{packet[6], 2, 2, 1, 0, 0, 0, 0}, packet[24:40])
	return ipv6Packet(netip.AddrFrom16([16]byte(packet[8:24])), careOf, unix.IPPROTO_ROUTING, slices.Concat(h, packet[40:]))
}

// RFC 6275 §6.3, §6.4, §9.3.1, §9.3.3, §11.3.3: nothing is accepted without its
// binding, nothing leads on from here, and who asks is not answered by us.
// Covers: C1, C3, M6, A7.
// Attack: RH2 not for me; reflection through HAO.
func hostile(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	w.bind(0)
	correspondent, home, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress), w.udp(w.node, nodeAddress)
	send := w.rawSocket(w.core)
	at := func(a netip.Addr, c *net.UDPConn) netip.AddrPort { return netip.AddrPortFrom(a, addrPort(c).Port()) }
	up := func(from, to netip.Addr) []byte { return udpPacket(netip.AddrPortFrom(from, 9), at(to, correspondent)) }
	down := func(to netip.Addr) []byte { return udpPacket(netip.AddrPortFrom(foreignAddress, 9), at(to, home)) }
	twice := func(p []byte) []byte { return withOption(withOption(p, firstCareOf), firstCareOf) }
	changed := func(p []byte, at int, v byte) []byte { p[at] = v; return p }
	mobile, other := w.mobileEngine, w.correspondentEngine
	group := netip.MustParseAddr("ff0e::1")

	for _, test := range []struct {
		name    string
		engine  Engine
		packet  []byte
		to      *net.UDPConn
		reason  overlay.DropReason // 0: passes
		unknown bool
	}{
		{"bound", other, withOption(up(homeAddress, correspondentAddress), firstCareOf), correspondent, 0, false},
		{"to another address of the correspondent", other, withOption(up(homeAddress, peerSecond), firstCareOf), correspondent, overlay.DropHomeAddress, true},
		{"from another care-of address", other, withOption(up(homeAddress, correspondentAddress), foreignAddress), correspondent, overlay.DropHomeAddress, true},
		{"another home address", other, withOption(up(otherHome, correspondentAddress), firstCareOf), correspondent, overlay.DropHomeAddress, true},
		{"multicast home address", other, withOption(up(group, correspondentAddress), firstCareOf), correspondent, overlay.DropHomeAddress, false},
		{"two options", other, twice(up(homeAddress, correspondentAddress)), correspondent, overlay.DropMalformed, false},
		{"routing header to who is no mobile", other, withRoute(down(correspondentAddress), correspondentAddress), correspondent, overlay.DropRoutingHeader, false},
		{"routing header", mobile, withRoute(down(homeAddress), firstCareOf), home, 0, false},
		{"routing header by another address", mobile, withRoute(down(homeAddress), secondCareOf), home, overlay.DropRoutingHeader, false},
		{"routing header into the mobile network", mobile, withRoute(down(nodeAddress), firstCareOf), node, overlay.DropRoutingHeader, false},
		{"routing header back out", mobile, withRoute(down(correspondentAddress), firstCareOf), correspondent, overlay.DropRoutingHeader, false},
		{"two segments left", mobile, changed(withRoute(down(homeAddress), firstCareOf), 43, 2), home, overlay.DropRoutingHeader, false},
		{"no segments left", mobile, changed(withRoute(down(homeAddress), firstCareOf), 43, 0), home, overlay.DropRoutingHeader, false},
		{"option at the mobile", mobile, withOption(udpPacket(netip.AddrPortFrom(correspondentAddress, 9), at(firstCareOf, home)), foreignAddress), home, overlay.DropHomeAddress, true},
	} {
		sees := &w.correspondentSees
		if test.engine == mobile {
			sees = &w.mobileSees
		}
		unknown := sees.unknownHomes()
		w.judges(test.name, test.engine, test.reason, func() { send(test.packet) },
			func(limit time.Duration) bool { return received(test.to, limit) })
		if test.reason == 0 {
			continue
		}
		if got := sees.unknownHomes() - unknown; got != map[bool]int{true: 1}[test.unknown] {
			t.Errorf("%s: %d reports of an unknown home address", test.name, got)
		}
	}
	// A flood of them is not passed on at the same rate.
	before := w.correspondentSees.unknownHomes()
	const flood = 2000
	for range flood {
		send(withOption(up(otherHome, correspondentAddress), foreignAddress))
	}
	w.eventually("the flood is dropped", func() bool { return other.Drops()[overlay.DropHomeAddress] >= flood })
	if n := w.correspondentSees.unknownHomes() - before; n == 0 || n > flood/4 {
		t.Errorf("%d reports of %d packets", n, flood)
	}
}

func (r *reports) unknownHomes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.unknown)
}
