package dhcpconn

import "sync/atomic"

// Counters are the totals since a socket was opened.
type Counters struct {
	Delivered     uint64 // handed to the handler
	Short         uint64 // less than a type and a transaction identifier
	Long          uint64 // more than is taken
	Misdirected   uint64 // to an address, or from one, that has no business here
	ReceiveErrors uint64 // errors of the socket that were survived
	Sent          uint64
	SendErrors    uint64
}

type counters struct {
	delivered, short, long, misdirected, receiveErrors, sent, sendErrors atomic.Uint64
}

// Counters returns a snapshot.
func (c *Conn) Counters() Counters {
	k := &c.counters
	return Counters{
		Delivered: k.delivered.Load(), Short: k.short.Load(), Long: k.long.Load(), Misdirected: k.misdirected.Load(),
		ReceiveErrors: k.receiveErrors.Load(), Sent: k.sent.Load(), SendErrors: k.sendErrors.Load(),
	}
}
