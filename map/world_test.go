package anchor

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/internal/role/roletest"
	"roam6/mip6"
	"roam6/overlay"
)

var (
	anchorAddr = netip.MustParseAddr("2001:db8:9::1")
	prefix     = netip.MustParsePrefix("2001:db8:9::/64")
	rcoaA      = netip.MustParseAddr("2001:db8:9::a")
	rcoaB      = netip.MustParseAddr("2001:db8:9::b")
	lcoa1      = netip.MustParseAddr("2001:db8:f1::1")
	lcoa2      = netip.MustParseAddr("2001:db8:f2::2")
	foreign    = netip.MustParseAddr("2001:db8:ee::3") // in no served prefix
)

const (
	linkIndex  = 3
	flagsLocal = mip6.UpdateAcknowledge | mip6.UpdateMAP
)

// association is that of a visitor's number.
func association(n int) *mip6.SecurityAssociation {
	return &mip6.SecurityAssociation{SPI: 1000 + uint32(n), Key: mip6.SharedKey{byte(n >> 16), byte(n >> 8), byte(n), 1}}
}

// The numbers of the visitors of testConfig.
const alice, bob = 1, 2

func testConfig() Config {
	return Config{
		Name: "map", Link: "eth1", Address: anchorAddr, Prefix: prefix, DAD: true, MaxLifetime: 10 * time.Minute,
		Served: []netip.Prefix{netip.MustParsePrefix("2001:db8:f1::/64"), netip.MustParsePrefix("2001:db8:f2::/64")},
		Visitors: []Visitor{
			{Name: "alice", SA: association(alice)},
			{Name: "bob", SA: association(bob)},
		},
	}
}

// world is an anchor with what surrounds it: the time, and the state outside that its
// actions make.
type world struct {
	t      testing.TB
	anchor *Anchor
	now    time.Time
	link   role.Link

	tunnels  map[netip.Addr]overlay.Tunnel
	defended map[netip.Addr]bool
	probes   int
	logs     []role.Log
	memories map[binding.Key]binding.Memory
}

func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, anchor: New(c), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		link:    role.Link{Index: linkIndex, Name: "eth1", Up: true, MTU: 1500},
		tunnels: map[netip.Addr]overlay.Tunnel{}, defended: map[netip.Addr]bool{}, memories: map[binding.Key]binding.Memory{},
	}
	w.handle(role.LinkChanged{Link: w.link})
	return w
}

func (w *world) handle(e role.Event) []role.Action {
	w.t.Helper()
	return w.apply(w.anchor.Handle(w.now, e))
}

// apply carries the actions out on the state outside, and fails the test when one is
// not well-formed.
func (w *world) apply(actions []role.Action) []role.Action {
	w.t.Helper()
	for _, action := range actions {
		switch action := action.(type) {
		case role.Forward:
			for _, c := range action.Changes {
				w.change(c)
			}
		case role.DefendAddress:
			w.onLink(action.Link)
			w.defended[action.Addr] = true
			if action.Router {
				w.t.Errorf("%v is defended as a router's (RFC 6275 §10.4.1)", action.Addr)
			}
		case role.UndefendAddress:
			delete(w.defended, action.Addr)
		case role.AnnounceAddress:
			w.onLink(action.Link)
			if !w.defended[action.Addr] || action.Router {
				w.t.Errorf("%+v of what is not defended, or of a router", action)
			}
		case role.ProbeAddress:
			w.onLink(action.Link)
			w.probes++
		case role.Remember:
			w.memories[action.Memory.Key()] = action.Memory
		case role.Send:
			w.checkSend(action)
		case role.Log:
			w.logs = append(w.logs, action)
		case role.Dropped:
			if action.Reason == 0 {
				w.t.Errorf("dropped without a reason")
			}
		case role.Acknowledged:
			if !action.Sent {
				w.t.Errorf("%+v: an anchor only sends acknowledgements", action)
			}
		default:
			w.t.Errorf("unexpected action %T", action)
		}
	}
	if !w.anchor.Done() {
		w.checkMemories()
	}
	return actions
}

// checkMemories verifies that what is remembered is what the anchor knows now.
func (w *world) checkMemories() {
	w.t.Helper()
	for m := range w.anchor.Memories() {
		kept := w.memories[m.Key()]
		if !kept.Lasts(w.now) {
			kept = kept.Unbound()
		}
		if !m.Lasts(w.now) { // expired, and not handled yet
			m = m.Unbound()
		}
		if m.State == binding.Deleted {
			m.Expires, kept.Flags = kept.Expires, m.Flags
		}
		if !reflect.DeepEqual(kept, m) {
			w.t.Errorf("remembered\n%+v of\n%+v", kept, m)
		}
	}
}

