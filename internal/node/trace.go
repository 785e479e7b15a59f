package node

import (
	"context"
	"encoding/json"
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

// tap is a role's source of randomness. As long as it keeps, take has what it gave.
type tap struct {
	keep  bool
	drawn []byte
}

func (t *tap) octets(b []byte) {
	randomOctets(b)
	if t.keep {
		t.drawn = append(t.drawn, b...)
	}
}

func (t *tap) take() []byte {
	drawn := t.drawn
	t.drawn = nil
	return drawn
}

// stop ends the keeping.
func (t *tap) stop() { t.keep, t.drawn = false, nil }

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
	mobiles := slices.DeleteFunc(slices.Clone(s.mobiles), func(h *mobileHost) bool { return h.ending || !t.wants(h.config.Name) })
	agents := slices.DeleteFunc(slices.Clone(s.agents), func(h *agentHost) bool { return !t.wants(h.config.Name) })
	switch {
	case s.tracing != nil:
		return nil, errTracing
	case s.ended.Load():
		return nil, errors.New("roam6 stops")
	case len(mobiles)+len(agents) == 0 && q.Role != "":
		return nil, fmt.Errorf("there is no mobile node, mobile router or home agent %q: of others no trace can be recorded", q.Role)
	case len(mobiles)+len(agents) == 0:
		return nil, errors.New("there is no mobile node, mobile router or home agent: of others no trace can be recorded")
	case len(mobiles)+len(agents) > trace.MaxRoles:
		return nil, fmt.Errorf("%d roles are more than a trace can have: choose one with --role", len(mobiles)+len(agents))
	}
	s.tracing = t
	for _, h := range agents {
		if q.Anew {
			s.agentAnew(now, h)
		} else {
			s.traceAgent(now, h, false, trace.AgentState{Memories: h.machine.Memories(), Delegated: h.machine.Delegated()})
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
	s.holders.succeed(old, h.machine)
	if k, kept := s.memories[old]; kept {
		s.memories[h.machine] = k
		delete(s.memories, old)
	}
	for _, d := range delegated {
		s.carryOut(h.machine, h.machine.Handle(now, d))
	}
	s.carryOut(h.machine, h.machine.Restore(now, memories))
	s.traceAgent(now, h, true, trace.AgentState{Memories: slices.Values(memories), Delegated: delegated})
	s.introduce(now, h.machine)
}

func (t *tracing) wants(section string) bool {
	return t.request.Role == "" || t.request.Role == section
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
	t := s.tracing
	if t == nil || !t.wants(h.config.Name) || len(t.roles) >= trace.MaxRoles {
		h.random.stop()
		return
	}
	kind := trace.KindNode
	if h.config.Router {
		kind = trace.KindRouter
	}
	var state json.RawMessage
	if !made {
		h.random.stop()
		h.random.keep = true
		var err error
		if state, err = json.Marshal(control.UpdateOf(h.machine.Snapshot(now))); err != nil {
			s.tell(err)
			return
		}
	}
	name := label(h.config.Name, homeOf(h.config), func(name string) bool {
		return slices.ContainsFunc(s.mobiles, func(o *mobileHost) bool { return o != h && o.config.Name == name })
	})
	r, err := t.stream.Mobile(now, name, kind, s.tracedConfig(h), h.random.take(), state)
	if err != nil {
		s.tell(err)
		return
	}
	t.roles[h.machine] = traced{r, h.random}
}

// tracedConfig is the configuration that a mobile has.
func (s *Shell) tracedConfig(h *mobileHost) mr.Config {
	return routerConfig(h.config, s.surroundings(h.config), h.seed)
}

// traceAgent is traceMobile for a home agent, and what it was restored from, if it was made
// just now.
func (s *Shell) traceAgent(now time.Time, h *agentHost, made bool, known trace.AgentState) {
	t := s.tracing
	if t == nil || !t.wants(h.config.Name) || len(t.roles) >= trace.MaxRoles {
		h.random.stop()
		return
	}
	c := agentConfig(h.config, s.config.Mobiles, s.deprecatedSince(now, h.config.Name))
	name := label(h.config.Name, h.config.Address, func(name string) bool {
		return slices.ContainsFunc(s.mobiles, func(o *mobileHost) bool { return o.config.Name == name })
	})
	start := trace.StartNew
	if !made {
		h.random.stop()
		h.random.keep, start = true, trace.StartRestored
		for _, l := range s.links {
			known.Links = append(known.Links, l)
		}
		slices.SortFunc(known.Links, func(a, b role.Link) int { return a.Index - b.Index })
	}
	r, err := t.stream.Agent(now, name, start, c, h.random.take(), known)
	if err != nil {
		s.tell(err)
		return
	}
	t.roles[h.machine] = traced{r, h.random}
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
	actions := h.machine.Reconfigure(now, c)
	if s.tracing != nil {
		if r, traced := s.tracing.roles[h.machine]; traced {
			r.AgentReconfigured(now, c, actions, r.random.take(), h.machine.Next())
		}
	}
	return actions
}

var _ control.Tracer = (*Shell)(nil)
