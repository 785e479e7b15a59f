package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// chain is so many destination options headers.
func chain(n int) []byte { return bytes.Repeat([]byte{unix.IPPROTO_DSTOPTS}, n) }

// Everything is in ESP both ways; what is not is dropped, wherever in the packet it
// hides. The same packets pass where nothing is sealed, so that they do not fail for
// another reason.
func TestSealed(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	hidden := []struct {
		name       string
		extensions []byte
	}{
		{"plainly", nil},
		{"behind an encapsulation limit", chain(1)},
		{"behind an atomic fragment header", []byte{unix.IPPROTO_FRAGMENT}},
		{"behind fragment and options", []byte{unix.IPPROTO_FRAGMENT, unix.IPPROTO_DSTOPTS}},
		{"behind fragment and routing", []byte{unix.IPPROTO_FRAGMENT, unix.IPPROTO_ROUTING}},
		{"behind twenty headers", chain(20)},
		{"behind a routing header", []byte{unix.IPPROTO_ROUTING}},
	}
	for _, sealed := range []bool{false, true} {
		if !sealed { // as with a data plane that looks at nothing
			for _, n := range []*node{mobile, homeAgent} {
				if err := n.manager.SetPolicies(nil); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			for _, n := range []*node{mobile, homeAgent} {
				if err := n.manager.SetPolicies([]Policy{policyOn(n.side)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		homeAgent.set(careOf1, sealed)
		mobile.set(careOf1, sealed)
		exchange(t, mobile, homeAgent, fmt.Sprint("text first ", sealed))
		if sealed {
			wire.packets()
			exchange(t, mobile, homeAgent, "text sealed")
			if n := len(wire.onlyESP()); n != 2 {
				t.Errorf("%d packets in ESP, 2 were sent", n)
			}
		}
		for _, h := range hidden {
			for _, way := range [][2]*node{{mobile, homeAgent}, {homeAgent, mobile}} {
				from, to := way[0], way[1]
				text := fmt.Sprintf("%s %v %d", h.name, sealed, from.side)
				from.inject(tunnelPacket(from, to, careOf1, text, h.extensions...))
				within := receiveTime
				if sealed { // what comes behind it has passed
					if err := from.say("text after", 100); err != nil {
						t.Fatal(err)
					}
					if !heardWithout(to, "text after", text) {
						t.Errorf("%s, from side %d: accepted in clear", h.name, from.side)
					}
					continue
				}
				if !to.heard(text, within) {
					t.Errorf("%s, from side %d: does not arrive without a seal either", h.name, from.side)
				}
			}
		}
		wire.packets()
	}
	for _, n := range []*node{mobile, homeAgent} {
		if drops := n.engine.Drops(); len(drops) != 0 {
			t.Errorf("side %d: the policies left something to the data plane: %v", n.side, drops)
		}
		if strings.Contains(n.log.String(), keyMark) {
			t.Errorf("a key is in the log: %s", n.log)
		}
	}
}

// heardWithout reports whether a datagram arrives and another one did not before.
func heardWithout(n *node, wanted, unwanted string) bool {
	b := make([]byte, 65536)
	_ = n.socket.SetReadDeadline(time.Now().Add(receiveTime))
	for {
		k, _, err := n.socket.ReadFrom(b)
		if err != nil || strings.HasPrefix(string(b[:k]), unwanted) {
			return false
		}
		if strings.HasPrefix(string(b[:k]), wanted) {
			return true
		}
	}
}

// A data plane whose policies have gone sends nothing and takes nothing in clear, and
// they come back.
func TestRemovedByOthers(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	homeAgent.set(careOf1, true)
	mobile.set(careOf1, true)
	exchange(t, mobile, homeAgent, "text first")
	wire.packets()
	for _, n := range []*node{mobile, homeAgent} {
		n.space.Do(func() error {
			if err := netlink.XfrmPolicyFlush(); err != nil {
				return err
			}
			return netlink.XfrmStateFlush(0)
		})
		if err := n.say("text while gone", 100); err != nil {
			t.Fatal(err)
		}
	}
	homeAgent.inject(tunnelPacket(homeAgent, mobile, careOf1, "clear"))
	for deadline := time.Now().Add(receiveTime); ; time.Sleep(10 * time.Millisecond) {
		if err := mobile.say("text again", 100); err != nil {
			t.Fatal(err)
		}
		if homeAgent.heard("text again", 50*time.Millisecond) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("they do not come back: %s", mobile.describe())
		}
	}
	if mobile.heard("clear", 100*time.Millisecond) {
		t.Error("accepted in clear")
	}
	var clear [][]byte
	for _, p := range wire.packets() {
		if bytes.Contains(p, []byte("text ")) {
			clear = append(clear, p)
		}
	}
	if len(clear) > 0 {
		t.Errorf("sent in clear: %q", clear)
	}
}

// What comes in ESP from where no binding says that it comes from is dropped without a
// word: the kernel would quote it in clear. The mobile sends before the home agent knows.
func TestStray(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	homeAgent.set(careOf1, true)
	mobile.set(careOf1, true)
	exchange(t, mobile, homeAgent, "text first")
	mobile.set(careOf2, true)
	mobile.space.Do(func() error { return warm(careOf2, agent) })
	const early = 5 // a kernel answers one in a second, so several are worth a try
	wire.packets()
	for range early {
		if err := mobile.say("text too early", 300); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(receiveTime); homeAgent.counted()["XfrmInPolBlock"] < early; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not all arrive, or are not blocked: %s", homeAgent.describe())
		}
	}
	homeAgent.set(careOf2, true)
	if err := mobile.say("text in time", 300); err != nil || !heardWithout(homeAgent, "text in time", "text too early") {
		t.Errorf("%v\n%s", err, homeAgent.describe())
	}
	wire.onlyESP()
	if drops := homeAgent.engine.Drops(); len(drops) > 0 {
		t.Errorf("the data plane had to drop %v", drops)
	}
}

// One policy of two goes: what both need stays, and what one needs goes.
func TestPolicyRemoved(t *testing.T) {
	_, homeAgent, _ := newWorld(t)
	second := policyBy(home.Next(), overlay.AgentSide, 1<<31+2, false)
	for _, step := range []struct {
		policies []Policy
		want     [2]int
	}{
		{[]Policy{policyOn(overlay.AgentSide), second}, [2]int{2, 5}},
		{[]Policy{second}, [2]int{1, 5}},
		{nil, [2]int{0, 0}},
	} {
		if err := homeAgent.manager.SetPolicies(step.policies); err != nil {
			t.Fatal(err)
		}
		if c, err := count(homeAgent); err != nil || c != step.want {
			t.Errorf("%d policies: %v states and policies, want %v (%v)", len(step.policies), c, step.want, err)
		}
	}
}

// A care-of address is one mobile's, until that one has left it.
func TestTaken(t *testing.T) {
	_, homeAgent, _ := newWorld(t)
	second := policyOn(overlay.AgentSide)
	second.Home, second.In = home.Next(), []esp.Association{association(1<<31 + 3)}
	if err := homeAgent.manager.SetPolicies([]Policy{policyOn(overlay.AgentSide), second}); err != nil {
		t.Fatal(err)
	}
	paths := []overlay.Path{{Local: agent, Remote: careOf1}}
	first, other := overlay.Key{Home: home, Side: overlay.AgentSide}, overlay.Key{Home: second.Home, Side: overlay.AgentSide}
	set := homeAgent.manager.Set
	if err := set(first, paths); err != nil {
		t.Fatal(err)
	}
	if err := set(other, paths); !errors.Is(err, ErrTaken) {
		t.Errorf("taken: %v", err)
	}
	homeAgent.manager.Remove(first)
	if err := set(other, paths); err != nil {
		t.Errorf("left: %v", err)
	}
	if err := set(overlay.Key{Home: peer, Side: overlay.AgentSide}, paths); !errors.Is(err, ErrNoPolicy) {
		t.Errorf("no policy: %v", err)
	}
	if c, err := count(homeAgent); err != nil || c != [2]int{3, 11} {
		t.Errorf("%v states and policies (%v)", c, err)
	}
}

// A move loses nothing: the associations of the new care-of address are there before the
// tunnel, those of the old one go after the grace, and then nothing is taken from there.
func TestMove(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	homeAgent.set(careOf1, true)
	mobile.set(careOf1, true)
	exchange(t, mobile, homeAgent, "text first")
	mobile.space.Do(func() error { return warm(careOf2, agent) })
	wire.packets()
	const each = 50
	var got [2]atomic.Int32
	var receivers sync.WaitGroup
	for i, n := range []*node{mobile, homeAgent} {
		receivers.Go(func() {
			b := make([]byte, 2048)
			_ = n.socket.SetReadDeadline(time.Now().Add(2 * receiveTime))
			for got[i].Load() < 3*each {
				if _, _, err := n.socket.ReadFrom(b); err != nil {
					return
				}
				got[i].Add(1)
			}
		})
	}
	burst := func() {
		for i := range each {
			for _, n := range []*node{mobile, homeAgent} {
				if err := n.say(fmt.Sprint("text ", i), 300); err != nil {
					t.Error(err)
				}
			}
		}
	}
	burst()
	// What the mobile's data plane has not sent yet would leave by the new path, before
	// the home agent takes that.
	for deadline := time.Now().Add(receiveTime); got[1].Load() < each && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	// As in a hand-over: the mobile first, and packets to it are on their way meanwhile.
	mobile.set(careOf2, true)
	for i := range each {
		if err := homeAgent.say(fmt.Sprint("text old ", i), 300); err != nil {
			t.Error(err)
		}
	}
	homeAgent.set(careOf2, true)
	for i := range each {
		if err := mobile.say(fmt.Sprint("text new ", i), 300); err != nil {
			t.Error(err)
		}
	}
	burst()
	receivers.Wait()
	if down, up := got[0].Load(), got[1].Load(); down != 3*each || up != 3*each {
		t.Errorf("of %d packets each %d and %d arrived\n%s\n%s", 3*each, down, up, mobile.describe(), homeAgent.describe())
	}
	wire.onlyESP()
	former := func(n *node) int {
		n.manager.mu.Lock()
		defer n.manager.mu.Unlock()
		return len(n.manager.holders) - 1
	}
	for _, n := range []*node{mobile, homeAgent} {
		for deadline := time.Now().Add(Linger + receiveTime); former(n) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("side %d: the former care-of address stays", n.side)
			}
		}
	}
	exchange(t, mobile, homeAgent, "text after the grace")
	n, err := count(mobile)
	if err != nil || n != [2]int{2, 6} {
		t.Errorf("the mobile has %v states and policies (%v), want 2 and 6", n, err)
	}
	if n, err = count(homeAgent); err != nil || n != [2]int{2, 11} {
		t.Errorf("the home agent has %v states and policies (%v), want 2 and 11", n, err)
	}
}

// warm resolves a neighbour.
func warm(from, to netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()}); err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("warm"), 0, &unix.SockaddrInet6{Addr: to.As16(), Port: 9})
}

