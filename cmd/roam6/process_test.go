package main

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/internal/lab/netns"
)

// process is a daemon of a test.
type process struct {
	name   string
	paths  daemonPaths
	cmd    *exec.Cmd
	client *control.Client
	ended  chan struct{}
	result error // once it has ended
}

// daemonPaths are the files of a daemon: its configuration, which is there, the control
// socket that it names, and a log that is added to.
type daemonPaths struct{ config, socket, log string }

// startProcess starts a daemon in a namespace, which the end of the test kills if it has
// not ended before. Its log is shown if the test has failed.
func startProcess(t *testing.T, s *netns.Space, binary, name string, paths daemonPaths) *process {
	t.Helper()
	p := &process{
		name: name, paths: paths, cmd: exec.Command(binary, "run", "--config", paths.config),
		client: control.NewClient(paths.socket), ended: make(chan struct{}),
	}
	log, err := os.OpenFile(paths.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := s.Do(p.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		log.Close()
		if b, err := os.ReadFile(paths.log); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, b)
		}
	})
	return p
}

// answers reports whether the daemon does what it is asked, or has ended.
func (p *process) answers() bool { return p.over() || p.client.Ping(context.Background()) == nil }

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end ends a daemon in order, as which it must succeed.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the daemon of %s does not end", p.name)
	}
	if p.result != nil {
		t.Errorf("the daemon of %s ended with %v", p.name, p.result)
	}
}

// kill ends a daemon without any order.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// await waits for what has to happen within a time, while daemons live.
func await(t *testing.T, limit time.Duration, what string, daemons iter.Seq[*process], holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		for p := range daemons {
			if p.over() {
				t.Fatalf("the daemon of %s ended: %v", p.name, p.result)
			}
		}
	}
}
