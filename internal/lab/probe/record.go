package probe

import (
	"slices"
	"time"
)

// Record is what a stream measured.
type Record struct {
	Interval time.Duration
	Sent     []int64   // when each number was sent
	Arrivals []Arrival // in order of arrival
}

// Silence is a time in which nothing arrived.
type Silence struct {
	Last, First time.Time // the arrivals before and after
	// Length is the time between them beyond the interval of sending: zero when
	// the stream goes on as it was sent.
	Length time.Duration
}

// Silence finds the longest silence that began between from and until and
// ended before end. It is not ok when nothing arrived after the silence, or
// nothing before it.
func (r Record) Silence(from, until, end time.Time) (longest Silence, ok bool) {
	// The last arrival at or before from begins the first candidate.
	i, _ := slices.BinarySearchFunc(r.Arrivals, from.UnixNano()+1, func(a Arrival, t int64) int {
		switch {
		case a.At < t:
			return -1
		case a.At > t:
			return 1
		}
		return 0
	})
	if i == 0 {
		return longest, false
	}
	for ; r.Arrivals[i-1].At <= until.UnixNano(); i++ {
		if i == len(r.Arrivals) || r.Arrivals[i].At > end.UnixNano() {
			return Silence{}, false // silent to the end, whatever was before
		}
		last, first := r.Arrivals[i-1], r.Arrivals[i]
		length := max(0, time.Duration(first.At-last.At)-r.Interval)
		if !ok || length > longest.Length {
			longest = Silence{Last: time.Unix(0, last.At), First: time.Unix(0, first.At), Length: length}
			ok = true
		}
	}
	return longest, ok
}

// Count is what became of the datagrams of some time.
type Count struct {
	Sent, Lost, Duplicate int
	// Reordered counts arrivals behind a later number.
	Reordered int
}

// Count counts the datagrams sent from one time, included, to another, excluded.
func (r Record) Count(from, to time.Time) (c Count) {
	if to.Before(from) {
		return c
	}
	within := func(number uint32) bool {
		return int(number) < len(r.Sent) && r.Sent[number] >= from.UnixNano() && r.Sent[number] < to.UnixNano()
	}
	first, _ := slices.BinarySearch(r.Sent, from.UnixNano())
	last, _ := slices.BinarySearch(r.Sent, to.UnixNano())
	seen := make([]bool, last-first)
	highest := int64(-1)
	for _, a := range r.Arrivals {
		if within(a.Number) {
			i := int(a.Number) - first
			switch {
			case seen[i]:
				c.Duplicate++
			case int64(a.Number) < highest:
				c.Reordered++
			}
			seen[i] = true
		}
		highest = max(highest, int64(a.Number))
	}
	c.Sent = last - first
	for _, s := range seen {
		if !s {
			c.Lost++
		}
	}
	return c
}

// Delay is the middle of the one-way delays of the datagrams sent in a time;
// zero when none arrived.
func (r Record) Delay(from, to time.Time) time.Duration {
	var delays []int64
	for _, a := range r.Arrivals {
		if int(a.Number) < len(r.Sent) {
			if sent := r.Sent[a.Number]; sent >= from.UnixNano() && sent < to.UnixNano() {
				delays = append(delays, a.At-sent)
			}
		}
	}
	if len(delays) == 0 {
		return 0
	}
	slices.Sort(delays)
	return time.Duration(delays[len(delays)/2])
}

// Passage is a datagram that arrived: when it was sent, and how long it took.
type Passage struct {
	Sent  time.Time
	Taken time.Duration
}

// Since returns the first datagram sent at or after a time, and before end,
// that took at most a limit, and from which on at least as many in a row did.
func (r Record) Since(from, end time.Time, limit time.Duration, row int) (first Passage, ok bool) {
	taken := make(map[uint32]time.Duration, len(r.Arrivals))
	for _, a := range r.Arrivals {
		if _, again := taken[a.Number]; !again && int(a.Number) < len(r.Sent) {
			taken[a.Number] = time.Duration(a.At - r.Sent[a.Number])
		}
	}
	i, _ := slices.BinarySearch(r.Sent, from.UnixNano())
	good := 0
	for ; i < len(r.Sent) && r.Sent[i] < end.UnixNano(); i++ {
		t, arrived := taken[uint32(i)]
		if !arrived || t > limit {
			good = 0
			continue
		}
		if good++; good == 1 {
			first = Passage{Sent: time.Unix(0, r.Sent[i]), Taken: t}
		}
		if good >= row {
			return first, true
		}
	}
	return Passage{}, false
}
