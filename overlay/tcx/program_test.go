package tcx

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// The programs are run by the kernel on single packets, with maps as the fast path fills
// them, in a namespace with a link and a route. What they would redirect goes nowhere.

// What a program returns when it has taken a packet (TC_ACT_REDIRECT).
const actionRedirect = 7

var (
	agent   = netip.MustParseAddr("2001:db8:a::1")
	away    = netip.MustParseAddr("2001:db8:7::2") // care-of address of the agent's mobile
	further = netip.MustParseAddr("2001:db8:7::3") // and another one
	careOf  = netip.MustParseAddr("2001:db8:1::2")
	former  = netip.MustParseAddr("2001:db8:1::6") // care-of address that has been removed
	server  = netip.MustParseAddr("2001:db8:b::1") // agent of the mobile with the care-of address
	home    = netip.MustParseAddr("2001:db8:aa::5")
	network = netip.MustParsePrefix("2001:db8:5::/64")
	node    = netip.MustParseAddr("2001:db8:5::2")
	peer    = netip.MustParseAddr("2001:db8:c::1")
	foreign = netip.MustParseAddr("2001:db8:66::6")
)

// bench is a fast path without a device, and its programs.
type bench struct {
	t      *testing.T
	space  *nstest.Space
	path   *fastPath
	egress *ebpf.Program
	link   int
}

// newBench makes one whose device is the loopback interface.
func newBench(t *testing.T) *bench {
	t.Helper()
	need(t)
	b := &bench{t: t, space: nstest.New(t)}
	nstest.Veth(b.space, "wan", b.space, "net")
	b.link = b.space.Index("wan")
	b.space.Address("wan", "2001:db8:1::2/64")
	b.space.Address("wan", "2001:db8:a::1/64")
	b.space.Route("::/0", "2001:db8:1::ff", "wan")
	b.space.Sysctl("net/ipv6/conf/all/forwarding", "1")
	b.space.Do(func() (err error) {
		if b.path, err = newFastPath(t.TempDir()); err != nil {
			return err
		}
		if b.path.hook, err = openHook(b.path.root, "bench"); err != nil {
			return err
		}
		b.path.setting = setting{device: 1, mark: tun.DefaultMark, markMask: tun.DefaultMarkMask, routeByMark: routesByMark()}
		if b.path.loaded, err = load(b.path.setting, 16, ""); err != nil {
			return err
		}
		if err = openWorld(b.path); err != nil {
			return err
		}
		go b.path.world.runLoop()
		descriptors := make(map[string]int)
		for name, m := range b.path.loaded.maps {
			descriptors[name] = m.FD()
		}
		// Packets of a test have an Ethernet header.
		b.egress, err = loadProgram("test", b.path.setting.egress(ethernetLength, descriptors))
		return err
	})
	t.Cleanup(func() {
		b.egress.Close()
		if err := b.path.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// need skips a test where the kernel or the privileges do not do.
func need(t testing.TB) {
	t.Helper()
	for _, f := range Probe() {
		if f.Missing != "" && f.Instead == "" {
			t.Skipf("needs %s: %s", f.Name, f.Missing)
		}
	}
}

func (b *bench) apply(changes ...tun.FastChange) {
	b.t.Helper()
	b.path.Apply(changes, func(i int, err error) { b.t.Fatalf("change %d: %v", i, err) })
}

// binding is the tunnel of home and network.
func binding(side overlay.Side, edit ...func(*tun.FastTunnel)) tun.FastChange {
	p := overlay.Path{Local: careOf, Remote: server}
	ends := []tun.End{{From: server, To: careOf}, {From: server, To: agent}, {From: server, To: former}}
	if side == overlay.AgentSide {
		p = overlay.Path{Local: agent, Remote: away}
		ends = []tun.End{{From: away, To: agent}, {From: further, To: agent}}
	}
	s := &tun.FastTunnel{
		Key: overlay.Key{Home: home, Side: side}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128), network},
		Path: p, Ends: ends, MTU: 1500,
	}
	for _, e := range edit {
		e(s)
	}
	return tun.FastChange{Set: s}
}

// run runs a program on a packet. The kernel gives it no aggregates here: for those see
// TestAggregates.
func (b *bench) run(p *ebpf.Program, packet []byte) (action int32, after []byte) {
	b.t.Helper()
	frame := slices.Concat(make([]byte, 12), []byte{0x86, 0xdd}, packet)
	o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64)}
	b.space.Do(func() error {
		r, err := p.Run(o)
		action = int32(r)
		return err
	})
	return action, o.DataOut[ethernetLength:]
}

