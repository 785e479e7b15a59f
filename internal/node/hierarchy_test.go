package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/control"
	"roam6/internal/mhsock"
	"roam6/internal/rtnl/nstest"
	"roam6/mip6"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// anchorFile is a node that is an anchor and nothing else; its prefix is on no link.
const anchorFile = `
config globals
	option control '%s'

config anchor 'city'
	option address '2001:db8:5::1'

config visitor 'bus'
	option spi '2000'
	option key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'
	option replay 'sequence'
`

var regionalPrefix = netip.MustParsePrefix("2001:db8:5::/64")

// anchorBindings is the cache of a node's anchors.
func (r *running) anchorBindings() []control.AnchorBinding {
	r.Helper()
	b, err := r.client.Bindings(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	return b.Anchors
}

// anchorWorld is a node with the anchor of a configuration, by whose links a visitor and
// a neighbour are joined to it. addresses are those of the node and of the neighbour on
// the link between them.
func anchorWorld(t *testing.T, text string, here, neighbour []string) *visitor {
	t.Helper()
	away := nstest.New(t)
	r := start(t, text, func(s *nstest.Space) {
		nstest.Veth(s, "wan0", away, "up0")
		for _, a := range here {
			assign(t, s, "home0", a)
		}
		assign(t, s, "wan0", "2001:db8:a1::1/64")
	})
	for _, a := range neighbour {
		assign(t, r.peer, "peer0", a)
	}
	assign(t, away, "up0", visiting.String()+"/64")
	for _, g := range []struct {
		s         *nstest.Space
		link, via string
	}{{r.peer, "peer0", "2001:db8:c::1"}, {away, "up0", "2001:db8:a1::1"}} {
		l, err := g.s.Handle.LinkByName(g.link)
		if err == nil {
			err = g.s.Handle.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(g.via)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	v := &visitor{running: r, answers: make(chan mip6.Packet, 64)}
	away.Do(func() (err error) {
		v.conn, err = mhsock.Open(mhsock.Options{
			Local: func(a netip.Addr) bool { return a == visiting },
			Deliver: func(b []byte, _ int) {
				if p, err := mip6.ParsePacket(b); err == nil {
					v.answers <- p
				}
			},
		})
		return err
	})
	t.Cleanup(func() { v.conn.Close() })
	r.until("the anchor is ready", func() bool {
		d, err := r.client.Anchors(context.Background())
		return err == nil && len(d.Anchors) == 1 && d.Anchors[0].Ready
	})
	return v
}

// bind sends a local binding update for a regional care-of address and returns the
// status of the answer.
func (v *visitor) bind(regional netip.Addr) mip6.Status {
	v.Helper()
	v.sequence++
	v.send(v.encode(localUpdate(v.T, cityAddr, regional, visiting, v.sequence)))
	return v.answer().Status
}

// regionalTunnel is the only tunnel there is.
func (v *visitor) regionalTunnel() control.Tunnel {
	v.Helper()
	d, err := v.client.Tunnels(context.Background())
	if err != nil || len(d.Tunnels) != 1 {
		v.Fatalf("tunnels %+v, %v", d.Tunnels, err)
	}
	return d.Tunnels[0]
}

// An anchor that is alone binds what a real packet asks for, forwards to it, keeps what
// is bound to nobody from going round, follows the addresses of its node, refuses by its
// rules, and leaves nothing (RFC 5380 §6.2).
//
// Covers: P8, B2.
func TestAnchorAlone(t *testing.T) {
	v := anchorWorld(t, anchorFile, []string{"2001:db8:5::1/128", "2001:db8:c::1/64"}, []string{"2001:db8:c::2/64"})
	r := v.running
	r.until("nothing goes round", func() bool {
		return strings.Contains(leftovers(t, r.space), "route "+regionalPrefix.String())
	})
	regional := netip.MustParseAddr("2001:db8:5::7")
	register := func() mip6.Status { return v.bind(regional) }
	if s := register(); s != mip6.StatusAccepted {
		t.Fatalf("answer %v\n%s", s, r.log)
	}
	b := r.anchorBindings()
	if len(b) != 1 || b[0].Anchor != "city" || b[0].Visitor != "bus" || b[0].Regional != regional || b[0].OnLink != visiting || b[0].State != "active" {
		t.Errorf("bindings %+v", b)
	}
	if x := v.regionalTunnel(); x.HomeAddress != regional || !x.Regional || x.Side != control.SideAgent {
		t.Errorf("tunnel %+v", x)
	}
	r.until("packets for the regional care-of address are forwarded", func() bool {
		_, err := sourceTo(r.peer, netip.AddrPortFrom(regional, 9))
		return err == nil && v.regionalTunnel().EncapsulatedPackets > 0
	})

	r.reload(strings.Replace(anchorFile, "5::1'", "5::1'\n\tlist served_prefix '2001:db8:a2::/48'", 1))
	if b := r.anchorBindings(); len(b) != 0 {
		t.Errorf("bound although it is not served any more: %+v", b)
	}
	if s := register(); s != mip6.StatusAdministrativelyProhibited {
		t.Errorf("answer %v, want %v", s, mip6.StatusAdministrativelyProhibited)
	}
	r.reload(anchorFile)
	if s := register(); s != mip6.StatusAccepted {
		t.Errorf("answer %v when it is served again", s)
	}
	assign(t, r.space, "home0", regional.String()+"/128")
	r.until("this node has the address", func() bool { return len(r.anchorBindings()) == 0 })
	if s := register(); s != mip6.StatusDuplicateAddress {
		t.Errorf("answer %v, want %v", s, mip6.StatusDuplicateAddress)
	}
	r.end()
	for _, left := range []string{"route " + regionalPrefix.String(), "link roam6", "rule 6"} {
		if after := leftovers(t, r.space); strings.Contains(after, left) {
			t.Errorf("left:\n%s", after)
		}
	}
}

// An anchor whose prefix is on a link probes an address there before it is bound, refuses
// one that a neighbour has, and gets what neighbours send to one that is bound.
//
// Covers: P8.
func TestAnchorOnLink(t *testing.T) {
	neighbour := netip.MustParseAddr("2001:db8:5::99")
	text := strings.Replace(anchorFile, "5::1'", "5::1'\n\toption interface 'home0'", 1)
	v := anchorWorld(t, text, []string{"2001:db8:5::1/64", "2001:db8:c::1/64"}, []string{neighbour.String() + "/64", "2001:db8:c::2/64"})
	if s := v.bind(neighbour); s != mip6.StatusDuplicateAddress {
		t.Errorf("answer %v for the neighbour's address, want %v", s, mip6.StatusDuplicateAddress)
	}
	regional := netip.MustParseAddr("2001:db8:5::7")
	if s := v.bind(regional); s != mip6.StatusAccepted {
		t.Fatalf("answer %v\n%s", s, v.log)
	}
	v.until("what the neighbour sends is forwarded", func() bool {
		_, err := sourceTo(v.peer, netip.AddrPortFrom(regional, 9))
		return err == nil && v.regionalTunnel().EncapsulatedPackets > 0
	})
	v.end()
}

// regionFile is a home agent and an anchor on one node, the anchor's prefix on no link.
const regionFile = `
config globals
	option control '%s'

config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	list prefix '2001:db8:10::/64'
	option dad '0'

config mobile 'phone'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'

config anchor 'city'
	option address '2001:db8:5::1'

`

const regionVisitor = `
config visitor 'phone_here'
	option spi '2000'
	option key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'
`

const hierarchyFile = `
config globals
	option control '%s'
	option tunnel_device 'mip0'

config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'
	list uplink 'up0'
	option hierarchy '1'

config anchor_key 'here'
	option spi '2000'
	option key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'

config policy
	option mobile_node 'phone'
	option proto 'udp'
	option port '5000'
`

// advertise sends router advertisements with an anchor on a link until the test ends.
func advertise(t *testing.T, s *nstest.Space, link, prefix string, anchor netip.Addr) {
	t.Helper()
	l, err := s.Handle.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	var conn *ndconn.Conn
	s.Do(func() (err error) {
		conn, err = ndconn.Open(ndconn.LinkRef{Index: l.Attrs().Index, Name: link, MTU: l.Attrs().MTU}, func(ndconn.Received) {})
		return err
	})
	ra := nd.RouterAdvertisement{
		RouterLifetime: 30 * time.Minute,
		Prefixes: []mip6.PrefixInformation{{
			Prefix: netip.MustParsePrefix(prefix), OnLink: true, Autonomous: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour,
		}},
		Anchors: []mip6.MobilityAnchorPoint{{Address: anchor, Distance: 1, Preference: 10, ValidLifetime: 10 * time.Minute}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			if err := conn.SendRA(netip.MustParseAddr("ff02::1"), ra); err != nil {
				done <- err
				return
			}
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-ticker.C:
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, conn.Close()); err != nil {
			t.Errorf("advertising: %v", err)
		}
	})
}

// echo answers datagrams to an address in a space until the test ends.
func echo(t *testing.T, s *nstest.Space, at netip.AddrPort) {
	t.Helper()
	var c net.PacketConn
	s.Do(func() (err error) {
		c, err = net.ListenPacket("udp", at.String())
		return err
	})
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from) // what is lost is asked again
		}
	}()
}

