package mr

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/dhcpv6"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
	"roam6/overlay"
)

var (
	delegated = netip.MustParsePrefix("2001:db8:d00::/56")
	duid      = []byte{0, 99, 1, 2, 3, 4}
	first     = subnet{"lan0", netip.MustParsePrefix("2001:db8:d00::/64")}
	further   = subnet{"lan1", netip.MustParsePrefix("2001:db8:d00:1::/64")}
)

// delegating is a bench with a delegating router behind the home agent, and what
// the router's actions make of the world.
type delegating struct {
	*bench
	prefixes []netip.Prefix // it gives; none: it does not answer
	valid    time.Duration
	kinds    []wire.MessageType // of the client's messages that it got

	numbered map[subnet]time.Duration
	inner    []netip.Prefix
	routes   map[overlay.Pair]overlay.Route
	saved    []byte
}

func newDelegating(t *testing.T, change func(*Config)) *delegating {
	d := &delegating{
		bench:    &bench{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		prefixes: []netip.Prefix{delegated}, valid: 400 * time.Second,
		numbered: map[subnet]time.Duration{}, routes: map[overlay.Pair]overlay.Route{},
	}
	c := newBench(t, Explicit).router.config
	c.Prefixes, c.Delegation = nil, &Delegation{DUID: duid, IAID: 7, Downstreams: []string{"lan0", "lan1"}}
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	d.router = New(c)
	return d
}

// do delivers an event, carries the actions out, and lets the delegating router
// answer what reaches it.
func (d *delegating) do(e role.Event) []role.Action {
	d.Helper()
	return d.carryOut(d.handle(e))
}

func (d *delegating) carryOut(did []role.Action) []role.Action {
	d.Helper()
	var asked []role.SendDHCP
	for _, a := range did {
		switch a := a.(type) {
		case role.Forward:
			for _, c := range a.Changes {
				switch {
				case c.Set != nil:
					d.inner = c.Set.Inner
				case c.Optimise != nil:
					d.routes[c.Optimise.Pair] = *c.Optimise
				case c.Deoptimise != nil:
					delete(d.routes, *c.Deoptimise)
				default:
					d.inner = nil
				}
			}
		case role.NumberDownstream:
			if s := (subnet{a.Interface, a.Prefix}); a.Valid == 0 {
				delete(d.numbered, s)
			} else {
				d.numbered[s] = a.Valid
			}
		case role.Save:
			if a.Name != "delegation-train" {
				d.Errorf("saved as %q", a.Name)
			}
			d.saved = a.Data
		case role.SendDHCP:
			asked = append(asked, a)
		}
	}
	for _, a := range asked {
		did = append(did, d.serve(a)...)
	}
	return did
}

// message is what a datagram says, and whether it was relayed.
func (d *delegating) message(a role.SendDHCP) (m *wire.Message, relayed bool) {
	d.Helper()
	parsed, err := wire.FromBytes(a.Message)
	if err != nil {
		d.Fatal(err)
	}
	relay, relayed := parsed.(*wire.RelayMessage)
	if !relayed {
		return parsed.(*wire.Message), false
	}
	if relay.MessageType != wire.MessageTypeRelayForward || relay.HopCount != 1 || !relay.LinkAddr.Equal(home.AsSlice()) || !relay.PeerAddr.Equal(home.AsSlice()) {
		d.Errorf("relayed with %v", relay)
	}
	inner, err := relay.GetInnerMessage()
	if err != nil {
		d.Fatal(err)
	}
	return inner, true
}

// serve is the delegating router.
func (d *delegating) serve(a role.SendDHCP) []role.Action {
	d.Helper()
	m, relayed := d.message(a)
	d.kinds = append(d.kinds, m.MessageType)
	answer := role.DHCPReceived{From: a.To, To: a.From}
	at := d.router.node.Place()
	if relayed {
		if at.AtHome || a.From != netip.AddrPortFrom(home, 547) || a.To != netip.AddrPortFrom(at.Agent, 547) || a.Link != 0 {
			d.Errorf("relayed from %v to %v by link %d", a.From, a.To, a.Link)
		}
		if r, ok := d.routes[overlay.Pair{Home: home, Peer: at.Agent, Side: overlay.MobileSide}]; !ok || r.CareOf != at.CareOf {
			d.Errorf("relayed without the Home Address option, or of another care-of address: %v", d.routes)
		}
	} else {
		if !at.AtHome || a.From != netip.AddrPortFrom(netip.Addr{}, 546) || a.To.Addr() != dhcpv6.AllRelayAgentsAndServers() || a.Link != at.Link {
			d.Errorf("sent from %v to %v by link %d", a.From, a.To, a.Link)
		}
		answer.Link, answer.From = at.Link, netip.MustParseAddrPort("[fe80::1]:547")
		answer.To = netip.MustParseAddrPort("[fe80::7]:546")
	}
	if len(d.prefixes) == 0 {
		return nil
	}
	answer.Message = d.reply(m, relayed)
	d.now = d.now.Add(time.Millisecond)
	return d.do(answer)
}

func (d *delegating) reply(m *wire.Message, relayed bool) []byte {
	d.Helper()
	var ia [4]byte
	if pd := m.Options.IAPD(); len(pd) > 0 {
		ia = pd[0].IaId
	}
	pd := &wire.OptIAPD{IaId: ia, T1: d.valid / 2, T2: d.valid * 4 / 5}
	for _, p := range d.prefixes {
		pd.Options.Add(&wire.OptIAPrefix{PreferredLifetime: d.valid * 3 / 4, ValidLifetime: d.valid,
			Prefix: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}})
	}
	server := &wire.DUIDOpaque{Type: 99, Data: []byte{9, 9}}
	r, err := wire.NewMessage()
	if err != nil {
		d.Fatal(err)
	}
	r.MessageType, r.TransactionID = wire.MessageTypeReply, m.TransactionID
	r.AddOption(wire.OptClientID(m.Options.ClientID()))
	r.AddOption(wire.OptServerID(server))
	r.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionRapidCommit})
	r.AddOption(pd)
	r.AddOption(&wire.OptStatusCode{StatusCode: iana.StatusSuccess})
	if !relayed {
		return r.ToBytes()
	}
	relay := wire.RelayMessage{MessageType: wire.MessageTypeRelayReply, HopCount: 1, LinkAddr: home.AsSlice(), PeerAddr: home.AsSlice()}
	relay.AddOption(wire.OptRelayMessage(r))
	return relay.ToBytes()
}

