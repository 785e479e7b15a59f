package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"roam6/internal/lab/report"
)

// clearWatch looks at all frames for what passes between a home agent's address and
// anybody else: with payload in IPsec that is ESP and neighbour discovery.
type clearWatch struct {
	agent netip.Addr

	mu                sync.Mutex
	negotiated        map[uint32]bool // SPIs for payload; nil: they are configured
	toMobile, toAgent int             // in ESP, of payload
	clear             int             // anything else
	first             string          // of those
}

// mostShown is how many octets of a packet in clear are shown.
const mostShown = 128

// take is for relay.Relay.Tap.
func (w *clearWatch) take(frame []byte, _ time.Time) {
	const ethernet, header = 14, 40
	if len(frame) < ethernet+header || binary.BigEndian.Uint16(frame[12:]) != 0x86dd {
		return
	}
	packet := frame[ethernet:]
	from, to := netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
	if from != w.agent && to != w.agent || from.IsLinkLocalUnicast() || to.IsLinkLocalUnicast() || to.IsMulticast() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := w.wrapped(packet)
	switch {
	case kind == wrappedESP && to == w.agent:
		w.toAgent++
	case kind == wrappedESP:
		w.toMobile++
	case kind == wrappedNot:
		if w.clear++; w.first == "" {
			w.first = fmt.Sprintf("%v to %v: %x", from, to, packet[:min(len(packet), mostShown)])
		}
	}
}

// wrapping is how a packet is protected.
type wrapping uint8

const (
	wrappedNot        wrapping = iota
	wrappedESP                 // by an association of payload
	wrappedSignalling          // by another one
	wrappedOther               // neighbour discovery, the key exchange, or an error about what is protected
)

// know learns of SPIs for payload that have been negotiated.
func (w *clearWatch) know(spis []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, spi := range spis {
		w.negotiated[spi] = true
	}
}

// forPayload reports whether an SPI is one for payload.
func (w *clearWatch) forPayload(spi uint32) bool {
	if w.negotiated != nil {
		return w.negotiated[spi]
	}
	return spi >= payloadSPI
}

// wrapped finds out how a packet is protected. Destination options and routing headers may
// come before ESP, and a fragment header.
func (w *clearWatch) wrapped(packet []byte) wrapping {
	const protocolUDP, protocolRouting, protocolFragment, protocolESP, protocolICMPv6 = 17, 43, 44, 50, 58
	const firstNeighbour, lastNeighbour = 133, 137
	const portIKE, portIKEBehindNAT = 500, 4500
	next, at := packet[6], 40
	for at+8 <= len(packet) {
		switch next {
		case protocolESP:
			if w.forPayload(binary.BigEndian.Uint32(packet[at:])) {
				return wrappedESP
			}
			return wrappedSignalling
		case protocolICMPv6:
			if packet[at] >= firstNeighbour && packet[at] <= lastNeighbour || w.quotesNothing(packet[at:]) {
				return wrappedOther
			}
			return wrappedNot
		case protocolUDP:
			if port := binary.BigEndian.Uint16(packet[at+2:]); w.negotiated != nil && (port == portIKE || port == portIKEBehindNAT) {
				return wrappedOther
			}
			return wrappedNot
		case protocolFragment:
			if binary.BigEndian.Uint16(packet[at+2:])&^7 != 0 && packet[at] == protocolESP {
				return wrappedESP // a later part of it
			}
			next, at = packet[at], at+8
		case protocolDestination, protocolRouting:
			next, at = packet[at], at+8+int(packet[at+1])*8
		default:
			return wrappedNot
		}
	}
	return wrappedNot
}

const protocolDestination = 60

// quotesNothing reports whether an ICMPv6 message is an error, about a packet with nothing
// in clear: routers complain of what cannot be delivered any more, and a home agent of what
// comes before a binding update, with zeros in place of what was in ESP.
func (w *clearWatch) quotesNothing(message []byte) bool {
	const header, quotedHeader, least = 8, 40, 8
	const informational, protocolESP, leastSPI = 128, 50, 256
	if len(message) < header+quotedHeader+least || message[0] >= informational {
		return false
	}
	quoted := message[header:]
	if quoted[6] == protocolESP && binary.BigEndian.Uint32(quoted[quotedHeader:]) < leastSPI {
		return !slices.ContainsFunc(quoted[quotedHeader:], func(b byte) bool { return b != 0 })
	}
	return w.wrapped(quoted) != wrappedNot
}

// report adds what was seen.
func (w *clearWatch) report(r *report.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Add(report.Packets("clear_packets", "frames from or to the home agent that were not ESP, and nothing that may be in clear", w.clear).AtMost(0))
	r.Add(report.Packets("sealed_packets", "frames with payload in ESP", w.toAgent+w.toMobile))
	if w.clear > 0 {
		r.Fail("in clear: %s", w.first)
	}
	if w.toAgent == 0 || w.toMobile == 0 {
		r.Fail("payload in ESP was seen in %d frames to the home agent and %d from it: both should be many", w.toAgent, w.toMobile)
	}
}

// payloadSPI is the first of the SPIs for payload.
const payloadSPI = 1 << 31

// withPayload has an ipsec section protect the payload, too.
func (s *section) withPayload(number int) *section {
	return s.option("payload", "1").associations(payloadSPI+10*uint32(number), "payload_to_agent", "payload_to_mobile")
}
