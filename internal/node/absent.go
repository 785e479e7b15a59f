package node

import (
	"net"
	"slices"

	"roam6/internal/config"
)

// noteAbsent logs which interfaces of a configuration there are not. They may come at any
// time, as modems do; a name that is misspelt never does, and nothing else would say so.
func (s *Shell) noteAbsent(c *config.Config) {
	all, err := net.Interfaces()
	if err != nil {
		return // whoever needs them says why they cannot be read
	}
	for _, name := range interfaceNames(c) {
		if !slices.ContainsFunc(all, func(i net.Interface) bool { return i.Name == name }) {
			s.log.Warn("interface is not there, waiting for it", "interface", name)
		}
	}
}

// interfaceNames are the interfaces that a configuration names, each once and in order.
func interfaceNames(c *config.Config) []string {
	var names []string
	for _, m := range c.MobileNodes {
		names = append(append(names, m.Uplinks...), m.Downstreams...)
	}
	for _, r := range c.PrefixRequests {
		names = append(append(names, r.Uplink), r.Downstreams...)
	}
	for _, a := range c.HomeAgents {
		names = append(names, a.Interface)
	}
	for _, i := range c.Interfaces {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
