package main

import (
	"bytes"
	"fmt"
)

// parseHex reads octets in hexadecimal. White space, colons and 0x may stand
// before any octet, and an offset as of tcpdump -x at the beginning of a line.
func parseHex(text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text)/2)
	lineStart := true
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n':
			lineStart = true
			i++
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == ':':
			i++
			continue
		case c == '0' && i+1 < len(text) && (text[i+1] == 'x' || text[i+1] == 'X'):
			i += 2
			if n := offsetColumn(text[i:], len(out)); lineStart && n > 0 {
				i += n
			}
			lineStart = false
			continue
		}
		lineStart = false
		high, ok := hexDigit(c)
		if !ok {
			return nil, fmt.Errorf("%q at position %d is not hexadecimal", rune(c), i+1)
		}
		if i+1 == len(text) {
			return nil, fmt.Errorf("half an octet at position %d, the end", i+1)
		}
		low, ok := hexDigit(text[i+1])
		if !ok {
			if bytes.IndexByte([]byte(" \t\r\n:"), text[i+1]) >= 0 {
				return nil, fmt.Errorf("half an octet at position %d", i+1)
			}
			return nil, fmt.Errorf("%q at position %d is not hexadecimal", rune(text[i+1]), i+2)
		}
		out = append(out, high<<4|low)
		i += 2
	}
	return out, nil
}

// offsetColumn returns the length of "0010: " at the beginning of text, if it
// is the offset given; otherwise 0.
func offsetColumn(text []byte, offset int) int {
	column := fmt.Appendf(nil, "%04x:", offset)
	n := len(column)
	if len(text) <= n || !bytes.EqualFold(text[:n], column) || text[n] != ' ' && text[n] != '\t' {
		return 0
	}
	return n
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}
