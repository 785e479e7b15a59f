package mr

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/nd"
)

var (
	home   = netip.MustParseAddr("2001:db8:10::100")
	agent  = netip.MustParseAddr("2001:db8:10::1")
	prefix = netip.MustParsePrefix("2001:db8:100::/64")
	second = netip.MustParsePrefix("2001:db8:101::/64")
	sa     = mip6.SecurityAssociation{SPI: 256, Key: mip6.SharedKey{9}}
)

// bench drives a router that is attached to one access router.
type bench struct {
	*testing.T
	router *Router
	now    time.Time
	all    []role.Action
}

func newBench(t *testing.T, mode Mode) *bench {
	return newBenchOf(t, mode, []netip.Prefix{prefix, second}, agent)
}

// newBenchOf is a router with these networks and home agents.
func newBenchOf(t *testing.T, mode Mode, networks []netip.Prefix, agents ...netip.Addr) *bench {
	c := Config{
		Config: mn.Config{Name: "train", HomeAddress: home, HomePrefix: netip.PrefixFrom(home, 64).Masked(), HomeAgents: agents,
			SA: &sa, Lifetime: 600 * time.Second, Uplinks: []string{"up0"}},
		Mode: mode, Prefixes: networks,
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, router: New(c), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b.attach()
	return b
}

// attach lets the router hear an access router.
func (b *bench) attach() {
	b.handle(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	b.handle(role.RouterHeard{Link: 1, Router: netip.MustParseAddr("fe80::a1"), RA: nd.RouterAdvertisement{
		RouterLifetime: time.Hour, SourceLinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Prefixes: []mip6.PrefixInformation{{Prefix: netip.MustParsePrefix("2001:db8:a1::/64"), OnLink: true, Autonomous: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour}},
	}})
}

func (b *bench) handle(e role.Event) []role.Action {
	did := b.router.Handle(b.now, e)
	b.all = append(b.all, did...)
	return did
}

func (b *bench) last() (mip6.BindingUpdate, mip6.Packet) {
	b.Helper()
	for _, a := range slices.Backward(b.all) {
		if s, ok := a.(role.Send); ok {
			return s.Packet.Message.(mip6.BindingUpdate), s.Packet
		}
	}
	b.Fatal("no update")
	return mip6.BindingUpdate{}, mip6.Packet{}
}

// answer delivers an acknowledgement of the last update.
func (b *bench) answer(status mip6.Status, flags mip6.AckFlags) []role.Action {
	b.Helper()
	u, p := b.last()
	a := mip6.BindingAcknowledgement{Status: status, Flags: flags, Sequence: u.Sequence, Lifetime: u.Lifetime}
	m, err := sa.Seal(a, p.Source, home)
	if err != nil {
		b.Fatal(err)
	}
	o, err := mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: home, Message: m}.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	q, err := mip6.ParsePacket(o)
	if err != nil {
		b.Fatal(err)
	}
	b.now = b.now.Add(10 * time.Millisecond)
	return b.handle(role.MessageReceived{Link: 1, Packet: q})
}

func count(actions []role.Action) (updates, logs int, unusable []netip.Prefix) {
	for _, a := range actions {
		switch a := a.(type) {
		case role.Send:
			updates++
		case role.Log:
			logs++
		case role.AdvertisePrefix:
			if !a.Usable {
				unusable = append(unusable, a.Prefix)
			}
		}
	}
	return updates, logs, unusable
}

// R with H; the prefixes in every explicit update, refreshes too, in none that
// is implicit, and in no de-registration (RFC 3963 §5.2, §5.8; R2, R3).
//
// Covers: R2, R3.
func TestPrefixesInUpdates(t *testing.T) {
	for mode, want := range map[Mode]int{Explicit: 2, Implicit: 0} {
		b := newBench(t, mode)
		check := func(when string, want int) {
			u, _ := b.last()
			if u.Flags&(mip6.UpdateMobileRouter|mip6.UpdateHome) != mip6.UpdateMobileRouter|mip6.UpdateHome {
				t.Errorf("%v %s: flags %016b", mode, when, u.Flags)
			}
			if got := len(mip6.All[mip6.MobileNetworkPrefix](u)); got != want {
				t.Errorf("%v %s: %d prefixes, want %d", mode, when, got, want)
			}
		}
		check("first", want)
		b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
		b.now = b.now.Add(500 * time.Second)
		b.handle(role.Timeout{})
		check("refresh", want)
		b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
		b.now = b.now.Add(10 * time.Second)
		b.handle(role.Stop{})
		check("de-registration", 0)
	}
}

// The tunnel carries the home address and the prefixes (RFC 3963 §5.5).
func TestInner(t *testing.T) {
	b := newBench(t, Explicit)
	for _, a := range b.all {
		if f, ok := a.(role.Forward); ok {
			want := []netip.Prefix{netip.PrefixFrom(home, 128), prefix, second}
			if got := f.Changes[0].Set.Inner; !slices.Equal(got, want) {
				t.Errorf("inner %v, want %v", got, want)
			}
			return
		}
	}
	t.Error("no tunnel")
}

// An acknowledgement without R: the registration is ended and no other is made
// (RFC 3963 §5.3).
//
// Covers: R4.
func TestHomeAgentWithoutNEMO(t *testing.T) {
	b := newBench(t, Explicit)
	b.answer(mip6.StatusAccepted, 0)
	if u, _ := b.last(); u.Lifetime != 0 {
		t.Fatalf("not de-registered: %+v", u)
	}
	b.answer(mip6.StatusAccepted, 0)
	b.now = b.now.Add(time.Hour)
	if n, _, _ := count(b.handle(role.Timeout{})); n != 0 {
		t.Error("registered again")
	}
}

// The refusals of RFC 3963 §5.4: which mode is tried next, whether the prefixes
// are still advertised, and that all ends when every mode failed.
//
// Covers: R5.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		mode     Mode
		statuses []mip6.Status
		retries  int // updates that follow the refusals
		withdraw bool
	}{
		{Explicit, []mip6.Status{mip6.StatusRouterNotPermitted}, 0, false},
		{Implicit, []mip6.Status{mip6.StatusRouterNotPermitted}, 0, false},
		{Explicit, []mip6.Status{mip6.StatusInvalidPrefix}, 1, true},
		{Explicit, []mip6.Status{mip6.StatusNotAuthorizedForPrefix}, 1, true},
		{Explicit, []mip6.Status{mip6.StatusNotAuthorizedForPrefix, mip6.StatusForwardingSetupFailed}, 1, true},
		{Explicit, []mip6.Status{mip6.StatusForwardingSetupFailed}, 0, false}, // fatal there
		{Implicit, []mip6.Status{mip6.StatusForwardingSetupFailed}, 1, false},
		{Implicit, []mip6.Status{mip6.StatusForwardingSetupFailed, mip6.StatusNotAuthorizedForPrefix}, 1, true},
		{Implicit, []mip6.Status{mip6.StatusInvalidPrefix}, 0, true}, // fatal there
	} {
		b := newBenchOf(t, c.mode, []netip.Prefix{prefix}, agent)
		var did []role.Action
		for _, s := range c.statuses {
			did = append(did, b.answer(s, 0)...)
		}
		updates, logs, unusable := count(did)
		if updates != c.retries || logs == 0 || (len(unusable) > 0) != c.withdraw {
			t.Errorf("%v %v: %d updates (want %d), %d log lines, withdrawn %v (want %v)", c.mode, c.statuses, updates, c.retries, logs, unusable, c.withdraw)
		}
		if c.retries > 0 && len(c.statuses) == 1 {
			u, _ := b.last()
			explicit := len(mip6.All[mip6.MobileNetworkPrefix](u)) > 0
			if explicit == (c.mode == Explicit) {
				t.Errorf("%v %v: the other mode was not tried", c.mode, c.statuses)
			}
			continue
		}
		b.now = b.now.Add(time.Hour)
		if n, _, _ := count(b.handle(role.Timeout{})); n != 0 {
			t.Errorf("%v %v: updates after every mode failed", c.mode, c.statuses)
		}
	}
}

