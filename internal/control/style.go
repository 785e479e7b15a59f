package control

import (
	"io"
	"strings"
	"time"
)

// Style is how tables and drawings are written. The zero value is for a file: plain, in
// ASCII, 80 columns wide.
type Style struct {
	Width   int  // columns of the terminal; 0: 80
	Unicode bool // it shows UTF-8
	Colour  bool // it knows colours
}

// Styled gives a writer a style; Render writes to one that has none in the zero Style.
type Styled struct {
	io.Writer
	Style
}

// styleOf is the style that a writer has.
func styleOf(w io.Writer) Style {
	if s, ok := w.(Styled); ok {
		return s.Style
	}
	return Style{}
}

func (s Style) columns() int {
	const usual = 80
	if s.Width <= 0 {
		return usual
	}
	return s.Width
}

// tone is what a cell says of a thing: whether it is as it should be.
type tone uint8

const (
	toneNone tone = iota
	toneGood
	toneWarn // it may be on its way to be good, or to end
	toneBad
	toneStrong // a heading
)

// paint puts text into the colour of a tone.
func (s Style) paint(t tone, text string) string {
	var code string
	switch {
	case !s.Colour || strings.TrimSpace(text) == "":
		return text
	case t == toneGood:
		code = "32"
	case t == toneWarn:
		code = "33"
	case t == toneBad:
		code = "31"
	case t == toneStrong:
		code = "1"
	default:
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// toneOf is the tone of a cell under a heading that stands for a state.
func toneOf(heading, cell string) tone {
	switch heading {
	case "STATE", "CARRIER":
	default:
		return toneNone
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(cell, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("refused", "not registered", "lost", "down", "failed", "failing", "no answer", "did not answer", "missing", "silent"):
		return toneBad
	case has("pending", "probing", "registering", "avoided", "steady in", "nowhere", "soliciting", "requesting", "confirming",
		"rebinding", "releasing", "absent", "waiting", "ended", "deleted", "deprecated", "idle", "not ready"):
		return toneWarn
	case has("registered", "active", "in use", "up", "usable", "sending", "bound", "at home", "optimised", "ready", "informed", "renewing", "serving", "advertised"):
		return toneGood
	default:
		return toneNone
	}
}

// remaining is the tone of what remains of a lifetime: it is renewed long before the last
// tenth, if all is well.
func remaining(left, granted Seconds) tone {
	if granted > 0 && time.Duration(left) < time.Duration(granted)/10 {
		return toneWarn
	}
	return toneNone
}
