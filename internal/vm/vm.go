// Package vm boots Debian's stock kernel under QEMU and runs a command in it, for
// what only a kernel with Mobile IPv6, ip6_tunnel or ESP can show.
//
// There is no disk and no share: the machine's whole file system is an initramfs made
// for the one boot, of the modules of the network, busybox, and the files the caller
// names with the libraries that they need. So nothing of the host can be changed by
// what runs inside, and nothing of the host decides how it boots. The kernel is fetched
// with apt and unpacked into a cache, not installed.
//
// The processor is QEMU's TCG: stock kernels are not reliable in nested KVM. Its clock
// counts instructions and goes on at once where the machine would wait (QEMU's icount): so
// what is measured inside does not depend on the host or on what else that does, a wait
// costs nothing, and figures are those of a processor of so many instructions a second.
package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Machine is a virtual machine for one command.
type Machine struct {
	Kernel  Kernel
	Modules []string // loaded before the command begins; others come on demand
	Files   []File
	Memory  int    // MiB, of which the files take their size
	CPUs    int    // one is the default of the tools: two have panicked under TCG
	Accel   string // QEMU's accelerator, such as "tcg"
	// Instruction is what an instruction takes on the machine's clock: a power of two of
	// nanoseconds, at most MostInstruction. Zero: the clock is the host's.
	Instruction time.Duration
	Append      string // added to the kernel's command line
	Cards       []Card
	Monitor     *os.File  // QEMU's end of a pair of stream sockets, the other one for NewMonitor; nil: none
	Input       io.Reader // what the command reads; nil: nothing
	// Timeout is for boot and command together.
	Timeout time.Duration
}

// Card is a network card of a machine.
type Card struct {
	MAC    net.HardwareAddr
	Frames *os.File // QEMU's end of a pair of datagram sockets, where each is an Ethernet frame
}

// MostInstruction bounds Machine.Instruction.
const MostInstruction = 1024 * time.Nanosecond

// Result is how a command ended.
type Result struct {
	Status int           // of the command; 128 and the signal where one ended it
	Boot   time.Duration // from the start of QEMU until the command began
	Whole  time.Duration // until QEMU had ended
}

// DeadError tells that a machine ended before its command did.
type DeadError struct {
	Reason string // a sentence: what happened, and what to do
	Log    string // the end of what the kernel and QEMU said
}

func (e *DeadError) Error() string {
	if e.Log == "" {
		return e.Reason
	}
	return "the end of the kernel's log:\n" + e.Log + "\n" + e.Reason
}

// Run boots the machine and runs a command in it as root. What the command writes
// arrives live. The error is a *DeadError where the machine gave no result; the end of
// ctx ends the machine.
func (m Machine) Run(ctx context.Context, command []string, stdout, stderr io.Writer) (Result, error) {
	dir, err := os.MkdirTemp("", "roam6-vm-")
	if err != nil {
		return Result{}, fmt.Errorf("make a directory for the virtual machine: %w", err)
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := m.writeImage(initrd, command); err != nil {
		return Result{}, fmt.Errorf("make the initramfs: %w", err)
	}
	var wait context.CancelFunc
	ctx, wait = context.WithTimeoutCause(ctx, m.Timeout, errTimeout)
	defer wait()
	b := m.Kernel.Board.details()
	q := qemu{
		program: b.emulator, from: b.from, args: m.arguments(initrd, filepath.Join(dir, "log")),
		ports: m.ports(), inherited: m.inherited(), input: m.Input, stdout: stdout, stderr: stderr,
	}
	ended, err := q.run(ctx)
	if err != nil {
		return Result{}, err
	}
	if ended.report.exited {
		return Result{Status: ended.report.status, Boot: ended.boot, Whole: ended.whole}, nil
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Result{}, fmt.Errorf("read the kernel's log: %w", err)
	}
	log = append(log, ended.said...)
	return Result{}, &DeadError{
		Reason: reason(context.Cause(ctx), m.Timeout, ended, log),
		Log:    tail(log, logLines),
	}
}

// logLines is how much of the kernel's log is shown: a panic with its call trace has
// about that many.
const logLines = 60

var errTimeout = errors.New("timeout")

// reason words why a machine gave no result, and what to do.
func reason(cause error, timeout time.Duration, e ended, log []byte) string {
	switch {
	case errors.Is(cause, errTimeout) && e.report.ready:
		return fmt.Sprintf("the command had not ended %v after the start of the machine, which was ended: allow it more time (-timeout), or look why it hangs", timeout)
	case errors.Is(cause, errTimeout):
		return fmt.Sprintf("the kernel had not come up after %v: try again with -append loglevel=7, which shows how far it gets", timeout)
	case cause != nil:
		return "the machine was ended: " + cause.Error()
	case bytes.Contains(log, []byte("Kernel panic")):
		return "the kernel panicked: the log above tells in what; where that is the command's doing it has found a fault of the kernel, or has used up the memory (-memory)"
	case e.report.ready:
		return fmt.Sprintf("the machine ended before the command did (QEMU: %s): where the log above does not tell why, run it again with -append loglevel=7", e.state)
	default:
		return fmt.Sprintf("the machine ended before it was up (QEMU: %s): where the log above does not tell why, run it again with -append loglevel=7", e.state)
	}
}

// tail is the last lines of a text.
func tail(text []byte, lines int) string {
	text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r"), nil))
	all := bytes.Split(text, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
