// Package ipk writes packages for opkg, the package manager of OpenWrt up to 24.10: a
// gzipped tar of ./debian-binary, ./data.tar.gz and ./control.tar.gz, as OpenWrt's
// scripts/ipkg-build makes it. The same input gives the same octets: entries are sorted,
// owners are numbers, and there is one time, which the caller gives.
package ipk

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Package is a package to be written.
type Package struct {
	// Name, Version and Architecture are required; Architecture is one of opkg's, such
	// as mipsel_24kc, or all.
	Name, Version, Architecture string
	Depends                     []string
	Section                     string
	License, LicenseFiles       string
	// Source and SourceName are the feed's directory and package that it is made from.
	Source, SourceName string
	// Description is one or more lines.
	Description string
	// Conffiles are paths of Files that the administrator may have changed: an upgrade
	// keeps them, and so does sysupgrade.
	Conffiles []string
	Files     []File
	// Gzip compresses in place of this package, which does it somewhat worse than others;
	// its output must depend on nothing but its input, and have no time and no name in it.
	Gzip func([]byte) ([]byte, error)
}

// File is a regular file of a package, owned by root.
type File struct {
	Path string // absolute and clean
	Mode fs.FileMode
	Data []byte
}

// postinst and prerm leave the work to OpenWrt's functions, which enable and start
// services and run uci-defaults, and undo it. Without them a service is never enabled.
const (
	postinst = `#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_postinst $0 $@
`
	prerm = `#!/bin/sh
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_prerm $0 $@
`
)

// FileName is what OpenWrt calls the file of a package.
func (p Package) FileName() string {
	return p.Name + "_" + p.Version + "_" + p.Architecture + ".ipk"
}

// Validate reports everything that is wrong with p.
func (p Package) Validate() error {
	var errs []error
	for _, v := range [...]struct{ what, value string }{{"name", p.Name}, {"version", p.Version}, {"architecture", p.Architecture}} {
		if v.value == "" || strings.Trim(v.value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-~") != "" {
			errs = append(errs, fmt.Errorf("%s %q: letters, digits and _.+-~ only", v.what, v.value))
		}
	}
	seen := map[string]bool{}
	for _, f := range p.Files {
		switch {
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/":
			errs = append(errs, fmt.Errorf("file %q: not an absolute, clean path", f.Path))
		case f.Mode != f.Mode.Perm():
			errs = append(errs, fmt.Errorf("file %s: mode %v is not that of a regular file", f.Path, f.Mode))
		case seen[f.Path]:
			errs = append(errs, fmt.Errorf("file %s: there twice", f.Path))
		}
		seen[f.Path] = true
	}
	for _, f := range p.Files {
		for d := path.Dir(f.Path); d != "/" && d != "."; d = path.Dir(d) {
			if seen[d] {
				errs = append(errs, fmt.Errorf("file %s: %s is a file", f.Path, d))
			}
		}
	}
	for _, c := range p.Conffiles {
		if !seen[c] {
			errs = append(errs, fmt.Errorf("conffile %s: the package has no such file", c))
		}
	}
	return errors.Join(errs...)
}

// gzipped compresses octets.
func (p Package) gzipped(b []byte) ([]byte, error) {
	if p.Gzip != nil {
		return p.Gzip(b)
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// Write writes the package; modified is the time of everything in it, to the second.
func (p Package) Write(w io.Writer, modified time.Time) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	modified = modified.Truncate(time.Second)
	data, size, err := p.archive(p.Files, modified)
	if err != nil {
		return fmt.Errorf("package %s: files: %w", p.Name, err)
	}
	control, _, err := p.archive(p.controlFiles(size, modified), modified)
	if err != nil {
		return fmt.Errorf("package %s: control files: %w", p.Name, err)
	}
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range []File{
		{"/debian-binary", 0o644, []byte("2.0\n")}, {"/data.tar.gz", 0o644, data}, {"/control.tar.gz", 0o644, control},
	} {
		if err := add(t, f, modified); err != nil {
			return fmt.Errorf("package %s: %w", p.Name, err)
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	packed, err := p.gzipped(b.Bytes())
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	_, err = w.Write(packed)
	return err
}

// controlFiles are those for opkg; size is that of the uncompressed archive of files.
func (p Package) controlFiles(size int64, modified time.Time) []File {
	var b strings.Builder
	for _, field := range [...]struct{ name, value string }{
		{"Package", p.Name}, {"Version", p.Version}, {"Depends", strings.Join(p.Depends, ", ")},
		{"Source", p.Source}, {"SourceName", p.SourceName}, {"License", p.License}, {"LicenseFiles", p.LicenseFiles},
		{"Section", p.Section}, {"SourceDateEpoch", fmt.Sprint(modified.Unix())}, {"Architecture", p.Architecture},
		{"Installed-Size", fmt.Sprint(size)}, {"Description", strings.ReplaceAll(strings.TrimSpace(p.Description), "\n", "\n ")},
	} {
		if field.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", field.name, field.value)
		}
	}
	files := []File{
		{"/control", 0o644, []byte(b.String())}, {"/postinst", 0o755, []byte(postinst)}, {"/prerm", 0o755, []byte(prerm)},
	}
	if len(p.Conffiles) > 0 {
		files = append(files, File{"/conffiles", 0o644, []byte(strings.Join(slices.Sorted(slices.Values(p.Conffiles)), "\n") + "\n")})
	}
	return files
}

// archive is a gzipped tar of files and the directories that they are in, and how long
// it is without compression.
func (p Package) archive(files []File, modified time.Time) ([]byte, int64, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range withDirectories(files) {
		if err := add(t, f, modified); err != nil {
			return nil, 0, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, 0, err
	}
	packed, err := p.gzipped(b.Bytes())
	return packed, int64(b.Len()), err
}

// withDirectories adds the directories, and sorts as a walk through the tree would.
func withDirectories(files []File) []File {
	all := slices.Clone(files)
	seen := map[string]bool{}
	directory := func(name string) {
		if !seen[name] {
			seen[name] = true
			all = append(all, File{Path: name, Mode: fs.ModeDir | 0o755})
		}
	}
	directory("/")
	for _, f := range files {
		for d := path.Dir(f.Path); d != "/"; d = path.Dir(d) {
			directory(d)
		}
	}
	slices.SortFunc(all, func(a, b File) int {
		return slices.CompareFunc(strings.Split(a.Path, "/"), strings.Split(b.Path, "/"), cmp.Compare[string])
	})
	return all
}

// add writes an entry: its name begins with ./, its owner is 0 and has no name.
func add(t *tar.Writer, f File, modified time.Time) error {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: "." + f.Path, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)),
		ModTime: modified, Format: tar.FormatGNU,
	}
	if f.Mode.IsDir() {
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
	}
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if _, err := t.Write(f.Data); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}
