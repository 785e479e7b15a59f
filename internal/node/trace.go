package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"roam6/ha"
	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/role"
	"roam6/internal/trace"
	"roam6/mr"
)

// tracing is a trace that is being recorded. The loop owns it.
type tracing struct {
	stream  *trace.Stream
	request control.TraceRequest
	roles   map[role.Machine]traced
	written chan struct{} // closed when nothing is written any more
}

// traced is a role that is recorded.
type traced struct {
	*trace.Recorder
	random *tap
}

// handle has a role handle an event, and records that.
func (s *Shell) handle(now time.Time, m role.Machine, e role.Event) []role.Action {
	actions := m.Handle(now, e)
	if s.tracing != nil {
		if r, ok := s.tracing.roles[m]; ok {
			r.Handled(now, e, actions, r.random.take(), m.Next())
		}
	}
	return actions
}

// errTracing: one trace at a time.
var errTracing = errors.New("a trace is being recorded already: end that one first")

// Trace implements control.Tracer.
func (s *Shell) Trace(ctx context.Context, q control.TraceRequest, w io.Writer) error {
	var t *tracing
	var refused error
	if err := s.ask(ctx, func(now time.Time) { t, refused = s.beginTrace(now, q) }); err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	err := t.stream.Write(ctx, w)
	close(t.written)
	r := request{do: func(time.Time) { s.endTrace(t) }, done: make(chan struct{})}
	select {
	case s.requests <- r:
		<-r.done
	case <-s.done: // the loop has ended, and the trace with it
	}
	return err
}

// beginTrace begins to record.
func (s *Shell) beginTrace(now time.Time, q control.TraceRequest) (*tracing, error) {
	t := &tracing{stream: trace.NewStream(now, s.version), request: q, roles: make(map[role.Machine]traced), written: make(chan struct{})}
	switch {
	case s.tracing != nil:
		return nil, errTracing
	case s.ended.Load():
		return nil, errors.New("roam6 stops")
	}
	mobiles := slices.DeleteFunc(slices.Clone(s.mobiles), func(h *mobileHost) bool { return h.ending || !t.wants(h.config.Name) })
	agents := slices.DeleteFunc(slices.Clone(s.agents), func(h *agentHost) bool { return !t.wants(h.config.Name) })
	anchors := slices.DeleteFunc(slices.Clone(s.anchors), func(h *anchorHost) bool { return !t.wants(h.config.Name) })
	clients, delegators := s.tracedClients(t), s.tracedDelegators(t)
	correspondent := s.correspondent != nil && (q.Role == correspondentRole || q.Role == "" && s.config.Correspondent.Enabled)
	roles := len(mobiles) + len(agents) + len(anchors) + len(clients) + len(delegators)
	if correspondent {
		roles++
	}
	switch {
	case roles == 0 && q.Role != "":
		return nil, fmt.Errorf("there is no mobile node, mobile router, home agent or anchor %q, nor an interface of that name with a DHCPv6 client: of others but the %s no trace can be recorded", q.Role, correspondentRole)
	case roles == 0:
		return nil, errors.New("there is no mobile node, mobile router, home agent, anchor, enabled correspondent or DHCPv6 client: of others no trace can be recorded")
	case roles > trace.MaxRoles:
		return nil, fmt.Errorf("%d roles are more than a trace can have: choose one with --role", roles)
	}
	s.tracing = t
	for _, h := range agents {
		if q.Anew {
			s.agentAnew(now, h)
		} else {
			s.traceAgent(now, h, false, trace.Known{Memories: h.machine.Memories(), Delegated: h.machine.Delegated()})
		}
	}
	for _, h := range anchors {
		if q.Anew {
			s.anchorAnew(now, h)
		} else {
			s.traceAnchor(now, h, false, h.machine.Memories())
		}
	}
	if correspondent {
		if q.Anew {
			s.correspondentAnew(now)
		} else {
			s.traceCorrespondent(now, false)
		}
	}
	for _, h := range delegators {
		if q.Anew {
			s.delegatorAnew(now, h)
		} else {
			s.traceDelegator(now, h, nil, control.DelegationsOf(h.config.Name, h.machine.Leases(now)))
		}
	}
	for _, u := range clients {
		if q.Anew && q.Role != "" {
			s.endClient(now, u) // another one begins when it has ended
		} else {
			s.traceClient(now, u, nil, control.LeaseClientOf(control.ForUplink, u.machine.Snapshot(now)))
		}
	}
	for _, h := range mobiles {
		if q.Anew {
			s.beginAnew(now, h)
		} else {
			s.traceMobile(now, h, false)
		}
	}
	s.log.Info("a trace is being recorded", "role", q.Role, "anew", q.Anew)
	return t, nil
}

// beginAnew ends a mobile in order, to have another in its place.
func (s *Shell) beginAnew(now time.Time, h *mobileHost) {
	h.ending = true
	s.successors = append(s.successors, h.config)
	s.carryOut(h.machine, h.machine.Handle(now, role.Stop{}))
}

// agentAnew has another home agent take the place of one, with its bindings, as after a
// restart: the mobiles do not notice. What is in the kernel stays.
func (s *Shell) agentAnew(now time.Time, h *agentHost) {
	old, memories, delegated := h.machine, slices.Collect(h.machine.Memories()), h.machine.Delegated()
	fresh := s.newAgentHost(now, h.config, s.config.Mobiles)
	h.machine, h.random = fresh.machine, fresh.random
	s.succeed(old, h.machine)
	for _, d := range delegated {
		s.carryOut(h.machine, h.machine.Handle(now, d))
	}
	s.carryOut(h.machine, h.machine.Restore(now, memories))
	s.traceAgent(now, h, true, trace.Known{Memories: slices.Values(memories), Delegated: delegated})
	s.introduce(now, h.machine)
}

