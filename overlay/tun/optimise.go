package tun

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/order"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// optimise installs an optimised route or swaps its care-of address. The table
// comes before the kernel's route, so that no packet is led here too early.
func (e *Engine) optimise(r *overlay.Route, plan *plan) error {
	if err := checkRoute(r); err != nil {
		return err
	}
	if err := e.checkStackedRoute(r); err != nil {
		return err
	}
	way := overlay.Path{Local: r.CareOf, Remote: r.Peer, Link: r.Link}
	if r.Side == overlay.CorrespondentSide {
		way = overlay.Path{Local: r.Peer, Remote: r.CareOf}
	}
	o, ok := e.routes[r.Pair]
	if !ok {
		o = &optimised{pair: r.Pair, since: time.Now()}
	}
	paths := []*path{newPath(way, e.firstMTU(way.Link))}
	if r.Side == overlay.MobileSide {
		e.link(paths)
	}
	o.paths.Store(o.paths.Load().swap(paths, e.now(), e.config.Grace))
	if !ok {
		e.routes[r.Pair] = o
		e.table.routes(r.Side).insert(o)
		e.fast.yield(r.Pair, true)
	}
	e.delegation.touch(r.Pair)
	e.lead(o, plan)
	return nil
}

// deoptimise removes an optimised route; none is none. Packets that the kernel
// has led into the device by then leave without it.
func (e *Engine) deoptimise(pair overlay.Pair, plan *plan) {
	o, ok := e.routes[pair]
	if !ok {
		return
	}
	delete(e.routes, pair)
	e.delegation.touch(pair)
	e.fast.yield(pair, false)
	until := e.now() + e.config.Grace
	if e.table.routes(pair.Side).remove(o, until) {
		e.departed = append(e.departed, departure{pair.Home, pair.Side, until})
	}
	e.unlead(o, plan)
}

// departure is a home address without optimised routes that is still known.
type departure struct {
	home  netip.Addr
	side  overlay.Side
	until time.Duration
}

// forgetDeparted forgets the home addresses whose time is over.
func (e *Engine) forgetDeparted(now time.Duration) {
	n := 0
	for n < len(e.departed) && e.departed[n].until <= now {
		d := e.departed[n]
		e.table.routes(d.side).forget(d.home, now)
		n++
	}
	e.departed = slices.Delete(e.departed, 0, n)
}

// checkRoute tells what is wrong with an optimised route.
func checkRoute(r *overlay.Route) error {
	switch {
	case r.Side != overlay.MobileSide && r.Side != overlay.CorrespondentSide:
		return fmt.Errorf("%w: it is on neither side", ErrInvalidRoute)
	case !global(r.Home) || !global(r.Peer) || !global(r.CareOf):
		// RFC 6275 §4.6; §11.3.1 for the peer.
		return fmt.Errorf("%w: home address %v, peer %v or care-of address %v is not a global IPv6 address", ErrInvalidRoute, r.Home, r.Peer, r.CareOf)
	case r.Home == r.Peer || r.CareOf == r.Peer || r.CareOf == r.Home:
		return fmt.Errorf("%w: home address %v, peer %v and care-of address %v are not three", ErrInvalidRoute, r.Home, r.Peer, r.CareOf)
	case r.Link < 0:
		return fmt.Errorf("%w: link %d", ErrInvalidRoute, r.Link)
	}
	return nil
}

// firstMTU is the MTU of a path as far as its first link tells; link may be 0.
func (e *Engine) firstMTU(link int) int {
	mtu := e.config.PathMTU
	if link != 0 {
		if m, err := linkMTU(e.socket(), link); err == nil {
			mtu = min(mtu, m)
		}
	}
	return mtu
}

// led names a lead: on the mobile side the peer, on the correspondent side the
// home address.
type led struct {
	to   netip.Addr
	side overlay.Side
}

func (o *optimised) led() led {
	if o.pair.Side == overlay.MobileSide {
		return led{o.pair.Peer, o.pair.Side}
	}
	return led{o.pair.Home, o.pair.Side}
}

