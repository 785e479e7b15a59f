// Package tun is the data plane engine in user space: a TUN device, raw sockets
// and two goroutines that carry packets between them, IPv6 in IPv6 (RFC 2473).
// It runs wherever there is a TUN device.
//
// The kernel routes inner packets into the device (kernel.go). From there
// sendRunLoop reads them, aggregates of TCP among them, finds their tunnel
// (table.go), puts a tunnel header before each (encapsulate.go) and sends them
// in batches (send.go). receiveRunLoop reads tunnel packets from a raw socket,
// checks where they come from, and writes the inner packets to the device,
// joined into aggregates again (decapsulate.go, coalesce.go). errorRunLoop hears
// ICMPv6 errors about tunnel packets (icmp.go).
//
// What decides about packets is free of I/O and does not allocate. A tunnel is
// found through tries whose nodes do not change and its paths through one
// pointer: a packet sees the paths before a swap or those behind it.
package tun

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// Defaults of Config.
const (
	DefaultDevice = "roam6"
	// RouteProtocol tags routes and policy rules of the engine (RTPROT). It is not
	// the one of the node's other routes, so that each part removes only its own.
	RouteProtocol = 137
	// DefaultRulePriority is before those of OpenWrt's interfaces (10000) and
	// multi-WAN (1000).
	DefaultRulePriority = 627
	// DefaultTable is the routing table whose default route is the device.
	DefaultTable = 6275
	// DefaultRouteMetric is lower than that of connected (256) and advertised
	// (1024) routes.
	DefaultRouteMetric = 64
	// DefaultPathMTU is assumed until a link or a router on the way says less.
	DefaultPathMTU = 1500
	// DefaultGrace is how long packets from a former care-of address are accepted.
	DefaultGrace = 2 * time.Second
)

// Config configures the engine. The zero value of each field means its default.
type Config struct {
	Device        string       // name of the TUN device
	Log           *slog.Logger // nil: silent
	RouteProtocol int          // 5–255; one engine at a time may use it in a namespace
	RulePriority  int          // of the first of two priorities in a row
	Table         int          // routing table
	RouteMetric   int          // of routes to inner prefixes on the agent's side
	PathMTU       int          // octets, at least 1280
	Grace         time.Duration
	// Batch is how many packets are received at a time, which bounds the memory
	// for them: 64 KB each, if there is so much to receive.
	Batch int
	// SocketBuffer is the size of the queues of the sockets in octets.
	SocketBuffer int
}

func (c *Config) complete() error {
	c.Device = cmp.Or(c.Device, DefaultDevice)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.RouteProtocol = cmp.Or(c.RouteProtocol, RouteProtocol)
	c.RulePriority = cmp.Or(c.RulePriority, DefaultRulePriority)
	c.Table = cmp.Or(c.Table, DefaultTable)
	c.RouteMetric = cmp.Or(c.RouteMetric, DefaultRouteMetric)
	c.PathMTU = cmp.Or(c.PathMTU, DefaultPathMTU)
	c.Grace = cmp.Or(c.Grace, DefaultGrace)
	c.Batch = cmp.Or(c.Batch, 64)
	c.SocketBuffer = cmp.Or(c.SocketBuffer, 4<<20)
	for _, check := range []struct {
		name           string
		v, least, most int
	}{
		{"route protocol", c.RouteProtocol, unix.RTPROT_STATIC + 1, 255},
		{"rule priority", c.RulePriority, 1, 32764},
		{"table", c.Table, 1, 1<<31 - 1},
		{"route metric", c.RouteMetric, 1, 1<<31 - 1},
		{"path MTU", c.PathMTU, minimumMTU, 65535},
		{"batch", c.Batch, 1, 1024},
		{"socket buffer", c.SocketBuffer, 1, 1 << 30},
	} {
		if check.v < check.least || check.v > check.most {
			return fmt.Errorf("tun data plane: %s %d is not between %d and %d", check.name, check.v, check.least, check.most)
		}
	}
	switch c.Table {
	case unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL, unix.RT_TABLE_DEFAULT:
		return fmt.Errorf("tun data plane: table %d is the system's: choose another", c.Table)
	}
	return nil
}

// Engine is the data plane. It implements overlay.Plane.
type Engine struct {
	config  Config
	kernel  kernel
	netlink *netlink
	device  *device
	sender  *sender
	receive *receiver
	icmp    *os.File
	errors  *bucket
	start   time.Time
	loops   sync.WaitGroup
	table   table

	mu      sync.Mutex // held by one who changes tunnels
	tunnels map[overlay.Key]*tunnel
	closed  bool
}

var _ overlay.Plane = (*Engine)(nil)

