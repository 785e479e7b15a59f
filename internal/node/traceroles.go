package node

import (
	"iter"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/trace"
)

// correspondentRole is the name of the correspondent in a trace: its section has none.
const correspondentRole = "correspondent"

// linksNow are the interfaces there are, in the order of their indices.
func (s *Shell) linksNow() (list []role.Link) {
	for _, l := range s.links {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b role.Link) int { return a.Index - b.Index })
	return list
}

// anchorAnew is agentAnew for a mobility anchor point.
func (s *Shell) anchorAnew(now time.Time, h *anchorHost) {
	old, memories := h.machine, slices.Collect(h.machine.Memories())
	fresh := s.newAnchorHost(h.config)
	h.machine, h.random, h.taken = fresh.machine, fresh.random, fresh.taken
	s.succeed(old, h.machine)
	if len(memories) > 0 {
		s.carryOut(h.machine, h.machine.Restore(now, memories))
	}
	s.traceAnchor(now, h, true, slices.Values(memories))
	s.introduce(now, h.machine)
}

// traceAnchor is traceAgent for a mobility anchor point.
func (s *Shell) traceAnchor(now time.Time, h *anchorHost, made bool, memories iter.Seq[binding.Memory]) {
	if !s.records(h.config.Name) {
		h.random.stop()
		return
	}
	name := label(h.config.Name, h.config.Address, func(name string) bool {
		return slices.ContainsFunc(s.mobiles, func(o *mobileHost) bool { return o.config.Name == name }) ||
			slices.ContainsFunc(s.agents, func(o *agentHost) bool { return o.config.Name == name })
	})
	start, known := trace.StartNew, trace.Known{Memories: memories}
	if !made {
		h.random.begin()
		start = trace.StartRestored
		known.Links = s.linksNow()
	}
	r, err := s.tracing.stream.Anchor(now, name, start, s.anchorConfig(h), h.random.take().Random, known)
	s.record(h.machine, h.random, r, err)
}

// reconfigureAnchor is reconfigureMobile for a mobility anchor point.
func (s *Shell) reconfigureAnchor(now time.Time, h *anchorHost) []role.Action {
	return reconfigure(s, now, h.machine, s.anchorConfig(h), (*trace.Recorder).AnchorReconfigured)
}

// correspondentAnew ends all bindings of the correspondent, and has another one take its
// place, with other secrets. The mobiles notice: their packets along the routes of before
// are answered with Binding Errors (RFC 6275 §9.3.3), updates with the nonces of before with
// a status (§9.5.1), and both has them test anew.
func (s *Shell) correspondentAnew(now time.Time) {
	h := s.correspondent
	s.carryOut(h.machine, h.machine.Handle(now, role.Stop{}))
	s.correspondent = newCorrespondentHost(s.config.Correspondent)
	s.traceCorrespondent(now, true)
}

// traceCorrespondent is traceMobile for the correspondent.
func (s *Shell) traceCorrespondent(now time.Time, made bool) {
	h := s.correspondent
	var shown any
	if !made {
		h.random.begin()
		shown = s.correspondentBindings(now)
	}
	state, err := stateOf(shown)
	if err != nil {
		s.record(h.machine, h.random, nil, err)
		return
	}
	name := correspondentRole
	if slices.ContainsFunc(s.mobiles, func(o *mobileHost) bool { return o.config.Name == name }) ||
		slices.ContainsFunc(s.agents, func(o *agentHost) bool { return o.config.Name == name }) ||
		slices.ContainsFunc(s.anchors, func(o *anchorHost) bool { return o.config.Name == name }) {
		name = "(" + name + ")" // the name of no section
	}
	r, err := s.tracing.stream.Correspondent(now, name, h.machine, h.roleConfig(s.config.Correspondent), h.random.take().Random, state)
	s.record(h.machine, h.random, r, err)
}

// reconfigureCorrespondent is reconfigureMobile for the correspondent.
func (s *Shell) reconfigureCorrespondent(now time.Time, section config.Correspondent) []role.Action {
	h := s.correspondent
	return reconfigure(s, now, h.machine, h.roleConfig(section), (*trace.Recorder).CorrespondentReconfigured)
}
