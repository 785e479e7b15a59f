package radvdconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// leftOut notes that a block was not carried over.
func (l *link) leftOut(what string, h Head, why string) {
	l.dropped.Note(h.Position, "%s: left out: %s", what, why)
}

// farewell carries over an option about what hosts are told in the end.
func (l *link) farewell(s *section, name string, v Setting[bool]) {
	if silent := l.RemoveAdvOnExit; v.Value && silent.Given && !silent.Value {
		s.Harmless(v.Position, "%s: left out, because with RemoveAdvOnExit off nothing is told", name)
		return
	}
	s.flag(name, v)
}

// interval returns the lifetime that radvd takes where none is given: times the
// interval that it knows at the place.
func (l *link) interval(s *section, option string, h Head, times time.Duration) uint32 {
	seconds := uint32(min(times*h.Interval/time.Second, Infinity))
	if final := l.MaxRtrAdvInterval.or(defaultMaxInterval); h.Interval != final {
		s.Note(h.Position, "%s %d: radvd computes it from %v, because MaxRtrAdvInterval %v comes behind in the file: was that meant?", option, seconds, h.Interval, final)
	} else {
		s.Remark(h.Position, "%s %d is what radvd takes where none is given", option, seconds)
	}
	return seconds
}

// dnsLifetime writes the lifetime of DNS servers or domains, which is 0 or at
// least the longest interval.
func (l *link) dnsLifetime(s *section, option string, h Head, v Setting[uint32]) {
	value, at := v.Value, v.Position
	if !v.Given {
		value, at = l.interval(s, option, h, 1), h.Position
	}
	least := uint32((l.longest + time.Second - 1) / time.Second)
	switch {
	case v.Given && value == 0 || value >= least:
	case v.Given || h.Interval < l.longest:
		s.Note(at, "%s %d: %d was written, because it has to be at least MaxRtrAdvInterval", option, value, least)
		value = least
	default:
		s.Remark(at, "%s %d was rounded up, because it has to be at least MaxRtrAdvInterval", option, value)
		value = least
	}
	s.seconds(option, value)
}

// special says what addresses a prefix includes that nobody may advertise, or
// nothing.
func special(p netip.Prefix) string {
	for _, x := range []struct{ prefix, name string }{
		{"ff00::/8", "multicast"}, {"fe80::/10", "link-local"}, {"::ffff:0:0/96", "IPv4-mapped"}, {"::/127", "the unspecified and the loopback"},
	} {
		if p.Overlaps(netip.MustParsePrefix(x.prefix)) {
			return "it includes " + x.name + " addresses"
		}
	}
	return ""
}

func (l *link) routes() (sections []translation.Section) {
	seen := map[netip.Prefix]bool{}
	for _, x := range l.Routes {
		masked := x.Prefix.Masked()
		if why := special(masked); why != "" && masked.Bits() > 0 {
			l.leftOut("route "+x.Prefix.String(), x.Head, why)
			continue
		}
		if seen[masked] {
			l.leftOut("route "+x.Prefix.String(), x.Head, "the interface has a route to the prefix already")
			continue
		}
		seen[masked] = true
		s := l.section("route")
		if masked != x.Prefix {
			s.Remark(x.Position, "route %v: written without the bits beyond its length, which nobody reads", x.Prefix)
		}
		s.List("prefix", masked.String())
		lifetime := x.AdvRouteLifetime.Value
		if !x.AdvRouteLifetime.Given {
			lifetime = l.interval(s, "AdvRouteLifetime", x.Head, 3)
		}
		s.seconds("AdvRouteLifetime", lifetime)
		if v := x.AdvRoutePreference; v.Given {
			s.Set("AdvRoutePreference", preferenceWord(v.Value))
		}
		l.farewell(s, "RemoveRoute", x.RemoveRoute)
		sections = append(sections, s.Section)
	}
	return sections
}

