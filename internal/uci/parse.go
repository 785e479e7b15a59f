package uci

import (
	"bytes"
	"fmt"
	"strings"
)

// Parse reads a configuration file. name stands for the file in positions; it
// need not exist. The first breach of the grammar ends the reading with an
// *Error: what follows it could mean anything.
func Parse(name string, src []byte) (*File, error) {
	s := scanner{name: name, src: src, line: 1}
	if len(src) > MaxSize {
		return nil, s.errorAt(MaxSize, "", fmt.Sprintf("the end of the file: at most %d octets are read", MaxSize))
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		return nil, s.errorAt(i, "\x00", "text without NUL octets")
	}
	p := parser{scanner: s, byName: map[string]*section{}, count: map[string]int{}}
	for p.nextLine() {
		if err := p.parseLine(); err != nil {
			return nil, err
		}
	}
	return p.file(), nil
}

type parser struct {
	scanner
	sections []*section
	byName   map[string]*section
	count    map[string]int // sections by type
	serial   int            // libuci's counter for generated names
	current  *section
}

// section is a Section under construction. An option that is set again moves
// to the end, leaving a gap behind.
type section struct {
	Section
	options []*Option // nil: a gap
	index   map[string]int
}

func (p *parser) parseLine() error {
	p.skipSpace()
	for {
		p.option = ""
		word, at := p.keyword()
		if word == "" || word[0] == '#' {
			return nil
		}
		var err error
		switch word {
		case "p", "package":
			err = p.parsePackage()
		case "c", "config":
			err = p.parseConfig(at)
		case "o", "option":
			err = p.parseOption(at, "option")
		case "l", "list":
			err = p.parseOption(at, "list")
		default:
			expected := "config, option or list, then a space and its arguments"
			if strings.TrimSpace(word) == "" {
				expected = "another statement or the end of the file after a semicolon"
			}
			return &Error{Position: at, Offending: strings.TrimRight(word, "\r\n"), Expected: expected}
		}
		if err != nil {
			return err
		}
	}
}

// parsePackage checks a package line and ignores it, as libuci does when it
// loads a single file.
func (p *parser) parsePackage() error {
	name, err := p.argument()
	if err != nil {
		return err
	}
	if !validPackage(name.Text) {
		return p.unexpected(name, "a package name of letters, digits, _ and -")
	}
	return p.endOfStatement()
}

func (p *parser) parseConfig(at Position) error {
	typ, err := p.argument()
	if err != nil {
		return err
	}
	if !validType(typ.Text) {
		return p.unexpected(typ, "a section type of printable characters without space")
	}
	name, err := p.argument()
	if err != nil {
		return err
	}
	if name.Text != "" && !ValidName(name.Text) {
		return p.unexpected(name, "a section name of letters, digits and _")
	}
	if err := p.endOfStatement(); err != nil {
		return err
	}
	return p.openSection(at, typ, name)
}

func (p *parser) openSection(at Position, typ, name Value) error {
	if old := p.byName[name.Text]; old != nil {
		if old.Type != typ.Text {
			return p.unexpected(typ, fmt.Sprintf("the type %s of the section %s begun at %v, or another name",
				old.Type, old.Name, old.Position))
		}
		p.current = old
		return nil
	}
	sec := &section{
		Section: Section{
			Type: typ.Text, Name: name.Text, Anonymous: name.Text == "", Index: p.count[typ.Text],
			Position: at, NamePosition: name.Position,
		},
		index: map[string]int{},
	}
	p.count[typ.Text]++
	p.serial++
	if sec.Anonymous {
		p.serial++
		sec.Name = generatedName(p.serial, sec.Type)
		sec.NamePosition = typ.Position
	}
	// A generated name that is taken leaves the name to the earlier section.
	if p.byName[sec.Name] == nil {
		p.byName[sec.Name] = sec
	}
	p.sections = append(p.sections, sec)
	p.current = sec
	return nil
}

// generatedName is the name libuci gives to an anonymous section: a serial
// number and a hash (Bernstein's) of the type.
func generatedName(serial int, typ string) string {
	hash := uint32(5381)
	for i := range len(typ) {
		hash = hash*33 + uint32(typ[i])
	}
	return fmt.Sprintf("cfg%02x%04x", serial, hash&0xffff)
}

func (p *parser) parseOption(at Position, keyword string) error {
	if p.current == nil {
		return &Error{Position: at, Offending: keyword, Expected: "a config line before the first option or list"}
	}
	name, err := p.argument()
	if err != nil {
		return err
	}
	if !ValidName(name.Text) {
		return p.unexpected(name, "an option name of letters, digits and _")
	}
	p.option = name.Text
	value, err := p.argument()
	if err != nil {
		return err
	}
	if err := p.endOfStatement(); err != nil {
		return err
	}
	switch {
	case keyword == "list":
		p.current.add(name, value)
	case value.Text != "":
		p.current.set(name, value)
	}
	// An option without a value changes nothing: libuci does not even remove
	// the value it had before.
	return nil
}

// set gives an option its only value. An equal value changes nothing.
func (s *section) set(name, value Value) {
	if i, ok := s.index[name.Text]; ok {
		o := s.options[i]
		if !o.List && o.Values[0].Text == value.Text {
			return
		}
		s.options[i] = nil
	}
	s.index[name.Text] = len(s.options)
	s.options = append(s.options, &Option{Name: name.Text, Values: []Value{value}, Position: name.Position})
}

// add appends to a list; an option that was there becomes its first item.
func (s *section) add(name, value Value) {
	var before []Value
	if i, ok := s.index[name.Text]; ok {
		o := s.options[i]
		if o.List {
			o.Values = append(o.Values, value)
			return
		}
		before = o.Values
		s.options[i] = nil
	}
	s.index[name.Text] = len(s.options)
	s.options = append(s.options, &Option{Name: name.Text, List: true, Values: append(before, value), Position: name.Position})
}

// endOfStatement checks that nothing follows but an empty word, which libuci
// does not mind.
func (p *parser) endOfStatement() error {
	extra, err := p.argument()
	if err != nil {
		return err
	}
	if extra.Text != "" {
		return p.unexpected(extra, "the end of the line; a value with spaces stands in quotes")
	}
	return nil
}

func (p *parser) unexpected(v Value, expected string) error {
	return &Error{Position: v.Position, Option: p.option, Offending: v.Text, Expected: expected}
}

func (p *parser) file() *File {
	f := &File{Name: p.name, Ignored: p.cut, Sections: make([]Section, 0, len(p.sections))}
	for _, sec := range p.sections {
		if len(sec.options) > 0 {
			sec.Options = make([]Option, 0, len(sec.options))
		}
		for _, o := range sec.options {
			if o != nil {
				sec.Options = append(sec.Options, *o)
			}
		}
		f.Sections = append(f.Sections, sec.Section)
	}
	return f
}
