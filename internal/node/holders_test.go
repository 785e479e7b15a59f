package node

import (
	"net/netip"
	"testing"

	"roam6/internal/role"
	"roam6/mn"
)

// What two roles share stays until the last one lets go.
func TestHolders(t *testing.T) {
	var x holders
	a, b := new(mn.Node), new(mn.Node)
	h := heldRoute(role.Route{Destination: netip.MustParsePrefix("::/0"), Link: 3, Via: netip.MustParseAddr("fe80::1")})
	x.hold(h, a)
	x.hold(h, b)
	x.hold(h, b) // again
	if x.release(h, a) {
		t.Error("gone while b wants it")
	}
	if x.release(h, a) {
		t.Error("a let go twice and took b's")
	}
	if !x.release(h, b) {
		t.Error("stays although nobody wants it")
	}
	if !x.release(h, b) {
		t.Error("what nobody held cannot be removed")
	}
	x.hold(h, a)
	x.linkGone(3)
	if len(x.of) != 0 {
		t.Error("kept beyond its interface")
	}
}
