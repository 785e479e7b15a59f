package rtnl

import (
	"fmt"
	"strings"
	"testing"

	"roam6/internal/role"
)

func up(index int, name string) linkAttributes {
	return linkAttributes{index: index, name: name, adminUp: true, carrier: true, mtu: 1500}
}

func noCarrier(l linkAttributes) linkAttributes { l.carrier = false; return l }

func linkLocal(index int, a string, tentative bool) kernelAddress {
	return kernelAddress{Address: Address{Link: index, Prefix: pfx(a + "/64")}, tentative: tentative}
}

func formatEvents(events []role.Event) string {
	var b strings.Builder
	for _, e := range events {
		switch e := e.(type) {
		case role.LinkChanged:
			state := "down"
			if e.Link.Up {
				state = "up"
			}
			fmt.Fprintf(&b, "%d %s %s mtu %d %v; ", e.Link.Index, e.Link.Name, state, e.Link.MTU, e.Link.LinkLocal)
		case role.LinkGone:
			fmt.Fprintf(&b, "%d gone; ", e.Index)
		default:
			fmt.Fprintf(&b, "unexpected %T", e)
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestLinkTable(t *testing.T) {
	table := newLinkTable()
	big := up(2, "eth0")
	big.mtu = 9000
	for i, step := range []struct {
		what string
		do   func() []role.Event
		want string
	}{
		{"appears without an address", func() []role.Event { return table.setLink(up(2, "eth0")) }, "2 eth0 down mtu 1500 invalid IP"},
		{"tentative address", func() []role.Event { return table.setAddress(linkLocal(2, "fe80::2", true)) }, ""},
		{"usable address", func() []role.Event { return table.setAddress(linkLocal(2, "fe80::2", false)) }, "2 eth0 up mtu 1500 fe80::2"},
		{"again", func() []role.Event { return table.setAddress(linkLocal(2, "fe80::2", false)) }, ""},
		{"global address", func() []role.Event { return table.setAddress(linkLocal(2, "2001:db8::1", false)) }, ""},
		{"a lower address does not replace it", func() []role.Event { return table.setAddress(linkLocal(2, "fe80::1", false)) }, ""},
		{"statistics only", func() []role.Event { return table.setLink(up(2, "eth0")) }, ""},
		{"carrier lost", func() []role.Event { return table.setLink(noCarrier(up(2, "eth0"))) }, "2 eth0 down mtu 1500 fe80::2"},
		{"carrier back: at once", func() []role.Event { return table.setLink(up(2, "eth0")) }, "2 eth0 up mtu 1500 fe80::2"},
		{"first address gone", func() []role.Event { return table.removeAddress(linkLocal(2, "fe80::2", false)) }, "2 eth0 up mtu 1500 fe80::1"},
		{"last address gone", func() []role.Event { return table.removeAddress(linkLocal(2, "fe80::1", false)) }, "2 eth0 down mtu 1500 invalid IP"},
		{"mtu", func() []role.Event { return table.setLink(big) }, "2 eth0 down mtu 9000 invalid IP"},
		{"renamed", func() []role.Event { return table.setLink(up(2, "wan")) }, "2 wan down mtu 1500 invalid IP"},
		{"address of a link not heard of", func() []role.Event { return table.setAddress(linkLocal(3, "fe80::3", false)) }, ""},
		{"its link", func() []role.Event { return table.setLink(up(3, "lte0")) }, "3 lte0 up mtu 1500 fe80::3"},
		{"gone", func() []role.Event { return table.removeLink(2) }, "2 gone"},
		{"gone again", func() []role.Event { return table.removeLink(2) }, ""},
		{"address of the gone link", func() []role.Event { return table.removeAddress(linkLocal(2, "fe80::1", false)) }, ""},
		{"listing: one gone, one changed, one new", func() []role.Event {
			table.setLink(up(4, "wlan0"))
			return table.replace(
				[]linkAttributes{noCarrier(up(4, "wlan0")), up(5, "wlan1")},
				[]kernelAddress{linkLocal(4, "fe80::4", false), linkLocal(5, "fe80::5", true)})
		}, "3 gone; 4 wlan0 down mtu 1500 fe80::4; 5 wlan1 down mtu 1500 invalid IP"},
		{"the same listing", func() []role.Event {
			return table.replace(
				[]linkAttributes{noCarrier(up(4, "wlan0")), up(5, "wlan1")},
				[]kernelAddress{linkLocal(4, "fe80::4", false), linkLocal(5, "fe80::5", true)})
		}, ""},
	} {
		if got := formatEvents(step.do()); got != step.want {
			t.Fatalf("step %d, %s: got %q, want %q", i, step.what, got, step.want)
		}
	}
}
