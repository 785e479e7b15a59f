// Package machine is what a program that runs a node of a world on a machine of its own,
// in place of a process in the node's namespace, tells the lab of that machine: a file
// beside the configuration, written at the end.
//
// Such a program is called as roam6 itself would be, run --config PATH, in the node's
// namespace. It takes the place of the interfaces there, whose carriers and addresses are
// the machine's, answers on the configuration's control socket, ends in order with SIGTERM
// and then leaves the namespace as it was.
package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Report is about a machine and its daemon.
type Report struct {
	Board        string `json:"board"`
	Kernel       string `json:"kernel"`       // as uname -r tells
	Architecture string `json:"architecture"` // of the daemon, as Go calls it
	Memory       int    `json:"memory_mib"`   // of the machine
	// Resident is the memory of the daemon at the end (VmRSS), Peak the most that it has
	// had (VmHWM), Own the part of Resident that is not the program's file, whose pages the
	// kernel can drop and read again (RssAnon): octets.
	Resident int64 `json:"resident_octets"`
	Peak     int64 `json:"peak_octets"`
	Own      int64 `json:"own_octets"`
	// Reactions are the times from the carrier to the binding update in each handover that
	// has both, by the machine's own clock: nanoseconds.
	Reactions []time.Duration `json:"reactions_ns"`
}

// Path is where the report is of the machine that has a configuration.
func Path(config string) string { return config + ".machine" }

// Write writes the report for the machine that has a configuration.
func (r Report) Write(config string) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(Path(config), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("report of the machine: %w", err)
	}
	return nil
}

// Read reads the report of the machine that had a configuration.
func Read(config string) (Report, error) {
	b, err := os.ReadFile(Path(config))
	var r Report
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return Report{}, fmt.Errorf("report of the machine: %w", err)
	}
	return r, nil
}
