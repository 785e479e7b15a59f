package tcx

import "testing"

// What Probe says agrees with what happens.
func TestProbe(t *testing.T) {
	missing := ""
	for _, f := range Probe() {
		if f.Name == "" || f.OpenWrt == "" || f.Debian == "" {
			t.Errorf("%+v says nothing", f)
		}
		t.Logf("%s: %q", f.Name, f.Missing)
		if f.Missing != "" && f.Instead == "" {
			missing = f.Name
		}
	}
	l, err := load(setting{device: 1}, 1, "")
	if err == nil {
		l.close()
	}
	if missing == "" && err != nil {
		t.Errorf("nothing is missing, and yet: %v", err)
	}
}

// The version names what is in the kernel: it is the same for the same, and for nothing
// else.
func TestVersion(t *testing.T) {
	s := setting{device: 3, mark: 0x62750000, markMask: 0xffff0000}
	same := version("tcx", s, 1024)
	if version("tcx", s, 1024) != same {
		t.Error("the same twice has two versions")
	}
	for name, other := range map[string]string{
		"device":   version("tcx", setting{device: 4, mark: s.mark, markMask: s.markMask}, 1024),
		"mark":     version("tcx", setting{device: 3, mark: 1, markMask: s.markMask}, 1024),
		"routing":  version("tcx", setting{device: 3, mark: s.mark, markMask: s.markMask, routeByMark: true}, 1024),
		"capacity": version("tcx", s, 2048),
		"hook":     version("clsact", s, 1024),
	} {
		if other == same {
			t.Errorf("another %s has the same version", name)
		}
	}
}
