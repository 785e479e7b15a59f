package radvdconf

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/uci"
)

var update = flag.Bool("update", false, "write the golden files anew")

// inInterface is a file of one interface.
func inInterface(body string) string { return "interface e0 {\n" + body + "\n};\n" }

// radvdTakes asks radvd itself; known is false where there is none, or where it is
// of another version than the grammar.
func radvdTakes(t *testing.T, src string) (takes, known bool) {
	t.Helper()
	radvd, err := exec.LookPath("radvd")
	if err != nil {
		return false, false
	}
	version, _ := exec.Command(radvd, "--version").CombinedOutput()
	if !strings.Contains(string(version), "Version: 2.19") {
		return false, false
	}
	path := filepath.Join(t.TempDir(), "radvd.conf")
	if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	return exec.Command(radvd, "--configtest", "-m", "stderr", "-C", path).Run() == nil, true
}

// What radvd 2.19 reads is read, and where it is there itself it confirms that.
func TestReadsWhatRadvdReads(t *testing.T) {
	for _, src := range []string{
		inInterface(""),
		inInterface("AdvSendAdvert on;"),
		inInterface("AdvSendAdvert on; AdvSendAdvert off;"),
		inInterface("MinRtrAdvInterval 0.5; MaxRtrAdvInterval 4000; MinDelayBetweenRAs 3.25;"),
		inInterface("AdvDefaultPreference -1;"),
		inInterface("AdvLinkMTU 4294967295; AdvRAMTU 1400;"),
		inInterface("prefix 2001:db8::/64;"),
		inInterface("prefix 2001:db8::/64 { };"),
		inInterface("prefix ::/64 { Base6Interface ppp0; };"),
		inInterface("prefix 2001:db8::1/64 { AdvValidLifetime infinity; AdvPreferredLifetime infinity; Base6to4Interface \"ppp0\"; };"),
		inInterface("route ::/0 { AdvRoutePreference high; AdvRouteLifetime infinity; RemoveRoute off; };"),
		inInterface("RDNSS 2001:db8::1 2001:db8::2 { AdvRDNSSPreference 3; AdvRDNSSOpen on; FlushRDNSS on; };"),
		inInterface("DNSSL example.com a-b.example { AdvDNSSLLifetime 600; };"),
		inInterface("clients { fe80::1; fe80::2; };"),
		inInterface("AdvRASrcAddress { fe80::1; };"),
		inInterface("abro fe80::1/64 { AdvVersionLow 1; AdvVersionHigh 2; AdvValidLifeTime 3; };"),
		inInterface("lowpanco { AdvContextLength 5; AdvContextID 1; AdvLifeTime 3; AdvContextCompressionFlag on; };"),
		"# a comment\ninterface eth0.100 {};#\ninterface br-lan { } ;\n#\n",
		"interface \"e 0\" { };",
		"interface e0{AdvSendAdvert on;prefix 2001:DB8::/64{};};",
		"interface\ne0\n{\n}\n;",
	} {
		if _, err := Parse("f", []byte(src)); err != nil {
			t.Errorf("%v in\n%s", err, src)
		}
		if takes, known := radvdTakes(t, src); known && !takes {
			t.Errorf("radvd refuses\n%s", src)
		}
	}
}

