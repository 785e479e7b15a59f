package nd

import (
	"net/netip"
	"time"
)

// bucket is a token bucket: burst at once, then one for each interval.
type bucket struct {
	tokens float64
	filled time.Time
}

func (b *bucket) refill(now time.Time, burst int, interval time.Duration) {
	if b.filled.IsZero() {
		b.tokens = float64(burst)
	} else if d := now.Sub(b.filled); d > 0 {
		b.tokens = min(b.tokens+float64(d)/float64(interval), float64(burst))
	}
	b.filled = now
}

// take takes a token if there is one.
func (b *bucket) take() bool {
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Limits of the answers to router solicitations. A mobile that changes its
// router several times a second stays below that of a source; a link full of
// mobiles that arrive together stays below that of the link.
const (
	linkBurst      = 64
	linkInterval   = 5 * time.Millisecond
	sourceBurst    = 4
	sourceInterval = 250 * time.Millisecond
	maxSources     = 256
)

// replyLimiter decides which solicitations are answered, for the link and for
// each source. A source costs memory, and there is memory for maxSources.
type replyLimiter struct {
	link    bucket
	sources map[netip.Addr]*bucket
}

// allow takes a token for an answer to source; otherwise it tells which of the
// two limits was met.
func (l *replyLimiter) allow(now time.Time, source netip.Addr) (ok, bySource bool) {
	l.link.refill(now, linkBurst, linkInterval)
	b := l.sources[source]
	if b == nil {
		b = l.newSource(now, source)
	}
	b.refill(now, sourceBurst, sourceInterval)
	switch {
	case l.link.tokens < 1:
		return false, false
	case !b.take():
		return false, true
	default:
		return l.link.take(), false
	}
}

func (l *replyLimiter) newSource(now time.Time, source netip.Addr) *bucket {
	if l.sources == nil {
		l.sources = make(map[netip.Addr]*bucket)
	}
	if len(l.sources) >= maxSources {
		var oldest netip.Addr
		for a, b := range l.sources {
			if now.Sub(b.filled) >= sourceBurst*sourceInterval {
				delete(l.sources, a) // full again: as if it had never come
				continue
			}
			if o := l.sources[oldest]; o == nil || b.filled.Before(o.filled) || b.filled.Equal(o.filled) && a.Less(oldest) {
				oldest = a
			}
		}
		if len(l.sources) >= maxSources {
			delete(l.sources, oldest)
		}
	}
	b := new(bucket)
	l.sources[source] = b
	return b
}
