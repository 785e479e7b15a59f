package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// Apply carries out the changes in order.
func (e *Engine) Apply(changes []overlay.Change) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	var failures []error
	var plan plan
	e.forgetDeparted(e.now())
	for _, c := range changes {
		switch {
		case c.Set != nil:
			if err := e.set(c.Set, &plan); err != nil {
				failures = append(failures, fmt.Errorf("tunnel of %v: %w", c.Set.Home, err))
			}
		case c.Optimise != nil:
			if err := e.optimise(c.Optimise, &plan); err != nil {
				failures = append(failures, fmt.Errorf("optimised route between %v and %v: %w", c.Optimise.Home, c.Optimise.Peer, err))
			}
		case c.Deoptimise != nil:
			e.deoptimise(*c.Deoptimise, &plan)
		default:
			e.remove(c.Remove, &plan)
		}
	}
	nudge := e.steer(&plan)
	failures = append(failures, plan.carryOut(e.netlink, &e.left)...)
	e.accelerate()
	e.delegate()
	if nudge {
		e.nudge()
	}
	return errors.Join(failures...)
}

// set installs a tunnel or swaps its paths. The table comes before the routes,
// so that no packet is routed to a tunnel that is not there.
func (e *Engine) set(s *overlay.Tunnel, plan *plan) error {
	inner, err := e.check(s)
	if err != nil {
		return err
	}
	paths := make([]*path, 0, len(s.Paths))
	for _, p := range s.Paths {
		q := newPath(p, e.firstMTU(p.Link))
		q.seal = s.Seal
		paths = append(paths, q)
	}
	t, known := e.tunnels[s.Key]
	if !known {
		t = &tunnel{key: s.Key, home: addressOf(s.Home), since: time.Now()}
		e.tunnels[s.Key] = t
	}
	t.watch.Store(s.Watch)
	t.protected.Store(s.Protected)
	t.sealed.Store(s.Seal.On())
	t.silence.heard() // another path may have more to say
	if s.Side == overlay.MobileSide {
		e.link(paths)
		e.delegation.touchMobiles()
	}
	e.unnoteSealed(t)
	t.paths.Store(t.paths.Load().swap(paths, e.now(), e.config.Grace))
	e.noteSealed(t)
	if s.Side == overlay.MobileSide {
		if !known {
			e.mobiles[s.Home] = t
			e.carry(t)
		}
		e.resize(t, plan)
	}
	trie := e.table.side(s.Side)
	for _, p := range inner {
		if !slices.Contains(t.inner, p) {
			trie.insert(p, t)
		}
		if !slices.Contains(t.installed, p) {
			if slices.Contains(t.inner, p) { // failed before, perhaps half way
				plan.uninstall(&e.kernel, t, p)
			}
			plan.install(&e.kernel, t, p)
		}
	}
	for _, p := range t.inner {
		if !slices.Contains(inner, p) {
			plan.uninstall(&e.kernel, t, p)
			trie.remove(p)
		}
	}
	t.inner = inner
	e.fast.touch(t.key)
	if s.Seal.On() {
		return e.CanSeal() // the tunnel stands all the same, and carries nothing
	}
	return nil
}

// remove removes a tunnel; none is none.
func (e *Engine) remove(k overlay.Key, plan *plan) {
	t, ok := e.tunnels[k]
	if !ok {
		return
	}
	for _, p := range t.inner {
		plan.uninstall(&e.kernel, t, p)
		e.table.side(k.Side).remove(p)
	}
	e.unnoteSealed(t)
	delete(e.tunnels, k)
	e.fast.touch(k)
	if k.Side == overlay.MobileSide {
		e.delegation.touchMobiles()
		t.gone.Store(true)
		delete(e.mobiles, k.Home)
		e.table.returned.add(t, e.now(), e.config.Grace)
	}
}

