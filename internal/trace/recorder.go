package trace

import (
	"encoding/json"
	"iter"
	"time"

	"roam6/cn"
	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/role"
	anchor "roam6/map"
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
	return r, r.begin(now, Begin{Kind: kind, Config: config}, random, state)
}

// Correspondent begins to record a correspondent: one that was made of c a moment ago, with
// the given octets of randomness, or, with a state, one that runs. None of its secrets is
// among them (cn.Config).
func (s *Stream) Correspondent(now time.Time, name string, m *cn.Correspondent, c cn.Config, random []byte, state json.RawMessage) (*Recorder, error) {
	config, err := encodeCorrespondent(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	r.keys.correspondent = m
	return r, r.begin(now, Begin{Kind: KindCorrespondent, Config: config}, random, state)
}

// Client begins to record a DHCPv6 client of an uplink: one that was made a moment ago of c
// and what was saved or, with a state, one that runs.
func (s *Stream) Client(now time.Time, name string, c dhcpv6.Config, saved, random []byte, state json.RawMessage) (*Recorder, error) {
	config, err := encodeClient(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	return r, r.begin(now, Begin{Kind: KindClient, Config: config, Saved: saved}, random, state)
}

// Delegator is Client for a delegating router.
func (s *Stream) Delegator(now time.Time, name string, c delegating.Config, saved []byte, state json.RawMessage) (*Recorder, error) {
	config, err := encodeDelegator(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	return r, r.begin(now, Begin{Kind: KindDelegator, Config: config, Saved: saved}, nil, state)
}

// begin records the beginning of a role that is new or, with a state, unknown.
func (r *Recorder) begin(now time.Time, b Begin, random []byte, state json.RawMessage) error {
	b.Start = StartNew
	if state != nil {
		b.Start, b.State = StartUnknown, state
	}
	e := r.entry(now)
	e.Begin, e.Random = &b, random
	return r.stream.begin(e)
}

// Known is what a home agent or anchor knows when a trace of it begins, as far as it is
// told.
type Known struct {
	Memories  iter.Seq[binding.Memory]
	Delegated []role.PrefixesDelegated // to mobiles of a home agent
	Links     []role.Link
}

// Agent begins to record a home agent: one that was made of c a moment ago, with the given
// octets of randomness, or one that ran before. Where the bindings are so many that they do
// not fit, its state is unknown.
func (s *Stream) Agent(now time.Time, name string, start Start, c ha.Config, random []byte, known Known) (*Recorder, error) {
	config, err := encodeAgent(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	r.keys.agent(c)
	return r, r.restored(now, Begin{Kind: KindAgent, Start: start, Config: config}, random, known)
}

// Anchor is Agent for a mobility anchor point.
func (s *Stream) Anchor(now time.Time, name string, start Start, c anchor.Config, random []byte, known Known) (*Recorder, error) {
	config, err := encodeAnchor(c)
	if err != nil {
		return nil, err
	}
	r := &Recorder{stream: s, name: name, keys: newKeyring()}
	r.keys.anchor(c)
	return r, r.restored(now, Begin{Kind: KindAnchor, Start: start, Config: config}, random, known)
}

// restored records the beginning of a role that has bindings.
func (r *Recorder) restored(now time.Time, b Begin, random []byte, known Known) error {
	s := r.stream
	b.Links = known.Links
	for _, d := range known.Delegated {
		b.Delegated = append(b.Delegated, s.ofDelegated(d))
	}
	room := MaxLine/2 - len(b.Config) // the rest is for delegations and links
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
	return s.begin(e)
}

func (r *Recorder) entry(now time.Time) Entry {
	return Entry{At: int64(now.Sub(r.stream.start)), Wall: now.Round(0), Role: r.name}
}

// Handled records an event, what the role decided, what it drew for that, and when it wants
// to be woken. An event or action that cannot be encoded is a gap.
func (r *Recorder) Handled(now time.Time, e role.Event, actions []role.Action, drawn Drawn, next time.Time) {
	entry := r.entry(now)
	if m, ok := e.(role.MessageReceived); ok {
		entry.Authentic = r.keys.authentic(now, m.Packet)
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
	r.decided(entry, actions, drawn, next)
}

// MobileReconfigured records a new configuration, and what the role decided.
func (r *Recorder) MobileReconfigured(now time.Time, c mr.Config, actions []role.Action, drawn Drawn, next time.Time) {
	r.keys.mobile(c.Config)
	config, err := encodeMobile(c)
	r.reconfigured(now, config, err, actions, drawn, next)
}

// AgentReconfigured is MobileReconfigured for a home agent.
func (r *Recorder) AgentReconfigured(now time.Time, c ha.Config, actions []role.Action, drawn Drawn, next time.Time) {
	r.keys.agent(c)
	config, err := encodeAgent(c)
	r.reconfigured(now, config, err, actions, drawn, next)
}

// AnchorReconfigured is MobileReconfigured for a mobility anchor point.
func (r *Recorder) AnchorReconfigured(now time.Time, c anchor.Config, actions []role.Action, drawn Drawn, next time.Time) {
	r.keys.anchor(c)
	config, err := encodeAnchor(c)
	r.reconfigured(now, config, err, actions, drawn, next)
}

// CorrespondentReconfigured is MobileReconfigured for a correspondent.
func (r *Recorder) CorrespondentReconfigured(now time.Time, c cn.Config, actions []role.Action, drawn Drawn, next time.Time) {
	config, err := encodeCorrespondent(c)
	r.reconfigured(now, config, err, actions, drawn, next)
}

// ClientReconfigured is MobileReconfigured for a DHCPv6 client.
func (r *Recorder) ClientReconfigured(now time.Time, c dhcpv6.Config, actions []role.Action, drawn Drawn, next time.Time) {
	config, err := encodeClient(c)
	r.reconfigured(now, config, err, actions, drawn, next)
}

// DelegatorReconfigured is MobileReconfigured for a delegating router.
func (r *Recorder) DelegatorReconfigured(now time.Time, c delegating.Config, actions []role.Action, drawn Drawn, next time.Time) {
	config, err := encodeDelegator(c)
	r.reconfigured(now, config, err, actions, drawn, next)
}

// reconfigured records a configuration, if it could be encoded.
func (r *Recorder) reconfigured(now time.Time, config json.RawMessage, err error, actions []role.Action, drawn Drawn, next time.Time) {
	if err != nil {
		r.lost()
		return
	}
	entry := r.entry(now)
	entry.Reconfigure = config
	r.decided(entry, actions, drawn, next)
}

// decided completes an entry with what the role did.
func (r *Recorder) decided(entry Entry, actions []role.Action, drawn Drawn, next time.Time) {
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
	entry.Random, entry.Barred, entry.Next = drawn.Random, drawn.Barred, r.stream.offset(next)
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