// reachable reports whether hosts of a link can reach an address.
func reachable(a netip.Addr) bool {
	return !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// The longest option that roam6 sends, so that it fits into a packet of the least
// MTU with the header and the link-layer address, and what of it is not servers or
// domains.
const (
	maxOption    = 1280 - 40 - 16 - 8
	lenDNSHeader = 8
	lenServer    = 16
)

func (l *link) rdnss() (sections []translation.Section) {
	seen := map[netip.Addr]bool{}
	for _, x := range l.RDNSS {
		s := l.section("rdnss")
		var servers []string
		for _, a := range x.Servers {
			switch {
			case !reachable(a):
				s.Note(x.Position, "RDNSS %v: left out, because it is no unicast address of a server", a)
			case seen[a]:
				s.Note(x.Position, "RDNSS %v: left out, because the interface has the server already", a)
			default:
				seen[a] = true
				servers = append(servers, a.String())
			}
		}
		if len(servers) == 0 {
			l.dropped.Comments = append(l.dropped.Comments, s.Comments...)
			continue
		}
		l.dnsLifetime(s, "AdvRDNSSLifetime", x.Head, x.AdvRDNSSLifetime)
		l.farewell(s, "FlushRDNSS", x.FlushRDNSS)
		if v := x.AdvRDNSSPreference; v.Given {
			s.Harmless(v.Position, "AdvRDNSSPreference: left out; radvd does not use it any more")
		}
		if v := x.AdvRDNSSOpen; v.Given {
			s.Harmless(v.Position, "AdvRDNSSOpen: left out; radvd does not use it any more")
		}
		for some := range slices.Chunk(servers, (maxOption-lenDNSHeader)/lenServer) {
			sections = append(sections, s.with("addr", some))
		}
	}
	return sections
}

// with is the section with another list, for what takes several sections.
func (s *section) with(name string, values []string) translation.Section {
	copied := translation.Builder{Notes: s.Notes, Section: s.Section}
	copied.Options = slices.Clone(s.Options)
	copied.List(name, values...)
	return copied.Section
}

// isDomain reports whether a suffix is a domain that can be in the option.
func isDomain(name string) bool {
	const longest, longestLabel = 253, 63 // RFC 1035 §2.3.4
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > longestLabel || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, labelCharacters) != "" {
			return false
		}
	}
	return len(name) <= longest
}

const labelCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

func (l *link) dnssl() (sections []translation.Section) {
	seen := map[string]bool{}
	for _, x := range l.DNSSL {
		s := l.section("dnssl")
		var suffixes []string
		for _, suffix := range x.Suffixes {
			suffix = strings.TrimSuffix(suffix, ".")
			switch key := strings.ToLower(suffix); {
			case !isDomain(suffix):
				s.Note(x.Position, "DNSSL %q: left out, because it is no domain name", uci.Shorten(suffix))
			case seen[key]:
				s.Note(x.Position, "DNSSL %s: left out, because the interface has the domain already", suffix)
			default:
				seen[key] = true
				suffixes = append(suffixes, suffix)
			}
		}
		if len(suffixes) == 0 {
			l.dropped.Comments = append(l.dropped.Comments, s.Comments...)
			continue
		}
		l.dnsLifetime(s, "AdvDNSSLLifetime", x.Head, x.AdvDNSSLLifetime)
		l.farewell(s, "FlushDNSSL", x.FlushDNSSL)
		for _, some := range split(suffixes) {
			sections = append(sections, s.with("suffix", some))
		}
	}
	return sections
}

// split cuts a list of domains into lists that fit into an option each.
func split(domains []string) (lists [][]string) {
	length := maxOption
	for _, d := range domains {
		octets := len(d) + 2 // the first length and the root, RFC 1035 §3.1
		if length+octets > maxOption {
			lists, length = append(lists, nil), lenDNSHeader
		}
		length += octets
		lists[len(lists)-1] = append(lists[len(lists)-1], d)
	}
	return lists
}

// The lifetime of a PREF64 is a multiple of 8 seconds (RFC 8781 §4).
const (
	nat64Unit        = 8
	maxNAT64Lifetime = 65528
)

// notNAT64 says why a prefix cannot be that of a NAT64, or nothing.
func notNAT64(p netip.Prefix) string {
	switch p.Bits() {
	case 32, 40, 48, 56, 64, 96:
	default:
		return "its length has to be 32, 40, 48, 56, 64 or 96 (RFC 8781 §4)"
	}
	if p.Addr().As16()[8] != 0 {
		return "bits 64 to 71 have to be zero (RFC 6052 §2.2)"
	}
	return special(p)
}

