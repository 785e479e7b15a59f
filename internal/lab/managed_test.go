package lab

import (
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/lab/dhcpserver"
	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// TestExchanges: messages are paired by their transactions, in which a client may
// ask more than once.
func TestExchanges(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, int64(ms)*1e6) }
	client := func(ms int, kind wire.MessageType, id byte) logged {
		return logged{at: at(ms), kind: kind, xid: wire.TransactionID{id}, client: true}
	}
	server := func(ms int, kind wire.MessageType, id byte) logged {
		return logged{at: at(ms), kind: kind, xid: wire.TransactionID{id}}
	}
	got := exchanges([]logged{
		server(0, wire.MessageTypeReply, 9), // to a message of before
		client(1, wire.MessageTypeSolicit, 1), client(1001, wire.MessageTypeSolicit, 1),
		server(1003, wire.MessageTypeAdvertise, 1), server(1004, wire.MessageTypeAdvertise, 1),
		client(1005, wire.MessageTypeRequest, 2), server(1008, wire.MessageTypeReply, 2),
		client(2000, wire.MessageTypeRenew, 3),
	})
	if len(got) != 3 {
		t.Fatalf("exchanges: %+v", got)
	}
	for i, want := range []struct {
		kind         wire.MessageType
		asked, taken int // milliseconds; taken < 0: no answer
		sent         int
	}{
		{wire.MessageTypeSolicit, 1001, 2, 2}, {wire.MessageTypeRequest, 1005, 3, 1}, {wire.MessageTypeRenew, 2000, -1, 1},
	} {
		e := got[i]
		if e.asked.kind != want.kind || !e.asked.at.Equal(at(want.asked)) || e.sent != want.sent || e.complete() != (want.taken >= 0) ||
			e.complete() && e.answered.at.Sub(e.asked.at) != time.Duration(want.taken)*time.Millisecond {
			t.Errorf("exchange %d: %+v, want %+v", i, e, want)
		}
	}
}

// TestMessageLog: DHCPv6 messages are told from other frames, of any length.
func TestMessageLog(t *testing.T) {
	frame := make([]byte, 66)
	frame[12], frame[13], frame[14], frame[20] = 0x86, 0xdd, 0x60, 17
	frame[56], frame[57] = 0x02, 0x23
	frame[62], frame[63], frame[64], frame[65] = byte(wire.MessageTypeSolicit), 1, 2, 3
	var l messageLog
	for n := range frame {
		l.take(frame[:n], time.Unix(1, 0))
	}
	if list := l.between(time.Time{}, time.Unix(2, 0)); len(list) != 0 {
		t.Errorf("of torn frames: %+v", list)
	}
	l.take(frame, time.Unix(1, 0))
	frame[57] = 53
	l.take(frame, time.Unix(1, 0))
	list := l.between(time.Time{}, time.Unix(2, 0))
	if len(list) != 1 || !list[0].client || list[0].kind != wire.MessageTypeSolicit || list[0].xid != (wire.TransactionID{1, 2, 3}) {
		t.Errorf("logged: %+v", list)
	}
}

// TestServersPicked: each kind of link has a server that can do it, or none.
func TestServersPicked(t *testing.T) {
	const kea, dnsmasq = dhcpserver.Kea, dhcpserver.Dnsmasq
	for _, c := range []struct {
		kind                       addressing
		both, onlyKea, onlyDnsmasq dhcpserver.Kind
	}{
		{formedOnly, "", "", ""}, {leasedRapid, dnsmasq, kea, dnsmasq}, {formedFirst, kea, kea, dnsmasq}, {leasedSlow, kea, kea, ""},
	} {
		for _, v := range []struct {
			here map[dhcpserver.Kind]string
			want dhcpserver.Kind
		}{
			{map[dhcpserver.Kind]string{kea: "/k", dnsmasq: "/d"}, c.both}, {map[dhcpserver.Kind]string{kea: "/k"}, c.onlyKea},
			{map[dhcpserver.Kind]string{dnsmasq: "/d"}, c.onlyDnsmasq}, {nil, ""},
		} {
			if got := c.kind.pick(v.here); got != v.want {
				t.Errorf("%d of %v: %q, want %q", c.kind, v.here, got, v.want)
			}
		}
	}
}

// TestLostSettled: what is lost between two datagrams that arrive at a stop counts,
// what the moves before and after it lose does not.
func TestLostSettled(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, int64(ms)*1e6) }
	r := probe.Record{Interval: time.Millisecond}
	for ms := range 100 {
		r.Sent = append(r.Sent, at(ms).UnixNano())
		if ms < 8 || ms >= 20 && ms < 90 && ms != 50 && ms != 51 {
			r.Arrivals = append(r.Arrivals, probe.Arrival{Number: uint32(ms), At: at(ms + 2).UnixNano()})
		}
	}
	m := managedMove{move: move{Switch: world.Switch{Left: at(10), Attached: at(12)}}, end: at(95)}
	for _, c := range []struct {
		acknowledged report.Milliseconds // after the new link
		lost         int                 // in two streams
	}{{report.None(), 4}, {20, 4}, {70, 0}} {
		h := report.Handover{Phases: report.NoPhases()}
		h.Phases.Acknowledged = c.acknowledged
		if lost := lostSettled(m, h, 5*time.Millisecond, r, r); lost != c.lost {
			t.Errorf("acknowledged after %v: %d lost, want %d", c.acknowledged, lost, c.lost)
		}
	}
}
