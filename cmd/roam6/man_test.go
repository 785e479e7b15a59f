package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// manuals is the folder of the manual pages.
var manuals = filepath.Join("..", "..", "docs", "man")

// What mandoc has to say of the manual pages is nothing.
func TestManualLint(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("there is no mandoc: it needs the Debian package mandoc")
	}
	pages, err := filepath.Glob(filepath.Join(manuals, "*.[0-9]"))
	if err != nil || len(pages) != 2 {
		t.Fatalf("%q, %v", pages, err)
	}
	for _, page := range pages {
		// Style is left to taste: it depends on which other pages are installed.
		if said, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", page).CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%v\n%s", err, said)
		}
	}
}

var (
	// anOption is an option in a usage: -o, --json, [--control PATH].
	anOption = regexp.MustCompile(`(?m)(?:^|[\s\[|])--?([a-z][a-z0-9-]*)`)
	// anEntry is what a line of a list in a usage explains.
	anEntry = regexp.MustCompile(`(?m)^  ([A-Za-z0-9_][A-Za-z0-9_-]*)  +\S`)
)

// Every command is in roam6(8), with every option and every other thing that its
// usage explains; and no command is there that is none.
func TestManualHasEveryCommand(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(manuals, "roam6.8"))
	if err != nil {
		t.Fatal(err)
	}
	all, _, ok := strings.Cut(string(page), "\n.Sh SIGNALS")
	if !ok {
		t.Fatal("the section behind the commands is missing")
	}
	described := map[string]string{}
	for _, part := range strings.Split(all, "\n.Ss ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		described[name] = text
	}
	for _, c := range commands() {
		text, ok := described[c.name]
		delete(described, c.name)
		if !ok {
			t.Errorf("roam6 %s is not there", c.name)
			continue
		}
		var said bytes.Buffer
		if code := c.run([]string{"-h"}, stdio{in: strings.NewReader(""), out: &said, err: &said}); code != 0 {
			t.Errorf("roam6 %s -h: exit code %d", c.name, code)
		}
		usage := strings.ReplaceAll(said.String(), "tcpdump -x", "") // another program's
		for _, found := range anOption.FindAllStringSubmatch(usage, -1) {
			o := found[1]
			flag := "Fl -" + o
			if len(o) == 1 {
				flag = "Fl " + o
			}
			// -h is said once, of all.
			if o != "h" && !regexp.MustCompile(regexp.QuoteMeta(flag)+`\b`).MatchString(text) {
				t.Errorf("roam6 %s: the option %s is not there", c.name, flag)
			}
		}
		for _, found := range anEntry.FindAllStringSubmatch(usage, -1) {
			if !regexp.MustCompile(`(?m)^\.It (Cm|Ev|Ar) ` + regexp.QuoteMeta(found[1]) + `\b`).MatchString(text) {
				t.Errorf("roam6 %s: %s is not there", c.name, found[1])
			}
		}
	}
	for name := range described {
		t.Errorf("%s is no command", name)
	}
}

// exampleFiles are where the examples of the documents are that are run here, and how
// many each has.
var exampleFiles = map[string]int{
	filepath.Join(manuals, "roam6.8"):              5,
	filepath.Join("..", "..", "docs", "import.md"): 3,
}

// The examples of the documents are commands that there are, and do what they should.
// What they name of the system is somewhere else here.
func TestDocumentedExamples(t *testing.T) {
	for path, number := range exampleFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		for name, text := range map[string]string{
			"mip6d.conf": "NodeConfig CN;\n",
			"radvd.conf": "interface eth0 { AdvSendAdvert on; };\n",
		} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ran := 0
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "roam6 ") {
				if runExample(t, folder, strings.Fields(line)[1:]) {
					ran++
				}
			}
		}
		if ran != number {
			t.Errorf("%s: %d examples", path, ran)
		}
	}
}

// runExample runs an example with the files of a folder, and reports whether it can be
// run here: not the daemon, and what asks it.
func runExample(t *testing.T, folder string, words []string) bool {
	t.Helper()
	for i, w := range words {
		switch w {
		case "/etc/config/roam6", "/etc/mip6d.conf", "/etc/radvd.conf", "roam6.new":
			words[i] = filepath.Join(folder, filepath.Base(w))
		}
	}
	if len(words) == 1 && words[0] == "check" { // of the file that is the default
		words = append(words, filepath.Join(folder, "roam6"))
	}
	file, how := "", 0
	if n := len(words); n > 2 && strings.HasPrefix(words[n-2], ">") {
		file, how = words[n-1], os.O_TRUNC
		if words[n-2] == ">>" {
			how = os.O_APPEND
		}
		words = words[:n-2]
	}
	if words[0] == "run" || words[0] == "show" {
		return false
	}
	var out, said bytes.Buffer
	code := dispatch(words, stdio{in: strings.NewReader(""), out: &out, err: &said})
	if code != 0 && words[0] != "doctor" { // which tells what this machine lacks
		t.Errorf("roam6 %s: exit code %d, %s", strings.Join(words, " "), code, said.String())
	}
	if how != 0 {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|how, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(out.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return true
}
