package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"roam6/internal/control"
)

// systemd is a machine made of namespaces in which it is the first process, and in which
// there is nothing beside it but a home agent, roam6.service, and a mobile router,
// router.service, both as the unit of contrib/systemd has them.
type systemd struct {
	*testing.T
	first string // its process number, as it is seen from here
	root  string // its root directory, likewise
}

const (
	systemdAgent = `config globals 'globals'
	option plane '%s'
	option log_level 'debug'
config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	option prefix '2001:db8:10::/64'
	option dad '0'
	list delegation_pool '2001:db8:200::/48'
config mobile 'train'
	option home_address '2001:db8:10::100'
	option router '1'
	option key '000102030405060708090a0b0c0d0e0f'
config interface
	option interface 'wan0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '100'
	option max_interval_ms '300'
config prefix
	option interface 'wan0'
	list prefix '2001:db8:a1::/64'
`
	systemdRouter = `config globals 'globals'
	option plane '%s'
	option control '/run/router.sock'
	option state_directory '/var/lib/router'
config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	list uplink 'wlan0'
	option prefix_delegation '1'
	list downstream 'lan0'
	option key '000102030405060708090a0b0c0d0e0f'
`
)

// startSystemd starts the machine.
func startSystemd(t *testing.T) *systemd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for name, pkg := range map[string]string{"/lib/systemd/systemd": "systemd", "unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s: it needs the Debian package %s", name, pkg)
		}
	}
	s := &systemd{T: t}
	d := t.TempDir()
	for _, folder := range []string{"root", "units", "config"} {
		s.must(os.Mkdir(filepath.Join(d, folder), 0o700))
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "contrib", "systemd", "roam6.service"))
	s.must(err)
	agent := strings.ReplaceAll(string(text), "/usr/sbin/roam6", "/roam6")
	agent = strings.Replace(agent, "[Service]\n", "[Service]\nEnvironment="+asRoam6+"=1\n", 1)
	router := strings.NewReplacer("/etc/config/roam6", "/etc/config/router", "/roam6 run", "/roam6 run --config /etc/config/router",
		"/roam6 check", "/roam6 check /etc/config/router", "StateDirectory=roam6", "StateDirectory=router",
		"[Service]\n", "[Service]\nNetworkNamespacePath=/run/netns/router\n").Replace(agent)
	units := map[string]string{
		"roam6.service": agent, "router.service": router,
		"machine.target": "[Unit]\nRequires=basic.target systemd-journald.service\nAfter=basic.target systemd-journald.service\nAllowIsolate=yes\n",
	}
	for _, name := range []string{"basic.target", "sysinit.target", "sockets.target", "shutdown.target",
		"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"} {
		text, err := os.ReadFile("/lib/systemd/system/" + name)
		s.must(err)
		units[name] = string(text)
	}
	for name, text := range units {
		s.must(os.WriteFile(filepath.Join(d, "units", name), []byte(text), 0o600))
	}
	console, err := os.Create(filepath.Join(d, "console"))
	s.must(err)
	defer console.Close()
	program, err := filepath.Abs(os.Args[0])
	s.must(err)
	machine := exec.Command("sh", filepath.Join("testdata", "systemd", "machine.sh"), d, program)
	machine.Stdout, machine.Stderr = console, console
	machine.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	s.must(machine.Start())
	ended := make(chan struct{})
	go func() {
		_ = machine.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		if t.Failed() && s.first != "" {
			t.Logf("the home agent's journal:\n%s\nthe router's:\n%s", s.journal("roam6"), s.journal("router"))
		}
		if first, err := strconv.Atoi(s.first); err == nil {
			_ = syscall.Kill(first, syscall.SIGKILL)
		}
		<-ended
		if said, err := os.ReadFile(console.Name()); err == nil && t.Failed() {
			t.Logf("the machine said:\n%s", said)
		}
	})
	s.until("systemd is up", func() bool {
		select {
		case <-ended:
			if machine.ProcessState.ExitCode() == 77 {
				t.Skip("needs file systems that may be mounted, control groups of version 2 among them")
			}
			t.Fatal("the machine did not come up")
		default:
		}
		s.first = firstOf(machine.Process.Pid)
		s.root = filepath.Join("/proc", s.first, "root")
		said, _ := s.try("systemctl", "is-system-running")
		return said == "running"
	})
	return s
}

// firstOf is the last descendant of a process in a line of only children that is systemd;
// empty while there is none.
func firstOf(process int) string {
	at := strconv.Itoa(process)
	for {
		children, err := os.ReadFile(filepath.Join("/proc", at, "task", at, "children"))
		list := strings.Fields(string(children))
		if err != nil || len(list) != 1 {
			return ""
		}
		at = list[0]
		if name, _ := os.ReadFile(filepath.Join("/proc", at, "comm")); string(name) == "systemd\n" {
			return at
		}
	}
}