// away attaches to an access router and registers.
func (d *delegating) away() {
	d.Helper()
	before := len(d.all)
	d.attach()
	d.carryOut(d.all[before:])
	d.acknowledge()
}

// acknowledge accepts the last update.
func (d *delegating) acknowledge() []role.Action {
	d.Helper()
	return d.carryOut(d.answer(mip6.StatusAccepted, mip6.AckMobileRouter))
}

// run delivers timeouts, and accepts updates, until d has passed.
func (d *delegating) run(span time.Duration) {
	d.Helper()
	for end := d.now.Add(span); ; {
		next := d.router.Next()
		if next.IsZero() || next.After(end) {
			d.now = end
			return
		}
		if next.After(d.now) {
			d.now = next
		}
		if n, _, _ := count(d.do(role.Timeout{})); n > 0 {
			d.acknowledge()
		}
		d.hearAgain()
	}
}

// hearAgain keeps the access router alive.
func (d *delegating) hearAgain() {
	d.Helper()
	place := d.router.node.Place()
	if place.CareOf.IsValid() {
		d.do(advertisement("fe80::a1", "2001:db8:a1::/64"))
	}
}

func advertisement(from, prefix string) role.RouterHeard {
	return role.RouterHeard{Link: 1, Router: netip.MustParseAddr(from), RA: nd.RouterAdvertisement{
		RouterLifetime: time.Hour, SourceLinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Prefixes: []mip6.PrefixInformation{{Prefix: netip.MustParsePrefix(prefix), OnLink: true, Autonomous: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour}},
	}}
}

