//go:build !nometrics

package metrics

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serve serves m on the loopback until the test ends, or until stop is called.
func serve(t *testing.T, m *Metrics) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// say sends text and returns all that comes back.
func say(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServe(t *testing.T) {
	address, _ := serve(t, New("1"))
	const host = "Host: x\r\n"
	for _, tt := range []struct {
		name, request string
		status        string
		field         string // that must be there
		body          bool
	}{
		{"GET", "GET /metrics HTTP/1.1\r\n" + host + "\r\n", "200 OK", "Content-Type: text/plain; version=0.0.4; charset=utf-8", true},
		{"HEAD", "HEAD /metrics HTTP/1.1\r\n" + host + "\r\n", "200 OK", "Content-Type: text/plain; version=0.0.4; charset=utf-8", false},
		{"query", "GET /metrics?name[]=x HTTP/1.1\r\n" + host + "\r\n", "200 OK", "", true},
		{"absolute form", "GET http://x:9706/metrics HTTP/1.1\r\n" + host + "\r\n", "200 OK", "", true},
		{"HTTP/1.0", "GET /metrics HTTP/1.0\r\n\r\n", "200 OK", "", true},
		{"bare LF", "GET /metrics HTTP/1.1\nhost: x\n\n", "200 OK", "", true},
		{"another path", "GET / HTTP/1.1\r\n" + host + "\r\n", "404 Not Found", "", true},
		{"a longer path", "GET /metrics/ HTTP/1.1\r\n" + host + "\r\n", "404 Not Found", "", true},
		{"HEAD of another path", "HEAD / HTTP/1.1\r\n" + host + "\r\n", "404 Not Found", "", false},
		{"POST", "POST /metrics HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nbody", "405 Method Not Allowed", "Allow: GET, HEAD", true},
		{"method in lower case", "get /metrics HTTP/1.1\r\n" + host + "\r\n", "405 Method Not Allowed", "", true},
		{"no Host", "GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request", "", true},
		{"two Hosts", "GET /metrics HTTP/1.1\r\n" + host + host + "\r\n", "400 Bad Request", "", true},
		{"HTTP/0.9", "GET /metrics\r\n\r\n", "400 Bad Request", "", true},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported", "", true},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\n\n", "400 Bad Request", "", true},
		{"too long", "GET /metrics HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", maxHeader) + "\r\n\r\n", "431 Request Header Fields Too Large", "", true},
		{"as long as may be", func() string {
			s := "GET /metrics HTTP/1.1\r\n" + host + "X: \r\n\r\n"
			return strings.Replace(s, "X: ", "X: "+strings.Repeat("x", maxHeader-len(s)), 1)
		}(), "200 OK", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := say(t, address, tt.request)
			header, body, ok := strings.Cut(got, "\r\n\r\n")
			if !ok || !strings.HasPrefix(header, "HTTP/1.1 "+tt.status+"\r\n") || !strings.Contains(header, tt.field) ||
				!strings.HasSuffix(header, "\r\nConnection: close") || tt.body != (body != "") {
				t.Errorf("got %.300q", got)
			}
			// Go's own client understands it the same way.
			method, _, _ := strings.Cut(tt.request, " ")
			r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if read, err := io.ReadAll(r.Body); err != nil || string(read) != body || !r.Close {
				t.Errorf("by net/http: %d octets, %v, close %v", len(read), err, r.Close)
			}
		})
	}
}

// A real client's request, twice.
func TestServeClient(t *testing.T) {
	m := New("1")
	address, _ := serve(t, m)
	for range 2 {
		r, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || r.ContentLength != int64(len(body)) || !bytes.Contains(body, []byte("\nroam6_build_info{version=\"1\"} 1\n")) {
			t.Errorf("%v, %v, length %d: %s", r.Status, err, r.ContentLength, body)
		}
	}
}

