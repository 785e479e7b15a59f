package store

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// A journal grows with each record, and of most things only the last one counts. A shorter
// journal is written beside it by a goroutine, of what was in it at that moment, so that
// nobody waits for that; what was appended meanwhile is added when it takes the name.

// condensing is a shorter journal that is being written.
type condensing struct {
	from int64 // octets of the old one that it is made of
	done chan condensed
}

// condensed is what became of it.
type condensed struct {
	file *os.File // not yet the journal
	size int64
	err  error
}

// Grown reports whether so much was appended that Condense is worth the time: then each
// record is written about twice, however long the journal lives. While that goes on, not.
func (j *Journal) Grown() bool { return j.condensing == nil && j.size > 2*j.begun+journalSlack }

// Condense begins to write a journal of some of the present records, those that pick
// returns, in order. It goes on in a goroutine that calls pick, and takes the place of the
// present one with one of the next records that are appended. Its failure is an error of
// Append.
func (j *Journal) Condense(pick func(records [][]byte) ([][]byte, error)) {
	if j.condensing != nil {
		return
	}
	c := &condensing{from: j.size, done: make(chan condensed, 1)}
	j.condensing = c
	go func(file *os.File, path, stamp string) {
		f, size, err := condense(io.NewSectionReader(file, 0, c.from), path, stamp, pick)
		c.done <- condensed{f, size, err}
	}(j.file, j.path+temporary, j.stamp)
}

func condense(old *io.SectionReader, path, stamp string, pick func([][]byte) ([][]byte, error)) (*os.File, int64, error) {
	content := make([]byte, old.Size())
	if _, err := io.ReadFull(old, content); err != nil {
		return nil, 0, err
	}
	_, records, err := parseJournal(content)
	if err != nil {
		return nil, 0, err
	}
	if records, err = pick(records); err != nil {
		return nil, 0, err
	}
	return writeJournal(path, stamp, slices.Values(records))
}

// changeOver goes on with the condensed journal if there is one by now.
func (j *Journal) changeOver() error {
	if j.condensing == nil {
		return nil
	}
	select {
	case next := <-j.condensing.done:
		from := j.condensing.from
		j.condensing = nil
		err := next.err
		if err == nil {
			err = j.replace(next, from)
		}
		if err != nil {
			return fmt.Errorf("make it shorter: %w", err)
		}
		return nil
	default:
		return nil
	}
}

// replace gives a condensed journal what is in this one from there on, and its name.
func (j *Journal) replace(next condensed, from int64) error {
	tail := make([]byte, j.size-from)
	_, err := j.file.ReadAt(tail, from)
	if err == nil {
		_, err = next.file.Write(tail)
	}
	if err == nil {
		err = os.Rename(next.file.Name(), j.path)
	}
	if err != nil {
		discard(next.file)
		return err
	}
	j.file.Close()
	j.file, j.size, j.begun = next.file, next.size+int64(len(tail)), next.size
	return nil
}

// abandon waits for a condensed journal and removes it.
func (j *Journal) abandon() {
	if j.condensing == nil {
		return
	}
	if next := <-j.condensing.done; next.err == nil {
		discard(next.file)
	}
	j.condensing = nil
}
