package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func save(t *testing.T, s *Store, name string, data []byte) {
	t.Helper()
	if err := s.Save(name, data); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, s *Store, name string, want []byte) {
	t.Helper()
	got, err := s.Load(name)
	if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Fatalf("Load(%q) = %q, %v; want %q", name, got, err, want)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What was saved is there after a restart, under its name only; no data removes
// it; directory and file are the owner's alone.
func TestSaveLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "roam6")
	s := open(t, dir)
	expect(t, s, "delegation-home", nil)
	save(t, s, "delegation-home", []byte("one\ntwo"))
	save(t, s, "duid", bytes.Repeat([]byte{0, '\n', 255}, MaxSize/3))
	s = open(t, dir)
	expect(t, s, "delegation-home", []byte("one\ntwo"))
	expect(t, s, "duid", bytes.Repeat([]byte{0, '\n', 255}, MaxSize/3))
	save(t, s, "delegation-home", []byte("three"))
	expect(t, s, "delegation-home", []byte("three"))
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "duid"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	save(t, s, "delegation-home", nil)
	save(t, s, "delegation-home", []byte{})
	expect(t, open(t, dir), "delegation-home", nil)
	if got := files(t, dir); len(got) != 1 || got[0] != "duid" {
		t.Errorf("there are %v", got)
	}
}

// Equal data is not written again: the file stays the same one.
func TestEqualNotWritten(t *testing.T) {
	s := open(t, t.TempDir())
	inode := func() os.FileInfo {
		t.Helper()
		info, err := os.Stat(s.path("a"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	save(t, s, "a", []byte("data"))
	before := inode()
	save(t, s, "a", []byte("data"))
	if !os.SameFile(before, inode()) {
		t.Error("equal data was written")
	}
	// The old file is held, or its number could be used again.
	f, err := os.Open(s.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	save(t, s, "a", []byte("other"))
	if os.SameFile(before, inode()) {
		t.Error("a file was overwritten, not replaced")
	}
}

// A file that was cut at any octet, or in which any bit is wrong, counts as
// missing and is reported; the next Save mends it.
func TestTorn(t *testing.T) {
	s := open(t, t.TempDir())
	data := []byte("{\"version\":1,\"a\":\"Bc\"}\n")
	save(t, s, "a", data)
	whole, err := os.ReadFile(s.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	torn := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(s.path("a"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		// A digit may have become another one.
		if got, err := s.Load("a"); got != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: Load = %q, %v", what, got, err)
		}
	}
	for i := range whole {
		torn("cut", whole[:i])
		torn("zeros", append(bytes.Clone(whole[:i]), make([]byte, len(whole)-i)...))
		for bit := range 8 {
			wrong := bytes.Clone(whole)
			wrong[i] ^= 1 << bit
			torn("bit", wrong)
		}
	}
	torn("longer", append(bytes.Clone(whole), 0))
	save(t, s, "a", data)
	expect(t, s, "a", data)
}

// What another version has written is told from what is damaged, whatever it has behind
// its number, and is there under another name when that version comes back.
func TestAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, later := range []string{"roam6 state 2 00000000 1\nx", "roam6 state 17 zstd\n\x00"} {
		if err := os.WriteFile(s.path("a"), []byte(later), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load("a"); got != nil || !errors.Is(err, ErrVersion) {
			t.Errorf("%q: Load = %q, %v", later, got, err)
		}
		path, err := s.SetAside("a")
		if err != nil {
			t.Fatal(err)
		}
		expect(t, s, "a", nil)
		save(t, s, "a", []byte("data"))
		expect(t, open(t, dir), "a", []byte("data"))
		if kept, err := os.ReadFile(path); err != nil || string(kept) != later {
			t.Errorf("%q: set aside is %q, %v", later, kept, err)
		}
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
	if _, err := s.SetAside("b"); err == nil {
		t.Error("nothing was set aside")
	}
	if _, err := s.SetAside("../a"); !errors.Is(err, ErrName) {
		t.Errorf("SetAside of elsewhere: %v", err)
	}
}

// A power cut while writing leaves what was there before, and nothing else after
// the next start.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	save(t, s, "a", []byte("before"))
	next := encode([]byte("after"))
	for i := range len(next) + 1 {
		if err := os.WriteFile(filepath.Join(dir, "a"+temporary), next[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, open(t, dir), "a", []byte("before"))
		if got := files(t, dir); len(got) != 1 {
			t.Fatalf("there are %v", got)
		}
	}
	// What is not ours stays.
	for _, name := range []string{"README", "x.y.new", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	if got := files(t, dir); len(got) != 4 {
		t.Errorf("there are %v", got)
	}
}

// When a file cannot be written, what was there stays, and nothing is left over.
func TestSaveFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, "a", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Save("a", []byte("data")); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if _, err := s.Load("a"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Load of a directory: %v", err)
	}
	if got := files(t, dir); len(got) != 1 || got[0] != "a" {
		t.Errorf("there are %v", got)
	}
}

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Save("a", make([]byte, MaxSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Save of too much: %v", err)
	}
	if err := os.WriteFile(s.path("a"), encode(make([]byte, 2*MaxSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load("a"); got != nil || !errors.Is(err, ErrTooLarge) {
		t.Errorf("Load of too much: %d octets, %v", len(got), err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "../a", "A", "a.new", "a b", "ä", strings.Repeat("a", 65), "a\x00"} {
		if err := s.Save(name, []byte("x")); !errors.Is(err, ErrName) {
			t.Errorf("Save(%q): %v", name, err)
		}
		if _, err := s.Load(name); !errors.Is(err, ErrName) {
			t.Errorf("Load(%q): %v", name, err)
		}
	}
	save(t, s, strings.Repeat("a", 64), []byte("x"))
	save(t, s, "-0-z", []byte("x"))
}

// A link or a pipe in the place of a file is not followed and not waited for.
func TestStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, encode([]byte("secret")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(elsewhere, s.path("link")), unix.Mkfifo(s.path("pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "pipe"} {
		if got, err := s.Load(name); got != nil || err == nil {
			t.Errorf("Load(%q) = %q, %v", name, got, err)
		}
		save(t, s, name, []byte("ours"))
		expect(t, s, name, []byte("ours"))
	}
	if there, err := os.ReadFile(elsewhere); err != nil || !bytes.Equal(there, encode([]byte("secret"))) {
		t.Errorf("elsewhere is %q, %v", there, err)
	}
}

// What is wrong with a directory is said together with what to do.
func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(t.TempDir(), "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	type attempt struct{ dir, says string }
	attempts := []attempt{
		{"", "set one"},
		{file, "configure another one"},
		{filepath.Join(file, "below"), "configure another one"},
		{shared, "chmod go-w"},
	}
	if unix.Access(locked, unix.W_OK) != nil { // root may write all the same
		attempts = append(attempts, attempt{locked, "mount it writable"})
	}
	for _, c := range attempts {
		if s, err := Open(c.dir); s != nil || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Open(%q): %v; want %q", c.dir, err, c.says)
		}
	}
	if _, err := Open(""); !errors.Is(err, ErrNoDirectory) {
		t.Errorf("Open of nothing: %v", err)
	}
}
