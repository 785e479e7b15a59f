package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"roam6/internal/control"
)

// colourMode says when to use colours.
type colourMode string

// Modes of --color.
const (
	colourAuto   colourMode = "auto" // on a terminal, unless NO_COLOR is set or TERM is dumb
	colourAlways colourMode = "always"
	colourNever  colourMode = "never"
)

func (m *colourMode) String() string { return string(*m) }

// Set implements flag.Value.
func (m *colourMode) Set(s string) error {
	switch c := colourMode(s); c {
	case colourAuto, colourAlways, colourNever:
		*m = c
		return nil
	default:
		return fmt.Errorf("not one of %s, %s and %s", colourAuto, colourAlways, colourNever)
	}
}

// terminal is what is known of where output goes.
type terminal struct {
	is    bool // it is one
	dumb  bool // it knows no control sequences
	style control.Style
	rows  int // 0: unknown
}

// terminalOf looks at where w leads, and at the environment.
func terminalOf(w io.Writer, env func(string) string, mode colourMode) terminal {
	t := terminal{dumb: env("TERM") == "dumb" || env("TERM") == ""}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		if t.is = err == nil; t.is {
			if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
				t.style.Width, t.rows = int(size.Col), int(size.Row)
			}
		}
	}
	t.style.Unicode = showsUTF8(env)
	t.style.Colour = mode == colourAlways || mode == colourAuto && t.is && !t.dumb && env("NO_COLOR") == ""
	return t
}

// showsUTF8 reports whether the locale is one of UTF-8: the first of the variables that is
// set decides (locale(7)).
func showsUTF8(env func(string) string) bool {
	for _, name := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// redraws reports whether a screen can be drawn again in place.
func (t terminal) redraws() bool { return t.is && !t.dumb }

// screen is text that takes the place of what is on the terminal. What does not fit is cut,
// and how much that is is told: else the top would scroll away.
func (t terminal) screen(text string) string {
	const home, clearRest, clearLine = "\x1b[H", "\x1b[J", "\x1b[K"
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if t.rows > 1 && len(lines) > t.rows-1 {
		cut := len(lines) - (t.rows - 2)
		lines = append(lines[:t.rows-2:t.rows-2], fmt.Sprintf("(%d more lines)", cut))
	}
	return home + strings.Join(lines, clearLine+"\n") + clearLine + "\n" + clearRest
}
