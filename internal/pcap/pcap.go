// Package pcap reads the IPv6 packets of a capture file: pcap with times in
// microseconds or nanoseconds, and pcapng, of either byte order. It takes what
// it is given from anywhere, so nothing in a file decides how much memory it
// uses.
package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrFormat says that the input is not a capture file.
var ErrFormat = errors.New("neither pcap nor pcapng")

const (
	// maxRecord is the longest packet record or block that is read, in octets;
	// it is the greatest snapshot length of the common tools.
	maxRecord = 256 << 10
	// maxInterfaces is how many interfaces a section of a pcapng file may have.
	maxInterfaces = 4096
)

// Packet is one IPv6 packet of a capture.
type Packet struct {
	// Number counts all frames of the file, from 1.
	Number int
	// Time of the capture; zero where the file has none (pcapng simple packets).
	Time time.Time
	// Data begins with the IPv6 header. It is valid until the next call of Next,
	// and may be cut short or be followed by octets that are not the packet's.
	Data []byte
}

// Reader reads the packets of a capture file one after the other.
type Reader struct {
	in      *bufio.Reader
	order   binary.ByteOrder
	offset  int64 // of what is read next, for error messages
	frames  int
	skipped int
	buffer  []byte
	read    func() (frame, error)

	classic struct {
		link     linkType
		fraction time.Duration // unit of the second half of a time stamp
	}
	interfaces []ngInterface
}

// frame is a packet as the link had it.
type frame struct {
	time time.Time
	link linkType
	data []byte
}

// IsCapture reports whether a file that begins with head, of at least four
// octets, is a capture file.
func IsCapture(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch binary.LittleEndian.Uint32(head) {
	case magicMicro, magicMicroSwapped, magicNano, magicNanoSwapped, blockSectionHeader:
		return true
	default:
		return false
	}
}

// Magic numbers of pcap files, as a little-endian reader sees them.
const (
	magicMicro        = 0xa1b2c3d4
	magicMicroSwapped = 0xd4c3b2a1
	magicNano         = 0xa1b23c4d
	magicNanoSwapped  = 0x4d3cb2a1
)

// NewReader reads the header of a capture file. It returns ErrFormat for
// anything else.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReader(in)}
	head, err := r.in.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !IsCapture(head) {
		return nil, ErrFormat
	}
	r.order = binary.LittleEndian
	switch magic := binary.LittleEndian.Uint32(head); magic {
	case blockSectionHeader:
		r.read = r.nextBlock
		return r, nil
	case magicMicro, magicMicroSwapped:
		r.classic.fraction = time.Microsecond
		if magic == magicMicroSwapped {
			r.order = binary.BigEndian
		}
	case magicNano, magicNanoSwapped:
		r.classic.fraction = time.Nanosecond
		if magic == magicNanoSwapped {
			r.order = binary.BigEndian
		}
	}
	header, err := r.take(24)
	if err != nil {
		return nil, err
	}
	// The upper half of the field holds flags on the frame check sequence.
	r.classic.link = linkType(r.order.Uint32(header[20:]) & 0xffff)
	if !r.classic.link.supported() {
		return nil, fmt.Errorf("link type %d is not supported", r.classic.link)
	}
	r.read = r.nextRecord
	return r, nil
}

// Next returns the next IPv6 packet and skips everything else. At the end of
// the file the error is io.EOF. After another error nothing more can be read.
func (r *Reader) Next() (Packet, error) {
	for {
		f, err := r.read()
		if err != nil {
			return Packet{}, err
		}
		r.frames++
		if data := f.link.ipv6(f.data); data != nil {
			return Packet{Number: r.frames, Time: f.time, Data: data}, nil
		}
		r.skipped++
	}
}

// Skipped is the number of frames so far that carried no IPv6, or came from an
// interface whose link type is not supported.
func (r *Reader) Skipped() int { return r.skipped }

// nextRecord reads a packet record of a pcap file.
func (r *Reader) nextRecord() (frame, error) {
	header, err := r.takeOrEnd(16)
	if err != nil {
		return frame{}, err
	}
	at := time.Unix(int64(r.order.Uint32(header)), 0).
		Add(time.Duration(r.order.Uint32(header[4:])) * r.classic.fraction).UTC()
	data, err := r.take(r.order.Uint32(header[8:]))
	if err != nil {
		return frame{}, err
	}
	return frame{time: at, link: r.classic.link, data: data}, nil
}

// take reads n octets. They are valid until the next call.
func (r *Reader) take(n uint32) ([]byte, error) {
	if n > maxRecord {
		return nil, fmt.Errorf("octet %d: record of %d octets is longer than the %d that are supported", r.offset, n, maxRecord)
	}
	if uint32(cap(r.buffer)) < n {
		r.buffer = make([]byte, n)
	}
	b := r.buffer[:n]
	m, err := io.ReadFull(r.in, b)
	r.offset += int64(m)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("octet %d: %w", r.offset, err)
	}
	return b, nil
}

// takeOrEnd is take where the file may end: then it returns io.EOF.
func (r *Reader) takeOrEnd(n uint32) ([]byte, error) {
	if _, err := r.in.Peek(1); err == io.EOF {
		return nil, io.EOF
	}
	return r.take(n)
}
