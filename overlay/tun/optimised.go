package tun

import (
	"net/netip"
	"sync/atomic"
	"time"

	"roam6/overlay"
)

// optimised is an optimised route in the data plane (RFC 6275 §9.3, §11.3).
type optimised struct {
	pair  overlay.Pair
	since time.Time
	// paths has one path, from this node to the other end: on the mobile side from
	// the care-of address to the peer, on the correspondent side from the peer,
	// which this node is, to the care-of address. Former ones are still accepted as
	// those of tunnels are.
	paths atomic.Pointer[pathSet]
	// joint is the path between two care-of addresses, of packets that take this
	// route and one of the mobile side at once; the one last used.
	joint atomic.Pointer[path]

	// delegated: the route path carries it.
	delegated atomic.Bool
	looked    uint64 // packets, when it was last looked how many; under the engine's lock

	encapsulated, decapsulated counter
	reported                   atomic.Int64 // when traffic may be reported again
	// unreachable is when that may be reported again. Of the goroutine that hears
	// errors.
	unreachable time.Duration
}

func (o *optimised) path() *path { return o.paths.Load().preferred() }

// accepts reports whether a packet with this route's Home Address option may
// come from a source: the care-of address, or the one before it for a packet
// that was on its way when the binding changed.
func (o *optimised) accepts(source address, now time.Duration) bool {
	return o.paths.Load().accepts(overlay.MobileSide, source, address{}, now)
}

// jointPath is the path of packets that take this route of the correspondent
// side, whose path is to, and one of the mobile side, whose path is from. Of the
// sending goroutine.
func (o *optimised) jointPath(from, to *path) *path {
	below := from.below.Load()
	if p := o.joint.Load(); p != nil && p.local == from.local && p.remote == to.remote && p.Link == from.Link && p.below.Load() == below {
		return p
	}
	p := newPath(overlay.Path{Local: from.Local, Remote: to.Remote, Link: from.Link}, from.firstHop)
	p.below.Store(below)
	o.joint.Store(p)
	return p
}

// homeRoutes are the optimised routes of one home address on one side.
type homeRoutes struct {
	peers trie[optimised]
	// until is when the last packets have come that the kernel routed here before
	// the last route went; 0 as long as there are any.
	until atomic.Int64
	// bypass is for packets of other sources than the peers. Of the sending
	// goroutine.
	bypass bypass
}

// led reports whether the kernel may still lead packets to the home address into
// the device.
func (h *homeRoutes) led(now time.Duration) bool {
	until := time.Duration(h.until.Load())
	return until == 0 || now < until
}

// pairs finds optimised routes. Any number of goroutines may look one up while
// one changes them.
type pairs struct{ homes trie[homeRoutes] }

func (p *pairs) empty() bool { return p.homes.empty() }

// get returns the route of a pair, nil if there is none.
func (p *pairs) get(home, peer address) *optimised {
	if h := p.homes.lookup(home); h != nil {
		return h.peers.lookup(peer)
	}
	return nil
}

func (p *pairs) insert(o *optimised) {
	home := netip.PrefixFrom(o.pair.Home, 128)
	h := p.homes.get(home)
	if h == nil {
		h = &homeRoutes{}
		p.homes.insert(home, h)
	}
	h.until.Store(0)
	h.peers.insert(netip.PrefixFrom(o.pair.Peer, 128), o)
}

// remove takes a route out. The home address stays known until then, if it was
// the last one: that is for the caller to forget.
func (p *pairs) remove(o *optimised, until time.Duration) (last bool) {
	h := p.homes.get(netip.PrefixFrom(o.pair.Home, 128))
	h.peers.remove(netip.PrefixFrom(o.pair.Peer, 128))
	if !h.peers.empty() {
		return false
	}
	h.until.Store(int64(until))
	return true
}

// forget takes a home address out that has had no routes for its time.
func (p *pairs) forget(home netip.Addr, now time.Duration) {
	prefix := netip.PrefixFrom(home, 128)
	if h := p.homes.get(prefix); h != nil && h.peers.empty() && !h.led(now) {
		p.homes.remove(prefix)
	}
}

// bypass is the way out for packets to a bound home address that no optimised
// route is for: of another source address, or with a Mobility Header. The kernel
// leads them here all the same, and they must not come back.
type bypass struct {
	path    *path // nil: there is no way
	source  address
	checked time.Duration
}

// bypassLifetime is how long the kernel's answer about the way out is used.
const bypassLifetime = time.Second
