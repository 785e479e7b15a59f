package radump

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"roam6/internal/radvdconf"
	"roam6/internal/translation"
	"roam6/internal/uci"
	"roam6/mip6"
	"roam6/nd"
)

// UCI is the configuration of a roam6 that would advertise the same on an
// interface, as sections to paste into /etc/config/roam6. Comments tell what it
// cannot say. An advertisement tells how often it comes only if it has the
// Advertisement Interval option.
func (h Heard) UCI() (string, error) {
	i := h.asInterface()
	t := radvdconf.Translate(&radvdconf.File{Interfaces: []radvdconf.Interface{i}})
	if len(t.Sections) > 0 {
		first := &t.Sections[0]
		for _, o := range h.RA.Others {
			first.Comments = append(first.Comments, fmt.Sprintf("option of type %d: left out, being unknown", o.Type))
		}
		for _, p := range h.RA.Prefixes {
			if p.Prefix.Addr().IsUnspecified() {
				first.Comments = append(first.Comments, fmt.Sprintf("prefix %v: left out: it has no network", p.Prefix))
			}
		}
		if !i.AdvIntervalOpt.Given {
			first.Comments = append(first.Comments, "max_interval_ms is a guess: the router does not tell how often it advertises")
		}
	}
	t.Sections = append(t.Sections, mapOptions(h.Link, h.RA.Anchors)...)
	text, err := t.Text(fmt.Sprintf("What %v advertises, heard on %s.", h.Source, h.Link))
	return string(text), err
}

// asInterface is an interface that advertises the same. Everything is given, so
// that nothing depends on defaults.
func (h Heard) asInterface() radvdconf.Interface {
	ra := h.RA
	i := radvdconf.Interface{
		Name:               h.Link,
		AdvSendAdvert:      radvdconf.Given(true),
		AdvManagedFlag:     radvdconf.Given(ra.Managed),
		AdvOtherConfigFlag: radvdconf.Given(ra.OtherConfig),
		AdvReachableTime:   radvdconf.Given(uint32(ra.ReachableTime.Milliseconds())),
		AdvRetransTimer:    radvdconf.Given(uint32(ra.RetransTimer.Milliseconds())),
		AdvCurHopLimit:     radvdconf.Given(uint32(ra.CurHopLimit)),
		AdvDefaultLifetime: radvdconf.Given(seconds(ra.RouterLifetime)),
		AdvSourceLLAddress: radvdconf.Given(ra.SourceLinkAddr != nil),
	}
	if ra.RouterLifetime > 0 {
		i.AdvDefaultPreference = radvdconf.Given(int(ra.Preference))
	}
	if ra.MTU != 0 {
		i.AdvLinkMTU = radvdconf.Given(ra.MTU)
	}
	if ra.CaptivePortal != "" {
		i.AdvCaptivePortalAPI = radvdconf.Given(ra.CaptivePortal)
	}
	if ra.Interval > 0 {
		i.AdvIntervalOpt = radvdconf.Given(true)
		i.MaxRtrAdvInterval = radvdconf.Given(ra.Interval)
	} else {
		i.MaxRtrAdvInterval = radvdconf.Given(guess(ra))
	}
	if ra.HomeAgent {
		i.AdvHomeAgentFlag = radvdconf.Given(true)
	}
	if info := ra.HomeAgentInfo; info != nil {
		i.AdvHomeAgentInfo = radvdconf.Given(true)
		i.HomeAgentLifetime = radvdconf.Given(seconds(info.Lifetime))
		i.HomeAgentPreference = radvdconf.Given(uint32(uint16(info.Preference)))
		i.AdvMobRtrSupportFlag = radvdconf.Given(info.MobileRouter)
	}
	addOptions(&i, ra)
	return i
}

