package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"
)

// Reader reads the entries of a trace.
type Reader struct {
	Header Header
	lines  *bufio.Scanner
	clock  clock
	line   int
}

// NewReader reads the header of a trace.
func NewReader(r io.Reader) (*Reader, error) {
	x := &Reader{lines: bufio.NewScanner(r)}
	x.lines.Buffer(nil, MaxLine)
	line, err := x.next()
	switch {
	case err == io.EOF:
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	case err != nil:
		return nil, err
	}
	if err := strict(line, &x.Header); err != nil {
		return nil, fmt.Errorf("%w: line 1: %w", ErrFormat, err)
	}
	if x.Header.Format != Format {
		return nil, fmt.Errorf("%w: it has format %d, and this version reads %d", ErrFormat, x.Header.Format, Format)
	}
	if y := x.Header.Start.Year(); y < 1970 || y > 2200 {
		return nil, fmt.Errorf("%w: it starts in the year %d", ErrFormat, y)
	}
	x.clock.start = x.Header.Start
	return x, nil
}

func (r *Reader) next() ([]byte, error) {
	if r.lines.Scan() {
		r.line++
		return r.lines.Bytes(), nil
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d is longer than %d octets", r.line+1, MaxLine)
	case err != nil:
		return nil, err
	}
	return nil, io.EOF
}

// Next reads an entry. Its error is io.EOF at the end, and io.ErrUnexpectedEOF where the
// last line is incomplete, as a full disk or a lost connection leave it.
func (r *Reader) Next() (Entry, error) {
	line, err := r.next()
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	if err = strict(line, &e); err == nil {
		err = e.validate()
	}
	if err == nil {
		return e, nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && !r.lines.Scan() {
		return Entry{}, io.ErrUnexpectedEOF
	}
	return Entry{}, fmt.Errorf("line %d: %w", r.line, err)
}

func (e Entry) validate() error {
	is := 0
	for _, there := range [...]bool{e.Begin != nil, e.Event != nil, e.Reconfigure != nil, e.End, e.Gap > 0} {
		if there {
			is++
		}
	}
	switch {
	case is != 1:
		return errors.New("an entry is one of begin, event, reconfigure, end and gap")
	case e.Gap == 0 && e.Role == "":
		return errors.New("an entry has a role")
	case !within(e.At):
		return fmt.Errorf("%v is no time since the start of a trace", time.Duration(e.At))
	case e.Next != nil && !within(max(*e.Next, 0)):
		return fmt.Errorf("%v is no time since the start of a trace", time.Duration(*e.Next))
	}
	return nil
}
