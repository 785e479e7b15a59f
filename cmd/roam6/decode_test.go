package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// runDecode runs `roam6 decode`.
func runDecode(in io.Reader, args ...string) (code int, out, err string) {
	var stdout, stderr bytes.Buffer
	code = decode(args, stdio{in: in, out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// A binding update of RFC 6275 §6.1.7 with Home Address option.
const decodeHex = `60000000 0028 3c 40 20010db8000200000000000000000020 20010db8000100000000000000000001
87 02 01020000 c910 20010db8000100000000000000000010
3b010500 90a1 1234 c000 000a 01020000`

const decodeText = `binding update 2001:db8:2::20 > 2001:db8:1::1
  hop limit: 64
  home address option: 2001:db8:1::10
  checksum: ok
  sequence: 4660
  flags: AH (acknowledge, home registration)
  lifetime: 40s
`

const decodeMH = `binding update 2001:db8:1::10 > 2001:db8:1::1
  checksum: ok
  sequence: 4660
  flags: AH (acknowledge, home registration)
  lifetime: 40s
`

func TestDecodeHex(t *testing.T) {
	bare := "3b010500 90a1 1234 c000 000a 01020000"
	one := strings.Join(strings.Fields(decodeHex), "")
	colons := make([]string, len(one)/2)
	for i := range colons {
		colons[i] = "0x" + one[2*i:2*i+2]
	}
	tests := []struct {
		name  string
		in    string
		args  []string
		code  int
		wants string // of standard output
		wantE string // somewhere in standard error
	}{
		{"arguments", "", strings.Fields(decodeHex), 0, decodeText, ""},
		{"one argument", "", []string{one}, 0, decodeText, ""},
		{"capitals", "", []string{strings.ToUpper(one)}, 0, decodeText, ""},
		{"0x once", "", []string{"0x" + one}, 0, decodeText, ""},
		{"0x and colons", "", []string{strings.Join(colons, ":")}, 0, decodeText, ""},
		{"standard input", decodeHex + "\r\n", nil, 0, decodeText, ""},
		{"tcpdump -x", tcpdump(one), nil, 0, decodeText, ""},
		{"octets behind the packet", decodeHex + "0000", nil, 0, decodeText, ""},
		{"Mobility Header", "", []string{"--mh", "2001:db8:1::10", "2001:db8:1::1", bare}, 0, decodeMH, ""},
		{"Mobility Header on standard input", bare, []string{"--mh", "2001:db8:1::10", "2001:db8:1::1"}, 0, decodeMH, ""},
		{"Mobility Header, wrong addresses", bare, []string{"--mh", "2001:db8:2::20", "2001:db8:1::1"}, 1,
			"malformed Mobility Header 2001:db8:2::20 > 2001:db8:1::1: octet 4: checksum 0x90a1, computed 0x9090\n", ""},
		{"Mobility Header, wrong addresses as JSON", bare, []string{"--mh", "2001:db8:2::20", "2001:db8:1::1", "--json"}, 1,
			`{"source":"2001:db8:2::20","destination":"2001:db8:1::1","malformed":{"octet":4,"reason":"checksum","text":"octet 4: checksum 0x90a1, computed 0x9090"}}` + "\n", ""},
		{"JSON", decodeHex, []string{"--json"}, 0,
			`{"source":"2001:db8:2::20","destination":"2001:db8:1::1","hop_limit":64,"home_address_option":"2001:db8:1::10",` +
				`"message":"binding_update","mh_type":5,"checksum":"ok","sequence":4660,"flags":["acknowledge","home_registration"],"lifetime_seconds":40,"options":[]}` + "\n", ""},
		{"cut short", decodeHex[:100], nil, 1,
			"malformed packet 2001:db8:2::20 > 2001:db8:1::1: octet 40: extension header needs 8 octets, 6 are there\n", ""},
		{"cut very short", "6000", nil, 1, "malformed packet: octet 0: IPv6 header needs 40 octets, 2 are there\n", ""},
		{"IPv4", "45000014", []string{"--json"}, 1, `{"malformed":{"octet":0,"reason":"version","text":"octet 0: IP version 4, want 6"}}` + "\n", ""},
		{"TCP", "60000000 0000 06 40" + strings.Repeat("00", 32), nil, 1, "", "roam6 decode: not a Mobile IPv6 message\n"},
		{"not hexadecimal", "", []string{"6000", "zz"}, 2, "", `roam6 decode: 'z' at position 6 is not hexadecimal`},
		{"not hexadecimal in an octet", "", []string{"6g"}, 2, "", `'g' at position 2 is not hexadecimal`},
		{"half an octet", "", []string{"600", "00"}, 2, "", "half an octet at position 3\n"},
		{"half an octet at the end", "600", nil, 2, "", "half an octet at position 3, the end\n"},
		{"nothing", " \n", nil, 2, "", "there is nothing to decode"},
		{"long text", strings.Repeat("00", maxHexInput), nil, 2, "", "too long"},
		{"no addresses", "", []string{"--mh", "2001:db8::1"}, 2, "", "--mh SOURCE DESTINATION"},
		{"no address", "", []string{"--mh", "2001:db8::1", "3b010500", bare}, 2, "", `"3b010500" is not an IPv6 address`},
		{"IPv4 address", "", []string{"--mh", "2001:db8::1", "192.0.2.1", bare}, 2, "", `"192.0.2.1" is not an IPv6 address`},
		{"no such file", "", []string{"--file", "/nonexistent"}, 1, "", "no such file"},
		{"file and text", "", []string{"--file", "/nonexistent", "6000"}, 2, "", "not both"},
		{"unknown flag", "", []string{"--nonsense"}, 2, "", "usage: roam6 decode"},
		{"help", "", []string{"-h"}, 0, "usage", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := runDecode(strings.NewReader(tt.in), tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if out != tt.wants && !(tt.wants == "usage" && strings.HasPrefix(out, "usage: roam6 decode")) {
				t.Errorf("printed\n%s, want\n%s", out, tt.wants)
			}
			if !strings.Contains(err, tt.wantE) || tt.wantE == "" && err != "" {
				t.Errorf("standard error %q, want %q", err, tt.wantE)
			}
		})
	}
}

// tcpdump prints octets as tcpdump -x does.
func tcpdump(digits string) string {
	var b strings.Builder
	for i := 0; i < len(digits); i += 32 {
		b.WriteString("\t0x" + string("0123456789abcdef"[i/512]) + string("0123456789abcdef"[i/32%16]))
		line := digits[i:min(i+32, len(digits))]
		b.WriteString("0: ")
		for j := 0; j < len(line); j += 4 {
			b.WriteString(" " + line[j:min(j+4, len(line))])
		}
		b.WriteByte('\n')
	}
	return strings.ReplaceAll(b.String(), "\t0x", "\t0x0")
}

func TestDecodeReadError(t *testing.T) {
	code, _, err := runDecode(iotest.ErrReader(os.ErrDeadlineExceeded))
	if code != 1 || !strings.Contains(err, "timeout") {
		t.Errorf("exit code %d, %q", code, err)
	}
}

func TestDecodeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "packet.txt")
	if err := os.WriteFile(path, []byte(decodeHex), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{path}, {"--file", path}} {
		if code, out, err := runDecode(nil, args...); code != 0 || out != decodeText || err != "" {
			t.Errorf("%v: exit code %d, printed\n%s%s", args, code, out, err)
		}
	}
}

// decodeCapture is a capture with every message and every option.
func decodeCapture(t *testing.T) []byte {
	t.Helper()
	home, careOf := netip.MustParseAddr("2001:db8:1::10"), netip.MustParseAddr("2001:db8:2::20")
	agent, correspondent := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:3::30")
	file := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	seconds := uint32(1700000000)
	add := func(packet []byte) {
		file = binary.LittleEndian.AppendUint32(file, seconds)
		file = binary.LittleEndian.AppendUint32(file, 250000)
		file = binary.LittleEndian.AppendUint32(file, uint32(len(packet)))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(packet)))
		file = append(file, packet...)
		seconds++
	}
	type appender interface {
		Append([]byte) ([]byte, error)
	}
	send := func(p appender) []byte {
		b, err := p.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		add(b)
		return b
	}
	cookie, token := mip6.Cookie{1, 2, 3, 4, 5, 6, 7, 8}, mip6.KeygenToken{9, 10, 11, 12, 13, 14, 15, 16}
	update := mip6.Packet{
		Source: careOf, Destination: agent, HomeAddress: home,
		Message: mip6.BindingUpdate{
			Sequence: 65535,
			Flags: mip6.UpdateAcknowledge | mip6.UpdateHome | mip6.UpdateLinkLocal | mip6.UpdateKeyManagement |
				mip6.UpdateMAP | mip6.UpdateMobileRouter | mip6.UpdateProxy | mip6.UpdateForceUDP,
			Lifetime: 150,
			Options: []mip6.Option{
				mip6.AlternateCareOf{Addr: careOf},
				mip6.MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:aaaa::/48")},
				mip6.MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:bbbb:1::/64")},
				mip6.MobileNodeID{Subtype: 1, Identifier: []byte("train@example.net\n")},
				mip6.MobileNodeID{Subtype: 2, Identifier: []byte{0xde, 0xad}},
				mip6.UnknownOption{Type: 200, Data: []byte{0xbe, 0xef}},
				mip6.ReplayProtection{Timestamp: mip6.TimestampFrom(time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC))},
				mip6.Authentication{Subtype: mip6.AuthenticationMNHA, SPI: 4_000_000_000, Data: []byte{1, 2, 3}},
				mip6.Authentication{Subtype: mip6.AuthenticationMNAAA, SPI: 3, Data: []byte{4, 5, 6}},
			},
		},
	}
	wire := send(update)
	wire[len(wire)-1] ^= 1
	add(wire) // with a wrong checksum
	send(mip6.Packet{Source: careOf, Destination: correspondent, HomeAddress: home, Message: mip6.BindingUpdate{
		Sequence: 1,
		Options:  []mip6.Option{mip6.NonceIndices{Home: 3, CareOf: 5}, mip6.AuthorizationData{Authenticator: [12]byte{0xff}}},
	}})
	send(mip6.Packet{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.BindingAcknowledgement{
		Flags: mip6.AckMobileRouter, Sequence: 65535, Lifetime: 75, Options: []mip6.Option{mip6.RefreshAdvice{Interval: 60}},
	}})
	send(mip6.Packet{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.BindingAcknowledgement{
		Status: mip6.StatusSequenceOutOfWindow, Sequence: 7,
	}})
	send(mip6.Packet{Source: correspondent, Destination: home, Message: mip6.BindingRefreshRequest{}})
	send(mip6.Packet{Source: home, Destination: correspondent, Message: mip6.HomeTestInit{Cookie: cookie}})
	send(mip6.Packet{Source: careOf, Destination: correspondent, Message: mip6.CareOfTestInit{Cookie: cookie}})
	send(mip6.Packet{Source: correspondent, Destination: home, Message: mip6.HomeTest{NonceIndex: 3, Cookie: cookie, Token: token}})
	send(mip6.Packet{Source: correspondent, Destination: careOf, Message: mip6.CareOfTest{NonceIndex: 5, Cookie: cookie, Token: token}})
	send(mip6.Packet{Source: correspondent, Destination: careOf, Message: mip6.BindingError{Status: mip6.BindingErrorUnknownBinding, Home: home}})
	send(mip6.Packet{Source: careOf, Destination: agent, Message: mip6.UnknownMessage{MessageType: 99, Body: make([]byte, 10)}})
	add(append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64}, make([]byte, 52)...)) // TCP
	add([]byte{0x45, 0, 0, 0})                                            // IPv4
	send(mip6.ICMPPacket{Source: careOf, Destination: agent, Message: mip6.HomeAgentRequest{Identifier: 4660, MobileRouter: true}})
	send(mip6.ICMPPacket{Source: agent, Destination: careOf, Message: mip6.HomeAgentReply{Identifier: 4660, HomeAgents: []netip.Addr{agent}}})
	send(mip6.ICMPPacket{Source: careOf, Destination: agent, HomeAddress: home, Message: mip6.PrefixSolicitation{Identifier: 48879}})
	prefix := mip6.PrefixInformation{
		Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), OnLink: true, RouterAddress: true,
		ValidLifetime: mip6.InfiniteLifetime, PreferredLifetime: 4 * time.Hour,
	}
	send(mip6.ICMPPacket{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.PrefixAdvertisement{
		Identifier: 48879, Managed: true, Prefixes: []mip6.PrefixInformation{prefix},
	}})
	ra := nd.RouterAdvertisement{
		CurHopLimit: 64, HomeAgent: true, Preference: nd.PreferenceHigh,
		RouterLifetime: 1800 * time.Second, RetransTimer: 100 * time.Millisecond,
		SourceLinkAddr: []byte{2, 0, 0, 0, 0, 1}, MTU: 1280,
		Prefixes: []mip6.PrefixInformation{prefix}, Interval: 70 * time.Millisecond,
		HomeAgentInfo: &mip6.HomeAgentInformation{Preference: -1, Lifetime: 600 * time.Second, MobileRouter: true},
		Others:        []nd.RawOption{{Type: 99, Data: []byte{1, 2, 3, 4, 5, 6}}},
	}
	add(advertisement(ra))
	bad := advertisement(ra)
	bad[43] ^= 1
	add(bad)
	bad = advertisement(ra)
	bad[41] = 1 // code
	add(bad)
	return file
}

