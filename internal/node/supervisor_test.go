package node

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Who wants to hear hears it, at a path and at an abstract name; who is gone does not
// stop anything.
func TestTellSupervisor(t *testing.T) {
	t.Setenv(supervisorVariable, "")
	if err := tellSupervisor(supervisorReady); err != nil {
		t.Errorf("nobody wants to hear: %v", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	for _, name := range []string{path, "@" + path} {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "supervisor")
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
		t.Setenv(supervisorVariable, name)
		if err := tellSupervisor(supervisorReady, supervisorStatus+"well"); err != nil {
			t.Fatal(err)
		}
		heard := make([]byte, 100)
		n, err := unix.Read(fd, heard)
		if err != nil || string(heard[:n]) != "READY=1\nSTATUS=well" {
			t.Errorf("%s: %q, %v", name, heard[:max(n, 0)], err)
		}
		f.Close()
		if err := tellSupervisor(supervisorReady); err == nil {
			t.Errorf("%s: told nobody", name)
		}
	}
}
