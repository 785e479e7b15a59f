package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
)

// A binding that begins, moves or ends is told once, with what made it; one that is
// refreshed is not.
func TestBindingChanges(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	name := c.Mobiles[0].Name
	var none netip.Addr
	told := func(what string, want ...role.BindingChanged) {
		t.Helper()
		for i := range want {
			want[i].Mobile, want[i].Home = name, homeA
		}
		if !slices.Equal(w.changes, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, w.changes, want)
		}
		w.changes = nil
	}
	begins := role.BindingChanged{To: careOf1, Cause: role.CauseUpdate}
	w.registered(at(homeA, careOf1, 1))
	told("registered", begins)
	w.send(at(homeA, careOf1, 2))
	told("refreshed")
	w.send(at(homeA, careOf2, 3))
	told("moved", role.BindingChanged{From: careOf1, To: careOf2, Cause: role.CauseUpdate})
	home := request{home: homeA, atHome: true, sequence: 4, flags: flagsMR}
	w.send(home)
	told("de-registered", role.BindingChanged{From: careOf2, To: none, Cause: role.CauseUpdate})
	home.sequence = 5
	w.send(home)
	told("de-registered again")
	w.registered(at(homeA, careOf1, 6))
	told("registered again", begins)
	if b := w.agent.BindingsOf(homeA); len(b) != 1 || b[0].Home != homeA || b[0].Mobile != name || b[0].CareOf() != careOf1 {
		t.Errorf("bindings of %v: %+v", homeA, b)
	}
	if b := w.agent.BindingsOf(careOf1); b != nil {
		t.Errorf("bindings of nobody: %+v", b)
	}
	w.run(2 * time.Minute)
	told("expired", role.BindingChanged{From: careOf1, Cause: role.CauseLifetime})
	w.registered(at(homeA, careOf1, 7))
	w.changes = nil
	c.Mobiles = c.Mobiles[1:]
	w.apply(w.agent.Reconfigure(w.now, c))
	told("not served any more", role.BindingChanged{From: careOf1, Cause: role.CauseConfiguration})
}
