package lab

import (
	"flag"
	"time"

	"roam6/internal/lab/relay"
)

// rideOptions are what the user may choose for a ride.
type rideOptions struct {
	handovers      int
	homeAgent      time.Duration // round trip H
	access         time.Duration // round trip A
	correspondent  time.Duration // round trip
	switching      time.Duration // L2
	dwell, fast    time.Duration
	interval       time.Duration
	rate           int
	loss           percent
	duplicate      percent
	reorder        percent
	seed           uint64
	kill           string
	router         string
	noLinkEvents   bool
	wait           bool
	homeAgentDAD   bool
	patience       time.Duration
	transferFinish time.Duration
}

// ride is the scenario of the demonstration: the train.
func ride() Scenario {
	return Scenario{
		Name:    "ride",
		Summary: "a train leaves home, passes three access routers and returns, again and again",
		Prepare: prepare((*rideOptions).declare, rideOptions.validate, func(o rideOptions) play {
			return &rideRun{rideOptions: o, train: o.train()}
		}),
	}
}

func (o *rideOptions) declare(f *flag.FlagSet) {
	f.IntVar(&o.handovers, "handovers", 24, "`number` of moves; four are a lap, every other lap is fast")
	f.DurationVar(&o.homeAgent, "delay-ha", 10*time.Millisecond, "round `trip` from the mobile router to the home agent while away (H), the one to the access router included")
	f.DurationVar(&o.access, "delay-ar", 2*time.Millisecond, "round `trip` from the mobile router to the router of its link (A), at home too")
	f.DurationVar(&o.correspondent, "delay-cn", time.Millisecond, "round `trip` from the correspondent to the core")
	f.DurationVar(&o.switching, "l2", 10*time.Millisecond, "`time` without a link at each move (L2)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` at each stop in a slow lap")
	f.DurationVar(&o.fast, "dwell-fast", 700*time.Millisecond, "`time` at each stop in a fast lap")
	f.DurationVar(&o.interval, "probe-interval", time.Millisecond, "`time` between the datagrams of a probe stream")
	f.IntVar(&o.rate, "tcp-rate", 2_000_000, "`bits` a second of the TCP transfer, each way")
	f.Var(&o.loss, "loss", "`percentage` of frames lost on every link")
	f.Var(&o.duplicate, "duplicate", "`percentage` of frames doubled on every link")
	f.Var(&o.reorder, "reorder", "`percentage` of frames held back for 2 ms on every link")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that decides about all random choices of the links")
	f.StringVar(&o.kill, "kill", "", "kill and restart the process of a `role`, mr or ha, in mid-ride")
	f.StringVar(&o.router, "router", "", "`command` that runs the mobile router on a machine of its own, such as an emulated board")
	f.BoolVar(&o.noLinkEvents, "no-link-events", false, "the router's interface does not notice its moves")
	f.BoolVar(&o.wait, "wait", false, "the train waits at each stop until it is connected, as it does anyway where links do more than delay")
	f.BoolVar(&o.homeAgentDAD, "ha-dad", false, "the home agent probes for the home address each time the train leaves home, which takes it a second")
	f.DurationVar(&o.patience, "patience", 20*time.Second, "how long to wait for a `time` at a stop until connected, where the train waits")
	f.DurationVar(&o.transferFinish, "tcp-finish", 60*time.Second, "`time` for the last octets of the TCP transfer to arrive")
}

func (o rideOptions) validate() error {
	switch {
	case o.handovers < 1 || o.handovers > 100_000:
		return wrongOption("--handovers %d: 1 to 100000 make sense", o.handovers)
	case o.access < 0 || o.correspondent < 0 || o.switching < 0:
		return wrongOption("a delay cannot be negative")
	case o.homeAgent < o.access:
		return wrongOption("--delay-ha %v is the whole round trip to the home agent: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	case o.interval < 100*time.Microsecond:
		return wrongOption("--probe-interval %v: at least 100µs", o.interval)
	case o.dwell < 10*o.interval || o.fast < 10*o.interval:
		return wrongOption("--dwell %v, --dwell-fast %v: at least ten probe intervals", o.dwell, o.fast)
	case o.rate < 1000:
		return wrongOption("--tcp-rate %d: at least 1000 bits a second", o.rate)
	case o.kill != "" && o.kill != nodeRouter && o.kill != nodeHomeAgent:
		return wrongOption("--kill %s: %s or %s", o.kill, nodeRouter, nodeHomeAgent)
	case o.router != "" && o.kill == nodeRouter:
		return wrongOption("--kill %s: with --router it is a machine, not a process", o.kill)
	}
	return nil
}

func (o rideOptions) train() train {
	every := relay.Impairment{Loss: float64(o.loss), Duplicate: float64(o.duplicate), Reorder: float64(o.reorder)}
	if o.reorder > 0 {
		every.ReorderBy = 2 * time.Millisecond
	}
	return train{accessRouters: 3, access: o.access, homeAgent: o.homeAgent, correspondent: o.correspondent, every: every}
}

// fastLap reports whether a move, counted from zero, belongs to a fast lap.
func fastLap(move, stops int) bool { return move/stops%2 == 1 }

// killAt is the move after which a process is killed: in the second half, one
// that does not lead home, and of a slow lap if there is one.
func (o rideOptions) killAt(stops int) int {
	fallback := o.handovers - 1
	for i := o.handovers - 1; i >= o.handovers/2; i-- {
		if (i+1)%stops != 0 {
			fallback = i
		}
	}
	for i := o.handovers / 2; i < o.handovers; i++ {
		if !fastLap(i, stops) && (i+1)%stops != 0 {
			return i
		}
	}
	return fallback
}