// lead is a route of the kernel to one address, for all optimised routes that
// need it; the first of them says how it is.
type lead struct {
	users     []*optimised
	route     route
	installed bool
}

// lead adds an optimised route to the users of its lead.
func (e *Engine) lead(o *optimised, plan *plan) {
	to := o.led()
	if to.side == overlay.CorrespondentSide && !e.marks {
		return
	}
	l := e.leads[to]
	if l == nil {
		l = &lead{}
		e.leads[to] = l
		if to.side == overlay.CorrespondentSide {
			e.bound++
		}
	}
	if !slices.Contains(l.users, o) {
		l.users = append(l.users, o)
	}
	e.update(l, plan)
}

// unlead undoes lead.
func (e *Engine) unlead(o *optimised, plan *plan) {
	to := o.led()
	l := e.leads[to]
	if l == nil {
		return
	}
	l.users = slices.DeleteFunc(l.users, func(u *optimised) bool { return u == o })
	if len(l.users) > 0 {
		e.update(l, plan)
		return
	}
	delete(e.leads, to)
	if to.side == overlay.CorrespondentSide {
		e.bound--
	}
	if l.installed {
		plan.add([]rtbatch.Request{e.kernel.removeRoute(l.route)}, step{home: o.pair.Home, prefix: l.route.prefix})
	}
}

// update makes the kernel's route of a lead what it must be.
func (e *Engine) update(l *lead, plan *plan) {
	o := l.users[0]
	want := route{prefix: netip.PrefixFrom(o.led().to, 128), table: e.config.Table, metric: tunnelMetric}
	if o.pair.Side == overlay.CorrespondentSide {
		want.table, want.source = e.config.Table+1, o.pair.Peer
	}
	want.mtu = max(o.path().first()-homeHeaderLength, minimumMTU)
	if l.installed && l.route == want {
		return
	}
	plan.leads = plan.leads || o.pair.Side == overlay.CorrespondentSide && !l.installed
	l.route, l.installed = want, true
	plan.add([]rtbatch.Request{e.kernel.replaceRoute(want)}, step{home: o.pair.Home, prefix: want.prefix, adds: true, done: &l.installed})
}

// steer adds the rule of the correspondent side with the first lead there, and
// removes it with the last. It reports whether sockets have to be told of new
// leads, which a change of rules does by itself.
func (e *Engine) steer(plan *plan) (nudge bool) {
	wanted := e.bound > 0
	if wanted == e.steered {
		return plan.leads
	}
	e.steered = wanted
	if wanted {
		plan.add([]rtbatch.Request{{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: e.kernel.sendersRule()}}, step{adds: true, done: &e.steered})
	} else {
		plan.add([]rtbatch.Request{{Kind: unix.RTM_DELRULE, Flags: 0, Body: e.kernel.sendersRule()}}, step{})
	}
	return false
}

// Routes returns a snapshot, in the order of home addresses and peers.
func (e *Engine) Routes() []overlay.RouteStatus {
	e.mu.Lock()
	seen := e.collect()
	all := make([]overlay.RouteStatus, 0, len(e.routes))
	for _, o := range e.routes {
		p := o.path()
		s := overlay.RouteStatus{
			Route: overlay.Route{Pair: o.pair, CareOf: p.Local, Link: p.Link},
			Since: o.since,
			Counters: overlay.Counters{
				EncapPackets: o.encapsulated.packets.Load(), EncapBytes: o.encapsulated.bytes.Load(),
				DecapPackets: o.decapsulated.packets.Load(), DecapBytes: o.decapsulated.bytes.Load(),
			},
		}
		if o.pair.Side == overlay.CorrespondentSide {
			s.CareOf = p.Remote
		}
		all = append(all, s)
	}
	e.mu.Unlock()
	e.sighted(seen)
	order.Sort(all, func(a, b overlay.RouteStatus) int {
		return cmp.Or(a.Home.Compare(b.Home), a.Peer.Compare(b.Peer), cmp.Compare(a.Side, b.Side))
	})
	return all
}
