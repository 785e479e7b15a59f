package tun

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/sock"
)

// The packet socket hears what has a home address in its first headers, and nothing else
// of what a router receives and forwards.
func TestCaptureFilter(t *testing.T) {
	here, there := nstest.New(t), nstest.New(t)
	nstest.Veth(here, "up", there, "up")
	nstest.Veth(here, "device", there, "device") // in place of the engine's own
	var r *receiver
	here.Do(func() (err error) {
		r, err = openCapture(1, 1<<20, here.Index("device"))
		return err
	})
	defer unix.Close(r.fd)
	var wire int
	there.Do(func() (err error) {
		wire, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		return err
	})
	defer unix.Close(wire)
	send := func(link string, to []byte, packet []byte) {
		t.Helper()
		a := unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: there.Index(link), Halen: 6}
		copy(a.Addr[:], to)
		if err := unix.Sendto(wire, packet, 0, &a); err != nil {
			t.Fatal(err)
		}
	}
	mac := func(link string) []byte { return here.Link(link).Attrs().HardwareAddr }
	packet := func(to string, next byte, headers ...[]byte) []byte {
		payload := slices.Concat(headers...)
		b := []byte{6 << 4, 0, 0, 0, 0, byte(len(payload)), next, 64}
		return slices.Concat(b, netip.MustParseAddr("2001:db8::2").AsSlice(), netip.MustParseAddr(to).AsSlice(), payload)
	}
	const one = "2001:db8::1"
	header := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	marker := packet(one, protocolRouting, header(unix.IPPROTO_NONE), []byte("marker"))
	stranger := []byte{2, 0, 0, 0, 0, 99}
	for _, c := range []struct {
		name   string
		link   string
		mac    []byte
		packet []byte
		heard  bool
	}{
		{"destination options", "up", nil, packet(one, protocolDestinationOptions, header(unix.IPPROTO_TCP)), true},
		{"routing header", "up", nil, packet(one, protocolRouting, header(unix.IPPROTO_TCP)), true},
		{"options behind hop-by-hop", "up", nil, packet(one, protocolHopByHop, header(protocolDestinationOptions), header(unix.IPPROTO_TCP)), true},
		{"routing header behind hop-by-hop", "up", nil, packet(one, protocolHopByHop, header(protocolRouting), header(unix.IPPROTO_TCP)), true},
		{"hop-by-hop alone", "up", nil, packet(one, protocolHopByHop, header(unix.IPPROTO_TCP)), false},
		{"neither", "up", nil, packet(one, unix.IPPROTO_TCP, make([]byte, 20)), false},
		{"signalling", "up", nil, packet(one, protocolDestinationOptions, header(protocolMobility), header(unix.IPPROTO_NONE)), false},
		{"to a group", "up", nil, packet("ff0e::1", protocolDestinationOptions, header(unix.IPPROTO_TCP)), false},
		{"to another host of the link", "up", stranger, packet(one, protocolDestinationOptions, header(unix.IPPROTO_TCP)), false},
		{"out of the device", "device", nil, packet(one, protocolDestinationOptions, header(unix.IPPROTO_TCP)), false},
		{"no more than a header", "up", nil, packet(one, protocolDestinationOptions), false},
	} {
		to := c.mac
		if to == nil {
			to = mac(c.link)
		}
		send(c.link, to, c.packet)
		send("up", mac("up"), marker)
		heard := false
		for {
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 10_000); err != nil || n == 0 {
				t.Fatalf("%s: not even the marker is heard: %v", c.name, err)
			}
			n, err := r.receive()
			if err != nil || n != 1 {
				t.Fatalf("%s: %d packets: %v", c.name, n, err)
			}
			buffer, _, whole := r.captured(0)
			if !whole {
				t.Fatalf("%s: a packet is not whole", c.name)
			}
			if got := buffer[receiveHeadroom:]; slices.Equal(got, marker) {
				break
			} else if slices.Equal(got, c.packet) {
				heard = true
			}
		}
		if heard != c.heard {
			t.Errorf("%s: heard %v, want %v", c.name, heard, c.heard)
		}
	}
}

// The filter finds the IPv6 header on all kinds of links: what follows an Ethernet header,
// with a VLAN tag or without, and what has no header before it.
func TestCaptureOnLinks(t *testing.T) {
	packet := func(next byte) []byte {
		b := []byte{6 << 4, 0, 0, 0, 0, 16, next, 64}
		b = slices.Concat(b, netip.MustParseAddr("2001:db8:86dd::2").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice())
		return append(b, []byte{unix.IPPROTO_NONE, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}...)
	}
	for _, c := range []struct {
		name   string
		within func(s *nstest.Space, local, remote netip.Addr) netlink.Link // a link on "up"; nil: that itself
	}{
		{"Ethernet", nil},
		{"VLAN", func(s *nstest.Space, _, _ netip.Addr) netlink.Link {
			return &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "within", ParentIndex: s.Index("up")}, VlanId: 7}
		}},
		{"tunnel", func(_ *nstest.Space, local, remote netip.Addr) netlink.Link {
			return &netlink.Ip6tnl{LinkAttrs: netlink.LinkAttrs{Name: "within"}, Local: local.AsSlice(), Remote: remote.AsSlice(),
				Proto: unix.IPPROTO_IPV6, Flags: 1 /* IP6_TNL_F_IGN_ENCAP_LIMIT */, Ttl: 64}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			here, there := nstest.New(t), nstest.New(t)
			nstest.Veth(here, "up", there, "up")
			local, remote := here.Assign("up", "2001:db8:1::1/64"), there.Assign("up", "2001:db8:1::2/64")
			link := "up"
			if c.within != nil {
				link = "within"
				err := here.Try(func() error { return netlink.LinkAdd(c.within(here, local, remote)) })
				if errors.Is(err, unix.EOPNOTSUPP) {
					t.Skip("needs a kernel with this kind of link")
				}
				if err != nil {
					t.Fatal(err)
				}
				there.Do(func() error { return netlink.LinkAdd(c.within(there, remote, local)) })
				here.LinkUp(link)
				there.LinkUp(link)
			}
			var r *receiver
			here.Do(func() (err error) {
				r, err = openCapture(1, 1<<20, 1)
				return err
			})
			defer unix.Close(r.fd)
			there.Do(func() error {
				// A link-layer address of a tunnel is an outer address, and there is no room for that.
				kind, to := unix.SOCK_DGRAM, here.Link(link).Attrs().HardwareAddr
				if c.name == "tunnel" {
					kind, to = unix.SOCK_RAW, nil
				}
				wire, err := unix.Socket(unix.AF_PACKET, kind, 0)
				if err != nil {
					return err
				}
				defer unix.Close(wire)
				a := unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: there.Index(link), Halen: uint8(len(to))}
				copy(a.Addr[:], to)
				for _, next := range []byte{unix.IPPROTO_TCP, protocolDestinationOptions} {
					if err := unix.Sendto(wire, packet(next), 0, &a); err != nil {
						return err
					}
				}
				return nil
			})
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 10_000); err != nil || n == 0 {
				t.Fatalf("nothing is heard: %v", err)
			}
			if n, err := r.receive(); err != nil || n != 1 {
				t.Fatalf("%d packets: %v", n, err)
			}
			if buffer, _, whole := r.captured(0); !whole || !slices.Equal(buffer[receiveHeadroom:], packet(protocolDestinationOptions)) {
				t.Errorf("heard % x", buffer[receiveHeadroom:])
			}
		})
	}
}
