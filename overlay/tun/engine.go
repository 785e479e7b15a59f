// Package tun is the data plane engine in user space: a TUN device, raw sockets
// and goroutines that carry packets between them, IPv6 in IPv6 (RFC 2473) or with
// the headers of route optimisation (RFC 6275 §9.3, §11.3). It runs wherever there
// is a TUN device, on a kernel without Mobile IPv6.
//
// The kernel routes packets into the device (kernel.go). From there sendRunLoop
// reads them, aggregates of TCP among them, finds their course (course.go,
// table.go), puts a tunnel header before each (encapsulate.go) or the headers of
// an optimised route into it (insert.go, direct.go), in an anchor's domain one more
// tunnel header (stack.go), and sends them in batches
// (send.go). receiveRunLoop reads tunnel packets from a raw socket, checks where
// they come from, and writes the inner packets to the device, joined into
// aggregates again (decapsulate.go, coalesce.go). captureRunLoop does the same
// with packets of optimised routes from a packet socket (capture.go, arrive.go,
// strip.go): the kernel sees nothing but home addresses. errorRunLoop hears
// ICMPv6 errors about what was sent (icmp.go, quoted.go).
//
// What decides about packets is free of I/O and does not allocate. A tunnel is
// found through tries whose nodes do not change and its paths through one
// pointer: a packet sees the paths before a swap or those behind it.
package tun

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/nlsock"
	"roam6/internal/order"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// Engine is the data plane. It implements overlay.Plane.
type Engine struct {
	config  Config
	kernel  kernel
	netlink *rtbatch.Conn
	device  *device
	sender  *sender
	receive *receiver     // of tunnel packets
	capture *receiver     // of packets of optimised routes
	lookups *rtbatch.Conn // of the sending goroutine
	icmp    int           // socket, -1 if there is none
	stop    int           // eventfd that ends the loops
	errors  *bucket
	absent  absences // of the loop that hears errors
	start   time.Time
	loops   sync.WaitGroup
	table   table
	reports *reporter
	marks   bool // the engine's packets carry a mark

	ended      chan struct{}
	mu         sync.Mutex // held by one who changes tunnels or routes
	tunnels    map[overlay.Key]*tunnel
	sealed     map[sealedEnds]*tunnel // those that are sealed, by each path
	mobiles    map[netip.Addr]*tunnel // those of them of mobiles, by home address
	routes     map[overlay.Pair]*optimised
	leads      map[led]*lead
	bound      int         // leads of the correspondent side
	steered    bool        // the rule for them is there
	departed   []departure // in the order of time
	nudging    nudging
	fast       acceleration
	delegation delegation
	left       leftovers
	nft        *nft.Socket // nil: none
	closed     bool

	sealing sync.Mutex    // held by one who makes the sealer ready
	sealer  *sealedSender // the sender's, when that is ready

	reminding atomic.Bool // a nudge is about to be due
}

var _ overlay.Plane = (*Engine)(nil)

