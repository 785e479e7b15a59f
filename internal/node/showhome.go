package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/mip6"
)

// bindings are the binding caches of the home agents, of the mobility anchor points and
// of the correspondent.
func (s *Shell) bindings(now time.Time) control.Bindings {
	d := control.Bindings{Bindings: []control.Binding{}, Anchors: s.anchorBindings(now), Correspondent: s.correspondentBindings(now)}
	for _, h := range s.agents {
		for _, b := range h.machine.Bindings() {
			d.Bindings = append(d.Bindings, bindingOf(now, h, b))
		}
	}
	return d
}

// correspondentBindings is the binding cache of the correspondent.
func (s *Shell) correspondentBindings(now time.Time) []control.CorrespondentBinding {
	list := []control.CorrespondentBinding{}
	if s.correspondent == nil {
		return list
	}
	for _, b := range s.correspondent.machine.Bindings() {
		list = append(list, control.CorrespondentBinding{
			HomeAddress: b.Home, Address: b.Peer, CareOf: b.CareOf, Sequence: uint16(b.Sequence),
			Granted: control.Seconds(b.Lifetime.Duration()), Remaining: control.Seconds(max(b.Expires.Sub(now), 0)),
			Created: control.Time{Time: b.Created}, Age: age(now, b.Created),
		})
	}
	return list
}

// bindingOf is a binding of a home agent as it is shown.
func bindingOf(now time.Time, h *agentHost, b ha.Binding) control.Binding {
	x := control.Binding{
		HomeAgent: h.config.Name, Mobile: b.Mobile, HomeAddress: b.Home, State: b.State.String(),
		CareOf: []control.CareOf{}, Prefixes: append([]netip.Prefix{}, b.Prefixes...), Router: b.Flags&mip6.UpdateMobileRouter != 0,
		Sequence: uint16(b.Sequence), Granted: control.Seconds(b.Lifetime.Duration()),
		Created: control.Time{Time: b.Created}, Age: age(now, b.Created),
		Updated: control.Time{Time: b.Updated}, UpdateAge: age(now, b.Updated),
	}
	if b.State == binding.Active {
		x.Remaining = control.Seconds(max(b.Expires.Sub(now), 0))
	}
	for _, p := range b.Paths {
		x.CareOf = append(x.CareOf, control.CareOf{Address: p.Remote, BID: p.BID, Port: p.RemotePort})
	}
	return x
}

func age(now, t time.Time) control.Milliseconds {
	if t.IsZero() {
		return 0
	}
	return control.Milliseconds(max(now.Sub(t), 0))
}

// homeAgents are the home agents lists of the home agents, and what the mobiles
// know of theirs.
func (s *Shell) homeAgents(now time.Time) control.HomeAgents {
	d := control.HomeAgents{Links: []control.LinkAgent{}, Mobiles: []control.KnownAgents{}}
	for _, h := range s.agents {
		for _, a := range h.machine.HomeAgents(now) {
			d.Links = append(d.Links, control.LinkAgent{
				HomeAgent: h.config.Name, LinkLocal: a.LinkLocal, Addresses: append([]netip.Addr{}, a.Addresses...),
				Preference: a.Preference, Remaining: control.Seconds(a.Remaining), MobileRouter: a.MobileRouters, Own: a.Self,
			})
		}
	}
	for _, h := range s.mobiles {
		x := h.machine.Snapshot(now)
		d.Mobiles = append(d.Mobiles, control.KnownAgentsOf(x.Name, x.HomeAddress, x.HomeLink))
	}
	return d
}

// prefixes are those of home links and of mobile networks, of both sides.
func (s *Shell) prefixes(now time.Time) control.Prefixes {
	d := control.Prefixes{Home: []control.HomePrefix{}, Network: []control.NetworkPrefix{}}
	for _, h := range s.agents {
		for i, p := range h.machine.Prefixes(now) {
			d.Home = append(d.Home, control.HomePrefix{
				Side: control.SideAgent, Name: h.config.Name, Prefix: p.Prefix, Main: i == 0,
				Preferred: control.Remaining(p.Preferred), Valid: control.Remaining(p.Valid),
			})
		}
		d.Network = append(d.Network, s.servedNetworks(now, h)...)
	}
	for _, h := range s.mobiles {
		x := h.machine.Snapshot(now)
		d.Home = append(d.Home, control.HomePrefixesOf(x.Name, x.HomeAddress, x.HomeLink)...)
		d.Network = append(d.Network, s.routerNetworks(now, h)...)
	}
	return d
}

// servedNetworks are the mobile network prefixes of a home agent's mobiles, with
// the home address that has registered each.
func (s *Shell) servedNetworks(now time.Time, h *agentHost) []control.NetworkPrefix {
	registered := make(map[netip.Prefix]netip.Addr)
	for _, b := range h.machine.Bindings() {
		if b.State == binding.Active {
			for _, p := range b.Prefixes {
				registered[p] = b.Home
			}
		}
	}
	var list []control.NetworkPrefix
	for _, m := range s.config.Mobiles {
		if m.HomeAgent != h.config.Name {
			continue
		}
		for _, p := range slices.SortedFunc(slices.Values(m.Prefixes), netip.Prefix.Compare) {
			n := control.NetworkPrefix{Side: control.SideAgent, Name: m.Name, HomeAddress: m.HomeAddress, Prefix: p, State: "absent", Origin: control.OriginConfigured}
			if home, ok := registered[p]; ok {
				n.HomeAddress, n.State = home, "registered"
			}
			list = append(list, n)
		}
	}
	return append(list, s.delegatedNetworks(now, h, registered)...)
}

// downstreamOf is the interface on which a mobile router advertises its prefix of
// that index: the first on the first, what is left over on the last.
func downstreamOf(m config.MobileNode, index int) string {
	if len(m.Downstreams) == 0 {
		return ""
	}
	return m.Downstreams[min(index, len(m.Downstreams)-1)]
}
