package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "roam6/internal/metrics" // whose changes make a result that is cached worthless
)

// TestMetricsOfRouters compares what a daemon exposes when it is built with the modules of
// openwrt/slim.sh and with those of go.mod.
func TestMetricsOfRouters(t *testing.T) {
	for _, file := range []string{"../../go.mod", "../slim.sh", "testdata/expose/main.go"} { // as above
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	directory := t.TempDir()
	command(t, "openwrt/slim.sh", directory)
	slim, slimError := expose(t, "-modfile="+filepath.Join(directory, "go.mod"))
	full, fullError := expose(t)
	if slim != full {
		t.Errorf("routers expose\n%s\nothers\n%s", slim, full)
	}
	if n := strings.Count(full, "\n"); n < 200 {
		t.Errorf("only %d lines are exposed:\n%s", n, full)
	}
	const metric = `label:{name:"interface" value:"lan0"} label:{name:"kind" value:"\""}`
	for whose, text := range map[string]string{"routers": slimError, "others": fullError} {
		if !strings.Contains(text, metric) {
			t.Errorf("the registry's error of %s does not name %s:\n%s", whose, metric, text)
		}
	}
	packages := command(t, "go", "list", "-deps", "-modfile="+filepath.Join(directory, "go.mod"), "-tags=nolab,noebpf,nomip6d,noreplay", "./cmd/roam6")
	for _, unwanted := range []string{"net/http", "regexp", "google.golang.org/protobuf/reflect/protoreflect", "github.com/prometheus/procfs"} {
		if regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(unwanted) + `$`).MatchString(packages) {
			t.Errorf("the program of routers needs %s again: go list -deps tells why", unwanted)
		}
	}
}

// expose runs testdata/expose: the metrics without those of the process, which differ from
// one to the next, and the error behind them.
func expose(t *testing.T, flags ...string) (text, registry string) {
	t.Helper()
	args := append([]string{"run", "-trimpath"}, flags...)
	out := command(t, "go", append(args, "./openwrt/strip/testdata/expose")...)
	text, registry, found := strings.Cut(out, "collected metric")
	if !found {
		t.Fatalf("the registry took two values for one metric:\n%s", out)
	}
	text = regexp.MustCompile(`(?m)^process_\S+ .*\n`).ReplaceAllString(text, "")
	// The text of protocol buffers has one blank or two, so that nobody relies on it.
	return text, strings.ReplaceAll(registry, "  ", " ")
}

// command runs in the root of the module.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = "../.."
	var complaints strings.Builder
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &complaints)
	}
	return string(out)
}
