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

// portCapability is for the ports of DHCPv6, where that may be needed. Its sockets
// cannot all be opened before: they belong to interfaces and home agents that come
// and go, and a link that needs a client shows itself only by its router.
const portCapability = 1 << unix.CAP_NET_BIND_SERVICE

// dropPrivileges gives up every capability but kept, on every thread, and the
// chance of getting any back. A binary built with cgo (the race detector)
// cannot do it; that is reported as errors.ErrUnsupported.
func dropPrivileges(kept uint32) error {
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		if errors.Is(e, syscall.ENOTSUP) {
			return errors.ErrUnsupported
		}
		return fmt.Errorf("no_new_privs: %w", e)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: kept, Permitted: kept}}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if e != 0 {
		return fmt.Errorf("giving up capabilities: %w", e)
	}
	return nil
}
