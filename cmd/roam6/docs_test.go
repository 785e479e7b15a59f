package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/uci"
)

// Documentation is Markdown whose code is in fences, each with what it is, so that nothing
// in it escapes these tests:
//
//	uci                configuration: of roam6, which passes `roam6 check`, or, where a
//	                   comment names another file of /etc/config, of OpenWrt
//	sh [WHERE [WHEN]]  commands
//	console …          commands behind a prompt, and what they print: see matches
//	others             not run: what it is of, such as text, bird or frr
//
// WHERE a command is run and WHEN is in docsworld_test.go; without it the command is in the
// tree, and what is looked at is in docscommand_test.go.
type docBlock struct {
	file     string
	line     int // of the fence
	language string
	words    []string // WHERE, WHEN
	text     string
}

func (b docBlock) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// document is one file.
type document struct {
	path   string // from the top of the tree
	blocks []docBlock
	prose  string // without the blocks
}

// treeTop is the top of the tree, as tests see it.
const treeTop = "../.."

// languages that may be fenced; those that are not run stand for themselves.
var docLanguages = []string{"uci", "sh", "console", "text", "bird", "frr", "yaml", "promql", "go", "json"}

func documents(t *testing.T) []document {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(treeTop, "docs", "*.md"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	var all []document
	for _, path := range append([]string{filepath.Join(treeTop, "README.md")}, paths...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(treeTop, path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseDocument(name, string(text))
		if err != nil {
			t.Error(err)
		}
		all = append(all, d)
	}
	return all
}

// parseDocument takes prose and code apart.
func parseDocument(path, text string) (document, error) {
	d := document{path: path}
	var prose strings.Builder
	var open *docBlock
	number := 0
	for line := range strings.Lines(text) {
		number++
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case open != nil && fence:
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		case fence:
			words := strings.Fields(info)
			if len(words) == 0 || !slices.Contains(docLanguages, words[0]) {
				return d, fmt.Errorf("%s:%d: code of what language: one of %v", path, number, docLanguages)
			}
			open = &docBlock{path, number, words[0], words[1:], ""}
			prose.WriteString("\n") // so that no span of code goes over a fence
		case strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t"):
			return d, fmt.Errorf("%s:%d: code without a fence", path, number)
		default:
			prose.WriteString(line)
		}
	}
	d.prose = prose.String()
	if open != nil {
		return d, fmt.Errorf("%v: the fence is not closed", *open)
	}
	return d, nil
}

// files of OpenWrt in a block, by the comments that name them, and the rest of it as that
// of roam6.
var docFileName = regexp.MustCompile(`(?m)^# /etc/config/([a-z0-9]+).*$`)

// configurations are what is in a block, by the name of its file.
func configurations(text string) map[string]string {
	all := map[string]string{}
	name, start := "roam6", 0
	put := func(end int) {
		if part := text[start:end]; strings.TrimSpace(part) != "" {
			all[name] += part
		}
	}
	for _, m := range docFileName.FindAllStringSubmatchIndex(text, -1) {
		put(m[0])
		name, start = text[m[2]:m[3]], m[1]
	}
	put(len(text))
	return all
}

// docRole finds a section that gives a daemon something to do.
var docRole = regexp.MustCompile(`(?m)^config (?:[^gm]|m[^e])`)

// Every configuration in the documentation is valid.
func TestDocumentedConfigurations(t *testing.T) {
	count := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.language != "uci" {
				continue
			}
			for name, text := range configurations(b.text) {
				count++
				if name != "roam6" {
					if _, err := uci.Parse(name, []byte(text)); err != nil {
						t.Errorf("%v: %v", b, err)
					}
					continue
				}
				idle := !docRole.MatchString(text)
				if code, out, errs := runCheck(t, text); code != 0 || strings.Contains(out, "nothing to do") != idle {
					t.Errorf("%v: exit code %d: %s%s", b, code, out, errs)
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d configurations were found", count)
	}
}

// Links between documents lead somewhere.
func TestDocumentedLinks(t *testing.T) {
	all := documents(t)
	anchors := map[string][]string{}
	for _, d := range all {
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(d.prose, -1) {
			anchors[d.path] = append(anchors[d.path], anchorOf(m[1]))
		}
	}
	count := 0
	for _, d := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(d.prose, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			count++
			file, anchor, _ := strings.Cut(m[1], "#")
			path := d.path
			if file != "" {
				path = filepath.Join(filepath.Dir(d.path), file)
			}
			if _, err := os.Stat(filepath.Join(treeTop, path)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", d.path, m[1])
			} else if anchor != "" && !slices.Contains(anchors[path], anchor) {
				t.Errorf("%s: the link %s leads to no heading", d.path, m[1])
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d links were found", count)
	}
}

// anchorOf is how GitHub names a heading.
func anchorOf(heading string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), ""), " ", "-")
}

// ofOthers are options in the documentation that are not ours.
var ofOthers = []string{
	"resolvfile",                          // OpenWrt's dnsmasq
	"interfaces_ignore", "install_routes", // charon
}

// Options that are named in the documentation exist.
func TestDocumentedOptions(t *testing.T) {
	known := map[string]bool{}
	for _, s := range config.Describe() {
		known["config "+s.Type] = true
		for _, o := range s.Options {
			known["option "+o.Name] = true
			if o.List {
				known["list "+o.Name] = true
			}
		}
	}
	for _, name := range ofOthers {
		known["option "+name] = true
	}
	count := 0
	for _, d := range documents(t) {
		for _, m := range regexp.MustCompile("`(option|list|config) ([A-Za-z_0-9]+)").FindAllStringSubmatch(d.prose, -1) {
			count++
			if !known[m[1]+" "+m[2]] {
				t.Errorf("%s: there is no %s %s", d.path, m[1], m[2])
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d options were found", count)
	}
}

// What the documentation says that the log says is what the program can say.
func TestDocumentedLog(t *testing.T) {
	var source bytes.Buffer
	err := filepath.WalkDir(treeTop, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	message := regexp.MustCompile(`msg="([^"]+)"|msg=([a-z]+)`)
	// In the prose of docs/operations.md a message is in italics; what has fewer words is
	// stressed.
	italics := regexp.MustCompile(`\*([a-z]\S*(?: [^\s*]+){3,})\*`)
	for _, d := range documents(t) {
		text := d.prose
		for _, b := range d.blocks {
			text += b.text
		}
		found := message.FindAllStringSubmatch(text, -1)
		if strings.HasSuffix(d.path, "operations.md") {
			found = append(found, italics.FindAllStringSubmatch(d.prose, -1)...)
		}
		for _, m := range found {
			count++
			if s := strings.Join(m[1:], ""); !bytes.Contains(source.Bytes(), []byte(`"`+s+`"`)) {
				t.Errorf("%s: nothing logs %q", d.path, s)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d messages were found", count)
	}
}
