package lab

import (
	"net/netip"
	"sync"
	"time"

	"roam6/mip6"
)

// eyes see what passes the links: how much signalling of a mobile and its home agent is
// in ESP, and how much of it anybody can read.
type eyes struct {
	home, agent netip.Addr
	secrets     []string // that were in use

	mu                          sync.Mutex
	protected, readable, askers int
}

// see looks at a frame.
func (e *eyes) see(frame []byte, _ time.Time) {
	const ethernet, header, protocolUDP, protocolIPv6 = 14, 40, 17, 41
	if len(frame) < ethernet+header || frame[12] != 0x86 || frame[13] != 0xdd {
		return
	}
	packet := frame[ethernet:]
	inTunnel := packet[6] == protocolIPv6
	e.mu.Lock()
	defer e.mu.Unlock()
	if packet[6] == protocolUDP && len(packet) >= header+4 {
		if port := int(packet[header+2])<<8 | int(packet[header+3]); port == 500 || port == 4500 {
			e.askers++
		}
		return
	}
	if inTunnel {
		packet = packet[header:]
	}
	x, err := mip6.ParseEnvelope(packet)
	if err != nil || len(x.Payload) < 3 {
		return
	}
	ends := x.From() == e.home && x.To() == e.agent || x.From() == e.agent && x.To() == e.home
	switch x.Protocol {
	case mip6.ProtocolESP:
		e.protected++
	case mip6.ProtocolMobility:
		switch mip6.MessageType(x.Payload[2]) {
		case mip6.TypeBindingUpdate, mip6.TypeBindingAcknowledgement:
			if ends {
				e.readable++
			}
		case mip6.TypeHomeTestInit, mip6.TypeHomeTest:
			if inTunnel {
				e.readable++
			}
		}
	case mip6.ProtocolICMPv6:
		switch mip6.ICMPType(x.Payload[0]) {
		case mip6.ICMPPrefixSolicitation, mip6.ICMPPrefixAdvertisement:
			if ends {
				e.readable++
			}
		}
	}
}

func (e *eyes) ike() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.askers
}

func (e *eyes) signalling() (protected, readable int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.protected, e.readable
}