// Open makes the device, removes what a predecessor that crashed left in the
// kernel, and starts. Everything is made in the network namespace of the calling
// thread and stays there. Errors wrap ErrNoTUN, ErrPrivilege, ErrDeviceBusy or
// ErrNoIPv6 where one of them is the reason.
func Open(c Config) (_ *Engine, err error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	e := &Engine{config: c, tunnels: make(map[overlay.Key]*tunnel), start: time.Now(), errors: newBucket(200, 100)}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	if e.netlink, err = openNetlink(); err != nil {
		return nil, err
	}
	if e.sender, err = openSender(sendBatch, c.SocketBuffer, &e.table.drops, e.firstHopTooSmall); err != nil {
		return nil, err
	}
	if e.receive, err = openReceiver(c.Batch, c.SocketBuffer); err != nil {
		return nil, err
	}
	if e.icmp, err = openICMP(); err != nil {
		return nil, err
	}
	// The device comes first of what others can see: it tells whether another
	// instance is alive, whose state must not be taken for a predecessor's.
	if e.device, err = openDevice(c.Device, e.socket()); err != nil {
		return nil, err
	}
	e.kernel = kernel{config: c, index: e.device.index}
	if err := enableIPv6(e.device.name); err != nil {
		return nil, err
	}
	if err := e.reconcile(); err != nil {
		return nil, err
	}
	if err := e.commit("set up the device", e.kernel.linkUp(c.PathMTU-headerLength)); err != nil {
		return nil, err
	}
	var routes []request
	for _, r := range e.kernel.tunnelTable() {
		routes = append(routes, e.kernel.addRoute(r))
	}
	if err := e.commit("install the tunnel's table", routes); err != nil {
		return nil, err
	}
	e.loops.Go(e.sendRunLoop)
	e.loops.Go(e.receiveRunLoop)
	e.loops.Go(e.errorRunLoop)
	c.Log.Info("data plane is up", "engine", e.Name(), "device", e.device.name, "index", e.device.index)
	return e, nil
}

// socket is a file descriptor of a socket, for requests about interfaces.
func (e *Engine) socket() (fd int) {
	_ = e.sender.raw.Control(func(f uintptr) { fd = int(f) })
	return fd
}

// commit carries out requests that must all succeed.
func (e *Engine) commit(what string, requests []request) error {
	var failures []error
	e.netlink.commit(requests, func(_ int, err error) {
		failures = append(failures, openError("tun device "+e.device.name+": "+what, err))
	})
	return errors.Join(failures...)
}

// reconcile removes what a predecessor left.
func (e *Engine) reconcile() error {
	stale, err := e.kernel.ours(e.netlink)
	if err != nil {
		return fmt.Errorf("tun data plane: reconcile: %w", err)
	}
	if len(stale) == 0 {
		return nil
	}
	e.netlink.commit(stale, func(_ int, err error) {
		if !gone(err) {
			e.config.Log.Warn("stale kernel state not removed", "engine", e.Name(), "reason", err)
		}
	})
	e.config.Log.Info("stale kernel state of a predecessor removed", "engine", e.Name(), "items", len(stale))
	return nil
}

// gone reports whether a removal failed because there is nothing to remove.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}

// Name is "tun".
func (e *Engine) Name() string { return "tun" }

// Link returns the interface index of the TUN device. Home addresses are
// assigned there while away.
func (e *Engine) Link() int { return e.device.index }

// now is the engine's clock: monotonic.
func (e *Engine) now() time.Duration { return time.Since(e.start) }

// Drops returns the packets dropped so far, by reason.
func (e *Engine) Drops() map[overlay.DropReason]uint64 { return e.table.drops.snapshot() }

// Tunnels returns a snapshot, in the order of home addresses.
func (e *Engine) Tunnels() []overlay.Status {
	e.mu.Lock()
	all := make([]overlay.Status, 0, len(e.tunnels))
	now := e.now()
	for _, t := range e.tunnels {
		s := overlay.Status{
			Tunnel: overlay.Tunnel{Key: t.key, Inner: slices.Clone(t.inner)},
			Since:  t.since,
			Counters: overlay.Counters{
				EncapPackets: t.encapsulated.packets.Load(), EncapBytes: t.encapsulated.bytes.Load(),
				DecapPackets: t.decapsulated.packets.Load(), DecapBytes: t.decapsulated.bytes.Load(),
			},
		}
		paths := t.paths.Load()
		for _, p := range paths.paths {
			s.Paths = append(s.Paths, p.Path)
		}
		// Smaller packets than the minimum MTU go in fragments.
		s.MTU = max(paths.preferred().mtu(now)-headerLength, minimumMTU)
		all = append(all, s)
	}
	e.mu.Unlock()
	slices.SortFunc(all, func(a, b overlay.Status) int {
		return cmp.Or(a.Home.Compare(b.Home), cmp.Compare(a.Side, b.Side))
	})
	return all
}

