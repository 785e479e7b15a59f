package radvdconf

import (
	"net/netip"
	"strings"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// kind is what a token is.
type kind uint8

const (
	tokenEnd     kind = iota
	tokenMark         // { } ; /
	tokenWord         // a name, a keyword, on, off, infinity, low …
	tokenQuoted       // text is without the quotes
	tokenNumber       // of at most 32 bits
	tokenSigned       // with a minus
	tokenDecimal      // with a point
	tokenAddress
	tokenNotAddress // an address after !
	tokenBad        // an octet that cannot begin a token, or a number too large
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

// is reports whether the token is a word, in any case.
func (t token) is(word string) bool { return t.kind == tokenWord && strings.EqualFold(t.text, word) }

// mark reports whether the token is that mark.
func (t token) mark(c string) bool { return t.kind == tokenMark && t.text == c }

// lexer splits a file into tokens.
type lexer struct{ translation.Scanner }

// wordByte reports whether c can be part of a word: what radvd has in its names,
// # inside of a word included.
func wordByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
		strings.IndexByte("`~!@#$%^&*()_-+=:[]<>,.?\\", c) >= 0
}

func (l *lexer) next() token {
	l.Space()
	t := token{position: l.Position()}
	if l.Ended() {
		return t
	}
	switch c := l.Text[l.At]; {
	case strings.IndexByte("{};/", c) >= 0:
		l.At++
		t.kind, t.text = tokenMark, string(c)
	case c == '"':
		return l.quoted(t)
	case wordByte(c):
		t.text = l.Word(wordByte)
		t.classify()
	default:
		l.At++
		t.kind, t.text = tokenBad, string(l.Text[l.At-1:l.At])
	}
	return t
}

// quoted reads text in double quotes, in which a backslash only keeps a quote
// from ending it: radvd leaves both where they are.
func (l *lexer) quoted(t token) token {
	start := l.At
	for l.At++; l.At < len(l.Text); l.At++ {
		switch l.Text[l.At] {
		case '"':
			l.At++
			t.kind, t.text = tokenQuoted, string(l.Text[start+1:l.At-1])
			return t
		case '\\':
			if l.At+1 < len(l.Text) && l.Text[l.At+1] != '\n' {
				l.At++
			}
		case '\n':
			l.Newline()
			l.At--
		}
	}
	t.kind, t.text = tokenBad, string(l.Text[start:])
	return t
}

// classify finds out what the word in text is.
func (t *token) classify() {
	if n, digits, fits := translation.Number(t.text); digits {
		t.kind, t.number = numeric(tokenNumber, fits), n
		return
	}
	if d, decimal, fits := translation.Seconds(t.text); decimal {
		t.kind, t.duration = numeric(tokenDecimal, fits), d
		return
	}
	t.kind = tokenWord
	if digits, minus := strings.CutPrefix(t.text, "-"); minus {
		if _, signed, _ := translation.Number(digits); signed {
			t.kind = tokenSigned
			return
		}
	}
	text, not := strings.CutPrefix(t.text, "!")
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return
	}
	t.kind, t.address = tokenAddress, a
	if not {
		t.kind = tokenNotAddress
	}
}

// numeric is the kind of a number that fits, or not.
func numeric(k kind, fits bool) kind {
	if !fits {
		return tokenBad
	}
	return k
}
