package vm

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// modules is what depmod knows of the modules of a kernel: modules.dep, where each has
// a line "PATH: PATH…" with all that it needs, directly or not, and paths are below
// /lib/modules/RELEASE.
type modules struct {
	needs map[string][]string // by path
	paths map[string]string   // by name
}

// readModules reads a modules.dep.
func readModules(r io.Reader) (modules, error) {
	m := modules{needs: map[string][]string{}, paths: map[string]string{}}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		file, needs, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			return modules{}, fmt.Errorf("modules.dep: %q is not PATH: PATH…", lines.Text())
		}
		m.needs[file] = strings.Fields(needs)
		m.paths[moduleName(file)] = file
	}
	return m, lines.Err()
}

// moduleName is the name of the module in a file: kernel/net/sch-x.ko.xz is sch_x. The
// kernel takes '-' and '_' for the same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// find is the path of a module; there is none for what is built in or unknown.
func (m modules) find(name string) (string, bool) {
	file, ok := m.paths[strings.ReplaceAll(name, "-", "_")]
	return file, ok
}

// closure is the paths of some modules and of all that they need, sorted.
func (m modules) closure(files []string) ([]string, error) {
	all := map[string]bool{}
	var add func(string) error
	add = func(file string) error {
		if all[file] {
			return nil
		}
		all[file] = true
		needs, ok := m.needs[file]
		if !ok {
			return fmt.Errorf("modules.dep has no %s", file)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range files {
		if err := add(f); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// below is the paths of modules in one of some folders, sorted.
func (m modules) below(folders []string) []string {
	var in []string
	for file := range m.needs {
		for _, f := range folders {
			if strings.HasPrefix(file, f+"/") || path.Dir(file)+"/*" == f {
				in = append(in, file)
				break
			}
		}
	}
	slices.Sort(in)
	return in
}

// dep is the modules.dep of some modules alone.
func (m modules) dep(files []string) string {
	var b strings.Builder
	for _, f := range files {
		b.WriteString(f + ":")
		for _, n := range m.needs[f] {
			b.WriteString(" " + n)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// aliases is the lines of a modules.alias ("alias PATTERN NAME") or modules.softdep
// ("softdep NAME …") that are about some modules: what is looked up on demand is looked
// up by a slow processor.
func aliases(r io.Reader, files []string) (string, error) {
	wanted := map[string]bool{}
	for _, f := range files {
		wanted[moduleName(f)] = true
	}
	var b strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "alias" && wanted[fields[2]] || len(fields) > 2 && fields[0] == "softdep" && wanted[fields[1]] {
			b.WriteString(lines.Text() + "\n")
		}
	}
	return b.String(), lines.Err()
}
