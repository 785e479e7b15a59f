package esp

import (
	"sync"

	"roam6/mip6"
)

// Inbound is an association that we receive by. Several goroutines may use it.
type Inbound struct {
	spi   uint32
	suite suite

	mu     sync.Mutex
	window *window // nil: none
}

// NewInbound makes the receiver's side of an association. The error wraps
// ErrInvalid.
func NewInbound(a Association) (*Inbound, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	s, err := newSuite(a)
	if err != nil {
		return nil, err
	}
	in := &Inbound{spi: a.SPI, suite: s}
	if a.Window != 0 {
		in.window = newWindow(a.Window)
	}
	return in, nil
}

// Open verifies what Seal made and appends its payload, whose protocol is next. In
// tunnel mode there may be padding for traffic flow confidentiality behind the
// inner packet (RFC 4303 §2.7). Nothing of the packet is believed, and the
// anti-replay window not moved, before the integrity check value has verified. The
// errors are ErrMalformed, ErrUnknownSPI, ErrReplay, ErrIntegrity, ErrPadding and
// ErrDummy; b is then returned as it was.
func (i *Inbound) Open(b, packet []byte) (out []byte, next uint8, err error) {
	text := headerLen + i.suite.ivLen()
	n := len(packet) - text - icvLen // of ciphertext
	if n < trailerLen || n%i.suite.align() != 0 {
		return b, 0, ErrMalformed
	}
	if spiOf(packet) != i.spi {
		return b, 0, ErrUnknownSPI
	}
	sequence := sequenceOf(packet)
	if i.replayed(sequence, false) { // before the cost of the rest (RFC 4303 §3.4.3)
		return b, 0, ErrReplay
	}
	start := len(b)
	if out, err = i.suite.open(b, packet, text); err != nil {
		return b, 0, err
	}
	if i.replayed(sequence, true) {
		return b, 0, ErrReplay
	}
	plain := out[start:]
	pad, next := int(plain[len(plain)-2]), plain[len(plain)-1]
	if next == mip6.ProtocolNone {
		return b, 0, ErrDummy // and the rest of it may be anything (RFC 4303 §2.6)
	}
	n = len(plain) - trailerLen - pad
	if n < 0 {
		return b, 0, ErrPadding
	}
	for k, v := range plain[n : len(plain)-trailerLen] {
		if int(v) != k+1 {
			return b, 0, ErrPadding
		}
	}
	return out[:start+n], next, nil
}

// replayed asks the window, if there is one, about a sequence number, and has it
// remember that of a packet that has verified.
func (i *Inbound) replayed(sequence uint32, verified bool) bool {
	if i.window == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.window.fresh(sequence) {
		return true
	}
	if verified {
		i.window.note(sequence)
	}
	return false
}

// window is an anti-replay window (RFC 4303 §3.4.3, RFC 6479): a ring of bits, one
// for each sequence number up to the highest one that has verified.
type window struct {
	highest uint32
	ring    []uint64 // one word more than the width, so that whole words are cleared
}

func newWindow(width int) *window { return &window{ring: make([]uint64, width/64+1)} }

func (w *window) width() uint32 { return uint32(len(w.ring)-1) * 64 }

func (w *window) bit(sequence uint32) (word *uint64, mask uint64) {
	return &w.ring[int(sequence/64)%len(w.ring)], 1 << (sequence % 64)
}

// fresh reports whether a sequence number may be accepted. Zero is never sent.
func (w *window) fresh(sequence uint32) bool {
	switch {
	case sequence == 0:
		return false
	case sequence > w.highest:
		return true
	case w.highest-sequence >= w.width():
		return false
	}
	word, mask := w.bit(sequence)
	return *word&mask == 0
}

// note remembers a fresh sequence number.
func (w *window) note(sequence uint32) {
	if sequence > w.highest {
		words := min(int(sequence/64-w.highest/64), len(w.ring))
		for k := range words {
			w.ring[(int(w.highest/64)+1+k)%len(w.ring)] = 0
		}
		w.highest = sequence
	}
	word, mask := w.bit(sequence)
	*word |= mask
}
