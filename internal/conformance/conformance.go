// Package conformance knows the rules that roam6 has to follow, by role, and
// finds the tests that prove them. A test says what it proves in its doc
// comment, with a line such as
//
//	// Covers: C1, C4, Attack: replay.
//
// docs/conformance.md is generated from both; a rule without a test fails.
package conformance

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Rule is one thing that a standard, or experience, demands.
type Rule struct {
	// ID is a letter for the role and a number, or "Attack: " and a name.
	ID   string
	Text string
	// Source is where the rule comes from: an RFC and its section, mostly.
	Source string
}

// Chapter is the rules of one role.
type Chapter struct {
	Title string
	Rules []Rule
	// Open are the rules of this chapter that have no test yet and why: what is
	// not done is said, not hidden.
	Open map[string]string
}

// Proof is a test and where it is.
type Proof struct {
	Package string // its folder
	Test    string // name of the function
}

// ErrUnknownRule marks a "Covers" line with a rule that there is not.
type ErrUnknownRule struct {
	Rule  string
	Proof Proof
}

func (e ErrUnknownRule) Error() string {
	return fmt.Sprintf("%s.%s covers %q, which is no rule", e.Proof.Package, e.Proof.Test, e.Rule)
}

var attack = regexp.MustCompile(`^Attack: [A-Za-z0-9 -]+$`)

// items splits the content of a "Covers" line.
func items(line string) (ids []string) {
	for _, item := range strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "."), ",") {
		if item = strings.Join(strings.Fields(item), " "); item != "" {
			ids = append(ids, item)
		}
	}
	return ids
}

// covers are the rules that a doc comment names. A line goes on in the next one
// as long as it ends with a comma.
func covers(doc string) (ids []string) {
	const mark = "Covers:"
	more := false
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		switch rest, found := strings.CutPrefix(line, mark); {
		case found:
			line = rest
		case !more:
			continue
		}
		more = strings.HasSuffix(line, ",")
		ids = append(ids, items(line)...)
	}
	return ids
}

// Proofs reads the tests below a folder and returns them by the rule that they
// cover. The order is that of folders and files.
func Proofs(root string) (map[string][]Proof, error) {
	proofs := make(map[string][]Proof)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Doc == nil || f.Recv != nil {
				continue
			}
			for _, id := range covers(f.Doc.Text()) {
				proofs[id] = append(proofs[id], Proof{filepath.ToSlash(folder), f.Name.Name})
			}
		}
		return nil
	})
	return proofs, err
}

// Check compares rules and proofs: every rule must have a test or be said to be
// open, and what a test covers must be a rule.
func Check(chapters []Chapter, proofs map[string][]Proof) (errs []error) {
	known := make(map[string]bool)
	for _, c := range chapters {
		for _, r := range c.Rules {
			known[r.ID] = true
			_, open := c.Open[r.ID]
			switch proven := len(proofs[r.ID]) > 0; {
			case !proven && !open:
				errs = append(errs, fmt.Errorf("no test covers rule %s: %s", r.ID, r.Text))
			case proven && open:
				errs = append(errs, fmt.Errorf("rule %s is said to be open, but a test covers it", r.ID))
			}
		}
	}
	for id, ps := range proofs {
		if !known[id] {
			for _, p := range ps {
				errs = append(errs, ErrUnknownRule{id, p})
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// Document is docs/conformance.md.
func Document(chapters []Chapter, proofs map[string][]Proof) string {
	var b strings.Builder
	b.WriteString("# Conformance\n\n" +
		"Which rule is proven by which test. This page is generated from\n" +
		"`internal/conformance` and the `Covers:` lines of the tests:\n" +
		"`go test ./internal/conformance -update` writes it, and `make test` fails where\n" +
		"it is not true or a rule has no test.\n")
	for _, c := range chapters {
		fmt.Fprintf(&b, "\n## %s\n\n| rule | what it demands | source | proven by |\n|---|---|---|---|\n", c.Title)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.ID, escape(r.Text), escape(r.Source), provenBy(proofs[r.ID], c.Open[r.ID]))
		}
	}
	return b.String()
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// provenBy lists tests, a folder once.
func provenBy(proofs []Proof, open string) string {
	if len(proofs) == 0 {
		return "**open:** " + escape(open)
	}
	var b strings.Builder
	for i, p := range proofs {
		switch {
		case i > 0 && proofs[i-1].Package == p.Package:
			b.WriteString(", ")
		case i > 0:
			b.WriteString("; ")
			fallthrough
		default:
			fmt.Fprintf(&b, "`%s`: ", p.Package)
		}
		b.WriteString(p.Test)
	}
	return b.String()
}
