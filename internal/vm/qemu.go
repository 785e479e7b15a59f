package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The ports of a machine, in the order of their numbers inside, which begin with 1: the
// command's output, its errors, and what init reports. Each is a socket that QEMU
// inherits.
const (
	portOut = iota
	portErr
	portReport
	ports
)

// firstFD is the first descriptor that a child has from exec.Cmd.ExtraFiles.
const firstFD = 3

// arguments is the command line of QEMU. The machine is a PC with HPET: QEMU's microvm
// hangs in one of eight boots. A kernel on a busy host would not believe in its timer, which
// it need not check in a machine (no_timer_check). A machine that reboots, as after a panic, ends.
func (m Machine) arguments(initrd, log string) []string {
	args := []string{
		"-accel", m.Accel, "-machine", "pc,hpet=on", "-cpu", "max",
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.Kernel.image(), "-initrd", initrd,
		"-append", strings.TrimSpace("console=ttyS0 quiet loglevel=3 panic=-1 oops=panic no_timer_check mitigations=off random.trust_cpu=on " + m.Append),
		"-serial", "file:" + log,
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
	}
	if m.Instruction > 0 {
		args = append(args, "-icount", fmt.Sprintf("shift=%d,sleep=off", bits.Len64(uint64(m.Instruction))-1))
	}
	for n := range ports {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=port%d,fd=%d", n+1, n+firstFD),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d,nr=%d", n+1, n+1))
	}
	return args
}

// qemu is a machine that runs.
type qemu struct {
	args           []string
	stdout, stderr io.Writer
}

// ended is how it ended.
type ended struct {
	report      report
	boot, whole time.Duration
	state       string // of the process of QEMU
	said        []byte // by QEMU
}

// run starts QEMU and waits for its end. The process of QEMU ends with this one,
// whatever ends this one.
func (q qemu) run(ctx context.Context) (ended, error) {
	// The kernel ends a child with the thread that made it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", q.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said

	var mine [ports]*os.File
	for n := range mine {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return ended{}, fmt.Errorf("make a port of the machine: %w", err)
		}
		theirs := os.NewFile(uintptr(pair[1]), "port of QEMU")
		defer theirs.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
		mine[n] = os.NewFile(uintptr(pair[0]), "port")
		defer mine[n].Close()
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w: install qemu-system-x86", err)
		}
		return ended{}, err
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}

	var e ended
	var readers sync.WaitGroup
	for n, w := range map[int]io.Writer{portOut: q.stdout, portErr: q.stderr} {
		readers.Go(func() { deliver(w, mine[n]) })
	}
	readers.Go(func() { e.report.read(mine[portReport], func() { e.boot = time.Since(start) }) })
	readers.Wait() // until QEMU has ended and all it had is here
	_ = cmd.Wait() // the state tells what is of interest
	e.whole = time.Since(start)
	e.state, e.said = cmd.ProcessState.String(), said.Bytes()
	return e, nil
}

// deliver copies until the end of r. A writer that fails does not stop the machine:
// what is left is thrown away.
func deliver(w io.Writer, r io.Reader) {
	if _, err := io.Copy(w, r); err != nil {
		_, _ = io.Copy(io.Discard, r)
	}
}

// report is what init has told.
type report struct {
	ready  bool // the command has begun
	exited bool
	status int // of the command
}

// read reads lines until the end: "ready", then "exit STATUS".
func (p *report) read(r io.Reader, ready func()) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "ready":
			p.ready = true
			ready()
		case "exit":
			if n, err := strconv.Atoi(rest); err == nil && n >= 0 && n <= 255 {
				p.exited, p.status = true, n
			}
		}
	}
}
