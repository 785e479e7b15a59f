package tun

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// routeRecorder is a route path that notes what it is told.
type routeRecorder struct {
	mu      sync.Mutex
	told    []string
	carries map[overlay.Pair]overlay.Counters // since they were last told
	refuse  bool
	without error // Start's
	closed  int
}

func (r *routeRecorder) Start(_ *slog.Logger, own, received uint32) error {
	if own != DefaultMark || received == 0 || received&own != 0 {
		return fmt.Errorf("marks %#x, %#x", own, received)
	}
	return r.without
}

func (r *routeRecorder) Apply(changes []RouteChange, carried func(overlay.Pair, overlay.Counters), failed func(overlay.Pair, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		switch {
		case c.Set != nil && r.refuse:
			r.told = append(r.told, "refuse")
			failed(c.Set.Pair, errors.New("no memory"))
		case c.Set != nil:
			r.told = append(r.told, fmt.Sprintf("set %v of %v at %v", c.Set.Side, c.Set.Home, c.Set.CareOf))
			r.carries[c.Set.Pair] = overlay.Counters{}
		default:
			carried(c.Remove, r.carries[c.Remove])
			delete(r.carries, c.Remove)
			r.told = append(r.told, fmt.Sprintf("remove %v of %v", c.Remove.Side, c.Remove.Home))
		}
	}
}

func (r *routeRecorder) Counters(carried func(overlay.Pair, overlay.Counters), _ func(overlay.Pair, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, n := range r.carries {
		if n != (overlay.Counters{}) {
			carried(p, n)
			r.carries[p] = overlay.Counters{}
		}
	}
	return nil
}

func (r *routeRecorder) Close() error { r.closed++; return nil }

func (r *routeRecorder) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.told)
	s := strings.Join(r.told, "; ")
	r.told = nil
	return s
}

// routeEngine opens an engine with a recorder where the kernel has a way out.
func routeEngine(t *testing.T, r *routeRecorder) (e *Engine, seen chan overlay.Pair) {
	t.Helper()
	s, router := nstest.New(t), nstest.New(t)
	nstest.Veth(s, "up", router, "down")
	for _, a := range []netip.Addr{home, careOf, newCareOf, correspondent} {
		s.Assign("up", netip.PrefixFrom(a, 128).String())
	}
	s.Route("::/0", "fe80::1", "up")
	seen = make(chan overlay.Pair, 16)
	s.Do(func() (err error) {
		e, err = Open(Config{Routes: r, TrafficSeen: func(home, peer netip.Addr, side overlay.Side) {
			seen <- overlay.Pair{Home: home, Peer: peer, Side: side}
		}})
		return err
	})
	t.Cleanup(func() { e.Close() })
	if errors.Is(TrySpared(), errors.ErrUnsupported) {
		t.Skip("needs bpf(2): CONFIG_BPF_SYSCALL, CAP_BPF")
	}
	return e, seen
}

// busy has a route look as if it carried much in user space.
func (e *Engine) busy(p overlay.Pair) { e.routes[p].encapsulated.packets.Add(busyPackets) }

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

func (r *routeRecorder) hears(t *testing.T, want string) {
	t.Helper()
	var got []string
	eventually(t, fmt.Sprintf("the path is told %q", want), func() bool {
		if s := r.said(); s != "" {
			got = append(got, s)
		}
		return len(got) > 0
	})
	if s := strings.Join(got, "; "); s != want {
		t.Fatalf("told %q, want %q", s, want)
	}
}

