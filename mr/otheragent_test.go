package mr

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// silence lets all updates go unanswered until the router has turned to another home
// agent.
func (d *delegating) silence() {
	d.Helper()
	for was := d.router.Agent(); d.router.Agent() == was; {
		d.now = d.router.Next()
		d.do(role.Timeout{})
		d.hearAgain()
	}
}

// nextUpdate lets time pass until there is another update.
func (d *delegating) nextUpdate() {
	d.Helper()
	for sent := 0; sent == 0; {
		d.now = d.router.Next()
		sent, _, _ = count(d.do(role.Timeout{}))
		d.hearAgain()
	}
}

// What one home agent has delegated is not named to another one, which would refuse
// it, and be left alone for minutes: the first update is implicit, as ever (RFC 6276
// §3.1). Nothing leaves the network or the tunnel before the other one serves.
//
// Covers: D1, D2, R5.
func TestPrefixOfAnotherHomeAgentIsNotNamed(t *testing.T) {
	for _, configured := range [][]netip.Prefix{nil, {prefix}} {
		d := newDelegating(t, func(c *Config) {
			c.HomeAgents, c.Prefixes, c.Lifetime = []netip.Addr{agent, another}, configured, 60*time.Second
		})
		d.away()
		d.acknowledge()
		d.wantNumbered("with the first home agent", first, further)
		before := len(d.all)
		d.now = d.now.Add(50 * time.Second)
		d.do(role.Timeout{})
		d.silence()
		u, p := d.last()
		if p.Destination != another || u.Flags&mip6.UpdateMobileRouter == 0 || len(named(u)) > 0 {
			t.Errorf("named %v to %v", named(u), p.Destination)
		}
		if !slices.Contains(d.inner, delegated) {
			t.Errorf("inner %v: the network's packets leave beside the tunnel", d.inner)
		}
		d.wantNumbered("while the other one is asked", first, further)
		if configured != nil {
			// It cannot forward what is configured without being told, and is.
			d.carryOut(d.answer(mip6.StatusForwardingSetupFailed, 0))
			if u, _ := d.last(); len(named(u)) == 0 {
				d.nextUpdate() // the rate limit
			}
			if u, p := d.last(); p.Destination != another || !slices.Equal(named(u), configured) {
				t.Errorf("then named %v to %v", named(u), p.Destination)
			}
		}
		d.prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:e00::/56")}
		d.acknowledge()
		d.run(2 * time.Second) // the rate limit of updates
		u, _ = d.last()
		if want := slices.Concat(configured, d.prefixes); !slices.Equal(named(u), want) || !slices.Equal(d.inner[1:], want) {
			t.Errorf("then named %v, inner %v", named(u), d.inner)
		}
		if _, _, unusable := count(d.all[before:]); len(unusable) > 0 {
			t.Errorf("%v leave the network", unusable)
		}
	}
}

// A home agent that does not know a delegated prefix any more, since its delegating
// router has forgotten it, refuses it. When that says that it is this router's all the
// same it is used again at once, and named: once, until it is accepted.
//
// Covers: D2, D3, R5.
func TestForgottenDelegationIsConfirmed(t *testing.T) {
	d := newDelegating(t, nil)
	d.away()
	d.kinds = nil
	refuse := func() { d.carryOut(d.answer(mip6.StatusNotAuthorizedForPrefix, 0)) }
	refuse()
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeRebind}) {
		t.Fatalf("sent %v", d.kinds)
	}
	d.wantNumbered("confirmed", first, further)
	if u, _ := d.last(); len(named(u)) == 0 {
		d.nextUpdate() // the rate limit
	}
	refuse()
	d.wantNumbered("refused again")
	d.run(5 * time.Second)
	if u, _ := d.last(); len(named(u)) != 0 || len(d.numbered) != 0 {
		t.Errorf("named %v, numbered %v", named(u), d.numbered)
	}
	d.run(leastAgain + time.Minute) // it is asked again after a while, as everything refused
	d.wantNumbered("accepted", first, further)
	d.nextUpdate()
	refuse()
	d.run(5 * time.Second)
	d.wantNumbered("forgotten once more", first, further)
}

