//go:build !nometrics

package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/deadline"
)

// Limits of the endpoint.
const (
	// maxHeader bounds a request's header, and with it the memory of a
	// connection.
	maxHeader = 8 << 10
	// maxConnections bounds the connections at a time; more are turned away.
	maxConnections = 8
	// requestTime bounds the arrival of a request, answerTime the writing of the
	// answer, lingerTime the wait for the client to read it.
	requestTime = 5 * time.Second
	answerTime  = 10 * time.Second
	lingerTime  = time.Second
)

// ServePages has Serve, when it is called, answer requests for other paths, too.
func (m *Metrics) ServePages(p Pages) { m.exposition.pages = p }

// Serve answers HTTP requests for /metrics until ctx ends, which is no error. It
// closes l and returns when the last connection is over.
//
// It speaks as much of HTTP/1.1 (RFC 9112) as a scrape needs: one GET or HEAD
// for each connection.
func (m *Metrics) Serve(ctx context.Context, l net.Listener, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel() // before Wait: it ends the connections
	slots := make(chan struct{}, maxConnections)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case err == nil:
		case passing(err):
			log.Warn("metrics endpoint cannot accept connections for a moment", "reason", err)
			wait(ctx, 100*time.Millisecond)
			continue
		default:
			_ = l.Close()
			return fmt.Errorf("metrics endpoint %v: %w", l.Addr(), err)
		}
		select {
		case slots <- struct{}{}:
			connections.Go(func() {
				defer func() { <-slots }()
				m.serveConnection(ctx, c, log)
			})
		default: // its buffer is empty, so writing does not wait
			_ = c.SetDeadline(time.Now().Add(lingerTime))
			_ = writeAnswer(c, answer{status: 503, reason: "Service Unavailable"})
			_ = c.Close()
		}
	}
}

// passing reports an error of accept that goes away by itself.
func passing(err error) bool {
	for _, e := range [...]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// serveConnection answers one request. What goes wrong with the connection is
// the client's business.
func (m *Metrics) serveConnection(ctx context.Context, c net.Conn, log *slog.Logger) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(deadline.Passed()) })()
	if c.SetReadDeadline(time.Now().Add(requestTime)) != nil || ctx.Err() != nil {
		return
	}
	header, err := readHeader(c)
	if err != nil && !errors.Is(err, errHeaderTooLong) {
		return
	}
	asked, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	a := m.answer(asked, header, err, log)
	if c.SetWriteDeadline(time.Now().Add(answerTime)) != nil || ctx.Err() != nil || writeAnswer(c, a) != nil {
		return
	}
	// Closed with something unread, the connection would be reset and the answer
	// perhaps lost on its way (RFC 9112 §9.6).
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil && ctx.Err() == nil {
			_, _ = io.CopyN(io.Discard, c, maxHeader)
		}
	}
}

var errHeaderTooLong = fmt.Errorf("header longer than %d octets", maxHeader)