// Apply carries out the changes in order.
func (e *Engine) Apply(changes []overlay.Change) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	var failures []error
	var plan plan
	for _, c := range changes {
		if c.Set == nil {
			e.remove(c.Remove, &plan)
		} else if err := e.set(c.Set, &plan); err != nil {
			failures = append(failures, fmt.Errorf("tunnel of %v: %w", c.Set.Home, err))
		}
	}
	failures = append(failures, plan.carryOut(e.netlink)...)
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
		mtu := e.config.PathMTU
		if p.Link != 0 {
			if m, err := linkMTU(e.socket(), p.Link); err == nil {
				mtu = min(mtu, m)
			}
		}
		paths = append(paths, newPath(p, mtu))
	}
	t, ok := e.tunnels[s.Key]
	if !ok {
		t = &tunnel{key: s.Key, since: time.Now()}
		e.tunnels[s.Key] = t
	}
	t.paths.Store(t.paths.Load().swap(paths, e.now(), e.config.Grace))
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
	delete(e.tunnels, k)
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
	return inner, nil
}

// global reports whether an address can be an end of a tunnel or within.
func global(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && !addressOf(a).linkScope() && !a.IsMulticast()
}

// firstHopTooSmall learns the MTU of the link that a path begins with, where
// the path does not say which one it is.
func (e *Engine) firstHopTooSmall(p *path) {
	index := p.Link
	if index == 0 {
		var err error
		if index, err = firstHop(e.netlink, p.Local, p.Remote); err != nil {
			return
		}
	}
	if mtu, err := linkMTU(e.socket(), index); err == nil {
		p.tooBig(mtu, e.now())
	}
}

// Close removes everything the engine put in the kernel. It may be called again.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	var plan plan
	for k := range e.tunnels {
		e.remove(k, &plan)
	}
	failures := plan.carryOut(e.netlink)
	var routes []request
	for _, r := range e.kernel.tunnelTable() {
		routes = append(routes, e.kernel.removeRoute(r))
	}
	e.netlink.commit(routes, func(_ int, err error) {
		if !gone(err) {
			failures = append(failures, fmt.Errorf("tun data plane: remove the tunnel's table: %w", err))
		}
	})
	e.release()
	return errors.Join(failures...)
}

// release closes what is open and waits for the loops.
func (e *Engine) release() {
	if e.device != nil {
		e.device.file.Close()
	}
	if e.sender != nil {
		e.sender.file.Close()
	}
	if e.receive != nil {
		e.receive.file.Close()
	}
	if e.icmp != nil {
		e.icmp.Close()
	}
	e.loops.Wait()
	if e.netlink != nil {
		e.netlink.close()
	}
}

// plan collects the kernel's part of an Apply, so that it goes there in as few
// calls as possible.
type plan struct {
	requests []request
	steps    []step // for each request
}

type step struct {
	tunnel *tunnel
	prefix netip.Prefix
	adds   bool
}

func (p *plan) install(k *kernel, t *tunnel, prefix netip.Prefix) {
	t.installed = append(t.installed, prefix)
	p.add(k.install(t.key.Side, prefix), step{t, prefix, true})
}

func (p *plan) uninstall(k *kernel, t *tunnel, prefix netip.Prefix) {
	t.installed = slices.DeleteFunc(t.installed, func(q netip.Prefix) bool { return q == prefix })
	p.add(k.uninstall(t.key.Side, prefix), step{t, prefix, false})
}

func (p *plan) add(requests []request, s step) {
	for _, r := range requests {
		p.requests, p.steps = append(p.requests, r), append(p.steps, s)
	}
}

func (p *plan) carryOut(n *netlink) (failures []error) {
	n.commit(p.requests, func(i int, err error) {
		s := p.steps[i]
		verb := "remove"
		if s.adds {
			verb = "install"
			if errors.Is(err, unix.EEXIST) {
				err = fmt.Errorf("%w: somebody else's is in the way", err)
			}
			// To be tried again with the next Set.
			s.tunnel.installed = slices.DeleteFunc(s.tunnel.installed, func(q netip.Prefix) bool { return q == s.prefix })
		} else if gone(err) {
			return
		}
		failures = append(failures, fmt.Errorf("tunnel of %v: %s route or rule of %v: %w", s.tunnel.key.Home, verb, s.prefix, err))
	})
	return failures
}
