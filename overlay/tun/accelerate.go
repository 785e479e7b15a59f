package tun

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// acceleration is what the engine knows of its fast path. Under the engine's lock, but
// for path, traits and wake, which do not change.
type acceleration struct {
	path    FastPath // nil: none
	traits  Traits
	carried map[overlay.Key]*FastTunnel
	refused map[overlay.Key]*FastTunnel // what cannot be, and is not tried again as it is
	// changed are tunnels to look at again, learned those of which a path MTU was
	// learned that ends some time.
	changed, learned map[overlay.Key]bool
	changes          []FastChange // of pairs, since the last time
	counters         map[overlay.Key]overlay.Counters
	left             leftBehind
	complained       quiet
	wake             chan struct{}
}

const (
	// fastInterval is how often the fast path is asked what passed: often enough for
	// overlay.SilenceInterval.
	fastInterval = 250 * time.Millisecond
	// fastShare is the part of the time that asking may take.
	fastShare = 20
)

func newAcceleration(f FastPath) acceleration {
	var traits Traits
	if f != nil {
		traits = f.Traits()
	}
	return acceleration{
		path: f, traits: traits, carried: make(map[overlay.Key]*FastTunnel), refused: make(map[overlay.Key]*FastTunnel), changed: make(map[overlay.Key]bool), learned: make(map[overlay.Key]bool),
		wake: make(chan struct{}, 1),
	}
}

// touch has a tunnel looked at again with the next accelerate.
func (a *acceleration) touch(k overlay.Key) {
	if a.path != nil {
		a.changed[k] = true
	}
}

// yield has packets of a pair left to the engine, or taken back.
func (a *acceleration) yield(p overlay.Pair, yes bool) {
	switch {
	case a.path == nil:
	case yes:
		a.changes = append(a.changes, FastChange{Yield: &p})
	default:
		a.changes = append(a.changes, FastChange{Reclaim: &p})
	}
}

// accelerate tells the fast path what has changed. Under the engine's lock.
func (e *Engine) accelerate() {
	a := &e.fast
	if a.path == nil {
		return
	}
	for _, t := range e.mobiles { // whether one is on another depends on both
		a.changed[t.key] = true
	}
	for len(a.changed)+len(a.changes) > 0 {
		e.acceleratePass()
	}
}

// acceleratePass tells the fast path of the tunnels that have changed. What becomes of
// them may change others, which are left in changed.
func (e *Engine) acceleratePass() {
	a := &e.fast
	changes := a.changes
	a.changes = nil
	now := e.now()
	looked := a.changed
	a.changed = make(map[overlay.Key]bool)
	defer func() {
		for k := range looked {
			e.settle(k)
		}
	}()
	var counters map[overlay.Key]overlay.Counters // of before, when wanted
	for k := range looked {
		a.own(k)
		var want *FastTunnel
		if t := e.tunnels[k]; t != nil && e.alone(t) && (!t.sealed.Load() || a.traits.Seals) && !a.overshadows(t) {
			want = fastTunnel(t, now)
			if t.paths.Load().preferred().learned.Load() != nil {
				a.learned[k] = true
			}
		}
		have := a.carried[k]
		if r := a.refused[k]; r != nil && want != nil && r.equal(want) {
			continue
		}
		delete(a.refused, k)
		switch {
		case want == nil && have == nil, want != nil && have != nil && want.equal(have):
		case want == nil:
			if t := e.tunnels[k]; t != nil {
				if counters == nil {
					counters = a.path.Counters()
				}
				t.countOn(counters[k])
			}
			delete(a.carried, k)
			changes = append(changes, FastChange{Remove: k})
		default:
			a.carried[k] = want
			changes = append(changes, FastChange{Set: want})
		}
	}
	if len(changes) == 0 {
		return
	}
	var lost []FastChange // tunnels that were carried and cannot be any more
	a.path.Apply(changes, func(i int, err error) {
		c := changes[i]
		if c.Set != nil {
			delete(a.carried, c.Set.Key)
			a.refused[c.Set.Key] = c.Set
			if t := e.tunnels[c.Set.Key]; t != nil && t.fast.Load() {
				lost = append(lost, FastChange{Remove: c.Set.Key})
			}
		}
		if a.complained.speak(e.now()) {
			e.config.Log.Warn("a tunnel is carried in user space, which takes more of the processor", "engine", e.Name(), "home_address", c.home(), "reason", err)
		}
	})
	if len(lost) > 0 {
		counters = a.path.Counters()
		for _, c := range lost {
			e.tunnels[c.Remove].countOn(counters[c.Remove])
		}
		a.path.Apply(lost, func(int, error) {})
	}
	for _, c := range changes {
		if c.Set == nil {
			continue
		}
		if t := e.tunnels[c.Set.Key]; t != nil {
			t.carriedBy(a.traits, a.carried[c.Set.Key] != nil)
		}
	}
}

// withoutLimit reports whether packets in packets of the tunnel get no encapsulation
// limit: a fast path may have none to give on the agent's side.
func (t *tunnel) withoutLimit() bool { return t.unlimited.Load() }

