package config

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// Whatever the file, the result is a list of errors or a configuration that
// keeps its promises.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"mobile_router.conf", "home_agent.conf", "access_router.conf", "mobile_node.conf", "delegated_router.conf", "delegating_agent.conf", "uplinks.conf", "ipsec.conf", "ipsec_agent.conf",
		"advertisements.conf", "anchor.conf", "hierarchy_mobile.conf", "hierarchy_router.conf"} {
		f.Add(testdata(f, name))
	}
	f.Add([]byte(node + router))
	f.Add([]byte(agent + mobile + link + whole))
	f.Add([]byte(delegated + requested + foreign))
	f.Add([]byte(pooled + mobile + " option duid '00:03:00:01'\n"))
	f.Add([]byte(unkeyed(node) + ipsecSection(256, gcmKey) + " option algorithm 'aes-gcm'\n"))
	f.Add([]byte(unkeyed(router+agent+mobile) + ipsecSection(256, cbcKey) + ipsecTunnel(256, cbcKey)))
	f.Add([]byte(lan + " option AdvSendAdvert 'on'\n option MaxRtrAdvInterval '0.07'\n option AdvIntervalOpt '1'\n option RemoveAdvOnExit '0'\n list client 'fe80::1'\n list map_upstream 'wan'\n" +
		own + " option Base6Interface 'wan'\n" + routed + dns + search + nat64 + abro + sixlo + mapopt))
	f.Add([]byte(anchor + " option interface 'eth1'\n list served_prefix '2001:db8::/32'\n" + visitor + local + keyed + " option mobile 'n'\n option anchors '2001:db8:5::1'\n"))
	f.Add([]byte("config globals\n list log_level x\nconfig prefix\n option AdvValidLifetime 'infinity'\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse("fuzz", src)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("%T holds no errors", err)
			}
			for i, e := range all {
				if e.Line < 1 || e.Column < 1 || e.Expected == "" || i > 0 && e.Before(all[i-1].Position) {
					t.Fatalf("error without place or reason, or out of order: %+v", e)
				}
			}
			return
		}
		sources, names := 0, map[string]bool{}
		for _, m := range c.MobileNodes {
			names[m.Name] = true
			if m.DefaultSource {
				sources++
			}
			if !m.HomeAddress.IsValid() || len(m.HomeAgents) == 0 && !m.Discover || m.RouteOptimisation == ListedRoutes && len(m.Correspondents) == 0 || len(m.Uplinks) == 0 || m.Router != (len(m.Prefixes) > 0 || m.Delegation) || m.Delegation && len(m.Downstreams) == 0 || !m.Delegation && m.DelegationLength != 0 || m.Lifetime < 8*time.Second {
				t.Fatalf("mobile node %+v", m)
			}
		}
		if sources > 1 {
			t.Fatalf("%d default sources", sources)
		}
		for _, p := range c.Policies {
			if !names[p.Mobile] || p.Protocol == 0 && p.Mask == 0 || p.Protocol == 0 && p.FirstPort != 0 || p.FirstPort > p.LastPort || p.Mark&^p.Mask != 0 {
				t.Fatalf("policy %+v", p)
			}
		}
		checkUplinks(t, c)
		checkPolicies(t, c)
		agents := map[string]HomeAgent{}
		for _, h := range c.HomeAgents {
			if h.Interface == "" || len(h.Prefixes) == 0 || !h.Prefixes[0].Contains(h.Address) || h.PrefixMinInterval > h.PrefixMaxInterval {
				t.Fatalf("home agent %+v", h)
			}
			if d := h.Delegation; d != nil && (d.Server.IsValid() == (len(d.Pools) > 0) || d.Preferred > d.Valid) {
				t.Fatalf("delegation %+v", d)
			}
			agents[h.Name] = h
		}
		for i, m := range c.Mobiles {
			at := func(p netip.Prefix) bool { return p.Contains(m.HomeAddress) }
			h := agents[m.HomeAgent]
			if !slices.ContainsFunc(slices.Concat(h.Prefixes, h.Deprecated), at) || len(m.Prefixes) > 0 && !m.Router ||
				m.Delegate && (!m.Router || h.Delegation == nil) || len(m.DUID) > 0 && !m.Delegate {
				t.Fatalf("mobile %+v", m)
			}
			for _, other := range c.HomeAgents {
				if other.Delegation == nil {
					continue
				}
				for _, pool := range other.Delegation.Pools {
					if slices.ContainsFunc(m.Prefixes, pool.Overlaps) {
						t.Fatalf("%s has what %s delegates from %v", m.Name, other.Name, pool)
					}
				}
			}
			// The plain way to see what claims.go sees by sorting.
			for _, other := range c.Mobiles[:i] {
				for _, p := range m.Prefixes {
					for _, q := range other.Prefixes {
						if p.Overlaps(q) {
							t.Fatalf("%s and %s share %v and %v", m.Name, other.Name, p, q)
						}
					}
				}
			}
		}
		for _, i := range c.Interfaces {
			checkInterface(t, i)
		}
		checkAnchors(t, c)
	})
}

