package mn

import (
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// Duplicate address detection (RFC 4862 §5.1, RFC 4861 §10).
const (
	dadTransmits = 1
	retransTimer = time.Second
	// maxIdentifiers is how many interface identifiers are tried on a prefix
	// before it is given up (IDGEN_RETRIES, RFC 7217 §7).
	maxIdentifiers = 3
	// retireAfter is how long an old care-of address stays after the new one
	// was acknowledged: packets that were on the way to it still count.
	retireAfter = 2 * time.Second
)

// careOfState is the life of a care-of address.
type careOfState uint8

const (
	careOfProbing   careOfState = iota + 1 // DAD runs; not used if WaitForDAD
	careOfValid                            // DAD found nobody
	careOfRetired                          // replaced: goes away at removeAt
	careOfDuplicate                        // somebody else has it
)

// careOf is one care-of address formed by SLAAC.
type careOf struct {
	addr       netip.Addr
	prefix     netip.Prefix
	link       int
	router     netip.Addr
	state      careOfState
	attempt    int       // which interface identifier
	dadEnds    time.Time // end of the probing
	validUntil time.Time // zero: for ever
	removeAt   time.Time // when retired
	stale      bool      // the link went down and up since: probe again
}

// usable reports whether traffic and updates may use c.
func (c *careOf) usable(waitForDAD bool) bool {
	switch c.state {
	case careOfValid:
		return true
	case careOfProbing:
		return !waitForDAD // optimistic, RFC 4429
	case careOfRetired, careOfDuplicate:
		return false
	}
	return false
}

// careOfs are the care-of addresses of a node, at most one per prefix and link.
type careOfs []*careOf

func (s careOfs) find(a netip.Addr) *careOf {
	for _, c := range s {
		if c.addr == a {
			return c
		}
	}
	return nil
}

func (s careOfs) on(link int, prefix netip.Prefix) *careOf {
	for _, c := range s {
		if c.link == link && c.prefix == prefix {
			return c
		}
	}
	return nil
}

// interfaceID makes the interface identifier: the modified EUI-64 of the
// link-layer address for the first attempt (RFC 4291 §2.5.1), the identifier
// of the link-local address where there is no link-layer address, and after a
// duplicate one that nobody else arrives at (RFC 7217 §5).
func interfaceID(l role.Link, prefix netip.Prefix, seed uint64, attempt int) [8]byte {
	if attempt == 0 && l.Ethernet != [6]byte{} {
		m := l.Ethernet
		return [8]byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
	}
	if attempt == 0 && l.LinkLocal.IsValid() {
		b := l.LinkLocal.As16()
		return [8]byte(b[8:])
	}
	h := sha256.New()
	p := prefix.Addr().As16()
	h.Write(p[:8])
	h.Write([]byte(l.Name))
	h.Write(l.Ethernet[:])
	h.Write(binary.BigEndian.AppendUint64(nil, seed))
	h.Write([]byte{byte(attempt)})
	var id [8]byte
	copy(id[:], h.Sum(nil))
	id[0] &^= 2 // not globally unique; clear of the reserved identifiers
	return id
}

// formAddress joins a /64 prefix and an interface identifier.
func formAddress(prefix netip.Prefix, id [8]byte) netip.Addr {
	b := prefix.Masked().Addr().As16()
	copy(b[8:], id[:])
	return netip.AddrFrom16(b)
}

// ensureCareOf returns the care-of address under prefix on link, forming it if
// need be, or nil where the prefix is given up after duplicates.
func (n *Node) ensureCareOf(now time.Time, link int, router netip.Addr, p nd.Prefix) *careOf {
	prefix := p.Info.Prefix.Masked()
	c := n.careOfs.on(link, prefix)
	if c == nil {
		c = &careOf{prefix: prefix, link: link, router: router}
		n.careOfs = append(n.careOfs, c)
		n.startCareOf(now, c, 0)
	}
	if c.state == careOfDuplicate {
		return nil
	}
	c.validUntil = p.ValidUntil
	c.router = router
	if c.state == careOfRetired {
		// Back on a link that was left a moment ago: the address is still ours.
		c.state, c.removeAt = careOfValid, time.Time{}
	}
	if c.stale {
		c.stale = false
		n.startCareOf(now, c, c.attempt)
	}
	return c
}

// refreshCareOfs takes over the lifetimes of the prefixes a router has just
// advertised (RFC 4862 §5.5.3).
func (n *Node) refreshCareOfs(link int, router netip.Addr) {
	r, ok := n.routers.Get(link, router)
	if !ok {
		return
	}
	for _, p := range r.Prefixes {
		if c := n.careOfs.on(link, p.Info.Prefix.Masked()); c != nil && c.router == router {
			c.validUntil = p.ValidUntil
		}
	}
}

// startCareOf gives c an address, assigns it and begins the probing.
func (n *Node) startCareOf(now time.Time, c *careOf, attempt int) {
	l := n.links[c.link]
	c.attempt = attempt
	c.addr = formAddress(c.prefix, interfaceID(l.Link, c.prefix, n.config.Seed, attempt))
	c.state = careOfProbing
	c.dadEnds = now.Add(dadTransmits * retransTimer)
	n.probes = append(n.probes, role.ProbeAddress{Link: c.link, Addr: c.addr})
}

// assign puts c on its interface. The kernel gets no lifetimes: they are kept
// here, and the address goes when they end. A retired one is deprecated so
// that nothing new uses it.
func (n *Node) assign(c *careOf) {
	preferred := mip6.InfiniteLifetime
	if c.state == careOfRetired {
		preferred = 0
	}
	n.act(role.AssignAddress{Link: c.link, Prefix: netip.PrefixFrom(c.addr, c.prefix.Bits()), Preferred: preferred, Valid: mip6.InfiniteLifetime})
}

// neighborHeard looks for duplicates of our addresses and for a sign of life
// of the current router.
func (n *Node) neighborHeard(now time.Time, e role.NeighborHeard) {
	if n.checkRouterAlive(now, e) {
		return
	}
	if a := n.current; a != nil && a.home && e.Link == a.link && e.Target == n.config.HomeAddress {
		n.homeConflict(now, e)
		return
	}
	c := n.careOfs.find(e.Target)
	if c == nil || c.link != e.Link || c.state != careOfProbing {
		return
	}
	n.stats.Duplicates++
	n.log(slog.LevelWarn, "care-of address is taken on this link", slog.String("care_of", c.addr.String()),
		slog.String("by", e.From.String()))
	n.act(role.UnassignAddress{Link: c.link, Prefix: netip.PrefixFrom(c.addr, c.prefix.Bits())})
	inUse := n.current != nil && n.current.careOf == c.addr
	if c.attempt+1 == maxIdentifiers {
		c.state = careOfDuplicate
	} else {
		n.startCareOf(now, c, c.attempt+1)
	}
	if inUse {
		n.current.careOf = netip.Addr{} // makes decide choose anew
	}
	n.decide(now, role.TriggerExpiry)
}

// careOfTimers ends probings and removes what is retired or expired.
func (n *Node) careOfTimers(now time.Time) {
	kept := n.careOfs[:0]
	probed := false
	for _, c := range n.careOfs {
		if c.state == careOfProbing && !now.Before(c.dadEnds) {
			c.state = careOfValid
			probed = true
		}
		gone := c.state == careOfRetired && !now.Before(c.removeAt)
		expired := !c.validUntil.IsZero() && !now.Before(c.validUntil)
		if gone || expired {
			n.removeCareOf(c)
			continue
		}
		kept = append(kept, c)
	}
	clear(n.careOfs[len(kept):])
	n.careOfs = kept
	if probed && n.config.WaitForDAD {
		n.decide(now, role.TriggerAdvertisement)
	}
}

// removeCareOf takes c off its interface.
func (n *Node) removeCareOf(c *careOf) {
	n.act(role.UnassignAddress{Link: c.link, Prefix: netip.PrefixFrom(c.addr, c.prefix.Bits())})
	n.act(role.RemoveRoute{Route: onLinkRoute(c.prefix, c.link)})
	if n.current != nil && n.current.careOf == c.addr {
		n.current.careOf = netip.Addr{}
	}
}

// retireCareOfs begins the end of every care-of address but the current one,
// once the home agent knows the current one.
func (n *Node) retireCareOfs(now time.Time) {
	for _, c := range n.careOfs {
		if n.current != nil && c.addr == n.current.careOf {
			continue
		}
		switch c.state {
		case careOfProbing, careOfValid:
			c.state, c.removeAt = careOfRetired, now.Add(retireAfter)
			n.assign(c)
		case careOfRetired, careOfDuplicate:
		}
	}
}

// onLinkRoute is the route to a prefix that is on-link.
func onLinkRoute(p netip.Prefix, link int) role.Route {
	return role.Route{Destination: p, Link: link, Metric: routeMetric}
}
