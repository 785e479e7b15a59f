package lab

import (
	"context"
	"fmt"

	"roam6/internal/lab/machine"
	"roam6/internal/lab/report"
)

// What a router of the small kind has, and what it can spare for a daemon.
const (
	machineMemory  = 128 // MiB
	daemonResident = 16  // MiB
)

// registeredWhereItIs checks what a mobile router on a machine of its own says at the end
// of its registration: that it is with the home agent, and with an address of the link
// where it is. At home there is none.
func (r *rideRun) registeredWhereItIs(ctx context.Context, s *stage) error {
	if r.router == "" || len(r.moves) == 0 || r.moves[len(r.moves)-1].to == nodeHomeAgent {
		return nil
	}
	at := r.moves[len(r.moves)-1].to
	for i := 1; i <= r.train.accessRouters; i++ {
		if accessRouterName(i) != at {
			continue
		}
		link := accessAddress(i).Masked()
		return s.registered(ctx, nodeRouter, r.train.site().mobile().Addr(), r.patience,
			fmt.Sprintf("with an address of %v, where it is", link),
			func(g Registration) bool { return g.HomeAgent == r.train.site().agent() && link.Contains(g.CareOf) })
	}
	return fmt.Errorf("there is no stop %s", at)
}

// machine adds what is known of the mobile router's machine.
func (r *rideRun) machine(s *stage, result *report.Report) {
	m, err := machine.Read(s.daemon(nodeRouter).config)
	if err != nil {
		result.Fail("%v", err)
		return
	}
	result.Legend = append(result.Legend, fmt.Sprintf("The mobile router: Linux %s on an emulated %s, roam6 for %s.", m.Kernel, m.Board, m.Architecture))
	mebi := func(octets int64) report.Milliseconds { return report.Milliseconds(float64(octets) / (1 << 20)) }
	add := func(name, text, unit string, value, most report.Milliseconds) {
		result.Add(report.Figure{Name: name, Text: text, Unit: unit, Value: value, Limit: report.None(), Bound: most})
	}
	add("machine_memory", "memory of the machine", "MiB", report.Milliseconds(m.Memory), machineMemory)
	add("daemon_resident", "of it the daemon's, resident at the end", "MiB", mebi(m.Resident), daemonResident)
	add("daemon_own", "of that not the program's file", "MiB", mebi(m.Own), report.None())
	add("daemon_peak", "the most that it had", "MiB", mebi(m.Peak), report.None())
	var reactions []report.Milliseconds
	for _, d := range m.Reactions {
		reactions = append(reactions, report.Millis(d))
	}
	result.Add(report.Time("reaction", "carrier to binding update, by the machine's clock, median", report.Quantile(reactions, .5), report.None()))
}
