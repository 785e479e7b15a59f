// Package dhcpserver runs the DHCPv6 servers of other people, as far as a lab needs
// them: it finds them on this machine and writes minimal configurations.
package dhcpserver

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Kind is a program.
type Kind string

// The programs, by the names that users choose them by.
const (
	Kea     Kind = "kea"
	Dnsmasq Kind = "dnsmasq"
)

// Kinds are all programs.
func Kinds() []Kind { return []Kind{Kea, Dnsmasq} }

// File is the name of the program's file, and Package that of the Debian package it
// is in.
func (k Kind) File() string {
	if k == Kea {
		return "kea-dhcp6"
	}
	return "dnsmasq"
}

// Package is the Debian package that the program is in.
func (k Kind) Package() string {
	if k == Kea {
		return "kea-dhcp6-server"
	}
	return "dnsmasq-base"
}

// Find returns where the program is, nothing if it is not on this machine. It looks
// where daemons are, too, which is not in everybody's path.
func (k Kind) Find() string {
	if path, err := exec.LookPath(k.File()); err == nil {
		return path
	}
	for _, directory := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(directory, k.File())); err == nil {
			return path
		}
	}
	return ""
}

// Config is what a server does on its only interface.
type Config struct {
	Interface string
	Subnet    netip.Prefix
	// First and Last are the addresses to lease. Without, there is information only.
	First, Last netip.Addr
	DNS         netip.Addr
	Domain      string
	// T1 is when clients renew, and Valid how long leases last; whole seconds.
	// dnsmasq chooses T1 itself, and leases for two minutes at least.
	T1, Valid time.Duration
	// Rapid: the first answer is the lease where the client wants that. dnsmasq
	// always does so.
	Rapid bool
	// AtOnce: clients are told not to wait for other servers (RFC 8415 §18.2.1).
	AtOnce bool
	// Number makes the server's identifier, of those that have none of their own.
	Number uint32
	// Verbose: Kea logs each message, as dnsmasq always does.
	Verbose bool
}

// Command is how a server is run in the foreground.
type Command struct {
	Path string
	Args []string
	// Check are the arguments that make it read its configuration and end.
	Check []string
	Env   []string // in addition to the caller's
	// Leases is the file where it keeps its leases.
	Leases string
}

// Write writes a server's configuration and returns the command to run it. All of
// its files are in the directory, and begin with the name.
func (k Kind) Write(path, directory, name string, c Config) (Command, error) {
	base := filepath.Join(directory, name)
	file := base + ".conf"
	command := Command{Path: path, Leases: base + ".leases"}
	text, err := []byte(nil), error(nil)
	switch k {
	case Kea:
		command.Args, command.Check = []string{"-c", file}, []string{"-t", file}
		// Kea's directories, of which later releases allow no others.
		for _, v := range []string{"KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR", "KEA_LOG_FILE_DIR"} {
			command.Env = append(command.Env, v+"="+directory)
		}
		text, err = c.kea(command.Leases)
	case Dnsmasq:
		// In the foreground, with the user it has, and without a file of its process.
		command.Args, command.Check = []string{"--conf-file=" + file, "--no-daemon"}, []string{"--conf-file=" + file, "--test"}
		text = c.dnsmasq(command.Leases)
	}
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return command, fmt.Errorf("configuration of %s: %w", k, err)
	}
	return command, nil
}

// Ready reports whether somebody in the calling thread's network namespace has the
// UDP port of DHCPv6 servers.
func Ready() bool {
	f, err := os.Open("/proc/thread-self/net/udp6")
	if err != nil {
		return false
	}
	defer f.Close()
	const local, port = 1, ":0223"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > local && strings.HasSuffix(fields[local], port) {
			return true
		}
	}
	return false
}
