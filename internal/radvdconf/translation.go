package radvdconf

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"roam6/internal/order"
	"roam6/internal/uci"
)

// Translation is a roam6 configuration with what there is to say about it.
type Translation struct {
	Sections []Section
	// Notes are in the order of the file.
	Notes []Note
}

// Section is a section with comments to stand above it.
type Section struct {
	Comments []string
	uci.Section
}

// Note tells of something that was not carried over, or became another thing.
type Note struct {
	Position uci.Position // zero: not of a file
	Text     string
	// Harmless: what hosts hear stays the same. Otherwise somebody should have a
	// look.
	Harmless bool
}

func (n Note) String() string {
	if n.Position == (uci.Position{}) {
		return n.Text
	}
	return n.Position.String() + ": " + n.Text
}

// NeedsLook reports whether any note is not harmless.
func (t Translation) NeedsLook() bool {
	return slices.ContainsFunc(t.Notes, func(n Note) bool { return !n.Harmless })
}

// Text writes the sections as a UCI file, the comments above them, after a
// heading. It fails only where the file would be longer than uci.MaxSize.
func (t Translation) Text(heading ...string) ([]byte, error) {
	var b bytes.Buffer
	comments(&b, heading)
	for _, s := range t.Sections {
		text, err := uci.Format(&uci.File{Sections: []uci.Section{s.Section}})
		if err != nil {
			return nil, err
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		comments(&b, s.Comments)
		b.Write(bytes.TrimSpace(text))
		b.WriteByte('\n')
	}
	if b.Len() > uci.MaxSize {
		return nil, fmt.Errorf("the configuration has %d octets, more than UCI's %d: split the file", b.Len(), uci.MaxSize)
	}
	return b.Bytes(), nil
}

// comments writes lines of comment, whatever they hold.
func comments(b *bytes.Buffer, lines []string) {
	for _, line := range lines {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return '?'
			}
			return r
		}, line)
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
}

// section is a Section under construction.
type section struct {
	notes *[]Note
	Section
}

func newSection(notes *[]Note, kind, link string) *section {
	s := &section{notes: notes}
	s.Type, s.Anonymous = kind, true
	s.option("interface", link)
	return s
}

func (s *section) option(name, value string) {
	s.Options = append(s.Options, uci.Option{Name: name, Values: []uci.Value{{Text: value}}})
}

func (s *section) list(name string, values ...string) {
	o := uci.Option{Name: name, List: true}
	for _, v := range values {
		o.Values = append(o.Values, uci.Value{Text: v})
	}
	if len(values) > 0 {
		s.Options = append(s.Options, o)
	}
}

func (s *section) number(name string, n int64) { s.option(name, strconv.FormatInt(n, 10)) }

func (s *section) bool(name string, on bool) {
	if on {
		s.option(name, "1")
	} else {
		s.option(name, "0")
	}
}

// flag carries an option over as it is.
func (s *section) flag(name string, v Setting[bool]) {
	if v.Given {
		s.bool(name, v.Value)
	}
}

// seconds writes a lifetime.
func (s *section) seconds(name string, v uint32) {
	if v == Infinity {
		s.option(name, "infinity")
	} else {
		s.number(name, int64(v))
	}
}

// remark says above the section what is written in another way than in radvd's
// file, and means the same.
func (s *section) remark(at uci.Position, format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	if at.Line > 0 {
		text = "line " + strconv.Itoa(at.Line) + ": " + text
	}
	s.Comments = append(s.Comments, text)
}

// note says there, and to whoever does the import, what somebody should look at.
func (s *section) note(at uci.Position, format string, values ...any) {
	s.remark(at, format, values...)
	*s.notes = append(*s.notes, Note{Position: at, Text: fmt.Sprintf(format, values...)})
}

// harmless is note for what changes nothing that hosts hear.
func (s *section) harmless(at uci.Position, format string, values ...any) {
	s.remark(at, format, values...)
	*s.notes = append(*s.notes, Note{Position: at, Text: fmt.Sprintf(format, values...), Harmless: true})
}

// Translate makes roam6's configuration of radvd's. What it says is what
// radvd 2.19 does, which is not in all things what its manual says.
func Translate(f *File) Translation {
	var t Translation
	for _, r := range f.Repeated {
		t.Notes = append(t.Notes, Note{Position: r.Position, Harmless: true,
			Text: r.Option + ": without effect, since the option is given again further down"})
	}
	for i := range f.Interfaces {
		t.Sections = append(t.Sections, translateInterface(&f.Interfaces[i], &t.Notes)...)
	}
	order.SortStable(t.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return t
}
