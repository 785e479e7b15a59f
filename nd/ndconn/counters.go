package ndconn

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"roam6/nd"
)

// PerType are numbers of messages by type.
type PerType struct {
	RouterSolicitations, RouterAdvertisements, NeighborSolicitations, NeighborAdvertisements uint64
}

// Counters are the totals since Open.
type Counters struct {
	Received      uint64 // passed the filter in the kernel
	Delivered     PerType
	Invalid       map[nd.Reason]uint64 // not valid; absent: none
	Looped        uint64               // our own, given back by the link
	Overflowed    uint64               // dropped by the kernel because the socket's buffer was full
	ReceiveErrors uint64               // errors of the socket that were survived
	Sent          PerType
	SendErrors    map[SendReason]uint64 // absent: none
	Answered      uint64                // solicitations answered for defended addresses
	// Unjoined are groups of defended addresses that were not joined, being too
	// many or refused by the kernel: switches that snoop MLD may withhold them.
	Unjoined uint64
}

type perType struct{ rs, ra, ns, na atomic.Uint64 }

func (p *perType) count(m nd.Message) {
	switch m.(type) {
	case nd.RouterSolicitation:
		p.rs.Add(1)
	case nd.RouterAdvertisement:
		p.ra.Add(1)
	case nd.NeighborSolicitation:
		p.ns.Add(1)
	case nd.NeighborAdvertisement:
		p.na.Add(1)
	}
}

func (p *perType) snapshot() PerType {
	return PerType{p.rs.Load(), p.ra.Load(), p.ns.Load(), p.na.Load()}
}

type counters struct {
	received, looped, receiveErrors, answered, unjoined atomic.Uint64
	delivered, sent                                     perType
	invalid                                             [nd.NumReasons]atomic.Uint64
	sendErrors                                          [numSendReasons]atomic.Uint64

	mu         sync.Mutex
	overflowed uint64 // the kernel's counter starts anew at each reading
}

// Counters returns a snapshot.
func (c *Conn) Counters() Counters {
	k := &c.counters
	s := Counters{
		Received: k.received.Load(), Delivered: k.delivered.snapshot(), Looped: k.looped.Load(),
		ReceiveErrors: k.receiveErrors.Load(), Sent: k.sent.snapshot(), Answered: k.answered.Load(),
		Unjoined: k.unjoined.Load(),
		Invalid:  make(map[nd.Reason]uint64), SendErrors: make(map[SendReason]uint64),
	}
	for r := range k.invalid {
		if n := k.invalid[r].Load(); n != 0 {
			s.Invalid[nd.Reason(r)] = n
		}
	}
	for r := range k.sendErrors {
		if n := k.sendErrors[r].Load(); n != 0 {
			s.SendErrors[SendReason(r)] = n
		}
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
