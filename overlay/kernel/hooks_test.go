package kernel

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/nstest"
)

// What the engine has to see does not enter a tunnel device, whoever sends it.
func TestLeftToEngine(t *testing.T) { everyKernel(t, leftToEngine) }

func leftToEngine(t *testing.T, w *world) {
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.passes(node, correspondent)
	const none, nothing = unix.IPPROTO_NONE, 1 // PadN of four
	header := []byte{none, 0, nothing, 4, 0, 0, 0, 0}
	all := map[string]struct {
		next    byte
		payload []byte
	}{
		"hop-by-hop":  {unix.IPPROTO_HOPOPTS, header},
		"destination": {unix.IPPROTO_DSTOPTS, header},
		"routing":     {unix.IPPROTO_ROUTING, []byte{none, 0, 253, 0, 0, 0, 0, 0}},
		"fragment":    {unix.IPPROTO_FRAGMENT, []byte{none, 0, 0, 0, 0, 0, 0, 1}},
		"mobility":    {unix.IPPROTO_MH, []byte{none, 0, 0, 0, 0, 0, 0, 0}},
		"from DHCP":   {unix.IPPROTO_UDP, []byte{portDHCP >> 8, portDHCP & 255, 0, 9, 0, 8, 0, 0}},
		"to DHCP":     {unix.IPPROTO_UDP, []byte{0, 9, portDHCP >> 8, portDHCP & 255, 0, 8, 0, 0}},
	}
	for from, c := range map[string]struct {
		s, decides *nstest.Space
		device     string
		from, to   netip.Addr
	}{
		"forwarded by the agent":  {w.correspondent, w.agent, "roam6-k", correspondentAddress, nodeAddress},
		"of the agent":            {w.agent, w.agent, "roam6-k", netip.MustParseAddr("2001:db8:c::ff"), nodeAddress},
		"forwarded by the mobile": {w.node, w.mobile, "roam6-k1", nodeAddress, correspondentAddress},
		"of the mobile":           {w.mobile, w.mobile, "roam6-k1", homeAddress, correspondentAddress},
	} {
		send := w.raw(c.s, c.from)
		for what, x := range all {
			// The device may have something of its own to send meanwhile: what is wrong is
			// wrong each time.
			const times = 3
			wrong := 0
			for range times {
				sent, user := transmitted(c.decides, c.device), transmitted(c.decides, "roam6")
				send(packet(c.from, c.to, x.next, 0, x.payload))
				w.eventually(what+" "+from+" comes to the engine", func() bool { return transmitted(c.decides, "roam6") > user })
				if transmitted(c.decides, c.device) == sent {
					break
				}
				wrong++
			}
			if wrong == times {
				t.Errorf("%s %s: packets by %s each time", what, from, c.device)
			}
		}
	}
	// The encapsulation limit of what is a tunnel packet already is the mobile's engine's.
	user := transmitted(w.mobile, "roam6")
	w.raw(w.node, nodeAddress)(packet(nodeAddress, correspondentAddress, unix.IPPROTO_IPV6, 0, packet(nodeAddress, correspondentAddress, none, 0, nil)))
	w.eventually("a tunnel packet comes to the engine", func() bool { return transmitted(w.mobile, "roam6") > user })
}

// What the rules for tunnel packets do not know comes out of no device.
func TestUnapproved(t *testing.T) { everyKernel(t, unapproved) }

func unapproved(t *testing.T, w *world) {
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.passes(node, correspondent)
	for name, c := range map[string]struct {
		s        *nstest.Space
		from, to netip.Addr
		inner    []byte
		receiver *net.UDPConn
	}{
		"down": {w.agent, agentAddress, careOf[0], packet(correspondentAddress, nodeAddress, unix.IPPROTO_UDP, 0, udpHeader(node)), node},
		"up":   {w.mobile, careOf[0], agentAddress, packet(nodeAddress, correspondentAddress, unix.IPPROTO_UDP, 0, udpHeader(correspondent)), correspondent},
	} {
		complete(c.inner)
		send := w.raw(c.s, c.from)
		for range 3 {
			send(packet(c.from, c.to, unix.IPPROTO_HOPOPTS, 0, slices.Concat([]byte{unix.IPPROTO_IPV6, 0, 1, 4, 0, 0, 0, 0}, c.inner)))
		}
		if arrives(c.receiver, 100*time.Millisecond) {
			t.Errorf("%s: a tunnel packet with hop-by-hop options is taken apart", name)
		}
		send(packet(c.from, c.to, unix.IPPROTO_IPV6, 0, c.inner))
		if !arrives(c.receiver, patience) {
			t.Errorf("%s: one without is not", name)
		}
	}
}

// Somebody removes the table at the devices alone: it comes back with the chains.
func TestDeviceTableRestored(t *testing.T) {
	w := newWorld(t)
	if !w.paths[0].at.arrive {
		t.Skip("needs hooks at devices in the kernel (CONFIG_NETFILTER_INGRESS)")
	}
	w.attach(0)
	remove := func() error {
		s, err := nft.Open()
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Commit(func(b *nft.Batch) {
			b.Use(nft.Netdev)
			b.FlushChain(tableName, "arrive_roam6_k")
			b.DeleteChain(tableName, "arrive_roam6_k") // fails where there is none
			b.DeleteTable(tableName)
		})
	}
	for range 2 {
		w.eventually("the chain of the device is there", func() bool { return w.agent.Try(remove) == nil })
	}
}

// raw sends whole packets as they are, by the routes for an address of the namespace.
func (w *world) raw(s *nstest.Space, from netip.Addr) func([]byte) {
	w.Helper()
	var fd int
	s.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()})
	})
	w.Cleanup(func() { unix.Close(fd) })
	return func(b []byte) {
		w.Helper()
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: [16]byte(b[24:40])}); err != nil {
			w.Fatal(err)
		}
	}
}

// transmitted are the packets that a device of a namespace has sent.
func transmitted(s *nstest.Space, device string) uint64 {
	return s.Link(device).Attrs().Statistics.TxPackets
}
