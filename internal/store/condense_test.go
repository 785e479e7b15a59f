package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// waitCondensed waits until the shorter journal is written; the next append takes it.
func waitCondensed(j *Journal) {
	c := <-j.condensing.done
	j.condensing.done <- c
}

// While a shorter journal is written what is appended is in the old one, and then in the
// new one: at each moment all is in the file that has the name.
func TestCondense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.journal")
	j, err := CreateJournal(path, "boot", slices.Values(records("a", "b")))
	if err != nil {
		t.Fatal(err)
	}
	add := func(r string) {
		t.Helper()
		if err := j.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	large := strings.Repeat("d", journalSlack)
	for add("c"); !j.Grown(); add(large) {
	}
	release := make(chan bool)
	j.Condense(func(all [][]byte) ([][]byte, error) {
		<-release
		if len(all) < 4 || string(all[2]) != "c" {
			return nil, errors.New("other records")
		}
		return all[1:3], nil
	})
	j.Condense(func([][]byte) ([][]byte, error) { panic("another one at the same time") })
	if j.Grown() {
		t.Error("it is to be condensed while it is")
	}
	add("e")
	_, before, err := ReadJournal(path)
	if err != nil || string(before[len(before)-1]) != "e" {
		t.Errorf("meanwhile: %d records, %v", len(before), err)
	}
	close(release)
	waitCondensed(j)
	add("f")
	wantJournal(t, path, "boot", "b", "c", "e", "f")
	add("g")
	wantJournal(t, path, "boot", "b", "c", "e", "f", "g")
	if j.Grown() {
		t.Error("it has grown at once")
	}
	// And again.
	j.Condense(func(all [][]byte) ([][]byte, error) { return all[4:], nil })
	waitCondensed(j)
	add("h")
	wantJournal(t, path, "boot", "g", "h")
	// One that nobody waits for leaves nothing.
	j.Condense(func(all [][]byte) ([][]byte, error) { return nil, nil })
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantJournal(t, path, "boot", "g", "h")
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// What cannot be made shorter is an error of the next append, and nothing is left of it.
func TestCondenseFails(t *testing.T) {
	wrong := errors.New("wrong")
	for name, c := range map[string]struct {
		pick    func([][]byte) ([][]byte, error)
		prepare func(path string) error
		err     error
	}{
		"the picking fails": {func([][]byte) ([][]byte, error) { return nil, wrong }, func(string) error { return nil }, wrong},
		"the file is damaged": {nil, func(path string) error {
			return os.Truncate(path, 3)
		}, nil},
		"something is in the way": {nil, func(path string) error {
			return errors.Join(os.Mkdir(path+temporary, 0o700), os.WriteFile(path+temporary+"/x", nil, 0o600))
		}, nil},
	} {
		path := filepath.Join(t.TempDir(), "run.journal")
		j, err := CreateJournal(path, "boot", slices.Values(records("a", "b")))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.prepare(path); err != nil {
			t.Fatal(err)
		}
		if c.pick == nil {
			c.pick = func(all [][]byte) ([][]byte, error) { return all, nil }
		}
		j.Condense(c.pick)
		waitCondensed(j)
		err = j.Append([]byte("c"))
		if err == nil || c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(path + temporary); err == nil && info.Mode().IsRegular() {
			t.Errorf("%s: a file is left", name)
		}
		j.Close()
	}
}