// A new configuration begins afresh and withdraws prefixes that are gone.
func TestReconfigure(t *testing.T) {
	b := newBench(t, Explicit)
	b.answer(mip6.StatusRouterNotPermitted, 0)
	c := b.router.config
	c.Prefixes = []netip.Prefix{prefix}
	did := b.router.Reconfigure(b.now, c)
	b.all = append(b.all, did...)
	updates, _, unusable := count(did)
	if updates != 1 || !slices.Equal(unusable, []netip.Prefix{second}) {
		t.Errorf("%d updates, withdrawn %v", updates, unusable)
	}
	if u, _ := b.last(); len(mip6.All[mip6.MobileNetworkPrefix](u)) != 1 {
		t.Errorf("update %+v", u)
	}
}

var another = netip.MustParseAddr("2001:db8:10::2")

// A home agent without NEMO is de-registered from, and then the next one is asked
// (RFC 3963 §5.3).
//
// Covers: R4, M10.
func TestNextHomeAgentWithNEMO(t *testing.T) {
	b := newBenchOf(t, Explicit, []netip.Prefix{prefix}, agent, another)
	b.answer(mip6.StatusAccepted, 0)
	if u, p := b.last(); u.Lifetime != 0 || p.Destination != agent {
		t.Fatalf("not de-registered: %+v to %v", u, p.Destination)
	}
	b.answer(mip6.StatusAccepted, 0)
	u, p := b.last()
	if u.Lifetime == 0 || p.Destination != another || b.router.Agent() != another {
		t.Fatalf("%+v to %v", u, p.Destination)
	}
	b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	if s := b.router.Snapshot(b.now); !s.Update.Registered || s.HomeAgent != another {
		t.Errorf("%+v", s.Update)
	}
}

