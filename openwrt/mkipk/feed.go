package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"roam6/internal/ipk"
)

// feed is what an OpenWrt package Makefile says: variables, and its define blocks by
// name. It is no make: what it does not know is an error, so that nothing is left out
// of a package without a word.
type feed struct {
	directory string
	variables map[string]string
	blocks    map[string][]string
}

func readFeed(directory string) (*feed, error) {
	name := filepath.Join(directory, "Makefile")
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x, err := parseFeed(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	x.directory = directory
	return x, nil
}

func parseFeed(r io.Reader) (*feed, error) {
	x := &feed{variables: map[string]string{}, blocks: map[string][]string{}}
	block := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		name, defined := strings.CutPrefix(line, "define ")
		switch {
		case block != "" && line == "endef":
			block = ""
		case block != "":
			x.blocks[block] = append(x.blocks[block], line)
		case defined:
			block = strings.TrimSpace(name)
			x.blocks[block] = nil
		default:
			if name, value, ok := strings.Cut(line, ":="); ok && !strings.ContainsAny(name, " \t#$") {
				x.variables[name] = strings.TrimSpace(value)
			}
		}
	}
	if block != "" {
		return nil, fmt.Errorf("define %s has no endef", block)
	}
	return x, lines.Err()
}

// packages are the names of those that the feed makes.
func (x *feed) packages() []string {
	var names []string
	for name := range x.blocks {
		if p, ok := strings.CutPrefix(name, "Package/"); ok && !strings.Contains(p, "/") {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	return names
}

// target is what a package is made for.
type target struct {
	version      string // of the program; empty: PKG_VERSION
	architecture string // of opkg
	binary       string // the program, compiled
}

// assemble makes a package.
func (x *feed) assemble(name string, t target) (ipk.Package, error) {
	p := ipk.Package{
		Name: name, Architecture: t.architecture, License: x.variables["PKG_LICENSE"], LicenseFiles: x.variables["PKG_LICENSE_FILES"],
		SourceName: x.variables["PKG_NAME"],
	}
	version := t.version
	if version == "" {
		version = x.variables["PKG_VERSION"]
	}
	if err := checkVersion(version); err != nil {
		return p, fmt.Errorf("package %s: %w", name, err)
	}
	release := x.variables["PKG_RELEASE"]
	if strings.Trim(release, "0123456789") != "" || release == "" {
		return p, fmt.Errorf("package %s: PKG_RELEASE %q is no number", name, release)
	}
	p.Version = version + "-r" + release
	title := ""
	for _, line := range x.blocks["Package/"+name] {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":=")
		if !ok {
			return p, fmt.Errorf("package %s: %q is no assignment", name, line)
		}
		switch key {
		case "SECTION":
			p.Section = value
		case "DEPENDS":
			p.Depends = dependencies(value)
		case "PKGARCH":
			p.Architecture = value
		case "TITLE":
			title = value
		case "SOURCE":
			p.Source = value
		case "CATEGORY", "SUBMENU":
		default:
			return p, fmt.Errorf("package %s: %s is not known here", name, key)
		}
	}
	// As OpenWrt has it: the title is the description where there is no other.
	for _, line := range x.blocks["Package/"+name+"/description"] {
		p.Description += strings.TrimSpace(line) + "\n"
	}
	if p.Description == "" {
		p.Description = title
	}
	p.Conffiles = x.blocks["Package/"+name+"/conffiles"]
	var err error
	if p.Files, err = x.install(name, t.binary); err != nil {
		return p, fmt.Errorf("package %s: %w", name, err)
	}
	return p, p.Validate()
}

// checkVersion refuses versions that are not apk's, too: opkg takes nearly all, and the
// same program is to have the same version with both.
func checkVersion(version string) error {
	const grammar = `^\d+(\.\d+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*(~[0-9a-f]+)?$`
	if !regexp.MustCompile(grammar).MatchString(version) {
		return fmt.Errorf("version %q: not one of apk's, such as 0.1.0, 0.1.0_rc1 or 0.0.0_git20261122", version)
	}
	return nil
}

// dependencies are those on other packages: not on configuration (@), nor on the
// architecture, which Go knows.
func dependencies(list string) []string {
	var names []string
	for word := range strings.FieldsSeq(list) {
		if name := strings.TrimPrefix(word, "+"); !strings.ContainsAny(name, "@$") {
			names = append(names, name)
		}
	}
	return names
}

// modeOf is the mode that a command of rules.mk installs with; zero: it is none.
func modeOf(command string) fs.FileMode {
	switch command {
	case "$(INSTALL_BIN)":
		return 0o755
	case "$(INSTALL_DATA)":
		return 0o644
	case "$(INSTALL_CONF)":
		return 0o600
	default:
		return 0
	}
}

// install does what the recipe of a package's files says.
func (x *feed) install(name, binary string) ([]ipk.File, error) {
	recipe, ok := x.blocks["Package/"+name+"/install"]
	if !ok {
		return nil, errors.New("no install recipe")
	}
	var files []ipk.File
	for _, line := range recipe {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "$(INSTALL_DIR)":
			// Directories come with their files.
		case len(words) == 2 && words[0] == "$(call" && words[1] == "GoPackage/Package/Install/Bin,$(1))":
			data, err := os.ReadFile(binary)
			if err != nil {
				return nil, err
			}
			files = append(files, ipk.File{Path: path.Join(x.variables["GO_PKG_INSTALL_BIN_PATH"], x.variables["PKG_NAME"]), Mode: 0o755, Data: data})
		case len(words) == 3 && modeOf(words[0]) != 0:
			destination, ok := strings.CutPrefix(words[2], "$(1)")
			if !ok {
				return nil, fmt.Errorf("%q: not into the package", line)
			}
			data, err := os.ReadFile(filepath.Join(x.directory, filepath.FromSlash(words[1])))
			if err != nil {
				return nil, err
			}
			files = append(files, ipk.File{Path: destination, Mode: modeOf(words[0]), Data: data})
		default:
			return nil, fmt.Errorf("%q: not known here", line)
		}
	}
	return files, nil
}
