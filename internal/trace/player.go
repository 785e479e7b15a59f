package trace

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// Player has the roles of a trace play again what was recorded, and compares.
type Player struct {
	reader *Reader
	roles  map[string]*player
	last   int64 // offset of the entry before
	drift  time.Duration
}

// player is one role.
type player struct {
	kind    Kind
	machine role.Machine // nil: it cannot be played
	keys    *keyring
	drawer  *drawer
	why     string // that machine is nil
	// partly: not all of its state was told, so that it may wake at other times.
	partly bool
	bound  map[netip.Addr]bool // home addresses that had a binding then
	// differs: it has decided otherwise before, and what follows is no wonder.
	differs bool
	// stamps leads from the timestamps of recorded updates to those of the played ones: the
	// time of day is not recorded to the last nanosecond, and an acknowledgement counts
	// only with the timestamp of its update (RFC 4285 §6).
	stamps map[mip6.Timestamp]mip6.Timestamp
	tokens tokens
}

// Step is what became of one entry.
type Step struct {
	Entry Entry
	// Now is when it was, by the clock of the play.
	Now      time.Time
	Event    role.Event    // of an entry with one
	Recorded []role.Action // what the role decided then
	// Played tells that the role has been played; Actions are what it decided now, and
	// Next when it wants to be woken.
	Played  bool
	Actions []role.Action
	Next    time.Time
	// Difference is where that is not what was recorded; nil: it is.
	Difference *Difference
	// Notes say what is to be known about the entry: that the role cannot be played and
	// why, that it drew another amount of randomness, that the time of day was changed.
	Notes []string
}

// Difference is where a role decides otherwise than was recorded. Of what is missing
// the text is empty.
type Difference struct {
	// Index is that of the action, -1 of the time of the next waking.
	Index            int
	Recorded, Played string
}

func (d *Difference) String() string {
	what := fmt.Sprintf("action %d", d.Index+1)
	if d.Index < 0 {
		what = "next waking"
	}
	name := func(s string) string {
		if s == "" {
			return "(nothing)"
		}
		return s
	}
	return fmt.Sprintf("%s: recorded %s, played %s", what, name(d.Recorded), name(d.Played))
}

// NewPlayer reads the header of a trace.
func NewPlayer(r io.Reader) (*Player, error) {
	reader, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	return &Player{reader: reader, roles: make(map[string]*player)}, nil
}

// Header is the first line of the trace.
func (p *Player) Header() Header { return p.reader.Header }

// Next plays an entry. Its errors are those of Reader.Next, or say what is wrong with the
// entry.
func (p *Player) Next() (Step, error) {
	e, err := p.reader.Next()
	if err != nil {
		return Step{}, err
	}
	s := Step{Entry: e, Now: p.reader.clock.at(e.At)}
	if err := p.guarded(&s); err != nil {
		return Step{}, fmt.Errorf("line %d: %w", p.reader.line, err)
	}
	return s, nil
}

// guarded is play, of which a panic is an error: a trace that somebody has written may
// tell a role what no shell does.
func (p *Player) guarded(s *Step) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("role %.40q panics: %v", s.Entry.Role, r)
		}
	}()
	return p.play(s)
}

// maxDrift is how far the time of day may move against the monotonic clock before it is
// told.
const maxDrift = 500 * time.Millisecond

func (p *Player) play(s *Step) error {
	e := s.Entry
	if e.At < p.last && e.Gap == 0 {
		return fmt.Errorf("it is before the entry that it follows")
	}
	if e.Gap == 0 {
		p.last = e.At
	}
	if drift := e.Wall.Sub(s.Now); (drift - p.drift).Abs() > maxDrift {
		s.Notes = append(s.Notes, fmt.Sprintf("the time of day was changed by %v: in the play it goes on as before, and timestamps of messages (RFC 4285) may be judged otherwise", (drift-p.drift).Round(time.Millisecond)))
		p.drift = drift
	}
	if e.Gap > 0 {
		for _, r := range p.roles {
			r.machine, r.why = nil, "entries are missing: its state is not known any more"
		}
		s.Notes = append(s.Notes, fmt.Sprintf("%d entries were lost here, the recorder was too slow", e.Gap))
		return nil
	}
	r := p.roles[e.Role]
	switch {
	case e.Begin != nil:
		return p.begin(s)
	case r == nil:
		return fmt.Errorf("role %.40q has no begin", e.Role)
	case e.End:
		delete(p.roles, e.Role)
		return nil
	}
	return p.handle(r, s)
}

// begin makes a role.
func (p *Player) begin(s *Step) error {
	b := s.Entry.Begin
	if len(p.roles) >= MaxRoles {
		return fmt.Errorf("more than %d roles", MaxRoles)
	}
	r := &player{kind: b.Kind, drawer: newDrawer(s.Entry.Random), stamps: make(map[mip6.Timestamp]mip6.Timestamp), tokens: newTokens()}
	var err error
	if r.machine, r.keys, err = machine(b.Kind, b.Config, b.Saved, r.drawer); err != nil {
		return err
	}
	p.roles[s.Entry.Role] = r
	switch b.Start {
	case StartNew, StartRestored:
		s.Played = true
		if len(b.Memories)+len(b.Links)+len(b.Delegated) > 0 || b.Start == StartRestored {
			return p.restore(r, s)
		}
	case StartUnknown:
		r.machine, r.why = nil, "it ran before the trace began, and its state is not known: what it decided is as recorded"
		s.Notes = append(s.Notes, r.why)
	default:
		return fmt.Errorf("%w: start %.40q is unknown", ErrFormat, b.Start)
	}
	return nil
}

