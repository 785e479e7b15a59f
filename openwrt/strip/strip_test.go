package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `// Licence.

// Package p is one.
package p

import (
	"fmt"
	"strings"

	other "example.org/module"
	"example.org/library/v2"
)

// A is kept. Its name is in strings.
const A = 1

const (
	// B goes, and its comment.
	B = 2 // this one too
	C = 3
)

var one, two = pair()

// T is a struct.
type T struct {
	kept  int
	gone  other.State // with its comment
	x, y  int
}

func init() { fmt.Println(B) }

func pair() (int, int) { return library.Pair() }

// String goes.
func (t *T) String() string { return strings.Repeat("x", t.kept) }

func (t T) Kept() int { return t.kept }

type G[E any] struct{ e E }

func (g *G[E]) String() string { return fmt.Sprint(g.e) }
`

func TestStrip(t *testing.T) {
	for _, tt := range []struct {
		name     string
		patterns string
		gone     string // pieces that are there before and not behind, between bars
		kept     string // pieces that are in both
	}{
		{"a function, with the import that it alone needs", "pair", `func pair|"example.org/library/v2"`, `"fmt"|"strings"|func init`},
		{"a method of one type, with its comment", "T.String", `func (t *T) String|// String goes.|"strings"`, `func (g *G[E]) String|"fmt"|Its name is in strings.`},
		{"methods of all types", "*.String", `func (t *T) String|func (g *G[E]) String`, `func (t T) Kept|"fmt"`},
		{"one of several constants, with its comments", "B", "B = 2|B goes|this one too", "C = 3|const A|A is kept"},
		{"all constants of a group", "[BC]", "const (|B = 2|C = 3", "const A = 1"},
		{"a field, with the import that it alone needs", "T.gone", `gone  other.State|with its comment|"example.org/module"`, "kept"},
		{"fields and variables that are declared together", "T.[xy] one two", "x, y  int|var one, two", "T struct"},
		{"a type", "G *.String", "type G[E any]|func (g *G[E])", "type T struct"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := strip([]byte(source), strings.Fields(tt.patterns))
			if err != nil {
				t.Fatal(err)
			}
			for piece := range strings.SplitSeq(tt.gone, "|") {
				if strings.Contains(string(b), piece) || !strings.Contains(source, piece) {
					t.Errorf("%q is still there:\n%s", piece, b)
				}
			}
			for piece := range strings.SplitSeq(tt.kept, "|") {
				if !strings.Contains(string(b), piece) {
					t.Errorf("%q is gone:\n%s", piece, b)
				}
			}
		})
	}
}

func TestStripRefuses(t *testing.T) {
	for _, tt := range []struct{ name, source, patterns, want string }{
		{"what is not there", source, "T.String init absent", "nothing is called absent"},
		{"a method that another type has", source, "G.Kept", "nothing is called G.Kept"},
		{"half of what is declared together", source, "one", "one, two are declared together, and only some of them match"},
		{"half of fields", source, "T.y", "T.x, T.y are declared together, and only some of them match"},
		{"a malformed pattern", source, "[a", "[a: syntax error in pattern"},
		{"what is no Go", "package", "init", "expected 'IDENT'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := strip([]byte(tt.source), strings.Fields(tt.patterns)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A file of which not all can be stripped stays as it is.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.go")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{file, "init", "absent"}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != source {
		t.Errorf("a file was changed in spite of an error: %v\n%s", err, b)
	}
	if err := run([]string{file, "init"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "init()") {
		t.Errorf("not stripped: %v\n%s", err, b)
	}
	if err := run([]string{file}); err == nil {
		t.Error("a file without a pattern was taken")
	}
}
