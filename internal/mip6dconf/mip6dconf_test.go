package mip6dconf

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/uci"
)

var update = flag.Bool("update", false, "write the golden files and docs/import.md anew")

// included are files for include statements.
var included = map[string][]Source{
	"more.d/*.conf": {
		{Name: "more.d/a.conf", Text: []byte("DebugLevel 1; # given again\ninclude \"deeper\"\nDebugLevel 2")},
		{Name: "more.d/b.conf", Text: []byte(";\nMnRouterProbes 0;\n")},
	},
	"deeper": {{Name: "deeper", Text: []byte("UseCnBuAck enabled;")}},
	"loop":   {{Name: "loop", Text: []byte(`include "loop" `)}},
	"twins":  {{Name: "a", Text: []byte(`include "twins" `)}, {Name: "b", Text: []byte(`include "twins" `)}},
	"large":  {{Name: "large", Text: make([]byte, MaxSize)}},
}

func include(pattern string) ([]Source, error) {
	if pattern == "unreadable" {
		return nil, os.ErrPermission
	}
	return included[pattern], nil
}

func parse(src string) (*File, error) {
	return Parse(Source{Name: "f", Text: []byte(src)}, include)
}

// translate translates a file that is right.
func translate(t *testing.T, name string, src []byte) (text []byte, notes string, needsLook bool) {
	t.Helper()
	f, err := Parse(Source{Name: name, Text: src}, include)
	if err != nil {
		t.Fatalf("%v in\n%s", err, src)
	}
	translation := Translate(f)
	text, err = translation.Text()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, n := range translation.Notes {
		if n.Harmless {
			b.WriteString("(")
		}
		b.WriteString(n.String())
		if n.Harmless {
			b.WriteString(")")
		}
		b.WriteString("\n")
	}
	return text, b.String(), translation.NeedsLook()
}

// toFillIn are the options that mip6d's file does not tell.
var toFillIn = []string{
	"key", "address", "prefix", "interface", "uplink", "psk",
	"spi_to_agent", "key_to_agent", "spi_to_mobile", "key_to_mobile",
	"spi_payload_to_agent", "key_payload_to_agent", "spi_payload_to_mobile", "key_payload_to_mobile",
}

// missing checks that roam6 takes a translation but for what has to be filled in,
// and returns the names of that.
func missing(t *testing.T, text []byte) (options []string) {
	t.Helper()
	_, err := config.Parse("roam6", text)
	if err == nil {
		return nil
	}
	var list config.Errors
	if !errors.As(err, &list) {
		t.Fatalf("%v in\n%s", err, text)
	}
	for _, e := range list {
		if e.Offending != "" && e.Option != "key" || !slices.Contains(toFillIn, e.Option) {
			t.Errorf("%v (option %q) in\n%s", e, e.Option, text)
		}
		options = append(options, e.Option)
	}
	return options
}

// Each example becomes what it says beside it, with the notes beside it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, notes, _ := translate(t, filepath.Base(file), src)
		missing(t, text)
		for suffix, got := range map[string]string{".uci": string(text), ".notes": notes} {
			golden := strings.TrimSuffix(file, ".conf") + suffix
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not\n%s", golden, got)
			}
		}
	}
}

