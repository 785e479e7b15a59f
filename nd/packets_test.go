package nd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
)

// crowded advertises more of everything than one packet holds.
func crowded() AdvertiserConfig {
	c := mobileConfig()
	ra := &c.Advertisement
	ra.MTU, ra.CaptivePortal = 1400, "https://portal.example/api"
	ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: 1, Lifetime: time.Minute}
	ra.BorderRouters = []BorderRouter{{Version: 1, Router: adr("2001:db8::b")}}
	for i := range 40 {
		ra.Prefixes = append(ra.Prefixes, prefixOption(fmt.Sprintf("2001:db8:%x::/64", i+0x100), time.Hour, time.Hour))
		ra.Routes = append(ra.Routes, RouteInformation{Prefix: pfx(fmt.Sprintf("2001:db8:%x::/48", i+0x200)), Lifetime: time.Hour})
		ra.Anchors = append(ra.Anchors, mip6.MobilityAnchorPoint{Address: adr(fmt.Sprintf("2001:db8:%x::1", i+0x300)), Distance: 1, Preference: 1, ValidLifetime: time.Hour})
		ra.DNSServers = append(ra.DNSServers, RecursiveDNS{Servers: []netip.Addr{adr(fmt.Sprintf("2001:db8:%x::53", i+0x400))}, Lifetime: time.Hour})
		ra.DNSSearch = append(ra.DNSSearch, DNSSearch{Domains: []string{fmt.Sprintf("n%d.example.org", i)}, Lifetime: time.Hour})
		ra.NAT64 = append(ra.NAT64, NAT64Prefix{Prefix: pfx(fmt.Sprintf("2001:db8:%x::/48", i+0x500)), Lifetime: time.Hour})
		ra.Others = append(ra.Others, RawOption{Type: 200, Data: []byte{byte(i), 0, 0, 0, 0, 0}})
	}
	for i := range 16 {
		ra.Contexts = append(ra.Contexts, Context{Prefix: pfx("2001:db8::/64"), ID: uint8(i), ValidLifetime: time.Hour})
	}
	return c
}

// gathered is what all packets of an advertisement tell together.
func gathered(t *testing.T, out []Transmission) RouterAdvertisement {
	t.Helper()
	var all RouterAdvertisement
	for i, p := range out {
		b := p.Advertisement.Append(nil)
		ra, err := ParseRouterAdvertisement(b)
		if err != nil || ra.Malformed > 0 || len(b) > maxAdvertisement {
			t.Fatalf("packet %d of %d octets: %v, %d malformed", i, len(b), err, ra.Malformed)
		}
		if i == 0 {
			all = ra
			continue
		}
		if len(ra.Prefixes) == 0 || ra.Prefixes[0] != all.Prefixes[0] || !ra.Prefixes[0].RouterAddress {
			t.Fatalf("packet %d lacks the prefix with the router's address (RFC 6275 §7.2): %+v", i, ra.Prefixes)
		}
		all.Prefixes = append(all.Prefixes, ra.Prefixes[1:]...)
		all.Anchors = append(all.Anchors, ra.Anchors...)
		all.Routes = append(all.Routes, ra.Routes...)
		all.DNSServers = append(all.DNSServers, ra.DNSServers...)
		all.DNSSearch = append(all.DNSSearch, ra.DNSSearch...)
		all.NAT64 = append(all.NAT64, ra.NAT64...)
		all.Contexts = append(all.Contexts, ra.Contexts...)
		all.Others = append(all.Others, ra.Others...)
		if ra.CaptivePortal != "" {
			all.CaptivePortal += ra.CaptivePortal
		}
	}
	return all
}

