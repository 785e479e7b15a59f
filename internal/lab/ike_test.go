package lab

import (
	"testing"

	"github.com/vishvananda/netlink"

	"roam6/internal/lab/netns"
)

// A charon that was killed leaves the rules for its routing table; others stay.
func TestAfterCharon(t *testing.T) {
	if !Privileged() {
		t.Skip("needs root, or `unshare -Urn`: network namespaces")
	}
	space, err := netns.New("charon")
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	count := func(family int) int {
		rules, err := space.Link.RuleList(family)
		if err != nil {
			t.Fatal(err)
		}
		return len(rules)
	}
	before := [2]int{count(netlink.FAMILY_V4), count(netlink.FAMILY_V6)}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		for _, priority := range []int{220, 219} {
			r := netlink.NewRule()
			r.Family, r.Priority, r.Table = family, priority, 220
			if err := space.Link.RuleAdd(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // there may be none
		if err := afterCharon(space); err != nil {
			t.Fatal(err)
		}
		if now := [2]int{count(netlink.FAMILY_V4) - 1, count(netlink.FAMILY_V6) - 1}; now != before {
			t.Errorf("%v rules but for the other one, want %v", now, before)
		}
	}
}
