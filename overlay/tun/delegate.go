package tun

import (
	"errors"
	"fmt"
	"time"

	"roam6/overlay"
)

const (
	// routeInterval is how often the route path is asked what passed, and routes how much
	// they are used.
	routeInterval = 250 * time.Millisecond
	// routeShare is the part of the time that this may take.
	routeShare = 20
	// routeReview is how often it is looked whether the route path may still have what it
	// has: routing changes, and so does what is known of path MTUs.
	routeReview = time.Second
	// busyPackets in a routeInterval are worth XFRM's states and policies, which cost the
	// kernel much more than a route: four for a conversation.
	busyPackets = 8
	// idleRoutes go back to user space after that time without a packet.
	idleRoutes = 30 * time.Second
	// refusedRoutes are not tried again for that time.
	refusedRoutes = 2 * time.Second
	// mostDelegated bounds the conversations of the route path.
	mostDelegated = 1024
)

// delegation is what the engine knows of its route path. Under the engine's lock, but for
// path and spared, which do not change.
type delegation struct {
	path    RoutePath // nil: none
	spared  *spared
	carried map[conversation]*delegated
	changed map[conversation]bool          // to look at with the next delegate
	refused map[conversation]time.Duration // not to be tried before that time
	failure quiet
}

// delegated is what the route path carries between two addresses.
type delegated struct {
	routes routesBetween
	key    spareKey
	spares bool          // the key is in the filter
	used   time.Duration // when it was last seen that packets passed
}

// openDelegation starts the route path; on a kernel that cannot do it there is none.
func (e *Engine) openDelegation() error {
	path := e.config.Routes
	if path == nil {
		return nil
	}
	without := func(err error) error {
		if !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("optimised routes in the kernel: %w", err)
		}
		e.config.Log.Info("optimised routes are carried in user space", "engine", e.Name(), "reason", err)
		return nil
	}
	mark := RouteMark(e.config.Mark, e.config.MarkMask)
	if mark == 0 || mark == e.sorted() {
		return without(fmt.Errorf("mark %#x leaves too few bits of its mask %#x: %w", e.config.Mark, e.config.MarkMask, errors.ErrUnsupported))
	}
	s, err := openSpared(e.capture.fd, e.device.index)
	if err != nil {
		return without(err)
	}
	if err := path.Start(e.config.Log, e.config.Mark, mark); err != nil {
		s.close()
		return without(err)
	}
	e.delegation = delegation{
		path: path, spared: s, carried: make(map[conversation]*delegated), changed: make(map[conversation]bool),
		refused: make(map[conversation]time.Duration),
	}
	return nil
}

// RouteMark is what data along optimised routes has to be marked with that the kernel may
// take, 0 where it takes none: see the function RouteMark.
func (e *Engine) RouteMark() uint32 {
	if e.delegation.path == nil {
		return 0
	}
	return RouteMark(e.config.Mark, e.config.MarkMask)
}

// closeDelegation ends it.
func (e *Engine) closeDelegation() error {
	d := &e.delegation
	if d.path == nil {
		return nil
	}
	err := d.path.Close()
	d.spared.close()
	if err != nil {
		return fmt.Errorf("optimised routes in the kernel: %w", err)
	}
	return nil
}

// touch has a route looked at again with the next delegate, if the route path has another
// one between the same addresses, or this: what it has not is looked at when it is busy.
func (d *delegation) touch(p overlay.Pair) {
	if c := conversationOf(p); d.carried[c] != nil {
		d.changed[c] = true
	}
}

// touchMobiles has those on the mobile side looked at again: another tunnel may be below
// them.
func (d *delegation) touchMobiles() {
	for c, x := range d.carried {
		if x.routes[ofMobile].Home.IsValid() {
			d.changed[c] = true
		}
	}
}

// delegate tells the route path what has changed. Under the engine's lock.
func (e *Engine) delegate() {
	d := &e.delegation
	if len(d.changed) == 0 {
		return
	}
	now := e.now()
	var changes []RouteChange
	var moved []conversation
	for c := range d.changed {
		var have routesBetween
		x := d.carried[c]
		if x != nil {
			have = x.routes
		}
		want, err := e.fit(c, now)
		if err != nil {
			d.refused[c] = now + refusedRoutes
			e.config.Log.Debug("an optimised route is carried in user space", "engine", e.Name(), "local", c.local, "remote", c.remote, "reason", err)
		}
		if want == have {
			continue
		}
		moved = append(moved, c)
		changes = append(changes, have.to(want)...)
		// While neither side is told to leave packets to the other they come twice at worst.
		d.unspare(x)
		if want.none() {
			delete(d.carried, c)
		} else {
			d.carried[c] = &delegated{routes: want, key: want.key(c), used: now}
			e.config.Log.Debug("an optimised route is carried by the kernel", "engine", e.Name(), "local", c.local, "remote", c.remote)
		}
	}
	clear(d.changed)
	if len(changes) == 0 {
		return
	}
	d.path.Apply(changes, e.counted, e.failed)
	var back []RouteChange
	for _, c := range moved {
		if x := d.carried[c]; x != nil {
			if err := d.spared.add(x.key); err != nil {
				back = append(back, x.routes.to(routesBetween{})...)
				e.giveUp(c, err)
			} else {
				x.spares = true
			}
		}
		e.noteDelegated(c, d.carried[c] != nil)
	}
	if len(back) > 0 {
		d.path.Apply(back, e.counted, func(overlay.Pair, error) {})
	}
}