// What is filled in is all that roam6 lacks.
func TestFilledIn(t *testing.T) {
	key := strings.Repeat("0123456789abcdef", 6)
	for _, name := range []string{"agent", "mobile"} {
		src, err := os.ReadFile(filepath.Join("testdata", name+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(Source{Name: name, Text: src}, include)
		if err != nil {
			t.Fatal(err)
		}
		translation := Translate(f)
		for i := range translation.Sections {
			s := &translation.Sections[i]
			set := func(name, value string) {
				s.Options = append(s.Options, uci.Option{Name: name, Values: []uci.Value{{Text: value}}})
			}
			_, ike := s.Option("ike")
			_, payload := s.Option("payload")
			switch {
			case s.Type == "ipsec" && ike:
				set("psk", "a secret that is long enough")
			case s.Type == "ipsec":
				// Each has numbers and keys of its own.
				for j, what := range []string{"to_agent", "to_mobile", "tunnel_to_agent", "tunnel_to_mobile", "payload_to_agent", "payload_to_mobile"} {
					spi := uint32(1000 + 10*i + j)
					if j >= 4 {
						spi += 1 << 31
					}
					if j < 4 || payload {
						set("spi_"+what, fmt.Sprint(spi))
						set("key_"+what, fmt.Sprintf("%02x%02x", i, j)+key[4:])
					}
				}
			case s.Type == "mobile_node" && s.Name == "mobile2":
				set("key", key[:32])
			}
		}
		text, err := translation.Text()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse("roam6", text); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"nothing", "", `f:1:1: the file ends; expected an option of mip6d`},
		{"comment only", "# x\n\n", `f:3:1: the file ends; expected an option of mip6d`},
		{"unknown", "\n  Bogus 3;", `f:2:3: "Bogus": expected an option of mip6d`},
		{"other capitals", "nodeconfig HA;", `f:1:1: "nodeconfig": expected an option of mip6d (such as NodeConfig)`},
		{"no semicolon", "NodeConfig HA\nDebugLevel 1;", `f:2:1: "DebugLevel": expected ';'`},
		{"no such node", "NodeConfig MR;", `f:1:12: "MR": expected CN, HA or MN`},
		{"a word without a use", "LinkName \"x\";", `f:1:1: "LinkName": expected an option of mip6d`},
		{"no boolean", "UseCnBuAck yes;", `f:1:12: "yes": expected enabled or disabled (or allow, true; deny, block, false)`},
		{"number too large", "DebugLevel 4294967296;", `f:1:12: "4294967296": expected a number from 0 to 4294967295`},
		{"lifetime too long", "HaMaxBindingLife 262141;", `f:1:18: "262141": expected a number from 0 to 262140`},
		{"no time", "InitialSolicitTimer soon;", `f:1:21: "soon": expected a number of seconds, such as 1.5`},
		{"preference", `Interface "e" { MnIfPreference 11; }`, `f:1:32: "11": expected a number from 0 to 10`},
		{"name without quotes", "Interface eth0;", `f:1:11: "eth0": expected the name of an interface in double quotes`},
		{"quotes that do not end", "Interface \"eth0\n;", `f:1:11: "\"eth0": expected the name of an interface in double quotes`},
		{"empty block", `Interface "e" { }`, `f:1:17: "}": expected an option of Interface`},
		{"option of another block", `Interface "e" { HomeAddress ::1/64; }`, `f:1:17: "HomeAddress": expected an option of Interface`},
		{"home link without address", `MnHomeLink "e" { IsMobRtr enabled; }`, `f:1:12: "e": expected a HomeAddress in the block`},
		{"no length", `MnHomeLink "e" { HomeAddress 2001:db8::1; }`, `f:1:41: ";": expected '/'`},
		{"length", `MnHomeLink "e" { HomeAddress 2001:db8::1/129; }`, `f:1:42: "129": expected a prefix length from 0 to 128`},
		{"list that does not end", "BindingAclPolicy 2001:db8::1 (2001:db8::/64 allow;", `f:1:45: "allow": expected ')'`},
		{"empty list", "BindingAclPolicy 2001:db8::1 () allow;", `f:1:31: ")": expected an IPv6 address`},
		{"no verdict", "BindingAclPolicy 2001:db8::1;", `f:1:29: ";": expected allow, deny or the number of a status`},
		{"IPv4", "BindingAclPolicy 192.0.2.1 allow;", `f:1:18: "192.0.2.1": expected an IPv6 address`},
		{"set without a home agent", "IPsecPolicySet { HomeAddress ::1/64; }", `f:1:1: "IPsecPolicySet": expected a HomeAgentAddress in the set`},
		{"set without policies", "IPsecPolicySet { HomeAgentAddress ::2; HomeAddress ::1/64; }", `f:1:1: "IPsecPolicySet": expected an IPsecPolicy in the set`},
		{"no protocol", "IPsecPolicySet { IPsecPolicy Mh 3; }", `f:1:33: "3": expected UseESP`},
		{"no kind of policy", "IPsecPolicySet { IPsecPolicy UseESP; }", `f:1:30: "UseESP": expected HomeRegBinding, Mh, MobPfxDisc, ICMP, any, TunnelHomeTesting, TunnelMh or TunnelPayload`},
		{"two home agents", "IPsecPolicySet { HomeAgentAddress ::2; HomeAgentAddress ::3; }", `f:1:57: "::3": expected one HomeAgentAddress in the set`},
		{"proxy that does not end", "ProxyMipLma \"x\" { LmaAddress ::1;", `f:1:34: the file ends; expected the end of ProxyMipLma`},
		{"radvd.conf", "interface e0 { AdvSendAdvert on; };", `f:1:1: "interface": expected an option of mip6d (such as InterfaceInitialInitDelay, MnUseAllInterfaces)`},
		{"include without quotes", "include x", `f:1:9: "x": expected a pattern of file names in double quotes`},
		{"error in an included file", `include "deeper" Bogus;`, `f:1:18: "Bogus": expected an option of mip6d`},
		{"files that include one another", `include "loop"`, `loop:1:9: "loop": expected no more than 5 files that include one another`},
		{"too large with what it includes", `include "large"`, `f:1:9: "large": expected a configuration of at most 1048576 octets`},
		{"unreadable", `include "unreadable"`, `f:1:9: include: permission denied`},
	} {
		_, err := parse(tt.src)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, not %s", tt.name, err, tt.want)
		}
	}
}