// checkInterface checks what an interface section promises, most of all that the
// advertiser takes it.
func checkInterface(t *testing.T, i Interface) {
	t.Helper()
	if i.Name == "" || i.MinInterval < mobileMinInterval || i.MinInterval > i.MaxInterval || i.MinDelay < mobileMinInterval ||
		i.HomeAgentInfo != nil && (!i.HomeAgent || i.HomeAgentInfo.Lifetime <= 0) || (i.UnicastOnly || len(i.Clients) > 0) && !i.UnicastReplies ||
		slices.Contains(i.AnchorUpstreams, i.Name) || len(i.BorderRouters) > 1 {
		t.Fatalf("interface %+v", i)
	}
	ra := nd.RouterAdvertisement{
		HomeAgent: i.HomeAgent, Preference: i.Preference, RouterLifetime: i.RouterLifetime, MTU: i.MTU, HomeAgentInfo: i.HomeAgentInfo,
		SourceLinkAddr: make([]byte, 6), NAT64: i.NAT64, CaptivePortal: i.CaptivePortal, BorderRouters: i.BorderRouters, Contexts: i.Contexts, Anchors: i.Anchors,
	}
	whole := mip6.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:ffff::1/64"), RouterAddress: true}
	for _, p := range i.Prefixes {
		information := p.PrefixInformation
		switch {
		case p.PreferredLifetime > p.ValidLifetime || p.From != "" && (!p.Own || p.From == i.Name) || p.Own && p.Prefix != p.Prefix.Masked():
			t.Fatalf("prefix %+v", p)
		case !p.Own:
			ra.Prefixes = append(ra.Prefixes, information)
		case p.RouterAddress: // the interface has the prefix, and an address in it
			ra.Prefixes = append(ra.Prefixes, whole)
			whole.Prefix = netip.PrefixFrom(whole.Prefix.Addr().Next(), 64)
		}
		if !p.Own && (p.Prefix != p.Prefix.Masked()) != p.RouterAddress {
			t.Fatalf("prefix %+v", p)
		}
	}
	for _, r := range i.Routes {
		ra.Routes = append(ra.Routes, r.RouteInformation)
	}
	for _, d := range i.DNSServers {
		ra.DNSServers = append(ra.DNSServers, d.RecursiveDNS)
	}
	for _, d := range i.DNSSearch {
		ra.DNSSearch = append(ra.DNSSearch, d.DNSSearch)
	}
	advertiser := nd.AdvertiserConfig{MinInterval: i.MinInterval, MaxInterval: i.MaxInterval, MinDelay: i.MinDelay, TellInterval: i.IntervalOption,
		UnicastOnly: i.UnicastOnly, Clients: i.Clients, KeepOnExit: i.KeepOnExit, Advertisement: ra}
	if err := advertiser.Validate(); err != nil {
		t.Fatalf("the advertiser does not take %+v: %v", i, err)
	}
}

// checkAnchors checks what is said of hierarchical mobility.
func checkAnchors(t *testing.T, c *Config) {
	t.Helper()
	type known struct {
		anchor string
		spi    uint32
	}
	seen := map[known]bool{}
	for i, a := range c.Anchors {
		if !a.Prefix.Contains(a.Address) || a.Prefix.Bits() != regionalBits || a.Prefix != a.Prefix.Masked() || a.DAD && a.Interface == "" {
			t.Fatalf("anchor %+v", a)
		}
		for _, b := range c.Anchors[:i] {
			if a.Prefix.Overlaps(b.Prefix) {
				t.Fatalf("%s and %s share %v", a.Name, b.Name, a.Prefix)
			}
		}
		for _, h := range c.HomeAgents {
			if slices.ContainsFunc(slices.Concat(h.Prefixes, h.Deprecated), a.Prefix.Overlaps) {
				t.Fatalf("%s and %s share %v", a.Name, h.Name, a.Prefix)
			}
		}
		for _, v := range c.Visitors {
			if v.Anchor != "" && v.Anchor != a.Name {
				continue
			}
			if k := (known{a.Name, v.Association.SPI}); seen[k] {
				t.Fatalf("%s has two visitors with the SPI %d", a.Name, k.spi)
			} else {
				seen[k] = true
			}
		}
	}
	for _, k := range c.AnchorKeys {
		if k.Association == nil || !k.Anchors.IsValid() {
			t.Fatalf("anchor key %+v", k)
		}
	}
	for _, m := range c.MobileNodes {
		if m.Hierarchy && len(c.AnchorKeysOf(m.Name)) == 0 && !m.InsecureAnchors {
			t.Fatalf("%s has no key for anchors", m.Name)
		}
	}
}

// checkUplinks checks that every interface has one job.
func checkUplinks(t *testing.T, c *Config) {
	t.Helper()
	up, down := map[string]bool{}, map[string]bool{}
	for _, m := range c.MobileNodes {
		for _, name := range m.Uplinks {
			up[name] = true
		}
		for _, name := range m.Downstreams {
			down[name] = true
		}
	}
	asked := map[string]bool{}
	for _, r := range c.PrefixRequests {
		if r.Uplink == "" || asked[r.Uplink] || len(r.Downstreams) == 0 {
			t.Fatalf("prefix request %+v", r)
		}
		asked[r.Uplink], up[r.Uplink] = true, true
		for _, name := range r.Downstreams {
			if down[name] {
				t.Fatalf("%s is numbered by two", name)
			}
			down[name] = true
		}
	}
	for name := range down {
		if up[name] {
			t.Fatalf("%s is uplink and downstream", name)
		}
	}
	seen := map[string]bool{}
	for _, u := range c.Uplinks {
		if seen[u.Name] || !up[u.Name] || u.Addressing == AddressingForeign && asked[u.Name] {
			t.Fatalf("uplink %+v", u)
		}
		seen[u.Name] = true
	}
}
