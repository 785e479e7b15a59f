package lab

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"roam6/internal/config"
	"roam6/internal/lab/report"
	"roam6/overlay/engines"
)

// ErrOption marks a flag with a value that makes no sense.
var ErrOption = errors.New("wrong option")

func wrongOption(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOption, fmt.Sprintf(format, args...))
}

// commonOptions are what the user may choose in every scenario with mobile
// hosts.
type commonOptions struct {
	access    time.Duration // round trip A
	switching time.Duration // L2
	interval  time.Duration // of datagrams
	rate      int           // bits a second of TCP
	seed      uint64
}

func (o *commonOptions) declare(f *flag.FlagSet) {
	f.DurationVar(&o.access, "delay-ar", 2*time.Millisecond, "round `trip` from a mobile to the router of its link (A)")
	f.DurationVar(&o.switching, "l2", 10*time.Millisecond, "`time` without a link at each move (L2)")
	o.declareProbes(f)
}

// declareProbes declares what all of them have, whatever links there are. The
// interval is a millisecond unless it is set already.
func (o *commonOptions) declareProbes(f *flag.FlagSet) {
	f.DurationVar(&o.interval, "probe-interval", cmp.Or(o.interval, time.Millisecond), "`time` between the datagrams of a probe stream")
	f.IntVar(&o.rate, "tcp-rate", 1_000_000, "`bits` a second of the TCP transfer, each way")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that decides about all random choices of the links")
}

func (o commonOptions) validate() error {
	switch {
	case o.access < 0 || o.switching < 0:
		return wrongOption("a delay cannot be negative")
	case o.interval < 100*time.Microsecond:
		return wrongOption("--probe-interval %v: at least 100µs", o.interval)
	case o.rate < 1000:
		return wrongOption("--tcp-rate %d: at least 1000 bits a second", o.rate)
	}
	return nil
}

// echoInterval is the time between the datagrams of an echo.
func (o commonOptions) echoInterval() time.Duration { return max(5*time.Millisecond, o.interval) }

// enough checks that the time at a stop allows for measuring.
func enough(name string, dwell, least time.Duration) error {
	if dwell < least {
		return wrongOption("--%s %v: with these delays at least %v", name, dwell, least)
	}
	return nil
}

// movesMakeSense checks a number of moves.
func movesMakeSense(n int) error {
	if n < 1 || n > 100_000 {
		return wrongOption("--handovers %d: 1 to 100000 make sense", n)
	}
	return nil
}

// prepare is a scenario's Prepare: it declares the flags, and validates them
// before it plays.
func prepare[O any](declare func(*O, *flag.FlagSet), validate func(O) error, begin func(O) play) func(*flag.FlagSet) Run {
	return func(f *flag.FlagSet) Run {
		var o O
		declare(&o, f)
		plane := f.String("plane", engines.Auto, "data plane `engine` of the daemons: auto, kernel, tcx or tun")
		return func(ctx context.Context, env Environment) (*report.Report, error) {
			if err := validate(o); err != nil {
				return nil, err
			}
			if !knownPlane(*plane) {
				return nil, wrongOption("--plane %s: auto, kernel, tcx or tun", *plane)
			}
			env.plane = *plane
			return perform(ctx, env, begin(o))
		}
	}
}

// percent is a flag: 5, 5% and 0.5 % alike are percentages. The value is a
// fraction of one.
type percent float64

func (p percent) String() string { return strconv.FormatFloat(float64(p)*100, 'g', -1, 64) + "%" }

// Set implements flag.Value.
func (p *percent) Set(s string) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "%")), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("a percentage from 0 to 100 is expected, such as 5 or 5%%")
	}
	*p = percent(v / 100)
	return nil
}

func knownPlane(name string) bool {
	return name == engines.Auto || name == config.PlaneKernel.String() || name == config.PlaneTCX.String() || name == config.PlaneTUN.String()
}
