package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// entry is a file of an archive.
type entry struct {
	mode         uint64
	content      string
	major, minor uint64
}

// readArchive reads a newc archive by the letter of the format, and wants each name once.
func readArchive(t *testing.T, b []byte) (names []string, entries map[string]entry) {
	t.Helper()
	entries = map[string]entry{}
	inodes := map[uint64]bool{}
	for at := 0; ; {
		header := string(b[at : at+110])
		if header[:6] != "070701" {
			t.Fatalf("at %d: magic %q", at, header[:6])
		}
		field := func(i int) uint64 {
			v, err := strconv.ParseUint(header[6+8*i:14+8*i], 16, 32)
			if err != nil {
				t.Fatalf("at %d: %v", at, err)
			}
			return v
		}
		name := string(b[at+110 : at+110+int(field(11))-1])
		data := (at + 110 + len(name) + 1 + 3) &^ 3
		size := int(field(6))
		at = (data + size + 3) &^ 3
		if name == "TRAILER!!!" {
			if at != len(b) {
				t.Errorf("%d octets behind the trailer", len(b)-at)
			}
			return names, entries
		}
		if _, again := entries[name]; again || inodes[field(0)] {
			t.Errorf("%s: name or inode %d is not the first", name, field(0))
		}
		if field(2) != 0 || field(3) != 0 || field(4) != 1 || field(5) != 0 || field(12) != 0 {
			t.Errorf("%s: header %s", name, header)
		}
		inodes[field(0)] = true
		names = append(names, name)
		entries[name] = entry{field(1), string(b[data : data+size]), field(9), field(10)}
	}
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := archive{w: &b}
	want := map[string]entry{"d": {mode: typeDirectory | 0o755}, "dev": {mode: typeDevice | 0o600, major: 5, minor: 1}}
	a.add("d", typeDirectory|0o755, 0, nil, 0, 0)
	a.add("dev", typeDevice|0o600, 0, nil, 5, 1)
	for n := range 9 { // every remainder, of name and of content
		name, content := "d/"+strings.Repeat("n", n+1), strings.Repeat("c", 8-n)
		a.add(name, typeRegular|0o644, int64(len(content)), strings.NewReader(content), 0, 0)
		want[name] = entry{mode: typeRegular | 0o644, content: content}
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	_, got := readArchive(t, b.Bytes())
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}

	// Somebody else's reader.
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox to read the archive, too")
	}
	list := exec.Command(busybox, "cpio", "-t")
	list.Stdin = &b
	out, err := list.Output()
	if n := strings.Count(string(out), "\n"); err != nil || n != len(want) {
		t.Errorf("busybox lists %d files, %v:\n%s", n, err, out)
	}
}

func TestArchiveBytes(t *testing.T) {
	var b bytes.Buffer
	a := archive{w: &b}
	a.add("a", typeRegular|0o644, 2, strings.NewReader("hi"), 0, 0)
	const want = "070701" + "00000001" + "000081A4" + "00000000" + "00000000" + "00000001" + "00000000" + "00000002" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "a\x00" + "hi\x00\x00"
	if a.err != nil || b.String() != want {
		t.Errorf("%q, %v; want %q", b.String(), a.err, want)
	}
}

type failing struct{ after int }

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errFull
	}
	return len(b), nil
}

var errFull = errors.New("full")

func TestArchiveErrors(t *testing.T) {
	for after := range 200 {
		a := archive{w: &failing{after}}
		a.add("name", typeRegular, 5, strings.NewReader("12345"), 0, 0)
		a.add("other", typeDirectory, 0, nil, 0, 0)
		if err := a.close(); !errors.Is(err, errFull) {
			t.Errorf("room for %d octets: error %v", after, err)
		}
	}
	a := archive{w: io.Discard}
	a.add("shrunk", typeRegular, 5, strings.NewReader("1234"), 0, 0)
	if err := a.close(); !errors.Is(err, io.EOF) {
		t.Errorf("a file that has shrunk: error %v", err)
	}
	a = archive{w: io.Discard}
	a.add("huge", typeRegular, 1<<32, nil, 0, 0)
	if err := a.close(); err == nil {
		t.Error("a file of 4 GiB: no error")
	}
}
