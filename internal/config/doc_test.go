package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/generated"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md and openwrt/roam6/files/roam6.validation")

// TestDocumentation keeps docs/configuration.md what the tables say.
func TestDocumentation(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	want := documentation(t)
	generated.Check(t, path, want, *update, "the tables say", "run go test ./internal/config -update")
}

// documentation renders the head, which is written by hand, and the tables.
func documentation(t *testing.T) []byte {
	head, err := os.ReadFile(filepath.Join("testdata", "configuration.head.md"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for line := range strings.Lines(string(head)) {
		// A line that names an example is replaced by it.
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "@example ")
		if !ok {
			b.WriteString(line)
			continue
		}
		example, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "```uci\n%s```\n", example)
	}
	for _, s := range Describe() {
		documentSection(&b, s)
	}
	return b.Bytes()
}

func documentSection(b *bytes.Buffer, s SectionDescription) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", s.Type, s.Help)
	head := "config " + s.Type
	if s.Named {
		head += " 'NAME'"
	}
	fmt.Fprintf(b, "`%s`", head)
	if s.Single {
		b.WriteString(", at most once")
	}
	b.WriteString("\n\n| Option | Value | Default | A reload | Meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, o := range s.Options {
		keyword := "option"
		if o.List {
			keyword = "list"
		}
		fmt.Fprintf(b, "| `%s %s` | %s | %s | %s | %s |\n", keyword, o.Name, cell(o.Value), cell(documentedDefault(o)), o.Effect, cell(o.Help))
	}
}

func documentedDefault(o OptionDescription) string {
	switch {
	case o.Required:
		return "required"
	case o.Default != "":
		return "`" + o.Default + "`"
	case o.DefaultHelp != "":
		return o.DefaultHelp
	default:
		return "none"
	}
}

// cell is text fit for a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// Every default is valid, everything is explained, nothing is there twice.
func TestTables(t *testing.T) {
	types := map[string]bool{}
	for _, s := range Describe() {
		if types[s.Type] || s.Help == "" {
			t.Errorf("section %s is described twice or without help", s.Type)
		}
		types[s.Type] = true
		names := map[string]bool{}
		for _, o := range s.Options {
			where := s.Type + "." + o.Name
			if names[o.Name] {
				t.Errorf("%s is there twice", where)
			}
			names[o.Name] = true
			if o.Value == "" || !strings.HasSuffix(o.Help, ".") {
				t.Errorf("%s is not explained", where)
			}
			if o.Required && (o.Default != "" || o.DefaultHelp != "") {
				t.Errorf("%s is required and has a default", where)
			}
			if !o.Required && o.Default == "" && o.DefaultHelp == "" && !o.List {
				t.Errorf("%s: what if it is not given?", where)
			}
			if o.Secret != secret(o.Name) {
				t.Errorf("%s: secret is %v", where, o.Secret)
			}
		}
	}
	checkDefaults(t, globalsTable())
	checkDefaults(t, metricsTable())
	checkDefaults(t, mobileRouterTable())
	checkDefaults(t, mobileNodeTable())
	checkDefaults(t, uplinkTable())
	checkDefaults(t, prefixRequestTable())
	checkDefaults(t, policyTable())
	checkDefaults(t, correspondentTable())
	checkDefaults(t, homeAgentTable())
	checkDefaults(t, mobileTable())
	checkDefaults(t, ipsecTable())
	checkDefaults(t, interfaceTable())
	checkDefaults(t, anchorKeyTable())
	checkDefaults(t, anchorTable())
	checkDefaults(t, visitorTable())
	checkDefaults(t, prefixTable())
	checkDefaults(t, routeTable())
	checkDefaults(t, rdnssTable())
	checkDefaults(t, dnsslTable())
	checkDefaults(t, nat64Table())
	checkDefaults(t, borderRouterTable())
	checkDefaults(t, contextTable())
	checkDefaults(t, mapOptionTable())
}

func checkDefaults[S any](t *testing.T, sc schema[S]) {
	t.Helper()
	for _, o := range sc.options {
		checkDatatype(t, sc.Type+"."+o.Name, o.OptionDescription, func(v string) bool {
			var s S
			_, expected := o.set(&s, values(v))
			return expected == ""
		})
		if o.Default == "" {
			continue
		}
		var s S
		if _, expected := o.set(&s, values(o.Default)); expected != "" {
			t.Errorf("%s.%s: the default %s is not %s", sc.Type, o.Name, o.Default, expected)
		}
	}
}
