// Command sizes tells how large binaries are, and which module has what share in them:
// `make size`. Beside each stripped FILE there is FILE.symbols, the same binary with its
// symbol table.
package main

import (
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
}

func run(files []string, out io.Writer) error {
	if len(files) == 0 {
		return errors.New("no binary is named")
	}
	fmt.Fprintf(out, "%-34s %10s %10s %10s\n", "octets", "raw", "gzip", "xz")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		z, err := gzipped(b)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-34s %10d %10d %10s\n", filepath.Base(f), len(b), z, xzipped(b))
	}
	for _, f := range files {
		s, err := sharesOf(f + ".symbols")
		if err != nil {
			return fmt.Errorf("%s.symbols: %w", f, err)
		}
		fmt.Fprintf(out, "\n%s: shares of code and data, in octets\n", filepath.Base(f))
		s.print(out)
	}
	return nil
}

// gzipped is the length of b with gzip -9, as it is in an .ipk.
func gzipped(b []byte) (int, error) {
	var n counter
	z, err := gzip.NewWriterLevel(&n, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err := z.Write(b); err != nil {
		return 0, err
	}
	err = z.Close()
	return int(n), err
}

// xzipped is the length of b with xz -9e, about what it takes in a squashfs; "-" where
// there is no xz.
func xzipped(b []byte) string {
	c := exec.Command("xz", "-9ec")
	c.Stdin = bytes.NewReader(b)
	var n counter
	c.Stdout = &n
	if c.Run() != nil {
		return "-"
	}
	return strconv.Itoa(int(n))
}

type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// sharesOf reads a binary with symbols.
func sharesOf(file string) (shares, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return shares{}, err
	}
	f, err := elf.Open(file)
	if err != nil {
		return shares{}, err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return shares{}, err
	}
	s := newShares(info)
	for _, x := range symbols {
		if int(x.Section) >= len(f.Sections) { // none, or one of ELF's own
			continue
		}
		if section := f.Sections[x.Section]; section.Flags&elf.SHF_ALLOC != 0 && section.Type != elf.SHT_NOBITS {
			s.add(x.Name, x.Size)
		}
	}
	for _, section := range f.Sections {
		if section.Flags&elf.SHF_ALLOC != 0 && section.Type != elf.SHT_NOBITS {
			s.total += section.Size
		}
	}
	return s, nil
}
