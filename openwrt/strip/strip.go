package main

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// strip returns a Go file without the declarations that match one of the patterns, and
// without the imports that only those needed.
//
// A pattern is one of path.Match. It is compared with the names of functions, types,
// variables and constants of the package, and with Type.name for methods and for the fields
// of structs. One that matches nothing is an error, and so is one that matches some of the
// names that are declared together (`var a, b = f()`).
func strip(source []byte, patterns []string) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := stripper{file: files.File(file.FileStart), patterns: patterns, matched: make([]bool, len(patterns))}
	for _, d := range file.Decls {
		if err := s.declaration(d); err != nil {
			return nil, err
		}
	}
	for i, matched := range s.matched {
		if !matched {
			return nil, fmt.Errorf("nothing is called %s", patterns[i])
		}
	}
	return withoutIdleImports(s.cut(source))
}

// stripper collects what to cut from a file.
type stripper struct {
	file     *token.File
	patterns []string
	matched  []bool // by pattern
	spans    []span
}

// span is a part of a file, in octets from its beginning.
type span struct{ from, to int }

func (s *stripper) declaration(d ast.Decl) error {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type) + "." + name
		}
		matches, err := s.matches([]string{name})
		if matches {
			s.remove(d, d.Doc, nil)
		}
		return err
	case *ast.GenDecl:
		return s.group(d)
	default:
		return fmt.Errorf("unknown declaration %T", d)
	}
}

// group is one of import, const, var or type. Nothing is left of one without specs.
func (s *stripper) group(d *ast.GenDecl) error {
	kept := 0
	within := &stripper{file: s.file, patterns: s.patterns, matched: s.matched}
	for _, spec := range d.Specs {
		matches, err := within.specification(spec)
		if err != nil {
			return err
		}
		if !matches {
			kept++
		}
	}
	if kept == 0 && len(d.Specs) > 0 {
		s.remove(d, d.Doc, nil)
	} else {
		s.spans = append(s.spans, within.spans...)
	}
	return nil
}

func (s *stripper) specification(spec ast.Spec) (matches bool, err error) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		if matches, err = s.matches(names(spec.Names, "")); matches {
			s.remove(spec, spec.Doc, spec.Comment)
		}
	case *ast.TypeSpec:
		if matches, err = s.matches([]string{spec.Name.Name}); matches {
			s.remove(spec, spec.Doc, spec.Comment)
		} else if t, ok := spec.Type.(*ast.StructType); ok && err == nil {
			err = s.fields(spec.Name.Name, t)
		}
	}
	return matches, err
}

func (s *stripper) fields(of string, t *ast.StructType) error {
	for _, f := range t.Fields.List {
		matches, err := s.matches(names(f.Names, of+"."))
		if err != nil {
			return err
		}
		if matches {
			s.remove(f, f.Doc, f.Comment)
		}
	}
	return nil
}

func names(identifiers []*ast.Ident, prefix string) []string {
	var all []string
	for _, i := range identifiers {
		all = append(all, prefix+i.Name)
	}
	return all
}

// receiver is the name of the type of which a method is.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	default:
		return ""
	}
}

// matches reports whether all of the names match a pattern.
func (s *stripper) matches(names []string) (bool, error) {
	matching := 0
	for _, name := range names {
		found := false
		for i, p := range s.patterns {
			ok, err := path.Match(p, name)
			if err != nil {
				return false, fmt.Errorf("%s: %w", p, err)
			}
			if ok {
				s.matched[i], found = true, true
			}
		}
		if found {
			matching++
		}
	}
	if matching > 0 && matching < len(names) {
		return false, fmt.Errorf("%s are declared together, and only some of them match", strings.Join(names, ", "))
	}
	return matching > 0, nil
}

// remove cuts a node with the comments of it; either may be nil.
func (s *stripper) remove(n ast.Node, before, behind *ast.CommentGroup) {
	x := span{s.file.Offset(n.Pos()), s.file.Offset(n.End())}
	if before != nil {
		x.from = s.file.Offset(before.Pos())
	}
	if behind != nil {
		x.to = s.file.Offset(behind.End())
	}
	s.spans = append(s.spans, x)
}

func (s *stripper) cut(source []byte) []byte {
	slices.SortFunc(s.spans, func(a, b span) int { return b.from - a.from })
	for _, x := range s.spans { // from the end, so that the places of the others stay
		source = slices.Concat(source[:x.from], source[x.to:])
	}
	return source
}

// withoutIdleImports removes the imports of which nothing is used, and formats the file.
func withoutIdleImports(source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if x, ok := n.(*ast.SelectorExpr); ok {
			if of, ok := x.X.(*ast.Ident); ok {
				used[of.Name] = true
			}
		}
		return true
	})
	s := stripper{file: files.File(file.FileStart)}
	for _, i := range file.Imports {
		name, err := imported(i)
		if err != nil {
			return nil, err
		}
		if !used[name] && name != "_" && name != "." {
			s.remove(i, i.Doc, i.Comment)
		}
	}
	return format.Source(s.cut(source))
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// imported is the name by which a file knows an import: that of the folder, unless it
// says another.
func imported(i *ast.ImportSpec) (string, error) {
	if i.Name != nil {
		return i.Name.Name, nil
	}
	p, err := strconv.Unquote(i.Path.Value)
	if err != nil {
		return "", err
	}
	if folder, last := path.Split(p); majorVersion.MatchString(last) {
		p = path.Clean(folder)
	}
	return path.Base(p), nil
}
