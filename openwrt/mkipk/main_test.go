package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Whoever compresses, the package is the same; each does it in the same way every time.
func TestCompressors(t *testing.T) {
	if _, err := exec.LookPath("gzip"); err != nil {
		t.Skip("there is no gzip: it needs the Debian package gzip")
	}
	binary := filepath.Join(t.TempDir(), "roam6")
	if err := os.WriteFile(binary, bytes.Repeat([]byte("a program, more or less; "), 1000), 0o755); err != nil {
		t.Fatal(err)
	}
	made := func(with string) (packed []byte) {
		t.Helper()
		into := t.TempDir()
		args := []string{"-feed", "../roam6", "-arch", "mipsel_24kc", "-version", "0.1.0", "-epoch", "1760000000", "-binary", binary, "-out", into, "-gzip", with}
		if err := run(args, io.Discard); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(into, "roam6_0.1.0-r1_mipsel_24kc.ipk"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	names := map[string]string{}
	for _, with := range []string{"gzip", "", "there is no such program"} {
		b := made(with)
		if !bytes.Equal(b, made(with)) {
			t.Errorf("-gzip %q: another package the second time", with)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if !z.ModTime.IsZero() || z.Name != "" {
			t.Errorf("-gzip %q: header %+v", with, z.Header)
		}
		if _, err := io.Copy(io.Discard, z); err != nil {
			t.Errorf("-gzip %q: %v", with, err)
		}
		names[with] = string(b)
	}
	if names[""] != names["there is no such program"] || names[""] == names["gzip"] {
		t.Error("not compressed by whom it was said")
	}
}

func TestCompressorFails(t *testing.T) {
	if _, err := compress("/bin/false", nil); err == nil {
		t.Error("a program that fails compresses")
	}
}
