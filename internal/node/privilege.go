package node

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities is all that a running daemon needs: addresses, routes and
// the TUN device, and raw sockets.
const keptCapabilities = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW

// dropPrivileges gives up every other capability, on every thread, and the
// chance of getting any back. A binary built with cgo (the race detector)
// cannot do it; that is reported as errors.ErrUnsupported.
func dropPrivileges() error {
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		if errors.Is(e, syscall.ENOTSUP) {
			return errors.ErrUnsupported
		}
		return fmt.Errorf("no_new_privs: %w", e)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: keptCapabilities, Permitted: keptCapabilities}}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if e != 0 {
		return fmt.Errorf("giving up capabilities: %w", e)
	}
	return nil
}
