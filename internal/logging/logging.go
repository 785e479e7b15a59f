// Package logging makes the daemon's logger: log/slog's text format, one event
// a line, to standard error or to the system's log, and bounded in volume.
//
// The same thing has the same field name everywhere: link, router, care_of,
// home, home_agent, mobile, prefix, reason, section.
package logging

import (
	"context"
	"io"
	"log/slog"
	"os"

	"roam6/internal/role"
)

// Target is where the log goes.
type Target uint8

// Targets.
const (
	Stderr Target = iota // with priorities where it is systemd's journal
	Syslog               // the socket /dev/log
)

// Options say what is logged and where to.
type Options struct {
	// Level is the least important level that is logged; a *slog.LevelVar can be
	// changed while the logger is in use. Nil is slog.LevelInfo.
	Level  slog.Leveler
	Target Target
	// Writer stands in for standard error: the target Stderr writes to it, the
	// target Syslog while the system's log cannot be reached.
	Writer io.Writer
	// Limit bounds the volume; zero fields have defaults.
	Limit Limit

	socket string // stands in for /dev/log
}

// New returns a logger, safe for use by several goroutines. It never fails:
// what cannot be written to the system's log goes to standard error.
func New(o Options) *slog.Logger {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Writer == nil {
		o.Writer = os.Stderr
	}
	journal := false
	if f, ok := o.Writer.(*os.File); ok {
		journal = isJournal(f, os.Getenv(journalVariable))
		o.Writer = &impatient{file: f}
	}
	var h slog.Handler = slog.NewTextHandler(o.Writer, &slog.HandlerOptions{Level: o.Level})
	if journal {
		h = newJournalHandler(o.Writer, o.Level)
	}
	if o.Target == Syslog {
		if o.socket == "" {
			o.socket = systemLog
		}
		h = newSyslogHandler(o.socket, o.Level, h)
	}
	return slog.New(newLimiter(h, o.Limit))
}

// Write logs what a role has to say.
func Write(ctx context.Context, l *slog.Logger, line role.Log) {
	l.LogAttrs(ctx, line.Level, line.Message, line.Attrs...)
}
