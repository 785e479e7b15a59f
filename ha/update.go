package ha

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// update is a binding update as the home agent reads it: who asks for what.
type update struct {
	home   netip.Addr
	source netip.Addr // of the packet: where the answer goes
	careOf netip.Addr // the one to bind
	// sealed is the care-of address that the authenticator covers.
	sealed   netip.Addr
	flags    mip6.UpdateFlags
	lifetime mip6.Lifetime
	proof    binding.Proof
	prefixes []netip.Prefix // named in the update, without duplicates, in order
	explicit bool           // at least one was
}

// atHome tells that the update came from the home address itself: the mobile is
// on the home link, and is answered there without a routing header.
func (u *update) atHome() bool { return u.source == u.home }

// deregisters tells that the update asks to end the binding: RFC 6275 §6.1.7 and,
// for a care-of address that is the home address, RFC 3963 §6.2.
func (u *update) deregisters() bool { return u.lifetime == 0 || u.careOf == u.home }

func (u *update) router() bool { return u.flags&mip6.UpdateMobileRouter != 0 }

// linkLocal is the link-local address that is probed and defended together with
// the home address when flag L is set (RFC 6275 §10.3.1); invalid otherwise.
func linkLocal(home netip.Addr, f mip6.UpdateFlags) netip.Addr {
	if f&mip6.UpdateLinkLocal == 0 {
		return netip.Addr{}
	}
	a := home.As16()
	copy(a[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	return netip.AddrFrom16(a)
}

// receive takes one Mobility Header message through the gates.
func (a *Agent) receive(p mip6.Packet) {
	bu, ok := p.Message.(mip6.BindingUpdate)
	if !ok || bu.Flags&mip6.UpdateMAP != 0 {
		a.drop(role.DropUnexpected, p.Source)
		return
	}
	u, reason := a.read(p, bu)
	if reason != 0 {
		a.drop(reason, p.Source)
		return
	}
	h := a.homes[u.home]
	if h == nil {
		a.drop(role.DropUnknownMobile, p.Source)
		if a.strangers.Allow(a.now, complaints) {
			a.do(role.Log{Level: slog.LevelWarn, Message: "binding update from unknown mobile", Attrs: []slog.Attr{
				slog.Any("home", u.home), slog.Any("care_of", u.careOf)}})
		}
		return
	}
	if !a.authenticate(p, bu, h, &u) {
		return
	}
	if u.atHome() {
		// This node may have looked for it in vain just before, for packets to its
		// networks, and would keep the answer back.
		a.forgetNeighbor(u.home)
		a.served(h, netip.Addr{})
	}
	status := a.judge(h, &u)
	if !status.Accepted() {
		a.remember(h) // it is not to be taken later either
		a.refuse(h, &u, status)
		return
	}
	if u.deregisters() {
		a.deregister(h, &u)
		return
	}
	a.register(h, &u)
}

// read is the first gate: what can be checked without knowing the mobile. It
// returns the reason to drop the message silently, or zero.
func (a *Agent) read(p mip6.Packet, bu mip6.BindingUpdate) (update, role.DropReason) {
	u := update{
		home:     p.From(),
		source:   p.Source,
		careOf:   p.Source,
		flags:    bu.Flags,
		lifetime: bu.Lifetime,
		proof:    binding.ProofOf(bu),
	}
	// A routing header means that the message is for a mobile node.
	if p.To() != a.config.Address || p.Destination != a.config.Address {
		return u, role.DropNotForUs
	}
	if alternate, ok := mip6.Find[mip6.AlternateCareOf](bu); ok {
		u.careOf = alternate.Addr
	}
	// RFC 6275 §6.1.7, §9.3.1, §9.5.1, §9.5.4.
	if !mip6.Routable(u.source) || !mip6.Routable(u.careOf) || !mip6.Routable(u.home) {
		return u, role.DropUnroutable
	}
	// RFC 6275 §10.3.1; §10.3.2 lets a mobile at home omit the option.
	if u.atHome() && !u.deregisters() {
		return u, role.DropNoHomeAddress
	}
	// RFC 6275 §9.5.1: nonces are for correspondents.
	if _, ok := mip6.Find[mip6.NonceIndices](bu); ok && bu.Flags&mip6.UpdateHome != 0 {
		return u, role.DropMalformed
	}
	// RFC 6275 §9.5.1: a correspondent's, unless it is to change a registration.
	if bu.Flags&(mip6.UpdateHome|mip6.UpdateMobileRouter) == 0 {
		if !a.Serves(u.home) {
			return u, role.DropUnexpected
		}
	}
	if options := mip6.All[mip6.MobileNetworkPrefix](bu); len(options) > 0 {
		u.explicit = true
		for _, o := range options {
			u.prefixes = append(u.prefixes, o.Prefix.Masked())
		}
		u.prefixes = sorted(u.prefixes)
	}
	return u, 0
}

// sorted puts prefixes into their canonical order, each once.
func sorted(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes)
}

// judge is the third gate: whether the mobile may have what it asks for. The
// order of the tests is that of RFC 6275 §10.3.1 and RFC 3963 §6.2.
func (a *Agent) judge(h *home, u *update) mip6.Status {
	switch {
	case u.flags&mip6.UpdateHome == 0 && u.router():
		return mip6.StatusRouterNotPermitted // RFC 3963 §6.2
	case u.flags&mip6.UpdateHome == 0:
		return mip6.StatusTypeChangeDisallowed // RFC 6275 §9.5.1
	case a.config.HomeLink != "" && a.link.Index == 0:
		return mip6.StatusHomeRegistrationNotSupported
	default:
		return a.entitled(h, u)
	}
}

// entitled is the part of judge for which nothing has to be there but the
// configuration.
func (a *Agent) entitled(h *home, u *update) mip6.Status {
	e := a.bindings.Get(u.home)
	active := e != nil && e.State == binding.Active
	switch {
	case a.prefixOf(u.home) == nil || a.grant(u.home, u.lifetime) == 0 && u.lifetime != 0:
		return mip6.StatusNotHomeSubnet
	case u.deregisters():
		// RFC 6275 §10.3.2. An update that repeats a de-registration whose answer
		// was lost finds the entry still remembered and gets the same answer.
		if e == nil {
			return mip6.StatusNotHomeAgent
		}
		return mip6.StatusAccepted // RFC 3963 §6.2, §6.7: flag R and prefixes do not matter
	case h.Disabled:
		return mip6.StatusAdministrativelyProhibited
	case u.router() && !h.Router:
		return mip6.StatusRouterNotPermitted // RFC 3963 §6.6
	case active && (e.Flags^u.flags)&mip6.UpdateMobileRouter != 0:
		return mip6.StatusTypeChangeDisallowed // RFC 3963 §6.2
	}
	prefixes, status := a.prefixesFor(h, u)
	switch {
	case !status.Accepted():
		return status
	case a.loops(h, u.careOf, prefixes):
		return mip6.StatusInvalidCareOfAddress
	}
	if ll := linkLocal(u.home, u.flags); ll.IsValid() {
		if home, taken := a.linkLocals[ll]; taken && a.homes[home].mobile != h.mobile {
			return mip6.StatusDuplicateAddress
		}
	}
	return mip6.StatusAccepted
}

// grant is the lifetime that is given for a requested one (RFC 6275 §10.3.1): of
// an address in a home prefix.
func (a *Agent) grant(home netip.Addr, requested mip6.Lifetime) mip6.Lifetime {
	return binding.Grant(requested, a.config.MaxLifetime, binding.Remaining(a.now, a.prefixOf(home).ValidUntil))
}

// register carries out a registration that may be had.
func (a *Agent) register(h *home, u *update) {
	e := a.bindings.Get(u.home)
	switch {
	case e != nil && e.State == binding.Active:
		a.refresh(e, h, u)
		return
	case e != nil && e.State == binding.Probing:
		// One detection, and one answer to the newest update (requirement B4).
		h.probe.update = *u
		a.reserve(e, h, u)
		a.remember(h)
		return
	}
	e, err := a.bindings.Add(u.home)
	if errors.Is(err, binding.ErrFull) {
		a.remember(h)
		a.refuse(h, u, mip6.StatusInsufficientResources) // RFC 6275 §10.3.1
		return
	}
	a.reserve(e, h, u)
	if a.config.DAD && a.config.HomeLink != "" {
		a.startProbe(e, h, u)
		return
	}
	a.activate(e, h, u)
}

// reserve notes an update in its entry, and the link-local address it claims.
func (a *Agent) reserve(e *binding.Entry, h *home, u *update) {
	ll := linkLocal(e.Home, u.flags)
	if !ll.IsValid() {
		a.releaseLinkLocal(e, h)
	} else if _, taken := a.linkLocals[ll]; !taken {
		a.linkLocals[ll] = e.Home
	}
	e.Flags, e.Sequence, e.Updated = u.flags, u.proof.Sequence, a.now
}

// activate makes an entry a binding: packets are forwarded before the mobile is
// told, so that none of those that its answer causes is lost.
func (a *Agent) activate(e *binding.Entry, h *home, u *update) {
	a.become(e, binding.Active)
	a.counts.Registrations++
	e.Created = a.now
	h.teller = netip.Addr{}
	before, after := a.bind(e, h, u)
	a.forward(slices.Concat(before, []overlay.Change{tunnel(e)}, after, a.direct(e, h)))
	a.settleRoutes(h.mobile, nil)
	// Where it was on the home link it is no more, also when the binding ends.
	a.forgetNeighbor(e.Home)
	a.defend(e)
	h.announcements.Begin(a.now)
	a.announce(e, h)
	a.resumeDelivery(h)
	a.schedule(e, h)
	a.remember(h)
	a.accept(h, u, e.Lifetime)
	a.logBinding("binding registered", e, h)
	a.changed(h, netip.Addr{}, e.CareOf())
}

// forgetNeighbor has a mobile that has come home, or left, looked for anew on the
// home link.
func (a *Agent) forgetNeighbor(home netip.Addr) {
	if a.link.Index != 0 {
		a.do(role.ForgetNeighbor{Link: a.link.Index, Addr: home})
	}
}

// refresh renews a binding, with a new path or the same.
func (a *Agent) refresh(e *binding.Entry, h *home, u *update) {
	before := *e
	a.reserve(e, h, u)
	changes, after := a.bind(e, h, u)
	if !slices.Equal(before.Paths, e.Paths) || !slices.Equal(before.Prefixes, e.Prefixes) {
		changes = append(changes, tunnel(e))
	}
	a.forward(slices.Concat(changes, after, a.direct(e, h)))
	a.settleRoutes(h.mobile, nil)
	a.confirm(h) // the mobile says so
	was, is := linkLocal(e.Home, before.Flags), linkLocal(e.Home, e.Flags)
	switch {
	case was == is, a.sibling(h, was, binding.Active) != nil:
	case is.IsValid():
		a.defend(e)
		h.announcements.Begin(a.now)
		a.announce(e, h)
	default:
		a.undefend(was)
	}
	a.resumeDelivery(h)
	a.schedule(e, h)
	a.remember(h)
	a.accept(h, u, e.Lifetime)
	if before.CareOf() == e.CareOf() {
		a.counts.Refreshes++
		a.logBinding("binding refreshed", e, h)
		return
	}
	a.counts.Moves++
	a.logBinding("binding moved", e, h)
	a.changed(h, before.CareOf(), e.CareOf())
}

// bind writes what an accepted and reserved update gets into its entry. It
// returns the changes to the mobile's other bindings, as share does.
func (a *Agent) bind(e *binding.Entry, h *home, u *update) (before, after []overlay.Change) {
	h.wanted, _ = a.prefixesFor(h, u) // judged before
	h.requests = binding.RefreshRequests{}
	e.Updated = a.now
	e.Lifetime = a.grant(e.Home, u.lifetime)
	e.Expires = a.now.Add(e.Lifetime.Duration())
	path := overlay.Path{Local: a.config.Address, Remote: u.careOf}
	if len(e.Paths) != 1 || e.Paths[0] != path {
		e.Paths = []overlay.Path{path}
	}
	e.Explicit = u.explicit
	return a.share(e, h)
}

// deregister ends a binding, in the order in which the mobile at home is
// reachable when the answer leaves: nobody answers for its address any more, and
// nothing draws packets for it into the tunnel.
func (a *Agent) deregister(h *home, u *update) {
	e := a.bindings.Get(u.home)
	var from netip.Addr
	if e.State == binding.Active {
		from = e.CareOf()
		a.counts.Deregistrations++
		a.logBinding("binding deregistered", e, h)
	}
	h.probe = nil
	a.withdraw(e, h)
	h.delivery = delivery{sent: h.delivery.sent} // at home it hears the routers themselves
	a.become(e, binding.Deleted)
	e.Flags, e.Sequence, e.Updated = u.flags&^mip6.UpdateLinkLocal, u.proof.Sequence, a.now
	e.Expires = a.now.Add(binding.MaxDeleteTime)
	a.bindings.Wake(e, e.Expires)
	a.remember(h)
	a.accept(h, u, 0)
	if from.IsValid() {
		a.changed(h, from, netip.Addr{})
	}
}

// changed reports that an update has moved a binding to another care-of address.
func (a *Agent) changed(h *home, from, to netip.Addr) {
	a.do(role.BindingChanged{Mobile: h.Name, Home: h.addr, From: from, To: to, Cause: role.CauseUpdate})
}

// withdraw takes back everything that was done outside for an entry.
func (a *Agent) withdraw(e *binding.Entry, h *home) {
	a.releaseLinkLocal(e, h)
	if e.State == binding.Active {
		a.undefend(e.Home)
		if ll := linkLocal(e.Home, e.Flags); ll.IsValid() && a.sibling(h, ll, binding.Active) == nil {
			a.undefend(ll)
		}
		h.wanted = nil
		before, after := a.share(e, h)
		removal := overlay.Change{Remove: overlay.Key{Home: e.Home, Side: overlay.AgentSide}}
		// The routes on the home link come before the tunnel goes.
		a.settleRoutes(h.mobile, e)
		a.forward(slices.Concat(h.indirect(), before, []overlay.Change{removal}, after))
	}
	h.requests, h.inquiry = binding.RefreshRequests{}, inquiry{}
	h.delivery.cancel()
	e.Paths, e.Explicit, e.Lifetime = nil, false, 0
}

// become moves an entry to another state.
func (a *Agent) become(e *binding.Entry, s binding.State) {
	a.count(e.State, -1)
	a.count(s, +1)
	e.State = s
}

// forget removes an entry.
func (a *Agent) forget(e *binding.Entry) {
	a.count(e.State, -1)
	a.bindings.Remove(e.Home)
}

func (a *Agent) count(s binding.State, n int) {
	switch s {
	case binding.Probing:
		a.counts.Probing += n
	case binding.Active:
		a.counts.Bindings += n
	case binding.Deleted:
		a.counts.Deleted += n
	}
}
