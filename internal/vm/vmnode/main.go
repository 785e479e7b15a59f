// Command vmnode runs a node of the lab's worlds on an emulated board in place of a process:
// roam6 for the board's architecture, on Debian's kernel for it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"roam6/internal/vm"
)

const usage = `usage: vmnode [OPTION...] run --config PATH

Runs roam6 on an emulated board, which takes the place of all interfaces of the network
namespace that it is started in but lo: their link-layer addresses, addresses, settings and
carriers are the machine's until SIGTERM, when roam6 there ends in order. What it logs
arrives on standard output, and its control socket is where the configuration says. At the
end PATH.machine tells about the machine. It is for: roam6 lab run ride --router COMMAND

`

// Exit codes: those of roam6.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are what the user may choose.
type options struct {
	board   vm.Board
	binary  string // of roam6, for the board
	memory  int    // MiB
	append  string
	timeout time.Duration
	config  string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	say := func(what string) { fmt.Fprintln(stderr, "vmnode: "+what) }
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		say(err.Error())
		return exitUsage
	}
	dir, err := vm.DefaultStore()
	if err != nil {
		say(err.Error())
		return exitFailed
	}
	store := vm.Store{Dir: dir, Say: say}
	kernel, err := store.Kernel(ctx, o.board, "")
	if err == nil {
		err = serve(ctx, o, kernel, stdout)
	}
	if err != nil {
		say(err.Error())
		return exitFailed
	}
	return 0
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("vmnode", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	name := flags.String("board", vm.Malta.String(), "`board`: malta (MIPS, little-endian) or virt (ARMv7)")
	flags.StringVar(&o.binary, "binary", "", "`file` of roam6, built for the board")
	flags.IntVar(&o.memory, "memory", 128, "memory of the board in `MiB`")
	flags.StringVar(&o.append, "append", "", "`options` to add to the kernel's command line")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "`time` after which the machine is ended, whatever it does")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	rest := flags.Args()
	if len(rest) != 3 || rest[0] != "run" || rest[1] != "--config" || o.binary == "" || o.memory < 32 || o.timeout <= 0 {
		flags.Usage()
		return o, errors.New("-binary FILE and run --config PATH are expected")
	}
	o.config = rest[2]
	o.board, err = vm.ParseBoard(*name)
	return o, err
}
