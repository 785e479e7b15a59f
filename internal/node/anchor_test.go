package node

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/overlay"
)

// cityFile has two anchors, which share a visitor and have one each, and a home agent.
const cityFile = `
config anchor 'city'
	option interface 'eth5'
	option address '2001:db8:5::1'
	option dad '0'

config anchor 'port'
	option interface 'eth6'
	option address '2001:db8:6::1'
	option dad '0'
	list served_prefix '2001:db8::/32'
	option max_bindings '7'

config visitor 'bus'
	option spi '2000'
	option key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'
	option replay 'sequence'

config visitor 'ferry'
	option anchor 'port'
	option spi '2001'
	option key '000102030405060708090a0b0c0d0e0f'

config home_agent 'h'
	option interface 'eth1'
	option address '2001:db8:20::1'
	list prefix '2001:db8:20::/64'
	option dad '0'

config mobile 'm'
	option home_address '2001:db8:20::2'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'
`

var (
	cityAddr = netip.MustParseAddr("2001:db8:5::1")
	portAddr = netip.MustParseAddr("2001:db8:6::1")
	busSA    = mip6.SecurityAssociation{SPI: 2000, Key: mip6.SharedKey{0x5d, 0x0f, 0x6a, 0x2b, 0x9c, 0x1e, 0x4d, 0x7f, 0x80, 0xa3, 0xb6, 0xc9, 0xd2, 0xe5, 0xf8, 0x01}}
)

