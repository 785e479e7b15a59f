package ndconn

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/sock"
	"roam6/mip6"
	"roam6/nd"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

var (
	prefix = netip.MustParsePrefix("2001:db8:1::1/64")
	away   = netip.MustParseAddr("2001:db8:1::a")
)

// world is a router and a host on one link.
type world struct {
	*testing.T
	router, host *nstest.Space
	linkLocal    netip.Addr // the router's
	linkAddr     net.HardwareAddr
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, router: nstest.New(t), host: nstest.New(t)}
	nstest.Veth(w.router, "r0", w.host, "h0")
	w.router.Sysctl("net/ipv6/conf/all/forwarding", "1")
	w.host.Sysctl("net/ipv6/conf/h0/accept_ra", "0")
	for s, name := range map[*nstest.Space]string{w.router: "r0", w.host: "h0"} {
		// Before, the kernel has no routes for groups and hears nothing.
		eventually(t, "a link-local address on "+name, func() bool {
			list, err := s.Handle.AddrList(s.Link(name), unix.AF_INET6)
			must(t, err)
			return len(list) > 0
		})
	}
	w.linkLocal = w.router.LinkLocal("r0")
	w.linkAddr = w.router.Link("r0").Attrs().HardwareAddr
	return w
}

// end is a Conn and what it heard.
type end struct {
	*Conn
	t     *testing.T
	heard chan Received
}

func (w *world) open(s *nstest.Space, name string) *end {
	w.Helper()
	e := &end{t: w.T, heard: make(chan Received, 1024)}
	link := s.Link(name).Attrs()
	s.Do(func() (err error) {
		e.Conn, err = Open(LinkRef{Index: link.Index, Name: name, MTU: link.MTU}, func(r Received) { e.heard <- r })
		return err
	})
	w.Cleanup(func() { e.Close() })
	return e
}

// next waits for a message that matches; others are passed over.
func (e *end) next(what string, match func(Received) bool) Received {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case r := <-e.heard:
			if match(r) {
				return r
			}
		case <-timeout:
			e.t.Fatalf("not heard: %s; counters %+v", what, e.Counters())
		}
	}
}

func is[M nd.Message](r Received) bool {
	_, ok := r.Message.(M)
	return ok
}

func nsFor(target netip.Addr) func(Received) bool {
	return func(r Received) bool {
		m, ok := r.Message.(nd.NeighborSolicitation)
		return ok && m.Target == target
	}
}

