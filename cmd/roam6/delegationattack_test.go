package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/pcap/tshark"
)

// pools is an estate with a delegating home agent and two mobile routers, both away
// and with a prefix.
func newPools(t *testing.T) (e *estate, first, second control.Delegation) {
	t.Helper()
	e = newEstate(t)
	e.start("ar", e.accessRouter())
	e.start("agent", e.homeAgent(estateAgent, fromPool, e.mobile("Bus_1", estateHome, isRouter), e.mobile("Bus_2", estateHome2, isRouter)))
	for name, home := range map[string]netip.Addr{"mr": estateHome, "mr2": estateHome2} {
		e.move(name, "ar")
		e.start(name, e.router("Bus_"+name, home, toAgent+getsPrefix))
	}
	for i, mobile := range []string{"Bus_1", "Bus_2"} {
		p := e.delegatedTo("agent", mobile)
		e.reached([]string{"mnn", "mnn2"}[i], e.addressOf([]string{"mnn", "mnn2"}[i], netip.PrefixFrom(p.Addr(), 64)))
	}
	for _, d := range e.delegations("agent") {
		if d.Mobile == "Bus_1" {
			first = d
		} else {
			second = d
		}
	}
	return e, first, second
}

// request is a message of a DHCPv6 client with one IA_PD.
type request struct {
	kind   dhcpv6.MessageType
	xid    uint32
	client string // DUID in hexadecimal
	server []byte // DUID
	iaid   uint32
	named  []netip.Prefix
}

func (q request) encode() []byte {
	m := &dhcpv6.Message{MessageType: q.kind, TransactionID: dhcpv6.TransactionID{byte(q.xid >> 16), byte(q.xid >> 8), byte(q.xid)}}
	duid, _ := hex.DecodeString(q.client)
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: duid})
	if q.server != nil {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: q.server})
	}
	if q.kind == dhcpv6.MessageTypeSolicit {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	m.AddOption(dhcpv6.OptElapsedTime(0))
	ia := &dhcpv6.OptIAPD{}
	binary.BigEndian.PutUint32(ia.IaId[:], q.iaid)
	for _, p := range q.named {
		ia.Options.Add(&dhcpv6.OptIAPrefix{Prefix: ipAddr(p).IPNet, PreferredLifetime: time.Hour, ValidLifetime: time.Hour})
	}
	m.AddOption(ia)
	return m.ToBytes()
}

// forwarded wraps a message as the relay agent in a mobile router does.
func forwarded(home netip.Addr, message []byte) []byte {
	m := dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayForward, HopCount: 1, LinkAddr: home.AsSlice(), PeerAddr: home.AsSlice()}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRelayMsg, OptionData: message})
	return m.ToBytes()
}

// packet is an IPv6 packet, and between547 a UDP datagram between the ports of relays
// and servers.
func packet(from, to netip.Addr, next byte, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(append(append(b, next, 64), from.AsSlice()...), to.AsSlice()...)
	return append(b, payload...)
}

func between547(from, to netip.Addr, message []byte) []byte {
	const port, udp, header = 547, 17, 8
	b := binary.BigEndian.AppendUint16(nil, port)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(header+len(message)))
	b = append(append(b, 0, 0), message...)
	sum := uint32(udp + len(b))
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), b} {
		for i, c := range part {
			sum += uint32(c) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[6:], ^uint16(sum))
	return b
}

// withHomeAddress puts a destination options header with a Home Address option
// before a payload (RFC 6275 §6.3).
func withHomeAddress(home netip.Addr, next byte, payload []byte) []byte {
	b := append([]byte{next, 2, 1, 2, 0, 0, 201, 16}, home.AsSlice()...)
	return append(b, payload...)
}

// inject lets a node send packets of one source as they are.
func (e *estate) inject(node string, packets ...[]byte) {
	e.Helper()
	e.must(e.tryInject(node, packets))
}

func (e *estate) tryInject(node string, packets [][]byte) error {
	return e.world.Space(node).Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1); err != nil {
			return err
		}
		for i, b := range packets {
			if i == 0 { // which way they go depends on where they are from
				if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte(b[8:24])}); err != nil {
					return err
				}
			}
			if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: [16]byte(b[24:40])}); err != nil {
				return fmt.Errorf("%s cannot send: %w", node, err)
			}
		}
		return nil
	})
}

// careOf is where a mobile is registered.
func (e *estate) careOf(router string) netip.Addr {
	e.Helper()
	u, err := e.daemons[router].client.Updates(e.Context())
	e.must(err)
	return u.Updates[0].CareOf
}

