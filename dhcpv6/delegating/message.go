package delegating

import (
	"errors"
	"net"
	"net/netip"

	codec "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Bounds on what is read: a mobile router's messages are some hundred octets.
const (
	maxMessage = 4096
	maxIAs     = 16 // in one message
)

var errMalformed = errors.New("malformed DHCPv6 message")

// message is a client's or a server's (RFC 8415 §8).
type message struct {
	kind        codec.MessageType
	transaction codec.TransactionID
	// client and server are DUIDs, nil when not there.
	client, server []byte
	rapid          bool
	prefixes       []*codec.OptIAPD
	addresses      []address
}

// address is an identity association for addresses: IA_NA or IA_TA.
type address struct {
	kind codec.OptionCode
	iaid [4]byte
}

// envelope is a relay agent's message (RFC 8415 §9). Its slices are parts of what
// was read.
type envelope struct {
	kind          codec.MessageType
	hops          uint8
	link, peer    netip.Addr
	interfaceID   codec.Option // nil when not there
	message       []byte
	encapsulating bool // the message is a relay agent's, too
}

// isRelay reports whether a message is a relay agent's.
func isRelay(b []byte) bool {
	kind := codec.MessageType(b[0])
	return kind == codec.MessageTypeRelayForward || kind == codec.MessageTypeRelayReply
}

// split takes an options field apart. Only what is used is decoded: the codec
// gives up a message for a mistake in any option.
func split(b []byte) (codec.Options, error) {
	var options codec.Options
	err := options.FromBytesWithParser(b, func(code codec.OptionCode, data []byte) (codec.Option, error) {
		switch code {
		case codec.OptionIAPD, codec.OptionIANA, codec.OptionIATA:
			return association(code, data)
		default:
			return &codec.OptionGeneric{OptionCode: code, OptionData: data}, nil
		}
	})
	if err != nil {
		return nil, errMalformed
	}
	return options, nil
}

// association reads an identity association. The codec would descend into nested
// options as deep as the sender likes, and expand compressed names in them without
// a bound: of what is inside, only prefixes and a status are decoded.
func association(code codec.OptionCode, data []byte) (codec.Option, error) {
	const identifier, header = 4, 12 // octets: IAID; IAID, T1, T2
	switch {
	case code == codec.OptionIATA && len(data) >= identifier:
		return &codec.OptIATA{IaId: [4]byte(data)}, nil
	case code == codec.OptionIANA && len(data) >= header:
		return &codec.OptIANA{IaId: [4]byte(data)}, nil
	case code != codec.OptionIAPD || len(data) < header:
		return nil, errMalformed
	}
	var ia codec.OptIAPD
	if err := ia.FromBytes(data[:header]); err != nil {
		return nil, err
	}
	err := ia.Options.FromBytesWithParser(data[header:], func(code codec.OptionCode, data []byte) (codec.Option, error) {
		const fixed = 25 // octets of a prefix without the options behind it
		switch {
		case code == codec.OptionStatusCode:
			return codec.ParseOption(code, data)
		case code == codec.OptionIAPrefix && len(data) >= fixed:
			p := &codec.OptIAPrefix{}
			return p, p.FromBytes(data[:fixed])
		case code == codec.OptionIAPrefix:
			return nil, errMalformed
		default:
			return &codec.OptionGeneric{OptionCode: code, OptionData: data}, nil
		}
	})
	return &ia, err
}

// readMessage reads a message that is not a relay agent's.
func readMessage(b []byte) (message, error) {
	const header = 4
	if len(b) < header || len(b) > maxMessage || isRelay(b) {
		return message{}, errMalformed
	}
	m := message{kind: codec.MessageType(b[0]), transaction: codec.TransactionID(b[1:header])}
	options, err := split(b[header:])
	if err != nil {
		return message{}, err
	}
	for _, o := range options {
		switch o := o.(type) {
		case *codec.OptIAPD:
			m.prefixes = append(m.prefixes, o)
		case *codec.OptIANA:
			m.addresses = append(m.addresses, address{codec.OptionIANA, o.IaId})
		case *codec.OptIATA:
			m.addresses = append(m.addresses, address{codec.OptionIATA, o.IaId})
		case *codec.OptionGeneric:
			switch o.OptionCode {
			case codec.OptionClientID:
				m.client = o.OptionData
			case codec.OptionServerID:
				m.server = o.OptionData
			case codec.OptionRapidCommit:
				m.rapid = true
			}
		}
	}
	if m.client != nil && !validDUID(m.client) || len(m.prefixes)+len(m.addresses) > maxIAs || repeated(m.prefixes) {
		return message{}, errMalformed
	}
	return m, nil
}

// repeated reports whether an IAID is there twice (RFC 8415 §21.21).
func repeated(ias []*codec.OptIAPD) bool {
	seen := make(map[[4]byte]bool, len(ias))
	for _, ia := range ias {
		if seen[ia.IaId] {
			return true
		}
		seen[ia.IaId] = true
	}
	return false
}

// readEnvelope reads a relay agent's message.
func readEnvelope(b []byte) (envelope, error) {
	if len(b) < codec.RelayHeaderSize || len(b) > maxMessage || !isRelay(b) {
		return envelope{}, errMalformed
	}
	e := envelope{
		kind: codec.MessageType(b[0]), hops: b[1],
		link: netip.AddrFrom16([16]byte(b[2:18])), peer: netip.AddrFrom16([16]byte(b[18:34])),
	}
	options, err := split(b[codec.RelayHeaderSize:])
	if err != nil {
		return envelope{}, err
	}
	for _, o := range options {
		o, generic := o.(*codec.OptionGeneric)
		switch {
		case !generic:
		case o.OptionCode == codec.OptionRelayMsg && e.message == nil:
			e.message = o.OptionData
		case o.OptionCode == codec.OptionInterfaceID:
			e.interfaceID = o
		}
	}
	if len(e.message) == 0 {
		return envelope{}, errMalformed
	}
	e.encapsulating = isRelay(e.message)
	return e, nil
}

// encode is the opposite of readEnvelope.
func (e envelope) encode() []byte {
	m := codec.RelayMessage{MessageType: e.kind, HopCount: e.hops, LinkAddr: e.link.AsSlice(), PeerAddr: e.peer.AsSlice()}
	if e.interfaceID != nil {
		m.AddOption(e.interfaceID)
	}
	m.AddOption(&codec.OptionGeneric{OptionCode: codec.OptionRelayMsg, OptionData: e.message})
	return m.ToBytes()
}

// wanted is what a client's IA Prefix options ask for: certain prefixes, or, with
// the unspecified address, only a length (RFC 8415 §21.22). A length is zero when
// there is none.
func wanted(ia *codec.OptIAPD) (prefixes []netip.Prefix, length int) {
	for _, o := range ia.Options.Prefixes() {
		p, ok := prefixOf(o.Prefix)
		switch {
		case !ok:
		case p.Addr().IsUnspecified():
			length = p.Bits()
		default:
			prefixes = append(prefixes, p)
		}
	}
	return prefixes, length
}

// prefixOf converts a prefix of the codec, whose mask is empty when its length is
// not possible.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	length, bits := n.Mask.Size()
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok || bits != 128 || a.Is4() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, length).Masked(), length > 0
}

func netOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}
}

func clientID(duid []byte) codec.Option {
	return &codec.OptionGeneric{OptionCode: codec.OptionClientID, OptionData: duid}
}

func serverID(duid []byte) codec.Option {
	return &codec.OptionGeneric{OptionCode: codec.OptionServerID, OptionData: duid}
}

func status(code iana.StatusCode, text string) codec.Option {
	return &codec.OptStatusCode{StatusCode: code, StatusMessage: text}
}

// without is an identity association for addresses that has none, and why.
func (a address) without(why codec.Option) codec.Option {
	options := codec.IdentityOptions{Options: codec.Options{why}}
	if a.kind == codec.OptionIATA {
		return &codec.OptIATA{IaId: a.iaid, Options: options}
	}
	return &codec.OptIANA{IaId: a.iaid, Options: options}
}
