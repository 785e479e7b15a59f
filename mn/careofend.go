package mn

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// How long addresses and memories of them last.
const (
	// retireAfter is how long an old care-of address stays after the new one
	// was acknowledged: packets that were on the way to it still count.
	retireAfter = 2 * time.Second
	// dormantAfter is how long an address is remembered when it is gone, and
	// maxDormant how many: should the node come back, it is used again without
	// another duplicate address detection (RFC 6059 §5.8).
	dormantAfter = 10 * time.Minute
	maxDormant   = 6
	// duplicateFor is how long a prefix is given up after duplicates, unless the
	// link goes down before.
	duplicateFor = 10 * time.Minute
)

// careOfTimers ends probings and removes what is retired or expired.
func (n *Node) careOfTimers(now time.Time) {
	again := false
	for _, c := range n.careOfs {
		if c.state == careOfProbing && !now.Before(c.dadEnds) {
			c.state, c.proven = careOfValid, true
			again = again || n.config.WaitForDAD
		}
	}
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if deadline.Due(now, c.validUntil) {
			again = again || c.assigned()
			n.removeCareOf(c)
			return true
		}
		if c.removeAt.IsZero() || now.Before(c.removeAt) {
			return false
		}
		if c.state != careOfRetired || !c.proven {
			again = again || c.state == careOfDuplicate // it may be tried once more
			n.removeCareOf(c)
			return true
		}
		n.removeCareOf(c)
		c.state, c.removeAt, c.stale = careOfDormant, now.Add(dormantAfter), false
		return false
	})
	n.forgetDormant()
	if again {
		n.decide(now, role.TriggerExpiry)
	}
}

// forgetDormant bounds the addresses that are only remembered.
func (n *Node) forgetDormant() {
	dormant := 0
	for _, c := range n.careOfs {
		if c.state == careOfDormant {
			dormant++
		}
	}
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if c.state != careOfDormant || dormant <= maxDormant {
			return false
		}
		dormant--
		return true
	})
}

// removeCareOf takes c off its interface, unless somebody else assigned it.
func (n *Node) removeCareOf(c *careOf) {
	if c.assigned() && c.origin != foreign {
		n.act(role.UnassignAddress{Link: c.link, Prefix: netip.PrefixFrom(c.addr, c.prefix.Bits())})
	}
	n.setRoutes(c, nil)
	n.notOurs(c)
}

// retireCareOfs begins the end of every care-of address but those in use and those
// that stand by, once the home agent knows the current one.
func (n *Node) retireCareOfs(now time.Time) {
	for _, c := range n.careOfs {
		if !c.standby && !slices.ContainsFunc(n.attachments(), c.serves) {
			n.retire(now, c)
		}
	}
}

// retire begins the end of one care-of address.
func (n *Node) retire(now time.Time, c *careOf) {
	switch c.state {
	case careOfProbing, careOfValid:
		c.state, c.removeAt = careOfRetired, now.Add(retireAfter)
		n.assign(c)
	case careOfRetired, careOfDuplicate, careOfDormant:
	}
}

// notOurs notes that an address cannot be used any more; decide chooses anew.
func (n *Node) notOurs(c *careOf) {
	for _, a := range n.attachments() {
		if c.serves(a) {
			a.careOf = netip.Addr{}
		}
	}
}
