package delegating

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

const (
	// savedName and the home agent's name are what it is saved as. A mobile router
	// of the same name saves what it got from its home agent as "delegation-".
	savedName = "delegating-"
	// savedVersion is the format's.
	savedVersion = 1
)

// savedState is what outlives a restart.
type savedState struct {
	Version int `json:"version"`
	// Relayed: the leases are an external server's.
	Relayed bool          `json:"relayed,omitempty"`
	Mobiles []savedMobile `json:"mobiles"`
}

type savedMobile struct {
	Home   netip.Addr   `json:"home"`
	DUID   string       `json:"duid,omitempty"` // learned, in hexadecimal
	Leases []savedLease `json:"leases,omitempty"`
}

// savedLease has lifetimes in seconds, of which 0xffffffff is for ever: those that were
// granted, which begin anew with a restart, since renewals are not saved, and the
// client may have been told so much until the last moment; after an orderly stop what
// remained then. Without Valid it is one that is kept; Ended is then how long ago it
// ended.
type savedLease struct {
	IAID      uint32       `json:"iaid"`
	Prefix    netip.Prefix `json:"prefix"`
	Preferred uint32       `json:"preferred,omitempty"`
	Valid     uint32       `json:"valid,omitempty"`
	Ended     uint32       `json:"ended,omitempty"`
}

// save saves what has to be, now or in a while.
func (s *Server) save() {
	switch {
	case !s.unsaved:
		return
	case s.stopped:
	case deadline.Due(s.now, s.saveAt) || s.saveAt.IsZero():
		if !s.saving.Allow(s.now, saves) {
			s.saveAt = s.now.Add(saves.Every)
			return
		}
	default:
		return
	}
	s.unsaved, s.saveAt = false, time.Time{}
	s.do(role.Save{Name: savedName + s.config.Name, Data: s.state()})
}

// state is what is saved; nil when there is nothing.
func (s *Server) state() []byte {
	state := savedState{Version: savedVersion, Relayed: s.config.relays()}
	for _, m := range s.order {
		if m.learned == nil && len(m.leases) == 0 {
			continue
		}
		saved := savedMobile{Home: m.HomeAddress, DUID: hex.EncodeToString(m.learned)}
		for _, l := range m.leases {
			sl := savedLease{IAID: l.iaid, Prefix: l.prefix}
			if l.bound {
				told := l.granted
				if s.stopped { // nobody will be told more
					told.preferred, told.valid = l.remaining(s.now)
				}
				sl.Preferred, sl.Valid = seconds(told.preferred), seconds(told.valid)
			} else {
				sl.Ended = seconds(s.now.Sub(l.ended))
			}
			saved.Leases = append(saved.Leases, sl)
		}
		state.Mobiles = append(state.Mobiles, saved)
	}
	if len(state.Mobiles) == 0 {
		return nil
	}
	b, err := json.Marshal(state)
	if err != nil {
		s.do(role.Log{Level: slog.LevelError, Message: "delegated prefixes are not saved", Attrs: []slog.Attr{
			slog.String("home_agent", s.config.Name), slog.Any("error", err)}})
		return nil
	}
	return b
}

func seconds(d time.Duration) uint32 {
	return uint32(min(max(d, 0), mip6.InfiniteLifetime) / time.Second)
}

// restore takes over what an earlier life saved, as far as the configuration
// permits it. The lifetimes go on from now.
func (s *Server) restore() {
	saved := s.saved
	s.saved = nil
	if len(saved) == 0 {
		return
	}
	state, err := readSaved(saved)
	if err != nil {
		s.do(role.Log{Level: slog.LevelWarn, Message: "saved prefix delegations are not readable; beginning without", Attrs: []slog.Attr{
			slog.String("home_agent", s.config.Name), slog.Any("error", err)}})
		return
	}
	var leases []*lease
	for _, sm := range state.Mobiles {
		m := s.mobiles[sm.Home]
		if m == nil {
			continue
		}
		duid, err := hex.DecodeString(sm.DUID)
		if err == nil && validDUID(duid) && len(m.DUID) == 0 && m.learned == nil && s.identifiers[string(duid)] == nil {
			m.learned = duid
			s.identifiers[string(duid)] = m
		}
		if state.Relayed == s.config.relays() {
			for _, l := range sm.Leases {
				leases = append(leases, s.restored(m, l))
			}
		}
	}
	// In order, or many would have to be moved for each.
	slices.SortStableFunc(leases, func(a, b *lease) int { return a.prefix.Compare(b.prefix) })
	for _, l := range leases {
		s.restoreLease(l)
	}
}

// CheckSaved reports an error unless New can read what was saved.
func CheckSaved(b []byte) error {
	_, err := readSaved(b)
	return err
}

func readSaved(b []byte) (state savedState, err error) {
	if err := json.Unmarshal(b, &state); err != nil {
		return savedState{}, fmt.Errorf("saved delegations: %w", err)
	}
	if state.Version != savedVersion {
		return savedState{}, fmt.Errorf("saved delegations of version %d, not %d", state.Version, savedVersion)
	}
	return state, nil
}

// restored is a lease as it goes on from now. It is not in the table yet.
func (s *Server) restored(m *mobile, saved savedLease) *lease {
	l := &lease{mobile: m, iaid: saved.IAID, prefix: saved.Prefix, bound: saved.Valid > 0}
	if l.bound {
		l.preferred = deadline.Of(s.now, time.Duration(saved.Preferred)*time.Second)
		l.valid = deadline.Of(s.now, time.Duration(saved.Valid)*time.Second)
		l.granted.preferred, l.granted.valid = l.remaining(s.now)
	} else {
		l.ended = s.now.Add(-time.Duration(saved.Ended) * time.Second)
	}
	return l
}

// restoreLease takes over a lease, unless it cannot be true or is not permitted
// any more.
func (s *Server) restoreLease(l *lease) {
	m, p, most := l.mobile, l.prefix, maxLeases
	if s.config.relays() {
		most = maxRelayedLeases
	}
	same := func(other *lease) bool { return other.iaid == l.iaid && !s.config.relays() }
	switch {
	case !p.IsValid(), !p.Addr().Is6(), p != p.Masked(), !s.permits(p):
		return
	case len(m.leases) >= most, len(s.table.overlapping(p)) > 0, slices.ContainsFunc(m.leases, same):
		return
	case !l.bound && s.config.relays():
		return
	}
	s.table.insert(l)
	if l.bound {
		l.bound = false
		s.table.bind(l, l.preferred, l.valid)
		s.change(m)
	}
}
