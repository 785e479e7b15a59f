package config

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Whatever the file, the result is a list of errors or a configuration that
// keeps its promises.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"mobile_router.conf", "home_agent.conf", "access_router.conf", "mobile_node.conf"} {
		f.Add(testdata(f, name))
	}
	f.Add([]byte(node + router))
	f.Add([]byte(agent + mobile + link + whole))
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
			if !m.HomeAddress.IsValid() || len(m.HomeAgents) == 0 && !m.Discover || m.RouteOptimisation == ListedRoutes && len(m.Correspondents) == 0 || len(m.Uplinks) == 0 || m.Router != (len(m.Prefixes) > 0) || m.Lifetime < 8*time.Second {
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
		agents := map[string]HomeAgent{}
		for _, h := range c.HomeAgents {
			if h.Interface == "" || len(h.Prefixes) == 0 || !h.Prefixes[0].Contains(h.Address) || h.PrefixMinInterval > h.PrefixMaxInterval {
				t.Fatalf("home agent %+v", h)
			}
			agents[h.Name] = h
		}
		for i, m := range c.Mobiles {
			at := func(p netip.Prefix) bool { return p.Contains(m.HomeAddress) }
			h := agents[m.HomeAgent]
			if !slices.ContainsFunc(slices.Concat(h.Prefixes, h.Deprecated), at) || len(m.Prefixes) > 0 && !m.Router {
				t.Fatalf("mobile %+v", m)
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
			if i.Name == "" || i.MinInterval < mobileMinInterval || i.MinInterval > i.MaxInterval || i.MinDelay < mobileMinInterval ||
				i.HomeAgentInfo != nil && (!i.HomeAgent || i.HomeAgentInfo.Lifetime <= 0) {
				t.Fatalf("interface %+v", i)
			}
			for _, p := range i.Prefixes {
				if p.PreferredLifetime > p.ValidLifetime || p.Prefix != p.Prefix.Masked() != p.RouterAddress && p.Prefix.Bits() < 127 {
					t.Fatalf("prefix %+v", p)
				}
			}
		}
	})
}
