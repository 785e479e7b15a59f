//go:build !nolab

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

	worlds "roam6/internal/lab"
	"roam6/internal/lab/report"
)

func labCommands() []command {
	return []command{{"lab", "worlds of network namespaces on this machine, measured", lab}}
}

// lab runs a world of network namespaces on this machine and measures what
// happens in it.
func lab(args []string, std stdio) int {
	if len(args) == 0 {
		labUsage(std.err)
		return 2
	}
	switch args[0] {
	case "-h", "--help", "help":
		labUsage(std.out)
		return 0
	case "list":
		for _, s := range worlds.Scenarios() {
			fmt.Fprintf(std.out, "%-10s %s\n", s.Name, s.Summary)
		}
		return 0
	case "run":
		return labRun(args[1:], std)
	}
	fmt.Fprintf(std.err, "roam6 lab: unknown command %q\n", args[0])
	labUsage(std.err)
	return 2
}

func labUsage(w io.Writer) {
	fmt.Fprint(w, `usage: roam6 lab list
       roam6 lab run SCENARIO [OPTION...]

A world of network namespaces on this machine, with a roam6 process for each
role and links with real delays, and what happens in it, measured. Needs root,
or a kernel that lets users make their own user namespaces. Exit code 0: all
went well. 1: something did not, as the last lines tell.

roam6 lab run SCENARIO -h lists a scenario's options.
`)
}

// labOptions are those that all scenarios have.
type labOptions struct {
	json      string
	report    string
	about     report.About // for report
	directory string
	keep      bool
	capture   string
}

func labRun(args []string, std stdio) int {
	if len(args) == 0 || args[0] == "" || args[0][0] == '-' {
		labUsage(std.err)
		return 2
	}
	scenario, err := worlds.Find(args[0])
	if err != nil {
		var names []string
		for _, s := range worlds.Scenarios() {
			names = append(names, s.Name)
		}
		fmt.Fprintf(std.err, "roam6 lab: %v; %s`roam6 lab list` lists them\n", err, meant(args[0], names))
		return 2
	}
	var o labOptions
	flags := flag.NewFlagSet("lab run "+scenario.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.StringVar(&o.json, "json", "", "write the report as JSON to a `file`; - is standard output, in place of the table")
	flags.StringVar(&o.report, "report", "", "write the report with plots as one HTML `file`")
	flags.StringVar(&o.directory, "dir", "", "`directory` for configurations, sockets and logs, kept (default: a temporary one)")
	flags.BoolVar(&o.keep, "keep", false, "keep the temporary directory; it is kept after a failure anyway")
	flags.StringVar(&o.capture, "capture", "", "write what passes the links to a `file` in pcap format: all signalling, every hundredth data packet")
	run := scenario.Prepare(flags)
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(std.out, "usage: roam6 lab run %s [OPTION...]\n\n%s.\n\n", scenario.Name, scenario.Summary)
		flags.SetOutput(std.out)
		flags.PrintDefaults()
		return 0
	case err != nil:
		fmt.Fprintf(std.err, "roam6 lab: %v; `roam6 lab run %s -h` lists the options\n", err, scenario.Name)
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(std.err, "roam6 lab: %q: only options come after the scenario\n", flags.Arg(0))
		return 2
	}
	o.about = labAbout(scenario.Name, flags)
	if !worlds.Privileged() {
		code, err := worlds.InUserNamespace(append([]string{"lab", "run"}, args...), std.in, std.out, std.err)
		if err != nil {
			fmt.Fprintln(std.err, "roam6 lab:", err)
		}
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return labReport(ctx, run, o, std)
}

// labReport runs a scenario and shows its report.
func labReport(ctx context.Context, run worlds.Run, o labOptions, std stdio) int {
	fail := func(err error) int {
		fmt.Fprintln(std.err, "roam6 lab:", err)
		return 1
	}
	environment, cleanup, err := labEnvironment(o, std)
	if err != nil {
		return fail(err)
	}
	end, err := labCapture(o.capture, &environment)
	if err != nil {
		return fail(err)
	}
	worlds.Tune()
	result, err := run(ctx, environment)
	err = errors.Join(err, end())
	good := err == nil && len(result.Failures) == 0
	kept := cleanup(good || errors.Is(err, worlds.ErrOption) || ctx.Err() != nil)
	if kept != "" {
		fmt.Fprintln(environment.Progress, "configurations and logs are in", kept)
	}
	switch {
	case ctx.Err() != nil:
		return fail(errors.New("interrupted; the world is taken down"))
	case errors.Is(err, worlds.ErrOption):
		_ = fail(err)
		return 2
	case err != nil:
		return fail(err)
	}
	if err := errors.Join(labWrite(result, o.json, std.out), labHTML(result, o)); err != nil {
		return fail(err)
	}
	if !good {
		return 1
	}
	return 0
}

// labCapture opens the capture file. end closes it.
func labCapture(file string, e *worlds.Environment) (end func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	e.Capture = f
	return f.Close, nil
}

// labEnvironment prepares a directory. cleanup removes it unless it is to be
// kept, and returns where it still is.
func labEnvironment(o labOptions, std stdio) (worlds.Environment, func(good bool) string, error) {
	e := worlds.Environment{Progress: std.out, Observe: labObserver, Directory: o.directory}
	if o.json == "-" {
		e.Progress = std.err
	}
	var err error
	if e.Binary, err = os.Executable(); err != nil {
		return e, nil, fmt.Errorf("find this program: %w", err)
	}
	if o.directory != "" {
		if err := os.MkdirAll(o.directory, 0o700); err != nil {
			return e, nil, err
		}
		return e, func(bool) string { return o.directory }, nil
	}
	if e.Directory, err = os.MkdirTemp("", "roam6-lab-"); err != nil {
		return e, nil, err
	}
	return e, func(good bool) string {
		// What cannot be removed is in a directory for temporary files.
		if !o.keep && good {
			_ = os.RemoveAll(e.Directory)
		} else if os.Remove(e.Directory) != nil {
			return e.Directory // it holds something
		}
		return ""
	}, nil
}

func labWrite(r *report.Report, file string, out io.Writer) error {
	if file == "-" {
		return r.WriteJSON(out)
	}
	fmt.Fprintln(out)
	if err := r.WriteTable(out); err != nil || file == "" {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(r.WriteJSON(f), f.Close())
}
