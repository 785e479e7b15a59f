package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// tracingDaemon records a line at a time.
type tracingDaemon struct {
	daemon
	asked TraceRequest
	lines int   // that it writes; -1: until it is ended
	fail  error // before the first
	ended chan error
}

func (d *tracingDaemon) Trace(ctx context.Context, q TraceRequest, w io.Writer) (err error) {
	defer func() { d.ended <- err }()
	d.asked = q
	for i := 0; i != d.lines; i++ {
		if d.fail != nil {
			return d.fail
		}
		if ctx.Err() != nil {
			return nil
		}
		if _, err := fmt.Fprintf(w, "{\"line\":%d}\n", i); err != nil {
			return err
		}
	}
	return nil
}

func TestTrace(t *testing.T) {
	d := &tracingDaemon{lines: 3, ended: make(chan error, 1)}
	path, _ := serve(t, d)
	var got strings.Builder
	if err := NewClient(path).Trace(t.Context(), TraceRequest{Role: "train", Anew: true}, func(b []byte) error { got.Write(b); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "{\"line\":0}\n{\"line\":1}\n{\"line\":2}\n"; got.String() != want {
		t.Errorf("%q, want %q", got.String(), want)
	}
	if err := <-d.ended; err != nil || d.asked != (TraceRequest{Role: "train", Anew: true}) {
		t.Errorf("asked %+v, ended with %v", d.asked, err)
	}
}

// What a client does not want any more the daemon does not go on recording.
func TestTraceEnds(t *testing.T) {
	full := errors.New("full")
	for name, client := range map[string]func(path string) error{
		"by the client": func(path string) error {
			err := NewClient(path).Trace(t.Context(), TraceRequest{}, func([]byte) error { return full })
			if !errors.Is(err, full) {
				return fmt.Errorf("%v, want %v", err, full)
			}
			return nil
		},
		"by its context": func(path string) error {
			ctx, cancel := context.WithCancel(t.Context())
			return NewClient(path).Trace(ctx, TraceRequest{}, func([]byte) error { cancel(); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &tracingDaemon{lines: -1, ended: make(chan error, 1)}
			path, _ := serve(t, d)
			if err := client(path); err != nil {
				t.Error(err)
			}
			<-d.ended
		})
	}
}

func TestTraceRefused(t *testing.T) {
	d := &tracingDaemon{lines: 1, fail: errors.New("not now"), ended: make(chan error, 1)}
	path, _ := serve(t, d)
	none := func([]byte) error { t.Error("a line"); return nil }
	var told *DaemonError
	if err := NewClient(path).Trace(t.Context(), TraceRequest{}, none); !errors.As(err, &told) || told.Message != "not now" {
		t.Errorf("%v", err)
	}
	without, _ := serve(t, &daemon{})
	if err := NewClient(without).Trace(t.Context(), TraceRequest{}, none); !errors.As(err, &told) || told.Message != "this daemon records no traces" {
		t.Errorf("%v", err)
	}
	if err := NewClient(path+".none").Trace(t.Context(), TraceRequest{}, none); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}