// At home the home agent that the router would register with is to delegate, and not
// another one of the link, which could not forward the prefix when it leaves; unless
// the former is not there (RFC 6276 §3.2).
//
// Covers: D1.
func TestDelegationAtHomeByItsOwnHomeAgent(t *testing.T) {
	agentRA := func(router string, global netip.Addr) role.RouterHeard {
		return role.RouterHeard{Link: 1, Router: netip.MustParseAddr(router), RA: nd.RouterAdvertisement{
			RouterLifetime: 30 * time.Second, SourceLinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, HomeAgent: true,
			Prefixes: []mip6.PrefixInformation{{Prefix: netip.PrefixFrom(global, 64), OnLink: true, RouterAddress: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour}},
		}}
	}
	const its, others = "fe80::1", "fe80::2"
	start := func() *delegating {
		d := newDelegating(t, func(c *Config) { c.HomeAgents = []netip.Addr{agent, another} })
		d.prefixes = nil
		d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
		return d
	}
	reply := func(d *delegating, from string) []role.Action { // to what was asked last
		var asked role.SendDHCP
		for _, a := range d.all {
			if s, ok := a.(role.SendDHCP); ok {
				asked = s
			}
		}
		m, _ := d.message(asked)
		d.prefixes = []netip.Prefix{delegated}
		return d.do(role.DHCPReceived{Link: 1, From: netip.AddrPortFrom(netip.MustParseAddr(from), 547),
			To: netip.MustParseAddrPort("[fe80::7]:546"), Message: d.reply(m, false)})
	}
	for _, c := range []struct {
		name  string
		heard []role.RouterHeard
		from  string
		taken bool
	}{
		{"its own", []role.RouterHeard{agentRA(its, agent), agentRA(others, another)}, its, true},
		{"another's", []role.RouterHeard{agentRA(its, agent), agentRA(others, another)}, others, false},
		{"a server that is none", []role.RouterHeard{agentRA(its, agent), agentRA(others, another)}, "fe80::3", true},
		{"another's, alone", []role.RouterHeard{agentRA(others, another)}, others, true},
	} {
		d := start()
		for _, e := range c.heard {
			d.do(e)
		}
		d.acknowledge()
		did := reply(d, c.from)
		dropped := slices.Contains(did, role.Action(role.Dropped{Reason: role.DropNotForUs, From: netip.MustParseAddr(c.from)}))
		if c.taken != (len(d.numbered) > 0) || dropped == c.taken {
			t.Errorf("%s: numbered %v, dropped %t", c.name, d.numbered, dropped)
		}
	}

	// Another one was there alone: it may renew what it has delegated, but when the
	// router leaves home its own is asked, and the prefix not named to it.
	d := start()
	d.do(agentRA(others, another))
	d.acknowledge()
	reply(d, others)
	d.do(agentRA(its, agent))
	d.wantNumbered("at home", first, further)
	d.prefixes, d.numbered[first] = nil, 0
	d.now = d.now.Add(d.valid / 2)
	d.do(role.Timeout{})
	d.do(agentRA(its, agent))
	d.do(agentRA(others, another))
	reply(d, others)
	if d.numbered[first] != d.valid {
		t.Errorf("renewed: %v", d.numbered)
	}
	d.kinds, d.prefixes = nil, []netip.Prefix{netip.MustParsePrefix("2001:db8:e00::/56")}
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: false, Carriers: 1, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: true, Carriers: 2, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
	d.do(advertisement("fe80::a1", "2001:db8:a1::/64"))
	if u, p := d.last(); len(named(u)) > 0 || p.Destination != agent {
		t.Errorf("named %v to %v", named(u), p.Destination)
	}
	given := d.prefixes
	d.prefixes = nil
	d.acknowledge()
	for range 10 { // it does not answer at once
		d.do(advertisement("fe80::a1", "2001:db8:a1::/64"))
	}
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeRebind}) {
		t.Fatalf("sent %v", d.kinds)
	}
	d.kinds, d.prefixes = nil, given
	d.run(2 * time.Second)
	if !slices.Equal(d.kinds, []wire.MessageType{wire.MessageTypeRebind}) || !slices.Contains(d.inner, d.prefixes[0]) || slices.Contains(d.inner, delegated) {
		t.Errorf("sent %v, inner %v", d.kinds, d.inner)
	}
}
