package dhcpv6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"roam6/mip6"
)

// Bounds of what is read of a message.
const (
	maxOption  = 0xffff // octets of an option
	maxOptions = 128    // options in a message, or in another option
	maxDUID    = 130    // octets, type included (RFC 8415 §11.1)
	minDUID    = 3
	maxServers = 8    // addresses of DNS servers
	maxDomains = 16   // of the search list
	maxNames   = 2048 // octets of the search list
	maxName    = 253  // characters of a domain name (RFC 1035 §2.3.4)
)

// Errors of received messages.
var (
	// ErrTooManyOptions is about a message that has more options than any server
	// needs.
	ErrTooManyOptions = errors.New("too many options")
	// ErrOptionLength is about an option that is shorter than its fields, or not as
	// long as it has to be.
	ErrOptionLength = errors.New("wrong length of an option")
)

// message is what a client wants to know of a server's message. Its octets are
// its own, apart from the sender's identifiers, which alias the datagram.
type message struct {
	kind           wire.MessageType
	xid            wire.TransactionID
	client, server []byte // DUIDs; nil when absent
	status         iana.StatusCode
	preference     uint8
	rapid          bool
	// solMaxRT and infMaxRT are zero when absent, or out of range (RFC 8415 §21.24,
	// §21.25).
	solMaxRT, infMaxRT time.Duration
	refresh            time.Duration // §21.23; IRT_DEFAULT when absent
	addresses          iaOption
	prefixes           iaOption
	dns                []netip.Addr
	domains            []string
}

// iaOption is an identity association in a message.
type iaOption struct {
	present bool
	t1, t2  time.Duration // mip6.InfiniteLifetime for ever
	status  iana.StatusCode
	leases  []offer
}

// offer is an address or a prefix in a message.
type offer struct {
	prefix           netip.Prefix
	preferred, valid time.Duration
	status           iana.StatusCode
}

// walked stands for an option that was handled: the codec keeps a list.
var walked = &wire.OptionGeneric{}

// walk calls f with each option. The codec's own decoder is not used for received
// messages, since it descends into nested options as deep as the sender likes,
// and expands compressed names without a bound.
func walk(options []byte, f func(wire.OptionCode, []byte) error) error {
	var list wire.Options
	n := 0
	return list.FromBytesWithParser(options, func(code wire.OptionCode, data []byte) (wire.Option, error) {
		if n++; n > maxOptions {
			return nil, ErrTooManyOptions
		}
		return walked, f(code, data)
	})
}

// decode reads a message of a server. Associations other than those named by iaid
// are left out, and so are unknown options (RFC 8415 §16).
func decode(octets []byte, iaid uint32) (message, error) {
	m := message{refresh: informationRefreshDefault}
	if len(octets) < wire.MessageHeaderSize {
		return m, fmt.Errorf("message of %d octets: %w", len(octets), ErrOptionLength)
	}
	m.kind = wire.MessageType(octets[0])
	copy(m.xid[:], octets[1:])
	err := walk(octets[wire.MessageHeaderSize:], func(code wire.OptionCode, data []byte) error {
		return m.option(code, data, iaid)
	})
	return m, err
}

func (m *message) option(code wire.OptionCode, data []byte, iaid uint32) error {
	var err error
	switch code {
	case wire.OptionClientID:
		m.client, err = duid(data)
	case wire.OptionServerID:
		m.server, err = duid(data)
	case wire.OptionStatusCode:
		m.status, err = statusCode(data)
	case wire.OptionPreference:
		if len(data) != 1 {
			return badLength(code, data)
		}
		m.preference = data[0]
	case wire.OptionRapidCommit:
		m.rapid = true
	case wire.OptionSolMaxRT:
		m.solMaxRT, err = maxRT(code, data)
	case wire.OptionInfMaxRT:
		m.infMaxRT, err = maxRT(code, data)
	case wire.OptionInformationRefreshTime:
		m.refresh, err = seconds(code, data)
	case wire.OptionIANA:
		err = m.addresses.decode(code, data, iaid)
	case wire.OptionIAPD:
		err = m.prefixes.decode(code, data, iaid)
	case wire.OptionDNSRecursiveNameServer:
		m.dns, err = nameServers(data)
	case wire.OptionDomainSearchList:
		m.domains = searchList(data)
	default: // not for us, or unknown
	}
	return err
}

func badLength(code wire.OptionCode, data []byte) error {
	return fmt.Errorf("option %d of %d octets: %w", code, len(data), ErrOptionLength)
}

func duid(data []byte) ([]byte, error) {
	if len(data) < minDUID || len(data) > maxDUID {
		return nil, fmt.Errorf("identifier of %d octets: %w", len(data), ErrOptionLength)
	}
	return data, nil
}

