package relay

import (
	"math"
	"time"
)

// Lateness is a histogram of how late frames left the relay: its own error.
type Lateness struct {
	buckets [buckets]uint64
	count   uint64
	max     time.Duration
}

const (
	bucket  = 5 * time.Microsecond
	buckets = 4000 // up to 20 ms
)

func (l *Lateness) add(d time.Duration) {
	d = max(d, 0)
	l.buckets[min(int(d/bucket), buckets-1)]++
	l.count++
	l.max = max(l.max, d)
}

// Count is the number of frames.
func (l *Lateness) Count() uint64 { return l.count }

// Max is the greatest lateness.
func (l *Lateness) Max() time.Duration { return l.max }

// Quantile is the lateness that the fraction q of the frames does not exceed,
// rounded up to 5 µs. It is zero without frames.
func (l *Lateness) Quantile(q float64) time.Duration {
	if l.count == 0 {
		return 0
	}
	wanted, sum := uint64(math.Ceil(q*float64(l.count))), uint64(0)
	for i, n := range l.buckets {
		if sum += n; n > 0 && sum >= wanted {
			return min(time.Duration(i+1)*bucket, l.max)
		}
	}
	return l.max
}
