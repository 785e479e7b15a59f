package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// leastMTU is the IPv6 minimum. A tunnel whose path does not take a packet of so many
// octets whole sends it in fragments, which the kernel's tunnels cannot.
const (
	leastMTU = 1280
	mostName = unix.IFNAMSIZ - 1
)

var errFragments = errors.New("the path is so small that the tunnel needs fragments")

// path is the fast path.
type path struct {
	under tun.Underlay
	left  uint32 // mark of what leads to the TUN device
	at    deviceHooks
	// without is for tests: there are to be no hooks at devices, as on OpenWrt.
	without bool
	nft     *nft.Socket
	route   *rtbatch.Conn

	mu       sync.Mutex
	external link
	mtu      int  // of the TUN device
	noIPv6   bool // new interfaces have no IPv6
	shape    shape
	shaped   bool
	tunnels  map[overlay.Key]*tunnel
	owners   map[owned]*tunnel
	lengths  map[length]int
	nests    nests
	pairs    map[overlay.Pair]bool
	leads    bool                    // the way of marked packets is there
	mobiles  map[overlay.Key]*tunnel // those of tunnels that are of mobiles, and carried
	watched  int
	remotes  remotes // of agents' tunnels
	follower *follower

	foreign   map[string]bool // ends of others' tunnels, as in the set
	inherited inheritance
	drops     map[overlay.DropReason]uint64 // of devices that are gone
	guard     *guard
	closed    bool
}

var _ tun.FastPath = (*path)(nil)

// tunnel is one that is carried here, or has counted what was.
type tunnel struct {
	*tun.FastTunnel
	device link             // on the mobile side
	base   overlay.Counters // of elements that are gone
	lost   bool             // no longer carried
	astray bool             // the kernel would route its packets by another link, or into its own device: the engine sends them
	leads  bool             // is among the remotes
	seen   deviceDrops      // of the device, so far
}

// owned is an inner prefix of one side.
type owned struct {
	side   overlay.Side
	prefix netip.Prefix
}

// Name is "kernel".
func (p *path) Name() string { return Name }

// Traits are that packets for the engine get another next header, and that agents'
// tunnels carry other tunnels' packets.
func (p *path) Traits() tun.Traits { return tun.Traits{NextHeader: handedOver, Nests: true} }

// Received needs nothing: what the engine has to take here is what the sets say.
func (p *path) Received(int) {}

