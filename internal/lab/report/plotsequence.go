package report

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"roam6/internal/lab/probe"
)

// direction is one of the two streams of a trace.
type direction struct {
	name, class string
	record      func(*Trace) probe.Record
	gap, limit  func(Handover) Milliseconds
	lost        func(Handover) int
}

var directions = [...]direction{
	{"downlink", "c0", func(t *Trace) probe.Record { return t.Down }, func(h Handover) Milliseconds { return h.Down }, func(h Handover) Milliseconds { return h.LimitDown }, func(h Handover) int { return h.LostDown }},
	{"uplink", "c1", func(t *Trace) probe.Record { return t.Up }, func(h Handover) Milliseconds { return h.Up }, func(h Handover) Milliseconds { return h.LimitUp }, func(h Handover) int { return h.LostUp }},
}

// mostPoints bounds the packets that are drawn of a stream in one figure.
const mostPoints = 600

// sequence draws the sequence numbers that arrived around a handover over the time of
// their arrival, and those that never did over the time of their sending.
func sequence(h numbered, d direction) string {
	t := h.Trace
	record := d.record(t)
	gap := float64(t.Attached.Sub(t.Left).Milliseconds())
	for _, v := range []Milliseconds{h.Down, h.Up} {
		if v.Known() {
			gap = max(gap, float64(v))
		}
	}
	pad := time.Duration(max(15, .4*gap) * float64(time.Millisecond))
	from, to := t.Left.Add(-pad), t.Left.Add(time.Duration(gap*float64(time.Millisecond))+2*pad)
	if !h.Completed || to.After(t.End) {
		to = t.End
	}
	const longest = 20 * time.Second
	to = earlier(to, from.Add(longest))

	points, left := arrivals(record, from, to, mostPoints)
	lost := losses(record, from, to)
	first := sort.Search(len(record.Sent), func(i int) bool { return record.Sent[i] >= from.UnixNano() })
	last := sort.Search(len(record.Sent), func(i int) bool { return record.Sent[i] >= to.UnixNano() })
	for _, a := range points {
		first = min(first, int(a.Number))
	}
	p := newPlot(380, 170, fmt.Sprintf("Handover %d, %s: interrupted for %s ms, limit %s ms, %d lost", h.number, d.name, millis(d.gap(h.Handover)), millis(d.limit(h.Handover)), d.lost(h.Handover)))
	x := func(ns int64) float64 { return float64(ns-t.Left.UnixNano()) / 1e6 }
	p.scales(x(from.UnixNano()), x(to.UnixNano()), float64(first), float64(max(last, first+1)), false)
	p.rect("gone", p.x.at(0), p.top, p.x.within(x(t.Attached.UnixNano()))-p.x.at(0), p.height-p.top-p.bottom, "no link")
	p.axisY(p.y.ticks(3), func(v float64) string { return fmt.Sprintf("%.0f", v) })
	p.axisX(5, "ms")
	var arrived, never dots
	for _, a := range points {
		arrived.add(p.x.at(x(a.At)), p.y.within(float64(a.Number)))
	}
	for _, n := range lost {
		never.add(p.x.at(x(record.Sent[n])), p.y.within(float64(n)))
	}
	p.path("dots "+d.class, arrived.b.String())
	p.path("dots never", never.b.String())
	note := ""
	if left > 0 {
		note = fmt.Sprintf(" (%d of a steady stream not drawn)", left)
	}
	return fmt.Sprintf(`<figure><figcaption>%s: gap %s ms, limit %s ms, lost %d%s</figcaption>%s</figure>`,
		d.name, millis(d.gap(h.Handover)), millis(d.limit(h.Handover)), d.lost(h.Handover), note, p.done())
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// arrivals are those of a time, at most about n: of a steady stream some are left out,
// never one that is next to a gap, out of order or a duplicate. left is how many were.
func arrivals(r probe.Record, from, to time.Time, n int) (list []probe.Arrival, left int) {
	first := sort.Search(len(r.Arrivals), func(i int) bool { return r.Arrivals[i].At >= from.UnixNano() })
	last := sort.Search(len(r.Arrivals), func(i int) bool { return r.Arrivals[i].At >= to.UnixNano() })
	every := max(1, (last-first+n-1)/n)
	steady := func(i int) bool { // from the one before
		if i <= first || i >= last {
			return false
		}
		a, b := r.Arrivals[i-1], r.Arrivals[i]
		return b.Number == a.Number+1 && time.Duration(b.At-a.At) < 2*r.Interval
	}
	for i := first; i < last; i++ {
		if (i-first)%every == 0 || !steady(i) || !steady(i+1) {
			list = append(list, r.Arrivals[i])
		} else {
			left++
		}
	}
	return list, left
}

// losses are the numbers sent in a time that never arrived.
func losses(r probe.Record, from, to time.Time) (list []int) {
	first := sort.Search(len(r.Sent), func(i int) bool { return r.Sent[i] >= from.UnixNano() })
	last := sort.Search(len(r.Sent), func(i int) bool { return r.Sent[i] >= to.UnixNano() })
	if last <= first {
		return nil
	}
	seen := make([]bool, last-first)
	for _, a := range r.Arrivals {
		if n := int(a.Number); n >= first && n < last {
			seen[n-first] = true
		}
	}
	for i, ok := range seen {
		if !ok {
			list = append(list, first+i)
		}
	}
	return list
}

// ride draws the numbers of a whole run over time, with the moves, and below them what
// was lost. Of each column of pixels the first and the last arrival are drawn, and every
// one next to a gap.
func ride(list []Handover, d direction) string {
	first, last := list[0].Trace, list[len(list)-1].Trace
	record := d.record(first)
	from, to := first.Left.Add(-100*time.Millisecond), last.End
	p := newPlot(1180, 190, "Sequence numbers of the "+d.name+" over the whole run; the table has the losses of each handover.")
	x := func(ns int64) float64 { return float64(ns-from.UnixNano()) / 1e9 }
	low := sort.Search(len(record.Sent), func(i int) bool { return record.Sent[i] >= from.UnixNano() })
	high := sort.Search(len(record.Sent), func(i int) bool { return record.Sent[i] >= to.UnixNano() })
	p.bottom = 40
	p.scales(0, x(to.UnixNano()), float64(low), float64(max(high, low+1)), false)
	for i, h := range list {
		l := p.x.within(x(h.Trace.Left.UnixNano()))
		p.rect("gone", l, p.top, max(1, p.x.within(x(h.Trace.Attached.UnixNano()))-l), p.height-p.top-p.bottom, fmt.Sprintf("%d: %s → %s", i+1, h.From, h.To))
	}
	p.axisY(p.y.ticks(4), func(v float64) string { return fmt.Sprintf("%.0f", v) })
	p.axisX(12, "s")
	p.path("line "+d.class, course(p, record, x, from, to))
	var never dots
	column := -1
	for _, n := range losses(record, from, to) {
		at := p.x.within(x(record.Sent[n]))
		if c := int(at * 2); c != column { // half a pixel
			column = c
			never.add(at, p.height-6)
		}
	}
	p.path("dots never", never.b.String())
	return "<figure><figcaption>" + d.name + "</figcaption>" + p.done() + "</figure>"
}

// course is the line of the arrivals, interrupted where they are.
func course(p *plot, r probe.Record, x func(int64) float64, from, to time.Time) string {
	var b strings.Builder
	begins := sort.Search(len(r.Arrivals), func(i int) bool { return r.Arrivals[i].At >= from.UnixNano() })
	column, drawn := -1, false
	var before probe.Arrival
	put := func(verb string, a probe.Arrival) {
		b.WriteString(verb + num(p.x.within(x(a.At))) + " " + num(p.y.within(float64(a.Number))))
	}
	for i := begins; i < len(r.Arrivals) && r.Arrivals[i].At < to.UnixNano(); i++ {
		a := r.Arrivals[i]
		c := int(p.x.at(x(a.At)))
		switch {
		case i == begins:
			put("M", a)
			drawn = true
		case time.Duration(a.At-before.At) > max(5*r.Interval, 5*time.Millisecond):
			if !drawn {
				put("L", before)
			}
			put("M", a)
			drawn = true
		case c != column:
			put("L", a)
			drawn = true
		default:
			drawn = false
		}
		column, before = c, a
	}
	if !drawn && begins < len(r.Arrivals) {
		put("L", before)
	}
	return b.String()
}
