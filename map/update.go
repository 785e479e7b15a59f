package anchor

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// update is a local binding update as the anchor reads it: who asks for what.
type update struct {
	home   netip.Addr // the regional care-of address
	source netip.Addr // of the packet: where the answer goes
	careOf netip.Addr // the on-link care-of address to bind
	// sealed is the care-of address that the authenticator covers.
	sealed   netip.Addr
	flags    mip6.UpdateFlags
	lifetime mip6.Lifetime
	proof    binding.Proof
}

// deregisters tells that the update asks to end the binding: by its lifetime, or
// because the mobile is on the anchor's own link and has the regional care-of address
// there (RFC 6275 §6.1.7, §9.5.3).
func (u *update) deregisters() bool { return u.lifetime == 0 || u.careOf == u.home }

// receive takes one Mobility Header message through the gates; spi is that of the IPsec
// association under which it came, or zero.
func (a *Anchor) receive(p mip6.Packet, spi uint32) {
	bu, ok := p.Message.(mip6.BindingUpdate)
	if !ok || bu.Flags&mip6.UpdateMAP == 0 {
		a.drop(role.DropUnexpected, p.Source)
		return
	}
	u, reason := a.read(p, bu)
	if reason != 0 {
		a.drop(reason, p.Source)
		return
	}
	r := a.authenticate(p, bu, spi, &u)
	if r == nil {
		return
	}
	if status := a.judge(r, &u); !status.Accepted() {
		a.keep(r) // it is not to be taken later either
		a.refuse(r, &u, status)
		return
	}
	if u.deregisters() {
		a.deregister(r, &u)
		return
	}
	a.register(r, &u)
}

// read is the first gate: what can be checked without knowing the visitor. It returns
// the reason to drop the message silently, or zero. Flag A, which a mobile must set
// (RFC 5380 §4), is not asked for: the answer goes out anyway (RFC 6275 §10.3.1).
func (a *Anchor) read(p mip6.Packet, bu mip6.BindingUpdate) (update, role.DropReason) {
	u := update{
		home:     p.HomeAddress,
		source:   p.Source,
		careOf:   p.Source,
		flags:    bu.Flags,
		lifetime: bu.Lifetime,
		proof:    binding.ProofOf(bu),
	}
	// A routing header means that the message is for a mobile node.
	if p.Destination != a.config.Address || p.RouteHome.IsValid() {
		return u, role.DropNotForUs
	}
	if !u.home.IsValid() {
		return u, role.DropNoHomeAddress // RFC 5380 §6.1
	}
	if alternate, ok := mip6.Find[mip6.AlternateCareOf](bu); ok {
		u.careOf = alternate.Addr
	}
	// RFC 6275 §6.1.7, §9.3.1, §9.5.1, §9.5.4.
	if !mip6.Routable(u.source) || !mip6.Routable(u.careOf) || !mip6.Routable(u.home) {
		return u, role.DropUnroutable
	}
	// RFC 6275 §9.5.1: nonces are for correspondents.
	if _, ok := mip6.Find[mip6.NonceIndices](bu); ok {
		return u, role.DropMalformed
	}
	return u, 0
}

// judge is the third gate: whether the visitor may have what it asks for. RFC 5380
// §6.2 makes an anchor answer as a home agent does, so the order of the tests is that
// of RFC 6275 §10.3.1.
func (a *Anchor) judge(r *regional, u *update) mip6.Status {
	switch {
	case u.flags&mip6.UpdateHome != 0 && a.held[u.home] == r:
		return mip6.StatusTypeChangeDisallowed // RFC 6275 §9.5.1
	case u.flags&mip6.UpdateHome != 0:
		// Both flags at once ask for a home registration at a node that has none for
		// this address: RFC 5380 §4 wants flag M to tell the two from each other.
		return mip6.StatusHomeRegistrationNotSupported
	case a.config.Link != "" && a.link.Index == 0:
		return mip6.StatusHomeRegistrationNotSupported
	default:
		return a.entitled(r, u)
	}
}

// entitled is the part of judge for which nothing has to be there but the
// configuration.
func (a *Anchor) entitled(r *regional, u *update) mip6.Status {
	holder, v := a.held[u.home], r.visitor
	switch {
	case !a.config.Prefix.Contains(u.home) || anycast(u.home):
		return mip6.StatusNotHomeSubnet
	case u.deregisters():
		// RFC 6275 §10.3.2.
		if holder != r && (r.ended.IsZero() || r.ended.Add(binding.MaxDeleteTime).Before(a.now)) {
			return mip6.StatusNotHomeAgent
		}
		return mip6.StatusAccepted
	case v.Disabled, !a.serves(u.careOf):
		return mip6.StatusAdministrativelyProhibited // RFC 5380 §6.2
	case u.flags&mip6.UpdateMobileRouter != 0:
		return mip6.StatusRouterNotPermitted // RFC 3963 §6.2: networks are the home agent's
	case !a.bindable(u):
		return mip6.StatusInvalidCareOfAddress
	case holder != nil && holder != r, u.home == a.config.Address, slices.Contains(a.config.Taken, u.home):
		return mip6.StatusDuplicateAddress
	case holder == nil && !v.anonymous() && a.bound(v) >= maxBound:
		// None of its others goes for it: each is promised for its lifetime (RFC 6275
		// §10.3.1).
		return mip6.StatusInsufficientResources
	default:
		return mip6.StatusAccepted
	}
}

// serves reports whether an on-link care-of address may be bound (RFC 5380 §6.2).
func (a *Anchor) serves(careOf netip.Addr) bool {
	return len(a.config.Served) == 0 || a.vouches(careOf)
}

