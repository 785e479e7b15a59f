package ha

import (
	"fmt"
	"log/slog"
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
	agentAddr  = netip.MustParseAddr("2001:db8:1::1")
	homePrefix = netip.MustParsePrefix("2001:db8:1::/64")
	homeA      = netip.MustParseAddr("2001:db8:1::a") // a mobile router
	homeB      = netip.MustParseAddr("2001:db8:1::b") // another one
	homeN      = netip.MustParseAddr("2001:db8:1::c") // a mobile node
	networkA   = netip.MustParsePrefix("2001:db8:a::/48")
	networkB   = netip.MustParsePrefix("2001:db8:b::/48")
	careOf1    = netip.MustParseAddr("2001:db8:f1::1")
	careOf2    = netip.MustParseAddr("2001:db8:f2::1")
)

const (
	homeIndex = 3
	flagsNode = mip6.UpdateAcknowledge | mip6.UpdateHome
	flagsMR   = flagsNode | mip6.UpdateMobileRouter
)

func association(home netip.Addr) *mip6.SecurityAssociation {
	b := home.As16()
	return &mip6.SecurityAssociation{SPI: 1000 + uint32(b[15]), Key: mip6.SharedKey(b)}
}

func testConfig() Config {
	return Config{
		Name: "home", HomeLink: "eth1", Address: agentAddr, Prefix: homePrefix,
		MaxLifetime: 10 * time.Minute, DAD: true,
		Mobiles: []Mobile{
			{Name: "a", HomeAddress: homeA, SA: association(homeA), Router: true, Prefixes: []netip.Prefix{networkA}},
			{Name: "b", HomeAddress: homeB, SA: association(homeB), Router: true, Prefixes: []netip.Prefix{networkB}},
			{Name: "n", HomeAddress: homeN, SA: association(homeN)},
		},
	}
}

// world is an agent with what surrounds it: the time, and the state outside that
// its actions make.
type world struct {
	t     testing.TB
	agent *Agent
	now   time.Time
	link  role.Link

	tunnels     map[netip.Addr]overlay.Tunnel
	defended    map[netip.Addr]bool
	joined      map[netip.Addr]bool
	routes      map[role.Route]bool            // on the home link
	unreachable map[netip.Prefix]bool          // routes that lead nowhere
	direct      map[overlay.Pair]overlay.Route // for prefix delegation
	probes      int
	logs        []role.Log
	changes     []role.BindingChanged // since the test looked
	homes       map[netip.Addr]bool   // home addresses of before the last configuration
	memories    map[binding.Key]binding.Memory

	alternate netip.Addr // care-of address that the last request asked for, if not the source
}

func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, agent: New(c), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		link:    role.Link{Index: homeIndex, Name: "eth1", Up: true, MTU: 1500},
		tunnels: map[netip.Addr]overlay.Tunnel{}, defended: map[netip.Addr]bool{}, joined: map[netip.Addr]bool{},
		routes: map[role.Route]bool{}, unreachable: map[netip.Prefix]bool{}, direct: map[overlay.Pair]overlay.Route{},
		homes: map[netip.Addr]bool{}, memories: map[binding.Key]binding.Memory{},
	}
	w.handle(role.LinkChanged{Link: w.link})
	return w
}

func (w *world) handle(e role.Event) []role.Action {
	w.t.Helper()
	return w.apply(w.agent.Handle(w.now, e))
}

