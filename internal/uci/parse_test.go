package uci

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// show renders a file on one line: `type name[a="1" b=["x" "y"]]`, with @
// before the name of an anonymous section.
func show(f *File) string {
	var b strings.Builder
	for i, s := range f.Sections {
		if i > 0 {
			b.WriteByte(' ')
		}
		anonymous := ""
		if s.Anonymous {
			anonymous = "@"
		}
		fmt.Fprintf(&b, "%s %s%s[", s.Type, anonymous, s.Name)
		for j, o := range s.Options {
			if j > 0 {
				b.WriteByte(' ')
			}
			var values []string
			for _, v := range o.Values {
				values = append(values, fmt.Sprintf("%q", v.Text))
			}
			text := strings.Join(values, " ")
			if o.List {
				text = "[" + text + "]"
			}
			b.WriteString(o.Name + "=" + text)
		}
		b.WriteByte(']')
	}
	return b.String()
}

// The expected values are what libuci reads, quirks included.
func TestParse(t *testing.T) {
	const c = "config t n\n"
	tests := []struct{ name, in, want string }{
		// files and lines
		{"empty file", "", ""},
		{"only newlines", "\n\n\r\n", ""},
		{"only a comment", "# nothing\n", ""},
		{"comment without newline", "# nothing", ""},
		{"indented comment", " \t # nothing\n", ""},
		{"section without options", "config t n\n", "t n[]"},
		{"section without newline", "config t n", "t n[]"},
		{"option without newline", c + "option a b", `t n[a="b"]`},
		{"CRLF", "config t n\r\n\toption a b\r\n", `t n[a="b"]`},
		{"CRLF after quotes", "config t n\r\n\toption a 'b'\r\n", `t n[a="b"]`},
		{"vertical tab and form feed are space", c + "option a\vb\f\n", `t n[a="b"]`},
		{"leading space of all kinds", c + "\v\f \toption a b\n", `t n[a="b"]`},
		{"tabs between words", "config\tt\tn\n\toption\ta\tb\n", `t n[a="b"]`},
		{"many spaces", "config   t   n   \n  option   a   b   \n", `t n[a="b"]`},

		// keywords
		{"abbreviations", "c t n\no a b\nl d e\n", `t n[a="b" d=["e"]]`},
		{"package is ignored", "package roam6\n" + c, "t n[]"},
		{"package abbreviated", "p roam6\n" + c, "t n[]"},
		{"package with a dash", "package my-router\n" + c, "t n[]"},
		{"package between sections", c + "package other\noption a b\n", `t n[a="b"]`},

		// sections
		{"anonymous section", "config t\n", "t @cfg02b619[]"},
		{"empty name is anonymous", "config t ''\n", "t @cfg02b619[]"},
		{"anonymous sections count on", "config t\nconfig t\n", "t @cfg02b619[] t @cfg04b619[]"},
		{"a named section counts once", "config t n\nconfig t\n", "t n[] t @cfg03b619[]"},
		{"quoted type and name", "config 't' \"n\"\n", "t n[]"},
		{"type of any printable characters", "config t-1/x:y n\n", "t-1/x:y n[]"},
		{"name of digits", "config t 6\n", "t 6[]"},
		{"the same section again continues it", c + "option a 1\nconfig u m\n" + c + "option b 2\n", `t n[a="1" b="2"] u m[]`},
		{"options of a continued section are replaced", c + "option a 1\n" + c + "option a 2\n", `t n[a="2"]`},
		{"a generated name is a name", "config t\noption a 1\nconfig t cfg02b619\noption b 2\n", `t @cfg02b619[a="1" b="2"]`},
		{"same name, other case", "config t n\nconfig u N\n", "t n[] u N[]"},

		// quoting
		{"single quotes", c + "option a 'b c'\n", `t n[a="b c"]`},
		{"double quotes", c + "option a \"b c\"\n", `t n[a="b c"]`},
		{"backslash in single quotes is literal", c + `option a 'b\nc'` + "\n", `t n[a="b\\nc"]`},
		{"backslash in double quotes quotes", c + `option a "b\"c"` + "\n", `t n[a="b\"c"]`},
		{"backslash n is n", c + `option a "b\nc"` + "\n", `t n[a="bnc"]`},
		{"double backslash", c + `option a "b\\c"` + "\n", `t n[a="b\\c"]`},
		{"double quote in single quotes", c + `option a 'b"c'` + "\n", `t n[a="b\"c"]`},
		{"single quote in double quotes", c + `option a "it's"` + "\n", `t n[a="it's"]`},
		{"the idiom for a single quote", c + `option a 'it'\''s'` + "\n", `t n[a="it's"]`},
		{"adjacent parts join", c + `option a 'b'"c"d` + "\n", `t n[a="bcd"]`},
		{"bare then quoted", c + `option a b'c d'e` + "\n", `t n[a="bc de"]`},
		{"empty quotes beside text", c + `option a ''b""` + "\n", `t n[a="b"]`},
		{"quoted name of an option", c + "option 'a' b\n", `t n[a="b"]`},
		{"backslash in a bare word", c + `option a b\ c` + "\n", `t n[a="b c"]`},
		{"backslash before a letter", c + `option a b\c` + "\n", `t n[a="bc"]`},
		{"escaped hash", c + `option a \#b` + "\n", `t n[a="#b"]`},
		{"escaped semicolon", c + `option a b\;c` + "\n", `t n[a="b;c"]`},
		{"escaped quote", c + `option a \'b` + "\n", `t n[a="'b"]`},
		{"quotes hide hash and semicolon", c + "option a '#b;c'\n", `t n[a="#b;c"]`},
		{"tab in quotes", c + "option a 'b\tc'\n", `t n[a="b\tc"]`},
		{"octets above 127", c + "option a \xc3\xa9\xff\n", `t n[a="é\xff"]`},
		{"leading and trailing space in quotes", c + "option a ' b '\n", `t n[a=" b "]`},

		// over the end of the line
		{"single quotes span lines", c + "option a 'b\nc'\n", `t n[a="b\nc"]`},
		{"double quotes span lines", c + "option a \"b\nc\"\n", `t n[a="b\nc"]`},
		{"three lines", c + "option a 'b\n\n\tc'\noption d e\n", `t n[a="b\n\n\tc" d="e"]`},
		{"CRLF in quotes stays", c + "option a 'b\r\nc'\r\n", `t n[a="b\r\nc"]`},
		{"continued in double quotes", c + "option a \"b\\\nc\"\n", `t n[a="bc"]`},
		{"continued in double quotes with CRLF", c + "option a \"b\\\r\nc\"\n", `t n[a="bc"]`},
		{"backslash newline in single quotes is literal", c + "option a 'b\\\nc'\n", `t n[a="b\\\nc"]`},
		{"bare word continued", c + "option a b\\\nc\n", `t n[a="bc"]`},
		{"bare word continued with CRLF", c + "option a b\\\r\nc\n", `t n[a="bc"]`},
		{"continued before a space ends the word", c + "option a b\\\n \n", `t n[a="b"]`},
		{"continued name", c + "option a\\\nb c\n", `t n[ab="c"]`},
		{"backslash at the end of the file", c + `option a b\`, `t n[a="b"]`},
		{"comment is not continued", c + "# x \\\noption a b\n", `t n[a="b"]`},

		// comments
		{"comment after a value", c + "option a b # c\n", `t n[a="b"]`},
		{"comment within a bare word", c + "option a b#c\n", `t n[a="b"]`},
		{"comment after quotes", c + "option a 'b'#c\n", `t n[a="b"]`},
		{"comment after a section", "config t n # c\n", "t n[]"},
		{"comment in place of a name", "config t #n\n", "t @cfg02b619[]"},
		{"comment in place of a value", c + "option a #b\n", "t n[]"},
		{"quote in a comment", c + "option a b # it's\noption c d\n", `t n[a="b" c="d"]`},

		// semicolons
		{"separates quoted values", c + "option a 'b';option c d\n", `t n[a="b" c="d"]`},
		{"separates after a space", c + "option a b ; option c d\n", `t n[a="b" c="d"]`},
		{"sections and options on one line", "config t 'n'; option a 'b'; list c 'd'; list c 'e'", `t n[a="b" c=["d" "e"]]`},
		{"ends the line after a bare word", c + "option a b; option c d\n", `t n[a="b"]`},
		{"ends a bare value at the end of the line", c + "option a b;\n", `t n[a="b"]`},
		{"in place of a value", c + "option a ;\n", "t n[]"},
		{"after a bare name", c + "option a;b\n", "t n[]"},
		{"before a comment", c + "option a 'b';# c\n", `t n[a="b"]`},
		{"at the end of the file", c + "option a 'b';", `t n[a="b"]`},
		{"escaped word is not hidden", c + `option a b\c; option d e` + "\n", `t n[a="bc" d="e"]`},

		// options and lists
		{"empty option is absent", c + "option a ''\n", "t n[]"},
		{"option without a value is absent", c + "option a\n", "t n[]"},
		{"empty option keeps the value before", c + "option a b\noption a ''\n", `t n[a="b"]`},
		{"empty list item stays", c + "list a ''\n", `t n[a=[""]]`},
		{"list without a value", c + "list a\n", `t n[a=[""]]`},
		{"list", c + "list a 1\nlist a 2\nlist a 1\n", `t n[a=["1" "2" "1"]]`},
		{"list with others in between", c + "list a 1\noption b x\nlist a 2\n", `t n[a=["1" "2"] b="x"]`},
		{"the last option wins", c + "option a 1\noption a 2\n", `t n[a="2"]`},
		{"an option set again moves to the end", c + "option a 1\noption b x\noption a 2\n", `t n[b="x" a="2"]`},
		{"an option set to the same stays", c + "option a 1\noption b x\noption a 1\n", `t n[a="1" b="x"]`},
		{"option then list is a list", c + "option a 1\nlist a 2\nlist a 3\n", `t n[a=["1" "2" "3"]]`},
		{"option then list moves to the end", c + "option a 1\noption b x\nlist a 2\n", `t n[b="x" a=["1" "2"]]`},
		{"list then option is an option", c + "list a 1\nlist a 2\noption a 3\n", `t n[a="3"]`},
		{"list then empty option stays a list", c + "list a 1\noption a ''\n", `t n[a=["1"]]`},
		{"a value that looks like a keyword", c + "option option config\n", `t n[option="config"]`},
		{"an empty extra word does not count", c + "option a b ''\n", `t n[a="b"]`},
		{"a statement after an empty extra word", c + "option a b '' option c d\n", `t n[a="b" c="d"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("roam6", []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := show(f); got != tt.want {
				t.Errorf("%q:\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	const c = "config t n\n"
	tests := []struct{ name, in, want string }{
		{"unknown keyword", "conf t n\n", `roam6:1:1: "conf": expected config, option or list, then a space and its arguments`},
		{"keyword in capitals", "Config t n\n", `roam6:1:1: "Config": expected config, option or list, then a space and its arguments`},
		{"quoted keyword", "'config' t n\n", `roam6:1:1: "'config'": expected config, option or list, then a space and its arguments`},
		{"keyword alone", "config\n", `roam6:1:1: "config": expected config, option or list, then a space and its arguments`},
		{"keyword alone with CRLF", "config\r\n", `roam6:1:1: "config": expected config, option or list, then a space and its arguments`},
		{"keyword and a space", "config \n", "roam6:1:8: expected a section type of printable characters without space"},
		{"keyword at the end of the file", "config", "roam6:1:7: expected a section type of printable characters without space"},
		{"byte order mark", "\ufeffconfig t n\n", `roam6:1:1: "\ufeffconfig": expected config, option or list, then a space and its arguments`},
		{"empty type", "config '' n\n", "roam6:1:8: expected a section type of printable characters without space"},
		{"type with a space", "config 'a b' n\n", `roam6:1:8: "a b": expected a section type of printable characters without space`},
		{"type that is not ASCII", "config é n\n", `roam6:1:8: "é": expected a section type of printable characters without space`},
		{"name with a dash", "config t my-router\n", `roam6:1:10: "my-router": expected a section name of letters, digits and _`},
		{"name that is not ASCII", "config t zoé\n", `roam6:1:10: "zoé": expected a section name of letters, digits and _`},
		{"third word after config", "config t n x\n", `roam6:1:12: "x": expected the end of the line; a value with spaces stands in quotes`},
		{"other type for a name", "config t n\nconfig u n\n", `roam6:2:8: "u": expected the type t of the section n begun at roam6:1:1, or another name`},
		{"other type for a generated name", "config t\nconfig u cfg02b619\n", `roam6:2:8: "u": expected the type t of the section cfg02b619 begun at roam6:1:1, or another name`},
		{"option first", "option a b\n", `roam6:1:1: "option": expected a config line before the first option or list`},
		{"list first", "\n list a b\n", `roam6:2:2: "list": expected a config line before the first option or list`},
		{"option without name", c + "option \n", "roam6:2:8: expected an option name of letters, digits and _"},
		{"option with an empty name", c + "option '' b\n", "roam6:2:8: expected an option name of letters, digits and _"},
		{"option name with a dash", c + "option a-b c\n", `roam6:2:8: "a-b": expected an option name of letters, digits and _`},
		{"option name with a dot", c + "\toption a.b c\n", `roam6:2:9: "a.b": expected an option name of letters, digits and _`},
		{"two values", c + "\toption a b c\n", `roam6:2:13: "c": expected the end of the line; a value with spaces stands in quotes`},
		{"value on a continued line", c + "option a \\\n b\n", `roam6:3:2: "b": expected the end of the line; a value with spaces stands in quotes`},
		{"single quote left open", c + "option a 'b\noption c d\n", `roam6:2:10: "'": expected a closing ' before the end of the file`},
		{"double quote left open", c + "option a x\"b\n", `roam6:2:11: "\"": expected a closing " before the end of the file`},
		{"double quote left open after a backslash", c + "option a \"b\\", `roam6:2:10: "\"": expected a closing " before the end of the file`},
		{"semicolon after quotes at the end of a line", c + "option a 'b';\n", "roam6:2:14: expected another statement or the end of the file after a semicolon"},
		{"semicolon and a bad statement", c + "option a 'b'; foo\n", `roam6:2:15: "foo": expected config, option or list, then a space and its arguments`},
		{"package without name", "package \n", "roam6:1:9: expected a package name of letters, digits, _ and -"},
		{"package with a bad name", "package a/b\n", `roam6:1:9: "a/b": expected a package name of letters, digits, _ and -`},
		{"package with two names", "package a b\n", `roam6:1:11: "b": expected the end of the line; a value with spaces stands in quotes`},
		{"NUL", c + "option a 'b\x00c'\n", `roam6:2:12: "\x00": expected text without NUL octets`},
		{"line numbers after lines joined", c + "option a 'b\nc'\noption d \"e\\\nf\"\n!\n", `roam6:6:1: "!": expected config, option or list, then a space and its arguments`},
		{"long text is shortened", strings.Repeat("x", 100), `roam6:1:1: "` + strings.Repeat("x", 60) + `…": expected config, option or list, then a space and its arguments`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("roam6", []byte(tt.in))
			if err == nil {
				t.Fatalf("%q was accepted: %s", tt.in, show(f))
			}
			if err.Error() != tt.want {
				t.Errorf("%q:\n got %s\nwant %s", tt.in, err, tt.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%T is not an *Error", err)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	line := "# " + strings.Repeat("x", 1021) + "\n"
	full := strings.Repeat(line, MaxSize/len(line))
	if _, err := Parse("roam6", []byte(full)); err != nil {
		t.Errorf("%d octets: %v", len(full), err)
	}
	_, err := Parse("roam6", []byte(full+"\n"))
	if want := fmt.Sprintf("roam6:%d:1: expected the end of the file: at most %d octets are read", MaxSize/len(line)+1, MaxSize); err == nil || err.Error() != want {
		t.Errorf("one octet too many: got %v, want %s", err, want)
	}
}

// A broken statement tells which option it belongs to, so that the text of a
// secret one can be withheld.
func TestErrorNamesOption(t *testing.T) {
	_, err := Parse("roam6", []byte("config t n\n\toption key 0123 4567\n"))
	var e *Error
	if !errors.As(err, &e) || e.Option != "key" || e.Offending != "4567" {
		t.Errorf("got %#v", err)
	}
}

func TestPositions(t *testing.T) {
	f, err := Parse("roam6", []byte("\n  config train 'one'\n\toption a \"x\ny\"\n\tlist l 1\n\tlist  l  '2'\nconfig train\n"))
	if err != nil {
		t.Fatal(err)
	}
	one := f.Sections[0]
	a, _ := one.Option("a")
	l, _ := one.Option("l")
	for _, tt := range []struct {
		what string
		got  Position
		want string
	}{
		{"section", one.Position, "roam6:2:3"},
		{"section name", one.NamePosition, "roam6:2:16"},
		{"option", a.Position, "roam6:3:9"},
		{"value", a.Values[0].Position, "roam6:3:11"},
		{"list", l.Position, "roam6:5:7"},
		{"first item", l.Values[0].Position, "roam6:5:9"},
		{"second item", l.Values[1].Position, "roam6:6:11"},
		{"anonymous section", f.Sections[1].NamePosition, "roam6:7:8"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("%s: at %v, want %s", tt.what, tt.got, tt.want)
		}
	}
	if got := f.Sections[1].Ref(); got != "@train[1]" {
		t.Errorf("anonymous section is %s", got)
	}
	if _, ok := one.Option("b"); ok {
		t.Error("found an option that is not there")
	}
}

func TestIgnored(t *testing.T) {
	f, err := Parse("roam6", []byte("config t n\noption a b; option c d\noption e f; # fine\noption g h;\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Ignored) != 1 || f.Ignored[0].Text != "option c d" || f.Ignored[0].Position.String() != "roam6:2:11" {
		t.Errorf("ignored: %v", f.Ignored)
	}
}
