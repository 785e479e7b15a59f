package logging

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/limit"
	"roam6/internal/logging/logtest"
)

// logDaemon is a socket as a log daemon has it.
type logDaemon struct{ *net.UnixConn }

func newLogDaemon(t *testing.T, path string) logDaemon {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return logDaemon{c}
}

// read returns the next line, or "" when there is none.
func (d logDaemon) read(t *testing.T) string {
	t.Helper()
	var b [4096]byte
	var n int
	raw, err := d.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// What was sent is there: local datagrams are delivered as they are sent.
	if e := raw.Read(func(fd uintptr) bool { n, err = unix.Read(int(fd), b[:]); return true }); e != nil {
		t.Fatal(e)
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return ""
	case err != nil:
		t.Fatal(err)
	}
	return string(b[:n])
}

// RFC 3164 §4.1: priority = facility × 8 + severity; time with a blank before
// a single digit; tag.
func TestSyslogFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := newLogDaemon(t, path)
	var fallback logtest.Buffer
	l := New(Options{Level: slog.LevelDebug, Target: Syslog, Writer: &fallback, socket: path})
	tests := []struct {
		level slog.Level
		pri   int
	}{{slog.LevelDebug, 31}, {slog.LevelInfo, 30}, {slog.LevelWarn, 28}, {slog.LevelError, 27}, {slog.LevelError + 4, 27}}
	for _, tt := range tests {
		before := time.Now()
		l.With("mobile", "train").Log(t.Context(), tt.level, "hello", "link", "wan")
		after := time.Now()
		want := func(at time.Time) string {
			return fmt.Sprintf("<%d>%s roam6[%d]: level=%s msg=hello mobile=train link=wan", tt.pri, at.Format(time.Stamp), os.Getpid(), tt.level)
		}
		if got := d.read(t); got != want(before) && got != want(after) {
			t.Errorf("got  %q\nwant %q", got, want(before))
		}
	}
	if got := lines(&fallback); got != nil {
		t.Errorf("fallback: %q", got)
	}
	moment := time.Date(2026, 3, 7, 8, 9, 10, 0, time.UTC)
	s := &sink{tag: "roam6[1]: "}
	s.begin(slog.LevelInfo, moment)
	if got := s.line.String(); got != "<30>Mar  7 08:09:10 roam6[1]: " {
		t.Errorf("header %q", got)
	}
}

// A log daemon that is not there, comes, goes and comes again.
func TestSyslogReconnects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var fallback logtest.Buffer
	l := New(Options{Target: Syslog, Writer: &fallback, socket: path})
	l.Info("one", "x", 1)
	l.Info("two")
	equal(t, lines(&fallback), []string{
		fmt.Sprintf(`level=WARN msg="the system log cannot be reached: logging to standard error" socket=%s reason="no such file or directory"`, path),
		"level=INFO msg=one x=1", "level=INFO msg=two",
	})
	for range 2 {
		d := newLogDaemon(t, path)
		l.Info("three")
		if got := d.read(t); !strings.HasSuffix(got, "msg=three") {
			t.Errorf("got %q", got)
		}
		// Restarted between two lines: none is lost, none goes astray.
		_ = d.Close()
		d = newLogDaemon(t, path)
		l.Info("four")
		if got := d.read(t); !strings.HasSuffix(got, "msg=four") {
			t.Errorf("after a restart: got %q", got)
		}
		_ = d.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		before := len(lines(&fallback))
		l.Info("five")
		if got := lines(&fallback)[before:]; len(got) != 2 || got[1] != "level=INFO msg=five" {
			t.Errorf("without the log daemon: %q", got)
		}
	}
}

// A log daemon that does not read delays nobody; what is lost is counted.
func TestSyslogFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := newLogDaemon(t, path)
	var fallback logtest.Buffer
	l := New(Options{Target: Syslog, Writer: &fallback, socket: path, Limit: Limit{Message: limit.Rate{Burst: 1 << 30, Every: time.Nanosecond}, Total: limit.Rate{Burst: 1 << 30, Every: time.Nanosecond}}})
	const sent = 10000
	for range sent {
		l.Info("flood")
	}
	arrived := 0
	for d.read(t) != "" {
		arrived++
	}
	if arrived == 0 || arrived == sent {
		t.Fatalf("%d of %d lines arrived: the queue was not filled", arrived, sent)
	}
	l.Info("after")
	if got := d.read(t); !strings.HasSuffix(got, "msg=after") {
		t.Errorf("got %q", got)
	}
	if got, want := d.read(t), fmt.Sprintf(`level=WARN msg="the system log had no room for some lines" lost=%d`, sent-arrived); !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q at the end", got, want)
	}
	l.Info("again")
	if got := d.read(t); !strings.HasSuffix(got, "msg=again") {
		t.Errorf("told twice: %q", got)
	}
	if got := lines(&fallback); got != nil {
		t.Errorf("fallback: %q", got)
	}
}

// RFC 3164 §4.1: at most 1024 octets.
func TestSyslogLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := newLogDaemon(t, path)
	l := New(Options{Target: Syslog, socket: path})
	l.Info(strings.Repeat("é", 2000))
	got := d.read(t)
	if len(got) > maxLine || len(got) < maxLine-1 || !strings.HasSuffix(got, "é") {
		t.Errorf("%d octets, the last are %q", len(got), got[max(0, len(got)-4):])
	}
}
