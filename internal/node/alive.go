package node

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bindings are restored by a process that follows another one soon. A mobile that is left
// without its home agent for longer looks for another one of the home link, which then has
// the binding and defends the home address: what this node remembers is no longer true.
//
// For how long there was no process is what counts, and not how long this one took to
// start: with a hundred thousand mobiles that may be as long again, and to forget them all
// would cut off each of them for the sake of the few that have sent an update in the first
// seconds, and have another home agent to go to. The home link is asked for those (see
// package ha).

const (
	// restoreWithin is how long there may have been no agent. A mobile needs a second more
	// to find another home agent; procd starts a service again after five.
	restoreWithin = 6 * time.Second
	beatInterval  = time.Second
)

// bootTime is the time since the host was started, by the clock that runs on while the
// host sleeps.
func bootTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // never fails on Linux
	return time.Duration(t.Nano())
}

// beat notes that this process lives.
func beat(path, boot string, now time.Duration) error {
	return os.WriteFile(path, fmt.Appendf(nil, "%d %s\n", now, boot), 0o600)
}

// absence reports for how long no process has lived; ok is false if nobody knows.
func absence(path, boot string, now time.Duration) (time.Duration, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	var last time.Duration
	var id string
	if n, _ := fmt.Sscanf(string(text), "%d %s", &last, &id); n != 2 || boot == "" || id != boot || last > now {
		return 0, false
	}
	return now - last, true
}

// succeeds reports whether this process, which began a time ago, has followed another one
// soon. One that ended before it served counts for nothing: see beatRunLoop.
func succeeds(path, boot string, now, ago time.Duration) bool {
	absent, known := absence(path, boot, now)
	return known && absent-ago <= restoreWithin
}

// aliveFile is beside the journals of bindings.
func (s *Shell) aliveFile() string { return s.remembered + "alive" }

// beatRunLoop notes every second that this process serves, and a last time at its end.
func (s *Shell) beatRunLoop(ctx context.Context) {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	boot, failed := bootID(), false
	for {
		if err := beat(s.aliveFile(), boot, bootTime()); err != nil && !failed {
			s.log.Warn("bindings would not survive a restart: look at the directory of the control socket", "reason", err)
			failed = true
		}
		select {
		case <-ctx.Done():
			_ = beat(s.aliveFile(), boot, bootTime())
			return
		case <-ticker.C:
		}
	}
}
