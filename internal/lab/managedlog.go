package lab

import (
	"encoding/binary"
	"sync"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/dhcpv6"
)

// messageLog are the DHCPv6 messages between clients and servers, as they came to
// their links.
type messageLog struct {
	mu   sync.Mutex
	list []logged
}

// logged is one message, when it left its sender.
type logged struct {
	at   time.Time
	kind wire.MessageType
	xid  wire.TransactionID
	// client: it is a client's; otherwise a server's.
	client bool
}

// take looks at a frame.
func (l *messageLog) take(frame []byte, at time.Time) {
	const etherType, ip, next, udp, payload, header = 12, 14, 14 + 6, 14 + 40, 14 + 40 + 8, 4
	if len(frame) < payload+header || binary.BigEndian.Uint16(frame[etherType:]) != 0x86dd || frame[ip]>>4 != 6 || frame[next] != 17 {
		return
	}
	port := binary.BigEndian.Uint16(frame[udp+2:])
	if port != dhcpv6.ClientPort && port != dhcpv6.ServerPort {
		return
	}
	m := logged{at: at, kind: wire.MessageType(frame[payload]), client: port == dhcpv6.ServerPort}
	copy(m.xid[:], frame[payload+1:])
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, m)
}

// between are the messages of a time.
func (l *messageLog) between(from, to time.Time) (list []logged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.list {
		if !m.at.Before(from) && m.at.Before(to) {
			list = append(list, m)
		}
	}
	return list
}

// exchanged is a client's message and its answer.
type exchanged struct {
	asked    logged
	answered logged // zero: there was none
	sent     int    // how often the client asked
}

func (e exchanged) complete() bool { return !e.answered.at.IsZero() }

// exchanges pairs messages by their transactions. A question counts from the time
// that it was last asked before the answer.
func exchanges(list []logged) (all []exchanged) {
	for _, m := range list {
		i := -1
		for j, e := range all {
			if e.asked.xid == m.xid && (!m.client || e.asked.kind == m.kind) {
				i = j
			}
		}
		switch {
		case m.client && i < 0:
			all = append(all, exchanged{asked: m, sent: 1})
		case m.client && !all[i].complete():
			all[i].asked, all[i].sent = m, all[i].sent+1
		case m.client:
			all[i].sent++
		case i >= 0 && !all[i].complete():
			all[i].answered = m
		}
	}
	return all
}