func naFor(target netip.Addr) func(Received) bool {
	return func(r Received) bool {
		m, ok := r.Message.(nd.NeighborAdvertisement)
		return ok && m.Target == target
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition of the kernel's.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) advertisement() nd.RouterAdvertisement {
	return nd.RouterAdvertisement{
		CurHopLimit: 64, HomeAgent: true, RouterLifetime: 30 * time.Second, SourceLinkAddr: w.linkAddr,
		Prefixes: []mip6.PrefixInformation{{
			Prefix: prefix, OnLink: true, Autonomous: true, RouterAddress: true,
			ValidLifetime: time.Hour, PreferredLifetime: time.Hour,
		}},
	}
}

// drive does for an advertiser what the shell does, until stop is closed.
func drive(e *end, a *nd.Advertiser, stop <-chan struct{}) <-chan error {
	failed := make(chan error, 1)
	go func() {
		timer := time.NewTimer(time.Until(a.Next()))
		defer timer.Stop()
		for {
			var out []nd.Transmission
			select {
			case <-stop:
				failed <- nil
				return
			case r := <-e.heard:
				if is[nd.RouterSolicitation](r) {
					out = a.Solicited(time.Now(), r.Header.Source)
				}
			case <-timer.C:
				out = a.Expire(time.Now())
			}
			for _, t := range out {
				if err := e.SendRA(t.Destination, t.Advertisement); err != nil {
					failed <- err
					return
				}
			}
			timer.Reset(time.Until(a.Next()))
		}
	}()
	return failed
}

// RFC 6275 §7.5: advertisements every 30–70 ms are heard by a host whose kernel
// has accept_ra=0, and a solicitation is answered by unicast.
func TestFastAdvertisements(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	a, err := nd.NewAdvertiser(time.Now(), nd.AdvertiserConfig{
		MinInterval: nd.MinMinInterval, MaxInterval: nd.MinMaxInterval, MinDelay: nd.MinDelayOfRAs,
		SolicitedUnicast: true, TellInterval: true, Advertisement: w.advertisement(),
	}, rand.New(rand.NewPCG(1, 2)))
	must(t, err)
	stop := make(chan struct{})
	failed := drive(router, a, stop)

	toAll := func(r Received) bool { return is[nd.RouterAdvertisement](r) && r.Header.Destination == nd.AllNodes() }
	var last time.Time
	var shortest, longest, sum time.Duration
	const gaps = 40
	for range gaps + 1 {
		r := host.next("multicast advertisement", toAll)
		now := time.Now()
		if gap := now.Sub(last); !last.IsZero() {
			if shortest == 0 || gap < shortest {
				shortest = gap
			}
			longest, sum = max(longest, gap), sum+gap
		}
		last = now
		ra := r.Message.(nd.RouterAdvertisement)
		if r.Header.Source != w.linkLocal || !bytes.Equal(r.LinkAddr, w.linkAddr) || ra.Interval != 90*time.Millisecond ||
			!ra.HomeAgent || len(ra.Prefixes) != 1 || ra.Prefixes[0].Prefix != prefix || !ra.Prefixes[0].RouterAddress {
			t.Fatalf("heard %+v", r)
		}
	}
	t.Logf("%d gaps: shortest %v, mean %v, longest %v", gaps, shortest, sum/gaps, longest)

	self := w.host.LinkLocal("h0")
	toUs := func(r Received) bool { return is[nd.RouterAdvertisement](r) && r.Header.Destination == self }
	var fastest time.Duration
	for range 4 { // the limit of a source
		begun := time.Now()
		must(t, host.SendRS())
		host.next("unicast advertisement", toUs)
		if d := time.Since(begun); fastest == 0 || d < fastest {
			fastest = d
		}
	}
	t.Logf("solicitation to advertisement: %v", fastest)
	close(stop)
	must(t, <-failed)
	if k := router.Counters(); k.Overflowed != 0 || len(k.SendErrors) != 0 || len(k.Invalid) != 0 {
		t.Errorf("counters %+v", k)
	}
}

// The kernel's own SLAAC takes what we advertise (RFC 4862 §5.5.3).
func TestKernelAcceptsAdvertisement(t *testing.T) {
	w := newWorld(t)
	w.host.Sysctl("net/ipv6/conf/h0/accept_ra", "1")
	ra := w.advertisement()
	ra.MTU = 1400
	router, link := w.open(w.router, "r0"), w.host.Link("h0")
	eventually(t, "an address of the prefix", func() bool {
		must(t, router.SendRA(nd.AllNodes(), ra))
		list, err := w.host.Handle.AddrList(link, unix.AF_INET6)
		must(t, err)
		for _, a := range list {
			if addr, ok := netip.AddrFromSlice(a.IP); ok && prefix.Contains(addr) {
				return true
			}
		}
		return false
	})
	eventually(t, "a default route", func() bool {
		list, err := w.host.Handle.RouteList(link, unix.AF_INET6)
		must(t, err)
		for _, r := range list {
			if gw, ok := netip.AddrFromSlice(r.Gw); ok && gw == w.linkLocal {
				return true
			}
		}
		return false
	})
	if mtu := w.host.ReadSysctl("net/ipv6/conf/h0/mtu"); mtu != "1400" {
		t.Errorf("MTU of the link is %s, advertised 1400", mtu)
	}
}

// RFC 4862 §5.4: a probe from the unspecified address for an address that the
// hearing node does not have is heard by it all the same, both ours and the
// kernel's; the answer to ours is, too.
func TestDuplicateAddressDetection(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")

	must(t, host.SendDAD(away))
	r := router.next("our probe", nsFor(away))
	if !r.Header.Source.IsUnspecified() || r.Header.Destination != nd.SolicitedNode(away) || len(r.Message.(nd.NeighborSolicitation).Nonce) != 6 {
		t.Errorf("heard %+v", r)
	}

	theirs := netip.MustParseAddr("2001:db8:1::77")
	w.host.Sysctl("net/ipv6/conf/h0/accept_dad", "1")
	a, err := netlink.ParseAddr(theirs.String() + "/64")
	must(t, err)
	must(t, w.host.Handle.AddrAdd(w.host.Link("h0"), a))
	if r := router.next("the kernel's probe", nsFor(theirs)); !r.Header.Source.IsUnspecified() {
		t.Errorf("heard %+v", r)
	}
	// The router's kernel owns this one, and says so.
	owned := w.router.Address("r0", "2001:db8:1::1/64")
	must(t, host.SendDAD(owned))
	if r := host.next("the defence", naFor(owned)); r.Header.Destination != nd.AllNodes() {
		t.Errorf("heard %+v", r)
	}
}

// RFC 7527: a probe of our own that the link gives back is not a conflict; the
// same probe with another nonce is.
func TestLoopedProbe(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	must(t, host.SendDAD(away))
	m := router.next("the probe", nsFor(away)).Message.(nd.NeighborSolicitation)
	giveBack := func() { must(t, router.send(netip.IPv6Unspecified(), nd.SolicitedNode(away), m)) }
	giveBack()
	m.Nonce = []byte("others")
	giveBack()
	if got := host.next("the other's probe", nsFor(away)).Message.(nd.NeighborSolicitation); string(got.Nonce) != "others" {
		t.Errorf("heard our own probe, nonce %x", got.Nonce)
	}
	if k := host.Counters(); k.Looped != 1 {
		t.Errorf("looped %d, want 1", k.Looped)
	}
}

// RFC 6275 §10.4.1: a home agent answers for the address of an absent mobile:
// address resolution, reachability probes and duplicate address detection.
func TestDefence(t *testing.T) {
	w := newWorld(t)
	w.host.Address("h0", "2001:db8:1::2/64")
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	router.Defend(away, false)

	t.Run("address resolution", func(t *testing.T) {
		w.host.Do(func() error {
			c, err := net.Dial("udp6", netip.AddrPortFrom(away, 9).String())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("x"))
			return err
		})
		r := host.next("the answer", naFor(away))
		m := r.Message.(nd.NeighborAdvertisement)
		if m.Router || !m.Solicited || m.Override || !bytes.Equal(m.TargetLinkAddr, w.linkAddr) || r.Header.Source != w.linkLocal {
			t.Errorf("answer %+v", r)
		}
		eventually(t, "a neighbour entry with the home agent's link-layer address", func() bool { return w.resolved(away) })
	})
	t.Run("announcement", func(t *testing.T) {
		must(t, router.Announce(away, false))
		m := host.next("the announcement", func(r Received) bool {
			return naFor(away)(r) && r.Header.Destination == nd.AllNodes()
		}).Message.(nd.NeighborAdvertisement)
		if m.Router || m.Solicited || !m.Override || !bytes.Equal(m.TargetLinkAddr, w.linkAddr) {
			t.Errorf("announcement %+v", m)
		}
	})
	t.Run("unicast probe", func(t *testing.T) {
		must(t, host.SendNS(netip.MustParseAddr("2001:db8:1::2"), away))
		if m := host.next("the answer", naFor(away)).Message.(nd.NeighborAdvertisement); !m.Solicited || m.Override {
			t.Errorf("answer %+v", m)
		}
	})
	t.Run("duplicate address detection", func(t *testing.T) {
		w.host.Sysctl("net/ipv6/conf/h0/accept_dad", "1")
		a, err := netlink.ParseAddr(away.String() + "/64")
		must(t, err)
		must(t, w.host.Handle.AddrAdd(w.host.Link("h0"), a))
		eventually(t, "the kernel gives the address up", func() bool { return w.dadFailed(away) })
		must(t, w.host.Handle.AddrDel(w.host.Link("h0"), a))
	})
	t.Run("ended", func(t *testing.T) {
		router.Undefend(away)
		other := netip.MustParseAddr("2001:db8:1::b")
		router.Defend(other, true)
		answered := router.Counters().Answered
		must(t, host.SendDAD(away))
		must(t, host.SendDAD(other)) // and the answer to this comes after none to that
		if m := host.next("the answer", func(r Received) bool {
			return is[nd.NeighborAdvertisement](r) && r.Header.Source == w.linkLocal && naFor(other)(r)
		}).Message.(nd.NeighborAdvertisement); !m.Router {
			t.Errorf("answer %+v", m)
		}
		if n := router.Counters().Answered; n != answered+1 {
			t.Errorf("%d answers, want 1", n-answered)
		}
	})
}

