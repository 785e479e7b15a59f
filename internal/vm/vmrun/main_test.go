package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		nil, {"-no-such-flag"}, {"-cpus", "0", "true"}, {"-memory", "1", "true"}, {"-timeout", "0s", "true"}, {"-fetch", "true"},
		{"-instruction", "3ns", "true"}, {"-instruction", "2048ns", "true"}, {"-instruction", "-1ns", "true"},
		{"-file", "/nonexistent", "true"}, {"-file", "x:y", "true"},
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), args, &out, &errs); code != exitUsage || out.Len() != 0 || !strings.Contains(errs.String(), "usage:") {
			t.Errorf("%q: exit code %d, output %q, errors %q", args, code, out.String(), errs.String())
		}
	}
}

// A kernel that cannot be had is not a result of the command.
func TestNoKernel(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"apt-cache", "apt-get"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho no network >&2\nexit 100\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	var out, errs strings.Builder
	code := run(t.Context(), []string{"-cache", filepath.Join(dir, "cache"), "--", "true"}, &out, &errs)
	if code != exitFailed || out.Len() != 0 || errs.Len() == 0 {
		t.Errorf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
	}
}
