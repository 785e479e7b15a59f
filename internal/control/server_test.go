package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// daemon is a Handler for tests.
type daemon struct {
	fail    error
	reloads atomic.Int32
	block   chan struct{} // when not nil, answers wait for it or for the context
	asked   chan struct{}
}

func (d *daemon) Show(ctx context.Context, t Topic) (Document, error) {
	if d.block != nil {
		d.asked <- struct{}{}
		select {
		case <-d.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if d.fail != nil {
		return nil, d.fail
	}
	return samples()[t], nil
}

func (d *daemon) Reload(context.Context) error {
	d.reloads.Add(1)
	return d.fail
}

// serve serves h on a socket until the test ends, or until stop is called.
func serve(t *testing.T, h Handler) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "roam6.sock")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, h) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(stop)
	return path, stop
}

// say sends text and returns all that comes back.
func say(t *testing.T, path, text string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProtocol(t *testing.T) {
	h := &daemon{}
	path, _ := serve(t, h)
	stats, err := json.Marshal(sampleStats())
	if err != nil {
		t.Fatal(err)
	}
	shape := errRequest.Error()
	for _, tt := range []struct {
		name, request string
		data          string // of the response; or
		fault         string // the beginning of its error
	}{
		{"ping", `{"ping":true}` + "\n", "{}", ""},
		{"without a newline", `{"ping":true}`, "{}", ""},
		{"reload", `{"reload":true}` + "\n", "{}", ""},
		{"show", `{"show":"stats"}` + "\n", string(stats), ""},
		{"what follows the line is not read", `{"show":"stats"}` + "\nGET / HTTP/1.1\n", string(stats), ""},
		{"field of a later version", `{"ping":true,"colour":"red"}` + "\n", "{}", ""},
		{"unknown topic", `{"show":"weather"}` + "\n", "", `unknown topic "weather": one of status, bindings`},
		{"two questions", `{"show":"stats","ping":true}` + "\n", "", shape},
		{"no question", "{}\n", "", shape},
		{"empty line", "\n", "", shape},
		{"not JSON", "bindings\n", "", shape},
		{"wrong type", `{"show":1}` + "\n", "", shape},
		{"too long", strings.Repeat(" ", maxRequest) + "\n", "", "request longer than 4096 octets"},
		{"as long as may be", `{"ping":true}` + strings.Repeat(" ", maxRequest-14) + "\n", "{}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := say(t, path, tt.request)
			line, more, _ := strings.Cut(got, "\n")
			var r response
			if err := json.Unmarshal([]byte(line), &r); err != nil || more != "" {
				t.Fatalf("%q is not one line of JSON: %v", got, err)
			}
			if string(r.Data) != tt.data || !strings.HasPrefix(r.Error, tt.fault) || (tt.fault == "") != (r.Error == "") {
				t.Errorf("got %+v", r)
			}
		})
	}
	if n := h.reloads.Load(); n != 1 {
		t.Errorf("%d reloads, want 1", n)
	}
	if got := say(t, path, ""); got != "" {
		t.Errorf("nothing asked, answer %q", got)
	}
}

