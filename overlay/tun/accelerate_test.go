package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// recorder is a fast path that notes what it is told.
type recorder struct {
	traits   Traits
	mu       sync.Mutex
	told     []string
	carried  map[overlay.Key]FastTunnel
	counters map[overlay.Key]overlay.Counters
	refuse   bool
	swept    int
	closed   int
}

func newRecorder() *recorder {
	return &recorder{carried: map[overlay.Key]FastTunnel{}, counters: map[overlay.Key]overlay.Counters{}}
}

func (r *recorder) Name() string { return "recorder" }

func (r *recorder) Start(u Underlay) error {
	if u.Index == 0 || u.Table != DefaultTable || u.RouteProtocol != RouteProtocol {
		return fmt.Errorf("underlay %+v", u)
	}
	return nil
}

func (r *recorder) Apply(changes []FastChange, failed func(int, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range changes {
		switch {
		case c.Set != nil && r.refuse:
			r.told = append(r.told, "refuse "+c.Set.Home.String())
			delete(r.carried, c.Set.Key)
			failed(i, errors.New("no memory"))
		case c.Set != nil:
			r.told = append(r.told, fmt.Sprintf("set %v mtu %d from %v", c.Set.Home, c.Set.MTU, c.Set.Path.Local))
			r.carried[c.Set.Key] = *c.Set
		case c.Yield != nil:
			r.told = append(r.told, fmt.Sprintf("yield %v", c.Yield.Peer))
		case c.Reclaim != nil:
			r.told = append(r.told, fmt.Sprintf("reclaim %v", c.Reclaim.Peer))
		default:
			r.told = append(r.told, fmt.Sprintf("remove %v", c.Remove.Home))
			delete(r.carried, c.Remove)
		}
	}
}

// said returns what was told since the last time.
func (r *recorder) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.told)
	s := strings.Join(r.told, "; ")
	r.told = nil
	return s
}

func (r *recorder) Sweep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swept++
	return nil
}

func (r *recorder) Received(int) {}

func (r *recorder) Counters() map[overlay.Key]overlay.Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[overlay.Key]overlay.Counters{}
	for k := range r.carried {
		all[k] = r.counters[k]
	}
	return all
}

func (r *recorder) Drops() map[overlay.DropReason]uint64 {
	return map[overlay.DropReason]uint64{overlay.DropQueueFull: 3}
}

func (r *recorder) Traits() Traits { return r.traits }

func (r *recorder) Close() error { r.closed++; return nil }

// fastEngine opens an engine with a recorder.
func fastEngine(t *testing.T, c Config) (*Engine, *recorder, *nstest.Space) {
	t.Helper()
	s, r := nstest.New(t), newRecorder()
	c.Fast = r
	var e *Engine
	s.Do(func() (err error) {
		e, err = Open(c)
		return err
	})
	t.Cleanup(func() { e.Close() })
	return e, r, s
}

func mobileTunnel(h netip.Addr, local, remote netip.Addr) *overlay.Tunnel {
	return &overlay.Tunnel{
		Key: overlay.Key{Home: h, Side: overlay.MobileSide}, Inner: []netip.Prefix{netip.PrefixFrom(h, 128)},
		Paths: []overlay.Path{{Local: local, Remote: remote}},
	}
}

