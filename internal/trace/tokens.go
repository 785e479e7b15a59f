package trace

import (
	"roam6/internal/role"
	"roam6/mip6"
)

// tokens leads from the keygen tokens that a correspondent gave out when it was recorded
// (RFC 6275 §5.2.5) to those of the play, which it makes of other secrets: the first time it
// is seen which one stands for which, and from then on it has to be the same. No two stand
// for one.
type tokens struct {
	of, taken map[mip6.KeygenToken]mip6.KeygenToken
}

func newTokens() tokens {
	return tokens{make(map[mip6.KeygenToken]mip6.KeygenToken), make(map[mip6.KeygenToken]mip6.KeygenToken)}
}

// learn takes in what was recorded and what was played.
func (t tokens) learn(recorded, played []role.Action) {
	if len(t.of) >= maxTokens {
		clear(t.of)
		clear(t.taken)
	}
	for i := range min(len(recorded), len(played)) {
		a, sent := tokenSent(recorded[i])
		b, now := tokenSent(played[i])
		_, known := t.of[a]
		_, taken := t.taken[b]
		if sent && now && !known && !taken {
			t.of[a], t.taken[b] = b, a
		}
	}
}

// played is the token of the play that stands for a recorded one.
func (t tokens) played(recorded mip6.KeygenToken) mip6.KeygenToken {
	if b, ok := t.of[recorded]; ok {
		return b
	}
	return recorded
}

// tokenSent is the token in a test that is sent.
func tokenSent(a role.Action) (t mip6.KeygenToken, ok bool) {
	s, _ := a.(role.Send)
	switch m := s.Packet.Message.(type) {
	case mip6.HomeTest:
		return m.Token, true
	case mip6.CareOfTest:
		return m.Token, true
	default:
		return t, false
	}
}

// withToken is a message with another keygen token, if it has one.
func withToken(m mip6.Message, other func(mip6.KeygenToken) mip6.KeygenToken) mip6.Message {
	switch m := m.(type) {
	case mip6.HomeTest:
		m.Token = other(m.Token)
		return m
	case mip6.CareOfTest:
		m.Token = other(m.Token)
		return m
	default:
		return m
	}
}
