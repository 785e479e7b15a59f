package config

import (
	"net/netip"
	"slices"
	"strconv"

	"roam6/internal/esp"
	"roam6/mip6"
	"roam6/overlay"
)

// anchorESPNames are the options that make IPsec: all or none.
func anchorESPNames() []string {
	return []string{optionSPIToAnchor, optionKeyToAnchor, optionSPIToMobile, optionKeyToMobile}
}

// protects reports whether a visitor or anchor_key section has IPsec.
func (s section) protects() bool { return slices.ContainsFunc(anchorESPNames(), s.has) }

// local gives the security association of RFC 4285 that a visitor or anchor_key section
// configures; nil where there is IPsec alone, or an error. It checks the options of IPsec.
func (s section) local(c credentials, e anchorESP) *mip6.SecurityAssociation {
	protected := s.protects()
	if protected {
		s.checkAnchorESP(e)
	} else {
		for _, option := range []string{optionAlgorithm, optionWindow} {
			if s.has(option) {
				s.wrong(option, 0, "the options of IPsec in the section, "+andThree+", without which this means nothing")
			}
		}
	}
	switch {
	case s.has(optionKey):
		return c.association()
	case !protected:
		s.missing(optionKey, sharedKey().name+"; or the options of IPsec, "+andThree)
	case s.has(optionSPI):
		s.wrong(optionSPI, 0, "a key in the section, whose number this would be; or no SPI, because IPsec has its own")
	}
	return nil
}

// andThree names the options of IPsec.
const andThree = optionSPIToAnchor + ", " + optionKeyToAnchor + ", " + optionSPIToMobile + " and " + optionKeyToMobile

func (s section) checkAnchorESP(e anchorESP) {
	options := anchorESPNames()
	given := options[slices.IndexFunc(options, s.has)]
	for _, option := range options {
		if !s.has(option) {
			s.missing(option, "with "+given+" all of "+andThree)
		}
	}
	for _, o := range e.associations() {
		s.checkKey(e.algorithm, o)
	}
}

// checkKey checks that a key is of a length that the algorithm has.
func (s section) checkKey(a esp.Algorithm, o namedAssociation) {
	if n := len(o.key); n != 0 && !keyLength(a, n) {
		s.wrong(o.keyOption, 0, "a key of "+keyDigits(a)+", because of "+optionAlgorithm+" '"+a.String()+"'")
	}
}

// associations are those of a section, in the order of its table.
func (e anchorESP) associations() []namedAssociation {
	return []namedAssociation{
		{e.toAnchor, optionSPIToAnchor, optionKeyToAnchor, true},
		{e.toMobile, optionSPIToMobile, optionKeyToMobile, false},
	}
}

// policy is what a section says, seen from one side.
func (e anchorESP) policy(side overlay.Side, anchors ...netip.Prefix) *esp.AnchorPolicy {
	out, in := e.toAnchor, e.toMobile
	if side == overlay.AgentSide {
		out, in = in, out
	}
	return &esp.AnchorPolicy{
		Anchors: anchors, Side: side,
		Out: esp.Association{SPI: out.spi, Algorithm: e.algorithm, Key: out.key},
		In:  esp.Association{SPI: in.spi, Algorithm: e.algorithm, Key: in.key, Window: e.window},
	}
}

// visitorPolicy gives the policy for a visitor of some anchors; nil without IPsec.
func (s section) visitorPolicy(e anchorESP, at []*entry[anchorDraft]) *esp.AnchorPolicy {
	if !s.protects() {
		return nil
	}
	var addresses []netip.Prefix
	for _, a := range at {
		if addr := a.value.Address; addr.IsValid() {
			addresses = append(addresses, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return e.policy(overlay.AgentSide, addresses...)
}

// keyPolicy gives the policy of an anchor_key section; nil without IPsec.
func (s section) keyPolicy(e anchorESP, k AnchorKey) *esp.AnchorPolicy {
	if !s.protects() {
		return nil
	}
	// Several senders under one key have the same sequence numbers, and may have the same
	// initialization vectors (RFC 4106 §2).
	one := "the address of one anchor, because of "
	switch {
	case k.Anchors.Bits() == 128:
	case e.algorithm == esp.AESGCM:
		s.wrong(optionAnchors, 0, one+optionAlgorithm+" '"+e.algorithm.String()+"': several that encrypt with one key make it readable")
	case e.window != 0:
		s.wrong(optionAnchors, 0, one+optionWindow+" '"+strconv.Itoa(e.window)+"': each anchor counts its own packets")
	}
	return e.policy(overlay.MobileSide, k.Anchors)
}

// checkAnchors checks the associations of visitor and anchor_key sections against each
// other, and against those of ipsec sections.
func (x *associationsSeen) checkAnchors(visitors []entry[visitorDraft], keys []entry[anchorKeyDraft]) {
	for _, v := range visitors {
		if v.enabled {
			for _, o := range v.value.anchorESP.associations() {
				if o.toAgent {
					x.receives(netip.Addr{}, v.section, o)
					x.divided(netip.Addr{}, v.section, o)
				}
				x.keyed(v.value.algorithm, v.section, o)
			}
		}
	}
	for _, k := range keys {
		for _, o := range k.value.anchorESP.associations() {
			switch at := k.value.Anchors; {
			case !o.toAgent:
				x.receives(netip.Addr{}, k.section, o)
				x.divided(netip.Addr{}, k.section, o)
			case at.Bits() == 128:
				x.receives(at.Addr(), k.section, o)
			}
			x.keyed(k.value.algorithm, k.section, o)
		}
	}
}