// localUpdate is a local binding update of the visitor 'bus' as it arrives.
func localUpdate(t *testing.T, anchor, regional, onLink netip.Addr, sequence mip6.Sequence) mip6.Packet {
	t.Helper()
	m, err := busSA.Seal(mip6.BindingUpdate{
		Sequence: sequence, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP, Lifetime: mip6.LifetimeFrom(10 * time.Minute),
	}, onLink, regional)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mip6.Packet{Source: onLink, Destination: anchor, HomeAddress: regional, Message: m}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := mip6.ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// city is a shell with the anchors of a configuration, whose links are there as far as
// they can tell.
type city struct {
	*Shell
	t    *testing.T
	wire *wire
	log  fmt.Stringer
	now  time.Time
}

func newCity(t *testing.T, text string) *city {
	t.Helper()
	s, log := bareShell(t, text)
	c := &city{Shell: s, t: t, wire: new(wire), log: log, now: testNow}
	s.signalling = c.wire
	for _, h := range s.config.HomeAgents {
		s.agents = append(s.agents, s.newAgentHost(testNow, h, s.config.Mobiles))
	}
	for _, a := range s.config.Anchors {
		s.anchors = append(s.anchors, s.newAnchorHost(a))
	}
	c.linked()
	return c
}

// reload is a reload as far as anchors and home agents are concerned: the rest of it
// changes settings of the kernel.
func (c *city) reload(text string) {
	c.t.Helper()
	parsed, err := config.Parse("roam6", []byte(text))
	if err != nil {
		c.t.Fatal(err)
	}
	c.config = parsed
	c.applyAgents(c.now, parsed, mobilesByAgent(parsed))
	c.applyAnchors(c.now, parsed)
	c.reap(c.now)
}

// linked tells the anchors of their links.
func (c *city) linked() {
	for i, h := range c.anchors {
		c.carryOut(h.machine, h.machine.Handle(c.now, role.LinkChanged{Link: role.Link{Index: 40 + i, Name: h.config.Interface, Up: true, MTU: 1500}}))
	}
}

// send delivers a message and returns the status of the answer; 255: there is none.
func (c *city) send(p mip6.Packet) mip6.Status {
	c.t.Helper()
	c.wire.packets = nil
	c.dispatch(c.now, role.MessageReceived{Link: 2, Packet: p})
	c.reap(c.now)
	for _, b := range c.wire.packets {
		answer, err := mip6.ParsePacket(b)
		if err != nil {
			c.t.Fatal(err)
		}
		if a, ok := answer.Message.(mip6.BindingAcknowledgement); ok && answer.RouteHome == p.HomeAddress && answer.Destination == p.Source {
			return a.Status
		}
	}
	return 255
}

// bound are the regional care-of addresses that the anchors have bound, with the
// on-link ones.
func (c *city) bound() string {
	var list []string
	for _, b := range c.document(c.now, control.TopicBindings).(control.Bindings).Anchors {
		list = append(list, fmt.Sprintf("%s: %s %v to %v", b.Anchor, b.Visitor, b.Regional, b.OnLink))
	}
	return strings.Join(list, ", ")
}

// tunnelled are the regional care-of addresses that the data plane has tunnels for.
func (c *city) tunnelled() []netip.Addr {
	var list []netip.Addr
	for _, x := range c.plane.(*plane).changes {
		if x.Set != nil {
			list = append(list, x.Set.Home)
		} else {
			list = slices.DeleteFunc(list, func(a netip.Addr) bool { return a == x.Remove.Home })
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// A reload leaves the bindings of an anchor that it does not concern, and those that
// the new configuration permits; another address ends the anchor in order and begins it
// anew; a section that is gone ends it.
func TestReloadAnchors(t *testing.T) {
	c := newCity(t, cityFile)
	one, two := netip.MustParseAddr("2001:db8:5::7"), netip.MustParseAddr("2001:db8:6::7")
	onLink := netip.MustParseAddr("2001:db8:a1::7")
	if a, b := c.send(localUpdate(t, cityAddr, one, onLink, 1)), c.send(localUpdate(t, portAddr, two, onLink, 1)); a != 0 || b != 0 {
		t.Fatalf("answers %d and %d\n%s", a, b, c.log)
	}
	check := func(when, want string, tunnels ...netip.Addr) {
		t.Helper()
		if got := c.bound(); got != want || !slices.Equal(c.tunnelled(), tunnels) {
			t.Errorf("%s: bound %q, tunnels %v, want %q and %v", when, got, c.tunnelled(), want, tunnels)
		}
	}
	const first, second = "city: bus 2001:db8:5::7 to 2001:db8:a1::7", "port: bus 2001:db8:6::7 to 2001:db8:a1::7"
	check("before", first+", "+second, one, two)
	machines := []role.Machine{c.anchors[0].machine, c.anchors[1].machine}

	text := strings.Replace(cityFile, "option max_bindings '7'", "option max_bindings '9'\n\toption max_lifetime '60'", 1)
	c.reload(text + "\nconfig visitor 'tram'\n\toption spi '2002'\n\toption key '000102030405060708090a0b0c0d0e0f'\n")
	check("another visitor, other limits", first+", "+second, one, two)
	if c.anchors[0].machine != machines[0] || c.anchors[1].machine != machines[1] {
		t.Error("an anchor has begun anew for nothing")
	}
	if n := c.anchors[0].machine.Stats().Visitors; n != 2 {
		t.Errorf("%d visitors, want 2", n)
	}
	c.reload(strings.Replace(text, "2001:db8::/32", "2001:db8:a2::/48", 1))
	check("not served any more", first, one)
	moved := strings.Replace(text, "2001:db8:5::1", "2001:db8:7::1", 1)
	c.reload(moved)
	check("another address", "")
	if c.anchors[0].config.Name != "port" || c.anchors[0].machine != machines[1] || c.anchors[1].machine == machines[0] {
		t.Error("the wrong anchor has begun anew")
	}
	c.linked()
	three, newAddr := netip.MustParseAddr("2001:db8:7::7"), netip.MustParseAddr("2001:db8:7::1")
	if a := c.send(localUpdate(t, cityAddr, one, onLink, 9)); a != 255 {
		t.Errorf("the former address is answered: %v", a)
	}
	if a := c.send(localUpdate(t, newAddr, three, onLink, 9)); a != 0 {
		t.Errorf("answer %v of the new one\n%s", a, c.log)
	}
	check("registered there", "city: bus 2001:db8:7::7 to 2001:db8:a1::7", three)
	_, rest, _ := strings.Cut(moved, "config anchor 'port'")
	c.reload("config anchor 'port'" + rest)
	check("the section is gone", "")
	if len(c.anchors) != 1 {
		t.Errorf("%d anchors", len(c.anchors))
	}
}

// The end of the node ends the bindings of its anchors, and nothing begins after it.
func TestStopAnchors(t *testing.T) {
	c := newCity(t, cityFile)
	one, onLink := netip.MustParseAddr("2001:db8:5::7"), netip.MustParseAddr("2001:db8:a1::7")
	c.send(localUpdate(t, cityAddr, one, onLink, 1))
	c.stopRoles(c.now)
	if got := c.bound(); got != "" || len(c.tunnelled()) != 0 {
		t.Errorf("bound %q, tunnels %v", got, c.tunnelled())
	}
	if a := c.send(localUpdate(t, cityAddr, one, onLink, 2)); a != 255 || len(c.tunnelled()) != 0 {
		t.Errorf("after the end: answer %d", a)
	}
}

// Without authentication is told at the start, and again with each reload, by section.
func TestInsecureIsTold(t *testing.T) {
	const text = `
config anchor 'lab'
	option interface 'eth5'
	option address '2001:db8:5::1'
	option insecure '1'
`
	const phone = `
config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	list uplink 'up0'
	option hierarchy '1'
	option insecure_anchors '1'
`
	c := newCity(t, text)
	if n := strings.Count(c.log.String(), "without authentication"); n != 1 {
		t.Fatalf("told %d times at the start:\n%s", n, c.log)
	}
	c.reload(text)
	if n := strings.Count(c.log.String(), "without authentication"); n != 2 {
		t.Errorf("told %d times after a reload:\n%s", n, c.log)
	}
	s, log := bareShell(t, phone)
	s.warnInsecure()
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "section=phone") || !strings.Contains(got, "insecure_anchors '0'") {
		t.Errorf("at the start: %s", got)
	}
	log.Reset()
	reparse(t, s, testNow, phone)
	if got := log.String(); strings.Count(got, "without authentication") != 1 {
		t.Errorf("with a reload: %s", got)
	}
	log.Reset()
	reparse(t, s, testNow, "")
	if got := log.String(); strings.Contains(got, "without authentication") {
		t.Errorf("without the section: %s", got)
	}
}

// What this node has in the prefix no visitor can bind, and keeps none that has: those
// addresses that others assign, that roles have, and that interfaces are numbered with.
// When one goes it can be bound.
//
// Covers: P8.
func TestTakenAddresses(t *testing.T) {
	onLink := netip.MustParseAddr("2001:db8:a1::7")
	regional := netip.MustParseAddr("2001:db8:5::7")
	c := newCity(t, cityFile)
	sequence := mip6.Sequence(0)
	try := func() mip6.Status {
		sequence++
		return c.send(localUpdate(t, cityAddr, regional, onLink, sequence))
	}
	if a := try(); a != mip6.StatusAccepted {
		t.Fatalf("answer %v\n%s", a, c.log)
	}
	has := func(addresses ...string) {
		e := role.ForeignAddresses{Link: 9}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, role.LeasedPrefix{Prefix: netip.MustParsePrefix(a), Preferred: mip6.InfiniteLifetime, Valid: mip6.InfiniteLifetime})
		}
		c.dispatch(c.now, e)
		c.reap(c.now)
	}
	has("2001:db8:5::1/64", "2001:db8:6::7/64")
	if got := c.bound(); got == "" {
		t.Error("the anchor's own address, and one in another prefix, have ended the binding")
	}
	has("2001:db8:5::1/64", "2001:db8:5::7/64", "2001:db8:5::5/64")
	if got := c.bound(); got != "" || len(c.tunnelled()) != 0 {
		t.Errorf("bound %q although this node has the address", got)
	}
	if a := try(); a != mip6.StatusDuplicateAddress {
		t.Errorf("answer %v, want %v", a, mip6.StatusDuplicateAddress)
	}
	c.dispatch(c.now, role.LinkGone{Index: 9})
	c.reap(c.now)
	if a := try(); a != mip6.StatusAccepted {
		t.Errorf("answer %v after the address has gone", a)
	}
	// By a role, and by the shell.
	by := new(recorder)
	c.holders.hold(heldAddress(3, netip.MustParsePrefix("2001:db8:5::a/64")), by)
	c.holders.hold(heldRoute(role.Route{Destination: netip.MustParsePrefix("2001:db8:5::b/128")}), by)
	c.assigned[numberedLink{4, netip.MustParsePrefix("2001:db8:5::8/125")}] = true
	if got := fmt.Sprint(c.takenIn(c.anchors[0].config)); got != "[2001:db8:5::9 2001:db8:5::a]" {
		t.Errorf("taken: %s", got)
	}
}

// No packet goes round in circles for a binding: an address of this node, a home address
// of its home agents and a regional care-of address of its anchors are no on-link
// care-of addresses (RFC 5380 §6.1). An address in a home prefix is one.
//
// Covers: P6, Attack: loops.
func TestBarredOnLink(t *testing.T) {
	c := newCity(t, cityFile)
	at := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	if a := c.send(localUpdate(t, portAddr, at("2001:db8:6::7"), at("2001:db8:a1::7"), 1)); a != 0 {
		t.Fatalf("answer %v\n%s", a, c.log)
	}
	sequence := mip6.Sequence(1)
	for _, tt := range []struct {
		onLink string
		want   mip6.Status
	}{
		{"2001:db8:20::2", mip6.StatusInvalidCareOfAddress}, // home address
		{"2001:db8:20::3", mip6.StatusAccepted},             // on the home link
		{"2001:db8:6::7", mip6.StatusInvalidCareOfAddress},  // regional at the other anchor
		{"2001:db8:6::8", mip6.StatusAccepted},              // on its link
		{"2001:db8:5::8", mip6.StatusInvalidCareOfAddress},  // on its own
	} {
		sequence++
		if a := c.send(localUpdate(t, cityAddr, at("2001:db8:5::7"), at(tt.onLink), sequence)); a != tt.want {
			t.Errorf("%s: %v, want %v", tt.onLink, a, tt.want)
		}
	}
	// A mobile that is configured later makes its address one.
	c.reload(cityFile + "\nconfig mobile 'n'\n\toption home_address '2001:db8:20::9'\n\toption spi '257'\n\toption key '000102030405060708090a0b0c0d0e0f'\n")
	sequence++
	if a := c.send(localUpdate(t, cityAddr, at("2001:db8:5::7"), at("2001:db8:20::9"), sequence)); a != mip6.StatusInvalidCareOfAddress {
		t.Errorf("a new home address: %v", a)
	}
}

// Which mobile has which key, and which anchor which visitors.
func TestHierarchyConfig(t *testing.T) {
	const keys = `
config anchor_key 'all'
	option spi '300'
	option key '000102030405060708090a0b0c0d0e0f'

config anchor_key 'ours'
	option mobile 'bus'
	option spi '301'
	option key '101112131415161718191a1b1c1d1e1f'

config anchor_key 'city'
	option mobile 'bus'
	option anchors '2001:db8:5::1'
	option spi '302'
	option key '202122232425262728292a2b2c2d2e2f'
`
	mobiles := trainFile
	for _, name := range []string{"train", "bus"} {
		mobiles = strings.Replace(mobiles, "config mobile_router '"+name+"'", "config mobile_router '"+name+"'\n\toption hierarchy '1'\n\toption anchor_selection 'nearest'", 1)
	}
	s, _ := bareShell(t, mobiles+keys)
	elsewhere := netip.MustParseAddr("2001:db8:6::1")
	for _, tt := range []struct {
		mobile          int
		city, elsewhere uint32
	}{{0, 300, 300}, {1, 302, 301}} {
		c := s.config.MobileNodes[tt.mobile]
		h := mobileConfig(c, s.surroundings(c), 1).Hierarchy
		if a, b := spiOf(h, cityAddr), spiOf(h, elsewhere); a != tt.city || b != tt.elsewhere || !h.Enabled || h.Insecure || h.Selection != mn.SelectNearest {
			t.Errorf("%s: %d and %d, %+v", c.Name, a, b, h)
		}
	}
	plain := s.config.MobileNodes[0]
	for selection, want := range map[config.AnchorSelection]mn.AnchorSelection{
		config.AnchorPreferred: mn.SelectPreferred, config.AnchorFurthest: mn.SelectFurthest, config.AnchorNearest: mn.SelectNearest,
	} {
		plain.AnchorSelection = selection
		if got := hierarchy(plain, nil).Selection; got != want {
			t.Errorf("selection %v is %v", selection, got)
		}
	}
	city, _ := bareShell(t, cityFile)
	var got []string
	for _, a := range city.config.Anchors {
		x := anchorConfig(a, city.config.Visitors, nil, nil)
		for _, v := range x.Visitors {
			got = append(got, fmt.Sprint(x.Name, " ", v.Name, " ", v.SA.SPI, " ", v.RequireTimestamp))
		}
	}
	if want := []string{"city bus 2000 false", "port bus 2000 false", "port ferry 2001 true"}; !slices.Equal(got, want) {
		t.Errorf("visitors %v, want %v", got, want)
	}
}

// A mobile whose hierarchy changes is changed in place.
func TestReloadHierarchy(t *testing.T) {
	s, _ := bareShell(t, twoMobiles)
	for _, c := range s.config.MobileNodes {
		s.mobiles = append(s.mobiles, newMobileHost(c, s.surroundings(c), 1))
	}
	before := []role.Machine{s.mobiles[0].machine, s.mobiles[1].machine}
	reparse(t, s, testNow, strings.Replace(twoMobiles, "config mobile_node 'phone'", "config mobile_node 'phone'\n\toption hierarchy '1'", 1)+`
config anchor_key 'city'
	option mobile 'phone'
	option spi '300'
	option key '000102030405060708090a0b0c0d0e0f'
`)
	if len(s.mobiles) != 2 || s.mobiles[0].machine != before[0] || s.mobiles[1].machine != before[1] || s.mobiles[0].ending {
		t.Error("a mobile has ended")
	}
	d := s.document(testNow, control.TopicAnchors).(control.Anchors)
	if len(d.Mobiles) != 2 || !d.Mobiles[0].Hierarchy || d.Mobiles[1].Hierarchy {
		t.Errorf("%+v", d)
	}
}

// What people see of anchors.
func TestShowAnchors(t *testing.T) {
	c := newCity(t, cityFile)
	regional, onLink := netip.MustParseAddr("2001:db8:6::7"), netip.MustParseAddr("2001:db8:a1::7")
	c.send(localUpdate(t, portAddr, regional, onLink, 9))
	c.now = c.now.Add(10 * time.Second)
	c.links[41] = role.Link{Index: 41, Name: "eth6"}
	got := c.document(c.now, control.TopicAnchors)
	want := control.Anchors{Anchors: []control.Anchor{
		{Name: "city", Address: cityAddr, Prefix: netip.MustParsePrefix("2001:db8:5::/64"), Link: "eth5", Served: []netip.Prefix{},
			MaxLifetime: control.Seconds(10 * time.Minute), Visitors: 1, Limit: 4},
		{Name: "port", Address: portAddr, Prefix: netip.MustParsePrefix("2001:db8:6::/64"), Link: "eth6", Ready: true,
			Served:      []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")},
			MaxLifetime: control.Seconds(10 * time.Minute), Visitors: 2, Bindings: 1, Limit: 7},
	}, Mobiles: []control.KnownAnchors{}}
	if !reflect.DeepEqual(got, control.Document(want)) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	b := c.document(c.now, control.TopicBindings).(control.Bindings)
	if len(b.Anchors) != 1 || b.Anchors[0].Anchor != "port" || b.Anchors[0].Visitor != "bus" || b.Anchors[0].Sequence != 9 || b.Anchors[0].State != "active" ||
		b.Anchors[0].Remaining != control.Seconds(590*time.Second) || b.Anchors[0].Age != control.Milliseconds(10*time.Second) {
		t.Errorf("%+v", b.Anchors)
	}
	if x := c.anchorStats(); x.Visitors != 3 || x.Bindings != 1 || x.Limit != 11 || x.Registrations != 1 {
		t.Errorf("%+v", x)
	}
	if x := c.anchorState(); len(x) != 2 || x[1].Bindings != 1 || x[1].Limit != 7 {
		t.Errorf("%+v", x)
	}
	s, _ := bareShell(t, "")
	if s.anchorStats() != nil {
		t.Error("statistics without an anchor")
	}
	for k, want := range map[overlay.Key]bool{
		{Home: regional, Side: overlay.AgentSide}:                               true,
		{Home: netip.MustParseAddr("2001:db8:20::2"), Side: overlay.AgentSide}:  false,
		{Home: netip.MustParseAddr("2001:db8:77::7"), Side: overlay.MobileSide}: true,
	} {
		if c.regional(k) != want {
			t.Errorf("%+v: regional %v", k, !want)
		}
	}
}

// spiOf is the SPI of the key of RFC 4285 for an anchor.
func spiOf(h mn.Hierarchy, at netip.Addr) uint32 {
	if k, ok := h.KeyOf(at); ok && k.SA != nil {
		return k.SA.SPI
	}
	return 0
}
