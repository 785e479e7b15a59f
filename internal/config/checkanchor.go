package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/internal/order"
	"roam6/mip6"
)

// regionalBits is the length of the prefix of regional care-of addresses (RFC 5380
// §6: the first half of the anchor's address).
const regionalBits = 64

// leastRegional is the shortest lifetime of a binding at an anchor that mobiles have a
// use for: home registrations are not longer (RFC 5380 §6.1), and renewed within it.
const leastRegional = 20 * time.Second

// anchors checks and completes the anchor sections.
func anchors(s sections) []Anchor {
	var list []Anchor
	addresses := map[netip.Addr]section{}
	var claims []claim
	for _, e := range s.anchors {
		if !e.enabled {
			continue
		}
		a := e.value.Anchor
		a.Name = e.Ref()
		if a.Address.IsValid() {
			distinct(addresses, a.Address, e.section, optionAddress, 0, "an address")
			e.completeRegional(&a)
			if addresses[a.Address].Section == e.Section {
				option := optionPrefix
				if !e.has(option) {
					option = optionAddress
				}
				claims = append(claims, claim{e.section, option, 0, a.Prefix})
			}
		}
		twice(e.section, optionServed, a.Served, "prefix")
		switch {
		case !e.has(optionDAD):
			a.DAD = a.Interface != ""
		case a.DAD && !e.has(optionInterface):
			e.wrong(optionDAD, 0, "0; or an interface, on which to ask for the address")
		}
		list = append(list, a)
	}
	disjoint(claims)
	s.checkRegional(claims)
	return list
}

// completeRegional gives an anchor the prefix of its address.
func (s section) completeRegional(a *Anchor) {
	regional := netip.PrefixFrom(a.Address, regionalBits).Masked()
	if s.has(optionPrefix) && a.Prefix.IsValid() && a.Prefix != regional {
		s.wrong(optionPrefix, 0, fmt.Sprintf("%v, the first %d bits of %s (RFC 5380 §6)", regional, regionalBits, optionAddress))
	}
	a.Prefix = regional
	reserved, _ := mip6.HomeAgentsAnycast(regional).Prefix(128 - 7) // RFC 2526 §2
	switch {
	case a.Address == regional.Addr():
		s.wrong(optionAddress, 0, fmt.Sprintf("a single node's address: this is the subnet-router anycast address of %v", regional))
	case a.Address == mip6.HomeAgentsAnycast(regional):
		s.wrong(optionAddress, 0, fmt.Sprintf("a single node's address: this is the home agents' anycast address of %v", regional))
	case reserved.Contains(a.Address):
		s.wrong(optionAddress, 0, fmt.Sprintf("a single node's address: this is a reserved anycast address of %v (RFC 2526)", regional))
	}
}

// checkRegional checks that no prefix of regional care-of addresses is a home prefix
// or a mobile network, whose bindings would be for the same packets.
func (s sections) checkRegional(claims []claim) {
	for _, regional := range claims {
		if other, ok := s.overlapping(regional.prefix); ok {
			regional.section.wrong(regional.option, 0, fmt.Sprintf("an anchor whose prefix %v does not overlap %v of %s", regional.prefix, other.prefix, quoted(other.section)))
		}
	}
}

// overlapping finds what overlaps a prefix of regional care-of addresses.
func (s sections) overlapping(regional netip.Prefix) (claim, bool) {
	among := func(e section, option string, prefixes []netip.Prefix) (claim, bool) {
		i := slices.IndexFunc(prefixes, regional.Overlaps)
		if i < 0 {
			return claim{}, false
		}
		return claim{e, option, i, prefixes[i]}, true
	}
	for _, e := range s.homeAgents {
		if !e.enabled {
			continue
		}
		for _, l := range []struct {
			option   string
			prefixes []netip.Prefix
		}{{optionPrefix, e.value.Prefixes}, {optionDeprecated, e.value.Deprecated}, {optionPool, e.value.delegation.Pools}} {
			if c, ok := among(e.section, l.option, l.prefixes); ok {
				return c, true
			}
		}
	}
	for _, e := range s.mobiles {
		if c, ok := among(e.section, optionPrefix, e.value.Prefixes); ok && e.enabled {
			return c, true
		}
	}
	for _, e := range s.mobileNodes {
		if c, ok := among(e.section, optionPrefix, e.value.Prefixes); ok && e.enabled {
			return c, true
		}
	}
	return claim{}, false
}

// visitors checks the visitor sections. A visitor whose anchors are not enabled is
// not either.
func visitors(entries []entry[visitorDraft], anchors []entry[anchorDraft]) []Visitor {
	var list []Visitor
	type known struct {
		anchor string
		spi    uint32
	}
	seen := map[known]section{}
	for i := range entries {
		e := &entries[i]
		if !e.enabled {
			continue
		}
		association := e.local(e.value.credentials, e.value.anchorESP)
		at, ok := e.visits(e.value.Anchor, anchors)
		if !ok {
			continue
		}
		if len(at) == 0 {
			e.enabled = false
			continue
		}
		v := e.value.Visitor
		v.Name = e.Ref()
		v.Association, v.ESP = association, e.visitorPolicy(e.value.anchorESP, at)
		if !e.has("replay") && association == nil {
			v.Replay = ReplaySequence // timestamps are RFC 4285's
		}
		if e.sound && v.Association != nil {
			e.knownOnce(v, at, func(anchor string) (section, bool) {
				key := known{anchor, v.Association.SPI}
				other, taken := seen[key]
				if !taken {
					seen[key] = e.section
				}
				return other, taken
			})
		}
		list = append(list, v)
	}
	return list
}