// What came after 2.19, or can only mean one thing.
func TestReadsMore(t *testing.T) {
	for _, src := range []string{
		inInterface("advsendadvert ON; prefix 2001:db8::/64 { ADVONLINK off; };"),
		inInterface("AdvSendAdvert on;\r"),
		inInterface("route 2001:db8::/48;"),
		inInterface("RDNSS ::1 ::2 ::3 ::4;"),
		inInterface("abro fe80::1 { AdvValidLifetime 3; };"),
		inInterface("DNSSL \"example.com\" { };"),
		inInterface("clients { !fe80::1; };"),
		inInterface("nat64prefix 64:ff9b::/96; RemoveAdvOnExit off; UnrestrictedUnicast on;"),
		inInterface("autoignoreprefixes { fd00::/8; 2001:db8::/32; };"),
		inInterface(`AdvCaptivePortalAPI "https://a.example/\"x";`),
		inInterface("prefix 2001:db8::/64 { AdvValidLifetime 1; };"),
		"interface e0 { };\n# the end",
	} {
		if _, err := Parse("f", []byte(src)); err != nil {
			t.Errorf("%v in\n%s", err, src)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"nothing", "", `radvd.conf:1:1: the file ends; expected interface`},
		{"comment only", "# x\n\n", `radvd.conf:3:1: the file ends; expected interface`},
		{"no name", "interface { };", `radvd.conf:1:11: "{": expected the name of an interface`},
		{"no block", "interface e0;", `radvd.conf:1:13: ";": expected '{'`},
		{"open block", "interface e0 {", `radvd.conf:1:15: the file ends; expected an option or a block of interface, or '}'`},
		{"no semicolon behind the block", "interface e0 { }\ninterface e1 { };", `radvd.conf:2:1: "interface": expected ';'`},
		{"twice", "interface e0 { };\ninterface e0 { };", `radvd.conf:2:11: "e0": expected another interface: this one has a block already`},
		{"unknown option", inInterface("\tBogus 3;"), `radvd.conf:2:2: "Bogus": expected an option or a block of interface, or '}'`},
		{"option cut short", inInterface("\tAdvManaged on;"), `radvd.conf:2:2: "AdvManaged": expected an option or a block of interface, or '}' (such as advmanagedflag)`},
		{"option in the wrong block", inInterface("route ::/0 { AdvOnLink on; };"), `radvd.conf:2:14: "AdvOnLink": expected an option of route, or '}'`},
		{"no switch", inInterface("AdvSendAdvert yes;"), `radvd.conf:2:15: "yes": expected on or off`},
		{"no semicolon", inInterface("AdvSendAdvert on\nUnicastOnly on;"), `radvd.conf:3:1: "UnicastOnly": expected ';'`},
		{"comment in a word", inInterface("AdvSendAdvert on#x;"), `radvd.conf:2:15: "on#x": expected on or off`},
		{"number too large", inInterface("AdvLinkMTU 4294967296;"), `radvd.conf:2:12: "4294967296": expected a number from 0 to 4294967295`},
		{"negative", inInterface("HomeAgentPreference -5;"), `radvd.conf:2:21: "-5": expected a number from 0 to 4294967295`},
		{"decimal", inInterface("AdvDefaultLifetime 1.5;"), `radvd.conf:2:20: "1.5": expected a number from 0 to 4294967295`},
		{"interval", inInterface("MaxRtrAdvInterval 1.;"), `radvd.conf:2:19: "1.": expected a number of seconds, such as 3 or 0.07`},
		{"infinite interval", inInterface("MaxRtrAdvInterval infinity;"), `radvd.conf:2:19: "infinity": expected a number of seconds, such as 3 or 0.07`},
		{"preference", inInterface("AdvDefaultPreference 0;"), `radvd.conf:2:22: "0": expected low, medium or high`},
		{"no length", inInterface("prefix 2001:db8:: { };"), `radvd.conf:2:19: "{": expected '/'`},
		{"length", inInterface("prefix 2001:db8::/129 { };"), `radvd.conf:2:19: "129": expected a prefix length from 0 to 128`},
		{"IPv4", inInterface("RDNSS 192.0.2.1 { };"), `radvd.conf:2:7: "192.0.2.1": expected an IPv6 address`},
		{"zone", inInterface("RDNSS fe80::1%e0 { };"), `radvd.conf:2:7: "fe80::1%e0": expected an IPv6 address`},
		{"no client", inInterface("clients { };"), `radvd.conf:2:11: "}": expected an IPv6 address`},
		{"domain", inInterface("DNSSL ex_ample.com { };"), `radvd.conf:2:7: "ex_ample.com": expected a domain of letters, digits, hyphens and points`},
		{"quote", inInterface("\n AdvCaptivePortalAPI \"http"), `radvd.conf:3:22: "\"http\n};\n": expected a URI`},
		{"strange octet", "interface e0 {\n \x00", `radvd.conf:2:2: "\x00": expected an option or a block of interface, or '}'`},
		{"long", "interface " + strings.Repeat("x", 100) + " x", `radvd.conf:1:112: "x": expected '{'`},
	} {
		_, err := Parse("radvd.conf", []byte(tt.src))
		var e *Error
		if !errors.As(err, &e) || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if strings.HasSuffix(tt.src, "};\n") {
			if takes, known := radvdTakes(t, tt.src); known && takes {
				t.Errorf("%s: radvd takes it", tt.name)
			}
		}
	}
	if _, err := Parse("f", make([]byte, MaxSize+1)); err == nil {
		t.Error("a file that is too large")
	}
}