// restart is a new process after a crash: the anchor knows what it is told, and nothing
// is left outside.
func (w *world) restart(c Config) []role.Action {
	w.t.Helper()
	w.anchor = New(c)
	clear(w.tunnels)
	clear(w.defended)
	actions := w.apply(w.anchor.Restore(w.now, slices.Collect(maps.Values(w.memories))))
	for _, action := range actions {
		if _, sends := action.(role.Send); sends {
			w.t.Errorf("a mobile is told of the restoration: %+v", action)
		}
	}
	return append(actions, w.handle(role.LinkChanged{Link: w.link})...)
}

func (w *world) change(c overlay.Change) {
	w.t.Helper()
	if c.Set == nil {
		if _, there := w.tunnels[c.Remove.Home]; !there || c.Remove.Side != overlay.AgentSide {
			w.t.Errorf("malformed removal %+v", c)
		}
		delete(w.tunnels, c.Remove.Home)
		return
	}
	tunnel := *c.Set
	if tunnel.Side != overlay.AgentSide || !prefix.Contains(tunnel.Home) ||
		!slices.Equal(tunnel.Inner, []netip.Prefix{netip.PrefixFrom(tunnel.Home, 128)}) ||
		len(tunnel.Paths) != 1 || tunnel.Paths[0].Local != anchorAddr || !mip6.Routable(tunnel.Paths[0].Remote) {
		w.t.Errorf("malformed tunnel %+v", tunnel)
	}
	w.tunnels[tunnel.Home] = tunnel
}

func (w *world) onLink(index int) {
	w.t.Helper()
	if index != w.link.Index || index == 0 {
		w.t.Errorf("action on link %d, that of the regional care-of addresses is %d", index, w.link.Index)
	}
}

// checkSend verifies what holds for every message: among the rest that each
// acknowledgement has a type 2 routing header (RFC 5380 §6.2).
func (w *world) checkSend(s role.Send) {
	w.t.Helper()
	p := s.Packet
	if _, err := p.Append(nil); err != nil || p.Source != anchorAddr || p.HomeAddress.IsValid() || !mip6.Routable(p.Destination) {
		w.t.Errorf("%v: unexpected packet %+v", err, p)
	}
	if ba, ok := p.Message.(mip6.BindingAcknowledgement); ok && ba.Status.Accepted() {
		remembered := false
		for _, m := range w.memories {
			bound := m.State == binding.Active
			remembered = remembered || m.Home == p.RouteHome && bound == (ba.Lifetime > 0) && (!bound || m.Sequence == ba.Sequence)
		}
		if !remembered {
			w.t.Errorf("update %d of %v is acknowledged and not remembered", ba.Sequence, p.RouteHome)
		}
	}
	if _, request := p.Message.(mip6.BindingRefreshRequest); request == p.RouteHome.IsValid() {
		w.t.Errorf("routing header to %v: %+v", p.RouteHome, p)
	}
}

// run delivers timeouts until the given time has passed.
func (w *world) run(d time.Duration) []role.Action {
	w.t.Helper()
	return roletest.Pass(w.t, &w.now, d, w.anchor.Next, func() []role.Action { return w.handle(role.Timeout{}) })
}

// request describes a local binding update; packet makes it one.
type request struct {
	visitor   int // number of the association
	home      netip.Addr
	source    netip.Addr
	alternate netip.Addr // Alternate Care-of Address, when valid
	sequence  mip6.Sequence
	lifetime  time.Duration
	flags     mip6.UpdateFlags // flagsLocal when zero
	options   []mip6.Option
	timestamp time.Time // none when zero
	forged    bool      // with another key
	unsealed  bool
	overHome  netip.Addr // what is sealed in place of home, when valid
}

// local is a request of a minute.
func local(visitor int, home, source netip.Addr, sequence mip6.Sequence) request {
	return request{visitor: visitor, home: home, source: source, sequence: sequence, lifetime: time.Minute}
}

