package mn

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
	"roam6/overlay"
)

var (
	homeAddress = netip.MustParseAddr("2001:db8:10::100")
	homePrefix  = netip.MustParsePrefix("2001:db8:10::/64")
	homeAgent   = netip.MustParseAddr("2001:db8:10::1")
	sa          = mip6.SecurityAssociation{SPI: 256, Key: mip6.SharedKey{1, 2, 3}}

	// Two access routers and the one at home.
	ar1    = cell{netip.MustParseAddr("fe80::a1"), netip.MustParsePrefix("2001:db8:a1::/64")}
	ar2    = cell{netip.MustParseAddr("fe80::a2"), netip.MustParsePrefix("2001:db8:a2::/64")}
	atHome = cell{netip.MustParseAddr("fe80::1"), netip.PrefixFrom(homeAgent, 64)}

	ethernet  = [6]byte{2, 0, 0, 0, 0, 0x42}
	linkLocal = netip.MustParseAddr("fe80::ff:fe00:42")
	careOf1   = netip.MustParseAddr("2001:db8:a1::ff:fe00:42")
	careOf2   = netip.MustParseAddr("2001:db8:a2::ff:fe00:42")
)

type cell struct {
	router netip.Addr
	prefix netip.Prefix
}

// bench drives one node and keeps what it did.
type bench struct {
	*testing.T
	node    *Node
	now     time.Time
	actions []role.Action // of the last event
	all     []role.Action
	kernel  kernel
}

func config() Config {
	return Config{
		Name: "train", HomeAddress: homeAddress, HomePrefix: homePrefix, HomeAgents: []netip.Addr{homeAgent}, SA: &sa,
		Timestamps: true, Lifetime: 600 * time.Second, Uplinks: []string{"up0", "up1"}, Seed: 1,
	}
}

func newBench(t *testing.T, change func(*Config)) *bench {
	c := config()
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return newBenchOf(t, New(c, nil))
}

func newBenchOf(t *testing.T, n *Node) *bench {
	b := &bench{T: t, node: n, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), kernel: newKernel()}
	b.kernel.foreign = n.isForeign
	return b
}

// handle delivers an event now.
func (b *bench) handle(e role.Event) []role.Action {
	if f, ok := e.(role.ForeignAddresses); ok {
		maps.DeleteFunc(b.kernel.lent, func(p placedAddress, _ bool) bool { return p.link == f.Link })
		for _, p := range f.Addresses {
			b.kernel.lent[placedAddress{f.Link, netip.PrefixFrom(p.Prefix.Addr(), 128)}] = true
		}
	}
	return b.did(b.node.Handle(b.now, e))
}

// did carries out actions.
func (b *bench) did(actions []role.Action) []role.Action {
	b.Helper()
	b.actions = actions
	b.all = append(b.all, actions...)
	b.kernel.orphaned = 0
	if !b.kernel.has(b.kernel.homeLink, homeAddress) {
		b.kernel.orphaned = b.kernel.homeLink
	}
	b.kernel.homeLink = 0
	if b.node.atHome() {
		b.kernel.homeLink = b.node.current.link
	}
	for _, a := range actions {
		b.kernel.carryOut(b.T, a)
	}
	if n := len(b.kernel.plainDefaults()); n > 1 {
		b.Errorf("%d default routes without a source: %v", n, b.kernel.plainDefaults())
	}
	b.accounted()
	return actions
}

// accounted asserts that the kernel has no address on an uplink that the node does
// not know of, that given addresses are in use only while they are given, and that
// standby addresses are no more than that.
func (b *bench) accounted() {
	b.Helper()
	if r := b.node.regionalAt(b.node.reg.careOf); r != nil && r.registered && b.node.reg.registered && b.node.reg.retransmit.IsZero() &&
		b.node.current.works() && b.node.reg.expires.After(r.expires) {
		b.Errorf("registered with the home agent until %v, with the anchor until %v", b.node.reg.expires, r.expires)
	}
	for p := range b.kernel.addresses {
		if r := b.node.regionalAt(p.prefix.Addr()); r != nil && r.tunnel != nil && p.link == 0 {
			if t := b.kernel.regional[r.rcoa]; t == nil || t.Paths[0] != r.tunnel.Paths[0] || len(t.Inner) != 1 || t.Inner[0] != p.prefix || !b.kernel.addresses[p] {
				b.Errorf("regional care-of address %v has the tunnel %+v, not %+v", r.rcoa, t, r.tunnel)
			}
			continue
		}
		if c := b.node.careOfs.find(p.link, p.prefix.Addr()); p.prefix.Addr() != b.node.config.HomeAddress && (c == nil || !c.assigned()) {
			b.Errorf("%v stays on link %d: %+v", p.prefix, p.link, c)
		}
	}
	for _, c := range b.node.careOfs {
		used := c.state == careOfProbing || c.state == careOfValid
		if used && c.origin != formed && b.node.givenAddress(c.link, c.origin, c.addr) == nil {
			b.Errorf("%v is not given any more: %+v", c.addr, c)
		}
		if c.standby && (!b.node.idle(b.node.links[c.link]) || !used) {
			b.Errorf("stands by on a link in use: %+v", c)
		}
		if deprecated, there := b.kernel.addresses[placedAddress{c.link, netip.PrefixFrom(c.addr, c.prefix.Bits())}]; there && c.standby && !deprecated {
			b.Errorf("new conversations begin with a standby address: %+v", c)
		}
	}
}

