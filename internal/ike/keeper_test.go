package ike

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongswan/govici/vici"

	"roam6/internal/esp"
	"roam6/internal/logging/logtest"
)

// fake is a charon, with the kernel where it installs associations.
type fake struct {
	mu       sync.Mutex
	away     bool
	refuses  bool // key exchanges
	hangs    bool // in them: nobody answers
	commands []string
	sessions []*fakeSession
	all      []IKEAssociation
	spi      uint32
	kernel   states
}

type fakeSession struct {
	*fake
	events chan struct{}
	closed bool
}

var errAway = errors.New("connect: no such file or directory")

func (f *fake) dial() (Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, errAway
	}
	s := &fakeSession{fake: f, events: make(chan struct{}, 1)}
	f.sessions = append(f.sessions, s)
	return s, nil
}

func (s *fakeSession) Events() <-chan struct{} { return s.events }

func (s *fakeSession) Close() error { return nil }

func (s *fakeSession) Associations(context.Context) ([]IKEAssociation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errEnded
	}
	return slices.Clone(s.all), nil
}

func (s *fakeSession) Call(ctx context.Context, command string, m *vici.Message) (*vici.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errEnded
	}
	said := command
	for _, name := range []string{"child", "name", "id", "ike-id", "reauth"} {
		if v := text(m, name); v != "" {
			said += " " + v
		}
	}
	s.commands = append(s.commands, said)
	switch command {
	case "initiate":
		if s.hangs {
			s.mu.Unlock()
			<-ctx.Done()
			s.mu.Lock()
			return nil, ctx.Err()
		}
		if s.refuses {
			return nil, errors.New("establishing CHILD_SA failed")
		}
		s.install(text(m, "ike"), text(m, "child"))
	case "terminate":
		s.all = nil
	}
	s.tellAll()
	return vici.NewMessage(), nil
}

// install makes a pair of associations.
func (f *fake) install(connection, child string) {
	if len(f.all) == 0 {
		f.all = []IKEAssociation{{Connection: connection, ID: "1", Established: true, Local: testCareOf[0], Remote: testAgent}}
	}
	own, other := testHome, testAgent
	if child == childTests {
		own, other = f.all[0].Local, f.all[0].Remote
	}
	f.spi += 2
	if f.kernel != nil {
		f.kernel.with(own, 0xc0000000+f.spi).with(other, 0xc0000001+f.spi)
	}
	f.all[0].Children = append(slices.Clone(f.all[0].Children), Child{child, int(f.spi), childInstalled, 0xc0000000 + f.spi, 0xc0000001 + f.spi})
}

func (f *fake) tellAll() {
	for _, s := range f.sessions {
		if s.closed {
			continue
		}
		select {
		case s.events <- struct{}{}:
		default:
		}
	}
}

// restart ends the process; it comes back after a while, without anything.
func (f *fake) restart(after time.Duration) {
	f.mu.Lock()
	f.away, f.all = true, nil
	for _, s := range f.sessions {
		if !s.closed {
			s.closed = true
			close(s.events)
		}
	}
	f.mu.Unlock()
	time.Sleep(after)
	f.mu.Lock()
	f.away = false
	f.mu.Unlock()
}

func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.commands
	f.commands = nil
	return c
}

// kept runs a Keeper for the mobile's peer in a bubble with its own time.
func kept(t *testing.T, run func(f *fake, k *Keeper, said *logtest.Buffer, keys func() esp.Negotiated, end func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f, said := &fake{kernel: states{}}, new(logtest.Buffer)
		var mu sync.Mutex
		var keys esp.Negotiated
		k := NewKeeper(Options{
			Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug})), Kernel: locked{f}, Dial: f.dial,
			Told: func(_ Ends, n esp.Negotiated) { mu.Lock(); keys = n; mu.Unlock() },
		})
		mobile, _ := peers("a secret of two, 0123456789abcdef")
		k.SetPeers([]Peer{mobile})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { k.RunLoop(ctx); close(done) }()
		end := sync.OnceFunc(func() { cancel(); <-done })
		defer end()
		run(f, k, said, func() esp.Negotiated { mu.Lock(); defer mu.Unlock(); return keys }, end)
		end()
		if strings.Contains(said.String(), string(mobile.PSK)) {
			t.Error("the preshared key is in the log")
		}
	})
}

type locked struct{ *fake }

func (l locked) Association(to netip.Addr, spi uint32) (esp.Association, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kernel.Association(to, spi)
}

const connection = "roam6-mobile-2001:db8:10::100-2001:db8:10::1"

