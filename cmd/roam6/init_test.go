package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	labworld "roam6/internal/lab/world"
	"roam6/internal/uci"
)

func runInit(args ...string) (code int, out, err string) {
	var stdout, stderr bytes.Buffer
	code = initialise(args, stdio{in: strings.NewReader(""), out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

var (
	aKey = regexp.MustCompile(`option key '([0-9a-f]{32})'`)
	// commented are lines of a configuration that are commented out.
	commented = regexp.MustCompile(`(?m)^(\t?)#(config |\t?option |\t?list )`)
)

// effective are the lines of a configuration that are neither comments nor blank.
func effective(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); strings.TrimSpace(line) != "" && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// What is written for each role is right as it is, and with all that is commented
// out; it is short, and the file's key is another one each time.
func TestInit(t *testing.T) {
	keys := map[string]bool{}
	for _, i := range initials() {
		for _, name := range []string{i.role, i.short} {
			code, out, stderr := runInit(name)
			if code != 0 || stderr != "" {
				t.Fatalf("%s: exit code %d, %s", name, code, stderr)
			}
			c, err := config.Parse("roam6", []byte(out))
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, out)
			}
			var report checked
			if report = checkReport("roam6", c, nil); len(report.Warnings) > 0 || report.summary == "nothing to do" {
				t.Errorf("%s: %s, %q", name, report.summary, report.Warnings)
			}
			if n := len(effective(out)); n > 12 {
				t.Errorf("%s: %d lines", name, n)
			}
			for _, key := range aKey.FindAllString(out, -1) {
				if keys[key] {
					t.Errorf("%s: a key for the second time", name)
				}
				keys[key] = true
			}
			if all := commented.ReplaceAllString(out, "$1$2"); all == out {
				t.Errorf("%s: nothing is commented out", name)
			} else if _, err := config.Parse("roam6", []byte(all)); err != nil {
				t.Errorf("%s with all that is commented out: %v in\n%s", name, err, all)
			}
		}
	}
	if len(keys) != 2*4 {
		t.Errorf("%d keys", len(keys))
	}
}

// What is commented out in a section is the default, or of an option without one.
func TestInitDefaults(t *testing.T) {
	sections := map[string]config.SectionDescription{}
	for _, s := range config.Describe() {
		sections[s.Type] = s
	}
	for _, i := range initials() {
		kind, inComment := "", false
		for line := range strings.Lines(i.text) {
			if word, ok := strings.CutPrefix(strings.TrimPrefix(line, "#"), "config "); ok {
				kind, inComment = strings.Fields(word)[0], strings.HasPrefix(line, "#")
			}
			statement, ok := strings.CutPrefix(line, "\t#")
			if !ok || inComment || !strings.HasPrefix(statement, "option ") && !strings.HasPrefix(statement, "list ") {
				continue
			}
			words := strings.Fields(statement)
			options := sections[kind].Options
			at := slices.IndexFunc(options, func(o config.OptionDescription) bool { return o.Name == words[1] })
			if at < 0 {
				t.Errorf("%s: %s: there is no such option in %s", i.role, words[1], kind)
				continue
			}
			value := strings.Trim(words[2], "'")
			if o := options[at]; o.Default != value && o.Default != "" || o.Default == "" && !strings.Contains(o.DefaultHelp, value) && !o.List {
				t.Errorf("%s: %s %s is not the default, %q (%s)", i.role, o.Name, value, o.Default, o.DefaultHelp)
			}
		}
	}
}

// What the README shows of each role is what is written, but for the key.
func TestInitIsREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.ReplaceAll(aKey.ReplaceAllString(string(text), "option key 'KEY'"), "\n\n", "\n")
	for _, i := range initials() {
		if want := "```uci\n" + strings.Join(effective(i.text), "\n") + "\n```\n"; !strings.Contains(shown, want) {
			t.Errorf("README.md does not have\n%s", want)
		}
	}
}

func TestInitFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roam6")
	if code, out, stderr := runInit("home-agent", "-o", path); code != 0 || out != "" || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := config.Load(path); err != nil {
		t.Error(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runInit("-o", path, "mr"); code != 1 || stderr != "roam6 init: "+path+" is there already, and is left as it is\n" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("it is another file now: %v", err)
	}
	if code, _, stderr := runInit("-o", filepath.Join(path, "x"), "mr"); code != 1 || stderr == "" {
		t.Errorf("where nothing can be: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := runInit("gateway"); code != 2 || !strings.Contains(stderr, `"gateway" is no role`) {
		t.Errorf("no role: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := runInit(); code != 2 || !strings.HasPrefix(stderr, "usage:") {
		t.Errorf("nothing: exit code %d, %s", code, stderr)
	}
	if code, out, _ := runInit("-h"); code != 0 || !strings.Contains(out, "access-router  ar ") {
		t.Errorf("help: exit code %d, %s", code, out)
	}
}

// A mobile router and a home agent that begin with what is written for them find
// each other, once devices are filled in and the key of one stands in both: the
// addresses of this world are those of the files.
func TestInitWorks(t *testing.T) {
	t.Parallel()
	router, agent := fileOf(t, "mobile-router"), fileOf(t, "home-agent")
	key := aKey.FindString(router)
	if !strings.Contains(agent, "option key") || key == "" || strings.Contains(agent, key) {
		t.Fatalf("keys of\n%s\nand\n%s", router, agent)
	}
	agent = aKey.ReplaceAllString(agent, key)
	agent = strings.ReplaceAll(agent, "'eth0'", "'home0'")
	router = strings.NewReplacer("'wwan0'", "'up0'", "\tlist uplink 'wlan0'\n", "", "'br-lan'", "'lan0'").Replace(router)
	e := newEstate(t)
	e.must(labworld.AddAddress(e.world.Space("mr"), "lan0", netip.PrefixFrom(estateNets[0].Addr().Next(), 64)))
	e.start("ar", e.accessRouter())
	e.start("agent", agent)
	e.move("mr", "ar")
	e.start("mr", router)
	e.registeredAt("mr", true)
	e.reached("mnn", e.addressOf("mnn", estateNets[0]))
	b, err := e.daemons["agent"].client.Bindings(t.Context())
	if err != nil || len(b.Bindings) != 1 || b.Bindings[0].HomeAddress != estateHome {
		t.Errorf("%+v, %v", b, err)
	}
}

func fileOf(t *testing.T, role string) string {
	t.Helper()
	code, out, stderr := runInit(role)
	if code != 0 {
		t.Fatal(stderr)
	}
	if _, err := uci.Parse(role, []byte(out)); err != nil {
		t.Fatal(err)
	}
	return out
}

// The addresses that are to be changed are documentation's (RFC 3849).
func TestInitAddresses(t *testing.T) {
	documentation := netip.MustParsePrefix("2001:db8::/32")
	for _, i := range initials() {
		for _, word := range strings.FieldsFunc(i.text, func(r rune) bool { return strings.ContainsRune(" '\n\t/", r) }) {
			if a, err := netip.ParseAddr(word); err == nil && !documentation.Contains(a) {
				t.Errorf("%s: %v", i.role, a)
			}
		}
	}
}