// check returns the inner prefixes of a tunnel that can be installed.
func (e *Engine) check(s *overlay.Tunnel) ([]netip.Prefix, error) {
	if s.Side != overlay.MobileSide && s.Side != overlay.AgentSide {
		return nil, fmt.Errorf("%w: it is on neither side", ErrInvalid)
	}
	if !global(s.Home) {
		return nil, fmt.Errorf("%w: home address %v is not a global IPv6 address", ErrInvalid, s.Home)
	}
	if len(s.Inner) == 0 {
		return nil, fmt.Errorf("%w: no inner prefix", ErrInvalid)
	}
	if len(s.Paths) == 0 {
		return nil, fmt.Errorf("%w: no path", ErrInvalid)
	}
	inner := make([]netip.Prefix, 0, len(s.Inner))
	for _, p := range s.Inner {
		p = p.Masked()
		if !p.IsValid() || p.Bits() == 0 || !global(p.Addr()) {
			return nil, fmt.Errorf("%w: inner prefix %v is not a global IPv6 prefix", ErrInvalid, p)
		}
		if u := e.table.side(s.Side).get(p); u != nil && u.key != s.Key {
			return nil, fmt.Errorf("%w: %v of %v", ErrPrefixTaken, p, u.key.Home)
		}
		if !slices.Contains(inner, p) {
			inner = append(inner, p)
		}
	}
	for _, p := range s.Paths {
		if p.RemotePort != 0 || p.Remote.Is4In6() || p.Remote.Is4() {
			return nil, fmt.Errorf("%w: to %v", ErrPathUnsupported, p.Remote)
		}
		if !global(p.Local) || !global(p.Remote) || p.Local == p.Remote || p.Link < 0 {
			return nil, fmt.Errorf("%w: path from %v to %v", ErrInvalid, p.Local, p.Remote)
		}
		for _, q := range inner {
			// What leads into the tunnel: its destination for an agent, its source for a
			// mobile.
			end := p.Remote
			if s.Side == overlay.MobileSide {
				end = p.Local
			}
			if q.Contains(end) {
				return nil, fmt.Errorf("%w: %v is in %v", ErrLoop, end, q)
			}
		}
	}
	if err := e.checkSealed(s); err != nil {
		return nil, err
	}
	return inner, e.checkStack(s)
}

// global reports whether an address can be an end of a tunnel or within.
func global(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && !addressOf(a).linkScope() && !a.IsMulticast()
}

// plan collects the kernel's part of an Apply, so that it goes there in as few
// calls as possible.
type plan struct {
	requests []rtbatch.Request
	steps    []step // for each request
	leads    bool   // there is a new route on the correspondent side
}

// step is what a request is part of.
type step struct {
	tunnel *tunnel    // nil: an optimised route
	home   netip.Addr // of that; invalid: the rule of all
	prefix netip.Prefix
	adds   bool
	done   *bool // to be undone, so that it is tried again
}

func (p *plan) install(k *kernel, t *tunnel, prefix netip.Prefix) {
	t.installed = append(t.installed, prefix)
	p.add(k.install(t.key.Side, prefix), step{tunnel: t, home: t.key.Home, prefix: prefix, adds: true})
}

func (p *plan) uninstall(k *kernel, t *tunnel, prefix netip.Prefix) {
	t.installed = slices.DeleteFunc(t.installed, func(q netip.Prefix) bool { return q == prefix })
	p.add(k.uninstall(t.key.Side, prefix), step{tunnel: t, home: t.key.Home, prefix: prefix})
}

func (p *plan) add(requests []rtbatch.Request, s step) {
	for _, r := range requests {
		p.requests, p.steps = append(p.requests, r), append(p.steps, s)
	}
}

func (p *plan) carryOut(n *rtbatch.Conn, left *leftovers) (failures []error) {
	requests, steps := p.requests, p.steps
	if len(left.items) > 0 {
		requests, steps = nil, nil
		for i, r := range p.requests {
			if !left.claim(r) {
				requests, steps = append(requests, r), append(steps, p.steps[i])
			}
		}
	}
	n.Commit(requests, func(i int, err error) {
		s := steps[i]
		if !s.adds && nlsock.Gone(err) {
			return
		}
		if s.adds && errors.Is(err, unix.EEXIST) {
			err = fmt.Errorf("%w: somebody else's is in the way", err)
		}
		s.failed()
		failures = append(failures, fmt.Errorf("%v: %w", s, err))
	})
	return failures
}

// failed notes that what the step adds is to be tried again with the next Set or
// Optimise.
func (s step) failed() {
	switch {
	case !s.adds:
	case s.tunnel != nil:
		s.tunnel.installed = slices.DeleteFunc(s.tunnel.installed, func(q netip.Prefix) bool { return q == s.prefix })
	default:
		*s.done = false
	}
}

func (s step) String() string {
	verb := "remove"
	if s.adds {
		verb = "install"
	}
	switch {
	case s.tunnel != nil:
		return fmt.Sprintf("tunnel of %v: %s route or rule of %v", s.home, verb, s.prefix)
	case s.home.IsValid():
		return fmt.Sprintf("optimised routes of %v: %s route to %v", s.home, verb, s.prefix)
	default:
		return "optimised routes: " + verb + " rule"
	}
}
