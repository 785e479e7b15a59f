package control

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"roam6/internal/generated"
)

const referenceHead = `# What ` + "`roam6 show --json`" + ` tells

One JSON document for each topic. Fields are added with new versions, never renamed or given
another meaning; a program has to pass over those that it does not know. With ` + "`--watch`" + ` each
document is a line.

The types:

- *address*, *prefix*: text as in RFC 5952, a prefix with its length.
- *seconds*, *milliseconds*: numbers, with fractions to the millisecond and the microsecond. Where
  it is a lifetime, *or null* means that there is no end.
- *time*: RFC 3339 in UTC, with microseconds. An age is always beside it: many routers have no
  clock that can be trusted.
- *or absent*: the field is not there where it would say nothing.

The same is to be had without ` + "`roam6 show`" + `: connect to the control socket (a unix stream socket,
for its owner only), write ` + "`{\"show\":\"TOPIC\"}`" + ` and a newline, and read ` + "`{\"data\":DOCUMENT}`" + ` or
` + "`{\"error\":\"why not\"}`" + `.

Written by ` + "`go test ./internal/control -update`" + `.
`

// docs/show.md says of every field what it is, in the words of the source.
func TestReference(t *testing.T) {
	source := readSource(t)
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, topic := range Topics() {
		d, err := Decode(topic, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		of := reflect.TypeOf(d)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", topic, source.comment(of.Name()))
		told := map[reflect.Type]bool{}
		var tell func(reflect.Type)
		tell = func(of reflect.Type) {
			told[of] = true
			b.WriteString("\n| Field | Type | Meaning |\n|---|---|---|\n")
			var inner []reflect.Type
			source.fields(t, &b, of, &inner)
			for _, x := range inner {
				if !told[x] {
					fmt.Fprintf(&b, "\n### %s: %s\n\n%s\n", topic, source.title(x), source.comment(x.Name()))
					tell(x)
				}
			}
		}
		tell(of)
	}
	const path = "../../docs/show.md"
	generated.Check(t, path, []byte(b.String()), *update, "the documents are", "go test ./internal/control -update")
}

// sourceText has the comments of this package's types and of their fields.
type sourceText struct {
	types   map[string]string
	members map[string]string // by Type.Field
}

func readSource(t *testing.T) sourceText {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	s := sourceText{types: map[string]string{}, members: map[string]string{}}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					s.take(g, ts)
				}
			}
		}
	}
	return s
}

func (s sourceText) take(g *ast.GenDecl, ts *ast.TypeSpec) {
	s.types[ts.Name.Name] = oneLine(g.Doc.Text())
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		words := strings.TrimSpace(oneLine(f.Doc.Text()) + " " + oneLine(f.Comment.Text()))
		for _, n := range f.Names {
			s.members[ts.Name.Name+"."+n.Name] = words
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// comment is what the source says of a type, without its name at the beginning.
func (s sourceText) comment(name string) string { return s.types[name] }

func (s sourceText) title(of reflect.Type) string { return "`" + of.Name() + "`" }

// fields writes a row for each field. Those of an embedded struct are the outer one's.
func (s sourceText) fields(t *testing.T, b *strings.Builder, of reflect.Type, inner *[]reflect.Type) {
	t.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			s.fields(t, b, f.Type, inner)
			continue
		}
		if name == "" || name == "-" {
			t.Errorf("%v.%s has no name in JSON", of, f.Name)
			continue
		}
		kind := s.kind(t, f.Type, inner)
		if strings.Contains(options, "omit") {
			kind = strings.ReplaceAll(kind, " or null", "") + " or absent"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, kind, strings.ReplaceAll(s.members[of.Name()+"."+f.Name], "|", "\\|"))
	}
}

// kind is the JSON type of a Go type.
func (s sourceText) kind(t *testing.T, of reflect.Type, inner *[]reflect.Type) string {
	t.Helper()
	switch of {
	case reflect.TypeFor[netip.Addr]():
		return "address"
	case reflect.TypeFor[netip.Prefix]():
		return "prefix"
	case reflect.TypeFor[Time]():
		return "time"
	case reflect.TypeFor[Seconds]():
		return "seconds"
	case reflect.TypeFor[Milliseconds]():
		return "milliseconds"
	}
	switch of.Kind() {
	case reflect.Pointer:
		return s.kind(t, of.Elem(), inner) + " or null"
	case reflect.Slice:
		return "list of " + s.kind(t, of.Elem(), inner)
	case reflect.Map:
		return "object of " + s.kind(t, of.Elem(), inner)
	case reflect.Struct:
		*inner = append(*inner, of)
		return s.title(of)
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "number"
	default:
		t.Errorf("%v: teach this test what it is in JSON", of)
		return of.String()
	}
}
