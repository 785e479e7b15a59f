package mhsock

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Counters are the totals since Open.
type Counters struct {
	Received      uint64 // captured by the filter
	Delivered     uint64 // handed to Deliver, ICMP or Refused
	Malformed     uint64 // no IPv6 packet, shorter than its payload length, or no refusal of ours
	Limited       uint64 // refusals not reported because there were too many
	Martian       uint64 // source or destination that no packet may have
	NotLocal      uint64 // addressed to another node
	Protected     uint64 // came in ESP and were delivered
	Denied        uint64 // dropped by IPsec: see IPsec.Dropped
	Overflowed    uint64 // dropped by the kernel because the socket's buffer was full
	ReceiveErrors uint64 // errors of the socket that were survived
	Restored      uint64 // times somebody deleted our nftables table and it was put back
	Sent          uint64
	SendErrors    map[SendReason]uint64 // absent: none
}

type counters struct {
	received, delivered, malformed, limited, martian, notLocal, receiveErrors atomic.Uint64
	protected, denied                                                         atomic.Uint64
	sent                                                                      atomic.Uint64
	sendErrors                                                                [numSendReasons]atomic.Uint64

	mu         sync.Mutex
	overflowed uint64 // the kernel's counter starts anew at each reading
}

// Counters returns a snapshot.
func (c *Conn) Counters() Counters {
	k := &c.counters
	s := Counters{
		Received: k.received.Load(), Delivered: k.delivered.Load(), Malformed: k.malformed.Load(),
		Limited: k.limited.Load(), Martian: k.martian.Load(), NotLocal: k.notLocal.Load(), ReceiveErrors: k.receiveErrors.Load(),
		Protected: k.protected.Load(), Denied: k.denied.Load(),
		Sent: k.sent.Load(), SendErrors: make(map[SendReason]uint64),
	}
	for r := range k.sendErrors {
		if n := k.sendErrors[r].Load(); n != 0 {
			s.SendErrors[SendReason(r)] = n
		}
	}
	if c.silencer != nil {
		s.Restored = c.silencer.restored.Load()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = c.packetRaw.Control(func(fd uintptr) {
		if st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			k.overflowed += uint64(st.Drops)
		}
	})
	s.Overflowed = k.overflowed
	return s
}
