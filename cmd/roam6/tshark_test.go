package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"roam6/internal/pcap"
	"roam6/internal/pcap/tshark"
	"roam6/mip6"
)

// What roam6 sends is looked at by somebody else: tshark dissects it without a
// complaint, and reads the same values out of every Mobility Header.

// mistake is a field that tshark reads wrongly.
type mistake struct {
	field string
	// reads is what it makes of the right value.
	reads func(right string) string
	// right is the section that proves us right.
	right string
}

// mistakes are those of tshark 4.0. Whatever is not in the list fails.
func mistakes() []mistake {
	return []mistake{{
		field: "mip6.auth.auth_data",
		// The option's length does not count type and length; tshark takes off
		// two octets more than subtype and SPI.
		reads: func(right string) string { return right[:len(right)-4] },
		right: "RFC 4285 §5",
	}}
}

// unfounded reports whether a complaint is known to be wrong.
func unfounded(protocols, complaint string) bool {
	switch {
	case strings.Contains(complaint, "Bad checksum"):
		// RFC 4443 §2.4 (c): an ICMPv6 error quotes as much of a packet as fits, so
		// that the checksum of what is quoted covers what is not there.
		return strings.Contains(protocols, "icmpv6:ipv6")
	case strings.HasPrefix(complaint, "IPv6 payload length exceeds framing length"):
		// RFC 8200 §4.5, RFC 2473 §7.1: the first fragment of a tunnel packet holds the
		// beginning of the packet within.
		return strings.Contains(protocols, "ipv6.fraghdr:ipv6")
	case complaint == "Hopcount of most inner message has to equal 0 instead of 1":
		// RFC 6276 §3.1.2 wants 1 of the relay agent in a mobile router, too.
		return strings.HasSuffix(protocols, "dhcpv6")
	case strings.Contains(protocols, ":tcp:"):
		// The transfer carries random octets, in which tshark guesses a protocol now
		// and then. What it says of TCP itself ends with tcp.
		return true
	case strings.HasPrefix(complaint, "D-SACK"):
		// RFC 2883 §4: the kernel's TCP tells of segments that came twice, as they
		// do when they are sent again before the longer way has brought them.
		return strings.HasSuffix(protocols, "tcp")
	default:
		return false
	}
}

// forgive puts right what tshark is known to read wrongly.
func forgive(theirs, ours reading) {
	for _, m := range mistakes() {
		if right, ok := ours[m.field]; ok && theirs[m.field] == m.reads(right) {
			theirs[m.field] = right
		}
	}
}