// RFC 4861 §6.2.3, RFC 6980: what does not fit one packet goes in several, each whole
// and true by itself, and together they say everything once, in order. They are one
// advertisement to the schedule.
func TestSeveralPackets(t *testing.T) {
	c := crowded()
	a := newAdvertiser(t, c)
	out := a.wake()
	if len(out) < 5 {
		t.Fatalf("%d packets", len(out))
	}
	want := c.At(epoch)
	if got := gathered(t, out); !reflect.DeepEqual(got, want) {
		t.Errorf("together they say\n%+v, want\n%+v", got, want)
	}
	for i, p := range out {
		single := p.Advertisement
		single.Prefixes = single.Prefixes[:1]
		single.Anchors, single.Routes, single.DNSServers, single.DNSSearch = nil, nil, nil, nil
		single.NAT64, single.Contexts, single.Others, single.CaptivePortal = nil, nil, nil, ""
		common := want
		common.Anchors, common.Routes, common.DNSServers, common.DNSSearch = nil, nil, nil, nil
		common.Prefixes = common.Prefixes[:1]
		common.NAT64, common.Contexts, common.Others, common.CaptivePortal = nil, nil, nil, ""
		if !reflect.DeepEqual(single, common) || p.Destination != AllNodes() {
			t.Errorf("packet %d, to %v, is headed\n%+v, want\n%+v", i, p.Destination, single, common)
		}
		if i < len(out)-1 {
			next := out[i+1].Advertisement
			if n := len(p.Advertisement.Append(nil)); n+largestOption(next) <= maxAdvertisement {
				t.Errorf("packet %d has %d octets, and there is more", i, n)
			}
		}
	}
	if s := a.Statistics(); s.Multicast != 1 || s.Packets != uint64(len(out)) {
		t.Errorf("statistics %+v", s)
	}
	if d := a.Next().Sub(a.now); d < 30*time.Millisecond || d > 70*time.Millisecond {
		t.Errorf("the next one follows after %v", d)
	}
	out = a.Solicited(a.now, host)
	if got := gathered(t, out); !reflect.DeepEqual(got, want) || out[0].Destination != host {
		t.Errorf("answered with %+v", got)
	}
	if s := a.Statistics(); s.Unicast != 1 {
		t.Errorf("statistics %+v", s)
	}
}

// largestOption is the octets of the longest option of those that are divided.
func largestOption(ra RouterAdvertisement) int {
	n := 0
	for _, p := range []RouterAdvertisement{
		{Prefixes: ra.Prefixes[min(1, len(ra.Prefixes)):min(2, len(ra.Prefixes))]}, {Anchors: ra.Anchors[:min(1, len(ra.Anchors))]},
		{Routes: ra.Routes[:min(1, len(ra.Routes))]}, {DNSServers: ra.DNSServers[:min(1, len(ra.DNSServers))]},
		{DNSSearch: ra.DNSSearch[:min(1, len(ra.DNSSearch))]}, {NAT64: ra.NAT64[:min(1, len(ra.NAT64))]},
		{Contexts: ra.Contexts[:min(1, len(ra.Contexts))]}, {Others: ra.Others[:min(1, len(ra.Others))]}, {CaptivePortal: ra.CaptivePortal},
	} {
		n = max(n, len(p.Append(nil))-lenRouterAdvertisement)
	}
	return n
}

// Only an option that no packet holds is refused.
func TestTooLong(t *testing.T) {
	servers := make([]netip.Addr, 80)
	for i := range servers {
		servers[i] = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(i)})
	}
	for name, change := range map[string]func(*RouterAdvertisement){
		"DNS servers":    func(r *RouterAdvertisement) { r.DNSServers = []RecursiveDNS{{Servers: servers, Lifetime: time.Hour}} },
		"captive portal": func(r *RouterAdvertisement) { r.CaptivePortal = "http:" + strings.Repeat("a", 1300) },
		"captive portal beyond an option": func(r *RouterAdvertisement) {
			r.CaptivePortal = "http:" + strings.Repeat("a", maxOptionData)
		},
		"domains beyond an option": func(r *RouterAdvertisement) {
			d := DNSSearch{Lifetime: time.Hour}
			for i := range 200 {
				d.Domains = append(d.Domains, fmt.Sprintf("n%d.example.org", i))
			}
			r.DNSSearch = []DNSSearch{d}
		},
		"border routers": func(r *RouterAdvertisement) {
			for _, a := range servers {
				r.BorderRouters = append(r.BorderRouters, BorderRouter{Router: a})
			}
		},
		"unknown option":     func(r *RouterAdvertisement) { r.Others = []RawOption{{Type: 200, Data: make([]byte, 1300)}} },
		"link-layer address": func(r *RouterAdvertisement) { r.SourceLinkAddr = make(net.HardwareAddr, 1300) },
	} {
		c := crowded()
		change(&c.Advertisement)
		if err := c.Validate(); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := crowded()
	c.Advertisement.DNSServers = []RecursiveDNS{{Servers: servers[:70], Lifetime: time.Hour}}
	if err := c.Validate(); err != nil {
		t.Errorf("70 servers: %v", err)
	}
}