// advertisement returns the packet of a router advertisement to all nodes.
func advertisement(ra nd.RouterAdvertisement) []byte {
	message := ra.Append(nil)
	b := []byte{0x60, 0, 0, 0, 0, byte(len(message)), mip6.ProtocolICMPv6, 255}
	b = append(b, netip.MustParseAddr("fe80::1").AsSlice()...)
	b = append(b, nd.AllNodes().AsSlice()...)
	b = append(b, message...)
	sum := uint32(len(message)) + mip6.ProtocolICMPv6
	b[42], b[43] = 0, 0
	for i := 8; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[42:], ^uint16(sum))
	return b
}

// The golden files are what a reader of the manual would see.
func TestDecodeCapture(t *testing.T) {
	capture := decodeCapture(t)
	path := filepath.Join(t.TempDir(), "capture.pcap")
	if err := os.WriteFile(path, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		golden string
		in     io.Reader
		args   []string
	}{
		{"capture.txt", nil, []string{path}},
		{"capture.json", bytes.NewReader(capture), []string{"--json"}},
	} {
		code, out, stderr := runDecode(tt.in, tt.args...)
		if code != 1 { // some are malformed
			t.Errorf("exit code %d, want 1", code)
		}
		if want := "roam6 decode: skipped 2 packets that are not Mobile IPv6\n"; stderr != want {
			t.Errorf("standard error %q, want %q", stderr, want)
		}
		golden, err := os.ReadFile(filepath.Join("testdata", "decode", tt.golden))
		if err != nil {
			t.Fatal(err)
		}
		if out != string(golden) {
			t.Errorf("%s: printed\n%s", tt.golden, out)
		}
		if tt.golden == "capture.json" {
			for line := range strings.Lines(out) {
				if !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
		}
	}
	if code, _, stderr := runDecode(bytes.NewReader(capture), "--mh", "::1", "::1"); code != 2 || !strings.Contains(stderr, "not for a capture") {
		t.Errorf("--mh: exit code %d, %q", code, stderr)
	}
	code, _, stderr := runDecode(bytes.NewReader(capture[:100]))
	if code != 1 || !strings.Contains(stderr, "unexpected EOF") {
		t.Errorf("cut short: exit code %d, %q", code, stderr)
	}
}

// FuzzParseHex: what is taken for hexadecimal is what the digits say.
func FuzzParseHex(f *testing.F) {
	f.Add([]byte(decodeHex))
	f.Add([]byte("0x6000:0x0000\r\n\t0x0002:  6000"))
	f.Add([]byte("600"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := parseHex(text)
		if err != nil {
			return
		}
		again, err := parseHex([]byte(hex.EncodeToString(b)))
		if err != nil || !bytes.Equal(again, b) || 2*len(b) > len(text) {
			t.Fatalf("%q became %x, then %x (%v)", text, b, again, err)
		}
	})
}

// FuzzDecodePacket: whatever the packet, the report is one line of JSON, or
// lines of text.
func FuzzDecodePacket(f *testing.F) {
	b, err := parseHex([]byte(decodeHex))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(advertisement(nd.RouterAdvertisement{MTU: 1280}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newPacketReport(true)
		if err := r.packet(b); errors.Is(err, mip6.ErrNotMobility) {
			return
		}
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		r.writeTo(w)
		w.Flush()
		if !json.Valid(out.Bytes()) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Fatalf("%x: %s", b, out.Bytes())
		}
		if r.head == "" || strings.Contains(r.head+strings.Join(r.Lines, ""), "\n") {
			t.Fatalf("%x: %q %q", b, r.head, r.Lines)
		}
	})
}
