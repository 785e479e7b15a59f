package node

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"golang.org/x/sys/unix"

	"roam6/internal/config"
	"roam6/internal/control"
)

const mebibyte = 1 << 20

// leastAutoLimit is the memory limit, in MiB, on machines so small that the share of it
// would have the collector run all the time.
const leastAutoLimit = 16

// applyBudget sets what the daemon may spend in Go's runtime, which is the process's: the
// first time from the zero value. What the environment says has been set by the runtime
// before main, and stays.
func applyBudget(old, c config.Runtime, log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(c.GCPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(c.MemoryLimit, totalMemory()))
	}
	switch { // stops everything for a moment: only where it changes something
	case old.Processors == c.Processors || os.Getenv("GOMAXPROCS") != "":
	case c.Processors == 0:
		runtime.SetDefaultGOMAXPROCS()
	default:
		runtime.GOMAXPROCS(c.Processors)
	}
	b := budget()
	log.Debug("go runtime", "gogc", b.GCPercent, "memory_limit_mib", b.MemoryLimit, "processors", b.Processors)
}

// memoryLimit is a configured limit in octets, on a machine of that memory in octets, of
// which 0 says that it is not known.
func memoryLimit(configured int, total uint64) int64 {
	switch configured {
	case config.MemoryLimitNone:
		return math.MaxInt64
	case config.MemoryLimitAuto:
		if total == 0 {
			return math.MaxInt64
		}
		return int64(min(max(total/4, leastAutoLimit*mebibyte), math.MaxInt64))
	default:
		return int64(configured) * mebibyte
	}
}

// totalMemory is the memory of the machine in octets, 0 if it does not tell.
func totalMemory() uint64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0
	}
	return uint64(i.Totalram) * uint64(i.Unit)
}

// budget is what is in force, whoever has set it.
func budget() control.Budget {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	b := control.Budget{Processors: runtime.GOMAXPROCS(0)}
	if v := s[0].Value.Uint64(); v <= math.MaxInt32 { // else off
		b.GCPercent = int(v)
	}
	if v := s[1].Value.Uint64(); v < math.MaxInt64 {
		b.MemoryLimit = v / mebibyte
	}
	b.Memory = s[2].Value.Uint64() - s[3].Value.Uint64()
	return b
}
