package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roam6/internal/esp"
	"roam6/overlay"
)

// Keys of 48 octets, for AES-CBC, and of 20, for AES-GCM. All of them begin with
// the same digits, by which a test finds a key where none should be.
const keyMark = "c0ffee"

func cbcKey(n int) string { return keyMark + strings.Repeat(fmt.Sprintf("%02x", n), 45) }
func gcmKey(n int) string { return keyMark + strings.Repeat(fmt.Sprintf("%02x", n), 17) }

// ipsecSection is a section for the home address and home agent of the sections of
// errors_test.go, without its tunnel.
func ipsecSection(first int, key func(int) string) string {
	return fmt.Sprintf("config ipsec\n option home_address '2001:db8:1::2'\n option home_agent '2001:db8:1::1'\n"+
		" option spi_to_agent '%d'\n option key_to_agent '%s'\n option spi_to_mobile '%d'\n option key_to_mobile '%s'\n",
		first, key(1), first+1, key(2))
}

// ipsecTunnel are the options for home tests.
func ipsecTunnel(first int, key func(int) string) string {
	return fmt.Sprintf(" option spi_tunnel_to_agent '%d'\n option key_tunnel_to_agent '%s'\n option spi_tunnel_to_mobile '%d'\n option key_tunnel_to_mobile '%s'\n",
		first+2, key(3), first+3, key(4))
}

// unkeyed are a mobile and a home agent that leave authentication to IPsec.
func unkeyed(s string) string { return strings.ReplaceAll(s, " option insecure '1'\n", "") }

// One section, the same on both sides, makes policies that fit: what one sends by
// the other receives by. RFC 3776 §4.1: manual configuration; §4.2: one association
// for each home address and home agent.
func TestIPsec(t *testing.T) {
	here, there := parseTestdata(t, "ipsec.conf"), parseTestdata(t, "ipsec_agent.conf")
	m := here.MobileNodes[0]
	if len(m.ESP) != 1 || there.Mobiles[0].ESP == nil || m.Association != nil || there.Mobiles[0].Association != nil {
		t.Fatalf("mobile %+v\nagent %+v", m, there.Mobiles[0])
	}
	mobile, agent := m.ESP[0], *there.Mobiles[0].ESP
	if mobile.Home != m.HomeAddress.Addr() || mobile.Agent != m.HomeAgents[0] || mobile.Side != overlay.MobileSide || m.HomeTestsReadable() {
		t.Errorf("mobile's policy %+v", mobile)
	}
	if mobile.Out.SPI != 1000 || mobile.In.SPI != 1001 || mobile.TunnelOut.SPI != 1002 || mobile.TunnelIn.SPI != 1003 ||
		mobile.Out.Algorithm != esp.AESCBCSHA256 || mobile.Out.Key[0] != 0xea || mobile.In.Key[0] != 0x0f {
		t.Errorf("mobile's associations %+v", mobile)
	}
	mobile.Side = overlay.AgentSide
	mobile.Out, mobile.In, mobile.TunnelOut, mobile.TunnelIn = mobile.In, mobile.Out, mobile.TunnelIn, mobile.TunnelOut
	same(t, "the agent's policy", agent, mobile)
	section := func(name string) string {
		_, text, _ := strings.Cut(string(testdata(t, name)), "config ipsec")
		return text
	}
	if section("ipsec.conf") != section("ipsec_agent.conf") {
		t.Error("the examples differ")
	}
}

