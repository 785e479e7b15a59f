package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"roam6/internal/deadline"
)

// TraceRequest asks for a trace of roles: docs/trace.md.
type TraceRequest struct {
	// Role is the name of a section, the interface of a DHCPv6 client, or "correspondent";
	// empty: all roles that can be recorded.
	Role string `json:"role,omitempty"`
	// Anew has the roles begin anew, so that all is known of them: docs/trace.md says which,
	// and what it costs.
	Anew bool `json:"anew,omitempty"`
}

// Tracer is a Handler that records its roles.
type Tracer interface {
	// Trace writes lines to w, each with one call, until ctx ends or w fails. An error
	// before the first says why there is no trace.
	Trace(ctx context.Context, q TraceRequest, w io.Writer) error
}

// maxTraceLine bounds a line of a trace in octets; see trace.MaxLine.
const maxTraceLine = 16 << 20

// serveTrace answers a request for a trace: one line as for every request, and then those
// of the trace, until the client closes.
func serveTrace(ctx context.Context, c *net.UnixConn, q TraceRequest, h Handler) {
	tracer, ok := h.(Tracer)
	if !ok {
		_ = writeResponse(c, response{Error: "this daemon records no traces"})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.SetReadDeadline(time.Time{}) != nil || ctx.Err() != nil {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, c)
		cancel() // the client has closed, or we have
	}()
	w := &traceWriter{connection: c}
	if err := tracer.Trace(ctx, q, w); err != nil && !w.begun {
		_ = w.deadline(func() error { return writeResponse(c, response{Error: err.Error()}) })
	}
}

// traceWriter writes to a client that may be slow, but not too slow.
type traceWriter struct {
	connection *net.UnixConn
	begun      bool
}

func (w *traceWriter) deadline(write func() error) error {
	if err := w.connection.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	return write()
}

// Write implements io.Writer.
func (w *traceWriter) Write(line []byte) (n int, err error) {
	err = w.deadline(func() error {
		if !w.begun {
			w.begun = true
			if err := writeResponse(w.connection, response{Data: json.RawMessage("{}")}); err != nil {
				return err
			}
		}
		n, err = w.connection.Write(line)
		return err
	})
	return n, err
}

// Trace asks for a trace and hands over its lines, newlines included, until ctx ends, the
// daemon ends it, or line fails. The first two are no error.
func (c *Client) Trace(ctx context.Context, q TraceRequest, line func([]byte) error) error {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", c.path)
	if err != nil {
		return c.explain(ctx, err)
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { _ = connection.SetDeadline(deadline.Passed()) })()
	b, err := json.Marshal(request{Trace: &q})
	if err != nil {
		return err
	}
	if _, err := connection.Write(append(b, '\n')); err != nil {
		return c.explain(ctx, err)
	}
	lines := bufio.NewScanner(connection)
	lines.Buffer(nil, maxTraceLine)
	first := true
	for ; lines.Scan(); first = false {
		if first {
			err = firstLine(lines.Bytes())
		} else {
			err = line(append(lines.Bytes(), '\n'))
		}
		if err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return c.explain(ctx, err)
	case first:
		return c.explain(ctx, errNoAnswer)
	default:
		return nil
	}
}

var errNoAnswer = errors.New("the daemon closed the connection without an answer: is it stopping?")

// firstLine reads the answer before a trace.
func firstLine(b []byte) error {
	var r response
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("the answer is no JSON line, so this is no roam6 daemon: %w", err)
	}
	if r.Error != "" {
		return &DaemonError{Message: r.Error}
	}
	return nil
}
