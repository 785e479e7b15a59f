package ha

import (
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// Protocol constants (RFC 6275 §12, §6.8).
const (
	prefixAdvRetries    = 3
	prefixAdvTimeout    = 3 * time.Second
	advertisementsApart = time.Second
)

// delivery is the delivery of prefix information to a mobile at one of its home
// addresses (RFC 6275 §10.6.2). Whenever an advertisement is sent it is made of
// what is true at that time, so that changes that come together are told at once.
type delivery struct {
	at   time.Time // when something is to be done; zero: nothing
	sent time.Time // the last advertisement
	// idle: nothing is to be sent; at is when the information becomes old.
	idle bool
	// unacknowledged counts the unsolicited advertisements that no solicitation
	// has followed yet.
	unacknowledged int
	// solicited, with identifier, is a solicitation that waits for its answer.
	solicited  bool
	identifier uint16
}

// cancel ends what is scheduled, with the binding. Whether the mobile has
// acknowledged the newest information is remembered.
func (d *delivery) cancel() {
	if d.unacknowledged > 0 {
		d.unacknowledged = prefixAdvRetries + 1
	}
	d.at, d.solicited = time.Time{}, false
}

// solicit takes in a mobile prefix solicitation.
func (a *Agent) solicit(p mip6.ICMPPacket, s mip6.PrefixSolicitation) {
	switch {
	case p.Destination != a.config.Address || p.RouteHome.IsValid():
		a.drop(role.DropNotForUs, p.Source)
		return
	case !p.HomeAddress.IsValid():
		a.drop(role.DropNoHomeAddress, p.Source) // RFC 6275 §6.7
		return
	case a.config.NoPrefixAdvertisements:
		a.drop(role.DropProhibited, p.Source)
		return
	}
	h := a.homes[p.HomeAddress]
	if h == nil {
		a.drop(role.DropUnknownMobile, p.Source)
		return
	}
	e := a.bindings.Get(h.addr)
	if e == nil || e.State != binding.Active || e.CareOf() != p.Source {
		a.unbound(p, h)
		return
	}
	h.delivery.solicited, h.delivery.identifier = true, s.Identifier
	h.delivery.at, h.delivery.idle = a.now, false
	a.deliver(e, h)
	a.schedule(e, h)
}

// unbound answers a packet with a Home Address option that no binding permits
// (RFC 6275 §9.3.1). Anybody can send such a packet, and the mobile may believe
// that it is registered.
func (a *Agent) unbound(p mip6.ICMPPacket, h *home) {
	a.drop(role.DropUnauthenticated, p.Source)
	if mip6.Routable(p.Source) && h.failures.Allow(a.now, failures) && a.failures.Allow(a.now, allFailures) {
		a.do(role.Send{Packet: mip6.Packet{Source: a.config.Address, Destination: p.Source,
			Message: mip6.BindingError{Status: mip6.BindingErrorUnknownBinding, Home: p.HomeAddress}}})
	}
}

// deliver sends the advertisement that is due: a solicited one at once, an
// unsolicited one several times until it is acknowledged by a solicitation.
func (a *Agent) deliver(e *binding.Entry, h *home) {
	d := &h.delivery
	if d.at.IsZero() || d.at.After(a.now) {
		return
	}
	if a.config.NoPrefixAdvertisements { // by now
		d.cancel()
		return
	}
	if d.idle {
		d.at, d.idle, d.unacknowledged = a.now.Add(a.advertisementDelay(h)), false, 0
		return
	}
	// RFC 6275 §6.8: at most one a second to a mobile, all its home addresses
	// together.
	for _, o := range h.homes {
		if free := o.delivery.sent.Add(advertisementsApart); !o.delivery.sent.IsZero() && free.After(a.now) {
			d.at = free
			return
		}
	}
	var identifier uint16 // a mobile takes it for unsolicited (§11.4.3)
	switch {
	case d.solicited:
		identifier = d.identifier
		d.solicited, d.unacknowledged = false, 0
		d.rest(a)
	case d.unacknowledged < prefixAdvRetries:
		d.at = a.now.Add(prefixAdvTimeout << d.unacknowledged)
		d.unacknowledged++
	default:
		d.unacknowledged++
		d.rest(a)
	}
	d.sent = a.now
	a.counts.PrefixAdvertisements++
	// M and O are for home agents that serve DHCPv6 to mobiles (§10.4.4).
	a.do(role.SendICMP{Packet: mip6.ICMPPacket{
		Source: a.config.Address, Destination: e.CareOf(), RouteHome: e.Home,
		Message: mip6.PrefixAdvertisement{Identifier: identifier, Prefixes: a.advertised()},
	}})
}

// rest waits for the information to become old.
func (d *delivery) rest(a *Agent) { d.at, d.idle = a.now.Add(a.config.MaxMobPfxAdvInterval), true }

// scheduleDelivery ensures that a mobile with a binding is told what has changed.
// What is scheduled already, retransmissions included, will tell it.
func (a *Agent) scheduleDelivery(h *home) {
	d := &h.delivery
	if a.config.NoPrefixAdvertisements {
		return
	}
	at := a.now.Add(a.advertisementDelay(h))
	switch {
	case d.at.IsZero() || d.idle:
		d.at, d.idle, d.unacknowledged = at, false, 0
	case d.unacknowledged > 0:
		d.unacknowledged = 0 // another message, repeated as often
	case at.Before(d.at):
		d.at = at
	}
}

// resumeDelivery schedules what a mobile that has just sent an update is to be
// told: it may never have been told, or too long ago, or never have answered.
func (a *Agent) resumeDelivery(h *home) {
	d := &h.delivery
	silent := d.sent.IsZero() || !d.sent.Add(a.config.MinMobPfxAdvInterval).After(a.now)
	switch {
	case a.config.NoPrefixAdvertisements:
	case d.unacknowledged > prefixAdvRetries && silent:
		d.at, d.idle, d.unacknowledged = a.now.Add(prefixAdvTimeout), false, 0
	case !d.at.IsZero():
	case d.sent.IsZero():
		a.scheduleDelivery(h)
	default:
		d.at, d.idle = d.sent.Add(a.config.MaxMobPfxAdvInterval), true
	}
}

// advertisementDelay is RAND_ADV_DELAY (RFC 6275 §10.6.2), but not beyond the
// half of what the prefix of the home address is still valid: the mobile is to be
// told in time.
func (a *Agent) advertisementDelay(h *home) time.Duration {
	preferred, valid := a.prefixOf(h.addr).lifetimes(a.now)
	least := a.config.MinMobPfxAdvInterval
	most := min(a.config.MaxMobPfxAdvInterval, preferred)
	delay := least + time.Duration(a.below(int64((most - least).Abs())))
	if half := valid / 2; delay > half {
		return time.Duration(a.below(int64(half)))
	}
	return delay
}
