package esp

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// Outbound is an association that we send by. Several goroutines may use it.
type Outbound struct {
	spi    uint32
	suite  suite
	random func([]byte)

	mu       sync.Mutex
	sequence uint32 // of the last packet
	counter  uint64 // initialization vector of the next packet, where they count
	started  bool
}

// NewOutbound makes the sender's side of an association. random fills in octets
// that nobody can guess. The error wraps ErrInvalid.
func NewOutbound(a Association, random func([]byte)) (*Outbound, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	s, err := newSuite(a)
	if err != nil {
		return nil, err
	}
	return &Outbound{spi: a.SPI, suite: s, random: random}, nil
}

// Seal appends an ESP header, the payload, of the protocol next, encrypted, and
// trailer and integrity check value: in transport mode the payload of a packet, in
// tunnel mode a whole packet with next 41 (RFC 4303 §3.3). The error is
// ErrExhausted; b is then returned as it was. payload and the space behind b must
// not overlap.
func (o *Outbound) Seal(b []byte, next uint8, payload []byte) ([]byte, error) {
	pad := padding(len(payload)+trailerLen, o.suite.align())
	ivLen := o.suite.ivLen()
	start, text := len(b), headerLen+ivLen
	b = slices.Grow(b, text+len(payload)+pad+trailerLen+icvLen)
	b = append(b, make([]byte, text)...)
	packet := b[start:]
	sequence, ok := o.step(packet[headerLen:])
	if !ok {
		return b[:start], ErrExhausted
	}
	binary.BigEndian.PutUint32(packet, o.spi)
	binary.BigEndian.PutUint32(packet[4:], sequence)
	packet = append(packet, payload...)
	for i := range pad {
		packet = append(packet, byte(i+1)) // RFC 4303 §2.4
	}
	packet = append(packet, byte(pad), next)
	packet = o.suite.seal(packet, text)
	return b[:start+len(packet)], nil
}

// step takes the next sequence number and fills in the initialization vector.
func (o *Outbound) step(iv []byte) (sequence uint32, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sequence == math.MaxUint32 {
		return 0, false
	}
	o.sequence++
	if len(iv) != 8 {
		o.random(iv)
		return o.sequence, true
	}
	if !o.started {
		var first [8]byte
		o.random(first[:])
		o.counter, o.started = binary.BigEndian.Uint64(first[:]), true
	}
	binary.BigEndian.PutUint64(iv, o.counter)
	o.counter++
	return o.sequence, true
}

// padding is what is missing in n to a multiple of align.
func padding(n, align int) int { return (align - n%align) % align }
