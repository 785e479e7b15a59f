package planetest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// otherMobile makes the correspondent a second mobile: its home address is
// otherHome, its care-of address correspondentAddress.
func (w *optimisedWorld) otherMobile() {
	w.t.Helper()
	l, err := w.correspondent.Handle.LinkByIndex(w.correspondentEngine.Link())
	if err != nil {
		w.t.Fatal(err)
	}
	assignHome(w.correspondent, l.Attrs().Name, otherHome)
	w.core.Route("2001:db8:aa::/64", agentAddress.String(), "ha")
	tunnel := func(side overlay.Side) overlay.Change {
		path := overlay.Path{Local: agentAddress, Remote: correspondentAddress}
		if side == overlay.MobileSide {
			path = overlay.Path{Local: correspondentAddress, Remote: agentAddress, Link: w.correspondent.Index("up")}
		}
		return overlay.Change{Set: &overlay.Tunnel{
			Key: overlay.Key{Home: otherHome, Side: side}, Inner: []netip.Prefix{netip.PrefixFrom(otherHome, 128)}, Paths: []overlay.Path{path},
		}}
	}
	w.apply(w.agentEngine, tunnel(overlay.AgentSide))
	w.apply(w.correspondentEngine, tunnel(overlay.MobileSide))
}

// between is one of the four halves of the optimised routes of two mobiles: each
// is mobile and correspondent to the other.
func (w *optimisedWorld) between(home netip.Addr, side overlay.Side) *overlay.Route {
	r := &overlay.Route{Pair: overlay.Pair{Home: home, Peer: otherHome, Side: side}, CareOf: firstCareOf}
	if home == otherHome {
		r.Peer, r.CareOf = homeAddress, correspondentAddress
	}
	return r
}

// RFC 6275 §6.3, §6.4, §11.3: two mobiles away from home talk with both headers;
// with one half of the routes they talk, too.
func mobiles(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	w.otherMobile()
	w.everything(w.correspondent, otherHome, w.mobile, homeAddress)
	// The mobile's own: it sends with the option. The other one takes the tunnel
	// back, with a routing header in it.
	w.apply(w.correspondentEngine, overlay.Change{Optimise: w.between(homeAddress, overlay.CorrespondentSide)})
	w.everything(w.correspondent, otherHome, w.mobile, homeAddress)
	w.apply(w.mobileEngine, overlay.Change{Optimise: w.between(homeAddress, overlay.MobileSide)})
	w.everything(w.correspondent, otherHome, w.mobile, homeAddress)
	// And the other's.
	w.apply(w.mobileEngine, overlay.Change{Optimise: w.between(otherHome, overlay.CorrespondentSide)})
	w.everything(w.correspondent, otherHome, w.mobile, homeAddress)
	w.apply(w.correspondentEngine, overlay.Change{Optimise: w.between(otherHome, overlay.MobileSide)})
	w.direct("both", func() { w.everything(w.correspondent, otherHome, w.mobile, homeAddress) })
	for name, e := range map[string]Engine{"mobile": w.mobileEngine, "other": w.correspondentEngine} {
		all := e.Routes()
		if len(all) != 2 {
			t.Fatalf("%s: routes %+v", name, all)
		}
		for _, r := range all {
			if r.EncapPackets < 10 || r.DecapPackets < 10 {
				t.Errorf("%s: %v: %+v", name, r.Pair, r.Counters)
			}
		}
	}
}

// size sends one datagram that makes a packet of so many octets, and never more
// than one packet of it. It returns the error of the send.
func (w *optimisedWorld) size(s *nstest.Space, from netip.Addr, to *net.UDPConn, octets int) error {
	w.t.Helper()
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(addrPort(to)))
		return err
	})
	defer c.Close()
	if err := setSocketOption(c, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO); err != nil {
		w.t.Fatal(err)
	}
	_, err := c.Write(make([]byte, octets-48))
	return err
}

// exactly checks that a packet of so many octets passes and a larger one does
// not: the sender is told, at once or by a Packet Too Big.
func (w *optimisedWorld) exactly(s *nstest.Space, from netip.Addr, to *net.UDPConn, mtu int) {
	w.t.Helper()
	name := fmt.Sprintf("from %v", from)
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		return err
	})
	defer c.Close()
	if got := w.discover(s, c, to, mtu); got != mtu {
		w.t.Errorf("%s: path MTU %d, want %d", name, got, mtu)
	}
	for received(to, 10*time.Millisecond) {
	}
	w.eventually(name+": the largest packet", func() bool {
		if err := w.size(s, from, to, mtu); err != nil {
			w.t.Fatalf("%s: %d octets: %v", name, mtu, err)
		}
		return received(to, 50*time.Millisecond)
	})
	if err := w.size(s, from, to, mtu+1); !errors.Is(err, unix.EMSGSIZE) {
		w.t.Errorf("%s: %d octets: %v, want %v", name, mtu+1, err, unix.EMSGSIZE)
	}
}

