package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// boot runs a machine on a QEMU that is a shell script. It has the ports as descriptors
// 3 to 5; $log is the file for the kernel's log.
func boot(t *testing.T, ctx context.Context, timeout time.Duration, qemu string) (r Result, out, errs string, err error) {
	t.Helper()
	m := testMachine(t)
	m.Timeout = timeout
	fakeCommands(t, map[string]string{"qemu-system-x86_64": `for a; do case $a in file:*) log=${a#file:};; esac; done
` + qemu})
	var stdout, stderr strings.Builder
	r, err = m.Run(ctx, []string{"true"}, &stdout, &stderr)
	return r, stdout.String(), stderr.String(), err
}

func TestRun(t *testing.T) {
	for _, status := range []int{0, 1, 125, 255} {
		r, out, errs, err := boot(t, t.Context(), time.Minute,
			"echo ready >&5; echo output >&3; echo errors >&4; echo 'exit "+strconv.Itoa(status)+"' >&5")
		if err != nil || r.Status != status || out != "output\n" || errs != "errors\n" {
			t.Errorf("status %d: %+v, output %q, errors %q, %v", status, r, out, errs, err)
		}
		if r.Boot <= 0 || r.Whole < r.Boot {
			t.Errorf("times %v, %v", r.Boot, r.Whole)
		}
	}
}

func TestRunWithoutResult(t *testing.T) {
	for name, test := range map[string]struct{ qemu, reason, log string }{
		"panic":          {"echo ready >&5; echo 'Kernel panic - not syncing: x' >$log", "panicked", "not syncing: x"},
		"panic at start": {"echo 'Kernel panic - not syncing: y' >$log", "panicked", "not syncing: y"},
		"before":         {"echo 'no such machine' >&2; exit 3", "before it was up (QEMU: exit status 3)", "no such machine"},
		"during":         {"echo ready >&5; echo Oops >$log", "before the command did", "Oops"},
		"nonsense":       {"echo ready >&5; echo 'exit 256' >&5; echo 'exit x' >&5; echo 'exit -1' >&5", "before the command did", ""},
	} {
		_, _, _, err := boot(t, t.Context(), time.Minute, test.qemu)
		var dead *DeadError
		if !errors.As(err, &dead) || !strings.Contains(dead.Reason, test.reason) || !strings.Contains(dead.Log, test.log) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// The machine that is out of time is ended, and no other process.
func TestTimeout(t *testing.T) {
	for name, test := range map[string]struct{ say, reason string }{
		"boot":    {"", "had not come up after 1s"},
		"command": {"echo ready >&5;", "the command had not ended 1s after"},
	} {
		pid := filepath.Join(t.TempDir(), "pid")
		_, _, _, err := boot(t, t.Context(), time.Second, test.say+"echo $$ >"+pid+"; exec sleep 1000")
		var dead *DeadError
		if !errors.As(err, &dead) || !strings.Contains(dead.Reason, test.reason) {
			t.Errorf("%s: error %v", name, err)
		}
		isGone(t, pid)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	pid := filepath.Join(t.TempDir(), "pid")
	go func() {
		for _, err := os.Stat(pid); err != nil && t.Context().Err() == nil; _, err = os.Stat(pid) {
			time.Sleep(time.Millisecond)
		}
		cancel(errors.New("the operator has had enough"))
	}()
	_, _, _, err := boot(t, ctx, time.Minute, "echo $$ >"+pid+".new; mv "+pid+".new "+pid+"; exec sleep 1000")
	if err == nil || !strings.Contains(err.Error(), "the operator has had enough") {
		t.Errorf("error %v", err)
	}
	isGone(t, pid)
}

// isGone checks that a process has gone.
func isGone(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

func TestNoQEMU(t *testing.T) {
	m := testMachine(t)
	m.Timeout = time.Minute
	busybox := os.Getenv("PATH")
	t.Setenv("PATH", busybox[:strings.Index(busybox, ":")]) // the fake commands alone
	if _, err := m.Run(t.Context(), []string{"true"}, nil, nil); err == nil || !strings.Contains(err.Error(), "install qemu-system-x86") {
		t.Errorf("error %v", err)
	}
}

func TestTail(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""}, {"a\r\nb\r\n", "a\nb"}, {"a\nb\nc\nd", "b\nc\nd"}, {"\n\n", ""},
	} {
		if got := tail([]byte(test.text), 3); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

// The machine's clock is the host's, or counts instructions.
func TestInstruction(t *testing.T) {
	for instruction, want := range map[time.Duration]string{
		0: "", 1: "-icount shift=0,sleep=off", 4: "-icount shift=2,sleep=off", MostInstruction: "-icount shift=10,sleep=off",
	} {
		m := testMachine(t)
		m.Instruction = instruction
		got := strings.Join(m.arguments("initrd", "log"), " ")
		if !strings.Contains(got, want) || want == "" && strings.Contains(got, "-icount") {
			t.Errorf("%v: %s, want %q", instruction, got, want)
		}
	}
}
