package anchor

import (
	"cmp"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/order"
	"roam6/internal/role"
	"roam6/overlay"
)

// What an anchor knows of regional care-of addresses survives its process, as a home
// agent's bindings do: each change is told by role.Remember before it is acknowledged,
// and the anchor of the next process begins with Restore. Visitors are known by their
// names; what those without authentication have bound is of the empty name.

// memory is what is to be remembered of an address.
func (a *Anchor) memory(r *regional) binding.Memory {
	m := binding.Memory{Home: r.addr, Visitor: r.visitor.Name, Fresh: r.fresh, Updated: r.used}
	switch e := a.bindings.Get(r.addr); {
	case e != nil && a.held[r.addr] == r && e.State == binding.Active:
		m.Of(e, nil)
		m.Updated = r.used
	case !r.ended.IsZero():
		m.State, m.Expires = binding.Deleted, r.ended.Add(binding.MaxDeleteTime)
	}
	return m
}

// forgetfulness is what is to be remembered of a visitor some of whose addresses were
// forgotten: it is of no address.
func (v *visitor) forgetfulness() (m binding.Memory) {
	m.Home, m.Visitor = netip.IPv6Unspecified(), v.Name
	m.Fresh.AcceptTimestamp(v.forgotten, 0)
	return m
}

func (a *Anchor) keep(r *regional) {
	if r.visitor.Name != "" || r.visitor.anonymous() {
		a.do(role.Remember{Memory: a.memory(r)})
	}
}

// Memories are all that is to be remembered, in no order.
func (a *Anchor) Memories() iter.Seq[binding.Memory] {
	return func(yield func(binding.Memory) bool) {
		for _, v := range a.named() {
			for _, r := range v.addresses {
				if !yield(a.memory(r)) {
					return
				}
			}
			if v.forgot && !yield(v.forgetfulness()) {
				return
			}
		}
		for _, r := range a.held {
			if r.visitor == a.anonymous && !yield(a.memory(r)) {
				return
			}
		}
	}
}

// named are the visitors that can be told by their names.
func (a *Anchor) named() map[string]*visitor {
	all := make(map[string]*visitor)
	for _, known := range []map[uint32]*visitor{a.visitors, a.protected} {
		for _, v := range known {
			if v.Name != "" {
				all[v.Name] = v
			}
		}
	}
	return all
}

// Restore takes over what the anchor of an earlier process has remembered, and returns
// the actions that follow. It comes before any update. A binding has to be one that this
// configuration grants as well; it ends when it would have, is forwarded at once,
// without another duplicate address detection, and its mobile is told nothing.
func (a *Anchor) Restore(now time.Time, memories []binding.Memory) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	byName := a.named()
	if a.anonymous != nil {
		byName[""] = a.anonymous
	}
	memories = slices.Clone(memories)
	// Where there are more than are remembered of a visitor, the oldest go.
	order.Sort(memories, func(m, n binding.Memory) int {
		return cmp.Or(m.Updated.Compare(n.Updated), m.Home.Compare(n.Home), cmp.Compare(m.Visitor, n.Visitor))
	})
	var restored []*binding.Entry
	refused := 0
	for _, m := range memories {
		v, active := byName[m.Visitor], m.State == binding.Active && m.Lasts(now)
		switch {
		case v == nil && active:
			refused++
			a.logLost(m, "visitor removed")
			continue
		case v == nil, v.anonymous() && !active, m.Forgotten():
			continue
		case m.Home == netip.IPv6Unspecified():
			v.forget(m.Fresh.Timestamp())
			continue
		case a.regionalOf(v, m.Home) != nil:
			continue
		}
		r := &regional{visitor: v, addr: m.Home, fresh: m.Fresh, used: m.Updated}
		if m.State == binding.Deleted && m.Lasts(now) {
			r.ended = m.Expires.Add(-binding.MaxDeleteTime)
		}
		a.remember(r)
		if !active {
			continue
		}
		if reason := a.revive(r, m); reason != "" {
			refused++
			a.logLost(m, reason)
			a.keep(r)
			continue
		}
		restored = append(restored, a.bindings.Get(m.Home))
	}
	a.resume(restored)
	if len(restored)+refused > 0 {
		a.log(slog.LevelInfo, "regional bindings of an earlier run restored", slog.Int("bindings", len(restored)), slog.Int("not_restored", refused))
	}
	return a.out
}

// revive makes an entry of what was remembered, or tells why there cannot be one.
func (a *Anchor) revive(r *regional, m binding.Memory) (reason string) {
	if !m.Reaches(a.config.Address) {
		return "anchor address changed"
	}
	careOf := m.Paths[0].Remote
	u := update{home: m.Home, source: careOf, careOf: careOf, flags: m.Flags, lifetime: m.Lifetime}
	if status := a.entitled(r, &u); !status.Accepted() {
		return status.String()
	}
	e, err := a.bindings.Add(m.Home)
	if err != nil {
		return err.Error()
	}
	m.Restore(e)
	e.State = binding.Active
	a.counts.Bindings++
	a.held[m.Home] = r
	r.requests.Resume(e, a.now)
	return ""
}

// resume does for restored bindings what a registration does, but for the answer.
func (a *Anchor) resume(entries []*binding.Entry) {
	if len(entries) == 0 {
		return
	}
	changes := make([]overlay.Change, 0, len(entries))
	for _, e := range entries {
		changes = append(changes, tunnel(e))
	}
	a.do(role.Forward{Changes: changes})
	for i, e := range entries {
		r := a.held[e.Home]
		if a.link.Index != 0 { // otherwise when it is there: see findLink
			a.defend(e)
			r.announcements.Again(a.now.Add(time.Duration(i) * announcementSpread))
		}
		a.schedule(e, r)
	}
	a.counts.Restored += uint64(len(entries))
}

// logLost says which binding was not restored. Of many it says a few.
func (a *Anchor) logLost(m binding.Memory, reason string) {
	if a.strangers.Allow(a.now, complaints) {
		a.log(slog.LevelWarn, "regional binding of an earlier run not restored", slog.String("visitor", m.Visitor),
			slog.Any("regional_care_of", m.Home), slog.String("reason", reason))
	}
}
