package node

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/page"
	"roam6/internal/role"
)

// Bounds of what a page shows. With a hundred thousand mobiles it is to be as quick as
// with ten, and the loop, which has handovers to serve, busy for less than a millisecond
// at a time.
const (
	shownMobiles   = 100
	shownChanges   = 1000
	shownHandovers = 60
	mobilesAtOnce  = 256 // that the loop is asked for
)

// Overview implements page.Source.
func (s *Shell) Overview(ctx context.Context, q page.Query) (control.Overview, error) {
	d := control.Overview{Version: s.version}
	var mobiles []config.Mobile
	var told changes
	wanted := strings.ToLower(strings.TrimSpace(q.Search))
	err := s.ask(ctx, func(now time.Time) {
		d.Now, d.Uptime = control.Time{Time: now}, control.Seconds(now.Sub(s.started))
		if len(s.mobiles) > 0 {
			d.Mobile = s.mobileOverview(now)
		}
		if len(s.agents) == 0 {
			return
		}
		mobiles = s.config.Mobiles // replaced as a whole
		d.HomeAgents = &control.AgentOverview{Stats: *s.agentStats(), Mobiles: []control.MobileBindings{}}
		told = s.changes.copy()
	})
	if err != nil || d.HomeAgents == nil {
		return d, err
	}
	a := d.HomeAgents
	a.Changes, a.Changed, a.Forgotten = told.since(d.Now.Add(-q.Window), d.Now.Time, shownChanges, func(c role.BindingChanged) bool {
		return wanted == "" || matches(wanted, c.Mobile, c.Home.String(), c.From.String(), c.To.String())
	})
	return d, s.findMobiles(ctx, mobiles, wanted, d.HomeAgents)
}

// hostNames are those of this host, by which the page may be asked for.
func hostNames() []string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return nil
	}
	return []string{name}
}

// matches reports whether what is wanted, in lower case, is a part of one of the words.
func matches(wanted string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(w), wanted) })
}

// isWanted looks for what is wanted in the names and addresses of a mobile.
func isWanted(wanted string, m control.MobileBindings) bool {
	if matches(wanted, m.Mobile, m.HomeAddress.String()) {
		return true
	}
	for _, b := range m.Bindings {
		if matches(wanted, b.HomeAddress.String()) {
			return true
		}
		for _, c := range b.CareOf {
			if matches(wanted, c.Address.String()) {
				return true
			}
		}
		for _, p := range b.Prefixes {
			if matches(wanted, p.String()) {
				return true
			}
		}
	}
	return false
}

// findMobiles adds the mobiles that are wanted. It asks the loop for some at a time, and
// compares outside of it.
func (s *Shell) findMobiles(ctx context.Context, mobiles []config.Mobile, wanted string, into *control.AgentOverview) error {
	for some := range slices.Chunk(mobiles, mobilesAtOnce) {
		if wanted == "" && len(into.Mobiles) == shownMobiles {
			break
		}
		found := make([]control.MobileBindings, len(some))
		err := s.ask(ctx, func(now time.Time) {
			for i, m := range some {
				found[i] = s.bindingsOf(now, m)
			}
		})
		if err != nil {
			return err
		}
		for _, m := range found {
			if wanted != "" && !isWanted(wanted, m) {
				continue
			}
			if into.Matched++; len(into.Mobiles) < shownMobiles {
				into.Mobiles = append(into.Mobiles, m)
			}
		}
	}
	if wanted == "" {
		into.Matched = len(mobiles)
	}
	return nil
}

// bindingsOf are the bindings of a configured mobile. It runs in the loop.
func (s *Shell) bindingsOf(now time.Time, m config.Mobile) control.MobileBindings {
	x := control.MobileBindings{Mobile: m.Name, HomeAgent: m.HomeAgent, HomeAddress: m.HomeAddress, Bindings: []control.Binding{}}
	for _, h := range s.agents {
		if h.config.Name != m.HomeAgent {
			continue
		}
		for _, b := range h.machine.BindingsOf(m.HomeAddress) {
			x.Bindings = append(x.Bindings, bindingOf(now, h, b))
		}
	}
	return x
}

// mobileOverview is what this node is as a mobile. It runs in the loop.
func (s *Shell) mobileOverview(now time.Time) *control.MobileOverview {
	d := &control.MobileOverview{Updates: []control.Update{}, Uplinks: []control.MobileUplink{}, Handovers: []control.Handover{}}
	for _, h := range s.mobiles {
		x := h.machine.Snapshot(now)
		d.Updates, d.Uplinks = append(d.Updates, control.UpdateOf(x)), append(d.Uplinks, control.UplinksOf(x)...)
	}
	for _, h := range slices.Backward(s.handovers.last) {
		if len(d.Handovers) == shownHandovers {
			break
		}
		d.Handovers = append(d.Handovers, control.HandoverOf(h, now))
	}
	return d
}
