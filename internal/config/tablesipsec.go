package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"roam6/internal/esp"
)

// Options of ipsec sections.
const (
	optionAlgorithm       = "algorithm"
	optionSPIToAgent      = "spi_to_agent"
	optionKeyToAgent      = "key_to_agent"
	optionSPIToMobile     = "spi_to_mobile"
	optionKeyToMobile     = "key_to_mobile"
	optionSPITunnelAgent  = "spi_tunnel_to_agent"
	optionKeyTunnelAgent  = "key_tunnel_to_agent"
	optionSPITunnelMobile = "spi_tunnel_to_mobile"
	optionKeyTunnelMobile = "key_tunnel_to_mobile"
	optionWindow          = "window"
	optionIKE             = "ike"
	optionLocalID         = "local_id"
	optionRemoteID        = "remote_id"
	optionPSK             = "psk"
	optionLocalCert       = "local_cert"
	optionLocalKey        = "local_key"
	optionCA              = "ca"
	optionMOBIKE          = "mobike"
	optionVici            = "vici"
)

// secret reports whether an option, of whatever section, holds a key.
func secret(option string) bool {
	switch option {
	case optionKey, optionKeyToAgent, optionKeyToAnchor, optionKeyToMobile, optionKeyTunnelAgent, optionKeyTunnelMobile,
		optionKeyPayloadAgent, optionKeyPayloadMobile, optionPSK:
		return true
	default:
		return false
	}
}

// ipsecDraft is an ipsec section: associations that are nobody's yet.
type ipsecDraft struct {
	home, agent                                      netip.Addr
	algorithm                                        esp.Algorithm
	toAgent, toMobile, tunnelToAgent, tunnelToMobile halfAssociation
	window                                           int
	exchange                                         exchangeDraft
	payload                                          payloadDraft
}

// halfAssociation is what the options of one direction say.
type halfAssociation struct {
	spi uint32
	key esp.Key
}

func ipsecTable() schema[ipsecDraft] {
	spi := func(name string, field func(*ipsecDraft) *halfAssociation) option[ipsecDraft] {
		return one(name, integer[uint32](256, 0xffffffff, ""), func(d *ipsecDraft) *uint32 { return &field(d).spi })
	}
	key := func(name string, field func(*ipsecDraft) *halfAssociation) option[ipsecDraft] {
		return one(name, espKey(), func(d *ipsecDraft) *esp.Key { return &field(d).key })
	}
	toAgent := func(d *ipsecDraft) *halfAssociation { return &d.toAgent }
	toMobile := func(d *ipsecDraft) *halfAssociation { return &d.toMobile }
	tunnelToAgent := func(d *ipsecDraft) *halfAssociation { return &d.tunnelToAgent }
	tunnelToMobile := func(d *ipsecDraft) *halfAssociation { return &d.tunnelToMobile }
	return schema[ipsecDraft]{
		SectionDescription: SectionDescription{
			Type: "ipsec",
			Help: "IPsec ESP for the signalling of a mobile and one of its home agents (RFC 3776, RFC 4877), with keys that both are configured with: the same section, word for word, in the files of both; or, with `ike`, with keys that strongSwan negotiates. " +
				"Binding updates and acknowledgements and the messages of prefix discovery are then taken in ESP only, and so are the DHCPv6 messages of a mobile router with `prefix_delegation` that is away (RFC 6276 §4); the mobile needs no `key`, and may have one all the same. " +
				"What hosts and networks send each other through the tunnel is encrypted with `payload`. " +
				"A mobile with several home agents has a section for each; it cannot look for others (`discover`), nor use a home address that it forms itself when its home link is renumbered: those have no keys.",
		},
		options: slices.Concat([]option[ipsecDraft]{
			one("home_address", unicastAddress(), func(d *ipsecDraft) *netip.Addr { return &d.home }).required().
				help("The home address of the mobile, which is that of a `mobile_node`, `mobile_router` or `mobile` section."),
			one(optionHomeAgent, unicastAddress(), func(d *ipsecDraft) *netip.Addr { return &d.agent }).required().
				help("The address of the home agent."),
			one(optionAlgorithm, espAlgorithm(), func(d *ipsecDraft) *esp.Algorithm { return &d.algorithm }).fallback(esp.AESCBCSHA256.String()).
				help("With `ike` the only algorithm that is offered; without this option it offers both. Otherwise: AES-CBC with HMAC-SHA-256-128, or AES-GCM with an integrity check value of 16 octets. " +
					"Do not use AES-GCM if the peer knows AES-CBC: RFC 4106 §2 and RFC 8221 §3 forbid it with keys that are configured and so outlive a restart, since one initialization vector that comes twice under a key lets others read and forge messages. " +
					"Here they begin at a random number with each start, which makes that improbable, not impossible."),
			spi(optionSPIToAgent, toAgent).dependent(unlessIKE).
				help("The security parameter index of what the mobile sends. The home agent tells its associations apart by it: no other section of it has the same."),
			key(optionKeyToAgent, toAgent).dependent(unlessIKE).
				help(fmt.Sprintf("The key of that: first the AES key of 16 or 32 octets, then with AES-CBC the HMAC key of 32 octets, with AES-GCM the salt of 4. `hexdump -vn%[1]d -e '%[1]d/1 \"%%02x\"' /dev/urandom` makes one for AES-CBC. With AES-GCM every key is another one.",
					esp.AESCBCSHA256.KeyLengths()[0])),
			spi(optionSPIToMobile, toMobile).dependent(unlessIKE).
				help("The security parameter index of what the home agent sends. No other section of the mobile has the same."),
			key(optionKeyToMobile, toMobile).dependent(unlessIKE).
				help("The key of that."),
			spi(optionSPITunnelAgent, tunnelToAgent).dependent("none: home tests are not protected").
				help("The security parameter index of home test init messages, which the mobile sends through its tunnel for route optimisation. " +
					"Whoever reads home and care-of tests on the mobile's link can redirect its traffic with correspondents; so a mobile with `route_optimization` should have this and the next three options (RFC 6275 §10.4.6), all or none. " +
					"Without them, `roam6 check` and the log warn."),
			key(optionKeyTunnelAgent, tunnelToAgent).dependent("none").
				help("The key of that."),
			spi(optionSPITunnelMobile, tunnelToMobile).dependent("none").
				help("The security parameter index of home test messages, which the home agent sends through the tunnel."),
			key(optionKeyTunnelMobile, tunnelToMobile).dependent("none").
				help("The key of that."),
			one(optionWindow, window(), func(d *ipsecDraft) *int { return &d.window }).fallback("0").
				help("The anti-replay window of the receiver. Only for peers that keep their sequence numbers over a restart, as roam6 does not: one that begins anew is not heard until it has sent as many packets as before. " +
					"What is recorded and sent again Mobile IPv6 recognises by itself, by sequence numbers, timestamps and cookies. With `ike` there is always one."),
		}, payloadOptions(), exchangeOptions()),
	}
}