// Open makes the device, or adopts that of a predecessor that crashed with what else
// that left in the kernel, and starts. Everything is made in the network namespace of the calling
// thread and stays there. Errors wrap ErrNoTUN, ErrPrivilege, ErrDeviceBusy or
// ErrNoIPv6 where one of them is the reason.
func Open(c Config) (_ *Engine, err error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	e := &Engine{
		config: c, start: time.Now(), errors: newBucket(200, 100), reports: newReporter(c), icmp: -1, stop: -1, absent: make(absences),
		tunnels: make(map[overlay.Key]*tunnel), sealed: make(map[sealedEnds]*tunnel), mobiles: make(map[netip.Addr]*tunnel), routes: make(map[overlay.Pair]*optimised), leads: make(map[led]*lead),
		ended: make(chan struct{}), fast: newAcceleration(c.Fast),
	}
	e.table.local, e.table.espOurs, e.table.relayed = c.Local, c.Signalling, c.Relayed
	defer func() {
		if err != nil {
			_ = e.closeDelegation()
			e.release()
		}
	}()
	if e.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("tun data plane: eventfd: %w", err)
	}
	for _, n := range []**rtbatch.Conn{&e.netlink, &e.lookups} {
		if *n, err = rtbatch.Open(); err != nil {
			return nil, openError("tun data plane", err)
		}
	}
	if e.sender, err = openSender(sendBatch, c.SocketBuffer, &e.table.drops, e.firstHopTooSmall); err != nil {
		return nil, err
	}
	if e.sealer, err = openSealedSender(c); err != nil {
		return nil, err
	}
	if err := e.openReceive(); err != nil {
		return nil, err
	}
	if e.icmp, err = openICMP(); err != nil {
		return nil, err
	}
	e.mark()
	// The device comes first of what others can see: it tells whether another
	// instance is alive, whose state must not be taken for a predecessor's.
	if e.device, err = openDevice(c.Device, e.socket()); err != nil {
		return nil, err
	}
	if e.capture, err = openCapture(c.Batch, c.SocketBuffer, e.device.index); err != nil {
		return nil, err
	}
	if err := e.openDelegation(); err != nil {
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
	var routes []rtbatch.Request
	for _, r := range e.kernel.tunnelTable() {
		routes = append(routes, e.kernel.addRoute(r))
	}
	routes = e.left.adopt(routes)
	if err := e.commit("install the tunnel's table", routes); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // what is not a predecessor's
			for i := range routes {
				routes[i].Kind, routes[i].Flags = unix.RTM_DELROUTE, 0
			}
			e.netlink.Commit(routes, func(int, error) {})
		}
	}()
	if err := e.hush(); err != nil {
		c.Log.Debug("the kernel may answer tunnel packets that are taken here", "engine", e.Name(), "reason", err)
	}
	if err := e.startFast(); err != nil {
		return nil, err
	}
	if err := e.device.persist(true); err != nil {
		return nil, err
	}
	e.sweepLater()
	e.loops.Go(e.sendRunLoop)
	e.loops.Go(e.receiveRunLoop)
	e.loops.Go(e.captureRunLoop)
	e.loops.Go(e.errorRunLoop)
	if e.fast.path != nil {
		e.loops.Go(e.fastRunLoop)
	}
	if e.delegation.path != nil {
		e.loops.Go(e.routesRunLoop)
	}
	c.Log.Info("data plane is up", "engine", e.Name(), "device", e.device.name, "index", e.device.index)
	return e, nil
}

// mark puts the mark on what the engine sends. Without it packets to a bound home
// address would come back to the engine, so that they are left to the home agent.
func (e *Engine) mark() {
	for _, fd := range []int{e.sender.fd, e.sealer.fd, e.icmp} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(e.config.Mark)); err != nil {
			e.config.Log.Warn("packets cannot be marked (CAP_NET_ADMIN): those to mobile nodes that are bound here go by their home agents",
				"engine", e.Name(), "reason", err)
			return
		}
	}
	e.marks = true
}

// wayOut is the interface that the engine's packets between two addresses leave
// by; ok is false if there is none but the device.
func (e *Engine) wayOut(from, to address) (link int, ok bool) {
	link, err := firstHop(e.lookups, from.netip(), to.netip(), e.config.Mark)
	return link, err == nil && link != e.device.index
}

// socket is a socket for requests about interfaces.
func (e *Engine) socket() int { return e.sender.fd }

// commit carries out requests that must all succeed.
func (e *Engine) commit(what string, requests []rtbatch.Request) error {
	var failures []error
	e.netlink.Commit(requests, func(_ int, err error) {
		failures = append(failures, openError("tun device "+e.device.name+": "+what, err))
	})
	return errors.Join(failures...)
}

// Name is "tun", or that of the fast path.
func (e *Engine) Name() string {
	if e.fast.path != nil {
		return e.fast.path.Name()
	}
	return "tun"
}

// Link returns the interface index of the TUN device. Home addresses are
// assigned there while away.
func (e *Engine) Link() int { return e.device.index }

// now is the engine's clock: monotonic.
func (e *Engine) now() time.Duration { return time.Since(e.start) }

// Drops returns the packets dropped so far, by reason.
func (e *Engine) Drops() map[overlay.DropReason]uint64 {
	all := e.table.drops.snapshot()
	if e.fast.path != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.closed {
			for r, n := range e.fast.path.Drops() {
				all[r] += n
			}
		}
	}
	return all
}

