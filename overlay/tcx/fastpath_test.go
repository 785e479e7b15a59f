package tcx

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

// openEngine opens an engine in a namespace and returns its fast path, too.
func openEngine(t *testing.T, s *nstest.Space, by ...func(root, device string) (hook, error)) (*tun.Engine, *fastPath) {
	t.Helper()
	var e *tun.Engine
	f, err := newFastPath(bpffs)
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range by {
		f.openHook = open
	}
	s.Do(func() (err error) {
		e, err = tun.Open(tun.Config{Fast: f, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		return err
	})
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, f
}

// hooks are the ways to attach programs, as far as the kernel has them.
func hooks(t *testing.T, test func(t *testing.T, open func(root, device string) (hook, error))) {
	t.Run("tcx", func(t *testing.T) {
		if err := tryTCX(); err != nil {
			t.Skipf("needs tcx (Linux 6.6): %v", err)
		}
		test(t, func(string, string) (hook, error) { return tcxLinks{}, nil })
	})
	t.Run("filters", func(t *testing.T) {
		if err := tryFilters(); err != nil {
			t.Skipf("needs clsact and cls_bpf: %v", err)
		}
		test(t, openOnlyFilters)
	})
}

func openOnlyFilters(root, device string) (hook, error) { return openFilters(root, device) }

// programs are how many there are at an interface, by whatever hook.
func programs(t *testing.T, s *nstest.Space, index int, direction ebpf.AttachType) (n int) {
	t.Helper()
	s.Do(func() error {
		if all, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: direction}); err == nil { // Linux 6.6
			n = len(all.Programs)
		}
		h, err := openFilters(bpffs, "")
		if err != nil {
			return err
		}
		defer h.close()
		kinds, err := h.disciplines()
		if err != nil || kinds[index] == kindIngress && direction == ebpf.AttachTCXEgress {
			return err
		}
		filters, err := h.list(index, parentOf(direction))
		n += len(filters)
		return err
	})
	return n
}

// pinned lists what is pinned for a namespace.
func pinned(t *testing.T, s *nstest.Space) (names []string) {
	t.Helper()
	s.Do(func() error {
		home, err := pinHome(bpffs)
		if err != nil {
			return err
		}
		err = filepath.WalkDir(home, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				names = append(names, filepath.Base(path))
			}
			return err
		})
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	return names
}

// pairOfNodes are an agent and a mobile on one link, with a tunnel.
func pairOfNodes(t *testing.T) (agentSpace, mobileSpace *nstest.Space) {
	t.Helper()
	need(t)
	agentSpace, mobileSpace = nstest.New(t), nstest.New(t)
	nstest.Veth(agentSpace, "net", mobileSpace, "wan")
	agentSpace.Address("net", agent.String()+"/64")
	mobileSpace.Address("wan", careOf.String()+"/64")
	agentSpace.Route(careOf.String()+"/128", "", "net")
	mobileSpace.Route(agent.String()+"/128", "", "wan")
	mobileSpace.Route("::/0", agent.String(), "wan")
	return agentSpace, mobileSpace
}

func tunnelBetween(side overlay.Side, link int) overlay.Change {
	p := overlay.Path{Local: careOf, Remote: agent, Link: link}
	if side == overlay.AgentSide {
		p = overlay.Path{Local: agent, Remote: careOf}
	}
	return overlay.Change{Set: &overlay.Tunnel{
		Key: overlay.Key{Home: home, Side: side}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128)}, Paths: []overlay.Path{p},
	}}
}

