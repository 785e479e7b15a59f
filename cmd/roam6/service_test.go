package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// installed is what `make install` puts somewhere, with a program that stands in for
// roam6.
func installed(t *testing.T, program string) (root string) {
	t.Helper()
	for name, pkg := range map[string]string{"make": "make", "install": "coreutils"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s: it needs the Debian package %s", name, pkg)
		}
	}
	root = t.TempDir()
	if said, err := exec.Command("make", "-C", filepath.Join("..", ".."), "install", "DESTDIR="+root, "PREFIX=/opt/roam6", "BINARY="+program).CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, said)
	}
	return root
}

func TestMakeInstall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	root := installed(t, program)
	var files []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info os.FileInfo
			if info, err = d.Info(); err == nil {
				files = append(files, strings.TrimPrefix(path, root)+" "+info.Mode().String())
			}
		}
		return err
	})
	want := []string{
		"/opt/roam6/lib/systemd/system/roam6.service -rw-r--r--",
		"/opt/roam6/sbin/roam6 -rwxr-xr-x",
		"/opt/roam6/share/man/man5/roam6.5 -rw-r--r--",
		"/opt/roam6/share/man/man8/roam6.8 -rw-r--r--",
	}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v", files, err)
	}
	unit := directives(t, filepath.Join(root, "opt/roam6/lib/systemd/system/roam6.service"))
	if unit["ExecStart"] != "/opt/roam6/sbin/roam6 run" {
		t.Errorf("%q", unit["ExecStart"])
	}
}

// systemd knows all that is in the unit.
func TestServiceVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze: it needs the Debian package systemd")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "contrib", "systemd", "roam6.service"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "roam6.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/sbin/roam6", os.Args[0])), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(said), "roam6.service:") {
		t.Errorf("%v\n%s", err, said)
	}
}

// The daemon has on servers the capabilities that it has on routers.
func TestServiceCapabilities(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "openwrt", "roam6", "files", "roam6.capabilities.json"))
	if err != nil {
		t.Fatal(err)
	}
	var router struct{ Bounding []string }
	if err := json.Unmarshal(text, &router); err != nil {
		t.Fatal(err)
	}
	unit := directives(t, filepath.Join("..", "..", "contrib", "systemd", "roam6.service"))
	server := strings.Fields(unit["CapabilityBoundingSet"])
	slices.Sort(server)
	slices.Sort(router.Bounding)
	if len(server) == 0 || !slices.Equal(server, router.Bounding) {
		t.Errorf("%q here, %q on routers", server, router.Bounding)
	}
}

// directives are those of a unit, the last one of a name.
func directives(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			all[name] = value
		}
	}
	return all
}
