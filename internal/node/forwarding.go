package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"roam6/internal/config"
)

// forwarding switches IPv6 forwarding on where a role forwards.
func (s *Shell) forwarding() {
	needed := len(s.config.HomeAgents)+len(s.config.PrefixRequests) > 0 || len(s.advertised) > 0
	for _, m := range s.config.MobileNodes {
		needed = needed || m.Router
	}
	if !needed {
		return
	}
	was, err := s.sysctls.Get("conf/all/forwarding")
	if err == nil && was == "1" {
		return
	}
	if err == nil {
		err = s.sysctls.Set("conf/all/forwarding", "1")
	}
	if err != nil {
		s.log.Warn("IPv6 forwarding is off and cannot be switched on: set net.ipv6.conf.all.forwarding=1", "reason", err)
		return
	}
	s.log.Info("IPv6 forwarding switched on while roam6 runs")
	s.forwards = true
	for name := range s.hostLinks() {
		s.spareForeign(name)
	}
}

// hostLinks are the uplinks of others on which the kernel is a host: it configures
// them by what routers advertise. Those of prefix requests are among them where no
// mobile is attached.
func (s *Shell) hostLinks() map[string]bool {
	names := make(map[string]bool)
	for _, u := range s.config.Uplinks {
		names[u.Name] = u.Addressing == config.AddressingForeign
	}
	for _, r := range s.config.PrefixRequests {
		names[r.Uplink] = !slices.ContainsFunc(s.config.MobileNodes, func(m config.MobileNode) bool { return slices.Contains(m.Uplinks, r.Uplink) })
	}
	maps.DeleteFunc(names, func(name string, others bool) bool {
		was, err := s.sysctls.Original("conf/" + name + "/forwarding")
		if err != nil { // not there yet
			was, err = s.sysctls.Original("conf/default/forwarding")
		}
		return !others || err != nil || was != "0"
	})
	return names
}

// spareForeign keeps the kernel a host on such an uplink, where forwarding was
// switched on for the whole node: a router hears no other routers. Packets are
// forwarded all the same, as the setting of the whole node alone decides that.
func (s *Shell) spareForeign(name string) {
	if !s.forwards || !s.hostLinks()[name] {
		return
	}
	if err := s.sysctls.PutBack("conf/"+name+"/forwarding", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "the kernel may stop to configure an uplink that is left to it",
			slog.String("link", name), slog.String("reason", err.Error()))
	}
}
