package mip6dconf

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"roam6/internal/uci"
)

// kind is what a token is.
type kind uint8

const (
	tokenEnd     kind = iota
	tokenMark         // { } ; / ( ) ,
	tokenWord         // a keyword, enabled, block …
	tokenQuoted       // text is without the quotes
	tokenNumber       // of at most 32 bits
	tokenDecimal      // with a point
	tokenAddress
	tokenBad // an octet that cannot begin a token, a number too large, quotes that do not end
)

// token is one token; the field of its kind is set beside text.
type token struct {
	kind     kind
	text     string
	position uci.Position
	number   uint32
	duration time.Duration // of tokenDecimal, as seconds
	address  netip.Addr
}

// is reports whether the token is a word.
func (t token) is(word string) bool { return t.kind == tokenWord && t.text == word }

// mark reports whether the token is that mark.
func (t token) mark(c string) bool { return t.kind == tokenMark && t.text == c }

// lexer splits a file into tokens.
type lexer struct {
	name            string
	src             []byte
	at              int
	line, lineStart int
}

func newLexer(s Source) lexer { return lexer{name: s.Name, src: s.Text, line: 1} }

// wordByte reports whether c can be part of a keyword, a number or an address.
func wordByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("_-.:", c) >= 0
}

func (l *lexer) position() uci.Position {
	return uci.Position{File: l.name, Line: l.line, Column: l.at - l.lineStart + 1}
}

// space passes over what is between tokens.
func (l *lexer) space() {
	for l.at < len(l.src) {
		switch l.src[l.at] {
		case ' ', '\t', '\r':
			l.at++
		case '\n':
			l.at++
			l.line, l.lineStart = l.line+1, l.at
		case '#':
			for l.at < len(l.src) && l.src[l.at] != '\n' {
				l.at++
			}
		default:
			return
		}
	}
}

func (l *lexer) next() token {
	l.space()
	t := token{position: l.position()}
	if l.at == len(l.src) {
		return t
	}
	start := l.at
	switch c := l.src[l.at]; {
	case strings.IndexByte("{};/(),", c) >= 0:
		l.at++
		t.kind, t.text = tokenMark, string(c)
	case c == '"':
		return l.quoted(t)
	case wordByte(c):
		for l.at < len(l.src) && wordByte(l.src[l.at]) {
			l.at++
		}
		t.text = string(l.src[start:l.at])
		t.classify()
	default:
		l.at++
		t.kind, t.text = tokenBad, string(l.src[start:l.at])
	}
	return t
}

// quoted reads text in double quotes, which ends on its line; a backslash is a
// character as any other.
func (l *lexer) quoted(t token) token {
	start := l.at
	for l.at++; l.at < len(l.src) && l.src[l.at] != '\n'; l.at++ {
		if l.src[l.at] == '"' {
			l.at++
			t.kind, t.text = tokenQuoted, string(l.src[start+1:l.at-1])
			return t
		}
	}
	t.kind, t.text = tokenBad, string(l.src[start:l.at])
	return t
}

// classify finds out what the word in text is.
func (t *token) classify() {
	t.kind = tokenWord
	whole, fraction, decimal := strings.Cut(t.text, ".")
	switch {
	case allDigits(t.text):
		t.kind = tokenNumber
		n, err := strconv.ParseUint(t.text, 10, 32)
		if err != nil {
			t.kind = tokenBad
		}
		t.number = uint32(n)
	case decimal && allDigits(whole) && allDigits(fraction):
		t.kind = tokenDecimal
		n, err := strconv.ParseUint(whole, 10, 32)
		if err != nil {
			t.kind = tokenBad
		}
		t.duration = time.Duration(n)*time.Second + fractionOfSecond(fraction)
	default:
		a, err := netip.ParseAddr(t.text)
		if err == nil && a.Is6() && a.Zone() == "" {
			t.kind, t.address = tokenAddress, a
		}
	}
}

// fractionOfSecond reads the digits behind the point, down to a nanosecond.
func fractionOfSecond(digits string) time.Duration {
	var d time.Duration
	unit := time.Second
	for i := 0; i < len(digits) && unit > 1; i++ {
		unit /= 10
		d += time.Duration(digits[i]-'0') * unit
	}
	return d
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