func espAlgorithm() kind[esp.Algorithm] {
	return oneOf(
		choice[esp.Algorithm]{esp.AESCBCSHA256.String(), esp.AESCBCSHA256},
		choice[esp.Algorithm]{esp.AESGCM.String(), esp.AESGCM},
	)
}

// window is the width of an anti-replay window.
func window() kind[int] {
	return kind[int]{
		name: fmt.Sprintf("0 for none, or a multiple of 64 up to %d (packets)", esp.MaxWindow),
		parse: func(s string) (int, error) {
			n, err := decimal(s)
			if err != nil || n < 0 || n > esp.MaxWindow || n%64 != 0 {
				return 0, errMalformed
			}
			return int(n), nil
		},
	}
}

// espKey is the keying material of an association, whatever its algorithm.
func espKey() kind[esp.Key] {
	return kind[esp.Key]{
		name:   fmt.Sprintf("a key of %s with %v, or %s with %v", keyDigits(esp.AESCBCSHA256), esp.AESCBCSHA256, keyDigits(esp.AESGCM), esp.AESGCM),
		secret: true,
		parse: func(s string) (esp.Key, error) {
			for i := range len(s) {
				if !hexDigit(s[i]) {
					return "", fmt.Errorf("character %d is not a digit from 0 to 9 or a to f", i+1)
				}
			}
			octets, err := hex.DecodeString(s)
			if err != nil || !keyLength(esp.AESCBCSHA256, len(octets)) && !keyLength(esp.AESGCM, len(octets)) {
				return "", fmt.Errorf("this has %d digits", len(s))
			}
			for _, o := range octets {
				if o != 0 {
					return esp.Key(octets), nil
				}
			}
			return "", errors.New("this is all zeros")
		},
	}
}

// keyDigits says how many digits a key of an algorithm has.
func keyDigits(a esp.Algorithm) string {
	n := a.KeyLengths()
	return fmt.Sprintf("%d or %d hexadecimal digits", 2*n[0], 2*n[1])
}

func keyLength(a esp.Algorithm, octets int) bool {
	n := a.KeyLengths()
	return octets == n[0] || octets == n[1]
}