// Start makes what does not depend on tunnels, and finds what a predecessor left.
func (p *path) Start(u tun.Underlay) (err error) {
	p.under = u
	free := u.MarkMask &^ u.Mark &^ u.Sorted
	p.left = free & -free
	p.tunnels, p.owners, p.lengths, p.pairs = make(map[overlay.Key]*tunnel), make(map[owned]*tunnel), make(map[length]int), make(map[overlay.Pair]bool)
	p.nests = newNests()
	p.drops, p.mobiles = make(map[overlay.DropReason]uint64), make(map[overlay.Key]*tunnel)
	if u.Sorted == 0 || p.left == 0 {
		return ErrNoMark
	}
	p.external = link{name: u.Device + "-k", external: true}
	if len(p.external.name)+3 > mostName {
		return fmt.Errorf("name of the TUN device %q is too long: %d octets and less leave room for those of tunnel devices", u.Device, mostName-5)
	}
	defer func() {
		if err != nil {
			p.mu.Lock()
			_ = p.remove()
			p.release()
			p.mu.Unlock()
		}
	}()
	if p.route, err = rtbatch.Open(); err != nil {
		return err
	}
	if p.nft, err = nft.Open(); err != nil {
		return explain("nftables", err, ErrNoSets)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noIPv6 = ipv6Disabled()
	if err := p.inherit(); err != nil {
		return err
	}
	if p.at, err = p.findHooks(); err != nil {
		return err
	}
	if err := p.reshape(p.wantedShape()); err != nil {
		// Perhaps the table of another version.
		if err = p.nft.Commit(func(b *nft.Batch) { b.EmptyTable(tableName) }); err == nil {
			p.inherited.shape, p.inherited.elements = shape{}, nil
			err = p.reshape(p.wantedShape())
		}
		if err != nil {
			return explain("nftables table "+tableName, err, ErrNoSets)
		}
	}
	if err := p.hookAll(); err != nil {
		return err
	}
	if err := p.openExternal(); err != nil {
		return err
	}
	if err := p.lead(p.wantedShape()); err != nil {
		return err
	}
	if err := p.inheritForeign(); err != nil {
		return fmt.Errorf("list nftables set %s: %w", setForeign, err)
	}
	if err := p.lookForeign(); err != nil {
		return err
	}
	p.guard = p.watch()
	p.follower = p.follow()
	return nil
}

// openExternal makes the external device or adopts it.
func (p *path) openExternal() error {
	err := p.route.Get(unix.RTM_GETLINK, linkHeader(p.under.Index, 0, 0), func(m []byte) {
		if len(m) >= unix.SizeofIfInfomsg {
			mtu, _ := rtbatch.Uint32Attribute(m[unix.SizeofIfInfomsg:], unix.IFLA_MTU)
			p.mtu = int(mtu)
		}
	})
	if err != nil {
		return fmt.Errorf("MTU of %s: %w", p.under.Device, err)
	}
	p.external.mtu = p.mtu
	if p.noIPv6 {
		return fmt.Errorf("%s: %w: net.ipv6.conf.default.disable_ipv6 is set", p.external.name, tun.ErrNoIPv6)
	}
	if p.external.index == 0 {
		err := p.create(&p.external)
		switch {
		case errors.Is(err, unix.EEXIST):
			return fmt.Errorf("%s: %w (%w)", p.external.name, ErrExternalTaken, err)
		case err != nil:
			return explain(p.external.name, err, ErrNoTunnels)
		}
		return nil
	}
	return p.commitAll("adopt "+p.external.name, append(p.external.up(p.alias()), p.external.resize(p.mtu)))
}

// create makes a device and sets it up.
func (p *path) create(l *link) error {
	if err := p.commitAll("create "+l.name, []rtbatch.Request{l.create()}); err != nil {
		return err
	}
	index, err := p.index(l.name)
	if err != nil {
		return err
	}
	l.index = index
	if err := p.hook(*l); err != nil {
		_ = p.commitAll("remove "+l.name, []rtbatch.Request{l.remove()})
		l.index = 0
		return err
	}
	// The kernel has its own idea of the MTU when it makes one with two ends.
	requests := l.up(p.alias())
	if !l.external {
		requests = append(requests, l.resize(l.mtu))
	}
	if err := p.commitAll("set up "+l.name, requests); err != nil {
		_ = p.commitAll("remove "+l.name, []rtbatch.Request{l.remove()})
		l.index = 0
		return err
	}
	return nil
}

func (p *path) index(name string) (index int, err error) {
	err = p.route.Get(unix.RTM_GETLINK, linkHeader(0, 0, 0).Bytes(unix.IFLA_IFNAME, text(name)), func(m []byte) {
		if l, _, ok := parseLink(m); ok {
			index = l.index
		}
	})
	if err == nil && index == 0 {
		err = unix.ENODEV
	}
	if err != nil {
		return 0, fmt.Errorf("look up %s: %w", name, err)
	}
	return index, nil
}

// lead makes the way to the TUN device for packets that are marked, before any is: policy
// rules cost each look-up of a route, so there is none where none is marked.
func (p *path) lead(s shape) error {
	if p.leads || !p.ruleSet(s).marks() {
		return nil
	}
	way, rule := p.way()
	requests := []rtbatch.Request{
		way.add(p.under.RouteProtocol),
		{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: rule},
	}
	var failures []error
	p.route.Commit(requests, func(i int, err error) {
		if !errors.Is(err, unix.EEXIST) { // a predecessor's
			failures = append(failures, fmt.Errorf("route marked packets to %s: %w", p.under.Device, err))
		}
	})
	p.leads = len(failures) == 0
	return errors.Join(failures...)
}

// unlead takes the way away when none is marked any more.
func (p *path) unlead(s shape) {
	if !p.leads || p.ruleSet(s).marks() {
		return
	}
	p.leads = false
	p.route.Commit(p.unleadRequests(), func(_ int, err error) {
		if !nlsock.Gone(err) {
			p.log().Warn("the way of marked packets remains, which costs look-ups of routes", "engine", Name, "reason", err)
		}
	})
}

// way is the route of marked packets, and the rule that they take it by.
func (p *path) way() (r route, rule []byte) {
	table := p.under.Table + 2
	return route{table: table, metric: routeMetric, device: p.under.Index}, leftRule(p.under.RulePriority-1, table, p.under.RouteProtocol, p.left)
}

func (p *path) unleadRequests() []rtbatch.Request {
	way, rule := p.way()
	return []rtbatch.Request{{Kind: unix.RTM_DELRULE, Body: rule}, way.remove(p.under.RouteProtocol)}
}

// commitAll carries out requests that must all succeed.
func (p *path) commitAll(what string, requests []rtbatch.Request) error {
	var failures []error
	p.route.Commit(requests, func(_ int, err error) { failures = append(failures, fmt.Errorf("%s: %w", what, err)) })
	return errors.Join(failures...)
}

func (p *path) log() *slog.Logger { return p.under.Log }

// Close removes everything.
func (p *path) Close() error {
	p.mu.Lock()
	if p.closed || p.route == nil {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	err := p.remove()
	p.release()
	p.mu.Unlock()
	p.guard.running.Wait()
	p.follower.running.Wait()
	return err
}

// remove takes everything out of the kernel: first nothing is approved any more, so that
// the engine takes all packets, then the devices go with their routes, and last what drops
// packets that come out of them.
func (p *path) remove() error {
	var failures []error
	note := func(what string, err error) {
		if err != nil && !nlsock.Gone(err) {
			failures = append(failures, fmt.Errorf("%s: %w", what, err))
		}
	}
	if p.nft != nil {
		note("nftables table "+tableName, p.nft.Commit(func(b *nft.Batch) {
			b.FlushChain(tableName, chainApprove)
			b.Append(tableName, chainApprove, nft.Rule(nil).Goto(chainHand))
		}))
	}
	if p.route != nil {
		var requests []rtbatch.Request
		if err := p.devices(func(l link) { requests = append(requests, l.remove()) }); err != nil {
			note("list links", err)
		}
		requests = append(requests, p.unleadRequests()...)
		p.route.Commit(requests, func(_ int, err error) { note("remove devices and routes", err) })
	}
	if p.nft != nil {
		failures = append(failures, p.nft.RemoveTable(tableName), p.nft.RemoveTableOf(nft.Netdev, tableName))
	}
	return errors.Join(failures...)
}

func (p *path) release() {
	if p.guard != nil {
		p.guard.close()
	}
	if p.follower != nil {
		close(p.follower.ended)
	}
	if p.nft != nil {
		p.nft.Close()
	}
	if p.route != nil {
		p.route.Close()
	}
}
