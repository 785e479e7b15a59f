package doctor

import (
	"os"
	"testing"

	"roam6/overlay/engines"
	"roam6/overlay/feature"
)

// On a machine that runs these tests as root roam6 can run, what is chosen is the best
// that is usable, and nothing is left of the trials.
func TestExamine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	r, err := Examine()
	if err != nil {
		t.Fatal(err)
	}
	if !r.Healthy() || !r.Private || r.Kernel == "" {
		t.Errorf("%+v", r)
	}
	best := ""
	for i, p := range r.Planes {
		if p.Name != engines.All()[i].Name {
			t.Errorf("plane %d is %s", i, p.Name)
		}
		if p.Usable && best == "" {
			best = p.Name
		}
	}
	if r.Chosen != best {
		t.Errorf("chosen %q, the best is %q", r.Chosen, best)
	}
	for _, f := range r.Basis {
		if f.Missing != "" && (f.OpenWrt == "" || f.Debian == "") {
			t.Errorf("nothing to do about %+v", f)
		}
	}
}

// Health needs everything that is not optional, and a data plane.
func TestHealthy(t *testing.T) {
	missing := feature.Feature{Name: "x", Missing: "gone"}
	optional := missing
	optional.Instead = "another"
	for _, test := range []struct {
		r    Report
		want bool
	}{
		{Report{Chosen: "tun"}, true},
		{Report{}, false},
		{Report{Chosen: "tun", Basis: []feature.Feature{missing}}, false},
		{Report{Chosen: "tun", Basis: []feature.Feature{optional, {Name: "y"}}}, true},
	} {
		if got := test.r.Healthy(); got != test.want {
			t.Errorf("%+v: %v", test.r, got)
		}
	}
}
