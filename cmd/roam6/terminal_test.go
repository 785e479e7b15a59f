package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal: what is written to the one is read from the other.
func pty(t *testing.T, rows, columns uint16) (terminal, other *os.File) {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { other.Close() })
	if err := unix.IoctlSetPointerInt(int(other.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(int(other.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(other.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return terminal, other
}

func TestTerminal(t *testing.T) {
	tty, _ := pty(t, 24, 100)
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for _, p := range pairs {
				if key, value, _ := strings.Cut(p, "="); key == name {
					return value
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		name            string
		got             terminal
		colour, unicode bool
		redraws         bool
		width           int
	}{
		{"terminal", terminalOf(tty, env("TERM=xterm", "LANG=de_DE.UTF-8"), colourAuto), true, true, true, 100},
		{"NO_COLOR", terminalOf(tty, env("TERM=xterm", "NO_COLOR=1"), colourAuto), false, false, true, 100},
		{"NO_COLOR, but always", terminalOf(tty, env("TERM=xterm", "NO_COLOR=1"), colourAlways), true, false, true, 100},
		{"never", terminalOf(tty, env("TERM=xterm", "LC_ALL=C", "LANG=en_GB.utf8"), colourNever), false, false, true, 100},
		{"dumb", terminalOf(tty, env("TERM=dumb", "LC_CTYPE=C.UTF-8"), colourAuto), false, true, false, 100},
		{"no TERM", terminalOf(tty, env(), colourAuto), false, false, false, 100},
		{"pipe", terminalOf(new(bytes.Buffer), env("TERM=xterm"), colourAuto), false, false, false, 0},
		{"pipe, always", terminalOf(new(bytes.Buffer), env("TERM=xterm"), colourAlways), true, false, false, 0},
	} {
		if got := tt.got; got.style.Colour != tt.colour || got.style.Unicode != tt.unicode || got.redraws() != tt.redraws || got.style.Width != tt.width {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt)
		}
	}
}

func TestScreen(t *testing.T) {
	x := terminal{is: true, rows: 4}
	if got, want := x.screen("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := x.screen("a\nb\nc\nd\ne\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n(3 more lines)\x1b[K\n\x1b[J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// On a terminal --watch draws in place.
func TestShowWatchTerminal(t *testing.T) {
	tty, other := pty(t, 24, 100)
	_, path := startShowDaemon(t)
	t.Setenv("TERM", "xterm")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		ended <- showEvery(ctx, time.Millisecond, []string{"handovers", "--watch", "--control", path}, stdio{out: tty, err: tty})
	}()
	read := make(chan []byte)
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := other.Read(b)
			if err != nil {
				return
			}
			select {
			case read <- b[:n]:
			case <-t.Context().Done():
				return
			}
		}
	}()
	var all []byte
	for bytes.Count(all, []byte("\x1b[H")) < 3 {
		all = append(all, <-read...)
	}
	cancel()
	for waiting := true; waiting; {
		select {
		case code := <-ended:
			if waiting = false; code != 0 {
				t.Errorf("exit %d", code)
			}
		case <-read:
		}
	}
	if !bytes.HasPrefix(all, []byte("\x1b[2J\x1b[H")) || bytes.Count(all, []byte("\x1b[2J")) != 1 || !bytes.Contains(all, []byte("no handovers\x1b[K")) {
		t.Errorf("%q", all)
	}
}