func (w *world) resolved(a netip.Addr) bool {
	list, err := w.host.Handle.NeighList(w.host.Index("h0"), unix.AF_INET6)
	must(w.T, err)
	for _, n := range list {
		if addr, ok := netip.AddrFromSlice(n.IP); ok && addr == a && bytes.Equal(n.HardwareAddr, w.linkAddr) {
			return n.State&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) != 0
		}
	}
	return false
}

func (w *world) dadFailed(a netip.Addr) bool {
	list, err := w.host.Handle.AddrList(w.host.Link("h0"), unix.AF_INET6)
	must(w.T, err)
	for _, x := range list {
		if addr, ok := netip.AddrFromSlice(x.IP); ok && addr == a {
			return x.Flags&unix.IFA_F_DADFAILED != 0
		}
	}
	return false
}

// Thousands of defended addresses neither need a group each nor slow an answer.
func TestManyDefended(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	addr := func(i int) netip.Addr {
		b := away.As16()
		b[13], b[14], b[15] = byte(i>>16), byte(i>>8), byte(i)
		return netip.AddrFrom16(b)
	}
	const n = 3 * maxGroups
	for i := range n {
		router.Defend(addr(i), false)
	}
	if k := router.Counters(); k.Unjoined < n-maxGroups || k.Unjoined > n {
		t.Errorf("%d groups not joined of %d", k.Unjoined, n)
	}
	for _, i := range []int{0, maxGroups, n - 1} {
		must(t, host.SendDAD(addr(i)))
		host.next("the answer", naFor(addr(i)))
	}
	for i := range n {
		router.Undefend(addr(i))
	}
	if d := &router.defense; d.defender.Len() != 0 || len(d.groups) != 0 || d.joined != 0 {
		t.Errorf("left: %d addresses, %d groups, %d joined", d.defender.Len(), len(d.groups), d.joined)
	}
}

