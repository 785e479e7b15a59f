package trace

import (
	"fmt"
	"reflect"

	"roam6/internal/role"
	"roam6/mip6"
)

// encodeEvent is the inverse of decodeEvent.
func (c clock) encodeEvent(e role.Event) (Tagged, error) {
	name := reflect.TypeOf(e).Name()
	switch e := e.(type) {
	case role.MessageReceived:
		b, err := packetOctets(e.Packet)
		if err != nil {
			return Tagged{}, err
		}
		return tag(name, messageReceived{Link: e.Link, Packet: b, Protected: e.Protected, SPI: e.SPI})
	case role.ICMPReceived:
		b, err := icmpOctets(e.Packet)
		if err != nil {
			return Tagged{}, err
		}
		return tag(name, icmpReceived{Link: e.Link, Packet: b, Protected: e.Protected})
	case role.RouterHeard:
		return tag(name, routerHeard{Link: e.Link, Router: e.Router, RA: e.RA.Append(nil), Malformed: e.RA.Malformed})
	case role.DHCPReceived:
		return tag(name, dhcpReceived{Link: e.Link, From: e.From, To: e.To, Message: withoutAuthentication(e.Message)})
	case role.PrefixesDelegated:
		return tag(name, c.ofDelegated(e))
	default:
		return tag(name, e)
	}
}

// decodeEvent reads an event of any type.
func (c clock) decodeEvent(t Tagged) (role.Event, error) {
	switch t.Type {
	case "Timeout":
		return event(t, new(role.Timeout))
	case "LinkChanged":
		return event(t, new(role.LinkChanged))
	case "LinkGone":
		return event(t, new(role.LinkGone))
	case "RouterHeard":
		var w routerHeard
		if err := read(t, &w); err != nil {
			return nil, err
		}
		return w.event()
	case "NeighborHeard":
		return event(t, new(role.NeighborHeard))
	case "MessageReceived":
		var w messageReceived
		if err := read(t, &w); err != nil {
			return nil, err
		}
		p, err := mip6.ParsePacket(w.Packet)
		return role.MessageReceived{Link: w.Link, Packet: p, Protected: w.Protected, SPI: w.SPI}, err
	case "TunnelRefused":
		return event(t, new(role.TunnelRefused))
	case "ICMPReceived":
		var w icmpReceived
		if err := read(t, &w); err != nil {
			return nil, err
		}
		p, err := mip6.ParseICMPPacket(w.Packet)
		return role.ICMPReceived{Link: w.Link, Packet: p, Protected: w.Protected}, err
	case "PeerRefused":
		return event(t, new(role.PeerRefused))
	case "TrafficSeen":
		return event(t, new(role.TrafficSeen))
	case "TunnelSilent":
		return event(t, new(role.TunnelSilent))
	case "UnknownHomeAddress":
		return event(t, new(role.UnknownHomeAddress))
	case "RouteUnreachable":
		return event(t, new(role.RouteUnreachable))
	case "KeysChanged":
		return event(t, new(role.KeysChanged))
	case "Stop":
		return event(t, new(role.Stop))
	case "ConfigureLink":
		return event(t, new(role.ConfigureLink))
	case "DeclineAddress":
		return event(t, new(role.DeclineAddress))
	case "LeaseChanged":
		return event(t, new(role.LeaseChanged))
	case "DelegationEnded":
		return event(t, new(role.DelegationEnded))
	case "ForeignAddresses":
		return event(t, new(role.ForeignAddresses))
	case "DHCPReceived":
		var w dhcpReceived
		err := read(t, &w)
		return role.DHCPReceived{Link: w.Link, From: w.From, To: w.To, Message: w.Message}, err
	case "PrefixesDelegated":
		var w prefixesDelegated
		err := read(t, &w)
		return c.delegated(w), err
	default:
		return nil, fmt.Errorf("%w: event %.40q is unknown", ErrFormat, t.Type)
	}
}

// event reads an event that is in JSON as it is in Go, into a new one.
func event(t Tagged, into any) (role.Event, error) {
	err := read(t, into)
	e, _ := reflect.ValueOf(into).Elem().Interface().(role.Event)
	return e, err
}

// read reads the JSON of an event or action into what a pointer points to. A member that
// is unknown is an error: it might be what the decision hung on.
func read(t Tagged, into any) error {
	if err := strict(t.Data, into); err != nil {
		return fmt.Errorf("%s: %w", t.Type, err)
	}
	return nil
}

// withoutAuthentication is a DHCPv6 message in which the contents of Authentication options
// (RFC 8415 §21.11) are zero, those of messages that it relays included: a server may send
// a key in one.
func withoutAuthentication(message []byte) octets {
	out := append(octets(nil), message...)
	clearAuthentication(out)
	return out
}

func clearAuthentication(message []byte) {
	const (
		relayForward, relayReply = 12, 13 // RFC 8415 §7.3
		header, relayHeader      = 4, 34  // §8, §9
		relayed, authentication  = 9, 11  // §21.10, §21.11
	)
	skip, relays := header, len(message) > 0 && (message[0] == relayForward || message[0] == relayReply)
	if relays {
		skip = relayHeader
	}
	for b := message[min(skip, len(message)):]; len(b) >= 4; {
		kind, n := int(b[0])<<8|int(b[1]), int(b[2])<<8|int(b[3])
		b = b[4:]
		n = min(n, len(b))
		switch {
		case kind == authentication:
			clear(b[:n])
		case kind == relayed && relays:
			clearAuthentication(b[:n]) // each level has a header: it comes to an end
		}
		b = b[n:]
	}
}
