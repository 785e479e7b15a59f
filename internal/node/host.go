package node

import (
	"net/netip"
	"time"

	"roam6/ha"
	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mr"
)

// mobileMachine is a mobile node or a mobile router, seen from the shell.
type mobileMachine interface {
	role.Machine
	Done() bool
	Snapshot(now time.Time) mn.Snapshot
}

// mobileHost is a mobile node or router that the shell hosts.
type mobileHost struct {
	machine mobileMachine
	config  config.MobileNode
	seed    uint64
	ending  bool // Stop was delivered
}

func newMobileHost(c config.MobileNode, seed uint64) *mobileHost {
	h := &mobileHost{config: c, seed: seed}
	if c.Router {
		h.machine = mr.New(routerConfig(c, seed))
	} else {
		h.machine = mn.New(mobileConfig(c, seed), nil)
	}
	return h
}

// reconfigure applies c in place where the role can; ok is false where it has
// to be ended in order and begun anew: another home address or home agent, or
// a node made a router.
func (h *mobileHost) reconfigure(now time.Time, c config.MobileNode) (actions []role.Action, ok bool) {
	if h.ending || h.config.HomeAddress != c.HomeAddress || h.config.HomeAgent != c.HomeAgent || h.config.Router != c.Router {
		return nil, false
	}
	h.config = c
	switch m := h.machine.(type) {
	case *mr.Router:
		return m.Reconfigure(now, routerConfig(c, h.seed)), true
	case *mn.Node:
		return m.Reconfigure(now, mobileConfig(c, h.seed)), true
	}
	return nil, false
}

// takes reports whether a Mobility Header message is for this mobile.
func (h *mobileHost) takes(p mip6.Packet) bool {
	if p.To() == h.config.HomeAddress.Addr() {
		return true
	}
	// A binding error goes to the address that the offending packet came from.
	_, isError := p.Message.(mip6.BindingError)
	return isError && p.Source == h.config.HomeAgent
}

// agentHost is a home agent that the shell hosts.
type agentHost struct {
	machine *ha.Agent
	config  config.HomeAgent
}

func (h *agentHost) takes(p mip6.Packet) bool { return p.Destination == h.config.Address }

// homeOf is the identity of a configured mobile.
func homeOf(c config.MobileNode) netip.Addr { return c.HomeAddress.Addr() }
