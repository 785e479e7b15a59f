package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"main.main":               "main",
		"runtime.mallocgc":        "runtime",
		"roam6/mn.(*Node).Handle": "roam6/mn",
		"roam6/internal/config.read[go.shape.struct { roam6/mn.a int }]": "roam6/internal/config",
		"slices.partitionCmpFunc[go.shape.struct { net/netip.x uint8 }]": "slices",
		"type:.eq.github.com/a/b.T":                                      "github.com/a/b",
		"type:.eq.[4]net/netip.Addr":                                     "net/netip",
		"go:itab.*os.File,io.Writer":                                     "os",
		"gopkg.in/yaml%2ev3.Unmarshal":                                   "gopkg.in/yaml.v3",
		"github.com/x/y/v2.f.func1":                                      "github.com/x/y/v2",
		"go:func.*":                                                      "",
		"type:*":                                                         "",
		"runtime.pclntab":                                                "",
		"_rt0_mipsle_linux":                                              "",
	} {
		if got := packageOf(symbol); got != want {
			t.Errorf("%s: package %q, want %q", symbol, got, want)
		}
	}
}

func TestShares(t *testing.T) {
	s := newShares(&debug.BuildInfo{
		Main: debug.Module{Path: "roam6"},
		Deps: []*debug.Module{{Path: "github.com/p/common"}, {Path: "github.com/p/common/sub"}},
	})
	for symbol, size := range map[string]uint64{
		"main.main": 1, "roam6/mn.f": 2, "roam6x.f": 4, "fmt.Println": 8, "go:func.*": 16,
		"github.com/p/common/sub/x.f": 32, "github.com/p/common/subject.f": 64,
	} {
		s.add(symbol, size)
	}
	s.total = 200
	var out bytes.Buffer
	s.print(&out)
	want := `        89  44.5 %  tables of all: lines, types, strings
        64  32.0 %  github.com/p/common
        32  16.0 %  github.com/p/common/sub
        12   6.0 %  Go's runtime and standard library
         3   1.5 %  roam6
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// A binary that is built for this: all of it is somebody's, and gzip makes it smaller.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mkipk")
	for name, flags := range map[string]string{file: "-s -w", file + ".symbols": ""} {
		build := exec.Command("go", "build", "-ldflags", flags, "-o", name, "roam6/openwrt/mkipk")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	var out bytes.Buffer
	if err := run([]string{file}, &out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`(?m)^mkipk +\d{7} +\d{6,7} +(\d{6,7}|-)$`, `(?m)^ +\d{6,7} +\d\d\.\d %  Go's runtime and standard library$`, `(?m)^ +\d{4,6} +\d\.\d %  roam6$`} {
		if !regexp.MustCompile(line).MatchString(out.String()) {
			t.Errorf("no line like %s in\n%s", line, out.String())
		}
	}
	if err := run([]string{file + ".symbols"}, &out); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file without symbols beside it: %v", err)
	}
}
