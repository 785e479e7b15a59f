package mn

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// Duplicate address detection (RFC 4862 §5.1, RFC 4861 §10).
const (
	dadTransmits = 1
	retransTimer = time.Second
	// probeInterval is the least time between two probes of an address that is in use
	// meanwhile: links that flap do not make a multicast each time.
	probeInterval = retransTimer
	// maxIdentifiers is how many interface identifiers are tried in a row on a
	// prefix before it is given up (IDGEN_RETRIES, RFC 7217 §7).
	maxIdentifiers = 3
)

// careOfState is the life of a care-of address.
type careOfState uint8

const (
	careOfProbing   careOfState = iota + 1 // DAD runs; not used if WaitForDAD, unless recognised
	careOfValid                            // DAD found nobody
	careOfRetired                          // replaced: goes away at removeAt
	careOfDuplicate                        // somebody else has it, and all others tried: given up until removeAt
	careOfDormant                          // not assigned, remembered until removeAt
)

// careOf is one care-of address.
type careOf struct {
	addr       netip.Addr
	prefix     netip.Prefix // it is formed under, or the address itself where it was given
	origin     origin
	link       int
	router     netip.Addr
	state      careOfState
	attempt    int       // which interface identifier
	taken      int       // identifiers that others have, in a row
	probed     time.Time // when it was probed last; zero: never
	probeDue   time.Time // when it is to be probed; zero: it has been
	dadEnds    time.Time // end of the probing; zero: the link went down in it
	validUntil time.Time // zero: for ever
	removeAt   time.Time // when it goes, or is forgotten
	stale      bool      // the link went down and up since: probe again
	proven     bool      // duplicate address detection found nobody once
	recognised bool      // the link is the one where it was proven
	standby    bool      // kept ready on an uplink that is not in use
	ready      time.Time // when the router of a standby address is asked again; zero: not assigned yet

	onLink bool         // the prefix is on-link
	routes []role.Route // installed for it
}

// usable reports whether traffic and updates may use c.
func (c *careOf) usable(waitForDAD bool) bool {
	switch c.state {
	case careOfValid:
		return true
	case careOfProbing:
		return !waitForDAD || c.proven && c.recognised // optimistic, RFC 4429
	case careOfRetired, careOfDuplicate, careOfDormant:
		return false
	}
	return false
}

// serves reports whether c is the care-of address of an attachment.
func (c *careOf) serves(a *attachment) bool { return a.link == c.link && a.careOf == c.addr }

// assigned reports whether c is on its interface.
func (c *careOf) assigned() bool {
	switch c.state {
	case careOfProbing, careOfValid, careOfRetired:
		return true
	case careOfDuplicate, careOfDormant:
		return false
	}
	return false
}

// careOfs are the care-of addresses of a node, at most one per prefix and link.
type careOfs []*careOf

func (s careOfs) find(link int, a netip.Addr) *careOf {
	for _, c := range s {
		if c.link == link && c.addr == a {
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

// next is when something of an address ends.
func (s careOfs) next() time.Time {
	var next time.Time
	for _, c := range s {
		if c.state == careOfProbing {
			next = deadline.Earlier(next, deadline.Earlier(c.dadEnds, c.probeDue))
		}
		next = deadline.Earlier(next, deadline.Earlier(c.removeAt, c.validUntil))
	}
	return next
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

// ensureCareOf returns the care-of address of a place, forming it if need be, or
// nil where it is given up after duplicates. What was not defended for a while, be it
// that the node or the carrier was away, is probed once more: somebody else may have
// found it free (RFC 4862 §5.4). Nothing waits for that.
func (n *Node) ensureCareOf(now time.Time, p candidate) *careOf {
	c := n.careOfs.on(p.link.Index, p.prefix)
	if c == nil {
		c = &careOf{prefix: p.prefix, origin: p.origin, link: p.link.Index}
		n.careOfs = append(n.careOfs, c)
		n.startCareOf(now, c, 0)
	}
	if c.state == careOfDuplicate {
		return nil
	}
	if g := n.givenAddress(c.link, c.origin, c.addr); g != nil {
		g.of, g.remembered = p.link.identity, false // what is used here is of this link
	}
	c.validUntil, c.router, c.onLink = p.validUntil, p.router.Addr, p.onLink
	switch c.state {
	case careOfRetired:
		// Back on a link that was left a moment ago, unless it has gone since.
		c.recognised = c.recognised || !c.stale
		n.startCareOf(now, c, c.attempt)
	case careOfDormant:
		n.startCareOf(now, c, c.attempt)
	case careOfProbing, careOfValid:
		if c.stale {
			n.startCareOf(now, c, c.attempt)
		}
	case careOfDuplicate:
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
		if c := n.careOfs.on(link, p.Info.Prefix.Masked()); c != nil && c.origin == formed && c.router == router {
			c.validUntil = p.ValidUntil
		}
	}
}

// startCareOf gives c an address and begins the probing. A foreign one was probed
// by whoever assigned it.
func (n *Node) startCareOf(now time.Time, c *careOf, attempt int) {
	c.attempt, c.stale, c.ready, c.removeAt = attempt, false, time.Time{}, time.Time{}
	a := c.prefix.Addr()
	if c.origin == formed {
		a = formAddress(c.prefix, interfaceID(n.links[c.link].Link, c.prefix, n.config.Seed, attempt))
	}
	if a != c.addr {
		c.addr, c.proven, c.probed = a, false, time.Time{}
	}
	if c.origin == foreign {
		c.state, c.proven = careOfValid, true
		return
	}
	c.state, c.probeDue = careOfProbing, now
	if again := c.probed.Add(probeInterval); !c.probed.IsZero() && now.Before(again) && c.usable(n.config.WaitForDAD) {
		c.probeDue = again
	}
	c.dadEnds = c.probeDue.Add(dadTransmits * retransTimer)
	n.probeCareOf(now, c)
}

// probeCareOf sends the solicitation for c when it is due, behind everything else.
func (n *Node) probeCareOf(now time.Time, c *careOf) {
	if deadline.Due(now, c.probeDue) {
		c.probed, c.probeDue = now, time.Time{}
		n.probes = append(n.probes, role.ProbeAddress{Link: c.link, Addr: c.addr})
	}
}

// assign puts c on its interface, with its routes. The kernel gets no
// lifetimes: they are kept here, and the address goes when they end. One that is
// retired or stands by is deprecated so that nothing new uses it. A foreign one
// is there already.
func (n *Node) assign(c *careOf) {
	preferred := mip6.InfiniteLifetime
	if c.state == careOfRetired || c.standby {
		preferred = 0
	}
	if c.origin != foreign {
		n.act(role.AssignAddress{Link: c.link, Prefix: netip.PrefixFrom(c.addr, c.prefix.Bits()), Preferred: preferred, Valid: mip6.InfiniteLifetime})
	}
	want := []role.Route{sourceRoute(c)}
	if c.onLink {
		want = append(want, onLinkRoute(c.prefix, c.link))
	}
	n.setRoutes(c, want)
}

// setRoutes makes want the routes installed for c.
func (n *Node) setRoutes(c *careOf, want []role.Route) {
	old := c.routes
	c.routes = want
	for _, r := range want {
		if !slices.Contains(old, r) {
			n.act(role.AddRoute{Route: r})
		}
	}
	for _, r := range old {
		if !slices.Contains(want, r) {
			n.act(role.RemoveRoute{Route: r})
		}
	}
}
