package mip6dconf

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// Limits of mip6d on lifetimes, in seconds.
const (
	maxBindingLifetime       = 262140
	maxRoutedBindingLifetime = 420
	worstPreference          = 10
)

// Parse reads a configuration. Its source is named in positions. include gives
// the files that fit the pattern of an include statement, sorted, and may be
// nil where there are none to be had; the pattern is read as glob(7) has it,
// relative to the directory in which mip6d was started. The first breach of the
// grammar ends the reading with an *Error, as does an error of include.
func Parse(s Source, include func(pattern string) ([]Source, error)) (*File, error) {
	p := parser{lexer: lexer{translation.NewScanner(s.Name, s.Text)}, include: include, left: MaxSize - len(s.Text)}
	if p.left < 0 {
		p.Text = nil
		return nil, p.tooLarge(p.Position(), fmt.Sprintf("%d octets", len(s.Text)))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	options, blocks := p.file.options(), p.file.blocks()
	for first := true; first || p.token.kind != tokenEnd; first = false {
		if err := p.statement(options, blocks); err != nil {
			return nil, err
		}
	}
	return &p.file, nil
}

type parser struct {
	lexer           // of the file that is being read
	token    token  // the next one
	waiting  []file // those to be read behind it, the next one last
	depth    int    // how many files that one is included by
	include  func(pattern string) ([]Source, error)
	left     int // octets that may still be read
	included int // files
	file     File
}

// file is a file that is to be read, or read on.
type file struct {
	lexer
	depth int
}

// advance moves to the next token, into files that are included and out of them.
func (p *parser) advance() error {
	for {
		t := p.next()
		switch {
		case t.kind == tokenEnd && len(p.waiting) > 0:
			last := len(p.waiting) - 1
			p.lexer, p.depth = p.waiting[last].lexer, p.waiting[last].depth
			p.waiting = p.waiting[:last]
		case t.is("include"):
			if err := p.enter(); err != nil {
				return err
			}
		default:
			p.token = t
			return nil
		}
	}
}

// enter goes on with the files of an include statement.
func (p *parser) enter() error {
	pattern := p.next()
	if pattern.kind != tokenQuoted || pattern.text == "" {
		return wrong(pattern, `a pattern of file names in double quotes`)
	}
	if p.depth == MaxDepth {
		return &Error{Position: pattern.position, Offending: pattern.text, Expected: fmt.Sprintf("no more than %d files that include one another", MaxDepth)}
	}
	if p.include == nil {
		return &Error{Position: pattern.position, Offending: pattern.text, Expected: "no include, since other files cannot be read here"}
	}
	files, err := p.include(pattern.text)
	if err != nil {
		return fmt.Errorf("%v: include: %w", pattern.position, err)
	}
	if len(files) == 0 {
		p.file.NotFound = append(p.file.NotFound, Setting[string]{Given: true, Value: pattern.text, Position: pattern.position})
		return nil
	}
	p.waiting = append(p.waiting, file{p.lexer, p.depth})
	for _, s := range slices.Backward(files) {
		if p.left -= len(s.Text); p.left < 0 {
			return p.tooLarge(pattern.position, pattern.text)
		}
		if p.included++; p.included > MaxIncluded {
			return &Error{Position: pattern.position, Offending: pattern.text, Expected: fmt.Sprintf("at most %d files that are included", MaxIncluded)}
		}
		p.waiting = append(p.waiting, file{lexer{translation.NewScanner(s.Name, s.Text)}, p.depth + 1})
	}
	last := len(p.waiting) - 1
	p.lexer, p.depth = p.waiting[last].lexer, p.waiting[last].depth
	p.waiting = p.waiting[:last]
	return nil
}

func (p *parser) tooLarge(at uci.Position, what string) error {
	return &Error{Position: at, Offending: what, Expected: fmt.Sprintf("a configuration of at most %d octets", MaxSize)}
}

// wrong makes the error that another token stands where something is expected.
func wrong(t token, expected string) error {
	return &Error{Position: t.position, Offending: t.text, Expected: expected}
}

// take returns the token and moves on.
func (p *parser) take() (token, error) {
	t := p.token
	return t, p.advance()
}

func (p *parser) expectMark(c string) error {
	if !p.token.mark(c) {
		return wrong(p.token, "'"+c+"'")
	}
	return p.advance()
}

// statement reads an option with its semicolon, or a block.
func (p *parser) statement(options map[string]option, blocks map[string]block) error {
	name := p.token
	if b, ok := blocks[name.text]; ok && name.kind == tokenWord {
		if err := p.advance(); err != nil {
			return err
		}
		return b(p, name.position)
	}
	p.file.Given = append(p.file.Given, Given{name.text, name.position})
	return p.option(options, "an option of mip6d")
}

// option reads one option with its semicolon.
func (p *parser) option(options map[string]option, expected string) error {
	name := p.token
	read, ok := options[name.text]
	if !ok || name.kind != tokenWord {
		return wrong(name, expected+translation.Nearest(name.text, maps.Keys(options)))
	}
	if err := p.advance(); err != nil {
		return err
	}
	before, err := read(p, name.position)
	if err != nil {
		return err
	}
	if before.Given {
		p.file.Repeated = append(p.file.Repeated, Repeated{Option: name.text, Position: before.Position})
	}
	return p.expectMark(";")
}

// options reads options up to the end of their block, one at least.
func (p *parser) options(what string, options map[string]option) error {
	if err := p.expectMark("{"); err != nil {
		return err
	}
	for first := true; first || !p.token.mark("}"); first = false {
		if err := p.option(options, "an option of "+what); err != nil {
			return err
		}
	}
	return p.advance()
}

func (p *parser) quoted(expected string) (token, error) {
	if p.token.kind != tokenQuoted || p.token.text == "" {
		return token{}, wrong(p.token, expected)
	}
	return p.take()
}

func (p *parser) address() (netip.Addr, error) {
	if p.token.kind != tokenAddress {
		return netip.Addr{}, wrong(p.token, "an IPv6 address")
	}
	t, err := p.take()
	return t.address, err
}

// optionalAddress is an address, or the unspecified one where there is none.
func (p *parser) optionalAddress() (netip.Addr, error) {
	if p.token.kind != tokenAddress {
		return netip.IPv6Unspecified(), nil
	}
	return p.address()
}

// prefix reads ADDRESS/LENGTH; the bits behind the length are kept.
func (p *parser) prefix() (x Prefix, err error) {
	x.Position = p.token.position
	a, err := p.address()
	if err != nil {
		return x, err
	}
	if err := p.expectMark("/"); err != nil {
		return x, err
	}
	if p.token.kind != tokenNumber || p.token.number > 128 {
		return x, wrong(p.token, "a prefix length from 0 to 128")
	}
	x.Prefix = netip.PrefixFrom(a, int(p.token.number))
	return x, p.advance()
}

// prefixes reads (ADDRESS/LENGTH, …), which may be missing.
func (p *parser) prefixes() (all []Prefix, err error) {
	if !p.token.mark("(") {
		return nil, nil
	}
	for first := true; first || p.token.mark(","); first = false {
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.prefix()
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, p.expectMark(")")
}
