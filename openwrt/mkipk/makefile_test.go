package main

import (
	"go/version"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// plan is what make would do: its commands, a line each.
func plan(t *testing.T, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed (Debian package make)")
	}
	c := exec.Command("make", append([]string{"-s", "-n", "--no-print-directory"}, args...)...)
	// As without a make around it.
	c.Env = slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ROUTER_TAGS"}, name)
	})
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("make %q: %v\n%s", args, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// feedPlan is what the feed's Makefile would do in a build tree of stand-ins.
func feedPlan(t *testing.T, args ...string) []string {
	t.Helper()
	tree, err := filepath.Abs("testdata/sdk")
	if err != nil {
		t.Fatal(err)
	}
	return plan(t, append([]string{"-C", feedDirectory, "TOPDIR=" + tree}, args...)...)
}

// line is the only one with some text.
func line(t *testing.T, lines []string, with string) string {
	t.Helper()
	found := slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return !strings.Contains(s, with) })
	if len(found) != 1 {
		t.Fatalf("%d lines with %q:\n%s", len(found), with, strings.Join(lines, "\n"))
	}
	return found[0]
}

// The SDK compiles with what makes the packages of `make openwrt` small: its build tags,
// a go.mod without net/http, and inlining in the same packages; without cgo.
func TestMakefileCompiles(t *testing.T) {
	steps := feedPlan(t)
	slim, compile := line(t, steps, "slim.sh"), line(t, steps, "go-install")
	if want := "cd /build/roam6-0.1.0 && CGO_ENABLED=1 CGO_ENABLED=0 GOFLAGS=-modcacherw sh openwrt/slim.sh bin/slim"; slim != want {
		t.Errorf("%q, want %q", slim, want)
	}
	if slices.Index(steps, slim) > slices.Index(steps, compile) {
		t.Error("go.mod is made behind the compilation")
	}
	for _, want := range []string{
		"CGO_ENABLED=1 CGO_ENABLED=0 go-install ", // the last holds
		`-ldflags "-X main.version=0.1.0 -buildid '1760000000'"`, `-tags "nolab,noebpf,nomip6d,noreplay"`,
		" -modfile=/build/roam6-0.1.0/bin/slim/go.mod ", " -buildvcs=false ",
	} {
		if !strings.Contains(compile, want) {
			t.Errorf("no %q in %q", want, compile)
		}
	}
	if !strings.HasSuffix(compile, " roam6/cmd/roam6") || strings.Contains(compile, "linkmode") {
		t.Errorf("compiles by %q", compile)
	}
	line(t, steps, "pie 0") // not without cgo on arm

	// In the same order: of those that are about a package the last holds.
	gcflags := regexp.MustCompile(`-gcflags=\S+`)
	ours := line(t, plan(t, "-C", "../..", "openwrt"), "build -buildvcs=false")
	want, got := gcflags.FindAllString(ours, -1), gcflags.FindAllString(compile, -1)
	if len(want) < 10 || want[0] != "-gcflags=all=-l" || !slices.Equal(got, want) {
		t.Errorf("the feed compiles with %q, make openwrt with %q", got, want)
	}
	if !strings.Contains(ours, "-tags 'nolab,noebpf,nomip6d,noreplay'") {
		t.Errorf("make openwrt has other tags: %q", ours)
	}
}

// Packages do not say where on the machine that built them they are from, and nothing is
// left in the SDK's staging directory: nobody compiles with these sources.
func TestMakefileLeavesNoTraces(t *testing.T) {
	steps := feedPlan(t)
	for _, name := range ourFeed(t).packages() {
		line(t, steps, "source "+name+" feeds/roam6/roam6")
	}
	if slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, "install-sources") }) {
		t.Error("sources are installed for other packages")
	}
}

// OpenWrt's package.mk stops at flags that it does not know. Its Go compiles no module that
// asks for a newer one, and does not fetch one either: 25.12 began with 1.26.0.
func TestMakefileVariables(t *testing.T) {
	variables := ourFeed(t).variables
	known := strings.Fields("no-iremap no-mips16 gc-sections no-gc-sections lto no-lto no-mold")
	for flag := range strings.FieldsSeq(variables["PKG_BUILD_FLAGS"]) {
		if !slices.Contains(known, flag) {
			t.Errorf("PKG_BUILD_FLAGS %q", flag)
		}
	}
	if got := variables["PKG_BUILD_DEPENDS"]; got != "golang/host" {
		t.Errorf("PKG_BUILD_DEPENDS %q: Go is to be the one of the SDK's release", got)
	}
	for name := range strings.FieldsSeq(variables["PKG_LICENSE_FILES"]) {
		if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
			t.Errorf("PKG_LICENSE_FILES: %v", err)
		}
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)
	if m == nil || version.Compare("go"+string(m[1]), "go1.26.0") > 0 {
		t.Errorf("go.mod needs %q", m)
	}
}

// Tags may be chosen; mitigations of Spectre are not undone.
func TestMakefileVariants(t *testing.T) {
	if c := line(t, feedPlan(t, "ROUTER_TAGS=nolab,noebpf,nometrics"), "go-install"); !strings.Contains(c, `-tags "nolab,noebpf,nometrics"`) {
		t.Error(c)
	}
	if c := line(t, feedPlan(t, "CONFIG_GOLANG_SPECTRE=1"), "go-install"); strings.Contains(c, "-gcflags") || !strings.Contains(c, "-modfile=") {
		t.Error(c)
	}
}

// The sources are copied without what is not theirs, and each package is installed from
// the feed's files, as mkipk does it.
func TestMakefileInstalls(t *testing.T) {
	steps := feedPlan(t)
	if c := line(t, steps, "tar "); !strings.Contains(c, "--exclude=./.git --exclude=./bin ") || !strings.HasSuffix(c, "tar -C /build/roam6-0.1.0 -xf -") {
		t.Error(c)
	}
	commands := map[fs.FileMode]string{0o755: "install-bin", 0o644: "install-data", 0o600: "install-conf"}
	for _, name := range ourFeed(t).packages() {
		for _, f := range assembled(t, name, program(t)).Files {
			if f.Path == "/usr/sbin/roam6" {
				line(t, steps, "install-program /root-roam6/usr/sbin")
				continue
			}
			c := line(t, steps, " /root-"+name+f.Path)
			if !strings.HasPrefix(c, commands[f.Mode]+" ./files/roam6.") {
				t.Errorf("%s (%v): %q", f.Path, f.Mode, c)
			}
		}
	}
}
