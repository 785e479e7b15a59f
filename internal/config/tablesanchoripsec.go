package config

import (
	"roam6/internal/esp"
)

// Options of IPsec in visitor and anchor_key sections, beside those with the names that
// they have in ipsec sections.
const (
	optionSPIToAnchor = "spi_to_anchor"
	optionKeyToAnchor = "key_to_anchor"
)

// anchorESP are the options of IPsec in visitor and anchor_key sections: the same text
// on both sides.
type anchorESP struct {
	algorithm          esp.Algorithm
	toAnchor, toMobile halfAssociation
	window             int
}

func anchorESPOptions[S any](of func(*S) *anchorESP) []option[S] {
	spi := integer[uint32](256, 0xffffffff, "")
	const none = "none: without IPsec"
	return []option[S]{
		one(optionAlgorithm, espAlgorithm(), func(s *S) *esp.Algorithm { return &of(s).algorithm }).fallback(esp.AESCBCSHA256.String()).
			help("AES-CBC with HMAC-SHA-256-128, or AES-GCM with an integrity check value of 16 octets: as in `ipsec` sections, and with the same warning of AES-GCM."),
		one(optionSPIToAnchor, spi, func(s *S) *uint32 { return &of(s).toAnchor.spi }).dependent(none).
			help("IPsec ESP for local binding updates and their acknowledgements (RFC 5380 §12.1), in place of `key` or beside it: this and the next three options, all or none, the same on both sides. " +
				"This is the security parameter index of what the mobile sends, by which the anchor knows it: no other one that it receives by is the same."),
		one(optionKeyToAnchor, espKey(), func(s *S) *esp.Key { return &of(s).toAnchor.key }).dependent("none").
			help("The key of that, made as `key_to_agent` in `ipsec` sections is."),
		one(optionSPIToMobile, spi, func(s *S) *uint32 { return &of(s).toMobile.spi }).dependent(none).
			help("The security parameter index of what the anchor sends. No other one that the mobile receives by is the same, those of its `ipsec` sections included."),
		one(optionKeyToMobile, espKey(), func(s *S) *esp.Key { return &of(s).toMobile.key }).dependent("none").
			help("The key of what the anchor sends, made like the other one."),
		one(optionWindow, window(), func(s *S) *int { return &of(s).window }).fallback("0").
			help("The anti-replay window of the receiver, as in `ipsec` sections: not for peers that run roam6."),
	}
}