// apply carries the actions out on the state outside, and fails the test when one
// is not well-formed.
func (w *world) apply(actions []role.Action) []role.Action {
	w.t.Helper()
	for _, action := range actions {
		switch action := action.(type) {
		case role.Forward:
			for _, c := range action.Changes {
				if c.Optimise != nil || c.Deoptimise != nil {
					w.optimise(c)
					continue
				}
				if c.Set == nil {
					if c.Remove.Side != overlay.AgentSide || !c.Remove.Home.IsValid() {
						w.t.Errorf("malformed removal %+v", c)
					}
					delete(w.tunnels, c.Remove.Home)
					continue
				}
				if c.Set.Side != overlay.AgentSide || len(c.Set.Paths) == 0 ||
					len(c.Set.Inner) == 0 || c.Set.Inner[0] != netip.PrefixFrom(c.Set.Home, 128) {
					w.t.Errorf("malformed tunnel %+v", *c.Set)
				}
				for home, other := range w.tunnels {
					for _, p := range c.Set.Inner {
						if home != c.Set.Home && slices.Contains(other.Inner, p) {
							w.t.Errorf("%v is forwarded to %v and %v", p, home, c.Set.Home)
						}
					}
				}
				for _, p := range c.Set.Paths {
					if p.Local != agentAddr || !mip6.Routable(p.Remote) {
						w.t.Errorf("malformed path %+v", p)
					}
				}
				w.tunnels[c.Set.Home] = *c.Set
			}
		case role.AddRoute:
			w.addRoute(action.Route)
		case role.RemoveRoute: // of a link that may be gone
			if !w.routes[action.Route] && !w.unreachable[action.Route.Destination] {
				w.t.Errorf("no route %+v to remove", action.Route)
			}
			if action.Route.Unreachable {
				delete(w.unreachable, action.Route.Destination)
			}
			delete(w.routes, action.Route)
		case role.DefendAddress:
			w.onHomeLink(action.Link)
			w.defended[action.Addr] = true
		case role.UndefendAddress:
			w.onHomeLink(action.Link)
			delete(w.defended, action.Addr)
		case role.AnnounceAddress:
			w.onHomeLink(action.Link)
			if !w.defended[action.Addr] {
				w.t.Errorf("%v is announced but not defended", action.Addr)
			}
		case role.ProbeAddress:
			w.onHomeLink(action.Link)
			w.probes++
		case role.ForgetNeighbor:
			w.onHomeLink(action.Link)
			if w.agent.homes[action.Addr] == nil && !w.homes[action.Addr] {
				w.t.Errorf("%v is forgotten, which is nobody's home address", action.Addr)
			}
		case role.Remember:
			w.memories[action.Memory.Key()] = action.Memory
		case role.Send:
			w.checkSend(action)
		case role.SendICMP:
			w.checkICMP(action)
		case role.JoinAnycast:
			w.onHomeLink(action.Link)
			w.joined[action.Addr] = true
		case role.LeaveAnycast: // of a link that may be gone
			delete(w.joined, action.Addr)
		case role.Log:
			w.logs = append(w.logs, action)
		case role.Dropped:
			if action.Reason == 0 {
				w.t.Errorf("dropped without a reason")
			}
		case role.Acknowledged:
			if !action.Sent {
				w.t.Errorf("%+v: a home agent only sends acknowledgements", action)
			}
		case role.BindingChanged:
			w.changes = append(w.changes, action)
		default:
			w.t.Errorf("unexpected action %T", action)
		}
	}
	w.checkMemories()
	return actions
}

// checkMemories verifies that what is remembered is what the agent knows now.
func (w *world) checkMemories() {
	w.t.Helper()
	for m := range w.agent.Memories() {
		kept := w.memories[m.Key()]
		if !kept.Lasts(w.now) {
			kept = kept.Unbound()
		}
		if !m.Lasts(w.now) { // expired, and not handled yet
			m = m.Unbound()
		}
		if kept.Updated, kept.Mobile = m.Updated, m.Mobile; !reflect.DeepEqual(kept, m) {
			w.t.Errorf("remembered\n%+v of\n%+v", kept, m)
		}
	}
}

// restart is a new process after a crash: the agent knows what it is told, and nothing
// is left outside.
func (w *world) restart(c Config) []role.Action {
	w.t.Helper()
	w.agent = New(c)
	for _, m := range []map[netip.Addr]bool{w.defended, w.joined, w.homes} {
		clear(m)
	}
	clear(w.tunnels)
	clear(w.routes)
	clear(w.unreachable)
	clear(w.direct)
	actions := w.apply(w.agent.Restore(w.now, slices.Collect(maps.Values(w.memories))))
	for _, action := range actions {
		if _, sends := action.(role.Send); sends {
			w.t.Errorf("a mobile is told of the restoration: %+v", action)
		}
	}
	return append(actions, w.handle(role.LinkChanged{Link: w.link})...)
}

// optimise carries out a change of the routes for prefix delegation.
func (w *world) optimise(c overlay.Change) {
	w.t.Helper()
	if c.Deoptimise != nil {
		if _, ok := w.direct[*c.Deoptimise]; !ok {
			w.t.Errorf("no route %+v to remove", *c.Deoptimise)
		}
		delete(w.direct, *c.Deoptimise)
		return
	}
	r := *c.Optimise
	if r.Side != overlay.CorrespondentSide || r.Peer != agentAddr || w.tunnels[r.Home].Paths == nil || w.tunnels[r.Home].Paths[0].Remote != r.CareOf {
		w.t.Errorf("malformed route %+v", r)
	}
	w.direct[r.Pair] = r
}

