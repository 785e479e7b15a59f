package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/generated"
)

const manHead = `.\" Written by go test ./internal/config -update: change the tables, not this.
.Dd November 22, 2026
.Dt ROAM6 5
.Os
.Sh NAME
.Nm roam6
.Nd configuration of roam6
.Sh SYNOPSIS
.Pa /etc/config/roam6
.Sh DESCRIPTION
The file is written in UCI, OpenWrt's configuration language, on servers as on
routers: sections with options and lists.
.Bd -literal -offset indent
config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	list uplink 'wlan0'
	# a comment
.Ed
.Pp
.Ql roam6 init
writes one to begin with, for each role.
.Ql roam6 check
tells everything that is wrong with one.
A section type or an option that is misspelt is an error.
A file with a key must not be readable by group or others.
.Pp
A reload is SIGHUP, or a file that is replaced.
What it does about a changed option is said with each: it is taken over at
once, while registrations and bindings live on; or it restarts the section; or
it needs a restart of roam6.
A reload that finds an error changes nothing.
`

const manTail = `.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/config/roam6
The configuration.
.El
.Sh SEE ALSO
.Xr roam6 8
.Pp
docs/configuration.md of the sources has examples of each role.
`

// TestManual keeps roam6(5) what the tables say.
func TestManual(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "man", "roam6.5")
	want := manual()
	generated.Check(t, path, want, *update, "the tables say", "run go test ./internal/config -update")
}

// manual renders the tables as mdoc.
func manual() []byte {
	var b bytes.Buffer
	b.WriteString(manHead)
	b.WriteString(".Sh SECTIONS\n")
	for _, s := range Describe() {
		fmt.Fprintf(&b, ".Ss %s\n", s.Type)
		head := "config " + s.Type
		if s.Named {
			head += " 'NAME'"
		}
		if s.Single {
			head += ", at most once"
		}
		fmt.Fprintf(&b, ".D1 %s\n.Pp\n%s.Bl -tag -width Ds\n", head, roff(s.Help))
		for _, o := range s.Options {
			keyword := "option"
			if o.List {
				keyword = "list"
			}
			fmt.Fprintf(&b, ".It Cm %s %s\n%s", keyword, o.Name, roff(o.Help))
			for _, line := range []string{"Value: " + o.Value, "Default: " + documentedDefault(o), "A reload: " + o.Effect.String()} {
				b.WriteString(".br\n" + roff(line+"."))
			}
		}
		b.WriteString(".El\n")
	}
	b.WriteString(manTail)
	return b.Bytes()
}

// roff is text as lines of mdoc: a sentence begins a line, none is a request, and
// none is longer than it may be.
func roff(text string) string {
	const width = 78
	text = strings.NewReplacer("`", "", `\`, `\e`, "…", "...", "–", "-", "×", "x", "§", "section ").Replace(text)
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		if column > 0 && column+1+len(word) > width {
			b.WriteString("\n")
			column = 0
		}
		if column > 0 {
			b.WriteString(" ")
			column++
		}
		if column == 0 && strings.ContainsAny(word[:1], ".'") {
			b.WriteString(`\&`)
		}
		b.WriteString(word)
		column += len(word)
		if strings.HasSuffix(word, ".") || strings.HasSuffix(word, ".)") {
			b.WriteString("\n")
			column = 0
		}
	}
	if column > 0 {
		b.WriteString("\n")
	}
	return b.String()
}
