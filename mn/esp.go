package mn

import (
	"roam6/internal/role"
	"roam6/mip6"
)

// permits drops an acknowledgement of a home agent that should have come under
// IPsec and did not. A correspondent's carries authorization data instead.
func (n *Node) permits(e role.MessageReceived) bool {
	if _, ok := e.Packet.Message.(mip6.BindingAcknowledgement); !ok || !n.config.ESP || e.Protected || n.fromAnchor(e.Packet) != nil || n.fromPeer(e.Packet) {
		return true
	}
	n.drop(role.DropUnauthenticated, e.Packet)
	return false
}

// permitsICMP is permits for prefix advertisements. Discovery of home agents comes
// before there is anybody to have an association with (RFC 4877 §4.1).
func (n *Node) permitsICMP(e role.ICMPReceived) bool {
	if _, ok := e.Packet.Message.(mip6.PrefixAdvertisement); !ok || !n.config.ESP || e.Protected {
		return true
	}
	n.act(role.Dropped{Reason: role.DropUnauthenticated, From: e.Packet.From()})
	return false
}

// rekey gives an anchor's entry its key. Timestamps belong to the authentication of
// RFC 4285 (§6); under ESP alone they are sent to an anchor that asks for them.
func (n *Node) rekey(r *regional, key AnchorKey) {
	r.sa, r.esp = key.SA, key.ESP
	r.timestamps = n.config.Timestamps && (r.sa != nil || r.esp == 0)
}

// keyed reports whether what the anchor is told is authenticated.
func (r *regional) keyed() bool { return r.sa != nil || r.esp != 0 }
