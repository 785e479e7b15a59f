package vm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// libraries is the paths of what a program needs beside itself: its loader and the
// shared libraries, none where it is static or no program. The loader itself is asked,
// as ldd does. Plug-ins, which a program opens by itself, it does not know.
func libraries(file string) ([]string, error) {
	loader, err := interpreter(file)
	if err != nil || loader == "" {
		return nil, err
	}
	out, err := exec.Command(loader, "--list", file).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w: %s", file, err, strings.TrimSpace(string(out)))
	}
	found, err := parseLibraries(string(out))
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", file, err)
	}
	return append(withUnwinder(found), loader), nil
}

// withUnwinder adds to libraries the one that the C library loads by itself, and nobody
// names: without it a program that cancels or ends a thread is aborted.
func withUnwinder(libraries []string) []string {
	for _, l := range libraries {
		unwinder := path.Join(path.Dir(l), "libgcc_s.so.1")
		if _, err := os.Stat(unwinder); err == nil && path.Base(l) == "libc.so.6" && !slices.Contains(libraries, unwinder) {
			return append(libraries, unwinder)
		}
	}
	return libraries
}

// interpreter is the loader that a program names, empty where there is none.
func interpreter(file string) (string, error) {
	f, err := elf.Open(file)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", nil // a script, or data
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if needed, err := f.ImportedLibraries(); f.Type == elf.ET_DYN && !hasInterpreter(f) && err == nil && len(needed) > 0 && file != shell {
		return interpreter(shell) // a plug-in: the loader of any program knows
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return "", fmt.Errorf("loader of %s: %w", file, err)
			}
			return strings.TrimRight(string(name), "\x00"), nil
		}
	}
	return "", nil
}

// shell is a program whose loader is that of all.
const shell = "/bin/sh"

func hasInterpreter(f *elf.File) bool {
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// parseLibraries reads what a loader lists: "NAME => PATH (ADDRESS)", or "PATH
// (ADDRESS)" for the loader itself; the kernel's own vdso has no path.
func parseLibraries(list string) ([]string, error) {
	var paths []string
	for line := range strings.Lines(list) {
		name, path, arrow := strings.Cut(strings.TrimSpace(line), " => ")
		if !arrow {
			path = name
		}
		path, _, _ = strings.Cut(path, " (")
		switch {
		case strings.HasPrefix(path, "/"):
			paths = append(paths, path)
		case arrow:
			return nil, fmt.Errorf("%s: %s", name, path) // "not found"
		}
	}
	return paths, nil
}
