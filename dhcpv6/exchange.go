package dhcpv6

import (
	"encoding/binary"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/deadline"
	"roam6/internal/limit"
)

// Transmission and retransmission parameters (RFC 8415 §7.6).
const (
	solicitTimeout = time.Second
	solicitMaxRT   = 3600 * time.Second
	requestTimeout = time.Second
	requestMaxRT   = 30 * time.Second
	requestMaxRC   = 10
	confirmTimeout = time.Second
	confirmMaxRT   = 4 * time.Second
	confirmMaxRD   = 10 * time.Second
	renewTimeout   = 10 * time.Second
	renewMaxRT     = 600 * time.Second
	rebindTimeout  = 10 * time.Second
	rebindMaxRT    = 600 * time.Second
	informTimeout  = time.Second
	informMaxRT    = 3600 * time.Second
	declineTimeout = time.Second
	declineMaxRC   = 4
	maxDelay       = time.Second // SOL_MAX_DELAY, CNF_MAX_DELAY, INF_MAX_DELAY

	maxElapsedTime   = 0xffff * 10 * time.Millisecond // §21.9
	preferenceAtOnce = 255                            // §18.2.1
)

// Where a client may be quicker than the table says.
const (
	// requestOthersRC takes the place of REQ_MAX_RC when other servers have
	// advertised too: §18.2.2 leaves it to the client when to select another one, and
	// ten requests take three minutes.
	requestOthersRC = 4
	// releaseTimeout and releaseMaxRC take the places of REL_TIMEOUT and REL_MAX_RC:
	// nobody is to wait for a router that shuts down. §18.2.7 lets a client end the
	// exchange early, as long as it sends the message again once.
	releaseTimeout = 300 * time.Millisecond
	releaseMaxRC   = 2
)

// Times for which information is good (RFC 8415 §7.6).
const (
	informationRefreshDefault = 86400 * time.Second
	informationRefreshMinimum = 600 * time.Second
	// informationRefreshMaximum bounds for how long a forged Reply can be believed
	// (RFC 8415 §21.23).
	informationRefreshMaximum = 86400 * time.Second
)

// sendRate bounds what a client sends, whatever its servers answer: 20 messages in
// 20 seconds (RFC 8415 §14.1).
var sendRate = limit.Rate{Every: time.Second, Burst: 20}

// retransmission is when a message is sent again (RFC 8415 §15): the initial and
// the maximum retransmission time, the maximum count and the maximum duration. A
// zero maximum is none.
type retransmission struct {
	initial, maxTime time.Duration
	maxCount         int
	maxDuration      time.Duration
}

// exchange is a message that waits for its answer. The zero exchange is none.
type exchange struct {
	kind   wire.MessageType
	xid    wire.TransactionID
	server []byte // the server asked; nil: all
	rules  retransmission
	due    time.Time     // of the next transmission, or of the end of waiting
	rt     time.Duration // the last retransmission time
	sent   int
	began  time.Time // of the first transmission
	until  time.Time // of the maximum duration; zero: none
}

func (x *exchange) active() bool { return x.kind != wire.MessageTypeNone }

// start returns an exchange whose first message is sent after a delay.
func (c *Client) start(now time.Time, kind wire.MessageType, r retransmission, server []byte, delay time.Duration) exchange {
	x := exchange{kind: kind, rules: r, server: server, due: now.Add(delay)}
	c.config.Random(x.xid[:])
	return x
}

// failed reports whether an exchange that is due has failed (RFC 8415 §15).
func (x *exchange) failed(now time.Time) bool {
	return x.rules.maxCount > 0 && x.sent >= x.rules.maxCount || deadline.Due(now, x.until)
}

// transmitted notes a transmission and says when the next one is due.
func (x *exchange) transmitted(now time.Time, random float64) {
	if x.sent == 0 {
		x.began = now
		if x.rules.maxDuration > 0 {
			x.until = now.Add(x.rules.maxDuration)
		}
	}
	x.rt = x.rules.next(x.rt, x.sent == 0, random)
	x.sent++
	x.due = now.Add(x.rt)
	if !x.until.IsZero() && x.until.Before(x.due) {
		x.due = x.until
	}
}

// next is the retransmission time after the one before (RFC 8415 §15).
func (r retransmission) next(previous time.Duration, first bool, random float64) time.Duration {
	part := func(d time.Duration) time.Duration { return time.Duration(random * float64(d)) }
	rt := r.initial + part(r.initial)
	if !first {
		rt = 2*previous + part(previous)
	}
	if r.maxTime > 0 && rt > r.maxTime {
		rt = r.maxTime + part(r.maxTime)
	}
	return rt
}

// elapsed is the value of the Elapsed Time option (RFC 8415 §21.9).
func (x *exchange) elapsed(now time.Time) time.Duration {
	if x.sent == 0 {
		return 0
	}
	return min(now.Sub(x.began), maxElapsedTime)
}

// uniform is a random number of at least 0 and less than 1.
func (c *Client) uniform() float64 {
	var b [4]byte
	c.config.Random(b[:])
	return float64(binary.BigEndian.Uint32(b[:])) / (1 << 32)
}

// random is RAND (RFC 8415 §15), which is positive for the first Solicit: so
// Advertise messages are collected for more than SOL_TIMEOUT (§18.2.1).
func (c *Client) random(x *exchange) float64 {
	u := c.uniform()
	if x.kind == wire.MessageTypeSolicit && x.sent == 0 {
		return (1 - u) / 10
	}
	return (2*u - 1) / 10
}

// randomDelay is the time before a first message (RFC 8415 §18.2.1, §18.2.3,
// §18.2.6).
func (c *Client) randomDelay() time.Duration {
	return time.Duration(c.uniform() * float64(maxDelay))
}

// delay is randomDelay for clients that want one.
func (c *Client) delay() time.Duration {
	if !c.config.Delay {
		return 0
	}
	return c.randomDelay()
}
