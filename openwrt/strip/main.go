// Command strip removes declarations from a Go source file: `openwrt/slim.sh` makes copies
// of modules with it that lack what a router has no use for.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "strip:", err)
		os.Exit(1)
	}
}

// run rewrites the file that is named first without what matches the patterns behind it.
func run(args []string) error {
	if len(args) < 2 {
		return errors.New("a FILE is needed, and a PATTERN or several")
	}
	file, patterns := args[0], args[1:]
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	stripped, err := strip(source, patterns)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, stripped, 0o644)
}
