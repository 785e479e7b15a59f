package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/deadline"
)

// ErrInUse is returned by Listen when another process answers on the socket.
var ErrInUse = errors.New("another daemon answers there; stop it, or give this one another control socket")

// Server is the daemon's end of the control socket.
type Server struct {
	path     string
	listener *net.UnixListener
	file     os.FileInfo // of the socket file as it was made
}

// Listen makes the control socket at path, for its owner only (mode 0600). A
// socket file that a crashed daemon left behind is replaced; one on which a
// process answers is not.
func Listen(path string) (*Server, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	// The mode given to the socket before it is bound is that of its file: at
	// no moment can another user connect.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{path: path, listener: l.(*net.UnixListener)}
	s.listener.SetUnlinkOnClose(false)
	if s.file, err = os.Lstat(path); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return s, nil
}

// removeStale removes a socket file on which nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("a file that is no socket is in the way; remove it, or configure another path")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = c.Close()
		return ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	case errors.Is(err, fs.ErrNotExist): // it has just gone
		return nil
	default:
		return fmt.Errorf("cannot tell whether another daemon uses it: %w", err)
	}
}

// Serve answers until ctx ends or the server is closed; that is no error. It
// returns when the last connection is over.
func (s *Server) Serve(ctx context.Context, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The listener stays open until Close: see there.
	stop := context.AfterFunc(ctx, func() { _ = s.listener.SetDeadline(deadline.Passed()) })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel() // before Wait: it ends the connections
	slots := make(chan struct{}, maxConnections)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := s.listener.AcceptUnix()
		switch {
		case err == nil:
			connections.Go(func() {
				serveConnection(ctx, c, h)
				<-slots
			})
		case errors.Is(err, net.ErrClosed), ctx.Err() != nil:
			return nil
		case outOfResources(err):
			<-slots
			pause(ctx, 100*time.Millisecond)
		default:
			return fmt.Errorf("control socket %s: %w", s.path, err)
		}
	}
}

// outOfResources reports an error of accept that passes.
func outOfResources(err error) bool {
	for _, e := range [...]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Close ends Serve and removes the socket file, unless it is another daemon's
// by now. Until the listener is closed its file's inode is in use, so that no
// other file can be taken for it.
func (s *Server) Close() error {
	var err error
	if now, e := os.Lstat(s.path); e == nil && os.SameFile(s.file, now) {
		err = os.Remove(s.path)
	}
	if e := s.listener.Close(); !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// serveConnection answers one request. What goes wrong with the connection
// itself is the client's business.
func serveConnection(ctx context.Context, c *net.UnixConn, h Handler) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(deadline.Passed()) })()
	if c.SetReadDeadline(time.Now().Add(requestTime)) != nil || ctx.Err() != nil {
		return
	}
	q, err := readRequest(c)
	var r response
	switch {
	case err == nil && q.Trace != nil:
		serveTrace(ctx, c, *q.Trace, h)
		return
	case err == nil:
		r = respond(ctx, q, h)
	case errors.Is(err, errRequest):
		r = response{Error: err.Error()}
	default:
		return
	}
	if c.SetWriteDeadline(time.Now().Add(answerTime)) != nil || ctx.Err() != nil {
		return
	}
	if writeResponse(c, r) != nil {
		return
	}
	// Closed with something unread, the connection would be reset and the
	// response lost with it.
	if c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil && ctx.Err() == nil {
		_, _ = io.CopyN(io.Discard, c, maxRequest)
	}
}

// respond finds the answer.
func respond(ctx context.Context, q request, h Handler) response {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	switch {
	case q.Reload:
		if err := h.Reload(ctx); err != nil {
			return response{Error: err.Error()}
		}
	case q.Show != "":
		topic, err := ParseTopic(q.Show)
		if err != nil {
			return response{Error: err.Error()}
		}
		document, err := h.Show(ctx, topic)
		if err != nil {
			return response{Error: err.Error()}
		}
		data, err := json.Marshal(document)
		if err != nil {
			return response{Error: err.Error()}
		}
		return response{Data: data}
	}
	return response{Data: json.RawMessage("{}")}
}

// writeResponse writes r as a line. The data, which may be long, is not copied.
func writeResponse(w io.Writer, r response) error {
	parts := net.Buffers{[]byte(`{"data":`), r.Data, []byte("}\n")}
	if r.Error != "" {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		parts = net.Buffers{b, []byte("\n")}
	}
	_, err := parts.WriteTo(w)
	return err
}