// A unicast to a neighbour that was never heard takes the kernel's resolution.
func TestUnicastResolvedByKernel(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	source := w.host.Address("h0", "2001:db8:1::2/64")
	must(t, host.SendNS(source, w.linkLocal))
	if r := router.next("the solicitation", func(r Received) bool {
		return nsFor(w.linkLocal)(r) && r.Header.Destination == w.linkLocal
	}); r.Header.Source != source || r.Message.(nd.NeighborSolicitation).SourceLinkAddr != nil {
		t.Errorf("heard %+v", r)
	}
	must(t, host.SendMulticastNS(source, away))
	router.next("the multicast solicitation", nsFor(away))
}

// RFC 6059 §5.5.2, §5.7: a router of before is asked by unicast as soon as the
// carrier is back, at its recorded link-layer address, from the link-local
// address, although there is no route to it; and its answer is heard.
func TestSimpleDNA(t *testing.T) {
	w := newWorld(t)
	host := w.open(w.host, "h0")
	router := w.router.Address("r0", prefix.String())
	source := w.host.LinkLocal("h0")
	var failed *SendError
	if err := host.SendNS(source, router); !errors.As(err, &failed) || failed.Reason != SendUnreachable {
		t.Fatalf("without a route and a link-layer address: %v", err)
	}
	w.router.LinkDown("r0")
	eventually(t, "the carrier goes", func() bool { return w.host.Link("h0").Attrs().OperState != netlink.OperUp })
	w.router.LinkUp("r0")
	w.router.Address("r0", prefix.String())
	eventually(t, "the carrier comes", func() bool { return w.host.Link("h0").Attrs().OperState == netlink.OperUp })
	must(t, w.host.Handle.NeighSet(&netlink.Neigh{
		LinkIndex: w.host.Index("h0"), IP: router.AsSlice(), HardwareAddr: w.linkAddr, State: netlink.NUD_STALE,
	}))
	must(t, host.SendNS(source, router))
	r := host.next("the answer", naFor(router))
	if m := r.Message.(nd.NeighborAdvertisement); !m.Solicited || !m.Router || r.Header.Destination != source {
		t.Errorf("heard %+v", r)
	}
}

