package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"roam6/internal/role"
)

// dhcpKinds is one more than the highest type of DHCPv6 message that is counted:
// those of RFC 8415 §7.3, which are numbered from 1.
const dhcpKinds = 14

// dhcpName is a type of DHCPv6 message as a label; "" is none that is counted.
func dhcpName(t uint8) string {
	switch t {
	case 1:
		return "solicit"
	case 2:
		return "advertise"
	case 3:
		return "request"
	case 4:
		return "confirm"
	case 5:
		return "renew"
	case 6:
		return "rebind"
	case 7:
		return "reply"
	case 8:
		return "release"
	case 9:
		return "decline"
	case 10:
		return "reconfigure"
	case 11:
		return "information_request"
	case 12:
		return "relay_forward"
	case 13:
		return "relay_reply"
	default:
		return ""
	}
}

// dhcpEvents are the counters of DHCPv6.
type dhcpEvents struct {
	sent, received [dhcpKinds]atomic.Uint64
	dropped        [256]atomic.Uint64 // by role.DropReason
}

// DHCPSent counts a DHCPv6 message, by the type that its first octet tells.
func (m *Metrics) DHCPSent(message []byte) {
	countDHCP(&m.events.dhcp.sent, message)
	m.exchanges.sent(time.Now(), message)
}

// DHCPReceived counts a DHCPv6 message that was given to a client, a server or
// a relay, whatever it makes of it.
func (m *Metrics) DHCPReceived(message []byte) {
	countDHCP(&m.events.dhcp.received, message)
	m.exchanges.received(time.Now(), message)
}

func countDHCP(counters *[dhcpKinds]atomic.Uint64, message []byte) {
	if len(message) > 0 && dhcpName(message[0]) != "" {
		counters[message[0]].Add(1)
	}
}

// DHCPDropped counts a DHCPv6 message that was not accepted.
func (m *Metrics) DHCPDropped(r role.DropReason) { m.events.dhcp.dropped[r].Add(1) }

// DHCPMessageCount is how often a type of DHCPv6 message was sent and received.
type DHCPMessageCount struct {
	Type           string
	Sent, Received uint64
}

// DHCPMessages returns the counts that are not zero, in the order of types.
func (m *Metrics) DHCPMessages() []DHCPMessageCount {
	var list []DHCPMessageCount
	for t := range uint8(dhcpKinds) {
		c := DHCPMessageCount{Type: dhcpName(t), Sent: m.events.dhcp.sent[t].Load(), Received: m.events.dhcp.received[t].Load()}
		if c.Sent+c.Received > 0 {
			list = append(list, c)
		}
	}
	return list
}

// DHCPMessagesDropped returns the counts of DHCPDropped that are not zero.
func (m *Metrics) DHCPMessagesDropped() map[role.DropReason]uint64 {
	return counted[role.DropReason](&m.events.dhcp.dropped)
}

// exchanges are the DHCPv6 exchanges that this node began as a client: those that
// are under way, and how long the others took. The transaction identifier tells
// which answer belongs to which message (RFC 8415 §16.1); a retransmission has the
// same one. What a relay of this node encapsulates is not seen.
type exchanges struct {
	took observer

	mu   sync.Mutex
	open [16]exchange // more at a time take the oldest's place
}

type exchange struct {
	transaction [3]byte
	began       time.Time // zero: none
}

// sent notes a message of a client; others begin no exchange.
func (e *exchanges) sent(now time.Time, message []byte) {
	if len(message) < 4 {
		return
	}
	switch dhcpName(message[0]) {
	case "solicit", "request", "confirm", "renew", "rebind", "release", "decline", "information_request":
	default:
		return
	}
	transaction := [3]byte(message[1:4])
	e.mu.Lock()
	defer e.mu.Unlock()
	oldest := &e.open[0]
	for i := range e.open {
		x := &e.open[i]
		if x.transaction == transaction && !x.began.IsZero() {
			return
		}
		if x.began.Before(oldest.began) {
			oldest = x
		}
	}
	*oldest = exchange{transaction, now}
}

// received notes an answer. Who sends several to one message is heard once.
func (e *exchanges) received(now time.Time, message []byte) {
	if len(message) < 4 {
		return
	}
	if kind := dhcpName(message[0]); kind != "advertise" && kind != "reply" {
		return
	}
	transaction := [3]byte(message[1:4])
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.open {
		x := &e.open[i]
		if x.transaction == transaction && !x.began.IsZero() {
			e.took.Observe(max(now.Sub(x.began), 0).Seconds())
			*x = exchange{}
			return
		}
	}
}
