package ha

import (
	"log/slog"
	"net/netip"
	"slices"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// probe is duplicate address detection in progress (RFC 6275 §10.3.1, RFC 4862
// §5.4) and the newest binding update that waits for it. Solicitations are
// counted for each address, because an update with flag L may come after the
// first is sent.
type probe struct {
	update        update
	homeSent      int
	linkLocalSent int
}

func (a *Agent) startProbe(e *binding.Entry, h *home, u *update) {
	a.become(e, binding.Probing)
	e.Created = a.now
	a.remember(h)
	h.probe = &probe{update: *u}
	a.continueProbe(e, h)
}

// continueProbe sends the next solicitations, or ends the detection with success
// when the last ones were not answered.
func (a *Agent) continueProbe(e *binding.Entry, h *home) {
	p, done := h.probe, true
	ll := linkLocal(e.Home, h.probe.update.flags)
	if a.sibling(h, ll, binding.Active) != nil {
		ll = netip.Addr{} // defended for another home address of the mobile's
	}
	send := func(addr netip.Addr, sent *int) {
		if addr.IsValid() && *sent < a.config.DupAddrDetectTransmits {
			*sent, done = *sent+1, false
			a.do(role.ProbeAddress{Link: a.link.Index, Addr: addr})
		}
	}
	if !a.link.Up {
		// Nothing can be probed now; the mobile will ask again.
		a.endProbe(e, h, mip6.StatusInsufficientResources)
		return
	}
	send(e.Home, &p.homeSent)
	send(ll, &p.linkLocalSent)
	if !done {
		a.bindings.Wake(e, a.now.Add(a.config.RetransTimer))
		return
	}
	// What was true when the update came may not be any more.
	if status := a.judge(h, &p.update); !status.Accepted() {
		a.endProbe(e, h, status)
		return
	}
	h.probe = nil
	a.activate(e, h, &p.update)
}

// endProbe gives up a registration and tells the mobile.
func (a *Agent) endProbe(e *binding.Entry, h *home, status mip6.Status) {
	u := h.probe.update
	h.probe = nil
	a.withdraw(e, h)
	a.forget(e)
	a.refuse(h, &u, status)
}

// neighborHeard looks whether somebody on the home link uses an address that is
// probed or defended.
func (a *Agent) neighborHeard(n role.NeighborHeard) {
	if a.link.Index == 0 || n.Link != a.link.Index {
		return
	}
	if h := a.homes[n.Target]; h != nil {
		a.inUse(h, n)
		a.announced(h, n)
	}
	owner, ok := a.linkLocals[n.Target]
	if !ok {
		return
	}
	if e := a.sibling(a.homes[owner], n.Target, binding.Active); e != nil {
		owner = e.Home // whoever else claims it is not probing for it
	}
	claimants := []*home{a.homes[owner]}
	if a.bindings.Get(owner).State == binding.Probing {
		claimants = a.homes[owner].homes
	}
	for _, h := range claimants {
		if e := a.bindings.Get(h.addr); e != nil && linkLocal(e.Home, e.Flags) == n.Target {
			a.inUse(h, n)
		}
	}
}

// inUse takes in that a neighbour uses a home address, or its link-local one.
func (a *Agent) inUse(h *home, n role.NeighborHeard) {
	e := a.bindings.Get(h.addr)
	if e == nil {
		return
	}
	switch e.State {
	case binding.Probing:
		// RFC 4862 §5.4.3, §5.4.4: an advertisement, or another's probe.
		a.counts.Duplicates++
		a.endProbe(e, h, mip6.StatusDuplicateAddress)
	case binding.Active:
		if h.inquiry.answered(n) {
			a.end(e, h, "in use on the home link, by "+n.From.String(), role.CauseElsewhere)
			return
		}
		// The mobile may be back and tell the link before it tells us, or somebody
		// has taken the address: RFC 6275 leaves the binding as it is.
		a.counts.Conflicts++
		if a.conflicts.Allow(a.now, complaints) {
			a.do(role.Log{Level: slog.LevelWarn, Message: "home address in use on the home link", Attrs: []slog.Attr{
				slog.String("mobile", h.Name), slog.Any("home", h.addr), slog.Any("from", n.From)}})
		}
	case binding.Deleted: // the mobile is at home and uses its address
	}
}

// defended are the addresses that are defended for an active entry.
func defended(e *binding.Entry) []netip.Addr {
	if ll := linkLocal(e.Home, e.Flags); ll.IsValid() {
		return []netip.Addr{e.Home, ll}
	}
	return []netip.Addr{e.Home}
}

// defend answers for the addresses of a mobile that is away (RFC 6275 §10.4.1),
// as a router where the mobile is one (RFC 3963 §6.2).
func (a *Agent) defend(e *binding.Entry) {
	if a.link.Index == 0 {
		return
	}
	for _, addr := range defended(e) {
		a.do(role.DefendAddress{Link: a.link.Index, Addr: addr, Router: e.Flags&mip6.UpdateMobileRouter != 0})
	}
}

func (a *Agent) undefend(addr netip.Addr) {
	if a.link.Index != 0 {
		a.do(role.UndefendAddress{Link: a.link.Index, Addr: addr})
	}
}

// announce sends the unsolicited advertisements that are due: several in all,
// because multicast may be lost (RFC 6275 §10.4.1).
func (a *Agent) announce(e *binding.Entry, h *home) {
	if !h.announcements.Take(a.now) || !a.link.Up {
		return
	}
	for _, addr := range defended(e) {
		a.do(role.AnnounceAddress{Link: a.link.Index, Addr: addr, Router: e.Flags&mip6.UpdateMobileRouter != 0})
	}
}

// findHomeLink looks for the home link among the links, after one has changed or
// the configuration has. A link that came back is told again whom it hosts.
func (a *Agent) findHomeLink() {
	before := a.link
	a.link = role.Link{}
	for _, l := range a.links {
		if l.Name == a.config.HomeLink && a.config.HomeLink != "" && l.Index > a.link.Index {
			a.link = l
		}
	}
	moved := a.link.Index != before.Index
	if moved {
		a.agents = nil // they were heard on the other one
	}
	a.joinAnycast(!before.Up)
	if moved {
		a.settleAllRoutes()
	}
	if a.link.Index == 0 || !moved && (before.Up || !a.link.Up) {
		return
	}
	entries := slices.DeleteFunc(a.bindings.Sorted(), func(e *binding.Entry) bool { return e.State != binding.Active })
	if moved {
		for _, e := range entries {
			a.defend(e)
		}
	}
	a.inquire(entries)
}
