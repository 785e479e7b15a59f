package sim

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	anchor "roam6/map"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mn/region"
	"roam6/overlay"
)

// Hierarchical mobility (RFC 5380): the access networks are in the domains of mobility
// anchor points, some in several, some in none. An anchor is a node by itself, between
// the access routers of its domain and everything else.

// domain is an anchor and what its administrator has decided.
type domain struct {
	host *host
	cell *cell // of the anchor, with the regional care-of addresses
	cut  bool  // nothing passes between the domain and the rest
	// served are the networks whose on-link care-of addresses may be bound: those of
	// the domain, or of other domains, too. Empty: all.
	served   []*cell
	virtual  bool // the regional care-of addresses are on no link
	strict   bool // updates need timestamps
	most     time.Duration
	disabled map[*host]bool // visitors
	mistaken map[*host]bool // visitors who have another key
}

// offer is an anchor as an access router advertises it.
type offer struct {
	*domain
	distance, preference uint8
	lifetime             time.Duration
	state                offerState
}

type offerState uint8

const (
	offered  offerState = iota
	failed              // lifetime zero
	withheld            // not advertised
)

// anchorPoint is the role of an anchor.
type anchorPoint struct {
	runner
	role    *anchor.Anchor
	config  anchor.Config
	started time.Time
}

// anchorPrefixes contains the prefixes of all regional care-of addresses.
var anchorPrefixes = netip.MustParsePrefix("2001:db8:b00::/40")

// regional reports whether an address may be a regional care-of address.
func regional(a netip.Addr) bool { return anchorPrefixes.Contains(a) }

// isAnchor reports whether an address is that of an anchor.
func isAnchor(a netip.Addr) bool {
	b := a.As16()
	return regional(a) && [8]byte(b[8:]) == [8]byte{7: 1}
}

// anchorLink is the link of the regional care-of addresses, where there is one.
const anchorLink = "rcoa0"

// mosts are lifetimes that anchors grant at most: the first is too short for a mobile to
// keep a home registration within.
var mosts = [...]time.Duration{16 * time.Second, 24 * time.Second, 40 * time.Second, 100 * time.Second, 300 * time.Second, 300 * time.Second}

// buildDomains adds the anchors. The first two access networks are in the domain of the
// first one, so that there is always a move that its anchor alone has to know.
func (w *World) buildDomains() {
	for i := range w.plan.Anchors {
		prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:b%02x::/64", i))
		h := w.addHost(fmt.Sprintf("map%d", i))
		d := &domain{host: h, disabled: make(map[*host]bool), mistaken: make(map[*host]bool), most: mosts[w.random.IntN(len(mosts))]}
		d.cell = &cell{name: h.name, prefixes: []netip.Prefix{prefix}, domain: d}
		d.virtual, d.strict = w.random.IntN(3) == 0, w.random.IntN(4) == 0
		w.cells = append(w.cells, d.cell)
		h.addPort(anchorLink, d.cell, [6]byte{2, 0, 0, 0, 0xd, byte(i)})
		h.fixed, h.domain = []netip.Addr{prefix.Addr().Next()}, d
		w.domains = append(w.domains, d)
	}
	for i, c := range w.accessCells() {
		for _, j := range w.random.Perm(len(w.domains)) {
			if d := w.domains[j]; i < 2 && j == 0 || w.random.IntN(2) == 0 && len(c.offers) < 2 {
				c.offers = append(c.offers, &offer{domain: d, distance: uint8(1 + w.random.IntN(4)),
					lifetime: []time.Duration{30 * time.Second, 10 * time.Minute}[w.random.IntN(2)]})
			}
		}
	}
	for _, d := range w.domains {
		d.prefer(uint8(w.random.IntN(4)*w.random.IntN(6)), w)
		d.serve(w, w.random.IntN)
		m := w.random.IntN(max(1, w.plan.Routers+w.plan.Hosts+w.plan.Reserved))
		if !d.virtual && w.random.IntN(3) == 0 { // somebody there has what a mobile will form
			d.cell.taken = region.Address(d.host.fixed[0], homeAddr(0, firstMobile+m), uint64(firstMobile+m), 0)
		}
	}
}

// accessCells are the access networks.
func (w *World) accessCells() []*cell { return w.cells[1 : 1+w.plan.Cells] }

// cells are the access networks of a domain.
func (d *domain) cells(w *World) []*cell {
	return slices.DeleteFunc(slices.Clone(w.accessCells()), func(c *cell) bool { return c.offer(d) == nil })
}

