package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for version, valid := range map[string]bool{
		"0.1.0": true, "0.1.0_rc1": true, "0.1.0_alpha": true, "0.0.0_git20261122": true, "1.2b_p3": true, "1.0~0a1b2c": true, "2026.11.22": true,
		"": false, "v0.1.0": false, "0.1.0-rc1": false, "0.1.0_dev": false, "0.1.0_git2026-11": false, "0.1.0+1": false, "0.1.0\n": false, "0.1.": false,
	} {
		if err := checkVersion(version); (err == nil) != valid {
			t.Errorf("%q: %v", version, err)
		}
	}
	if _, err := ourFeed(t).assemble("roam6", target{architecture: "mips_24kc", binary: program(t), version: "0.1.0_dev"}); err == nil {
		t.Error("a package of a version that is not apk's")
	}
}

// The versions that are written down are valid: the Makefile's, the feed's, the program's.
func TestOwnVersions(t *testing.T) {
	if err := checkVersion(ourFeed(t).variables["PKG_VERSION"]); err != nil {
		t.Errorf("feed: %v", err)
	}
	source, err := os.ReadFile("../../cmd/roam6/main.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^var version = "(.*)"$`).FindSubmatch(source)
	if m == nil {
		t.Fatal("no version in cmd/roam6")
	}
	if err := checkVersion(string(m[1])); err != nil {
		t.Errorf("cmd/roam6: %v", err)
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make: ", err)
	}
	for _, epoch := range []string{"SOURCE_DATE_EPOCH=1795321137", "SOURCE_DATE_EPOCH=0"} {
		plan := exec.Command("make", "-s", "-n", "-C", "../..", epoch, "build")
		out, err := plan.Output()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(out), "main.version=")
		version, _, _ := strings.Cut(rest, "'")
		if err := checkVersion(version); err != nil {
			t.Errorf("make with %s: %v", epoch, err)
		}
	}
}
