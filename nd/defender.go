package nd

import (
	"net"
	"net/netip"
)

// Defender answers neighbour solicitations for addresses whose mobile node is
// away, so that packets for them come to the home agent and nobody else takes
// them (RFC 6275 §10.4.1). The zero value is ready for use.
type Defender struct {
	addrs map[netip.Addr]bool // whether the R flag is set
}

// Defend adds an address. router is the R flag of the answers: RFC 6275
// §10.4.1 has it clear.
func (d *Defender) Defend(addr netip.Addr, router bool) {
	if d.addrs == nil {
		d.addrs = make(map[netip.Addr]bool)
	}
	d.addrs[addr] = router
}

// Undefend removes an address, and reports whether it was there.
func (d *Defender) Undefend(addr netip.Addr) bool {
	_, ok := d.addrs[addr]
	delete(d.addrs, addr)
	return ok
}

// Defends reports whether an address is defended.
func (d *Defender) Defends(addr netip.Addr) bool {
	_, ok := d.addrs[addr]
	return ok
}

// Len is the number of addresses.
func (d *Defender) Len() int { return len(d.addrs) }

// Answer returns the advertisement that answers a valid solicitation, and whom
// to send it to, if the target is defended; linkAddr is our own link-layer
// address. O is clear, so that the mobile itself, should it be there, wins
// (RFC 4861 §7.2.8). Duplicate address detection is answered to all nodes
// (§7.2.4).
func (d *Defender) Answer(h Header, m NeighborSolicitation, linkAddr net.HardwareAddr) (to netip.Addr, a NeighborAdvertisement, ok bool) {
	router, ok := d.addrs[m.Target]
	if !ok {
		return netip.Addr{}, NeighborAdvertisement{}, false
	}
	a = NeighborAdvertisement{Router: router, Target: m.Target, TargetLinkAddr: linkAddr}
	if h.Source.IsUnspecified() {
		return AllNodes(), a, true
	}
	a.Solicited = true
	return h.Source, a, true
}

// Announcement is the unsolicited advertisement by which a home agent takes
// over an address, or a mobile takes it back (RFC 6275 §10.4.1, §11.5.5): to
// all nodes, S clear and O set.
func Announcement(addr netip.Addr, router bool, linkAddr net.HardwareAddr) NeighborAdvertisement {
	return NeighborAdvertisement{Router: router, Override: true, Target: addr, TargetLinkAddr: linkAddr}
}