// addRoute installs a route to a network of a mobile router at home.
func (w *world) addRoute(r role.Route) {
	w.t.Helper()
	if r.Unreachable {
		if r.Link != 0 || r.Via.IsValid() || w.unreachable[r.Destination] {
			w.t.Errorf("route %+v", r)
		}
		w.unreachable[r.Destination] = true
		return
	}
	w.onHomeLink(r.Link)
	w.routes[r] = true
}

func (w *world) onHomeLink(index int) {
	w.t.Helper()
	if index != w.link.Index || index == 0 {
		w.t.Errorf("action on link %d, the home link is %d", index, w.link.Index)
	}
}

// checkSend verifies what holds for every Mobility Header message.
func (w *world) checkSend(s role.Send) {
	w.t.Helper()
	p := s.Packet
	switch p.Message.(type) {
	case mip6.BindingRefreshRequest, mip6.BindingError: // RFC 6275 §6.1: no routing header
		if p.Source != agentAddr || p.HomeAddress.IsValid() || p.RouteHome.IsValid() || s.Link != 0 || !mip6.Routable(p.Destination) {
			w.t.Errorf("unexpected packet %+v", p)
		}
		return
	}
	ba, ok := p.Message.(mip6.BindingAcknowledgement)
	if !ok || p.Source != agentAddr || p.HomeAddress.IsValid() || p.Destination == p.RouteHome {
		w.t.Errorf("unexpected packet %+v", p)
		return
	}
	mh, err := mip6.AppendMessage(nil, p.Source, p.To(), ba)
	if err != nil {
		w.t.Errorf("acknowledgement does not encode: %v", err)
		return
	}
	if m := w.memories[binding.Key{Home: p.To()}]; ba.Status.Accepted() && m.Sequence != ba.Sequence {
		w.t.Errorf("update %d of %v is acknowledged and not remembered: %+v", ba.Sequence, p.To(), m)
	}
	if m := w.agent.homes[p.To()]; m != nil && m.SA != nil && m.SA.Verify(mh, p.Destination, p.To()) != nil {
		if !w.alternate.IsValid() || m.SA.Verify(mh, w.alternate, p.To()) != nil {
			w.t.Errorf("acknowledgement to %v is not authentic", p.To())
		}
	}
}

// checkICMP verifies what holds for every ICMPv6 message: among the rest that it
// is encoded in no more than 1280 octets.
func (w *world) checkICMP(s role.SendICMP) {
	w.t.Helper()
	p := s.Packet
	b, err := p.Append(nil)
	if err != nil || len(b) > 1280 || p.Source != agentAddr || !mip6.Routable(p.Destination) || p.HomeAddress.IsValid() || s.Link != 0 {
		w.t.Errorf("%d octets, %v: %+v", len(b), err, p)
	}
	if _, ok := p.Message.(mip6.PrefixAdvertisement); ok != p.RouteHome.IsValid() {
		w.t.Errorf("routing header to %v: %+v", p.RouteHome, p)
	}
}

// run delivers timeouts until the given time has passed.
func (w *world) run(d time.Duration) []role.Action {
	w.t.Helper()
	return roletest.Pass(w.t, &w.now, d, w.agent.Next, func() []role.Action { return w.handle(role.Timeout{}) })
}

// request describes a binding update; packet makes it one.
type request struct {
	home, source netip.Addr
	alternate    netip.Addr // Alternate Care-of Address, when valid
	atHome       bool       // from the home address, without Home Address option
	sequence     mip6.Sequence
	lifetime     time.Duration
	flags        mip6.UpdateFlags
	options      []mip6.Option
	timestamp    time.Time // none when zero
	sa           *mip6.SecurityAssociation
	unsealed     bool
	overSource   bool // sealed over the source where there is an alternate care-of address
}

