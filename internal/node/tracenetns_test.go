package node

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/internal/trace"
)

// A running node is traced by its control socket, one trace at a time; the end of the
// client ends it, and so does that of the node, with what was decided last.
func TestTraceOfRunningNode(t *testing.T) {
	r := start(t, agentFile)
	record := func(ctx context.Context) (lines chan string, ended chan error) {
		lines, ended = make(chan string, 4096), make(chan error, 1)
		go func() {
			ended <- r.client.Trace(ctx, control.TraceRequest{Role: "ha", Anew: true}, func(b []byte) error { lines <- string(b); return nil })
		}()
		return lines, ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	lines, ended := record(ctx)
	if header, begin := <-lines, <-lines; !strings.Contains(header, `"roam6_trace":1`) || !strings.Contains(begin, `"home_agent"`) {
		t.Fatalf("%s%s", header, begin)
	}
	if err := r.client.Trace(t.Context(), control.TraceRequest{}, func([]byte) error { return nil }); err == nil || !strings.Contains(err.Error(), errTracing.Error()) {
		t.Errorf("a second one: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.until("the trace has ended", func() bool { return strings.Contains(r.log.String(), "the trace has ended") })

	lines, ended = record(t.Context())
	var text bytes.Buffer
	text.WriteString(<-lines)
	begun := time.Now()
	r.end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("the node took %v to end", took)
	}
	close(lines)
	for l := range lines {
		text.WriteString(l)
	}
	p, err := trace.NewPlayer(&text)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	for {
		s, err := p.Next()
		if err == io.EOF {
			break
		}
		if err != nil || s.Difference != nil || len(s.Notes) > 0 {
			t.Fatalf("%v, %v %v", err, s.Difference, s.Notes)
		}
		stopped = stopped || s.Entry.Event != nil && s.Entry.Event.Type == "Stop"
	}
	if !stopped {
		t.Error("the last that was decided is missing")
	}
}