// succeed has one role have what another had, which it takes the place of: what is in the
// kernel for it, and its memory.
func (s *Shell) succeed(old, by role.Machine) {
	s.holders.succeed(old, by)
	if k, kept := s.memories[old]; kept {
		s.memories[by] = k
		delete(s.memories, old)
	}
}

func (t *tracing) wants(section string) bool {
	return t.request.Role == "" || t.request.Role == section
}

// records reports whether the role of a section that begins now is recorded.
func (s *Shell) records(section string) bool {
	t := s.tracing
	return t != nil && t.wants(section) && len(t.roles) < trace.MaxRoles
}

// endTrace ends a trace, unless another was begun.
func (s *Shell) endTrace(t *tracing) {
	if s.tracing != t || t == nil {
		return
	}
	for _, r := range t.roles {
		r.random.stop()
	}
	t.stream.End()
	s.tracing = nil
	s.log.Info("the trace has ended")
}

// finishTrace lets what the roles decided at the end be written.
func (s *Shell) finishTrace() {
	const patience = time.Second
	if t := s.tracing; t != nil {
		s.endTrace(t)
		select {
		case <-t.written:
		case <-time.After(patience):
		}
	}
}

// label names a role in the trace: by its section or, where that has no name of its own,
// by its address.
func label(section string, address netip.Addr, taken func(string) bool) string {
	if section == "" || taken(section) {
		return address.String()
	}
	return section
}

// traceMobile begins to record a mobile, one that was made just now or one that runs. It
// is called for each that is made, whether or not there is a trace.
func (s *Shell) traceMobile(now time.Time, h *mobileHost, made bool) {
	if !s.records(h.config.Name) {
		h.random.stop()
		return
	}
	kind := trace.KindNode
	if h.config.Router {
		kind = trace.KindRouter
	}
	var shown any
	if !made {
		h.random.begin()
		shown = control.UpdateOf(h.machine.Snapshot(now))
	}
	state, err := stateOf(shown)
	if err != nil {
		s.record(h.machine, h.random, nil, err)
		return
	}
	name := label(h.config.Name, homeOf(h.config), func(name string) bool {
		return slices.ContainsFunc(s.mobiles, func(o *mobileHost) bool { return o != h && o.config.Name == name })
	})
	r, err := s.tracing.stream.Mobile(now, name, kind, s.tracedConfig(h), h.random.take().Random, state)
	s.record(h.machine, h.random, r, err)
}

// tracedConfig is the configuration that a mobile has.
func (s *Shell) tracedConfig(h *mobileHost) mr.Config {
	return routerConfig(h.config, s.surroundings(h.config), h.seed)
}

// traceAgent is traceMobile for a home agent, and what it was restored from, if it was made
// just now.
func (s *Shell) traceAgent(now time.Time, h *agentHost, made bool, known trace.Known) {
	if !s.records(h.config.Name) {
		h.random.stop()
		return
	}
	c := agentConfig(h.config, s.config.Mobiles, s.deprecatedSince(now, h.config.Name))
	name := label(h.config.Name, h.config.Address, func(name string) bool {
		return slices.ContainsFunc(s.mobiles, func(o *mobileHost) bool { return o.config.Name == name })
	})
	start := trace.StartNew
	if !made {
		h.random.begin()
		start = trace.StartRestored
		known.Links = s.linksNow()
	}
	r, err := s.tracing.stream.Agent(now, name, start, c, h.random.take().Random, known)
	s.record(h.machine, h.random, r, err)
}

// record has a role recorded from now on, unless that could not be begun.
func (s *Shell) record(m role.Machine, random *tap, r *trace.Recorder, err error) {
	if err != nil {
		random.stop()
		s.tell(err)
		return
	}
	s.tracing.roles[m] = traced{r, random}
}

// traceEnd records that a role has ended.
func (s *Shell) traceEnd(now time.Time, m role.Machine) {
	if s.tracing == nil {
		return
	}
	if r, ok := s.tracing.roles[m]; ok {
		r.Ended(now)
		delete(s.tracing.roles, m)
	}
}

// reconfigureMobile gives a mobile another configuration, and records that; see
// mobileHost.reconfigure.
func (s *Shell) reconfigureMobile(now time.Time, h *mobileHost, c config.MobileNode) ([]role.Action, bool) {
	actions, ok := h.reconfigure(now, c, s.surroundings(c))
	if s.tracing == nil || !ok {
		return actions, ok
	}
	if r, traced := s.tracing.roles[h.machine]; traced {
		r.MobileReconfigured(now, s.tracedConfig(h), actions, r.random.take(), h.machine.Next())
	}
	return actions, true
}

// reconfigureAgent is reconfigureMobile for a home agent.
func (s *Shell) reconfigureAgent(now time.Time, h *agentHost, c ha.Config) []role.Action {
	c.Random = h.random.octets
	return reconfigure(s, now, h.machine, c, (*trace.Recorder).AgentReconfigured)
}

// reconfigurable is a role that takes a new configuration.
type reconfigurable[C any] interface {
	role.Machine
	Reconfigure(now time.Time, c C) []role.Action
}

// reconfigure gives a role another configuration, and records that as its recorder does.
func reconfigure[C any](s *Shell, now time.Time, m reconfigurable[C], c C,
	record func(r *trace.Recorder, now time.Time, c C, actions []role.Action, drawn trace.Drawn, next time.Time)) []role.Action {
	actions := m.Reconfigure(now, c)
	if s.tracing != nil {
		if r, traced := s.tracing.roles[m]; traced {
			record(r.Recorder, now, c, actions, r.random.take(), m.Next())
		}
	}
	return actions
}

var _ control.Tracer = (*Shell)(nil)
