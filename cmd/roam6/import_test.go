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
		{"too long", strings.Repeat(" ", 2<<20), 2, "", "expected a file of at most 1048576 octets"},
	} {
		code, out, err := runImport(tt.in, "-")
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