// Tunnels returns a snapshot, in the order of home addresses.
func (e *Engine) Tunnels() []overlay.Status {
	e.mu.Lock()
	all := make([]overlay.Status, 0, len(e.tunnels))
	now := e.now()
	var fast map[overlay.Key]overlay.Counters
	if len(e.fast.carried) > 0 {
		fast = e.fast.path.Counters()
	}
	for _, t := range e.tunnels {
		paths := t.paths.Load()
		s := overlay.Status{
			Tunnel: overlay.Tunnel{Key: t.key, Inner: slices.Clone(t.inner), Watch: t.watch.Load(), Protected: t.protected.Load(), Seal: paths.preferred().seal},
			Since:  t.since,
			Counters: overlay.Counters{
				EncapPackets: t.encapsulated.packets.Load(), EncapBytes: t.encapsulated.bytes.Load(),
				DecapPackets: t.decapsulated.packets.Load(), DecapBytes: t.decapsulated.bytes.Load(),
			},
		}
		if t.fast.Load() {
			s.Counters = s.Counters.Plus(fast[t.key])
		}
		for _, p := range paths.paths {
			s.Paths = append(s.Paths, p.Path)
		}
		// Smaller packets than the minimum MTU go in fragments.
		s.MTU = max(paths.preferred().mtu(now)-headerLength, minimumMTU)
		all = append(all, s)
	}
	e.mu.Unlock()
	order.Sort(all, func(a, b overlay.Status) int {
		return cmp.Or(a.Home.Compare(b.Home), cmp.Compare(a.Side, b.Side))
	})
	return all
}

// firstHopTooSmall learns the MTU of the link that a path begins with, where
// the path does not say which one it is.
func (e *Engine) firstHopTooSmall(p *path) {
	index := p.Link
	if index == 0 {
		var err error
		if index, err = firstHop(e.lookups, p.Local, p.Remote, e.config.Mark); err != nil {
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
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	close(e.ended)
	e.left.stop()
	e.nudging.stop()
	var plan plan
	var closing []error
	if err := e.closeDelegation(); err != nil {
		closing = append(closing, err)
	}
	for k := range e.tunnels {
		e.remove(k, &plan)
	}
	for pair := range e.routes {
		e.deoptimise(pair, &plan)
	}
	e.steer(&plan)
	failures := append(closing, plan.carryOut(e.netlink, &e.left)...)
	if err := e.closeFast(); err != nil {
		failures = append(failures, err)
	}
	if err := e.sweep(); err != nil {
		failures = append(failures, err)
	}
	if err := e.unhush(); err != nil {
		failures = append(failures, err)
	}
	if err := e.device.persist(false); err != nil {
		failures = append(failures, err)
	}
	var routes []rtbatch.Request
	for _, r := range e.kernel.tunnelTable() {
		routes = append(routes, e.kernel.removeRoute(r))
	}
	e.netlink.Commit(routes, func(_ int, err error) {
		if !nlsock.Gone(err) {
			failures = append(failures, fmt.Errorf("tun data plane: remove the tunnel's table: %w", err))
		}
	})
	e.mu.Unlock() // the loops may want it once more
	e.release()
	return errors.Join(failures...)
}

// release ends the loops and closes what is open.
func (e *Engine) release() {
	if e.stop >= 0 {
		_, _ = unix.Write(e.stop, []byte{1, 1, 1, 1, 1, 1, 1, 1}) // any number but zero
	}
	e.loops.Wait()
	open := []int{e.stop, e.icmp}
	if e.device != nil {
		open = append(open, e.device.fd)
	}
	if e.sender != nil {
		open = append(open, e.sender.fd)
	}
	if e.sealer != nil {
		open = append(open, e.sealer.fd)
	}
	for _, r := range []*receiver{e.receive, e.capture} {
		if r != nil {
			r.close() // the loops have ended
		}
	}
	if e.nft != nil {
		e.nft.Close()
	}
	for _, fd := range open {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	for _, n := range []*rtbatch.Conn{e.netlink, e.lookups} {
		if n != nil {
			n.Close()
		}
	}
}
