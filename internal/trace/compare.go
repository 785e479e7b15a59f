package trace

import (
	"slices"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

type memory = binding.Memory

// compare finds where what a role has decided is not what was recorded, its waking
// included where all of its state is known.
func (p *Player) compare(r *player, s *Step) (*Difference, error) {
	same := func(t mip6.KeygenToken) mip6.KeygenToken { return t }
	for i := range max(len(s.Recorded), len(s.Actions)) {
		recorded, err := p.canonical(s.Recorded, i, r.tokens.played)
		if err != nil {
			return nil, err
		}
		played, err := p.canonical(s.Actions, i, same)
		if err != nil {
			return nil, err
		}
		if recorded != played {
			return &Difference{Index: i, Recorded: recorded, Played: played}, nil
		}
	}
	c := p.reader.clock
	if recorded := c.time(s.Entry.Next); !r.partly && !recorded.Equal(s.Next) {
		return &Difference{Index: -1, Recorded: offsetText(s.Entry.Next), Played: offsetText(c.offset(s.Next))}, nil
	}
	return nil, nil
}

// canonical is the JSON of an action without what is not the same in each play, and with
// other keygen tokens.
func (p *Player) canonical(list []role.Action, i int, token func(mip6.KeygenToken) mip6.KeygenToken) (string, error) {
	if i >= len(list) {
		return "", nil
	}
	a := list[i]
	if s, ok := a.(role.Send); ok {
		s.Packet.Message = withToken(s.Packet.Message, token)
		s.Packet = (&veil{}).packet(s.Packet)
		s.Packet.Message = withStamps(s.Packet.Message, func(mip6.Timestamp) mip6.Timestamp { return 0 })
		a = s
	}
	t, err := p.reader.clock.encodeAction(a)
	if err != nil {
		return "", err
	}
	b, err := t.MarshalJSON()
	return string(b), err
}

// learnStamps learns which timestamps of recorded updates stand for which of played ones.
func (r *player) learnStamps(recorded, played []role.Action) {
	const most = 4096
	if len(r.stamps) > most {
		clear(r.stamps)
	}
	for i := range min(len(recorded), len(played)) {
		a, b := stampOf(recorded[i]), stampOf(played[i])
		if a != 0 && b != 0 && a != b {
			r.stamps[a] = b
		}
	}
}

// stampOf is the timestamp of an update that is sent; zero: none.
func stampOf(a role.Action) mip6.Timestamp {
	s, ok := a.(role.Send)
	if !ok {
		return 0
	}
	u, ok := s.Packet.Message.(mip6.BindingUpdate)
	if !ok {
		return 0
	}
	o, _ := mip6.Find[mip6.ReplayProtection](u)
	return o.Timestamp
}

// stamped is an acknowledgement with the timestamp of the update that was played.
func (r *player) stamped(a mip6.BindingAcknowledgement) mip6.Message {
	return withStamps(a, func(t mip6.Timestamp) mip6.Timestamp {
		if u, ok := r.stamps[t]; ok {
			return u
		}
		return t
	})
}

// withStamps is a message with other timestamps.
func withStamps(m mip6.Message, other func(mip6.Timestamp) mip6.Timestamp) mip6.Message {
	options := slices.Clone(m.MobilityOptions())
	changed := false
	for i, o := range options {
		if t, ok := o.(mip6.ReplayProtection); ok {
			options[i], changed = mip6.ReplayProtection{Timestamp: other(t.Timestamp)}, true
		}
	}
	if !changed {
		return m
	}
	switch m := m.(type) {
	case mip6.BindingUpdate:
		m.Options = options
		return m
	case mip6.BindingAcknowledgement:
		m.Options = options
		return m
	default:
		return m
	}
}
