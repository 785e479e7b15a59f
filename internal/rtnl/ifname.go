package rtnl

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// interfaceName returns the name of an interface in the namespace of a socket.
// The standard library's look-up is of the thread's namespace and cached.
func interfaceName(socket, index int) (string, error) {
	var ifreq [40]byte // struct ifreq: name, then the index
	binary.NativeEndian.PutUint32(ifreq[unix.IFNAMSIZ:], uint32(index))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCGIFNAME, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 {
		return "", os.NewSyscallError("SIOCGIFNAME", errno)
	}
	return unix.ByteSliceToString(ifreq[:unix.IFNAMSIZ]), nil
}
