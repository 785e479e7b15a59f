package mn

import (
	"net/netip"
	"slices"

	"roam6/internal/role"
	"roam6/overlay"
)

// forward installs the tunnel of the current attachment, or swaps its path, or
// removes it at home. What is so already is not done again.
func (n *Node) forward() {
	n.installRegionals()
	n.forwardHome()
	n.removeRegionals()
}

// forwardHome is forward for the tunnel to the home agent.
func (n *Node) forwardHome() {
	want, keep := n.wantedTunnel()
	if keep || want == nil && n.tunnel == nil || want != nil && n.tunnel != nil && sameTunnel(want, n.tunnel) {
		return
	}
	n.tunnel = want
	if want == nil {
		key := overlay.Key{Home: n.config.HomeAddress, Side: overlay.MobileSide}
		n.act(role.Forward{Changes: []overlay.Change{{Remove: key}}})
		return
	}
	set := *want
	n.act(role.Forward{Changes: []overlay.Change{{Set: &set}}})
}

// wantedTunnel is the tunnel as it is to be; nil at home and before a home agent
// is known. keep: nothing better is known than what is installed.
func (n *Node) wantedTunnel() (want *overlay.Tunnel, keep bool) {
	a := n.current
	if a == nil || a.home {
		return nil, false
	}
	agent := n.carrier().agent
	if !a.careOf.IsValid() || !agent.IsValid() {
		return nil, true
	}
	from := n.inUse(a)
	inner := []netip.Prefix{netip.PrefixFrom(n.config.HomeAddress, 128)}
	if n.extension != nil {
		inner = append(inner, n.extension.Inner()...)
	}
	return &overlay.Tunnel{
		Key:   overlay.Key{Home: n.config.HomeAddress, Side: overlay.MobileSide},
		Inner: inner,
		Paths: []overlay.Path{{Local: from.careOf, Remote: agent, Link: from.link}},
		Watch: n.optimiser.Active(),
	}, false
}

func sameTunnel(a, b *overlay.Tunnel) bool {
	return a.Watch == b.Watch && slices.Equal(a.Inner, b.Inner) && slices.Equal(a.Paths, b.Paths)
}
