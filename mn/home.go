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

// homeState is how far a return home has come.
type homeState uint8

const (
	homeReturning homeState = iota // de-registration sent, not answered
	homeProbing                    // no binding existed: DAD runs
	homeSettled                    // the home address is ours
	homeDuplicate                  // somebody else has the home address
)

func (n *Node) atHome() bool { return n.current != nil && n.current.home }

// arriveHome goes back to the home link (RFC 6275 §11.5.5): the home address
// is configured without duplicate address detection, since the home agent
// still defends it; the de-registration leaves from it; and the tunnel ends.
//
// A node that finds itself at home when it starts de-registers too: it cannot
// know whether an earlier life of it left a binding behind. The home agent's
// answer tells, and needs no duplicate address detection that the home agent's
// own defence would spoil.
func (n *Node) arriveHome(now time.Time, from *attachment) {
	a := n.current
	home := netip.PrefixFrom(n.config.HomeAddress, n.config.HomePrefix.Bits())
	n.act(role.AssignAddress{Link: a.link, Prefix: home, Preferred: mip6.InfiniteLifetime, Valid: mip6.InfiniteLifetime, Home: true})
	n.act(role.AddRoute{Route: onLinkRoute(home.Masked(), a.link)})
	if from != nil && from.home && from.link != a.link {
		n.act(role.UnassignAddress{Link: from.link, Prefix: home})
		n.act(role.RemoveRoute{Route: onLinkRoute(home.Masked(), from.link)})
	}
	n.freshTimeout()
	n.requestUpdate(now)
	n.forward()
	if from != nil && !from.home {
		n.act(role.UnassignAddress{Prefix: netip.PrefixFrom(n.config.HomeAddress, 128)})
	}
	n.log(slog.LevelInfo, "at home", slog.String("link", a.name), slog.String("router", a.router.String()))
}

// deregistered handles the acknowledgement of an update with lifetime zero.
func (n *Node) deregistered(now time.Time, s sent, ack mip6.BindingAcknowledgement) {
	switch {
	case ack.Status.Accepted(), ack.Status == mip6.StatusNotHomeAgent:
	default:
		n.refused(now, s, ack)
		return
	}
	switch {
	case n.stopping:
		n.reg.forget()
		n.finish()
	case n.atHome() && s.careOf == n.config.HomeAddress:
		had := ack.Status.Accepted()
		n.reg.forget()
		n.settle(now, had)
		n.retireCareOfs(now)
		n.completeHandover(now)
	case n.withdrawing:
		n.withdrawing = false
		n.reg.forget()
		n.halt(ack.Status)
	default:
		// The answer to a return home that was left again meanwhile.
		n.stats.LateAcknowledgements++
	}
}

// settle makes the home address ours on the home link: at once where the home
// agent gave it up for us, after duplicate address detection where there was
// no binding (RFC 6275 §11.5.5).
func (n *Node) settle(now time.Time, had bool) {
	a := n.current
	if had {
		a.homeState = homeSettled
		a.announcements, a.announce = maxAnnouncements, now
		n.announceDue(now)
		return
	}
	a.homeState = homeProbing
	a.announcements, a.announce = 0, now.Add(dadTransmits*retransTimer)
	n.act(role.ProbeAddress{Link: a.link, Addr: n.config.HomeAddress})
}

// announceDue sends the announcements, and ends the probing.
func (n *Node) announceDue(now time.Time) {
	a := n.current
	if a == nil || a.announce.IsZero() || now.Before(a.announce) {
		return
	}
	if a.homeState == homeProbing {
		a.homeState = homeSettled
		a.announce = time.Time{}
		return
	}
	n.act(role.AnnounceAddress{Link: a.link, Addr: n.config.HomeAddress, Router: n.extension != nil})
	a.announcements--
	a.announce = time.Time{}
	if a.announcements > 0 {
		a.announce = now.Add(retransTimer)
	}
}

// homeConflict handles somebody else who answers for the home address while
// it is probed. The home agent's own defence of it is expected before it has
// processed the de-registration, and is not a conflict.
func (n *Node) homeConflict(now time.Time, e role.NeighborHeard) {
	a := n.current
	if a.homeState != homeProbing {
		return
	}
	a.homeState, a.announce = homeDuplicate, time.Time{}
	n.stats.Duplicates++
	n.act(role.UnassignAddress{Link: a.link, Prefix: netip.PrefixFrom(n.config.HomeAddress, n.config.HomePrefix.Bits())})
	n.log(slog.LevelError, "home address is taken by another node on the home link",
		slog.String("by", e.From.String()), slog.String("link", a.name))
}

// leave takes back what the current attachment put in the kernel.
func (n *Node) leave() {
	a := n.current
	if a == nil {
		return
	}
	n.current = nil
	n.forward()
	n.act(role.RemoveRoute{Route: defaultRoute(a)})
	if a.home {
		n.act(role.UnassignAddress{Link: a.link, Prefix: netip.PrefixFrom(n.config.HomeAddress, n.config.HomePrefix.Bits())})
		n.act(role.RemoveRoute{Route: onLinkRoute(n.config.HomePrefix.Masked(), a.link)})
		return
	}
	n.act(role.UnassignAddress{Prefix: netip.PrefixFrom(n.config.HomeAddress, 128)})
}
