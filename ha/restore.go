package ha

import (
	"cmp"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"roam6/internal/binding"
	"roam6/internal/order"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// What an agent knows of its home addresses survives its process: each change is told
// by role.Remember before it is acknowledged, and the agent of the next process begins
// with Restore. So neither an acknowledged binding is lost, nor one that has ended comes
// back, nor is an update taken twice.

// memory is what is to be remembered of a home address.
func (a *Agent) memory(h *home) binding.Memory {
	m := binding.Memory{Home: h.addr, Mobile: h.mobile.identity, Fresh: h.fresh, Updated: a.now}
	if e := a.bindings.Get(h.addr); e != nil {
		m.Of(e, h.wanted)
	}
	return m
}

// identity tells a mobile to another process.
func (m Mobile) identity() string { return m.HomeAddress.String() + " " + m.Name }

// identified reports whether an identity is that of a mobile, as is does.
func (m Mobile) identified(identity string) bool {
	home, name, _ := strings.Cut(identity, " ")
	return home == m.HomeAddress.String() || name == m.Name && name != ""
}

func (a *Agent) remember(h *home) { a.do(role.Remember{Memory: a.memory(h)}) }

// Memories are all that is to be remembered, in no order.
func (a *Agent) Memories() iter.Seq[binding.Memory] {
	return func(yield func(binding.Memory) bool) {
		for _, h := range a.homes {
			if m := a.memory(h); !m.Forgotten() && !yield(m) {
				return
			}
		}
	}
}

// Restore takes over what the agent of an earlier process has remembered, and returns
// the actions that follow. It comes before any update. A binding has to be one that this
// configuration grants as well; it ends when it would have, is forwarded at once, and its
// mobile is told nothing. The home link is asked whether somebody else has the home address
// by now, which ends it: see inquiry.
func (a *Agent) Restore(now time.Time, memories []binding.Memory) []role.Action {
	if a.stopped {
		return nil
	}
	a.begin(now)
	sorted := make([]*binding.Memory, len(memories)) // of which there may be very many, and they are large
	for i := range memories {
		sorted[i] = &memories[i]
	}
	order.Sort(sorted, func(m, n *binding.Memory) int {
		return cmp.Or(m.Created.Compare(n.Created), m.Home.Compare(n.Home))
	})
	var restored []*binding.Entry
	refused := 0
	for _, m := range sorted {
		h := a.homes[m.Home]
		if h == nil || !h.identified(m.Mobile) {
			if m.State == binding.Active && m.Lasts(now) {
				refused++
				a.logLost(*m, "mobile removed")
			}
			continue
		}
		h.fresh = m.Fresh
		if !m.Lasts(now) || a.bindings.Get(m.Home) != nil {
			continue
		}
		if reason := a.revive(h, *m); reason != "" {
			refused++
			a.logLost(*m, reason)
			a.remember(h)
		} else if e := a.bindings.Get(m.Home); e.State == binding.Active {
			restored = append(restored, e)
		}
	}
	a.resume(restored)
	if len(restored)+refused > 0 {
		a.do(role.Log{Level: slog.LevelInfo, Message: "bindings of an earlier run restored", Attrs: []slog.Attr{
			slog.String("home_agent", a.config.Name), slog.Int("bindings", len(restored)), slog.Int("not_restored", refused)}})
	}
	return a.out
}

// revive makes an entry of what was remembered, or tells why there cannot be one.
func (a *Agent) revive(h *home, m binding.Memory) (reason string) {
	if m.State == binding.Deleted {
		if e, err := a.bindings.Add(m.Home); err == nil {
			m.Restore(e)
			a.become(e, binding.Deleted)
			a.bindings.Wake(e, e.Expires)
		}
		return ""
	}
	if !m.Reaches(a.config.Address) {
		return "home agent address changed"
	}
	u := update{home: m.Home, flags: m.Flags, lifetime: m.Lifetime, explicit: m.Explicit, prefixes: m.Prefixes}
	u.source, u.careOf = m.Paths[0].Remote, m.Paths[0].Remote
	if u.deregisters() || u.flags&mip6.UpdateHome == 0 {
		return "not a home registration"
	}
	if status := a.entitled(h, &u); !status.Accepted() {
		return status.String()
	}
	e, err := a.bindings.Add(m.Home)
	if err != nil {
		return err.Error()
	}
	a.reserve(e, h, &u)
	a.become(e, binding.Active)
	m.Restore(e)
	if left := binding.Remaining(a.now, a.prefixOf(m.Home).ValidUntil); left < e.Expires.Sub(a.now) {
		e.Expires = a.now.Add(left)
	}
	h.wanted, _ = a.prefixesFor(h, &u) // judged
	a.share(e, h)                      // nothing is forwarded yet for the others
	h.requests.Resume(e, a.now)
	return ""
}

// resume does for restored bindings what a registration does, but for the answer.
func (a *Agent) resume(entries []*binding.Entry) {
	var changes []overlay.Change
	for _, e := range entries {
		changes = append(changes, tunnel(e))
		changes = append(changes, a.direct(e, a.homes[e.Home])...)
	}
	a.forward(changes)
	for _, e := range entries {
		h := a.homes[e.Home]
		a.settleRoutes(h.mobile, nil)
		a.defend(e)
		a.resumeDelivery(h)
		a.schedule(e, h)
	}
	if a.link.Index != 0 { // otherwise when it is there: see findHomeLink
		a.inquire(entries)
	}
	a.counts.Restored += uint64(len(entries))
}

// logLost says which binding was not restored. Of many it says a few.
func (a *Agent) logLost(m binding.Memory, reason string) {
	if !a.strangers.Allow(a.now, complaints) {
		return
	}
	var careOf netip.Addr
	if len(m.Paths) > 0 {
		careOf = m.Paths[0].Remote
	}
	a.do(role.Log{Level: slog.LevelWarn, Message: "binding of an earlier run not restored", Attrs: []slog.Attr{
		slog.String("home_agent", a.config.Name), slog.Any("home", m.Home), slog.Any("care_of", careOf), slog.String("reason", reason)}})
}
