package esp

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"roam6/internal/pcap/tshark"
	"roam6/mip6"
	"roam6/overlay"
)

// saOption tells tshark an association, by a line of its table esp_sa.
func saOption(a Association) string {
	octets := []byte(a.Key)
	encryption, authentication, mac := "AES-GCM with 16 octet ICV [RFC4106]", "NULL", ""
	if a.Algorithm == AESCBCSHA256 {
		at := len(octets) - hmacKeyLen
		encryption, authentication, mac = "AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]", "0x"+hex.EncodeToString(octets[at:])
		octets = octets[:at]
	}
	fields := []string{"IPv6", "*", "*", fmt.Sprintf("0x%08x", a.SPI), encryption, "0x" + hex.EncodeToString(octets), authentication, mac}
	return `uat:esp_sa:"` + strings.Join(fields, `","`) + `"`
}

// A stranger decrypts what we send, and finds in it what was to be protected:
// tshark, given the keys, dissects each message, in transport and in tunnel mode.
func TestTSharkDecrypts(t *testing.T) {
	tshark.Need(t)
	var frames [][]byte
	var associations []Association
	var want []string
	write := func(packet []byte, err error, reading ...string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd}, packet...))
		want = append(want, strings.Join(reading, "|"))
	}
	first := uint32(0x1000)
	for _, a := range []Algorithm{AESCBCSHA256, AESGCM} {
		for _, bits := range []int{128, 256} {
			ofMobile, ofAgent := policies(home, a, bits, first)
			first += 0x100
			associations = append(associations, ofMobile.Out, ofMobile.In, *ofMobile.TunnelOut, *ofMobile.TunnelIn)
			mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
			protect := func(p *Policies, m appender, reading ...string) {
				b, protected, err := p.Protect(nil, whole(t, m))
				if err == nil && !protected {
					t.Errorf("not protected: %v", reading)
				}
				write(b, err, reading...)
			}
			// The fields are those asked for below.
			const transport, tunnel = "eth:ethertype:ipv6:ipv6.%s:esp:%s", "eth:ethertype:ipv6:esp:ipv6:mipv6"
			protect(mobileSide, update(), fmt.Sprintf(transport, "dstopts", "mipv6"), "1", "5", "7", "", "", "", "", "", "1", "")
			protect(agentSide, acknowledgement(), fmt.Sprintf(transport, "routing", "mipv6"), "1", "6", "", "7", "", "", "", "", "1", "")
			protect(mobileSide, mip6.ICMPPacket{Source: careOf, Destination: agent, HomeAddress: home, Message: mip6.PrefixSolicitation{Identifier: 78}},
				fmt.Sprintf(transport, "dstopts", "icmpv6"), "2", "", "", "", "", "", "146", "", "1", "")
			b, err := mobileSide.Encapsulate(nil, start, overlay.Key{Home: home, Side: overlay.MobileSide}, careOf, agent, whole(t, homeTestInit()))
			write(b, err, tunnel, "1", "1", "", "", "0x0102030000000000", "", "", "", "1", "")
			b, err = agentSide.Encapsulate(nil, start, overlay.Key{Home: home, Side: overlay.AgentSide}, agent, careOf, whole(t, homeTest()))
			write(b, err, tunnel, "1", "3", "", "", "", "0x0102030000000000", "", "", "1", "")
		}
	}
	options := []string{"-E", "occurrence=l", "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"}
	for _, a := range associations {
		options = append(options, "-o", saOption(a))
	}
	got := tshark.Read(t, tshark.Capture(t, frames), options, "frame.protocols", "esp.sequence", "mip6.mhtype", "mip6.bu.seqnr", "mip6.ba.seqnr",
		"mip6.hoti.cookie", "mip6.hot.cookie", "icmpv6.type", "_ws.malformed", "esp.icv_good", "_ws.expert.message")
	if len(got) != len(want) {
		t.Fatalf("tshark reads %d packets, want %d", len(got), len(want))
	}
	for i := range want {
		if read := strings.Join(got[i], "|"); read != want[i] {
			t.Errorf("packet %d: tshark reads\n%s, want\n%s", i+1, read, want[i])
		}
	}
}