// The fast path is told what there is to carry, once, and of each swap, and not of
// what user space must do.
func TestFastPathTold(t *testing.T) {
	e, r, _ := fastEngine(t, Config{})
	apply := func(want string, changes ...overlay.Change) {
		t.Helper()
		if err := e.Apply(changes); err != nil {
			t.Fatal(err)
		}
		if got := r.said(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	main := mobileTunnel(home, careOf, agent)
	apply("set "+home.String()+" mtu 1500 from "+careOf.String(), overlay.Change{Set: main})
	apply("", overlay.Change{Set: main})
	apply("set "+home.String()+" mtu 1500 from "+newCareOf.String(), overlay.Change{Set: mobileTunnel(home, newCareOf, agent)})
	route := overlay.Route{Pair: overlay.Pair{Home: home, Peer: correspondent, Side: overlay.MobileSide}, CareOf: newCareOf}
	apply("yield "+correspondent.String(), overlay.Change{Optimise: &route})
	apply("", overlay.Change{Optimise: &route})
	apply("reclaim "+correspondent.String(), overlay.Change{Deoptimise: &route.Pair})

	// In a stack user space carries both (RFC 5380 §6.1), and the fast path what is left.
	lower := mobileTunnel(regional, careOf, anchor)
	apply("set "+regional.String()+" mtu 1500 from "+careOf.String(), overlay.Change{Set: lower})
	apply("remove "+regional.String()+"; remove "+home.String(), overlay.Change{Set: mobileTunnel(home, regional, agent)})
	apply("", overlay.Change{Remove: lower.Key}) // that path leads nowhere then
	apply("set "+home.String()+" mtu 1500 from "+careOf.String(), overlay.Change{Set: main})
	apply("remove "+home.String(), overlay.Change{Remove: main.Key})
}

// A tunnel that the fast path does not take is carried in user space, and offered
// again when it changes.
func TestFastPathRefuses(t *testing.T) {
	e, r, _ := fastEngine(t, Config{})
	key := overlay.Key{Home: home, Side: overlay.MobileSide}
	r.refuse = true
	if err := e.Apply([]overlay.Change{{Set: mobileTunnel(home, careOf, agent)}}); err != nil {
		t.Fatalf("the tunnel works without the fast path: %v", err)
	}
	if e.tunnels[key].fast.Load() {
		t.Error("the tunnel counts as carried")
	}
	r.refuse = false
	if err := e.Apply([]overlay.Change{{Set: mobileTunnel(home, newCareOf, agent)}}); err != nil {
		t.Fatal(err)
	}
	if !e.tunnels[key].fast.Load() || r.carried[key].Path.Local != newCareOf {
		t.Errorf("carried: %+v", r.carried)
	}
}

// Counters are those of both, and none is lost when user space takes over.
func TestFastPathCounters(t *testing.T) {
	e, r, _ := fastEngine(t, Config{})
	key := overlay.Key{Home: home, Side: overlay.MobileSide}
	want := overlay.Counters{EncapPackets: 5, EncapBytes: 500, DecapPackets: 7, DecapBytes: 700}
	r.counters[key] = want
	set := func(tunnel *overlay.Tunnel) {
		t.Helper()
		if err := e.Apply([]overlay.Change{{Set: tunnel}}); err != nil {
			t.Fatal(err)
		}
	}
	set(mobileTunnel(home, careOf, agent))
	counted := func() overlay.Counters {
		for _, s := range e.Tunnels() {
			if s.Key == key {
				return s.Counters
			}
		}
		return overlay.Counters{}
	}
	if got := counted(); got != want {
		t.Errorf("carried: %+v, want %+v", got, want)
	}
	set(mobileTunnel(regional, careOf, anchor))
	set(mobileTunnel(home, regional, agent)) // now on another
	if got := counted(); got != want {
		t.Errorf("in user space: %+v, want %+v", got, want)
	}
	if n := e.Drops()[overlay.DropQueueFull]; n != 3 {
		t.Errorf("%d drops of the fast path, want 3", n)
	}
}

// A path MTU that is learned, and one that is forgotten, is told.
func TestFastPathMTU(t *testing.T) {
	e, r, _ := fastEngine(t, Config{})
	key := overlay.Key{Home: home, Side: overlay.MobileSide}
	if err := e.Apply([]overlay.Change{{Set: mobileTunnel(home, careOf, agent)}}); err != nil {
		t.Fatal(err)
	}
	tunnel := e.tunnels[key]
	mtu := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.carried[key].MTU
	}
	eventually := func(want int) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); mtu() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("MTU %d, want %d", mtu(), want)
			}
		}
	}
	path := tunnel.paths.Load().preferred()
	path.tooBig(1400, e.now())
	e.mtuLearned(tunnel)
	eventually(1400)
	path.learned.Store(&learnedMTU{mtu: 1400, until: e.now()}) // its time is over
	eventually(1500)
}

