package mn

import (
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
	return &bench{T: t, node: New(c, nil), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// handle delivers an event now.
func (b *bench) handle(e role.Event) []role.Action {
	b.actions = b.node.Handle(b.now, e)
	b.all = append(b.all, b.actions...)
	return b.actions
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
	u, p := b.lastUpdate()
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
	q := mip6.Packet{Source: homeAgent, Destination: p.Source, Message: m}
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

// lastUpdate is the binding update sent last.
func (b *bench) lastUpdate() (mip6.BindingUpdate, mip6.Packet) {
	b.Helper()
	for _, a := range slices.Backward(b.all) {
		if s, ok := a.(role.Send); ok {
			if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok {
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

// kernelState replays all actions and returns the addresses and routes that
// are left, by their text.
func (b *bench) kernelState() (addresses, routes []string) {
	as, rs := map[string]bool{}, map[string]bool{}
	for _, a := range b.all {
		switch a := a.(type) {
		case role.AssignAddress:
			as[a.Prefix.String()+" dev "+string(rune('0'+a.Link))] = true
		case role.UnassignAddress:
			delete(as, a.Prefix.String()+" dev "+string(rune('0'+a.Link)))
		case role.AddRoute:
			rs[routeText(a.Route)] = true
		case role.RemoveRoute:
			delete(rs, routeText(a.Route))
		}
	}
	for a := range as {
		addresses = append(addresses, a)
	}
	for r := range rs {
		routes = append(routes, r)
	}
	slices.Sort(addresses)
	slices.Sort(routes)
	return addresses, routes
}

func routeText(r role.Route) string {
	s := r.Destination.String() + " dev " + string(rune('0'+r.Link))
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	return s
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
