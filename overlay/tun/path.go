package tun

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"roam6/overlay"
)

const (
	outerHopLimit = 64 // RFC 2473 §6.3
	// learnedMTULifetime is how long a path MTU from a Packet Too Big holds before
	// the larger one is tried again (RFC 8201 §4: not sooner than 5 minutes,
	// recommended 10).
	learnedMTULifetime = 10 * time.Minute
)

// path is one way to the other end, ready for use.
type path struct {
	overlay.Path
	local, remote address
	firstHop      int // MTU of the link it begins with
	seal          overlay.Seal
	learned       atomic.Pointer[learnedMTU]
	below         atomic.Pointer[tunnel] // that the path is stacked on (stack.go); nil: none
}

// learnedMTU is what a Packet Too Big said.
type learnedMTU struct {
	mtu   int
	until time.Duration
}

func newPath(p overlay.Path, firstHop int) *path {
	return &path{Path: p, local: addressOf(p.Local), remote: addressOf(p.Remote), firstHop: max(firstHop, minimumMTU)}
}

// mtu returns the path MTU: the largest outer packet. Of a stacked path, what the
// tunnel below takes counts, too.
func (p *path) mtu(now time.Duration) int {
	return p.mtuOver(headerLength, now)
}

// mtuOver is mtu where the tunnel below, if any, adds so much.
func (p *path) mtuOver(overhead int, now time.Duration) int {
	if b := p.below.Load(); b != nil {
		return min(p.beyond(now), passed(b.paths.Load().preferred(), overhead, now))
	}
	return p.beyond(now)
}

// beyond is mtu without what is below: of a stacked path, what is known of its way
// from the far end of that tunnel on. What ESP adds is taken off.
func (p *path) beyond(now time.Duration) int {
	if p.seal.On() {
		return p.seal.Room(p.whole(now))
	}
	return p.whole(now)
}

// whole is the largest packet that the way takes, ESP included.
func (p *path) whole(now time.Duration) int {
	if l := p.learned.Load(); l != nil {
		if now < l.until {
			return min(l.mtu, p.firstHop)
		}
		p.learned.CompareAndSwap(l, nil)
	}
	return p.firstHop
}

// tooBig learns from a Packet Too Big. One that reports less than the IPv6 minimum
// is discarded, and an increase not believed (RFC 8201 §4). It reports whether the
// path MTU was lowered. In ESP the packet is that with ESP.
func (p *path) tooBig(mtu int, now time.Duration) bool {
	if mtu < minimumMTU || mtu >= p.whole(now) {
		return false
	}
	p.learned.Store(&learnedMTU{mtu, now + learnedMTULifetime})
	return true
}

// putHeader writes the tunnel header in front of an inner packet (RFC 2473
// §5). word is version, traffic class and flow label.
func (p *path) putHeader(b []byte, word uint32, payload int, next uint8) {
	_ = b[headerLength-1]
	binary.BigEndian.PutUint32(b, word)
	binary.BigEndian.PutUint16(b[offsetPayloadLength:], uint16(payload))
	b[offsetNextHeader] = next
	b[7] = outerHopLimit
	p.local.put(b[offsetSource:])
	p.remote.put(b[offsetDestination:])
}

// firstWord is the first word of a tunnel header: the traffic class is the
// inner packet's, ECN field and all (RFC 6040 §4.1, normal mode).
func firstWord(packet []byte) uint32 {
	return 6<<28 | uint32(trafficClass(packet))<<20 | flowLabel(packet)
}

// pathSet is the paths of a tunnel at one time. It does not change (but for the
// learned MTU of a path): a swap puts another one in its place.
type pathSet struct {
	paths []*path // never empty, the preferred one first
	// former are other ends whose packets are still accepted: on their way when
	// the path was swapped.
	former []formerPath
}

type formerPath struct {
	local, remote address
	until         time.Duration
}

func (s *pathSet) preferred() *path { return s.paths[0] }

// swap returns the set that follows s. What was learned about a path that stays
// is kept. s may be nil.
func (s *pathSet) swap(paths []*path, now, grace time.Duration) *pathSet {
	next := &pathSet{paths: paths}
	if s == nil {
		return next
	}
	for i, p := range paths {
		for _, old := range s.paths {
			if old.local == p.local && old.Link == p.Link {
				p.below.CompareAndSwap(nil, old.below.Load()) // perhaps one that has gone
			}
			if old.local == p.local && old.remote == p.remote && old.Link == p.Link {
				if l := old.learned.Load(); l != nil {
					paths[i].learned.Store(l)
				}
			}
		}
	}
	for _, f := range s.former {
		if now < f.until {
			next.former = append(next.former, f)
		}
	}
	for _, old := range s.paths {
		if !slices.ContainsFunc(paths, func(p *path) bool { return p.local == old.local && p.remote == old.remote }) {
			next.former = append(next.former, formerPath{old.local, old.remote, now + grace})
		}
	}
	// A mobile that moves many times within the grace holds the last few paths.
	const most = 8
	if n := len(next.former); n > most {
		next.former = slices.Clone(next.former[n-most:])
	}
	return next
}

// accepts reports whether a tunnel packet came from the other end of one of the
// paths. On the agent's side it must also have been sent to this end of it.
func (s *pathSet) accepts(side overlay.Side, outerSource, outerDestination address, now time.Duration) bool {
	for _, p := range s.paths {
		if p.remote == outerSource && (side == overlay.MobileSide || p.local == outerDestination) {
			return true
		}
	}
	for _, f := range s.former {
		if f.remote == outerSource && (side == overlay.MobileSide || f.local == outerDestination) && now < f.until {
			return true
		}
	}
	return false
}

// begins reports whether one of the paths begins, or began a moment ago, at an
// address of this node, or the tunnel does that it is stacked on: who still has the
// on-link care-of address reaches the mobile as well as by the regional one.
func (s *pathSet) begins(local address, now time.Duration) bool {
	for _, p := range s.paths {
		if p.local == local {
			return true
		}
		if b := p.below.Load(); b != nil && !b.gone.Load() && b.paths.Load().begins(local, now) {
			return true
		}
	}
	for _, f := range s.former {
		if f.local == local && now < f.until {
			return true
		}
	}
	return false
}

// between returns the path with these two ends, or nil.
func (s *pathSet) between(local, remote address) *path {
	for _, p := range s.paths {
		if p.local == local && p.remote == remote {
			return p
		}
	}
	return nil
}
