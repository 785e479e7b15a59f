package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCheck runs `roam6 check` on a file of that content; FILE in the results
// stands for its path.
func runCheck(t *testing.T, content string, options ...string) (code int, out, err string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roam6")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = check(append(options, path), stdio{out: &stdout, err: &stderr})
	neutral := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), path, "FILE") }
	return code, neutral(stdout), neutral(stderr)
}

const checkRouter = `config mobile_router 'train'
	option home_address '2001:db8:1::2/64'
	option home_agent '2001:db8:1::1'
	option spi '1000'
	option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'
	list uplink 'wan'
	list prefix '2001:db8:100::/64'
`

const delegating = `config home_agent 'depot'
	option interface 'eth1'
	option address '2001:db8:1::1'
	option prefix '2001:db8:1::/64'
	list delegation_pool '2001:db8:8000::/40'
config mobile 'bus'
	option home_address '2001:db8:1::3'
	option key '7f2e4dbca1908f7e6d5c4b3a29180716'
`

const checkAnchor = `config anchor 'junction'
	option address '2001:db8:f::1'
	option insecure '1'
config visitor 'bus'
	option spi '1001'
	option key '7f2e4dbca1908f7e6d5c4b3a29180716'
`

// checkIPsec is a mobile with IPsec, checkTunnel what protects its home tests, and
// checkLocal what it and a mobility anchor point say to each other.
const (
	checkIPsec = `config mobile_node 'laptop'
	option home_address '2001:db8:1::7/64'
	option home_agent '2001:db8:1::1'
	list uplink 'wan'
config ipsec
	option home_address '2001:db8:1::7'
	option home_agent '2001:db8:1::1'
	option spi_to_agent '1000'
	option key_to_agent 'ea1b3cd0c64457a6e1b4c9cb6d7e5ed7a0d40e7b'
	option spi_to_mobile '1001'
	option key_to_mobile '0f6c1a7e93b2d8455ad1c3f20b7e69848e1d0c5b'
	option algorithm 'aes-gcm'
`
	checkLocal = `	option spi_to_anchor '2000'
	option key_to_anchor '91d4e07f3a5b2c68d7f1e0a94b3c5d6e7f8091a2'
	option spi_to_mobile '2001'
	option key_to_mobile '2c4e6f80a1b3c5d7e9fa0b1c2d3e4f5061728394'
	option algorithm 'aes-gcm'
`
	checkTunnel = `	option spi_tunnel_to_agent '1002'
	option key_tunnel_to_agent '5c8e2f4b1a7d903366f0e9d8c7b6a5945b1e2d3c'
	option spi_tunnel_to_mobile '1003'
	option key_tunnel_to_mobile 'b7a6958473625140ffeeddccbbaa99884e3d2c1b'
`
)

