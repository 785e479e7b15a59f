package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/nd/ndconn"
)

// forwarding switches IPv6 forwarding on where a role forwards.
func (s *Shell) forwarding() {
	needed := len(s.config.HomeAgents)+len(s.config.Anchors)+len(s.config.PrefixRequests) > 0 || len(s.advertised) > 0
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
		err = s.forward()
	}
	if err != nil {
		s.log.Warn("IPv6 forwarding is off and cannot be switched on: set net.ipv6.conf.all.forwarding=1", "reason", err)
		return
	}
	s.log.Info("IPv6 forwarding switched on while roam6 runs")
	s.forwards = true
}

// forward switches forwarding on for the whole node, and leaves the kernel a host
// on hostLinks. It drops its default routes by routers at that moment, except on
// interfaces with accept_ra 2, and routers may not be heard for minutes.
func (s *Shell) forward() error {
	hosts := s.hostLinks()
	for name := range hosts {
		setting := "conf/" + name + "/accept_ra"
		if was, err := s.sysctls.Get(setting); err == nil && was == "1" {
			s.putBack(name, "accept_ra", "2")
			defer s.putBack(name, "accept_ra", "1")
		}
	}
	if err := s.sysctls.Set("conf/all/forwarding", "1"); err != nil {
		return err
	}
	for name := range hosts {
		s.putBack(name, "forwarding", "0")
	}
	for _, l := range s.links {
		s.prepareLink(l)
	}
	return nil
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
		names[r.Uplink] = names[r.Uplink] || !slices.ContainsFunc(s.config.MobileNodes, func(m config.MobileNode) bool { return slices.Contains(m.Uplinks, r.Uplink) })
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

// spareForeign keeps the kernel a host on such an uplink that is new, where
// forwarding was switched on for the whole node: a router hears no other routers.
// Packets are forwarded all the same, as the setting of the whole node alone decides
// that. The kernel solicits routers by itself only when the link comes up.
func (s *Shell) spareForeign(l role.Link) {
	if !s.forwards || !s.hostLinks()[l.Name] {
		return
	}
	if now, err := s.sysctls.Get("conf/" + l.Name + "/forwarding"); err == nil && now == "0" {
		return
	}
	s.putBack(l.Name, "forwarding", "0")
	if l.Up {
		s.solicit(l)
	}
}

// putBack sets a setting of an uplink that is left to the kernel to what it was.
func (s *Shell) putBack(name, setting, value string) {
	if err := s.sysctls.PutBack("conf/"+name+"/"+setting, value); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "the kernel may stop to configure an uplink that is left to it",
			slog.String("link", name), slog.String("setting", setting), slog.String("reason", err.Error()))
	}
}

// solicit asks the routers of a link to advertise, for the kernel to hear them.
func (s *Shell) solicit(l role.Link) {
	if c := s.conns[l.Index]; c != nil {
		s.tell(c.SendRS())
		return
	}
	c, err := ndconn.Open(ndconn.LinkRef{Index: l.Index, Name: l.Name, MTU: l.MTU}, func(ndconn.Received) {})
	if err == nil {
		err = errors.Join(c.SendRS(), c.Close())
	}
	s.tell(err)
}
