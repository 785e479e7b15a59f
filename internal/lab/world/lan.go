package world

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"roam6/internal/lab/netns"
	"roam6/internal/lab/relay"
)

// bridgeName is the bridge of a switch.
const bridgeName = "switch"

// addLAN makes a switch and plugs the nodes in. All its links go through the
// relay, so that nodes can be unplugged.
func (w *World) addLAN(l LAN) error {
	s, err := netns.New(l.Name)
	if err != nil {
		return err
	}
	w.switches[l.Name] = s
	if err := s.SetSysctl("net/ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return err
	}
	// Without a querier nothing is known of listeners: multicast goes to all.
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName, MTU: mtu, TxQLen: -1}, MulticastSnooping: &snooping}
	if err := s.Link.LinkAdd(bridge); err != nil {
		return fmt.Errorf("create bridge: %w", err)
	}
	if err := s.Link.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set bridge up: %w", err)
	}
	for i, e := range l.Ends {
		node, err := w.relayed(e)
		if err != nil {
			return err
		}
		port, err := w.relayed(End{Node: l.Name, Interface: fmt.Sprintf("port%d", i)})
		if err != nil {
			return err
		}
		if err := w.Relay.Connect(node.port, port.port, relay.Impairment{}); err != nil {
			return err
		}
	}
	return nil
}

// enslave makes an interface a port of the switch that it is at.
func (w *World) enslave(e End) error {
	s := w.switches[e.Node]
	port, err := s.Link.LinkByName(e.Interface)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", e.Node, e.Interface, err)
	}
	bridge, err := s.Link.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Node, err)
	}
	return errors.Join(s.Link.LinkSetMaster(port, bridge), s.Link.LinkSetUp(port))
}

// home is the namespace that an interface is in.
func (w *World) home(e End) *netns.Space {
	if s, ok := w.switches[e.Node]; ok {
		return s
	}
	return w.spaces[e.Node]
}
