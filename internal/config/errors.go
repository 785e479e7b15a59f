package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"roam6/internal/uci"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	uci.Position
	Section string // as uci.Section.Ref has it; empty outside of sections
	Option  string // empty where the section as a whole is meant
	// Offending is the text found; empty where something is missing. It never
	// holds a key.
	Offending string
	Expected  string
}

func (e *Error) Error() string {
	if e.subject() == "" {
		return e.Position.String() + ": " + e.complaint()
	}
	return fmt.Sprintf("%s (%v): %s", e.subject(), e.Position, e.complaint())
}

// Message is the error without its position.
func (e *Error) Message() string {
	if e.subject() == "" {
		return e.complaint()
	}
	return e.subject() + ": " + e.complaint()
}

func (e *Error) subject() string {
	switch {
	case e.Option != "" && e.Section != "":
		return fmt.Sprintf("option '%s' in section '%s'", e.Option, e.Section)
	case e.Section != "":
		return fmt.Sprintf("section '%s'", e.Section)
	default:
		return ""
	}
}

func (e *Error) complaint() string {
	if e.Offending == "" {
		return "expected " + e.Expected
	}
	return fmt.Sprintf("%q: expected %s", e.Offending, e.Expected)
}

// Errors is everything that is wrong with a configuration, in the order of the
// file; never empty.
type Errors []*Error

func (l Errors) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As the single errors.
func (l Errors) Unwrap() []error {
	out := make([]error, len(l))
	for i, e := range l {
		out[i] = e
	}
	return out
}

// problems collects errors while a configuration is read and checked.
type problems struct{ list Errors }

func (p *problems) add(e *Error) {
	e.Offending = presentable(e.Offending)
	p.list = append(p.list, e)
}

// err returns what was collected, in the order of the file.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b *Error) int {
		switch {
		case a.Before(b.Position):
			return -1
		case b.Before(a.Position):
			return 1
		default:
			return 0
		}
	})
	return p.list
}

// grammar converts an error of the UCI grammar.
func (p *problems) grammar(err error) {
	var e *uci.Error
	if !errors.As(err, &e) {
		p.add(&Error{Expected: err.Error()})
		return
	}
	offending := e.Offending
	if secret(e.Option) && offending != "" {
		offending = withheld
	}
	p.add(&Error{Position: e.Position, Offending: offending, Expected: e.Expected})
}

// withheld stands for a secret in an error.
const withheld = "***"

// presentable makes text fit to be shown: one line, and no key, wherever a
// slip of the pen may have put it.
func presentable(text string) string {
	const limit, keyRun = 60, 24
	run := 0
	for i := range len(text) {
		if !hexDigit(text[i]) {
			run = 0
		} else if run++; run == keyRun {
			return withheld
		}
	}
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