// Everything is loaded before a key exchange begins, and taken back at the end: there are
// no keys and no secrets in charon when roam6 has stopped.
func TestKeeper(t *testing.T) {
	kept(t, func(f *fake, _ *Keeper, _ *logtest.Buffer, keys func() esp.Negotiated, end func()) {
		synctest.Wait()
		if got, want := strings.Join(f.took(), ", "), "load-shared "+connection+", load-conn, initiate signalling, initiate tests"; got != want {
			t.Errorf("commands: %s\n    want: %s", got, want)
		}
		if n := keys(); !n.Complete() {
			t.Errorf("keys %+v", n)
		}
		end()
		if got, want := strings.Join(f.took(), ", "), "unload-conn "+connection+", terminate, unload-shared "+connection; got != want {
			t.Errorf("at the end: %s\n      want: %s", got, want)
		}
	})
}

// Where charon is not there people are told so, once; when it comes, or comes back, all
// begins again by itself, and what was negotiated is used until then.
func TestKeeperWithoutCharon(t *testing.T) {
	kept(t, func(f *fake, _ *Keeper, said *logtest.Buffer, keys func() esp.Negotiated, _ func()) {
		synctest.Wait()
		before := keys()
		f.took()
		go f.restart(time.Minute)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := strings.Count(said.String(), "charon does not answer"); n != 1 {
			t.Errorf("told %d times: %s", n, said)
		}
		if !same(keys(), before) {
			t.Error("what was negotiated is not used any more")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := keys(); !after.Complete() || same(before, after) {
			t.Errorf("after the restart: %+v", after)
		}
		if got := f.took(); len(got) != 4 {
			t.Errorf("commands: %v", got)
		}
	})
}

// Associations that an earlier life has left are ended: their sequence numbers are lost,
// and the receiver's anti-replay window is not.
func TestKeeperEndsStrangers(t *testing.T) {
	kept(t, func(f *fake, k *Keeper, _ *logtest.Buffer, keys func() esp.Negotiated, end func()) {
		synctest.Wait()
		before := keys()
		end()
		f.took()
		f.mu.Lock()
		f.install(connection, childSignalling)
		f.install(connection, childTests)
		f.mu.Unlock()
		var again esp.Negotiated
		second := NewKeeper(Options{Log: slog.New(slog.DiscardHandler), Kernel: locked{f}, Dial: f.dial, Told: func(_ Ends, n esp.Negotiated) { again = n }})
		mobile, _ := peers("a secret of two, 0123456789abcdef")
		second.SetPeers([]Peer{mobile})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { second.RunLoop(ctx); close(done) }()
		synctest.Wait()
		if got := strings.Join(f.took(), ", "); got != "load-shared "+connection+", load-conn, terminate 1, initiate signalling, initiate tests" {
			t.Errorf("commands: %s", got)
		}
		if !again.Complete() || same(again, before) || again.Out.SPI < 0xc0000000+8 {
			t.Errorf("keys %+v", again)
		}
		cancel()
		<-done
	})
}

// A key exchange that fails is not begun at the speed of light: the pause doubles, unless
// somebody waits for keys.
func TestKeeperPauses(t *testing.T) {
	kept(t, func(f *fake, k *Keeper, said *logtest.Buffer, keys func() esp.Negotiated, _ func()) {
		f.mu.Lock()
		f.refuses = true
		f.mu.Unlock()
		attempts := func() (n int) {
			synctest.Wait()
			for _, c := range f.took() {
				if strings.HasPrefix(c, "initiate") {
					n++
				}
			}
			return n
		}
		time.Sleep(time.Hour)
		if n := attempts(); n < 8 || n > 20 {
			t.Errorf("%d attempts in an hour", n)
		}
		mobile, _ := peers("")
		k.Request(mobile.Ends, testCareOf[0])
		if n := attempts(); n != 1 {
			t.Errorf("%d attempts when somebody asks", n)
		}
		f.mu.Lock()
		f.refuses = false
		f.mu.Unlock()
		k.Request(mobile.Ends, testCareOf[0])
		if attempts(); !keys().Complete() {
			t.Errorf("no keys: %s", said)
		}
		k.Request(mobile.Ends, testCareOf[0])
		if n := attempts(); n != 0 {
			t.Errorf("%d attempts when there are keys", n)
		}
	})
}

// A mobile that moves while nobody answers does not wait for what began at the place
// before.
func TestKeeperBeginsWhereTheMobileIs(t *testing.T) {
	kept(t, func(f *fake, k *Keeper, said *logtest.Buffer, keys func() esp.Negotiated, _ func()) {
		f.mu.Lock()
		f.hangs = true
		f.mu.Unlock()
		mobile, _ := peers("")
		k.Request(mobile.Ends, testCareOf[0])
		synctest.Wait()
		k.Request(mobile.Ends, testCareOf[0]) // the update is sent again
		time.Sleep(time.Second)
		synctest.Wait()
		if got := strings.Join(f.took(), ", "); got != "load-shared "+connection+", load-conn, initiate signalling" {
			t.Errorf("commands: %s", got)
		}
		f.mu.Lock()
		f.hangs = false
		f.mu.Unlock()
		k.Request(mobile.Ends, testCareOf[1])
		synctest.Wait()
		if got := strings.Join(f.took(), ", "); got != "terminate, initiate signalling, initiate tests" || !keys().Complete() {
			t.Errorf("after the move: %s: %s", got, said)
		}
	})
}

// Keys that cannot be read, as those of a kernel that is locked down, are no reason to
// ask for others without end.
func TestKeeperWithoutTheKernel(t *testing.T) {
	kept(t, func(f *fake, _ *Keeper, _ *logtest.Buffer, _ func() esp.Negotiated, _ func()) {
		f.mu.Lock()
		f.kernel = nil
		f.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if n := len(f.sessions); n > 15 {
			t.Errorf("%d sessions within a minute", n)
		}
	})
}

// RFC 6275 §11.7.3: where IKE has followed by itself nothing is made anew.
func TestKeeperRenews(t *testing.T) {
	for _, tt := range []struct {
		name    string
		follows bool
		want    string
	}{
		{"it follows", true, ""},
		{"it does not", false, "rekey 1 yes"},
	} {
		kept(t, func(f *fake, k *Keeper, _ *logtest.Buffer, _ func() esp.Negotiated, _ func()) {
			synctest.Wait()
			f.took()
			mobile, _ := peers("")
			k.Renew(mobile.Ends, testCareOf[1])
			time.Sleep(time.Second)
			if tt.follows {
				f.mu.Lock()
				f.all = slices.Clone(f.all)
				f.all[0].Local = testCareOf[1]
				f.kernel.with(testCareOf[1], f.all[0].Children[1].In)
				f.mu.Unlock()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := fmt.Sprint(strings.Join(f.took(), ", ")); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		})
	}
}

// Keys for payload are made where they are wanted, before those for home tests, which
// nobody waits for then.
func TestKeeperPayload(t *testing.T) {
	kept(t, func(f *fake, k *Keeper, _ *logtest.Buffer, keys func() esp.Negotiated, _ func()) {
		synctest.Wait()
		if n := keys(); n.PayloadComplete() || !n.Complete() {
			t.Errorf("not wanted: %+v", n)
		}
		f.took()
		mobile, _ := peers("a secret of two, 0123456789abcdef")
		mobile.Payload = true
		k.SetPeers([]Peer{mobile})
		time.Sleep(2 * leastPause) // what has just ended rests
		synctest.Wait()
		want := "unload-conn " + connection + ", terminate, unload-shared " + connection + ", load-shared " + connection +
			", load-conn, initiate signalling, initiate payload, initiate tests"
		if got := strings.Join(f.took(), ", "); got != want {
			t.Errorf("commands: %s\n    want: %s", got, want)
		}
		if n := keys(); !n.PayloadComplete() || !n.Complete() {
			t.Errorf("wanted: %+v", n)
		}
	})
}

// RFC 7296 §2.8: charon keeps for some seconds what it has replaced, and says nothing when
// that goes. It is not received by for much longer.
func TestKeeperForgetsReplaced(t *testing.T) {
	kept(t, func(f *fake, _ *Keeper, _ *logtest.Buffer, keys func() esp.Negotiated, _ func()) {
		synctest.Wait()
		f.mu.Lock()
		f.install(connection, childSignalling)
		f.tellAll()
		f.mu.Unlock()
		synctest.Wait()
		if n := keys(); len(n.In) != 2 {
			t.Errorf("received by %d associations", len(n.In))
		}
		f.mu.Lock()
		f.all[0].Children = slices.Clone(f.all[0].Children[1:])
		f.mu.Unlock()
		time.Sleep(2 * busyPause)
		synctest.Wait()
		if n := keys(); len(n.In) != 1 || !n.Complete() {
			t.Errorf("received by %d associations still", len(n.In))
		}
	})
}
