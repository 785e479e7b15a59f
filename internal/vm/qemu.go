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
// command's output, its errors, what init reports, and where there is any the command's
// input. Each is a socket that QEMU inherits.
const (
	portOut = iota
	portErr
	portReport
	portIn
)

// ports is how many a machine has.
func (m Machine) ports() int {
	if m.Input != nil {
		return portIn + 1
	}
	return portIn
}

// inherited are what QEMU inherits after the ports: the cards' sockets, and the monitor's.
func (m Machine) inherited() (files []*os.File) {
	for _, c := range m.Cards {
		files = append(files, c.Frames)
	}
	if m.Monitor != nil {
		files = append(files, m.Monitor)
	}
	return files
}

// firstFD is the first descriptor that a child has from exec.Cmd.ExtraFiles.
const firstFD = 3

// arguments is the command line of QEMU. A machine that reboots, as after a panic, ends.
func (m Machine) arguments(initrd, log string) []string {
	b := m.Kernel.Board.details()
	args := append([]string{"-accel", m.Accel}, b.hardware...)
	args = append(args,
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.Kernel.image(), "-initrd", initrd,
		"-append", strings.Join(strings.Fields("console="+b.console+" quiet loglevel=3 panic=-1 oops=panic "+b.append+" "+m.Append), " "),
		"-serial", "file:"+log,
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
	)
	if m.Instruction > 0 {
		args = append(args, "-icount", fmt.Sprintf("shift=%d,sleep=off", bits.Len64(uint64(m.Instruction))-1))
	}
	for n := range m.ports() {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=port%d,fd=%d", n+1, n+firstFD),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d,nr=%d", n+1, n+1))
	}
	fd := firstFD + m.ports()
	for n, c := range m.Cards {
		args = append(args,
			"-netdev", fmt.Sprintf("dgram,id=frames%d,local.type=fd,local.str=%d", n, fd),
			"-device", fmt.Sprintf("%s,id=%s,netdev=frames%d,mac=%v,romfile=", b.card, cardName(n), n, c.MAC))
		fd++
	}
	if m.Monitor != nil {
		args = append(args, "-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fd), "-mon", "chardev=monitor,mode=control")
	}
	return args
}

// cardName is what QEMU calls the card with an index.
func cardName(n int) string { return fmt.Sprintf("card%d", n) }

// qemu is a machine that runs.
type qemu struct {
	program, from  string // from: Debian's package that has it
	args           []string
	ports          int
	inherited      []*os.File // after the ports
	input          io.Reader  // nil without a port for it
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
	cmd := exec.CommandContext(ctx, q.program, q.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said

	mine := make([]*os.File, q.ports)
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
	own := cmd.ExtraFiles
	cmd.ExtraFiles = append(cmd.ExtraFiles, q.inherited...)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w: install %s", err, q.from)
		}
		return ended{}, err
	}
	for _, f := range own {
		f.Close()
	}
	if q.input != nil {
		// It ends with the machine, or when there is no more: then the command reads an end.
		go func() {
			_, _ = io.Copy(mine[portIn], q.input)
			_ = unix.Shutdown(int(mine[portIn].Fd()), unix.SHUT_WR)
		}()
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