// A home agent that refuses: the next one is asked for the same, and when it accepts
// the prefixes are advertised again. When none does they are asked in the other mode,
// and when every one has refused every mode all updates end (RFC 3963 §5.4).
//
// Covers: R5, M10.
func TestNextHomeAgentAfterRefusal(t *testing.T) {
	b := newBenchOf(t, Explicit, []netip.Prefix{prefix}, agent, another)
	b.answer(mip6.StatusNotAuthorizedForPrefix, 0)
	u, p := b.last()
	if p.Destination != another || len(mip6.All[mip6.MobileNetworkPrefix](u)) != 1 {
		t.Fatalf("%+v to %v", u, p.Destination)
	}
	if b.router.Networks(b.now).Prefixes[0].Usable {
		t.Error("refused prefixes are advertised")
	}
	b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	if !b.router.Networks(b.now).Prefixes[0].Usable {
		t.Error("accepted prefixes are not advertised")
	}

	const no, none, never = mip6.StatusNotAuthorizedForPrefix, mip6.StatusForwardingSetupFailed, mip6.StatusRouterNotPermitted
	type step struct {
		to       netip.Addr
		explicit bool
		status   mip6.Status
	}
	for _, c := range []struct {
		mode  Mode
		steps []step
	}{
		{Explicit, []step{{agent, true, never}, {another, true, never}}},
		{Explicit, []step{{agent, true, no}, {another, true, no}, {another, false, none}, {agent, false, none}}},
		{Explicit, []step{{agent, true, no}, {another, true, never}, {agent, false, none}}},
		{Explicit, []step{{agent, true, never}, {another, true, no}, {another, false, none}}},
		{Implicit, []step{{agent, false, none}, {another, false, none}, {another, true, no}, {agent, true, no}}},
	} {
		b := newBenchOf(t, c.mode, []netip.Prefix{prefix}, agent, another)
		for i, s := range c.steps {
			u, p := b.last()
			if explicit := len(mip6.All[mip6.MobileNetworkPrefix](u)) > 0; p.Destination != s.to || explicit != s.explicit {
				t.Errorf("%v %v: update %d is explicit %t to %v", c.mode, c.steps, i, explicit, p.Destination)
			}
			b.answer(s.status, 0)
		}
		before := len(b.all)
		for range 100 {
			b.now = b.now.Add(time.Minute)
			b.handle(role.Timeout{})
		}
		if n, _, _ := count(b.all[before:]); n != 0 || !b.router.Snapshot(b.now).Update.Halted {
			t.Errorf("%v %v: %d updates after every home agent has refused", c.mode, c.steps, n)
		}
	}
}

