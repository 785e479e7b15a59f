package nd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/pcap/tshark"
	"roam6/mip6"
)

// What an advertiser sends is dissected by somebody else without a complaint, and with
// the same values.
//
// Covers: P1
func TestTSharkReadsAdvertisements(t *testing.T) {
	tshark.Need(t)
	c := informed()
	ra := &c.Advertisement
	ra.Anchors[0].Allocated = true
	ra.CaptivePortal = "https://portal.example/api"
	ra.BorderRouters = []BorderRouter{{Version: 0x2000a, ValidLifetime: time.Hour, Router: adr("2001:db8::b")}}
	ra.Prefixes = append(ra.Prefixes, mip6.PrefixInformation{Prefix: pfx("2001:db8:b::/64"), OnLink: true, PreferDelegation: true, ValidLifetime: time.Hour})
	a := newAdvertiser(t, c)
	sent := a.wake()
	crowd := newAdvertiser(t, crowded())
	sent = append(sent, crowd.wake()...)

	var frames [][]byte
	for _, s := range sent {
		frames = append(frames, advertisementFrame(s))
	}
	file := tshark.Capture(t, frames)
	read := func(filter string, fields ...string) [][]string {
		return tshark.Read(t, file, []string{"-Y", filter}, fields...)
	}
	for _, got := range read("_ws.malformed || _ws.expert.severity >= 0x600000 || icmpv6.checksum.status != 1", "frame.number", "_ws.expert.message") {
		t.Errorf("tshark complains of frame %q", got)
	}
	var fields, want []string
	for name, value := range map[string]string{
		"icmpv6.opt.type":                             "1,3,3,23,24,25,31,38,37,35,34",
		"icmpv6.opt.prefix.flag":                      "0xc0,0x90",
		"icmpv6.opt.map.distance":                     "1",
		"icmpv6.opt.map.preference":                   "5",
		"icmpv6.opt.map.flag.r":                       "1",
		"icmpv6.opt.map.valid_lifetime":               "3600",
		"icmpv6.opt.map.global_address":               "2001:db8:a::1",
		"icmpv6.opt.route_info.flag.route_preference": "1",
		"icmpv6.opt.route_lifetime":                   "3600",
		"icmpv6.opt.rdnss":                            "2001:db8::53,2001:db8::54",
		"icmpv6.opt.rdnss.lifetime":                   "1800",
		"icmpv6.opt.dnssl":                            "example.org,example.net",
		"icmpv6.opt.dnssl.lifetime":                   "1800",
		"icmpv6.opt.6co.context_length":               "64",
		"icmpv6.opt.6co.flag.c":                       "1",
		"icmpv6.opt.6co.flag.cid":                     "2",
		"icmpv6.opt.6co.valid_lifetime":               "60",
		"icmpv6.opt.6co.context_prefix":               "2001:db8::",
		"icmpv6.opt.abro.version_low":                 "10",
		"icmpv6.opt.abro.version_high":                "2",
		"icmpv6.opt.abro.valid_lifetime":              "60",
		"icmpv6.opt.abro.6lbr_address":                "2001:db8::b",
		"icmpv6.opt.captive_portal":                   "https://portal.example/api",
		"icmpv6.opt.pref64.scaled_lifetime":           "450",
		"icmpv6.opt.pref64.plc":                       "0x0000",
		"icmpv6.opt.pref64.prefix":                    "64:ff9b::",
	} {
		fields, want = append(fields, name), append(want, value)
	}
	rows := read("frame.number == 1", fields...)
	if len(rows) != 1 {
		t.Fatalf("tshark reads %q", rows)
	}
	for i, got := range rows[0] {
		if got != want[i] {
			t.Errorf("tshark reads %s as %q, want %q", fields[i], got, want[i])
		}
	}
	if got := fmt.Sprint(read("frame.number > 1", "icmpv6.opt.map.global_address")); strings.Count(got, "::1") != 40 {
		t.Errorf("tshark reads the anchors of several packets as %q", got)
	}
}

// advertisementFrame makes an Ethernet frame of a transmission.
func advertisementFrame(s Transmission) []byte {
	m := s.Advertisement.Append(nil)
	Seal(router1, s.Destination, m)
	b := []byte{0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
	b = append(b, 58, HopLimit)
	for _, a := range []netip.Addr{router1, s.Destination} {
		b = append(b, a.AsSlice()...)
	}
	return append(b, m...)
}
