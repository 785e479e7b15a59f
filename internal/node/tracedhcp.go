package node

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"roam6/dhcpv6/delegating"
	"roam6/internal/role"
	"roam6/internal/trace"
)

// The names in a trace of DHCPv6 clients, with the interface behind, and of delegating
// routers, with the home agent's section behind. No section has a name with a colon.
const (
	clientRole    = "dhcpv6:"
	delegatorRole = "delegation:"
)

// tracedClients are the DHCPv6 clients of uplinks that a trace wants, in the order of their
// interfaces' indices.
func (s *Shell) tracedClients(t *tracing) (list []*uplinkClient) {
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		if u := s.clients[index]; u.machine != nil && !u.ending && t.wants(u.link.Name) {
			list = append(list, u)
		}
	}
	return list
}

// tracedDelegators are the delegating routers that a trace wants.
func (s *Shell) tracedDelegators(t *tracing) []*delegatorHost {
	return slices.DeleteFunc(slices.Clone(s.delegators), func(h *delegatorHost) bool { return !t.wants(h.config.Name) })
}

// traceClient begins to record the DHCPv6 client of an uplink: one that was made just now of
// what was saved or, where something is shown of it, one that runs.
func (s *Shell) traceClient(now time.Time, u *uplinkClient, saved []byte, shown any) {
	if !s.records(u.link.Name) {
		u.random.stop()
		return
	}
	state, err := stateOf(shown)
	if err != nil {
		s.record(u.machine, u.random, nil, err)
		return
	}
	if shown != nil {
		u.random.begin()
	}
	r, err := s.tracing.stream.Client(now, clientRole+u.link.Name, s.clientConfig(u.link), saved, u.random.take().Random, state)
	s.record(u.machine, u.random, r, err)
}

// reconfigureClient is reconfigureMobile for a DHCPv6 client.
func (s *Shell) reconfigureClient(now time.Time, u *uplinkClient) []role.Action {
	c := s.clientConfig(u.link)
	c.Random = u.random.octets
	return reconfigure(s, now, u.machine, c, (*trace.Recorder).ClientReconfigured)
}

// delegatorAnew has another delegating router take the place of one, with its leases, as
// after a restart: nobody notices.
func (s *Shell) delegatorAnew(now time.Time, h *delegatorHost) {
	var saved []byte
	name := ""
	for _, a := range h.machine.Handle(now, role.Stop{}) {
		if x, ok := a.(role.Save); ok {
			saved, name = x.Data, x.Name
		}
		s.carryOut(h.machine, []role.Action{a})
	}
	if name == "" { // there was nothing new to keep
		saved = s.kept.load(keptName(keptDelegating+h.config.Name), delegating.CheckSaved)
	}
	h.machine = delegating.New(s.delegatingConfig(h.config), saved)
	s.traceDelegator(now, h, saved, nil)
	s.carryOut(h.machine, s.handle(now, h.machine, role.Timeout{}))
}

// traceDelegator is traceClient for a delegating router.
func (s *Shell) traceDelegator(now time.Time, h *delegatorHost, saved []byte, shown any) {
	if !s.records(h.config.Name) {
		return
	}
	none := new(tap) // it draws nothing
	state, err := stateOf(shown)
	if err != nil {
		s.record(h.machine, none, nil, err)
		return
	}
	r, err := s.tracing.stream.Delegator(now, delegatorRole+h.config.Name, s.delegatingConfig(h.config), saved, state)
	s.record(h.machine, none, r, err)
}

// reconfigureDelegator is reconfigureMobile for a delegating router.
func (s *Shell) reconfigureDelegator(now time.Time, h *delegatorHost) []role.Action {
	return reconfigure(s, now, h.machine, s.delegatingConfig(h.config), (*trace.Recorder).DelegatorReconfigured)
}

// stateOf is what is shown of a role that runs, for a trace; nil of one that was made now.
func stateOf(shown any) (json.RawMessage, error) {
	if shown == nil {
		return nil, nil
	}
	return json.Marshal(shown)
}
