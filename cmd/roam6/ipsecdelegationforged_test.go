package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/esp"
	"roam6/internal/pcap/tshark"
	"roam6/mip6"
)

// secureEstate is what newPools is, with IPsec in place of the key of each mobile
// router, and their policies as the home agent has them.
func secureEstate(t *testing.T) (e *estate, first, second control.Delegation, policies [2]esp.Policy) {
	t.Helper()
	e = newEstate(t)
	homes, names, routers := []netip.Addr{estateHome, estateHome2}, []string{"Bus_1", "Bus_2"}, []string{"mr", "mr2"}
	keys := func(i int) string {
		s := fmt.Sprintf("config ipsec\n\toption home_address '%v'\n\toption home_agent '%v'\n", homes[i], estateAgent)
		for j, way := range []string{"agent", "mobile"} {
			spi := 1000 + 10*i + j
			s += fmt.Sprintf("\toption spi_to_%s '%d'\n\toption key_to_%s '%s'\n", way, spi, way, strings.Repeat(fmt.Sprintf("%08x", 0x9e3779b9*uint32(spi)), 12))
		}
		return s
	}
	keyless := strings.NewReplacer("\toption key '"+estateKey+"'\n", "")
	sections := keyless.Replace(e.homeAgent(estateAgent, fromPool, e.mobile(names[0], homes[0], isRouter), e.mobile(names[1], homes[1], isRouter))) + keys(0) + keys(1)
	c, err := config.Parse("agent", []byte(e.text("agent", sections)))
	e.must(err)
	e.start("ar", e.accessRouter())
	e.start("agent", sections)
	for i, name := range routers {
		policies[i] = *c.Mobiles[i].ESP
		e.move(name, "ar")
		e.start(name, keyless.Replace(e.router(names[i], homes[i], toAgent+getsPrefix))+keys(i))
	}
	for i, behind := range []string{"mnn", "mnn2"} {
		p := e.delegatedTo("agent", names[i])
		e.reached(behind, e.addressOf(behind, netip.PrefixFrom(p.Addr(), 64)))
	}
	for _, d := range e.delegations("agent") {
		if d.Mobile == names[0] {
			first = d
		} else {
			second = d
		}
	}
	return e, first, second, policies
}

// sealDatagram puts a datagram in ESP behind the headers of Mobile IPv6, by an
// association, whoever's it is.
func (e *estate) sealDatagram(a esp.Association, from, to, option, route netip.Addr, next uint8, payload []byte) []byte {
	e.Helper()
	a.Window = 0
	out, err := esp.NewOutbound(a, func(b []byte) { copy(b, "a vector of sorts") })
	e.must(err)
	b, err := mip6.AppendHomeHeaders(nil, from, to, option, route, mip6.ProtocolESP)
	if err == nil {
		b, err = out.Seal(b, next, payload)
	}
	if err == nil {
		err = mip6.SetPayloadLength(b)
	}
	e.must(err)
	return b
}

// tally is what a daemon has dropped: of packets, DHCPv6 messages and signalling.
func (e *estate) tally(node string, counter string) uint64 {
	e.Helper()
	s, err := e.daemons[node].client.Stats(context.Background())
	e.must(err)
	kind, reason, _ := strings.Cut(counter, " ")
	return map[string]map[string]uint64{"packets": s.PacketsDropped, "dhcp": s.DHCPDropped, "messages": s.MessagesDropped}[kind][reason]
}