func (r request) packet(t testing.TB) mip6.Packet {
	t.Helper()
	p := mip6.Packet{Source: r.source, Destination: anchorAddr, HomeAddress: r.home}
	bu := mip6.BindingUpdate{Sequence: r.sequence, Flags: r.flags, Lifetime: mip6.LifetimeFrom(r.lifetime), Options: slices.Clone(r.options)}
	if bu.Flags == 0 {
		bu.Flags = flagsLocal
	}
	careOf, home := r.source, r.home
	if r.alternate.IsValid() {
		bu.Options = append(bu.Options, mip6.AlternateCareOf{Addr: r.alternate})
		careOf = r.alternate
	}
	if r.overHome.IsValid() {
		home = r.overHome
	}
	if !r.timestamp.IsZero() {
		bu.Options = append(bu.Options, mip6.ReplayProtection{Timestamp: mip6.TimestampFrom(r.timestamp)})
	}
	p.Message = bu
	if !r.unsealed {
		sa := *association(r.visitor)
		if r.forged {
			sa.Key[15] ^= 1
		}
		sealed, err := sa.Seal(bu, careOf, home)
		if err != nil {
			t.Fatal(err)
		}
		p.Message = sealed
	}
	mh, err := mip6.AppendMessage(nil, p.From(), p.To(), p.Message)
	if err != nil {
		t.Fatal(err)
	}
	p.MH = mh
	return p
}

func (w *world) deliver(p mip6.Packet) []role.Action {
	w.t.Helper()
	return w.handle(role.MessageReceived{Link: 1, Packet: p})
}

func (w *world) send(r request) []role.Action {
	w.t.Helper()
	return w.deliver(r.packet(w.t))
}

// registered sends a request and lets duplicate address detection end.
func (w *world) registered(r request) {
	w.t.Helper()
	before := w.now
	actions := w.send(r)
	if len(acks(actions)) == 0 {
		actions = append(actions, w.run(time.Second)...)
	}
	if ba := onlyAck(w.t, actions); !ba.Status.Accepted() {
		w.t.Fatalf("%v: update of %v: %v", before, r.home, ba.Status)
	}
}

// refused sends a request that is answered with a status at once.
func (w *world) refused(r request, status mip6.Status) {
	w.t.Helper()
	if ba := onlyAck(w.t, w.send(r)); ba.Status != status || ba.Lifetime != 0 {
		w.t.Errorf("update of %v: %v with lifetime %v, want %v", r.home, ba.Status, ba.Lifetime, status)
	}
}

func acks(actions []role.Action) (list []mip6.Packet) {
	for _, action := range actions {
		if s, ok := action.(role.Send); ok && s.Packet.Message.Type() == mip6.TypeBindingAcknowledgement {
			list = append(list, s.Packet)
		}
	}
	return list
}

func onlyAck(t testing.TB, actions []role.Action) mip6.BindingAcknowledgement {
	t.Helper()
	list := acks(actions)
	if len(list) != 1 {
		t.Fatalf("%d acknowledgements, want one: %q", len(list), kinds(actions))
	}
	return list[0].Message.(mip6.BindingAcknowledgement)
}

// kinds renders actions without logs, for comparison in order.
func kinds(actions []role.Action) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, action := range actions {
		switch action := action.(type) {
		case role.Log, role.Acknowledged, role.Remember:
		case role.Forward:
			for _, c := range action.Changes {
				if c.Set == nil {
					add("remove %v", c.Remove.Home)
				} else {
					add("set %v via %v", c.Set.Home, c.Set.Paths[0].Remote)
				}
			}
		case role.Send:
			if ba, ok := action.Packet.Message.(mip6.BindingAcknowledgement); ok {
				add("ack %d to %v route %v", ba.Status, action.Packet.Destination, action.Packet.RouteHome)
			} else {
				add("%v to %v", action.Packet.Message.Type(), action.Packet.Destination)
			}
		case role.DefendAddress:
			add("defend %v", action.Addr)
		case role.UndefendAddress:
			add("undefend %v", action.Addr)
		case role.AnnounceAddress:
			add("announce %v", action.Addr)
		case role.ProbeAddress:
			add("probe %v", action.Addr)
		case role.Dropped:
			add("drop %v", action.Reason)
		default:
			add("%T", action)
		}
	}
	return list
}

func wantKinds(t testing.TB, actions []role.Action, want ...string) {
	t.Helper()
	if got := kinds(actions); !slices.Equal(got, want) {
		t.Errorf("actions\n got %q\nwant %q", got, want)
	}
}

// logged counts the lines with a message.
func (w *world) logged(message string) (n int) {
	for _, l := range w.logs {
		if l.Message == message {
			n++
		}
	}
	return n
}
