package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"roam6/internal/config"
	"roam6/internal/radvdconf"
)

// importConfig translates radvd's configuration.
func importConfig(args []string, std stdio) int {
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	operands, err := interspersed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		importUsage(std.out)
		return 0
	case err != nil || len(operands) != 1:
		importUsage(std.err)
		return 2
	}
	name, src, err := readConfig(operands[0], std.in)
	if err != nil {
		fmt.Fprintln(std.err, "roam6 import:", err)
		return 2
	}
	file, err := radvdconf.Parse(name, src)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return 2
	}
	translation := radvdconf.Translate(file)
	text, err := translation.Text(
		"roam6's configuration, made of radvd's "+name+".",
		"Where a line of that file is named, something was not carried over as it is.")
	if err != nil {
		fmt.Fprintln(std.err, "roam6 import:", err)
		return 2
	}
	if _, err := std.out.Write(text); err != nil {
		fmt.Fprintln(std.err, "roam6 import:", err)
		return 2
	}
	for _, n := range translation.Notes {
		fmt.Fprintln(std.err, n)
	}
	code := 0
	if translation.NeedsLook() {
		code = 1
	}
	if _, err := config.Parse("roam6", text); err != nil {
		fmt.Fprintf(std.err, "roam6 import: the output still has errors, at these lines of it:\n%v\n", err)
		code = 1
	}
	return code
}

// readConfig reads the file, or standard input for -.
func readConfig(path string, in io.Reader) (name string, src []byte, err error) {
	name = path
	if path == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return "", nil, err
		}
		defer f.Close()
		in = f
	}
	src, err = io.ReadAll(io.LimitReader(in, radvdconf.MaxSize+1))
	return name, src, err
}

func importUsage(w io.Writer) {
	fmt.Fprintf(w, `usage: roam6 import FILE

Translates FILE, a configuration of radvd such as /etc/radvd.conf, or standard
input for -, into roam6's, for %s, on standard output.
Standard error tells, FILE:LINE:COLUMN first, what could not be carried over,
and why.

Exit code 0: all of it was. 1: somebody should look at what standard error
tells. 2: FILE cannot be read, or breaks radvd's grammar.
`, config.DefaultPath)
}