// offer is a domain's anchor as it is advertised in an access network, or nil.
func (c *cell) offer(d *domain) *offer {
	i := slices.IndexFunc(c.offers, func(o *offer) bool { return o.domain == d })
	if i < 0 {
		return nil
	}
	return c.offers[i]
}

// in reports whether a cell is in a domain: the anchor's own is, too.
func (c *cell) in(d *domain) bool { return c.domain == d || c.offer(d) != nil }

// prefer has all access routers of a domain advertise a preference.
func (d *domain) prefer(preference uint8, w *World) {
	for _, c := range d.cells(w) {
		c.offer(d).preference = preference
	}
}

// serve decides which networks an anchor serves: all, those of its domain, perhaps but
// one, or those of the others, too.
func (d *domain) serve(w *World, random func(int) int) {
	d.served = d.cells(w)
	switch random(5) {
	case 0:
		d.served = nil
	case 1:
		d.served = slices.Clone(w.accessCells())
	case 2:
		if len(d.served) > 1 {
			at := random(len(d.served))
			d.served = slices.Delete(d.served, at, at+1)
		}
	}
}

// serves reports whether an on-link care-of address may be bound.
func (d *domain) serves(a netip.Addr) bool {
	return len(d.served) == 0 || slices.ContainsFunc(d.served, func(c *cell) bool { return c.contains(a) })
}

// anchorConfig is the configuration of an anchor as its administrator has it now.
func (w *World) anchorConfig(d *domain) anchor.Config {
	c := anchor.Config{Name: d.host.name, Address: d.host.fixed[0], Prefix: d.cell.prefixes[0], MaxLifetime: d.most, DAD: true}
	if !d.virtual {
		c.Link = anchorLink
	}
	for _, n := range d.served {
		c.Served = append(c.Served, n.prefixes...)
	}
	for _, h := range w.mobiles() {
		sa := h.anchorAssociation()
		c.Visitors = append(c.Visitors, anchor.Visitor{Name: h.name, SA: &sa, RequireTimestamp: h.stamped() || d.strict, Disabled: d.disabled[h]})
	}
	return c
}

// startAnchor begins the role of an anchor.
func (w *World) startAnchor(h *host) {
	c := w.anchorConfig(h.domain)
	if err := c.Validate(); err != nil {
		w.fail("%s: %v", h.name, err)
	}
	h.anchor = &anchorPoint{role: anchor.New(c), config: c, started: w.now}
	h.anchor.machine = h.anchor.role
}

// reconfigureAnchor gives an anchor that runs its new configuration.
func (w *World) reconfigureAnchor(d *domain) {
	if h := d.host; h.anchor != nil {
		h.anchor.config = w.anchorConfig(d)
		w.carryOut(h, &h.anchor.runner, h.anchor.role.Reconfigure(w.clockOf(h), h.anchor.config))
	}
}

// anchorAssociation is the security association of a mobile with all anchors.
func (h *host) anchorAssociation() mip6.SecurityAssociation {
	return mip6.SecurityAssociation{SPI: 0x10000 + uint32(h.number), Key: mip6.SharedKey{byte(h.number), 9, 9}}
}

// stamped reports whether the updates of a mobile have timestamps.
func (h *host) stamped() bool { return h.order%2 == 0 }

// follows decides whether a mobile uses anchors, which, and how it chooses.
func (w *World) follows(h *host) {
	if len(w.domains) == 0 {
		return
	}
	h.hierarchy = mn.Hierarchy{
		Enabled: w.random.IntN(5) > 0, Selection: mn.AnchorSelection(w.random.IntN(3)),
		Lifetime: []time.Duration{0, time.Minute, 200 * time.Second}[w.random.IntN(3)],
	}
	for _, d := range w.domains {
		if w.random.IntN(8) > 0 {
			sa := h.anchorAssociation()
			if d.mistaken[h] = w.random.IntN(12) == 0; d.mistaken[h] {
				sa.Key[15] = 1
			}
			h.hierarchy.Keys = append(h.hierarchy.Keys, mn.AnchorKey{Anchors: d.cell.prefixes[0], SA: &sa})
		}
	}
}

