package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"roam6/internal/config"
	"roam6/internal/logging"
	"roam6/internal/node"
)

// run is the daemon.
func run(args []string, std stdio) int {
	began := time.Now()
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(std.err)
	path := flags.String("config", config.DefaultPath, "UCI configuration `file`")
	others := flags.String("other-advertisers", "", "`file` of the interfaces that are not advertised on, because another program does,\na line each: the interface's name, a space, and who that is and what to do about it;\nread at the start and with each reload")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "usage: roam6 run [--config FILE] [--other-advertisers FILE]\n\nThe daemon. SIGHUP reloads the configuration, SIGTERM de-registers and ends.\n\n")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil || flags.NArg() > 0:
		flags.Usage()
		return 2
	}
	c, err := config.Load(*path)
	if err != nil {
		// Errors in the file have the place first, as `roam6 check` shows them.
		if wrong := (config.Errors)(nil); !errors.As(err, &wrong) {
			err = fmt.Errorf("roam6 run: %w", err)
		}
		fmt.Fprintln(std.err, err)
		return 1
	}
	level := new(slog.LevelVar)
	level.Set(c.Globals.LogLevel)
	target := logging.Stderr
	if c.Globals.LogTarget == config.LogSyslog {
		target = logging.Syslog
	}
	log := logging.New(logging.Options{Level: level, Target: target, Writer: std.err})
	// SIGTERM and SIGINT end the node in order; a second one ends it at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := node.Run(ctx, node.Options{Config: *path, Version: version, OtherAdvertisers: *others, Began: began}, log, level, c); err != nil {
		fmt.Fprintln(std.err, "roam6:", err)
		return 1
	}
	return 0
}
