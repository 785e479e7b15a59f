package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// journalVariable names in the environment the device and the inode of the stream by which
// systemd's journal reads a service's standard error (systemd.exec(5)).
const journalVariable = "JOURNAL_STREAM"

// isJournal reports whether a file is the stream of that variable's value: it is not when
// somebody has redirected standard error since.
func isJournal(f *os.File, stream string) bool {
	var info unix.Stat_t
	return stream != "" && unix.Fstat(int(f.Fd()), &info) == nil && stream == fmt.Sprintf("%d:%d", info.Dev, info.Ino)
}

// journalHandler is a slog.Handler that begins each line with its priority, which the
// journal takes for its own (sd-daemon(3)). The journal knows the time.
type journalHandler struct {
	text slog.Handler // formats into line
	line *journalLine // shared with the handlers that WithAttrs and WithGroup make
}

type journalLine struct {
	mu   sync.Mutex
	to   io.Writer
	text bytes.Buffer
}

func newJournalHandler(to io.Writer, level slog.Leveler) *journalHandler {
	l := &journalLine{to: to}
	return &journalHandler{slog.NewTextHandler(&l.text, &slog.HandlerOptions{Level: level}), l}
}

func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.text.WithAttrs(attrs), h.line}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.text.WithGroup(name), h.line}
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	l := h.line
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
	l.text.WriteString("<" + strconv.FormatInt(severity(r.Level), 10) + ">")
	r.Time = time.Time{}
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	_, err := l.to.Write(l.text.Bytes())
	return err
}
