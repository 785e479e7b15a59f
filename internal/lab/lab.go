// Package lab runs worlds of network namespaces on one machine, with a roam6
// process for each role exactly as in the field, and measures what they do: the
// demonstration, the integration test and the benchmark in one.
//
// The parts: netns has namespaces and precise threads, relay the links with
// delay and loss, world the networks as values, probe the measuring streams,
// report the figures and how they are shown. Here are the scenarios, which put
// them together, and the processes.
package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"roam6/internal/lab/report"
	"roam6/internal/role"
)

// Scenario is a world and what happens in it.
type Scenario struct {
	Name    string
	Summary string
	// Prepare declares the scenario's own flags and returns what to run once
	// they are parsed.
	Prepare func(*flag.FlagSet) Run
}

// Run runs a scenario. The error tells why there is no report; a report may
// have failures.
type Run func(context.Context, Environment) (*report.Report, error)

// Environment is what a scenario gets from outside.
type Environment struct {
	// Binary is the roam6 executable for the roles.
	Binary string
	// BinaryEnv is added to the environment of its processes.
	BinaryEnv []string
	// Directory is for configurations, sockets and logs. It exists.
	Directory string
	// Capture, unless nil, gets what passes the links, as a capture file.
	Capture io.Writer
	// Progress is told line by line what happens.
	Progress io.Writer
	// Observe asks a daemon through its control socket; nil where nothing can:
	// the report then lacks the router's own phases.
	Observe func(socket string) Observer

	plane string // data plane of the daemons; empty: the best there is
}

// Observer asks a running daemon.
type Observer interface {
	// Handovers are the last moves, the oldest first.
	Handovers(ctx context.Context) ([]role.Handover, error)
	// Registrations are those of mobiles that their home agents have
	// acknowledged.
	Registrations(ctx context.Context) ([]Registration, error)
	// Delegated are the prefixes that its mobile routers have from home agents.
	Delegated(ctx context.Context) ([]Delegated, error)
	// Messages are how many messages its roles have sent and been given.
	Messages(ctx context.Context) (uint64, error)
	// Updates are how many binding updates its home agents and its correspondent
	// have been given, accepted or not.
	Updates(ctx context.Context) (uint64, error)
	// Bindings are how many mobiles are registered with its home agents.
	Bindings(ctx context.Context) (int, error)
}

// Registration is where a mobile is registered.
type Registration struct{ Home, HomeAgent, CareOf netip.Addr }

// Delegated is a prefix that a mobile router has by delegation, and what remains of
// its lifetimes.
type Delegated struct {
	Prefix           netip.Prefix
	Preferred, Valid time.Duration
}

// Scenarios lists all scenarios.
func Scenarios() []Scenario {
	return []Scenario{ride(), host(), mobiles(), uplinks(), managed(), failover(), renumber(), nested(), hierarchy(), fleet(), delegation(), flood(), scale(), advertising()}
}

// ErrUnknown is returned by Find.
var ErrUnknown = errors.New("there is no such scenario")

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("%q: %w", name, ErrUnknown)
}

// Tune prepares this process for measuring: threads that wake up must not wait
// for one of Go's few processors, nor for the garbage collector. It belongs to
// a process that does nothing else.
func Tune() {
	const processors, garbagePercent = 32, 400
	runtime.GOMAXPROCS(max(processors, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(garbagePercent)
}

// until asks a condition again and again until it holds.
func until(ctx context.Context, limit time.Duration, condition func() bool) bool {
	const pause = 2 * time.Millisecond
	for deadline := time.Now().Add(limit); !condition(); {
		if time.Now().After(deadline) || !sleep(ctx, pause) {
			return false
		}
	}
	return true
}

// sleep reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