func (s *systemd) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *systemd) until(what string, holds func() bool) {
	s.Helper()
	await(s.T, time.Minute, what, func(func(*process) bool) {}, holds)
}

// try runs a command in the machine, and returns what it says without the end of the line.
func (s *systemd) try(command ...string) (string, error) {
	cmd := exec.Command("nsenter", slices.Concat([]string{"--target", s.first, "--all", "--root", "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", asRoam6 + "=1"}, command)...)
	said, err := cmd.CombinedOutput()
	return strings.TrimRight(string(said), "\n"), err
}

// do runs one that has to succeed.
func (s *systemd) do(command ...string) string {
	s.Helper()
	said, err := s.try(command...)
	if err != nil {
		s.Fatalf("%q: %v\n%s\n%s", command, err, said, s.journal("roam6"))
	}
	return said
}

// fails runs one that has to fail.
func (s *systemd) fails(command ...string) {
	s.Helper()
	if said, err := s.try(command...); err == nil {
		s.Errorf("%q succeeded: %s", command, said)
	}
}

// journal is what the journal has of a unit.
func (s *systemd) journal(unit string, options ...string) string {
	s.Helper()
	said, err := s.try(slices.Concat([]string{"journalctl", "--unit", unit, "--output", "cat", "--no-pager", "--quiet"}, options)...)
	if err != nil {
		s.Errorf("%v: %s", err, said)
	}
	return said
}

// configure writes a configuration in place of the one that is there.
func (s *systemd) configure(name, text string) {
	s.Helper()
	path := filepath.Join(s.root, "etc", "config", name)
	s.must(os.WriteFile(path+".new", []byte(text), 0o600))
	s.must(os.Rename(path+".new", path))
}

// binding is the one that the home agent has.
func (s *systemd) binding() (b control.Binding, ok bool) {
	c := control.NewClient(filepath.Join(s.root, "run", "roam6.sock"))
	list, err := c.Bindings(context.Background())
	if err != nil || len(list.Bindings) != 1 {
		return b, false
	}
	return list.Bindings[0], list.Bindings[0].State == "active" && len(list.Bindings[0].Prefixes) == 1
}

// planes are those that can be used in the machine.
func (s *systemd) planes() (list []string) {
	s.Helper()
	said := s.do("/roam6", "doctor")
	for _, m := range regexp.MustCompile(`(?m)^Data plane (\w+) (is|can be) used`).FindAllStringSubmatch(said, -1) {
		list = append(list, m[1])
	}
	if len(list) == 0 {
		s.Fatalf("no data plane can be used:\n%s", said)
	}
	return list
}

// The unit of contrib/systemd under systemd, with all of its restrictions: a home agent
// and a mobile router start with each data plane that there is, work, and leave nothing
// behind; a reload of a file with errors fails, and so does a start, as often as it is
// tried, until the file is mended; a daemon that is killed is started again and has its
// bindings; the journal has priorities.
//
// Covers: M2.
func TestServiceUnderSystemd(t *testing.T) {
	s := startSystemd(t)
	planes := s.planes()
	t.Logf("data planes: %q", planes)
	for _, plane := range planes {
		s.configure("roam6", fmt.Sprintf(systemdAgent, plane))
		s.configure("router", fmt.Sprintf(systemdRouter, plane))
		s.do("systemctl", "start", "roam6", "router")
		s.until(plane+": the router has a prefix", func() bool { _, ok := s.binding(); return ok })
		s.restricted("roam6")
		s.restricted("router")
		if plane == planes[0] {
			s.reload(plane)
			s.crash()
		}
		s.do("systemctl", "stop", "router")
		if b, _ := s.binding(); b.State == "active" {
			t.Errorf("%s: the router did not de-register", plane)
		}
		s.do("systemctl", "stop", "roam6")
		for _, unit := range []string{"roam6", "router"} {
			if r := s.do("systemctl", "show", "--value", "--property", "Result", unit); r != "success" {
				t.Errorf("%s: %s ended with %s", plane, unit, r)
			}
		}
		for _, namespace := range []string{"1", "router"} {
			s.nothingLeft(plane, namespace)
		}
		if t.Failed() {
			return
		}
	}
	s.state()
	s.mended()
	if said := s.journal("roam6", "--priority", "notice"); strings.Contains(said, ": ok:") {
		t.Errorf("the journal has as important that a file is good:\n%s", said)
	}
	for _, level := range []string{"level=INFO", "level=DEBUG"} {
		if said := s.journal("roam6", "--priority", "notice"); strings.Contains(said, level) {
			t.Errorf("the journal has as important:\n%s", said)
		}
		if said := s.journal("roam6"); !strings.Contains(said, level) {
			t.Errorf("the journal has no %s", level)
		}
	}
	if said := s.journal("roam6", "--priority", "err"); !strings.Contains(said, "/etc/config/roam6:") {
		t.Errorf("the journal has not as errors what is wrong with a file:\n%s", said)
	}
}