// knownOnce reports a visitor whose number another one of one of its anchors has;
// take claims the number at an anchor, or says who has it.
func (s section) knownOnce(v Visitor, at []*entry[anchorDraft], take func(anchor string) (section, bool)) {
	reported := false
	for _, a := range at {
		if other, taken := take(a.Ref()); taken && !reported {
			s.wrong(optionSPI, 0, fmt.Sprintf("an SPI that %s does not have: %d", quoted(other), v.Association.SPI))
			reported = true
		}
	}
}

// visits are the enabled anchors of a visitor; name is empty for all. ok is false
// where that cannot be known, which is reported.
func (s section) visits(name string, anchors []entry[anchorDraft]) (at []*entry[anchorDraft], ok bool) {
	var all []string
	found := false
	for i := range anchors {
		a := &anchors[i]
		all = append(all, a.Ref())
		if name != "" && name != a.Ref() {
			continue
		}
		found = true
		if a.enabled {
			at = append(at, a)
		}
	}
	switch {
	case len(anchors) == 0:
		s.superfluous("an anchor section in this file, which serves the visitor")
		return nil, false
	case name == "" && s.has(optionAnchor): // reported already
		return nil, false
	case !found:
		s.wrong(optionAnchor, 0, "the name of an anchor section"+didYouMean(name, all))
		return nil, false
	}
	return at, true
}

// association gives the one that the options configure; nil without a key.
func (c credentials) association() *mip6.SecurityAssociation {
	if c.key == (mip6.SharedKey{}) {
		return nil
	}
	return &mip6.SecurityAssociation{SPI: c.spi, Key: c.key}
}

// anchorKeys checks the anchor_key sections, and that mobiles that use anchors have
// one. The keys of mobiles that are not enabled are left out.
func anchorKeys(entries []entry[anchorKeyDraft], mobiles []entry[mobileNodeDraft]) []AnchorKey {
	var list []AnchorKey
	type scope struct {
		mobile  string
		anchors netip.Prefix
	}
	seen := map[scope]section{}
	for _, e := range entries {
		k := e.value.AnchorKey
		k.Name = e.Ref()
		k.Association, k.ESP = e.local(e.value.credentials, e.value.anchorESP), e.keyPolicy(e.value.anchorESP, k)
		use := e.users(k.Mobile, mobiles)
		if e.sound {
			option := optionAnchors
			if !e.has(option) && e.has(optionMobile) {
				option = optionMobile
			}
			distinct(seen, scope{k.Mobile, k.Anchors}, e.section, option, 0, "mobile and anchors")
		}
		if use {
			list = append(list, k)
		}
	}
	for _, m := range mobiles {
		if m.enabled {
			m.checkHierarchy(m.value.MobileNode, slices.ContainsFunc(entries, func(e entry[anchorKeyDraft]) bool {
				return e.value.Mobile == "" || e.value.Mobile == m.Ref()
			}))
		}
	}
	return list
}

// users reports whether an enabled mobile has a key, of which name is the mobile, or
// empty for all. It reports a key that no mobile is meant to use.
func (s section) users(name string, mobiles []entry[mobileNodeDraft]) bool {
	if name == "" && s.has(optionMobile) {
		return false // reported already
	}
	var names []string
	found, meant, use := false, false, false
	for _, m := range mobiles {
		names = append(names, m.Ref())
		if name == "" || name == m.Ref() {
			found = true
			meant = meant || m.has(optionHierarchy) || !m.enabled
			use = use || m.enabled
		}
	}
	switch {
	case !found && name != "":
		s.wrong(optionMobile, 0, "the name of a mobile_node or mobile_router section"+orNone(name, names))
	case !found:
		s.superfluous("a mobile_node or mobile_router section in this file, which uses the key")
	case !meant:
		s.superfluous("option " + optionHierarchy + " '1' in the section of the mobile, without which no anchor is used: " + strings.Join(s.meantBy(name, names), ", "))
	}
	return use
}

// meantBy are the mobiles that a name stands for.
func (s section) meantBy(name string, all []string) []string {
	if name != "" {
		return []string{name}
	}
	return all
}

// checkHierarchy checks what a mobile says of mobility anchor points.
func (s section) checkHierarchy(m MobileNode, hasKey bool) {
	if !s.has(optionHierarchy) {
		for _, option := range []string{optionSelection, optionInsecureAnchors} {
			if s.has(option) {
				s.wrong(option, 0, optionHierarchy+" '1' in the section, without which no anchor is used")
			}
		}
	}
	if m.Hierarchy && m.Lifetime < leastRegional {
		s.wrong(optionLifetime, 0, fmt.Sprintf("at least %d, because of %s", leastRegional/time.Second, optionHierarchy))
	}
	if m.Hierarchy && !hasKey && !m.InsecureAnchors {
		s.wrong(optionHierarchy, 0, "0; or an anchor_key section for this mobile, with the key of anchors; or "+optionInsecureAnchors+" '1', which says that none is meant")
	}
}

// AnchorKeysOf are the keys of a mobile, in the order in which they are tried: the
// first whose Anchors contain the address of an anchor is the one for it.
func (c *Config) AnchorKeysOf(mobile string) []AnchorKey {
	var keys []AnchorKey
	for _, k := range c.AnchorKeys {
		if k.Mobile == "" || k.Mobile == mobile {
			keys = append(keys, k)
		}
	}
	order.SortStable(keys, func(a, b AnchorKey) int {
		// A name comes before none.
		return cmp.Or(cmp.Compare(b.Anchors.Bits(), a.Anchors.Bits()), cmp.Compare(b.Mobile, a.Mobile))
	})
	return keys
}
