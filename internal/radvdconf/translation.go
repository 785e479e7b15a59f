package radvdconf

import "roam6/internal/translation"

// section is a section under construction.
type section struct{ *translation.Builder }

func newSection(notes *[]translation.Note, kind, link string) *section {
	s := &section{translation.Begin(notes, kind, "")}
	s.Set("interface", link)
	return s
}

// flag carries an option over as it is.
func (s *section) flag(name string, v Setting[bool]) {
	if v.Given {
		s.Switch(name, v.Value)
	}
}

// seconds writes a lifetime.
func (s *section) seconds(name string, v uint32) {
	if v == Infinity {
		s.Set(name, "infinity")
	} else {
		s.Number(name, int64(v))
	}
}

// Translate makes roam6's configuration of radvd's. What it says is what
// radvd 2.19 does, which is not in all things what its manual says. A note is
// harmless where what hosts hear stays the same.
func Translate(f *File) translation.Translation {
	var t translation.Translation
	for _, r := range f.Repeated {
		t.Notes = append(t.Notes, translation.Note{Position: r.Position, Harmless: true,
			Text: r.Option + ": without effect, since the option is given again further down"})
	}
	for i := range f.Interfaces {
		t.Sections = append(t.Sections, translateInterface(&f.Interfaces[i], &t.Notes)...)
	}
	t.SortNotes()
	return t
}
