package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseLibraries(t *testing.T) {
	const list = "\tlinux-vdso.so.1 (0x00007ffd)\n" +
		"\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f6e)\n" +
		"\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6e)\n" +
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f6e)\n"
	want := []string{"/lib/x86_64-linux-gnu/libmnl.so.0", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}
	if got, err := parseLibraries(list); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := parseLibraries("\tlibgone.so.1 => not found\n"); err == nil || !strings.Contains(err.Error(), "libgone.so.1: not found") {
		t.Errorf("a library that is not there: %q, error %v", got, err)
	}
}

func TestLibraries(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"script": "#!/bin/sh\n", "empty": "", "cut": "\x7fELF"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if got, err := libraries(file); err != nil || len(got) != 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := libraries(filepath.Join(dir, "nothing")); err == nil {
		t.Errorf("no file: %q", got)
	}
	loader, err := interpreter("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if loader == "" {
		t.Skip("/bin/sh is static here")
	}
	got, err := libraries("/bin/sh")
	if err != nil || !slices.Contains(got, loader) || len(got) < 2 {
		t.Errorf("of /bin/sh: %q, %v", got, err)
	}
}

// strongSwan's charon was aborted at its end, because nothing names the library that the
// C library cancels threads by.
func TestUnwinder(t *testing.T) {
	dir := t.TempDir()
	libc, unwinder := filepath.Join(dir, "libc.so.6"), filepath.Join(dir, "libgcc_s.so.1")
	none := []string{filepath.Join(dir, "libm.so.6"), libc}
	if got := withUnwinder(none); !slices.Equal(got, none) {
		t.Errorf("where there is none: %q", got)
	}
	if err := os.WriteFile(unwinder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ in, want []string }{
		{none, append(slices.Clone(none), unwinder)},
		{[]string{libc, unwinder}, []string{libc, unwinder}},
		{none[:1], none[:1]},
		{nil, nil},
	} {
		if got := withUnwinder(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("of %q: %q", tt.in, got)
		}
	}
}
