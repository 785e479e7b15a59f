package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// place makes files with their contents in a folder.
func place(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// testKernel is a kernel in a cache, with the modules of dep and those of the machine's devices.
func testKernel(t *testing.T, store string) Kernel {
	t.Helper()
	k := Store{Dir: store}.kernel(PC, "6.12.9+deb12-cloud-amd64")
	files := map[string]string{
		"modules.dep":      dep + "kernel/drivers/char/hw_random/virtio-rng.ko:\nkernel/drivers/char/virtio_console.ko:\n",
		"modules.alias":    "alias rtnl-link-ip6tnl ip6_tunnel\nalias pci:v0* x_card\n",
		"modules.softdep":  "# Soft dependencies.\n",
		"modules.builtin":  "kernel/drivers/virtio/virtio_pci.ko\nkernel/net/packet/af_packet.ko\n",
		"../../../vmlinuz": "image",
	}
	for line := range strings.Lines(files["modules.dep"]) {
		name, _, _ := strings.Cut(line, ":")
		files[name] = "module " + name
	}
	place(t, k.folder(), files)
	return k
}

// fakeCommands puts shell scripts in front of PATH.
func fakeCommands(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		place(t, dir, map[string]string{name: "#!/bin/sh\n" + script})
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// testMachine is a machine of fake parts.
func testMachine(t *testing.T) Machine {
	t.Helper()
	fakeCommands(t, map[string]string{"busybox": `printf 'sbin/modprobe\nbin/cat\nbin/sh\n'`})
	return Machine{Kernel: testKernel(t, t.TempDir()), Memory: 256, CPUs: 1, Accel: "tcg"}
}

func TestImage(t *testing.T) {
	m := testMachine(t)
	host := t.TempDir()
	place(t, host, map[string]string{"tree/a/b": "b", "tree/c": "c", "cat": "own"})
	if err := os.Symlink("a/b", filepath.Join(host, "tree/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("gone", filepath.Join(host, "tree/broken")); err != nil {
		t.Fatal(err)
	}
	m.Files = []File{{filepath.Join(host, "tree"), "/x/tree"}, {filepath.Join(host, "cat"), "/bin/cat"}, {filepath.Join(host, "tree/c"), "/x/tree/c"}}
	m.Modules = []string{"esp6", "af-packet", "x_card"}
	name := filepath.Join(host, "initrd")
	if err := m.writeImage(name, []string{"echo", "it's", "$HOME"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	names, got := readArchive(t, b)
	release := path.Join("lib/modules", m.Kernel.Release)
	for name, want := range map[string]entry{
		"init":                               {mode: typeRegular | 0o755, content: initScript},
		"x/tree":                             {mode: typeDirectory | 0o755},
		"x/tree/a/b":                         {mode: typeRegular | 0o755, content: "b"},
		"x/tree/link":                        {mode: typeRegular | 0o755, content: "b"},
		"bin/cat":                            {mode: typeRegular | 0o755, content: "own"}, // not busybox's
		"sbin/modprobe":                      {mode: typeSymlink | 0o777, content: "/usr/bin/busybox"},
		"dev/console":                        {mode: typeDevice | 0o600, major: 5, minor: 1},
		"load":                               {mode: typeRegular | 0o644, content: "virtio_console\nvirtio_rng\nesp6\nx_card\n"},
		release + "/kernel/net/ipv6/esp6.ko": {mode: typeRegular | 0o755, content: "module kernel/net/ipv6/esp6.ko"},
		release + "/kernel/net/xfrm/xfrm_algo.ko":          {mode: typeRegular | 0o755, content: "module kernel/net/xfrm/xfrm_algo.ko"},
		release + "/kernel/drivers/net/ethernet/x-card.ko": {mode: typeRegular | 0o755, content: "module kernel/drivers/net/ethernet/x-card.ko"},
		release + "/modules.alias":                         {mode: typeRegular | 0o644, content: "alias rtnl-link-ip6tnl ip6_tunnel\nalias pci:v0* x_card\n"},
	} {
		if got[name] != want {
			t.Errorf("%s: %.200v, want %.200v", name, got[name], want)
		}
	}
	if _, has := got["x/tree/broken"]; has {
		t.Error("a link to nowhere is there")
	}
	for i, name := range names { // the kernel makes no folders by itself
		if d := path.Dir(name); d != "." && !slices.Contains(names[:i], d) {
			t.Errorf("%s comes without its folder", name)
		}
	}
	// The kernel starts these two by their first line.
	for _, script := range []string{"init", "command"} {
		line, _, _ := strings.Cut(got[script].content, "\n")
		interpreter := strings.Fields(strings.TrimPrefix(line, "#!"))[0][1:]
		if _, has := got[interpreter]; !has || !strings.HasPrefix(line, "#!/") {
			t.Errorf("%s: %q is not in the image", script, line)
		}
	}
	out, err := exec.Command("sh", "-c", strings.Replace(got["command"].content, "exec ", "", 1)).Output()
	if err != nil || string(out) != "it's $HOME\n" {
		t.Errorf("the command prints %q, %v", out, err)
	}

	again := filepath.Join(host, "again")
	if err := m.writeImage(again, []string{"echo", "it's", "$HOME"}); err != nil {
		t.Fatal(err)
	}
	if same, err := os.ReadFile(again); err != nil || !bytes.Equal(same, b) {
		t.Errorf("the same again is different, %v", err)
	}
}

func TestImageErrors(t *testing.T) {
	m := testMachine(t)
	for name, change := range map[string]func(*Machine){
		"unknown module": func(m *Machine) { m.Modules = []string{"warp"} },
		"missing file":   func(m *Machine) { m.Files = []File{{"/nonexistent", "/x"}} },
		"a device":       func(m *Machine) { m.Files = []File{{"/dev/null", "/x"}} },
		"no kernel":      func(m *Machine) { m.Kernel = Kernel{Release: "6.1", dir: "/nonexistent"} },
	} {
		bad := m
		change(&bad)
		if err := bad.writeImage(filepath.Join(t.TempDir(), "initrd"), []string{"true"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	fakeCommands(t, map[string]string{"busybox": `printf 'bin/cat\n'`})
	if err := m.writeImage(filepath.Join(t.TempDir(), "initrd"), []string{"true"}); err == nil || !strings.Contains(err.Error(), "busybox-static") {
		t.Errorf("a busybox without modprobe: error %v", err)
	}
}

func TestParseFile(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	place(t, dir, map[string]string{"here": "", "sub/file": ""})
	fakeCommands(t, map[string]string{"fake-tool": "", "here": ""})
	tool, err := exec.LookPath("fake-tool")
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]File{
		"here":                {dir + "/here", dir + "/here"},
		"sub/file:/x/../y":    {dir + "/sub/file", "/y"},
		dir + "/sub":          {dir + "/sub", dir + "/sub"},
		"fake-tool":           {tool, "/usr/local/bin/fake-tool"},
		"fake-tool:/bin/tool": {tool, "/bin/tool"},
	} {
		if got, err := ParseFile(s); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", ":/x", "nothing-of-that-name", "./nothing", "here:relative"} {
		if got, err := ParseFile(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}
