package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/mip6"
	"roam6/nd"
)

// advertisement says what is to be advertised on a link: its section of the
// configuration, the mobile network prefixes of a router whose downstream it
// is, or both; and what goes with the section now.
type advertisement struct {
	section  *config.Interface // nil: a downstream without one
	networks []netip.Prefix    // mobile network prefixes
	numbered []numbered        // of delegated prefixes
	// addresses are those that others than we have assigned to an interface, by its
	// name; nil: there are none.
	addresses func(name string) []rtnl.LinkAddress
	// begun is since when the lifetimes of a prefix count down; nil: none does.
	begun func(mip6.PrefixInformation) time.Time
	// anchors are the mobility anchor points to advertise, those of the section among
	// them.
	anchors []mip6.MobilityAnchorPoint
}

// advertisements collects what is to be advertised, by interface name. Each
// mobile network prefix goes to one downstream: the first to the first, and
// what is left over to the last.
func advertisements(c *config.Config) map[string]advertisement {
	all := make(map[string]advertisement)
	for i := range c.Interfaces {
		if in := &c.Interfaces[i]; in.Advertise {
			all[in.Name] = advertisement{section: in}
		}
	}
	for _, m := range c.MobileNodes {
		for i, p := range m.Prefixes {
			name := downstreamOf(m, i)
			if name == "" {
				break
			}
			a := all[name]
			a.networks = append(a.networks, p)
			all[name] = a
		}
	}
	return all
}

// Advertisements on a downstream without a section of its own. The nodes there
// do not move, but one that is switched on should not wait.
const (
	downstreamMin      = 10 * time.Second
	downstreamMax      = 30 * time.Second
	downstreamLifetime = 1800 * time.Second
	// Mobile nodes may visit a mobile network (RFC 6275 §7.5); and the final
	// advertisements of a stop are as far apart.
	downstreamMinDelay = 300 * time.Millisecond
	networkValid       = 24 * time.Hour
	networkPreferred   = 4 * time.Hour
	// plainMinDelay is the least time between advertisements on links that are not
	// configured for mobility (RFC 4861 §10).
	plainMinDelay = 3 * time.Second
)

// machineConfig is the advertiser's configuration for a link; usable tells
// which mobile network prefixes the home agent takes.
func (a advertisement) machineConfig(l role.Link, usable func(netip.Prefix) bool) nd.AdvertiserConfig {
	c, linkAddr := a.sectionConfig()
	ra := &c.Advertisement
	if linkAddr && l.Ethernet != ([6]byte{}) {
		ra.SourceLinkAddr = l.Ethernet[:]
	}
	if l.MTU > 0 { // RFC 4861 §6.2.1: not above that of the link
		ra.MTU = min(ra.MTU, uint32(l.MTU))
	}
	for _, p := range a.prefixes(l.Name, usable) {
		ra.Prefixes = append(ra.Prefixes, p.PrefixInformation)
		if e := p.ends; !e.Preferred.IsZero() || !e.Valid.IsZero() {
			e.Prefix = p.Prefix.Masked()
			c.Expiring = append(c.Expiring, e)
		}
		if p.deprecate {
			c.Farewell.Deprecate = append(c.Farewell.Deprecate, p.Prefix.Masked())
		}
	}
	if ra.HomeAgent && !slices.ContainsFunc(ra.Prefixes, func(p mip6.PrefixInformation) bool { return p.RouterAddress }) {
		// The interface has no address by which mobiles could know it (RFC 6275 §7.2).
		ra.HomeAgent, ra.HomeAgentInfo = false, nil
	}
	reachable := a.section != nil || len(a.networks) > 0
	for _, n := range a.numbered {
		reachable = reachable || n.given
	}
	if !reachable { // RFC 7084 §4.3 L-4, L-13: with nothing but deprecated prefixes it leads nowhere
		ra.RouterLifetime = 0
	}
	return c
}

// sectionConfig is what a link's section says beside prefixes, or the defaults of a
// downstream without one; linkAddr tells whether the link-layer address belongs to it.
func (a advertisement) sectionConfig() (c nd.AdvertiserConfig, linkAddr bool) {
	in := a.section
	if in == nil {
		return nd.AdvertiserConfig{
			MinInterval: downstreamMin, MaxInterval: downstreamMax, MinDelay: downstreamMinDelay,
			SolicitedUnicast: true,
			Advertisement:    nd.RouterAdvertisement{RouterLifetime: downstreamLifetime},
		}, true
	}
	c = nd.AdvertiserConfig{
		MinInterval: in.MinInterval, MaxInterval: in.MaxInterval, MinDelay: in.MinDelay,
		SolicitedUnicast: in.UnicastReplies, TellInterval: in.IntervalOption,
		UnicastOnly: in.UnicastOnly, Clients: in.Clients, KeepOnExit: in.KeepOnExit,
		Advertisement: nd.RouterAdvertisement{
			CurHopLimit: in.CurHopLimit, Managed: in.Managed, OtherConfig: in.OtherConfig, HomeAgent: in.HomeAgent,
			Preference: in.Preference, RouterLifetime: in.RouterLifetime, ReachableTime: in.ReachableTime,
			RetransTimer: in.RetransTimer, MTU: in.MTU, HomeAgentInfo: in.HomeAgentInfo,
			Anchors: a.anchors, NAT64: in.NAT64, CaptivePortal: in.CaptivePortal,
			BorderRouters: in.BorderRouters, Contexts: in.Contexts,
		},
	}
	a.addInformation(&c)
	if in.MinDelay >= plainMinDelay { // not configured for mobility: RFC 4861 §6.2.6
		c.SolicitedDelay = nd.MaxRADelay
	}
	return c, in.SourceLinkAddr
}

// addInformation adds what a section tells of routes and DNS, and what of it is not
// taken back at the end.
func (a advertisement) addInformation(c *nd.AdvertiserConfig) {
	ra, f := &c.Advertisement, &c.Farewell
	for _, r := range a.section.Routes {
		ra.Routes = append(ra.Routes, r.RouteInformation)
		if r.Keep {
			f.KeepRoutes = append(f.KeepRoutes, r.Prefix.Masked())
		}
	}
	for _, d := range a.section.DNSServers {
		ra.DNSServers = append(ra.DNSServers, d.RecursiveDNS)
		if d.Keep {
			f.KeepServers = append(f.KeepServers, d.Servers...)
		}
	}
	for _, d := range a.section.DNSSearch {
		ra.DNSSearch = append(ra.DNSSearch, d.DNSSearch)
		if d.Keep {
			f.KeepDomains = append(f.KeepDomains, d.Domains...)
		}
	}
}

// farewellOf is what is advertised at last on a link on which nothing is any more,
// while the daemon goes on: to those who heard the others, without what these told.
// Anchors stay until the final advertisements, which do not say that they failed.
func farewellOf(c nd.AdvertiserConfig) nd.AdvertiserConfig {
	ra := c.Advertisement
	c.Advertisement = nd.RouterAdvertisement{
		CurHopLimit: ra.CurHopLimit, Managed: ra.Managed, OtherConfig: ra.OtherConfig, ReachableTime: ra.ReachableTime,
		RetransTimer: ra.RetransTimer, SourceLinkAddr: ra.SourceLinkAddr, MTU: ra.MTU, Anchors: ra.Anchors,
	}
	c.Farewell, c.Expiring, c.KeepOnExit = nd.Farewell{}, nil, false
	return c
}
