package translation

import (
	"strings"
	"testing"

	"roam6/internal/uci"
)

// Notes are told file by file in the order in which the files are first named, and
// in each from the top; those of one place stay in the order in which they were made.
func TestSortNotes(t *testing.T) {
	at := func(file string, line, column int) uci.Position {
		return uci.Position{File: file, Line: line, Column: column}
	}
	tr := Translation{Notes: []Note{
		{Position: at("b", 2, 1), Text: "3"}, {Position: at("a", 9, 1), Text: "5"}, {Position: at("b", 1, 7), Text: "2"},
		{Position: at("a", 1, 1), Text: "4"}, {Position: at("b", 1, 2), Text: "1"}, {Position: at("a", 9, 1), Text: "6"}, {Text: "7"},
	}}
	tr.SortNotes()
	var order strings.Builder
	for _, n := range tr.Notes {
		order.WriteString(n.Text)
	}
	if order.String() != "1234567" {
		t.Error(order.String())
	}
}

// What is set is written, comments above it; a list without items is none; a note
// asks for a look unless it is harmless.
func TestBuilder(t *testing.T) {
	var tr Translation
	b := Begin(&tr.Notes, "interface", "")
	b.Set("interface", "eth0")
	b.Switch("AdvSendAdvert", true)
	b.Number("AdvCurHopLimit", 64)
	b.List("client")
	b.Remark(uci.Position{}, "no line\nhere")
	b.Harmless(uci.Position{File: "f", Line: 3, Column: 4}, "%s", "small")
	if tr.Sections = append(tr.Sections, b.Section); tr.NeedsLook() {
		t.Error("what is harmless needs a look")
	}
	text, err := tr.Text("heading")
	const want = "# heading\n\n# no line?here\n# line 3: small\nconfig interface\n\toption interface 'eth0'\n\toption AdvSendAdvert '1'\n\toption AdvCurHopLimit '64'\n"
	if err != nil || string(text) != want {
		t.Errorf("%v\n%s", err, text)
	}
	if b.Note(uci.Position{}, "large"); !tr.NeedsLook() || len(tr.Notes) != 2 || tr.Notes[0].String() != "f:3:4: small" || tr.Notes[1].String() != "large" {
		t.Errorf("%v", tr.Notes)
	}
}

func TestIsDevice(t *testing.T) {
	for name, want := range map[string]bool{
		"eth0": true, "br-lan.100": true, "exactly15octets": true, "": false, ".": false, "..": false, "a/b": false, "a:1": false, "a b": false, "sixteen-octets-x": false,
	} {
		if IsDevice(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
