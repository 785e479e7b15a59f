package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/ipk"
)

const feedDirectory = "../roam6"

func ourFeed(t *testing.T) *feed {
	t.Helper()
	x, err := readFeed(feedDirectory)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func assembled(t *testing.T, name, binary string) ipk.Package {
	t.Helper()
	p, err := ourFeed(t).assemble(name, target{architecture: "mips_24kc", binary: binary})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// installed are the files of all packages.
func installed(t *testing.T, binary string) []ipk.File {
	t.Helper()
	return slices.Concat(assembled(t, "roam6", binary).Files, assembled(t, "roam6-proto", binary).Files)
}

func program(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "roam6-mips")
	if err := os.WriteFile(name, []byte("\x7fELF"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPackages(t *testing.T) {
	if got, want := ourFeed(t).packages(), []string{"roam6", "roam6-proto"}; !slices.Equal(got, want) {
		t.Fatalf("packages %q, want %q", got, want)
	}
	for _, tt := range []struct {
		name, file, description, depends, conffiles string
		want                                        []string
	}{
		{"roam6", "roam6_0.1.0-r1_mips_24kc.ipk", "Mobile router, ", "kmod-ip6-tunnel kmod-tun kmod-nft-core", "/etc/config/roam6", []string{
			"0755 /usr/sbin/roam6", "0644 /etc/capabilities/roam6.json", "0600 /etc/config/roam6", "0755 /etc/init.d/roam6",
			"0755 /etc/uci-defaults/50-roam6", "0644 /lib/functions/roam6.sh", "0644 /lib/functions/roam6-validation.sh", "0644 /lib/upgrade/keep.d/roam6",
		}},
		{"roam6-proto", "roam6-proto_0.1.0-r1_all.ipk", "Hands tunnel, ", "roam6", "", []string{"0755 /lib/netifd/proto/roam6.sh", "0755 /lib/netifd/roam6.script"}},
	} {
		p := assembled(t, tt.name, program(t))
		if p.FileName() != tt.file || p.Section != "net" || p.License != "Apache-2.0" || p.Source != "feeds/roam6/roam6" || p.SourceName != "roam6" {
			t.Errorf("package %s: %+v", p.FileName(), p)
		}
		if !strings.HasPrefix(p.Description, tt.description) || strings.Count(p.Description, "\n") != 2 {
			t.Errorf("%s is described by %q", tt.name, p.Description)
		}
		if got := strings.Join(p.Depends, " "); got != tt.depends {
			t.Errorf("%s depends on %q, want %q", tt.name, got, tt.depends)
		}
		if got := strings.Join(p.Conffiles, " "); got != tt.conffiles {
			t.Errorf("%s: conffiles %q, want %q", tt.name, got, tt.conffiles)
		}
		var got []string
		for _, f := range p.Files {
			got = append(got, fmt.Sprintf("%04o %s", f.Mode, f.Path))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s has %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Every file of the feed is in one package.
func TestNothingForgotten(t *testing.T) {
	files, err := filepath.Glob(feedDirectory + "/files/*")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	all := installed(t, program(t))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(slices.DeleteFunc(slices.Clone(all), func(f ipk.File) bool { return !bytes.Equal(f.Data, data) })); n != 1 {
			t.Errorf("%s is installed %d times", name, n)
		}
	}
}

// The command writes all packages, twice the same.
func TestRun(t *testing.T) {
	binary := program(t)
	args := func(directory string) []string {
		return []string{"-feed", feedDirectory, "-version", "1.2.3", "-arch", "mips_24kc", "-binary", binary, "-epoch", "1760000000", "-out", directory}
	}
	first, second := t.TempDir(), t.TempDir()
	for _, directory := range []string{first, second} {
		var out bytes.Buffer
		if err := run(args(directory), &out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), ".ipk\n"); got != 2 {
			t.Errorf("said %q", out.String())
		}
	}
	for _, name := range []string{"roam6_1.2.3-r1_mips_24kc.ipk", "roam6-proto_1.2.3-r1_all.ipk"} {
		a, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s: %d and %d octets, not the same", name, len(a), len(b))
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-arch", "mips_24kc"}, "-arch and -binary are needed"},
		{append(args(first), "more"), "-arch and -binary are needed"},
		{[]string{"-feed", t.TempDir(), "-arch", "x", "-binary", binary}, "Makefile"},
		{[]string{"-feed", feedDirectory, "-arch", "x", "-binary", filepath.Join(first, "none")}, "package roam6: "},
	} {
		if err := run(tt.args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.args, err, tt.want)
		}
	}
}

// What mkipk does not understand is an error, not left out.
func TestFeedErrors(t *testing.T) {
	good, err := os.ReadFile(feedDirectory + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"another command", "$(INSTALL_CONF) ./files", "$(CP) ./files", "not known here"},
		{"another word", "$(1)/etc/config/roam6", "$(1)/etc/config/roam6 $(1)/etc/other", "not known here"},
		{"outside", "$(1)/etc/config/roam6", "/etc/config/roam6", "not into the package"},
		{"another field", "  TITLE:=Mobile", "  USERID:=Mobile", "USERID is not known here"},
		{"release", "PKG_RELEASE:=1", "PKG_RELEASE:=rc1", `PKG_RELEASE "rc1" is no number`},
		{"no assignment", "  TITLE:=Mobile", "  $(call Package/x)", "is no assignment"},
		{"no file", "./files/roam6.init", "./files/roam6.other", "roam6.other"},
		{"no end", "\tINSTALL", "", ""},
		{"conffile that is not installed", "/etc/config/roam6\nendef", "/etc/config/roam7\nendef", "no such file"},
	} {
		text := strings.Replace(string(good), tt.old, tt.new, 1)
		if tt.name == "no end" {
			text, tt.want = text+"\ndefine Package/x\n", "no endef"
		}
		x, err := parseFeed(strings.NewReader(text))
		if err == nil {
			x.directory = feedDirectory
			_, err = x.assemble("roam6", target{architecture: "x", binary: program(t)})
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The configuration of the package is right as it is, and so is each example in it.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile(feedDirectory + "/files/roam6.config")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("roam6", text)
	if err != nil {
		t.Fatal(err)
	}
	if c.Globals.StateDirectory != "/etc/roam6" || c.Globals.LogTarget != config.LogSyslog {
		t.Errorf("globals %+v", c.Globals)
	}
	keep, err := os.ReadFile(feedDirectory + "/files/roam6.keep")
	if err != nil || string(keep) != c.Globals.StateDirectory+"/\n" {
		t.Errorf("sysupgrade keeps %q (%v)", keep, err)
	}
	seen := map[string]bool{}
	for _, part := range strings.Split(string(text), "\n\n") {
		example, sections := "", regexp.MustCompile(`(?m)^#config (\w+)`).FindAllStringSubmatch(part, -1)
		if len(sections) == 0 {
			continue
		}
		for line := range strings.Lines(part) {
			if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") {
				example += strings.ReplaceAll(rest, "00000000000000000000000000000000", "3b1f0c5a9d2e4f687a8b9cadbecfd0e1")
			}
		}
		if _, err := config.Parse("roam6", []byte(example)); err != nil {
			t.Errorf("%s: %v", example, err)
		}
		for _, s := range sections {
			seen[s[1]] = true
		}
	}
	for _, role := range []string{"mobile_router", "mobile_node", "home_agent", "mobile", "anchor", "correspondent", "interface", "uplink", "metrics"} {
		if !seen[role] {
			t.Errorf("no example of %s", role)
		}
	}
}

// What the init script expects of the program: the real one is built for this.
func TestCheckText(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "roam6")
	build := exec.Command("go", "build", "-o", binary, "roam6/cmd/roam6")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build`, whose objects are there
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	onRouters(t, func(r *router) {
		place := filepath.Join(r.root, "usr/sbin/roam6")
		if err := errors.Join(os.Remove(place), os.Symlink(binary, place)); err != nil {
			r.Fatal(err)
		}
		start := `CONFIG="$IPKG_INSTROOT/etc/config/roam6"; start`
		path := r.root + "/etc/config/roam6"
		r.want("as it is installed", r.run(initScript, start), []string{"logger", "procd_open_instance"},
			"logger [-t] [roam6] [-p] [daemon.notice] ["+path+": nothing to do]")
		r.write("etc/config/roam6", "config correspondent\n", 0o600)
		calls := r.run(initScript, start)
		r.want("something to do", calls, []string{"logger", "procd_open_instance"}, "procd_open_instance")
		// The program knows the options with which procd is to start it.
		command, ok := strings.CutPrefix(line(r.T, calls, "procd_set_param [command]"), "procd_set_param [command] ["+place+"] [")
		words := strings.Split(strings.TrimSuffix(command, "]"), "] [")
		if out, err := exec.Command(binary, append(words, "-h")...).CombinedOutput(); !ok || err != nil || !strings.Contains(string(out), "usage: roam6 run") {
			r.Errorf("%q: %v, %s", words, err, out)
		}
		r.write("etc/config/roam6", "config correspondent\n\toption enable '1'\n", 0o600)
		calls = r.run(initScript, start)
		if !slices.ContainsFunc(calls, func(s string) bool {
			return strings.HasPrefix(s, "logger [-t] [roam6] [-p] [daemon.err] ["+path+":2:9: ")
		}) {
			r.Errorf("no line and column in %q", calls)
		}
	})
}
