package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roam6/internal/control"
)

// notHere are commands in the documentation that no test can run, by how they begin, each
// with the reason.
var notHere = map[string]string{
	"scp":                    "there is no router to copy to",
	"opkg":                   "OpenWrt's package manager, on the router",
	"apk":                    "OpenWrt's package manager, on the router",
	"./scripts/feeds":        "of OpenWrt's SDK, which is not in this tree",
	"make defconfig":         "of OpenWrt's SDK",
	"make package":           "of OpenWrt's SDK",
	"cd openwrt-sdk-25.12.*": "OpenWrt's SDK",
	"cp feeds.conf.default":  "of OpenWrt's SDK",
	"echo 'src-link":         "of OpenWrt's SDK",
	"/etc/init.d/":           "OpenWrt's or systemd's",
	"make install":           "run by TestMakeInstall, elsewhere",
	"systemctl":              "the tests are not to touch the services of the machine",
	"journalctl":             "the log of the machine is none of the tests'",
	"ubus":                   "OpenWrt's bus",
	"uci":                    "OpenWrt's; the configurations of the documentation are checked by TestDocumentedConfigurations",
	"ifup":                   "OpenWrt's",
	"ip xfrm":                "needs a kernel with Mobile IPv6: internal/esp's TestKernel does the same with it",
	"for protocol in":        "ip xfrm again",
	"birdc":                  "run by TestRoutingDaemon",
	"echo '137 roam6'":       "changes a file of the machine",
	"git clone":              "the address of the repository is the reader's",
}

func cannotBeHere(command string) bool {
	for start := range notHere {
		if strings.HasPrefix(command, start) {
			return true
		}
	}
	return false
}

// checkCommand looks at a command that is run in the tree, as far as it can be here.
func checkCommand(t *testing.T, where, command string) {
	t.Helper()
	command, _, _ = strings.Cut(command, " #")
	fields := strings.Fields(command)
	for len(fields) > 0 && strings.Contains(fields[0], "=") { // variables
		fields = fields[1:]
	}
	if len(fields) == 0 {
		return
	}
	if cannotBeHere(strings.Join(fields, " ")) {
		return
	}
	switch program := strings.TrimPrefix(fields[0], "bin/"); program {
	case "make":
		out, err := makeDry(fields[1:])
		if err != nil {
			t.Errorf("%s: %s: %v\n%s", where, command, err, out)
		}
	case "go":
		checkGoTest(t, where, fields)
	case "roam6":
		if err := parses(fields[1:]); err != nil {
			t.Errorf("%s: %s: %v", where, command, err)
		}
	default:
		t.Errorf("%s: %s: neither run nor in the list of what cannot be", where, command)
	}
}

// makeDry says whether make has a way to the targets.
func makeDry(arguments []string) ([]byte, error) {
	cmd := exec.Command("make", append([]string{"-n", "-C", treeTop}, arguments...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
	return cmd.CombinedOutput()
}

// checkGoTest looks whether a test or benchmark that a command names is there.
func checkGoTest(t *testing.T, where string, fields []string) {
	t.Helper()
	var pattern string
	for i, f := range fields {
		switch {
		case f == "-run", f == "-bench":
			pattern = fields[i+1]
		case strings.HasPrefix(f, "./") && !strings.HasSuffix(f, "..."):
			files, _ := filepath.Glob(filepath.Join(treeTop, f, "*_test.go"))
			var text bytes.Buffer
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text.Write(b)
			}
			name := regexp.MustCompile(`func (Test|Benchmark)\w*` + strings.TrimPrefix(strings.TrimPrefix(pattern, "Test"), "Benchmark"))
			update := slices.Contains(fields, "-update") && bytes.Contains(text.Bytes(), []byte(`"update"`))
			if !update && !name.Match(text.Bytes()) {
				t.Errorf("%s: %s has no test for %q", where, f, pattern)
			}
		}
	}
}

// parses says whether roam6 takes these arguments. Words in capitals and the like stand for
// what the reader has.
func parses(arguments []string) error {
	if len(arguments) == 0 {
		return nil
	}
	i := slices.IndexFunc(commands(), func(c command) bool { return c.name == arguments[0] })
	if i < 0 && !slices.Contains([]string{"help", "version", "--version"}, arguments[0]) {
		return fmt.Errorf("there is no command %q", arguments[0])
	}
	open := func(s string) bool {
		return strings.ContainsAny(s, "…[|<") || s == strings.ToUpper(s) && s != strings.ToLower(s) && !strings.HasPrefix(s, "-")
	}
	if len(arguments) > 1 && arguments[0] == "show" {
		if !open(arguments[1]) && !strings.HasPrefix(arguments[1], "-") {
			if _, err := control.ParseTopic(arguments[1]); err != nil {
				return err
			}
		}
		arguments = append(slices.Clone(arguments), "-h")
	} else if len(arguments) > 2 && arguments[0] == "lab" && !open(arguments[2]) {
		arguments = append(slices.Clone(arguments), "-h")
	} else {
		return nil
	}
	arguments = slices.DeleteFunc(arguments, open)
	var out, errs bytes.Buffer
	if code := dispatch(arguments, stdio{strings.NewReader(""), &out, &errs}); code != 0 {
		return fmt.Errorf("exit code %d: %s", code, errs.String())
	}
	return nil
}

// A span of code that is a command of ours, in the prose.
var docSpan = regexp.MustCompile("`((?:bin/)?roam6 [^`]+|make [^`]+)`")

// Every command in the documentation that is not run in a world is one that there is: its
// sub-command, topic, scenario and options, its target, its test.
func TestDocumentedCommands(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("needs make: the Debian package make")
	}
	spans, lines := 0, 0
	targets := map[string]bool{}
	for _, d := range documents(t) {
		for _, m := range docSpan.FindAllStringSubmatch(d.prose, -1) {
			spans++
			fields := strings.Fields(m[1])
			if fields[0] == "make" {
				targets[fields[1]] = true
			} else if err := parses(fields[1:]); err != nil {
				t.Errorf("%s: %s: %v", d.path, m[1], err)
			}
		}
		for _, b := range d.blocks {
			if len(b.words) > 0 || b.language != "sh" && b.language != "console" {
				continue
			}
			for _, c := range b.commands() {
				lines++
				checkCommand(t, b.String(), c.text)
			}
		}
	}
	for target := range targets {
		if slices.ContainsFunc([]string{"package/", "defconfig"}, func(s string) bool { return strings.HasPrefix(target, s) }) {
			continue // of OpenWrt's SDK
		}
		if out, err := makeDry([]string{target}); err != nil {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
	if spans < 50 || lines < 10 {
		t.Errorf("only %d spans and %d lines were found", spans, lines)
	}
}

// docCommand is a command of a block, and what the block says that it prints.
type docCommand struct {
	text string
	out  []string
}

// commands are those of a block. Lines of a command that goes on are one command.
func (b docBlock) commands() []docCommand {
	var all []docCommand
	goesOn := ""
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, "\n")
		prompt := strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ")
		switch {
		case goesOn != "":
			all[len(all)-1].text += "\n" + line
		case b.language == "console" && !prompt:
			if len(all) > 0 {
				all[len(all)-1].out = append(all[len(all)-1].out, line)
			}
			continue
		case b.language == "console":
			all = append(all, docCommand{text: line[2:]})
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			all = append(all, docCommand{text: line})
		default:
			continue
		}
		if goesOn = ""; strings.HasSuffix(line, "\\") || strings.HasPrefix(all[len(all)-1].text, "for ") && line != "done" {
			goesOn = line
		}
	}
	return all
}