// Refused prefixes stay in the tunnel: beside it they must not leave.
//
// Covers: R8.
func TestRefusedPrefixesStayInTheTunnel(t *testing.T) {
	b := newBench(t, Explicit)
	b.answer(mip6.StatusInvalidPrefix, 0)
	if got := (extension{b.router}).Inner(); !slices.Equal(got, []netip.Prefix{prefix, second}) {
		t.Errorf("inner %v", got)
	}
	for _, a := range b.all {
		if f, ok := a.(role.Forward); ok && f.Changes[0].Set != nil && len(f.Changes[0].Set.Inner) != 3 {
			t.Errorf("tunnel %+v", f.Changes[0].Set)
		}
	}
}

// After a home agent that does not serve mobile routers discovery runs again, and
// the one that it finds is asked (RFC 3963 §5.3).
//
// Covers: R4, M10.
func TestDiscoveryAfterHomeAgentWithoutNEMO(t *testing.T) {
	b := newBench(t, Explicit)
	c := b.router.config
	c.DiscoverHomeAgent = true
	b.router, b.all = New(c), nil
	b.attach()
	b.answer(mip6.StatusAccepted, 0)
	b.answer(mip6.StatusAccepted, 0) // of the de-registration
	var request *role.SendICMP
	for range 100 {
		b.now = b.now.Add(time.Second)
		for _, a := range b.handle(role.Timeout{}) {
			if s, ok := a.(role.SendICMP); ok && request == nil {
				request = &s
			}
		}
		if request != nil {
			break
		}
	}
	if request == nil {
		t.Fatal("no discovery")
	}
	m := request.Packet.Message.(mip6.HomeAgentRequest)
	b.handle(role.ICMPReceived{Link: 1, Packet: mip6.ICMPPacket{Source: another, Destination: request.Packet.Source,
		Message: mip6.HomeAgentReply{Identifier: m.Identifier, MobileRouter: true, HomeAgents: []netip.Addr{another, agent}}}})
	if u, p := b.last(); p.Destination != another || u.Lifetime == 0 {
		t.Fatalf("%+v to %v", u, p.Destination)
	}
	b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	if s := b.router.Snapshot(b.now); !s.Update.Registered || s.Update.Halted {
		t.Errorf("%+v", s.Update)
	}
}

// Two updates are under way when the home agent refuses: the second answer is about
// an explicit update too, and no fatal error of the implicit mode that is tried
// meanwhile (RFC 3963 §5.4).
//
// Covers: R5.
func TestRefusalsOverlap(t *testing.T) {
	b := newBenchOf(t, Explicit, []netip.Prefix{prefix}, agent)
	first, p := b.last()
	b.now = b.now.Add(1500 * time.Millisecond)
	b.handle(role.Timeout{}) // the retransmission
	second, _ := b.last()
	if second.Sequence == first.Sequence {
		t.Fatal("no retransmission")
	}
	deliver := func(q mip6.Sequence) {
		m, err := sa.Seal(mip6.BindingAcknowledgement{Status: mip6.StatusNotAuthorizedForPrefix, Sequence: q}, p.Source, home)
		if err != nil {
			t.Fatal(err)
		}
		o, err := mip6.Packet{Source: agent, Destination: p.Source, RouteHome: home, Message: m}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		packet, err := mip6.ParsePacket(o)
		if err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(10 * time.Millisecond)
		b.handle(role.MessageReceived{Link: 1, Packet: packet})
	}
	deliver(first.Sequence)
	deliver(second.Sequence)
	b.now = b.now.Add(2 * time.Second)
	b.handle(role.Timeout{})
	u, _ := b.last()
	if b.router.Snapshot(b.now).Update.Halted || len(mip6.All[mip6.MobileNetworkPrefix](u)) != 0 || u.Lifetime == 0 {
		t.Errorf("halted %t, last update %+v", b.router.Snapshot(b.now).Update.Halted, u)
	}
}

