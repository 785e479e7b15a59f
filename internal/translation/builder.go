package translation

import (
	"fmt"
	"strconv"

	"roam6/internal/uci"
)

// Builder is a Section under construction.
type Builder struct {
	// Notes get what Note and Harmless say.
	Notes *[]Note
	Section
}

// Begin begins a section: without a name an anonymous one.
func Begin(notes *[]Note, kind, name string) *Builder {
	b := &Builder{Notes: notes}
	b.Type, b.Name, b.Anonymous = kind, name, name == ""
	return b
}

// Set writes an option.
func (b *Builder) Set(name, value string) {
	b.Options = append(b.Options, uci.Option{Name: name, Values: []uci.Value{{Text: value}}})
}

// List writes a list; one without items is none.
func (b *Builder) List(name string, values ...string) {
	o := uci.Option{Name: name, List: true}
	for _, v := range values {
		o.Values = append(o.Values, uci.Value{Text: v})
	}
	if len(values) > 0 {
		b.Options = append(b.Options, o)
	}
}

// Number writes an option that is a number.
func (b *Builder) Number(name string, n int64) { b.Set(name, strconv.FormatInt(n, 10)) }

// Switch writes an option that is on or off.
func (b *Builder) Switch(name string, on bool) {
	if on {
		b.Set(name, "1")
	} else {
		b.Set(name, "0")
	}
}

// Remark says above the section what is written in another way than in the file
// that is translated, and means the same.
func (b *Builder) Remark(at uci.Position, format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	if at.Line > 0 {
		text = "line " + strconv.Itoa(at.Line) + ": " + text
	}
	b.Comments = append(b.Comments, text)
}

// Note says there, and to whoever does the import, what somebody should look at.
func (b *Builder) Note(at uci.Position, format string, values ...any) {
	b.Remark(at, format, values...)
	*b.Notes = append(*b.Notes, Note{Position: at, Text: fmt.Sprintf(format, values...)})
}

// Harmless is Note for what changes nothing of what the program did.
func (b *Builder) Harmless(at uci.Position, format string, values ...any) {
	b.Remark(at, format, values...)
	*b.Notes = append(*b.Notes, Note{Position: at, Text: fmt.Sprintf(format, values...), Harmless: true})
}
