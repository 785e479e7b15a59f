package lab

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
	"roam6/internal/role"
	"roam6/internal/uci"
)

// TestConfigurationsAreValid reads what the lab writes as the daemons will.
func TestConfigurationsAreValid(t *testing.T) {
	parts := (rideOptions{}).train().cast(false)
	for _, p := range parts {
		node, sections := p.node, p.sections
		text, err := uci.Format(configuration(Environment{Directory: "/tmp/x"}, node, sections...))
		if err != nil {
			t.Fatalf("%s: %v", node, err)
		}
		c, err := config.Parse(node, text)
		if err != nil {
			t.Errorf("%s: %v\n%s", node, err, text)
			continue
		}
		if c.Globals.Control != "/tmp/x/"+node+".sock" {
			t.Errorf("%s: control socket %s", node, c.Globals.Control)
		}
		switch node {
		case nodeHomeAgent:
			if len(c.HomeAgents) != 1 || c.HomeAgents[0].DAD || len(c.Mobiles) != 1 || !c.Mobiles[0].Router || len(c.Interfaces) != 1 {
				t.Errorf("%s: %+v", node, c)
			}
		case nodeRouter:
			if len(c.MobileNodes) != 1 || c.MobileNodes[0].Uplinks[0] != linkUp {
				t.Errorf("%s: %+v", node, c)
			}
		default:
			if len(c.Interfaces) != 1 {
				t.Errorf("%s: %+v", node, c)
			} else if i := c.Interfaces[0]; i.MaxInterval != 70*time.Millisecond || i.MinInterval != 30*time.Millisecond || !i.IntervalOption {
				t.Errorf("%s: %+v", node, i)
			}
		}
	}
}

func TestTrainTopology(t *testing.T) {
	for _, o := range []rideOptions{{}, {loss: .05, access: 2 * time.Millisecond, homeAgent: 10 * time.Millisecond, reorder: .1}} {
		topology := o.train().topology()
		if err := topology.Validate(); err != nil {
			t.Error(err)
		}
		for _, w := range topology.Wires {
			if w.Path.Loss != float64(o.loss) {
				t.Errorf("%s–%s loses %v", w.A.Node, w.B.Node, w.Path.Loss)
			}
		}
		routes := topology.Routes()
		if r := routes[nodeCore]; !containsRoute(r, "2001:db8:100::/64", nodeHomeAgent) || !containsRoute(r, "2001:db8:a3::/64", "ar3") {
			t.Errorf("the core's routes: %v", r)
		}
		if len(routes[nodeRouter]) != 0 {
			t.Errorf("the mobile router has static routes: %v", routes[nodeRouter])
		}
	}
}

func containsRoute(routes []world.Route, prefix, ifname string) bool {
	for _, r := range routes {
		if r.Prefix.String() == prefix && r.Interface == ifname {
			return true
		}
	}
	return false
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]percent{"5": .05, "5%": .05, "0.5 %": .005, "100%": 1, "0": 0} {
		var p percent
		if err := p.Set(text); err != nil || p != want {
			t.Errorf("%q is %v (%v), want %v", text, p, err, want)
		}
	}
	for _, text := range []string{"", "x", "101", "-1", "nan", "5%%"} {
		var p percent
		if err := p.Set(text); err == nil {
			t.Errorf("%q is accepted as %v", text, p)
		}
	}
	if p := percent(.05); p.String() != "5%" {
		t.Errorf("5%% is shown as %q", p.String())
	}
}

func TestOptions(t *testing.T) {
	for name, lines := range map[string][]string{
		"ride":      {"--handovers 0", "--delay-ha 1ms --delay-ar 2ms", "--kill cn", "--probe-interval 1us", "--tcp-rate 1", "--delay-ar -1s", "--dwell 1ms"},
		"host":      {"--handovers 0", "--delay-ha 1ms", "--delay-cn 1ms", "--delay-cn 98ms", "--dwell 100ms", "--probe-interval 1us", "--tcp-rate 1", "--delay-ar -1s"},
		"mobiles":   {"--laps 0", "--delay-direct 1ms", "--delay-ha 11ms", "--dwell 100ms", "--l2 -1s"},
		"uplinks":   {"--laps 0", "--delay-wlan -1s", "--hysteresis 1ms", "--flaps -1", "--dwell 100ms", "--probe-interval 1us"},
		"failover":  {"--delay-ha 1ms", "--dwell 100ms", "--tcp-rate 1"},
		"nested":    {"--laps 0", "--delay-ha 1ms", "--delay-ha2 -1s", "--loop -1s", "--dwell 100ms"},
		"hierarchy": {"--laps 0", "--delay-map 2ms", "--delay-map 200ms", "--kill anchor", "--dwell 600ms", "--tcp-rate 1"},
		"fleet":     {"--routers 0", "--routers 251", "--access-routers 1", "--delay-ha 1ms", "--dwell 100ms", "--duration 1s"},
		"renumber":  {"--delay-ha 1ms", "--dwell 100ms", "--lifetime 1s", "--lifetime 3500ms", "--tcp-rate 1"},
	} {
		scenario, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range lines {
			f := flag.NewFlagSet(name, flag.ContinueOnError)
			run := scenario.Prepare(f)
			if err := f.Parse(strings.Fields(args)); err != nil {
				t.Fatal(err)
			}
			if _, err := run(t.Context(), Environment{}); !errors.Is(err, ErrOption) {
				t.Errorf("%s %s: %v, want a wrong option", name, args, err)
			}
		}
	}
	if _, err := Find("flight"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown scenario: %v", err)
	}
}

