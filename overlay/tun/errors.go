package tun

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Errors of Open. They come wrapped with what was attempted.
var (
	// ErrNoTUN: the kernel offers no TUN devices.
	ErrNoTUN = errors.New("no /dev/net/tun: load the tun module (on OpenWrt: install kmod-tun; elsewhere: modprobe tun)")
	// ErrPrivilege: the process may not do this.
	ErrPrivilege = errors.New("not permitted: run as root, or give the process CAP_NET_ADMIN and CAP_NET_RAW")
	// ErrDeviceBusy: there is an interface of that name already.
	ErrDeviceBusy = errors.New("an interface of this name exists: another instance is running, or choose another device name")
	// ErrNoIPv6: the kernel has no IPv6.
	ErrNoIPv6 = errors.New("no IPv6 in this kernel or namespace: enable it (on OpenWrt: install kmod-ipv6)")
)

// Errors of Apply. They come wrapped with the tunnel or route they concern.
var (
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("data plane is closed")
	// ErrInvalid: the tunnel as given makes no sense.
	ErrInvalid = errors.New("invalid tunnel")
	// ErrInvalidRoute: the optimised route as given makes no sense.
	ErrInvalidRoute = errors.New("invalid optimised route")
	// ErrLoop: packets to the other end would enter the tunnel themselves
	// (RFC 2473 §4.1.2).
	ErrLoop = errors.New("tunnel would carry its own packets")
	// ErrStack: the tunnel or route would be in a stack that is too high.
	ErrStack = errors.New("more than two tunnels on each other")
	// ErrPrefixTaken: an inner prefix belongs to another tunnel.
	ErrPrefixTaken = errors.New("inner prefix belongs to another tunnel")
	// ErrPathUnsupported: the path goes through a NAT (RFC 5555), which this engine
	// cannot do.
	ErrPathUnsupported = errors.New("path over UDP or IPv4 is not supported by the tun data plane")
)

// openError adds to an error of the kernel what to do about it.
func openError(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w (%w)", what, ErrPrivilege, err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%s: %w (%w)", what, ErrNoIPv6, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
