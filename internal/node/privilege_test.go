package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asUnprivileged makes the test binary give up its privileges and tell what it
// has left.
const asUnprivileged = "ROAM6_TEST_PRIVILEGES"

// What remains of a process of root's after the start: on every thread the two
// capabilities that are needed and no other, nothing that a program it runs
// would inherit, and no way back.
//
// Covers: Attack: kept privileges.
func TestDropPrivileges(t *testing.T) {
	if os.Getenv(asUnprivileged) != "" {
		tellPrivileges()
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: who has no privileges cannot give them up")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestDropPrivileges$", "-test.v")
	cmd.Env = append(os.Environ(), asUnprivileged+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), errors.ErrUnsupported.Error()) {
		t.Skip("not in a binary with cgo: go test with CGO_ENABLED=0")
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		who, status, found := strings.Cut(strings.TrimSpace(line), " has ")
		if !found {
			continue
		}
		seen[who]++
		var effective, permitted, inheritable, ambient uint64
		var forbidden int
		if _, err := fmt.Sscanf(status, "%x %x %x %x %d", &effective, &permitted, &inheritable, &ambient, &forbidden); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		const kept = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
		if effective&^kept|permitted&^kept|inheritable|ambient != 0 || forbidden != 1 {
			t.Errorf("%s: effective %x, permitted %x, inheritable %x, ambient %x, no_new_privs %d", who, effective, permitted, inheritable, ambient, forbidden)
		}
		if who == "thread" && effective != kept {
			t.Errorf("a thread lacks what it needs: %x", effective)
		}
	}
	if seen["thread"] < 2 || seen["child"] != 1 {
		t.Errorf("%v told\n%s", seen, out)
	}
	if !strings.Contains(string(out), "capabilities back: "+unix.EPERM.Error()) {
		t.Errorf("capabilities can be had back\n%s", out)
	}
}

// tellPrivileges writes a line for each thread, one for a program that it runs,
// and whether more can be had.
func tellPrivileges() {
	blocked, release := make(chan bool), make(chan bool)
	defer close(release)
	for range 4 { // threads that are there before
		go func() {
			fd := [2]int{}
			if unix.Pipe(fd[:]) == nil {
				blocked <- true
				_, _ = unix.Read(fd[0], make([]byte, 1)) // a thread of its own
			}
			<-release
		}()
		<-blocked
	}
	if err := dropPrivileges(keptCapabilities); err != nil {
		fmt.Println(err)
		return
	}
	threads, _ := filepath.Glob("/proc/self/task/*/status")
	for _, file := range threads {
		b, _ := os.ReadFile(file)
		fmt.Println("thread has", privilegesOf(string(b)))
	}
	// Root's programs get all of the bounding set, if nothing forbids it.
	b, err := exec.Command("cat", "/proc/self/status").Output()
	fmt.Println("child has", privilegesOf(string(b)), err)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: keptCapabilities | 1<<unix.CAP_SYS_CHROOT, Permitted: keptCapabilities | 1<<unix.CAP_SYS_CHROOT}}
	fmt.Println("capabilities back:", unix.Capset(&header, &data[0]))
}

// privilegesOf reads a status file: effective, permitted, inheritable and
// ambient capabilities, and no_new_privs.
func privilegesOf(status string) string {
	field := func(name string) string {
		_, rest, _ := strings.Cut(status, name+":")
		value, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
		return value
	}
	forbidden, _ := strconv.Atoi(field("NoNewPrivs"))
	return fmt.Sprintf("%s %s %s %s %d", field("CapEff"), field("CapPrm"), field("CapInh"), field("CapAmb"), forbidden)
}