// Clients that say nothing take a bounded number of places, one more is told,
// and the end does not wait for them.
func TestServeBounded(t *testing.T) {
	address, stop := serve(t, New("1"))
	idle := make([]net.Conn, maxConnections)
	for i := range idle {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// A half request: when the next one is refused, this one has a place,
		// since connections are accepted in order.
		if _, err := io.WriteString(c, "GET /metr"); err != nil {
			t.Fatal(err)
		}
		idle[i] = c
	}
	if got := say(t, address, ""); !strings.HasPrefix(got, "HTTP/1.1 503 Service Unavailable\r\n") {
		t.Errorf("one too many: %q", got)
	}
	// One that goes makes room. Until then a request may be answered with 503 or,
	// since nobody reads it, with a reset.
	if err := idle[0].Close(); err != nil {
		t.Fatal(err)
	}
	for {
		r, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			continue
		}
		_ = r.Body.Close()
		if r.StatusCode == http.StatusOK {
			break
		}
		if r.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("got %v", r.Status)
		}
	}
	stop()
	for _, c := range idle[1:] {
		if b, err := io.ReadAll(c); len(b) != 0 {
			t.Errorf("after the end: %q, %v", b, err)
		}
	}
}

// flaky is a listener without file descriptors, and then broken.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: err}
}

func TestServeErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	err = New("1").Serve(t.Context(), &flaky{l, []error{unix.EMFILE, unix.EBADF}}, slog.New(slog.NewTextHandler(&log, nil)))
	if !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), "metrics endpoint 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "too many open files") {
		t.Errorf("log: %s", &log)
	}
	if _, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
		t.Error("the listener is still open")
	}
}

// Whatever is sent, it is answered or not, and never more is kept than a
// header.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD http://x/metrics?y HTTP/1.0\n\n", "\r\n\r\n", " / HTTP/1.1\n\n",
		"GET ://metrics HTTP/1.1\r\nHost:\r\n\r\n", "GET /metrics HTTP/1.x\r\n\r\n", "G\x00T /metrics HTTP/1.1\r\nHost: \xff\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	m := New("1")
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, b []byte) {
		header, err := readHeader(bytes.NewReader(b))
		if len(header) > maxHeader || !bytes.HasPrefix(b, header) {
			t.Fatalf("header of %d octets", len(header))
		}
		if err != nil && !errors.Is(err, errHeaderTooLong) {
			return
		}
		var out bytes.Buffer
		if err := writeAnswer(&out, m.answer(t.Context(), header, err, log)); err != nil {
			t.Fatal(err)
		}
		if _, err := http.ReadResponse(bufio.NewReader(&out), nil); err != nil {
			t.Errorf("the answer to %q: %v", b, err)
		}
	})
}

// shelf has a page at /a.
type shelf struct {
	mu    sync.Mutex
	asked []PageRequest
}

func (s *shelf) Page(_ context.Context, q PageRequest) (PageAnswer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	return PageAnswer{Status: 200, Reason: "OK", Fields: []string{"Content-Type", "text/html"}, Body: []byte("a page")}, q.Path == "/a"
}

// Pages beside the metrics are asked for by GET and HEAD alone, with what the request
// says.
func TestServePages(t *testing.T) {
	m, s := New("1"), new(shelf)
	m.ServePages(s)
	address, _ := serve(t, m)
	for _, tt := range []struct {
		request, begins, ends string
		asked                 PageRequest
	}{
		{"GET /a?b=c?d HTTP/1.1\r\nHost:  h:1 \r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", "\r\n\r\na page", PageRequest{"h:1", "/a", "b=c?d"}},
		{"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Content-Length: 6\r\nConnection: close\r\n\r\n", PageRequest{"h", "/a", ""}},
		{"GET http://other/a HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n", "a page", PageRequest{"other", "/a", ""}},
		{"GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "a page", PageRequest{"", "/a", ""}},
		{"GET /b HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "404 Not Found\n", PageRequest{"h", "/b", ""}},
		{"POST /a HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n", "\n", PageRequest{}},
		{"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\n", PageRequest{}},
	} {
		got := say(t, address, tt.request)
		if !strings.HasPrefix(got, tt.begins) || !strings.HasSuffix(got, tt.ends) {
			t.Errorf("%q: %.200q", tt.request, got)
		}
		var want []PageRequest
		if tt.asked != (PageRequest{}) {
			want = []PageRequest{tt.asked}
		}
		s.mu.Lock()
		if !slices.Equal(s.asked, want) {
			t.Errorf("%q: asked %+v", tt.request, s.asked)
		}
		s.asked = nil
		s.mu.Unlock()
	}
}