// Files that include one another are bounded in number, too, however flat.
func TestIncludeBounds(t *testing.T) {
	flat := make([]Source, MaxIncluded+1)
	for i := range flat {
		flat[i] = Source{Name: fmt.Sprint(i), Text: []byte("DebugLevel 1;")}
	}
	if _, err := Parse(Source{Text: []byte(`include "x"`)}, func(string) ([]Source, error) { return flat, nil }); err == nil || !strings.Contains(err.Error(), "at most 200 files") {
		t.Errorf("%v", err)
	}
	if f, err := Parse(Source{Text: []byte(`include "x"`)}, func(string) ([]Source, error) { return flat[1:], nil }); err != nil || len(f.Repeated) != MaxIncluded-1 {
		t.Errorf("%v", err)
	}
	if _, err := Parse(Source{Text: []byte(`include "x"`)}, nil); err == nil || !strings.Contains(err.Error(), "no include") {
		t.Errorf("%v", err)
	}
	if _, err := Parse(Source{Name: "f", Text: make([]byte, MaxSize+1)}, nil); err == nil || !strings.Contains(err.Error(), "1048577 octets") {
		t.Errorf("%v", err)
	}
}

// What is included is read where the statement stands, in order, and a
// statement may begin in one file and end in the next.
func TestInclude(t *testing.T) {
	f, err := parse("NodeConfig CN;\ninclude \"more.d/*.conf\"\nUseCnBuAck disabled;")
	if err != nil {
		t.Fatal(err)
	}
	if f.DebugLevel.Value != 2 || f.DebugLevel.Position != (uci.Position{File: "more.d/a.conf", Line: 3, Column: 1}) || f.UseCnBuAck.Value || !f.MnRouterProbes.Given {
		t.Errorf("%+v", f)
	}
	if len(f.Repeated) != 2 || f.Repeated[1].Position != (uci.Position{File: "deeper", Line: 1, Column: 1}) {
		t.Errorf("%+v", f.Repeated)
	}
}

