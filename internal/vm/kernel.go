package vm

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kernel is a kernel in the cache.
type Kernel struct {
	Release string // as uname -r tells
	Board   Board  // that it is for
	// dir has vmlinuz and lib/modules/RELEASE, modules not compressed, and of a foreign
	// architecture busybox.
	dir string
}

func (k Kernel) image() string   { return filepath.Join(k.dir, "vmlinuz") }
func (k Kernel) folder() string  { return filepath.Join(k.dir, "lib/modules", k.Release) }
func (k Kernel) busybox() string { return filepath.Join(k.dir, "busybox") }

func (k Kernel) modules() (modules, error) {
	f, err := os.Open(filepath.Join(k.folder(), "modules.dep"))
	if err != nil {
		return modules{}, err
	}
	defer f.Close()
	return readModules(f)
}

// builtIn is nil for a module that is built into the kernel.
func (k Kernel) builtIn(name string) error {
	list, err := os.ReadFile(filepath.Join(k.folder(), "modules.builtin"))
	if err != nil {
		return err
	}
	for file := range bytes.Lines(list) {
		if moduleName(strings.TrimSpace(string(file))) == strings.ReplaceAll(name, "-", "_") {
			return nil
		}
	}
	return fmt.Errorf("kernel %s has no module %s", k.Release, name)
}

// oldest is the oldest major version that counts: Debian 12 has 6.1.
const oldest = 6

// releases are the releases of a board's kernels in a list of names of packages, the
// newest first: only those that begin with a prefix, such as 6.12.
func releases(b Board, names []string, prefix string) []string {
	var found []string
	pattern := b.packageName()
	for _, name := range names {
		m := pattern.FindStringSubmatch(name)
		if m == nil || !hasVersion(m[1], prefix) {
			continue
		}
		if major, err := strconv.Atoi(m[2]); err == nil && major >= oldest {
			found = append(found, m[1])
		}
	}
	slices.SortFunc(found, func(a, b string) int { return compareReleases(b, a) })
	return slices.Compact(found)
}

// hasVersion reports whether a release begins with a version: 6.1 is that of 6.1.0-9,
// not of 6.12.1.
func hasVersion(release, version string) bool {
	rest, ok := strings.CutPrefix(release, version)
	return ok && (version == "" || rest == "" || rest[0] < '0' || rest[0] > '9')
}

var number = regexp.MustCompile(`\d+`)

// compareReleases orders releases by the numbers in them.
func compareReleases(a, b string) int {
	x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
	return cmp.Or(slices.CompareFunc(x, y, func(a, b string) int {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}), cmp.Compare(a, b))
}
