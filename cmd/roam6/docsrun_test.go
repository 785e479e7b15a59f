package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// run runs a command, and looks that it prints what the documentation says: at once, or
// when what it tells of has come to rest.
func (v *docWorld) run(b docBlock, node string, c docCommand) {
	v.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		printed, err := v.output(node, c.text)
		missing := matches(c.out, printed)
		// What fails and says why is in the documentation because of that.
		if missing == "" && (err == nil || len(c.out) > 0) {
			return
		}
		if len(c.out) == 0 || time.Now().After(deadline) {
			v.Errorf("%v: %s: %v\nit does not print\n%s\nbut\n%s", b, c.text, err, missing, printed)
			return
		}
	}
}

// output is what a command prints in a node.
func (v *docWorld) output(node, command string) (string, error) {
	cmd := v.enter(node, "timeout", "10", "sh", "-e", "-c", command)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := v.world.Space(node).Do(cmd.Run)
	return out.String(), err
}

// matches looks for each line that is said to be printed, in their order, and returns the
// first that is not. A word with a digit stands for any such word, … for the rest of a line
// and, alone, for any lines.
func matches(said []string, printed string) (missing string) {
	lines := strings.Split(printed, "\n")
	for _, s := range said {
		want := strings.Fields(s)
		if len(want) == 0 || want[0] == "…" {
			continue
		}
		i := slices.IndexFunc(lines, func(l string) bool { return sameLine(want, strings.Fields(l)) })
		if i < 0 {
			return s
		}
		lines = lines[i+1:]
	}
	return ""
}

var docFigure = regexp.MustCompile(`[0-9]`)

func sameLine(want, got []string) bool {
	for i, w := range want {
		if w == "…" {
			return true
		}
		if i >= len(got) || w != got[i] && !(docFigure.MatchString(w) && docFigure.MatchString(got[i])) {
			return false
		}
	}
	return len(want) == len(got)
}

// The commands of the documentation that ask or change a node are run there, and print what
// it says.
func TestDocumentationRuns(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	for _, program := range []string{"unshare", "nsenter", "setpriv"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: the Debian package util-linux", program)
		}
	}
	all := documents(t)
	v := newDocWorld(t, all[0])
	blocks := 0
	for _, d := range all {
		for _, b := range d.blocks {
			if len(b.words) == 0 || b.language != "sh" && b.language != "console" {
				continue
			}
			if !slices.Contains(docNodes, b.words[0]) {
				t.Errorf("%v: there is no node %s", b, b.words[0])
				continue
			}
			blocks++
			name := ""
			if len(b.words) > 1 {
				name = b.words[1]
			}
			restore := v.when(name)
			for _, c := range b.commands() {
				if !cannotBeHere(c.text) {
					v.run(b, b.words[0], c)
				}
			}
			restore()
		}
	}
	if blocks < 5 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

func TestDocumentedOutput(t *testing.T) {
	const printed = "A  B\n1  10m left\nx\n2  9m58s left\n"
	for _, c := range []struct{ said, missing string }{
		{"A B\n2 7m left", ""}, {"…\n1 …", ""}, {"B A", "B A"}, {"1 10m", "1 10m"}, {"x\n1 10m left\nx", "x"}, {"1 10m gone", "1 10m gone"},
	} {
		if got := matches(strings.Split(c.said, "\n"), printed); got != c.missing {
			t.Errorf("%q: missing is %q, want %q", c.said, got, c.missing)
		}
	}
}
