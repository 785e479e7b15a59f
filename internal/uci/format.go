package uci

import (
	"bytes"
	"fmt"
	"strings"
)

// Format writes a file as `uci commit` does; Parse reads the same from it.
// Positions, indexes and the names of anonymous sections are not needed. It
// fails on what no file can hold: an invalid name, a type that is not
// printable, an option without a value or a list without items, a NUL.
func Format(f *File) ([]byte, error) {
	var b bytes.Buffer
	for i := range f.Sections {
		if err := formatSection(&b, &f.Sections[i]); err != nil {
			return nil, fmt.Errorf("section %s: %w", f.Sections[i].Ref(), err)
		}
	}
	b.WriteByte('\n')
	if b.Len() > MaxSize {
		return nil, fmt.Errorf("%d octets: a file holds at most %d", b.Len(), MaxSize)
	}
	return b.Bytes(), nil
}

// Export is Format with the package line in front, as `uci export` writes it.
func Export(f *File) ([]byte, error) {
	if !validPackage(f.Name) {
		return nil, fmt.Errorf("%q cannot name a package", f.Name)
	}
	b, err := Format(f)
	return append([]byte("package "+f.Name+"\n"), b...), err
}

func formatSection(b *bytes.Buffer, s *Section) error {
	if !validType(s.Type) {
		return fmt.Errorf("%q cannot be a section type", s.Type)
	}
	b.WriteString("\nconfig " + quoteType(s.Type))
	if !s.Anonymous {
		if !ValidName(s.Name) {
			return fmt.Errorf("%q cannot name a section", s.Name)
		}
		b.WriteString(" '" + s.Name + "'")
	}
	b.WriteByte('\n')
	for _, o := range s.Options {
		if err := formatOption(b, o); err != nil {
			return fmt.Errorf("option %s: %w", o.Name, err)
		}
	}
	return nil
}

func formatOption(b *bytes.Buffer, o Option) error {
	switch {
	case !ValidName(o.Name):
		return fmt.Errorf("%q cannot name an option", o.Name)
	case len(o.Values) == 0:
		return fmt.Errorf("no value")
	case !o.List && (len(o.Values) > 1 || o.Values[0].Text == ""):
		return fmt.Errorf("an option has one value that is not empty")
	}
	keyword := "option"
	if o.List {
		keyword = "list"
	}
	for _, v := range o.Values {
		if strings.IndexByte(v.Text, 0) >= 0 {
			return fmt.Errorf("a value cannot hold a NUL octet")
		}
		b.WriteString("\t" + keyword + " " + o.Name + " " + quote(v.Text) + "\n")
	}
	return nil
}

// quote writes a value literally; a single quote leaves the quotes for itself.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteType writes a type bare, as libuci does, unless it could not be read
// back: libuci itself writes such a type wrongly.
func quoteType(s string) string {
	if strings.ContainsAny(s, `'"\#;`) {
		return quote(s)
	}
	return s
}
