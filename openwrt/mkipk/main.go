// Command mkipk writes the packages of the feed beside it as .ipk files, for OpenWrt up
// to 24.10, without OpenWrt's SDK: `make openwrt`. What is in them is what the feed's
// Makefile says.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mkipk:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mkipk", flag.ContinueOnError)
	directory := flags.String("feed", "openwrt/roam6", "`directory` of the package in the feed")
	var t target
	flags.StringVar(&t.version, "version", "", "`version` of the program (PKG_VERSION)")
	flags.StringVar(&t.architecture, "arch", "", "opkg's `name` of the architecture, such as mipsel_24kc")
	flags.StringVar(&t.binary, "binary", "", "the compiled program, a `file`")
	epoch := flags.Int64("epoch", 0, "the time of all files, in `seconds` since 1970 (SOURCE_DATE_EPOCH)")
	gzip := flags.String("gzip", "gzip", "`program` that compresses, as GNU gzip; where it is not there, and with an empty one, Go's own does, somewhat worse")
	into := flags.String("out", ".", "`directory` for the packages")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if t.architecture == "" || t.binary == "" || flags.NArg() > 0 {
		return errors.New("-arch and -binary are needed, and nothing else but options; -h lists those")
	}
	x, err := readFeed(*directory)
	if err != nil {
		return err
	}
	for _, name := range x.packages() {
		p, err := x.assemble(name, t)
		if err != nil {
			return err
		}
		if path, err := exec.LookPath(*gzip); err == nil {
			p.Gzip = func(b []byte) ([]byte, error) { return compress(path, b) }
		}
		var b bytes.Buffer
		if err := p.Write(&b, time.Unix(*epoch, 0)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(*into, p.FileName()), b.Bytes(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "%9d %s\n", b.Len(), p.FileName())
	}
	return nil
}

// compress is gzip -9n by a program: GNU's finds more than Go's, by 2 % of roam6.
func compress(program string, b []byte) ([]byte, error) {
	var packed, complaints bytes.Buffer
	c := exec.Command(program, "-9n")
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(b), &packed, &complaints
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", program, err, &complaints)
	}
	return packed.Bytes(), nil
}
