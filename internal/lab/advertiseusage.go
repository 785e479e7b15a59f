package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

// consumption is what a process and its children use. processor and waiting are
// totals since they began, or of a time.
type consumption struct {
	// processor is the time on a processor, of the user's and of the system's.
	processor time.Duration
	// waiting is how long its threads were ready to run, and did not: the share of
	// the machine in what comes late.
	waiting time.Duration
	// resident and proportional are memory in kilobytes: all of it, and with what is
	// shared with others divided by their number. anonymous is what belongs to no file.
	resident, proportional, anonymous int
}

// since is what was consumed since an earlier look; the memory is that of now.
func (c consumption) since(earlier consumption) consumption {
	c.processor -= earlier.processor
	c.waiting -= earlier.waiting
	return c
}

// pid is the process of a daemon that was started.
func (d *daemon) pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process.Process.Pid
}

// consumed asks the kernel about a daemon.
func consumed(d *daemon) (total consumption, err error) {
	for _, pid := range family(d.pid()) {
		c, err := consumedBy(pid)
		if err != nil {
			return total, fmt.Errorf("what %s uses: %w", d.name, err)
		}
		total.processor += c.processor
		total.waiting += c.waiting
		total.resident += c.resident
		total.proportional += c.proportional
		total.anonymous += c.anonymous
	}
	return total, nil
}

// family is a process with its children.
func family(pid int) []int {
	all := []int{pid}
	// Where the kernel does not tell of children, there is nothing to read.
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range lists {
		b, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, family(child)...)
			}
		}
	}
	return all
}

func consumedBy(pid int) (c consumption, err error) {
	// The clock of another process's processor time: linux/posix-timers.h.
	const scheduled = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &ts); err != nil {
		return c, fmt.Errorf("processor time: %w", err)
	}
	c.processor = time.Duration(ts.Nano())
	if c.waiting, err = waited(pid); err != nil {
		return c, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return c, fmt.Errorf("memory: %w", err)
	}
	c.resident, c.proportional, c.anonymous = field(string(b), "Rss:"), field(string(b), "Pss:"), field(string(b), "Anonymous:")
	return c, nil
}

// waited adds up what the threads of a process waited for a processor.
func waited(pid int) (total time.Duration, err error) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is in order
	for _, file := range files {
		b, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH):
			continue // the thread has ended
		case err != nil:
			return 0, fmt.Errorf("waiting for a processor: %w", err)
		}
		if f := strings.Fields(string(b)); len(f) > 1 { // running, waiting, times
			ns, _ := strconv.ParseInt(f[1], 10, 64)
			total += time.Duration(ns)
		}
	}
	return total, nil
}

// field is the number behind a name at the beginning of a line; 0 without one.
func field(text, name string) int {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.Atoi(f[0])
				return n
			}
		}
	}
	return 0
}

// loadNow is the machine's load average over the last minute; 0 where it is not told.
func loadNow() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if len(f) == 0 {
		return 0
	}
	load, _ := strconv.ParseFloat(f[0], 64)
	return load
}

// witness is a thread that wants to wake up again and again, before all others: what
// it is late, the whole machine stood still.
type witness struct {
	stop chan struct{}
	done sync.WaitGroup
	late atomic.Int64
}

func newWitness(space *netns.Space) (*witness, error) {
	w := &witness{stop: make(chan struct{})}
	w.done.Add(1)
	err := space.Go(func() { defer w.done.Done(); w.watch() })
	if err != nil {
		w.done.Done()
	}
	return w, err
}

func (w *witness) watch() {
	const every, harmless = 5 * time.Millisecond, time.Millisecond
	netns.Precise()
	for {
		due := time.Now().Add(every)
		netns.SleepUntil(due)
		if late := time.Since(due); late > harmless {
			w.late.Add(int64(late))
		}
		select {
		case <-w.stop:
			return
		default:
		}
	}
}

// stalled is how long the machine stood still in all.
func (w *witness) stalled() time.Duration { return time.Duration(w.late.Load()) }

func (w *witness) close() {
	close(w.stop)
	w.done.Wait()
}
