//go:build !nolab

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/report"
)

// labAbout is what a report says of the run beside its figures: the parameters of the
// scenario, those that were given and the defaults, and versions.
func labAbout(scenario string, flags *flag.FlagSet) report.About {
	a := report.About{Command: "roam6 lab run " + scenario, Version: version, Machine: machine(), Began: time.Now()}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	flags.VisitAll(func(f *flag.Flag) {
		switch f.Name {
		case "json", "report", "dir", "keep", "capture":
			return // where things go, and no parameter
		}
		p := report.Parameter{Name: f.Name, Value: f.Value.String(), Chosen: given[f.Name]}
		_, p.Meaning = flag.UnquoteUsage(f)
		if p.Chosen {
			a.Command += " --" + p.Name + "=" + p.Value
		}
		a.Parameters = append(a.Parameters, p)
	})
	return a
}

// machine is the kernel and what the program was built with.
func machine() string {
	kernel := "an unknown kernel"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %s, %d processors, %s", kernel, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// labHTML writes the report with plots, if it is wanted.
func labHTML(r *report.Report, o labOptions) error {
	if o.report == "" {
		return nil
	}
	f, err := os.Create(o.report)
	if err != nil {
		return err
	}
	return errors.Join(r.WriteHTML(f, o.about), f.Close())
}
