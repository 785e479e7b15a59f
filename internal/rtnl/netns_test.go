package rtnl

import (
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/logging/logtest"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// fixture is a router with one uplink, u0, to an access router, and what this
// package makes of it.
type fixture struct {
	t      *testing.T
	mr, ar *nstest.Space
	local  *LocalAddresses
	state  *State
	events chan role.Event
	watch  *Watcher
	link   int
	log    logtest.Buffer
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, mr: nstest.New(t), ar: nstest.New(t)}
	nstest.Veth(f.mr, "u0", f.ar, "a0")
	f.link = f.mr.Index("u0")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + f.log.String())
		}
	})
	f.start()
	return f
}

// logger writes what a test that fails shows.
func (f *fixture) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start makes a State, as a process that has just started would.
func (f *fixture) start() {
	f.t.Helper()
	f.local = new(LocalAddresses)
	f.mr.Do(func() (err error) {
		f.state, err = NewState(StateOptions{Local: f.local, Log: f.logger()})
		return err
	})
	s := f.state
	f.t.Cleanup(func() { s.Close() })
}

// kill ends the State as SIGKILL would: nothing is withdrawn.
func (f *fixture) kill() {
	f.state.mu.Lock()
	defer f.state.mu.Unlock()
	f.state.closed = true
	f.state.requests.close()
}

func (f *fixture) startWatch(o WatchOptions) {
	f.t.Helper()
	f.events = make(chan role.Event, 256)
	if o.Notify == nil {
		o.Notify = func(e role.Event) { f.events <- e }
	}
	o.Local, o.State, o.Log = f.local, f.state, f.logger()
	f.mr.Do(func() (err error) {
		f.watch, err = Watch(o)
		return err
	})
	w := f.watch
	f.t.Cleanup(func() { w.Close() })
}

// expect waits for an event about a link that satisfies a condition, and
// returns it; events before it are passed over.
func (f *fixture) expect(what string, condition func(role.Link) bool) role.Link {
	f.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-f.events:
			if c, ok := e.(role.LinkChanged); ok && condition(c.Link) {
				return c.Link
			}
		case <-timeout:
			f.t.Fatalf("no event: %s", what)
		}
	}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// present is the kernel's state as text, with interface names.
func (f *fixture) present() string {
	f.t.Helper()
	p, err := f.state.Present()
	f.must(err)
	for i := range p.Addresses { // remaining lifetimes are not for comparison
		a := &p.Addresses[i]
		if a.Valid < forever {
			a.Valid = a.Valid.Round(time.Minute)
		}
		if a.Preferred < forever {
			a.Preferred = a.Preferred.Round(time.Minute)
		}
	}
	return p.Format(func(i int) string {
		l, err := f.mr.Handle.LinkByIndex(i)
		f.must(err)
		return l.Attrs().Name
	})
}

func (f *fixture) check(want string) {
	f.t.Helper()
	if got := f.present(); got != strings.TrimPrefix(want, "\n") {
		f.t.Errorf("kernel has:\n%swant:\n%s", got, strings.TrimPrefix(want, "\n"))
	}
}

// everything is all IPv6 addresses, routes and rules of a namespace, whoever's.
func everything(t *testing.T, s *nstest.Space) string {
	t.Helper()
	var b strings.Builder
	for _, file := range []string{"net/if_inet6", "net/ipv6_route"} {
		s.Do(func() error {
			text, err := os.ReadFile("/proc/thread-self/" + file)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				fields := strings.Fields(line)
				if file == "net/ipv6_route" { // without use and reference counts
					fields = append(fields[:6], fields[8:]...)
				}
				b.WriteString(strings.Join(fields, " ") + "\n")
			}
			return nil
		})
	}
	lines := strings.Split(b.String(), "\n")
	// The kernel does not keep their order.
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// noGoroutines fails if one of this package's goroutines is left.
func noGoroutines(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	if s := string(buf[:runtime.Stack(buf, true)]); strings.Contains(s, "RunLoop") {
		t.Errorf("goroutine left:\n%s", s)
	}
}

// assign is a care-of address on the uplink for an hour.
func (f *fixture) assign(prefix string) role.AssignAddress {
	return role.AssignAddress{Link: f.link, Prefix: netip.MustParsePrefix(prefix), Valid: time.Hour, Preferred: time.Hour}
}

func (f *fixture) defaultRoute(via, source string, metric int) role.Route {
	return role.Route{Destination: pfx("::/0"), Link: f.link, Via: ip(via), Source: ip(source), Metric: metric}
}
