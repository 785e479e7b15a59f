package logging

import (
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// longestLine is what a pipe takes at once when it takes anything (pipe(7), PIPE_BUF).
const longestLine = 4096

// impatient writes lines to a file that may be a pipe, a socket or a terminal, of which
// somebody else reads: where there is no room a line is lost, since waiting for a log must
// not delay a handover. It is used by one goroutine at a time: slog's handlers have a lock.
type impatient struct {
	file *os.File
	lost int // lines
}

// Write writes a line, or counts it as lost. The next one that can be written tells how
// many were.
func (w *impatient) Write(line []byte) (int, error) {
	n := len(line)
	if !w.hasRoom() {
		w.lost++
		return n, nil
	}
	if w.lost > 0 {
		lost := w.lost
		w.lost = 0
		slog.New(slog.NewTextHandler(w.file, nil)).Warn("nobody read the log: some lines are lost", slog.Int("lost", lost))
		return w.Write(line)
	}
	if n > longestLine {
		line = append(line[:longestLine-1:longestLine-1], '\n')
	}
	if _, err := w.file.Write(line); err != nil {
		return 0, err
	}
	return n, nil
}

// hasRoom reports whether a line can be written without waiting. What cannot be told is
// left to the write.
func (w *impatient) hasRoom() bool {
	for {
		fds := []unix.PollFd{{Fd: int32(w.file.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || n > 0
		}
	}
}