func TestCheck(t *testing.T) {
	optimised := strings.Replace(checkIPsec, "config ipsec", "\toption route_optimization 'on'\nconfig ipsec", 1)
	const gcm = "FILE: warning: section 'laptop' uses AES-GCM with configured keys, which RFC 4106 §2 and RFC 8221 §3 forbid: algorithm 'aes-cbc-sha256' is what such keys are for\n"
	insecure := strings.NewReplacer("\toption spi '1000'\n", "", "option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'", "option insecure '1'").Replace(checkRouter)
	tests := []struct {
		name, content    string
		options          []string
		code             int
		wantOut, wantErr string
	}{
		{"valid", checkRouter + "config interface\n\toption interface 'lan'\nconfig interface\n\toption interface 'lan2'\n", nil, 0,
			"FILE: ok: 1 mobile router, 2 interfaces\n", ""},
		{"policies", checkRouter + "config policy\n\toption mobile_node 'train'\n\toption proto 'udp'\nconfig correspondent\n", nil, 0,
			"FILE: ok: 1 mobile router, 1 policy, 1 correspondent\n", ""},
		{"empty", "", nil, 0, "FILE: ok: nothing to do\n", ""},
		{"disabled", checkRouter + "\toption enabled '0'\n", nil, 0, "FILE: ok: nothing to do, 1 disabled\n", ""},
		{"insecure", insecure, nil, 0, "FILE: ok: 1 mobile router\n",
			"FILE: warning: section 'train' runs without authentication: anybody can redirect its traffic\n"},
		{"IPsec", checkIPsec, nil, 0, "FILE: ok: 1 mobile node\n", gcm},
		{"IPsec with anchors", strings.Replace(checkIPsec, "config ipsec", "\toption hierarchy '1'\nconfig ipsec", 1) + "config anchor_key 'city'\n\toption anchors '2001:db8:5::1'\n" + checkLocal, nil, 0,
			"FILE: ok: 1 mobile node, 1 anchor key\n", gcm + strings.Replace(gcm, "laptop", "city", 1)},
		{"IPsec of a visitor", "config anchor 'city'\n\toption address '2001:db8:5::1'\nconfig visitor 'laptop'\n" + checkLocal, nil, 0,
			"FILE: ok: 1 mobility anchor point, 1 visitor\n", gcm},
		{"IPsec for all", optimised + checkTunnel, nil, 0, "FILE: ok: 1 mobile node\n", gcm},
		{"IPsec without home tests", optimised, nil, 0, "FILE: ok: 1 mobile node\n",
			"FILE: warning: section 'laptop' optimises routes, and its ipsec section does not protect home tests: who reads them on the mobile's link can redirect its traffic; spi_tunnel_to_agent and the three options like it do (RFC 6275 §10.4.6)\n" + gcm},
		{"two errors", checkRouter + "\toption lifetime '1'\n\toption colour 'red'\n", nil, 1, "",
			"FILE:8:18: option 'lifetime' in section 'train': \"1\": expected an integer from 8 to 262140 (seconds)\n" +
				"FILE:9:9: option 'colour' in section 'train': \"colour\": expected an option of the section type mobile_router: enabled, home_address, home_agent, discover, uplink, hysteresis_ms, default_source, route_optimization, correspondent, spi, key, insecure, replay, lifetime, initial_timeout_ms, dad, hierarchy, anchor_selection, insecure_anchors, mode, prefix, downstream, prefix_delegation, delegation_length, netifd\n"},
		{"delegation", delegating + "\toption router '1'\nconfig prefix_request 'guests'\n\toption uplink 'wan'\n\tlist downstream 'lan'\nconfig uplink\n\toption interface 'wan'\n", nil, 0,
			"FILE: ok: 1 uplink, 1 prefix request, 1 home agent, 1 mobile\n", ""},
		{"delegation to nobody", delegating, nil, 0, "FILE: ok: 1 home agent, 1 mobile\n",
			"FILE: warning: section 'depot' delegates prefixes, and no mobile gets any: a mobile section with option router '1' does\n"},
		{"delegation in conflict", delegating + "\tlist prefix '2001:db8:8000::/64'\nconfig uplink\n\toption interface 'wna'\n", nil, 1, "",
			"FILE:9:14: option 'prefix' in section 'bus': \"2001:db8:8000::/64\": expected a prefix that does not overlap the delegation_pool 2001:db8:8000::/40 of section 'depot' (FILE:1:1)\n" +
				"FILE:11:19: option 'interface' in section '@uplink[0]': \"wna\": expected the uplink of a mobile_router, mobile_node or prefix_request section; there is none\n"},
		{"grammar", "config mobile_router my-train\n", nil, 1, "",
			"FILE:1:22: \"my-train\": expected a section name of letters, digits and _\n"},
		{"hierarchy without keys", checkRouter + "\toption hierarchy '1'\n\toption insecure_anchors '1'\n" + checkAnchor, nil, 0,
			"FILE: ok: 1 mobile router, 1 mobility anchor point, 1 visitor\n",
			"FILE: warning: section 'train' trusts mobility anchor points without a key: whoever advertises one can carry its traffic\n" +
				"FILE: warning: section 'junction' serves whoever asks, without authentication: anybody can redirect a visitor's traffic\n"},
		{"valid as JSON", checkRouter, []string{"--json"}, 0, `{
  "file": "FILE",
  "ok": true,
  "sections": {
    "anchor": 0,
    "anchor_key": 0,
    "correspondent": 0,
    "home_agent": 0,
    "interface": 0,
    "mobile": 0,
    "mobile_node": 0,
    "mobile_router": 1,
    "policy": 0,
    "prefix_request": 0,
    "uplink": 0,
    "visitor": 0
  }
}
`, ""},
		{"error as JSON", "config metrics\n\toption enabled 'perhaps'\n", []string{"--json"}, 1, `{
  "file": "FILE",
  "ok": false,
  "errors": [
    {
      "line": 2,
      "column": 17,
      "section": "@metrics[0]",
      "option": "enabled",
      "offending": "perhaps",
      "expected": "1 or 0 (or on, true, yes, enabled; off, false, no, disabled)",
      "message": "option 'enabled' in section '@metrics[0]': \"perhaps\": expected 1 or 0 (or on, true, yes, enabled; off, false, no, disabled)"
    }
  ]
}
`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := runCheck(t, tt.content, tt.options...)
			if code != tt.code || out != tt.wantOut || err != tt.wantErr {
				t.Errorf("exit %d, want %d\nout: %s\nwant %s\nerr: %s\nwant %s", code, tt.code, out, tt.wantOut, err, tt.wantErr)
			}
		})
	}
}

func TestCheckUsage(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		args             []string
		code             int
		wantOut, wantErr string
	}{
		{[]string{missing}, 1, "", "roam6 check: there is no configuration " + missing + ": write one, or name another file\n"},
		{[]string{"a", "b"}, 2, "", "roam6 check: \"b\": one file at a time\n"},
		{[]string{"--colour"}, 2, "", "flag provided but not defined: -colour\nusage: roam6 check"},
		{[]string{"-h"}, 0, "usage: roam6 check [--json] [FILE]\n", ""},
	} {
		var out, err bytes.Buffer
		code := check(tt.args, stdio{out: &out, err: &err})
		if code != tt.code || !strings.HasPrefix(out.String(), tt.wantOut) || !strings.HasPrefix(err.String(), tt.wantErr) ||
			(tt.wantOut == "") != (out.Len() == 0) || (tt.wantErr == "") != (err.Len() == 0) {
			t.Errorf("%v: exit %d, out %q, err %q", tt.args, code, out.String(), err.String())
		}
	}
}