func statusCode(data []byte) (iana.StatusCode, error) {
	if len(data) < 2 {
		return 0, badLength(wire.OptionStatusCode, data)
	}
	return iana.StatusCode(binary.BigEndian.Uint16(data)), nil
}

func seconds(code wire.OptionCode, data []byte) (time.Duration, error) {
	if len(data) != 4 {
		return 0, badLength(code, data)
	}
	return lifetime(data), nil
}

// lifetime reads seconds; all ones are mip6.InfiniteLifetime (RFC 8415 §7.7).
func lifetime(data []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(data)) * time.Second
}

// maxRT reads SOL_MAX_RT or INF_MAX_RT; zero when out of range.
func maxRT(code wire.OptionCode, data []byte) (time.Duration, error) {
	d, err := seconds(code, data)
	if d < 60*time.Second || d > 86400*time.Second {
		d = 0
	}
	return d, err
}

// decode reads an association; the first one with our identifier counts.
func (ia *iaOption) decode(code wire.OptionCode, data []byte, iaid uint32) error {
	const fields = 12
	if len(data) < fields {
		return badLength(code, data)
	}
	if ia.present || binary.BigEndian.Uint32(data) != iaid {
		return nil
	}
	*ia = iaOption{present: true, t1: lifetime(data[4:]), t2: lifetime(data[8:])}
	if ia.t1 > ia.t2 && ia.t2 > 0 {
		*ia = iaOption{} // as though it was not there (RFC 8415 §21.4, §21.21)
		return nil
	}
	return walk(data[fields:], func(inner wire.OptionCode, data []byte) error {
		var o offer
		var err error
		switch {
		case inner == wire.OptionStatusCode:
			ia.status, err = statusCode(data)
			return err
		case inner == wire.OptionIAAddr && code == wire.OptionIANA:
			o, err = decodeAddress(data)
		case inner == wire.OptionIAPrefix && code == wire.OptionIAPD:
			o, err = decodePrefix(data)
		default:
			return nil
		}
		ia.leases = append(ia.leases, o)
		return err
	})
}

func decodeAddress(data []byte) (offer, error) {
	const fields = 24
	if len(data) < fields {
		return offer{}, badLength(wire.OptionIAAddr, data)
	}
	o := offer{
		prefix:    netip.PrefixFrom(netip.AddrFrom16([16]byte(data)), 128),
		preferred: lifetime(data[16:]),
		valid:     lifetime(data[20:]),
	}
	return o, o.options(data[fields:])
}

// decodePrefix reads a prefix, which is not valid if its length is not.
func decodePrefix(data []byte) (offer, error) {
	const fields = 25
	if len(data) < fields {
		return offer{}, badLength(wire.OptionIAPrefix, data)
	}
	o := offer{
		prefix:    netip.PrefixFrom(netip.AddrFrom16([16]byte(data[9:])), int(data[8])).Masked(),
		preferred: lifetime(data),
		valid:     lifetime(data[4:]),
	}
	return o, o.options(data[fields:])
}

func (o *offer) options(data []byte) error {
	return walk(data, func(code wire.OptionCode, data []byte) (err error) {
		if code == wire.OptionStatusCode {
			o.status, err = statusCode(data)
		}
		return err
	})
}

// nameServers reads the addresses of DNS servers (RFC 3646 §3): those that can be
// one, and not more than maxServers.
func nameServers(data []byte) ([]netip.Addr, error) {
	if len(data)%16 != 0 {
		return nil, badLength(wire.OptionDNSRecursiveNameServer, data)
	}
	var list []netip.Addr
	for ; len(data) > 0 && len(list) < maxServers; data = data[16:] {
		a := netip.AddrFrom16([16]byte(data))
		if !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.Is4In6() {
			list = append(list, a)
		}
	}
	return list, nil
}

// searchList reads the domain search list (RFC 3646 §4). Names end up in files of
// resolvers, so there is none of a name that is more than letters, digits, hyphens
// and underscores, and none of a list that is compressed, which RFC 8415 §10
// forbids.
func searchList(data []byte) []string {
	if len(data) > maxNames || compressed(data) {
		return nil
	}
	labels, err := rfc1035label.FromBytes(data)
	if err != nil {
		return nil
	}
	var list []string
	for _, name := range labels.Labels {
		if len(list) < maxDomains && plain(name) {
			list = append(list, name)
		}
	}
	return list
}

// compressed reports whether a length in a sequence of names is not one of a
// label (RFC 1035 §4.1.4).
func compressed(data []byte) bool {
	for i := 0; i < len(data); i += 1 + int(data[i]) {
		if data[i]&0xc0 != 0 {
			return true
		}
	}
	return false
}

func plain(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	}) < 0
}

// infinite reports whether a lifetime or time is for ever.
func infinite(d time.Duration) bool { return d >= mip6.InfiniteLifetime }