func TestParsed(t *testing.T) {
	src, err := os.ReadFile("testdata/example.conf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("example.conf", src)
	if err != nil {
		t.Fatal(err)
	}
	i := f.Interfaces[0]
	if want := (Setting[time.Duration]{true, 70 * time.Millisecond, uci.Position{File: "example.conf", Line: 6, Column: 2}}); i.MaxRtrAdvInterval != want {
		t.Errorf("interval %+v", i.MaxRtrAdvInterval)
	}
	if p := i.Prefixes[0]; p.Prefix != netip.MustParsePrefix("2001:db8:1::1/64") || p.AdvValidLifetime.Value != Infinity || p.Position.Line != 28 {
		t.Errorf("prefix %+v", p)
	}
	if d := i.DNSSL[0]; !slices.Equal(d.Suffixes, []string{"example.org", "branch.example.org."}) {
		t.Errorf("domains %q", d.Suffixes)
	}
	if i.AdvCaptivePortalAPI.Value != "https://portal.example.org/api?a=b" || i.ABRO[0].AdvValidLifetime.Value != 5 || len(i.Clients) != 2 {
		t.Errorf("interface %+v", i)
	}
	if f.Interfaces[1].Name != "br-lan.10" || f.Interfaces[1].Routes[0].Interval != 30*time.Second {
		t.Errorf("interface %+v", f.Interfaces[1])
	}
}

// translate gives the text and the notes of a file.
func translate(t *testing.T, name string, src []byte) (text string, notes string, look bool) {
	t.Helper()
	f, err := Parse(name, src)
	if err != nil {
		t.Fatal(err)
	}
	translation := Translate(f)
	b, err := translation.Text("From " + name + ".")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, n := range translation.Notes {
		lines.WriteString(n.String() + "\n")
	}
	return string(b), lines.String(), translation.NeedsLook()
}

func TestTranslate(t *testing.T) {
	for _, tt := range []struct {
		name string
		look bool
	}{{"example", false}, {"awkward", true}} {
		src, err := os.ReadFile("testdata/" + tt.name + ".conf")
		if err != nil {
			t.Fatal(err)
		}
		text, notes, look := translate(t, tt.name+".conf", src)
		if look != tt.look {
			t.Errorf("%s: needs a look: %v", tt.name, look)
		}
		golden(t, tt.name+".uci", text)
		golden(t, tt.name+".notes", notes)
		accepted(t, text)
	}
}

// accepted: roam6 takes the text as its configuration.
func accepted(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("roam6", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return c
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// The text that a hostile file could carry into a comment stays in it.
func TestCommentsHold(t *testing.T) {
	text, _, _ := translate(t, "a\nconfig x", []byte(inInterface("AdvCaptivePortalAPI \"a\nconfig mobile\";")))
	f, err := uci.Parse("text", []byte(text))
	if err != nil || len(f.Sections) != 1 {
		t.Errorf("%v in\n%s", err, text)
	}
}

// radvd's defaults come from the interval known at the place in the file.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		body, want string
		look       bool
	}{
		{"MaxRtrAdvInterval 100; RDNSS ::5:1 { };", "AdvRDNSSLifetime '100'", false},
		{"RDNSS ::5:1 { }; MaxRtrAdvInterval 100;", "AdvRDNSSLifetime '600'", true},
		{"RDNSS ::5:1 { }; MaxRtrAdvInterval 1000;", "AdvRDNSSLifetime '1000'", true},
		{"MaxRtrAdvInterval 100; route ::/0 { };", "AdvRouteLifetime '300'", false},
		{"route ::/0 { }; MaxRtrAdvInterval 100;", "AdvRouteLifetime '1800'", true},
		{"DNSSL a.example { };", "AdvDNSSLLifetime '600'", false},
		{"MaxRtrAdvInterval 10.5; DNSSL a.example { };", "AdvDNSSLLifetime '11'", false},
		{"MaxRtrAdvInterval 10.5;", "AdvDefaultLifetime '31'", false},
		{"prefix 2001:db8::/64 { AdvValidLifetime 14400; };", "AdvValidLifetime '14400'", false},
		{"MaxRtrAdvInterval 1; MinDelayBetweenRAs 3; AdvIntervalOpt on;", "max_interval_ms '1000'", false},
	} {
		text, notes, look := translate(t, "f", []byte(inInterface(tt.body)))
		if !strings.Contains(text, tt.want) || look != tt.look {
			t.Errorf("%s: %v\n%s%s", tt.body, look, text, notes)
		}
	}
}

// FuzzParse: no panic, bounded, and what is read becomes UCI that can be read.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/example.conf", "testdata/awkward.conf"} {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("interface \"a\\\"\n\" { AdvCaptivePortalAPI https:\"\" # x\n;};"))
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse("f", src)
		var e *Error
		switch {
		case err == nil:
		case !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Expected == "" || strings.Contains(err.Error(), "\n"):
			t.Fatalf("error %#v", err)
		default:
			return
		}
		translation := Translate(file)
		if len(translation.Notes) > 2*len(src) {
			t.Fatalf("%d notes", len(translation.Notes))
		}
		text, err := translation.Text("heading\nx")
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, string(text))
		again, err := uci.Parse("out", text)
		if err != nil || len(again.Sections) != len(translation.Sections) {
			t.Fatalf("%v, %d sections of %d:\n%s", err, len(again.Sections), len(translation.Sections), text)
		}
	})
}