// RFC 6275 §9.3.2: path MTU discovery knows of the headers: 24 octets for each.
// RFC 8201 §4, RFC 8200 §5: below the minimum MTU packets go in fragments.
func optimisedMTU(t *testing.T, open Open) {
	for _, test := range []struct {
		name      string
		link      int // MTU of the link between core and mobile
		one, both int // that the sources must learn
	}{
		{"1500", 1500, 1476, 1452},
		{"1400", 1400, 1376, 1352},
		{"1290", 1290, 1280, 1280}, // the minimum goes in fragments
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newOptimisedWorld(t, open)
			w.firstLinkMTU(test.link)
			w.bind(0)
			correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
			w.direct("one header", func() {
				w.exactly(w.correspondent, correspondentAddress, home, test.one)
				w.exactly(w.mobile, homeAddress, correspondent, test.one)
			})

			w.otherMobile()
			w.apply(w.mobileEngine, overlay.Change{Optimise: w.between(homeAddress, overlay.MobileSide)},
				overlay.Change{Optimise: w.between(otherHome, overlay.CorrespondentSide)})
			w.apply(w.correspondentEngine, overlay.Change{Optimise: w.between(otherHome, overlay.MobileSide)},
				overlay.Change{Optimise: w.between(homeAddress, overlay.CorrespondentSide)})
			other := w.udp(w.correspondent, otherHome)
			w.direct("both headers", func() {
				w.exactly(w.correspondent, otherHome, home, test.both)
				w.exactly(w.mobile, homeAddress, other, test.both)
			})
		})
	}
}

// RFC 6275 §9.3.4: errors about optimised packets reach the application as if
// they were about its own, from the router that met the problem.
func optimisedUnreachable(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	w.bind(0)
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	w.passes(correspondent, home)
	w.passes(home, correspondent)

	// From the other end: nobody listens.
	for _, c := range []struct {
		s        *nstest.Space
		from, to netip.Addr
	}{{w.correspondent, correspondentAddress, homeAddress}, {w.mobile, homeAddress, correspondentAddress}} {
		w.fails(c.s, c.from, netip.AddrPortFrom(c.to, 9), unix.ECONNREFUSED)
	}
	if n := len(w.correspondentSees.leadNowhere()); n != 0 {
		t.Errorf("%d reports of a care-of address that answers", n)
	}
	// From a router: no way to the care-of address, and none to the correspondent.
	w.removeAddress(w.core, "mr1", "2001:db8:1::ff/64")
	w.fails(w.correspondent, correspondentAddress, addrPort(home), unix.ENETUNREACH)
	if all := w.correspondentSees.leadNowhere(); len(all) != 1 || all[0] != *w.route(overlay.CorrespondentSide, 0) {
		t.Errorf("reports of routes that lead nowhere: %v", all)
	}
	w.core.Address("mr1", "2001:db8:1::ff/64")
	if err := w.core.Handle.RouteDel(&netlink.Route{Dst: &net.IPNet{IP: net.ParseIP("2001:db8:c::"), Mask: net.CIDRMask(64, 128)}}); err != nil {
		t.Fatal(err)
	}
	w.fails(w.mobile, homeAddress, addrPort(correspondent), unix.ENETUNREACH)
	if n := len(w.mobileSees.leadNowhere()); n != 0 {
		t.Errorf("%d reports about the mobile's own routes", n)
	}
}

// leadNowhere is the routes whose care-of address was reported not to be reached.
func (r *reports) leadNowhere() []overlay.Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.nowhere)
}

// fails sends until the application is told why nothing arrives.
func (w *optimisedWorld) fails(s *nstest.Space, from netip.Addr, to netip.AddrPort, want error) {
	w.t.Helper()
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
		return err
	})
	defer c.Close()
	if err := setSocketOption(c, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil {
		w.t.Fatal(err)
	}
	var last error
	w.eventually(fmt.Sprintf("%v at %v", want, from), func() bool {
		if _, err := c.Write([]byte("x")); err != nil {
			last = err
		}
		return errors.Is(last, want)
	})
}

// A change of the care-of address loses nothing, in neither direction.
func optimisedSwap(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	for i := range 2 { // resolve the neighbours of both links
		w.attach(i)
		w.bind(i)
		w.passes(correspondent, home)
		w.passes(home, correspondent)
	}
	const packets, moves = 6000, 30
	sent := make(chan struct{}, 2*packets)
	down, up := stream(t, correspondent, home, packets, sent), stream(t, home, correspondent, packets, sent)
	for i := range moves {
		for range 2 * packets / (moves + 1) {
			<-sent
		}
		if i%3 == 2 { // for a while by the tunnel, as a mobile does that has moved
			w.apply(w.mobileEngine, overlay.Change{Deoptimise: new(pair(overlay.MobileSide))})
			w.attach(i % 2)
		}
		w.bind(i % 2)
	}
	for name, lost := range map[string]<-chan int{"down": down, "up": up} {
		if n := <-lost; n != 0 {
			t.Errorf("%s: %d of %d packets lost over %d moves; drops: correspondent %v, mobile %v",
				name, n, packets, moves, w.correspondentEngine.Drops(), w.mobileEngine.Drops())
		}
	}
}