func (l *link) nat64() (sections []translation.Section) {
	seen := map[netip.Prefix]bool{}
	for _, x := range l.NAT64Prefixes {
		masked := x.Prefix.Masked()
		why := notNAT64(masked)
		if seen[masked] {
			why = "the interface has the prefix already"
		}
		if why != "" {
			l.leftOut("nat64prefix "+x.Prefix.String(), x.Head, why)
			continue
		}
		seen[masked] = true
		s := l.section("nat64prefix")
		s.List("prefix", masked.String())
		if v := x.AdvValidLifetime; v.Given {
			least := uint32(0)
			if v.Value != 0 {
				least = uint32(min((l.longest+time.Second-1)/time.Second, maxNAT64Lifetime))
			}
			lifetime := min((max(v.Value, least)+nat64Unit-1)/nat64Unit*nat64Unit, maxNAT64Lifetime)
			switch {
			case v.Value > maxNAT64Lifetime:
				lifetime = maxNAT64Lifetime
				s.Note(v.Position, "AdvValidLifetime %d: %d was written, the most that the option holds", v.Value, lifetime)
			case v.Value < least:
				s.Note(v.Position, "AdvValidLifetime %d: %d was written, because it has to be at least MaxRtrAdvInterval", v.Value, lifetime)
			case v.Value != lifetime:
				s.Remark(v.Position, "AdvValidLifetime %d: rounded up to whole %d seconds, as the option has them", v.Value, nat64Unit)
			}
			s.Number("AdvValidLifetime", int64(lifetime))
		}
		sections = append(sections, s.Section)
	}
	return sections
}

func (l *link) abro() (sections []translation.Section) {
	for _, x := range l.ABRO {
		switch {
		case !reachable(x.Address):
			l.leftOut("abro "+x.Address.String(), x.Head, "it is no unicast address")
			continue
		case len(sections) > 0:
			l.leftOut("abro "+x.Address.String(), x.Head, "roam6 has one on an interface")
			continue
		}
		s := l.section("abro")
		if x.OldLength {
			s.Harmless(x.Position, "abro: the prefix length behind the address was left out, being without meaning")
		}
		s.Set("address", x.Address.String())
		s.field16("AdvVersionLow", x.AdvVersionLow)
		s.field16("AdvVersionHigh", x.AdvVersionHigh)
		s.field16("AdvValidLifetime", x.AdvValidLifetime)
		sections = append(sections, s.Section)
	}
	return sections
}

// field16 writes the number of a field of 16 bits.
func (s *section) field16(name string, v Setting[uint32]) {
	if !v.Given {
		return
	}
	if v.Value > 0xffff {
		s.Note(v.Position, "%s %d: %d was written, which is what radvd sends in the field of 16 bits", name, v.Value, v.Value&0xffff)
	}
	s.Number(name, int64(v.Value&0xffff))
}

// lowpan translates 6LoWPAN contexts. Those of a file have no prefix: their
// sections are there, but not in use until somebody writes it in.
func (l *link) lowpan() (sections []translation.Section) {
	seen := map[uint32]bool{}
	for _, x := range l.LowpanContexts {
		length, id := x.AdvContextLength.or(0), x.AdvContextID.or(0)
		why := ""
		switch {
		case length > 128:
			why = fmt.Sprintf("AdvContextLength %d: it is at most 128", length)
		case id > 15:
			why = fmt.Sprintf("AdvContextID %d: it is at most 15", id)
		case seen[id]:
			why = fmt.Sprintf("the interface has a context with AdvContextID %d already", id)
		case x.Prefix.IsValid() && special(x.Prefix) != "":
			why = fmt.Sprintf("%v: %s", x.Prefix, special(x.Prefix))
		}
		if why != "" {
			l.leftOut("lowpanco", x.Head, why)
			continue
		}
		seen[id] = true
		s := l.section("lowpanco")
		if x.Prefix.IsValid() {
			s.Set("prefix", x.Prefix.String())
		} else {
			s.Note(x.Position, "lowpanco: not in use: radvd has no option for the context's prefix and sends zero bits; write `option prefix` in, and take `option ignore` out")
			s.Switch("ignore", true)
			s.Number("AdvContextLength", int64(length))
		}
		s.Switch("AdvContextCompressionFlag", x.AdvContextCompressionFlag.Value)
		s.Number("AdvContextID", int64(id))
		s.field16("AdvLifeTime", Setting[uint32]{Given: true, Value: x.AdvLifeTime.Value, Position: x.AdvLifeTime.Position})
		sections = append(sections, s.Section)
	}
	return sections
}