func (d *delegating) wantNumbered(when string, want ...subnet) {
	d.Helper()
	for _, s := range want {
		if _, ok := d.numbered[s]; !ok {
			d.Errorf("%s: %v is not numbered", when, s)
		}
	}
	if len(want) != len(d.numbered) {
		d.Errorf("%s: numbered %v, want %v", when, d.numbered, want)
	}
}

// Away: an implicit update first, then a relayed exchange whose packets take the
// optimised route to the home agent; what is delegated is in the tunnel and numbered
// downstream, and, where the mode is explicit, named in the updates (RFC 6276 §3.1).
//
// Covers: D1, D2, R3.
func TestDelegationAway(t *testing.T) {
	for _, mode := range []Mode{Explicit, Implicit} {
		d := newDelegating(t, func(c *Config) { c.Mode = mode })
		d.attach()
		if len(d.kinds) != 0 || len(d.routes) != 0 {
			t.Fatal("asks before it is registered")
		}
		if u, _ := d.last(); len(mip6.All[mip6.MobileNetworkPrefix](u)) != 0 || u.Flags&mip6.UpdateMobileRouter == 0 {
			t.Errorf("first update %+v", u)
		}
		did := d.acknowledge()
		if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeSolicit}) {
			t.Fatalf("%v: sent %v", mode, d.kinds)
		}
		if want := []netip.Prefix{netip.PrefixFrom(home, 128), delegated}; !slices.Equal(d.inner, want) {
			t.Errorf("inner %v", d.inner)
		}
		d.wantNumbered("away", first, further)
		u, _ := d.last()
		updates, _, _ := count(did)
		if named := mip6.All[mip6.MobileNetworkPrefix](u); mode == Explicit && (updates != 1 || len(named) != 1 || named[0].Prefix != delegated) || mode == Implicit && updates != 0 {
			t.Errorf("%v: %d updates, named %v", mode, updates, named)
		}
		if mode == Explicit {
			d.acknowledge()
		}
		n := d.router.Networks(d.now)
		if n.Mode != mode || len(n.Prefixes) != 1 || n.Prefixes[0].Origin != Delegated || !n.Prefixes[0].Usable || len(n.Prefixes[0].Subnets) != 2 ||
			n.Prefixes[0].Valid > d.valid || n.Delegation.Agent != agent || n.Delegation.Client.State != dhcpv6.StateBound {
			t.Errorf("shown %+v, %+v", n, n.Delegation)
		}
	}
}

// Where somebody else numbers the network the prefix is in the tunnel and shown, and no
// interface is numbered.
func TestDelegationWithoutDownstream(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.Delegation.Downstreams = nil })
	d.away()
	d.acknowledge()
	if want := []netip.Prefix{netip.PrefixFrom(home, 128), delegated}; !slices.Equal(d.inner, want) {
		t.Errorf("inner %v", d.inner)
	}
	d.wantNumbered("away")
	if n := d.router.Networks(d.now).Prefixes; len(n) != 1 || n[0].Prefix != delegated || !n[0].Usable || len(n[0].Subnets) != 0 {
		t.Errorf("shown %+v", n)
	}
}

// A handover does not begin anew: the route follows the care-of address, the lease
// stays, and is renewed when its time comes (RFC 6276 §3.1).
//
// Covers: D3.
func TestDelegationHandover(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.Mode = Implicit })
	d.away()
	d.kinds = nil
	d.now = d.now.Add(time.Second)
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: false, Carriers: 1, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Carriers: 2, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	did := d.do(advertisement("fe80::a2", "2001:db8:a2::/64"))
	place := d.router.node.Place()
	if !netip.MustParsePrefix("2001:db8:a2::/64").Contains(place.CareOf) {
		t.Fatalf("at %v: %v", place, did)
	}
	if r := d.routes[overlay.Pair{Home: home, Peer: agent, Side: overlay.MobileSide}]; r.CareOf != place.CareOf {
		t.Errorf("route of %v, care-of address is %v", r.CareOf, place.CareOf)
	}
	d.acknowledge()
	if len(d.kinds) != 0 {
		t.Errorf("a handover made the client send %v", d.kinds)
	}
	d.wantNumbered("after a handover", first, further)
	d.numbered = map[subnet]time.Duration{}
	d.run(250 * time.Second) // T1 is after 200 s
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeRenew}) {
		t.Errorf("sent %v", d.kinds)
	}
	d.wantNumbered("after the renewal", first, further)
	for s, valid := range d.numbered {
		if valid != d.valid {
			t.Errorf("%v is valid for %v", s, valid)
		}
	}
}

