package vm

import (
	"fmt"
	"io"
	"math"
)

// Types of files in an archive, and the permissions that ours have.
const (
	typeDirectory = 0o040000
	typeRegular   = 0o100000
	typeSymlink   = 0o120000
	typeDevice    = 0o020000 // of characters
)

// archive writes a cpio archive in the "newc" format that Linux unpacks as its initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst). Owners are root, times
// the epoch, so that equal contents make an equal archive. The first error stays.
type archive struct {
	w     io.Writer
	inode uint32
	at    int64 // octets written
	err   error
}

// add writes one file. The name has no leading slash; size octets come from content,
// which may be nil where size is zero. Device numbers are for typeDevice.
func (a *archive) add(name string, mode uint32, size int64, content io.Reader, major, minor uint32) {
	if a.err != nil {
		return
	}
	if size < 0 || size > math.MaxUint32 {
		a.err = fmt.Errorf("%s: %d octets are too many for a cpio archive", name, size)
		return
	}
	a.inode++
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.inode, mode, 0, 0, 1, 0, uint32(size), 0, 0, major, minor, len(name)+1, 0)
	a.write([]byte(header + name + "\x00"))
	a.pad()
	if size > 0 && a.err == nil {
		n, err := io.CopyN(a.w, content, size)
		a.at += n
		if err != nil {
			a.err = fmt.Errorf("%s: %w", name, err)
		}
	}
	a.pad()
}

// close writes the entry that ends an archive, and returns the first error.
func (a *archive) close() error {
	a.add("TRAILER!!!", 0, 0, nil, 0, 0)
	return a.err
}

func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(b)
	a.at += int64(n)
	a.err = err
}

// pad fills up to a multiple of four octets, where headers and contents begin.
func (a *archive) pad() { a.write(make([]byte, -a.at&3)) }
