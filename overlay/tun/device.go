package tun

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	devicePath = "/dev/net/tun"
	// maximumPacket is the largest packet or aggregate, 64 KB and its header.
	maximumPacket = headerLength + 1<<16
)

// device is the TUN device. It stays when the process is killed, with what is
// installed there, for the successor.
type device struct {
	name  string
	index int
	fd    int
}

// openDevice makes the device in the calling thread's namespace, where it is down, or
// adopts it.
// control is any socket of that namespace.
func openDevice(name string, control int) (*device, error) {
	what := "tun device " + name
	fd, err := unix.Open(devicePath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENODEV, unix.ENXIO, unix.ENOTDIR:
		return nil, fmt.Errorf("%s: %w (%w)", what, ErrNoTUN, err)
	default:
		return nil, openError(what, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: the name of an interface has 1 to %d characters: %w", what, unix.IFNAMSIZ-1, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		if err == unix.EBUSY || err == unix.EINVAL { // somebody has it, or it is none of ours
			return nil, fmt.Errorf("%s: %w (%w)", what, ErrDeviceBusy, err)
		}
		return nil, openError(what, err)
	}
	// What the kernel may leave to us: UDP aggregates take Linux 6.2. Without any
	// the device works all the same.
	const (
		tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
		udp = unix.TUN_F_USO4 | unix.TUN_F_USO6
	)
	for _, f := range []int{tcp | udp, tcp, unix.TUN_F_CSUM, 0} {
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, f) == nil {
			break
		}
	}
	if err := unix.IoctlIfreq(control, unix.SIOCGIFINDEX, request); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: interface index: %w", what, err)
	}
	return &device{name: request.Name(), index: int(request.Uint32()), fd: fd}, nil
}

// persist says whether the device stays when it is closed.
func (d *device) persist(yes bool) error {
	v := 0
	if yes {
		v = 1
	}
	if err := unix.IoctlSetInt(d.fd, unix.TUNSETPERSIST, v); err != nil {
		return openError("tun device "+d.name+": persistence", err)
	}
	return nil
}

// read reads a packet with its virtio header; n is 0 if there is none.
func (d *device) read(b []byte) (n int, err error) {
	for {
		n, _, e := unix.Syscall(unix.SYS_READ, uintptr(d.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, e
		}
	}
}

// write writes a packet with its virtio header, in pieces. It does not wait.
func (d *device) write(pieces []unix.Iovec) error {
	for {
		_, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(d.fd), uintptr(unsafe.Pointer(&pieces[0])), uintptr(len(pieces)))
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}

// linkMTU returns the MTU of an interface.
func linkMTU(control, index int) (int, error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return 0, err
	}
	request.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(control, unix.SIOCGIFNAME, request); err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(control, unix.SIOCGIFMTU, request); err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}
