package cn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/internal/role/roletest"
	"roam6/mip6"
	"roam6/overlay"
)

var (
	own     = netip.MustParseAddr("2001:db8:c::1")
	own2    = netip.MustParseAddr("2001:db8:c::2")
	homeA   = netip.MustParseAddr("2001:db8:1::a")
	homeB   = netip.MustParseAddr("2001:db8:1::b")
	careOf1 = netip.MustParseAddr("2001:db8:f1::1")
	careOf2 = netip.MustParseAddr("2001:db8:f2::1")
	careOf3 = netip.MustParseAddr("2001:db8:f3::1")
)

// entropy is a source of octets that is the same in every run.
func entropy(seed byte) func([]byte) {
	r := rand.NewChaCha8([32]byte{seed})
	return func(b []byte) { r.Read(b) }
}

func testConfig() Config { return Config{Optimise: true, Random: entropy(1)} }

// world is a correspondent with what surrounds it: the time, and the routes that
// its actions make.
type world struct {
	t    testing.TB
	node *Correspondent
	now  time.Time

	routes map[overlay.Pair]netip.Addr
	logs   []role.Log
}

func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, node: New(c), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), routes: map[overlay.Pair]netip.Addr{}}
}

func (w *world) handle(e role.Event) []role.Action {
	w.t.Helper()
	return w.apply(w.node.Handle(w.now, e))
}

func (w *world) receive(p mip6.Packet) []role.Action {
	w.t.Helper()
	return w.handle(role.MessageReceived{Link: 2, Packet: p})
}

// apply carries the actions out on the routes, and fails the test when one is not
// well-formed.
func (w *world) apply(actions []role.Action) []role.Action {
	w.t.Helper()
	for _, action := range actions {
		switch action := action.(type) {
		case role.Forward:
			for _, c := range action.Changes {
				w.change(c)
			}
		case role.Send:
			w.checkSend(action)
		case role.Log:
			w.logs = append(w.logs, action)
		case role.Dropped:
			if action.Reason == 0 {
				w.t.Error("dropped without a reason")
			}
		case role.Acknowledged:
			if !action.Sent {
				w.t.Errorf("%+v: a correspondent only sends acknowledgements", action)
			}
		default:
			w.t.Errorf("unexpected action %T", action)
		}
	}
	return actions
}

func (w *world) change(c overlay.Change) {
	w.t.Helper()
	switch {
	case c.Set != nil || c.Remove != (overlay.Key{}):
		w.t.Errorf("a correspondent has no tunnels: %+v", c)
	case c.Optimise != nil && c.Deoptimise == nil:
		r := *c.Optimise
		if r.Side != overlay.CorrespondentSide || !mip6.Routable(r.Home) || !mip6.Routable(r.Peer) || !mip6.Routable(r.CareOf) || r.Link != 0 {
			w.t.Errorf("malformed route %+v", r)
		}
		if w.routes[r.Pair] == r.CareOf {
			w.t.Errorf("route %+v is there already", r)
		}
		w.routes[r.Pair] = r.CareOf
	case c.Deoptimise != nil && c.Optimise == nil:
		if !w.routes[*c.Deoptimise].IsValid() {
			w.t.Errorf("route %+v is not there", *c.Deoptimise)
		}
		delete(w.routes, *c.Deoptimise)
	default:
		w.t.Errorf("malformed change %+v", c)
	}
}

// checkSend verifies what holds for every message.
//
// RFC 6275 §6.1: no Home Address option, and a routing header only in
// acknowledgements; §9.3.3, §9.5.4: nothing to multicast.
func (w *world) checkSend(s role.Send) {
	w.t.Helper()
	p := s.Packet
	_, ack := p.Message.(mip6.BindingAcknowledgement)
	if s.Link != 0 || p.HomeAddress.IsValid() || p.RouteHome.IsValid() && (!ack || p.RouteHome == p.Destination) ||
		!mip6.Routable(p.Source) || !mip6.Routable(p.Destination) || p.Source == p.Destination {
		w.t.Errorf("unexpected packet %+v", s)
	}
	if _, err := p.Append(nil); err != nil {
		w.t.Errorf("%+v does not encode: %v", p.Message, err)
	}
}

// run delivers timeouts until the given time has passed.
func (w *world) run(d time.Duration) []role.Action {
	w.t.Helper()
	return roletest.Pass(w.t, &w.now, d, w.node.Next, func() []role.Action { return w.handle(role.Timeout{}) })
}

// mobile is a mobile node as small as can be: it tests its addresses and makes
// binding updates of what it learns.
type mobile struct {
	w            *world
	home, careOf netip.Addr
	peer         netip.Addr
	sequence     mip6.Sequence
	indices      mip6.NonceIndices
	homeToken    mip6.KeygenToken
	careOfToken  mip6.KeygenToken
	cookies      byte
}

