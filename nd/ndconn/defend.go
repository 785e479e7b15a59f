package ndconn

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"roam6/nd"
)

// maxGroups is how many solicited-node groups are joined. RFC 4861 §7.2.8 wants
// a proxy to join them all, and switches that snoop MLD deliver them only then;
// but each costs kernel memory and reports on the link. Beyond, allmulti has to
// do, which it does on links that flood groups nobody joined.
const maxGroups = 1024

// defense is the set of addresses that a Conn answers for.
type defense struct {
	mu       sync.Mutex
	defender nd.Defender
	groups   map[netip.Addr]*group
	joined   int
}

type group struct {
	addrs  int // defended addresses in the group
	joined bool
}

// Defend makes the Conn answer neighbour solicitations for addr with the link's
// own link-layer address, those for duplicate address detection among them
// (RFC 6275 §10.4.1). router is the R flag of the answers. It does not announce
// the address.
func (c *Conn) Defend(addr netip.Addr, router bool) {
	addr = addr.WithZone("")
	d := &c.defense
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.defender.Defends(addr)
	d.defender.Defend(addr, router)
	if known {
		return
	}
	if d.groups == nil {
		d.groups = make(map[netip.Addr]*group)
	}
	key := nd.SolicitedNode(addr)
	g := d.groups[key]
	if g == nil {
		g = new(group)
		d.groups[key] = g
	}
	g.addrs++
	if g.joined {
		return
	}
	if d.joined == maxGroups || c.membership(unix.IPV6_JOIN_GROUP, key) != nil {
		c.counters.unjoined.Add(1)
		return
	}
	g.joined = true
	d.joined++
}

// Undefend ends a Defend.
func (c *Conn) Undefend(addr netip.Addr) {
	addr = addr.WithZone("")
	d := &c.defense
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.defender.Undefend(addr) {
		return
	}
	key := nd.SolicitedNode(addr)
	g := d.groups[key]
	if g.addrs--; g.addrs > 0 {
		return
	}
	if g.joined {
		_ = c.membership(unix.IPV6_LEAVE_GROUP, key) // gone already if it fails
		d.joined--
	}
	delete(d.groups, key)
}

// Announce multicasts one unsolicited advertisement of addr with the link's own
// link-layer address (nd.Announcement). The caller repeats it: up to
// nd.MaxNeighborAdvertisements, nd.RetransTimer apart.
func (c *Conn) Announce(addr netip.Addr, router bool) error {
	source, linkAddr := c.source()
	if !source.IsValid() {
		return c.failed(nd.AllNodes(), SendNoSource, nil)
	}
	return c.send(source, nd.AllNodes(), nd.Announcement(addr.WithZone(""), router, linkAddr))
}

// answer answers a solicitation for a defended address.
func (c *Conn) answer(r Received, m nd.NeighborSolicitation) {
	c.mu.Lock()
	linkAddr := c.self.linkAddr
	c.mu.Unlock()
	c.defense.mu.Lock()
	to, a, ok := c.defense.defender.Answer(r.Header, m, linkAddr)
	c.defense.mu.Unlock()
	if !ok {
		return
	}
	// Counted before it leaves, so that who has the answer finds it counted; an
	// error is counted by SendNA.
	c.counters.answered.Add(1)
	if c.SendNA(netip.Addr{}, to, a) != nil {
		c.counters.answered.Add(^uint64(0))
	}
}

func (c *Conn) membership(option int, g netip.Addr) error {
	var err error
	if e := c.groupConn.Control(func(fd uintptr) {
		err = unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, option,
			&unix.IPv6Mreq{Multiaddr: g.As16(), Interface: uint32(c.link.Index)})
	}); e != nil {
		return e
	}
	return err
}
