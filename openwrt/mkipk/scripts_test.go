package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The uci-defaults give a configuration of before the package what a router needs.
func TestDefaults(t *testing.T) {
	const script = "etc/uci-defaults/50-roam6"
	onRouters(t, func(r *router) {
		config := filepath.Join(r.root, "etc/config/roam6")
		if err := os.Chmod(config, 0o644); err != nil {
			r.Fatal(err)
		}
		const code = `uci() { record uci "$@"; [ "$2" != get ] || return "$HAS"; [ "$2" != batch ] || while read -r line; do record batch "$line"; done; }; . "$IPKG_INSTROOT/` + script + `"`
		r.want("globals are there", r.run("lib/functions.sh", code, "HAS=0"), []string{"batch"})
		r.want("no globals", r.run("lib/functions.sh", code, "HAS=1"), []string{"batch"},
			"batch [add roam6 globals]", "batch [set roam6.@globals[-1].log_target='syslog']",
			"batch [set roam6.@globals[-1].state_directory='/etc/roam6']", "batch [commit roam6]")
		if info, err := os.Stat(config); err != nil || info.Mode().Perm() != 0o600 {
			r.Errorf("mode %v, %v", info.Mode(), err)
		}
	})
}

// With apk nobody else stops the program that an upgrade replaces.
func TestDefaultsAtUpgrade(t *testing.T) {
	const code = `uci() { return 0; }; . "$IPKG_INSTROOT/etc/uci-defaults/50-roam6"`
	onRouters(t, func(r *router) {
		r.write("etc/init.d/roam6", "#!/bin/sh\necho \"init $*\" >>\"$RECORD\"\n", 0o755)
		r.want("upgrade", r.run("lib/functions.sh", code, "PKG_UPGRADE=1"), []string{"init"}, "init shutdown")
		r.want("installation", r.run("lib/functions.sh", code), []string{"init"})
	})
}

// shellcheck has nothing to say about any of the scripts.
func TestShellcheck(t *testing.T) {
	command, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed (Debian package shellcheck)")
	}
	files, err := filepath.Glob("../roam6/files/roam6.*")
	if err != nil {
		t.Fatal(err)
	}
	scripts := []string{"testdata/standins.sh"}
	for _, f := range files {
		switch filepath.Ext(f) {
		case ".json", ".config", ".keep":
		default:
			scripts = append(scripts, f)
		}
	}
	if len(scripts) != 7 {
		t.Errorf("scripts %q", scripts)
	}
	if out, err := exec.Command(command, append([]string{"--shell=dash"}, scripts...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
