package feature

import (
	"errors"
	"os"
	"testing"
)

func TestTried(t *testing.T) {
	known := Feature{OpenWrt: "kmod-x", Debian: "modprobe x", Instead: "y"}
	if got, want := Tried("x", nil, known), (Feature{Name: "x", OpenWrt: "kmod-x", Debian: "modprobe x", Instead: "y"}); got != want {
		t.Errorf("there: %+v, want %+v", got, want)
	}
	if got := Tried("x", errors.New("no such thing"), known); got.Name != "x" || got.Missing != "no such thing" {
		t.Errorf("not there: %+v", got)
	}
}

func TestSuffices(t *testing.T) {
	there, replaced, missing := Feature{Name: "x"}, Feature{Missing: "no", Instead: "y"}, Feature{Missing: "no"}
	for _, tt := range []struct {
		name string
		all  []Feature
		want bool
	}{
		{"nothing is needed", nil, true},
		{"all there", []Feature{there, there}, true},
		{"something in its place", []Feature{there, replaced}, true},
		{"missing", []Feature{there, missing, replaced}, false},
	} {
		if got := Suffices(tt.all); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// What is tried is in a namespace of its own, which is not the caller's afterwards either.
func TestTryPrivately(t *testing.T) {
	namespace := func() string {
		name, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		return name
	}
	before, private := namespace(), ""
	if err := TryPrivately(func() { private = namespace() }); err != nil {
		if private != "" {
			t.Errorf("%v, and yet it was tried", err)
		}
		t.Skipf("needs CAP_SYS_ADMIN: %v", err)
	}
	if private == "" || private == before || namespace() != before {
		t.Errorf("tried in %s, called in %s and then in %s", private, before, namespace())
	}
}
