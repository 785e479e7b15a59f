package mn

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
)

// neighborHeard looks for signs of life of routers, and for duplicates of our
// addresses.
func (n *Node) neighborHeard(now time.Time, e role.NeighborHeard) {
	recalled := n.recalled(now, e)
	for _, a := range n.attachments() {
		if n.answered(now, a, e) {
			return
		}
	}
	if recalled {
		return
	}
	if a := n.current; a != nil && a.home && e.Link == a.link && e.Target == n.config.HomeAddress {
		n.homeConflict(now, e)
		return
	}
	c := n.careOfs.find(e.Link, e.Target)
	if c == nil || c.state != careOfProbing {
		return
	}
	n.duplicate(now, c, e.From)
}

// duplicate gives a care-of address up that somebody else has (RFC 4862 §5.4.5),
// registered or not, and tries another one. A leased address is declined
// (RFC 8415 §18.2.8), and the next one waited for.
func (n *Node) duplicate(now time.Time, c *careOf, by netip.Addr) {
	n.stats.Duplicates++
	n.log(slog.LevelWarn, "care-of address is taken on this link", slog.String("care_of", c.addr.String()),
		slog.String("by", by.String()))
	n.act(role.UnassignAddress{Link: c.link, Prefix: netip.PrefixFrom(c.addr, c.prefix.Bits())})
	n.notOurs(c)
	c.taken++
	if c.origin == leased || c.taken == maxIdentifiers {
		n.forget(careOfDuplicate, maxDuplicates-1)
		c.state, c.standby, c.removeAt = careOfDuplicate, false, now.Add(duplicateFor)
		n.setRoutes(c, nil)
		if c.origin == leased {
			n.act(role.DeclineAddress{Link: c.link, Addr: c.addr})
		}
	} else {
		n.startCareOf(now, c, c.attempt+1)
	}
	n.decide(now, role.TriggerExpiry)
}
