package mn

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Where IKE makes the security associations (RFC 4877 §7), a binding update waits for
// them, and they belong to the home address: a move asks for no new ones (§7.3).

// withholds reports whether an update cannot be sent to a home agent, since there are no
// keys for it. They are asked for; how long that takes counts like a home agent that
// does not answer.
func (n *Node) withholds(now time.Time, r *registration, careOf netip.Addr) bool {
	if !n.config.KeyExchange || n.keyed[r.agent] {
		return false
	}
	if !r.withheld {
		n.log(slog.LevelInfo, "binding update waits for keys", slog.String("home_agent", r.agent.String()))
	}
	n.act(role.RequestKeys{Home: n.config.HomeAddress, Agent: r.agent, CareOf: careOf})
	r.withheld = true
	r.retransmit = now.Add(r.timeout)
	return true
}

// keysChanged notes whether there are keys, and sends what has waited for them.
func (n *Node) keysChanged(now time.Time, e role.KeysChanged) {
	if e.Home != n.config.HomeAddress {
		return
	}
	if !e.Present {
		delete(n.keyed, e.Agent)
		return
	}
	n.keyed[e.Agent] = true
	if r := n.reg; r.agent == e.Agent && r.withheld && !r.retransmit.IsZero() {
		r.withheld = false
		n.freshTimeout()
		n.requestUpdate(now)
	}
}

// followKeys sees to it that the key exchange follows a care-of address that the home
// agent has registered (RFC 6275 §11.7.3).
func (n *Node) followKeys(careOf netip.Addr, a mip6.BindingAcknowledgement) {
	if !n.config.KeyExchange || n.config.KeyMobility && a.Flags&mip6.AckKeyManagement != 0 {
		return
	}
	n.act(role.RenewKeys{Home: n.config.HomeAddress, Agent: n.reg.agent, CareOf: careOf})
}
