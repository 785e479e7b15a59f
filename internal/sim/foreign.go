package sim

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
)

// Foreign uplinks: another client, or the kernel, configures their addresses. It
// notices late that the link is another one, and some keep the address of the link
// before for a while.

// foreignAddress is an address that somebody else has assigned.
type foreignAddress struct {
	addr  netip.Addr
	until time.Time // zero: as long as the link is there
}

// lingering is for how long an address of the link before stays.
const lingering = 40 * time.Second

// foreignAddresses is what the mobiles are told of an interface.
func (p *port) foreignAddresses(now time.Time) role.ForeignAddresses {
	e := role.ForeignAddresses{Link: p.index}
	for _, f := range p.foreign {
		valid := mip6.InfiniteLifetime
		if !f.until.IsZero() {
			valid = f.until.Sub(now)
		}
		e.Addresses = append(e.Addresses, role.LeasedPrefix{Prefix: netip.PrefixFrom(f.addr, 64), Preferred: valid, Valid: valid})
	}
	return e
}

// manageForeign is the other client at work after an interface has changed.
func (w *World) manageForeign(p *port) {
	h := p.host
	if h.addressing[p.name] != mn.AddressingForeign {
		return
	}
	if h.order%2 == 0 { // it notices a carrier that is lost
		if p.at == nil && !p.up {
			p.foreign = nil
			w.tellForeign(p)
		}
	} else {
		for i := range p.foreign {
			if p.foreign[i].until.IsZero() {
				p.foreign[i].until = w.now.Add(lingering)
			}
		}
		w.tellForeign(p)
		w.after(lingering+time.Millisecond, func() {
			before := len(p.foreign)
			p.foreign = slices.DeleteFunc(p.foreign, func(f foreignAddress) bool { return !f.until.IsZero() && !w.now.Before(f.until) })
			if len(p.foreign) != before {
				w.tellForeign(p)
			}
		})
	}
	at, moves := p.at, p.moves
	if at == nil {
		return
	}
	w.after(time.Duration(100+w.random.IntN(1900))*time.Millisecond, func() { w.assignForeign(p, at, moves) })
}

// assignForeign is the end of the other client's autoconfiguration, if the link is
// still there. It tries again on one that has no prefix yet, and follows a mobile
// network that gets others.
func (w *World) assignForeign(p *port, at *cell, moves int) {
	if p.at != at || p.moves != moves || !p.up {
		return
	}
	subnets := at.subnets()
	if len(subnets) == 0 || at.silent || at.owner != nil && at.owner.down {
		w.after(time.Second, func() { w.assignForeign(p, at, moves) })
		return
	}
	var list []foreignAddress
	for _, f := range p.foreign {
		if !f.until.IsZero() && !at.contains(f.addr) {
			list = append(list, f)
		}
	}
	for _, s := range subnets {
		a := s.Addr().As16()
		a[8], a[13], a[14], a[15] = 0xf0, p.ethernet[4], p.ethernet[5], byte(p.index)
		list = append(list, foreignAddress{addr: netip.AddrFrom16(a)})
	}
	if !slices.Equal(p.foreign, list) {
		p.foreign = list
		w.tellForeign(p)
	}
	if at.owner != nil {
		w.after(2*time.Second, func() { w.assignForeign(p, at, moves) })
	}
}

func (w *World) tellForeign(p *port) {
	w.dispatch(p.host, p.foreignAddresses(w.now))
}

// hasForeign reports whether an address is one that somebody else has assigned.
func (p *port) hasForeign(a netip.Addr) bool {
	return slices.ContainsFunc(p.foreign, func(f foreignAddress) bool { return f.addr == a })
}