func (r request) packet(t testing.TB) mip6.Packet {
	t.Helper()
	p := mip6.Packet{Source: r.source, Destination: agentAddr, HomeAddress: r.home}
	if r.atHome {
		p.Source, p.HomeAddress = r.home, netip.Addr{}
	}
	bu := mip6.BindingUpdate{Sequence: r.sequence, Flags: r.flags, Lifetime: mip6.LifetimeFrom(r.lifetime), Options: slices.Clone(r.options)}
	careOf := p.Source
	if r.alternate.IsValid() {
		bu.Options = append(bu.Options, mip6.AlternateCareOf{Addr: r.alternate})
		if !r.overSource {
			careOf = r.alternate
		}
	}
	if !r.timestamp.IsZero() {
		bu.Options = append(bu.Options, mip6.ReplayProtection{Timestamp: mip6.TimestampFrom(r.timestamp)})
	}
	p.Message = bu
	if !r.unsealed {
		sa := r.sa
		if sa == nil {
			sa = association(r.home)
		}
		sealed, err := sa.Seal(bu, careOf, r.home)
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

func (w *world) send(r request) []role.Action {
	w.t.Helper()
	w.alternate = r.alternate
	return w.handle(role.MessageReceived{Link: 1, Packet: r.packet(w.t)})
}

// registered sends a request and lets duplicate address detection end.
func (w *world) registered(r request) {
	w.t.Helper()
	actions := append(w.send(r), w.run(time.Second)...)
	if ba := onlyAck(w.t, actions); !ba.Status.Accepted() {
		w.t.Fatalf("binding update of %v: %v", r.home, ba.Status)
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
		t.Fatalf("%d acknowledgements, want one: %v", len(list), kinds(actions))
	}
	return list[0].Message.(mip6.BindingAcknowledgement)
}

func drops(actions []role.Action) (reasons []role.DropReason) {
	for _, action := range actions {
		if d, ok := action.(role.Dropped); ok {
			reasons = append(reasons, d.Reason)
		}
	}
	return reasons
}

// kinds renders actions without logs, for comparison in order; routes on the home
// link have tests of their own.
func kinds(actions []role.Action) (list []string) {
	for _, action := range actions {
		switch action := action.(type) {
		case role.Log, role.AddRoute, role.RemoveRoute, role.Remember:
		case role.Forward:
			for _, c := range action.Changes {
				switch {
				case c.Optimise != nil:
					list = append(list, fmt.Sprintf("direct %v via %v", c.Optimise.Home, c.Optimise.CareOf))
					continue
				case c.Deoptimise != nil:
					list = append(list, fmt.Sprintf("indirect %v", c.Deoptimise.Home))
					continue
				}
				if c.Set == nil {
					list = append(list, fmt.Sprintf("remove %v", c.Remove.Home))
					continue
				}
				list = append(list, fmt.Sprintf("set %v via %v", c.Set.Inner, c.Set.Paths[0].Remote))
			}
		case role.Send:
			if action.Packet.Message.Type() != mip6.TypeBindingAcknowledgement {
				list = append(list, fmt.Sprintf("%v to %v", action.Packet.Message.Type(), action.Packet.Destination))
				continue
			}
			ba := action.Packet.Message.(mip6.BindingAcknowledgement)
			s := fmt.Sprintf("ack %d to %v", ba.Status, action.Packet.Destination)
			if action.Packet.RouteHome.IsValid() {
				s += fmt.Sprintf(" route %v", action.Packet.RouteHome)
			}
			if action.Link != 0 {
				s += fmt.Sprintf(" on %d", action.Link)
			}
			list = append(list, s)
		case role.DefendAddress:
			list = append(list, fmt.Sprintf("defend %v router=%t", action.Addr, action.Router))
		case role.UndefendAddress:
			list = append(list, fmt.Sprintf("undefend %v", action.Addr))
		case role.AnnounceAddress:
			list = append(list, fmt.Sprintf("announce %v router=%t", action.Addr, action.Router))
		case role.ProbeAddress:
			list = append(list, fmt.Sprintf("probe %v", action.Addr))
		case role.SendICMP:
			list = append(list, fmt.Sprintf("%T to %v", action.Packet.Message, action.Packet.Destination))
		case role.JoinAnycast:
			list = append(list, fmt.Sprintf("join %v", action.Addr))
		case role.LeaveAnycast:
			list = append(list, fmt.Sprintf("leave %v", action.Addr))
		case role.Acknowledged, role.BindingChanged, role.ForgetNeighbor:
		case role.Dropped:
			list = append(list, "drop "+action.Reason.String())
		default:
			list = append(list, fmt.Sprintf("%T", action))
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

func attribute(l role.Log, key string) (slog.Value, bool) {
	for _, a := range l.Attrs {
		if a.Key == key {
			return a.Value, true
		}
	}
	return slog.Value{}, false
}

func (w *world) entry(home netip.Addr) *binding.Entry { return w.agent.bindings.Get(home) }
