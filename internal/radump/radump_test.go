package radump

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/mip6"
	"roam6/nd"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// full is an advertisement with everything.
func full() nd.RouterAdvertisement {
	server := netip.MustParseAddr("2001:db8::53")
	return nd.RouterAdvertisement{
		CurHopLimit: 64, Managed: true, HomeAgent: true, Preference: nd.PreferenceHigh,
		RouterLifetime: 1800 * time.Second, ReachableTime: 30 * time.Second, RetransTimer: time.Second,
		SourceLinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1400, Interval: 70 * time.Millisecond,
		HomeAgentInfo: &mip6.HomeAgentInformation{Preference: -5, Lifetime: time.Hour, MobileRouter: true},
		Prefixes: []mip6.PrefixInformation{
			{Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), OnLink: true, Autonomous: true, RouterAddress: true,
				ValidLifetime: mip6.InfiniteLifetime, PreferredLifetime: 4 * time.Hour},
			{Prefix: netip.MustParsePrefix("2001:db8:2::/64"), PreferDelegation: true, ValidLifetime: time.Hour},
		},
		Anchors: []mip6.MobilityAnchorPoint{{Address: netip.MustParseAddr("2001:db8:a::1"), Distance: 2, Preference: 10, ValidLifetime: time.Hour}},
		Routes: []nd.RouteInformation{
			{Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Preference: nd.PreferenceLow, Lifetime: mip6.InfiniteLifetime},
			{Prefix: netip.MustParsePrefix("::/0"), Lifetime: time.Minute},
		},
		DNSServers:    []nd.RecursiveDNS{{Servers: []netip.Addr{server, netip.MustParseAddr("fe80::53")}, Lifetime: time.Minute}},
		DNSSearch:     []nd.DNSSearch{{Domains: []string{"example.org", "branch.example.org"}, Lifetime: time.Minute}},
		NAT64:         []nd.NAT64Prefix{{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: 1800 * time.Second}},
		CaptivePortal: "https://portal.example.org/api",
		BorderRouters: []nd.BorderRouter{{Version: 2<<16 | 10, ValidLifetime: 5 * time.Minute, Router: server}},
		Contexts:      []nd.Context{{Prefix: netip.MustParsePrefix("2001:db8:3::/50"), ID: 3, Compression: true, ValidLifetime: time.Hour}},
		Others:        []nd.RawOption{{Type: 99, Data: []byte{1, 2, 3, 4, 5, 6}}},
		Malformed:     1,
	}
}

func heard(ra nd.RouterAdvertisement) Heard {
	return Heard{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC), Link: "eth0",
		Source: netip.MustParseAddr("fe80::1"), Destination: nd.AllNodes(), LinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, RA: ra,
	}
}

func TestText(t *testing.T) {
	golden(t, "full.txt", heard(full()).Text(Gap{Known: true, Time: 10003*time.Millisecond + 400*time.Microsecond}))
	bare := heard(nd.RouterAdvertisement{})
	bare.LinkAddr = nil
	golden(t, "bare.txt", bare.Text(Gap{}))
}

func TestJSON(t *testing.T) {
	for name, line := range map[string]string{
		"full.json": heard(full()).JSON(Gap{Known: true, Time: 10 * time.Second}),
		"bare.json": heard(nd.RouterAdvertisement{}).JSON(Gap{}),
	} {
		golden(t, name, line)
		if !json.Valid([]byte(line)) || strings.Count(line, "\n") != 1 {
			t.Errorf("not a line of JSON: %s", line)
		}
	}
}

// accepted gives the interface that the UCI text configures.
func accepted(t *testing.T, h Heard) config.Interface {
	t.Helper()
	text, err := h.UCI()
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("roam6", []byte(text))
	if err != nil || len(c.Interfaces) != 1 {
		t.Fatalf("%v in\n%s", err, text)
	}
	return c.Interfaces[0]
}

func TestUCI(t *testing.T) {
	for name, ra := range map[string]nd.RouterAdvertisement{
		"full.uci": full(),
		"bare.uci": {},
		// A home agent that does not tell its address, and lifetimes that go before
		// the next advertisement can come.
		"awkward.uci": {
			HomeAgent: true, RouterLifetime: 3 * time.Second, CaptivePortal: "http://portal.example.org",
			Prefixes: []mip6.PrefixInformation{
				{Prefix: netip.MustParsePrefix("::/64"), OnLink: true},
				{Prefix: netip.MustParsePrefix("fe80::/64"), OnLink: true},
				{Prefix: netip.MustParsePrefix("2001:db8::/64"), RouterAddress: true, ValidLifetime: time.Hour, PreferredLifetime: 2 * time.Hour},
			},
			DNSServers: []nd.RecursiveDNS{{Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Lifetime: 2 * time.Second}},
		},
	} {
		h := heard(ra)
		text, err := h.UCI()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, text)
		accepted(t, h)
	}
}