// TestForgedDelegationUnderIPsec: with IPsec nobody gets an answer who has not the keys
// of the mobile router, whatever addresses he has, not from its own care-of address, and
// not from within its network either; nor one who has the keys and is elsewhere, or
// sends something else by them. All of it is dropped and counted by reason, and the
// prefixes stay where they are (RFC 6276 §4). So it is with answers at the router.
//
// Covers: D2, H1, Attack: prefix hijack, Attack: forged answers.
func TestForgedDelegationUnderIPsec(t *testing.T) {
	t.Parallel()
	const udp, ipv6, options, routing, tcp = 17, 41, 60, 43, 6
	e, first, _, policies := secureEstate(t)
	server := e.serverDUID()
	careOf, careOf2 := e.careOf("mr"), e.careOf("mr2")
	xid := uint32(0xbad000)
	none := netip.Addr{}
	victim := request{client: first.Client, iaid: first.IAID, named: []netip.Prefix{first.Prefix}}
	message := func(kind dhcpv6.MessageType) []byte {
		xid++
		q := victim
		q.kind, q.xid = kind, xid
		if kind != dhcpv6.MessageTypeSolicit && kind != dhcpv6.MessageTypeRebind {
			q.server = server
		}
		return between547(estateHome, estateAgent, forwarded(estateHome, q.encode()))
	}
	wrong := func(a esp.Association) esp.Association {
		key := []byte(a.Key)
		key[len(key)-1] ^= 1
		a.Key = esp.Key(key)
		return a
	}
	answer := uint32(0xfa0000)
	back := func() []byte {
		answer++
		m := dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayReply, HopCount: 1, LinkAddr: estateHome.AsSlice(), PeerAddr: estateHome.AsSlice()}
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRelayMsg, OptionData: request{kind: dhcpv6.MessageTypeReply, xid: answer, client: first.Client, server: server, iaid: first.IAID}.encode()})
		return between547(estateAgent, estateHome, m.ToBytes())
	}
	withRoute := func(payload []byte) []byte {
		return append(append([]byte{udp, 2, 2, 1, 0, 0, 0, 0}, estateHome.AsSlice()...), payload...)
	}
	ofMobile, ofOther := policies[0].In, policies[1].In
	before := fmt.Sprint(e.holders())
	kinds := []dhcpv6.MessageType{dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeRelease}
	for _, c := range []struct {
		name    string
		from    string
		packet  func(dhcpv6.MessageType) []byte
		at      string
		counter string
	}{
		{"from the router itself, with the option", "mr",
			func(k dhcpv6.MessageType) []byte {
				return packet(careOf, estateAgent, options, withHomeAddress(estateHome, udp, message(k)))
			}, "agent", "packets unprotected"},
		{"from the router itself, through the tunnel", "mr",
			func(k dhcpv6.MessageType) []byte {
				return packet(careOf, estateAgent, ipv6, packet(estateHome, estateAgent, udp, message(k)))
			}, "agent", "packets unprotected"},
		{"from anywhere, with the home address", "cn",
			func(k dhcpv6.MessageType) []byte { return packet(estateHome, estateAgent, udp, message(k)) }, "agent", "dhcp unauthenticated"},
		{"from the home link, with the home address", "agent2",
			func(k dhcpv6.MessageType) []byte { return packet(estateHome, estateAgent, udp, message(k)) }, "agent", "dhcp unauthenticated"},
		{"from the router's network, with the home address", "mnn",
			func(k dhcpv6.MessageType) []byte { return packet(estateHome, estateAgent, udp, message(k)) }, "mr", "packets unprotected"},
		{"by another router's key", "mr2",
			func(k dhcpv6.MessageType) []byte {
				return e.sealDatagram(ofOther, careOf2, estateAgent, estateHome, none, udp, message(k))
			}, "agent", "messages prohibited"},
		{"by a wrong key", "mr",
			func(k dhcpv6.MessageType) []byte {
				return e.sealDatagram(wrong(ofMobile), careOf, estateAgent, estateHome, none, udp, message(k))
			}, "agent", "messages bad_authenticator"},
		{"by the right key from elsewhere", "mr2",
			func(k dhcpv6.MessageType) []byte {
				return e.sealDatagram(ofMobile, careOf2, estateAgent, estateHome, none, udp, message(k))
			}, "agent", "packets outer_source"},
		{"by the right key, by another protocol", "mr",
			func(k dhcpv6.MessageType) []byte {
				return e.sealDatagram(ofMobile, careOf, estateAgent, estateHome, none, tcp, message(k))
			}, "agent", "messages prohibited"},
		{"by the right key, damaged before", "mr",
			func(k dhcpv6.MessageType) []byte {
				b := message(k)
				b[len(b)-1] ^= 1
				return e.sealDatagram(ofMobile, careOf, estateAgent, estateHome, none, udp, b)
			}, "agent", "dhcp checksum"},
		{"an answer with a routing header", "agent",
			func(dhcpv6.MessageType) []byte { return packet(estateAgent, careOf, routing, withRoute(back())) }, "mr", "packets unprotected"},
		{"an answer through the tunnel", "agent",
			func(dhcpv6.MessageType) []byte {
				return packet(estateAgent, careOf, ipv6, packet(estateAgent, estateHome, udp, back()))
			}, "mr", "packets unprotected"},
		{"an answer by a wrong key", "agent",
			func(dhcpv6.MessageType) []byte {
				return e.sealDatagram(wrong(policies[0].Out), estateAgent, careOf, none, estateHome, udp, back())
			}, "mr", "messages bad_authenticator"},
		{"an answer without the home address", "agent",
			func(dhcpv6.MessageType) []byte {
				return e.sealDatagram(policies[0].Out, estateAgent, careOf, none, none, udp, back())
			}, "mr", "messages prohibited"},
	} {
		earlier := e.tally(c.at, c.counter)
		for _, kind := range kinds {
			e.inject(c.from, c.packet(kind))
		}
		e.until(c.name+": it is counted", func() bool { return e.tally(c.at, c.counter) >= earlier+uint64(len(kinds)) })
	}
	// The same by the right key from the right place is answered: it is not the messages
	// that are wrong.
	good := victim
	good.kind, good.xid, good.server = dhcpv6.MessageTypeRenew, 0x600d01, server
	e.inject("mr", e.sealDatagram(ofMobile, careOf, estateAgent, estateHome, none, udp, between547(estateHome, estateAgent, forwarded(estateHome, good.encode()))))
	e.reached("mnn", e.addressOf("mnn", netip.PrefixFrom(first.Prefix.Addr(), 64)))
	if after := fmt.Sprint(e.holders()); after != before {
		t.Errorf("delegated %s, before %s", after, before)
	}
	for _, router := range []string{"mr", "mr2"} {
		e.registeredAt(router, true)
		if !e.renewed(router) {
			t.Errorf("%s has lost its lease: %+v", router, e.leases(router))
		}
	}
	tshark.Need(t)
	capture := e.captured()
	answers := map[string]int{}
	for _, keys := range [][]string{nil, append(decryption(policies[0]), decryption(policies[1])[4:]...)} {
		for _, row := range readingsWith(t, keys, capture, "dhcpv6.msgtype == 2 || dhcpv6.msgtype == 7", "dhcpv6.xid", "frame.protocols") {
			for x := range strings.SplitSeq(row[0], ",") {
				answers[fmt.Sprintf("%s, keys %t", x, keys != nil)]++
				if strings.HasPrefix(x, "0xbad") {
					t.Errorf("the forged message %s is answered: %v", x, row)
				}
			}
		}
	}
	if answers["0x600d01, keys true"] == 0 || answers["0x600d01, keys false"] != 0 {
		t.Errorf("the message that is not forged is not answered in ESP: %v", answers)
	}
}
