package rtnl

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/role"
)

// What is written can be read back, on either byte order.
func TestAddressMessage(t *testing.T) {
	for _, a := range []Address{
		addr(7, "2001:db8::1/64", 90*time.Second, 30*time.Second),
		addr(7, "2001:db8::1/64", 90*time.Second, 0),
		{Link: 1 << 20, Prefix: pfx("2001:db8::9/128"), Valid: forever, Preferred: forever, Home: true},
	} {
		got, ok := parseAddress(addressBody(a))
		if !ok || got.Address != a || got.tag != Protocol || got.tentative {
			t.Errorf("%+v became %+v, %v", a, got, ok)
		}
	}
	short := addr(7, "2001:db8::1/64", 1500*time.Millisecond, 3*time.Second)
	if got, _ := parseAddress(addressBody(short)); got.Valid != 2*time.Second || got.Preferred != 2*time.Second {
		t.Errorf("valid %v preferred %v: want whole seconds, rounded up, and preferred within valid", got.Valid, got.Preferred)
	}
}

func TestAddressFlags(t *testing.T) {
	for _, tt := range []struct {
		flags     uint32
		tentative bool
		preferred time.Duration
	}{
		{0, false, forever},
		{unix.IFA_F_TENTATIVE, true, forever},
		{unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC, false, forever}, // RFC 4429 §3
		{unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED, true, forever},
		{unix.IFA_F_DADFAILED, true, forever},
		{unix.IFA_F_DEPRECATED, false, 0},
	} {
		b := nlsock.AppendUint32(addressKeyBody(addr(2, "fe80::1/64", 0, 0)), unix.IFA_FLAGS, tt.flags)
		got, ok := parseAddress(b)
		if !ok || got.tentative != tt.tentative || got.Preferred != tt.preferred {
			t.Errorf("flags %#x: %+v, %v", tt.flags, got, ok)
		}
	}
}

func TestRouteMessage(t *testing.T) {
	for _, r := range []role.Route{
		route("::/0", "fe80::1", 7, "2001:db8::1", 512),
		route("2001:db8::/64", "", 1<<20, "", 256),
		{Destination: pfx("::/0"), From: pfx("2001:db8:1::/64"), Via: ip("fe80::1"), Link: 7, Metric: 512},
		{Destination: pfx("::/0"), From: pfx("2001:db8:1::1/128"), Link: 7, Source: ip("2001:db8:1::1"), Metric: 512},
	} {
		got := parseRoutes(routeBody(r))
		if len(got) != 1 || got[0] != r {
			t.Errorf("%+v became %+v", r, got)
		}
	}
	other := routeBody(route("::/0", "fe80::1", 7, "", 512))
	other[5] = unix.RTPROT_STATIC
	if got := parseRoutes(other); got != nil {
		t.Errorf("somebody else's route: %+v", got)
	}
	table := nlsock.AppendUint32(routeBody(route("::/0", "fe80::1", 7, "", 512)), unix.RTA_TABLE, 100)
	if got := parseRoutes(table); got != nil {
		t.Errorf("a route of another table: %+v", got)
	}
}

func TestMultipathRouteMessage(t *testing.T) {
	hop := func(link int, via string) []byte {
		b := []byte{0, 0, 0, 0}
		b = binary.NativeEndian.AppendUint32(b, uint32(link))
		v := netip.MustParseAddr(via).As16()
		b = nlsock.AppendAttribute(b, unix.RTA_GATEWAY, v[:])
		binary.NativeEndian.PutUint16(b, uint16(len(b)))
		return b
	}
	body := []byte{unix.AF_INET6, 0, 0, 0, unix.RT_TABLE_MAIN, Protocol, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	body = nlsock.AppendUint32(body, unix.RTA_PRIORITY, 512)
	body = nlsock.AppendAttribute(body, unix.RTA_MULTIPATH, append(hop(2, "fe80::2"), hop(3, "fe80::3")...))
	got := parseRoutes(body)
	want := []role.Route{route("::/0", "fe80::2", 2, "", 512), route("::/0", "fe80::3", 3, "", 512)}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v", got)
	}
}

func TestLinkMessage(t *testing.T) {
	build := func(family byte, flags uint32, operstate byte) []byte {
		b := []byte{family, 0}
		b = binary.NativeEndian.AppendUint16(b, unix.ARPHRD_ETHER)
		b = binary.NativeEndian.AppendUint32(b, 7)
		b = binary.NativeEndian.AppendUint32(b, flags)
		b = binary.NativeEndian.AppendUint32(b, 0)
		b = nlsock.AppendAttribute(b, unix.IFLA_IFNAME, []byte("wlan0\x00"))
		b = nlsock.AppendUint32(b, unix.IFLA_MTU, 1500)
		b = nlsock.AppendUint32(b, unix.IFLA_CARRIER_UP_COUNT, 3)
		b = nlsock.AppendAttribute(b, unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 7})
		return nlsock.AppendAttribute(b, unix.IFLA_OPERSTATE, []byte{operstate})
	}
	const all = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	want := linkAttributes{index: 7, name: "wlan0", adminUp: true, carrier: true, mtu: 1500, ethernet: [6]byte{2, 0, 0, 0, 0, 7}, carriers: 3}
	for _, tt := range []struct {
		name      string
		flags     uint32
		operstate byte
		up        bool
		carrier   bool
	}{
		{"up", all, 6, true, true},
		{"driver does not say", all, 0, true, true},
		{"dormant: 802.1X not done", all, 5, true, false},
		{"no carrier", unix.IFF_UP, 2, true, false},
		{"carrier, not running yet", unix.IFF_UP | unix.IFF_LOWER_UP, 2, true, false},
		{"administratively down", 0, 2, false, false},
	} {
		w := want
		w.adminUp, w.carrier = tt.up, tt.carrier
		if got, ok := parseLink(build(unix.AF_UNSPEC, tt.flags, tt.operstate)); !ok || got != w {
			t.Errorf("%s: %+v, %v", tt.name, got, ok)
		}
	}
	if _, ok := parseLink(build(unix.AF_BRIDGE, all, 6)); ok {
		t.Error("a bridge's message about its port was taken for the link's own")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(addressBody(addr(7, "2001:db8::1/64", forever, forever)))
	f.Add(routeBody(route("::/0", "fe80::1", 7, "2001:db8::1", 512)))
	f.Add(neighborBody(7, netip.MustParseAddr("fe80::1"), &[6]byte{2}, unix.NUD_STALE))
	f.Add(nlsock.AppendAttribute([]byte{unix.AF_INET6, 0, 0, 0, unix.RT_TABLE_MAIN, Protocol, 0, unix.RTN_UNICAST, 0, 0, 0, 0},
		unix.RTA_MULTIPATH, []byte{8, 0, 0, 0, 2, 0, 0, 0}))
	f.Add([]byte{0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, ok := parseLink(b); ok && l.index <= 0 {
			t.Errorf("link %+v", l)
		}
		if a, ok := parseAddress(b); ok && (!a.Prefix.IsValid() || a.Link <= 0) {
			t.Errorf("address %+v", a)
		}
		for _, r := range parseRoutes(b) {
			if !r.Destination.IsValid() {
				t.Errorf("route %+v", r)
			}
		}
		parseNeighbor(b)
	})
}