// TestTSharkReadsMessages: every message, with every option that belongs to it.
func TestTSharkReadsMessages(t *testing.T) {
	tshark.Need(t)
	file := filepath.Join(t.TempDir(), "messages.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pcap.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	write := func(packet []byte, err error) {
		t.Helper()
		if err == nil {
			err = w.Write(time.Unix(1_700_000_000, 0), append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd}, packet...))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range everyMessage() {
		write(p.Append(nil))
	}
	for _, p := range everyICMPMessage() {
		write(p.Append(nil))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	dissect(t, file)
}

// everyMessage is one of each message of RFC 6275 §6.1.
func everyMessage() (packets []mip6.Packet) {
	home, careOf, agent := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:a1::7"), netip.MustParseAddr("2001:db8:10::1")
	cookie, token := mip6.Cookie{1, 2, 3, 4, 5, 6, 7, 8}, mip6.KeygenToken{8, 7, 6, 5, 4, 3, 2, 1}
	authorization := mip6.AuthorizationData{Authenticator: [12]byte{1, 2, 3}}
	association := mip6.Authentication{Subtype: mip6.AuthenticationMNHA, SPI: 256, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}
	mobile := func(m mip6.Message) {
		packets = append(packets, mip6.Packet{Source: careOf, Destination: agent, HomeAddress: home, Message: m})
	}
	plain := func(m mip6.Message) {
		packets = append(packets, mip6.Packet{Source: home, Destination: agent, Message: m})
	}
	back := func(m mip6.Message) {
		packets = append(packets, mip6.Packet{Source: agent, Destination: careOf, RouteHome: home, Message: m})
	}
	mobile(mip6.BindingUpdate{Sequence: 65535, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome | mip6.UpdateMobileRouter, Lifetime: 150, Options: []mip6.Option{
		mip6.MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:100::/64")}, mip6.AlternateCareOf{Addr: careOf},
		mip6.ReplayProtection{Timestamp: mip6.TimestampFrom(time.Unix(1_700_000_000, 5e8))}, association,
	}})
	mobile(mip6.BindingUpdate{Sequence: 1, Flags: mip6.UpdateAcknowledge, Lifetime: 105, Options: []mip6.Option{mip6.NonceIndices{Home: 3, CareOf: 4}, authorization}})
	for _, status := range []mip6.Status{0, 1, 128, 129, 133, 135, 136, 139, 141, 143, 174} {
		back(mip6.BindingAcknowledgement{Status: status, Sequence: 7, Lifetime: 149, Options: []mip6.Option{mip6.RefreshAdvice{Interval: 12}, association}})
	}
	back(mip6.BindingAcknowledgement{Sequence: 8, Lifetime: 105, Options: []mip6.Option{authorization}})
	plain(mip6.HomeTestInit{Cookie: cookie})
	plain(mip6.CareOfTestInit{Cookie: cookie})
	plain(mip6.HomeTest{NonceIndex: 9, Cookie: cookie, Token: token})
	plain(mip6.CareOfTest{NonceIndex: 10, Cookie: cookie, Token: token})
	plain(mip6.BindingError{Status: mip6.BindingErrorUnknownBinding, Home: home})
	plain(mip6.BindingError{Status: mip6.BindingErrorUnknownMHType, Home: netip.IPv6Unspecified()})
	plain(mip6.BindingRefreshRequest{})
	return packets
}

// everyICMPMessage is one of each message of RFC 6275 §6.5 to §6.8.
func everyICMPMessage() []mip6.ICMPPacket {
	home, careOf, agent := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:a1::7"), netip.MustParseAddr("2001:db8:10::1")
	return []mip6.ICMPPacket{
		{Source: careOf, Destination: mip6.HomeAgentsAnycast(netip.MustParsePrefix("2001:db8:10::/64")), Message: mip6.HomeAgentRequest{Identifier: 77, MobileRouter: true}},
		{Source: agent, Destination: careOf, Message: mip6.HomeAgentReply{Identifier: 77, MobileRouter: true, HomeAgents: []netip.Addr{agent, agent.Next()}}},
		{Source: careOf, Destination: agent, HomeAddress: home, Message: mip6.PrefixSolicitation{Identifier: 78}},
		{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.PrefixAdvertisement{Identifier: 78, Prefixes: []mip6.PrefixInformation{{
			Prefix: netip.PrefixFrom(agent, 64), OnLink: true, Autonomous: true, RouterAddress: true, ValidLifetime: time.Hour, PreferredLifetime: time.Minute,
		}}}},
	}
}

// dissect lets tshark look at a capture file.
func dissect(t *testing.T, file string) {
	t.Helper()
	tshark.Need(t)
	complaints(t, file)
	theirs, ours := theirReading(t, file), ourReading(t, file)
	if len(ours) == 0 {
		t.Error("there is no Mobility Header in the capture")
	}
	for _, number := range slices.Sorted(maps.Keys(ours)) {
		forgive(theirs[number], ours[number])
		if !maps.Equal(theirs[number], ours[number]) {
			t.Errorf("frame %d: tshark reads %v, roam6 %v", number, theirs[number], ours[number])
		}
	}
	for _, number := range slices.Sorted(maps.Keys(theirs)) {
		if ours[number] == nil {
			t.Errorf("frame %d: tshark reads a Mobility Header, %v, and roam6 none", number, theirs[number])
		}
	}
	t.Logf("tshark has dissected %d Mobility Headers as roam6 does, and complains about nothing", len(ours))
}

// complaints are malformed packets, and expert information that is at least a
// warning.
func complaints(t *testing.T, file string, options ...string) {
	t.Helper()
	const warning, most = "0x600000", 10
	rows := readingsWith(t, options, file, "_ws.malformed || _ws.expert.severity >= "+warning, "frame.number", "frame.protocols", "_ws.expert.message", "_ws.malformed")
	n := 0
	for _, row := range rows {
		if unfounded(row[1], row[2]) {
			continue
		}
		if n++; n <= most {
			t.Errorf("frame %s: tshark complains: %s", row[0], strings.Join(row[1:], " "))
		}
	}
	if n > most {
		t.Errorf("tshark complains about %d frames", n)
	}
}

// reading is what is in a Mobility Header, by tshark's names of the fields.
type reading map[string]string

// readFields are the fields that are compared.
func readFields() []string {
	return []string{
		"mip6.mhtype", "mip6.bu.seqnr", "mip6.bu.lifetime", "mip6.ba.status", "mip6.ba.seqnr", "mip6.ba.lifetime",
		"mip6.be.status", "mip6.be.haddr", "mip6.hoti.cookie", "mip6.coti.cookie", "mip6.hot.nindex", "mip6.hot.cookie", "mip6.hot.token",
		"mip6.cot.nindex", "mip6.cot.cookie", "mip6.bra.interval", "mip6.acoa.acoa", "mip6.ni.hni", "mip6.ni.cni",
		"mip6.bad.auth", "mip6.nemo.mnp.mnp", "mip6.auth.mobility_spi", "mip6.auth.auth_data",
	}
}

// theirReading is tshark's, by the number of the frame. Messages that an
// ICMPv6 error quotes are left out.
func theirReading(t *testing.T, file string) map[int]reading {
	t.Helper()
	fields := readFields()
	all := map[int]reading{}
	for _, row := range readings(t, file, "mip6.mhtype && !icmpv6", append([]string{"frame.number"}, fields...)...) {
		number, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatalf("tshark's frame number: %v", err)
		}
		r := reading{}
		for i, name := range fields {
			if value := row[i+1]; value != "" {
				r[name] = normal(value)
			}
		}
		all[number] = r
	}
	return all
}