// TestKillAt: of 24 moves with four stops, 12 to 15 are a fast lap.
func TestKillAt(t *testing.T) {
	for handovers, want := range map[int]int{24: 16, 20: 10, 8: 4, 4: 2, 1: 0} {
		if at := (rideOptions{handovers: handovers}).killAt(4); at != want {
			t.Errorf("of %d handovers the kill is at %d, want %d", handovers, at, want)
		}
	}
}

// TestReport computes a ride of two moves from made-up streams.
func TestReport(t *testing.T) {
	start := time.Unix(1000, 0)
	ms := func(v float64) time.Time { return start.Add(time.Duration(v * float64(time.Millisecond))) }
	r := &rideRun{
		rideOptions: rideOptions{homeAgent: 10 * time.Millisecond, access: 2 * time.Millisecond, correspondent: time.Millisecond, interval: time.Millisecond},
		ended:       ms(2000),
		moves: []move{
			{from: "ha", to: "ar1", Switch: world.Switch{Left: ms(500), Attached: ms(510)}},
			{from: "ar1", to: "ar2", Switch: world.Switch{Left: ms(1000), Attached: ms(1010)}},
		},
	}
	told := []role.Handover{
		{Start: ms(500), LinkUp: ms(510.2), Advertised: ms(512), CareOf: ms(512.1), Updated: ms(512.2), Acknowledged: ms(522.5), Updates: 1, Trigger: role.TriggerLink},
		{Start: ms(1000), LinkUp: ms(1010.2)}, // superseded by the next
		{Start: ms(1011), LinkUp: ms(1010.2), Acknowledged: ms(1023), Updates: 2, Trigger: role.TriggerAdvertisement},
	}
	r.train = r.rideOptions.train()
	stream := func(flight float64, lost func(i int) bool) probe.Record {
		rec := probe.Record{Interval: time.Millisecond}
		for i := range 2000 {
			rec.Sent = append(rec.Sent, ms(float64(i)).UnixNano())
			if !lost(i) {
				rec.Arrivals = append(rec.Arrivals, probe.Arrival{At: ms(float64(i) + flight).UnixNano(), Number: uint32(i)})
			}
		}
		return rec
	}
	down := stream(5, func(i int) bool { return i > 495 && i < 520 || i > 995 && i < 1030 })
	up := stream(5, func(i int) bool { return i > 500 && i < 513 || i > 1000 }) // never back
	course := r.course(told)
	first, second := course.handover(0, down, up), course.handover(1, down, up)
	if !first.Completed || first.Down != 24 || first.Up != 12 || first.LimitDown != 22 || first.LimitUp != 16 || first.LostDown != 24 || first.LostUp != 12 {
		t.Errorf("first: %+v", first)
	}
	if p := first.Phases; p.LinkUp != .2 || p.Acknowledged != 12.5 || p.Solicited.Known() || first.Trigger != "link" {
		t.Errorf("phases of the first: %+v", p)
	}
	if second.Completed || second.Down != 34 || second.Up.Known() || second.LostUp == 0 {
		t.Errorf("second: %+v", second)
	}
	if second.Phases.Acknowledged != 13 || second.Updates != 2 {
		t.Errorf("phases of the second: %+v", second)
	}
	// A silence from before the move, as after a kill, is not the move's.
	late := stream(5, func(i int) bool { return i > 700 && i < 1050 })
	if h := course.handover(1, late, late); !h.Completed || h.Down != 55 || h.Up != 55 {
		t.Errorf("a move during an interruption: %+v", h)
	}
	// Killed during the first stop: the stream that breaks there recovers
	// with the datagram of 730 ms, the other one never.
	broken := stream(5, func(i int) bool { return i >= 700 && i < 730 })
	var result report.Report
	k := r.killed(killed{nodeRouter, ms(704.5), 0}, broken, stream(5, func(i int) bool { return i >= 700 }), &result)
	if k.RecoveredDown != 30.5 || k.LostDown != 30 || k.RecoveredUp.Known() || len(result.Failures) != 1 {
		t.Errorf("recovery: %+v, failures %q", k, result.Failures)
	}
}

func TestDaemonReportsItsEnd(t *testing.T) {
	if !Privileged() {
		t.Skip("network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN)")
	}
	directory := t.TempDir()
	script := filepath.Join(directory, "roam6")
	w, err := world.Build(world.Topology{Nodes: []world.Node{{Name: "node"}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	start := func(text string) *daemon {
		t.Helper()
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := newDaemon(Environment{Binary: script, Directory: directory}, w.Space("node"), configuration(Environment{Directory: directory}, "node"))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.start(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	crash := start("echo it is broken >&2; exit 3")
	<-crash.ended
	if err := crash.check(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a crash: %v", err)
	}
	if err := crash.stop(); err == nil {
		t.Error("a process that crashed was stopped in order")
	}
	var log strings.Builder
	crash.tail(&log, 5)
	if !strings.Contains(log.String(), "it is broken") {
		t.Errorf("the log's tail: %q", log.String())
	}
	long := start("exec sleep 60")
	if err := long.check(); err != nil {
		t.Error(err)
	}
	if err := long.kill(); err != nil {
		t.Error(err)
	}
	if err := long.check(); err != nil {
		t.Errorf("killed by the lab, yet %v", err)
	}
	if info, err := os.Stat(long.config); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the configuration with its key: %v, %v", info, err)
	}
}