// RFC 4429 §3.2: the same from an optimistic address, without a link-layer
// address in it.
func TestProbeFromOptimisticAddress(t *testing.T) {
	w := newWorld(t)
	host := w.open(w.host, "h0")
	w.router.Address("r0", prefix.String())
	careOf := w.host.Assign("h0", "2001:db8:1::c0/64") // in use before the kernel receives for it
	must(t, host.SendNS(careOf, w.linkLocal))
	r := host.next("the answer", naFor(w.linkLocal))
	if m := r.Message.(nd.NeighborAdvertisement); !m.Solicited || r.Header.Destination != careOf {
		t.Errorf("heard %+v", r)
	}
}

// RFC 6275 §10.5.1: a home agent, which forwards and advertises itself, hears
// the advertisements of another one on the home link.
//
// Covers: H12.
func TestHearsOtherHomeAgents(t *testing.T) {
	w := newWorld(t)
	w.host.Sysctl("net/ipv6/conf/all/forwarding", "1")
	one, other := w.open(w.router, "r0"), w.open(w.host, "h0")
	ra := w.advertisement()
	ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: -5, Lifetime: time.Minute, MobileRouter: true}
	must(t, one.SendRA(nd.AllNodes(), w.advertisement()))
	must(t, other.SendRA(nd.AllNodes(), ra))
	r := one.next("the other's advertisement", is[nd.RouterAdvertisement])
	if m := r.Message.(nd.RouterAdvertisement); r.Header.Source != w.host.LinkLocal("h0") || !m.HomeAgent ||
		m.HomeAgentInfo == nil || *m.HomeAgentInfo != *ra.HomeAgentInfo {
		t.Errorf("heard %+v", r)
	}
}

// Without a link-local address a solicitation comes from the unspecified
// address, and nothing is advertised.
func TestNoLinkLocal(t *testing.T) {
	w := newWorld(t)
	link := w.host.Link("h0")
	list, err := w.host.Handle.AddrList(link, unix.AF_INET6)
	must(t, err)
	for _, a := range list {
		must(t, w.host.Handle.AddrDel(link, &a))
	}
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	must(t, host.SendRS())
	if r := router.next("solicitation", is[nd.RouterSolicitation]); !r.Header.Source.IsUnspecified() || r.Message.(nd.RouterSolicitation).SourceLinkAddr != nil {
		t.Errorf("heard %+v", r)
	}
	var failed *SendError
	if err := host.SendRA(nd.AllNodes(), w.advertisement()); !errors.As(err, &failed) || failed.Reason != SendNoSource {
		t.Errorf("advertised without an address: %v", err)
	}
	added, err := netlink.ParseAddr("fe80::2/64")
	must(t, err)
	added.Flags = unix.IFA_F_NODAD
	must(t, w.host.Handle.AddrAdd(link, added))
	must(t, host.SendRS())
	if r := router.next("solicitation", is[nd.RouterSolicitation]); r.Header.Source != netip.MustParseAddr("fe80::2") {
		t.Errorf("solicited from %v", r.Header.Source)
	}
}

