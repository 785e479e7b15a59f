package ndconn

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/nd"
)

// self is what the link has of its own.
type self struct {
	linkAddr  net.HardwareAddr
	linkLocal netip.Addr   // invalid while there is none that may be used
	others    []netip.Addr // further link-local addresses that may be used
}

// Refresh looks up the interface's link-layer and link-local addresses. The
// shell calls it when they change; a Conn looks by itself when it has none and
// after the interface was down.
func (c *Conn) Refresh() error {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	if c.closed.Load() {
		return fmt.Errorf("%v: %w", c.link, net.ErrClosed)
	}
	var s self
	l, err := c.netlink.LinkByIndex(c.link.Index)
	if err != nil {
		return fmt.Errorf("%v: %w", c.link, err)
	}
	if l.Attrs().EncapType != "loopback" {
		s.linkAddr = l.Attrs().HardwareAddr
	}
	addrs, err := c.netlink.AddrList(l, unix.AF_INET6)
	if err != nil {
		return fmt.Errorf("addresses of %v: %w", c.link, err)
	}
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		switch {
		case !ok || !addr.IsLinkLocalUnicast() || !usable(a):
		case !s.linkLocal.IsValid():
			s.linkLocal = addr
		default:
			s.others = append(s.others, addr)
		}
	}
	c.mu.Lock()
	c.self = s
	c.mu.Unlock()
	return nil
}

// usable reports whether an address may be a source (RFC 4862 §5.4, RFC 4429 §3.3).
func usable(a netlink.Addr) bool {
	if a.Flags&unix.IFA_F_DADFAILED != 0 {
		return false
	}
	return a.Flags&unix.IFA_F_TENTATIVE == 0 || a.Flags&unix.IFA_F_OPTIMISTIC != 0
}

// LinkLocal returns the interface's link-local address, invalid while it has
// none that may be used.
func (c *Conn) LinkLocal() netip.Addr {
	a, _ := c.source()
	return a
}

// SetSources says which link-local addresses router advertisements may come from, in
// place of the interface's own choice: the first of the list that it has. While it has
// none, no advertisement is sent. An empty list leaves it to the interface.
func (c *Conn) SetSources(list []netip.Addr) {
	list = slices.Clone(list)
	c.mu.Lock()
	c.sources = list
	c.mu.Unlock()
}

// AdvertisingSource is where router advertisements come from now; it is invalid while
// none can be sent.
func (c *Conn) AdvertisingSource() netip.Addr {
	source, _ := c.source()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sources) == 0 || !source.IsValid() {
		return source
	}
	for _, a := range c.sources {
		if a == c.self.linkLocal || slices.Contains(c.self.others, a) {
			return a
		}
	}
	return netip.Addr{}
}

// forgetSelf makes the next message look up the addresses anew.
func (c *Conn) forgetSelf() {
	c.mu.Lock()
	c.self.linkLocal = netip.Addr{}
	clear(c.neighbors)
	c.mu.Unlock()
}

// kernelNeighbor returns the link-layer address that the kernel's neighbour
// cache has for an address, nil if it has none to send to.
func (c *Conn) kernelNeighbor(a netip.Addr) net.HardwareAddr {
	const usable = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	if c.closed.Load() {
		return nil
	}
	list, err := c.netlink.NeighList(c.link.Index, unix.AF_INET6)
	if err != nil {
		return nil // the kernel's resolution has to do
	}
	for _, n := range list {
		if addr, ok := netip.AddrFromSlice(n.IP); ok && addr == a && n.State&usable != 0 && len(n.HardwareAddr) == 6 {
			return n.HardwareAddr
		}
	}
	return nil
}

// neighbors remembers for a short time where messages came from, so that an
// answer need not wait for address resolution.
type neighbors map[netip.Addr]neighbor

type neighbor struct {
	linkAddr net.HardwareAddr
	heard    time.Time
}

const (
	maxNeighbors = 256
	neighborLife = 30 * time.Second // as REACHABLE_TIME, RFC 4861 §10
)

func (n *neighbors) learn(now time.Time, a netip.Addr, linkAddr net.HardwareAddr) {
	if *n == nil {
		*n = make(neighbors)
	}
	if _, known := (*n)[a]; !known && len(*n) >= maxNeighbors {
		for old, e := range *n {
			if now.Sub(e.heard) > neighborLife {
				delete(*n, old)
			}
		}
		for old := range *n { // any: they are only a short cut
			if len(*n) < maxNeighbors {
				break
			}
			delete(*n, old)
		}
	}
	(*n)[a] = neighbor{linkAddr: linkAddr, heard: now}
}

func (n neighbors) find(now time.Time, a netip.Addr) net.HardwareAddr {
	if e, ok := n[a]; ok && now.Sub(e.heard) <= neighborLife {
		return e.linkAddr
	}
	return nil
}

// nonces are those of the latest solicitations sent for duplicate address
// detection (RFC 7527 §4.2).
type nonces struct {
	sent [32]struct {
		target netip.Addr
		nonce  [6]byte
	}
	next int
}

func (n *nonces) fresh(target netip.Addr) []byte {
	e := &n.sent[n.next]
	n.next = (n.next + 1) % len(n.sent)
	e.target = target
	_, _ = rand.Read(e.nonce[:]) // never fails
	return bytes.Clone(e.nonce[:])
}

func (n *nonces) ours(m nd.NeighborSolicitation) bool {
	for i := range n.sent {
		if e := &n.sent[i]; e.target == m.Target && bytes.Equal(e.nonce[:], m.Nonce) {
			return true
		}
	}
	return false
}
