package trace

import (
	"encoding/json"
	"iter"
	"time"

	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mr"
)

// Recorder records one role. It belongs to the goroutine that owns the role.
type Recorder struct {
	stream *Stream
	name   string
	keys   *keyring
}

// Mobile begins to record a mobile node or router: one that was made of c a moment ago,
// with the given octets of randomness, or, with a state, one that runs.
func (s *Stream) Mobile(now time.Time, name string, kind Kind, c mr.Config, random []byte, state json.RawMessage) (*Recorder, error) {
	config, err := encodeMobile(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	r.keys.mobile(c.Config)
	b := Begin{Kind: kind, Start: StartNew, Config: config}
	if state != nil {
		b.Start, b.State = StartUnknown, state
	}
	e := r.entry(now)
	e.Begin, e.Random = &b, random
	return r, s.begin(e)
}

// AgentState is what a home agent knows when a trace of it begins, as far as it is told.
type AgentState struct {
	Memories  iter.Seq[binding.Memory]
	Delegated []role.PrefixesDelegated
	Links     []role.Link
}

// Agent begins to record a home agent: one that was made of c a moment ago, with the given
// octets of randomness, or one that ran before. Where the bindings are so many that they do
// not fit, its state is unknown.
func (s *Stream) Agent(now time.Time, name string, start Start, c ha.Config, random []byte, known AgentState) (*Recorder, error) {
	config, err := encodeAgent(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	r.keys.agent(c)
	b := Begin{Kind: KindAgent, Start: start, Config: config, Links: known.Links}
	for _, d := range known.Delegated {
		b.Delegated = append(b.Delegated, s.ofDelegated(d))
	}
	room := MaxLine/2 - len(config) // the rest is for delegations and links
	for m := range known.Memories {
		o := s.ofMemory(m)
		if room -= 2*len(o) + 3; room < 0 {
			b.Start, b.Memories, b.Delegated, b.Links = StartUnknown, nil, nil, nil
			break
		}
		b.Memories = append(b.Memories, o)
	}
	e := r.entry(now)
	e.Begin, e.Random = &b, random
	return r, s.begin(e)
}

func (r *Recorder) entry(now time.Time) Entry {
	return Entry{At: int64(now.Sub(r.stream.start)), Wall: now.Round(0), Role: r.name}
}

// Handled records an event, what the role decided, the randomness that it took for that,
// and when it wants to be woken. An event or action that cannot be encoded is a gap.
func (r *Recorder) Handled(now time.Time, e role.Event, actions []role.Action, random []byte, next time.Time) {
	entry := r.entry(now)
	if m, ok := e.(role.MessageReceived); ok {
		entry.Authentic = r.keys.authentic(m.Packet)
		r.keys.received(m.Packet)
		m.Packet = r.stream.veil.packet(m.Packet)
		e = m
	}
	t, err := r.stream.encodeEvent(e)
	if err != nil {
		r.lost()
		return
	}
	entry.Event = &t
	r.decided(entry, actions, random, next)
}

// MobileReconfigured records a new configuration, and what the role decided.
func (r *Recorder) MobileReconfigured(now time.Time, c mr.Config, actions []role.Action, random []byte, next time.Time) {
	config, err := encodeMobile(c)
	if err != nil {
		r.lost()
		return
	}
	r.keys.mobile(c.Config)
	entry := r.entry(now)
	entry.Reconfigure = config
	r.decided(entry, actions, random, next)
}

// AgentReconfigured is MobileReconfigured for a home agent.
func (r *Recorder) AgentReconfigured(now time.Time, c ha.Config, actions []role.Action, random []byte, next time.Time) {
	config, err := encodeAgent(c)
	if err != nil {
		r.lost()
		return
	}
	r.keys.agent(c)
	entry := r.entry(now)
	entry.Reconfigure = config
	r.decided(entry, actions, random, next)
}

// decided completes an entry with what the role did.
func (r *Recorder) decided(entry Entry, actions []role.Action, random []byte, next time.Time) {
	for _, a := range actions {
		if s, ok := a.(role.Send); ok {
			r.keys.sent(s.Packet)
			s.Packet = r.stream.veil.packet(s.Packet)
			a = s
		}
		t, err := r.stream.encodeAction(a)
		if err != nil {
			r.lost()
			return
		}
		entry.Actions = append(entry.Actions, t)
	}
	entry.Random, entry.Next = random, r.stream.offset(next)
	r.stream.add(entry)
}

// Ended records that the role has ended.
func (r *Recorder) Ended(now time.Time) {
	e := r.entry(now)
	e.End = true
	r.stream.add(e)
}

// lost counts an entry that could not be made.
func (r *Recorder) lost() {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.stream.lost++
}