// countOn adds what a fast path has carried of a tunnel that is the engine's now.
func (t *tunnel) countOn(c overlay.Counters) {
	t.encapsulated.packets.Add(c.EncapPackets)
	t.encapsulated.bytes.Add(c.EncapBytes)
	t.decapsulated.packets.Add(c.DecapPackets)
	t.decapsulated.bytes.Add(c.DecapBytes)
	t.carriedBy(Traits{}, false)
}

// carriedBy notes whether a fast path carries the tunnel.
func (t *tunnel) carriedBy(traits Traits, yes bool) {
	t.unlimited.Store(yes && traits.Nests && t.key.Side == overlay.AgentSide)
	t.fast.Store(yes)
}

func (c FastChange) home() any {
	switch {
	case c.Set != nil:
		return c.Set.Home
	case c.Yield != nil:
		return c.Yield.Home
	case c.Reclaim != nil:
		return c.Reclaim.Home
	default:
		return c.Remove.Home
	}
}

// alone reports whether a tunnel is in no stack.
func (e *Engine) alone(t *tunnel) bool {
	if t.key.Side != overlay.MobileSide {
		return true
	}
	for _, p := range t.paths.Load().paths {
		if p.below.Load() != nil {
			return false
		}
	}
	for pair, o := range e.routes {
		if pair.Side == overlay.MobileSide && o.path().Local == t.key.Home {
			return false
		}
	}
	return len(e.on(t.home)) == 0
}

func fastTunnel(t *tunnel, now time.Duration) *FastTunnel {
	paths := t.paths.Load()
	f := &FastTunnel{Key: t.key, Inner: t.inner, Path: paths.preferred().Path, MTU: paths.preferred().mtu(now), Watch: t.watch.Load()}
	for _, p := range paths.paths {
		f.Ends = append(f.Ends, End{From: p.Remote, To: p.Local})
	}
	return f
}

// mtuLearned has the fast path told of the path MTU of a tunnel. Any goroutine may
// call it, without the engine's lock.
func (e *Engine) mtuLearned(t *tunnel) {
	if e.fast.path == nil {
		return
	}
	e.mu.Lock()
	e.fast.learned[t.key] = true
	e.mu.Unlock()
	select {
	case e.fast.wake <- struct{}{}:
	default:
	}
}

// fastRunLoop keeps the fast path informed of path MTUs, and looks whether tunnels
// bring something back.
func (e *Engine) fastRunLoop() {
	rest := fastInterval
	timer := time.NewTimer(rest)
	defer timer.Stop()
	for {
		select {
		case <-e.ended:
			return
		case <-e.fast.wake:
		case <-timer.C:
			before := e.now()
			e.listen()
			rest = max(fastInterval, fastShare*(e.now()-before))
			timer.Reset(rest)
		}
		e.mu.Lock()
		if !e.closed {
			for k := range e.fast.learned {
				if t := e.tunnels[k]; t == nil || t.paths.Load().preferred().learned.Load() == nil {
					delete(e.fast.learned, k) // after this last look
				}
				e.fast.changed[k] = true
			}
			e.accelerate()
		}
		e.mu.Unlock()
	}
}

// listen compares what mobiles' tunnels have carried with what they had.
func (e *Engine) listen() {
	var silent []*tunnel
	e.mu.Lock()
	if len(e.mobiles) > 0 && !e.closed {
		before, now := e.fast.counters, e.now()
		e.fast.counters = e.fast.path.Counters()
		for _, t := range e.mobiles {
			old, present := before[t.key], e.fast.counters[t.key]
			if present.DecapPackets != old.DecapPackets {
				t.silence.heard()
			}
			if present.EncapPackets != old.EncapPackets && t.silence.sent(now) {
				silent = append(silent, t)
			}
		}
	}
	e.mu.Unlock()
	for _, t := range silent {
		if e.config.Silent != nil {
			e.config.Silent(t.key.Home)
		}
	}
}

// sorted is Underlay.Sorted.
func (e *Engine) sorted() uint32 {
	free := e.config.MarkMask &^ e.config.Mark
	return free & -free
}

// openReceive opens the socket of tunnel packets.
func (e *Engine) openReceive() (err error) {
	nextHeader := unix.IPPROTO_IPV6
	sorts := e.fast.traits.NextHeader != 0
	if sorts {
		nextHeader = e.fast.traits.NextHeader
	}
	if e.receive, err = openTunnelReceiver(e.config.Batch, e.config.SocketBuffer, nextHeader); err != nil || !sorts {
		return err
	}
	return e.receive.only(e.sorted())
}

// startFast starts the fast path.
func (e *Engine) startFast() error {
	if e.fast.path == nil {
		return nil
	}
	c := e.config
	err := e.fast.path.Start(Underlay{
		Device: e.device.name, Index: e.device.index, RouteProtocol: c.RouteProtocol, RulePriority: c.RulePriority, Table: c.Table,
		RouteMetric: c.RouteMetric, Mark: c.Mark, MarkMask: c.MarkMask, Sorted: e.sorted(), Log: c.Log,
	})
	if err != nil {
		return fmt.Errorf("%s data plane: %w", e.fast.path.Name(), err)
	}
	return nil
}

// closeFast ends it.
func (e *Engine) closeFast() error {
	if e.fast.path == nil {
		return nil
	}
	if err := e.fast.path.Close(); err != nil && !errors.Is(err, ErrClosed) {
		return fmt.Errorf("%s data plane: %w", e.fast.path.Name(), err)
	}
	return nil
}
