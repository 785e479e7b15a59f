package node

import (
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"roam6/internal/config"
)

func TestMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		configured int
		total      uint64
		want       int64
	}{
		{config.MemoryLimitNone, 64 << 20, math.MaxInt64},
		{config.MemoryLimitAuto, 32 << 20, 16 << 20},
		{config.MemoryLimitAuto, 128 << 20, 32 << 20},
		{config.MemoryLimitAuto, 0, math.MaxInt64},
		{8, 64 << 20, 8 << 20},
		{1 << 20, 64 << 20, 1 << 40},
	} {
		if got := memoryLimit(tt.configured, tt.total); got != tt.want {
			t.Errorf("%d on a machine of %d: %d, want %d", tt.configured, tt.total, got, tt.want)
		}
	}
	if n := totalMemory(); n < 16<<20 {
		t.Errorf("this machine has %d octets of memory", n)
	}
}

// ownBudget puts back what the process of the tests has, and takes the variables of the
// environment away that would take precedence.
func ownBudget(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS"} {
		t.Setenv(name, "")
	}
	percent, limit, processors := debug.SetGCPercent(100), debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
		runtime.GOMAXPROCS(processors)
	})
}

// The budget is taken over with the start, and with each reload.
func TestBudget(t *testing.T) {
	ownBudget(t)
	s, log := bareShell(t, "")
	const all = "config globals\n\toption gogc '20'\n\toption memory_limit '64'\n\toption processors '1'\n"
	var none config.Runtime
	applyBudget(none, s.config.Globals.Runtime, s.log)
	runtime.SetDefaultGOMAXPROCS()
	processors := runtime.GOMAXPROCS(0)
	for _, step := range []struct {
		file                string
		percent, processors int
		limit               uint64
	}{
		{all, 20, 1, 64},
		{"config globals\n\toption gogc '1000'\n\toption memory_limit 'none'\n\toption processors '2'\n", 1000, 2, 0},
		{"", 50, processors, uint64(memoryLimit(config.MemoryLimitAuto, totalMemory())) >> 20},
	} {
		reparse(t, s, testNow, step.file)
		b := budget()
		if b.GCPercent != step.percent || b.Processors != step.processors || b.MemoryLimit != step.limit || b.Memory == 0 {
			t.Errorf("%q: %+v", step.file, b)
		}
	}
	if strings.Contains(log.String(), "restarted") {
		t.Errorf("a reload is enough:\n%s", log)
	}
}

// What somebody has put into the environment stays.
func TestBudgetOfEnvironment(t *testing.T) {
	ownBudget(t)
	debug.SetGCPercent(77)
	debug.SetMemoryLimit(99 << 20)
	before := runtime.GOMAXPROCS(0)
	t.Setenv("GOGC", "77")
	t.Setenv("GOMEMLIMIT", "99MiB")
	t.Setenv("GOMAXPROCS", "3")
	s, _ := bareShell(t, "")
	applyBudget(config.Runtime{}, config.Runtime{GCPercent: 10, MemoryLimit: 8, Processors: before + 1}, s.log)
	if b := budget(); b.GCPercent != 77 || b.MemoryLimit != 99 || b.Processors != before {
		t.Errorf("%+v", b)
	}
}
