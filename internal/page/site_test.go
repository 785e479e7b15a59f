//go:build !nopage && !nometrics

package page

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/internal/metrics"
)

// stand is a daemon that says what a test wants.
type stand struct {
	mu    sync.Mutex
	show  control.Overview
	err   error
	asked []Query
}

func (s *stand) Overview(_ context.Context, q Query) (control.Overview, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	return s.show, s.err
}

func (s *stand) set(o control.Overview) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show = o
}

// serve serves the page of a daemon on the loopback until the test ends, or until stop is
// called. A port of zero is any.
func serve(t *testing.T, s Source, address string) (where string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New("test")
	m.ServePages(New(s, []string{"agent"}))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l, slog.New(slog.DiscardHandler)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// get asks as a host and returns the answer with its body.
func get(t *testing.T, method, address, path, host string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequest(method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = host
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func TestPaths(t *testing.T) {
	s := &stand{show: fleet(3, time.Now())}
	address, _ := serve(t, s, "127.0.0.1:0")
	for _, tt := range []struct {
		name, method, path, host string
		status                   int
		contentType              string
	}{
		{"page", "GET", "/", "", 200, "text/html; charset=utf-8"},
		{"page, no body", "HEAD", "/", "", 200, "text/html; charset=utf-8"},
		{"page of the host's name", "GET", "/", "agent:9706", 200, "text/html; charset=utf-8"},
		{"page of another name", "GET", "/", "evil.example", 421, "text/plain; charset=utf-8"},
		{"data", "GET", "/status.json", "", 200, "application/json"},
		{"data of another name", "GET", "/status.json", "evil.example:9706", 421, "text/plain; charset=utf-8"},
		{"data, searched", "GET", "/status.json?search=bus%201&seconds=60", "", 200, "application/json"},
		{"long search", "GET", "/status.json?search=" + strings.Repeat("x", maxSearch+1), "", 400, "text/plain; charset=utf-8"},
		{"no number", "GET", "/status.json?seconds=-1", "", 400, "text/plain; charset=utf-8"},
		{"no query", "GET", "/status.json?%zz", "", 400, "text/plain; charset=utf-8"},
		{"POST", "POST", "/status.json", "", 405, "text/plain; charset=utf-8"},
		{"DELETE", "DELETE", "/", "", 405, "text/plain; charset=utf-8"},
		{"nothing there", "GET", "/page.js", "", 404, "text/plain; charset=utf-8"},
		{"beside it", "GET", "/../status.json", "", 404, "text/plain; charset=utf-8"},
		{"metrics", "GET", "/metrics", "", 200, "text/plain; version=0.0.4; charset=utf-8"},
		{"metrics of any name", "GET", "/metrics", "evil.example", 200, "text/plain; version=0.0.4; charset=utf-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, body := get(t, tt.method, address, tt.path, tt.host)
			if r.StatusCode != tt.status || r.Header.Get("Content-Type") != tt.contentType || (body == "") != (tt.method == "HEAD") {
				t.Errorf("%v, %s, %.100q", r.Status, r.Header.Get("Content-Type"), body)
			}
			if tt.status == 200 && tt.path != "/metrics" && (r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cache-Control") != "no-store") {
				t.Errorf("%v", r.Header)
			}
		})
	}
	if q := s.asked[len(s.asked)-1]; q != (Query{Search: "bus 1", Window: time.Minute}) {
		t.Errorf("asked for %+v", q)
	}
	s.mu.Lock()
	s.err = errors.New("no answer")
	s.mu.Unlock()
	if r, _ := get(t, "GET", address, "/status.json", ""); r.StatusCode != 503 {
		t.Errorf("of a daemon that does not answer: %v", r.Status)
	}
}

// What is in the file may run, and nothing else; and the file is small and has nothing
// from elsewhere.
func TestFile(t *testing.T) {
	p := New(&stand{}, nil).(*site)
	text := string(p.file)
	if n := len(text); n > 30_000 {
		t.Errorf("%d octets", n)
	}
	for _, no := range []string{"/*script*/", "/*style*/", "innerHTML", "eval(", "onclick=", "onload=", " style=", "src=", "@import", "url("} {
		if strings.Contains(text, no) {
			t.Errorf("there is %q in it", no)
		}
	}
	if strings.Contains(p.policy, "unsafe") || strings.Count(p.policy, "'sha256-") != 2 {
		t.Errorf("policy %s", p.policy)
	}
}

func TestKnown(t *testing.T) {
	for host, want := range map[string]bool{
		"[::1]:9706": true, "[2001:db8::1]": true, "[fe80::1%25eth0]:80": true, "127.0.0.1": true, "192.0.2.1:9706": true,
		"localhost": true, "LOCALHOST:9706": true, "agent": true, "Agent.:1": true,
		"": false, "evil.example": false, "agent.evil.example": false, "127.0.0.1.evil.example": false, "localhost.evil.example:80": false,
		"[::1].evil.example": false, "[evil.example]": false, "2001:db8::1": false, "agent:x.evil.example": false, "agent@evil.example": false, "evil.example:agent": false,
	} {
		if got := known(host, []string{"agent"}); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

// Whatever is asked, the source is asked for no more than it may be.
func FuzzPage(f *testing.F) {
	for _, s := range []string{"", "search=x", "search=%00&seconds=4294967295", "seconds=&search=&seconds=1", ";", "search=%F0%28"} {
		f.Add("localhost", "/status.json", s)
	}
	f.Add("[::1", "/", "")
	f.Fuzz(func(t *testing.T, host, path, query string) {
		s := &stand{}
		a, ok := New(s, []string{"agent"}).Page(t.Context(), metrics.PageRequest{Host: host, Path: path, Query: query})
		if ok && (a.Status < 200 || len(a.Body) == 0 || len(a.Fields)%2 != 0) {
			t.Errorf("%+v", a)
		}
		for _, q := range s.asked {
			if len(q.Search) > maxSearch || q.Window < 0 || q.Window > maxWindow || !known(host, []string{"agent"}) {
				t.Errorf("asked for %+v as %q", q, host)
			}
		}
	})
}

// fleet is a home agent with mobiles that have moved, each some times.
func fleet(n int, now time.Time) control.Overview {
	o := control.Overview{Version: "1.0", Uptime: 5000, Now: control.Time{Time: now}, HomeAgents: &control.AgentOverview{
		Stats: control.AgentStats{Mobiles: n, Bindings: n - 1, Registrations: uint64(n), Moves: uint64(4 * n)}, Matched: n,
	}}
	o.Uptime = control.Seconds(3*time.Hour + 20*time.Minute)
	a := o.HomeAgents
	careOf := func(i, move int) netip.Addr {
		b := netip.MustParseAddr("2001:db8:f000::21").As16()
		b[5], b[15] = byte((i+move)%5+1), byte(i+1)
		return netip.AddrFrom16(b)
	}
	for i := range min(n, 100) {
		home := netip.MustParseAddr("2001:db8:10::100").As16()
		home[14], home[15] = byte(1+i>>8), byte(i)
		m := control.MobileBindings{Mobile: "Bus_" + string(rune('A'+i%26)) + string(rune('0'+i/26)), HomeAgent: "Depot", HomeAddress: netip.AddrFrom16(home), Bindings: []control.Binding{}}
		if i != 1 {
			prefix := netip.MustParsePrefix("2001:db8:8000::/56").Addr().As16()
			prefix[5] = byte(i)
			m.Bindings = append(m.Bindings, control.Binding{
				HomeAgent: "Depot", Mobile: m.Mobile, HomeAddress: m.HomeAddress, State: "active", Router: i%3 == 0, Sequence: uint16(100 + i),
				CareOf: []control.CareOf{{Address: careOf(i, 4)}}, Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(prefix), 56)},
				Granted: control.Seconds(time.Minute), Remaining: control.Seconds(time.Duration(20+i%40) * time.Second),
				Created: control.Time{Time: now.Add(-time.Hour)}, Age: control.Milliseconds(time.Hour), Updated: control.Time{Time: now}, UpdateAge: 0,
			})
		}
		a.Mobiles = append(a.Mobiles, m)
	}
	for move := 4; move >= 0; move-- {
		for i := range min(n, 100) {
			m := a.Mobiles[i]
			age := time.Duration(20+160*(4-move)+7*(i%23)) * time.Second
			c := control.BindingChange{
				Number: uint64(move*min(n, 100) + i), Mobile: m.Mobile, HomeAddress: m.HomeAddress, Cause: "update",
				At: control.Time{Time: now.Add(-age)}, Age: control.Milliseconds(age), To: careOf(i, move),
			}
			if move > 0 {
				c.From = careOf(i, move-1)
				took := control.Milliseconds(time.Duration(180+13*((7*i+3*move)%29)) * time.Microsecond)
				c.Processing = &took
			}
			if i == 1 && move == 4 {
				c.To, c.Cause, c.Processing = netip.Addr{}, "lifetime", nil
			}
			a.Changes = append(a.Changes, c)
		}
	}
	a.Changed = len(a.Changes)
	return o
}