// advertisedAnchors are the MAP options of an access network.
func (c *cell) advertisedAnchors() (list []mip6.MobilityAnchorPoint) {
	for _, o := range c.offers {
		m := mip6.MobilityAnchorPoint{Address: o.host.fixed[0], Distance: o.distance, Preference: o.preference, ValidLifetime: o.lifetime}
		switch o.state {
		case withheld:
			continue
		case failed:
			m.ValidLifetime = 0
		case offered:
		}
		list = append(list, m)
	}
	return list
}

// notice has access routers find out, some time after it happened, that an anchor is
// gone, or is there again. Not all do.
func (w *World) notice(h *host) {
	for _, c := range w.accessCells() {
		o := c.offer(h.domain)
		if o == nil || w.random.IntN(3) == 0 {
			continue
		}
		w.after(time.Duration(w.random.IntN(4000))*time.Millisecond, func() {
			switch {
			case h.down && o.state == offered:
				o.state = failed
			case !h.down && o.state == failed:
				o.state = offered
			}
		})
	}
}

// passes reports whether packets get from one cell to another: by the domain that both
// are in, or over the rest, to which a cell in several domains gets by any of them.
func (w *World) passes(from, to *cell) bool {
	leaves := func(c *cell) bool {
		inside, open := false, false
		for _, d := range w.domains {
			if c.in(d) {
				inside, open = true, open || !d.cut
			}
		}
		return !inside || open
	}
	return w.near(from, to) || leaves(from) && leaves(to)
}

// near reports whether two cells are in one domain.
func (w *World) near(from, to *cell) bool {
	return slices.ContainsFunc(w.domains, func(d *domain) bool { return from.in(d) && to.in(d) })
}

// disturb does one of the things that happen to anchors.
func (r Ride) disturb(w *World) {
	d := w.domains[r.Random.IntN(len(w.domains))]
	switch r.Random.IntN(9) {
	case 0:
		c := w.accessCells()[r.Random.IntN(w.plan.Cells)]
		for _, o := range c.offers {
			o.state = offerState(r.Random.IntN(3))
			w.tell("%s advertises %s: state %d", c.name, o.host, o.state)
		}
	case 1:
		d.cut = !d.cut
		w.tell("the domain of %s is cut off: %v", d.host, d.cut)
	case 2:
		d.cell.cut = !d.cell.cut
		w.tell("%s is cut off: %v", d.host, d.cell.cut)
	case 3:
		w.tell("%s restarts", d.host)
		w.boot(d.host)
	case 4:
		w.tell("%s is gone for a while", d.host)
		w.crash(d.host)
		w.notice(d.host)
		w.counts.Lost++
		w.after(time.Duration(r.Random.IntN(60))*time.Second, func() {
			if d.host.down {
				w.tell("%s is back", d.host)
				w.boot(d.host)
				w.notice(d.host)
			}
		})
	case 5:
		d.serve(w, r.Random.IntN)
		d.most = mosts[r.Random.IntN(len(mosts))]
		h := w.mobiles()[r.Random.IntN(len(w.mobiles()))]
		d.disabled[h] = !d.disabled[h] && r.Random.IntN(3) == 0
		w.tell("%s is reconfigured: %d networks, at most %v, %s disabled: %v", d.host, len(d.served), d.most, h, d.disabled[h])
		w.reconfigureAnchor(d)
	case 6:
		preference := uint8(r.Random.IntN(4) * r.Random.IntN(6))
		w.tell("%s gets the preference %d", d.host, preference)
		d.prefer(preference, w)
	case 7:
		h := w.mobiles()[r.Random.IntN(len(w.mobiles()))]
		h.hierarchy.Enabled = r.Random.IntN(4) > 0
		h.hierarchy.Selection = mn.AnchorSelection(r.Random.IntN(3))
		w.tell("%s is reconfigured: anchors %v, by %d", h, h.hierarchy.Enabled, h.hierarchy.Selection)
		w.reconfigureMobiles(h)
	case 8: // hints that may be wrong
		for _, h := range w.mobiles() {
			for _, home := range h.regionals() {
				var e role.Event = role.TunnelSilent{Home: home}
				if r.Random.IntN(2) == 0 {
					e = role.TunnelRefused{Home: home}
				}
				w.dispatch(h, e)
			}
		}
	}
}

