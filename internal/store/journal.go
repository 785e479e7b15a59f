package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxJournal is how large a journal can be, in octets, and MaxRecord one record.
const (
	MaxJournal = 256 << 20
	MaxRecord  = 1 << 20
)

// Journal is a file to which records are appended one by one, each a single write: what
// Append has returned for is with the kernel and survives the end of the process, however
// that comes. Nothing is synchronised with a medium: it is for what matters until the
// host is started again, in a directory in memory. It is for one goroutine.
type Journal struct {
	path       string
	stamp      string
	file       *os.File
	size       int64 // octets in the file
	begun      int64 // that it had when it was written as a whole
	buffer     []byte
	condensing *condensing // nil: no shorter one is being written
}

const (
	journalMagic   = "roam6 journal "
	journalVersion = "1 "
	// A record is its length and its checksum, four octets each, and its octets.
	recordHeader = 8
	// journalSlack is how much a small journal may grow before it is worth writing anew.
	journalSlack = 64 << 10
)

// ReadJournal returns the stamp and the records of a journal, in order; none when there
// is no file. A last record that is not whole was not appended: it is left out. A file
// with anything else wrong is ErrDamaged, one of another format is ErrVersion, and nothing of it is returned.
func ReadJournal(path string) (stamp string, records [][]byte, err error) {
	content, err := readJournal(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err == nil {
		stamp, records, err = parseJournal(content)
	}
	if err != nil {
		return "", nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return stamp, records, nil
}

// parseJournal takes a journal apart, as ReadJournal does.
func parseJournal(content []byte) (stamp string, records [][]byte, err error) {
	header, rest, whole := bytes.Cut(content, []byte{'\n'})
	stamp, ours := strings.CutPrefix(string(header), journalMagic)
	if !whole || !ours {
		return "", nil, ErrDamaged
	}
	if stamp, ours = strings.CutPrefix(stamp, journalVersion); !ours {
		return "", nil, ErrVersion
	}
	for len(rest) >= recordHeader {
		length, sum := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])
		if length == 0 || length > MaxRecord {
			return "", nil, ErrDamaged
		}
		if rest = rest[recordHeader:]; int(length) > len(rest) {
			break
		}
		if crc32.ChecksumIEEE(rest[:length]) != sum {
			return "", nil, ErrDamaged
		}
		records = append(records, rest[:length:length])
		rest = rest[length:]
	}
	return stamp, records, nil
}

// readJournal reads a file that only this user can have written.
func readJournal(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var info unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &info); err != nil {
		return nil, err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG || info.Mode&0o022 != 0 || int(info.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%w: not a file that this user alone can write", ErrDamaged)
	}
	if info.Size > MaxJournal {
		return nil, fmt.Errorf("%w: larger than %d octets", ErrDamaged, MaxJournal)
	}
	content := make([]byte, info.Size)
	_, err = io.ReadFull(f, content)
	return content, err
}

// CreateJournal writes a journal with these records, in place of what is there, which
// stays if that fails. The stamp is a line without its end.
func CreateJournal(path, stamp string, records iter.Seq[[]byte]) (*Journal, error) {
	f, size, err := writeJournal(path+temporary, stamp, records)
	if err == nil {
		if err = os.Rename(path+temporary, path); err != nil {
			discard(f)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return &Journal{path: path, stamp: stamp, file: f, size: size, begun: size}, nil
}

// writeJournal writes a journal as a file that is not there, or is left from a process
// that was killed.
func writeJournal(path, stamp string, records iter.Seq[[]byte]) (_ *os.File, size int64, err error) {
	b := append([]byte(journalMagic+journalVersion), stamp...)
	b = append(b, '\n')
	for r := range records {
		b = appendRecord(b, r)
	}
	if len(b) > MaxJournal {
		return nil, 0, ErrTooLarge
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, 0, err
	}
	if _, err = f.Write(b); err != nil {
		discard(f)
		return nil, 0, err
	}
	return f, int64(len(b)), nil
}

// discard removes a file that has not got the journal's name.
func discard(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

func appendRecord(b, record []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(record)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(record))
	return append(b, record...)
}

// Append adds a record of 1 to MaxRecord octets. After an error the journal must not be
// used: what it holds is older than what its user knows.
func (j *Journal) Append(record []byte) error {
	if len(record) == 0 || len(record) > MaxRecord {
		return fmt.Errorf("journal %s: a record of %d octets: %w", j.path, len(record), ErrTooLarge)
	}
	j.buffer = appendRecord(j.buffer[:0], record)
	n, err := j.file.Write(j.buffer)
	j.size += int64(n)
	if err == nil {
		err = j.changeOver()
	}
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	return nil
}

// Remove removes the file.
func (j *Journal) Remove() error { return errors.Join(j.Close(), os.Remove(j.path)) }

// Close leaves the file to the next process.
func (j *Journal) Close() error {
	j.abandon()
	return j.file.Close()
}
