package lab

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"

	"roam6/internal/uci"
)

// protect gives a mobile and its home agent, of which it has one, IPsec for all of
// their signalling in place of the key that the two have in common, and returns the
// section with its keys.
func protect(parts []part, m mobile) *section {
	keys := m.ipsec()
	for i := range parts {
		parts[i].sections = protected(parts[i].sections, m, keys)
	}
	return keys
}

// protected does that for the sections of a node, if the mobile is among them.
func protected(sections []*section, m mobile, keys *section) []*section {
	for _, s := range sections {
		if s.Name == m.name && s.drop("spi", "key") {
			return append(sections, keys)
		}
	}
	return sections
}

// ipsec has associations for everything, with keys for one run. Mobiles of one home
// agent have different numbers.
func (m mobile) ipsec() *section {
	const spi, each = 1000, 100
	return newSection("ipsec", "").
		option("home_address", m.home.Addr().String()).
		option("home_agent", m.homeAgents[0].String()).
		associations(uint32(spi+each*m.number), "to_agent", "to_mobile", "tunnel_to_agent", "tunnel_to_mobile")
}

// associations adds the options of IPsec of some ways, with SPIs from first on and keys
// for one run.
func (s *section) associations(first uint32, ways ...string) *section {
	for i, way := range ways {
		var key [16 + 32]byte    // AES and HMAC-SHA-256
		_, _ = rand.Read(key[:]) // never fails
		s.option("spi_"+way, strconv.FormatUint(uint64(first)+uint64(i), 10)).option("key_"+way, hex.EncodeToString(key[:]))
	}
	return s
}

// with adds options that several sections have in common.
func (s *section) with(common *section) *section {
	s.Options = append(s.Options, common.Options...)
	return s
}

// drop takes options away, and reports whether there were any.
func (s *section) drop(names ...string) bool {
	n := len(s.Options)
	s.Options = slices.DeleteFunc(s.Options, func(o uci.Option) bool { return slices.Contains(names, o.Name) })
	return len(s.Options) < n
}
