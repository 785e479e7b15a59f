package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
	"roam6/overlay"
)

var (
	careOf1 = netip.MustParseAddr("2001:db8:a1::7")
	careOf2 = netip.MustParseAddr("2001:db8:a2::7")
	home2   = netip.MustParseAddr("2001:db8:10::200")
	foreign = netip.MustParseAddr("2001:db8:99::1")
	served  = netip.MustParsePrefix("2001:db8:20::/64") // by the home agent

	regional1 = netip.MustParseAddr("2001:db8:5::7") // the first mobile's
)

const servingFile = `
config home_agent 'h'
	option interface 'eth1'
	option address '2001:db8:20::1'
	list prefix '2001:db8:20::/64'
	list deprecated_prefix '2001:db8:21::/64'

config mobile 'm'
	option home_address '2001:db8:20::2'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'

config anchor 'city'
	option interface 'eth2'
	option address '2001:db8:6::1'
	option insecure '1'
`

// Every event reaches the roles that it concerns, and no other. Both mobiles
// write down what they get; of the others the metrics tell.
//
// Covers: C4, H12, M10, M11, M12, P3.
func TestDispatch(t *testing.T) {
	agent := netip.MustParseAddr("2001:db8:20::1")
	message := func(to netip.Addr, m mip6.Message) role.Event {
		return role.MessageReceived{Link: 2, Packet: mip6.Packet{Source: foreign, Destination: to, Message: m}}
	}
	routed := func(careOf, home netip.Addr, m mip6.Message) role.Event {
		return role.MessageReceived{Link: 2, Packet: mip6.Packet{Source: foreign, Destination: careOf, RouteHome: home, Message: m}}
	}
	icmp := func(to netip.Addr, m mip6.ICMPMessage) role.Event {
		return role.ICMPReceived{Link: 2, Packet: mip6.ICMPPacket{Source: foreign, Destination: to, Message: m}}
	}
	anchored := netip.MustParseAddr("2001:db8:6::1")
	localUpdate := mip6.BindingUpdate{Flags: mip6.UpdateMAP | mip6.UpdateAcknowledge}
	homeUpdate := mip6.BindingUpdate{Flags: mip6.UpdateHome | mip6.UpdateAcknowledge}
	for _, tt := range []struct {
		name string
		e    role.Event
		// want: first and second mobile, agent, correspondent, node; a message that
		// is for nobody is counted as unexpected.
		want    string
		answers int
	}{
		{"home registration", message(agent, homeUpdate), "agent", 0},
		{"home registration elsewhere", message(home, homeUpdate), "unexpected", 0},
		{"router registration", message(agent, mip6.BindingUpdate{Flags: mip6.UpdateMobileRouter}), "agent", 0},
		{"update of a stranger at the agent's address", message(agent, mip6.BindingUpdate{}), "correspondent", 0},
		{"update at a home address", message(home, mip6.BindingUpdate{}), "correspondent", 0},
		{"local registration", message(anchored, localUpdate), "anchor", 0},
		{"local registration at a home agent", message(agent, localUpdate), "unexpected", 0},
		{"local registration at nobody", message(us, localUpdate), "unexpected", 0},
		{"local and home registration at once", message(us, mip6.BindingUpdate{Flags: mip6.UpdateMAP | mip6.UpdateHome}), "unexpected", 0},
		{"home registration at an anchor", message(anchored, homeUpdate), "unexpected", 0},
		{"update of a stranger at an anchor", message(anchored, mip6.BindingUpdate{}), "correspondent", 0},
		{"acknowledgement of an anchor", routed(careOf1, regional1, mip6.BindingAcknowledgement{}), "first", 0},
		{"refresh request of an anchor", message(regional1, mip6.BindingRefreshRequest{}), "first", 0},
		{"care-of test by an anchor", message(regional1, mip6.CareOfTest{}), "first", 0},
		{"home test init", message(agent, mip6.HomeTestInit{}), "correspondent", 0},
		{"care-of test init", message(home, mip6.CareOfTestInit{}), "correspondent", 0},
		{"home test", message(home, mip6.HomeTest{}), "first", 0},
		{"care-of test", message(careOf2, mip6.CareOfTest{}), "second", 0},
		{"acknowledgement", routed(careOf1, home, mip6.BindingAcknowledgement{}), "first", 0},
		{"refresh request", message(home2, mip6.BindingRefreshRequest{}), "second", 0},
		{"binding error", message(careOf1, mip6.BindingError{Home: home}), "first", 0},
		{"acknowledgement to nobody", message(agent, mip6.BindingAcknowledgement{}), "unexpected", 0},
		{"unknown type", message(foreign, mip6.UnknownMessage{MessageType: 99}), "node", 1},

		{"discovery request", icmp(mip6.HomeAgentsAnycast(served), mip6.HomeAgentRequest{}), "agent", 1},
		{"discovery request under the deprecated prefix", icmp(mip6.HomeAgentsAnycast(netip.MustParsePrefix("2001:db8:21::/64")), mip6.HomeAgentRequest{}), "agent", 1},
		{"discovery request to another link", icmp(mip6.HomeAgentsAnycast(netip.MustParsePrefix("2001:db8:22::/64")), mip6.HomeAgentRequest{}), "unexpected", 0},
		{"prefix solicitation", icmp(agent, mip6.PrefixSolicitation{}), "agent", 0},
		{"prefix solicitation to a mobile", icmp(home, mip6.PrefixSolicitation{}), "unexpected", 0},
		{"discovery reply", icmp(careOf2, mip6.HomeAgentReply{}), "second", 0},
		{"prefix advertisement", icmp(home, mip6.PrefixAdvertisement{}), "first", 0},
		{"discovery reply to nobody", icmp(foreign, mip6.HomeAgentReply{}), "unexpected", 0},

		{"router", role.RouterHeard{Link: 2, Router: netip.MustParseAddr("fe80::1"), RA: nd.RouterAdvertisement{}}, "first second", 0},
		{"traffic of a mobile", role.TrafficSeen{Home: home2, Peer: foreign, Side: overlay.MobileSide}, "second", 0},
		{"traffic of a correspondent", role.TrafficSeen{Home: home2, Peer: foreign, Side: overlay.CorrespondentSide}, "", 0},
		{"silence", role.TunnelSilent{Home: home}, "first", 0},
		{"refused tunnel", role.TunnelRefused{Home: home2}, "second", 0},
		{"traffic of a regional address", role.TrafficSeen{Home: regional1, Peer: foreign, Side: overlay.MobileSide}, "", 0},
		{"silence behind an anchor", role.TunnelSilent{Home: regional1}, "first", 0},
		{"tunnel refused by an anchor", role.TunnelRefused{Home: regional1}, "first", 0},
		{"tunnel refused that is nobody's", role.TunnelRefused{Home: anchored}, "", 0},
		{"refused by a peer, regional address", role.PeerRefused{Local: regional1, Peer: foreign}, "first", 0},
		{"prefix advertisement to a regional address", icmp(regional1, mip6.PrefixAdvertisement{}), "first", 0},
		{"refused by a peer, home address", role.PeerRefused{Local: home, Peer: foreign}, "first", 0},
		{"refused by a peer, care-of address", role.PeerRefused{Local: careOf2, Peer: foreign}, "second", 0},
		{"unknown home address", role.UnknownHomeAddress{Source: foreign, Destination: us, Home: home2}, "", 1},
		{"route that leads nowhere", role.RouteUnreachable{Home: home2, Peer: us, CareOf: careOf2}, "", 0},
		{"neighbour", role.NeighborHeard{Link: 2}, "first second", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := bareShell(t, servingFile)
			first, second := &recorder{home: home, careOf: careOf1, regional: regional1}, &recorder{home: home2, careOf: careOf2}
			for _, r := range []*recorder{first, second} {
				s.mobiles = append(s.mobiles, &mobileHost{machine: r, config: config.MobileNode{HomeAddress: netip.PrefixFrom(r.home, 64)}})
			}
			s.agents = []*agentHost{s.newAgentHost(testNow, s.config.HomeAgents[0], s.config.Mobiles)}
			s.anchors = []*anchorHost{s.newAnchorHost(s.config.Anchors[0])}
			s.correspondent = newCorrespondentHost(s.config.Correspondent)
			wire := new(wire)
			s.signalling = wire
			s.dispatch(testNow, tt.e)
			var got []string
			if len(first.events) > 0 {
				got = append(got, "first")
			}
			if len(second.events) > 0 {
				got = append(got, "second")
			}
			for _, m := range s.metrics.Messages() {
				if m.Received > 0 && m.Role != metrics.RoleMobile {
					got = append(got, m.Role.String())
				}
			}
			dropped := s.metrics.MessagesDropped()
			if dropped[role.DropUnknownType] > 0 {
				got = append(got, "node")
			}
			if dropped[role.DropUnexpected] > 0 {
				got = append(got, "unexpected")
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, want %q", got, tt.want)
			}
			if answers := wire.packets; len(answers) != tt.answers {
				t.Errorf("%d answers, want %d: % x", len(answers), tt.answers, answers)
			}
		})
	}
}

