package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// disk is a small file system that can stand still: whoever writes to it waits, as for a
// medium that is broken or behind a network that is gone.
type disk struct {
	*testing.T
	dir    string // where it is mounted
	orders io.WriteCloser
	done   *bufio.Reader
}

// diskKeeper mounts the image $1 at $2 and does what it is told. It is a process of its own,
// so that the disk goes on and is unmounted however the test ends.
const diskKeeper = `
mount -o loop "$1" "$2" || exit
echo mounted
while read -r order; do fsfreeze "--$order" "$2" && echo done || echo failed; done
fsfreeze --unfreeze "$2" 2>/dev/null
umount --lazy "$2"
`

// newDisk mounts a disk until the end of the test. The error says what is missing for that.
func newDisk(t *testing.T) (*disk, error) {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		return nil, fmt.Errorf("a disk needs mkfs.ext4, of the Debian package e2fsprogs: %w", err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(image, 8<<20); err != nil {
		return nil, err
	}
	if b, err := exec.Command(mkfs, "-q", "-O", "^has_journal", image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", mkfs, err, b)
	}
	d := &disk{T: t, dir: t.TempDir()}
	var complaint strings.Builder
	cmd := exec.Command("sh", "-c", diskKeeper, "sh", image, d.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what interrupts the test spares it
	cmd.Stderr = &complaint
	if d.orders, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d.done = bufio.NewReader(out)
	if line, err := d.done.ReadString('\n'); line != "mounted\n" {
		_ = cmd.Wait()
		return nil, fmt.Errorf("a disk needs root and loop devices: %w: %s", err, complaint.String())
	}
	t.Cleanup(func() {
		d.orders.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("unmounting the disk: %v: %s", err, complaint.String())
		}
	})
	return d, nil
}

// freeze lets the disk stand still until thaw or the end of the test.
func (d *disk) freeze() (thaw func()) {
	d.Helper()
	d.order("freeze")
	thaw = sync.OnceFunc(func() { d.order("unfreeze") })
	d.Cleanup(thaw) // ahead of those that wait for daemons to end
	return thaw
}

func (d *disk) order(what string) {
	d.Helper()
	_, err := fmt.Fprintln(d.orders, what)
	line, _ := d.done.ReadString('\n')
	if err != nil || line != "done\n" {
		d.Errorf("fsfreeze --%s: %q, %v", what, line, err)
	}
}
