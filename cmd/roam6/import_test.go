package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"roam6/internal/config"
)

func runImport(in string, args ...string) (code int, out, err string) {
	var stdout, stderr bytes.Buffer
	code = importConfig(args, stdio{in: strings.NewReader(in), out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

func TestImport(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		code     int
		out, err string // somewhere
	}{
		{"all", "interface eth0 { AdvSendAdvert on; prefix 2001:db8::/64 { }; };", 0, "list prefix '2001:db8::/64'", ""},
		{"harmless", "interface eth0 { AdvSendAdvert off; AdvSendAdvert on; };", 0, "option AdvSendAdvert '1'", "stdin:1:18: AdvSendAdvert: without effect, since the option is given again further down\n"},
		{"to look at", "interface eth0 {\n prefix 2001:db8::/64 { AdvRouterAddr on; };\n};", 1, "# line 2: AdvRouterAddr", "stdin:2:25: AdvRouterAddr: left out, because 2001:db8::/64 is no whole address"},
		{"syntax", "interface eth0 {\n Advert on; };", 2, "", "stdin:2:2: \"Advert\": expected an option"},
		{"too long", strings.Repeat(" ", 2<<20), 2, "", "stdin: more than 1048576 octets\n"},
		{"too long for radvd", strings.Repeat(" ", 2<<20), 2, "", "expected a file of at most 1048576 octets"},
		{"mip6d", "NodeConfig CN;", 0, "made of mip6d's stdin", ""},
		{"mip6d's interface", "# Interface x\nInterface \"eth0\"; NodeConfig CN;", 0, "config correspondent", ""},
		{"mip6d's interface without quotes", "Interface eth0 { AdvSendAdvert on; };", 0, "made of radvd's stdin", ""},
		{"mip6d, harmless", "NodeConfig CN; NoHomeReturn enabled;", 0, "config correspondent", "stdin:1:16: NoHomeReturn: without effect"},
		{"mip6d, keys", "NodeConfig MN; MnHomeLink \"eth0\" { HomeAddress 2001:db8::2/64; }", 1, "config mobile_node 'mobile'", "roam6 import: the output still has errors, at these lines of it:\n"},
		{"mip6d, syntax", "NodeConfig MR;", 2, "", "stdin:1:12: \"MR\": expected CN, HA or MN\n"},
		{"mip6d's file as radvd's", "NodeConfig CN;", 2, "", "stdin:1:1: \"NodeConfig\": expected interface\n"},
		{"radvd's file as mip6d's", "interface eth0 { };", 2, "", "stdin:1:1: \"interface\": expected an option of mip6d"},
		{"neither", "config interface\n", 2, "", "stdin: it begins with \"config\", as neither radvd's configuration does nor mip6d's; --from radvd or --from mip6d reads it all the same\n"},
		{"nothing", "# a comment\n", 2, "", "stdin: there is nothing in it\n"},
	} {
		args := []string{"-"}
		switch {
		case strings.HasSuffix(tt.name, "for radvd"), strings.HasSuffix(tt.name, "as radvd's"):
			args = []string{"--from", "radvd", "-"}
		case strings.HasSuffix(tt.name, "as mip6d's"):
			args = []string{"-", "--from=mip6d"}
		}
		code, out, err := runImport(tt.in, args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(err, tt.err) || tt.err == "" && err != "" || tt.out == "" && out != "" {
			t.Errorf("%s: exit code %d\n%s%s", tt.name, code, out, err)
		}
	}
}

func TestImportFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "radvd.conf")
	if err := os.WriteFile(path, []byte("interface eth0 { AdvSendAdvert on; };\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := runImport("", path)
	c, err := config.Parse("roam6", []byte(out))
	if code != 0 || stderr != "" || err != nil || len(c.Interfaces) != 1 || !c.Interfaces[0].Advertise || !strings.Contains(out, path) {
		t.Errorf("exit code %d, %v\n%s%s", code, err, out, stderr)
	}
	if code, _, stderr := runImport("", "--from", "quagga", path); code != 2 || stderr != "roam6 import: --from \"quagga\": expected radvd or mip6d\n" {
		t.Errorf("another program: exit code %d, %s", code, stderr)
	}
	if code, out, _ := runImport("", path+".none"); code != 2 || out != "" {
		t.Errorf("no file: exit code %d\n%s", code, out)
	}
	if code, _, stderr := runImport(""); code != 2 || !strings.HasPrefix(stderr, "usage:") {
		t.Errorf("no operand: exit code %d, %s", code, stderr)
	}
	if code, out, _ := runImport("", "-h"); code != 0 || !strings.HasPrefix(out, "usage:") {
		t.Errorf("help: exit code %d, %s", code, out)
	}
	var discarded bytes.Buffer
	if code := importConfig([]string{"-"}, stdio{in: iotest.ErrReader(os.ErrDeadlineExceeded), out: &discarded, err: &discarded}); code != 2 {
		t.Errorf("unreadable: exit code %d", code)
	}
}

// A file of mip6d's with what it includes, in the order of the names.
func TestImportIncluded(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("mip6d.conf", "NodeConfig HA; DefaultBindingAclPolicy deny; UseMnHaIPsec disabled;\nInterface \"eth0\";\ninclude \""+folder+"/mobiles.d/*.conf\"\n")
	if err := os.Mkdir(filepath.Join(folder, "mobiles.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("mobiles.d/b.conf", "BindingAclPolicy 2001:db8:10::b allow;\n")
	a := write("mobiles.d/a.conf", "BindingAclPolicy 2001:db8:10::a\n(2001:db8:100::/64) allow;\n")
	code, out, stderr := runImport("", path)
	if code != 1 || strings.Index(out, "2001:db8:10::a'") > strings.Index(out, "2001:db8:10::b'") || !strings.Contains(out, "2001:db8:10::b'") || !strings.Contains(stderr, a+":2:2: HaAcceptMobRtr is disabled") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
	if err := os.Mkdir(filepath.Join(folder, "mobiles.d", "c.conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runImport("", path); code != 2 || !strings.Contains(stderr, path+":3:9: include: ") || !strings.Contains(stderr, "c.conf is no file") {
		t.Errorf("a folder: exit code %d, %s", code, stderr)
	}
}

// radvd's own example, where radvd is installed.
func TestImportRadvdExample(t *testing.T) {
	const example = "/usr/share/doc/radvd/examples/radvd.conf.example"
	if _, err := os.Stat(example); err != nil {
		t.Skipf("needs radvd's example configuration: %v", err)
	}
	code, out, stderr := runImport("", example)
	if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "Base6Interface numbers from a delegated prefix") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	c, err := config.Parse("roam6", []byte(out))
	if err != nil || len(c.Interfaces) != 1 {
		t.Fatalf("%v in\n%s", err, out)
	}
	lo := c.Interfaces[0]
	if len(lo.Prefixes) != 1 || len(lo.Routes) != 1 || len(lo.DNSServers) != 1 || len(lo.DNSSearch) != 1 {
		t.Errorf("%+v", lo)
	}
}
