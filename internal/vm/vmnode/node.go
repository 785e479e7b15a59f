package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/lab/machine"
	"roam6/internal/vm"
)

//go:embed guest.sh
var guestScript string

// errHandovers: the lab would take these moments for its own.
var errHandovers = errors.New("the machine has a clock of its own: its handovers are in its report at the end")

// node is a machine in the place of this namespace's interfaces.
type node struct {
	options
	kernel  vm.Kernel
	globals config.Globals
	cards   taken
	*session
}

// serve runs the machine until ctx ends, or roam6 there ends by itself.
func serve(ctx context.Context, o options, kernel vm.Kernel, log io.Writer) (err error) {
	c, err := config.Load(o.config)
	if err != nil {
		return err
	}
	n := node{options: o, kernel: kernel, globals: c.Globals}
	if n.cards, err = interfaces(); err != nil {
		return err
	}
	setup, err := n.setup()
	if err != nil {
		return err
	}
	defer os.RemoveAll(setup)
	if err := n.cards.take(); err != nil {
		return errors.Join(err, n.cards.give())
	}
	defer func() { err = errors.Join(err, n.cards.give()) }()
	return n.boot(ctx, setup, log)
}

// setup writes the files that are the machine's alone into a directory.
func (n *node) setup() (dir string, err error) {
	script, err := n.cards.script()
	if err != nil {
		return "", err
	}
	script = fmt.Sprintf("config=%s control=%s state=%s\n%s", quote(n.config), quote(n.globals.Control), quote(n.globals.StateDirectory), script)
	if dir, err = os.MkdirTemp("", "roam6-vmnode-"); err != nil {
		return "", err
	}
	if err = errors.Join(
		os.WriteFile(filepath.Join(dir, "setup"), []byte(script), 0o644),
		os.WriteFile(filepath.Join(dir, "guest.sh"), []byte(guestScript), 0o644)); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// boot runs the machine and what belongs to it.
func (n *node) boot(ctx context.Context, setup string, log io.Writer) error {
	m := vm.Machine{
		Kernel: n.kernel, Modules: n.board.UsualModules(), Memory: n.memory, CPUs: 1, Accel: "tcg", Append: n.append, Timeout: n.timeout,
		Files: []vm.File{{Host: n.binary, Inside: "/usr/local/bin/roam6"}, {Host: n.options.config, Inside: n.options.config}, {Host: setup, Inside: "/node"}},
	}
	var wires []wire
	var theirs []*os.File
	defer func() {
		for _, w := range wires {
			w.close()
		}
		for _, f := range theirs {
			f.Close()
		}
	}()
	for _, c := range n.cards {
		w, f, err := newWire(c)
		if err != nil {
			return err
		}
		wires, theirs = append(wires, w), append(theirs, f)
		m.Cards = append(m.Cards, vm.Card{MAC: c.mac, Frames: f})
	}
	ours, monitor, err := monitorPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	theirs = append(theirs, monitor)
	m.Monitor = monitor

	// The machine outlives ctx: it is to end in order.
	running, halt := context.WithCancelCause(context.WithoutCancel(ctx))
	defer halt(nil)
	input, ask := io.Pipe()
	said, stdout := io.Pipe()
	defer ask.Close()
	m.Input = input
	n.session = newSession(ask)
	var parts sync.WaitGroup
	defer parts.Wait()
	for _, w := range wires {
		parts.Go(w.carry)
		defer w.close() // before Wait
	}
	parts.Go(func() { n.listen(running, said) })
	ended := make(chan error, 1)
	parts.Go(func() {
		_, err := m.Run(running, []string{"sh", "/node/guest.sh"}, stdout, log)
		stdout.Close()
		input.Close()
		ended <- err
	})
	parts.Go(func() {
		if err := n.cards.follow(running, vm.NewMonitor(ours), log); err != nil {
			halt(err)
		}
	})
	defer halt(nil) // before Wait
	return n.live(ctx, running, ended)
}

// live waits until roam6 is up, answers on the control socket, and ends it.
func (n *node) live(ctx, running context.Context, ended <-chan error) error {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return n.end(running, ended)
	case err := <-ended:
		return errors.Join(errors.New("the machine ended before roam6 was up there, as its log tells"), err)
	}
	server, err := control.Listen(n.globals.Control)
	if err != nil {
		return errors.Join(err, n.end(running, ended))
	}
	serving, stop := context.WithCancel(running)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(serving, n) })
	close := func() error {
		stop()
		served.Wait()
		return server.Close()
	}
	select {
	case <-ctx.Done():
	case status := <-n.ended:
		return errors.Join(fmt.Errorf("roam6 ended by itself on the machine, with status %q", status), close())
	}
	err = errors.Join(close(), n.report(running))
	return errors.Join(err, n.end(running, ended))
}

// endTime bounds the orderly end of roam6 and of the machine.
const endTime = time.Minute

// end ends roam6 in order, and the machine.
func (n *node) end(running context.Context, ended <-chan error) error {
	running, cancel := context.WithTimeout(running, endTime)
	defer cancel()
	if err := n.stop(); err != nil {
		return err
	}
	select {
	case status := <-n.ended:
		if status != "0" {
			return fmt.Errorf("roam6 ended on the machine with status %q", status)
		}
	case <-running.Done():
		return fmt.Errorf("roam6 did not end on the machine within %v", endTime)
	}
	select {
	case err := <-ended:
		return err
	case <-running.Done():
		return fmt.Errorf("the machine did not end within %v", endTime)
	}
}

// Show implements control.Handler: it asks the machine's roam6.
func (n *node) Show(ctx context.Context, t control.Topic) (control.Document, error) {
	if t == control.TopicHandovers {
		return nil, errHandovers
	}
	return n.show(ctx, t)
}

// Reload implements control.Handler.
func (n *node) Reload(context.Context) error {
	return errors.New("a machine of the lab keeps its configuration")
}

func (n *node) show(ctx context.Context, t control.Topic) (control.Document, error) {
	text, err := n.question(ctx, "show "+t.String())
	if err != nil {
		return nil, err
	}
	return control.Decode(t, json.RawMessage(text))
}

// report writes what there is to tell about the machine.
func (n *node) report(ctx context.Context) error {
	r := machine.Report{Board: n.board.String(), Kernel: n.kernel.Release, Architecture: n.board.Architecture(), Memory: n.memory}
	status, err := n.question(ctx, "status")
	if err != nil {
		return err
	}
	if r.Resident, err = octets(status, "VmRSS"); err != nil {
		return err
	}
	if r.Peak, err = octets(status, "VmHWM"); err != nil {
		return err
	}
	if r.Own, err = octets(status, "RssAnon"); err != nil {
		return err
	}
	document, err := n.show(ctx, control.TopicHandovers)
	if err != nil {
		return err
	}
	handovers, _ := document.(control.Handovers) // that is what Decode returns
	for _, h := range handovers.Handovers {
		if p := h.Phases; p.LinkUp != nil && p.Updated != nil {
			r.Reactions = append(r.Reactions, time.Duration(*p.Updated-*p.LinkUp))
		}
	}
	return r.Write(n.options.config)
}

// octets is a line "NAME: NUMBER kB" of /proc/PID/status.
func octets(status, name string) (int64, error) {
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name+":" && f[2] == "kB" {
			kilo, err := strconv.ParseInt(f[1], 10, 64)
			return kilo * 1024, err
		}
	}
	return 0, fmt.Errorf("the machine's roam6 has no %s in its /proc/PID/status", name)
}
