package tcx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// l2Lengths are the link layers that the program for received packets is made for: none
// and Ethernet's.
var l2Lengths = [...]int32{0, ethernetLength}

// loaded is the maps and programs in the kernel.
type loaded struct {
	maps    map[string]*ebpf.Map
	egress  *ebpf.Program
	ingress map[int32]*ebpf.Program // by length of the link layer header
}

// load creates the maps, or takes those that are pinned in a directory, and loads the
// programs. Without a directory nothing is pinned.
func load(s setting, tunnels uint32, directory string) (_ *loaded, err error) {
	l := &loaded{maps: make(map[string]*ebpf.Map), ingress: make(map[int32]*ebpf.Program)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	descriptors := make(map[string]int)
	for _, spec := range specs(tunnels) {
		options := ebpf.MapOptions{PinPath: directory}
		if directory != "" {
			spec.Pinning = ebpf.PinByName
		}
		m, err := ebpf.NewMapWithOptions(spec, options)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", spec.Name, err)
		}
		l.maps[spec.Name] = m
		descriptors[spec.Name] = m.FD()
	}
	if l.egress, err = loadProgram("roam6_out", s.egress(0, descriptors)); err != nil {
		return nil, err
	}
	for _, l2 := range l2Lengths {
		if l.ingress[l2], err = loadProgram("roam6_in", s.ingress(l2, descriptors)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func loadProgram(name string, instructions asm.Instructions) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.SchedCLS, Instructions: instructions,
		// bpf_fib_lookup and bpf_check_mtu are for programs under the kernel's licence: the files
		// that make this one may be used under it, too.
		License: "GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", name, err)
	}
	return p, nil
}

func (l *loaded) close() {
	for _, m := range l.maps {
		m.Close()
	}
	if l.egress != nil {
		l.egress.Close()
	}
	for _, p := range l.ingress {
		p.Close()
	}
}

// version names programs and maps: what another version has left is not like ours.
func version(hook string, s setting, tunnels uint32) string {
	h := sha256.New()
	fmt.Fprintln(h, hook)
	none := make(map[string]int)
	for _, spec := range specs(tunnels) {
		fmt.Fprintln(h, spec.Name, spec.Type, spec.KeySize, spec.ValueSize, spec.MaxEntries, spec.Flags)
		none[spec.Name] = len(none)
	}
	fmt.Fprintln(h, s.egress(0, none))
	for _, l2 := range l2Lengths {
		fmt.Fprintln(h, s.ingress(l2, none))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// bpffs is where the kernel keeps what outlives processes.
const bpffs = "/sys/fs/bpf"

// pinDirectory is the directory for the pins of the engine with a device in the calling
// thread's network namespace, below root: each namespace has its own, and so has each
// version of the programs.
func pinDirectory(root, device, version string) (string, error) {
	home, err := pinHome(root)
	if err != nil {
		return "", err
	}
	return filepath.Join(home, pinName(device), version), nil
}

// pinHome is where everything of the calling thread's namespace is.
func pinHome(root string) (string, error) {
	var s unix.Stat_t
	if err := unix.Stat(threadNamespace, &s); err != nil {
		return "", fmt.Errorf("network namespace: %w", err)
	}
	return filepath.Join(root, fmt.Sprintf("roam6-%d", s.Ino)), nil
}

// pinName is the name of an interface without dots, which the file system refuses.
func pinName(device string) string {
	b := []byte(device)
	for i, c := range b {
		if c == '.' {
			b[i] = ':' // which no interface has in its name
		}
	}
	return string(b)
}

// mountBPF mounts the BPF file system where it is expected, unless it is there.
func mountBPF(root string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil {
		return fmt.Errorf("BPF file system %s: %w", root, err)
	}
	if uint32(s.Type) == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", root, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount the BPF file system at %s: %w", root, err)
	}
	return nil
}

// unpinAll removes a directory with pins. What nothing else holds ends with it, programs
// at interfaces at once.
func unpinAll(directory string) error {
	err := filepath.WalkDir(directory, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() != pinEgress && !strings.HasPrefix(e.Name(), pinIngress) {
			return err
		}
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return nil // nothing of ours: it goes with the directory
		}
		defer l.Close()
		if (tcxLink{l}).index() == 0 {
			return nil // its interface has gone
		}
		return l.Detach()
	})
	if err == nil {
		err = os.RemoveAll(directory)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
