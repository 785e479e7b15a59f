package ike

import (
	"fmt"
	"net/netip"

	"github.com/strongswan/govici/vici"

	"roam6/internal/esp"
	"roam6/mip6"
	"roam6/overlay"
)

// Names of the children of a connection.
const (
	childSignalling = "signalling"
	childTests      = "tests"
	childPayload    = "payload"
)

// ikeProposals are offered for IKE itself: nothing below 128 bits (RFC 8247). The prime
// group is for peers without elliptic curves.
func ikeProposals() []string {
	return []string{"aes128gcm16-prfsha256-ecp256-modp3072", "aes256-sha256-ecp256-modp3072"}
}

// espProposals are what package esp can do, or what is wanted of it. The groups give new
// keys to those that replace the first ones (perfect forward secrecy).
func espProposals(wanted esp.Algorithm) []string {
	const gcm, cbc = "aes128gcm16", "aes256-sha256"
	groups := func(of string) []string { return []string{of + "-ecp256-modp3072", of} }
	switch wanted {
	case esp.AESGCM:
		return groups(gcm)
	case esp.AESCBCSHA256:
		return groups(cbc)
	default:
		return append(groups(gcm), groups(cbc)...)
	}
}

// Credentials are the contents of a peer's files.
type Credentials struct{ Certificate, Key, Authority string }

// deadPeer is after how long without a packet charon asks whether the other is there.
const deadPeer = "20s"

// Connection is the message that loads a peer's connection (vici's load-conn).
func Connection(p Peer, c Credentials) *vici.Message {
	localID, remoteID := p.identities()
	local, remote := section("id", localID), section("id", remoteID)
	if p.PSK != "" {
		set(local, "auth", "psk")
		set(remote, "auth", "psk")
	} else {
		set(local, "auth", "pubkey")
		set(local, "certs", []string{c.Certificate})
		set(remote, "auth", "pubkey")
		set(remote, "cacerts", []string{c.Authority})
	}
	localAddress, remoteAddress := "%any", p.Agent.String()
	if p.Side == overlay.AgentSide {
		localAddress, remoteAddress = remoteAddress, localAddress
	}
	mobike := "no"
	if p.MOBIKE {
		mobike = "yes"
	}
	children := section(childSignalling, p.signalling(), childTests, p.tests())
	if p.Payload {
		set(children, childPayload, p.payload())
	}
	return section(p.Name(), section(
		"version", "2", "mobike", mobike, "unique", "replace", "dpd_delay", deadPeer,
		"local_addrs", []string{localAddress}, "remote_addrs", []string{remoteAddress},
		"proposals", ikeProposals(), "local", local, "remote", remote,
		"children", children,
	))
}

// signalling is for what goes between home address and home agent (RFC 4877 §7.2.1,
// §7.2.3, RFC 6276 §4): one association for all of it.
func (p Peer) signalling() *vici.Message {
	selectors := func(a netip.Addr) []string {
		return []string{
			selector(a, mobilityTypes(mip6.TypeBindingUpdate, mip6.TypeBindingAcknowledgement)),
			selector(a, fmt.Sprintf("58/%d-%d", typeSelector(uint8(mip6.ICMPPrefixSolicitation), 0), typeSelector(uint8(mip6.ICMPPrefixAdvertisement), 0xff))),
			selector(a, "17/547"), // UDP: the home agent's, or its relay's
		}
	}
	return p.child("transport_proxy", p.Algorithm, selectors(p.Home), selectors(p.Agent))
}

// payload is for the packets of the tunnel, whatever they carry. Between home address and
// home agent they are what RFC 4877 §4.3 has in tunnel mode, octet for octet; their care-of
// address is put in behind, as for signalling. Package xfrm takes no other algorithm.
func (p Peer) payload() *vici.Message {
	selectors := func(a netip.Addr) []string { return []string{selector(a, "41")} } // IPv6 in IPv6
	return p.child("transport_proxy", esp.AESCBCSHA256, selectors(p.Home), selectors(p.Agent))
}

// tests is for home test init and home test (RFC 4877 §7.2.2).
func (p Peer) tests() *vici.Message {
	selectors := func(a fmt.Stringer) []string {
		return []string{
			selector(a, mobilityTypes(mip6.TypeHomeTestInit, mip6.TypeHomeTestInit)),
			selector(a, mobilityTypes(mip6.TypeHomeTest, mip6.TypeHomeTest)),
		}
	}
	return p.child("tunnel", p.Algorithm, selectors(p.Home), selectors(netip.PrefixFrom(netip.IPv6Unspecified(), 0)))
}

// child is an association between a mobile and what is beyond; policies are package
// esp's.
func (p Peer) child(mode string, algorithm esp.Algorithm, mobile, beyond []string) *vici.Message {
	local, remote := mobile, beyond
	if p.Side == overlay.AgentSide {
		local, remote = beyond, mobile
	}
	return section("mode", mode, "local_ts", local, "remote_ts", remote, "policies", "no",
		"esp_proposals", espProposals(algorithm), "start_action", "none", "dpd_action", "clear", "close_action", "none")
}

// selector is a traffic selector in charon's notation. Protocols are numbers: names take
// an /etc/protocols, which small systems lack.
func selector(address fmt.Stringer, of string) string { return fmt.Sprintf("%v[%s]", address, of) }

// mobilityTypes are the messages of the Mobility Header from one type to another.
func mobilityTypes(first, last mip6.MessageType) string {
	return fmt.Sprintf("%d/%d-%d", mip6.ProtocolMobility, typeSelector(uint8(first), 0), typeSelector(uint8(last), 0xff))
}

// typeSelector is a message type and code where IKE has ports: the type in the upper
// half (RFC 4301 §4.4.1.1, RFC 4877 §7.2.1).
func typeSelector(kind, code uint8) uint16 { return uint16(kind)<<8 | uint16(code) }

// SharedSecret is the message that loads a peer's preshared key (vici's load-shared).
func SharedSecret(p Peer) *vici.Message {
	local, remote := p.identities()
	return section("id", p.Name(), "type", "IKE", "data", string(p.PSK), "owners", []string{local, remote})
}

// section makes a message of names and values by turns: strings, lists and sections.
func section(items ...any) *vici.Message {
	m := vici.NewMessage()
	for i := 0; i < len(items); i += 2 {
		set(m, items[i].(string), items[i+1])
	}
	return m
}

// set fails only for kinds of values that are none of vici's.
func set(m *vici.Message, name string, value any) {
	if err := m.Set(name, value); err != nil {
		panic(fmt.Sprintf("vici message: %s: %v", name, err))
	}
}