// Aggregates go through as they are, also from and to hosts that do not forward, and
// count as the packets that they are. User space sees the beginning at most.
func TestAggregates(t *testing.T) {
	agentSpace, mobileSpace := pairOfNodes(t)
	agentEngine, agentPath := openEngine(t, agentSpace)
	mobileEngine, mobilePath := openEngine(t, mobileSpace)
	mobileSpace.Address(mobileSpace.Link("roam6").Attrs().Name, home.String()+"/128")
	for e, c := range map[*tun.Engine]overlay.Change{
		agentEngine: tunnelBetween(overlay.AgentSide, 0), mobileEngine: tunnelBetween(overlay.MobileSide, mobileSpace.Index("wan")),
	} {
		if err := e.Apply([]overlay.Change{c}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "programs at the links", func() bool {
		return agentPath.knows(agentSpace.Index("net")) && mobilePath.knows(mobileSpace.Index("wan"))
	})
	const size = 16 << 20
	var listener net.Listener
	mobileSpace.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(netip.AddrPortFrom(home, 0)))
		return err
	})
	defer listener.Close()
	got := make(chan int64, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			got <- 0
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	var c net.Conn
	agentSpace.Do(func() (err error) {
		c, err = net.DialTimeout("tcp6", listener.Addr().String(), 5*time.Second)
		return err
	})
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.CopyN(c, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := <-got; n != size {
		t.Fatalf("%d octets arrived", n)
	}
	out := agentPath.Counters()[overlay.Key{Home: home, Side: overlay.AgentSide}]
	in := mobilePath.Counters()[overlay.Key{Home: home, Side: overlay.MobileSide}]
	const segment, headers = 1388, 72 // of a path of 1500 octets, with the timestamp option
	if least := uint64(size) / segment; out.EncapPackets < least || in.DecapPackets < least {
		t.Errorf("counted %+v at the agent, %+v at the mobile; %d octets are at least %d packets", out, in, size, least)
	}
	if least := uint64(size) + uint64(size)/segment*headers; out.EncapBytes < least || in.DecapBytes < least {
		t.Errorf("counted %+v at the agent, %+v at the mobile, want at least %d octets", out, in, least)
	}
	if in.EncapPackets == 0 || out.DecapPackets == 0 {
		t.Errorf("acknowledgements: %+v at the mobile, %+v at the agent", in, out)
	}
	all := agentEngine.Tunnels()[0].Counters
	if slow := all.EncapPackets - out.EncapPackets; slow > 100 {
		t.Errorf("%d packets went through user space", slow)
	}
	if d := agentEngine.Drops(); d[overlay.DropQueueFull] != 0 {
		t.Errorf("drops %v", d)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Programs are at the interfaces that have addresses from the start, come to others that
// packets come in by, and go with them; at the end nothing is left but what is others'.
func TestAttachment(t *testing.T) { hooks(t, attachmentBy) }

func attachmentBy(t *testing.T, open func(root, device string) (hook, error)) {
	agentSpace, mobileSpace := pairOfNodes(t)
	wan := mobileSpace.Index("wan")
	foreignAt := foreignProgram(t, mobileSpace, wan)
	before := planetest.Snapshot(mobileSpace)
	e, f := openEngine(t, mobileSpace, open)
	if n := programs(t, mobileSpace, e.Link(), ebpf.AttachTCXEgress); n != 1 {
		t.Errorf("%d programs at the device", n)
	}
	for range 2 {
		if n := programs(t, mobileSpace, wan, ebpf.AttachTCXIngress); n != 2 {
			t.Errorf("%d programs at the link, want ours and another one", n)
		}
		if err := e.Apply([]overlay.Change{tunnelBetween(overlay.MobileSide, wan)}); err != nil {
			t.Fatal(err)
		}
	}
	// One that comes later, and one without a link layer that is known.
	nstest.Veth(mobileSpace, "further", agentSpace, "other")
	further, loopback := mobileSpace.Index("further"), mobileSpace.Index("lo")
	for range 10 {
		f.Received(further)
		f.Received(loopback)
	}
	eventually(t, "programs at what packets came in by", func() bool { return f.knows(further) && f.knows(loopback) })
	if n := programs(t, mobileSpace, further, ebpf.AttachTCXIngress); n != 1 {
		t.Errorf("%d programs at the further link", n)
	}
	if n := programs(t, mobileSpace, loopback, ebpf.AttachTCXIngress); n != 0 {
		t.Errorf("%d programs at the loopback interface", n)
	}
	if n := len(pinned(t, mobileSpace)); n < 10 {
		t.Errorf("%d pins", n)
	}
	if err := mobileSpace.Handle.LinkDel(mobileSpace.Link("further")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link to be forgotten", func() bool { return !f.knows(further) })
	if slices.Contains(pinned(t, mobileSpace), fmt.Sprint(pinIngress, further)) {
		t.Error("the program of a link that has gone is pinned")
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if n := programs(t, mobileSpace, wan, ebpf.AttachTCXIngress); n != 1 || !foreignAt() {
		t.Errorf("%d programs at the link at the end, want the other one alone", n)
	}
	if after := planetest.Snapshot(mobileSpace); after != before {
		t.Errorf("at the end:\n%s\nbefore:\n%s", after, before)
	}
	if left := pinned(t, mobileSpace); len(left) != 0 {
		t.Errorf("pinned at the end: %v", left)
	}
}

// foreignProgram is somebody else's at a link, by tcx where there is that and in a queue
// discipline of their own. there reports whether it still is.
func foreignProgram(t *testing.T, s *nstest.Space, index int) (there func() bool) {
	t.Helper()
	var p *ebpf.Program
	s.Do(func() (err error) {
		p, err = loadProgram("foreign", idle())
		return err
	})
	t.Cleanup(func() { p.Close() })
	if tryTCX() == nil && strings.HasSuffix(t.Name(), "/tcx") {
		var a attachment
		s.Do(func() (err error) {
			a, err = tcxLinks{}.attach(index, ebpf.AttachTCXIngress, p, "")
			return err
		})
		t.Cleanup(func() { a.abandon() })
		return func() bool { return a.index() == index }
	}
	if err := s.Handle.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Handle.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: "somebody's", DirectAction: true,
	}); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		all, err := s.Handle.FilterList(s.Link("wan"), netlink.HANDLE_MIN_INGRESS)
		return err == nil && len(all) == 1 && all[0].(*netlink.BpfFilter).Name == "somebody's"
	}
}

// What somebody else removes at a link, with the queue discipline, is not put back before
// they had the time to put something in its place, which is left alone; at the device it
// is put back at once.
func TestFiltersRemoved(t *testing.T) {
	if err := tryFilters(); err != nil {
		t.Skipf("needs clsact and cls_bpf: %v", err)
	}
	_, s := pairOfNodes(t)
	e, f := openEngine(t, s, openOnlyFilters)
	wan := s.Index("wan")
	discipline := func(link int) (kind string) {
		s.Do(func() (err error) {
			h, err := openFilters(bpffs, "")
			if err != nil {
				return err
			}
			defer h.close()
			all, err := h.disciplines()
			kind = all[link]
			return err
		})
		return kind
	}
	if k := discipline(wan); k != kindIngress {
		t.Errorf("queue discipline %q at the link", k)
	}
	remove := func(link int, parent uint32, kind string) {
		t.Helper()
		if err := s.Handle.QdiscDel(&netlink.GenericQdisc{QdiscType: kind, QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: link, Handle: netlink.MakeHandle(0xffff, 0), Parent: parent,
		}}); err != nil {
			t.Fatal(err)
		}
	}
	lost := func() (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.lost)
	}
	remove(wan, netlink.HANDLE_INGRESS, kindIngress)
	eventually(t, "the loss to be seen", func() bool { return lost() == 1 })
	f.Received(wan)
	if n := programs(t, s, wan, ebpf.AttachTCXIngress); n != 0 || !f.knows(wan) {
		t.Errorf("%d programs at the link a moment later", n)
	}
	f.mu.Lock()
	f.lost[wan] -= patience // as if it were over
	f.mu.Unlock()
	eventually(t, "patience to end", func() bool { return !f.knows(wan) })
	if err := s.Handle.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: wan, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}); err != nil {
		t.Fatal(err)
	}
	f.Received(wan)
	eventually(t, "the program to be back", func() bool { return programs(t, s, wan, ebpf.AttachTCXIngress) == 1 })
	remove(e.Link(), netlink.HANDLE_CLSACT, kindBoth)
	eventually(t, "the device's program to be back", func() bool { return programs(t, s, e.Link(), ebpf.AttachTCXEgress) == 1 })
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if k := discipline(wan); k != kindIngress || programs(t, s, wan, ebpf.AttachTCXIngress) != 0 {
		t.Errorf("at the end the link has the queue discipline %q, which is somebody else's", k)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// abandon closes what a process has open, as its death does, but leaves the pins.
func (f *fastPath) abandon() {
	f.world.close()
	f.egress.abandon()
	for _, a := range f.ingress {
		a.abandon()
	}
	f.loaded.close()
}

// underlay makes a device and what a fast path is told of it.
func underlay(t *testing.T, s *nstest.Space) tun.Underlay {
	t.Helper()
	device := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap.0"}, Mode: netlink.TUNTAP_MODE_TUN}
	s.Do(func() error { return netlink.LinkAdd(device) }) // by an ioctl, which goes by the thread
	s.LinkUp("tap.0")
	return tun.Underlay{Device: "tap.0", Index: s.Index("tap.0"), Mark: tun.DefaultMark, MarkMask: tun.DefaultMarkMask, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

func start(t *testing.T, s *nstest.Space, u tun.Underlay, by ...func(root, device string) (hook, error)) *fastPath {
	t.Helper()
	f, err := newFastPath(bpffs)
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range by {
		f.openHook = open
	}
	s.Do(func() error { return f.Start(u) })
	return f
}

func applyTo(t *testing.T, f *fastPath, changes ...tun.FastChange) {
	t.Helper()
	f.Apply(changes, func(i int, err error) { t.Fatalf("change %d: %v", i, err) })
}

// entries is how many there are in each map but those of the moment.
func entries(t *testing.T, f *fastPath) map[string]int {
	t.Helper()
	all := make(map[string]int)
	for _, name := range []string{mapAgent, mapMobile, mapTunnels, mapPaths, mapStates, mapPairs} {
		m := f.loaded.maps[name]
		key := make([]byte, m.KeySize())
		value := make([]byte, m.ValueSize())
		if name == mapStates {
			var number uint32
			var each []stateValue
			for i := m.Iterate(); i.Next(&number, &each); {
				all[name]++
			}
			continue
		}
		for i := m.Iterate(); i.Next(&key, &value); {
			all[name]++
		}
	}
	return all
}

// A successor finds what was there, keeps what is set again without touching it, and
// removes the rest.
func TestAdoption(t *testing.T) { hooks(t, adoptionBy) }

func adoptionBy(t *testing.T, open func(root, device string) (hook, error)) {
	need(t)
	s := nstest.New(t)
	nstest.Veth(s, "wan", s, "net")
	s.Address("wan", careOf.String()+"/64")
	before := planetest.Snapshot(s)
	u := underlay(t, s)
	f := start(t, s, u, open)
	further := netip.MustParseAddr("2001:db8:bb::1")
	second := binding(overlay.AgentSide, func(b *tun.FastTunnel) {
		b.Home, b.Inner = further, []netip.Prefix{netip.PrefixFrom(further, 64).Masked()}
	})
	kept := &overlay.Pair{Home: home, Peer: peer, Side: overlay.MobileSide}
	gone := &overlay.Pair{Home: home, Peer: foreign, Side: overlay.MobileSide}
	applyTo(t, f, binding(overlay.MobileSide), second, tun.FastChange{Yield: kept}, tun.FastChange{Yield: gone})
	applyTo(t, f, binding(overlay.MobileSide, func(b *tun.FastTunnel) { b.MTU = 1400 })) // leaves a path behind
	number, path := f.tunnels[overlay.Key{Home: home, Side: overlay.MobileSide}].number, f.tunnels[overlay.Key{Home: home, Side: overlay.MobileSide}].path
	counted := slices.Repeat([]stateValue{{Counters: overlay.Counters{EncapPackets: 5, EncapBytes: 7, DecapPackets: 9, DecapBytes: 11}}}, f.counting.read.processors)
	if err := f.put(mapStates, number, counted); err != nil {
		t.Fatal(err)
	}
	f.abandon()

	f = start(t, s, u, open)
	for name, at := range map[string]struct {
		index     int
		direction ebpf.AttachType
	}{"device": {u.Index, ebpf.AttachTCXEgress}, "link": {s.Index("wan"), ebpf.AttachTCXIngress}} {
		if n := programs(t, s, at.index, at.direction); n != 1 {
			t.Errorf("%d programs at the %s", n, name)
		}
	}
	applyTo(t, f, binding(overlay.MobileSide, func(b *tun.FastTunnel) { b.MTU = 1400 }), tun.FastChange{Yield: kept})
	if a := f.tunnels[overlay.Key{Home: home, Side: overlay.MobileSide}]; a.number != number || a.path != path {
		t.Errorf("tunnel %d with path %d, before %d with %d", a.number, a.path, number, path)
	}
	if c := f.Counters()[overlay.Key{Home: home, Side: overlay.MobileSide}]; c != (overlay.Counters{}) {
		t.Errorf("the predecessor's count: %+v", c)
	}
	if err := f.Sweep(); err != nil {
		t.Error(err)
	}
	want := map[string]int{mapMobile: 2, mapTunnels: 1, mapPaths: 1, mapStates: 1, mapPairs: 1}
	eventually(t, "only what was set again", func() bool { return mapsEqual(entries(t, f), want) })
	// What is set afterwards gets numbers of its own.
	applyTo(t, f, second, binding(overlay.AgentSide))
	if n := entries(t, f)[mapTunnels]; n != 3 {
		t.Errorf("%d tunnels", n)
	}
	f.abandon()

	// With another mark the programs are other ones.
	u.Mark++
	f = start(t, s, u, open)
	if n := programs(t, s, u.Index, ebpf.AttachTCXEgress); n != 1 {
		t.Errorf("%d programs of another version at the device", n)
	}
	if n := entries(t, f); len(n) != 0 {
		t.Errorf("entries of another version: %v", n)
	}
	applyTo(t, f, second)
	f.abandon()

	s.Do(func() error { return clean(bpffs, u.Log) })
	if n := programs(t, s, u.Index, ebpf.AttachTCXEgress); n != 0 {
		t.Errorf("%d programs at the device after Clean", n)
	}
	if left := pinned(t, s); len(left) != 0 {
		t.Errorf("pinned after Clean: %v", left)
	}
	s.Do(func() error { return clean(bpffs, u.Log) }) // nothing
	if err := s.Handle.LinkDel(s.Link(u.Device)); err != nil {
		t.Fatal(err)
	}
	if after := planetest.Snapshot(s); after != before {
		t.Errorf("at the end:\n%s\nbefore:\n%s", after, before)
	}
}

// Where nothing can be pinned everything works but the crash.
func TestWithoutPins(t *testing.T) { hooks(t, withoutPinsBy) }

func withoutPinsBy(t *testing.T, open func(root, device string) (hook, error)) {
	need(t)
	s := nstest.New(t)
	u := underlay(t, s)
	f, err := newFastPath(filepath.Join(t.TempDir(), "nowhere"))
	if err != nil {
		t.Fatal(err)
	}
	f.openHook = open
	s.Do(func() error { return f.Start(u) })
	applyTo(t, f, binding(overlay.AgentSide))
	if n := programs(t, s, u.Index, ebpf.AttachTCXEgress); n != 1 {
		t.Errorf("%d programs at the device", n)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := programs(t, s, u.Index, ebpf.AttachTCXEgress); n != 0 {
		t.Errorf("%d programs at the device at the end", n)
	}
}

func mapsEqual(a, b map[string]int) bool {
	for k, v := range b {
		if a[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

// A prefix goes from one tunnel to another in one batch, in either order; one that fails
// leaves nothing behind.
func TestPrefixes(t *testing.T) {
	b := newBench(t)
	first := binding(overlay.AgentSide)
	without := binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.Inner = s.Inner[:1] })
	second := binding(overlay.AgentSide, func(s *tun.FastTunnel) { s.Home, s.Inner, s.Path.Remote = node, s.Inner[1:], further })
	owner := func() netip.Addr {
		_, after := b.run(b.egress, ipv6(peer, node, protocolUDP, udp(9, 9, 5)...))
		return netip.AddrFrom16([16]byte(after[atTarget:headerLength]))
	}
	b.apply(first)
	b.apply(without, second)
	if a := owner(); a != further {
		t.Errorf("goes to %v", a)
	}
	b.apply(first, tun.FastChange{Remove: overlay.Key{Home: node, Side: overlay.AgentSide}})
	if a := owner(); a != away {
		t.Errorf("goes to %v", a)
	}
	b.apply(tun.FastChange{Remove: overlay.Key{Home: node, Side: overlay.AgentSide}})
	if err := b.path.Sweep(); err != nil {
		t.Error(err)
	}
	if a := owner(); a != away {
		t.Errorf("after the sweep it goes to %v", a)
	}

	// More than there are places for.
	failures := 0
	var changes []tun.FastChange
	for i := range 20 {
		changes = append(changes, binding(overlay.AgentSide, func(s *tun.FastTunnel) {
			s.Home = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)})
			s.Inner = []netip.Prefix{netip.PrefixFrom(s.Home, 128)}
		}))
	}
	b.path.Apply(changes, func(i int, err error) { failures++ })
	if n := entries(t, b.path); failures != 5 || n[mapTunnels] != 16 || n[mapAgent] != 17 || n[mapPaths] < 16 {
		t.Errorf("%d failures, entries %v", failures, n)
	}
}

// A veth pair takes aggregates of tunnel packets, but is no network card.
func TestOffloads(t *testing.T) {
	b := newBench(t)
	control := b.path.world.control
	if !segmentsTunnels(control, "wan") {
		t.Errorf("veth without %s", tunnelSegmentation)
	}
	if physical(control, "wan") || segmentsTunnels(control, "nothing") {
		t.Error("a network card is seen where there is none")
	}
}
