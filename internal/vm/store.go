package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Store is the cache of kernels: a folder for each release.
type Store struct {
	Dir string
	// Say tells what is done that takes a while.
	Say func(string)
}

// DefaultStore is where the cache of this user is.
func DefaultStore() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("place of the cache of kernels: %w", err)
	}
	return filepath.Join(dir, "roam6-vm"), nil
}

// Kernel is the newest kernel of a version for a board, such as 6.12, or of all when that
// is empty. One that is in the cache is taken as it is, without asking the network; else
// the newest that apt offers is fetched.
func (s Store) Kernel(ctx context.Context, b Board, version string) (Kernel, error) {
	if k, ok, err := s.cached(b, version); ok || err != nil {
		return k, err
	}
	return s.Fetch(ctx, b, version)
}

func (s Store) cached(b Board, version string) (Kernel, bool, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Kernel{}, false, fmt.Errorf("cache of kernels: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, packagePrefix+e.Name())
	}
	found := releases(b, names, version)
	if len(found) == 0 {
		return Kernel{}, false, nil
	}
	return s.kernel(b, found[0]), true, nil
}

func (s Store) kernel(b Board, release string) Kernel {
	return Kernel{Release: release, Board: b, dir: filepath.Join(s.Dir, release)}
}

const packagePrefix = "linux-image-"

// Fetch puts the newest kernel of a version for a board that apt offers into the cache, if
// it is not there, with a busybox where the board is foreign. Where apt knows of none, or it
// cannot be had any more, the lists of apt are renewed: this machine's needs root.
func (s Store) Fetch(ctx context.Context, b Board, version string) (Kernel, error) {
	a, err := s.apt(b)
	if err != nil {
		return Kernel{}, fmt.Errorf("lists of apt for %s: %w", b.details().arch, err)
	}
	k, err := s.fetch(ctx, a, version)
	if err == nil || ctx.Err() != nil {
		return k, err
	}
	if a.own() && os.Geteuid() != 0 {
		return Kernel{}, fmt.Errorf("%w (`apt-get update` as root may help)", err)
	}
	s.Say("apt-get update of " + b.details().arch)
	if err := a.get(ctx, "", "update", "-qq"); err != nil {
		return Kernel{}, err
	}
	return s.fetch(ctx, a, version)
}

func (s Store) fetch(ctx context.Context, a apt, version string) (Kernel, error) {
	list, err := a.cache(ctx, "pkgnames", packagePrefix)
	if err != nil {
		return Kernel{}, err
	}
	offered := releases(a.board, strings.Fields(string(list)), version)
	for _, release := range offered {
		k := s.kernel(a.board, release)
		if _, err := os.Stat(k.dir); err == nil {
			return k, nil
		}
		// A name may be left in the lists of which there is no package any more.
		if policy, err := a.cache(ctx, "show", packagePrefix+release); err != nil || !bytes.Contains(policy, []byte("Filename: ")) {
			continue
		}
		s.Say("fetching Linux " + release)
		if err := s.add(ctx, a, release); err != nil {
			return Kernel{}, fmt.Errorf("fetch Linux %s: %w", release, err)
		}
		return k, nil
	}
	if version == "" {
		version = "6"
	}
	return Kernel{}, fmt.Errorf("apt offers no package %s%s*-%s: Debian 12 has it", packagePrefix, version, a.board.details().flavour)
}

// add downloads a kernel and unpacks it. It is in the cache when it is complete.
func (s Store) add(ctx context.Context, a apt, release string) (err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.Dir, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	whole, kept := filepath.Join(dir, "whole"), filepath.Join(dir, release)
	if err := a.download(ctx, dir, packagePrefix+release, whole); err != nil {
		return err
	}
	from := filepath.Join(whole, "lib/modules", release)
	if _, err := os.Stat(from); err != nil {
		from = filepath.Join(whole, "usr/lib/modules", release) // since Debian 13
	}
	k := Kernel{Release: release, Board: a.board, dir: kept}
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(k.folder()), 0o755),
		os.Rename(filepath.Join(whole, "boot/vmlinuz-"+release), k.image()),
		os.Rename(from, k.folder()),
	); err != nil {
		return err
	}
	if a.board.Foreign() {
		if err := a.download(ctx, dir, "busybox-static", whole); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(whole, "bin/busybox"), k.busybox()); err != nil {
			return err
		}
	}
	if err := unpackModules(ctx, k.folder()); err != nil {
		return err
	}
	if _, err := run(ctx, dir, "depmod", "-b", kept, release); err != nil {
		return err
	}
	err = os.Rename(kept, filepath.Join(s.Dir, release))
	if errors.Is(err, fs.ErrExist) {
		return nil // another has been as quick
	}
	if err != nil {
		return err
	}
	return s.forget(a.board, release)
}

// forget removes from the cache what a release takes the place of: the board's older ones
// of its series, such as 6.12.
func (s Store) forget(b Board, release string) error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	series := strings.Join(number.FindAllString(release, 2), ".")
	for _, e := range entries {
		found := releases(b, []string{packagePrefix + e.Name()}, series)
		if len(found) == 1 && compareReleases(found[0], release) < 0 {
			if err := os.RemoveAll(filepath.Join(s.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// unpackModules unpacks compressed modules in place, since QEMU's processor is slow.
func unpackModules(ctx context.Context, dir string) error {
	for suffix, command := range map[string][]string{
		".xz": {"xz", "-d", "--"}, ".zst": {"zstd", "-q", "-d", "--rm", "--"}, ".gz": {"gzip", "-d", "--"},
	} {
		var files []string
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.HasSuffix(name, ".ko"+suffix) {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return err
		}
		for part := range slices.Chunk(files, 500) {
			if _, err := run(ctx, dir, command[0], append(command[1:], part...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// run runs a command of the host in a folder and returns what it prints.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	// Superuser's commands are not in everybody's PATH.
	if _, err := exec.LookPath(name); err != nil {
		for _, d := range []string{"/usr/sbin", "/sbin"} {
			if _, err := os.Stat(filepath.Join(d, name)); err == nil {
				name = filepath.Join(d, name)
				break
			}
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		shown := strings.Join(args[:min(len(args), 4)], " ")
		if text := tail(said.Bytes(), 5); text != "" {
			return nil, fmt.Errorf("%s %s: %w: %s", name, shown, err, text)
		}
		return nil, fmt.Errorf("%s %s: %w", name, shown, err)
	}
	return out, nil
}
