package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"roam6/internal/doctor"
	"roam6/overlay/feature"
)

func TestDoctorPrints(t *testing.T) {
	r := &doctor.Report{
		Kernel: "6.6.1", Architecture: "mipsle", Private: true, Chosen: "tun",
		Basis: []feature.Feature{{Name: "IPv6"}, {Name: "nftables", Missing: "function not implemented", Instead: "errors", OpenWrt: "kmod-nft-core", Debian: "modprobe nf_tables"}},
		Planes: []doctor.Plane{
			{Name: "kernel", Features: []feature.Feature{{Name: "ip6tnl devices", Missing: "operation not supported", OpenWrt: "kmod-ip6-tunnel", Debian: "modprobe ip6_tunnel"}}},
			{Name: "tun", Usable: true, Features: []feature.Feature{{Name: "TUN devices"}}},
		},
	}
	var b bytes.Buffer
	printDiagnosis(&b, r)
	want := `roam6 ` + version + ` on Linux 6.6.1, mipsle

For every role
  IPv6                               yes
  nftables                           no: function not implemented
                                       instead: errors
                                       OpenWrt: kmod-nft-core
                                       Debian: modprobe nf_tables

Data plane kernel cannot be used
  ip6tnl devices                     no: operation not supported
                                       OpenWrt: kmod-ip6-tunnel
                                       Debian: modprobe ip6_tunnel

Data plane tun is used (option plane 'auto')
  TUN devices                        yes
`
	if got := b.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// The command tells of this machine, and its JSON says the same.
func TestDoctor(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	var out, failed bytes.Buffer
	if code := diagnose([]string{"--json"}, stdio{nil, &out, &failed}); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out.String(), failed.String())
	}
	var d diagnosis
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if !d.Healthy || !d.Private || d.Plane == "" || len(d.Basis) == 0 || len(d.Planes) == 0 {
		t.Errorf("%+v", d)
	}
	out.Reset()
	if code := diagnose(nil, stdio{nil, &out, &failed}); code != 0 || !strings.Contains(out.String(), "Data plane "+d.Plane+" is used") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	for args, code := range map[string]int{"--help": 0, "--what": 2, "more": 2} {
		if got := diagnose([]string{args}, stdio{nil, &out, &failed}); got != code {
			t.Errorf("%s: exit code %d, want %d", args, got, code)
		}
	}
}
