package logging

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"roam6/internal/limit"
)

// Limit bounds the volume of a log: a flood of packets, a link that flaps, or a router
// that rides for weeks must not fill the log of a router, which is in its memory. Zero
// fields have defaults.
type Limit struct {
	// Message is how often the same message may appear; by default 20 times at once and
	// a thousand times an hour, so that a hand-over every four seconds shows.
	Message limit.Rate
	// Total is how often messages may appear that are no errors, all together; by
	// default 200 at once and one a second. Errors have only their own limits, since
	// they are not to be lost in what others can cause.
	Total limit.Rate
	// Silence is for how long a message that appears more often is not logged; by
	// default a minute. Then it is told how often it would have been.
	Silence time.Duration
}

const (
	messageBurst, messageEvery = 20, time.Hour / 1000
	totalBurst, totalEvery     = 200, time.Second
	defaultSilence             = time.Minute
	// maxMessages bounds the different messages that are counted at a time; the
	// ones beyond count as one. A program has about as many as it has places
	// that log.
	maxMessages = 512
)

// limiter is a slog.Handler that lets messages pass within their limits and tells later
// how many it did not. Messages are the same when level and text are; the attributes do
// not matter. Debug messages all pass: who asks for them wants them all.
type limiter struct {
	next  slog.Handler
	state *limits // shared with the handlers that WithAttrs and WithGroup make
}

type limits struct {
	Limit
	root slog.Handler // without attributes of anybody

	mu     sync.Mutex
	total  limit.Limiter
	counts map[message]*count
}

type message struct {
	level slog.Level
	text  string
}

// count is of one message.
type count struct {
	limit      limit.Limiter
	last       time.Time // when it was to be logged
	suppressed int       // since the silence began; zero: there is none
}

func newLimiter(next slog.Handler, l Limit) *limiter {
	rate := func(r, usual limit.Rate) limit.Rate {
		return limit.Rate{Every: cmp.Or(r.Every, usual.Every), Burst: cmp.Or(r.Burst, usual.Burst)}
	}
	l.Message = rate(l.Message, limit.Rate{Every: messageEvery, Burst: messageBurst})
	l.Total = rate(l.Total, limit.Rate{Every: totalEvery, Burst: totalBurst})
	l.Silence = cmp.Or(l.Silence, defaultSilence)
	return &limiter{next: next, state: &limits{Limit: l, root: next, counts: make(map[message]*count)}}
}

func (l *limiter) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

func (l *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limiter{next: l.next.WithAttrs(attrs), state: l.state}
}

func (l *limiter) WithGroup(name string) slog.Handler {
	return &limiter{next: l.next.WithGroup(name), state: l.state}
}

func (l *limiter) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !l.state.pass(message{r.Level, r.Message}) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// pass decides on one message.
func (l *limits) pass(m message) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts[m]
	if c == nil && len(l.counts) >= maxMessages {
		l.sweep(now)
		if len(l.counts) >= maxMessages {
			m = message{level: m.level, text: "(other messages)"}
			c = l.counts[m]
		}
	}
	if c == nil {
		c = new(count)
		l.counts[m] = c
	}
	c.last = now
	switch {
	case c.suppressed > 0:
	case c.limit.Allow(now, l.Message) && (m.level >= slog.LevelError || l.total.Allow(now, l.Total)):
		return true
	default: // the end of the silence is told even if nothing is logged after it
		time.AfterFunc(l.Silence, func() { l.end(m, c) })
	}
	c.suppressed++
	return false
}

// sweep forgets messages that may appear as often as at first.
func (l *limits) sweep(now time.Time) {
	for m, c := range l.counts {
		if c.suppressed == 0 && now.Sub(c.last) >= l.Message.Every*time.Duration(l.Message.Burst) {
			delete(l.counts, m)
		}
	}
}

// end ends the silence of a message and tells what was suppressed in it.
func (l *limits) end(m message, c *count) {
	l.mu.Lock()
	suppressed := c.suppressed
	c.suppressed = 0
	l.mu.Unlock()
	r := slog.NewRecord(time.Now(), m.level, "suppressed repeated messages", 0)
	r.AddAttrs(slog.Int("suppressed", suppressed), slog.String("message", m.text), slog.Duration("within", l.Silence))
	_ = l.root.Handle(context.Background(), r) // nobody to tell
}
