package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// File is a file or folder of the host that the machine has, too, as it is when the
// machine boots. Symbolic links are followed.
type File struct {
	Host   string // path there
	Inside string // absolute path
}

// ParseFile reads "PATH" or "PATH:INSIDE". A name without a slash that is no file here
// is a command, looked for in PATH and put into /usr/local/bin.
func ParseFile(s string) (File, error) {
	host, inside, _ := strings.Cut(s, ":")
	if host == "" {
		return File{}, fmt.Errorf("file %q: PATH or PATH:INSIDE is expected", s)
	}
	if _, err := os.Stat(host); err != nil {
		command, notFound := exec.LookPath(host)
		if strings.Contains(host, "/") || notFound != nil {
			return File{}, fmt.Errorf("file %q: %w", s, err)
		}
		host = command
		if inside == "" {
			inside = "/usr/local/bin/" + filepath.Base(command)
		}
	}
	absolute, err := filepath.Abs(host)
	if err != nil {
		return File{}, err
	}
	if inside == "" {
		inside = absolute
	}
	if !path.IsAbs(inside) {
		return File{}, fmt.Errorf("file %q: the path inside has to be absolute", s)
	}
	return File{Host: absolute, Inside: path.Clean(inside)}, nil
}

// image is an initramfs as it is written. What is there first stays.
type image struct {
	archive archive
	has     map[string]bool
}

// begin makes the folders above a path, and reports whether the path is still free.
func (i *image) begin(name string) bool {
	if i.has[name] {
		return false
	}
	i.directory(path.Dir(name))
	i.has[name] = true
	return true
}

func (i *image) directory(name string) {
	if i.begin(name) {
		i.archive.add(name[1:], typeDirectory|0o755, 0, nil, 0, 0)
	}
}

func (i *image) device(name string, major, minor uint32) {
	if i.begin(name) {
		i.archive.add(name[1:], typeDevice|0o600, 0, nil, major, minor)
	}
}

func (i *image) text(name string, permissions uint32, content string) {
	if i.begin(name) {
		i.archive.add(name[1:], typeRegular|permissions, int64(len(content)), strings.NewReader(content), 0, 0)
	}
}

func (i *image) symlink(name, to string) {
	if i.begin(name) {
		i.archive.add(name[1:], typeSymlink|0o777, int64(len(to)), strings.NewReader(to), 0, 0)
	}
}

// hostFile adds a file of the host, with the libraries it needs, or a folder with all
// that is in it.
func (i *image) hostFile(host, inside string) error {
	info, err := os.Stat(host)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		i.directory(inside)
		entries, err := os.ReadDir(host)
		if err != nil {
			return err
		}
		for _, e := range entries {
			err := i.hostFile(filepath.Join(host, e.Name()), path.Join(inside, e.Name()))
			if err != nil && !(errors.Is(err, fs.ErrNotExist) && e.Type() == fs.ModeSymlink) { // a link to nowhere
				return err
			}
		}
		return nil
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither file nor folder", host)
	}
	if i.has[inside] { // with its libraries, which may need each other
		return nil
	}
	if err := i.regular(host, inside, info); err != nil {
		return err
	}
	if info.Mode()&0o111 == 0 && !strings.Contains(path.Base(host), ".so") {
		return nil
	}
	needs, err := libraries(host)
	if err != nil {
		return err
	}
	// Those of the libraries are among them; some of them are found by way of the program
	// alone, which says where they are.
	for _, l := range needs {
		info, err := os.Stat(l)
		if err != nil {
			return err
		}
		if err := i.regular(l, l, info); err != nil {
			return err
		}
	}
	return nil
}

func (i *image) regular(host, inside string, info fs.FileInfo) error {
	if !i.begin(inside) {
		return nil
	}
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	i.archive.add(inside[1:], typeRegular|uint32(info.Mode().Perm()), info.Size(), f, 0, 0)
	return i.archive.err
}

// busybox adds a busybox, and a link for each command it has that is not there yet. It is
// the host's, or where that cannot run on the board the one that came with the kernel:
// that one cannot tell here what commands it has, which are those of the host's.
func (i *image) busybox(k Kernel) error {
	const inside = "/usr/bin/busybox"
	host, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w: install busybox-static", err)
	}
	list, err := exec.Command(host, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("commands of %s: %w", host, err)
	}
	if !bytes.Contains(list, []byte("sbin/modprobe\n")) {
		return fmt.Errorf("%s has no modprobe: install busybox-static", host)
	}
	if k.Board.Foreign() {
		host = k.busybox()
	}
	if err := i.hostFile(host, inside); err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		i.symlink("/"+name, inside)
	}
	return nil
}