func TestClient(t *testing.T) {
	path, _ := serve(t, &daemon{})
	c, ctx := NewClient(path), t.Context()
	check := func(got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	// through JSON, so that both have its precision
	again := func(topic Topic) Document {
		data, err := json.Marshal(samples()[topic])
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(topic, data)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	b, err := c.Bindings(ctx)
	check(b, again(TopicBindings), err)
	u, err := c.Updates(ctx)
	check(u, again(TopicUpdates), err)
	n, err := c.Tunnels(ctx)
	check(n, again(TopicTunnels), err)
	a, err := c.Anchors(ctx)
	check(a, again(TopicAnchors), err)
	m, err := c.Handovers(ctx)
	check(m, again(TopicHandovers), err)
	s, err := c.Stats(ctx)
	check(s, again(TopicStats), err)
	if err := errors.Join(c.Ping(ctx), c.Reload(ctx)); err != nil {
		t.Error(err)
	}
	failing, _ := serve(t, &daemon{fail: errors.New("line 3: no")})
	c = NewClient(failing)
	var told *DaemonError
	if err := c.Reload(ctx); !errors.As(err, &told) || told.Message != "line 3: no" {
		t.Errorf("failed reload: %v", err)
	}
	if _, err := c.Bindings(ctx); !errors.As(err, &told) || err.Error() != "the daemon says: line 3: no" {
		t.Errorf("failed show: %v", err)
	}
}

// What the client says to somebody who does not know what a socket is.
func TestClientErrors(t *testing.T) {
	directory := t.TempDir()
	missing := filepath.Join(directory, "missing")
	dead := filepath.Join(directory, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{missing, dead} {
		want := "control socket " + path + ": no daemon answers there: is roam6 running? --control PATH asks on another socket"
		if err := NewClient(path).Ping(t.Context()); !errors.Is(err, ErrNotRunning) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	// Somebody else's socket.
	for answer, want := range map[string]string{
		"SSH-2.0-x\n": "the answer is no JSON line, so this is no roam6 daemon",
		"":            "the daemon closed the connection without an answer: is it stopping?",
	} {
		path := filepath.Join(directory, "other"+fmt.Sprint(len(answer)))
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}()
		if err := NewClient(path).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
}

func TestClientNotPermitted(t *testing.T) {
	path, _ := serve(t, &daemon{})
	if os.Getuid() != 0 {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
	} else { // root may use every socket: this thread is nobody to the file system
		const nobody = 65534
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	}
	want := "control socket " + path + ": permission denied: run as root, or as the user that the daemon runs as"
	if err := NewClient(path).Ping(t.Context()); !errors.Is(err, ErrNotPermitted) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A question ends with its context, whatever the daemon does.
func TestClientContext(t *testing.T) {
	h := &daemon{block: make(chan struct{}), asked: make(chan struct{})}
	path, _ := serve(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := NewClient(path).Bindings(ctx); done <- err }()
	<-h.asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(h.block)
}

// The end of the daemon does not wait for clients, however many.
func TestServeEnds(t *testing.T) {
	h := &daemon{block: make(chan struct{}), asked: make(chan struct{})}
	path, stop := serve(t, h)
	idle, err := net.Dial("unix", path) // asks nothing
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	done := make(chan error, 2*maxConnections)
	for range 2 * maxConnections { // more than are served at a time
		go func() { _, err := NewClient(path).Bindings(context.Background()); done <- err }()
	}
	for range maxConnections - 1 { // the idle one has a place too
		<-h.asked
	}
	stop()
	for range 2 * maxConnections {
		if err := <-done; err == nil {
			t.Error("an answer after the end")
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// Not more connections than allowed are served at a time; the others wait.
func TestServeBounded(t *testing.T) {
	h := &daemon{block: make(chan struct{}), asked: make(chan struct{})}
	path, _ := serve(t, h)
	const clients = maxConnections + 3
	done := make(chan error)
	for range clients {
		go func() { _, err := NewClient(path).Bindings(context.Background()); done <- err }()
	}
	for range maxConnections {
		<-h.asked
	}
	select {
	case <-h.asked:
		t.Error("more connections than allowed")
	default:
	}
	go func() {
		for range clients - maxConnections {
			<-h.asked
		}
	}()
	close(h.block)
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestListen(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "roam6.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v; want a socket with 0600", info.Mode(), err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second daemon: %v", err)
	}
	// Somebody removed the file, and another daemon has its own there: the end of
	// the first leaves it alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("removed by another's Close: %v", err)
	}
	// What a crash leaves: the file, and nobody behind it.
	if err := second.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if second, err = Listen(path); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	for range 2 { // closing twice does nothing more
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}

	file := filepath.Join(directory, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "a file that is no socket is in the way") {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	if _, err := Listen(filepath.Join(directory, "none", "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}