// Nobody renews: the prefix leaves tunnel and downstream when the lease ends, and
// in explicit mode the updates, which are implicit again (RFC 8415 §18.2.10.1).
//
// Covers: D2.
func TestDelegationExpires(t *testing.T) {
	d := newDelegating(t, nil)
	d.away()
	d.acknowledge()
	d.prefixes = nil
	d.run(399 * time.Second)
	d.wantNumbered("before the end", first, further)
	d.run(2 * time.Second)
	d.wantNumbered("after the end")
	if want := []netip.Prefix{netip.PrefixFrom(home, 128)}; !slices.Equal(d.inner, want) {
		t.Errorf("inner %v", d.inner)
	}
	if u, _ := d.last(); len(mip6.All[mip6.MobileNetworkPrefix](u)) != 0 || d.router.Mode() != Implicit {
		t.Errorf("last update %+v", u)
	}
}

// At home the relay is off and the client speaks on the home link (RFC 6276 §3.2);
// the lease goes along from there.
//
// Covers: D1, D3.
func TestDelegationAtHome(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.Mode = Implicit })
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(advertisement("fe80::1", "2001:db8:10::/64"))
	if len(d.kinds) != 0 {
		t.Errorf("asks before the home address is its own: %v", d.kinds)
	}
	d.acknowledge()
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeSolicit}) || len(d.routes) != 0 || d.inner != nil {
		t.Fatalf("sent %v, routes %v, tunnel %v", d.kinds, d.routes, d.inner)
	}
	d.wantNumbered("at home", first, further)
	d.kinds = nil
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: false, Carriers: 1, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Carriers: 2, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(advertisement("fe80::a1", "2001:db8:a1::/64"))
	d.acknowledge()
	if want := []netip.Prefix{netip.PrefixFrom(home, 128), delegated}; !slices.Equal(d.inner, want) || len(d.kinds) != 0 {
		t.Errorf("inner %v, sent %v", d.inner, d.kinds)
	}
	d.run(250 * time.Second)
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeRenew}) {
		t.Errorf("away from home it sent %v", d.kinds)
	}
}

// A router that was switched off asks for the prefix of before by Rebind, and has
// released nothing; the shutdown de-registers, and takes back what it gave
// (RFC 6276 §3.1).
//
// Covers: D3.
func TestDelegationAcrossRestart(t *testing.T) {
	d := newDelegating(t, nil)
	d.away()
	d.acknowledge()
	d.kinds = nil
	d.do(role.Stop{})
	d.wantNumbered("stopped")
	if u, _ := d.last(); u.Lifetime != 0 || len(d.kinds) != 0 || len(d.routes) != 0 {
		t.Errorf("last update %+v, sent %v, routes %v", u, d.kinds, d.routes)
	}
	d.acknowledge()
	if !d.router.Done() {
		t.Error("not done")
	}
	again := newDelegating(t, func(c *Config) { c.Delegation.Saved = d.saved })
	again.away()
	if !slices.Equal(again.kinds, []wire.MessageType{wire.MessageTypeRebind}) {
		t.Errorf("sent %v", again.kinds)
	}
	again.wantNumbered("after a restart", first, further)
}

