package mip6dconf

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"roam6/internal/generated"
)

// document is docs/import.md: what is written by hand, and the table.
func document(t *testing.T) string {
	head, err := os.ReadFile("testdata/import.head.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(head)
	for _, k := range Keywords() {
		in, becomes := k.In, k.Becomes
		switch {
		case in == "none":
			in, becomes = "no rule", "—"
		case becomes == "":
			becomes = "not applicable"
		}
		if in != "" && k.In != "none" {
			in = "`" + in + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, in, k.Nodes, becomes, k.Note)
	}
	return b.String()
}

// docs/import.md has the table of the code.
func TestDocument(t *testing.T) {
	const path = "../../docs/import.md"
	want := document(t)
	generated.Check(t, path, []byte(want), *update, "the table says", "go test ./internal/mip6dconf -update")
}

// values are the words of the grammar that are values of an option.
var values = []string{"HA", "CN", "MN", "LMA", "MAG", "internal"}

// Every word of mip6d's scanner is in the table, translated or with the reason why
// not; what the table has is read; and what is read is in the table.
func TestEveryKeyword(t *testing.T) {
	text, err := os.ReadFile("testdata/keywords.txt")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(text))
	inTable := map[string]bool{}
	for _, k := range Keywords() {
		at := k.In + "/" + k.Name
		if inTable[at] {
			t.Errorf("%s is there twice", at)
		}
		inTable[at], inTable[k.Name] = true, true
		if k.Becomes == "" && k.Note == "" {
			t.Errorf("%s: neither translated nor said why not", at)
		}
		if !slices.Contains(words, k.Name) {
			t.Errorf("%s is no word of mip6d", at)
		}
	}
	for _, w := range words {
		if !inTable[w] && !slices.Contains(values, w) {
			t.Errorf("%s is not in the table", w)
		}
	}

	read := map[string][]string{
		"":               slices.Concat(slices.Collect(maps.Keys((&File{}).options())), slices.Collect(maps.Keys((&File{}).blocks())), []string{"include"}),
		"Interface":      slices.Collect(maps.Keys((&Interface{}).options())),
		"MnHomeLink":     slices.Collect(maps.Keys((&HomeLink{}).options())),
		"IPsecPolicySet": slices.Collect(maps.Keys((&IPsecPolicySet{}).options())),
		"IPsecPolicy":    slices.Concat(policyTypes[:], []string{"UseESP", "UseAH", "UseIPComp"}),
	}
	for in, names := range read {
		for _, name := range names {
			if keyword(name, in).Becomes == "" && keyword(name, in).Note == "" {
				t.Errorf("%s of %q is read, and not in the table", name, in)
			}
		}
	}
	for _, k := range Keywords() {
		if k.In != "none" && !slices.Contains(read[k.In], k.Name) {
			t.Errorf("%s of %q is in the table, and not read", k.Name, k.In)
		}
	}
}

// The example with everything has every word, so that its golden file shows what
// becomes of it.
func TestExampleHasEverything(t *testing.T) {
	src, err := os.ReadFile("testdata/everything.conf")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(src), func(r rune) bool { return strings.ContainsRune(" \t\n{};()", r) })
	for _, k := range Keywords() {
		if k.In != "none" && !slices.Contains(words, k.Name) {
			t.Errorf("%s is not in it", k.Name)
		}
	}
}
