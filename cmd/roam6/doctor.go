package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"roam6/internal/doctor"
	"roam6/overlay/feature"
)

// diagnose tells what the machine offers.
func diagnose(args []string, std stdio) int {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	asJSON := flags.Bool("json", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		doctorUsage(std.out)
		return 0
	case err != nil:
		doctorUsage(std.err)
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(std.err, "roam6 doctor: %q: there is nothing to name\n", flags.Arg(0))
		return 2
	}
	r, err := doctor.Examine()
	if err != nil {
		fmt.Fprintln(std.err, "roam6 doctor:", err)
		return 1
	}
	if *asJSON {
		e := json.NewEncoder(std.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(diagnosisOf(r)); err != nil {
			fmt.Fprintln(std.err, "roam6 doctor:", err)
			return 1
		}
	} else {
		printDiagnosis(std.out, r)
	}
	if !r.Healthy() {
		return 1
	}
	return 0
}

func doctorUsage(w io.Writer) {
	fmt.Fprint(w, `usage: roam6 doctor [--json]

Tells what this machine offers to roam6, feature by feature: what is there, what is
used in place of what is missing, and what to install. Each is tried in a network
namespace that is gone afterwards; modules that are loaded for it stay. Exit code 0:
roam6 can run here. 1: it cannot.

  --json   the same as JSON
`)
}

func printDiagnosis(w io.Writer, r *doctor.Report) {
	fmt.Fprintf(w, "roam6 %s on Linux %s, %s\n", version, r.Kernel, r.Architecture)
	if !r.Private {
		fmt.Fprintln(w, "Without CAP_SYS_ADMIN some of this cannot be tried: run it as root, and not under the restrictions of a service.")
	}
	fmt.Fprintln(w, "\nFor every role")
	printFeatures(w, r.Basis)
	for _, p := range r.Planes {
		state := "can be used"
		switch {
		case !p.Usable:
			state = "cannot be used"
		case p.Name == r.Chosen:
			state = "is used (option plane 'auto')"
		}
		fmt.Fprintf(w, "\nData plane %s %s\n", p.Name, state)
		printFeatures(w, p.Features)
	}
	if !r.Healthy() {
		fmt.Fprintln(w, "\nroam6 cannot run here.")
	}
}

func printFeatures(w io.Writer, all []feature.Feature) {
	for _, f := range all {
		if f.Missing == "" {
			fmt.Fprintf(w, "  %-34s yes\n", f.Name)
			continue
		}
		fmt.Fprintf(w, "  %-34s no: %s\n", f.Name, f.Missing)
		if f.Instead != "" {
			fmt.Fprintf(w, "  %-34s   instead: %s\n", "", f.Instead)
		}
		fmt.Fprintf(w, "  %-34s   OpenWrt: %s\n", "", f.OpenWrt)
		fmt.Fprintf(w, "  %-34s   Debian: %s\n", "", f.Debian)
	}
}

// diagnosis is the JSON of a report.
type diagnosis struct {
	Version      string              `json:"version"`
	Kernel       string              `json:"kernel"`
	Architecture string              `json:"architecture"`
	Healthy      bool                `json:"healthy"`
	Private      bool                `json:"everything_tried"`
	Plane        string              `json:"plane,omitempty"`
	Basis        []diagnosedFeature  `json:"basis"`
	Planes       []diagnosedDataPath `json:"planes"`
}

type diagnosedDataPath struct {
	Name     string             `json:"name"`
	Usable   bool               `json:"usable"`
	Features []diagnosedFeature `json:"features"`
}

type diagnosedFeature struct {
	Name     string `json:"name"`
	Present  bool   `json:"present"`
	Optional bool   `json:"optional,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Instead  string `json:"instead,omitempty"`
	OpenWrt  string `json:"openwrt,omitempty"`
	Debian   string `json:"debian,omitempty"`
}

func diagnosisOf(r *doctor.Report) diagnosis {
	d := diagnosis{
		Version: version, Kernel: r.Kernel, Architecture: r.Architecture, Healthy: r.Healthy(), Private: r.Private, Plane: r.Chosen,
		Basis: diagnosed(r.Basis),
	}
	for _, p := range r.Planes {
		d.Planes = append(d.Planes, diagnosedDataPath{p.Name, p.Usable, diagnosed(p.Features)})
	}
	return d
}

func diagnosed(all []feature.Feature) []diagnosedFeature {
	list := make([]diagnosedFeature, 0, len(all))
	for _, f := range all {
		d := diagnosedFeature{Name: f.Name, Present: f.Missing == "", Optional: f.Instead != ""}
		if !d.Present {
			d.Reason, d.Instead, d.OpenWrt, d.Debian = f.Missing, f.Instead, f.OpenWrt, f.Debian
		}
		list = append(list, d)
	}
	return list
}