// While the home agent serves in implicit mode the refused prefixes are not
// advertised; they are named again after a while, and are back when they are
// accepted then.
//
// Covers: R5.
func TestRefusedPrefixesComeBack(t *testing.T) {
	b := newBench(t, Explicit)
	b.serve()
	if b.router.Networks(b.now).Prefixes[0].Usable || b.router.Mode() != Implicit {
		t.Fatalf("%+v", b.router.Networks(b.now))
	}
	b.now = b.router.again
	did := b.handle(role.Timeout{})
	if u, _ := b.last(); len(mip6.All[mip6.MobileNetworkPrefix](u)) != 2 {
		t.Fatalf("%v", did)
	}
	did = b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	if got := usable(did); !slices.Equal(got, []netip.Prefix{prefix, second}) || !b.router.Networks(b.now).Prefixes[1].Usable {
		t.Errorf("advertised again: %v", got)
	}
	if !b.router.again.IsZero() {
		t.Error("tries again")
	}
}

// serve is a home agent that takes updates which name only certain prefixes, or
// none, and refuses others. It answers until there is nothing more to answer, and
// returns how many updates that were.
func (b *bench) serve(authorized ...netip.Prefix) (updates int) {
	b.Helper()
	for before := -1; updates < 100; updates++ {
		u, _ := b.last()
		if int(u.Sequence) == before {
			return updates
		}
		before = int(u.Sequence)
		status, flags := mip6.StatusAccepted, mip6.AckMobileRouter
		for _, o := range mip6.All[mip6.MobileNetworkPrefix](u) {
			if !slices.Contains(authorized, o.Prefix) {
				status, flags = mip6.StatusNotAuthorizedForPrefix, 0
			}
		}
		did := b.answer(status, flags)
		for end := b.now.Add(time.Second); ; { // the rate limit of updates
			next := b.router.Next()
			if n, _, _ := count(did); n > 0 || next.IsZero() || next.After(end) {
				break
			}
			b.now = next
			did = b.handle(role.Timeout{})
		}
	}
	b.Error("updates without end")
	return updates
}

func usable(actions []role.Action) (list []netip.Prefix) {
	for _, a := range actions {
		if p, ok := a.(role.AdvertisePrefix); ok && p.Usable {
			list = append(list, p.Prefix)
		}
	}
	return list
}

// 143 in implicit mode without prefixes to name: the next home agent is asked
// (RFC 3963 §5.4.1).
//
// Covers: R5, M10.
func TestForwardingFailsWithoutPrefixes(t *testing.T) {
	b := newBenchOf(t, Implicit, nil, agent, another)
	b.answer(mip6.StatusForwardingSetupFailed, 0)
	if u, p := b.last(); p.Destination != another || len(mip6.All[mip6.MobileNetworkPrefix](u)) != 0 {
		t.Errorf("%+v to %v", u, p.Destination)
	}
}

