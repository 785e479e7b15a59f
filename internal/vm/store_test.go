package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeApt is a Debian whose apt offers some releases, of which the packages of some have
// gone. Modules are below a folder; commands are noted in the file that it returns.
func fakeApt(t *testing.T, modules string, offered, gone []string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	names := ""
	for _, r := range slices.Concat(offered, gone) {
		names += " linux-image-" + r
	}
	missing := ""
	for _, r := range gone {
		missing += "|linux-image-" + r
	}
	note := fmt.Sprintf("echo \"$(basename $0) $*\" >>%s\n", log)
	fakeCommands(t, map[string]string{
		"apt-cache": note + fmt.Sprintf(`case $1,$2 in
			pkgnames,*) [ -e %[1]s/updated ] || [ ! -e %[1]s/empty ] || exit 0; printf '%%s\n' linux-image-cloud-amd64 %[2]s;;
			show,nothing%[3]s) exit 100;;
			show,*) echo "Filename: pool/x.deb";; esac`, dir, names, strings.ReplaceAll(missing, "|", "|show,")),
		"apt-get": note + fmt.Sprintf(`case $1 in download) echo "$3" >"$3_1_amd64.deb";; update) touch %s/updated;; esac`, dir),
		"dpkg-deb": note + fmt.Sprintf(`r=$(cat "$2"); r=${r#linux-image-}; m="$3/%s/$r/kernel/net"
			mkdir -p "$m" "$3/boot" && echo image >"$3/boot/vmlinuz-$r" && echo module >"$m/a.ko" && echo packed >"$m/b.ko.xz"`, modules),
		"xz":     note + `shift 2; for f; do echo unpacked >"${f%.xz}" && rm "$f"; done`,
		"depmod": note + `echo "kernel/net/a.ko:" >"$2/lib/modules/$3/modules.dep"`,
	})
	return log
}

func quiet(string) {}

func TestFetch(t *testing.T) {
	const newest, older = "6.12.117+deb12-cloud-amd64", "6.1.0-56-cloud-amd64"
	for _, folder := range []string{"lib/modules", "usr/lib/modules"} {
		t.Run(folder, func(t *testing.T) {
			log := fakeApt(t, folder, []string{older, newest}, []string{"6.13.1+deb12-cloud-amd64"})
			store := Store{Dir: filepath.Join(t.TempDir(), "cache"), Say: quiet}
			place(t, store.kernel(PC, "6.12.99+deb12-cloud-amd64").dir, map[string]string{"vmlinuz": "old"})
			k, err := store.Fetch(t.Context(), PC, "")
			if err != nil {
				t.Fatal(err)
			}
			if k.Release != newest {
				t.Errorf("release %s", k.Release)
			}
			for name, want := range map[string]string{
				k.image():                                   "image\n",
				k.folder() + "/kernel/net/a.ko":             "module\n",
				k.folder() + "/kernel/net/b.ko":             "unpacked\n",
				k.folder() + "/modules.dep":                 "kernel/net/a.ko:\n",
				filepath.Join(store.Dir, newest, "vmlinuz"): "image\n",
			} {
				if got, err := os.ReadFile(name); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v; want %q", name, got, err, want)
				}
			}
			if k, err := store.Kernel(t.Context(), PC, "6.1"); err != nil || k.Release != older {
				t.Errorf("of version 6.1: %s, %v", k.Release, err)
			}
			// The former one of the series has gone, the other series has not.
			entries, err := os.ReadDir(store.Dir)
			if err != nil {
				t.Fatal(err)
			}
			var has []string
			for _, e := range entries {
				has = append(has, e.Name())
			}
			if want := []string{older, newest}; !slices.Equal(has, want) {
				t.Errorf("the cache has %q, want %q", has, want)
			}
			// From now on nobody is asked.
			before, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if k, err := store.Kernel(t.Context(), PC, ""); err != nil || k.Release != newest {
				t.Errorf("from the cache: %s, %v", k.Release, err)
			}
			if after, err := os.ReadFile(log); err != nil || string(after) != string(before) {
				t.Errorf("with a filled cache commands run, %v:\n%s", err, after[len(before):])
			}
		})
	}
}

func TestFetchUpdatesLists(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root renews the lists of apt")
	}
	log := fakeApt(t, "lib/modules", []string{"6.1.0-56-cloud-amd64"}, nil)
	place(t, filepath.Dir(log), map[string]string{"empty": ""})
	store := Store{Dir: t.TempDir(), Say: quiet}
	if k, err := store.Kernel(t.Context(), PC, ""); err != nil || k.Release != "6.1.0-56-cloud-amd64" {
		t.Errorf("%s, %v", k.Release, err)
	}
}

func TestFetchErrors(t *testing.T) {
	fakeApt(t, "lib/modules", []string{"6.1.0-56-cloud-amd64"}, nil)
	store := Store{Dir: t.TempDir(), Say: quiet}
	if k, err := store.Kernel(t.Context(), PC, "6.12"); err == nil || !strings.Contains(err.Error(), "linux-image-6.12*-cloud-amd64") {
		t.Errorf("a version that nobody offers: %s, error %v", k.Release, err)
	}
	fakeCommands(t, map[string]string{"depmod": "echo no room >&2; exit 1"})
	if _, err := store.Kernel(t.Context(), PC, ""); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("depmod fails: error %v", err)
	}
	if entries, err := os.ReadDir(store.Dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
