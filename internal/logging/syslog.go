package logging

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// systemLog is where every Unix has its log daemon listen.
const systemLog = "/dev/log"

const (
	// tag names the program in each line.
	tag = "roam6"
	// facilityDaemon is facility 3, "system daemons" (RFC 3164 §4.1.1).
	facilityDaemon = 3
	// maxLine is the longest line (RFC 3164 §4.1).
	maxLine = 1024
)

// syslogHandler is a slog.Handler that writes to the local log daemon: RFC 3164
// without the host name, as the C library does it. A log daemon that restarts is
// found again; while there is none, lines go to the fallback.
type syslogHandler struct {
	text     slog.Handler // formats into sink.line
	fallback slog.Handler
	sink     *sink // shared with the handlers that WithAttrs and WithGroup make
}

func newSyslogHandler(socket string, level slog.Leveler, fallback slog.Handler) *syslogHandler {
	s := &sink{socket: socket, fd: -1, tag: tag + "[" + strconv.Itoa(os.Getpid()) + "]: ", fallback: fallback}
	return &syslogHandler{text: slog.NewTextHandler(&s.line, &slog.HandlerOptions{Level: level}), fallback: fallback, sink: s}
}

func (h *syslogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &syslogHandler{text: h.text.WithAttrs(attrs), fallback: h.fallback.WithAttrs(attrs), sink: h.sink}
}

func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return &syslogHandler{text: h.text.WithGroup(name), fallback: h.fallback.WithGroup(name), sink: h.sink}
}

func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	at := r.Time
	r.Time = time.Time{} // the line has a time already
	h.sink.begin(r.Level, at)
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	if h.sink.send() {
		return nil
	}
	r.Time = at
	return h.fallback.Handle(ctx, r)
}

// sink is the connection to the log daemon.
type sink struct {
	socket   string
	tag      string
	fallback slog.Handler

	mu   sync.Mutex
	fd   int          // -1: not connected
	line bytes.Buffer // the line that is being made
	lost int          // lines that the log daemon had no room for
	down bool         // the fallback is in use and has said so
}

// begin begins a line: priority, time, tag.
func (s *sink) begin(level slog.Level, at time.Time) {
	s.line.Reset()
	b := s.line.AvailableBuffer()
	b = append(b, '<')
	b = strconv.AppendInt(b, facilityDaemon<<3|severity(level), 10)
	b = append(b, '>')
	b = at.AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(b, s.tag...)
	s.line.Write(b)
}

// severity maps a level to RFC 3164's severities (§4.1.1).
func severity(l slog.Level) int64 {
	switch {
	case l >= slog.LevelError:
		return 3 // error
	case l >= slog.LevelWarn:
		return 4 // warning
	case l >= slog.LevelInfo:
		return 6 // informational
	default:
		return 7 // debug
	}
}

// send sends the line, and reports whether it has been dealt with: it has also
// when the log daemon's queue is full and the line is lost, since waiting for a
// log must not delay a handover.
func (s *sink) send() bool {
	line := cut(bytes.TrimRight(s.line.Bytes(), "\n"))
	connected := s.fd >= 0
	err := s.write(line)
	if err != nil && !full(err) && connected {
		s.disconnect() // perhaps the log daemon has been restarted: once more
		err = s.write(line)
	}
	switch {
	case err == nil:
		s.recovered()
		return true
	case full(err):
		s.lost++
		return true
	default:
		s.disconnect()
		s.warn(err)
		return false
	}
}

// full reports that the log daemon does not read as fast as is written.
func full(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) }

func (s *sink) write(line []byte) error {
	if s.fd < 0 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.socket}); err != nil {
			_ = unix.Close(fd)
			return err
		}
		s.fd = fd
	}
	for {
		_, err := unix.Write(s.fd, line)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (s *sink) disconnect() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// warn says once that the fallback is in use.
func (s *sink) warn(err error) {
	if s.down {
		return
	}
	s.down = true
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "the system log cannot be reached: logging to standard error", 0)
	r.AddAttrs(slog.String("socket", s.socket), slog.String("reason", err.Error()))
	_ = s.fallback.Handle(context.Background(), r)
}

// recovered tells what was lost on the way, after a line has been sent.
func (s *sink) recovered() {
	s.down = false
	if s.lost == 0 {
		return
	}
	s.begin(slog.LevelWarn, time.Now())
	s.line.WriteString("level=WARN msg=\"the system log had no room for some lines\" lost=" + strconv.Itoa(s.lost))
	if s.write(s.line.Bytes()) == nil {
		s.lost = 0
	}
}

// cut shortens a line to what may be sent, at the end of a character.
func cut(line []byte) []byte {
	if len(line) <= maxLine {
		return line
	}
	end := maxLine
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end]
}
