// Package uci reads and writes the configuration files of OpenWrt's Unified
// Configuration Interface with exactly libuci's grammar, in its strict mode:
// what `uci show` reads from a file, Parse reads, and what it refuses, Parse
// refuses, with the line and column that libuci does not tell. Two things are
// stricter: a NUL octet is an error where libuci loses the rest of the line,
// and a file has a size limit.
//
// The grammar in short:
//
//	package NAME             ignored when a single file is read
//	config TYPE [NAME]       begins a section, or continues the one of that name
//	    option NAME [VALUE]
//	    list NAME [VALUE]
//
// Each keyword may be shortened to its first letter. A word is a sequence of
// bare characters, '..' (taken literally) and ".." (a backslash quotes the next
// character), joined without space. Quotes span lines; a backslash before the
// end of the line continues it. In a bare word # begins a comment, wherever it
// stands.
package uci

import (
	"fmt"
	"strconv"
)

// MaxSize is the largest file that Parse takes, in octets: a home agent with a hundred
// thousand mobiles has one of 20 MB.
const MaxSize = 1 << 25

// Position is a place in a file. Line and Column count from one, columns in
// octets. The zero Position is unknown.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Before reports whether p is earlier in its file than q.
func (p Position) Before(q Position) bool {
	return p.Line < q.Line || p.Line == q.Line && p.Column < q.Column
}

// File is a parsed configuration file: what libuci calls a package.
type File struct {
	Name     string
	Sections []Section
	// Ignored are the pieces of text that libuci passes over without a word:
	// a semicolon directly after a bare word ends the line for it, so that in
	// `option a b; option c d` the second option is lost.
	Ignored []Value
}

// Count is the number of sections of a type.
func (f *File) Count(sectionType string) (n int) {
	for i := range f.Sections {
		if f.Sections[i].Type == sectionType {
			n++
		}
	}
	return n
}

// Section is one section with its options in the order in which `uci export`
// shows them.
type Section struct {
	Type string
	// Name is the section's name; for an anonymous section the one that libuci
	// generates, such as cfg0230b1.
	Name      string
	Anonymous bool
	// Index counts the sections of the same type from zero: the number in
	// `uci get roam6.@TYPE[INDEX]`.
	Index   int
	Options []Option

	Position     Position // of the word config
	NamePosition Position // of the name, or of the type when anonymous
}

// Ref names the section as the uci command does: by its name, or as
// @TYPE[INDEX] when it is anonymous.
func (s *Section) Ref() string {
	if s.Anonymous {
		return "@" + s.Type + "[" + strconv.Itoa(s.Index) + "]"
	}
	return s.Name
}

// Option returns the option of that name.
func (s *Section) Option(name string) (Option, bool) {
	for _, o := range s.Options {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

// Option is an option with one value that is not empty, or a list of one or
// more values that may be.
type Option struct {
	Name     string
	List     bool
	Values   []Value
	Position Position // of the name, where it was given last
}

// Value is the text of a value, unquoted, and the place where it begins.
type Value struct {
	Text     string
	Position Position
}

// Error is a place where a file breaks the grammar.
type Error struct {
	Position
	// Option is the name of the option whose statement is broken, if it got
	// that far. A caller that knows it to be secret must not show Offending.
	Option string
	// Offending is the text found, empty at the end of a line or file.
	Offending string
	// Expected says what should stand there.
	Expected string
}

func (e *Error) Error() string {
	if e.Offending == "" {
		return fmt.Sprintf("%v: expected %s", e.Position, e.Expected)
	}
	return fmt.Sprintf("%v: %q: expected %s", e.Position, Shorten(e.Offending), e.Expected)
}

// Shorten cuts offending text, so that an error stays on one line of a terminal.
func Shorten(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}

// ValidName reports whether s can name a section or an option.
func ValidName(s string) bool {
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// validPackage reports whether s can name a package.
func validPackage(s string) bool {
	for i := range len(s) {
		if !nameByte(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// validType reports whether s can be the type of a section: printable, without
// spaces.
func validType(s string) bool {
	for i := range len(s) {
		if s[i] < 33 || s[i] > 126 {
			return false
		}
	}
	return s != ""
}

func nameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
