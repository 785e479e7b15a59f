package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"roam6/internal/control"
)

// configured is where the configuration that is in force is from, and what became of the
// last attempt to change it. The mutex of the Shell guards it.
type configured struct {
	loaded time.Time
	failed time.Time // zero: the last attempt succeeded
	reason string
}

// noteReload notes and counts what became of an attempt to reload.
func (s *Shell) noteReload(err error) {
	s.metrics.Reloaded(err)
	state := ""
	if err != nil {
		state = "goes on with the configuration of before: " + s.path + " was not reloaded"
	}
	s.tell(tellSupervisor(supervisorStatus + state))
	s.configuredMu.Lock()
	defer s.configuredMu.Unlock()
	if err != nil {
		s.configured.failed, s.configured.reason = time.Now(), err.Error()
		return
	}
	s.configured = configured{loaded: time.Now()}
}

// status is what an operator looks at first.
func (s *Shell) status(now time.Time) control.Status {
	d := control.Status{
		Version: s.version, Uptime: control.Seconds(now.Sub(s.started)),
		Configuration: s.showConfigured(now), Roles: []control.RoleStatus{}, Trouble: s.trouble(),
	}
	if s.plane != nil {
		d.Plane = s.plane.Name()
	}
	add := func(kind, name string, good bool, format string, args ...any) {
		d.Roles = append(d.Roles, control.RoleStatus{Kind: kind, Name: name, Good: good, State: fmt.Sprintf(format, args...)})
	}
	for _, h := range s.mobiles {
		kind := "mobile node"
		if h.config.Router {
			kind = "mobile router"
		}
		d.Roles = append(d.Roles, control.MobileStatus(kind, control.UpdateOf(h.machine.Snapshot(now))))
	}
	for _, h := range s.agents {
		x, state, good := h.machine.Stats(), "", true
		if h.config.Interface != "" && !s.hasLink(h.config.Interface) {
			state, good = ", "+h.config.Interface+" is missing", false
		}
		add("home agent", h.config.Name, good, "%d of %d mobiles registered%s", x.Bindings, x.Mobiles, state)
	}
	for _, h := range s.anchors {
		good := h.config.Interface == "" || s.hasLink(h.config.Interface)
		state := ""
		if !good {
			state = ", " + h.config.Interface + " is missing"
		}
		add("anchor", h.config.Name, good, "%d visitors registered%s", h.machine.Stats().Bindings, state)
	}
	if s.correspondent != nil && s.config.Correspondent.Enabled {
		add("correspondent", "", true, "%d mobiles have optimised their routes", s.correspondent.machine.Stats().Bindings)
	}
	for _, a := range s.showAdvertisements(now).Interfaces {
		state := a.State
		if a.Trouble != "" {
			state += ": " + a.Trouble
		}
		add("advertiser", a.Interface, a.State == stateSending, "%s", state)
	}
	for _, c := range s.leases(now).Clients {
		good := c.State == "bound" || c.State == "renewing" || c.State == "informed" || c.State == "idle"
		add("DHCPv6 client", c.Name, good, "%s", c.State)
	}
	return d
}

func (s *Shell) showConfigured(now time.Time) control.Configuration {
	s.configuredMu.Lock()
	defer s.configuredMu.Unlock()
	c := s.configured
	if c.loaded.IsZero() {
		c.loaded = s.started
	}
	d := control.Configuration{File: s.path, Loaded: control.Time{Time: c.loaded}, Age: age(now, c.loaded)}
	if !c.failed.IsZero() {
		d.Failed = &control.FailedReload{Time: control.Time{Time: c.failed}, Age: age(now, c.failed), Error: c.reason}
	}
	return d
}

// trouble are the counters that should not count, in words.
func (s *Shell) trouble() []string {
	list := []string{}
	if n := s.lostEvents.Load(); n > 0 {
		list = append(list, fmt.Sprintf("events lost since the start: %d, more came than could be handled", n))
	}
	if s.watcher != nil {
		if n := s.watcher.Counters().Resubscribed; n > 0 {
			list = append(list, fmt.Sprintf("overruns of the kernel's notifications since the start: %d", n))
		}
	}
	counted := func(what string, counts map[string]uint64) {
		var parts []string
		for reason, n := range counts {
			if n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", reason, n))
			}
		}
		if slices.Sort(parts); len(parts) > 0 {
			list = append(list, what+" dropped since the start: "+strings.Join(parts, ", "))
		}
	}
	counted("signalling messages", control.MessagesDroppedOf(s.metrics.MessagesDropped()))
	counted("DHCPv6 messages", control.MessagesDroppedOf(s.metrics.DHCPMessagesDropped()))
	if s.plane != nil {
		packets := make(map[string]uint64)
		for r, n := range s.plane.Drops() {
			packets[r.String()] = n
		}
		counted("packets", packets)
	}
	if s.tracing != nil {
		list = append(list, fmt.Sprintf("a trace is being recorded, of %d roles", len(s.tracing.roles)))
	}
	return list
}
