package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/mip6"
	"roam6/nd"
)

const lanSection = "config interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n"

// prefixSection is a prefix section of lan0 with further lines.
func prefixSection(lines ...string) string {
	text := "config prefix\n\toption interface 'lan0'\n"
	for _, l := range lines {
		text += "\t" + l + "\n"
	}
	return text
}

// linkAddress is an address with lifetimes from testNow; negative ones are for ever.
func linkAddress(prefix string, preferred, valid time.Duration) rtnl.LinkAddress {
	until := func(d time.Duration) time.Time {
		if d < 0 {
			return time.Time{}
		}
		return testNow.Add(d)
	}
	return rtnl.LinkAddress{Prefix: netip.MustParsePrefix(prefix), PreferredUntil: until(preferred), ValidUntil: until(valid), Deprecated: preferred == 0}
}

// advertisedPrefixes writes what is told of prefixes at testNow.
func advertisedPrefixes(c nd.AdvertiserConfig) string {
	var b strings.Builder
	for _, p := range c.At(testNow).Prefixes {
		fmt.Fprintf(&b, "%v %v/%v", p.Prefix, p.PreferredLifetime, p.ValidLifetime)
		if p.RouterAddress {
			b.WriteString(" R")
		}
		if !p.OnLink {
			b.WriteString(" off-link")
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// `::/64` and Base6Interface: what is advertised of the addresses that an interface
// has. The lifetimes are the configured ones where the kernel's are not shorter
// (RFC 9096 §3.3).
func TestOwnPrefixes(t *testing.T) {
	const hour = time.Hour
	forever := func(p string) rtnl.LinkAddress { return linkAddress(p, -1, -1) }
	temporary := linkAddress("2001:db8:1::7/64", 30*time.Minute, hour)
	temporary.Temporary = true
	for _, c := range []struct {
		what      string
		section   string
		addresses map[string][]rtnl.LinkAddress
		want      string
	}{
		{"no address", prefixSection(), nil, ""},
		{"static", prefixSection(), map[string][]rtnl.LinkAddress{"lan0": {forever("2001:db8:1::1/64"), forever("fe80::1/64")}},
			"2001:db8:1::/64 4h0m0s/24h0m0s"},
		{"of another interface", prefixSection(), map[string][]rtnl.LinkAddress{"lan1": {forever("2001:db8:1::1/64")}}, ""},
		{"of another length", prefixSection(), map[string][]rtnl.LinkAddress{"lan0": {forever("2001:db8:1::1/56"), forever("2001:db8:2::1/128")}}, ""},
		{"::/56", prefixSection("list prefix '::/56'", "option AdvAutonomous '0'"),
			map[string][]rtnl.LinkAddress{"lan0": {forever("2001:db8:1:ff::1/56")}}, "2001:db8:1::/56 4h0m0s/24h0m0s"},
		{"several", prefixSection(), map[string][]rtnl.LinkAddress{"lan0": {forever("2001:db8:1::1/64"), forever("fd00::1/64")}},
			"2001:db8:1::/64 4h0m0s/24h0m0s; fd00::/64 4h0m0s/24h0m0s"},
		{"shorter lifetimes", prefixSection(), map[string][]rtnl.LinkAddress{"lan0": {linkAddress("2001:db8:1::1/64", hour, 2*hour)}},
			"2001:db8:1::/64 1h0m0s/2h0m0s"},
		{"longer lifetimes", prefixSection(), map[string][]rtnl.LinkAddress{"lan0": {linkAddress("2001:db8:1::1/64", 200*hour, 300*hour)}},
			"2001:db8:1::/64 4h0m0s/24h0m0s"},
		{"the longest of several addresses", prefixSection(),
			map[string][]rtnl.LinkAddress{"lan0": {linkAddress("2001:db8:1::1/64", 0, hour), linkAddress("2001:db8:1::2/64", hour, 3*hour), temporary}},
			"2001:db8:1::/64 1h0m0s/3h0m0s"},
		{"deprecated", prefixSection(), map[string][]rtnl.LinkAddress{"lan0": {linkAddress("2001:db8:1::1/64", 0, hour)}},
			"2001:db8:1::/64 0s/1h0m0s"},
		{"the router's address", prefixSection("option AdvRouterAddr '1'"),
			map[string][]rtnl.LinkAddress{"lan0": {linkAddress("2001:db8:1::2/64", 0, -1), temporary, linkAddress("2001:db8:1::5/64", hour, 2*hour)}},
			"2001:db8:1::5/64 1h0m0s/24h0m0s R"},
		{"no address of its own in it", prefixSection("option AdvRouterAddr '1'"),
			map[string][]rtnl.LinkAddress{"lan0": {forever("2001:db8:1::/64")}}, "2001:db8:1::/64 4h0m0s/24h0m0s"},
		{"explicit ones first", prefixSection() + prefixSection("list prefix '2001:db8:1::/64'", "option AdvOnLink '0'"),
			map[string][]rtnl.LinkAddress{"lan0": {forever("2001:db8:1::1/64"), forever("2001:db8:2::1/64")}},
			"2001:db8:1::/64 4h0m0s/24h0m0s off-link; 2001:db8:2::/64 4h0m0s/24h0m0s"},
		{"a subnet behind another interface", prefixSection("list prefix '0:0:0:7::/64'", "option Base6Interface 'wan6'"),
			map[string][]rtnl.LinkAddress{"wan6": {linkAddress("2001:db8:1:ff10::1/60", hour, 2*hour), forever("fe80::9/64")}},
			"2001:db8:1:ff17::/64 1h0m0s/2h0m0s"},
		{"a subnet that does not fit", prefixSection("list prefix '0:0:0:17::/64'", "option Base6Interface 'wan6'"),
			map[string][]rtnl.LinkAddress{"wan6": {forever("2001:db8:1:ff10::1/60"), forever("2001:db8:2:7::1/128")}}, ""},
		{"the first subnet of a /64", prefixSection("list prefix '::/64'", "option Base6Interface 'wan6'"),
			map[string][]rtnl.LinkAddress{"wan6": {forever("2001:db8:1:2::1/64")}}, "2001:db8:1:2::/64 4h0m0s/24h0m0s"},
		{"a subnet with the router's address", prefixSection("list prefix '0:0:0:7::/64'", "option Base6Interface 'wan6'", "option AdvRouterAddr '1'"),
			map[string][]rtnl.LinkAddress{"wan6": {forever("2001:db8:1::1/60")}, "lan0": {forever("2001:db8:1:7::9/128")}},
			"2001:db8:1:7::9/64 4h0m0s/24h0m0s R"},
	} {
		s, _ := bareShell(t, lanSection+c.section)
		a := advertisements(s.config)["lan0"]
		a.addresses = func(name string) []rtnl.LinkAddress { return c.addresses[name] }
		got := a.machineConfig(role.Link{Name: "lan0", Ethernet: [6]byte{2}, MTU: 1500}, s.networkUsable)
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if text := advertisedPrefixes(got); text != c.want {
			t.Errorf("%s: %q, want %q", c.what, text, c.want)
		}
	}
}

// However many addresses an interface has, what is advertised of them is bounded and
// can be sent.
func TestOwnPrefixesBounded(t *testing.T) {
	s, _ := bareShell(t, lanSection+prefixSection())
	a := advertisements(s.config)["lan0"]
	a.addresses = func(string) (list []rtnl.LinkAddress) {
		for i := range 1000 {
			list = append(list, linkAddress(fmt.Sprintf("2001:db8:%x::1/64", i), -1, -1))
		}
		return list
	}
	c := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable)
	if n := len(c.Advertisement.Prefixes); n != maxOwnPrefixes || c.Validate() != nil {
		t.Errorf("%d prefixes, %v", n, c.Validate())
	}
}

// On the network of a mobile router `::/64` says how what is delegated is advertised,
// and a prefix that the home agent refuses is not, wherever it comes from
// (RFC 3963 §5.4.2).
//
// Covers: R5.
func TestOwnPrefixesOfMobileNetwork(t *testing.T) {
	s, _ := bareShell(t, lanSection+prefixSection("option AdvRouterAddr '1'", "option AdvValidLifetime '3600'", "option AdvOnLink '0'"))
	lan := netip.MustParsePrefix("2001:db8:100::/64")
	s.advertised = advertisements(s.config)
	s.numbering.give(testNow, nil, role.NumberDownstream{Interface: "lan0", Prefix: lan, Preferred: 30 * time.Minute, Valid: 40 * time.Minute})
	a, _ := s.advertisementOn("lan0")
	link := role.Link{Name: "lan0", Ethernet: [6]byte{2}}
	if got, want := advertisedPrefixes(a.machineConfig(link, s.networkUsable)), "2001:db8:100::1/64 30m0s/40m0s R off-link"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.numbering.give(testNow, nil, role.NumberDownstream{Interface: "lan0", Prefix: lan})
	a, _ = s.advertisementOn("lan0")
	if got, want := advertisedPrefixes(a.machineConfig(link, s.networkUsable)), "2001:db8:100::/64 0s/40m0s off-link"; got != want {
		t.Errorf("taken back: %q, want %q", got, want)
	}

	a = advertisement{section: a.section, networks: []netip.Prefix{netip.MustParsePrefix("2001:db8:100::/56")}}
	a.addresses = func(string) []rtnl.LinkAddress {
		return []rtnl.LinkAddress{linkAddress("2001:db8:100:1::1/64", -1, -1)}
	}
	if got, want := advertisedPrefixes(a.machineConfig(link, s.networkUsable)), "2001:db8:100:1::1/64 1h0m0s/1h0m0s R off-link; 2001:db8:100::/56 4h0m0s/24h0m0s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.refused[netip.MustParsePrefix("2001:db8:100::/56")] = true
	if got := advertisedPrefixes(a.machineConfig(link, s.networkUsable)); got != "" {
		t.Errorf("refused, and advertised: %q", got)
	}
}

// DecrementLifetimes: down from the start, whatever is reloaded; a prefix that is
// changed begins anew, and so does one that was gone.
func TestCountdowns(t *testing.T) {
	var x countdowns
	p := mip6.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), PreferredLifetime: time.Hour, ValidLifetime: 2 * time.Hour}
	changed := p
	changed.ValidLifetime = 3 * time.Hour
	begun := func(now time.Time, link string, list ...mip6.PrefixInformation) (out []time.Duration) {
		of, done := x.of(now, link)
		defer done()
		for _, p := range list {
			out = append(out, now.Sub(of(p)))
		}
		return out
	}
	for i, step := range []struct {
		at   time.Duration
		link string
		list []mip6.PrefixInformation
		want string
	}{
		{0, "lan0", []mip6.PrefixInformation{p}, "[0s]"},
		{time.Minute, "lan0", []mip6.PrefixInformation{p}, "[1m0s]"},
		{time.Minute, "lan1", []mip6.PrefixInformation{p}, "[0s]"},
		{2 * time.Minute, "lan0", []mip6.PrefixInformation{p}, "[2m0s]"},
		{3 * time.Minute, "lan0", []mip6.PrefixInformation{changed}, "[0s]"},
		{4 * time.Minute, "lan0", []mip6.PrefixInformation{changed}, "[1m0s]"},
		{5 * time.Minute, "lan0", nil, "[]"},
		{6 * time.Minute, "lan0", []mip6.PrefixInformation{changed}, "[0s]"},
		{6 * time.Minute, "lan1", []mip6.PrefixInformation{p}, "[5m0s]"},
	} {
		if got := fmt.Sprint(begun(testNow.Add(step.at), step.link, step.list...)); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	if len(x.since) != 2 {
		t.Errorf("remembered %v", x.since)
	}

	s, _ := bareShell(t, lanSection+prefixSection("option DecrementLifetimes '1'", "list prefix '2001:db8:1::/64'")+
		prefixSection("option DecrementLifetimes '1'"))
	a := advertisements(s.config)["lan0"]
	a.addresses = func(string) []rtnl.LinkAddress {
		return []rtnl.LinkAddress{linkAddress("2001:db8:2::1/64", time.Hour, -1)}
	}
	a.begun = func(mip6.PrefixInformation) time.Time { return testNow.Add(-2 * time.Hour) }
	got := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable)
	if text, want := advertisedPrefixes(got), "2001:db8:1::/64 2h0m0s/22h0m0s; 2001:db8:2::/64 1h0m0s/22h0m0s"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// A home agent whose link has no address of its own cannot say that it is one: what
// else there is is advertised all the same (RFC 6275 §7.2).
func TestHomeAgentWithoutAddress(t *testing.T) {
	s, _ := bareShell(t, lanSection+"\toption AdvHomeAgentFlag '1'\n\toption AdvHomeAgentInfo '1'\n\toption HomeAgentPreference '5'\n"+prefixSection("option AdvRouterAddr '1'"))
	a := advertisements(s.config)["lan0"]
	link := role.Link{Name: "lan0", Ethernet: [6]byte{2}}
	if c := a.machineConfig(link, s.networkUsable); c.Validate() != nil || c.Advertisement.HomeAgent || c.Advertisement.HomeAgentInfo != nil {
		t.Errorf("%+v, %v", c.Advertisement, c.Validate())
	}
	a.addresses = func(string) []rtnl.LinkAddress { return []rtnl.LinkAddress{linkAddress("2001:db8:2::1/64", -1, -1)} }
	if c := a.machineConfig(link, s.networkUsable); c.Validate() != nil || !c.Advertisement.HomeAgent || c.Advertisement.HomeAgentInfo == nil {
		t.Errorf("%+v, %v", c.Advertisement, c.Validate())
	}
}

// Everything that a section says has its place in what is sent, and in how.
func TestSectionConfig(t *testing.T) {
	s, _ := bareShell(t, `
config interface
	option interface 'lan0'
	option AdvSendAdvert '1'
	option max_interval_ms '30000'
	option UnicastOnly '1'
	list client 'fe80::c1'
	list AdvRASrcAddress 'fe80::5'
	option RemoveAdvOnExit '0'
	option AdvLinkMTU '9000'
	option AdvCaptivePortalAPI 'https://portal.example.org/'
	option AdvDefaultPreference 'low'

config prefix
	option interface 'lan0'
	list prefix '2001:db8:1::/64'
	option AdvDHCPv6PDPreferred '1'

config route
	option interface 'lan0'
	list prefix '2001:db8:100::/40'
	option RemoveRoute '0'

config rdnss
	option interface 'lan0'
	list addr '2001:db8:1::53'
	option FlushRDNSS '0'

config dnssl
	option interface 'lan0'
	list suffix 'example.org'
	option FlushDNSSL '0'

config nat64prefix
	option interface 'lan0'
	list prefix '64:ff9b::/96'

config abro
	option interface 'lan0'
	option address '2001:db8:1::2'

config lowpanco
	option interface 'lan0'
	option prefix '2001:db8:1::/64'
	option AdvContextID '3'
	option AdvLifeTime '60'

config map_option
	option interface 'lan0'
	option address '2001:db8:9::1'
`)
	a := advertisements(s.config)["lan0"]
	a.anchors = s.anchorsFor(a.section)
	c := a.machineConfig(role.Link{Name: "lan0", MTU: 1400, Ethernet: [6]byte{2}}, s.networkUsable)
	ra, f := c.Advertisement, c.Farewell
	switch {
	case c.Validate() != nil:
		t.Error(c.Validate())
	case !c.UnicastOnly || len(c.Clients) != 1 || !c.KeepOnExit || c.SolicitedDelay != nd.MaxRADelay:
		t.Errorf("how: %+v", c)
	case ra.MTU != 1400 || ra.CaptivePortal == "" || ra.Preference != nd.PreferenceLow || len(ra.SourceLinkAddr) != 6:
		t.Errorf("fields: %+v", ra)
	case len(ra.Prefixes) != 1 || !ra.Prefixes[0].PreferDelegation || len(ra.Routes) != 1 || len(ra.DNSServers) != 1 || len(ra.DNSSearch) != 1,
		len(ra.NAT64) != 1 || len(ra.BorderRouters) != 1 || len(ra.Contexts) != 1 || len(ra.Anchors) != 1:
		t.Errorf("options: %+v", ra)
	case len(f.KeepRoutes) != 1 || len(f.KeepServers) != 1 || len(f.KeepDomains) != 1 || len(f.Deprecate) != 0:
		t.Errorf("at the end: %+v", f)
	case fmt.Sprint(a.sourcesOf()) != "[fe80::5]":
		t.Errorf("from %v", a.sourcesOf())
	}

	// The end of the section alone is told to the same nodes in the same way, and all
	// that it told is taken back.
	end := farewellOf(c)
	if err := end.Validate(); err != nil || end.KeepOnExit || !end.UnicastOnly || len(end.Clients) != 1 || end.MinDelay != c.MinDelay {
		t.Errorf("%+v, %v", end, err)
	}
	if ra := end.Advertisement; ra.RouterLifetime != 0 || len(ra.Prefixes)+len(ra.Routes)+len(ra.DNSServers)+len(ra.DNSSearch)+len(ra.NAT64) != 0 {
		t.Errorf("%+v", ra)
	}
	for _, p := range []config.Prefix{{Deprecate: true, PrefixInformation: mip6.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), ValidLifetime: time.Hour}}} {
		a.section.Prefixes = []config.Prefix{p}
		if f := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable).Farewell; len(f.Deprecate) != 1 || f.Deprecate[0] != p.Prefix {
			t.Errorf("deprecated at the end: %v", f.Deprecate)
		}
	}
}