// count counts what the kernel has of ours.
func count(n *node) (c [2]int, err error) {
	states, policies, err := n.manager.dump()
	return [2]int{len(states), len(policies)}, err
}

// The largest packet fills the link, one octet more is told the MTU, and the least
// MTU of IPv6 goes through a link of that, in fragments behind ESP.
func TestMTU(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	homeAgent.set(careOf1, true)
	mobile.set(careOf1, true)
	exchange(t, mobile, homeAgent, "text first")
	for _, n := range []*node{mobile, homeAgent} {
		if mtu := n.engine.Tunnels()[0].MTU; mtu != firstInner {
			t.Errorf("side %d: MTU %d, want %d", n.side, mtu, firstInner)
		}
	}
	wire.packets()
	if err := mobile.say("text full", firstInner); err != nil || !homeAgent.heard("text full", receiveTime) {
		t.Fatalf("the largest packet: %v", err)
	}
	// Behind it may come a kernel's Port Unreachable: one with a tunnel driver always
	// complains. That is in ESP, too.
	all := wire.onlyESP()
	const largest = linkMTU - (linkMTU-40-24-16)%16
	if len(all) < 1 || all[0][6] != unix.IPPROTO_ESP || len(all[0]) != largest {
		t.Errorf("packets of %v on the wire, want one of %d octets", sizes(all), largest)
	}
	mtu := func(n *node) (mtu int) {
		raw, err := n.socket.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(int uintptr) {})
		n.space.Do(func() error {
			routes, err := n.space.Handle.RouteGetWithOptions(peer.AsSlice(), &netlink.RouteGetOptions{SrcAddr: home.AsSlice()})
			if err != nil || len(routes) == 0 {
				return fmt.Errorf("route to the peer: %v %w", routes, err)
			}
			mtu = routes[0].MTU
			return nil
		})
		return mtu
	}
	for deadline := time.Now().Add(receiveTime); mtu(mobile) != firstInner; time.Sleep(10 * time.Millisecond) {
		_ = mobile.say("text more", firstInner+1)
		if time.Now().After(deadline) {
			t.Fatalf("MTU %d is told, want %d", mtu(mobile), firstInner)
		}
	}
	for _, n := range []*node{mobile, homeAgent} {
		name := "up"
		if n.side == overlay.AgentSide {
			name = "ac"
		}
		if err := n.space.Handle.LinkSetMTU(n.space.Link(name), 1280); err != nil {
			t.Fatal(err)
		}
		n.set(careOf1, true)
	}
	for _, way := range [][2]*node{{mobile, homeAgent}, {homeAgent, mobile}} {
		wire.packets()
		if err := way[0].say("text least", 1280); err != nil || !way[1].heard("text least", receiveTime) {
			t.Errorf("the least MTU from side %d: %v\n%s\n%s", way[0].side, err, way[0].describe(), way[1].describe())
		}
		all := wire.onlyESP()
		if len(all) < 2 || all[0][6] != unix.IPPROTO_FRAGMENT || len(all[0]) != 1280 || all[1][6] != unix.IPPROTO_FRAGMENT || len(all[0])+len(all[1]) != 1432 {
			t.Errorf("packets of %v, want two fragments", sizes(all))
		}
	}
}