// TestForgedDelegation: nobody but a mobile itself, through its own tunnel or with
// its own care-of address, can ask for its prefixes, take them over or give them
// back (RFC 6276 §4).
//
// Covers: D2, Attack: prefix hijack.
func TestForgedDelegation(t *testing.T) {
	t.Parallel()
	const udp, ipv6, options = 17, 41, 60
	e, first, second := newPools(t)
	server := e.serverDUID()
	xid := uint32(0xbad000)
	forge := func(kind dhcpv6.MessageType, q request) []byte {
		xid++
		q.kind, q.xid = kind, xid
		if kind != dhcpv6.MessageTypeSolicit && kind != dhcpv6.MessageTypeRebind {
			q.server = server
		}
		return q.encode()
	}
	kinds := []dhcpv6.MessageType{dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeRelease}
	victim := request{client: first.Client, iaid: first.IAID, named: []netip.Prefix{first.Prefix}}
	careOf := e.careOf("mr2")
	before := fmt.Sprint(e.holders())
	for _, kind := range kinds {
		relayed := func() []byte { return between547(estateHome, estateAgent, forwarded(estateHome, forge(kind, victim))) }
		// Who has the home address only on paper.
		e.inject("cn", packet(estateHome, estateAgent, udp, relayed()))
		e.inject("cn", packet(estateCN, estateAgent, options, withHomeAddress(estateHome, udp, relayed())))
		e.inject("cn", packet(estateCN, estateAgent, ipv6, packet(estateHome, estateAgent, udp, relayed())))
		// A sender of no mobile.
		e.inject("cn", packet(estateCN, estateAgent, udp, between547(estateCN, estateAgent, forwarded(estateHome, forge(kind, victim)))))
		e.inject("mnn2", packet(e.addressOf("mnn2", netip.PrefixFrom(second.Prefix.Addr(), 64)), estateAgent, udp,
			between547(e.addressOf("mnn2", netip.PrefixFrom(second.Prefix.Addr(), 64)), estateAgent, forwarded(estateHome, forge(kind, victim)))))
		// Another mobile, by its own tunnel and care-of address.
		e.inject("mr2", packet(careOf, estateAgent, ipv6, packet(estateHome, estateAgent, udp, relayed())))
		e.inject("mr2", packet(careOf, estateAgent, options, withHomeAddress(estateHome, udp, relayed())))
		// Another mobile, with another's address or identifier inside.
		e.inject("mr2", packet(careOf, estateAgent, options, withHomeAddress(estateHome2, udp, between547(estateHome2, estateAgent, forwarded(estateHome, forge(kind, victim))))))
		e.inject("mr2", packet(careOf, estateAgent, options, withHomeAddress(estateHome2, udp, between547(estateHome2, estateAgent, forwarded(estateHome2, forge(kind, victim))))))
	}
	// The same of the mobile itself is answered: it is not the packets that are wrong.
	control := victim
	control.kind, control.xid, control.server = dhcpv6.MessageTypeRenew, 0x600d01, server
	e.inject("mr", packet(e.careOf("mr"), estateAgent, options, withHomeAddress(estateHome, udp, between547(estateHome, estateAgent, forwarded(estateHome, control.encode())))))
	e.reached("mnn", e.addressOf("mnn", netip.PrefixFrom(first.Prefix.Addr(), 64)))
	if after := fmt.Sprint(e.holders()); after != before {
		t.Errorf("delegated %s, before %s", after, before)
	}
	tshark.Need(t)
	answered := 0
	for _, row := range readings(t, e.captured(), "dhcpv6.msgtype == 2 || dhcpv6.msgtype == 7", "dhcpv6.xid", "frame.protocols") {
		for x := range strings.SplitSeq(row[0], ",") {
			if strings.HasPrefix(x, "0xbad") {
				t.Errorf("the forged message %s is answered", x)
			}
			if x == "0x600d01" {
				answered++
			}
		}
	}
	if answered == 0 {
		t.Error("the message that is not forged is not answered")
	}
}

