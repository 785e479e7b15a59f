package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A home agent that is a correspondent too is flooded, with as much as the
// machine can send of every kind that strangers can send, from one source and
// from many. Its memory does not grow with what comes, its mobiles are served
// meanwhile, everybody is served at once afterwards, and no state is left; or
// lab exits with 1. RFC 6275 §15.4: a correspondent keeps no state until a
// binding update is authentic, and limits what it does for strangers.
//
// Covers: C4, C12, Attack: test floods, Attack: discovery floods,
// Attack: BU spoofing, Attack: reflection.
func TestFlood(t *testing.T) {
	needWorlds(t)
	directory := t.TempDir()
	var r struct {
		Floods []struct {
			Kind    string `json:"kind"`
			Sent    int    `json:"sent"`
			Answers int    `json:"answers"`
			Peak    int    `json:"memory_peak_kb"`
		} `json:"floods"`
	}
	// The race detector has its own idea of memory.
	playLab(t, withoutCgo(t), &r, "flood", "--duration", "200ms", "--dir", directory)
	// Nor does the log grow with what comes: some lines for what every kind has caused.
	log, err := os.ReadFile(filepath.Join(directory, "ha.log"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(log, []byte("\n")); lines > 20*len(r.Floods) || len(log) > 200*20*len(r.Floods) {
		t.Errorf("the home agent has logged %d lines, %d octets", lines, len(log))
	}
	if len(r.Floods) != 20 {
		t.Errorf("%d floods, want ten kinds from one source and from many", len(r.Floods))
	}
	for _, f := range r.Floods {
		// Strangers are answered a thousand times a second at most, and as often
		// at once.
		if f.Sent == 0 || f.Peak == 0 || f.Answers > 2500 {
			t.Errorf("%+v", f)
		}
	}
}
