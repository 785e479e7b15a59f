package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"roam6/internal/control"
	"roam6/internal/deadline"
	"roam6/internal/order"
)

const (
	// followInterval is how often the daemon is asked.
	followInterval = time.Second
	// followGrace is how long a daemon may be away before its mobile is taken to be
	// down: a restart is to change nothing in the network behind it.
	followGrace = 10 * time.Second
	// followCommandTime bounds a run of the command.
	followCommandTime = 30 * time.Second
	// followSlack is by how much the end of a lifetime may differ from what was told
	// before it is told again. Remaining times are asked for and passed on at
	// slightly different moments.
	followSlack = 5 * time.Second
)

// follow tells a program what a mobile has for the rest of the system, and
// tells it again when that changes. Handovers are no change.
func follow(args []string, std stdio) int {
	flags := flag.NewFlagSet("follow", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	path := flags.String("control", control.DefaultPath, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		followUsage(std.out)
		return 0
	case err != nil:
		followUsage(std.err)
		return 2
	case flags.NArg() < 2:
		fmt.Fprintln(std.err, "roam6 follow: a mobile and a command are needed")
		followUsage(std.err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	f := newFollower(*path, flags.Arg(0), flags.Args()[1:], std)
	f.followRunLoop(ctx, followInterval)
	return 0
}

func followUsage(w io.Writer) {
	fmt.Fprintf(w, `usage: roam6 follow [--control PATH] MOBILE COMMAND [ARGUMENT...]

Runs COMMAND when the running daemon has something for the rest of the system
from MOBILE, the name of a mobile_router or mobile_node section, and again when
that changes. A move from one access network to another is no change.

Its last argument is the event:

  up      there is something, or something else
  down    there is nothing any more: the section has gone, or the daemon was
          away for %v

With 'up' its environment has

  ROAM6_MOBILE          the name of the section
  ROAM6_HOME_ADDRESSES  home addresses
  ROAM6_PREFIXES        prefixes of the mobile network that are on no downstream
                        of roam6: PREFIX,PREFERRED,VALID with lifetimes in
                        seconds, %d for ever

A COMMAND that fails is run again. Ends with SIGTERM, without an event.

  --control PATH  the daemon's control socket (%s)
`, followGrace, uint32(math.MaxUint32), control.DefaultPath)
}

// offer is what a mobile has for the rest of the system.
type offer struct {
	homes    []netip.Addr
	prefixes []offeredPrefix
}

// offeredPrefix is a prefix and when its lifetimes end; zero: never.
type offeredPrefix struct {
	prefix                     netip.Prefix
	preferredUntil, validUntil time.Time
}

// offerOf finds what a mobile has in the daemon's answers of a moment; without a
// home address the daemon does not have the mobile. Prefixes of which roam6 itself
// numbers an interface are left out, and what is longer than a /64, which nobody
// can number an interface with.
func offerOf(u control.Updates, d control.Prefixes, mobile string, now time.Time) offer {
	var o offer
	for _, x := range u.Updates {
		if x.Mobile == mobile {
			o.homes = append(o.homes, x.HomeAddress)
		}
	}
	var own []control.NetworkPrefix
	for _, p := range d.Network {
		if p.Side == control.SideMobile && p.Name == mobile {
			own = append(own, p)
		}
	}
	for _, p := range own {
		numbered := slices.ContainsFunc(own, func(x control.NetworkPrefix) bool {
			return x.Downstream != "" && p.Prefix.Overlaps(x.Prefix)
		})
		if numbered || p.State != "usable" || p.Prefix.Bits() > 64 || p.Valid != nil && *p.Valid <= 0 {
			continue
		}
		o.prefixes = append(o.prefixes, offeredPrefix{p.Prefix, endOf(p.Preferred, now), endOf(p.Valid, now)})
	}
	slices.SortFunc(o.homes, netip.Addr.Compare)
	o.homes = slices.Compact(o.homes)
	// A mobile with two home addresses has its prefixes once for each.
	order.SortStable(o.prefixes, func(a, b offeredPrefix) int { return a.prefix.Compare(b.prefix) })
	o.prefixes = slices.CompactFunc(o.prefixes, func(a, b offeredPrefix) bool { return a.prefix == b.prefix })
	return o
}

// endOf is when a lifetime ends. One that is over has ended at the same moment
// whenever it is looked at.
func endOf(remaining *control.Seconds, now time.Time) time.Time {
	switch {
	case remaining == nil:
		return time.Time{}
	case *remaining <= 0:
		return deadline.Passed()
	default:
		return now.Add(time.Duration(*remaining))
	}
}

// same reports whether there is no need to tell o after before was told.
func (o offer) same(before offer) bool {
	return slices.Equal(o.homes, before.homes) && slices.EqualFunc(o.prefixes, before.prefixes, func(a, b offeredPrefix) bool {
		return a.prefix == b.prefix && sameEnd(a.preferredUntil, b.preferredUntil) && sameEnd(a.validUntil, b.validUntil)
	})
}

// sameEnd reports whether two lifetimes end together.
func sameEnd(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() && b.IsZero()
	}
	return a.Sub(b).Abs() <= followSlack
}

// environment is what the command gets to know at a moment.
func (o offer) environment(mobile string, now time.Time) []string {
	homes := make([]string, len(o.homes))
	for i, a := range o.homes {
		homes[i] = a.String()
	}
	prefixes := make([]string, len(o.prefixes))
	for i, p := range o.prefixes {
		prefixes[i] = p.prefix.String() + "," + remainingSeconds(p.preferredUntil, now) + "," + remainingSeconds(p.validUntil, now)
	}
	return []string{
		"ROAM6_MOBILE=" + mobile, "ROAM6_HOME_ADDRESSES=" + strings.Join(homes, " "), "ROAM6_PREFIXES=" + strings.Join(prefixes, " "),
	}
}

func remainingSeconds(until, now time.Time) string {
	if until.IsZero() {
		return strconv.FormatUint(math.MaxUint32, 10)
	}
	return strconv.FormatInt(int64(min(max(until.Sub(now), 0)/time.Second, math.MaxUint32-1)), 10)
}

// follower compares what a mobile has with what was told.
type follower struct {
	mobile string
	now    func() time.Time
	ask    func(context.Context) (control.Updates, control.Prefixes, error)
	run    func(ctx context.Context, event string, environment []string) error
	err    io.Writer

	up    bool  // the last event was up
	told  offer // with it
	again bool  // it is to be told whatever it is: the daemon, and its device, are new
	// seen is when the mobile was there last.
	seen      time.Time
	complaint string // the last one written, so that it is written once
}

// newFollower asks the daemon on a control socket and runs a command.
func newFollower(path, mobile string, command []string, std stdio) *follower {
	client := control.NewClient(path)
	return &follower{
		mobile: mobile, now: time.Now, err: std.err, run: commandRunner(command, std),
		ask: func(ctx context.Context) (control.Updates, control.Prefixes, error) {
			ctx, cancel := context.WithTimeout(ctx, showTimeout)
			defer cancel()
			u, err := client.Updates(ctx)
			if err != nil {
				return u, control.Prefixes{}, err
			}
			p, err := client.Prefixes(ctx)
			return u, p, err
		},
	}
}

// followRunLoop runs until ctx ends.
func (f *follower) followRunLoop(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		f.step(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// step asks once and tells what has changed.
func (f *follower) step(ctx context.Context) {
	u, p, err := f.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	now := f.now()
	var o offer
	if err == nil {
		if o = offerOf(u, p, f.mobile, now); len(o.homes) == 0 {
			err = fmt.Errorf("the daemon has no mobile %q: is the section enabled, and the configuration without errors? `roam6 check` tells", f.mobile)
		}
	}
	if err != nil {
		f.complain(err)
		f.again = true
		if f.up && now.Sub(f.seen) >= followGrace {
			f.tell(ctx, now, "down", offer{})
		}
		return
	}
	f.seen = now
	if f.up && !f.again && o.same(f.told) {
		f.complaint = ""
		return
	}
	f.tell(ctx, now, "up", o)
}

// tell runs the command; when that fails the next step does it again.
func (f *follower) tell(ctx context.Context, now time.Time, event string, o offer) {
	var environment []string
	if event == "up" {
		environment = o.environment(f.mobile, now)
	}
	err := f.run(ctx, event, environment)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		f.complain(err)
		return
	}
	f.up, f.told = event == "up", o
	if f.up {
		f.again, f.complaint = false, ""
	}
}

func (f *follower) complain(err error) {
	if s := err.Error(); s != f.complaint {
		f.complaint = s
		fmt.Fprintln(f.err, "roam6 follow:", s)
	}
}

// commandRunner runs a command with an event as its last argument.
func commandRunner(command []string, std stdio) func(context.Context, string, []string) error {
	return func(ctx context.Context, event string, environment []string) error {
		ctx, cancel := context.WithTimeout(ctx, followCommandTime)
		defer cancel()
		c := exec.CommandContext(ctx, command[0], append(slices.Clone(command[1:]), event)...)
		c.Env = append(os.Environ(), environment...)
		c.Stdout, c.Stderr = std.out, std.err
		if err := c.Run(); err != nil {
			return fmt.Errorf("command %s %s: %w", command[0], event, err)
		}
		return nil
	}
}