// normal writes numbers in decimal and octets without separators.
func normal(value string) string {
	value = strings.ToLower(strings.ReplaceAll(value, ":", ""))
	if n, err := strconv.ParseUint(value, 0, 32); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return strings.TrimPrefix(value, "0x")
}

// ourReading is roam6's.
func ourReading(t *testing.T, file string) map[int]reading {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := pcap.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]reading{}
	for {
		packet, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := mip6.ParsePacket(innermost(packet.Data))
		switch {
		case err == nil:
			all[packet.Number] = read(p.Message)
		case !errors.Is(err, mip6.ErrNotMobility):
			t.Errorf("frame %d: %v", packet.Number, err)
		}
	}
}

// innermost takes tunnel headers off, those with an encapsulation limit too
// (RFC 2473 §5.1).
func innermost(b []byte) []byte {
	const header, limit, next, tunnel, options = 40, 8, 6, 41, 60
	for {
		switch {
		case len(b) > header && b[next] == tunnel:
			b = b[header:]
		case len(b) > header+limit && b[next] == options && b[header] == tunnel && b[header+1] == 0:
			b = b[header+limit:]
		default:
			return b
		}
	}
}

func read(m mip6.Message) reading {
	r := reading{"mip6.mhtype": fmt.Sprint(uint8(m.Type()))}
	set := func(name string, value any) {
		switch v := value.(type) {
		case []byte:
			r["mip6."+name] = normal(hex.EncodeToString(v))
		case netip.Addr:
			r["mip6."+name] = normal(v.String())
		default:
			r["mip6."+name] = fmt.Sprint(v)
		}
	}
	switch m := m.(type) {
	case mip6.BindingUpdate:
		set("bu.seqnr", uint16(m.Sequence))
		set("bu.lifetime", uint16(m.Lifetime))
	case mip6.BindingAcknowledgement:
		set("ba.status", uint8(m.Status))
		set("ba.seqnr", uint16(m.Sequence))
		set("ba.lifetime", uint16(m.Lifetime))
	case mip6.BindingError:
		set("be.status", uint8(m.Status))
		set("be.haddr", m.Home)
	case mip6.HomeTestInit:
		set("hoti.cookie", m.Cookie[:])
	case mip6.CareOfTestInit:
		set("coti.cookie", m.Cookie[:])
	case mip6.HomeTest:
		set("hot.nindex", m.NonceIndex)
		set("hot.cookie", m.Cookie[:])
		set("hot.token", m.Token[:])
	case mip6.CareOfTest:
		set("cot.nindex", m.NonceIndex)
		set("cot.cookie", m.Cookie[:])
		set("hot.token", m.Token[:]) // tshark has one name for both tokens
	}
	for _, o := range m.MobilityOptions() {
		switch o := o.(type) {
		case mip6.RefreshAdvice:
			set("bra.interval", uint16(o.Interval))
		case mip6.AlternateCareOf:
			set("acoa.acoa", o.Addr)
		case mip6.NonceIndices:
			set("ni.hni", o.Home)
			set("ni.cni", o.CareOf)
		case mip6.AuthorizationData:
			set("bad.auth", o.Authenticator[:])
		case mip6.MobileNetworkPrefix:
			const field = "mip6.nemo.mnp.mnp"
			earlier := r[field] // there may be several
			set("nemo.mnp.mnp", o.Prefix.Addr())
			if earlier != "" {
				r[field] = earlier + "," + r[field]
			}
		case mip6.Authentication:
			set("auth.mobility_spi", o.SPI)
			set("auth.auth_data", o.Data)
		}
	}
	return r
}

// readings are the fields of the frames of a file that a display filter shows.
func readings(t *testing.T, file, filter string, fields ...string) [][]string {
	t.Helper()
	return readingsWith(t, nil, file, filter, fields...)
}

// readingsWith are those with further options of tshark.
func readingsWith(t *testing.T, options []string, file, filter string, fields ...string) [][]string {
	t.Helper()
	return tshark.Read(t, file, append([]string{"-Y", filter,
		// A frame is captured on each of its links and data only in part.
		"-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "esp.do_esp_sequence_analysis:FALSE", "-o", "ipv6.defragment:FALSE",
		"-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"}, options...), fields...)
}
