package binding

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// ErrMemory: octets are not those of a Memory.
var ErrMemory = errors.New("not a remembered binding")

// A Memory in octets, numbers in network order:
//
//	flags            1
//	home address    16
//	visitor          1 and that many, with hasVisitor
//	mobile           1 and that many, with hasMobile
//	sequence number  2, with hasSequence
//	timestamp        8, with hasTimestamp
//	timestamp ahead  8, with hasAhead
//	updated          8
//
// and with a state
//
//	created, expires   8 each
//	update's flags, sequence number, lifetime   2 each
//	number of paths    1, and 36 for each: identifier 2, port 2, local 16, remote 16
//	number of prefixes 2, and for each its length 1, and as many octets as that has
//
// Times are nanoseconds since the host was started. All bits of the flags have their
// meaning: what is added makes another version of the journal (internal/store).
const (
	stateBits    byte = 3 // State: Active, Deleted or zero
	hasVisitor   byte = 1 << 2
	hasMobile    byte = 1 << 6
	hasSequence  byte = 1 << 3
	hasTimestamp byte = 1 << 4
	isExplicit   byte = 1 << 5
	hasAhead     byte = 1 << 7
)

// Append appends the Memory in octets to b. started is when the host was started, by
// the clock of the other times.
func (m Memory) Append(b []byte, started time.Time) []byte {
	when := func(t time.Time) { b = binary.BigEndian.AppendUint64(b, uint64(t.Sub(started))) }
	b = append(b, m.wireFlags())
	b = appendAddr(b, m.Home)
	for _, s := range []string{m.Visitor, m.Mobile} {
		if s = s[:min(len(s), 255)]; s != "" {
			b = append(append(b, byte(len(s))), s...)
		}
	}
	if m.Fresh.known {
		b = binary.BigEndian.AppendUint16(b, uint16(m.Fresh.sequence))
	}
	if m.Fresh.timestamp != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(m.Fresh.timestamp))
	}
	if m.Fresh.ahead != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(m.Fresh.ahead))
	}
	when(m.Updated)
	if m.State == 0 {
		return b
	}
	when(m.Created)
	when(m.Expires)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Flags))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Sequence))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Lifetime))
	paths := m.Paths[:min(len(m.Paths), 255)]
	b = append(b, byte(len(paths)))
	for _, p := range paths {
		b = binary.BigEndian.AppendUint16(b, p.BID)
		b = binary.BigEndian.AppendUint16(b, p.RemotePort)
		b = appendAddr(appendAddr(b, p.Local), p.Remote)
	}
	prefixes := m.Prefixes[:min(len(m.Prefixes), 1<<16-1)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(prefixes)))
	for _, p := range prefixes {
		a := p.Masked().Addr().As16()
		b = append(append(b, byte(p.Bits())), a[:octets(p.Bits())]...)
	}
	return b
}

func (m Memory) wireFlags() byte {
	f := m.wireState()
	if m.Visitor != "" {
		f |= hasVisitor
	}
	if m.Mobile != "" {
		f |= hasMobile
	}
	if m.Fresh.known {
		f |= hasSequence
	}
	if m.Fresh.timestamp != 0 {
		f |= hasTimestamp
	}
	if m.Fresh.ahead != 0 {
		f |= hasAhead
	}
	if m.Explicit {
		f |= isExplicit
	}
	return f
}

func (m Memory) wireState() byte {
	switch m.State {
	case Active:
		return 1
	case Deleted:
		return 2
	default:
		return 0
	}
}

func appendAddr(b []byte, a netip.Addr) []byte {
	x := a.As16()
	return append(b, x[:]...)
}

// octets is how many hold so many bits.
func octets(bits int) int { return (bits + 7) / 8 }

// LatestMemories returns of what Append has written, in order, what still counts: the
// last of each Key, in the place of the first, unless it says that nothing is remembered.
// It fails with ErrMemory where octets have no Key.
func LatestMemories(records [][]byte) ([][]byte, error) {
	latest := NewLatest[[]byte](len(records))
	for _, b := range records {
		r := reader{rest: b}
		k := r.key(byte(r.number(1)))
		if r.short {
			return nil, ErrMemory
		}
		latest.Put(k, b)
	}
	const remembered = stateBits | hasSequence | hasTimestamp | hasAhead
	return slices.DeleteFunc(latest.All(), func(b []byte) bool { return b[0]&remembered == 0 }), nil
}

// ParseMemory reads what Append has written, of a host that was started at that time by
// the present clock; all of b, or it fails with ErrMemory.
func ParseMemory(b []byte, started time.Time) (Memory, error) {
	r := reader{rest: b}
	when := func() time.Time { return started.Add(time.Duration(r.number(8))) }
	f := byte(r.number(1))
	k := r.key(f)
	m := Memory{Home: k.Home, Visitor: k.Visitor}
	if f&hasMobile != 0 {
		m.Mobile = string(r.take(int(r.number(1))))
	}
	if f&hasSequence != 0 {
		m.Fresh.AcceptSequence(mip6.Sequence(r.number(2)))
	}
	if f&hasTimestamp != 0 {
		m.Fresh.timestamp = mip6.Timestamp(r.number(8))
	}
	if f&hasAhead != 0 {
		m.Fresh.ahead = mip6.Timestamp(r.number(8))
	}
	m.Updated = when()
	switch f & stateBits {
	case 0:
	case 1:
		m.State = Active
	case 2:
		m.State = Deleted
	default:
		return Memory{}, ErrMemory
	}
	if m.State != 0 {
		m.Created, m.Expires = when(), when()
		m.Flags, m.Sequence, m.Lifetime = mip6.UpdateFlags(r.number(2)), mip6.Sequence(r.number(2)), mip6.Lifetime(r.number(2))
		m.Explicit = f&isExplicit != 0
		for n := r.number(1); n > 0 && !r.short; n-- {
			m.Paths = append(m.Paths, overlay.Path{BID: uint16(r.number(2)), RemotePort: uint16(r.number(2)), Local: r.addr(), Remote: r.addr()})
		}
		for n := r.number(2); n > 0 && !r.short; n-- {
			m.Prefixes = append(m.Prefixes, r.prefix())
		}
	}
	if r.short || len(r.rest) > 0 || f&isExplicit != 0 && m.State == 0 {
		return Memory{}, ErrMemory
	}
	return m, nil
}

// reader takes octets off the front. When there are too few it is short, and what it
// gives is zero.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// number takes so many octets.
func (r *reader) number(n int) (v uint64) {
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// key takes what is behind the flags f.
func (r *reader) key(f byte) Key {
	k := Key{Home: r.addr()}
	if f&hasVisitor != 0 {
		k.Visitor = string(r.take(int(r.number(1))))
	}
	return k
}

func (r *reader) addr() netip.Addr {
	var a [16]byte
	copy(a[:], r.take(len(a)))
	return netip.AddrFrom16(a)
}

func (r *reader) prefix() netip.Prefix {
	bits := int(r.number(1))
	if bits > 128 {
		r.short = true
		return netip.Prefix{}
	}
	var a [16]byte
	copy(a[:], r.take(octets(bits)))
	return netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked()
}
