package homelink

import (
	"net/netip"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// maySolicit: a home agent accepts the Home Address option of a solicitation
// only from the care-of address it knows.
func (h *HomeLink) maySolicit() bool {
	return h.place.careOf.IsValid() && !h.place.home && !h.reg.expires.IsZero() &&
		h.reg.careOf == h.place.careOf && h.reg.agent == h.Agent()
}

// solicitationDue sends a Mobile Prefix Solicitation, or gives up for a while
// (RFC 6275 §11.4.2, §11.8).
func (h *HomeLink) solicitationDue(now time.Time) {
	if deadline.Due(now, h.renewAt) {
		h.renewAt = time.Time{}
		h.solicitation.want(now)
	}
	if !h.maySolicit() || !deadline.Due(now, h.solicitation.next()) {
		return
	}
	if h.solicitation.sends > solicitRetries {
		h.solicitation.rest(now, leastSolicitPause, mostSolicitPause)
		return
	}
	if !h.solicits.Allow(now, solicitRate) {
		h.solicitation.at = now.Add(solicitRate.Every)
		return
	}
	h.solicitation.sent(now, InitialSolicitTimer, maxSolicitTimer, h.config.Random)
	h.act(role.SendICMP{Link: h.place.link, Packet: mip6.ICMPPacket{
		Source: h.place.careOf, Destination: h.reg.agent, HomeAddress: h.config.HomeAddress,
		Message: mip6.PrefixSolicitation{Identifier: h.solicitation.identifier},
	}})
}

// advertised handles a Mobile Prefix Advertisement (RFC 6275 §11.4.3). What
// fails the tests is dropped; one that only is unsolicited makes us solicit.
func (h *HomeLink) advertised(now time.Time, p mip6.ICMPPacket, m mip6.PrefixAdvertisement) {
	switch {
	case p.To() != h.config.HomeAddress:
		return // for another mobile node of this host, or none
	case !p.RouteHome.IsValid() || p.HomeAddress.IsValid() || h.place.home || !h.place.careOf.IsValid():
		h.drop(role.DropUnexpected, p)
		return
	case !h.advertiser().IsValid() || p.Source != h.advertiser():
		h.drop(role.DropUnexpected, p)
		return
	}
	if !h.solicitation.matches(m.Identifier) {
		h.drop(role.DropUnsolicited, p)
		// One that came twice is no reason to ask again.
		repeated := h.answered.ok && h.answered.identifier == m.Identifier
		if !repeated && !h.solicitation.outstanding {
			h.solicitation.reset()
			h.solicitation.want(now)
		}
		return
	}
	h.solicitation.reset()
	h.answered.identifier, h.answered.ok = m.Identifier, true
	h.informed = p.Source
	h.learnPrefixes(now, m.Prefixes)
	h.scheduleRenewal(now)
}

// advertiser is the only node whose prefix advertisements are accepted: the
// home agent that accepted the last registration, or the one to register with
// if none did yet (RFC 6275 §11.4.3).
func (h *HomeLink) advertiser() netip.Addr {
	if h.reg.agent.IsValid() {
		return h.reg.agent
	}
	return h.Agent()
}

// scheduleRenewal has us ask again at three quarters of what remains of the home
// prefix: of its preferred lifetime, or, once that has ended, of its valid one.
// Some time less, at random, so that the mobiles of a home link do not ask all
// at once.
func (h *HomeLink) scheduleRenewal(now time.Time) {
	h.renewAt = time.Time{}
	p := h.homePrefix()
	if p == nil {
		return
	}
	after := leastSolicitPause // an expired prefix may come back
	if ends := p.next(); !p.expired {
		if ends.IsZero() {
			return
		}
		var b [1]byte
		h.config.Random(b[:])
		remains := ends.Sub(now)
		after = max(remains*3/4-remains/8*time.Duration(b[0])/256, leastRenewal)
	}
	h.renewAt = now.Add(after)
}
