package radvdconf

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// defaultMaxInterval is radvd's MaxRtrAdvInterval where none is given.
const defaultMaxInterval = 600 * time.Second

// Parse reads a configuration. name stands for the file in positions. The first
// breach of the grammar ends the reading with an *Error, as do an interface
// that comes twice and a prefix length beyond 128, with which radvd does not
// start either.
func Parse(name string, src []byte) (*File, error) {
	p := parser{lexer: lexer{translation.NewScanner(name, src)}, names: map[string]bool{}}
	if len(src) > MaxSize {
		p.Text = src[:0]
		return nil, &Error{Position: p.Position(), Offending: fmt.Sprintf("%d octets", len(src)), Expected: fmt.Sprintf("a file of at most %d octets", MaxSize)}
	}
	p.advance()
	for p.token.kind != tokenEnd || len(p.file.Interfaces) == 0 {
		if err := p.parseInterface(); err != nil {
			return nil, err
		}
	}
	return &p.file, nil
}

type parser struct {
	lexer
	token token // the next one
	file  File
	names map[string]bool // of interfaces
}

// advance returns the token and moves to the one after it.
func (p *parser) advance() token {
	t := p.token
	p.token = p.next()
	return t
}

// wrong makes the error that another token stands where something is expected.
func wrong(t token, expected string) error {
	return &Error{Position: t.position, Offending: t.text, Expected: expected}
}

func (p *parser) expectMark(c string) error {
	if !p.token.mark(c) {
		return wrong(p.token, "'"+c+"'")
	}
	p.advance()
	return nil
}

func (p *parser) parseInterface() error {
	if !p.token.is("interface") {
		return wrong(p.token, "interface")
	}
	p.advance()
	if p.token.kind != tokenWord && p.token.kind != tokenQuoted || p.token.text == "" {
		return wrong(p.token, "the name of an interface")
	}
	name := p.advance()
	if p.names[name.text] {
		return wrong(name, "another interface: this one has a block already")
	}
	p.names[name.text] = true
	i := Interface{Name: name.text, Position: name.position}
	if err := p.expectMark("{"); err != nil {
		return err
	}
	options := i.options()
	blocks := i.blocks()
	for !p.token.mark("}") {
		keyword := p.token
		block, ok := blocks[strings.ToLower(keyword.text)]
		if ok && keyword.kind == tokenWord {
			p.advance()
			if err := block(p, Head{Position: keyword.position, Interval: i.MaxRtrAdvInterval.or(defaultMaxInterval)}); err != nil {
				return err
			}
			continue
		}
		if err := p.parseOption(options, "an option or a block of interface, or '}'"); err != nil {
			return err
		}
	}
	p.file.Interfaces = append(p.file.Interfaces, i)
	return p.endBlock()
}

// endBlock passes over the end of a block.
func (p *parser) endBlock() error {
	if err := p.expectMark("}"); err != nil {
		return err
	}
	return p.expectMark(";")
}

// option reads the value of an option whose name was at, and reports whether it
// was given before, and where.
type option func(p *parser, at uci.Position) (before Setting[struct{}], err error)

// parseOption reads one option with its semicolon.
func (p *parser) parseOption(options map[string]option, expected string) error {
	name := p.token
	read, ok := options[strings.ToLower(name.text)]
	if !ok || name.kind != tokenWord {
		return wrong(name, expected+translation.Nearest(name.text, maps.Keys(options)))
	}
	p.advance()
	before, err := read(p, name.position)
	if err != nil {
		return err
	}
	if before.Given {
		p.file.Repeated = append(p.file.Repeated, Repeated{Option: name.text, Position: before.Position})
	}
	return p.expectMark(";")
}

// optionalBlock reads the options of a block, which may be missing.
func (p *parser) optionalBlock(what string, options map[string]option) error {
	if p.token.mark(";") {
		p.advance()
		return nil
	}
	if err := p.expectMark("{"); err != nil {
		return err
	}
	for !p.token.mark("}") {
		if err := p.parseOption(options, "an option of "+what+", or '}'"); err != nil {
			return err
		}
	}
	return p.endBlock()
}

// list reads { item; … };
func (p *parser) list(item func() error) error {
	if err := p.expectMark("{"); err != nil {
		return err
	}
	for first := true; first || !p.token.mark("}"); first = false {
		if err := item(); err != nil {
			return err
		}
		if err := p.expectMark(";"); err != nil {
			return err
		}
	}
	return p.endBlock()
}

func (p *parser) address() (netip.Addr, error) {
	if p.token.kind != tokenAddress {
		return netip.Addr{}, wrong(p.token, "an IPv6 address")
	}
	return p.advance().address, nil
}

// prefix reads address/length.
func (p *parser) prefix() (netip.Prefix, error) {
	a, err := p.address()
	if err != nil {
		return netip.Prefix{}, err
	}
	if err := p.expectMark("/"); err != nil {
		return netip.Prefix{}, err
	}
	if p.token.kind != tokenNumber || p.token.number > 128 {
		return netip.Prefix{}, wrong(p.token, "a prefix length from 0 to 128")
	}
	return netip.PrefixFrom(a, int(p.advance().number)), nil
}