func ipv6(from, to netip.Addr, next uint8, payload ...byte) []byte {
	p := []byte{0x60, 0, 0, 0, 0, 0, next, 63}
	binary.BigEndian.PutUint16(p[4:], uint16(len(payload)))
	return slices.Concat(p, from.AsSlice(), to.AsSlice(), payload)
}

// udp is a datagram with so many octets of payload.
func udp(fromPort, toPort uint16, payload int) []byte {
	u := binary.BigEndian.AppendUint16(nil, fromPort)
	u = binary.BigEndian.AppendUint16(u, toPort)
	u = binary.BigEndian.AppendUint16(u, uint16(8+payload))
	return append(u, make([]byte, 2+payload)...)
}

// tcp is a segment with so many octets of payload, and a timestamp option.
func tcp(payload int) []byte {
	b := make([]byte, 32+payload)
	b[12] = 8 << 4
	return b
}

func edited(packet []byte, edit func([]byte)) []byte {
	p := slices.Clone(packet)
	edit(p)
	return p
}

func class(v byte) func([]byte) {
	return func(p []byte) { p[0], p[1] = 6<<4|v>>4, p[1]&0x0f|v<<4 }
}

func TestEgress(t *testing.T) {
	b := newBench(t)
	b.apply(binding(overlay.AgentSide))
	for name, test := range map[string]struct {
		packet []byte
		take   bool
	}{
		"datagram":                     {packet: ipv6(peer, node, protocolUDP, udp(9, 9, 5)...), take: true},
		"to the home address":          {packet: ipv6(peer, home, protocolUDP, udp(9, 9, 5)...), take: true},
		"segment":                      {packet: ipv6(peer, node, protocolTCP, tcp(100)...), take: true},
		"echo request":                 {packet: ipv6(peer, node, unix.IPPROTO_ICMPV6, 128, 0, 0, 0, 1, 1, 1, 1), take: true},
		"ESP":                          {packet: ipv6(peer, node, unix.IPPROTO_ESP, make([]byte, 40)...), take: true},
		"class and label":              {packet: edited(ipv6(peer, node, protocolUDP, udp(9, 9, 5)...), class(0xb9)), take: true},
		"largest":                      {packet: ipv6(peer, node, protocolUDP, udp(9, 9, 1460-48)...), take: true},
		"too big by one":               {packet: ipv6(peer, node, protocolUDP, udp(9, 9, 1461-48)...)},
		"hop-by-hop options":           {packet: ipv6(peer, node, protocolHopByHop, make([]byte, 16)...)},
		"routing header":               {packet: ipv6(peer, node, protocolRouting, make([]byte, 32)...)},
		"fragment":                     {packet: ipv6(peer, node, protocolFragment, make([]byte, 32)...)},
		"destination options":          {packet: ipv6(peer, node, protocolDestinationOptions, make([]byte, 32)...)},
		"mobility header":              {packet: ipv6(peer, node, protocolMobility, make([]byte, 32)...)},
		"tunnel packet":                {packet: ipv6(peer, node, protocolIPv6, ipv6(peer, node, 59)...)},
		"to a DHCPv6 server":           {packet: ipv6(peer, node, protocolUDP, udp(9, 547, 5)...)},
		"from a DHCPv6 server":         {packet: ipv6(peer, node, protocolUDP, udp(547, 9, 5)...)},
		"from a link-local address":    {packet: ipv6(netip.MustParseAddr("fe80::1"), node, protocolUDP, udp(9, 9, 5)...)},
		"from the highest of them":     {packet: ipv6(netip.MustParseAddr("febf::1"), node, protocolUDP, udp(9, 9, 5)...)},
		"from just above":              {packet: ipv6(netip.MustParseAddr("fec0::1"), node, protocolUDP, udp(9, 9, 5)...), take: true},
		"from the unspecified address": {packet: ipv6(netip.IPv6Unspecified(), node, protocolUDP, udp(9, 9, 5)...)},
		"from loopback":                {packet: ipv6(netip.IPv6Loopback(), node, protocolUDP, udp(9, 9, 5)...)},
		"from a multicast address":     {packet: ipv6(netip.MustParseAddr("ff0e::1"), node, protocolUDP, udp(9, 9, 5)...)},
		"to a multicast address":       {packet: ipv6(peer, netip.MustParseAddr("ff0e::1"), protocolUDP, udp(9, 9, 5)...)},
		"to a link-local address":      {packet: ipv6(peer, netip.MustParseAddr("fe80::1"), protocolUDP, udp(9, 9, 5)...)},
		"to nobody's address":          {packet: ipv6(peer, foreign, protocolUDP, udp(9, 9, 5)...)},
		"from the mobile":              {packet: ipv6(node, peer, protocolUDP, udp(9, 9, 5)...)},
		"longer than it says":          {packet: append(ipv6(peer, node, protocolUDP, udp(9, 9, 5)...), 0)},
		"shorter than it says":         {packet: edited(ipv6(peer, node, protocolUDP, udp(9, 9, 5)...), func(p []byte) { p[5]++ })},
		"without ports":                {packet: ipv6(peer, node, 59)},
		"not IPv6":                     {packet: edited(ipv6(peer, node, protocolUDP, udp(9, 9, 5)...), func(p []byte) { p[0] = 0x40 })},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.path.Counters()[overlay.Key{Home: home, Side: overlay.AgentSide}]
			action, after := b.run(b.egress, test.packet)
			counted := b.path.Counters()[overlay.Key{Home: home, Side: overlay.AgentSide}]
			if !test.take {
				if action != actionLeave || !bytes.Equal(after, test.packet) {
					t.Errorf("action %d, packet\n%x, was\n%x", action, after, test.packet)
				}
				if counted != before {
					t.Errorf("counted: %+v, before %+v", counted, before)
				}
				return
			}
			if action != actionRedirect {
				t.Fatalf("action %d", action)
			}
			header, inner := after[:headerLength], after[headerLength:]
			if !bytes.Equal(inner, test.packet) {
				t.Errorf("inner packet\n%x, was\n%x", inner, test.packet)
			}
			want := ipv6(agent, away, protocolIPv6, inner...)[:headerLength]
			want[7] = outerHopLimit
			want[0], want[1] = inner[0], inner[1]&0xf0|header[1]&0x0f // the flow label is a hash
			want[2], want[3] = header[2], header[3]
			if !bytes.Equal(header, want) {
				t.Errorf("header\n%x, want\n%x", header, want)
			}
			wantCounted := overlay.Counters{EncapPackets: before.EncapPackets + 1, EncapBytes: before.EncapBytes + uint64(len(test.packet))}
			if counted != wantCounted {
				t.Errorf("counted: %+v, before %+v", counted, before)
			}
		})
	}
}

