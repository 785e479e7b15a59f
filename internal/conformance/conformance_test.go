package conformance

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"roam6/internal/generated"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

const document = "../../docs/conformance.md"

// Every rule has a test, every test covers a rule, and the page says so.
func TestConformance(t *testing.T) {
	proofs, err := Proofs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range Check(Chapters(), proofs) {
		t.Error(err)
	}
	want := Document(Chapters(), proofs)
	generated.Check(t, document, []byte(want), *update, "the tests say", "go test ./internal/conformance -update")
}

func TestCovers(t *testing.T) {
	for doc, want := range map[string][]string{
		"TestX is a test.\n":                                nil,
		"TestX proves.\n\nCovers: C1, C4.\n":                {"C1", "C4"},
		"Covers: C1,\nAttack: BU  replay,\nM2\nMore text\n": {"C1", "Attack: BU replay", "M2"},
		"Covers: B4.\nAnd, says the text, more.\n":          {"B4"},
	} {
		if got := covers(doc); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", doc, got, want)
		}
	}
}

// A missing test, an open rule that is proven and an unknown rule are errors.
func TestCheck(t *testing.T) {
	chapters := []Chapter{{Rules: []Rule{{ID: "A1"}, {ID: "A2"}, {ID: "A3"}, {ID: "A4"}}, Open: map[string]string{"A3": "later", "A4": "later"}}}
	errs := Check(chapters, map[string][]Proof{"A1": {{"x", "TestA"}}, "A4": {{"x", "TestB"}}, "Z9": {{"x", "TestC"}}})
	var got []string
	for _, err := range errs {
		got = append(got, err.Error())
	}
	for _, want := range []string{"no test covers rule A2", "rule A4 is said to be open", `covers "Z9"`} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if len(got) != 3 {
		t.Errorf("errors: %q", got)
	}
}

// Rules have an identity of their own, and attacks a name.
func TestChapters(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range Chapters() {
		for _, r := range c.Rules {
			if seen[r.ID] || r.Text == "" || r.Source == "" || strings.Contains(r.ID, ":") && !attack.MatchString(r.ID) {
				t.Errorf("%s: %+v", c.Title, r)
			}
			seen[r.ID] = true
		}
		for id, why := range c.Open {
			if !seen[id] || why == "" {
				t.Errorf("%s: open rule %q: %q", c.Title, id, why)
			}
		}
	}
}
