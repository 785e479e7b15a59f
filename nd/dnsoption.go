package nd

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"time"
)

// lenDNS is the content of both DNS options before the servers or domains.
const lenDNS = 6

// Bounds of domain names on the wire (RFC 1035 §3.1) and of the names in an option:
// they are short in memory only if they are few.
const (
	maxLabel   = 63
	maxDomain  = 255
	maxDomains = 128
	maxServers = (maxOptionData - lenDNS) / 16
)

// Append appends the whole option with the first 127 servers; one without servers is
// left out. The lifetime is rounded down to seconds, but not to zero.
func (d RecursiveDNS) Append(b []byte) []byte {
	servers := d.Servers[:min(len(d.Servers), maxServers)]
	if len(servers) == 0 {
		return b
	}
	b = append(b, optionDNSServers, byte(1+2*len(servers)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, leastUnits(d.Lifetime, time.Second, math.MaxUint32))
	for _, a := range servers {
		b = appendAddr(b, a)
	}
	return b
}

// parseRecursiveDNS decodes the content of a Recursive DNS Server option. An address
// that is not unicast spoils it (RFC 8106 §5.3.1).
func parseRecursiveDNS(data []byte) (RecursiveDNS, bool) {
	octets := len(data) - lenDNS
	if octets < 16 || octets%16 != 0 {
		return RecursiveDNS{}, false
	}
	d := RecursiveDNS{Lifetime: dnsLifetime(data), Servers: make([]netip.Addr, 0, octets/16)}
	for rest := data[lenDNS:]; len(rest) > 0; rest = rest[16:] {
		a := netip.AddrFrom16([16]byte(rest))
		if !isUnicast(a) {
			return RecursiveDNS{}, false
		}
		d.Servers = append(d.Servers, a)
	}
	return d, true
}

func dnsLifetime(data []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(data[2:])) * time.Second
}

// Append appends the whole option. What is no domain name is left out, and so is an
// option without names or with more than it can hold. The lifetime is rounded down
// to seconds, but not to zero.
func (d DNSSearch) Append(b []byte) []byte {
	data := binary.BigEndian.AppendUint32([]byte{0, 0}, leastUnits(d.Lifetime, time.Second, math.MaxUint32))
	for _, name := range d.Domains {
		data = appendDomain(data, name)
	}
	if len(data) == lenDNS {
		return b
	}
	return appendOption(b, optionDNSSearch, data)
}

// appendDomain appends a name as labels, without compression (RFC 8106 §5.2).
func appendDomain(b []byte, name string) []byte {
	begun := len(b)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > maxLabel || !isVisible(label) {
			return b[:begun]
		}
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0)
	if len(b)-begun > maxDomain {
		return b[:begun]
	}
	return b
}

// parseDNSSearch decodes the content of a DNS Search List option. A name that
// cannot be spoils it, and so do more names than anybody searches.
func parseDNSSearch(data []byte) (DNSSearch, bool) {
	if len(data) < lenDNS+optionUnit {
		return DNSSearch{}, false
	}
	d := DNSSearch{Lifetime: dnsLifetime(data)}
	for rest := data[lenDNS:]; len(rest) > 0 && rest[0] != 0; { // what follows is padding
		name, octets := parseDomain(rest)
		if octets == 0 || len(d.Domains) == maxDomains {
			return DNSSearch{}, false
		}
		d.Domains = append(d.Domains, name)
		rest = rest[octets:]
	}
	return d, len(d.Domains) > 0
}

// parseDomain decodes the name at the beginning of b and tells how many octets it
// takes; 0: there is none in order. A label must be of visible characters: it goes
// to logs and resolvers.
func parseDomain(b []byte) (name string, octets int) {
	var text strings.Builder
	for octets < len(b) {
		n := int(b[octets])
		octets++
		switch {
		case n == 0:
			return text.String(), octets
		case n > maxLabel || octets+n >= min(len(b), maxDomain): // the final zero follows
			return "", 0
		}
		label := string(b[octets : octets+n])
		if !isVisible(label) || strings.Contains(label, ".") {
			return "", 0
		}
		if text.Len() > 0 {
			text.WriteByte('.')
		}
		text.WriteString(label)
		octets += n
	}
	return "", 0
}

// isVisible reports whether s consists of visible ASCII characters.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// isDomain reports whether name, without the final dot, is one that hosts have.
func isDomain(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return !strings.HasSuffix(name, ".") && len(appendDomain(nil, name)) > 0
}

// appendCaptivePortal appends a Captive-Portal option (RFC 8910 §2.3), if there is
// something that it can hold.
func appendCaptivePortal(b []byte, uri string) []byte {
	if !isVisible(uri) {
		return b
	}
	return appendOption(b, optionCaptivePortal, []byte(uri))
}

// parseCaptivePortal decodes the content of a Captive-Portal option: the URI, with
// or without zeroes behind it.
func parseCaptivePortal(data []byte) (string, bool) {
	uri, _, _ := strings.Cut(string(data), "\x00")
	return uri, uri != "" && isVisible(uri)
}
