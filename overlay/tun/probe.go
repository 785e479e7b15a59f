package tun

import (
	"golang.org/x/sys/unix"

	"roam6/overlay/feature"
)

// Probe tells what the engine needs and what of that there is.
func Probe() []feature.Feature {
	device := feature.Feature{Name: "TUN devices", OpenWrt: "kmod-tun", Debian: "modprobe tun"}
	raw := feature.Feature{Name: "raw sockets (CAP_NET_RAW)", OpenWrt: "run as root", Debian: "run as root, or give CAP_NET_RAW"}
	fd, err := unix.Open(devicePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	} else {
		device.Missing = err.Error()
		if err == unix.EPERM || err == unix.EACCES {
			device.OpenWrt, device.Debian = raw.OpenWrt, "run as root"
		}
	}
	if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_IPV6); err == nil {
		unix.Close(fd)
	} else {
		raw.Missing = err.Error()
	}
	return []feature.Feature{device, raw}
}
