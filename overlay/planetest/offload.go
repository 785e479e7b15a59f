package planetest

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

// withoutOffloads makes a virtual link behave as a plain wire, as on a small
// router: packets no longer than the MTU, with complete checksums. Without it,
// TCP passes in packets of 64 KB that are never taken apart.
func withoutOffloads(s *nstest.Space, name string) error {
	return s.Try(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, command := range []uint32{unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO, unix.ETHTOOL_SGRO, unix.ETHTOOL_STXCSUM, unix.ETHTOOL_SSG} {
			value := struct{ command, data uint32 }{command: command}
			request := struct {
				name [unix.IFNAMSIZ]byte
				data unsafe.Pointer
				_    [24 - unsafe.Sizeof(uintptr(0))]byte
			}{data: unsafe.Pointer(&value)}
			copy(request.name[:unix.IFNAMSIZ-1], name)
			_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
			if e != 0 && !errors.Is(e, unix.EOPNOTSUPP) {
				return fmt.Errorf("offload %#x of %s: %w", command, name, e)
			}
		}
		return nil
	})
}
