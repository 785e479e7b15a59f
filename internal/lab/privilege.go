package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideVariable marks a process that was started again in its own namespaces.
const insideVariable = "ROAM6_LAB_INSIDE"

// Privileged reports whether this process may make network namespaces and
// packet sockets.
func Privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return os.Geteuid() == 0
	}
	for _, c := range []uint{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW} {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// errPrivilege says what to do about a missing privilege.
var errPrivilege = errors.New("the lab needs root, or a kernel that lets users make their own user namespaces: run it with sudo")

// tunDevice is what the daemons' data plane needs.
const tunDevice = "/dev/net/tun"

// checkTUN says what to do where the daemons could not open a TUN device.
func checkTUN() error {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		_ = unix.Close(fd)
		return nil
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return fmt.Errorf("this user may not open %s: run the lab with sudo, or let users open it (chmod 0666 %s)", tunDevice, tunDevice)
	default:
		return fmt.Errorf("%s cannot be opened (%w): load the kernel module tun (modprobe tun)", tunDevice, err)
	}
}

// InUserNamespace runs this program again with the same arguments as root of
// its own user, network and mount namespaces, and returns its exit code.
func InUserNamespace(args []string, in io.Reader, out, errs io.Writer) (int, error) {
	if os.Getenv(insideVariable) != "" {
		return 1, errPrivilege // root inside, and still not permitted
	}
	binary, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGTERM,
	}
	// The parent-death signal is sent when the starting thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("%w (%w)", errPrivilege, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case <-signals:
			// A terminal has told the child as well; twice does no harm.
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 1, err
			}
			if code := cmd.ProcessState.ExitCode(); code >= 0 {
				return code, nil
			}
			return 1, fmt.Errorf("the lab was ended: %v", cmd.ProcessState)
		}
	}
}