func addOptions(i *radvdconf.Interface, ra nd.RouterAdvertisement) {
	for _, p := range ra.Prefixes {
		if !p.Prefix.Addr().IsUnspecified() { // there it would stand for the prefixes of the interface
			i.Prefixes = append(i.Prefixes, prefix(p))
		}
	}
	for _, r := range ra.Routes {
		i.Routes = append(i.Routes, radvdconf.Route{
			Prefix: r.Prefix, AdvRouteLifetime: radvdconf.Given(seconds(r.Lifetime)), AdvRoutePreference: radvdconf.Given(int(r.Preference)),
		})
	}
	for _, d := range ra.DNSServers {
		i.RDNSS = append(i.RDNSS, radvdconf.RDNSS{Servers: d.Servers, AdvRDNSSLifetime: radvdconf.Given(seconds(d.Lifetime))})
	}
	for _, d := range ra.DNSSearch {
		i.DNSSL = append(i.DNSSL, radvdconf.DNSSL{Suffixes: d.Domains, AdvDNSSLLifetime: radvdconf.Given(seconds(d.Lifetime))})
	}
	for _, n := range ra.NAT64 {
		i.NAT64Prefixes = append(i.NAT64Prefixes, radvdconf.NAT64Prefix{Prefix: n.Prefix, AdvValidLifetime: radvdconf.Given(seconds(n.Lifetime))})
	}
	for _, b := range ra.BorderRouters {
		i.ABRO = append(i.ABRO, radvdconf.ABRO{
			Address: b.Router, AdvVersionLow: radvdconf.Given(b.Version & 0xffff), AdvVersionHigh: radvdconf.Given(b.Version >> 16),
			AdvValidLifetime: radvdconf.Given(uint32(b.ValidLifetime / time.Minute)),
		})
	}
	for _, c := range ra.Contexts {
		i.LowpanContexts = append(i.LowpanContexts, radvdconf.LowpanContext{
			Prefix: c.Prefix, AdvContextID: radvdconf.Given(uint32(c.ID)), AdvContextCompressionFlag: radvdconf.Given(c.Compression),
			AdvLifeTime: radvdconf.Given(uint32(c.ValidLifetime / time.Minute)),
		})
	}
}

func prefix(p mip6.PrefixInformation) radvdconf.Prefix {
	return radvdconf.Prefix{
		Prefix:               p.Prefix,
		AdvOnLink:            radvdconf.Given(p.OnLink),
		AdvAutonomous:        radvdconf.Given(p.Autonomous),
		AdvRouterAddr:        radvdconf.Given(p.RouterAddress),
		AdvDHCPv6PDPreferred: radvdconf.Given(p.PreferDelegation),
		AdvValidLifetime:     radvdconf.Given(seconds(p.ValidLifetime)),
		AdvPreferredLifetime: radvdconf.Given(seconds(p.PreferredLifetime)),
	}
}

// seconds is a lifetime in whole seconds.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), radvdconf.Infinity))
}

// Where an advertisement does not tell how often it comes: a third of the router
// lifetime, as RFC 4861 §6.2.1 has it, but not longer than the shortest lifetime
// of DNS servers, domains and NAT64 prefixes.
const usualInterval, shortestInterval = 600 * time.Second, 4 * time.Second

func guess(ra nd.RouterAdvertisement) time.Duration {
	interval := usualInterval
	atMost := func(d time.Duration) {
		if d > 0 {
			interval = min(interval, d)
		}
	}
	atMost(ra.RouterLifetime / 3)
	for _, d := range ra.DNSServers {
		atMost(d.Lifetime)
	}
	for _, d := range ra.DNSSearch {
		atMost(d.Lifetime)
	}
	for _, n := range ra.NAT64 {
		atMost(n.Lifetime)
	}
	return max(interval.Truncate(time.Second), shortestInterval)
}

// mapOptions are the sections of mobility anchor points, which radvd does not have.
func mapOptions(link string, anchors []mip6.MobilityAnchorPoint) (sections []translation.Section) {
	seen := map[netip.Addr]bool{}
	for _, a := range anchors {
		if seen[a.Address] {
			continue
		}
		seen[a.Address] = true
		s := translation.Section{Section: uci.Section{Type: "map_option", Anonymous: true}}
		option := func(name, value string) {
			s.Options = append(s.Options, uci.Option{Name: name, Values: []uci.Value{{Text: value}}})
		}
		option("interface", link)
		option("address", a.Address.String())
		option("distance", strconv.Itoa(int(a.Distance)))
		option("preference", strconv.Itoa(int(a.Preference)))
		lifetime := strconv.FormatUint(uint64(seconds(a.ValidLifetime)), 10)
		if a.ValidLifetime >= mip6.InfiniteLifetime {
			lifetime = "infinity"
		}
		option("lifetime", lifetime)
		if a.Allocated {
			option("allocated", "1")
		}
		sections = append(sections, s)
	}
	return sections
}
