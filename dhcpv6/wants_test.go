package dhcpv6

import (
	"net/netip"
	"testing"

	"roam6/internal/role"
)

// Mobiles that share an uplink share its client: it does what any of them wants, and
// hears of a link event once, of whichever mobile tells first.
func TestWants(t *testing.T) {
	here := role.LinkIdentity{Router: netip.MustParseAddr("fe80::1"), Prefix: netip.MustParsePrefix("2001:db8:a1::/64")}
	there := role.LinkIdentity{Router: netip.MustParseAddr("fe80::9"), Prefix: netip.MustParsePrefix("2001:db8:a2::/64")}
	w := Wants[string]{Link: 2}
	if w.Any() || w.Due() {
		t.Errorf("of nobody: %+v", w)
	}
	for i, step := range []struct {
		by             string
		id             role.LinkIdentity
		managed, other bool
		due            bool
		want           role.ConfigureLink
	}{
		{"a", role.LinkIdentity{}, false, false, false, role.ConfigureLink{Link: 2}},
		{"a", here, true, false, true, role.ConfigureLink{Link: 2, Identity: here, Managed: true}},
		{"b", here, true, false, false, role.ConfigureLink{Link: 2, Identity: here, Managed: true}},
		{"a", here, true, false, true, role.ConfigureLink{Link: 2, Identity: here, Managed: true}}, // the link came back
		{"b", here, true, false, false, role.ConfigureLink{Link: 2, Identity: here, Managed: true}},
		{"b", here, false, true, true, role.ConfigureLink{Link: 2, Identity: here, Managed: true, Other: true}},
		{"a", there, true, false, true, role.ConfigureLink{Link: 2, Identity: there, Managed: true, Other: true}},
		{"b", there, false, true, false, role.ConfigureLink{Link: 2, Identity: there, Managed: true, Other: true}},
		// Who wants nothing has no say in where it is.
		{"a", role.LinkIdentity{}, false, false, true, role.ConfigureLink{Link: 2, Identity: there, Other: true}},
	} {
		w.Ask(step.by, role.ConfigureLink{Link: 2, Identity: step.id, Managed: step.managed, Other: step.other})
		if w.Due() != step.due {
			t.Errorf("step %d: due %v", i, w.Due())
		}
		if got := w.Tell(); got != step.want || w.Told() != step.want || w.Due() {
			t.Errorf("step %d: the client is told %+v, want %+v", i, got, step.want)
		}
	}
	if w.LinkEvent(); !w.Due() {
		t.Error("a link event that no mobile tells of is not told")
	}
	w.Tell()
	if w.Ask("a", role.ConfigureLink{Link: 2}); w.Due() {
		t.Error("the same link event is told twice")
	}
	if w.Forget("c") || w.Due() {
		t.Error("somebody who has not asked is forgotten")
	}
	if !w.Forget("a") || w.Due() || !w.Any() {
		t.Errorf("who wanted nothing is forgotten: %+v", w)
	}
	if !w.Forget("b") || !w.Due() || w.Any() {
		t.Errorf("the last is forgotten: %+v", w)
	}
	if got := w.Tell(); got != (role.ConfigureLink{Link: 2, Identity: there}) {
		t.Errorf("nobody wants %+v", got)
	}
}
