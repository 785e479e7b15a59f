package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"roam6/internal/lab/netns"
	"roam6/internal/uci"
)

// daemon is a process of a node: roam6, or another program.
type daemon struct {
	program program // zero: roam6
	// elsewhere, where it is not empty, is the command that runs roam6 on another machine:
	// see internal/lab/machine.
	elsewhere []string
	name      string
	space     *netns.Space
	env       Environment
	config    string // path
	socket    string
	log       *os.File
	waits     *queueing // where it is added to
	// patience, where it is not zero, is how long it may take to end: it has much to
	// take away.
	patience time.Duration

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{} // of the current process
	result  error         // how it ended
	wanted  bool          // its end is expected
}

// stopTime is how long a daemon may take to end in order: de-registration and
// the last advertisements included; stopTimeElsewhere where it takes a machine with it.
const (
	stopTime          = 10 * time.Second
	stopTimeElsewhere = 90 * time.Second
)

func (d *daemon) stopTime() time.Duration {
	if d.patience > 0 {
		return d.patience
	}
	if len(d.elsewhere) > 0 {
		return stopTimeElsewhere
	}
	return stopTime
}

// answerTime is how long a daemon may take to answer on its control socket.
func (d *daemon) answerTime() time.Duration {
	const here, elsewhere = time.Second, 15 * time.Second // an emulated machine is slow
	if len(d.elsewhere) > 0 {
		return elsewhere
	}
	return here
}

// newDaemon writes the configuration and opens the log. The daemon is stopped.
func newDaemon(env Environment, space *netns.Space, file *uci.File) (*daemon, error) {
	d := &daemon{name: space.Name(), space: space, env: env,
		config: filepath.Join(env.Directory, space.Name()),
		socket: controlSocket(env.Directory, space.Name()),
	}
	text, err := uci.Format(file)
	if err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", d.name, err)
	}
	if err := os.WriteFile(d.config, text, 0o600); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", d.name, err)
	}
	if d.log, err = os.OpenFile(d.config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("log of %s: %w", d.name, err)
	}
	return d, nil
}

// program is a program that is not roam6.
type program struct {
	path      string
	args, env []string
	// ready tells whether it can be used, in the namespace where it runs.
	ready func() bool
	// tidy, where it is not nil, says that the program may hang when it is to end, which
	// proves nothing about roam6: it is killed then, and tidy takes away what it left.
	tidy func(*netns.Space) error
}

// newForeign opens the log of another program's process, of which there may be
// some in a node. The process is stopped.
func newForeign(env Environment, space *netns.Space, name string, p program) (*daemon, error) {
	d := &daemon{name: name, space: space, env: env, program: p}
	var err error
	if d.log, err = os.OpenFile(filepath.Join(env.Directory, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	return d, nil
}

// start starts the process in its namespace.
func (d *daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	cmd := exec.Command(d.env.Binary, "run", "--config", d.config)
	if len(d.elsewhere) > 0 {
		cmd = exec.Command(d.elsewhere[0], append(d.elsewhere[1:len(d.elsewhere):len(d.elsewhere)], "run", "--config", d.config)...)
	}
	cmd.Env = append(os.Environ(), d.env.BinaryEnv...)
	if d.program.path != "" {
		cmd = exec.Command(d.program.path, d.program.args...)
		cmd.Env = append(os.Environ(), d.program.env...)
	}
	cmd.Stdout, cmd.Stderr = d.log, d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // an interrupt at the terminal is for the lab
		Pdeathsig: syscall.SIGTERM,
	}
	if err := d.space.Do(cmd.Start); err != nil {
		return fmt.Errorf("start %s of %s: %w", cmd.Path, d.name, err)
	}
	ended := make(chan struct{})
	d.process, d.ended, d.wanted = cmd, ended, false
	if d.waits != nil {
		go d.waits.followRunLoop(cmd.Process.Pid, ended)
	}
	go func() {
		err := cmd.Wait()
		d.mu.Lock()
		d.result = err
		d.mu.Unlock()
		close(ended)
	}()
	return nil
}

// kill ends the process without giving it a chance to clean up.
func (d *daemon) kill() error {
	d.mu.Lock()
	process, ended := d.process, d.ended
	d.wanted = true
	d.mu.Unlock()
	if err := process.Process.Kill(); err != nil {
		return fmt.Errorf("kill the process of %s: %w", d.name, err)
	}
	<-ended
	return nil
}

// stop ends the process in order. It fails when the process had ended before,
// does not end in time, or ends with an error.
func (d *daemon) stop() error {
	d.mu.Lock()
	process, ended := d.process, d.ended
	d.mu.Unlock()
	if process == nil {
		return nil
	}
	if err := d.check(); err != nil {
		return err
	}
	d.mu.Lock()
	already := d.wanted
	d.wanted = true
	d.mu.Unlock()
	if already {
		return nil // stopped or killed
	}
	if err := process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the process of %s: %w", d.name, err)
	}
	select {
	case <-ended:
	case <-time.After(d.stopTime()):
		_ = process.Process.Kill()
		<-ended
		if d.program.tidy != nil {
			return d.program.tidy(d.space)
		}
		return fmt.Errorf("%s did not end within %v of SIGTERM", d.name, d.stopTime())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.result != nil {
		return fmt.Errorf("%s ended with %w", d.name, d.result)
	}
	return nil
}

// check reports a process that ended by itself.
func (d *daemon) check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil || d.wanted {
		return nil
	}
	select {
	case <-d.ended:
		if d.result == nil {
			return fmt.Errorf("%s ended by itself", d.name)
		}
		return fmt.Errorf("%s ended by itself: %w", d.name, d.result)
	default:
		return nil
	}
}

