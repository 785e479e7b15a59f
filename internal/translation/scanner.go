package translation

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"roam6/internal/uci"
)

// Error is a place where a file breaks the grammar of its program.
type Error struct {
	uci.Position
	Offending string // the text found; empty at the end of the file
	Expected  string // what should stand there
}

func (e *Error) Error() string {
	if e.Offending == "" {
		return fmt.Sprintf("%v: the file ends; expected %s", e.Position, e.Expected)
	}
	return fmt.Sprintf("%v: %q: expected %s", e.Position, uci.Shorten(e.Offending), e.Expected)
}

// Scanner goes through the octets of a file, and knows the place.
type Scanner struct {
	Text []byte
	At   int // the next octet of Text

	name            string
	line, lineStart int
}

// NewScanner begins with a file.
func NewScanner(name string, text []byte) Scanner { return Scanner{Text: text, name: name, line: 1} }

// Position is the place of the next octet.
func (s *Scanner) Position() uci.Position {
	return uci.Position{File: s.name, Line: s.line, Column: s.At - s.lineStart + 1}
}

// Ended reports whether there is no next octet.
func (s *Scanner) Ended() bool { return s.At == len(s.Text) }

// Newline passes over the end of a line.
func (s *Scanner) Newline() {
	s.At++
	s.line, s.lineStart = s.line+1, s.At
}

// Space passes over blanks, ends of lines, and comments, which begin with # and end with
// their line.
func (s *Scanner) Space() {
	for !s.Ended() {
		switch s.Text[s.At] {
		case ' ', '\t', '\r':
			s.At++
		case '\n':
			s.Newline()
		case '#':
			for !s.Ended() && s.Text[s.At] != '\n' {
				s.At++
			}
		default:
			return
		}
	}
}

// Word passes over the octets that belong to a word, and returns them.
func (s *Scanner) Word(belongs func(byte) bool) string {
	start := s.At
	for !s.Ended() && belongs(s.Text[s.At]) {
		s.At++
	}
	return string(s.Text[start:s.At])
}

// Number reads a word of digits alone; fits reports whether 32 bits hold it.
func Number(word string) (n uint32, digits, fits bool) {
	if !allDigits(word) {
		return 0, false, false
	}
	x, err := strconv.ParseUint(word, 10, 32)
	return uint32(x), true, err == nil
}

// Seconds reads a word of digits with a point among them, as seconds, down to a
// nanosecond; fits reports whether 32 bits hold what is before the point.
func Seconds(word string) (d time.Duration, decimal, fits bool) {
	whole, fraction, decimal := strings.Cut(word, ".")
	if !decimal || !allDigits(fraction) {
		return 0, false, false
	}
	n, digits, fits := Number(whole)
	if !digits {
		return 0, false, false
	}
	d = time.Duration(n) * time.Second
	unit := time.Second
	for i := 0; i < len(fraction) && unit > 1; i++ {
		unit /= 10
		d += time.Duration(fraction[i]-'0') * unit
	}
	return d, true, fits
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Nearest suggests the names that were probably meant by another one, whatever its
// capitals: words to stand behind what is wrong, or none.
func Nearest(name string, names iter.Seq[string]) string {
	name = strings.ToLower(name)
	var like []string
	for known := range names {
		if k := strings.ToLower(known); len(name) >= 4 && (strings.Contains(k, name) || strings.Contains(name, k)) {
			like = append(like, known)
		}
	}
	if len(like) == 0 {
		return ""
	}
	slices.Sort(like)
	return " (such as " + strings.Join(like[:min(len(like), 3)], ", ") + ")"
}