// What passes by the fast path alone can be silent, too.
func TestFastPathSilence(t *testing.T) {
	silent := make(chan netip.Addr, 1)
	e, r, _ := fastEngine(t, Config{Silent: func(h netip.Addr) {
		select {
		case silent <- h:
		default:
		}
	}})
	key := overlay.Key{Home: home, Side: overlay.MobileSide}
	if err := e.Apply([]overlay.Change{{Set: mobileTunnel(home, careOf, agent)}}); err != nil {
		t.Fatal(err)
	}
	end := time.After(10 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		r.mu.Lock()
		c := r.counters[key]
		c.EncapPackets++
		r.counters[key] = c
		r.mu.Unlock()
		select {
		case h := <-silent:
			if h != home {
				t.Errorf("silent: %v", h)
			}
			return
		case <-end:
			t.Fatal("not reported")
		default:
		}
	}
}

// The fast path is swept when the time of a predecessor is over, not before the node has
// told what it has restored, and closed once.
func TestFastPathEnds(t *testing.T) {
	var asked atomic.Int32
	ready := make(chan struct{})
	e, r, _ := fastEngine(t, Config{Adopt: 50 * time.Millisecond, Ready: func() bool {
		asked.Add(1)
		select {
		case <-ready:
			return true
		default:
			return false
		}
	}})
	swept := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.swept
	}
	until := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	until("not asked again", func() bool { return asked.Load() > 1 })
	if swept() != 0 {
		t.Error("swept before the node is ready")
	}
	close(ready)
	until("not swept", func() bool { return swept() > 0 })
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r.closed != 1 || swept() != 1 {
		t.Errorf("closed %d times, swept %d times", r.closed, swept())
	}
}

// A tunnel within which there is one that user space carries is carried in user space,
// too: the fast path would take the packets of the one for those of the other.
func TestFastPathWithin(t *testing.T) {
	e, r, _ := fastEngine(t, Config{})
	agentTunnel := func(home, prefix string) *overlay.Tunnel {
		return &overlay.Tunnel{
			Key:   overlay.Key{Home: netip.MustParseAddr(home), Side: overlay.AgentSide},
			Inner: []netip.Prefix{netip.MustParsePrefix(home + "/128"), netip.MustParsePrefix(prefix)},
			Paths: []overlay.Path{{Local: agent, Remote: careOf}},
		}
	}
	wide, middle, narrow := agentTunnel("2001:db8:50::1", "2001:db8:50::/44"), agentTunnel("2001:db8:51::1", "2001:db8:51::/48"), agentTunnel("2001:db8:51:1::1", "2001:db8:51:1::/64")
	carries := func(step string, want ...*overlay.Tunnel) {
		t.Helper()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.carried) != len(want) {
			t.Errorf("%s: %d carried, want %d: %v", step, len(r.carried), len(want), r.carried)
		}
		for _, w := range want {
			if _, ok := r.carried[w.Key]; !ok {
				t.Errorf("%s: %v is not carried", step, w.Home)
			}
		}
	}
	apply := func(changes ...overlay.Change) {
		t.Helper()
		if err := e.Apply(changes); err != nil {
			t.Fatal(err)
		}
	}
	apply(overlay.Change{Set: wide}, overlay.Change{Set: middle})
	carries("two", wide, middle)
	r.refuse = true
	apply(overlay.Change{Set: narrow})
	carries("the third is refused")
	r.refuse = false
	moved := *narrow
	moved.Paths = []overlay.Path{{Local: agent, Remote: newCareOf}}
	apply(overlay.Change{Set: &moved})
	carries("it moves", wide, middle, narrow)
	r.refuse = true
	apply(overlay.Change{Set: narrow})
	carries("it is refused again")
	r.refuse = false
	apply(overlay.Change{Remove: narrow.Key})
	carries("it goes", wide, middle)
}
