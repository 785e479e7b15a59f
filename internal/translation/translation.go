// Package translation is what the importers of other programs' configurations
// have in common: sections of a UCI file with comments above them, and notes
// for whoever does the import.
package translation

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

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
	// Harmless: what the program did stays the same. Otherwise somebody should
	// have a look.
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

// SortNotes puts the notes in the order of the file; where it includes others,
// those of each file stand together.
func (t Translation) SortNotes() {
	order := map[string]int{}
	for _, n := range t.Notes {
		if _, ok := order[n.Position.File]; !ok {
			order[n.Position.File] = len(order)
		}
	}
	slices.SortStableFunc(t.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(order[a.Position.File], order[b.Position.File]),
			cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
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

// maxDevice is the most octets that the name of a network device has.
const maxDevice = 15

// IsDevice reports whether a network device can have the name.
func IsDevice(s string) bool {
	return s != "" && len(s) <= maxDevice && !strings.ContainsAny(s, "/: \t\n\v\f\r\x00") && s != "." && s != ".."
}
