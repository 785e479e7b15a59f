package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Limit bounds how often the same message is logged: a flood of packets, or a
// link that flaps, must not fill the log of a router, which is in its memory.
type Limit struct {
	// Burst is how many times a message of one level may appear within Window;
	// by default 20.
	Burst int
	// Window is by default ten seconds. It begins with the first message.
	Window time.Duration
}

const (
	defaultBurst  = 20
	defaultWindow = 10 * time.Second
	// maxMessages bounds the different messages that are counted at a time; the
	// ones beyond count as one. A program has about as many as it has places
	// that log.
	maxMessages = 512
)

// limiter is a slog.Handler that lets the first messages of a window pass and
// tells at its end how many it did not. Messages are the same when level and
// text are; the attributes do not matter. Debug messages all pass: who asks for
// them wants them all.
type limiter struct {
	next  slog.Handler
	state *limits // shared with the handlers that WithAttrs and WithGroup make
}

type limits struct {
	Limit
	root slog.Handler // without attributes of anybody

	mu      sync.Mutex
	windows map[message]*window
}

type message struct {
	level slog.Level
	text  string
}

type window struct {
	begin      time.Time
	passed     int
	suppressed int
}

func newLimiter(next slog.Handler, l Limit) *limiter {
	if l.Burst <= 0 {
		l.Burst = defaultBurst
	}
	if l.Window <= 0 {
		l.Window = defaultWindow
	}
	return &limiter{next: next, state: &limits{Limit: l, root: next, windows: make(map[message]*window)}}
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
	w := l.windows[m]
	if w == nil && len(l.windows) >= maxMessages {
		l.sweep(now)
		if len(l.windows) >= maxMessages {
			m = message{level: m.level, text: "(other messages)"}
			w = l.windows[m]
		}
	}
	// A window in which something was suppressed ends with its timer, so that
	// what was suppressed is told even if nothing is logged after it.
	if w == nil || w.suppressed == 0 && now.Sub(w.begin) >= l.Window {
		l.windows[m] = &window{begin: now, passed: 1}
		return true
	}
	if w.passed < l.Burst {
		w.passed++
		return true
	}
	if w.suppressed++; w.suppressed == 1 {
		time.AfterFunc(l.Window-now.Sub(w.begin), func() { l.end(m, w) })
	}
	return false
}

// sweep forgets the windows that are over.
func (l *limits) sweep(now time.Time) {
	for m, w := range l.windows {
		if w.suppressed == 0 && now.Sub(w.begin) >= l.Window {
			delete(l.windows, m)
		}
	}
}

// end ends a window and tells what was suppressed in it.
func (l *limits) end(m message, w *window) {
	l.mu.Lock()
	suppressed := w.suppressed
	delete(l.windows, m)
	l.mu.Unlock()
	r := slog.NewRecord(time.Now(), m.level, "suppressed repeated messages", 0)
	r.AddAttrs(slog.Int("suppressed", suppressed), slog.String("message", m.text), slog.Duration("within", l.Window))
	_ = l.root.Handle(context.Background(), r) // nobody to tell
}
