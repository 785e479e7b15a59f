package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roam6/internal/control"
)

// showDaemon answers on a control socket.
type showDaemon struct{ fail atomic.Bool }

func (d *showDaemon) Show(_ context.Context, t control.Topic) (control.Document, error) {
	if d.fail.Load() {
		return nil, errors.New("not now")
	}
	if t == control.TopicBindings {
		return control.Bindings{Bindings: []control.Binding{{
			HomeAgent: "ha", Mobile: "train", HomeAddress: netip.MustParseAddr("2001:db8:1::2"), State: "active",
			CareOf: []control.CareOf{{Address: netip.MustParseAddr("2001:db8:a1::7")}},
		}}}, nil
	}
	if t == control.TopicStatus {
		return control.Status{Version: "1", Configuration: control.Configuration{File: "roam6"}, Roles: []control.RoleStatus{{Kind: "home agent"}}}, nil
	}
	return control.Handovers{Handovers: []control.Handover{}}, nil
}

func (d *showDaemon) Reload(context.Context) error { return nil }

func startShowDaemon(t *testing.T) (d *showDaemon, path string) {
	t.Helper()
	d = new(showDaemon)
	return d, serveControl(t, d)
}

// serveControl serves a control socket until the end of the test, and returns its path.
func serveControl(t *testing.T, h control.Handler) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	s, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestShow(t *testing.T) {
	d, path := startShowDaemon(t)
	missing := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		name             string
		args             []string
		code             int
		wantOut, wantErr string // beginnings
	}{
		{"table", []string{"bindings", "--control", path}, 0, "HOME AGENT  MOBILE  HOME ADDRESS ", ""},
		{"options first", []string{"--control", path, "bindings"}, 0, "HOME AGENT  MOBILE  HOME ADDRESS ", ""},
		{"empty table", []string{"handovers", "--control=" + path}, 0, "no handovers\n", ""},
		{"JSON", []string{"bindings", "--json", "--control", path}, 0, "{\n  \"bindings\": [\n    {\n      \"home_agent\": \"ha\",\n", ""},
		{"empty JSON", []string{"--json", "handovers", "--control", path}, 0, "{\n  \"handovers\": []\n}\n", ""},
		{"no daemon", []string{"bindings", "--control", missing}, 1, "",
			"roam6 show: control socket " + missing + ": no daemon answers there: is roam6 running? --control PATH asks on another socket\n"},
		{"no daemon to watch", []string{"bindings", "--watch", "--control", missing}, 1, "", "roam6 show: control socket "},
		{"unknown topic", []string{"weather", "--control", path}, 2, "",
			"roam6 show: unknown topic \"weather\": one of status, bindings, updates, home-agents, anchors, prefixes, uplinks, ra, leases, delegations, tunnels, handovers, stats\n"},
		{"no topic", []string{"--control", path}, 0, "roam6 1, up 0s\nconfiguration roam6, in force for 0s\n", ""},
		{"colours in a pipe", []string{"--control", path, "--color=always"}, 0, "roam6 1, up 0s\nconfiguration roam6, in force for 0s\n\n\x1b[1mROLE\x1b[0m", ""},
		{"unknown colours", []string{"bindings", "--color=blue"}, 2, "", "invalid value \"blue\" for flag -color: not one of auto, always and never\n"},
		{"two topics", []string{"bindings", "stats"}, 2, "", "usage: roam6 show ["},
		{"unknown option", []string{"bindings", "--colour"}, 2, "", "flag provided but not defined: -colour\nusage: roam6 show ["},
		{"help", []string{"-h"}, 0, "usage: roam6 show [", ""},
		{"help on a topic", []string{"bindings", "--help"}, 0, "usage: roam6 show [", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, err bytes.Buffer
			code := show(tt.args, stdio{out: &out, err: &err})
			if code != tt.code || !strings.HasPrefix(out.String(), tt.wantOut) || !strings.HasPrefix(err.String(), tt.wantErr) ||
				(tt.wantOut == "") != (out.Len() == 0) || (tt.wantErr == "") != (err.Len() == 0) {
				t.Errorf("exit %d, want %d\nout: %s\nerr: %s", code, tt.code, out.String(), err.String())
			}
		})
	}
	d.fail.Store(true)
	var out, err bytes.Buffer
	if code := show([]string{"bindings", "--control", path}, stdio{out: &out, err: &err}); code != 1 || err.String() != "roam6 show: the daemon says: not now\n" {
		t.Errorf("exit %d, err %q", code, err.String())
	}
}

// writes tells of each write.
type writes struct {
	mu   sync.Mutex
	b    bytes.Buffer
	done func(all string)
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(p)
	w.done(w.b.String())
	return n, err
}

func TestShowWatch(t *testing.T) {
	for _, tt := range []struct {
		name, option, each string
	}{
		{"table", "--json=false", "no handovers\n"},
		{"JSON lines", "--json", "{\"handovers\":[]}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, path := startShowDaemon(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// Once; then the daemon fails, which is told and not the end; then again.
			out := &writes{done: func(all string) {
				switch strings.Count(all, tt.each) {
				case 1:
					d.fail.Store(true)
				case 2:
					cancel()
				}
			}}
			err := &writes{done: func(string) { d.fail.Store(false) }}
			code := showEvery(ctx, time.Millisecond, []string{"handovers", "--watch", tt.option, "--control", path}, stdio{out: out, err: err})
			if code != 0 || strings.Count(out.b.String(), tt.each) != 2 || err.b.String() != "roam6 show: the daemon says: not now\n" {
				t.Errorf("exit %d\nout: %s\nerr: %s", code, out.b.String(), err.b.String())
			}
		})
	}
}

// `roam6 show --watch | head` ends when head does.
func TestShowWatchPipe(t *testing.T) {
	_, path := startShowDaemon(t)
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"--json", "--json=false"} {
		var err bytes.Buffer
		if code := show([]string{"handovers", "--watch", option, "--control", path}, stdio{out: w, err: &err}); code != 1 {
			t.Errorf("%s: exit %d, err %q", option, code, err.String())
		}
	}
}