// reload gives the daemon another configuration and tells it to read it.
func (d *daemon) reload(sections ...*section) error {
	text, err := uci.Format(configuration(d.env, d.name, sections...))
	if err == nil {
		// As uci commits: never a half-written file.
		if err = os.WriteFile(d.config+".new", text, 0o600); err == nil {
			err = os.Rename(d.config+".new", d.config)
		}
	}
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", d.name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.process.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("tell %s to reload: %w", d.name, err)
	}
	return nil
}

// running reports whether the daemon answers on its control socket, or the other
// program is ready.
func (d *daemon) running() (ready bool) {
	if d.program.path != "" {
		return d.space.Do(func() error { ready = d.program.ready(); return nil }) == nil && ready
	}
	info, err := os.Stat(d.socket)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// tail writes the last lines of the log.
func (d *daemon) tail(w io.Writer, lines int) {
	b, err := os.ReadFile(d.log.Name())
	if err != nil {
		fmt.Fprintf(w, "%s: %v\n", d.name, err)
		return
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	for _, line := range all[max(0, len(all)-lines):] {
		fmt.Fprintf(w, "  %-5s %s\n", d.name, line)
	}
}

func (d *daemon) observer() Observer {
	if d.env.Observe == nil || d.program.path != "" {
		return nil
	}
	return d.env.Observe(d.socket)
}

// crew is all daemons of a world, in the order of their start.
type crew []*daemon

// start starts all daemons and waits until each is ready.
func (c crew) start(ctx context.Context) error {
	for _, d := range c {
		if err := d.start(); err != nil {
			return err
		}
	}
	const own, others, elsewhere = 10 * time.Second, 40 * time.Second, 3 * time.Minute
	for _, d := range c {
		limit := own
		switch {
		case d.program.path != "":
			limit = others // whatever it loads, on an emulated machine
		case len(d.elsewhere) > 0:
			limit = elsewhere // which boots, and whose kernel may have to be fetched
		}
		if !until(ctx, limit, func() bool { return d.running() || d.check() != nil }) {
			return errors.Join(ctx.Err(), fmt.Errorf("%s is not ready after %v", d.name, limit))
		}
	}
	return c.check()
}

// stop stops all daemons, the last one first.
func (c crew) stop() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].stop())
	}
	return errors.Join(errs...)
}

// close closes the logs.
func (c crew) close() error {
	var errs []error
	for _, d := range c {
		errs = append(errs, d.log.Close())
	}
	return errors.Join(errs...)
}

func (c crew) check() error {
	var errs []error
	for _, d := range c {
		errs = append(errs, d.check())
	}
	return errors.Join(errs...)
}