// pass lets time pass, waking the node whenever it asks to be.
func (b *bench) pass(d time.Duration) []role.Action {
	end := b.now.Add(d)
	var did []role.Action
	for range 100000 {
		next := b.node.Next()
		if next.IsZero() || next.After(end) {
			b.now = end
			b.actions = did
			return did
		}
		if next.After(b.now) {
			b.now = next
		}
		did = append(did, b.handle(role.Timeout{})...)
	}
	b.Fatalf("the node does not rest: Next stays at %v", b.node.Next())
	return nil
}

func upLink(index int, name string, up bool) role.LinkChanged {
	return role.LinkChanged{Link: role.Link{Index: index, Name: name, Up: up, MTU: 1500, Ethernet: ethernet, LinkLocal: linkLocal}}
}

func (b *bench) carrier(up bool) []role.Action { return b.handle(upLink(1, "up0", up)) }

func advertisement(link int, c cell, change func(*nd.RouterAdvertisement)) role.RouterHeard {
	ra := nd.RouterAdvertisement{
		RouterLifetime: 1800 * time.Second, SourceLinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, c.router.As16()[15]},
		Prefixes: []mip6.PrefixInformation{{Prefix: c.prefix, OnLink: true, Autonomous: true, RouterAddress: c == atHome,
			ValidLifetime: time.Hour, PreferredLifetime: time.Hour}},
	}
	if change != nil {
		change(&ra)
	}
	return role.RouterHeard{Link: link, Router: c.router, RA: ra}
}

func (b *bench) hear(c cell) []role.Action { return b.handle(advertisement(1, c, nil)) }

// answer makes the home agent's acknowledgement of the last update and lets
// change spoil it before it is sealed.
func (b *bench) answer(status mip6.Status, change func(*mip6.BindingAcknowledgement)) role.MessageReceived {
	b.Helper()
	_, p := b.lastUpdate()
	return b.answerTo(p, status, change)
}

// answerTo makes the acknowledgement of the update in a packet, by whom it was
// sent to.
func (b *bench) answerTo(p mip6.Packet, status mip6.Status, change func(*mip6.BindingAcknowledgement)) role.MessageReceived {
	b.Helper()
	u := p.Message.(mip6.BindingUpdate)
	a := mip6.BindingAcknowledgement{Status: status, Sequence: u.Sequence, Lifetime: u.Lifetime}
	if o, ok := mip6.Find[mip6.ReplayProtection](u); ok {
		a.Options = append(a.Options, o)
	}
	if change != nil {
		change(&a)
	}
	return b.sealed(a, p)
}

// sealed is an acknowledgement as it arrives for the update in p.
func (b *bench) sealed(a mip6.BindingAcknowledgement, p mip6.Packet) role.MessageReceived {
	b.Helper()
	m, err := sa.Seal(a, p.Source, homeAddress)
	if err != nil {
		b.Fatal(err)
	}
	q := mip6.Packet{Source: p.Destination, Destination: p.Source, Message: m}
	if p.HomeAddress.IsValid() {
		q.RouteHome = homeAddress
	}
	return role.MessageReceived{Link: 1, Packet: b.wire(q)}
}

// wire puts a packet through the codec.
func (b *bench) wire(p mip6.Packet) mip6.Packet {
	b.Helper()
	o, err := p.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	q, err := mip6.ParsePacket(o)
	if err != nil {
		b.Fatal(err)
	}
	return q
}

func (b *bench) acknowledge() []role.Action {
	b.Helper()
	return b.handle(b.answer(mip6.StatusAccepted, nil))
}

// answering lets the current router answer every solicitation for it, for a
// while.
func (b *bench) answering(d time.Duration) []role.Action {
	b.Helper()
	did := slices.Clone(b.actions)
	unanswered := did
	for end := b.now.Add(d); ; {
		for _, p := range only[role.ProbeNeighbor](unanswered) {
			did = append(did, b.handle(role.NeighborHeard{Link: p.Link, From: p.Target, Target: p.Target, Solicited: true})...)
		}
		if !b.now.Before(end) {
			return did
		}
		next := b.node.Next()
		if next.IsZero() || next.After(end) {
			next = end
		}
		unanswered = b.pass(max(next.Sub(b.now), 0))
		did = append(did, unanswered...)
	}
}

// lastUpdate is the binding update sent last.
func (b *bench) lastUpdate() (mip6.BindingUpdate, mip6.Packet) {
	b.Helper()
	for _, a := range slices.Backward(b.all) {
		if s, ok := a.(role.Send); ok {
			if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateHome != 0 {
				return u, s.Packet
			}
		}
	}
	b.Fatal("no binding update was sent")
	return mip6.BindingUpdate{}, mip6.Packet{}
}

// only returns the actions of one type.
func only[T role.Action](actions []role.Action) []T {
	var out []T
	for _, a := range actions {
		if x, ok := a.(T); ok {
			out = append(out, x)
		}
	}
	return out
}

// updates are the binding updates among actions.
func updates(actions []role.Action) []mip6.BindingUpdate {
	var out []mip6.BindingUpdate
	for _, s := range only[role.Send](actions) {
		if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok {
			out = append(out, u)
		}
	}
	return out
}

// tunnelPath is the path of the tunnel that actions install.
func tunnelPath(actions []role.Action) (overlay.Path, bool) {
	for _, f := range slices.Backward(only[role.Forward](actions)) {
		for _, c := range slices.Backward(f.Changes) {
			if c.Set != nil {
				return c.Set.Paths[0], true
			}
		}
	}
	return overlay.Path{}, false
}

// away brings the node to ar1, registered.
func (b *bench) away() {
	b.Helper()
	b.carrier(true)
	b.hear(ar1)
	b.acknowledge()
	if !b.node.reg.registered {
		b.Fatal("not registered")
	}
}