func (w *world) mobile(home, careOf netip.Addr) *mobile {
	return &mobile{w: w, home: home, careOf: careOf, peer: own, sequence: 100}
}

func (m *mobile) cookie() (c mip6.Cookie) {
	m.cookies++
	for i := range c {
		c[i] = m.cookies + byte(i)
	}
	return c
}

// testHome sends a Home Test Init and learns from the answer.
func (m *mobile) testHome() {
	m.w.t.Helper()
	cookie := m.cookie()
	actions := m.w.receive(mip6.Packet{Source: m.home, Destination: m.peer, Message: mip6.HomeTestInit{Cookie: cookie}})
	p := onlySent(m.w.t, actions)
	hot, ok := p.Message.(mip6.HomeTest)
	if !ok || p.Source != m.peer || p.Destination != m.home || hot.Cookie != cookie {
		m.w.t.Fatalf("Home Test Init answered by %+v", p)
	}
	m.homeToken, m.indices.Home = hot.Token, hot.NonceIndex
}

// testCareOf sends a Care-of Test Init and learns from the answer.
func (m *mobile) testCareOf() {
	m.w.t.Helper()
	cookie := m.cookie()
	actions := m.w.receive(mip6.Packet{Source: m.careOf, Destination: m.peer, Message: mip6.CareOfTestInit{Cookie: cookie}})
	p := onlySent(m.w.t, actions)
	cot, ok := p.Message.(mip6.CareOfTest)
	if !ok || p.Source != m.peer || p.Destination != m.careOf || cot.Cookie != cookie {
		m.w.t.Fatalf("Care-of Test Init answered by %+v", p)
	}
	m.careOfToken, m.indices.CareOf = cot.Token, cot.NonceIndex
}

func (m *mobile) test() *mobile {
	m.w.t.Helper()
	m.testHome()
	m.testCareOf()
	return m
}

// request describes a binding update, beginning with what the mobile would send.
type request struct {
	m           *mobile
	home        netip.Addr // Home Address option, when valid
	source      netip.Addr
	destination netip.Addr
	route       netip.Addr // type 2 routing header, when valid
	alternate   netip.Addr // Alternate Care-of Address option, when valid
	sequence    mip6.Sequence
	flags       mip6.UpdateFlags
	lifetime    time.Duration
	indices     mip6.NonceIndices
	noIndices   bool
	options     []mip6.Option
	key         mip6.BindingKey
	sealed      netip.Addr // care-of address that the authenticator covers
	unsealed    bool
	flip        int // octet of the message to spoil, when not zero
}

// registers is an update that registers the care-of address.
func (m *mobile) registers(lifetime time.Duration) request {
	m.sequence++
	return request{
		m: m, home: m.home, source: m.careOf, destination: m.peer, sequence: m.sequence,
		flags: mip6.UpdateAcknowledge, lifetime: lifetime, indices: m.indices,
		key: mip6.NewBindingKey(m.homeToken, m.careOfToken), sealed: m.careOf,
	}
}

// deletes is an update that deletes the binding, from the home address.
func (m *mobile) deletes() request {
	r := m.registers(0)
	r.source, r.home, r.sealed, r.indices.CareOf = m.home, netip.Addr{}, m.home, 0
	r.key = mip6.NewDeregistrationKey(m.homeToken)
	return r
}

func (r request) packet() mip6.Packet {
	t := r.m.w.t
	t.Helper()
	p := mip6.Packet{Source: r.source, Destination: r.destination, HomeAddress: r.home, RouteHome: r.route}
	bu := mip6.BindingUpdate{Sequence: r.sequence, Flags: r.flags, Lifetime: mip6.LifetimeFrom(r.lifetime), Options: slices.Clone(r.options)}
	if r.alternate.IsValid() {
		bu.Options = append(bu.Options, mip6.AlternateCareOf{Addr: r.alternate})
	}
	if !r.noIndices {
		bu.Options = append(bu.Options, r.indices)
	}
	var message mip6.Message = bu
	if !r.unsealed {
		sealed, err := r.key.SealAuthorization(bu, r.sealed, p.To())
		if err != nil {
			t.Fatal(err)
		}
		message = sealed
	}
	mh, err := mip6.AppendMessage(nil, p.From(), p.To(), message)
	if err != nil {
		t.Fatal(err)
	}
	if r.flip != 0 {
		mh[r.flip] ^= 1
	}
	p.Message, p.MH = message, mh
	return p
}

func (r request) send() []role.Action {
	r.m.w.t.Helper()
	return r.m.w.receive(r.packet())
}

// accepted sends a request that must be accepted with an authentic
// acknowledgement, and returns that.
func (r request) accepted() mip6.BindingAcknowledgement {
	r.m.w.t.Helper()
	ba := r.answered()
	if !ba.Status.Accepted() || ba.Sequence != r.sequence {
		r.m.w.t.Fatalf("binding update %d of %v: %+v", r.sequence, r.m.home, ba)
	}
	return ba
}

