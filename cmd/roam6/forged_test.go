package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/sock"
	"roam6/mip6"
	"roam6/nd"
)

// icmp is an ICMPv6 packet with the right checksum.
func icmp(source, destination netip.Addr, hopLimit byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0], b[6], b[7] = 0x60, mip6.ProtocolICMPv6, hopLimit
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	from, to := source.As16(), destination.As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	b = append(b, body...)
	nd.Seal(source, destination, b[40:])
	return b
}

// inject puts a packet on the host's link, as anybody there can.
func (v *village) inject(packet []byte) {
	v.Helper()
	link, err := v.agentSpace.Link.LinkByName("wan0")
	v.must(err)
	to := &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: link.Attrs().Index, Halen: 6}
	if copy(to.Addr[:], v.hostEthernet); packet[24] == 0xff { // to a group
		copy(to.Addr[:], append([]byte{0x33, 0x33}, packet[36:40]...))
	}
	v.must(unix.Sendto(v.raw, packet, 0, to))
}

// quote is the header of a packet from the host to its home agent, with what
// stands behind it, as somebody on the way sees it.
func (v *village) quote(careOf netip.Addr, protocol byte, inner []byte) []byte {
	q := make([]byte, 40, 40+len(inner))
	q[0], q[6], q[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(q[4:], uint16(len(inner)))
	from, to := careOf.As16(), villageAgent.As16()
	copy(q[8:], from[:])
	copy(q[24:], to[:])
	return append(q, inner...)
}

// datagram is one from the host's home address, as it is in the tunnel.
func datagram() []byte {
	b := make([]byte, 48)
	b[0], b[5], b[6], b[7] = 0x60, 8, 17, 64
	from, to := villageHome.As16(), villagePeer.Addr().As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	return b
}

// refuse tells the host that its home agent has no binding for it.
func (v *village) refuse(careOf netip.Addr) {
	v.Helper()
	message := append([]byte{1, 5, 0, 0, 0, 0, 0, 0}, v.quote(careOf, 41, datagram())...)
	v.inject(icmp(villageAgent, careOf, 64, message))
}

func (v *village) updatesSent() uint64 {
	v.Helper()
	s, err := v.host.client.Stats(context.Background())
	v.must(err)
	return s.Mobile.UpdatesSent
}

// emptyAdvertisements: a router that has nothing to tell, of a link that is in
// use.
func (v *village) emptyAdvertisements() {
	routers := []netip.Addr{netip.MustParseAddr("fe80::bad")}
	link, err := v.agentSpace.Link.LinkByName("wan0")
	v.must(err)
	addresses, err := v.agentSpace.Link.AddrList(link, unix.AF_INET6)
	v.must(err)
	for _, a := range addresses {
		if own, ok := netip.AddrFromSlice(a.IP); ok && own.IsLinkLocalUnicast() {
			routers = append(routers, own) // the one that is in use
		}
	}
	for range 20 {
		for _, r := range routers {
			v.inject(icmp(r, nd.AllNodes(), 255, nd.RouterAdvertisement{RouterLifetime: 30 * time.Second}.Append(nil)))
		}
	}
}

// Advertisements from beyond the link or from an address that no router has are
// not heard, and those of a neighbour that pretends to be a better router do not
// move a host whose own router answers (RFC 4861 §6.1.2, RFC 6275 §11.5.1).
//
// The host gives its router a few milliseconds to answer. It has the machine to itself,
// and where the router is late all the same, other worlds follow.
//
// Covers: Attack: rogue router.
func TestRogueAdvertisements(t *testing.T) {
	needWorlds(t)
	for attempt := 1; ; attempt++ {
		faults := rogueAdvertisements(newVillage(t, os.Args[0]))
		if len(faults) == 0 {
			return
		}
		if attempt == attempts {
			t.Fatal(strings.Join(faults, "\n"))
		}
		t.Logf("in world %d: %s", attempt, strings.Join(faults, "\n"))
	}
}

// rogueAdvertisements returns what they did to a host.
func rogueAdvertisements(v *village) (faults []string) {
	defer v.end()
	fault := func(format string, a ...any) { faults = append(faults, fmt.Sprintf(format, a...)) }
	before, sent := v.update(), v.updatesSent()
	rogue := netip.MustParseAddr("fe80::bad")
	body := nd.RouterAdvertisement{
		RouterLifetime: 9000 * time.Second, Preference: 1, Interval: 70 * time.Millisecond,
		Prefixes: []mip6.PrefixInformation{{
			Prefix: netip.MustParsePrefix("2001:db8:bad::/64"), OnLink: true, Autonomous: true,
			ValidLifetime: time.Hour, PreferredLifetime: time.Hour,
		}},
	}.Append(nil)
	for _, c := range []struct {
		name     string
		source   netip.Addr
		hopLimit byte
		heard    bool
	}{
		{"from beyond a router", rogue, 64, false},
		{"from one hop away", rogue, 254, false},
		{"from a global address", netip.MustParseAddr("2001:db8:bad::1"), 255, false},
		{"from no address", netip.IPv6Unspecified(), 255, false},
		{"from a group", nd.AllRouters(), 255, false},
		{"from a neighbour's echo", netip.IPv6Loopback(), 255, false},
		{"from a bold neighbour", rogue, 255, true},
	} {
		for range 50 {
			v.inject(icmp(c.source, nd.AllNodes(), c.hopLimit, slices.Clone(body)))
		}
		// Advertisements are taken in their order, and the true ones go on.
		for range 20 {
			if !v.reaches() {
				fault("%s: the peer is not reached", c.name)
				break
			}
		}
		if u := v.update(); !u.Registered || u.CareOf != before.CareOf || u.Attachment == nil || u.Attachment.Router != before.Attachment.Router {
			fault("%s: moved to %+v", c.name, u)
		}
		state := strings.Join(v.snapshots()["host"], "\n")
		if !c.heard && strings.Contains(state, "2001:db8:bad:") {
			fault("%s: believed\n%s", c.name, state)
		}
		if strings.Contains(state, "via fe80::bad") {
			fault("%s: a route by it\n%s", c.name, state)
		}
	}
	if n := v.updatesSent() - sent; n > 1 {
		fault("%d updates because of advertisements", n)
	}
	return faults
}

// Forged ICMPv6 errors, which quote what the host sends as it is, make it ask at
// most: it stays registered, its tunnel works, and a thousand of them are not
// worth more than a few updates (RFC 6275 §11.3.6, RFC 4443 §5.2).
//
// Covers: Attack: rogue router.
func TestForgedErrors(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	v := newVillage(t, os.Args[0])
	before, sent := v.update(), v.updatesSent()
	tunnelled, signalling := v.quote(before.CareOf, 41, datagram()), v.quote(before.CareOf, mip6.ProtocolMobility, make([]byte, 32))
	start := time.Now()
	for _, c := range []struct {
		kind, code byte
		parameter  uint32
		quoted     []byte
	}{
		{1, 0, 0, tunnelled},      // no route
		{1, 5, 0, tunnelled},      // a home agent that has no binding
		{1, 4, 0, tunnelled},      // a tunnel driver without a tunnel
		{2, 0, 1280, tunnelled},   // packet too big
		{2, 0, 0, tunnelled},      // for anything
		{3, 0, 0, tunnelled},      // a loop
		{4, 1, 6, tunnelled},      // does not know tunnels
		{4, 1, 6, signalling},     // does not know Mobile IPv6
		{4, 2, 40, signalling},    // does not know the Home Address option
		{1, 3, 0, signalling},     // nobody there
		{137, 0, 0, signalling},   // a redirect that is none
		{4, 1, 6, tunnelled[:40]}, // nonsense
	} {
		message := binary.BigEndian.AppendUint32([]byte{c.kind, c.code, 0, 0}, c.parameter)
		message = append(message, c.quoted...)
		for _, router := range []netip.Addr{villageAR, villageAgent} {
			for range 500 {
				v.inject(icmp(router, before.CareOf, 255, slices.Clone(message)))
			}
		}
	}
	v.works()
	u := v.update()
	if u.CareOf != before.CareOf || u.HomeAgent != before.HomeAgent || u.Halted {
		t.Errorf("registered differently: %+v", u)
	}
	// Three updates a second at most are allowed at all (RFC 6275 §11.8).
	if n, most := v.updatesSent()-sent, 3+uint64(time.Since(start)/time.Second); n > most {
		t.Errorf("%d updates because of errors in %v, want at most %d", n, time.Since(start), most)
	}
	v.end()
}