// The route path has what is busy, all routes of a conversation at once, follows moves, is
// counted, and gives back what is idle or has become too narrow.
func TestDelegation(t *testing.T) {
	r := &routeRecorder{carries: make(map[overlay.Pair]overlay.Counters)}
	e, seen := routeEngine(t, r)
	route := overlay.Route{Pair: overlay.Pair{Home: home, Peer: farHome, Side: overlay.MobileSide}, CareOf: careOf}
	back := overlay.Route{Pair: overlay.Pair{Home: farHome, Peer: home, Side: overlay.CorrespondentSide}, CareOf: farCareOf}
	apply := func(changes ...overlay.Change) {
		t.Helper()
		if err := e.Apply(changes); err != nil {
			t.Fatal(err)
		}
	}
	carried := func() bool { return e.routes[route.Pair].delegated.Load() }
	apply(overlay.Change{Optimise: &route})
	time.Sleep(2 * routeInterval) // of nothing that is told there is nothing to wait for
	if s := r.said(); s != "" || carried() {
		t.Errorf("told %q of a route that nobody uses", s)
	}
	e.busy(route.Pair)
	set := fmt.Sprintf("set %v of %v at %v", route.Side, home, careOf)
	r.hears(t, set)
	eventually(t, "the route counts as carried", carried)
	apply(overlay.Change{Optimise: &route})
	if s := r.said(); s != "" {
		t.Errorf("told %q of a route that is as it was", s)
	}

	r.mu.Lock()
	r.carries[route.Pair] = overlay.Counters{EncapPackets: 3, EncapBytes: 300, DecapPackets: 2, DecapBytes: 200}
	r.mu.Unlock()
	want := overlay.Counters{EncapPackets: busyPackets + 3, EncapBytes: 300, DecapPackets: 2, DecapBytes: 200}
	if got := e.Routes()[0].Counters; got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
	select {
	case p := <-seen:
		if p != route.Pair {
			t.Errorf("traffic of %v reported", p)
		}
	case <-time.After(10 * time.Second):
		t.Error("traffic of the route is not reported")
	}

	// The other end is a mobile, too.
	apply(overlay.Change{Optimise: &back})
	r.hears(t, fmt.Sprintf("set %v of %v at %v", back.Side, farHome, farCareOf))
	route.CareOf = newCareOf
	apply(overlay.Change{Optimise: &route})
	r.hears(t, fmt.Sprintf("set %v of %v at %v", route.Side, home, newCareOf))

	e.mu.Lock()
	e.routes[back.Pair].path().tooBig(1300, e.now())
	e.mu.Unlock()
	r.hears(t, fmt.Sprintf("remove %v of %v; remove %v of %v", route.Side, home, back.Side, farHome))
	eventually(t, "the route counts as not carried", func() bool { return !carried() })

	apply(overlay.Change{Deoptimise: &back.Pair})
	e.mu.Lock()
	clear(e.delegation.refused)
	e.mu.Unlock()
	e.busy(route.Pair)
	r.hears(t, fmt.Sprintf("set %v of %v at %v", route.Side, home, newCareOf))
	e.mu.Lock()
	e.delegation.carried[conversationOf(route.Pair)].used -= idleRoutes + time.Second
	e.mu.Unlock()
	r.hears(t, fmt.Sprintf("remove %v of %v", route.Side, home))

	e.busy(route.Pair)
	r.hears(t, fmt.Sprintf("set %v of %v at %v", route.Side, home, newCareOf))
	apply(overlay.Change{Deoptimise: &route.Pair})
	r.hears(t, fmt.Sprintf("remove %v of %v", route.Side, home))
	if err := e.Close(); err != nil || r.closed != 1 {
		t.Errorf("closed %d times (%v)", r.closed, err)
	}
}

// What the route path does not take user space carries, and offers again later; a kernel
// that cannot is no failure, and what else goes wrong is.
func TestDelegationRefused(t *testing.T) {
	r := &routeRecorder{carries: make(map[overlay.Pair]overlay.Counters), refuse: true}
	e, _ := routeEngine(t, r)
	route := overlay.Route{Pair: overlay.Pair{Home: home, Peer: farHome, Side: overlay.MobileSide}, CareOf: careOf}
	if err := e.Apply([]overlay.Change{{Optimise: &route}}); err != nil {
		t.Fatal(err)
	}
	e.busy(route.Pair)
	r.hears(t, "refuse")
	eventually(t, "the refusal is noted", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.delegation.refused) == 1 && len(e.delegation.carried) == 0 && !e.routes[route.Pair].delegated.Load()
	})
	r.mu.Lock()
	r.refuse = false
	r.mu.Unlock()
	eventually(t, "the route is offered again", func() bool {
		e.busy(route.Pair)
		return e.routes[route.Pair].delegated.Load()
	})

	for _, test := range []struct {
		err   error
		opens bool
	}{{fmt.Errorf("CONFIG_IPV6_MIP6: %w", errors.ErrUnsupported), true}, {errors.New("no memory"), false}} {
		nstest.New(t).Do(func() error {
			e, err := Open(Config{Routes: &routeRecorder{without: test.err}})
			if (err == nil) != test.opens || err != nil && !errors.Is(err, test.err) {
				t.Errorf("Open with %v: %v", test.err, err)
			}
			if err == nil {
				return e.Close()
			}
			return nil
		})
	}
}
