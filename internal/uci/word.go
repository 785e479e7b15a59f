package uci

import "bytes"

// scanner splits the source into words as libuci does. libuci reads line by
// line and reads on only inside quotes and after a backslash, so the end of
// what has been read so far is a boundary of its own: limit.
type scanner struct {
	name  string
	src   []byte
	pos   int // the next octet
	limit int // end of the lines read so far

	// The line numbered line begins at lineStart; line ends are counted up to
	// counted. See position.
	line, lineStart, counted int

	option string // the option whose statement is being read, for errors
	cut    []Value
}

// nextLine moves to the beginning of the next line; false at the end.
func (s *scanner) nextLine() bool {
	s.pos = s.limit
	if s.pos == len(s.src) {
		return false
	}
	s.readOn()
	return true
}

// readOn replaces what is left of the current line by the next one.
func (s *scanner) readOn() {
	s.pos = s.limit
	if i := bytes.IndexByte(s.src[s.limit:], '\n'); i >= 0 {
		s.limit += i + 1
	} else {
		s.limit = len(s.src)
	}
}

// more reports whether there is another octet on the lines read so far.
func (s *scanner) more() bool { return s.pos < s.limit }

func (s *scanner) skipSpace() {
	for s.more() && isSpace(s.src[s.pos]) {
		s.pos++
	}
}

// isSpace is C's isspace.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// keyword reads the word that begins a statement: up to a space or tab,
// without quoting. The line's end belongs to it, which is why libuci refuses a
// keyword alone on its line, and a quoted value with `;` at the end of a line.
func (s *scanner) keyword() (word string, at Position) {
	for s.more() && isBlank(s.src[s.pos]) {
		s.pos++
	}
	start := s.pos
	for s.more() && !isBlank(s.src[s.pos]) {
		s.pos++
	}
	word = string(s.src[start:s.pos])
	at = s.position(start)
	if s.more() {
		s.pos++
	}
	return word, at
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// argument reads one word with its quoting. It is empty at the end of the line
// and before a semicolon.
func (s *scanner) argument() (Value, error) {
	start := s.pos
	s.skipSpace()
	if s.more() {
		start = s.pos
	}
	v := Value{Position: s.position(start)}
	if s.more() && s.src[s.pos] == ';' {
		s.pos++
		return v, nil
	}
	var text []byte
word:
	for {
		if !s.more() {
			break
		}
		var err error
		switch c := s.src[s.pos]; c {
		case '\'':
			text, err = s.singleQuoted(text)
		case '"':
			text, err = s.doubleQuoted(text)
		case '#':
			s.pos = s.limit
			break word
		case ';':
			// libuci ends the word in place: where nothing was unquoted the
			// terminator falls on the semicolon and hides the rest of the line.
			if s.pos-start == len(text) {
				s.discard()
			}
			break word
		case '\\':
			if s.pos++; s.continues() {
				s.readOn()
				break
			}
			fallthrough
		default:
			text = append(text, s.src[s.pos])
			s.pos++
		}
		if err != nil {
			return v, err
		}
		if !s.more() {
			break
		}
		if isSpace(s.src[s.pos]) {
			s.pos++
			break
		}
	}
	v.Text = string(text)
	return v, nil
}

// continues reports whether the line ends here, after a backslash.
func (s *scanner) continues() bool {
	rest := s.src[s.pos:s.limit]
	return len(rest) == 0 || rest[0] == '\n' || string(rest) == "\r\n"
}

func (s *scanner) singleQuoted(text []byte) ([]byte, error) {
	open := s.pos
	for s.pos++; ; s.readOn() {
		i := bytes.IndexByte(s.src[s.pos:s.limit], '\'')
		if i >= 0 {
			text = append(text, s.src[s.pos:s.pos+i]...)
			s.pos += i + 1
			return text, nil
		}
		text = append(text, s.src[s.pos:s.limit]...)
		if s.limit == len(s.src) {
			return nil, s.errorAt(open, "'", "a closing ' before the end of the file")
		}
	}
}

func (s *scanner) doubleQuoted(text []byte) ([]byte, error) {
	open := s.pos
	s.pos++
	for {
		if !s.more() {
			if s.limit == len(s.src) {
				return nil, s.errorAt(open, `"`, `a closing " before the end of the file`)
			}
			s.readOn()
			continue
		}
		c := s.src[s.pos]
		s.pos++
		switch c {
		case '"':
			return text, nil
		case '\\':
			if s.continues() {
				s.readOn()
				continue
			}
			c = s.src[s.pos]
			s.pos++
		}
		text = append(text, c)
	}
}

// discard passes over the rest of the line, remembering it if there is
// anything but space and comment.
func (s *scanner) discard() {
	rest := bytes.TrimSpace(s.src[s.pos+1 : s.limit])
	if len(rest) > 0 && rest[0] != '#' && rest[0] != ';' {
		s.cut = append(s.cut, Value{Text: string(rest), Position: s.position(s.pos)})
	}
	s.pos = s.limit
}

// position converts an offset. It is quick for offsets that grow; one from
// before the current line costs a new count.
func (s *scanner) position(offset int) Position {
	if offset < s.lineStart {
		s.line, s.lineStart, s.counted = 1, 0, 0
	}
	for s.counted < offset {
		i := bytes.IndexByte(s.src[s.counted:offset], '\n')
		if i < 0 {
			s.counted = offset
			break
		}
		s.counted += i + 1
		s.line, s.lineStart = s.line+1, s.counted
	}
	return Position{File: s.name, Line: s.line, Column: offset - s.lineStart + 1}
}

func (s *scanner) errorAt(offset int, offending, expected string) error {
	return &Error{Position: s.position(offset), Option: s.option, Offending: offending, Expected: expected}
}
