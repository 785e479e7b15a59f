package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// foreignArchive is what a foreign architecture's packages are fetched from: Debian 12, the last
// with MIPS of 32 bits, whatever Debian this machine is. apt checks the signatures with
// Debian's keyring.
const foreignArchive = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main\n"

// apt is how apt is asked for the packages of a board.
type apt struct {
	board   Board
	options []string // before all others
}

// apt of a foreign board has lists, sources and an idea of what is installed of its own, in
// the cache of kernels, so that this machine's are not touched, and needs no root.
func (s Store) apt(b Board) (apt, error) {
	if !b.Foreign() {
		return apt{board: b}, nil
	}
	arch := b.details().arch
	dir := filepath.Join(s.Dir, ".apt-"+arch)
	status, sources := filepath.Join(dir, "status"), filepath.Join(dir, "sources.list")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "lists/partial"), 0o755),
		os.MkdirAll(filepath.Join(dir, "cache/archives/partial"), 0o755),
		os.WriteFile(status, nil, 0o644),
		os.WriteFile(sources, []byte(foreignArchive), 0o644),
	); err != nil {
		return apt{}, err
	}
	a := apt{board: b}
	for _, o := range []string{
		"APT::Architecture=" + arch, "APT::Architectures::=" + arch, "APT::Sandbox::User=root",
		"Dir::State=" + dir, "Dir::State::lists=" + filepath.Join(dir, "lists"), "Dir::State::status=" + status,
		"Dir::Cache=" + filepath.Join(dir, "cache"), "Dir::Etc::SourceList=" + sources, "Dir::Etc::SourceParts=-",
		"Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	} {
		a.options = append(a.options, "-o", o)
	}
	return a, nil
}

// own reports whether the lists are this machine's, which only root renews.
func (a apt) own() bool { return !a.board.Foreign() }

// get runs apt-get in a folder.
func (a apt) get(ctx context.Context, dir string, args ...string) error {
	_, err := run(ctx, dir, "apt-get", append(a.options, args...)...)
	return err
}

// cache runs apt-cache and returns what it prints.
func (a apt) cache(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, "", "apt-cache", append(a.options, args...)...)
}

// download fetches a package into a folder and unpacks it below that.
func (a apt) download(ctx context.Context, dir, name, into string) error {
	if err := a.get(ctx, dir, "download", "-qq", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return errors.Join(err, errors.New("apt-get download of "+name+" left no package, or several"))
	}
	if _, err := run(ctx, dir, "dpkg-deb", "-x", debs[0], into); err != nil {
		return err
	}
	return os.Remove(debs[0])
}
