package tun

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"roam6/overlay"
)

const (
	// sightingsPerSecond bounds the reports of new peers, unknownPerSecond those of
	// unknown home addresses: strangers cause both.
	sightingsPerSecond = 200
	unknownPerSecond   = 100
	// unreachableInterval is the least time between two reports that one route leads
	// nowhere, unreachablePerSecond bounds those about all.
	unreachableInterval  = time.Second
	unreachablePerSecond = 100
)

// reporter tells the shell what the data plane sees.
type reporter struct {
	traffic func(home, peer netip.Addr, side overlay.Side)
	silent  func(home netip.Addr)
	unknown func(source, destination, home netip.Addr)
	nowhere func(pair overlay.Pair, careOf netip.Addr, received uint64)

	unknownLimit, nowhereLimit *bucket

	mu    sync.Mutex
	seen  sightings // of all goroutines
	limit *bucket   // of reports of peers
}

func newReporter(c Config) *reporter {
	return &reporter{
		traffic: c.TrafficSeen, silent: c.Silent, unknown: c.UnknownHomeAddress, nowhere: c.RouteUnreachable,
		unknownLimit: newBucket(unknownPerSecond, unknownPerSecond),
		nowhereLimit: newBucket(unreachablePerSecond, unreachablePerSecond),
		limit:        newBucket(sightingsPerSecond, sightingsPerSecond),
	}
}

// watcher is what one goroutine reports by. Most packets are of pairs that were
// reported not long ago: those it knows without a lock.
type watcher struct {
	*reporter
	known sightings
}

// sent notes a packet that has left.
func (w *watcher) sent(c *course, packet []byte, now time.Duration) {
	w.route(c.mobile, now)
	w.route(c.correspondent, now)
	if packet[offsetNextHeader] == protocolMobility {
		return // the signalling of route optimisation is no reason for it
	}
	if b := c.below; b != nil && w.silent != nil && b.silence.sent(now) {
		w.silent(b.key.Home)
	}
	t := c.tunnel
	if t == nil || t.key.Side != overlay.MobileSide {
		return
	}
	if w.silent != nil && t.silence.sent(now) {
		w.silent(t.key.Home)
	}
	if t.watch.Load() && source(packet) == t.home {
		w.peer(t, destination(packet), packet, now)
	}
}

// received notes a packet that has come to an inner address of a mobile's
// tunnel, through it or along an optimised route.
func (w *watcher) received(t *tunnel, packet []byte, now time.Duration) {
	if t.watch.Load() && destination(packet) == t.home {
		w.peer(t, source(packet), packet, now)
	}
}

// route reports the traffic of an optimised route, which may be nil.
func (r *reporter) route(o *optimised, now time.Duration) {
	if o == nil || r.traffic == nil {
		return
	}
	next := o.reported.Load()
	if int64(now) >= next && o.reported.CompareAndSwap(next, int64(now+overlay.TrafficInterval)) {
		r.traffic(o.pair.Home, o.pair.Peer, o.pair.Side)
	}
}

// peer reports the peer of a packet between it and the home address.
func (w *watcher) peer(t *tunnel, peer address, packet []byte, now time.Duration) {
	if w.traffic == nil || peer.multicast() {
		return
	}
	s, found := w.known.find(t.home, peer)
	if found && now < s.until || signalling(packet) {
		return
	}
	until, report := w.first(t.home, peer, now)
	*s = sighting{t.home, peer, until}
	if report {
		w.traffic(t.key.Home, peer.netip(), overlay.MobileSide)
	}
}

// first tells whether no goroutine has reported a pair within the interval, and
// when it may be reported again.
func (r *reporter) first(home, peer address, now time.Duration) (until time.Duration, report bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, found := r.seen.find(home, peer)
	if found && now < s.until {
		return s.until, false
	}
	if !r.limit.take(now) {
		return now + time.Second, false
	}
	*s = sighting{home, peer, now + overlay.TrafficInterval}
	return s.until, true
}

// unreachable reports that packets of an optimised route do not reach the care-of
// address. Of the goroutine that hears errors.
func (r *reporter) unreachable(o *optimised, careOf netip.Addr, now time.Duration) {
	if r.nowhere == nil || now < o.unreachable || !r.nowhereLimit.take(now) {
		return
	}
	o.unreachable = now + unreachableInterval
	r.nowhere(o.pair, careOf, o.decapsulated.packets.Load())
}

// unknownHome reports a Home Address option that no binding permits.
func (r *reporter) unknownHome(source, destination, home address, now time.Duration) {
	if r.unknown != nil && r.unknownLimit.take(now) {
		r.unknown(source.netip(), destination.netip(), home.netip())
	}
}

// signalling reports whether a packet is no conversation to optimise: a Mobility
// Header message, perhaps with extension headers before that, an ICMPv6 error,
// which goes wherever the packet it is about came from, or one that has home
// addresses in its headers already. Such a packet comes into the device when its
// sender leaves home in the moment in which it is sent; its destination is a
// care-of address, which is nobody's correspondent.
func signalling(packet []byte) bool {
	switch packet[offsetNextHeader] {
	case protocolTCP, protocolUDP:
		return false
	case protocolICMPv6:
		return len(packet) > headerLength && packet[headerLength] < icmpFirstInfo
	}
	x, _ := endsOf(packet)
	return x.any() || x.signalling(packet)
}

// sightings is a table of pairs of addresses that does not grow: a new pair
// takes the place of that of a few others which is over first.
type sightings [64][4]sighting

// sighting is a pair that need not be reported before a time. The zero value is
// of no pair.
type sighting struct {
	home, peer address
	until      time.Duration
}

// find returns the entry of a pair, or the one to overwrite with it.
func (s *sightings) find(home, peer address) (e *sighting, found bool) {
	set := &s[mix(mix(mix(mix(0, home.hi), home.lo), peer.hi), peer.lo)>>20%uint64(len(s))]
	e = &set[0]
	for i := range set {
		if set[i].home == home && set[i].peer == peer {
			return &set[i], true
		}
		if set[i].until < e.until {
			e = &set[i]
		}
	}
	return e, false
}

// silence tells a tunnel that brings nothing back from one that is not used. It
// looks at the time only when a packet passes.
type silence struct {
	since atomic.Int64 // of the packets sent since one came back the first; 0: none
	last  atomic.Int64 // sent
}

// sent notes a packet, and tells whether nothing came back for
// overlay.SilenceInterval while there were packets all the time.
func (s *silence) sent(now time.Duration) (silent bool) {
	since, pause := time.Duration(s.since.Load()), now-time.Duration(s.last.Load())
	s.last.Store(int64(now))
	switch {
	case since == 0 || pause > overlay.SilenceInterval:
	case now-since >= overlay.SilenceInterval:
		silent = true
	default:
		return false
	}
	s.since.Store(int64(max(now, 1)))
	return silent
}

// heard notes that something came back.
func (s *silence) heard() {
	if s.since.Load() != 0 { // written only where it changes
		s.since.Store(0)
	}
}