// restore gives a home agent or anchor the bindings and links that it had.
func (p *Player) restore(r *player, s *Step) error {
	m, ok := r.machine.(interface {
		role.Machine
		Restore(now time.Time, memories []memory) []role.Action
	})
	if !ok {
		return errors.New("only a home agent or an anchor can be restored")
	}
	b := s.Entry.Begin
	memories, err := p.memories(b.Memories)
	if err != nil {
		return err
	}
	for _, d := range b.Delegated { // a delegating router tells before bindings are restored
		m.Handle(s.Now, p.reader.clock.delegated(d))
	}
	if len(memories) > 0 || b.Start == StartRestored { // the latter has said already what a new one says at first
		m.Restore(s.Now, memories)
	}
	for _, l := range b.Links {
		m.Handle(s.Now, role.LinkChanged{Link: l})
	}
	if r.partly = b.Start == StartRestored; r.partly {
		r.bound = make(map[netip.Addr]bool)
		for _, m := range memories {
			if m.State == binding.Active {
				r.bound[m.Home] = true
			}
		}
		s.Notes = append(s.Notes, fmt.Sprintf("it ran before the trace began: %d bindings and %d links are known, but not whom it had answered lately, what else it had heard and what was being probed: what depends on that is decided otherwise (roam6 trace --anew knows all)",
			len(memories), len(b.Links)))
	}
	return nil
}

// handle has a role handle an event or a new configuration.
func (p *Player) handle(r *player, s *Step) error {
	e := s.Entry
	var err error
	for _, t := range e.Actions {
		a, err := p.reader.clock.decodeAction(t)
		if err != nil {
			return err
		}
		s.Recorded = append(s.Recorded, a)
	}
	if e.Event != nil {
		if s.Event, err = p.reader.clock.decodeEvent(*e.Event); err != nil {
			return err
		}
	}
	if r.machine == nil {
		return p.reconfigurable(r, s)
	}
	r.drawer.begin(e)
	if e.Event != nil {
		s.Actions = r.machine.Handle(s.Now, r.prepare(s.Now, s.Event, e.Authentic))
	} else if s.Actions, err = r.reconfigure(s.Now, e.Reconfigure); err != nil {
		return err
	}
	s.Played, s.Next = true, r.machine.Next()
	for _, a := range s.Actions {
		if m, ok := a.(role.Send); ok {
			r.keys.sent(m.Packet)
		}
	}
	if r.partly {
		s.Recorded, s.Actions = slices.DeleteFunc(s.Recorded, r.reclaims), slices.DeleteFunc(s.Actions, r.reclaims)
	}
	r.learnStamps(s.Recorded, s.Actions)
	r.tokens.learn(s.Recorded, s.Actions)
	s.Notes = append(s.Notes, r.drawer.notes()...)
	s.Difference, err = p.compare(r, s)
	if s.Difference != nil && r.differs {
		s.Notes = append(s.Notes, "it has decided otherwise before")
	}
	r.differs = r.differs || s.Difference != nil
	return err
}

// reclaims finds announcements of addresses, and the questions before them whether somebody
// else has one. One that was restored makes them anew, and the one that ran had made them
// before: which of them were still to come is not known.
func (r *player) reclaims(a role.Action) bool {
	switch a := a.(type) {
	case role.AnnounceAddress:
		return true
	case role.ProbeAddress:
		return r.bound[a.Addr]
	default:
		return false
	}
}

// reconfigurable checks the configuration of a role that is not played.
func (p *Player) reconfigurable(r *player, s *Step) error {
	s.Next = p.reader.clock.time(s.Entry.Next)
	if s.Entry.Reconfigure == nil {
		return nil
	}
	_, _, err := machine(r.kind, s.Entry.Reconfigure, nil, r.drawer)
	return err
}

// prepare makes of a recorded event what the role would have received of somebody with
// the keys that stand in.
func (r *player) prepare(now time.Time, e role.Event, authentic bool) role.Event {
	m, ok := e.(role.MessageReceived)
	if !ok {
		return e
	}
	if a, ok := m.Packet.Message.(mip6.BindingAcknowledgement); ok {
		m.Packet.Message = r.stamped(a)
		m.Packet = asReceived(m.Packet)
	}
	if authentic {
		m.Packet = r.keys.seal(now, m.Packet)
	}
	r.keys.received(m.Packet)
	return m
}

// memories decodes bindings.
func (p *Player) memories(list []octets) ([]memory, error) {
	out := make([]memory, 0, len(list))
	for _, o := range list {
		m, err := p.reader.clock.memory(o)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}