// readHeader reads up to and with the empty line.
func readHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, 0, 1<<10)
	for {
		if len(b) == maxHeader {
			return nil, errHeaderTooLong
		}
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(2*cap(b), maxHeader)), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		from := max(len(b)-3, 0)
		b = b[:len(b)+n]
		if i := endOfHeader(b[from:]); i >= 0 {
			return b[:from+i], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// endOfHeader is where the empty line ends; a bare LF ends a line as CRLF does
// (RFC 9112 §2.2).
func endOfHeader(b []byte) int {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	return -1
}

// answer is an HTTP response.
type answer struct {
	status int
	reason string
	fields []string // more header fields, name and value
	body   []byte   // nil: the status in words
	head   bool     // without the body
}

// answer decides what a request gets.
func (m *Metrics) answer(ctx context.Context, header []byte, err error, log *slog.Logger) answer {
	if err != nil {
		return answer{status: 431, reason: "Request Header Fields Too Large"}
	}
	q, ok := parseRequest(header)
	switch {
	case !ok:
		return answer{status: 400, reason: "Bad Request"}
	case q.major != '1':
		return answer{status: 505, reason: "HTTP Version Not Supported"}
	case q.path != "/metrics":
		return m.page(ctx, q)
	case !q.reads():
		return methodNotAllowed()
	}
	text, err := m.Text()
	if err != nil {
		log.Warn("metrics are incomplete", "reason", err)
	}
	return answer{status: 200, reason: "OK", fields: []string{"Content-Type", contentType}, body: text, head: q.method == "HEAD"}
}

// page is what a request for another path gets.
func (m *Metrics) page(ctx context.Context, q httpRequest) answer {
	none := answer{status: 404, reason: "Not Found", head: q.method == "HEAD"}
	switch {
	case m.exposition.pages == nil:
		return none
	case !q.reads():
		return methodNotAllowed()
	}
	p, ok := m.exposition.pages.Page(ctx, PageRequest{Host: q.host, Path: q.path, Query: q.query})
	if !ok {
		return none
	}
	return answer{status: p.Status, reason: p.Reason, fields: p.Fields, body: p.Body, head: q.method == "HEAD"}
}

func methodNotAllowed() answer {
	return answer{status: 405, reason: "Method Not Allowed", fields: []string{"Allow", "GET, HEAD"}}
}

type httpRequest struct {
	method, host, path, query string
	major                     byte // of the HTTP version
}

// reads reports whether the method only asks for something.
func (q httpRequest) reads() bool { return q.method == "GET" || q.method == "HEAD" }

// parseRequest reads the request line (RFC 9112 §3); of the fields it only reads Host,
// which HTTP/1.1 has once, as §3.2 demands.
func parseRequest(header []byte) (httpRequest, bool) {
	line, rest, _ := strings.Cut(string(header), "\n")
	method, line, ok1 := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
	target, version, ok2 := strings.Cut(line, " ")
	number, ok3 := strings.CutPrefix(version, "HTTP/")
	if !ok1 || !ok2 || !ok3 || method == "" || len(number) != 3 || !digit(number[0]) || number[1] != '.' || !digit(number[2]) {
		return httpRequest{}, false
	}
	q := httpRequest{method: method, major: number[0]}
	host, n := hosts(rest)
	if number == "1.1" && n != 1 {
		return httpRequest{}, false
	}
	q.host = host
	// The absolute form has scheme and authority before the path (§3.2.2).
	if scheme, after, ok := strings.Cut(target, "://"); ok && !strings.Contains(scheme, "/") {
		var path string
		q.host, path, _ = strings.Cut(after, "/")
		target = "/" + path
	}
	q.path, q.query, _ = strings.Cut(target, "?")
	return q, true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// hosts returns the last Host field, and how many there are.
func hosts(fields string) (value string, n int) {
	for line := range strings.Lines(fields) {
		if name, text, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Host") {
			value = strings.Trim(text, " \t\r\n")
			n++
		}
	}
	return value, n
}

// writeAnswer writes the response. It has no Date: many routers have no clock
// (RFC 9110 §6.6.1).
func writeAnswer(w io.Writer, a answer) error {
	status := strconv.Itoa(a.status) + " " + a.reason
	if a.body == nil {
		a.body = []byte(status + "\n")
		a.fields = append(a.fields, "Content-Type", "text/plain; charset=utf-8")
	}
	b := make([]byte, 0, len(a.body)+256)
	b = append(b, "HTTP/1.1 "+status+"\r\n"...)
	fields := append(a.fields, "Content-Length", strconv.Itoa(len(a.body)), "Connection", "close")
	for i := 0; i+1 < len(fields); i += 2 {
		b = append(b, fields[i]+": "+fields[i+1]+"\r\n"...)
	}
	b = append(b, "\r\n"...)
	if !a.head {
		b = append(b, a.body...)
	}
	_, err := w.Write(b)
	return err
}