// A home agent that delegates nothing is left after six solicitations for another
// one; when there is none, or each has been asked, it stays, and is asked again
// (RFC 6276 §3.3).
//
// Covers: D1.
func TestNextHomeAgentForDelegation(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.HomeAgents = []netip.Addr{agent, another} })
	d.prefixes = nil
	d.away()
	d.run(100 * time.Second)
	if got := d.router.Agent(); got != another || !d.router.Snapshot(d.now).Update.Registered {
		t.Fatalf("home agent %v after %d solicitations", got, len(d.kinds))
	}
	if n := len(d.kinds); n < 6 {
		t.Errorf("left after %d solicitations", n)
	}
	d.prefixes = []netip.Prefix{delegated}
	d.run(70 * time.Second)
	d.wantNumbered("with the other home agent", first, further)

	d = newDelegating(t, nil)
	d.prefixes = nil
	d.away()
	d.run(5 * time.Minute)
	s := d.router.Snapshot(d.now)
	if !s.Update.Registered || s.HomeAgent != agent || len(d.kinds) < 12 || len(d.kinds) > 24 {
		t.Errorf("%+v after %d solicitations", s.Update, len(d.kinds))
	}
	d.prefixes = []netip.Prefix{delegated}
	d.run(time.Hour)
	d.wantNumbered("at last", first, further)
}

// Only the home agent answers the relay, and nothing that is no relayed reply is
// taken (RFC 6276 §3.1.3, §4).
//
// Covers: D1, Attack: forged answers.
func TestForgedDelegation(t *testing.T) {
	d := newDelegating(t, nil)
	d.prefixes = nil
	d.away()
	var asked role.SendDHCP
	for _, a := range d.all {
		if s, ok := a.(role.SendDHCP); ok {
			asked = s
		}
	}
	m, _ := d.message(asked)
	d.prefixes = []netip.Prefix{delegated}
	good := d.reply(m, true)
	for name, c := range map[string]struct {
		e    role.DHCPReceived
		want role.DropReason // 0: not this router's
	}{
		"stranger":  {role.DHCPReceived{From: netip.MustParseAddrPort("[2001:db8:66::6]:547"), To: asked.From, Message: good}, role.DropUnexpected},
		"unwrapped": {role.DHCPReceived{From: asked.To, To: asked.From, Message: d.reply(m, false)}, role.DropMalformed},
		"torn":      {role.DHCPReceived{From: asked.To, To: asked.From, Message: good[:40]}, role.DropMalformed},
		"on a link": {role.DHCPReceived{Link: 1, From: netip.MustParseAddrPort("[fe80::6]:547"), To: netip.MustParseAddrPort("[fe80::7]:546"), Message: d.reply(m, false)}, 0},
	} {
		did := d.do(c.e)
		var reason role.DropReason
		for _, a := range did {
			if x, ok := a.(role.Dropped); ok {
				reason = x.Reason
			}
		}
		if reason != c.want || len(d.numbered) != 0 {
			t.Errorf("%s: dropped for %v, numbered %v", name, reason, d.numbered)
		}
	}
	d.do(role.DHCPReceived{From: asked.To, To: asked.From, Message: good})
	d.wantNumbered("the true one", first, further)
}

// Prefixes that cannot be a mobile network are not used; one that is too long for
// all downstream interfaces serves the first.
//
// Covers: D2.
func TestUnusableDelegation(t *testing.T) {
	d := newDelegating(t, nil)
	d.prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:10::/48"), netip.MustParsePrefix("2001:db8:d00::/64"), netip.MustParsePrefix("2001:db8:a1::/60")}
	d.away()
	if want := []netip.Prefix{netip.PrefixFrom(home, 128), first.prefix}; !slices.Equal(d.inner, want) {
		t.Errorf("inner %v", d.inner)
	}
	d.wantNumbered("a /64", first)

	// A part of the home prefix, as in an aggregated home network (RFC 4887 §6).
	d = newDelegating(t, func(c *Config) { c.HomePrefix = netip.PrefixFrom(home, 48).Masked() })
	d.prefixes = []netip.Prefix{netip.PrefixFrom(home, 64).Masked(), netip.PrefixFrom(home, 48).Masked(), netip.MustParsePrefix("2001:db8:10:100::/56")}
	d.away()
	if want := []netip.Prefix{netip.PrefixFrom(home, 128), d.prefixes[2]}; !slices.Equal(d.inner, want) {
		t.Errorf("inner %v", d.inner)
	}
}