// What the state of the maps and of the node has to say to a packet that is fine.
func TestEgressState(t *testing.T) {
	down := ipv6(peer, node, protocolUDP, udp(9, 9, 5)...)
	up := ipv6(home, peer, protocolUDP, udp(9, 9, 5)...)
	takes := func(b *bench, what string, packet []byte, want bool) {
		t.Helper()
		if action, _ := b.run(b.egress, packet); (action == actionRedirect) != want {
			t.Errorf("%s: action %d", what, action)
		}
	}
	b := newBench(t)
	takes(b, "without a tunnel", down, false)
	b.apply(binding(overlay.AgentSide))
	takes(b, "agent", down, true)
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.MTU = 100 }))
	takes(b, "path that takes less", down, true)
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.MTU = len(down) + headerLength - 1 }))
	takes(b, "path that takes less than this", down, false)
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.Path.Local = foreign }))
	takes(b, "from an address that is not this node's", down, false)
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.Path.Link = b.link }))
	takes(b, "by a link", down, true)
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.Path.Link = b.space.Index("net") }))
	takes(b, "by a link without a route", down, false)
	b.apply(tun.FastChange{Remove: overlay.Key{Home: home, Side: overlay.AgentSide}})
	takes(b, "removed", down, false)

	b.apply(binding(overlay.MobileSide))
	takes(b, "mobile", up, true)
	takes(b, "mobile, from elsewhere", ipv6(foreign, peer, protocolUDP, udp(9, 9, 5)...), false)
	for _, p := range []overlay.Pair{{Home: home, Peer: peer, Side: overlay.MobileSide}, {Home: peer, Peer: home, Side: overlay.CorrespondentSide}} {
		b.apply(tun.FastChange{Yield: &p})
		takes(b, "pair of an optimised route", up, false)
		takes(b, "another pair", ipv6(home, foreign, protocolUDP, udp(9, 9, 5)...), true)
	}
	b.apply(tun.FastChange{Reclaim: &overlay.Pair{Home: home, Peer: peer, Side: overlay.MobileSide}})
	takes(b, "pair of the other one's route, still", up, false)
	b.apply(tun.FastChange{Reclaim: &overlay.Pair{Home: peer, Peer: home, Side: overlay.CorrespondentSide}})
	takes(b, "pair of no optimised route any more", up, true)

	b.apply(binding(overlay.MobileSide, func(s *tun.FastTunnel) { s.Watch = true }))
	takes(b, "watched, first", up, false)
	takes(b, "watched, second", up, true)
	takes(b, "watched, another peer", ipv6(home, foreign, protocolUDP, udp(9, 9, 5)...), false)
	takes(b, "watched, from the mobile network", ipv6(node, peer, protocolUDP, udp(9, 9, 5)...), true)

	// The path begins at an address that goes, and comes back.
	mobile := ipv6(node, peer, protocolUDP, udp(9, 9, 5)...)
	follows := func(what string, want bool) {
		t.Helper()
		eventually(t, what, func() bool {
			action, _ := b.run(b.egress, mobile)
			return (action == actionRedirect) == want
		})
	}
	address, err := netlink.ParseAddr(careOf.String() + "/64")
	if err != nil {
		t.Fatal(err)
	}
	b.space.Do(func() error { return b.space.Handle.AddrDel(b.space.Link("wan"), address) })
	follows("packets are left without the care-of address", false)
	b.space.Address("wan", careOf.String()+"/64")
	follows("packets are taken with the care-of address", true)

	// The way changes within a tick.
	_, all, _ := net.ParseCIDR("::/0")
	route := &netlink.Route{LinkIndex: b.link, Dst: all, Gw: net.ParseIP("2001:db8:1::ff")}
	b.space.Do(func() error { return b.space.Handle.RouteDel(route) })
	follows("packets are left without a route", false)
	b.space.Do(func() error { return b.space.Handle.RouteAdd(route) })
	follows("packets are taken with a route", true)
	b.space.Do(func() error { return b.space.Handle.LinkSetMTU(b.space.Link("wan"), 1280) })
	mobile = ipv6(node, peer, protocolUDP, udp(9, 9, 1241-48)...)
	follows("packets that are too big for the route are left", false)
	mobile = ipv6(node, peer, protocolUDP, udp(9, 9, 1240-48)...)
	follows("packets that are not are taken", true)
	b.space.Do(func() error { return b.space.Handle.LinkSetMTU(b.space.Link("wan"), 1500) })

	// Of two tunnels the agent's comes first, and of prefixes the longest.
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) {
		s.Home, s.Inner, s.Path.Remote = peer, []netip.Prefix{netip.PrefixFrom(peer, 48).Masked()}, foreign
	}))
	if _, after := b.run(b.egress, ipv6(node, peer, protocolUDP, udp(9, 9, 5)...)); !bytes.Equal(after[atTarget:headerLength], foreign.AsSlice()) {
		t.Errorf("between a mobile and another: header %x", after[:headerLength])
	}
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) {
		s.Home, s.Inner, s.Path.Remote = foreign, []netip.Prefix{netip.PrefixFrom(peer, 64).Masked()}, further
	}))
	if _, after := b.run(b.egress, ipv6(node, peer, protocolUDP, udp(9, 9, 5)...)); !bytes.Equal(after[atTarget:headerLength], further.AsSlice()) {
		t.Errorf("longest prefix: header %x", after[:headerLength])
	}
}