// Some sentences, each with the note that it must lead to, or with none.
func TestNotes(t *testing.T) {
	agent := "NodeConfig HA; Interface \"eth0\"; DefaultBindingAclPolicy deny; UseMnHaIPsec disabled;\n"
	mobile := "NodeConfig MN; UseMnHaIPsec disabled; DoRouteOptimizationMN disabled; MnHomeLink \"eth0\" { HomeAddress 2001:db8:10::2/64; %s}\n"
	for _, tt := range []struct{ name, src, note string }{
		{"home agent alone", agent, "option address, the home agent's own on it"},
		{"default policy", "NodeConfig HA; Interface \"eth0\";", "DefaultBindingAclPolicy allow, which is the default"},
		{"no router accepted", agent + "BindingAclPolicy 2001:db8:10::2 (2001:db8:100::/64) allow;", "HaAcceptMobRtr is disabled: the mobile network prefixes of 2001:db8:10::2 are left out"},
		{"denied", agent + "BindingAclPolicy 2001:db8:10::2 deny;", "(f:2:1: BindingAclPolicy 2001:db8:10::2: left out: nobody is served"},
		{"twice", agent + "BindingAclPolicy 2001:db8:10::2 allow; BindingAclPolicy 2001:db8:10::2 allow;", "there is one for the address already"},
		{"no home address", agent + "BindingAclPolicy ff02::1 allow;", "cannot be a home address"},
		{"served prefix in use", "NodeConfig HA; Interface \"eth0\"; IPsecPolicySet { HomeAgentAddress 2001:db8:10::1; HomeAddress 2001:db8:100::1/64; IPsecPolicy Mh UseESP; } HaServedPrefix 2001:db8:100::/40;", "\nf:1:156: HaServedPrefix 2001:db8:100::/40: left out"},
		{"intervals", agent + "MaxMobPfxAdvInterval 100;", "MinMobPfxAdvInterval 600 is more than MaxMobPfxAdvInterval 100"},
		{"unsolicited", agent + "SendUnsolMobPfxAdvs disabled;", "\nf:2:1: SendUnsolMobPfxAdvs disabled: left out"},
		{"mobile's option", agent + "NoHomeReturn enabled;", "(f:2:1: NoHomeReturn: without effect, because it is for MN, and NodeConfig is HA)"},
		{"agent's option", "NodeConfig CN; HaMaxBindingLife 8;", "(f:1:16: HaMaxBindingLife: without effect, because it is for HA, and NodeConfig is CN)"},
		{"router without networks", fmt.Sprintf(mobile, "IsMobRtr enabled; "), "list prefix has to be filled in"},
		{"networks without router", fmt.Sprintf(mobile, "") + "MnHomeLink \"eth0\" { HomeAddress 2001:db8:10::3/64 (2001:db8:100::/64); }", "the mobile network prefixes are left out"},
		{"address twice", fmt.Sprintf(mobile, "") + "MnHomeLink \"eth0\" { HomeAddress 2001:db8:10::2/64; }", "another home link has it"},
		{"prefix elsewhere", fmt.Sprintf(mobile, "HomePrefix 2001:db8:20::/64; "), "HomePrefix 2001:db8:20::/64: left out"},
		{"no mobile", "NodeConfig MN;", "there is no home address"},
		{"no uplink", fmt.Sprintf(mobile, "") + "Interface \"eth0\" { MnIfPreference 0; }", "list uplink has to be filled in"},
		{"no device", fmt.Sprintf(mobile, "") + "Interface \"a/b\";", `"a/b" cannot be the name of a network device`},
		{"no keys", "NodeConfig MN; MnHomeLink \"eth0\" { HomeAddress 2001:db8:10::2/64; }", "option key has to be filled in"},
		{"payload and routes", "NodeConfig MN; DoRouteOptimizationMN enabled; MnHomeLink \"eth0\" { HomeAddress 2001:db8:10::2/64; }\nIPsecPolicySet { HomeAgentAddress 2001:db8:10::1; HomeAddress 2001:db8:10::2/64; IPsecPolicy TunnelPayload UseESP; }", "optimised routes are in no tunnel"},
		{"Proxy Mobile IPv6", "NodeConfig LMA;", "NodeConfig LMA: left out: roam6 has no Proxy Mobile IPv6"},
		{"correspondent", "NodeConfig CN;", ""},
		{"no role at all", "DebugLevel 0;", ""},
	} {
		text, notes, _ := translate(t, "f", []byte(tt.src))
		missing(t, text)
		if !strings.Contains("\n"+notes, tt.note) || tt.note == "" && notes != "" {
			t.Errorf("%s: no %q in\n%sof\n%s", tt.name, tt.note, notes, text)
		}
	}
}

// Routes are optimised with whom mip6d optimises them.
func TestRoutePolicies(t *testing.T) {
	for _, tt := range []struct{ global, policies, want string }{
		{"", "", "on []"},
		{"DoRouteOptimizationMN disabled;", "", "off []"},
		{"", "MnRoPolicy 2001:db8:c::1 disabled;", "on [2001:db8:c::1]"},
		{"", "MnRoPolicy 2001:db8:c::1 enabled;", "on []"},
		{"DoRouteOptimizationMN disabled;", "MnRoPolicy 2001:db8:c::1 enabled; MnRoPolicy 2001:db8:c::2 disabled;", "list [2001:db8:c::1]"},
		{"", "MnRoPolicy 2001:db8:c::1 enabled; MnRoPolicy disabled;", "list [2001:db8:c::1]"},
		{"DoRouteOptimizationMN disabled;", "MnRoPolicy enabled;", "on []"},
		{"", "MnRoPolicy :: disabled;", "off []"},
	} {
		text, _, _ := translate(t, "f", []byte("NodeConfig MN; UseMnHaIPsec disabled; "+tt.global+" MnHomeLink \"eth0\" { HomeAddress 2001:db8:10::2/64; "+tt.policies+" }"))
		file, err := uci.Parse("f", text)
		if err != nil {
			t.Fatal(err)
		}
		s := file.Sections[0]
		route, _ := s.Option("route_optimization")
		list, _ := s.Option("correspondent")
		var peers []string
		for _, v := range list.Values {
			peers = append(peers, v.Text)
		}
		if got := fmt.Sprintf("%s %v", route.Values[0].Text, peers); got != tt.want {
			t.Errorf("%s %s: %s, not %s", tt.global, tt.policies, got, tt.want)
		}
	}
}
