package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// queueing measures how long processes wait for a processor: what a machine that does
// something else besides costs them, and says nothing about them.
type queueing struct {
	mu   sync.Mutex
	most time.Duration // of the threads of one process together, in one period
}

// queueingPeriod is the time between two looks.
const queueingPeriod = 500 * time.Millisecond

// followRunLoop looks at a process until it has ended.
func (q *queueing) followRunLoop(pid int, ended <-chan struct{}) {
	tick := time.NewTicker(queueingPeriod)
	defer tick.Stop()
	last := waitsOf(pid)
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		waits := waitsOf(pid)
		var sum time.Duration
		for thread, w := range waits {
			sum += w - last[thread]
		}
		last = waits
		q.mu.Lock()
		q.most = max(q.most, sum)
		q.mu.Unlock()
	}
}

// longest is the most that was seen; zero where the kernel does not tell.
func (q *queueing) longest() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.most
}

// waitsOf is the time for which each thread of a process stood ready without a processor,
// the second number of schedstat (Documentation/scheduler/sched-stats.rst); none where the
// kernel does not tell.
func waitsOf(pid int) map[string]time.Duration {
	directory := fmt.Sprintf("/proc/%d/task/", pid)
	threads, err := os.ReadDir(directory)
	if err != nil {
		return nil
	}
	waits := make(map[string]time.Duration, len(threads))
	for _, t := range threads {
		text, err := os.ReadFile(directory + t.Name() + "/schedstat")
		if err != nil {
			continue // it has ended
		}
		if numbers := bytes.Fields(text); len(numbers) > 1 {
			if ns, err := strconv.ParseInt(string(numbers[1]), 10, 64); err == nil {
				waits[t.Name()] = time.Duration(ns)
			}
		}
	}
	return waits
}
