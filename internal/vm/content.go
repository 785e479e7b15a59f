package vm

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed init.sh
var initScript string

// needed are the modules of the machine's own devices, which init loads first.
var needed = []string{"virtio_pci", "virtio_console", "virtio_rng"}

// writeImage writes the initramfs.
func (m Machine) writeImage(name string, command []string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	i := image{archive: archive{w: w}, has: map[string]bool{"/": true}}
	if err := errors.Join(m.fillImage(&i, command), i.archive.close(), w.Flush(), f.Close()); err != nil {
		return err
	}
	return nil
}

func (m Machine) fillImage(i *image, command []string) error {
	for _, d := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/tmp", "/etc"} {
		i.directory(d)
	}
	i.device("/dev/console", 5, 1)
	i.device("/dev/null", 1, 3)
	for _, f := range m.Files {
		if err := i.hostFile(f.Host, f.Inside); err != nil {
			return err
		}
	}
	if !m.Kernel.Board.Foreign() {
		// Not busybox's: that would run its own commands in place of those in PATH.
		if err := i.hostFile("/bin/sh", "/bin/sh"); err != nil {
			return err
		}
	}
	if err := i.busybox(m.Kernel); err != nil {
		return err
	}
	i.text("/init", 0o755, initScript)
	i.text("/board", 0o644, m.Kernel.Board.details().firmware)
	i.text("/command", 0o755, "#!/bin/sh\nexec "+quote(command)+"\n")
	i.text("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	i.text("/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n")
	i.text("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n")
	return i.modules(m.Kernel, append(append([]string{}, needed...), m.Modules...))
}

// modules adds a kernel's modules and what modprobe wants to know of them. The list
// of those that init loads has all that they need before them; what is built into the
// kernel is not in it.
func (i *image) modules(k Kernel, load []string) error {
	all, err := k.modules()
	if err != nil {
		return err
	}
	files := all.below(k.Board.details().folders)
	var now strings.Builder
	for _, name := range load {
		file, ok := all.find(name)
		if !ok {
			if err := k.builtIn(name); err != nil {
				return err
			}
			continue
		}
		files = append(files, file)
		now.WriteString(moduleName(file) + "\n")
	}
	files, err = all.closure(files)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := i.hostFile(filepath.Join(k.folder(), f), path.Join("/lib/modules", k.Release, f)); err != nil {
			return err
		}
	}
	i.text("/load", 0o644, now.String())
	i.text(path.Join("/lib/modules", k.Release, "modules.dep"), 0o644, all.dep(files))
	for _, name := range []string{"modules.alias", "modules.softdep"} {
		f, err := os.Open(filepath.Join(k.folder(), name))
		if err != nil {
			return err
		}
		lines, err := aliases(f, files)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		i.text(path.Join("/lib/modules", k.Release, name), 0o644, lines)
	}
	builtin := filepath.Join(k.folder(), "modules.builtin")
	return i.hostFile(builtin, path.Join("/lib/modules", k.Release, "modules.builtin"))
}

// quote words a command for a shell.
func quote(command []string) string {
	var b strings.Builder
	for n, arg := range command {
		if n > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("'" + strings.ReplaceAll(arg, "'", `'\''`) + "'")
	}
	return b.String()
}