// A prefix that is added at run time is in the tunnel and in an update at once, one
// that is removed is not, and the advertisements inside follow. Refused prefixes are
// not advertised for a reload that is about something else (RFC 3963 §5.2, §5.4.2).
//
// Covers: R3, R5.
func TestPrefixesChangeAtRunTime(t *testing.T) {
	b := newBench(t, Explicit)
	b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	b.now = b.now.Add(10 * time.Second)
	third := netip.MustParsePrefix("2001:db8:102::/64")
	c := b.router.config
	c.Prefixes = []netip.Prefix{second, third}
	did := b.router.Reconfigure(b.now, c)
	b.all = append(b.all, did...)
	u, _ := b.last()
	if got := mip6.All[mip6.MobileNetworkPrefix](u); len(got) != 2 || got[0].Prefix != second || got[1].Prefix != third {
		t.Errorf("named %v", got)
	}
	updates, _, unusable := count(did)
	if updates != 1 || !slices.Equal(unusable, []netip.Prefix{prefix}) || !slices.Contains(usable(did), third) {
		t.Errorf("%d updates, withdrawn %v, advertised %v", updates, unusable, usable(did))
	}
	forward := slices.IndexFunc(did, func(a role.Action) bool { _, ok := a.(role.Forward); return ok })
	send := slices.IndexFunc(did, func(a role.Action) bool { _, ok := a.(role.Send); return ok })
	if forward < 0 || send < forward {
		t.Errorf("tunnel at %d, update at %d", forward, send)
	} else if got := did[forward].(role.Forward).Changes[0].Set.Inner; !slices.Equal(got, []netip.Prefix{netip.PrefixFrom(home, 128), second, third}) {
		t.Errorf("inner %v", got)
	}
	b.now = b.now.Add(10 * time.Millisecond)
	b.serve()
	b.now = b.now.Add(time.Second)
	c.Hysteresis = 2 * time.Second
	did = b.router.Reconfigure(b.now, c)
	b.all = append(b.all, did...)
	if got := usable(did); len(got) != 0 {
		t.Errorf("a reload advertises what is refused: %v", got)
	}
	if got := usable(b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)); !slices.Equal(got, []netip.Prefix{second, third}) {
		t.Errorf("accepted, advertised %v", got)
	}
}

// The next home agent is dead: the one that serves in the other mode is not left for
// it for long (RFC 3963 §5.4.2).
//
// Covers: R5, M10.
func TestNextHomeAgentIsDead(t *testing.T) {
	b := newBenchOf(t, Explicit, []netip.Prefix{prefix}, agent, another)
	did := b.answer(mip6.StatusNotAuthorizedForPrefix, 0)
	start := b.now
	for b.now.Sub(start) < 20*time.Second {
		for _, a := range did {
			if p, ok := a.(role.ProbeNeighbor); ok { // the access router is there
				b.handle(role.NeighborHeard{Link: 1, From: p.Target, Target: p.Target, Solicited: true})
			}
		}
		if u, p := b.last(); p.Destination == agent && len(named(u)) == 0 {
			b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
			break
		}
		b.now = b.router.Next()
		did = b.handle(role.Timeout{})
	}
	if s := b.router.Snapshot(b.now); !s.Update.Registered || s.HomeAgent != agent {
		t.Errorf("after %v: %+v with %v", b.now.Sub(start), s.Update, s.HomeAgent)
	}
}

// A home agent that has rejected the router is not turned to when another one, which
// serves it, is silent for a while: that would be the end of all updates.
//
// Covers: R5, M10.
func TestRejectionOutlivesSilence(t *testing.T) {
	b := newBenchOf(t, Explicit, []netip.Prefix{prefix}, agent, another)
	b.answer(mip6.StatusRouterNotPermitted, 0)
	b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	b.now = b.now.Add(450 * time.Second) // the home agent that rejected would be tried again by now
	before := len(b.all)
	did := b.handle(role.Timeout{})
	for range 60 {
		for _, a := range did {
			if p, ok := a.(role.ProbeNeighbor); ok { // the access router is there
				b.handle(role.NeighborHeard{Link: 1, From: p.Target, Target: p.Target, Solicited: true})
			}
		}
		b.now = b.router.Next()
		did = b.handle(role.Timeout{})
	}
	for _, a := range b.all[before:] {
		if s, ok := a.(role.Send); ok && s.Packet.Destination != another {
			t.Fatalf("%+v to %v", s.Packet.Message, s.Packet.Destination)
		}
	}
	b.answer(mip6.StatusAccepted, mip6.AckMobileRouter)
	if s := b.router.Snapshot(b.now); !s.Update.Registered || s.Update.Halted || s.HomeAgent != another {
		t.Errorf("%+v with %v", s.Update, s.HomeAgent)
	}
}
