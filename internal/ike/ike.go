// Package ike has strongSwan's charon make the IPsec associations for the signalling of
// a mobile and a home agent by IKEv2 (RFC 4877 §7). charon negotiates, and installs what
// it has negotiated in the kernel, as it always does; the kernel is only the place where
// the keys are found. ESP itself is package esp's on every kernel, since most cannot
// match a home address in the Home Address option. So charon is given connections
// without policies, and no signalling goes through the kernel's IPsec.
//
//	connection       IKE between care-of address and home agent, with MOBIKE
//	  signalling     transport mode between home address and home agent
//	                 (transport_proxy: the home address is not where IKE is)
//	  tests          tunnel mode, for home test init and home test
//	  payload        if wanted: transport mode between home address and home agent, for
//	                 the packets of their tunnel
//
// The associations for payload are package xfrm's, which puts them into the kernel anew
// for the care-of addresses, in place of charon's. Those are of the home address, as the
// ones for signalling are: MOBIKE, which would write into the kernel's what it finds
// there, leaves both alone.
//
// What to load and what charon says is told here by values (Connection, ParseAssociations,
// Association); Keeper talks with it. charon is started by the system.
package ike

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"roam6/internal/esp"
	"roam6/overlay"
)

// DefaultSocket is where charon's vici plugin listens on most systems.
const DefaultSocket = "/var/run/charon.vici"

// Ends are between whom associations are, and where this node is.
type Ends struct {
	Home, Agent netip.Addr
	Side        overlay.Side
}

// Peer is what a key exchange needs to know.
type Peer struct {
	Ends
	// Socket is the path of charon's vici socket.
	Socket string
	// LocalID and RemoteID are IKE identities in charon's notation; empty is the home
	// address for the mobile and the home agent's address for the home agent.
	LocalID, RemoteID string
	// PSK authenticates both; empty: certificates do.
	PSK Secret
	// Certificate and Key are paths of the own certificate and private key, Authority
	// that of the certificate of the authority that has issued the other's.
	Certificate, Key, Authority string
	// Algorithm is the only one that is offered for ESP; zero: all of package esp's.
	Algorithm esp.Algorithm
	// MOBIKE lets the IKE association follow the care-of address (RFC 4555).
	MOBIKE bool
	// Payload has associations made for what the tunnel carries, too.
	Payload bool
}

// complete reports whether the associations are all that the peer is to have.
func (p Peer) complete(n esp.Negotiated) bool {
	return n.Complete() && (!p.Payload || n.PayloadComplete())
}

// children are the names of those that it has, the urgent ones first.
func (p Peer) children() []string {
	if p.Payload {
		return []string{childSignalling, childPayload, childTests}
	}
	return []string{childSignalling, childTests}
}

// Name is the peer's name in charon: of its connection, and of its secret.
func (p Peer) Name() string {
	side := "mobile"
	if p.Side == overlay.AgentSide {
		side = "agent"
	}
	return fmt.Sprintf("roam6-%s-%v-%v", side, p.Home, p.Agent)
}

// identities are the own and the other's.
func (p Peer) identities() (local, remote string) {
	own, other := p.Home, p.Agent
	if p.Side == overlay.AgentSide {
		own, other = other, own
	}
	return cmp.Or(p.LocalID, own.String()), cmp.Or(p.RemoteID, other.String())
}

// initiates reports whether the key exchange begins here: the mobile does, which alone
// knows where it is.
func (p Peer) initiates() bool { return p.Side == overlay.MobileSide }

// Secret is a preshared key, as octets. It prints as esp.Key does.
type Secret string

const redacted = "[redacted]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