// regionals are the regional care-of addresses that a host has, in order.
func (h *host) regionals() (list []netip.Addr) {
	for a := range h.kernel.addresses {
		if a.link == 0 && regional(a.prefix.Addr()) {
			list = append(list, a.prefix.Addr())
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// reconfigureMobiles gives the mobiles of a host that run their new configuration.
func (w *World) reconfigureMobiles(h *host) {
	for _, m := range slices.Clone(h.mobiles) {
		if !m.gone && !m.ending {
			w.carryOut(h, &m.runner, m.reconfigure(w.clockOf(h)))
		}
	}
}

// calmDomains ends what troubles the anchors. What their administrators have decided
// stays.
func (w *World) calmDomains() {
	for _, d := range w.domains {
		d.cut = false
	}
	for _, c := range w.accessCells() {
		for _, o := range c.offers {
			o.state = offered
		}
	}
}

// unbound tells what is wrong at the anchor's end of a tunnel.
func (w *World) unbound(t overlay.Tunnel) string {
	for _, d := range w.domains {
		if d.host.fixed[0] != t.Paths[0].Remote {
			continue
		}
		b, ok := d.host.kernel.tunnels[overlay.Key{Home: t.Home, Side: overlay.AgentSide}]
		if !ok || b.Paths[0].Remote != t.Paths[0].Local {
			return fmt.Sprintf("%s has the tunnel %v for %v", d.host, b.Paths, t)
		}
		return ""
	}
	return fmt.Sprintf("%v is of no anchor", t)
}

// usable reports whether an offer is one that a mobile can use with an on-link care-of
// address, whatever its preference.
func (h *host) usable(o *offer, onLink netip.Addr) bool {
	_, keyed := h.hierarchy.KeyOf(o.host.fixed[0])
	return h.hierarchy.Enabled && o.state == offered && !o.host.down && o.serves(onLink) && !o.disabled[h] &&
		!o.mistaken[h] && o.most >= region.LeastGrant && keyed
}

// unanchored tells which mobiles do not use the anchor that they should (RFC 5380 §7.1,
// §9.1): of those that can be used the one that is chosen first, or another one that
// served already and is not less preferred; none that is not for new bindings while
// there is another; and none where there is none.
func (w *World) unanchored() (wrong []string) {
	for _, h := range w.mobiles() {
		p := h.best()
		if h.down || p == nil || p.at.home {
			continue
		}
		for _, m := range h.mobiles {
			if text := w.misled(h, m, p); text != "" && !m.gone {
				wrong = append(wrong, text)
			}
		}
	}
	return wrong
}

func (w *World) misled(h *host, m *mobile, p *port) string {
	up, away := h.kernel.tunnels[mobileKey(m.home)]
	if !away {
		return fmt.Sprintf("%v of %s has no tunnel", m, h)
	}
	lower, stacked := h.kernel.beneath(up)
	onLink := up.Paths[0].Local
	if stacked {
		onLink = lower.Paths[0].Local
	}
	var list []*offer
	var used *offer
	for _, o := range p.at.offers {
		if h.usable(o, onLink) {
			list = append(list, o)
			if stacked && o.host.fixed[0] == lower.Paths[0].Remote {
				used = o
			}
		}
	}
	slices.SortFunc(list, h.before)
	switch {
	case stacked && used == nil:
		return fmt.Sprintf("%v of %s at %s uses the anchor %v, which it cannot", m, h, p.at.name, lower.Paths[0].Remote)
	case used != nil && used.preference >= list[0].preference:
	case used == nil && (len(list) == 0 || list[0].preference == 0):
	case used == nil:
		return fmt.Sprintf("%v of %s at %s uses no anchor, and could use %s: %+v", m, h, p.at.name, list[0].host, m.role.Snapshot(w.now).Anchors)
	case used != list[0]:
		return fmt.Sprintf("%v of %s at %s uses %s of preference %d and distance %d, and could use %s of %d and %d", m, h, p.at.name,
			used.host, used.preference, used.distance, list[0].host, list[0].preference, list[0].distance)
	}
	return ""
}

// before orders offers as the mobile chooses.
func (h *host) before(a, b *offer) int {
	if (a.preference == 0) != (b.preference == 0) {
		return cmp.Compare(b.preference, a.preference)
	}
	preference, distance := cmp.Compare(b.preference, a.preference), cmp.Compare(b.distance, a.distance)
	address := a.host.fixed[0].Compare(b.host.fixed[0])
	switch h.hierarchy.Selection {
	case mn.SelectFurthest:
		return cmp.Or(distance, preference, address)
	case mn.SelectNearest:
		return cmp.Or(-distance, preference, address)
	default:
		return cmp.Or(preference, distance, address)
	}
}
