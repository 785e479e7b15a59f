package delegating

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/pcap/tshark"
	"roam6/internal/role"
)

// TestTSharkReadsAnswers: what the server sends, of each kind, is dissected by
// somebody else without a complaint, and with the same values.
func TestTSharkReadsAnswers(t *testing.T) {
	tshark.Need(t)
	var sent []role.SendDHCP
	w := newWorld(t, testConfig())
	keep := func() { sent = append(sent, w.sent...) }
	w.away(homeA, w.client(codec.MessageTypeSolicit, duidA, pd(1), na(2)))
	keep()
	p := w.obtain(homeA, duidA, 1)
	keep()
	w.away(homeA, w.client(codec.MessageTypeRenew, duidA, pd(1, p.String(), "2001:db8:ff00::/56")))
	keep()
	w.home(localA, w.client(codec.MessageTypeRebind, duidA, pd(1, p.String())))
	keep()
	w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(1, p.String()), pd(9), na(2)))
	keep()
	w.home(localA, w.client(codec.MessageTypeInformationRequest, duidA))
	keep()
	unicast := onLink(localA, w.client(codec.MessageTypeRequest, duidA, pd(1)))
	unicast.To = port547(netip.MustParseAddr("fe80::1"))
	w.handle(unicast)
	keep()
	w = newWorld(t, relayConfig())
	q := w.client(codec.MessageTypeRequest, duidA, pd(1))
	e, _ := w.up(homeA, q)
	keep()
	w.handle(fromServer(back(e, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes())))
	keep()
	w.upHome(localA, w.client(codec.MessageTypeSolicit, duidA, pd(1)))
	keep()

	var frames [][]byte
	for _, a := range sent {
		frames = append(frames, frame(a))
	}
	file := tshark.Capture(t, frames)
	read := func(filter string, fields ...string) (rows []string) {
		for _, row := range tshark.Read(t, file, []string{"-Y", filter, "-o", "udp.check_checksum:TRUE"}, fields...) {
			rows = append(rows, strings.Join(row, "|"))
		}
		return rows
	}
	const warning = "0x600000"
	for _, got := range read("_ws.malformed || _ws.expert.severity >= "+warning, "_ws.expert.message", "_ws.malformed") {
		// RFC 6276 §3.1.2 wants 1 of a relay agent that is the client, too.
		if got != "Hopcount of most inner message has to equal 0 instead of 1|" {
			t.Errorf("tshark complains: %q", got)
		}
	}
	theirs := read("dhcpv6", "dhcpv6.msgtype", "dhcpv6.iaprefix.pref_len", "dhcpv6.iaid.t1", "dhcpv6.status_code")
	ours := []string{
		"13,2|56|900,0|2", "13,7|56|900|", "13,7|56,56|900|", "7|56|900|", "13,7||0,0|0,3,3", "7|||", "7|||5",
		"12,12,3||0|", "13,7|56|0|", "12,1||0|",
	}
	if !slices.Equal(theirs, ours) {
		t.Errorf("tshark reads\n%s\nand it is\n%s", strings.Join(theirs, "\n"), strings.Join(ours, "\n"))
	}
}

// frame makes an Ethernet frame of a message.
func frame(a role.SendDHCP) []byte {
	from := a.From.Addr()
	if !from.IsValid() {
		from = netip.MustParseAddr("fe80::1")
	}
	const header, udp, hopLimit = 40, 17, 64
	length := 8 + len(a.Message)
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, udp, hopLimit)
	b = append(append(b, from.AsSlice()...), a.To.Addr().AsSlice()...)
	packet := len(b)
	b = binary.BigEndian.AppendUint16(b, a.From.Port())
	b = binary.BigEndian.AppendUint16(b, a.To.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(append(b, 0, 0), a.Message...)
	binary.BigEndian.PutUint16(b[packet+6:], checksum(from, a.To.Addr(), udp, b[packet:]))
	return b
}

// checksum is that of RFC 8200 §8.1; it is never zero.
func checksum(from, to netip.Addr, protocol byte, b []byte) uint16 {
	all := append(append(from.AsSlice(), to.AsSlice()...), b...)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	sum := uint32(len(b)) + uint32(protocol)
	for i := 0; i < len(all); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(all[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff {
		return 0xffff
	}
	return ^uint16(sum)
}