// asked sends a datagram from a space and reports whether it was answered soon, and from
// which address it was sent.
func asked(s *nstest.Space, to netip.AddrPort) (source netip.Addr, ok bool) {
	err := s.Try(func() error {
		c, err := net.Dial("udp", to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		source = netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
		if _, err := c.Write([]byte("anybody there?")); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 2048))
		return err
	})
	return source, err == nil
}

// A mobile host in the domain of an anchor whose node is its home agent, too: the home
// agent knows the regional care-of address, the anchor the on-link one, and packets go
// through both tunnels, from the home address as without an anchor. When the anchor has
// lost the binding the next packet brings it back. When anchors are not to be used any
// more the home agent knows the on-link care-of address. Nothing is left at the end.
//
// Covers: P3, P5, B2.
func TestHierarchicalMobile(t *testing.T) {
	correspondent := netip.MustParseAddrPort("[2001:db8:c::1]:5000")
	host := nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	agent := start(t, regionFile+regionVisitor, func(here *nstest.Space) {
		nstest.Veth(here, "wan0", host, "up0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "home0", "2001:db8:5::1/128")
		assign(t, here, "home0", correspondent.Addr().String()+"/128")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
	})
	for _, port := range []uint16{5000, 5001} {
		echo(t, agent.space, netip.AddrPortFrom(correspondent.Addr(), port))
	}
	advertise(t, agent.space, "wan0", "2001:db8:a1::/64", cityAddr)
	before := leftovers(t, host)
	r := startIn(t, host, nil, hierarchyFile)
	ctx := context.Background()

	onLink := netip.MustParsePrefix("2001:db8:a1::/64")
	r.until("the home agent knows the regional care-of address", func() bool { return regionalPrefix.Contains(careOf(agent)) })
	b := agent.anchorBindings()
	if len(b) != 1 || b[0].Regional != careOf(agent) || !onLink.Contains(b[0].OnLink) || b[0].Visitor != "phone_here" {
		t.Fatalf("bindings of the anchor %+v", b)
	}
	r.until("the mobile knows that", func() bool {
		u, err := r.client.Updates(ctx)
		return err == nil && len(u.Updates) == 1 && u.Updates[0].Registered && u.Updates[0].CareOf == b[0].Regional && len(u.Updates[0].Regional) == 1 &&
			u.Updates[0].Regional[0].State == control.RegionalInUse && u.Updates[0].Regional[0].OnLink == b[0].OnLink && u.Updates[0].Local.Sent > 0
	})
	known, err := r.client.Anchors(ctx)
	if err != nil || len(known.Mobiles) != 1 || len(known.Mobiles[0].Anchors) != 1 || !known.Mobiles[0].Anchors[0].InUse || known.Mobiles[0].Anchors[0].Address != cityAddr {
		t.Errorf("anchors %+v, %v", known, err)
	}
	own, err := agent.client.Anchors(ctx)
	if err != nil || len(own.Anchors) != 1 || !own.Anchors[0].Ready || own.Anchors[0].Bindings != 1 || own.Anchors[0].Limit != 4 {
		t.Errorf("the node's anchors %+v, %v", own, err)
	}
	d, err := r.client.Tunnels(ctx)
	stacked := 0
	for _, x := range d.Tunnels {
		switch {
		case x.HomeAddress == homeAddr && x.StackedOn == b[0].Regional && !x.Regional:
			stacked++
		case x.HomeAddress == b[0].Regional && x.Regional && !x.StackedOn.IsValid():
			stacked++
		}
	}
	if err != nil || len(d.Tunnels) != 2 || stacked != 2 {
		t.Errorf("tunnels %+v, %v", d.Tunnels, err)
	}

	// What the host begins comes from its home address, steered or not.
	for _, port := range []uint16{5000, 5001} {
		r.until("packets go both ways", func() bool {
			source, ok := asked(host, netip.AddrPortFrom(correspondent.Addr(), port))
			return ok && source == homeAddr
		})
	}

	// The anchor forgets: its data plane refuses the next packet, and the mobile registers
	// anew, long before it has to refresh.
	agent.reload(regionFile)
	if b := agent.anchorBindings(); len(b) != 0 {
		t.Fatalf("bound without a visitor: %+v", b)
	}
	agent.reload(regionFile + regionVisitor)
	r.until("the anchor has the binding again", func() bool {
		_, ok := asked(host, correspondent)
		b := agent.anchorBindings()
		return ok && len(b) == 1 && regionalPrefix.Contains(careOf(agent))
	})

	plain, _, _ := strings.Cut(hierarchyFile, "\toption hierarchy '1'\n")
	_, policy, _ := strings.Cut(hierarchyFile, "config policy")
	r.reload(plain + "\nconfig policy" + policy)
	r.until("the home agent knows the on-link care-of address", func() bool { return onLink.Contains(careOf(agent)) })
	r.until("packets go on", func() bool {
		source, ok := asked(host, correspondent)
		return ok && source == homeAddr
	})
	r.end()
	agent.until("both bindings are gone", func() bool {
		b, err := agent.client.Bindings(ctx)
		return err == nil && len(b.Anchors) == 0 && !careOf(agent).IsValid()
	})
	if after := leftovers(t, host); after != before {
		t.Errorf("left:\n%s\nwant:\n%s", after, before)
	}
	agent.end()
}