func TestIngress(t *testing.T) {
	b := newBench(t)
	b.apply(binding(overlay.AgentSide))
	program := b.path.loaded.ingress[ethernetLength]
	datagram := ipv6(node, peer, protocolUDP, udp(9, 9, 5)...)
	in := func(inner []byte) []byte { return ipv6(away, agent, protocolIPv6, inner...) }
	for name, test := range map[string]struct {
		packet []byte
		take   bool
	}{
		"datagram":                      {packet: in(datagram), take: true},
		"from the home address":         {packet: in(ipv6(home, peer, protocolUDP, udp(9, 9, 5)...)), take: true},
		"from another end":              {packet: ipv6(further, agent, protocolIPv6, datagram...), take: true},
		"segment":                       {packet: in(ipv6(node, peer, protocolTCP, tcp(100)...)), take: true},
		"marked ECT(0)":                 {packet: edited(in(datagram), class(0b10)), take: true},
		"marked ECT(1), inside too":     {packet: edited(in(edited(datagram, class(0b01))), class(0b01)), take: true},
		"marked ECT(1)":                 {packet: edited(in(edited(datagram, class(0b10))), class(0b01))},
		"congestion":                    {packet: edited(in(edited(datagram, class(0b10))), class(0b11))},
		"from a foreign address":        {packet: ipv6(foreign, agent, protocolIPv6, datagram...)},
		"to another address":            {packet: ipv6(away, foreign, protocolIPv6, datagram...)},
		"of nobody":                     {packet: in(ipv6(foreign, peer, protocolUDP, udp(9, 9, 5)...))},
		"to the mobile":                 {packet: in(ipv6(peer, node, protocolUDP, udp(9, 9, 5)...))},
		"with tunnel extension headers": {packet: ipv6(away, agent, protocolDestinationOptions, append([]byte{protocolIPv6, 0, 4, 1, 4, 1, 1, 0}, datagram...)...)},
		"in a fragment":                 {packet: ipv6(away, agent, protocolFragment, append([]byte{protocolIPv6, 0, 0, 1, 0, 0, 0, 1}, datagram...)...)},
		"no tunnel packet":              {packet: ipv6(away, agent, protocolUDP, udp(9, 9, 200)...)},
		"hop-by-hop options":            {packet: in(ipv6(node, peer, protocolHopByHop, make([]byte, 16)...))},
		"routing header":                {packet: in(ipv6(node, peer, protocolRouting, make([]byte, 32)...))},
		"fragment":                      {packet: in(ipv6(node, peer, protocolFragment, make([]byte, 32)...))},
		"destination options":           {packet: in(ipv6(node, peer, protocolDestinationOptions, make([]byte, 32)...))},
		"mobility header":               {packet: in(ipv6(node, peer, protocolMobility, make([]byte, 32)...))},
		"tunnel packet":                 {packet: in(ipv6(node, peer, protocolIPv6, ipv6(peer, node, 59)...))},
		"to a DHCPv6 server":            {packet: in(ipv6(node, peer, protocolUDP, udp(9, 547, 5)...))},
		"from a link-local address":     {packet: in(ipv6(netip.MustParseAddr("fe80::1"), peer, protocolUDP, udp(9, 9, 5)...))},
		"to a multicast address":        {packet: in(ipv6(node, netip.MustParseAddr("ff0e::1"), protocolUDP, udp(9, 9, 5)...))},
		"not IPv6 inside":               {packet: in(make([]byte, 60))},
		"longer than it says":           {packet: append(in(datagram), 0)},
		"inside longer than it says":    {packet: in(append(slices.Clone(datagram), 0))},
		"inside shorter than it says":   {packet: in(edited(datagram, func(p []byte) { p[5]++ }))},
		"cut off":                       {packet: ipv6(away, agent, protocolIPv6, make([]byte, 20)...)},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.path.Counters()[overlay.Key{Home: home, Side: overlay.AgentSide}]
			action, after := b.run(program, test.packet)
			counted := b.path.Counters()[overlay.Key{Home: home, Side: overlay.AgentSide}]
			if !test.take {
				if action != actionLeave || !bytes.Equal(after, test.packet) {
					t.Errorf("action %d, packet\n%x, was\n%x", action, after, test.packet)
				}
				if counted != before {
					t.Errorf("counted: %+v, before %+v", counted, before)
				}
				return
			}
			if action != actionRedirect || !bytes.Equal(after, test.packet[headerLength:]) {
				t.Fatalf("action %d, packet\n%x, was\n%x", action, after, test.packet)
			}
			wantCounted := overlay.Counters{DecapPackets: before.DecapPackets + 1, DecapBytes: before.DecapBytes + uint64(len(after))}
			if counted != wantCounted {
				t.Errorf("counted: %+v, before %+v", counted, before)
			}
		})
	}
}