// sizes are the protocols and octets of packets.
func sizes(all [][]byte) (s []string) {
	for _, p := range all {
		s = append(s, fmt.Sprintf("%d:%d", p[6], len(p)))
	}
	return s
}

// At the end nothing is left, and a successor removes what one that was killed has left,
// not before its time.
func TestNothingLeft(t *testing.T) {
	mobile, homeAgent, _ := newWorld(t)
	homeAgent.set(careOf1, true)
	mobile.set(careOf1, true)
	if c, err := count(mobile); err != nil || c != [2]int{2, 6} {
		t.Fatalf("%v states and policies, %v", c, err)
	}
	// As if it had been killed.
	mobile.engine.Close()
	mobile.manager.watch.stop()
	mobile.manager.conn.Close()
	var next *Manager
	mobile.space.Do(func() (err error) {
		next, err = Open(Options{Mark: tun.DefaultMark, Mask: tun.DefaultMarkMask, Adopt: time.Hour})
		return err
	})
	t.Cleanup(func() { next.Close() })
	mobile.manager.closed, mobile.manager = true, next
	if c, err := count(mobile); err != nil || c != [2]int{2, 6} {
		t.Errorf("%v states and policies after a crash, %v", c, err)
	}
	if err := next.SetPolicies([]Policy{policyOn(overlay.MobileSide)}); err != nil {
		t.Error(err)
	}
	if c, err := count(mobile); err != nil || c != [2]int{2, 6} || len(next.left) != 3 {
		t.Errorf("%v states and policies when the policies are set again (%v), %d are left", c, err, len(next.left))
	}
	next.mu.Lock()
	next.sweep = time.Now()
	next.mu.Unlock()
	next.watch.wake()
	for deadline := time.Now().Add(receiveTime); ; time.Sleep(10 * time.Millisecond) {
		if c, err := count(mobile); err == nil && c == [2]int{1, 4} {
			break
		}
		if time.Now().After(deadline) {
			c, err := count(mobile)
			t.Fatalf("%v states and policies after the time for that, %v", c, err)
		}
	}
	for _, n := range []*node{mobile, homeAgent} {
		n.close()
		n.space.Do(func() error {
			states, err := netlink.XfrmStateList(netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			policies, err := netlink.XfrmPolicyList(netlink.FAMILY_ALL)
			if len(states)+len(policies) > 0 {
				return fmt.Errorf("side %d leaves %d states and %d policies", n.side, len(states), len(policies))
			}
			return err
		})
	}
}
