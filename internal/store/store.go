// Package store keeps what must survive a restart, a file for each name in one
// directory. It is made for flash memory and power cuts: a file is replaced as a
// whole or not at all, nothing is written that is there already, and a file that
// was torn all the same is noticed by its checksum and counts as missing.
package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxSize is how much data, in octets, there can be under one name: the delegated
// prefixes of a hundred thousand mobile routers.
const MaxSize = 16 << 20

// temporary ends the names of files that are being written. No name has a dot.
const temporary = ".new"

// unread ends the names of files that were set aside.
const unread = ".unread"

// Errors of a Store; they are wrapped with the name or the directory.
var (
	// ErrNoDirectory: there is no directory to keep anything in.
	ErrNoDirectory = errors.New("no directory for state is configured: nothing will survive a restart; set one on a file system that does")
	// ErrName: a name is not of 1 to 64 lower-case letters, digits and hyphens.
	ErrName = errors.New("not a name of 1 to 64 lower-case letters, digits and hyphens")
	// ErrTooLarge: data or a file is larger than MaxSize.
	ErrTooLarge = fmt.Errorf("larger than %d octets", MaxSize)
	// ErrDamaged: a file is not what was written. It counts as missing, and the
	// next Save replaces it.
	ErrDamaged = errors.New("damaged: it is not used")
	// ErrVersion: a file was written by a version of roam6 that has another format. It
	// counts as missing, too, and SetAside keeps it for that version.
	ErrVersion = errors.New("of another version of roam6: it is not used")
)

// Store is a directory of saved data. Its methods may be called at the same time
// for different names only.
type Store struct{ dir string }

// Open returns the store in a directory, which it creates when it is missing, and
// removes from it what a power cut left half written. An error says what to do;
// a daemon can go on without a store.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, ErrNoDirectory
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory for state: %w: create %s, or configure another one", err, dir)
	}
	if err := trusted(dir); err != nil {
		return nil, err
	}
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return nil, fmt.Errorf("directory for state: cannot write to %s: %w: check its owner and mount it writable, or configure another one", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("directory for state: %w", err)
	}
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), temporary)
		if !ours || checkName(name) != nil || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("directory for state: what was left half written: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// OpenReadOnly returns the store in a directory that Open refused because it cannot
// be written to now, for what was saved there before. Save fails.
func OpenReadOnly(dir string) (*Store, error) {
	if dir == "" {
		return nil, ErrNoDirectory
	}
	if err := trusted(dir); err != nil {
		return nil, err
	}
	return &Store{dir: dir}, nil
}

// trusted reports an error unless nobody else can have written what is there.
func trusted(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory for state: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("directory for state: others may write to %s: chmod go-w %s", dir, dir)
	}
	return nil
}

// Load returns what was saved under a name; nil when there is nothing. A file
// that was torn is ErrDamaged: the caller reports it and begins anew.
func (s *Store) Load(name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	content, err := s.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", name, err)
	}
	_, data, _ := bytes.Cut(content, []byte{'\n'})
	if isOther(content) {
		return nil, fmt.Errorf("state %q: %s: %w", name, s.path(name), ErrVersion)
	}
	if !bytes.Equal(encode(data), content) {
		return nil, fmt.Errorf("state %q: %s: %w", name, s.path(name), ErrDamaged)
	}
	return data, nil
}

// Save keeps data under a name in place of what was there. It is on the medium
// when Save returns, or, with an error, what was there before still is. Data that
// is there already is not written again; no data removes the file.
func (s *Store) Save(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(data) > MaxSize {
		return fmt.Errorf("state %q: %w", name, ErrTooLarge)
	}
	if err := s.save(name, data); err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	return nil
}

func (s *Store) save(name string, data []byte) error {
	if len(data) == 0 {
		err := os.Remove(s.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, s.sync())
	}
	content := encode(data)
	if there, err := s.read(name); err == nil && bytes.Equal(there, content) {
		return nil
	}
	half := s.path(name) + temporary
	if err := write(half, content); err != nil {
		os.Remove(half) // what counts is why it could not be written
		return err
	}
	if err := os.Rename(half, s.path(name)); err != nil {
		os.Remove(half)
		return err
	}
	return s.sync()
}

// write writes a file through to the medium.
func write(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sync makes a new name, or the loss of one, reach the medium.
func (s *Store) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read returns the content of a file with its header, and no more than a valid
// one has.
func (s *Store) read(name string) ([]byte, error) {
	// A name that somebody made a pipe or a link of must not hold us up, nor lead
	// elsewhere.
	f, err := os.OpenFile(s.path(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrDamaged
	}
	const most = MaxSize + maxHeader
	content, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(content) > most {
		err = ErrTooLarge
	}
	return content, err
}

// SetAside gives what is under a name another one, which no Save touches, and returns its
// path: what is of use to another version only is there when that comes back. One is kept
// of each name, the newest.
func (s *Store) SetAside(name string) (path string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	path = s.path(name) + unread
	if err := errors.Join(os.Rename(s.path(name), path), s.sync()); err != nil {
		return "", fmt.Errorf("state %q: %w", name, err)
	}
	return path, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// maxHeader is the longest header: the checksum has eight digits, and the length
// those of MaxSize.
const maxHeader = len("roam6 state 1 00000000 16777216\n")

// magic begins each file, and the version of the format follows. The next one may have
// whatever it likes behind that.
const (
	magic   = "roam6 state "
	version = "1"
)

// isOther reports whether a file is of another version of the format.
func isOther(content []byte) bool {
	header, ours := strings.CutPrefix(string(content[:min(len(content), maxHeader)]), magic)
	v, _, whole := strings.Cut(header, " ")
	_, err := strconv.ParseUint(v, 10, 16)
	return ours && whole && err == nil && v != version
}

// encode puts a header before data: the format's version, checksum and length.
func encode(data []byte) []byte {
	return append(fmt.Appendf(nil, magic+version+" %08x %d\n", crc32.ChecksumIEEE(data), len(data)), data...)
}

func checkName(name string) error {
	const most = 64
	valid := name != "" && len(name) <= most
	for _, c := range []byte(name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !valid {
		return fmt.Errorf("state %q: %w", name, ErrName)
	}
	return nil
}
