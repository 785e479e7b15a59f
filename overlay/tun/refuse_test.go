package tun

import (
	"net/netip"
	"testing"
	"time"

	"roam6/overlay"
)

// What an agent says of a packet it has no tunnel for is understood by the
// mobile that sent it, and is not passed on to the source of the inner packet,
// for which nothing is final (RFC 4443 §3.1, RFC 6275 §10.4.5).
func TestRefusal(t *testing.T) {
	careOf, agent := addressOf(netip.MustParseAddr("2001:db8:a1::2")), addressOf(netip.MustParseAddr("2001:db8:10::1"))
	inner := udp(netip.MustParseAddr("2001:db8:100::2"), netip.MustParseAddr("2001:db8:c::1"), text(1200))
	r := refuser{limit: newBucket(10, 3)}
	m := r.message(inner, outer{source: careOf, destination: agent}, 0)
	if len(m) > minimumMTU-headerLength {
		t.Errorf("%d octets, too long for an error", len(m))
	}
	e, ok := parseTunnelError(m)
	if !ok || !e.refused() || e.local != careOf || e.remote != agent {
		t.Fatalf("read as %+v, %v", e, ok)
	}
	for _, from := range []string{"::", "fe80::1", "ff02::1"} {
		if r.message(inner, outer{source: addressOf(netip.MustParseAddr(from)), destination: agent}, 0) != nil {
			t.Errorf("answered to %s", from)
		}
	}
	answers := 0
	for range 100 {
		if r.message(inner, outer{source: careOf, destination: agent}, time.Second) != nil {
			answers++
		}
	}
	if answers > 3 {
		t.Errorf("%d answers at once, at most 3 are allowed", answers)
	}
}

// A kernel without anybody who takes tunnel packets names the next header of the outer
// header, or of the encapsulation limit behind it (RFC 4443 §3.4). What is about the
// packet within, or about something else, is not that; nothing of it is passed on.
func TestAbsence(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	tunnel := b.add(overlay.MobileSide, 0, netip.MustParseAddr("2001:db8:a1::2"))
	path := tunnel.paths.Load().paths[0]
	inner := udp(home, netip.MustParseAddr("2001:db8:c::1"), text(10))
	const limited = headerLength + limitLength
	for _, c := range []struct {
		kind, code uint8
		parameter  uint32
		headers    int
		absent     bool
	}{
		{icmpParameterProblem, icmpCodeNextHeader, offsetNextHeader, headerLength, true},
		{icmpParameterProblem, icmpCodeNextHeader, headerLength, limited, true},
		{icmpParameterProblem, icmpCodeNextHeader, headerLength + offsetNextHeader, headerLength, false},
		{icmpParameterProblem, icmpCodeNextHeader, 1 << 31, headerLength, false},
		{icmpParameterProblem, 0, offsetNextHeader, headerLength, false},
		{icmpParameterProblem, 2, offsetNextHeader, headerLength, false},
		{icmpUnreachable, icmpCodePortUnreachable, 0, headerLength, false},
		{icmpUnreachable, icmpCodeNextHeader, 0, headerLength, false},
		{icmpTimeExceeded, icmpCodeNextHeader, 0, headerLength, false},
	} {
		e := tunnelError{kind: c.kind, code: c.code, parameter: c.parameter, headers: c.headers, local: path.local, remote: path.remote, inner: inner}
		if e.absent() != c.absent {
			t.Errorf("type %d, code %d, parameter %d: absent %t", c.kind, c.code, c.parameter, e.absent())
		}
		if u, _, r, relayed := b.table.received(&e, 0); c.absent && (u != tunnel || relayed) {
			t.Errorf("type %d, code %d, parameter %d is about %v, passed on as %+v", c.kind, c.code, c.parameter, u, r)
		}
	}
}

// It is believed when it lasts, for each tunnel by itself, and nothing is remembered of
// one that is over.
func TestAbsenceLasts(t *testing.T) {
	a, other := absences{}, netip.MustParseAddr("2001:db8:10::101")
	for _, c := range []struct {
		home netip.Addr
		ms   time.Duration
		want bool
	}{
		{home, 0, false}, {home, 300, false}, {other, 400, false}, {home, 500, true}, {other, 899, false}, {other, 900, true}, {home, 1400, true},
		{home, 3401, false}, {home, 3900, false}, {home, 3901, true},
	} {
		if got := a.lasts(c.home, c.ms*time.Millisecond); got != c.want {
			t.Errorf("%v after %d ms: %t", c.home, c.ms, got)
		}
	}
	if len(a) != 1 {
		t.Errorf("%d absences are remembered", len(a))
	}
}

// A mobile recognises a refusal of its own tunnel, and no other.
//
// Covers: Attack: rogue router.
func TestRefusalOfOthers(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	tunnel := b.add(overlay.MobileSide, 0, netip.MustParseAddr("2001:db8:a1::2"))
	path := tunnel.paths.Load().paths[0]

	about := func(local, remote address) *tunnelError {
		return &tunnelError{kind: icmpUnreachable, code: icmpCodePolicy, local: local, remote: remote,
			inner: udp(home, netip.MustParseAddr("2001:db8:c::1"), text(10))}
	}
	if u, _, _, relayed := b.table.received(about(path.local, path.remote), 0); u != tunnel || relayed {
		t.Errorf("refusal of our tunnel: %v, relayed %v", u, relayed)
	}
	if u, _, _, relayed := b.table.received(about(path.local, path.local), 0); u != nil || relayed {
		t.Errorf("about a tunnel to elsewhere: %v, relayed %v", u, relayed)
	}
}
