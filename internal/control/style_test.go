package control

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Handovers and status as a terminal gets them: with and without colours and UTF-8.
func TestStyles(t *testing.T) {
	escapes := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for name, style := range map[string]Style{
		"ascii": {}, "utf8": {Unicode: true}, "colour": {Colour: true}, "utf8-colour": {Unicode: true, Colour: true}, "wide": {Unicode: true, Width: 120},
	} {
		for topic, d := range map[Topic]Document{TopicHandovers: sampleHandovers(), TopicStatus: sampleStatus(), TopicUpdates: sampleUpdates()} {
			var b, plain bytes.Buffer
			if err := d.Render(Styled{&b, style}); err != nil {
				t.Fatal(err)
			}
			golden(t, "style/"+topic.String()+"-"+name+".txt", b.Bytes())
			// Colours change nothing but colours.
			colourless := style
			colourless.Colour = false
			if err := d.Render(Styled{&plain, colourless}); err != nil {
				t.Fatal(err)
			}
			if got := escapes.ReplaceAllString(b.String(), ""); got != plain.String() {
				t.Errorf("%s, %v: without its colours it is\n%s\nand not\n%s", name, topic, got, plain.String())
			}
			if style.Colour != strings.Contains(b.String(), "\x1b") {
				t.Errorf("%s, %v: colours where there are to be none, or the other way round", name, topic)
			}
			if topic == TopicUpdates {
				continue // is as wide as its addresses
			}
			for line := range strings.Lines(plain.String()) {
				line = strings.TrimSuffix(line, "\n")
				if n := utf8.RuneCountInString(line); n > style.columns() {
					t.Errorf("%s, %v: %d columns: %s", name, topic, n, line)
				}
				if !style.Unicode && len(line) != utf8.RuneCountInString(line) {
					t.Errorf("%s, %v: not ASCII: %s", name, topic, line)
				}
			}
		}
	}
}

func TestTones(t *testing.T) {
	for cell, want := range map[string]tone{
		"registered": toneGood, "registered, update pending": toneWarn, "not registered": toneBad, "refused": toneBad, "registered, link lost": toneBad,
		"probing": toneWarn, "active": toneGood, "up": toneGood, "down": toneBad, "sending": toneGood, "missing": toneBad, "-": toneNone,
	} {
		if got := toneOf("STATE", cell); got != want {
			t.Errorf("%s: tone %d, want %d", cell, got, want)
		}
		if got := toneOf("NAME", cell); got != toneNone {
			t.Errorf("a name %s: tone %d", cell, got)
		}
	}
	if remaining(59, 600) != toneWarn || remaining(61, 600) != toneNone || remaining(0, 0) != toneNone {
		t.Error("what is about to end is not told apart")
	}
}

// The bars of a move cover its time from the first column to the last.
func TestBar(t *testing.T) {
	for _, tt := range []struct {
		from, to, end Milliseconds
		want          string
	}{
		{0, 0, 0, "|"}, {0, 10, 10, "##########"}, {0, 5, 10, "#####"}, {5, 10, 10, "     #####"},
		{0, 0, 10, "|"}, {10, 10, 10, "         |"}, {4, 4, 10, "    |"},
	} {
		if got := (Style{}).bar(tt.from, tt.to, tt.end, 10); got != tt.want {
			t.Errorf("%d to %d of %d: %q, want %q", tt.from, tt.to, tt.end, got, tt.want)
		}
	}
}

// Addresses are long in the field.
func TestLongAddresses(t *testing.T) {
	h := HandoverOf(sampleMoves()[1], now())
	h.HomeAddress = addr("2001:db8:1234:5678:90ab:cdef:1234:5678")
	h.From = &Attachment{Link: "wwan0.100", Router: addr("fe80::90ab:cdef:1234:5678")}
	h.To = &Attachment{Link: "phy0-sta0", Router: addr("fe80::90ab:cdef:1234:9999")}
	var b bytes.Buffer
	if err := (Handovers{[]Handover{h}}).Render(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if !strings.Contains(b.String(), "  fe80::90ab:cdef:1234:5678%wwan0.100 -> fe80::90ab:cdef:1234:9999%phy0-sta0\n") {
		t.Errorf("%s", b.String())
	}
}

// Of many moves the last ones are drawn.
func TestManyHandovers(t *testing.T) {
	var d Handovers
	for range 30 {
		d.Handovers = append(d.Handovers, HandoverOf(sampleMoves()[1], now()))
	}
	var b bytes.Buffer
	if err := d.Render(&b); err != nil || !strings.HasPrefix(b.String(), "10 earlier moves: --json has all\n") || strings.Count(b.String(), "link, 1m1s ago") != maxDrawn {
		t.Errorf("%v\n%s", err, b.String())
	}
}
