package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"roam6/internal/config"
	"roam6/internal/radvdconf"
	"roam6/internal/translation"
)

// maxImport is the longest file to import, in octets.
const maxImport = radvdconf.MaxSize

// importConfig translates another program's configuration.
func importConfig(args []string, std stdio) int {
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	from := flags.String("from", "", "")
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
	program, err := programOf(*from, name, src)
	if err != nil {
		fmt.Fprintln(std.err, "roam6 import:", err)
		return 2
	}
	translated, err := translate(program, name, src)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return 2
	}
	text, err := translated.Text(
		"roam6's configuration, made of "+program+"'s "+name+".",
		"Where a line of that file is named, something was not carried over as it is.")
	if err != nil {
		fmt.Fprintln(std.err, "roam6 import:", err)
		return 2
	}
	if _, err := std.out.Write(text); err != nil {
		fmt.Fprintln(std.err, "roam6 import:", err)
		return 2
	}
	for _, n := range translated.Notes {
		fmt.Fprintln(std.err, n)
	}
	code := 0
	if translated.NeedsLook() {
		code = 1
	}
	if _, err := config.Parse("roam6", text); err != nil {
		fmt.Fprintf(std.err, "roam6 import: the output still has errors, at these lines of it:\n%v\n", err)
		code = 1
	}
	return code
}

// Programs whose configuration can be imported.
const (
	programRadvd = "radvd"
	programMip6d = "mip6d"
)

// programOf tells whose configuration a file is: what the option says, or what its
// first words can be.
func programOf(from, name string, src []byte) (string, error) {
	switch from {
	case programRadvd, programMip6d:
		return from, nil
	case "":
	default:
		return "", fmt.Errorf("--from %q: expected radvd or mip6d", from)
	}
	if len(src) > maxImport {
		return "", fmt.Errorf("%s: more than %d octets", name, maxImport)
	}
	words := firstWords(src)
	switch {
	case strings.EqualFold(words[0], "interface") && !(words[0] == "Interface" && strings.HasPrefix(words[1], `"`)):
		return programRadvd, nil
	case mip6dBegins(words[0]):
		return programMip6d, nil
	case words[0] == "":
		return "", fmt.Errorf("%s: there is nothing in it", name)
	default:
		return "", fmt.Errorf("%s: it begins with %q, as neither radvd's configuration does nor mip6d's; --from radvd or --from mip6d reads it all the same", name, words[0])
	}
}

// firstWords are the first two words behind comments.
func firstWords(src []byte) (words [2]string) {
	found := 0
	for line := range strings.Lines(string(src)) {
		line, _, _ = strings.Cut(line, "#")
		for w := range strings.FieldsSeq(line) {
			words[found] = w
			if found++; found == len(words) {
				return words
			}
		}
	}
	return words
}

// translate reads a program's configuration.
func translate(program, name string, src []byte) (t translation.Translation, err error) {
	if program == programMip6d {
		return translateMip6d(name, src)
	}
	file, err := radvdconf.Parse(name, src)
	if err != nil {
		return t, err
	}
	return radvdconf.Translate(file), nil
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
	src, err = io.ReadAll(io.LimitReader(in, maxImport+1))
	return name, src, err
}

func importUsage(w io.Writer) {
	fmt.Fprintf(w, `usage: roam6 import [--from PROGRAM] FILE

Translates FILE, a configuration of radvd such as /etc/radvd.conf, or of UMIP's
mip6d such as /etc/mip6d.conf, or standard input for -, into roam6's, for
%s, on standard output. Standard error tells, FILE:LINE:COLUMN
first, what could not be carried over, and why.

  --from PROGRAM  radvd or mip6d; without it the first words of FILE tell

Exit code 0: all of it was. 1: somebody should look at what standard error
tells. 2: FILE cannot be read, or breaks the program's grammar.
`, config.DefaultPath)
}
