package dhcpv6

import (
	"errors"
	"fmt"
	"net/netip"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
)

// Errors of the co-located relay.
var (
	ErrHomeAddress = errors.New("not an IPv6 address that can be relayed for")
	ErrNotReply    = errors.New("not a Relay-reply message")
	ErrNoMessage   = errors.New("no message inside")
	ErrTooLong     = errors.New("too long for the Relay Message option")
)

// relayHops is the hop-count of the co-located relay (RFC 6276 §3.1.2).
const relayHops = 1

// RelayForward wraps a client's message as the relay agent in a mobile router
// does (RFC 6276 §3.1.2): the result goes by unicast from the home address to the
// home agent's port of servers. The errors are ErrHomeAddress, ErrNoMessage and
// ErrTooLong.
func RelayForward(home netip.Addr, message []byte) ([]byte, error) {
	if !home.Is6() || home.Is4In6() || home.Zone() != "" || home.IsUnspecified() || home.IsMulticast() {
		return nil, fmt.Errorf("relaying for %v: %w", home, ErrHomeAddress)
	}
	switch {
	case len(message) == 0:
		return nil, fmt.Errorf("relaying: %w", ErrNoMessage)
	case len(message) > maxOption:
		return nil, fmt.Errorf("relaying %d octets: %w", len(message), ErrTooLong)
	}
	relay := wire.RelayMessage{
		MessageType: wire.MessageTypeRelayForward,
		HopCount:    relayHops,
		LinkAddr:    home.AsSlice(),
		PeerAddr:    home.AsSlice(),
	}
	// The message is put in as it is: nothing of it is the relay's business.
	relay.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionRelayMsg, OptionData: message})
	return relay.ToBytes(), nil
}

// RelayedReply is the message for the client in a Relay-reply (RFC 6276 §3.1.3).
// The errors are ErrNotReply and ErrNoMessage, and those of malformed options.
func RelayedReply(message []byte) ([]byte, error) {
	if len(message) < wire.RelayHeaderSize || wire.MessageType(message[0]) != wire.MessageTypeRelayReply {
		return nil, fmt.Errorf("relayed reply: %w", ErrNotReply)
	}
	var inner []byte
	err := walk(message[wire.RelayHeaderSize:], func(code wire.OptionCode, data []byte) error {
		if code == wire.OptionRelayMsg && inner == nil {
			inner = data
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("relayed reply: %w", err)
	}
	if len(inner) == 0 {
		return nil, fmt.Errorf("relayed reply: %w", ErrNoMessage)
	}
	return inner, nil
}
