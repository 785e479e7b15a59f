package esp_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/mip6"
	"roam6/overlay"
)

// rawSocket is a socket of one protocol.
type rawSocket struct {
	t        *testing.T
	fd       int
	protocol uint8
}

func (k *kernelEnd) openRaw(protocol int, local netip.Addr) *rawSocket {
	k.t.Helper()
	r := &rawSocket{t: k.t, protocol: uint8(protocol)}
	k.space.Do(func() (err error) {
		if r.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol); err != nil {
			return err
		}
		if protocol == mip6.ProtocolICMPv6 {
			var filter unix.ICMPv6Filter
			for i := range filter.Data {
				filter.Data[i] = ^uint32(0) // a set bit blocks
			}
			for kind := mip6.ICMPHomeAgentRequest; kind <= mip6.ICMPPrefixAdvertisement; kind++ {
				filter.Data[kind/32] &^= 1 << (kind % 32)
			}
			if err := unix.SetsockoptICMPv6Filter(r.fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter); err != nil {
				return err
			}
		}
		if err := unix.SetsockoptInt(r.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVDSTOPTS, 1); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(patience))
		if err := unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		return unix.Bind(r.fd, &unix.SockaddrInet6{Addr: local.As16()})
	})
	k.t.Cleanup(func() { unix.Close(r.fd) })
	return r
}

// heard is a message as the kernel gives it to a raw socket.
type heard struct {
	source, careOf netip.Addr // careOf is invalid without a Home Address option
	payload        []byte
}

// receive waits for the next message.
func (r *rawSocket) receive(what string) heard {
	r.t.Helper()
	b, ancillary := make([]byte, 2048), make([]byte, 512)
	n, an, _, from, err := unix.Recvmsg(r.fd, b, ancillary, 0)
	if err != nil {
		r.t.Fatalf("waiting for %s: %v", what, err)
	}
	h := heard{source: netip.AddrFrom16(from.(*unix.SockaddrInet6).Addr), payload: b[:n]}
	messages, err := unix.ParseSocketControlMessage(ancillary[:an])
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range messages {
		const option, address = 6, 8 // as everybody places it
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_DSTOPTS && len(m.Data) == 24 && m.Data[option] == mip6.OptionTypeHomeAddress {
			h.careOf = netip.AddrFrom16([16]byte(m.Data[address:])) // the kernel has swapped it
		}
	}
	return h
}

// quiet asserts that there is nothing to receive.
func (r *rawSocket) quiet() {
	r.t.Helper()
	b := make([]byte, 2048)
	if n, _, err := unix.Recvfrom(r.fd, b, unix.MSG_DONTWAIT); err == nil {
		r.t.Errorf("a message too many: %x", b[:n])
	}
}

// send sends a message; the kernel has the last word about its checksum.
func (r *rawSocket) send(to netip.Addr, payload []byte) {
	r.t.Helper()
	if err := unix.Sendto(r.fd, payload, 0, &unix.SockaddrInet6{Addr: to.As16()}); err != nil {
		r.t.Fatalf("send to %v: %v", to, err)
	}
}

// message is the Mobility Header or ICMPv6 message of a whole packet.
func message(t *testing.T, packet []byte) []byte {
	t.Helper()
	e, err := mip6.ParseEnvelope(packet)
	if err != nil {
		t.Fatal(err)
	}
	return e.Payload
}

// appended is a whole packet.
func appended(t *testing.T, p interface {
	Append([]byte) ([]byte, error)
}) []byte {
	t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// same asserts that a packet is another one but for what the kernel is free to choose, flow
// label and hop limit.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	clean := func(b []byte) string {
		b = append([]byte(nil), b...)
		copy(b, []byte{0x60, 0, 0, 0})
		b[7] = 0
		return fmt.Sprintf("%x", b)
	}
	if clean(got) != clean(want) {
		t.Fatalf("%s is\n%x, want\n%x", what, got, want)
	}
}

// espAt is where ESP begins in a packet.
func espAt(t *testing.T, packet []byte) int {
	t.Helper()
	e, err := mip6.ParseEnvelope(packet)
	if err != nil || e.Protocol != mip6.ProtocolESP {
		t.Fatalf("no ESP: %v in %x", err, packet)
	}
	return len(packet) - len(e.Payload)
}

// resealed is a packet in ESP with what is in ESP sealed by another sender with the same
// key, who has sent so many packets before.
func resealed(t *testing.T, packet []byte, a esp.Association, before int, protocol uint8, payload []byte) []byte {
	t.Helper()
	sender, err := esp.NewOutbound(a, func(b []byte) { binary.BigEndian.PutUint64(b[len(b)-8:], uint64(time.Now().UnixNano())) })
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	for range before + 1 {
		if sealed, err = sender.Seal(nil, protocol, payload); err != nil {
			t.Fatal(err)
		}
	}
	out := append(append([]byte(nil), packet[:espAt(t, packet)]...), sealed...)
	if err := mip6.SetPayloadLength(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// flipped is a packet with another bit.
func flipped(packet []byte, octet int) []byte {
	b := append([]byte(nil), packet...)
	b[octet] ^= 0x10
	return b
}

// suiteOf makes associations of one algorithm and AES key length, in octets.
type suiteOf struct {
	algorithm esp.Algorithm
	aes       int
}

func (s suiteOf) association(spi uint32) esp.Association {
	rest := s.algorithm.KeyLengths()[0] - 16
	return esp.Association{SPI: spi, Algorithm: s.algorithm, Key: esp.Key(strings.Repeat(string([]byte{byte(spi)}), s.aes+rest))}
}

// suites calls f for each algorithm and key length, with the policies of mobile and agent.
// Receivers of the mobile's and the agent's have anti-replay windows.
func suites(t *testing.T, f func(t *testing.T, mobile, agent esp.Policy)) {
	some := suiteOf{esp.AESCBCSHA256, 16}
	needsKernel(t, esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.AgentSide, Out: some.association(1001)})
	for _, s := range []suiteOf{{esp.AESCBCSHA256, 16}, {esp.AESCBCSHA256, 32}, {esp.AESGCM, 16}, {esp.AESGCM, 32}} {
		t.Run(fmt.Sprintf("%v-%d", s.algorithm, 8*s.aes), func(t *testing.T) {
			toAgent, toMobile := s.association(1002), s.association(1003)
			agent := esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.AgentSide, In: s.association(1000), Out: s.association(1001),
				TunnelIn: windowed(toAgent), TunnelOut: &toMobile}
			mobile := esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.MobileSide, In: *windowed(agent.Out), Out: agent.In,
				TunnelIn: windowed(toMobile), TunnelOut: &toAgent}
			agent.In = *windowed(agent.In)
			f(t, mobile, agent)
		})
	}
}

func windowed(a esp.Association) *esp.Association {
	a.Window = 64
	return &a
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