// The home agent refuses what was delegated: it is taken from the network, another
// lease is sought, and the mode is implicit meanwhile; what comes is named again
// (RFC 3963 §5.4.2).
//
// Covers: R5, D2.
func TestDelegatedPrefixRefused(t *testing.T) {
	d := newDelegating(t, nil)
	d.away()
	d.kinds = nil
	d.prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:e00::/56")}
	did := d.carryOut(d.answer(mip6.StatusNotAuthorizedForPrefix, 0))
	if i := slices.Index(did, role.Action(role.NumberDownstream{Interface: first.downstream, Prefix: first.prefix})); i < 0 {
		t.Error("the refused prefix is not taken back")
	}
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeRebind}) {
		t.Errorf("sent %v", d.kinds)
	}
	d.run(2 * time.Second)
	u, _ := d.last()
	var named []netip.Prefix
	for _, o := range mip6.All[mip6.MobileNetworkPrefix](u) {
		named = append(named, o.Prefix)
	}
	if !slices.Contains(named, d.prefixes[0]) || !d.router.Networks(d.now).Prefixes[0].Usable {
		t.Errorf("last update names %v", named)
	}
	if _, ok := d.numbered[subnet{"lan0", netip.MustParsePrefix("2001:db8:e00::/64")}]; !ok {
		t.Errorf("numbered %v", d.numbered)
	}
}

// Downstream interfaces, and the delegation itself, change at run time.
func TestReconfigureDelegation(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.Mode = Implicit })
	d.away()
	c := d.router.config
	wider := *c.Delegation
	wider.Downstreams = []string{"lan1"}
	c.Delegation = &wider
	d.kinds = nil
	d.carryOut(d.router.Reconfigure(d.now, c))
	d.wantNumbered("one downstream", subnet{"lan1", first.prefix})
	if len(d.kinds) != 0 {
		t.Errorf("sent %v", d.kinds)
	}
	c.Delegation, c.Prefixes = nil, []netip.Prefix{prefix}
	d.carryOut(d.router.Reconfigure(d.now, c))
	d.wantNumbered("no delegation")
	if want := []netip.Prefix{netip.PrefixFrom(home, 128), prefix}; !slices.Equal(d.inner, want) || len(d.routes) != 0 {
		t.Errorf("inner %v, routes %v", d.inner, d.routes)
	}
	c.Delegation = &wider
	d.now = d.now.Add(time.Second)
	d.all = append(d.all, d.carryOut(d.router.Reconfigure(d.now, c))...)
	d.wantNumbered("again", subnet{"lan1", first.prefix})
}

// Home agents that all delegate nothing: each is asked once, and then the router
// stays where it is and asks ever more rarely (RFC 6276 §3.3).
//
// Covers: D1.
func TestNobodyDelegates(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.HomeAgents = []netip.Addr{agent, another} })
	d.prefixes = nil
	d.away()
	switches, at := 0, d.router.Agent()
	for range 120 {
		d.run(time.Minute)
		if now := d.router.Agent(); now != at {
			switches, at = switches+1, now
		}
	}
	if n := len(d.kinds); switches > 2 || n < 18 || n > 90 || !d.router.Snapshot(d.now).Update.Registered {
		t.Errorf("%d switches, %d solicitations", switches, n)
	}
}

// What the client sends while the registration does not stand is lost, and says
// nothing of the home agent: it is asked as soon as there is one again.
//
// Covers: D3.
func TestDelegationWithoutRegistration(t *testing.T) {
	d := newDelegating(t, func(c *Config) { c.Mode = Implicit })
	d.prefixes = nil
	d.away()
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: false, Carriers: 1, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	for end := d.now.Add(20 * time.Minute); d.now.Before(end); {
		d.now = d.router.Next()
		d.do(role.Timeout{})
	}
	d.prefixes = []netip.Prefix{delegated}
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Carriers: 2, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(advertisement("fe80::a1", "2001:db8:a1::/64"))
	d.acknowledge()
	d.run(time.Second)
	d.wantNumbered("registered again", first, further)
}
