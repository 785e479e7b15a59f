package mhsock

import (
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"
)

// TrySilence tries, in the network namespace of the calling thread, whether the kernel
// can be kept from answering signalling. Its table is there for a moment.
func TrySilence() error {
	s, err := openSilencer("roam6_trial", rules(false, 0), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.close()
}

// ErrNoMobileIPv6 is a kernel without CONFIG_IPV6_MIP6.
var ErrNoMobileIPv6 = errors.New("not in this kernel")

// TryMobileIPv6 tells whether the kernel does Mobile IPv6 itself: ErrNoMobileIPv6, or
// what keeps it from being known.
func TryMobileIPv6() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	file := newFile(fd, "mhsock trial")
	defer file.Close()
	if !kernelHasMobileIPv6(file) {
		return ErrNoMobileIPv6
	}
	return nil
}
