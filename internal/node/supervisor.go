package node

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// supervisorVariable names in the environment the socket at which a supervisor such as
// systemd wants to hear how a service does (sd_notify(3)); "@" begins an abstract one.
const supervisorVariable = "NOTIFY_SOCKET"

// What a supervisor is told.
const (
	supervisorReady    = "READY=1"
	supervisorStopping = "STOPPING=1"
	supervisorStatus   = "STATUS=" // and a line for people; none: all is well
)

// tellSupervisor says it, where somebody wants to hear it. It does not wait.
func tellSupervisor(said ...string) error {
	socket := os.Getenv(supervisorVariable)
	if socket == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Sendto(fd, []byte(strings.Join(said, "\n")), 0, &unix.SockaddrUnix{Name: socket})
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("tell %s how the service does (%s): %w", socket, supervisorVariable, err)
	}
	return nil
}
