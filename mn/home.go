package mn

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Announcements of the home address after the return (RFC 6275 §11.5.5,
// RFC 4861 §10: MAX_NEIGHBOR_ADVERTISEMENT).
const maxAnnouncements = 3

// defendedPause is after how long a return home is tried again that another home agent
// of the link has spoiled.
const defendedPause = 10 * time.Second

// homeState is how far a return home has come.
type homeState uint8

const (
	homeReturning  homeState = iota // de-registration sent, not answered
	homeUnanswered                  // not answered for long: the home address serves all the same
	homeProbing                     // no binding existed: DAD runs
	homeSettled                     // the home address is ours
	homeDuplicate                   // somebody else has the home address
)

func (n *Node) atHome() bool { return n.current != nil && n.current.home }

// goHome completes a move to the home link that cannot wait (RFC 6275 §11.5.5).
func (n *Node) goHome(now time.Time, from *attachment) {
	a := n.current
	again := from != nil && from.home && from.link == a.link
	if !again {
		n.assignHome(a.link)
	}
	n.settleDefault()
	if n.handover != nil {
		n.handover.CareOf = now
	}
	if again {
		// Another router of the home link; the return goes on as it was.
		a.homeState, a.bindingEnds, a.announce, a.announcements = from.homeState, from.bindingEnds, from.announce, from.announcements
		n.handover = nil
		return
	}
	n.arriveHome(now)
	n.forward()
	n.homePlaced(a.link)
	n.log(slog.LevelInfo, "at home", slog.String("link", a.name), slog.String("router", a.router.String()))
}

// arriveHome de-registers. The home address is on the home link already, without
// duplicate address detection since the home agent still defends it, and the
// de-registration leaves from it.
//
// A node that finds itself at home when it starts de-registers too: it cannot
// know whether an earlier life of it left a binding behind. The home agent's
// answer tells, and needs no duplicate address detection that the home agent's
// own defence would spoil.
func (n *Node) arriveHome(now time.Time) {
	a := n.target()
	a.homeState = homeReturning
	a.bindingEnds = now.Add(n.config.Lifetime)
	n.ending = staying // this ends the registration, whatever else was to
	n.askHomeAgentLink(a)
	n.freshTimeout()
	n.requestUpdate(now)
}

// homeAlone makes do without the home agent's answer, and reports whether there
// is nothing more to ask it for.
//
// RFC 6275 §11.5.5 forbids to use the home address at home before the
// de-registration is sent, not before it is answered; so it serves from the
// first one. What is missing without the answer are the announcements: neighbours
// go on sending to the home agent that defended the address, dead or not. §11.5.5
// has them sent after the answer. When none came to several updates they are sent
// all the same, with the override flag, which the home agent's own defence has
// not: should it be alive and deaf, the neighbours take our word. The
// de-registration is repeated until the binding has run out, when the home agent
// has forgotten us by itself.
func (n *Node) homeAlone(now time.Time) bool {
	a := n.current
	if a.homeState == homeReturning {
		a.homeState = homeUnanswered
		n.log(slog.LevelWarn, "the home agent does not answer the de-registration, using the home address without it",
			slog.String("home_agent", n.reg.agent.String()))
		n.handover = nil
		n.announceSoon(now)
		n.retireCareOfs(now)
	}
	if now.Before(a.bindingEnds) {
		return false
	}
	n.endReturn(now)
	return true
}

// endReturn ends the return home: no binding is left.
func (n *Node) endReturn(now time.Time) {
	n.reg.forget()
	switch a := n.current; a.homeState {
	case homeReturning:
		a.homeState = homeSettled
		n.handover = nil
		n.announceSoon(now)
		n.retireCareOfs(now)
	case homeUnanswered:
		a.homeState = homeSettled
	case homeProbing, homeSettled, homeDuplicate:
	}
}

// deregistered handles the acknowledgement of an update with lifetime zero.
func (n *Node) deregistered(now time.Time, s sent, ack mip6.BindingAcknowledgement) {
	switch {
	case ack.Status.Accepted(), ack.Status == mip6.StatusNotHomeAgent:
		n.reg.released(s)
	case n.withdrawing() && !n.stopping: // it says so, and has none of ours then
	default:
		n.refused(now, s, ack)
		return
	}
	switch p := n.pending; {
	case n.stopping:
		n.reg.forget()
		if !n.stopAnchors(now) {
			n.finish(now)
		}
	case p != nil && p.home && s.careOf == n.config.HomeAddress:
		n.commit(now)
		n.settle(now, ack.Status.Accepted())
	case n.atHome() && s.careOf == n.config.HomeAddress:
		n.settle(now, ack.Status.Accepted())
	case n.withdrawing():
		n.withdrawn(now, ack.Status)
	default:
		// The answer to a return home that was left again meanwhile.
		n.stats.LateAcknowledgements++
	}
}

// settle makes the home address ours on the home link: at once where the home
// agent gave it up for us, or had forgotten a binding that has not run out yet;
// after duplicate address detection where there was none (RFC 6275 §11.5.5).
func (n *Node) settle(now time.Time, had bool) {
	a := n.current
	// Nor is there any where another home agent may still defend the address: it is
	// told to let go below.
	had = had || n.reg.registered || n.boundElsewhere(now)
	n.reg.forget()
	if n.homeLink.Agent() == n.reg.agent {
		n.out = append(n.out, n.homeLink.Registered(now, netip.Addr{}, time.Time{})...)
	}
	if had {
		a.homeState = homeSettled
		n.announceSoon(now)
	} else {
		a.homeState = homeProbing
		a.announcements, a.announce = 0, now.Add(dadTransmits*retransTimer)
		n.act(role.ProbeAddress{Link: a.link, Addr: n.config.HomeAddress})
	}
	n.retireCareOfs(now)
	n.completeHandover(now)
	n.sayFarewell(now)
}

// isHomeAgent reports whether a router of a link says that it is a home agent.
func (n *Node) isHomeAgent(link int, router netip.Addr) bool {
	r, ok := n.routers.Get(link, router)
	return ok && r.RA.HomeAgent
}

// announceSoon begins the announcements.
func (n *Node) announceSoon(now time.Time) {
	a := n.current
	a.announcements, a.announce = maxAnnouncements, now
	n.announceDue(now)
}

// announceDue sends the announcements, and ends the probing.
func (n *Node) announceDue(now time.Time) {
	a := n.current
	if a == nil || a.announce.IsZero() || now.Before(a.announce) {
		return
	}
	switch a.homeState {
	case homeDuplicate:
		a.announce = time.Time{}
		if a.works() {
			n.placeHome(a.link)
			n.settleDefault()
			n.arriveHome(now)
		}
		return
	case homeProbing:
		a.homeState, a.announcements = homeSettled, maxAnnouncements
	case homeReturning, homeUnanswered, homeSettled:
	}
	n.act(role.AnnounceAddress{Link: a.link, Addr: n.config.HomeAddress, Router: n.extension != nil})
	if n.compatibleLinkLocal(a.link) { // the home agent has defended it, too
		n.act(role.AnnounceAddress{Link: a.link, Addr: n.links[a.link].LinkLocal, Router: n.extension != nil})
	}
	a.announcements--
	a.announce = time.Time{}
	if a.announcements > 0 {
		a.announce = now.Add(retransTimer)
	}
}

// homeConflict handles somebody else who answers for the home address while
// it is probed. The home agent's own defence of it is expected before it has
// processed the de-registration, and is not a conflict. Another home agent may have a
// binding of an earlier life of the node, or may just be probing for one: that ends,
// so the return home is tried again.
func (n *Node) homeConflict(now time.Time, e role.NeighborHeard) {
	a := n.current
	if a.homeState != homeProbing {
		return
	}
	a.homeState, a.announce = homeDuplicate, time.Time{}
	if e.Solicitation || n.isHomeAgent(a.link, e.From) {
		a.announce = now.Add(n.jittered(defendedPause))
	}
	n.stats.Duplicates++
	n.settleDefault()
	n.displaceHome()
	n.log(slog.LevelError, "home address is taken by another node on the home link",
		slog.String("by", e.From.String()), slog.String("link", a.name))
}
