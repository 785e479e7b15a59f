package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roam6/internal/uci"
)

// router is a root file system with the packages installed, OpenWrt's functions replaced
// by stand-ins.
type router struct {
	*testing.T
	root  string
	shell []string
}

// shells are those whose scripts are tried with: OpenWrt's, and where busybox is absent
// the nearest to it.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for name, command := range map[string][]string{"busybox": {"busybox", "sh"}, "dash": {"dash"}, "sh": {"sh"}} {
		if path, err := exec.LookPath(command[0]); err == nil {
			all[name] = append([]string{path}, command[1:]...)
		}
	}
	if len(all) > 1 {
		delete(all, "sh")
	}
	return all
}

// onRouters runs a test with each shell, on a fresh router.
func onRouters(t *testing.T, test func(r *router)) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			// Not in parallel: a program that one test writes would be busy while
			// another one forks.
			r := &router{T: t, root: t.TempDir(), shell: shell}
			r.write("program", "#!/bin/sh\n", 0o755)
			for _, f := range installed(t, filepath.Join(r.root, "program")) {
				r.write(f.Path, string(f.Data), f.Mode)
			}
			standins, err := os.ReadFile("testdata/standins.sh")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"lib/functions.sh", "lib/netifd/netifd-proto.sh"} {
				r.write(name, string(standins), 0o644)
			}
			r.write("lib/functions/network.sh", "", 0o644)
			r.write("etc/init.d/odhcpd", "#!/bin/sh\n[ \"$1\" = enabled ]\n", 0o755)
			r.write("var/run/.keep", "", 0o644)
			r.check("/etc/config/roam6: ok: 1 mobile router", 0)
			test(r)
		})
	}
}

func (r *router) write(name, text string, mode os.FileMode) {
	r.Helper()
	path := filepath.Join(r.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		r.Fatal(err)
	}
}

func (r *router) read(name string) string {
	r.Helper()
	text, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		r.Fatal(err)
	}
	return string(text)
}

// check makes `roam6 check` say something.
func (r *router) check(says string, code int) {
	r.Helper()
	r.write("usr/sbin/roam6", fmt.Sprintf("#!/bin/sh\n[ \"$1\" = check ] || exit 99\ncat <<'EOF'\n%s\nEOF\nexit %d\n", says, code), 0o755)
}

// configure writes a UCI package for the stand-ins.
func (r *router) configure(name, text string) {
	r.Helper()
	f, err := uci.Parse(name, []byte(text))
	if err != nil {
		r.Fatal(err)
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	var b strings.Builder
	for i, s := range f.Sections {
		section := s.Name
		if s.Anonymous {
			section = fmt.Sprintf("cfg%02d", i)
		}
		fmt.Fprintf(&b, "section %s %s\n", s.Type, section)
		for _, o := range s.Options {
			for _, v := range o.Values {
				word := "option"
				if o.List {
					word = "item"
				}
				fmt.Fprintf(&b, "%s %s %s %s\n", word, section, o.Name, quote(v.Text))
			}
		}
	}
	r.write("uci/"+name, b.String(), 0o644)
}

// run runs shell code behind the stand-ins and a file, and returns what was recorded.
func (r *router) run(file, code string, environment ...string) []string {
	r.Helper()
	recorded, _ := r.try(file, code, environment...)
	return recorded
}

func (r *router) try(file, code string, environment ...string) (recorded []string, failure error) {
	r.Helper()
	record := filepath.Join(r.root, "record")
	if err := os.WriteFile(record, nil, 0o644); err != nil {
		r.Fatal(err)
	}
	program := `. "$IPKG_INSTROOT/lib/functions.sh"
. "$IPKG_INSTROOT/` + file + `"
PROG="$IPKG_INSTROOT/usr/sbin/roam6"
` + code
	c := exec.Command(r.shell[0], append(slices.Clone(r.shell[1:]), "-c", program)...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "IPKG_INSTROOT=" + r.root, "RECORD=" + record}, environment...)
	out, failure := c.CombinedOutput()
	if len(out) > 0 {
		r.Errorf("%s: said %q", code, out)
	}
	b, err := os.ReadFile(record)
	if err != nil {
		r.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		recorded = append(recorded, strings.TrimSuffix(line, "\n"))
	}
	return recorded, failure
}

// want compares those of the recorded calls whose name begins with one of some words.
func (r *router) want(when string, recorded []string, names []string, want ...string) {
	r.Helper()
	var got []string
	for _, line := range recorded {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(line, name) }) {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s: called\n  %s\nwant\n  %s", when, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

const trainConfig = `
config mobile_router 'train'
	option home_address '2001:db8:1::2/64'
	option home_agent '2001:db8:1::1'
	list uplink 'wwan0'
	list uplink 'wlan0'
	list prefix '2001:db8:100::/64'
	list downstream 'br-lan'

config uplink
	option interface 'wwan0'
	option addressing 'foreign'
`

const networkConfig = `
config interface 'lan'
	option device 'br-lan'
	option proto 'static'

config interface 'wwan'
	option device 'wwan0'
	option proto 'dhcpv6'

config interface 'sta'
	option proto 'none'

config interface 'old'
	option device 'wlan0'
	option proto 'dhcpv6'
	option disabled '1'
`
