package node

import (
	"net/netip"
	"testing"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/config"
	"roam6/internal/role"
)

const twoMobiles = `
config globals
	option state_directory '/nonexistent'

config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	list uplink 'up0'

config mobile_node 'work'
	option home_address '2001:db8:10::200/64'
	option home_agent '2001:db8:10::1'
	option key '101112131415161718191a1b1c1d1e1f'
	list uplink 'up0'
`

// clientWorld is a bare shell with two mobiles on one link that is up.
func clientWorld(t *testing.T, text string) (s *Shell, a, b *recorder) {
	s, _ = bareShell(t, text)
	a, b = new(recorder), new(recorder)
	s.mobiles = []*mobileHost{{machine: a, config: s.config.MobileNodes[0]}, {machine: b, config: s.config.MobileNodes[1]}}
	s.links[2] = role.Link{Index: 2, Name: "up0", Up: true, Carriers: 1, MTU: 1500, LinkLocal: netip.MustParseAddr("fe80::2")}
	return s, a, b
}

// Mobiles that share an uplink share its client, which does what any of them wants and
// goes when nobody wants anything.
func TestSharedClient(t *testing.T) {
	s, a, b := clientWorld(t, twoMobiles)
	here := role.LinkIdentity{Router: netip.MustParseAddr("fe80::1"), Prefix: netip.MustParsePrefix("2001:db8:a1::/64")}
	there := role.LinkIdentity{Router: netip.MustParseAddr("fe80::9"), Prefix: netip.MustParsePrefix("2001:db8:a2::/64")}
	s.configureLink(testNow, a, role.ConfigureLink{Link: 2, Identity: here})
	if len(s.clients) != 0 {
		t.Fatal("a client that nobody wants")
	}
	for i, step := range []struct {
		by             role.Machine
		id             role.LinkIdentity
		managed, other bool
		want           role.ConfigureLink
	}{
		{a, here, true, false, role.ConfigureLink{Link: 2, Identity: here, Managed: true}},
		{b, here, false, true, role.ConfigureLink{Link: 2, Identity: here, Managed: true, Other: true}},
		{a, there, true, false, role.ConfigureLink{Link: 2, Identity: there, Managed: true, Other: true}},
		{a, role.LinkIdentity{}, false, false, role.ConfigureLink{Link: 2, Identity: there, Other: true}},
	} {
		s.configureLink(testNow, step.by, role.ConfigureLink{Link: 2, Identity: step.id, Managed: step.managed, Other: step.other})
		if got := s.clients[2].wants.Told(); got != step.want {
			t.Errorf("step %d: the client was told %+v, want %+v", i, got, step.want)
		}
	}
	if s.clients[2].machine == nil {
		t.Fatal("no client")
	}
	s.forgetWants(testNow, a)
	s.forgetWants(testNow, b)
	s.reap(testNow)
	if len(s.clients) != 0 {
		t.Errorf("a client is left that nobody wants: %+v", s.clients[2])
	}
}

// A mobile that begins later learns what is leased, with the lifetimes that remain,
// and so do those that are there; a foreign uplink has no client.
func TestLeasesForLater(t *testing.T) {
	s, a, _ := clientWorld(t, twoMobiles)
	s.configureLink(testNow, a, role.ConfigureLink{Link: 2, Managed: true})
	lease := role.Lease{Addresses: []role.LeasedPrefix{
		{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Preferred: time.Minute, Valid: time.Hour},
		{Prefix: netip.MustParsePrefix("2001:db8::2/128"), Preferred: time.Minute, Valid: time.Minute},
	}}
	s.carryOut(s.clients[2].machine, []role.Action{role.LeaseChanged{Link: 2, Lease: lease}})
	s.follow(testNow)
	if n := len(a.events); n != 1 {
		t.Fatalf("%d events for a mobile that is there", n)
	}
	late := new(recorder)
	s.introduceLeases(testNow.Add(10*time.Minute), &mobileHost{machine: late, config: s.config.MobileNodes[0]})
	e, ok := late.events[0].(role.LeaseChanged)
	if !ok || len(e.Lease.Addresses) != 1 || e.Lease.Addresses[0].Valid != 50*time.Minute || e.Lease.Addresses[0].Preferred != 0 {
		t.Errorf("%+v", late.events)
	}

	s, a, _ = clientWorld(t, twoMobiles+"\nconfig uplink\n\toption interface 'up0'\n\toption addressing 'foreign'\n")
	s.configureLink(testNow, a, role.ConfigureLink{Link: 2, Managed: true})
	if len(s.clients) != 0 {
		t.Error("a client on a foreign uplink")
	}
	foreign := role.ForeignAddresses{Link: 2, Addresses: lease.Addresses}
	s.dispatch(testNow, foreign)
	if len(a.events) != 1 {
		t.Errorf("%d events", len(a.events))
	}
	late = new(recorder)
	s.introduceLeases(testNow.Add(30*time.Minute), &mobileHost{machine: late, config: s.config.MobileNodes[0]})
	if e, ok := late.events[0].(role.ForeignAddresses); !ok || len(e.Addresses) != 1 || e.Addresses[0].Valid != 30*time.Minute {
		t.Errorf("%+v", late.events)
	}
}

// A message with a home address as its source is believed only where that is
// checked: it has come out of the tunnel, or on the home link.
//
// Covers: Attack: prefix hijack.
func TestForgedHomeAddress(t *testing.T) {
	s, _ := bareShell(t, `
config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	option prefix '2001:db8:10::/64'
	list delegation_pool '2001:db8:f000::/40'

config mobile 'train'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option router '1'
`)
	s.tunnel = 9
	s.links[2], s.links[3] = role.Link{Index: 2, Name: "home0"}, role.Link{Index: 3, Name: "wan0"}
	h := &delegatorHost{config: s.config.HomeAgents[0]}
	s.delegators = []*delegatorHost{h}
	home, other, server := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:77::1"), netip.MustParseAddr("2001:db8:77::2")
	h.config.Delegation = &config.Delegation{Server: server}
	for _, c := range []struct {
		from netip.Addr
		link int
		want bool
	}{{home, 9, true}, {home, 2, true}, {home, 3, false}, {other, 3, false}, {server, 3, true}, {netip.MustParseAddr("fe80::1"), 3, false}} {
		e := role.DHCPReceived{Link: c.link, From: netip.AddrPortFrom(c.from, dhcpv6.ServerPort), To: netip.AddrPortFrom(h.config.Address, dhcpv6.ServerPort)}
		if got := s.vouched(h, e); got != c.want {
			t.Errorf("from %v on %d: %v", c.from, c.link, got)
		}
	}
}