// What the configuration says is what was heard.
func TestUCIIsTheSame(t *testing.T) {
	ra := full()
	i := accepted(t, heard(ra))
	if i.Name != "eth0" || !i.Advertise || i.MaxInterval != ra.Interval || !i.IntervalOption || i.RouterLifetime != ra.RouterLifetime ||
		!i.Managed || i.OtherConfig || i.MTU != ra.MTU || i.CurHopLimit != ra.CurHopLimit || i.ReachableTime != ra.ReachableTime ||
		i.RetransTimer != ra.RetransTimer || i.Preference != ra.Preference || !i.SourceLinkAddr || !i.HomeAgent || *i.HomeAgentInfo != *ra.HomeAgentInfo ||
		i.CaptivePortal != ra.CaptivePortal {
		t.Errorf("%+v", i)
	}
	for n, p := range i.Prefixes {
		if p.PrefixInformation != ra.Prefixes[n] || p.Own {
			t.Errorf("prefix %+v", p)
		}
	}
	for n, r := range i.Routes {
		if r.RouteInformation != ra.Routes[n] {
			t.Errorf("route %+v", r)
		}
	}
	same := func(what string, got, want any) {
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("%s %s, want %s", what, g, w)
		}
	}
	same("counts", []int{len(i.Prefixes), len(i.Routes), len(i.DNSServers), len(i.DNSSearch)}, []int{2, 2, 1, 1})
	same("servers", i.DNSServers[0].RecursiveDNS, ra.DNSServers[0])
	same("domains", i.DNSSearch[0].DNSSearch, ra.DNSSearch[0])
	same("NAT64", i.NAT64, ra.NAT64)
	same("border routers", i.BorderRouters, ra.BorderRouters)
	same("contexts", i.Contexts, ra.Contexts)
	same("anchors", i.Anchors, ra.Anchors)
}

// Whatever is heard, roam6 takes the configuration made of it.
func TestUCIOfAnything(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 5))
		b := make([]byte, 16, 1500)
		b[0] = nd.TypeRouterAdvertisement
		for i := 4; i < len(b); i++ {
			b[i] = byte(r.Uint32N(256)) & byte(-r.Uint32N(2))
		}
		for range r.IntN(12) {
			kinds := []byte{1, 3, 3, 5, 7, 8, 23, 24, 24, 25, 31, 34, 35, 37, 38, 200}
			units := []int{1, 2, 3, 4, 5}[r.IntN(5)]
			option := make([]byte, 8*units)
			for i := range option {
				option[i] = []byte{0, 0, 1, 3, 0x20, 0x40, 0x64, 'a', 0xfe, 0x80, 0xff, byte(r.Uint32N(256))}[r.IntN(12)]
			}
			option[0], option[1] = kinds[r.IntN(len(kinds))], byte(units)
			b = append(b, option...)
		}
		ra, err := nd.ParseRouterAdvertisement(b)
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, heard(ra))
	}
}

func TestHistory(t *testing.T) {
	var s History
	h := heard(nd.RouterAdvertisement{})
	if g := s.Hear(h); g.Known || !s.News(h, "a") {
		t.Errorf("the first: %v", g)
	}
	h.Time = h.Time.Add(3 * time.Second)
	if g := s.Hear(h); g != (Gap{true, 3 * time.Second}) || s.News(h, "a") || !s.News(h, "b") {
		t.Errorf("the second: %v", g)
	}
	other := h
	other.Link = "eth1"
	if g := s.Hear(other); g.Known || !s.News(other, "b") {
		t.Errorf("another link: %v", g)
	}
	// Invented routers do not take memory without end, and push out the oldest.
	for i := range 3 * maxRouters {
		invented := h
		invented.Time = h.Time.Add(time.Duration(i) * time.Second)
		invented.Source = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)})
		s.Hear(invented)
	}
	if len(s.routers) != maxRouters {
		t.Errorf("%d routers", len(s.routers))
	}
	if g := s.Hear(h); g.Known {
		t.Errorf("the oldest is still known: %v", g)
	}
}