// refused sends a request that must be answered with the given status.
func (r request) refused(status mip6.Status) mip6.BindingAcknowledgement {
	r.m.w.t.Helper()
	ba := r.answered()
	if ba.Status != status || ba.Lifetime != 0 {
		r.m.w.t.Errorf("refused with %+v, want status %v", ba, status)
	}
	return ba
}

// answered sends a request that must be answered, and verifies what holds for
// every acknowledgement (RFC 6275 §9.5.4).
func (r request) answered() mip6.BindingAcknowledgement {
	t := r.m.w.t
	t.Helper()
	p := onlySent(t, r.send())
	ba, ok := p.Message.(mip6.BindingAcknowledgement)
	if !ok || p.Source != r.destination || p.Destination != r.source || p.RouteHome != r.routed() {
		t.Fatalf("binding update answered by %+v", p)
	}
	_, sealed := mip6.Find[mip6.AuthorizationData](ba)
	if sealed == expiredNonces(ba.Status) {
		t.Errorf("status %v with authorization data: %t", ba.Status, sealed)
	}
	if sealed && !r.sealedAnswer(p) {
		t.Errorf("acknowledgement %+v is not authentic", ba)
	}
	if ba.Flags != 0 {
		t.Errorf("flags %v in an acknowledgement (RFC 6275 §6.1.8)", ba.Flags)
	}
	return ba
}

func (r request) sealedAnswer(p mip6.Packet) bool {
	mh, err := mip6.AppendMessage(nil, p.Source, p.To(), p.Message)
	return err == nil && r.key.VerifyAuthorization(mh, r.sealed, r.destination) == nil
}

// routed is what the routing header of the answer must have.
func (r request) routed() netip.Addr {
	if r.home == r.source {
		return netip.Addr{}
	}
	return r.home
}

func expiredNonces(s mip6.Status) bool { return s >= 136 && s <= 138 }

// ignored sends a request that must not be answered, and change nothing.
func (r request) ignored(reason role.DropReason) {
	r.m.w.t.Helper()
	before := r.m.w.node.Bindings()
	wantKinds(r.m.w.t, r.send(), "drop "+reason.String())
	if after := r.m.w.node.Bindings(); !slices.Equal(before, after) {
		r.m.w.t.Errorf("bindings before %v, after %v", before, after)
	}
}

func sent(actions []role.Action) (list []mip6.Packet) {
	for _, action := range actions {
		if s, ok := action.(role.Send); ok {
			list = append(list, s.Packet)
		}
	}
	return list
}

func onlySent(t testing.TB, actions []role.Action) mip6.Packet {
	t.Helper()
	list := sent(actions)
	if len(list) != 1 {
		t.Fatalf("%d messages sent, want one: %v", len(list), kinds(actions))
	}
	return list[0]
}

// kinds renders actions without logs, for comparison in order.
func kinds(actions []role.Action) (list []string) {
	for _, action := range actions {
		switch action := action.(type) {
		case role.Log, role.Acknowledged:
		case role.Forward:
			for _, c := range action.Changes {
				if c.Optimise != nil {
					list = append(list, fmt.Sprintf("optimise %v at %v via %v", c.Optimise.Home, c.Optimise.Peer, c.Optimise.CareOf))
				} else {
					list = append(list, fmt.Sprintf("deoptimise %v at %v", c.Deoptimise.Home, c.Deoptimise.Peer))
				}
			}
		case role.Send:
			s := fmt.Sprintf("%v to %v", action.Packet.Message.Type(), action.Packet.Destination)
			if ba, ok := action.Packet.Message.(mip6.BindingAcknowledgement); ok {
				s = fmt.Sprintf("ack %d to %v", ba.Status, action.Packet.Destination)
			}
			if action.Packet.RouteHome.IsValid() {
				s += fmt.Sprintf(" route %v", action.Packet.RouteHome)
			}
			list = append(list, s)
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

// wantRoute asserts where the packets of a mobile go; nowhere is through its home
// agent.
func (m *mobile) wantRoute(careOf netip.Addr) {
	m.w.t.Helper()
	pair := overlay.Pair{Home: m.home, Peer: m.peer, Side: overlay.CorrespondentSide}
	if got := m.w.routes[pair]; got != careOf {
		m.w.t.Errorf("packets of %v go to %v, want %v", m.home, got, careOf)
	}
}

// wantEmpty asserts that there is no trace of any mobile.
func (w *world) wantEmpty() {
	w.t.Helper()
	if s := w.node.Stats(); len(w.routes) != 0 || len(w.node.bindings.entries) != 0 || s.Bindings+s.Deleted != 0 ||
		!w.node.Next().IsZero() || len(w.node.Bindings()) != 0 {
		w.t.Errorf("left behind: routes %v, %d entries, %+v, waiting until %v", w.routes, len(w.node.bindings.entries), s, w.node.Next())
	}
}
