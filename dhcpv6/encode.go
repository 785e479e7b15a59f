package dhcpv6

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
)

// encode makes the message of an exchange as it is now: what has expired since
// the last transmission is not in it any more (RFC 8415 §15).
func (c *Client) encode(now time.Time, x *exchange) []byte {
	m := wire.Message{MessageType: x.kind, TransactionID: x.xid}
	m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionClientID, OptionData: c.config.DUID})
	if x.server != nil {
		m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionServerID, OptionData: x.server})
	}
	m.AddOption(wire.OptElapsedTime(x.elapsed(now)))
	c.addRequested(&m)
	switch x.kind {
	case wire.MessageTypeSolicit:
		if !c.config.NoRapidCommit {
			m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionRapidCommit})
		}
		c.addAssociations(&m, nil, c.hints())
	case wire.MessageTypeRequest:
		addresses, prefixes := c.current.addresses.named(), c.current.prefixes.named()
		if c.chosen != nil {
			addresses, prefixes = c.chosen.addresses, c.chosen.prefixes
		}
		c.addAssociations(&m, addresses, prefixes)
	case wire.MessageTypeRenew, wire.MessageTypeRebind:
		prefixes := c.current.prefixes.named()
		if len(prefixes) == 0 {
			prefixes = lengthsOnly(c.hints())
		}
		c.addAssociations(&m, c.current.addresses.named(), prefixes)
	case wire.MessageTypeConfirm:
		m.AddOption(c.addressAssociation(c.current.addresses.named()))
	case wire.MessageTypeRelease:
		if list := c.released.addresses.named(); len(list) > 0 {
			m.AddOption(c.addressAssociation(list))
		}
		if list := c.released.prefixes.named(); len(list) > 0 {
			m.AddOption(c.prefixAssociation(list))
		}
	case wire.MessageTypeDecline:
		m.AddOption(c.addressAssociation(c.declined))
	default: // information only
	}
	return m.ToBytes()
}

// addRequested adds the Option Request option to messages that have one: with
// SOL_MAX_RT where leases are asked for (RFC 8415 §18.2.1), with INF_MAX_RT and the
// refresh time where they are not (§18.2.6, §21.23).
func (c *Client) addRequested(m *wire.Message) {
	codes := []wire.OptionCode{wire.OptionDNSRecursiveNameServer, wire.OptionDomainSearchList}
	switch m.MessageType {
	case wire.MessageTypeSolicit, wire.MessageTypeRequest, wire.MessageTypeRenew, wire.MessageTypeRebind:
		codes = append(codes, wire.OptionSolMaxRT, wire.OptionInfMaxRT)
	case wire.MessageTypeInformationRequest:
		codes = append(codes, wire.OptionInformationRefreshTime, wire.OptionInfMaxRT)
	default:
		return
	}
	m.AddOption(wire.OptRequestedOption(codes...))
}

// addAssociations adds the associations that are wanted, all in one message
// (RFC 8415 §18.1), be it without a lease.
func (c *Client) addAssociations(m *wire.Message, addresses, prefixes []netip.Prefix) {
	if c.managed {
		m.AddOption(c.addressAssociation(addresses))
	}
	if c.config.Prefixes {
		m.AddOption(c.prefixAssociation(prefixes))
	}
}

func (c *Client) iaid() (id [4]byte) {
	binary.BigEndian.PutUint32(id[:], c.config.IAID)
	return id
}

// addressAssociation is an IA_NA option. Times and lifetimes are zero: servers
// ignore them (RFC 8415 §21.4, §21.6).
func (c *Client) addressAssociation(addresses []netip.Prefix) wire.Option {
	ia := &wire.OptIANA{IaId: c.iaid()}
	for _, a := range addresses {
		ia.Options.Add(&wire.OptIAAddress{IPv6Addr: a.Addr().AsSlice()})
	}
	return ia
}

// prefixAssociation is an IA_PD option. A prefix ::/n asks for a length.
func (c *Client) prefixAssociation(prefixes []netip.Prefix) wire.Option {
	ia := &wire.OptIAPD{IaId: c.iaid()}
	for _, p := range prefixes {
		ia.Options.Add(&wire.OptIAPrefix{Prefix: &net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), 128),
		}})
	}
	return ia
}

// hints are the prefixes to ask for: what the client had, and then what the
// configuration wants.
func (c *Client) hints() []netip.Prefix {
	var list []netip.Prefix
	for _, p := range append(c.lost[:len(c.lost):len(c.lost)], c.config.Hints...) {
		if len(list) < maxLeases && hintable(p) {
			list = append(list, p)
		}
	}
	return list
}

// hintable reports whether a prefix may be asked for: ::/0 says nothing
// (RFC 8415 §21.22).
func hintable(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is6() && !p.Addr().Is4In6() && p.Bits() > 0
}

// lengthsOnly are hints as Renew and Rebind may have them: a client must not name
// prefixes there that it has not (RFC 8415 §18.2.4).
func lengthsOnly(hints []netip.Prefix) []netip.Prefix {
	if len(hints) == 0 {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), hints[0].Bits())}
}