// noteDelegated tells the routes of a conversation whether the route path carries them.
func (e *Engine) noteDelegated(c conversation, yes bool) {
	for _, pair := range c.pairs() {
		if o := e.routes[pair]; o != nil {
			o.delegated.Store(yes)
		}
	}
}

// unspare has packets come to user space, too.
func (d *delegation) unspare(x *delegated) {
	if x != nil && x.spares {
		d.spared.remove(x.key)
		x.spares = false
	}
}

// failed notes that the route path does not carry a route.
func (e *Engine) failed(pair overlay.Pair, reason error) { e.giveUp(conversationOf(pair), reason) }

// giveUp notes that the route path does not carry a conversation.
func (e *Engine) giveUp(c conversation, reason error) {
	d, now := &e.delegation, e.now()
	e.noteDelegated(c, false)
	d.unspare(d.carried[c])
	delete(d.carried, c)
	d.refused[c] = now + refusedRoutes
	if d.failure.speak(now) {
		e.config.Log.Info("an optimised route is carried in user space", "engine", e.Name(), "local", c.local, "remote", c.remote, "reason", reason)
	}
}

// counted adds what the route path has carried to the counters of a route.
func (e *Engine) counted(pair overlay.Pair, n overlay.Counters) {
	if x := e.delegation.carried[conversationOf(pair)]; x != nil {
		x.used = e.now()
	}
	o := e.routes[pair]
	if o == nil {
		return
	}
	o.encapsulated.packets.Add(n.EncapPackets)
	o.encapsulated.bytes.Add(n.EncapBytes)
	o.decapsulated.packets.Add(n.DecapPackets)
	o.decapsulated.bytes.Add(n.DecapBytes)
}

// collect asks the route path what it has carried, and returns the routes with traffic.
// Under the engine's lock.
func (e *Engine) collect() (seen []*optimised) {
	d := &e.delegation
	if len(d.carried) == 0 || e.closed {
		return nil
	}
	err := d.path.Counters(func(pair overlay.Pair, n overlay.Counters) {
		e.counted(pair, n)
		if o := e.routes[pair]; o != nil {
			seen = append(seen, o)
		}
	}, e.failed)
	if now := e.now(); err != nil && d.failure.speak(now) {
		e.config.Log.Warn("optimised routes in the kernel cannot be looked after", "engine", e.Name(), "reason", err)
	}
	return seen
}

// sighted reports the traffic of routes. Not under the engine's lock.
func (e *Engine) sighted(routes []*optimised) {
	now := e.now()
	for _, o := range routes {
		e.reports.route(o, now)
	}
}

// routesRunLoop looks after the route path.
func (e *Engine) routesRunLoop() {
	timer := time.NewTimer(routeInterval)
	defer timer.Stop()
	var reviewed time.Duration
	for {
		select {
		case <-e.ended:
			return
		case <-timer.C:
		}
		now := e.now()
		e.mu.Lock()
		seen := e.collect()
		if !e.closed {
			if e.warm(now); now-reviewed >= routeReview {
				reviewed = now
				e.review(now)
			}
			e.delegate()
		}
		e.mu.Unlock()
		e.sighted(seen)
		timer.Reset(max(routeInterval, routeShare*(e.now()-now)))
	}
}

// warm has conversations looked at that had packets enough in user space since the last
// time.
func (e *Engine) warm(now time.Duration) {
	d := &e.delegation
	room := mostDelegated - len(d.carried)
	for pair, o := range e.routes {
		if o.delegated.Load() {
			continue
		}
		n := o.encapsulated.packets.Load() + o.decapsulated.packets.Load()
		busy := n-o.looked >= busyPackets
		o.looked = n
		if c := conversationOf(pair); busy && room > 0 && now >= d.refused[c] && !d.changed[c] {
			d.changed[c] = true
			room--
		}
	}
}

// review has everything looked at that the route path has.
func (e *Engine) review(now time.Duration) {
	d := &e.delegation
	for c := range d.carried {
		d.changed[c] = true
	}
	for c, until := range d.refused {
		if now >= until {
			delete(d.refused, c)
		}
	}
}
