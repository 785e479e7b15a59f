package trace

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Stream takes the entries of a trace from the goroutine that owns the roles, which it
// never keeps waiting, and writes them from another.
type Stream struct {
	clock
	veil  veil
	ready chan struct{} // something is queued, or the trace is at its end

	mu     sync.Mutex
	queue  [][]byte
	octets int
	lost   uint64 // since the last entry that was queued
	ended  bool
}

// NewStream begins a trace.
func NewStream(now time.Time, version string) *Stream {
	s := &Stream{clock: clock{now}, ready: make(chan struct{}, 1)}
	_, _ = rand.Read(s.veil.secret[:]) // never fails
	s.add(Header{Format: Format, Version: version, Start: now})
	return s
}

// begin queues what a role begins with, whether or not there is room: without it the rest
// is of no use, and there are few.
func (s *Stream) begin(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(line) >= MaxLine {
		return fmt.Errorf("no trace of %q can be recorded: configuration and bindings take %d octets, and a line of a trace has %d at most", e.Role, len(line), MaxLine)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.push(line)
	}
	return nil
}

// add queues an entry, or counts it as lost.
func (s *Stream) add(v any) {
	line, err := json.Marshal(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return
	case err != nil, len(line) >= MaxLine, !s.room(len(line)):
		s.lost++
		return
	case s.lost > 0:
		s.pushGap()
	}
	s.push(line)
}

// pushGap queues the entry that tells of those that are lost.
func (s *Stream) pushGap() {
	now := time.Now()
	gap, err := json.Marshal(Entry{At: int64(now.Sub(s.start)), Wall: now.Round(0), Gap: s.lost})
	if err == nil {
		s.lost = 0
		s.push(gap)
	}
}

// room reports whether a line fits, and one that tells of a gap.
func (s *Stream) room(octets int) bool {
	const gap = 256
	return len(s.queue)+2 <= maxQueue && s.octets+octets+gap <= maxQueued
}

func (s *Stream) push(line []byte) {
	s.queue = append(s.queue, append(line, '\n'))
	s.octets += len(line) + 1
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// End ends the trace: Write returns when it has written what there is.
func (s *Stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost > 0 && !s.ended {
		s.pushGap()
	}
	s.ended = true
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Write writes entries as they come until End, or until ctx ends or w fails.
func (s *Stream) Write(ctx context.Context, w io.Writer) error {
	for {
		s.mu.Lock()
		queue, ended := s.queue, s.ended
		s.queue, s.octets = nil, 0
		s.mu.Unlock()
		for _, line := range queue {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		switch {
		case len(queue) > 0:
			continue
		case ended:
			return nil
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil
		}
	}
}
