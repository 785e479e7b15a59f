package tun

import (
	"net/netip"
	"testing"
	"time"

	"roam6/overlay"
)

// RFC 6275 §11.5.5: packets that were on their way to the care-of address when
// their mobile came home are taken, from the tunnel and with a routing header, as
// long as the grace lasts and the home address is this node's; others are not.
func TestReturned(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	ours := true
	b.table.local = func(a netip.Addr) bool { return a == careOf || ours && a == home }
	u := b.table.mobile.get(network)
	for _, p := range []netip.Prefix{network, netip.PrefixFrom(home, 128)} {
		b.table.mobile.remove(p)
	}
	routed := func(to, home netip.Addr) []byte {
		p := udp(correspondent, home, text(8))
		return ipv6(correspondent, to, protocolRouting, append(routeHeader(protocolUDP, home), p[headerLength:]...))
	}
	a := b.arrivals()
	check := func(name string, now time.Duration, want bool) {
		t.Helper()
		_, _, reason := a.take(routed(careOf, home), now)
		if (reason == 0) != want {
			t.Errorf("%s: routing header: %v", name, reason)
		}
		o := outer{source: addressOf(agent), destination: addressOf(careOf)}
		if got, reason := b.table.inbound(udp(correspondent, home, nil), o, now); (got != nil) != want {
			t.Errorf("%s: tunnel: %v", name, reason)
		}
		for what, p := range map[string][]byte{"another care-of address": routed(agent, home), "another home address": routed(careOf, nodeBehind)} {
			if _, taken, reason := a.take(p, now); taken && reason == 0 {
				t.Errorf("%s: taken by %s", name, what)
			}
		}
		o.source = addressOf(correspondent)
		if got, _ := b.table.inbound(udp(correspondent, home, nil), o, now); got != nil {
			t.Errorf("%s: taken from another than the home agent", name)
		}
	}
	check("never away", time.Second, false)
	b.table.returned.add(u, time.Second, DefaultGrace)
	check("just home", time.Second, true)
	check("a moment later", time.Second+DefaultGrace-1, true)
	check("later", time.Second+DefaultGrace, false)
	ours = false
	check("without the home address", time.Second, false)
	ours = true

	// Others that come home leave it as it is; their number is bounded.
	for i := range 2 * mostReturned {
		check("with others", 2*time.Second, i < mostReturned)
		b.table.returned.add(&tunnel{home: address{1, uint64(i)}}, 2*time.Second, DefaultGrace)
	}
	if n := len(*b.table.returned.list.Load()); n != mostReturned {
		t.Errorf("%d remembered", n)
	}
	b.table.returned.add(u, time.Hour, DefaultGrace)
	if list := *b.table.returned.list.Load(); len(list) != 1 {
		t.Errorf("what is over is remembered: %v", list)
	}
}