// Two mobiles of one host share their care-of address: what one of them takes is
// not dropped, and a Binding Error is for the one whose home address it names.
//
// Covers: M5, M12.
func TestSharedCareOf(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		m                       mip6.Message
		firstDrops, secondDrops bool
		asked                   string
		dropped                 uint64
	}{
		{"taken by the second", mip6.CareOfTest{}, true, false, "first second", 0},
		{"taken by nobody", mip6.CareOfTest{}, true, true, "first second", 2},
		{"error about the first", mip6.BindingError{Home: home}, true, true, "first", 1},
		{"error about nobody", mip6.BindingError{Home: netip.IPv6Unspecified()}, false, false, "first second", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := bareShell(t, "")
			first := &recorder{home: home, careOf: careOf1, drops: tt.firstDrops}
			second := &recorder{home: home2, careOf: careOf1, drops: tt.secondDrops}
			var asked []string
			for _, r := range []*recorder{first, second} {
				s.mobiles = append(s.mobiles, &mobileHost{machine: r, config: config.MobileNode{HomeAddress: netip.PrefixFrom(r.home, 64)}})
			}
			s.dispatch(testNow, role.MessageReceived{Packet: mip6.Packet{Source: foreign, Destination: careOf1, Message: tt.m}})
			for i, r := range []*recorder{first, second} {
				if len(r.events) > 0 {
					asked = append(asked, []string{"first", "second"}[i])
				}
			}
			if got := strings.Join(asked, " "); got != tt.asked {
				t.Errorf("asked: %s, want %s", got, tt.asked)
			}
			if n := s.metrics.MessagesDropped()[role.DropUnsolicited]; n != tt.dropped {
				t.Errorf("%d dropped, want %d", n, tt.dropped)
			}
		})
	}
}