func TestIngressState(t *testing.T) {
	b := newBench(t)
	program := b.path.loaded.ingress[ethernetLength]
	takes := func(what string, packet []byte, want bool) {
		t.Helper()
		if action, _ := b.run(program, packet); (action == actionRedirect) != want {
			t.Errorf("%s: action %d", what, action)
		}
	}
	down := ipv6(server, careOf, protocolIPv6, ipv6(peer, home, protocolUDP, udp(9, 9, 5)...)...)
	takes("without a tunnel", down, false)
	b.apply(binding(overlay.MobileSide))
	takes("mobile", down, true)
	takes("mobile, by its other path", ipv6(server, agent, protocolIPv6, down[headerLength:]...), true)
	takes("mobile, to an address that it had", ipv6(server, former, protocolIPv6, down[headerLength:]...), false)
	takes("mobile, from another one", ipv6(foreign, careOf, protocolIPv6, down[headerLength:]...), false)
	b.apply(binding(overlay.MobileSide, func(s *tun.FastTunnel) { s.Watch = true }))
	takes("watched, first", down, false)
	takes("watched, second", down, true)
	b.apply(binding(overlay.MobileSide, func(s *tun.FastTunnel) {
		for i := range 6 {
			s.Ends = append(s.Ends, tun.End{From: server, To: netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)})})
		}
	}))
	takes("one of many ends", down, true)
	takes("an end that is one too many", ipv6(server, netip.AddrFrom16([16]byte{0x20, 1, 15: 5}), protocolIPv6, down[headerLength:]...), false)

	// Two nodes of mobiles: what is for a tunnel's inner address but not from its other
	// end may have come out of the tunnel of the sender.
	b.apply(binding(overlay.AgentSide, func(s *tun.FastTunnel) {
		s.Home, s.Inner = peer, []netip.Prefix{netip.PrefixFrom(peer, 64).Masked()}
		s.Ends = []tun.End{{From: foreign, To: agent}}
	}))
	takes("from a mobile to another one", ipv6(foreign, agent, protocolIPv6, ipv6(peer, node, protocolUDP, udp(9, 9, 5)...)...), true)

	// What the device does not take.
	b.space.Do(func() error { return b.space.Handle.LinkSetMTU(b.space.Link("lo"), 1400) })
	takes("as large as the device takes", ipv6(server, careOf, protocolIPv6, ipv6(peer, node, protocolTCP, tcp(1400-72)...)...), true)
	takes("larger", ipv6(server, careOf, protocolIPv6, ipv6(peer, node, protocolTCP, tcp(1401-72)...)...), false)
}
