package uci

import (
	"reflect"
	"strings"
	"testing"
)

func TestExport(t *testing.T) {
	f, err := Parse("roam6", []byte("config globals\n option log_level debug\nconfig t 'n'\n option it it\\'s\n list l 'a b'\n list l ''\n option two 'x\ny'\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Export(f)
	if err != nil {
		t.Fatal(err)
	}
	// Octet for octet what `uci export` prints.
	want := "package roam6\n\nconfig globals\n\toption log_level 'debug'\n\nconfig t 'n'\n\toption it 'it'\\''s'\n\tlist l 'a b'\n\tlist l ''\n\toption two 'x\ny'\n\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	committed, err := Format(f)
	if err != nil {
		t.Fatal(err)
	}
	if "package roam6\n"+string(committed) != want {
		t.Errorf("Format differs from Export: %q", committed)
	}
	if _, err := Export(&File{Name: "a/b"}); err == nil {
		t.Error("exported a package named a/b")
	}
}

// A type that libuci itself writes so that it cannot read it back.
func TestFormatQuotesType(t *testing.T) {
	for _, typ := range []string{"a'b", `a"b`, `a\b`, "a#b", "#", "a;b", ";"} {
		b, err := Format(&File{Sections: []Section{{Type: typ, Anonymous: true}}})
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse("roam6", b)
		if err != nil || len(f.Sections) != 1 || f.Sections[0].Type != typ {
			t.Errorf("type %q became %v, %v", typ, f, err)
		}
	}
}

func TestFormatErrors(t *testing.T) {
	option := func(o Option) Section { return Section{Type: "t", Name: "n", Options: []Option{o}} }
	one := []Value{{Text: "x"}}
	for _, tt := range []struct {
		section Section
		want    string
	}{
		{Section{Type: "", Name: "n"}, `section n: "" cannot be a section type`},
		{Section{Type: "a b", Name: "n"}, `section n: "a b" cannot be a section type`},
		{Section{Type: "t", Name: "a-b"}, `section a-b: "a-b" cannot name a section`},
		{Section{Type: "t", Name: ""}, `section : "" cannot name a section`},
		{option(Option{Name: "a-b", Values: one}), `section n: option a-b: "a-b" cannot name an option`},
		{option(Option{Name: "a"}), "section n: option a: no value"},
		{option(Option{Name: "a", List: true}), "section n: option a: no value"},
		{option(Option{Name: "a", Values: []Value{{}}}), "section n: option a: an option has one value that is not empty"},
		{option(Option{Name: "a", Values: []Value{{Text: "x"}, {Text: "y"}}}), "section n: option a: an option has one value that is not empty"},
		{option(Option{Name: "a", Values: []Value{{Text: "\x00"}}}), "section n: option a: a value cannot hold a NUL octet"},
	} {
		b, err := Format(&File{Sections: []Section{tt.section}})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%+v: got %v, want %s", tt.section, err, tt.want)
		}
		if b != nil {
			t.Errorf("%+v: half a file was returned", tt.section)
		}
	}
	big := option(Option{Name: "a", Values: []Value{{Text: strings.Repeat("x", MaxSize)}}})
	if _, err := Format(&File{Sections: []Section{big}}); err == nil {
		t.Error("wrote a file that is too large to read")
	}
}

// stripped is a file without what Format does not keep.
func stripped(f *File) []Section {
	var out []Section
	for _, s := range f.Sections {
		s.Position, s.NamePosition = Position{}, Position{}
		options := s.Options
		s.Options = nil
		for _, o := range options {
			o.Position = Position{}
			values := o.Values
			o.Values = nil
			for _, v := range values {
				o.Values = append(o.Values, Value{Text: v.Text})
			}
			s.Options = append(s.Options, o)
		}
		out = append(out, s)
	}
	return out
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "config t n\n\toption a 'b'\n\tlist c d\n", "c t;o a 'b';l c \"d\\\"\"\n",
		"config t\nconfig t cfg02b619\noption a 'it'\\''s'\n", "config t n\noption a b\\\r\nc # d\n",
		"package p\nconfig t 'n' ''option a \"x\ny\"", "config t n\nlist a ''\noption a 1\nlist a 2;x\n", "config a;b\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse("fuzz", src)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%T is not an *Error", err)
			}
			return
		}
		b, err := Format(file)
		if err != nil {
			if len(src) > MaxSize/8 {
				return // escapes may make it too large
			}
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Parse("fuzz", b)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, b)
		}
		if got, want := stripped(again), stripped(file); !reflect.DeepEqual(got, want) {
			t.Fatalf("written and read again:\n got %+v\nwant %+v", got, want)
		}
		if len(again.Ignored) > 0 {
			t.Fatalf("written text is ignored: %v", again.Ignored)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	section := "config mobile 'm'\n\toption home_address '2001:db8:1::2'\n\toption spi '1000'\n\tlist prefix '2001:db8:100::/56'\n\n"
	src := []byte(strings.Repeat(section, 100))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := Parse("roam6", src); err != nil {
			b.Fatal(err)
		}
	}
}
