package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"roam6/internal/control"
)

// defaultTraceSize is what a trace may take of a router's memory, where /tmp mostly is.
const defaultTraceSize = 8 << 20

// recordTrace has the running daemon record what its roles are told and decide.
func recordTrace(args []string, std stdio) int {
	flags := flag.NewFlagSet("trace", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	var q control.TraceRequest
	flags.StringVar(&q.Role, "role", "all", "")
	flags.BoolVar(&q.Anew, "anew", false, "")
	path := flags.String("control", control.DefaultPath, "")
	output := flags.String("o", "", "")
	period := flags.Duration("for", 0, "")
	size := octetCount(defaultTraceSize)
	flags.Var(&size, "max-size", "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		traceUsage(std.out)
		return 0
	case err != nil || flags.NArg() > 0 || *period < 0:
		traceUsage(std.err)
		return 2
	}
	if q.Role == "all" {
		q.Role = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *period > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *period)
		defer cancel()
	}
	t := traceFile{w: std.out, most: int64(size)}
	if *output != "" {
		f := &lateFile{path: *output}
		defer f.Close()
		t.w = f
	}
	err := control.NewClient(*path).Trace(ctx, q, t.line)
	if errors.Is(err, errTraceFull) {
		fmt.Fprintf(std.err, "roam6 trace: %d octets are reached: --max-size allows more\n", t.most)
		err = nil
	}
	if err == nil && *output != "" {
		fmt.Fprintf(std.err, "roam6 trace: %d entries, %d octets in %s\n", max(t.lines-1, 0), t.octets, *output)
	}
	if err != nil {
		fmt.Fprintln(std.err, "roam6 trace:", err)
		return 1
	}
	return 0
}

func traceUsage(w io.Writer) {
	fmt.Fprintf(w, `usage: roam6 trace [OPTION...]

Has the running daemon record what its roles are told and what they decide, until it is
interrupted: mobile nodes, mobile routers, home agents and their delegating routers, anchors,
the correspondent, DHCPv6 clients. roam6 replay plays it back.

  -o FILE          where to write, readable by its owner only; else standard output
  --role NAME      the section's name, correspondent, or the interface of a DHCPv6 client;
                   all: all of them (default)
  --anew           has mobiles de-register and begin anew, which interrupts them for a moment;
                   home agents, anchors and delegating routers begin anew with what they have;
                   the correspondent without: mobiles optimise their routes again; a DHCPv6
                   client only where --role names it: it gives its leases back. Only of what
                   began in the trace all is known: of home agents and anchors that did not a
                   part can be played, of others nothing
  --for DURATION   ends after a time, such as 90s or 12h
  --max-size SIZE  ends before the trace is larger, such as 500K or 64M (default %dM)
  --control PATH   the daemon's control socket (%s)

A trace has no keys. It has addresses: who reads it learns where a mobile was, and when.
`, defaultTraceSize>>20, control.DefaultPath)
}

// errTraceFull ends a trace that would be larger than it may be.
var errTraceFull = errors.New("the trace is as large as it may be")

// traceFile writes whole lines, and no more than it may.
type traceFile struct {
	w      io.Writer
	most   int64
	octets int64
	lines  int
}

func (t *traceFile) line(b []byte) error {
	if t.octets+int64(len(b)) > t.most {
		return errTraceFull
	}
	n, err := t.w.Write(b)
	t.octets += int64(n)
	t.lines++
	return err
}

// lateFile is made when there is something to write.
type lateFile struct {
	path string
	file *os.File
}

// Write implements io.Writer.
func (f *lateFile) Write(b []byte) (int, error) {
	if f.file == nil {
		file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it tells where somebody was
		if err != nil {
			return 0, err
		}
		f.file = file
	}
	return f.file.Write(b)
}

// Close implements io.Closer.
func (f *lateFile) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// octetCount is a number of octets, with K, M or G for binary multiples.
type octetCount int64

func (o *octetCount) String() string { return strconv.FormatInt(int64(*o), 10) }

// Set implements flag.Value.
func (o *octetCount) Set(s string) error {
	shift := 0
	if i := strings.IndexAny(s, "KMG"); i >= 0 && i == len(s)-1 {
		shift = 10 * (1 + strings.IndexByte("KMG", s[i]))
		s = s[:i]
	}
	n, err := strconv.ParseInt(s, 10, 64-shift-1)
	if err != nil || n <= 0 {
		return errors.New("not a number of octets, such as 500K or 64M")
	}
	*o = octetCount(n << shift)
	return nil
}

var _ flag.Value = (*octetCount)(nil)
