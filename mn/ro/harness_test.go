package ro

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/internal/role/roletest"
	"roam6/mip6"
	"roam6/overlay"
)

var (
	home      = netip.MustParseAddr("2001:db8:10::100")
	homeAgent = netip.MustParseAddr("2001:db8:10::1")
	careOf1   = netip.MustParseAddr("2001:db8:a1::42")
	careOf2   = netip.MustParseAddr("2001:db8:a2::42")
	careOf3   = netip.MustParseAddr("2001:db8:a3::42")
	epoch     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

const (
	uplink   = 2
	homeLink = 2
	tunnel   = 9 // where the home agent's packets come out
)

// peerAddr is the n-th correspondent.
func peerAddr(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:c::%x", n)) }

// bench drives an Optimiser and its correspondents without a network between.
type bench struct {
	*testing.T
	o       *Optimiser
	now     time.Time
	at      Attachment
	nodes   map[netip.Addr]*correspondent
	actions []role.Action // of the last call
	all     []role.Action
	routes  map[netip.Addr]overlay.Route // the data plane
}

func seeded(seed uint64) func([]byte) {
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	r := rand.NewChaCha8(s)
	return func(b []byte) { r.Read(b) }
}

func newBench(t *testing.T, change func(*Config)) *bench {
	c := Config{Name: "train", Home: home, Policy: Policy{Mode: On}, Random: seeded(1)}
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, o: New(c), now: epoch, nodes: map[netip.Addr]*correspondent{}, routes: map[netip.Addr]overlay.Route{}}
}

// did keeps what the optimiser did and carries it out in the data plane.
func (b *bench) did(actions []role.Action) []role.Action {
	b.actions = actions
	b.all = append(b.all, actions...)
	for _, f := range only[role.Forward](actions) {
		for _, c := range f.Changes {
			switch {
			case c.Optimise != nil:
				b.routes[c.Optimise.Peer] = *c.Optimise
			case c.Deoptimise != nil:
				delete(b.routes, c.Deoptimise.Peer)
			default:
				b.Errorf("change of the data plane that is not about a route: %+v", c)
			}
		}
	}
	return actions
}

func (b *bench) handle(e role.Event) []role.Action { return b.did(b.o.Handle(b.now, e)) }

func (b *bench) attach(a Attachment) []role.Action {
	b.at = a
	return b.did(b.o.Attach(b.now, a))
}

// away is an attachment with a home registration of a day.
func (b *bench) away(careOf netip.Addr, registered bool) Attachment {
	return Attachment{CareOf: careOf, Link: uplink, Registered: registered, Expires: b.now.Add(24 * time.Hour), HomeAgent: homeAgent}
}

func traffic(peer netip.Addr) role.TrafficSeen {
	return role.TrafficSeen{Home: home, Peer: peer, Side: overlay.MobileSide}
}

// pass lets time pass, waking the optimiser whenever it asks to be.
func (b *bench) pass(d time.Duration) []role.Action {
	b.Helper()
	return roletest.Pass(b, &b.now, d, b.o.Next, func() []role.Action { return b.handle(role.Timeout{}) })
}

// node is a correspondent that answers in exchange.
func (b *bench) node(n int) *correspondent {
	c := newCorrespondent(peerAddr(n))
	b.nodes[c.addr] = c
	return c
}

// exchange delivers what was sent, and the answers, until nobody has anything
// left to say.
func (b *bench) exchange(actions []role.Action) (did []role.Action) {
	b.Helper()
	for range 100 {
		var answers []mip6.Packet
		for _, s := range only[role.Send](actions) {
			if c := b.nodes[s.Packet.Destination]; c != nil {
				answers = append(answers, c.receive(b.T, b.now, b.wire(s.Packet))...)
			}
		}
		if len(answers) == 0 {
			return did
		}
		actions = nil
		for _, p := range answers {
			actions = append(actions, b.deliver(p)...)
		}
		did = append(did, actions...)
	}
	b.Fatal("the exchange does not end")
	return nil
}

// deliver gives a packet to the optimiser as the shell does.
func (b *bench) deliver(p mip6.Packet) []role.Action {
	b.Helper()
	link := b.at.Link
	if p.Destination == home && !b.at.AtHome {
		link = tunnel
	}
	return b.handle(role.MessageReceived{Link: link, Packet: b.wire(p)})
}

// live lets time pass as pass does, with traffic to peers every ten seconds and
// correspondents that answer.
func (b *bench) live(d time.Duration, peers ...netip.Addr) (did []role.Action) {
	b.Helper()
	end := b.now.Add(d)
	for b.now.Before(end) {
		for _, p := range peers {
			did = append(did, b.handle(traffic(p))...)
			did = append(did, b.exchange(b.actions)...)
		}
		stop := b.now.Add(overlay.TrafficInterval)
		for {
			next := b.o.Next()
			if next.IsZero() || next.After(stop) {
				break
			}
			b.now = next
			did = append(did, b.handle(role.Timeout{})...)
			did = append(did, b.exchange(b.actions)...)
		}
		b.now = stop
	}
	return did
}

// optimised makes the route to the n-th correspondent optimised.
func (b *bench) optimised(n int) *correspondent {
	b.Helper()
	if b.at.nowhere() {
		b.attach(b.away(careOf1, true))
	}
	c := b.node(n)
	b.exchange(b.handle(traffic(c.addr)))
	if b.routes[c.addr].CareOf != b.at.CareOf {
		b.Fatalf("route to %v is not optimised: %v", c.addr, b.o.Peers(b.now))
	}
	return c
}

// wire puts a packet through the codec.
func (b *bench) wire(p mip6.Packet) mip6.Packet {
	b.Helper()
	return wire(b.T, p)
}

func wire(t *testing.T, p mip6.Packet) mip6.Packet {
	t.Helper()
	o, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := mip6.ParsePacket(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// state is how far a correspondent has come; zero if it is not listed.
func (b *bench) state(peer netip.Addr) State {
	for _, p := range b.o.Peers(b.now) {
		if p.Addr == peer {
			return p.State
		}
	}
	return 0
}

// quiet checks that nothing at all is left.
func (b *bench) quiet() {
	b.Helper()
	if next := b.o.Next(); !next.IsZero() {
		b.Errorf("wants to be woken in %v", next.Sub(b.now))
	}
	if p := b.o.Peers(b.now); len(p) != 0 {
		b.Errorf("correspondents left: %+v", p)
	}
	if len(b.routes) != 0 {
		b.Errorf("routes left: %v", b.routes)
	}
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

// messages returns the packets with messages of one type that actions send.
func messages[M mip6.Message](actions []role.Action) []mip6.Packet {
	var out []mip6.Packet
	for _, s := range only[role.Send](actions) {
		if _, ok := s.Packet.Message.(M); ok {
			out = append(out, s.Packet)
		}
	}
	return out
}

// inits counts the Home Test Inits, Care-of Test Inits and updates in actions.
func inits(actions []role.Action) (homeTests, careOfTests, updates int) {
	return len(messages[mip6.HomeTestInit](actions)), len(messages[mip6.CareOfTestInit](actions)), len(messages[mip6.BindingUpdate](actions))
}

func (b *bench) wantInits(actions []role.Action, homeTests, careOfTests, updates int) {
	b.Helper()
	if h, c, u := inits(actions); h != homeTests || c != careOfTests || u != updates {
		b.Errorf("sent %d home tests, %d care-of tests, %d updates; want %d, %d, %d", h, c, u, homeTests, careOfTests, updates)
	}
}

// wantDrop checks that the last call did nothing but count a message.
func (b *bench) wantDrop(actions []role.Action, reason role.DropReason) {
	b.Helper()
	if len(actions) != 1 {
		b.Errorf("did %v, want it dropped as %v", actions, reason)
		return
	}
	if d, ok := actions[0].(role.Dropped); !ok || d.Reason != reason {
		b.Errorf("did %v, want it dropped as %v", actions[0], reason)
	}
}

// update is the last binding update among actions.
func (b *bench) update(actions []role.Action) (mip6.BindingUpdate, mip6.Packet) {
	b.Helper()
	ps := messages[mip6.BindingUpdate](actions)
	if len(ps) == 0 {
		b.Fatal("no binding update was sent")
	}
	p := ps[len(ps)-1]
	return p.Message.(mip6.BindingUpdate), p
}
