package lab

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// A thread that shares its processor with another one waits for half of the time.
func TestQueueing(t *testing.T) {
	if len(waitsOf(os.Getpid())) == 0 {
		t.Skip("needs a kernel with CONFIG_SCHED_INFO: /proc/PID/schedstat")
	}
	var q queueing
	ended := make(chan struct{})
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		q.followRunLoop(os.Getpid(), ended)
	}()
	var done atomic.Bool
	busy := 4 * runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(busy))
	for range busy {
		go func() {
			for !done.Load() {
			}
		}()
	}
	for limit := time.Now().Add(20 * time.Second); q.longest() < queueingPeriod/4 && time.Now().Before(limit); {
		time.Sleep(queueingPeriod / 10)
	}
	done.Store(true)
	close(ended)
	<-followed
	if q.longest() < queueingPeriod/4 {
		t.Errorf("threads that are four times as many as processors waited for %v", q.longest())
	}
}