// A binding update that takes the node for a home agent is answered with status
// 131, at a limited rate, and never with a routing header to what is no home
// address (RFC 6275 §10.3.1).
//
// Covers: H2.
func TestNoHomeAgent(t *testing.T) {
	u := mip6.BindingUpdate{Sequence: 4711, Flags: mip6.UpdateHome}
	p := mip6.Packet{Source: careOf1, Destination: us, HomeAddress: home, Message: u}
	var r refusals
	sent := sends(r.homeRegistration(testNow, p, u))
	if len(sent) != 1 {
		t.Fatalf("%d answers", len(sent))
	}
	a, ok := sent[0].Packet.Message.(mip6.BindingAcknowledgement)
	if !ok || a.Status != mip6.StatusHomeRegistrationNotSupported || a.Sequence != 4711 ||
		sent[0].Packet.Source != us || sent[0].Packet.Destination != careOf1 || sent[0].Packet.RouteHome != home {
		t.Errorf("answer %+v", sent[0].Packet)
	}
	if _, err := sent[0].Packet.Append(nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []mip6.Packet{
		{Source: netip.MustParseAddr("ff02::1"), Destination: us, Message: u},
		{Source: careOf1, Destination: netip.MustParseAddr("ff02::1"), Message: u},
		{Source: careOf1, Destination: us, HomeAddress: netip.MustParseAddr("ff02::1"), Message: u},
	} {
		if n := len(sends(r.homeRegistration(testNow, bad, u))); n != 0 {
			t.Errorf("%+v is answered", bad)
		}
	}
	n := 0
	for range 1000 {
		n += len(sends(r.homeRegistration(testNow, p, u)))
	}
	if n != refusalRate.Burst-1 {
		t.Errorf("%d answers to a flood, want %d", n, refusalRate.Burst-1)
	}
}

func sends(actions []role.Action) (list []role.Send) {
	for _, a := range actions {
		if s, ok := a.(role.Send); ok {
			list = append(list, s)
		}
	}
	return list
}

// A policy holds while its mobile has its home address, and follows it home and
// away.
func TestSteering(t *testing.T) {
	s, _ := bareShell(t, `
config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option insecure '1'
	list uplink 'wan'

config policy
	option mobile_node 'phone'
	option proto 'udp'
	option port '5060-5061'

config policy
	option mobile_node 'phone'
	option mark '0x10/0xff'
`)
	mobile := &recorder{home: home}
	h := &mobileHost{machine: mobile, config: s.config.MobileNodes[0]}
	s.mobiles = []*mobileHost{h}
	told := func() string {
		var b strings.Builder
		for _, r := range s.steering(testNow) {
			fmt.Fprintf(&b, "%v proto %d ports %d-%d mark %#x/%#x device %d via %v\n", r.Home, r.Protocol, r.FirstPort, r.LastPort, r.Mark, r.Mask, r.Device, r.Via)
		}
		return b.String()
	}
	on := func(device int) string {
		where := fmt.Sprintf("device %d via %v\n", device, netip.Addr{})
		if device != 0 {
			where = fmt.Sprintf("device %d via fe80::1\n", device)
		}
		return fmt.Sprintf("%v proto 17 ports 5060-5061 mark 0x0/0x0 %s%v proto 0 ports 0-0 mark 0x10/0xff %s", home, where, home, where)
	}
	expect := func(when, want string) {
		t.Helper()
		if got := told(); got != want {
			t.Errorf("%s:\n%swant\n%s", when, got, want)
		}
	}
	expect("nowhere", "")
	s.homeAssigned(h.machine, 0, home)
	expect("away", on(0))
	mobile.attachment = role.Attachment{Link: "wan", Router: netip.MustParseAddr("fe80::1"), AtHome: true}
	s.homeAssigned(h.machine, 3, home) // arrives at home: for a moment on both
	expect("arriving", on(3))
	s.homeUnassigned(h.machine, 0, home)
	expect("at home", on(3))
	s.homeUnassigned(h.machine, 3, careOf1) // another address
	s.homeAssigned(h.machine, 0, careOf2)   // a regional care-of address, of which the node takes its leave at home
	expect("at home still", on(3))
	s.linkGone(testNow, 3)
	expect("the home link is gone", "")
	s.homeAssigned(h.machine, 0, home)
	s.homeAssigned(new(recorder), 4, home) // of nobody
	expect("away again", on(0))
	s.homeUnassigned(h.machine, 0, home)
	expect("gone", "")
}

// Routes to one destination are the same only from the same sources.
func TestHoldersOfSourceRoutes(t *testing.T) {
	var x holders
	a, b := new(recorder), new(recorder)
	plain := role.Route{Destination: netip.MustParsePrefix("::/0"), Link: 3, Via: netip.MustParseAddr("fe80::1")}
	from := plain
	from.From = netip.MustParsePrefix("2001:db8:a1::/64")
	x.hold(heldRoute(plain), a)
	x.hold(heldRoute(from), a)
	x.hold(heldRoute(from), b)
	if !x.release(heldRoute(plain), a) {
		t.Error("the plain route stays for the sake of the one with a source")
	}
	if x.release(heldRoute(from), a) || !x.release(heldRoute(from), b) {
		t.Error("the route with a source does not stay for the last that wants it")
	}
}

// A prefix that is given up ends when it was said to, however often the
// configuration is read; one that is given up again begins anew.
func TestDeprecatedPrefix(t *testing.T) {
	s, _ := bareShell(t, servingFile)
	lifetimes := func(now time.Time) (ends []time.Duration) {
		c := agentConfig(s.config.HomeAgents[0], s.config.Mobiles, s.deprecatedSince(now, "h"))
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.OtherPrefixes {
			if p.PreferredUntil.After(now) {
				t.Errorf("%v is preferred", p.Prefix)
			}
			ends = append(ends, p.ValidUntil.Sub(now))
		}
		return ends
	}
	if got := lifetimes(testNow); !slices.Equal(got, []time.Duration{2 * time.Hour}) {
		t.Errorf("%v at first", got)
	}
	s.forgetDeprecated(s.config)
	if got := lifetimes(testNow.Add(time.Hour)); !slices.Equal(got, []time.Duration{time.Hour}) {
		t.Errorf("%v an hour later", got)
	}
	s.forgetDeprecated(&config.Config{})
	if got := lifetimes(testNow.Add(time.Hour)); !slices.Equal(got, []time.Duration{2 * time.Hour}) {
		t.Errorf("%v when it is given up again", got)
	}
}

// A reload ends a mobile's registration only where its home agent may not be used
// any more.
func TestKeepsAgent(t *testing.T) {
	one, two := netip.MustParseAddr("2001:db8:10::1"), netip.MustParseAddr("2001:db8:10::2")
	for _, tt := range []struct {
		name     string
		inUse    netip.Addr
		old, new config.MobileNode
		want     bool
	}{
		{"another is added", one, config.MobileNode{HomeAgents: []netip.Addr{one}}, config.MobileNode{HomeAgents: []netip.Addr{two, one}}, true},
		{"it is replaced", one, config.MobileNode{HomeAgents: []netip.Addr{one}}, config.MobileNode{HomeAgents: []netip.Addr{two}}, false},
		{"it is replaced by discovery", one, config.MobileNode{HomeAgents: []netip.Addr{one}}, config.MobileNode{Discover: true}, false},
		{"it was discovered", one, config.MobileNode{Discover: true}, config.MobileNode{HomeAgents: []netip.Addr{two}, Discover: true}, true},
		{"it was discovered, which ends", one, config.MobileNode{Discover: true}, config.MobileNode{HomeAgents: []netip.Addr{two}}, false},
		{"none is in use", netip.Addr{}, config.MobileNode{Discover: true}, config.MobileNode{HomeAgents: []netip.Addr{two}}, true},
	} {
		h := &mobileHost{machine: &recorder{home: home, agent: tt.inUse}, config: tt.old}
		if got := h.keepsAgent(testNow, tt.new); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
