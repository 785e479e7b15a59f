package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roam6/overlay"
)

// conversation are two addresses that routes are between: at most one of each side.
type conversation struct{ local, remote netip.Addr }

func conversationOf(p overlay.Pair) conversation {
	local, remote := p.Ends()
	return conversation{local, remote}
}

// pairs are the two that there may be.
func (c conversation) pairs() [2]overlay.Pair {
	return [2]overlay.Pair{
		ofMobile:        {Home: c.local, Peer: c.remote, Side: overlay.MobileSide},
		ofCorrespondent: {Home: c.remote, Peer: c.local, Side: overlay.CorrespondentSide},
	}
}

// routesBetween are the routes of a conversation, by index; the zero value is none.
type routesBetween [2]overlay.Route

const (
	ofMobile        = 0
	ofCorrespondent = 1
)

func (r *routesBetween) none() bool { return *r == routesBetween{} }

// to are the changes that make other routes of these.
func (r *routesBetween) to(want routesBetween) (changes []RouteChange) {
	for i := range r {
		switch {
		case r[i] == want[i]:
		case want[i] == overlay.Route{}:
			changes = append(changes, RouteChange{Remove: r[i].Pair})
		default:
			changes = append(changes, RouteChange{Set: &want[i]})
		}
	}
	return changes
}

// key tells packets of a conversation, received along its routes.
func (r *routesBetween) key(c conversation) (k spareKey) {
	source, destination := c.remote, c.local
	if there := &r[ofMobile]; there.Home.IsValid() {
		k.route, destination = c.local.As16(), there.CareOf
	}
	if there := &r[ofCorrespondent]; there.Home.IsValid() {
		k.option, source = c.remote.As16(), there.CareOf
	}
	k.source, k.destination = source.As16(), destination.As16()
	return k
}

// fit are the routes of a conversation that the route path is to have: all that there
// are, since the kernel would send without the header of one that it has not, or none. The
// error says why it cannot have them; without one there are none, or they are idle.
func (e *Engine) fit(c conversation, now time.Duration) (want routesBetween, err error) {
	if x := e.delegation.carried[c]; x != nil && now-x.used > idleRoutes {
		return routesBetween{}, nil
	}
	for i, pair := range c.pairs() {
		if o := e.routes[pair]; o != nil {
			if err := e.simple(o, now); err != nil {
				return routesBetween{}, err
			}
			want[i] = o.route()
		}
	}
	if want.none() {
		return want, nil
	}
	if err := e.wide(c, &want); err != nil {
		return routesBetween{}, err
	}
	return want, nil
}

// leastDelegatedMTU is the least path MTU of a route that a route path may have. With both
// headers a packet of the minimum MTU takes as much; user space sends those in fragments on
// narrower paths, where XFRM would tell senders of less than 1280 octets.
const leastDelegatedMTU = minimumMTU + homeHeaderLength + routeHeaderLength

// Reasons for a route to stay in user space.
var (
	errRouteRelays  = errors.New("DHCPv6 messages between these addresses are in ESP")
	errRouteNarrow  = fmt.Errorf("its path takes less than packets of %d octets with both headers", minimumMTU)
	errRouteStacked = errors.New("it is on a tunnel")
	errRouteAstray  = errors.New("routing leads to another link than its own")
)

// simple tells why the route path may not have a route: it may have one that is on no
// tunnel, is wide enough, leaves by the link that routing leads it to, and does not share
// its addresses with DHCPv6 messages that must be in ESP.
func (e *Engine) simple(o *optimised, now time.Duration) error {
	c := conversationOf(o.pair)
	if e.config.Relayed != nil && e.config.Relayed(c.local, c.remote) {
		return errRouteRelays
	}
	p := o.path()
	joint := o.joint.Load()
	if p.mtu(now) < leastDelegatedMTU || joint != nil && joint.remote == p.remote && joint.mtu(now) < leastDelegatedMTU {
		return errRouteNarrow
	}
	if o.pair.Side != overlay.MobileSide {
		return nil
	}
	if p.below.Load() != nil {
		return errRouteStacked
	}
	if p.Link == 0 {
		return nil
	}
	if link, err := firstHop(e.netlink, p.Local, p.Remote, 0); err != nil || link != p.Link {
		return errRouteAstray
	}
	return nil
}

// wide tells whether the kernel's own route to the other end, as far as it knows, takes a
// packet of the minimum MTU with the headers.
func (e *Engine) wide(c conversation, want *routesBetween) error {
	from, to, headers := c.local, c.remote, 0
	if r := &want[ofMobile]; r.Home.IsValid() {
		from, headers = r.CareOf, headers+homeHeaderLength
	}
	if r := &want[ofCorrespondent]; r.Home.IsValid() {
		to, headers = r.CareOf, headers+routeHeaderLength
	}
	if wayMTU(e.netlink, e.socket(), from, to) < minimumMTU+headers {
		return errRouteNarrow
	}
	return nil
}

// route is the route as it was asked for.
func (o *optimised) route() overlay.Route {
	p := o.path()
	r := overlay.Route{Pair: o.pair, CareOf: p.Local, Link: p.Link}
	if o.pair.Side == overlay.CorrespondentSide {
		r.CareOf = p.Remote
	}
	return r
}

// routeNarrowed has the routes looked at again that an error was about.
func (e *Engine) routeNarrowed(report *routeError) {
	if e.delegation.path == nil || report.kind != icmpPacketTooBig {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if report.hasHome {
		if o := e.table.mobileRoutes.get(report.home, report.peer()); o != nil {
			e.delegation.touch(o.pair)
		}
	}
	if report.correspondent != nil {
		e.delegation.touch(report.correspondent.pair)
	}
	e.delegate()
}