// vouches reports whether a served prefix contains an address.
func (a *Anchor) vouches(careOf netip.Addr) bool {
	return slices.ContainsFunc(a.config.Served, func(p netip.Prefix) bool { return p.Contains(careOf) })
}

// bindable reports whether an on-link care-of address may be bound as it is given.
// It is none that may be a regional one here, or packets could go round in circles
// (RFC 5380 §3.1, §6.1); a mobile on the anchor's own link needs no binding. And it is
// where the update came from (§6.1): another one is only taken where the
// administrator has named its prefix, or a visitor could turn packets on anybody.
func (a *Anchor) bindable(u *update) bool {
	return !a.config.Prefix.Contains(u.careOf) && !a.barred(u.careOf) && (u.careOf == u.source || a.vouches(u.careOf))
}

// barred reports whether the rest of the node stands against an on-link care-of
// address.
func (a *Anchor) barred(careOf netip.Addr) bool {
	return a.config.Barred != nil && a.config.Barred(careOf)
}

// register carries out a registration that may be had.
func (a *Anchor) register(r *regional, u *update) {
	if e := a.bindings.Get(u.home); e != nil {
		a.renew(e, r, u)
		return
	}
	e, err := a.bindings.Add(u.home)
	if errors.Is(err, binding.ErrFull) {
		a.keep(r)
		a.refuse(r, u, mip6.StatusInsufficientResources) // RFC 6275 §10.3.1
		return
	}
	a.held[u.home] = r
	e.State, e.Created, e.Updated = binding.Probing, a.now, a.now
	a.counts.Probing++
	reserve(e, u)
	if a.config.DAD && a.config.Link != "" {
		a.keep(r)
		a.startProbe(e, r, u)
		return
	}
	a.activate(e, r, u)
}

// reserve notes an update in its entry.
func reserve(e *binding.Entry, u *update) { e.Flags, e.Sequence = u.flags, u.proof.Sequence }

// activate makes an entry a binding: packets are forwarded before the mobile is told,
// so that none of those that its answer causes is lost.
func (a *Anchor) activate(e *binding.Entry, r *regional, u *update) {
	e.State, e.Created = binding.Active, a.now
	a.counts.Probing--
	a.counts.Bindings++
	a.counts.Registrations++
	r.probe = nil
	a.bind(e, r, u)
	a.do(role.Forward{Changes: []overlay.Change{tunnel(e)}})
	a.defend(e)
	r.announcements.Begin(a.now)
	a.announce(e, r)
	a.schedule(e, r)
	a.keep(r)
	a.accept(r, u, e.Lifetime)
	a.logBinding("regional binding registered", e, r)
}

// renew takes in an update for an entry that is there.
func (a *Anchor) renew(e *binding.Entry, r *regional, u *update) {
	if e.State == binding.Probing {
		// One detection, and one answer to the newest update (requirement B4).
		reserve(e, u)
		r.probe.update = *u
		a.keep(r)
		return
	}
	before := e.CareOf()
	a.bind(e, r, u)
	if before != u.careOf {
		a.do(role.Forward{Changes: []overlay.Change{tunnel(e)}})
	}
	a.schedule(e, r)
	a.keep(r)
	a.accept(r, u, e.Lifetime)
	if before == u.careOf {
		a.counts.Refreshes++
		return
	}
	a.counts.Moves++
	a.logBinding("regional binding moved", e, r, slog.Any("from", before))
}

// bind writes what an accepted update gets into its entry.
func (a *Anchor) bind(e *binding.Entry, r *regional, u *update) {
	reserve(e, u)
	r.requests, r.ended = binding.RefreshRequests{}, time.Time{}
	e.Updated = a.now
	e.Lifetime = binding.Grant(u.lifetime, a.config.MaxLifetime)
	e.Expires = a.now.Add(e.Lifetime.Duration())
	if e.CareOf() != u.careOf {
		e.Paths = []overlay.Path{{Local: a.config.Address, Remote: u.careOf}}
	}
}

// deregister ends a binding, in the order in which nobody answers for the address any
// more, and nothing draws packets for it into the tunnel, when the answer leaves.
func (a *Anchor) deregister(r *regional, u *update) {
	// It may be another visitor's by now, and this a repeated update.
	if a.held[u.home] == r {
		e := a.bindings.Get(u.home)
		if e.State == binding.Active {
			a.counts.Deregistrations++
			a.logBinding("regional binding deregistered", e, r)
		}
		a.end(e)
		r.ended = a.now
	}
	a.keep(r)
	a.accept(r, u, 0)
}

// end removes entries and takes back what was done outside for them.
func (a *Anchor) end(entries ...*binding.Entry) {
	var changes []overlay.Change
	for _, e := range entries {
		if e.State == binding.Active {
			a.undefend(e.Home)
			changes = append(changes, overlay.Change{Remove: overlay.Key{Home: e.Home, Side: overlay.AgentSide}})
		}
		a.forget(e, a.held[e.Home])
	}
	if len(changes) > 0 {
		a.do(role.Forward{Changes: changes})
	}
}

// forget removes an entry.
func (a *Anchor) forget(e *binding.Entry, r *regional) {
	if e.State == binding.Active {
		a.counts.Bindings--
	} else {
		a.counts.Probing--
	}
	r.probe, r.announcements, r.requests = nil, binding.Announcements{}, binding.RefreshRequests{}
	delete(a.held, e.Home)
	a.bindings.Remove(e.Home)
}
