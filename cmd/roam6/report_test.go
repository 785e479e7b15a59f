//go:build !nolab

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/page/browsertest"
)

// TestReport: a ride, and a mobile host's, write a report that a browser shows without
// scripts and without asking anybody, with plots of every handover.
func TestReport(t *testing.T) {
	needWorlds(t)
	b := browsertest.Start(t, nil)
	for _, args := range []string{"ride --handovers 4 --dwell 800ms --dwell-fast 800ms", "host --handovers 2 --dwell 1s --no-ro"} {
		t.Run(args, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			r, _ := world(t, args+" --report "+file)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, no := range []string{"<script", "src=", "NaN"} {
				if strings.Contains(string(text), no) {
					t.Errorf("there is %q in it", no)
				}
			}
			p := b.Open("file://"+file, browsertest.View{Width: 1000, Height: 800, NoScript: true})
			body := p.Text("body")
			for _, want := range append(strings.Fields("--l2 --seed Linux"), r.Handovers[0].From, "roam6 lab run "+r.Scenario, "As on the terminal") {
				if !strings.Contains(body, want) {
					t.Errorf("there is no %q", want)
				}
			}
			figures := 0
			for _, n := range p.Nodes() {
				if n.Role == "image" && strings.HasPrefix(n.Name, "Handover ") {
					figures++
				}
			}
			if figures != 2*len(r.Handovers) {
				t.Errorf("%d figures of %d handovers", figures, len(r.Handovers))
			}
			if c := p.Complaints(); len(c) > 0 {
				t.Errorf("the console complains: %q", c)
			}
		})
	}
}