// Algorithm, window and several home agents; the window is the receiver's.
func TestIPsecOptions(t *testing.T) {
	second := strings.Replace(unkeyed(node), "'2001:db8:1::1'\n", "'2001:db8:1::1'\n list home_agent '2001:db8:1::9'\n", 1)
	second = strings.Replace(second, "option home_agent", "list home_agent", 1)
	c, err := Parse("roam6", []byte(second+
		ipsecSection(2000, cbcKey)+" option window '128'\n"+
		strings.Replace(ipsecSection(3000, gcmKey), "1::1'", "1::9'", 1)+ipsecTunnel(3000, gcmKey)+" option algorithm 'aes-gcm'\n"))
	if err != nil {
		t.Fatal(err)
	}
	key := func(text string) esp.Key {
		k, err := espKey().parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	association := func(spi uint32, a esp.Algorithm, text string, window int) esp.Association {
		return esp.Association{SPI: spi, Algorithm: a, Key: key(text), Window: window}
	}
	tunnelOut, tunnelIn := association(3002, esp.AESGCM, gcmKey(3), 0), association(3003, esp.AESGCM, gcmKey(4), 0)
	home := addr("2001:db8:1::2")
	same(t, "policies", c.MobileNodes[0].ESP, []esp.Policy{
		{Home: home, Agent: addr("2001:db8:1::1"), Side: overlay.MobileSide,
			Out: association(2000, esp.AESCBCSHA256, cbcKey(1), 0), In: association(2001, esp.AESCBCSHA256, cbcKey(2), 128)},
		{Home: home, Agent: addr("2001:db8:1::9"), Side: overlay.MobileSide,
			Out: association(3000, esp.AESGCM, gcmKey(1), 0), In: association(3001, esp.AESGCM, gcmKey(2), 0), TunnelOut: &tunnelOut, TunnelIn: &tunnelIn},
	})
	if c.MobileNodes[0].HomeTestsReadable() {
		t.Error("without route optimisation there are no home tests")
	}
	c.MobileNodes[0].RouteOptimisation = ListedRoutes
	if !c.MobileNodes[0].HomeTestsReadable() {
		t.Error("the first home agent sees home tests in plain text")
	}
	if err := esp.NewPolicies(nil).Replace(c.MobileNodes[0].ESP); err != nil {
		t.Error(err)
	}
	c, err = Parse("roam6", []byte(agent+unkeyed(mobile)+ipsecSection(2000, cbcKey)+" option window '64'\n"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the agent's policy", *c.Mobiles[0].ESP, esp.Policy{Home: home, Agent: addr("2001:db8:1::1"), Side: overlay.AgentSide,
		Out: association(2001, esp.AESCBCSHA256, cbcKey(2), 0), In: association(2000, esp.AESCBCSHA256, cbcKey(1), 64)})
}

// What is right although it looks odd.
func TestIPsecTolerance(t *testing.T) {
	const withKey = " option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n"
	for name, in := range map[string]string{
		"both authentications":         unkeyed(node) + withKey + ipsecSection(256, cbcKey),
		"timestamps under a key":       agent + unkeyed(mobile) + withKey + " option replay 'timestamp'\n" + ipsecSection(256, cbcKey),
		"one key in both directions":   unkeyed(node) + strings.ReplaceAll(ipsecSection(256, cbcKey), cbcKey(2), cbcKey(1)),
		"AES of 256 bits":              unkeyed(node) + strings.ReplaceAll(ipsecSection(256, cbcKey), keyMark, keyMark+strings.Repeat("00", 16)),
		"a mobile that is not enabled": "config mobile_node 'n'\n option enabled '0'\n option home_address '2001:db8:1::2/64'\n" + ipsecSection(256, cbcKey),
		"a home agent that is not enabled": strings.Replace(agent, "'h'\n", "'h'\n option enabled '0'\n", 1) + unkeyed(mobile) +
			ipsecSection(256, cbcKey),
		"the same SPIs at two home agents": strings.Replace(unkeyed(node), "option home_agent", "list home_agent '2001:db8:1::9'\n list home_agent", 1) +
			ipsecSection(256, cbcKey) + strings.Replace(strings.Replace(ipsecSection(256, cbcKey), "'257'", "'258'", 1), "1::1'", "1::9'", 1),
	} {
		if _, err := Parse("roam6", []byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each case has exactly one thing wrong, and no error has anything of a key.
func TestIPsecErrors(t *testing.T) {
	const there = `section '@ipsec[0]' `
	n, ro := unkeyed(node), unkeyed(router)
	section := ipsecSection(256, cbcKey)
	without := func(s, line string) string {
		var b strings.Builder
		for l := range strings.Lines(s) {
			if !strings.HasPrefix(l, " option "+line+" ") {
				b.WriteString(l)
			}
		}
		return b.String()
	}
	configured := "with keys that are configured all of spi_to_agent, key_to_agent, spi_to_mobile and key_to_mobile; or ike '1'"
	keys := `a key of 96 or 128 hexadecimal digits with aes-cbc-sha256, or 40 or 72 hexadecimal digits with aes-gcm`
	for _, tt := range []struct{ name, in, want string }{
		{"no home address", n + section + without(strings.Replace(section, "1::1'", "1::8'", 1), "home_address"), `option 'home_address' in section '@ipsec[1]' (roam6:12:1): expected a routable unicast IPv6 address; it is missing`},
		{"no SPI", n + without(section, "spi_to_mobile"), `option 'spi_to_mobile' in section '@ipsec[0]' (roam6:5:1): expected ` + configured + `; it is missing`},
		{"no key", n + without(section, "key_to_agent"), `option 'key_to_agent' in section '@ipsec[0]' (roam6:5:1): expected ` + configured + `; it is missing`},
		{"reserved SPI", n + strings.Replace(section, "'256'", "'255'", 1), `option 'spi_to_agent' in section '@ipsec[0]' (roam6:8:22): "255": expected an integer from 256 to 4294967295`},
		{"algorithm", n + section + " option algorithm 'aes-cbc'\n", `option 'algorithm' in section '@ipsec[0]' (roam6:12:19): "aes-cbc": expected one of aes-cbc-sha256, aes-gcm: did you mean 'aes-cbc-sha256'?`},
		{"key of no algorithm", n + strings.Replace(section, cbcKey(1), cbcKey(1)[2:], 1), `option 'key_to_agent' in section '@ipsec[0]' (roam6:9:22): "***": expected ` + keys + `: this has 94 digits`},
		{"odd key", n + strings.Replace(section, cbcKey(1), cbcKey(1)[1:], 1), `option 'key_to_agent' in section '@ipsec[0]' (roam6:9:22): "***": expected ` + keys + `: this has 95 digits`},
		{"key of other digits", n + strings.Replace(section, cbcKey(1), "x"+cbcKey(1)[1:], 1), `option 'key_to_agent' in section '@ipsec[0]' (roam6:9:22): "***": expected ` + keys + `: character 1 is not a digit from 0 to 9 or a to f`},
		{"key of zeros", n + strings.Replace(section, cbcKey(1), strings.Repeat("0", 96), 1), `option 'key_to_agent' in section '@ipsec[0]' (roam6:9:22): "***": expected ` + keys + `: this is all zeros`},
		{"key of the other algorithm", n + strings.Replace(section, cbcKey(2), gcmKey(2), 1), `option 'key_to_mobile' in section '@ipsec[0]' (roam6:11:23): "***": expected a key of 96 or 128 hexadecimal digits, because of algorithm 'aes-cbc-sha256'`},
		{"key in two words", n + without(section, "key_to_agent") + " option key_to_agent c0ffee c0ffee\n", `roam6:11:29: "***": expected the end of the line; a value with spaces stands in quotes`},
		{"window", n + section + " option window '100'\n", `option 'window' in section '@ipsec[0]' (roam6:12:16): "100": expected 0 for none, or a multiple of 64 up to 1024 (packets)`},
		{"window too wide", n + section + " option window '1088'\n", `option 'window' in section '@ipsec[0]' (roam6:12:16): "1088": expected 0 for none, or a multiple of 64 up to 1024 (packets)`},
		{"half a tunnel", n + section + without(ipsecTunnel(256, cbcKey), "spi_tunnel_to_mobile"), `option 'spi_tunnel_to_mobile' in section '@ipsec[0]' (roam6:5:1): expected with spi_tunnel_to_agent all of spi_tunnel_to_agent, key_tunnel_to_agent, spi_tunnel_to_mobile and key_tunnel_to_mobile; it is missing`},

		{"of nobody", node + strings.Replace(section, "1::2'", "1::77'", 1), `option 'home_address' in section '@ipsec[0]' (roam6:7:22): "2001:db8:1::77": expected the home address of a mobile_node, mobile_router or mobile section`},
		{"of everybody", n + agent + unkeyed(mobile) + section, `option 'home_address' in section '@ipsec[0]' (roam6:13:22): "2001:db8:1::2": expected an address that is either this node's or one that it serves; section 'n' (roam6:1:1) and section 'm' (roam6:9:1) have it both`},
		{"of another home agent", n + section + strings.Replace(ipsecSection(300, cbcKey), "1::1'", "1::8'", 1), `option 'home_agent' in section '@ipsec[1]' (roam6:14:20): "2001:db8:1::8": expected a home_agent of section 'n' (roam6:1:1)`},
		{"of another home agent than serves", agent + unkeyed(mobile) + strings.Replace(section, "1::1'", "1::8'", 1), `option 'home_agent' in section '@ipsec[0]' (roam6:10:20): "2001:db8:1::8": expected the address of section 'h' (roam6:1:1), which serves section 'm' (roam6:5:1)`},
		{"a home agent without", strings.Replace(n, "option home_agent", "list home_agent '2001:db8:1::9'\n list home_agent", 1) + section, `option 'home_agent' in section 'n' (roam6:3:18): "2001:db8:1::9": expected a home agent with an ipsec section for 2001:db8:1::2, as there is section '@ipsec[0]' (roam6:6:1) for 2001:db8:1::1`},
		{"twice", n + section + ipsecSection(300, cbcKey), `option 'home_agent' in section '@ipsec[1]' (roam6:14:20): "2001:db8:1::1": expected a home agent that section '@ipsec[0]' (roam6:5:1) does not have`},
		{"discovery", n + " option discover '1'\n" + section, `option 'discover' in section 'n' (roam6:5:18): "1": expected 0, because ` + there + `(roam6:6:1) protects the signalling: home agents that are found have no keys`},
		{"nothing but discovery", without(n, "home_agent") + section, `option 'home_agent' in section 'n' (roam6:1:1): expected the address of the home agent, because ` + there + `(roam6:4:1) protects the signalling: home agents that are found have no keys; it is missing`},
		{"no discovery either", without(n, "home_agent") + " option discover '0'\n" + section, `option 'home_agent' in section 'n' (roam6:1:1): expected the address of a home agent, because discover is 0; it is missing`},
		{"insecure", node + section, `option 'insecure' in section 'n' (roam6:5:18): "1": expected 0, because ` + there + `(roam6:6:1) protects the signalling`},
		{"SPI of no key", n + " option spi '256'\n" + section, `option 'spi' in section 'n' (roam6:5:13): "256": expected a key in the section, whose number this would be; or no SPI, because ` + there + `(roam6:6:1) has its own`},
		{"timestamps of no key", agent + unkeyed(mobile) + " option replay 'timestamp'\n" + section, `option 'replay' in section 'm' (roam6:8:16): "timestamp": expected sequence; or a key, because updates carry timestamps under its authenticator only (RFC 4285 §6)`},

		{"one SPI for two of the home agent's", n + section + strings.Replace(ipsecTunnel(256, cbcKey), "'258'", "'256'", 1), `option 'spi_tunnel_to_agent' in section '@ipsec[0]' (roam6:12:29): "256": expected an SPI that is not that of spi_to_agent, too`},
		{"one SPI for two mobiles", n + ro + section + strings.Replace(strings.Replace(ipsecSection(300, cbcKey), "1::2'", "1::3'", 1), "'300'", "'256'", 1), `option 'spi_to_agent' in section '@ipsec[1]' (roam6:20:22): "256": expected an SPI that spi_to_agent of section '@ipsec[0]' (roam6:10:1) does not have`},
		{"one inbound SPI for two home addresses", n + ro + section + strings.Replace(strings.Replace(ipsecSection(300, cbcKey), "1::2'", "1::3'", 1), "'301'", "'257'", 1), `option 'spi_to_mobile' in section '@ipsec[1]' (roam6:22:23): "257": expected an SPI that spi_to_mobile of section '@ipsec[0]' (roam6:10:1) does not have`},
		{"one GCM key for two", n + strings.ReplaceAll(ipsecSection(256, gcmKey), gcmKey(2), gcmKey(1)) + " option algorithm 'aes-gcm'\n", `option 'key_to_mobile' in section '@ipsec[0]' (roam6:11:23): "***": expected with algorithm 'aes-gcm' a key that is not that of key_to_agent, too`},
	} {
		_, err := Parse("roam6", []byte(tt.in))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), keyMark) {
			t.Errorf("%s: a key is in %v", tt.name, err)
		}
		var all Errors
		if errors.As(err, &all) && slices.ContainsFunc(all, func(e *Error) bool { return strings.Contains(e.Offending, keyMark) }) {
			t.Errorf("%s: a key is in %v", tt.name, err)
		}
	}
}

// A file with keys of IPsec is nobody else's to read, either.
func TestIPsecFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roam6")
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o644: false, 0o640: false} {
		if err := os.WriteFile(path, []byte(unkeyed(node)+ipsecSection(256, cbcKey)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if (err == nil) != ok {
			t.Errorf("mode %v: %v", mode, err)
		}
		want := fmt.Sprintf(`option 'key_to_agent' in section '@ipsec[0]' (%[1]s:9:9): "%v": expected a file that only its owner can read, because it holds a key: chmod 600 %[1]s`, path, mode)
		if !ok && (err == nil || err.Error() != want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// checkPolicies checks that the policies of a configuration can be put in force.
func checkPolicies(t *testing.T, c *Config) {
	t.Helper()
	var all []esp.Policy
	for _, m := range c.MobileNodes {
		all = append(all, m.ESP...)
		if len(m.ESP) > 0 && (m.Discover || len(m.ESP) != len(m.HomeAgents)) {
			t.Fatalf("home agents without keys: %+v", m)
		}
	}
	for _, m := range c.Mobiles {
		if m.ESP != nil {
			all = append(all, *m.ESP)
		}
	}
	if err := esp.NewPolicies(nil).Replace(all); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v %#v", c, c); strings.Contains(text, "\xc0\xff\xee") || strings.Contains(text, keyMark) {
		t.Fatalf("a key is in %s", text)
	}
}
