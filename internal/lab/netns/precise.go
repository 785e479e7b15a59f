package netns

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// realtimePriority is the lowest of the real-time priorities: above every
// ordinary thread and below whatever the machine's owner made real-time.
const realtimePriority = 1

// Precise prepares the calling thread, which must be locked to its goroutine,
// for wake-ups to the microsecond: no timer slack and, where the process may, a
// real-time priority, but not on the only processor. It reports whether it got the
// priority.
func Precise() bool {
	// Failure leaves the default slack of 50 µs: later, not wrong.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if runtime.NumCPU() == 1 {
		// A thread that cannot be interrupted waits for Go's runtime, which waits for
		// the processor: for a second, now and then.
		return false
	}
	err := unix.SchedSetAttr(0, &unix.SchedAttr{
		Policy:   unix.SCHED_FIFO,
		Priority: realtimePriority,
		Flags:    unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
	return err == nil
}

// SleepUntil sleeps until t on the clock that receive timestamps use. Go's own
// timers end to the millisecond only.
func SleepUntil(t time.Time) {
	ts := unix.NsecToTimespec(t.UnixNano())
	for errors.Is(unix.ClockNanosleep(unix.CLOCK_REALTIME, unix.TIMER_ABSTIME, &ts, nil), unix.EINTR) {
	}
}
