package mn

import (
	"slices"
	"testing"

	"roam6/internal/role"
)

// Uplinks are told in order of preference, those that are not there too: as they come, go
// and are renamed.
func TestSnapshotUplinks(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Uplinks = []string{"up2", "up0", "up1"} })
	missing := func(name string) Uplink { return Uplink{Name: name, Missing: true} }
	up := func(index int, name string) Uplink { return Uplink{Name: name, Index: index, Up: true} }
	for _, test := range []struct {
		what   string
		events []role.Event
		want   []Uplink
	}{
		{"none", nil, []Uplink{missing("up2"), missing("up0"), missing("up1")}},
		{"one", []role.Event{upLink(1, "up0", true)}, []Uplink{missing("up2"), up(1, "up0"), missing("up1")}},
		{"a modem", []role.Event{upLink(7, "up1", true)}, []Uplink{missing("up2"), up(1, "up0"), up(7, "up1")}},
		{"an interface that is no uplink", []role.Event{upLink(8, "eth0", true)}, []Uplink{missing("up2"), up(1, "up0"), up(7, "up1")}},
		{"which is renamed", []role.Event{upLink(8, "up2", true)}, []Uplink{up(8, "up2"), up(1, "up0"), up(7, "up1")}},
		{"one renamed away", []role.Event{upLink(8, "eth0", true)}, []Uplink{missing("up2"), up(1, "up0"), up(7, "up1")}},
		{"all gone", []role.Event{role.LinkGone{Index: 1}, role.LinkGone{Index: 7}}, []Uplink{missing("up2"), missing("up0"), missing("up1")}},
	} {
		for _, e := range test.events {
			b.handle(e)
		}
		got := b.node.Snapshot(b.now).Uplinks
		if !slices.EqualFunc(got, test.want, func(a, b Uplink) bool {
			return a.Name == b.Name && a.Missing == b.Missing && a.Index == b.Index && a.Up == b.Up
		}) {
			t.Errorf("%s: %+v, want %+v", test.what, got, test.want)
		}
	}
}
