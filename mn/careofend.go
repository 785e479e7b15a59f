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
	// maxDormant how many: should the node come back, it is used again at once,
	// without waiting for duplicate address detection (RFC 6059 §5.8).
	dormantAfter = 10 * time.Minute
	maxDormant   = 6
	// duplicateFor is how long a prefix is given up after duplicates, unless the
	// link goes down before, and maxDuplicates of how many that is remembered:
	// anybody on a link can make more of them.
	duplicateFor  = 10 * time.Minute
	maxDuplicates = 32
)

// careOfTimers ends probings and removes what is retired or expired.
func (n *Node) careOfTimers(now time.Time) {
	again := false
	for _, c := range n.careOfs {
		if c.state != careOfProbing {
			continue
		}
		n.probeCareOf(now, c)
		if deadline.Due(now, c.dadEnds) {
			c.state, c.proven, c.taken = careOfValid, true, 0
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
		n.makeDormant(now, c)
		return false
	})
	n.forget(careOfDormant, maxDormant)
	n.forget(careOfDuplicate, maxDuplicates)
	if again {
		n.decide(now, role.TriggerExpiry)
	}
}

// forget bounds the addresses that are only remembered: the oldest go.
func (n *Node) forget(s careOfState, most int) {
	count := 0
	for _, c := range n.careOfs {
		if c.state == s {
			count++
		}
	}
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if c.state != s || count <= most {
			return false
		}
		count--
		return true
	})
}

// makeDormant takes c off its interface and remembers it.
func (n *Node) makeDormant(now time.Time, c *careOf) {
	n.removeCareOf(c)
	c.state, c.removeAt, c.recognised = careOfDormant, now.Add(dormantAfter), false
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

// shedCareOfs begins the end of the care-of addresses that were left before any home
// agent knew them: none may answer for as long as the node moves on.
func (n *Node) shedCareOfs(now time.Time) {
	bound := func(c *careOf) bool {
		if slices.ContainsFunc(n.regionals, func(r *regional) bool { return r.lives() && r.careOf == c.addr && r.path.Local == c.addr }) {
			return true
		}
		return slices.ContainsFunc(append(n.former[:len(n.former):len(n.former)], n.reg), func(r *registration) bool {
			return r.registered && r.careOf == c.addr
		})
	}
	for _, c := range n.careOfs {
		if !c.standby && !bound(c) && !slices.ContainsFunc(n.attachments(), c.serves) {
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
	n.pathLost(c.link, c.addr)
}