// mainPID is the process number of a unit's daemon, in the machine.
func (s *systemd) mainPID(unit string) string {
	s.Helper()
	return s.do("systemctl", "show", "--value", "--property", "MainPID", unit)
}

// restricted looks at what a daemon may do, of which systemd leaves out in silence what the
// kernel does not have.
func (s *systemd) restricted(unit string) {
	s.Helper()
	status := s.do("cat", "/proc/"+s.mainPID(unit)+"/status")
	// CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_NET_BIND_SERVICE.
	const bounding uint64 = 1<<12 | 1<<13 | 1<<39 | 1<<10
	for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", fmt.Sprintf("CapBnd:\t%016x", bounding)} {
		if !strings.Contains(status, line+"\n") {
			s.Errorf("%s has not %q:\n%s", unit, line, status)
		}
	}
	s.fails("nsenter", "--target", s.mainPID(unit), "--mount", "touch", "/etc/config/written")
	s.fails("nsenter", "--target", s.mainPID(unit), "--mount", "ls", "/home/.")
}

// reload has a changed file taken over, and one with errors refused.
func (s *systemd) reload(plane string) {
	s.Helper()
	good := fmt.Sprintf(systemdAgent, plane)
	s.do("systemctl", "reload", "roam6") // the file is as it was
	s.configure("roam6", strings.Replace(good, "option dad '0'", "option dad '0'\n\toption max_lifetime '300'", 1))
	s.do("systemctl", "reload", "roam6")
	s.until("it is reloaded", func() bool { return strings.Contains(s.journal("roam6"), "configuration reloaded") })
	s.configure("roam6", strings.Replace(good, "option dad '0'", "option dda '0'", 1))
	s.fails("systemctl", "reload", "roam6")
	const before = "goes on with the configuration of before: /etc/config/roam6 was not reloaded"
	status := func() string { return s.do("systemctl", "show", "--value", "--property", "StatusText", "roam6") }
	s.until("its status tells", func() bool { return status() == before })
	s.configure("roam6", good)
	s.do("systemctl", "reload", "roam6")
	s.until("its status is good again", func() bool { return status() == "" })
}

// crash kills the home agent's daemon, in whose place another one comes with its binding.
func (s *systemd) crash() {
	s.Helper()
	before, ok := s.binding()
	if !ok {
		s.Fatal("no binding")
	}
	killed := s.mainPID("roam6")
	s.do("kill", "-KILL", killed)
	s.until("it is started again", func() bool {
		said, _ := s.try("systemctl", "show", "--property", "ActiveState,MainPID", "roam6")
		return strings.Contains(said, "ActiveState=active") && !strings.Contains(said, "MainPID="+killed+"\n")
	})
	after, ok := s.binding()
	if !ok || after.Sequence != before.Sequence || !slices.Equal(after.Prefixes, before.Prefixes) {
		s.Errorf("after the crash %+v, before %+v", after, before)
	}
	if said := s.journal("roam6"); !strings.Contains(said, "bindings of an earlier run restored") {
		s.Errorf("no binding was restored:\n%s", said)
	}
}

// nothingLeft looks at what there is of roam6 in a network namespace, "1" that of the
// machine.
func (s *systemd) nothingLeft(plane, namespace string) {
	s.Helper()
	in := []string{"ip", "-n", namespace}
	if namespace == "1" {
		in = []string{"ip"}
	}
	for _, look := range [][]string{{"link"}, {"-6", "rule"}, {"-6", "-details", "route", "show", "table", "all"}} {
		for line := range strings.Lines(s.do(slices.Concat(in, look)...)) {
			if strings.Contains(line, "roam6") || strings.Contains(line, "proto 137 ") || strings.HasSuffix(line, "proto 137\n") {
				s.Errorf("%s: left in %s: %s", plane, namespace, line)
			}
		}
	}
}

// state looks at what is kept, which is nobody else's.
func (s *systemd) state() {
	s.Helper()
	for folder, files := range map[string][]string{"roam6": {"delegating-ha", "duid"}, "router": {"delegation-train", "downstreams", "duid"}} {
		path := filepath.Join(s.root, "var", "lib", folder)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			s.Errorf("%s: %v, %v", folder, info, err)
		}
		entries, err := os.ReadDir(path)
		s.must(err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if !slices.Equal(names, files) {
			s.Errorf("in %s are %q, want %q", folder, names, files)
		}
	}
}

// mended has a start fail more often than systemd lets a unit begin in ten seconds by
// itself: who has mended the file is not told to wait.
func (s *systemd) mended() {
	s.Helper()
	s.configure("roam6", "config home_agents 'ha'\n")
	for range 8 {
		s.fails("systemctl", "restart", "roam6")
	}
	s.configure("roam6", fmt.Sprintf(systemdAgent, "tun"))
	s.do("systemctl", "restart", "roam6")
	s.do("systemctl", "stop", "roam6")
}