// TestPrefixOfAnother: a mobile router that names another's prefix gets one of its
// own, or nothing; and what it has more than one of is bounded.
//
// Covers: D2, Attack: prefix hijack.
func TestPrefixOfAnother(t *testing.T) {
	t.Parallel()
	const udp, options = 17, 60
	e, first, second := newPools(t)
	server := e.serverDUID()
	careOf := e.careOf("mr2")
	inside := netip.PrefixFrom(first.Prefix.Addr(), 64)
	around := netip.PrefixFrom(first.Prefix.Addr(), 48).Masked()
	for iaid := range uint32(3) {
		for i, named := range []netip.Prefix{first.Prefix, inside, around} {
			for _, kind := range []dhcpv6.MessageType{dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRebind} {
				q := request{kind: kind, xid: 0xadd000 + iaid<<4 + uint32(i), client: second.Client, iaid: 1000 + iaid, named: []netip.Prefix{named}}
				if kind == dhcpv6.MessageTypeRequest {
					q.server = server
				}
				e.inject("mr2", packet(careOf, estateAgent, options, withHomeAddress(estateHome2, udp, between547(estateHome2, estateAgent, forwarded(estateHome2, q.encode())))))
			}
			time.Sleep(20 * time.Millisecond) // it is no flood
		}
	}
	e.reached("mnn", e.addressOf("mnn", netip.PrefixFrom(first.Prefix.Addr(), 64)))
	had := 0
	for _, d := range e.delegations("agent") {
		switch {
		case d.Mobile == "Bus_1" && d.Prefix != first.Prefix, d.Mobile != "Bus_1" && d.Prefix.Overlaps(first.Prefix):
			t.Errorf("%s has %v", d.Mobile, d.Prefix)
		case d.Mobile == "Bus_2":
			had++
		}
	}
	const most = 4
	if had < 2 || had > most {
		t.Errorf("the other mobile has %d prefixes: %v", had, e.holders())
	}
}

// TestDelegationFlood: a mobile router that solicits as fast as it can keeps no
// other from its prefix.
//
// Covers: D3.
func TestDelegationFlood(t *testing.T) {
	t.Parallel()
	const udp, options = 17, 60
	e, first, second := newPools(t)
	careOf := e.careOf("mr2")
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		sent := 0
		for ; ; sent += 100 {
			var all [][]byte
			for i := range 100 {
				q := request{kind: dhcpv6.MessageTypeSolicit, xid: uint32(sent+i) & 0xffffff, client: second.Client, iaid: uint32(sent + i)}
				all = append(all, packet(careOf, estateAgent, options, withHomeAddress(estateHome2, udp, between547(estateHome2, estateAgent, forwarded(estateHome2, q.encode())))))
			}
			select {
			case <-stop:
				stopped <- sent
				return
			case <-time.After(10 * time.Millisecond):
				if err := e.tryInject("mr2", all); err != nil {
					t.Log(err) // its queue is full
				}
			}
		}
	}()
	e.until("the flood is noticed", func() bool { return e.dropped("agent", "rate_limited") > 1000 })
	e.kill("mr")
	e.start("mr", e.router("Bus_mr", estateHome, toAgent+getsPrefix))
	e.registeredAt("mr", true)
	e.until("the other one has its prefix again", func() bool {
		a, deprecated := e.hostAddress("mr", first.Prefix)
		return a.IsValid() && !deprecated && e.renewed("mr")
	})
	e.reached("mnn", e.addressOf("mnn", netip.PrefixFrom(first.Prefix.Addr(), 64)))
	close(stop)
	t.Logf("%d solicitations, of which %d were too many", <-stopped, e.dropped("agent", "rate_limited"))
}

// holders are the delegated prefixes by mobile.
func (e *estate) holders() (list []string) {
	for _, d := range e.delegations("agent") {
		list = append(list, d.Mobile+" "+d.Prefix.String())
	}
	return list
}

// serverDUID is the identifier of the server that mr has its prefix from.
func (e *estate) serverDUID() []byte {
	e.Helper()
	for _, c := range e.leases("mr") {
		if b, err := hex.DecodeString(c.Server); err == nil && len(b) > 0 {
			return b
		}
	}
	e.Fatal("the router knows no server")
	return nil
}

func (e *estate) leases(node string) []control.LeaseClient {
	e.Helper()
	raw, err := e.daemons[node].client.Show(e.Context(), control.TopicLeases)
	e.must(err)
	d, err := control.Decode(control.TopicLeases, raw)
	e.must(err)
	return d.(control.Leases).Clients
}

// renewed reports whether a router's lease is one that its server has confirmed.
func (e *estate) renewed(node string) bool {
	e.Helper()
	l := e.leases(node)
	return len(l) == 1 && l[0].State == "bound"
}

// dropped is how many DHCPv6 messages a daemon has dropped for a reason.
func (e *estate) dropped(node, reason string) uint64 {
	s, err := e.daemons[node].client.Stats(e.Context())
	if err != nil {
		return 0
	}
	return s.DHCPDropped[reason]
}
