// Command vmrun boots Debian's stock kernel under QEMU and runs a command in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"roam6/internal/vm"
)

const usage = `usage: vmrun [OPTION...] -- COMMAND [ARGUMENT...]

Boots Debian's stock kernel under QEMU, runs COMMAND in it as root, shows what it
writes, and ends with its exit code: 125 where the machine ended before the command,
126 where it could not be made.

Inside there are busybox and the files named by -file, nothing else of this machine.
Nothing comes back but output and exit code. Needs qemu-system-x86 (-mips, -arm for other
boards), busybox-static, kmod and xz-utils, and apt to fetch a kernel the first time.

`

// Exit codes of the tool itself, as of env and timeout.
const (
	exitDead   = 125
	exitFailed = 126
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// list is a flag that adds to a list each time; words of one value are several.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(s string) error {
	*l = append(*l, strings.Fields(s)...)
	return nil
}

// files is a flag that adds a file each time.
type files []vm.File

func (f *files) String() string { return "" }

func (f *files) Set(s string) error {
	file, err := vm.ParseFile(s)
	*f = append(*f, file)
	return err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	say := func(what string) { fmt.Fprintln(stderr, "vmrun: "+what) }
	flags := flag.NewFlagSet("vmrun", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	m := vm.Machine{}
	var include files
	var more list
	flags.Var(&include, "file", "`PATH[:INSIDE]`: a file or folder that the machine has too, with the libraries it needs; a NAME alone is a command of this machine's PATH. May be given several times")
	flags.Var(&more, "module", "`module` to load beside the usual ones, which on a PC are\n"+strings.Join(vm.PC.UsualModules(), " ")+"\nand on another board\n"+strings.Join(vm.Malta.UsualModules(), " "))
	boardName := flags.String("board", vm.PC.String(), "`board` of the machine: pc, malta (MIPS, little-endian) or virt (ARMv7); on one that is not of this machine's kind what is run has to be static")
	none := flags.Bool("no-modules", false, "load none of the usual modules before the command; the kernel asks for most by itself")
	flags.IntVar(&m.Memory, "memory", 1024, "memory in `MiB`; the files take theirs of it")
	flags.IntVar(&m.CPUs, "cpus", 1, "`number` of processors; more than one has made kernels panic")
	flags.StringVar(&m.Accel, "accel", "tcg", "`accelerator` of QEMU; kvm, with -instruction 0, where it is not nested")
	flags.DurationVar(&m.Instruction, "instruction", time.Nanosecond, "`time` that an instruction takes on the machine's clock, a power of two of nanoseconds; 0: the clock is the host's")
	flags.StringVar(&m.Append, "append", "", "`options` to add to the kernel's command line")
	flags.DurationVar(&m.Timeout, "timeout", 10*time.Minute, "`time` for boot and command together, when the machine is ended")
	version := flags.String("kernel", "", "`version` of the kernel, such as 6.1; the newest when empty")
	newest := flags.Bool("update", false, "ask apt for a newer kernel than that in the cache")
	fetch := flags.Bool("fetch", false, "have the kernel in the cache, and no more: machines that begin at once would all fetch it")
	verbose := flags.Bool("v", false, "tell which kernel, and the times")
	cache, err := vm.DefaultStore()
	if err != nil {
		say(err.Error())
		return exitFailed
	}
	flags.StringVar(&cache, "cache", cache, "`directory` for kernels")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if (flags.NArg() == 0) != *fetch || m.CPUs < 1 || m.Memory < 128 || m.Timeout <= 0 ||
		m.Instruction < 0 || m.Instruction > vm.MostInstruction || m.Instruction&(m.Instruction-1) != 0 {
		flags.Usage()
		return exitUsage
	}
	board, err := vm.ParseBoard(*boardName)
	if err != nil {
		say(err.Error())
		return exitUsage
	}
	if board == vm.PC && board.Foreign() {
		say("the kernel is for amd64, and what runs in it has to be: this is " + runtime.GOARCH)
		return exitFailed
	}

	m.Files = include
	if !*none {
		m.Modules = board.UsualModules()
	}
	m.Modules = slices.Concat(m.Modules, more)
	store := vm.Store{Dir: cache, Say: say}
	get := store.Kernel
	if *newest {
		get = store.Fetch
	}
	if m.Kernel, err = get(ctx, board, *version); err != nil {
		say(err.Error())
		return exitFailed
	}
	if *fetch {
		return 0
	}
	result, err := m.Run(ctx, flags.Args(), stdout, stderr)
	var dead *vm.DeadError
	switch {
	case errors.As(err, &dead):
		say(err.Error())
		return exitDead
	case err != nil:
		say(err.Error())
		return exitFailed
	}
	if *verbose {
		say(fmt.Sprintf("Linux %s, up after %.1f s, ended after %.1f s", m.Kernel.Release, result.Boot.Seconds(), result.Whole.Seconds()))
	}
	return result.Status
}
