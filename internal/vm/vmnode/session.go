package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// answerTime bounds the wait for the machine's answer to a question.
const answerTime = 30 * time.Second

// session is the talk with guest.sh.
type session struct {
	mu      sync.Mutex // one question at a time
	ask     io.Writer
	answers chan answer
	ready   chan struct{} // closed when roam6 answers there
	ended   chan string   // the status with which roam6 ended; closed with the talk
}

// answer is what is said until "= STATUS".
type answer struct {
	text, status string
}

func newSession(ask io.Writer) *session {
	return &session{ask: ask, answers: make(chan answer), ready: make(chan struct{}), ended: make(chan string, 1)}
}

// longestLine is room for a line of an answer.
const longestLine = 1 << 20

// listen takes in what the machine says, until its end.
func (s *session) listen(ctx context.Context, r io.Reader) {
	defer close(s.ended)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	var text strings.Builder
	up := false
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch {
		case word == "ready" && !up:
			up = true
			close(s.ready)
		case word == "ended":
			select {
			case s.ended <- rest:
			default: // said twice
			}
		case word == "=":
			select {
			case s.answers <- answer{text.String(), rest}:
			case <-time.After(answerTime): // nobody waits for it any more
			case <-ctx.Done():
			}
			text.Reset()
		case text.Len() < longestLine:
			text.WriteString(lines.Text() + "\n")
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long: the machine must not wait
}

// question asks and returns what is said.
func (s *session) question(ctx context.Context, q string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := io.WriteString(s.ask, q+"\n"); err != nil {
		return "", fmt.Errorf("ask the machine: %w", err)
	}
	select {
	case a := <-s.answers:
		if a.status != "0" {
			return "", fmt.Errorf("the machine answers %q with status %s: %s", q, a.status, strings.TrimSpace(a.text))
		}
		return a.text, nil
	case <-ctx.Done():
		return "", fmt.Errorf("the machine does not answer %q: %w", q, ctx.Err())
	}
}

// stop tells roam6 to end.
func (s *session) stop() error {
	_, err := io.WriteString(s.ask, "stop\n")
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("tell the machine to stop: %w", err)
	}
	return nil
}