// Invalid messages are counted by reason; those that came from beyond a router
// do not even get in.
//
// Covers: Attack: rogue router.
func TestInvalidMessages(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	inject := func(change func(b []byte)) {
		b := build(w.linkLocal, nd.AllNodes(), w.advertisement())
		change(b)
		must(t, router.packetRaw.Control(func(fd uintptr) {
			to := &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: router.link.Index, Halen: 6}
			copy(to.Addr[:], multicastLinkAddr(nd.AllNodes()))
			if err := unix.Sendto(int(fd), b, 0, to); err != nil {
				t.Error(err)
			}
		}))
	}
	inject(func(b []byte) { b[offsetHopLimit] = 64 })
	inject(func(b []byte) { b[ipv6HeaderLen+2] ^= 1 })
	inject(func(b []byte) { b[5] += 8 })
	must(t, router.SendRA(nd.AllNodes(), w.advertisement()))
	host.next("the valid one", is[nd.RouterAdvertisement])
	k := host.Counters()
	if k.Invalid[nd.ReasonChecksum] != 1 || k.Invalid[nd.ReasonTruncated] != 1 || k.Invalid[nd.ReasonHopLimit] != 0 || k.Delivered.RouterAdvertisements != 1 {
		t.Errorf("counters %+v", k)
	}
}

// An interface that goes down comes back to the same Conn; one that is removed
// ends it with ErrLinkGone (requirement B10).
//
// Covers: B10.
func TestLinkDownAndGone(t *testing.T) {
	w := newWorld(t)
	router, host := w.open(w.router, "r0"), w.open(w.host, "h0")
	w.host.LinkDown("h0")
	eventually(t, "the receiver notices", func() bool { return host.Counters().ReceiveErrors > 0 })
	var failed *SendError
	if err := host.SendDAD(away); !errors.As(err, &failed) || failed.Reason != SendDown {
		t.Fatalf("sent on a link that is down: %v", err)
	}
	w.host.LinkUp("h0")
	// The kernel drops without a word what is sent before it has noticed that
	// the carrier is back.
	eventually(t, "a probe heard after the link came up", func() bool {
		must(t, router.SendDAD(away))
		return host.Counters().Delivered.NeighborSolicitations > 0
	})
	heard := router.Counters().Delivered.NeighborSolicitations
	eventually(t, "a probe sent after the link came up", func() bool {
		must(t, host.SendDAD(away))
		return router.Counters().Delivered.NeighborSolicitations > heard
	})
	if host.Err() != nil {
		t.Fatalf("ended: %v", host.Err())
	}
	must(t, w.host.Handle.LinkDel(w.host.Link("h0")))
	select {
	case <-host.Done():
	case <-time.After(patience):
		t.Fatal("the receiver does not end")
	}
	if !errors.Is(host.Err(), ErrLinkGone) {
		t.Errorf("ended with %v", host.Err())
	}
	if err := host.SendDAD(away); !errors.Is(err, ErrLinkGone) {
		t.Errorf("sent on a link that is gone: %v", err)
	}
	err := w.host.Try(func() error {
		c, err := Open(LinkRef{Index: host.link.Index, Name: "h0"}, func(Received) {})
		if err == nil {
			c.Close()
		}
		return err
	})
	if !errors.Is(err, ErrLinkGone) {
		t.Errorf("opened a link that is gone: %v", err)
	}
}

func BenchmarkSendRA(b *testing.B) {
	s, peer := nstest.New(b), nstest.New(b)
	nstest.Veth(s, "r0", peer, "p0")
	var c *Conn
	s.Do(func() (err error) {
		c, err = Open(LinkRef{Index: s.Index("r0")}, func(Received) {})
		return err
	})
	defer c.Close()
	ra := nd.RouterAdvertisement{Prefixes: []mip6.PrefixInformation{{Prefix: prefix}}}
	for b.Loop() {
		if err := c.SendRA(nd.AllNodes(), ra); err != nil {
			b.Fatal(err)
		}
	}
}
