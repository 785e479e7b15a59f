// Command roam6 is Mobile IPv6 and network mobility in one binary: the daemon
// for every role, and the tools to look at it. Each sub-command is a file of
// this directory.
package main

import (
	"fmt"
	"io"
	"os"

	"roam6/internal/config"
)

// version is set by the linker: -X main.version=0.1.0.
var version = "0.0.0_git"

// stdio is what a sub-command reads from and writes to, so that tests can
// stand in for the terminal.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// command is one sub-command. run returns the exit code: 0 success, 1 the
// thing asked for failed, 2 wrong usage.
type command struct {
	name    string
	summary string
	run     func(args []string, std stdio) int
}

// commands are listed in the order in which `roam6 help` shows them.
func commands() []command {
	return append([]command{
		{"run", "the daemon", run},
		{"show", "ask a running daemon", show},
		{"follow", "tell a program what a mobile has, and when that changes", follow},
		{"trace", "record what the roles of a running daemon are told and decide", recordTrace},
		{"replay", "have the roles of a trace decide again", replay},
		{"check", "validate a configuration file", check},
		{"doctor", "what this machine offers, what is used, what to install", diagnose},
		{"decode", "explain a packet or a capture file", decode},
		{"init", "a configuration to begin with, for each role", initialise},
		{"import", "translate the configuration of radvd or of mip6d (UMIP)", importConfig},
		{"radump", "show the router advertisements that are heard", dumpRAs},
	}, labCommands()...)
}

func main() {
	os.Exit(dispatch(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

func dispatch(args []string, std stdio) int {
	if len(args) == 0 {
		usage(std.err)
		return 2
	}
	switch args[0] {
	case "-h", "--help", "help":
		if len(args) > 1 && args[0] == "help" {
			return dispatch([]string{args[1], "-h"}, std)
		}
		usage(std.out)
		return 0
	case "--version", "version":
		fmt.Fprintln(std.out, "roam6", version)
		return 0
	}
	var names []string
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], std)
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(std.err, "roam6: unknown command %q; %s`roam6 help` lists them\n", args[0], meant(args[0], names))
	return 2
}

// meant asks whether a word was one of those that there are, where it is like one.
func meant(word string, words []string) string {
	if m := config.Suggest(word, words); m != "" {
		return fmt.Sprintf("did you mean %q? ", m)
	}
	return ""
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: roam6 COMMAND [OPTION...]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "roam6 COMMAND -h explains a command.")
}
