package relay

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"

	"roam6/internal/pcap"
)

// capture writes frames to a capture file: all signalling, and of the rest a
// sample.
type capture struct {
	out  *bufio.Writer // nil: no file
	file *pcap.Writer
	seen map[shape]uint64
	err  error                        // of the first frame that could not be written
	tap  func(frame []byte, at int64) // nil: nobody looks
}

// shape is the row of headers of a packet that is no signalling.
type shape [8]byte

// captureEvery is how many packets of a shape there are for each one that is
// written.
const captureEvery = 100

// IPv6 next headers.
const (
	protoHopByHop    = 0
	protoTCP         = 6
	protoUDP         = 17
	protoIPv6        = 41
	protoRouting     = 43
	protoDestination = 60
)

// Capture writes the frames that pass to a capture file from now on: all
// Mobility Header, ICMPv6 and DHCPv6 messages, in tunnels too, and every hundredth
// packet of any other kind. A frame is written once for each of its links.
func (r *Relay) Capture(to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<20)
	file, err := pcap.NewWriter(out)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capture == nil {
		r.capture = &capture{}
	}
	r.capture.out, r.capture.file, r.capture.seen = out, file, map[shape]uint64{}
	return nil
}

// Tap shows f each frame from now on, as it comes to its link: when it left the
// sender's interface. f runs on the relay's thread: it must be quick, and may keep
// nothing of the frame. EndCapture ends it.
func (r *Relay) Tap(f func(frame []byte, at time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capture == nil {
		r.capture = &capture{}
	}
	r.capture.tap = func(frame []byte, at int64) { f(frame, time.Unix(0, at)) }
}

// EndCapture ends it, and returns the first error there was.
func (r *Relay) EndCapture() error {
	r.mu.Lock()
	c := r.capture
	r.capture = nil
	r.mu.Unlock()
	if c == nil || c.out == nil {
		return nil
	}
	if err := c.out.Flush(); c.err == nil {
		c.err = err
	}
	return c.err
}

// take writes a frame if it is to be.
func (c *capture) take(frame []byte, at int64) {
	if c == nil {
		return
	}
	if c.tap != nil {
		c.tap(frame, at)
	}
	if c.out == nil || c.err != nil || !c.wants(frame) {
		return
	}
	c.err = c.file.Write(time.Unix(0, at), frame)
}

func (c *capture) wants(frame []byte) bool {
	const ethernet = 14
	if len(frame) < ethernet+40 || binary.BigEndian.Uint16(frame[12:]) != 0x86dd {
		return false
	}
	s, signalling := headers(frame[ethernet:])
	if signalling {
		return true
	}
	n := c.seen[s]
	c.seen[s]++
	return n%captureEvery == 0
}

// dhcp reports whether a port is one of DHCPv6.
func dhcp(port []byte) bool {
	p := binary.BigEndian.Uint16(port)
	return p == 546 || p == 547
}

// headers walks through the headers of an IPv6 packet, and of the packets in
// it. A fragment, or what is cut short, counts as signalling: it is rare.
func headers(b []byte) (s shape, signalling bool) {
	const ipv6 = 40
	next := byte(protoIPv6)
	for i := range s {
		s[i] = next
		switch next {
		case protoIPv6:
			if len(b) < ipv6 {
				return s, true
			}
			next, b = b[6], b[ipv6:]
		case protoHopByHop, protoRouting, protoDestination:
			if len(b) < 2 || len(b) < 8*int(b[1])+8 {
				return s, true
			}
			next, b = b[0], b[8*int(b[1])+8:]
		case protoUDP:
			return s, len(b) < 4 || dhcp(b) || dhcp(b[2:])
		case protoTCP:
			return s, false
		default: // Mobility Header, ICMPv6, and whatever nobody expects
			return s, true
		}
	}
	return s, true
}
