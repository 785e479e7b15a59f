package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func records(text ...string) (list [][]byte) {
	for _, s := range text {
		list = append(list, []byte(s))
	}
	return list
}

func wantJournal(t *testing.T, path, stamp string, want ...string) {
	t.Helper()
	s, got, err := ReadJournal(path)
	if err != nil || s != stamp || !slices.EqualFunc(got, records(want...), bytes.Equal) {
		t.Errorf("journal of %q: %q, %v; want %q of %q", s, got, err, want, stamp)
	}
}

// What was appended is there for the next process, as soon as Append has returned.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.journal")
	wantJournal(t, path, "")
	j, err := CreateJournal(path, "boot 1", slices.Values(records("a", "b")))
	if err != nil {
		t.Fatal(err)
	}
	wantJournal(t, path, "boot 1", "a", "b")
	for _, r := range []string{"c", strings.Repeat("d", 70000)} {
		if err := j.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	wantJournal(t, path, "boot 1", "a", "b", "c", strings.Repeat("d", 70000))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := j.Append(make([]byte, MaxRecord+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large record: %v", err)
	}
	if err := j.Append(nil); err == nil {
		t.Error("an empty record was appended")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantJournal(t, path, "boot 1", "a", "b", "c", strings.Repeat("d", 70000))
	if err := os.WriteFile(path+temporary, []byte("half"), 0o666); err != nil { // of one that was killed
		t.Fatal(err)
	}
	if j, err = CreateJournal(path, "boot 2", slices.Values(records())); err != nil {
		t.Fatal(err)
	}
	wantJournal(t, path, "boot 2")
	if err := j.Remove(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A last record that is not whole was never acknowledged: the others count. Anything
// else that is not as it was written makes the whole worthless.
func TestJournalDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.journal")
	j, err := CreateJournal(path, "boot", slices.Values(records("first", "second")))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := bytes.IndexByte(whole, '\n') + 1
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		_, got, err := ReadJournal(path)
		want := 0
		if n >= header+8+5 {
			want = 1
		}
		if n < header != errors.Is(err, ErrDamaged) || len(got) != want {
			t.Errorf("%d of %d octets: %q, %v", n, len(whole), got, err)
		}
	}
	for n := range whole {
		b := bytes.Clone(whole)
		b[n] ^= 0x40
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		// A stamp that is another one, and a length that reaches beyond the end, are
		// possible; a record that was not written is not.
		_, got, err := ReadJournal(path)
		if err == nil && slices.ContainsFunc(got, func(r []byte) bool { return string(r) != "first" && string(r) != "second" }) {
			t.Errorf("octet %d changed: %q", n, got)
		}
	}
}

// What others may have written, or is no file, is not read.
func TestJournalHostile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"others may write": func(path string) error { return os.Chmod(path, 0o622) },
		"a link": func(path string) error {
			return errors.Join(os.Rename(path, path+".other"), os.Symlink(path+".other", path))
		},
		"a pipe":      func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
		"a directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"too large":   func(path string) error { return os.Truncate(path, MaxJournal+1) },
		"somebody else's": func(path string) error {
			if os.Geteuid() != 0 {
				return os.Chmod(path, 0o622) // needs root
			}
			return os.Chown(path, 1, 1)
		},
	} {
		path := filepath.Join(t.TempDir(), "run.journal")
		j, err := CreateJournal(path, "boot", slices.Values(records("a")))
		if err != nil {
			t.Fatal(err)
		}
		j.Close()
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ReadJournal(path); err == nil || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// What a medium does not take is an error, and what was there stays.
func TestJournalFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone", "run.journal")
	if _, err := CreateJournal(path, "boot", slices.Values(records("a"))); err == nil {
		t.Error("made in no directory")
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full: ", err)
	}
	j := &Journal{path: path, file: full}
	if err := j.Append([]byte("a")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("on a full medium: %v", err)
	}
	full.Close()
}

// The time of one append, of writing 100,000 records, and of picking them from twice as
// many, during which it goes on.
func BenchmarkJournal(b *testing.B) {
	path, record := filepath.Join(b.TempDir(), "run.journal"), make([]byte, 130)
	j, err := CreateJournal(path, "boot", slices.Values(records()))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := j.Append(record); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{10_000, 100_000} {
		many := func(yield func([]byte) bool) {
			for i := 0; i < n && yield(record); i++ {
			}
		}
		b.Run(fmt.Sprintf("create %d", n), func(b *testing.B) {
			for b.Loop() {
				k, err := CreateJournal(path, "boot", many)
				if err != nil {
					b.Fatal(err)
				}
				k.Close()
			}
		})
		b.Run(fmt.Sprintf("condense %d", 2*n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				k, err := CreateJournal(path, "boot", many)
				if err != nil {
					b.Fatal(err)
				}
				for r := range many {
					if err := k.Append(r); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				k.Condense(func(r [][]byte) ([][]byte, error) { return r[n:], nil })
				waitCondensed(k)
				if err := k.Append(record); err != nil || k.condensing != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				k.Close()
				b.StartTimer()
			}
		})
	}
}
